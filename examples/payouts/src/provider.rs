//! The provider: a small server that pays, and does not always say so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::sleep;

/// Longer than a teller waits.
const LATE: Duration = Duration::from_millis(1_500);

/// The state of one payout.
#[derive(Default)]
pub(crate) struct Payment {
    /// How often it was paid.
    pub(crate) paid: usize,
    /// The requests that are not paid yet and will be.
    pending: usize,
    /// The greatest fence that came with a request or a question. What comes with a smaller one is from a teller that was
    /// overtaken.
    fence: u64,
}

/// The provider's ledger, which nobody can argue with.
#[derive(Clone, Default)]
pub(crate) struct Provider(Arc<Mutex<HashMap<String, Payment>>>);

impl Provider {
    /// Answers on a free port until the program ends.
    pub(crate) async fn listen(&self) -> std::io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let provider = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let provider = provider.clone();
                tokio::spawn(async move { provider.serve(stream).await });
            }
        });
        Ok(address)
    }

    /// How often this payout was paid.
    pub(crate) async fn paid(&self, id: &str) -> usize {
        self.0.lock().await.get(id).map_or(0, |payment| payment.paid)
    }

    /// One request: `PAY id fence` or `STATUS id fence`.
    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let mut words = line.split_whitespace();
        let (verb, id, fence) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
        let answer = match verb {
            "PAY" => self.pay(id, fence).await?,
            _ => self.status(id, fence).await,
        };
        stream.write_all(format!("{answer}\n").as_bytes()).await.ok()
    }

    /// Of ten requests one is lost, one is paid and not answered, and one is paid when nobody waits any more.
    async fn pay(&self, id: &str, fence: u64) -> Option<&'static str> {
        if !self.enters(id, fence).await {
            return Some("OVERTAKEN");
        }
        match rand::random_range(0..10) {
            0 => {
                self.change(id, |payment| payment.pending -= 1).await;
                silence().await
            }
            1 => {
                self.is_paid(id).await;
                silence().await
            }
            2 => {
                sleep(LATE).await;
                self.is_paid(id).await;
                Some("PAID")
            }
            _ => {
                sleep(Duration::from_millis(rand::random_range(1..20))).await;
                self.is_paid(id).await;
                Some("PAID")
            }
        }
    }

    /// Whether the request is not from a teller that was overtaken.
    async fn enters(&self, id: &str, fence: u64) -> bool {
        self.change(id, |payment| {
            let enters = fence >= payment.fence;
            if enters {
                (payment.fence, payment.pending) = (fence, payment.pending + 1);
            }
            enters
        })
        .await
    }

    async fn is_paid(&self, id: &str) {
        self.change(id, |payment| (payment.paid, payment.pending) = (payment.paid + 1, payment.pending - 1))
            .await;
    }

    async fn status(&self, id: &str, fence: u64) -> &'static str {
        self.change(id, |payment| {
            payment.fence = payment.fence.max(fence);
            match (payment.paid, payment.pending) {
                (1.., _) => "PAID",
                (0, 1..) => "PENDING",
                (0, 0) => "NOTHING",
            }
        })
        .await
    }

    async fn change<T>(&self, id: &str, change: impl FnOnce(&mut Payment) -> T) -> T {
        change(self.0.lock().await.entry(id.to_owned()).or_default())
    }
}

/// Nobody hears anything.
async fn silence<T>() -> Option<T> {
    sleep(2 * LATE).await;
    None
}

/// The provider, as a teller reaches it.
#[derive(Clone)]
pub(crate) struct ProviderClient(pub(crate) String);

impl ProviderClient {
    /// The provider's answer to one request.
    pub(crate) async fn ask(&self, verb: &str, id: &str, fence: u64) -> std::io::Result<String> {
        let mut stream = BufReader::new(TcpStream::connect(&self.0).await?);
        stream.write_all(format!("{verb} {id} {fence}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        if answer.is_empty() {
            Err(std::io::Error::other("no answer from the provider"))
        } else {
            Ok(answer.trim().to_owned())
        }
    }
}
