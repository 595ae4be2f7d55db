//! A line to a server that breaks, hangs or swallows answers when a test wants it to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Open,
    /// Answers of the server are lost; requests arrive.
    Mute,
    /// Answers of the server come so late.
    Late(Duration),
    /// Connections are ended, new ones as soon as they are made.
    Cut,
}

/// Ends with the test's runtime.
pub(crate) struct Proxy {
    address: SocketAddr,
    line: watch::Sender<(u32, Line)>,
    questions: Arc<AtomicUsize>,
}

impl Proxy {
    /// In front of the server of this URL.
    pub(crate) async fn before(url: &str) -> Self {
        let (_, address) = url.rsplit_once('@').unwrap_or(("", url.split_once("://").unwrap().1));
        let target = address.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, watched) = watch::channel((0, Line::Open));
        let questions = Arc::<AtomicUsize>::default();
        let asked = questions.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&target).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let is_answered = Arc::new(AtomicBool::new(true));
                let [questions, answers] = [false, true].map(|answers| Turns {
                    asked: asked.clone(),
                    is_answered: is_answered.clone(),
                    answers,
                });
                tokio::spawn(pump(from_client, to_server, watched.clone(), questions));
                tokio::spawn(pump(from_server, to_client, watched.clone(), answers));
            }
        });
        Self { address, line, questions }
    }

    /// How many round trips have begun so far.
    pub(crate) fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    /// The URL, with this proxy in the server's place.
    pub(crate) fn url(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (user, rest) =
            rest.rsplit_once('@').map_or((String::new(), rest), |(user, rest)| (format!("{user}@"), rest));
        let (_, path) = rest.split_once('/').unwrap();
        format!("{scheme}://{user}{}/{path}", self.address)
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_modify(|(cuts, current)| {
            *cuts += u32::from(line == Line::Cut);
            *current = line;
        });
    }

    /// Ends the connections that there are.
    pub(crate) fn reset(&self) {
        self.set(Line::Cut);
        self.set(Line::Open);
    }
}

/// One direction of a connection, by which the round trips are counted: what is sent between two answers is one question.
struct Turns {
    asked: Arc<AtomicUsize>,
    is_answered: Arc<AtomicBool>,
    answers: bool,
}

impl Turns {
    fn note(&self) {
        if self.is_answered.swap(self.answers, Ordering::SeqCst) && !self.answers {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Until the line is cut.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<(u32, Line)>,
    turns: Turns,
) {
    let (begun, mut mode) = *line.borrow_and_update();
    let mut cuts = begun;
    let mut buffer = vec![0; 64 * 1024];
    while mode != Line::Cut && cuts == begun {
        tokio::select! {
            read = from.read(&mut buffer) => {
                let count = read.unwrap_or(0);
                turns.note();
                let answers = turns.answers;
                let lost = answers && mode == Line::Mute;
                if let (true, Line::Late(time)) = (answers, mode) {
                    tokio::time::sleep(time).await;
                }
                if count == 0 || (!lost && to.write_all(&buffer[..count]).await.is_err()) {
                    return;
                }
            }
            changed = line.changed() => {
                if changed.is_err() {
                    return;
                }
                (cuts, mode) = *line.borrow_and_update();
            }
        }
    }
}
