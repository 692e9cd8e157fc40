//! The contract, point by point, as existing clients rely on it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{API_KEY, Options, TestApp, json};
use crate::files::FileHost;

fn body(url: &str) -> Value {
    json!({"source": {"type": "url", "url": url}, "output": {"format": "wav"}})
}

/// A source that nobody will answer for: the job is accepted and stays in the queue of an `api` node.
const NOWHERE: &str = "https://media.example/video.mp4";

async fn api_only() -> TestApp {
    TestApp::start_with(Options::default().with("ROLE", "api")).await
}

fn error_code(answer: &Value) -> &str {
    assert_eq!(answer["success"], false, "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
    answer["error"]["code"].as_str().expect("a code")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_job_is_answered_as_documented() {
    let app = api_only().await;
    let (status, answer) = json(app.post("/audio-extract/v1/extract", &body(NOWHERE))).await;
    assert_eq!((status, &answer["success"]), (202, &json!(true)));
    let job = answer["data"]["jobId"].as_str().expect("an id");
    assert!(
        job.strip_prefix("job_")
            .is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    );
    assert_eq!(answer["data"]["status"], "queued");
    assert_eq!(answer["data"]["statusUrl"], format!("/audio-extract/v1/status/{job}"));
    assert!(answer["data"]["estimatedTime"].as_u64().is_some());
    let status = app.status(job).await;
    assert_eq!((&status["status"], &status["progress"]), (&json!("queued"), &json!(0)));
    let (code, answer) = json(app.get(&format!("/audio-extract/v1/download/{job}"))).await;
    assert_eq!((code, error_code(&answer)), (202, "JOB_NOT_COMPLETED"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_needed_everywhere_and_wrong_ones_are_401() {
    let app = api_only().await;
    for (method, path) in [
        (Method::POST, "/audio-extract/v1/extract"),
        (Method::POST, "/audio-extract/v1/batch"),
        (Method::GET, "/audio-extract/v1/batch/batch_0123456789abcdef"),
        (Method::GET, "/audio-extract/v1/status/job_0123456789abcdef"),
        (Method::GET, "/audio-extract/v1/download/job_0123456789abcdef"),
    ] {
        for key in [None, Some(""), Some("ae_wrong"), Some("ключ")] {
            let mut request = app.anonymous(method.clone(), &app.url(path));
            if let Some(key) = key {
                request = request.header("X-API-Key", key.as_bytes());
            }
            let (status, answer) = json(request).await;
            assert_eq!((status, error_code(&answer)), (401, "UNAUTHORIZED"), "{method} {path} with {key:?}");
        }
    }
    let bearer = app.anonymous(Method::GET, &app.url("/audio-extract/v1/status/job_0123456789abcdef"));
    let (status, answer) = json(bearer.bearer_auth(API_KEY)).await;
    assert_eq!((status, error_code(&answer)), (404, "JOB_NOT_FOUND"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_malformed_or_unknown_and_the_documented_sample_is_only_unknown() {
    let app = api_only().await;
    for path in ["status", "download"] {
        let (status, answer) = json(app.get(&format!("/audio-extract/v1/{path}/job_a1b2c3d4e5f6g7h8"))).await;
        assert_eq!((status, error_code(&answer)), (404, "JOB_NOT_FOUND"));
        for id in [
            "job_",
            "nonsense",
            "job_A1B2C3D4E5F6G7H8",
            "job_a1b2c3d4e5f6g7h8x",
            "batch_a1b2c3d4e5f6g7h8",
            "..%2f..",
            "%ff",
        ] {
            let (status, answer) = json(app.get(&format!("/audio-extract/v1/{path}/{id}"))).await;
            assert_eq!((status, error_code(&answer)), (400, "INVALID_JOB_ID"), "{path}/{id}");
        }
    }
    let (status, answer) = json(app.get("/audio-extract/v1/batch/batch_a1b2c3d4e5f6g7h8")).await;
    assert_eq!((status, error_code(&answer)), (404, "NOT_FOUND"));
    let (status, answer) = json(app.get("/audio-extract/v1/batch/%ff")).await;
    assert_eq!((status, error_code(&answer)), (400, "INVALID_JOB_ID"));
    for path in [
        "/",
        "/audio-extract",
        "/audio-extract/v1/extractt",
        "/audio-extract/v2/extract",
        "/audio/%ff/a?sig=a",
    ] {
        let (status, answer) = json(app.get(path)).await;
        assert_eq!((status, error_code(&answer)), (404, "NOT_FOUND"), "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_keys_job_is_not_found_rather_than_forbidden() {
    let app = api_only().await;
    let other = create_key(&app, "other", None);
    let reader = create_key(&app, "reader", Some("jobs:read"));
    let job = app.submit(&body(NOWHERE)).await;
    let path = app.url(&format!("/audio-extract/v1/status/{job}"));
    let (status, answer) =
        json(app.anonymous(Method::GET, &path).header("X-API-Key", other.key.clone())).await;
    assert_eq!((status, error_code(&answer)), (404, "JOB_NOT_FOUND"));
    let create =
        app.anonymous(Method::POST, &app.url("/audio-extract/v1/extract")).header("X-API-Key", reader.key);
    let (status, answer) = json(create.body(body(NOWHERE).to_string())).await;
    assert_eq!((status, error_code(&answer)), (403, "FORBIDDEN"));
    keys(&app, &["revoke", &other.id]);
    let (status, answer) = json(app.anonymous(Method::GET, &path).header("X-API-Key", other.key)).await;
    assert_eq!((status, error_code(&answer)), (401, "UNAUTHORIZED"));
    app.stop().await;
}

/// A key made beside the running service.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) key: String,
}

pub(crate) fn create_key(app: &TestApp, name: &str, scope: Option<&str>) -> Key {
    let mut arguments = vec!["create", "--name", name, "--json"];
    arguments.extend(scope.iter().flat_map(|scope| ["--scope", scope]));
    let made: Value = serde_json::from_str(&keys(app, &arguments)).expect("JSON");
    let text = |field: &str| made[field].as_str().unwrap_or_else(|| panic!("{field} in {made}")).to_owned();
    assert_eq!(text("name"), name);
    assert!(text("webhookSecret").starts_with("whsec_"));
    Key { id: text("id"), key: text("apiKey") }
}

/// `audio-extract keys …` beside the running service.
fn keys(app: &TestApp, arguments: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_audio-extract"))
        .env_clear()
        .env("AUDIO_EXTRACT_DATA_DIR", app.data_dir())
        .arg("keys")
        .args(arguments)
        .output()
        .expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_makes_a_request_safe_to_repeat() {
    let app = api_only().await;
    let send =
        |key: &str, body: &Value| app.post("/audio-extract/v1/extract", body).header("Idempotency-Key", key);
    let first = json(send("order-17", &body(NOWHERE))).await;
    assert_eq!(first.0, 202);
    assert_eq!(json(send("order-17", &body(NOWHERE))).await, first);
    assert_ne!(json(send("order-18", &body(NOWHERE))).await.1["data"]["jobId"], first.1["data"]["jobId"]);
    let (status, answer) = json(send("order-17", &body("https://media.example/other.mp4"))).await;
    assert_eq!((status, error_code(&answer)), (409, "IDEMPOTENCY_CONFLICT"));
    let (status, answer) = json(send(&"x".repeat(256), &body(NOWHERE))).await;
    assert_eq!((status, error_code(&answer)), (400, "INVALID_REQUEST"));
    // Twenty at once are one job.
    let at_once: Vec<_> = (0..20).map(|_| tokio::spawn(json(send("at-once", &body(NOWHERE))))).collect();
    let mut ids = std::collections::HashSet::new();
    for answer in at_once {
        ids.insert(answer.await.expect("an answer").1["data"]["jobId"].to_string());
    }
    assert_eq!(ids.len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_all_or_none_and_lends_its_webhook() {
    let app = api_only().await;
    let own = json!({"source": {"type": "url", "url": NOWHERE}, "output": {"format": "mp3"}, "options": {"webhook": "https://own.example/"}});
    let batch = json!({"jobs": [body(NOWHERE), own], "webhook": "https://hooks.example/batch"});
    let (status, answer) = json(app.post("/audio-extract/v1/batch", &batch)).await;
    assert_eq!((status, &answer["data"]["totalJobs"]), (202, &json!(2)));
    let id = answer["data"]["batchId"].as_str().expect("an id");
    let (status, looked_up) = json(app.get(&format!("/audio-extract/v1/batch/{id}"))).await;
    assert_eq!((status, &looked_up["data"]), (200, &answer["data"]));
    let mut webhooks = Vec::new();
    for job in answer["data"]["jobs"].as_array().expect("jobs") {
        webhooks.push(app.status(job["jobId"].as_str().expect("an id")).await["options"]["webhook"].clone());
    }
    assert_eq!(webhooks, ["https://hooks.example/batch", "https://own.example/"]);

    let wrong = json!({"jobs": [body(NOWHERE), body("http://10.0.0.1/video.mp4")]});
    let (status, answer) = json(app.post("/audio-extract/v1/batch", &wrong)).await;
    assert_eq!((status, error_code(&answer)), (400, "INVALID_SOURCE"));
    assert!(
        answer["error"]["details"].as_str().is_some_and(|details| details.contains("jobs[1]")),
        "{answer}"
    );
    let many = json!({"jobs": vec![body(NOWHERE); 11]});
    let (status, answer) = json(app.post("/audio-extract/v1/batch", &many)).await;
    assert_eq!((status, error_code(&answer)), (400, "TOO_MANY_JOBS"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_when_to_come_back() {
    let app = TestApp::start_with(Options::default().with("ROLE", "api").with("MAX_QUEUED", "2")).await;
    app.submit(&body(NOWHERE)).await;
    app.submit(&body(NOWHERE)).await;
    let response = app.post("/audio-extract/v1/extract", &body(NOWHERE)).send().await.expect("an answer");
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    let answer: Value = serde_json::from_slice(&response.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(error_code(&answer), "QUEUE_FULL");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_bound_is_413_and_other_methods_are_answered_in_the_envelope() {
    let app = api_only().await;
    let large = json!({"source": {"type": "url", "url": "x".repeat(2_000_000)}});
    let (status, answer) = json(app.post("/audio-extract/v1/extract", &large)).await;
    assert_eq!((status, error_code(&answer)), (413, "PAYLOAD_TOO_LARGE"));
    let (status, answer) = json(app.get("/audio-extract/v1/extract")).await;
    assert_eq!((status, error_code(&answer)), (405, "INVALID_REQUEST"));
    app.stop().await;
}

/// A completed wav of the service, its download path and its public link.
async fn completed(app: &TestApp, host: &FileHost) -> (String, String, String) {
    let mut request = body(&host.url("faststart.mp4"));
    request["options"] = json!({"filename": "für Élise"});
    let job = app.submit(&request).await;
    let status = app.wait_for_end(&job).await;
    let link = status["outputFile"]["url"].as_str().unwrap_or_else(|| panic!("{status}")).to_owned();
    assert_eq!(status["outputFile"]["method"], "encode");
    assert!(status["expiresAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{status}");
    (format!("/audio-extract/v1/download/{job}"), link, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_has_its_headers_ranges_and_conditions() {
    let host = FileHost::of(&["faststart.mp4"]).await;
    let app = TestApp::start().await;
    let (path, _, job) = completed(&app, &host).await;
    let whole = app.download(&job).await;
    let get = |name: &'static str, value: String| app.get(&path).header(name, value).send();

    let response = app.request(Method::HEAD, &path).send().await.expect("an answer");
    let header = |name: &str| response.headers()[name].to_str().expect("a text").to_owned();
    assert_eq!(response.status(), 200);
    assert_eq!(header("content-type"), "audio/wav");
    assert_eq!(header("content-length"), whole.len().to_string());
    assert_eq!(header("accept-ranges"), "bytes");
    assert!(header("content-disposition").starts_with("attachment; filename=\""));
    assert!(header("content-disposition").contains("filename*=UTF-8''f%C3%BCr%20%C3%89lise.wav"));
    let etag = header("etag");
    assert!(etag.starts_with('"'), "a strong tag: {etag}");

    let last = whole.len() - 1;
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 0),
        ("bytes=44-143".to_owned(), 44, 143),
        ("bytes=-10".to_owned(), last - 9, last),
        (format!("bytes={last}-"), last, last),
        (format!("bytes=5-{}", last + 1000), 5, last),
    ] {
        let response = get("Range", range.clone()).await.expect("an answer");
        assert_eq!(response.status(), 206, "{range}");
        assert_eq!(response.headers()["content-range"], format!("bytes {from}-{to}/{}", whole.len()));
        assert_eq!(response.bytes().await.expect("bytes"), whole[from..=to], "{range}");
    }
    let beyond = get("Range", format!("bytes={}-", whole.len())).await.expect("an answer");
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.headers()["content-range"], format!("bytes */{}", whole.len()));
    for nonsense in ["bytes=9-3", "lines=1-2", "bytes=a-b", "bytes=0-1,4-5"] {
        let response = get("Range", nonsense.to_owned()).await.expect("an answer");
        assert_eq!(response.status(), 200, "{nonsense}");
    }

    assert_eq!(get("If-None-Match", etag.clone()).await.expect("an answer").status(), 304);
    assert_eq!(get("If-None-Match", "\"other\"".to_owned()).await.expect("an answer").status(), 200);
    for (tag, status) in [(etag.as_str(), 206), ("\"other\"", 200)] {
        let request = app.get(&path).header("Range", "bytes=0-9").header("If-Range", tag);
        assert_eq!(request.send().await.expect("an answer").status(), status, "If-Range: {tag}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_link_needs_its_signature_and_nothing_else() {
    let host = FileHost::of(&["faststart.mp4"]).await;
    let app = TestApp::start().await;
    let (_, link, job) = completed(&app, &host).await;
    let response = app.anonymous(Method::GET, &link).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.bytes().await.expect("a file"), app.download(&job).await);
    let response =
        app.anonymous(Method::GET, &link).header("Range", "bytes=0-3").send().await.expect("an answer");
    assert_eq!(
        (response.status().as_u16(), response.bytes().await.expect("a part").as_ref()),
        (206, &b"RIFF"[..])
    );
    let (path, signature) = link.split_once("?sig=").expect("a signature");
    let mut forged = signature.to_owned();
    let first = if forged.starts_with('A') { "B" } else { "A" };
    forged.replace_range(0..1, first);
    for wrong in [
        path.to_owned(),
        format!("{path}?sig="),
        format!("{path}?sig={forged}"),
        link.replace(&job, "job_a1b2c3d4e5f6g7h8"),
    ] {
        let (status, answer) = json(app.anonymous(Method::GET, &wrong)).await;
        assert_eq!((status, error_code(&answer)), (404, "NOT_FOUND"), "{wrong}");
    }
    assert!(!app.log().contains(signature), "a signature was logged");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_gone_after_its_retention() {
    let host = FileHost::of(&["faststart.mp4"]).await;
    let options = Options::default().with("RETENTION", "2s").with("RETENTION_INTERVAL", "200ms");
    let app = TestApp::start_with(options).await;
    let (path, link, job) = completed(&app, &host).await;
    let folder = app.data_dir().join("files").join(&job);
    assert!(folder.exists(), "the result is kept at first");
    let deadline = tokio::time::Instant::now() + crate::app::PATIENCE;
    while folder.exists() {
        assert!(tokio::time::Instant::now() < deadline, "the file is still there");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for request in [app.get(&path), app.anonymous(Method::GET, &link)] {
        let (status, answer) = json(request).await;
        assert_eq!((status, error_code(&answer)), (410, "FILE_EXPIRED"));
    }
    assert_eq!(app.status(&job).await["status"], "completed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_without_a_key() {
    let app = api_only().await;
    for path in ["/livez", "/readyz", "/metrics"] {
        let response = app.anonymous(Method::GET, &app.url(path)).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_over_the_same_data_is_refused() {
    let app = api_only().await;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_audio-extract"))
        .env_clear()
        .env("AUDIO_EXTRACT_DATA_DIR", app.data_dir())
        .env("AUDIO_EXTRACT_LISTEN", "127.0.0.1:0")
        .arg("serve")
        .output()
        .expect("the command runs");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(app.data_dir().to_str().expect("UTF-8")), "{stderr}");
    app.stop().await;
}
