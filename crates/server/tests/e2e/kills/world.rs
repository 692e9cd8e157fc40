//! A service, the two hosts that it talks to, and its client; and one job's life in it, which a blow cuts off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse as _;
use domain::{EventId, JobId};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::blow::{Blow, kill};
use super::commits::Commits;
use super::onlooker::{self, Known, Rows};
use super::point::Point;
use crate::app::{Options, PATIENCE, TestApp};
use crate::files::FileHost;
use crate::receiver::{Answer, Receiver};
use crate::webhooks::DELIVERIES;

const SAMPLE: &str = "second.m4a";
const REPLAYS: &str = "/audio-extract/v1/webhooks/replay";
/// How often the service is asked how far it is.
const ASKED_EVERY: Duration = Duration::from_millis(10);

/// The service does not answer: it was killed.
struct Gone;

/// The source's host, which can fall silent.
struct Source {
    host: FileHost,
    was_asked: Arc<AtomicBool>,
    is_silent: Arc<AtomicBool>,
}

impl Source {
    async fn start() -> Self {
        let made = tokio::task::spawn_blocking(|| testkit::samples::sample(SAMPLE)).await;
        let file = std::fs::read(made.expect("a sample")).expect("the sample");
        let (was_asked, is_silent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (asked, silent) = (Arc::clone(&was_asked), Arc::clone(&is_silent));
        let routes = Router::new().fallback(move || {
            asked.store(true, Ordering::SeqCst);
            let (file, is_silent) = (file.clone(), silent.load(Ordering::SeqCst));
            async move {
                if is_silent {
                    std::future::pending::<()>().await;
                }
                file.into_response()
            }
        });
        Self { host: FileHost::serving(routes).await, was_asked, is_silent }
    }

    async fn wait_until_asked(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.was_asked.load(Ordering::SeqCst) {
            assert!(Instant::now() < deadline, "nobody asks for the source");
            tokio::time::sleep(ASKED_EVERY).await;
        }
    }
}

pub(crate) struct World {
    app: TestApp,
    commits: Option<Commits>,
    source: Source,
    receiver: Receiver,
    /// Jobs that have lived here.
    lives: u64,
}

impl World {
    pub(crate) async fn on_sqlite() -> Self {
        Self::over(None).await
    }

    pub(crate) async fn on_postgresql() -> Self {
        Self::over(Some(Commits::start().await)).await
    }

    async fn over(commits: Option<Commits>) -> Self {
        let mut options = Options::default()
            .with("WEBHOOK_RETRY_WAITS", "100ms,100ms,100ms,100ms,100ms")
            // How far a job is, is written at moments that nobody can foretell.
            .with("PROGRESS_INTERVAL", "1h")
            // What is done at a start is enough, and done again it would blur what a blow hits.
            .with("SWEEP_INTERVAL", "1h");
        if let Some(commits) = &commits {
            options = options.with("DATABASE_URL", &commits.url);
        }
        let (source, receiver) = (Source::start().await, Receiver::start().await);
        Self { app: TestApp::start_with(options).await, commits, source, receiver, lives: 0 }
    }

    /// A job's life, cut off by a blow, and what comes of it after the next start. The point at which it was cut
    /// off; none if the blow did not fall.
    pub(crate) async fn strike(&mut self, blow: Blow) -> Option<Point> {
        self.lives += 1;
        let mut known = Known::default();
        let was_cut_off = self.begin(blow).await.is_err() || self.live(blow, &mut known).await.is_err();
        self.end(blow, &mut known, was_cut_off).await;
        let (point, event) = self.look(&known).await;
        self.let_leases_run_out();
        self.app.configure("ROLE", "all");
        self.app.restart().await;
        self.recover(&mut known).await;
        self.judge(&known, event, format!("{blow:?} at {point:?}")).await;
        was_cut_off.then_some(point)
    }

