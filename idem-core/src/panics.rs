//! Panics: a user's are caught where the user's code is called, and idem's own are loud.
//!
//! A panic while another one unwinds ends the process, as everywhere in Rust: nothing can catch it.

use std::any::Any;
use std::future::Future;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

/// The user's code has panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked(());

/// Calls a user's code: a handler, a codec, a hook, the `Display` or `Drop` of a value.
///
/// # Errors
/// It has panicked.
pub fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(forget)
}

/// As [`catch`], for a call whose future is the user's too.
///
/// # Errors
/// It has panicked, when it was called or polled.
pub async fn call<F: Future + Unpin>(call: impl FnOnce() -> F) -> Result<F::Output, Panicked> {
    guard_call(call).await
}

/// As [`call`], as a value.
pub fn guard_call<F: Future + Unpin>(call: impl FnOnce() -> F) -> GuardedFuture<F> {
    // One without a future says that it has panicked.
    GuardedFuture(catch(call).ok())
}

/// A panic's payload may be a value of the user's, whose `Drop` panics too.
fn forget(payload: Box<dyn Any + Send>) -> Panicked {
    if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        mem::forget(again);
    }
    Panicked(())
}

/// A value of the user's whose `Drop` may panic: that is reported, and goes no further.
#[derive(Debug)]
pub struct CarefulDrop<T>(Option<T>);

impl<T> CarefulDrop<T> {
    /// Takes a value over.
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Gives it away; then it is dropped elsewhere.
    ///
    /// # Panics
    /// Never: the value is there until this is dropped.
    pub fn into_inner(mut self) -> T {
        self.0.take().expect("the value is there until this is dropped")
    }
}

impl<T> Deref for CarefulDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("the value is there until this is dropped")
    }
}

impl<T> DerefMut for CarefulDrop<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("the value is there until this is dropped")
    }
}

impl<T> Drop for CarefulDrop<T> {
    fn drop(&mut self) {
        drop_carefully(&mut self.0);
    }
}

fn drop_carefully<T>(value: &mut Option<T>) {
    if let Some(value) = value.take()
        && catch(move || drop(value)).is_err()
    {
        report("drop", "a value of the program panicked when it was dropped");
    }
}

/// A future of the user's: its panic is an error, and one of its `Drop` is reported and goes no further. Where it has ended
/// before its `Drop` panics, its output counts.
#[derive(Debug)]
pub struct GuardedFuture<F>(Option<F>);

/// Guards a user's future.
pub fn guard<F: Future + Unpin>(future: F) -> GuardedFuture<F> {
    GuardedFuture(Some(future))
}

impl<F: Future + Unpin> Future for GuardedFuture<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.0.as_mut() else { return Poll::Ready(Err(Panicked(()))) };
        let polled = match catch(|| Pin::new(future).poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panicked) => Err(panicked),
        };
        drop_carefully(&mut self.0);
        Poll::Ready(polled)
    }
}

impl<F> Drop for GuardedFuture<F> {
    fn drop(&mut self) {
        drop_carefully(&mut self.0);
    }
}

/// Says that something has panicked: one event at `ERROR` and one count.
///
/// A subscriber or a recorder that panics in turn does not keep what follows from happening.
pub fn report(place: &'static str, what: &str) {
    let _ = catch(|| metrics::counter!("idem_panics_total", "where" => place).increment(1));
    let _ = catch(|| tracing::error!(place, "{what}; the panic's own message is on the standard error"));
}

/// A task of idem's own. Where it panics that is reported, then `or` is done, and there is no output.
pub async fn loud<F: Future>(place: &'static str, task: F, or: impl FnOnce()) -> Option<F::Output> {
    match AssertUnwindSafe(task).catch_unwind().await {
        Ok(output) => Some(output),
        Err(payload) => {
            forget(payload);
            report(place, "a task of idem's own has panicked, which is a bug of idem's or of a store");
            or();
            None
        }
    }
}

/// Between a panic and the next turn, so that what panics at once does not do so all the time.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// A task of idem's own that others rely on, and that can begin anew after a panic: which is reported each time.
pub async fn tireless<F: Future>(place: &'static str, mut task: impl FnMut() -> F) -> F::Output {
    loop {
        if let Some(output) = loud(place, async { task().await }, || {}).await {
            return output;
        }
        tokio::time::sleep(AFTER_PANIC).await;
    }
}

/// Whether something that an engine relies on has panicked, so that it can be trusted no more.
///
/// Invariant 9: a panic of idem's own ends what it can no longer vouch for, and loudly
/// (`a_panic_of_the_watch_ends_the_engine`).
#[derive(Debug, Default)]
pub struct Fault {
    place: OnceLock<&'static str>,
    failed: CancellationToken,
    /// Cancelled with it.
    closing: CancellationToken,
    stop: CancellationToken,
}

impl Fault {
    pub(crate) fn new(closing: &CancellationToken, stop: &CancellationToken) -> Self {
        Self { closing: closing.clone(), stop: stop.clone(), ..Self::default() }
    }

