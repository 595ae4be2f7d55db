//! The span around each run of a handler.

use std::fmt;
use std::sync::Arc;

use idem_core::Attempt;
use tracing::Span;

use crate::client::Delivery;

/// The message property that W3C's trace context travels in.
const TRACEPARENT: &str = "traceparent";

/// The user's function that sees each span before it is entered.
#[derive(Clone, Default)]
pub(crate) struct OnSpan(Option<Arc<SpanHook>>);

type SpanHook = dyn Fn(&Span, &Delivery) + Send + Sync;

impl OnSpan {
    pub(crate) fn new(hook: impl Fn(&Span, &Delivery) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// The span of a run. Where nobody is interested in it, nothing is looked at or allocated.
    pub(crate) fn span(
        &self,
        handler: &str,
        delivery: &Delivery,
        attempt: Attempt,
        key_hash: Option<u64>,
    ) -> Span {
        let span = tracing::info_span!(
            "consume",
            otel.name = %format_args!("process {}", delivery.topic()),
            otel.kind = "consumer",
            group = delivery.group(),
            topic = delivery.topic(),
            tag = delivery.tag(),
            message_id = delivery.message_id(),
            handler,
            attempt = attempt.number(),
            key_hash = key_hash.map(|hash| tracing::field::display(KeyHash(hash))),
            traceparent = delivery.property(TRACEPARENT).filter(|text| is_valid(text)),
        );
        if let (Some(hook), false) = (&self.0, span.is_disabled()) {
            hook(&span, delivery);
        }
        span
    }
}

/// Written only where somebody reads it.
struct KeyHash(u64);

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The span of one call with many messages, which may be of many traces.
pub(in crate::listener) fn of_batch(handler: &str, group: &str, topic: &str, messages: usize) -> Span {
    tracing::info_span!(
        "consume",
        otel.name = %format_args!("process {topic}"),
        otel.kind = "consumer",
        group,
        topic,
        handler,
        messages,
    )
}

impl fmt::Debug for OnSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnSpan").field(&self.0.is_some()).finish()
    }
}

/// Whether it is of the form that W3C's trace context says, `00-{trace id}-{parent id}-{flags}`; later versions may have
/// more after that. What is not comes from anybody and goes into no log.
fn is_valid(traceparent: &str) -> bool {
    let mut parts = traceparent.split('-');
    let [version, trace, parent, flags] = [(); 4].map(|()| parts.next().unwrap_or_default());
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |text: &str, length| is_hex(text, length) && text.bytes().any(|byte| byte != b'0');
    is_hex(version, 2)
        && version != "ff"
        && is_id(trace, 32)
        && is_id(parent, 16)
        && is_hex(flags, 2)
        && parts.next().is_none_or(|_| version != "00")
        && traceparent.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_no_trace_context_is_left_out() {
        assert!(is_valid(GOOD) && is_valid(&format!("01{}-more", &GOOD[2..])));
        let bad = [
            "",
            "00",
            "00-0-0-0",
            &GOOD.to_uppercase(),
            &GOOD.replace("00-4", "ff-4"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &format!("{GOOD}-more"),
            &format!("01{}-a b", &GOOD[2..]),
            &GOOD[..54],
            &format!("{GOOD}0"),
        ];
        for text in bad {
            assert!(!is_valid(text), "{text}");
        }
    }

    /// There is no subscriber here.
    #[test]
    fn nothing_is_done_for_a_span_that_nobody_wants() {
        let hook = OnSpan::new(|_, _| panic!("nobody wants this span"));
        let delivery = Delivery::builder("orders").property(TRACEPARENT, GOOD).build();
        assert!(hook.span("pay", &delivery, Attempt::new(1, 16), Some(7)).is_disabled());
    }
}