    /// Starts the service anew, with everything in place for the blow. An error: it fell already.
    async fn begin(&mut self, blow: Blow) -> Result<(), Gone> {
        // Stopped in peace, so that each life begins with the same database, all of it in its one file, and makes
        // the same calls.
        assert!(self.app.terminate().await.success());
        self.source.was_asked.store(false, Ordering::SeqCst);
        self.source.is_silent.store(matches!(blow, Blow::SourceAsked), Ordering::SeqCst);
        if let Blow::Posted { is_replay } = blow {
            let before = is_replay.then_some(Answer::Status(200));
            before.into_iter().chain([Answer::Hang]).for_each(|answer| self.receiver.will(answer));
        }
        self.app.configure("ROLE", if matches!(blow, Blow::Answered) { "api" } else { "all" });
        self.app.restart_under(&blow.command()).await.map_err(|_| Gone)?;
        if let Some(commits) = &self.commits {
            commits.expect(Some(blow), self.app.pid());
        }
        Ok(())
    }

    /// The client's part.
    async fn live(&mut self, blow: Blow, known: &mut Known) -> Result<(), Gone> {
        let job = self.submit().await?;
        known.job = Some(job.clone());
        match blow {
            Blow::Answered => return self.strike_down(),
            Blow::SourceAsked => {
                self.source.wait_until_asked().await;
                return self.strike_down();
            }
            Blow::Posted { is_replay: false } => {
                known.posts.push(self.receiver.next().await);
                return self.strike_down();
            }
            _ => {}
        }
        let delivery = self.delivered(&job).await?;
        known.posts.push(self.receiver.next().await);
        if matches!(blow, Blow::ReplayAnswered) {
            self.app.kill_9();
            self.app.configure("ROLE", "api");
            self.app.restart().await;
        }
        let replay = self.replay(&delivery).await?;
        known.replay = Some(replay.clone());
        match blow {
            Blow::ReplayAnswered => return self.strike_down(),
            Blow::Posted { is_replay: true } => {
                known.posts.push(self.receiver.next().await);
                return self.strike_down();
            }
            _ => {}
        }
        self.replayed(&job, &replay).await
    }

    fn strike_down(&self) -> Result<(), Gone> {
        kill(self.app.pid());
        Err(Gone)
    }

    /// Makes sure of the end of a life that was cut off, and that the rest of the world is as it always is.
    async fn end(&mut self, blow: Blow, known: &mut Known, was_cut_off: bool) {
        if let Some(commits) = &self.commits {
            commits.expect(None, self.app.pid());
        }
        if was_cut_off {
            let deadline = Instant::now() + PATIENCE;
            while !self.app.has_ended() {
                assert!(Instant::now() < deadline, "{blow:?}: there is no answer, and yet it runs");
                tokio::time::sleep(ASKED_EVERY).await;
            }
        }
        // A life that was not cut off has come to its end, and is watched still.
        self.app.kill_9();
        known.is_source_asked = self.source.was_asked.load(Ordering::SeqCst);
        self.source.is_silent.store(false, Ordering::SeqCst);
        known.posts.extend(self.receiver.rest());
    }

    async fn rows(&self) -> Rows {
        let postgres = self.commits.as_ref().map(|commits| commits.url.as_str());
        Rows::of(self.app.data_dir(), postgres).await
    }

    /// What there is before the next start: the point, and the job's event if it has one.
    async fn look(&self, known: &Known) -> (Point, Option<EventId>) {
        let rows = self.rows().await;
        let point = onlooker::point(&rows, self.app.data_dir(), known).await;
        let event = match &known.job {
            Some(job) => rows.event(job).await.map(|event| event.id),
            None => None,
        };
        rows.close().await;
        (point, event)
    }

    /// On SQLite a start ends what an earlier process held. On PostgreSQL another node may hold it, so that time
    /// must pass, which it does here at once.
    fn let_leases_run_out(&self) {
        if let Some(commits) = &self.commits {
            let pass = "UPDATE job_leases SET until = 0; UPDATE delivery_leases SET until = 0";
            testkit::postgres().run_sql(&commits.name, pass);
        }
    }

