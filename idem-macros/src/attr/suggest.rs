//! "Did you mean".

use syn::{Error, Ident};

/// How alike two names must be for one to be meant by the other.
const ALIKE: f64 = 0.8;

/// An error where `name` is so like `known` that this was meant.
pub(crate) fn unless_like(what: &str, name: &Ident, known: &str) -> Result<(), Error> {
    let is_like = strsim::jaro_winkler(&name.to_string(), known) > ALIKE;
    if is_like { Err(unknown(what, name, &[known])) } else { Ok(()) }
}

/// `name` is none of `known`.
pub(crate) fn unknown(what: &str, name: &Ident, known: &[&str]) -> Error {
    let written = name.to_string();
    let alike = |candidate: &&str| strsim::jaro_winkler(&written, candidate);
    let nearest = known.iter().copied().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    let advice = match nearest.filter(|nearest| alike(nearest) > ALIKE) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("there are `{}`", known.join("`, `")),
    };
    Error::new(name.span(), format!("unknown {what} `{written}`: {advice}"))
}