    /// Stops everything: no run begins any more, and those under way are cancelled.
    pub fn fail(&self, place: &'static str) {
        let _ = self.place.set(place);
        self.closing.cancel();
        self.stop.cancel();
        self.failed.cancel();
    }

    /// The part that has panicked first.
    pub fn place(&self) -> Option<&'static str> {
        self.place.get().copied()
    }

    /// Waits until something has.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::sources::{self, SourceFile};

    struct PanickingDrop(Arc<AtomicUsize>);

    impl Drop for PanickingDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("dropped");
        }
    }

    #[test]
    fn a_panic_whose_payload_panics_when_it_is_dropped_is_caught() {
        let count = Arc::new(AtomicUsize::new(0));
        let payload = PanickingDrop(count.clone());
        assert!(catch(move || std::panic::panic_any(payload)).is_err());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_a_future_came_to_counts_before_its_drop_panics() {
        let count = Arc::new(AtomicUsize::new(0));
        let explosive = PanickingDrop(count.clone());
        // Its captures are dropped with the future, as it has ended already when they would be moved out.
        let future = std::future::poll_fn(move |_| {
            let _ = &explosive;
            Poll::Ready(7)
        });
        assert_eq!(guard(future).await, Ok(7));
        let explosive = PanickingDrop(count.clone());
        let waits = std::future::poll_fn(move |_| {
            let _ = &explosive;
            Poll::<()>::Pending
        });
        let mut guarded = guard(waits);
        assert!((&mut guarded).now_or_never().is_none());
        drop(guarded);
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_future_that_panicked_is_over() {
        let mut guarded = guard(std::future::poll_fn(|_| -> Poll<()> { panic!("polled") }));
        assert!((&mut guarded).await.is_err());
        assert!(guarded.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_begins_anew_after_a_pause() {
        let turns = AtomicUsize::new(0);
        let task = || async {
            assert!(turns.fetch_add(1, Ordering::SeqCst) >= 2, "the first turns panic");
            "done"
        };
        let begun = tokio::time::Instant::now();
        assert_eq!(tireless("test", task).await, "done");
        assert_eq!(begun.elapsed(), AFTER_PANIC * 2);
    }

    /// Tasks whose panics are seen otherwise than by [`loud`] or [`tireless`], and where.
    const SEEN: &[(&str, &str)] = &[
        // A panic here ends the engine.
        ("/engine/", "engine.spawn("),
        ("/engine/ticket/", ".spawn(async move {"),
        ("runtime.rs", "runtime.spawn(call)"),
        ("redis/builder.rs", "check::connect(&self)"),
        ("consumer/running.rs", "spawn(connect(plan"),
        ("consumer/running.rs", "idem_core::runtime::handle().spawn(async move {"),
        ("consumer/running.rs", "self.bridge.user.spawn(async move {"),
        ("embedded/src/host.rs", "builder.spawn(live)"),
        ("embedded/src/host.rs", "bootstrap.boot_with_shutdown"),
        ("embedded/src/producer.rs", "handle.spawn(Box::pin(work))"),
        ("embedded/src/bench.rs", "builder.spawn(live)"),
        // A panic here ends the consumer.
        ("listener/wait/aside.rs", "bridge.spawn("),
        ("listener/wait/thread.rs", "thread::Builder::new()"),
        ("listener/run/ended.rs", "bridge.spawn("),
        ("listener/wait/crowd.rs", "bridge.spawn("),
        ("listener/wait/ticket.rs", "self.spawn("),
        ("listener/run/launch.rs", "self.bridge.user.spawn(async move {"),
        ("listener/run/launch.rs", "tokio::spawn(run)"),
        ("producer/check_back.rs", "on.spawn(async move {"),
        ("outbox/worker.rs", "handle().spawn(notes)"),
        ("outbox/worker.rs", "handle().spawn(sweep)"),
        ("client/src/thread.rs", "builder.spawn(move || {"),
        ("client/src/producer/client.rs", "thread::spawn("),
        ("client/src/consumer/session.rs", "thread::spawn("),
    ];

    #[test]
    fn no_task_of_idems_own_ends_in_silence() {
        let is_seen = |path: &str, line: &str| {
            SEEN.iter().any(|(file, part)| path.contains(file) && line.contains(part))
                || ["loud(", "tireless(", "session::spawn("].iter().any(|known| line.contains(known))
        };
        let mut found = Vec::new();
        for SourceFile { path, code } in sources::all() {
            let starts = code.lines().filter(|line| line.contains("spawn(") && !line.contains("fn spawn("));
            let silent = starts.filter(|line| !path.ends_with("/panics.rs") && !is_seen(&path, line));
            found.extend(silent.map(|line| format!("{path}: {}", line.trim())));
        }
        assert!(found.is_empty(), "start these with `loud` or `tireless`: {found:#?}");
    }
}
