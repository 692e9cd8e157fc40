//! What a key's owner sees and does about its webhooks.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Options, PATIENCE, TestApp, json};
use crate::files::FileHost;
use crate::receiver::{Answer, Receiver};

pub(crate) const DELIVERIES: &str = "/audio-extract/v1/webhooks/deliveries";

/// A key that was made beside the running service.
pub(crate) struct Key {
    pub(crate) id: String,
    api_key: String,
    pub(crate) webhook_secret: String,
}

/// Runs a command over the service's data; it prints one JSON object or nothing.
pub(crate) fn command(app: &TestApp, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_audio-extract"))
        .args(arguments)
        .env_clear()
        .env("AUDIO_EXTRACT_DATA_DIR", app.data_dir())
        .output()
        .expect("the command runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    if output.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&output.stdout).expect("JSON") }
}

impl Key {
    pub(crate) fn create(app: &TestApp, scopes: &str) -> Self {
        let made = command(app, &["keys", "create", "--name", "other", "--scope", scopes, "--json"]);
        let text = |name: &str| made[name].as_str().expect(name).to_owned();
        Self { id: text("id"), api_key: text("apiKey"), webhook_secret: text("webhookSecret") }
    }

    pub(crate) fn request(&self, app: &TestApp, method: Method, path: &str) -> reqwest::RequestBuilder {
        app.anonymous(method, &app.url(path)).header("X-API-Key", &self.api_key)
    }
}

/// A job that fails for good as soon as it is read: the quickest way to an event.
pub(crate) fn failing(host: &FileHost) -> Value {
    json!({"source": {"type": "url", "url": host.url("no-audio.mp4")}, "output": {"format": "mp3"}})
}

pub(crate) fn failing_to(host: &FileHost, receiver: &Receiver) -> Value {
    let mut job = failing(host);
    job["options"] = json!({"webhook": receiver.url()});
    job
}

pub(crate) async fn data(request: reqwest::RequestBuilder) -> Value {
    let (status, answer) = json(request).await;
    assert!((200..300).contains(&status), "{status}: {answer}");
    answer["data"].clone()
}

async fn items(app: &TestApp, query: &str) -> Vec<Value> {
    let page = data(app.get(&format!("{DELIVERIES}?{query}"))).await;
    assert_eq!(page["nextCursor"], Value::Null, "{page}");
    page["items"].as_array().expect("items").clone()
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["id"].as_str().expect("an id")).collect()
}

