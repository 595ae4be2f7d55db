//! Embedded brokers of this process, which take a lock for each group before it consumes.

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

/// A group to take the lock for, and whom to tell when it is there.
pub type Adoption = (String, oneshot::Sender<()>);

/// The embedded brokers of this process by the address of their name server.
static RUNNING: Mutex<Vec<(String, mpsc::UnboundedSender<Adoption>)>> = Mutex::new(Vec::new());

/// The groups that are to consume from the embedded broker with this name server, until the receiver is dropped.
pub fn keep_locks(name_server: String) -> mpsc::UnboundedReceiver<Adoption> {
    let (sender, adoptions) = mpsc::unbounded_channel();
    RUNNING.lock().push((name_server, sender));
    adoptions
}

/// Whether one of the addresses is an embedded broker's of this process.
pub fn is_embedded(name_servers: &[String]) -> bool {
    RUNNING.lock().iter().any(|(address, keeper)| !keeper.is_closed() && name_servers.contains(address))
}

/// Takes the lock for a group of this process before it consumes. Does nothing for other brokers.
pub(crate) async fn adopt(name_servers: &[String], group: &str) {
    let keepers: Vec<_> = {
        let mut running = RUNNING.lock();
        running.retain(|(_, keeper)| !keeper.is_closed());
        running.iter().filter(|(address, _)| name_servers.contains(address)).cloned().collect()
    };
    for (_, keeper) in keepers {
        let (done, adopted) = oneshot::channel();
        if keeper.send((group.to_owned(), done)).is_ok() {
            let _ = adopted.await;
        }
    }
}
