//! A database that goes away, or no longer answers, under a running service.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::{Options, TestApp};
use crate::files::FileHost;
use crate::receiver::Receiver;

/// What the way to the database is like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Connections stay, and nothing comes through.
    Silent,
    /// Connections break, and new ones too.
    Cut,
}

/// A way to a database of its own that can be disturbed.
struct Proxy {
    name: String,
    url: String,
    way: watch::Sender<Way>,
    server: JoinHandle<()>,
}

impl Proxy {
    async fn start() -> Self {
        let database = testkit::postgres().create_database();
        let (named, folder) = database.split_once("?host=").expect("a socket's folder");
        let name = named.rsplit('/').next().expect("a name");
        let socket = format!("{folder}/.s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let way = watch::Sender::new(Way::Open);
        let seen = way.subscribe();
        let server = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (socket, mut seen) = (socket.clone(), seen.clone());
                tokio::spawn(async move {
                    let mut server = UnixStream::connect(socket).await.expect("the database");
                    let (mut asked, mut answered) = ([0; 8192], [0; 8192]);
                    loop {
                        let way = *seen.borrow_and_update();
                        let is_open = way == Way::Open;
                        let passed = tokio::select! {
                            _ = async {}, if way == Way::Cut => break,
                            changed = seen.changed() => changed.is_ok(),
                            read = client.read(&mut asked), if is_open => match read {
                                Ok(count @ 1..) => server.write_all(&asked[..count]).await.is_ok(),
                                _ => false,
                            },
                            read = server.read(&mut answered), if is_open => match read {
                                Ok(count @ 1..) => client.write_all(&answered[..count]).await.is_ok(),
                                _ => false,
                            },
                        };
                        if !passed {
                            break;
                        }
                    }
                });
            }
        });
        Self {
            name: name.to_owned(),
            url: format!("postgres://postgres@127.0.0.1:{port}/{name}"),
            way,
            server,
        }
    }

    fn become_way(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_and_comes_back_loses_and_doubles_nothing() {
    const JOBS: usize = 20;
    let (host, database) = (FileHost::of(&["second.m4a"]).await, Proxy::start().await);
    let mut receiver = Receiver::start().await;
    let app = TestApp::start_with(Options::default().with("DATABASE_URL", &database.url)).await;
    let body = json!({
        "source": {"type": "url", "url": host.url("second.m4a")},
        "output": {"format": "wav"},
        "options": {"webhook": receiver.url()},
    });
    let mut submitted = BTreeSet::new();
    for _ in 0..JOBS {
        submitted.insert(app.submit(&body).await);
    }
    receiver.next().await;
    database.become_way(Way::Cut);
    let refused = app.post("/audio-extract/v1/extract", &body).send().await.expect("an answer");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(app.get("/livez").send().await.expect("an answer").status(), 200);
    database.become_way(Way::Open);
    for job in &submitted {
        app.wait_until(job, |status| status["status"] == "completed").await;
    }
    let check = format!("DO $$ BEGIN ASSERT (SELECT COUNT(*) FROM events) = {JOBS}; END $$");
    testkit::postgres().run_sql(&database.name, &check);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_no_longer_answers_does_not_keep_the_service_from_stopping() {
    let database = Proxy::start().await;
    let options = Options::default().with("DATABASE_URL", &database.url).with("DRAIN_TIMEOUT", "1s");
    let app = TestApp::start_with(options).await;
    database.become_way(Way::Silent);
    // Every loop asks the database once a second and finds no answer any more.
    tokio::time::sleep(Duration::from_secs(2)).await;
    app.stop().await;
}