/// Asks until the answer satisfies the condition.
pub(crate) async fn until(app: &TestApp, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = data(app.get(path)).await;
        if condition(&answer) {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{path} is still {answer}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

pub(crate) async fn settled(app: &TestApp, count: usize) -> Vec<Value> {
    let is_settled = |page: &Value| {
        let items = page["items"].as_array().expect("items");
        items.len() == count && items.iter().all(|item| item["state"] != "pending")
    };
    until(app, DELIVERIES, is_settled).await["items"].as_array().expect("items").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_filtered_and_paged() {
    let host = FileHost::of(&["no-audio.mp4"]).await;
    let (healthy, gone) = (Receiver::start().await, Receiver::answering([Answer::Status(410)]).await);
    let app = TestApp::start().await;
    let jobs = json!({"jobs": [failing(&host), failing(&host), failing(&host)], "webhook": healthy.url()});
    data(app.post("/audio-extract/v1/batch", &jobs)).await;
    let lost = app.submit(&failing_to(&host, &gone)).await;
    let all = settled(&app, 4).await;
    let times: Vec<_> = all.iter().map(|item| item["createdAt"].as_str().expect("a time")).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "the newest first: {times:?}");

    let exhausted = items(&app, "state=exhausted").await;
    assert_eq!((exhausted.len(), &exhausted[0]["jobId"]), (1, &json!(lost)));
    let exhausted = &exhausted[0];
    assert_eq!((&exhausted["event"], &exhausted["attemptCount"]), (&json!("job.failed"), &json!(1)));
    for query in [format!("jobId={lost}"), format!("receiver={}", gone.address())] {
        assert_eq!(ids(&items(&app, &query).await), ids(std::slice::from_ref(exhausted)), "{query}");
    }
    assert_eq!(items(&app, "state=delivered").await.len(), 3);
    let (oldest, newest) = (times[3], times[0]);
    assert_eq!(items(&app, &format!("after={oldest}")).await.len(), 4);
    assert_eq!(items(&app, &format!("before={oldest}")).await.len(), 0);
    assert!(!ids(&items(&app, &format!("before={newest}")).await).contains(&ids(&all)[0]));

    let mut paged = Vec::new();
    let mut path = format!("{DELIVERIES}?limit=2");
    loop {
        let page = data(app.get(&path)).await;
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 2);
        paged.extend(items.iter().cloned());
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("{DELIVERIES}?limit=2&cursor={cursor}");
    }
    assert_eq!(ids(&paged), ids(&all));

    for wrong in ["state=lost", "limit=0", "cursor=nonsense", "statee=pending"] {
        let (status, answer) = json(app.get(&format!("{DELIVERIES}?{wrong}"))).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("INVALID_REQUEST")), "{wrong}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sees_its_own_webhooks_and_needs_the_permission() {
    let host = FileHost::of(&["no-audio.mp4"]).await;
    let receiver = Receiver::start().await;
    let app = TestApp::start().await;
    app.submit(&failing_to(&host, &receiver)).await;
    let id = settled(&app, 1).await[0]["id"].as_str().expect("an id").to_owned();
    let endpoint = data(app.get("/audio-extract/v1/webhooks/endpoints")).await["items"][0]["id"].clone();
    let endpoint = endpoint.as_str().expect("an id");

    let (stranger, unable) = (Key::create(&app, "webhooks"), Key::create(&app, "jobs:read,jobs:write"));
    for path in [DELIVERIES, "/audio-extract/v1/webhooks/endpoints", "/audio-extract/v1/events"] {
        assert_eq!(data(stranger.request(&app, Method::GET, path)).await["items"], json!([]), "{path}");
        let (status, answer) = json(unable.request(&app, Method::GET, path)).await;
        assert_eq!((status, &answer["error"]["code"]), (403, &json!("FORBIDDEN")), "{path}");
    }
    for (method, path) in [
        (Method::GET, format!("{DELIVERIES}/{id}")),
        (Method::POST, format!("{DELIVERIES}/{id}/replay")),
        (Method::POST, format!("/audio-extract/v1/webhooks/endpoints/{endpoint}/enable")),
        (Method::GET, "/audio-extract/v1/webhooks/replay/rpl_0123456789abcdef".to_owned()),
    ] {
        let (status, answer) = json(stranger.request(&app, method.clone(), &path)).await;
        assert_eq!((status, &answer["error"]["code"]), (404, &json!("NOT_FOUND")), "{path}");
        let (status, _) = json(unable.request(&app, method, &path)).await;
        assert_eq!(status, 403, "{path}");
    }
    for path in ["/audio-extract/v1/webhooks/test", "/audio-extract/v1/webhooks/replay"] {
        let (status, _) = json(unable.request(&app, Method::POST, path).body("{}")).await;
        assert_eq!(status, 403, "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_shown_and_a_replay_is_the_same_event() {
    let host = FileHost::of(&["no-audio.mp4"]).await;
    let mut receiver = Receiver::answering([Answer::Status(500)]).await;
    let app = TestApp::start_with(Options::default().with("WEBHOOK_RETRY_WAITS", "100ms,100ms")).await;
    app.submit(&failing_to(&host, &receiver)).await;
    let first = receiver.next().await;
    assert!(receiver.next().await.headers.get("webhook-replay").is_none());
    let id = settled(&app, 1).await[0]["id"].as_str().expect("an id").to_owned();

    let path = format!("{DELIVERIES}/{id}");
    let shown = data(app.get(&path)).await;
    assert_eq!((&shown["state"], &shown["sequence"]), (&json!("delivered"), &json!(1)));
    assert_eq!((&shown["eventId"], &shown["isReplay"]), (&json!(first.id()), &json!(false)));
    assert_eq!(shown["endpoint"]["state"], "healthy");
    let text = app.get(&path).send().await.expect("an answer").text().await.expect("a text");
    let body = std::str::from_utf8(&first.body).expect("UTF-8");
    assert!(text.contains(&format!(r#""body":{body},"#)), "byte for byte: {text}");
    let attempts = shown["attempts"].as_array().expect("attempts");
    let seen: Vec<_> = attempts.iter().map(|a| (&a["number"], &a["status"], &a["disposition"])).collect();
    assert_eq!(
        seen,
        [(&json!(1), &json!(500), &json!("rejected")), (&json!(2), &json!(200), &json!("delivered"))]
    );
    assert!(attempts.iter().all(|attempt| attempt["durationMs"].as_f64() > Some(0.0)), "{shown}");
    assert!(attempts[0]["phases"]["answerMs"].as_f64() > Some(0.0), "{shown}");
    let head = attempts[0]["request"].as_array().expect("a head");
    assert!(head.contains(&json!({"name": "webhook-id", "value": first.id()})), "{shown}");

    let again = data(app.request(Method::POST, &format!("{path}/replay"))).await;
    assert_eq!((&again["id"], &again["isReplay"]), (&json!(id), &json!(true)));
    let replayed = receiver.next().await;
    replayed.verify();
    assert_eq!((replayed.id(), &replayed.body), (first.id(), &first.body));
    assert_eq!((replayed.header("webhook-replay"), replayed.header("webhook-attempt")), ("true", "3"));
    let shown = until(&app, &path, |shown| shown["state"] == "delivered").await;
    assert_eq!(shown["attempts"].as_array().expect("attempts").len(), 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_just_being_sent_is_not_sent_again_beside_that() {
    let host = FileHost::of(&["no-audio.mp4"]).await;
    let mut receiver = Receiver::answering([Answer::Hang]).await;
    let options = Options::default().with("WEBHOOK_TIMEOUT", "3s").with("WEBHOOK_RETRY_WAITS", "1h");
    let app = TestApp::start_with(options).await;
    app.submit(&failing_to(&host, &receiver)).await;
    receiver.next().await;
    let id = data(app.get(DELIVERIES)).await["items"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("{DELIVERIES}/{id}");
    let (status, answer) = json(app.request(Method::POST, &format!("{path}/replay"))).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("INVALID_REQUEST")), "{answer}");
    until(&app, &path, |shown| shown["attemptCount"] == 1).await;
    data(app.request(Method::POST, &format!("{path}/replay"))).await;
    assert_eq!(receiver.next().await.header("webhook-replay"), "true");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_sent_again_over_http_and_from_the_command_line() {
    let host = FileHost::of(&["no-audio.mp4"]).await;
    let mut receiver = Receiver::start().await;
    let app = TestApp::start().await;
    let jobs = json!({"jobs": [failing(&host), failing(&host), failing(&host)], "webhook": receiver.url()});
    data(app.post("/audio-extract/v1/batch", &jobs)).await;
    settled(&app, 3).await;
    let mut sent: Vec<_> = receiver.rest().iter().map(|received| received.id().to_owned()).collect();
    sent.sort();

    let replay = "/audio-extract/v1/webhooks/replay";
    let (status, answer) = json(app.post(replay, &json!({}))).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (400, &json!("INVALID_REQUEST")),
        "all is not said by nothing"
    );
    let nothing = data(app.post(replay, &json!({"state": "exhausted"}))).await;
    let id = nothing["replayId"].as_str().expect("an id");
    let nothing = until(&app, &format!("{replay}/{id}"), |replay| replay["state"] == "finished").await;
    assert_eq!(nothing["replayed"], 0);

    let begun = data(app.post(replay, &json!({"state": "delivered"}))).await;
    let mut again = Vec::new();
    for _ in 0..3 {
        let received = receiver.next().await;
        assert_eq!(received.header("webhook-replay"), "true");
        again.push(received.id().to_owned());
    }
    again.sort();
    assert_eq!(again, sent);
    let path = format!("{replay}/{}", begun["replayId"].as_str().expect("an id"));
    let done = until(&app, &path, |replay| replay["state"] == "finished").await;
    assert_eq!((&done["replayed"], &done["skipped"]), (&json!(3), &json!(0)));

    settled(&app, 3).await;
    let output = Command::new(env!("CARGO_BIN_EXE_audio-extract"))
        .args(["webhooks", "replay", "--state", "delivered"])
        .env_clear()
        .env("AUDIO_EXTRACT_DATA_DIR", app.data_dir())
        .output()
        .expect("the command runs");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("rpl_"), "{output:?}");
    for _ in 0..3 {
        receiver.next().await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_a_feed_without_gaps() {
    let host = FileHost::of(&["no-audio.mp4"]).await;
    let mut receiver = Receiver::start().await;
    let app = TestApp::start().await;
    let unheard = failing(&host);
    let jobs = json!({"jobs": [failing_to(&host, &receiver), unheard, unheard, unheard, unheard]});
    let batch = data(app.post("/audio-extract/v1/batch", &jobs)).await;
    for job in batch["jobs"].as_array().expect("jobs") {
        app.wait_for_end(job["jobId"].as_str().expect("an id")).await;
    }
    let received = receiver.next().await;

    let (mut sequences, mut path) = (Vec::new(), "/audio-extract/v1/events?limit=2".to_owned());
    loop {
        let response = app.get(&path).send().await.expect("an answer");
        let text = response.text().await.expect("a body");
        let page: Value = serde_json::from_str::<Value>(&text).expect("JSON")["data"].clone();
        for event in page["items"].as_array().expect("items") {
            sequences.push(event["sequence"].as_u64().expect("a number"));
            if event["id"] == received.id() {
                let body = std::str::from_utf8(&received.body).expect("UTF-8");
                assert!(text.contains(body), "byte for byte: {text}");
                assert_eq!(received.header("webhook-sequence"), event["sequence"].to_string());
            }
        }
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/audio-extract/v1/events?limit=2&afterSequence={cursor}");
    }
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    let none = data(app.get("/audio-extract/v1/events?afterSequence=5")).await;
    assert_eq!(none, json!({"items": [], "nextCursor": null}));
    app.stop().await;
}
