use std::io;
use std::sync::Arc;

use anyhow::Context as _;

use super::*;

const DELAY: Duration = Duration::from_secs(7);
const REJECT: Disposition = Disposition::Reject;
const RETRY: Disposition = Disposition::Retry(None);
const RETRY_AFTER: Disposition = Disposition::Retry(Some(DELAY));

#[derive(Debug, thiserror::Error)]
enum Domain {
    #[error("the payment was refused")]
    Refused(#[source] Reject),
    #[error(transparent)]
    Busy(#[from] Retry),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
    #[error("io failed: {0}")]
    Interpolated(#[source] io::Error),
    #[error("boxed")]
    Boxed(#[source] Boxed),
}

fn reject() -> Reject {
    Reject::new("no such order")
}

fn retry() -> Retry {
    Retry::after(DELAY).because("the bank is closed")
}

fn check(error: impl Into<HandlerError>, disposition: Disposition, text: &str) {
    let error = error.into();
    assert_eq!(error.disposition(), disposition, "{text}");
    assert_eq!(error.to_string(), text);
}

#[test]
fn errors_without_a_mark_are_retried_with_the_backoff() {
    check("text", RETRY, "text");
    check(String::from("owned"), RETRY, "owned");
    check(io::Error::other("disk"), RETRY, "disk");
    check(Boxed::from("boxed"), RETRY, "boxed");
    check(anyhow::anyhow!("any").context("above"), RETRY, "above: any");
}

#[test]
fn a_mark_is_found_at_the_top_of_every_kind_of_error() {
    check(reject(), REJECT, "no such order");
    check(retry(), RETRY_AFTER, "the bank is closed");
    check(Retry::after(DELAY), RETRY_AFTER, "retry after 7s");
    check(Box::new(reject()), REJECT, "no such order");
    check(Box::new(reject()) as Boxed, REJECT, "no such order");
    check(Arc::new(reject()), REJECT, "no such order");
    check(anyhow::Error::from(reject()), REJECT, "no such order");
    check(anyhow::Error::new(retry()), RETRY_AFTER, "the bank is closed");
    check(io::Error::other(reject()), REJECT, "no such order");
}

#[test]
fn a_mark_is_found_inside_of_an_enum_of_thiserror() {
    check(Domain::Refused(reject()), REJECT, "the payment was refused: no such order");
    check(Domain::Busy(retry()), RETRY_AFTER, "the bank is closed");
    check(Domain::Other(reject().into()), REJECT, "no such order");
    check(Domain::Other(anyhow::Error::from(retry()).context("ctx")), RETRY_AFTER, "ctx: the bank is closed");
    check(Domain::Boxed(Box::new(retry())), RETRY_AFTER, "boxed: the bank is closed");
    check(Domain::Boxed(Domain::Busy(retry()).into()), RETRY_AFTER, "boxed: the bank is closed");
}

#[test]
fn a_mark_is_found_above_and_below_a_context_of_anyhow() {
    check(anyhow::Error::from(reject()).context("below"), REJECT, "below: no such order");
    check(Reject::because(anyhow::anyhow!("cause").context("why")), REJECT, "why: cause");
    let both = anyhow::Error::from(Domain::Refused(reject())).context("a").context("b");
    check(both, REJECT, "b: a: the payment was refused: no such order");
    let result: Result<(), _> = Err::<(), _>(retry()).context("while paying");
    check(result.unwrap_err(), RETRY_AFTER, "while paying: the bank is closed");
}

/// anyhow hides the value of a context from everybody but itself.
#[test]
fn a_mark_that_is_only_a_context_of_anyhow_is_not_seen() {
    check(anyhow::anyhow!("cause").context(reject()), RETRY, "no such order: cause");
}

#[test]
fn the_outermost_mark_decides() {
    check(Reject::because(retry()), REJECT, "the bank is closed");
    check(retry().because(reject()), RETRY_AFTER, "no such order");
    check(anyhow::Error::from(retry().because(reject())).context("a"), RETRY_AFTER, "a: no such order");
}

#[test]
fn the_sources_of_a_reason_stay_in_the_chain() {
    let cause = anyhow::anyhow!("timed out").context("no connection");
    check(Reject::because(cause), REJECT, "no connection: timed out");
    let cause = Domain::Boxed(io::Error::other("disk").into());
    check(Reject::because(cause), REJECT, "boxed: disk");
}

#[test]
fn shorthands_on_results_mark_the_error() {
    fn in_anyhow() -> anyhow::Result<()> {
        Err(io::Error::other("disk")).or_retry_after(DELAY)?;
        Ok(())
    }
    fn number(text: &str) -> HandlerResult {
        text.parse::<u8>().or_reject()?;
        Ok(())
    }
    let error = number("x").unwrap_err();
    assert_eq!(error.disposition(), REJECT);
    assert_eq!(error.to_string(), "invalid digit found in string");
    check(in_anyhow().unwrap_err(), RETRY_AFTER, "disk");
}

#[test]
fn a_source_that_its_parent_interpolates_is_not_repeated() {
    check(Domain::Interpolated(io::Error::other("disk")), RETRY, "io failed: disk");
}

#[test]
fn texts_are_bounded_and_have_no_control_characters() {
    let long = HandlerError::from("ä".repeat(5_000)).chain_text();
    assert!(long.len() <= HandlerError::MAX_TEXT && long.ends_with("ä…"), "{}", long.len());
    let chained = (0..500).fold(anyhow::anyhow!("end"), |error, n| error.context(format!("step {n}")));
    assert!(HandlerError::from(chained).chain_text().len() <= HandlerError::MAX_TEXT);
    check("a\u{1}b\u{2}c\nd", RETRY, "a b c d");
    let exact = HandlerError::from("x".repeat(HandlerError::MAX_TEXT)).chain_text();
    assert!(exact.len() <= HandlerError::MAX_TEXT);
}

#[test]
fn debug_shows_the_chain_and_no_backtrace() {
    let error = HandlerError::from(anyhow::anyhow!("inner").context("outer"));
    assert_eq!(format!("{error:?}"), "HandlerError(outer: inner)");
    assert_eq!(format!("{:?}", Reject::because(anyhow::anyhow!("inner"))), "Reject(inner)");
}
