//! Calls that give their threads back while their messages wait.

use tokio::sync::watch;

use super::*;
use crate::listener::wait::ENOUGH;

/// Most of them wait for the handler's permits, and the others for the handler.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_that_wait_give_their_threads_back_and_the_first_one_stays() {
    const CALLS: usize = 200;
    let (release, released) = watch::channel(false);
    let slow = handler_with(TOPIC, Text, move |_: String| {
        let mut released = released.clone();
        async move {
            let _ = released.wait_for(|released| *released).await;
        }
    });
    let store = CallNotingStore::default();
    let bridge = bridge(&store, slow.key(|number: &String| IdempotencyKey::new(number)));
    // Taken up long ago.
    let queues = [(queue(), 0)].into_iter().collect();
    let client: Arc<dyn Broker> =
        Arc::new(ThreadNotingBroker { queues: Some(queues), ..ThreadNotingBroker::default() });
    bridge.connect(&client);
    let call = |number: usize| {
        let bridge = bridge.clone();
        tokio::task::spawn_blocking(move || consume(&bridge, number..number + 1))
    };
    let first = call(0);
    while bridge.working() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let others: Vec<_> = (1..CALLS).map(call).collect();
    let begun = Instant::now();
    while others.iter().filter(|call| call.is_finished()).count() < CALLS - ENOUGH {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} calls are on threads", bridge.working());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!first.is_finished());
    assert_eq!(store.completed(), 0);
    assert!(!bridge.drained(Duration::ZERO), "they work on");
    release.send_replace(true);
    for call in others.into_iter().chain([first]) {
        let told = tokio::time::timeout(Duration::from_secs(30), call).await;
        assert_eq!(told.expect("all are done").unwrap(), ConsumeStatus::Success);
    }
    assert!(bridge.drained(Duration::from_secs(30)));
    assert_eq!(store.completed(), CALLS);
}