    /// The client asks again for what it has no answer to; then all that was promised must come.
    async fn recover(&mut self, known: &mut Known) {
        let alive = "it is not killed now";
        let job = match &known.job {
            Some(job) => job.clone(),
            None => self.submit().await.map_err(|Gone| alive).expect("an answer"),
        };
        let delivery = self.delivered(&job).await.map_err(|Gone| alive).expect("a delivery");
        let replay = match &known.replay {
            Some(replay) => replay.clone(),
            None => self.replay(&delivery).await.map_err(|Gone| alive).expect("an answer"),
        };
        self.replayed(&job, &replay).await.map_err(|Gone| alive).expect("a replay");
        known.job = Some(job);
        known.posts.extend(self.receiver.rest());
    }

    /// Nothing is lost, doubled, stuck or another than it was.
    async fn judge(&self, known: &Known, event: Option<EventId>, blow: String) {
        let job = known.job.as_ref().expect("recovered");
        let rows = self.rows().await;
        let events = rows.events().await;
        let sequence: Vec<u64> = events.iter().filter_map(|event| event.sequence).collect();
        assert_eq!(sequence, (1..=self.lives).collect::<Vec<_>>(), "{blow}: one event a job, and no gap");
        let found = rows.event(job).await.expect("its event");
        assert!(event.is_none_or(|event| event == found.id), "{blow}: another event than at the kill");
        for post in &known.posts {
            post.verify();
            let (id, body) = (post.id(), &post.body[..]);
            assert_eq!((id, body), (found.id.as_str(), &found.body[..]), "{blow}: the same on each attempt");
        }
        let delivery = rows.delivery(job).await.expect("its delivery");
        let explained = onlooker::posts_explained(&delivery);
        let posts = known.posts.len();
        assert!(explained.contains(&posts), "{blow}: {posts} POSTs, of {:?}", delivery.attempts);
        assert!(!rows.is_anything_under_way().await, "{blow}: something is stuck");
        rows.close().await;
        let payload: Value = serde_json::from_slice(&found.body).expect("JSON");
        let file = self.app.download(job.as_str()).await;
        assert_eq!(payload["outputFile"]["size"], file.len(), "{blow}: the file that was announced");
    }

    /// Asks the service, which may be killed meanwhile.
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Value, Gone> {
        let answer = request.send().await.map_err(|_| Gone)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|_| Gone)?;
        let value: Value = serde_json::from_slice(&body).expect("JSON");
        assert!(status.is_success(), "{status}: {value}");
        Ok(value["data"].clone())
    }

    /// Submits this life's job, under its own idempotency key.
    async fn submit(&self) -> Result<JobId, Gone> {
        let body = json!({
            "source": {"type": "url", "url": self.source.host.url(SAMPLE)},
            "output": {"format": "wav"},
            "options": {"webhook": self.receiver.url()},
        });
        let request = self.app.post("/audio-extract/v1/extract", &body);
        let answer = self.ask(request.header("Idempotency-Key", format!("life-{}", self.lives))).await?;
        Ok(JobId::parse(answer["jobId"].as_str().expect("a job id")).expect("a job id"))
    }

    /// Has the delivery sent again; the replay's id.
    async fn replay(&self, delivery: &Value) -> Result<String, Gone> {
        // It alone: the lives before are over.
        let body = json!({"after": delivery["createdAt"]});
        let answer = self.ask(self.app.post(REPLAYS, &body)).await?;
        Ok(answer["replayId"].as_str().expect("a replay id").to_owned())
    }

    /// Waits until the job's event is delivered; its delivery.
    async fn delivered(&self, job: &JobId) -> Result<Value, Gone> {
        let path = format!("{DELIVERIES}?jobId={job}");
        let page = self.ask_until(&path, |page| page["items"][0]["state"] == "delivered").await?;
        Ok(page["items"][0].clone())
    }

    async fn replayed(&self, job: &JobId, replay: &str) -> Result<(), Gone> {
        self.ask_until(&format!("{REPLAYS}/{replay}"), |replay| replay["state"] == "finished").await?;
        self.delivered(job).await.map(drop)
    }

    async fn ask_until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value, Gone> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(self.app.get(path)).await?;
            if is_so(&answer) {
                return Ok(answer);
            }
            assert!(Instant::now() < deadline, "{path} is still {answer}");
            tokio::time::sleep(ASKED_EVERY).await;
        }
    }
}
