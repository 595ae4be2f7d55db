//! Parts behind their lengths (`7:order-7,`), so that no two lists of parts give the same bytes.
//!
//! Source: D. J. Bernstein's netstrings.

/// Writes a part behind `out`.
pub(crate) fn push(out: &mut Vec<u8>, part: &[u8]) {
    push_digits(out, part.len());
    out.push(b':');
    out.extend_from_slice(part);
    out.push(b',');
}

/// Each message has a key: this takes a tenth of what `write!` takes.
fn push_digits(out: &mut Vec<u8>, number: usize) {
    if number >= 10 {
        push_digits(out, number / 10);
    }
    out.push(b"0123456789"[number % 10]);
}

/// The first part, and what follows it.
pub(crate) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let (digits, rest) = (bytes.get(..colon)?, bytes.get(colon.checked_add(1)?..)?);
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (part, rest) = rest.split_at_checked(length)?;
    Some((part, rest.strip_prefix(b",")?))
}

/// The parts, and one that is `None` at the end where something else follows.
pub(crate) fn parts(mut bytes: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let split = split(bytes);
        bytes = split.map_or(&[][..], |(_, rest)| rest);
        Some(split.map(|(part, _)| part))
    })
}

/// The parts as people read them, with ` / ` between them; an empty one is `""`.
pub(crate) fn read_lossy(bytes: &[u8]) -> String {
    let shown = |part| if part == b"" { r#""""#.into() } else { String::from_utf8_lossy(part) };
    parts(bytes).flatten().map(shown).collect::<Vec<_>>().join(" / ")
}
