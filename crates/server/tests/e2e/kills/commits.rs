//! A way to PostgreSQL on which the service can be killed at a COMMIT, on either side of it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixStream, tcp};
use tokio::task::JoinHandle;

use super::blow::{Blow, kill};

/// A way to a database of its own.
pub(crate) struct Commits {
    pub(crate) name: String,
    pub(crate) url: String,
    watch: Arc<Watch>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Watch {
    blow: Mutex<Option<Blow>>,
    seen: AtomicUsize,
    pid: AtomicU32,
}

impl Commits {
    pub(crate) async fn start() -> Self {
        let database = testkit::postgres().create_database();
        let (named, folder) = database.split_once("?host=").expect("a socket's folder");
        let name = named.rsplit('/').next().expect("a name").to_owned();
        let socket = format!("{folder}/.s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let watch = Arc::new(Watch::default());
        let watching = Arc::clone(&watch);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.expect("the database");
                tokio::spawn(pass(client, server, Arc::clone(&watching)));
            }
        });
        let url = format!("postgres://postgres@127.0.0.1:{port}/{name}?sslmode=disable");
        Self { name, url, watch, server }
    }

    /// From now on commits are counted, and this process is killed at the one that is meant.
    pub(crate) fn expect(&self, blow: Option<Blow>, pid: u32) {
        self.watch.pid.store(pid, Ordering::SeqCst);
        self.watch.seen.store(0, Ordering::SeqCst);
        *self.watch.blow.lock().expect("the blow") = blow;
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Watch {
    /// Counts a commit; the blow that falls at it, if one does.
    fn falls(&self) -> Option<Blow> {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let blow = *self.blow.lock().expect("the blow");
        blow.filter(|blow| matches!(blow, Blow::BeforeCommit(at) | Blow::AfterCommit(at) if *at == seen))
    }

    fn strike(&self) {
        kill(self.pid.load(Ordering::SeqCst));
    }
}

/// Ends with the connection, whoever ends it.
async fn pass(client: TcpStream, server: UnixStream, watch: Arc<Watch>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let strikes_at_answer = AtomicBool::new(false);
    // A connection that breaks is what these tests are about.
    let _ = tokio::select! {
        ended = questions(from_client, to_server, &watch, &strikes_at_answer) => ended,
        ended = answers(from_server, to_client, &watch, &strikes_at_answer) => ended,
    };
}

/// Message by message: the first is without a type, the others are a type and a length, which counts itself.
async fn questions(
    mut from: tcp::OwnedReadHalf,
    mut to: OwnedWriteHalf,
    watch: &Watch,
    strikes_at_answer: &AtomicBool,
) -> std::io::Result<()> {
    let mut kind = None;
    loop {
        let length = from.read_u32().await?;
        let mut body = vec![0; length.saturating_sub(4) as usize];
        from.read_exact(&mut body).await?;
        if kind == Some(b'Q') && body.starts_with(b"COMMIT") {
            match watch.falls() {
                Some(Blow::BeforeCommit(_)) => {
                    watch.strike();
                    return Ok(());
                }
                Some(_) => strikes_at_answer.store(true, Ordering::SeqCst),
                None => {}
            }
        }
        let head = kind.into_iter().chain(length.to_be_bytes());
        to.write_all(&head.chain(body).collect::<Vec<u8>>()).await?;
        kind = Some(from.read_u8().await?);
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    watch: &Watch,
    strikes_at_answer: &AtomicBool,
) -> std::io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        if strikes_at_answer.load(Ordering::SeqCst) {
            watch.strike();
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
    }
}
