//! The main job, as a customer sees it.

use serde_json::json;

use crate::app::{TestApp, json};
use crate::files::FileHost;
use crate::receiver::{Answer, Receiver};

#[tokio::test(flavor = "multi_thread")]
async fn a_videos_address_in_its_audio_and_a_signed_webhook_out() {
    let host = FileHost::of(&["faststart.mp4"]).await;
    let mut receiver = Receiver::start().await;
    let app = TestApp::start().await;

    let body = json!({
        "source": {"type": "url", "url": host.url("faststart.mp4")},
        "output": {"format": "mp3", "bitrate": "192k"},
        "options": {"filename": "my-audio-file", "webhook": receiver.url(), "metadata": {"order": "17"}},
    });
    let job = app.submit(&body).await;
    let event = receiver.next().await;
    event.verify();
    assert_eq!(event.header("content-type"), "application/json");
    assert_eq!(event.header("webhook-attempt"), "1");

    let payload = event.json();
    let status = app.status(&job).await;
    assert_eq!(payload["event"], "job.completed");
    assert_eq!(payload["jobId"], job);
    assert_eq!(payload["status"], "completed");
    assert_eq!(payload["metadata"], json!({"order": "17"}));
    assert_eq!(payload["downloadUrl"], format!("/audio-extract/v1/download/{job}"));
    assert_eq!(payload["outputFile"]["filename"], "my-audio-file.mp3");
    assert_eq!(payload["outputFile"]["format"], "mp3");
    assert_eq!(payload["outputFile"]["bitrate"], "192k");
    assert_eq!(payload["outputFile"].as_object().expect("an object").len(), 6);
    assert_eq!((&status["status"], &status["progress"]), (&json!("completed"), &json!(100)));
    assert_eq!(status["inputFile"]["name"], "faststart.mp4");
    assert_eq!(status["inputFile"]["format"], "mp4");

    let with_key = app.download(&job).await;
    let link = payload["outputFile"]["url"].as_str().expect("a link");
    let public = app.anonymous(reqwest::Method::GET, link).send().await.expect("an answer");
    assert_eq!(public.status(), 200);
    assert_eq!(public.headers()["content-type"], "audio/mpeg");
    assert_eq!(with_key, public.bytes().await.expect("a file"));
    assert_eq!(payload["outputFile"]["size"], with_key.len());
    assert!(receiver.rest().is_empty(), "one event, delivered once");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_what_normalising_did_and_the_webhook_does_not() {
    let host = FileHost::of(&["faststart.mp4"]).await;
    let mut receiver = Receiver::start().await;
    let app = TestApp::start().await;
    let body = json!({
        "source": {"type": "url", "url": host.url("faststart.mp4")},
        "output": {"format": "opus", "normalize": {"loudness": -23, "truePeak": -2}},
        "options": {"webhook": receiver.url()},
    });
    let job = app.submit(&body).await;
    let payload = receiver.next().await.json();
    let loudness = &app.status(&job).await["outputFile"]["loudness"];
    assert_eq!(loudness["normalized"], true, "{loudness}");
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    assert!((number(&loudness["after"]["loudness"]) + 23.0).abs() <= 0.2, "{loudness}");
    assert!(number(&loudness["after"]["truePeak"]) <= -2.0, "{loudness}");
    assert!(loudness["decodedTruePeak"].is_number(), "the child reads its own result back: {loudness}");
    assert_eq!(payload["outputFile"].as_object().expect("an object").len(), 6, "{payload}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_says_why_in_status_webhook_and_download() {
    let host = FileHost::of(&["no-audio.mp4"]).await;
    let mut receiver = Receiver::start().await;
    let app = TestApp::start().await;
    let body = json!({
        "source": {"type": "url", "url": host.url("no-audio.mp4")},
        "output": {"format": "mp3"},
        "options": {"webhook": receiver.url()},
    });
    let job = app.submit(&body).await;
    let event = receiver.next().await;
    event.verify();
    let payload = event.json();
    assert_eq!((&payload["event"], &payload["status"]), (&json!("job.failed"), &json!("failed")));
    assert_eq!(payload["error"]["code"], "EXTRACTION_FAILED");
    assert!(payload.get("outputFile").is_none() && payload.get("downloadUrl").is_none(), "{payload}");
    assert_eq!(app.status(&job).await["error"], payload["error"]);
    let (status, answer) = json(app.get(&format!("/audio-extract/v1/download/{job}"))).await;
    assert_eq!((status, &answer["error"]), (409, &payload["error"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_the_events_that_it_wants_and_no_other() {
    let host = FileHost::of(&["faststart.mp4", "no-audio.mp4"]).await;
    let mut receiver = Receiver::start().await;
    let app = TestApp::start().await;
    let submit = async |name: &str, events: &[&str]| {
        let body = json!({
            "source": {"type": "url", "url": host.url(name)},
            "output": {"format": "wav"},
            "options": {"webhook": receiver.url(), "webhookEvents": events},
        });
        let job = app.submit(&body).await;
        // Its delivery, if it has one, is there as soon as its end is.
        app.wait_for_end(&job).await;
        job
    };
    submit("faststart.mp4", &["job.failed"]).await;
    submit("no-audio.mp4", &["job.completed"]).await;
    let wanted =
        [submit("faststart.mp4", &["job.completed"]).await, submit("no-audio.mp4", &["job.failed"]).await];
    for job in wanted {
        assert_eq!(receiver.next().await.json()["jobId"], job);
    }
    assert!(receiver.rest().is_empty(), "an event that was not wanted");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_is_sent_again_with_the_same_id_and_bytes() {
    let host = FileHost::of(&["faststart.mp4"]).await;
    let answers = [Answer::Status(500), Answer::Status(302), Answer::Status(429)];
    let mut receiver = Receiver::answering(answers).await;
    let options = crate::app::Options::default().with("WEBHOOK_RETRY_WAITS", "100ms,100ms,100ms,100ms");
    let app = TestApp::start_with(options).await;
    let body = json!({
        "source": {"type": "url", "url": host.url("faststart.mp4")},
        "output": {"format": "wav"},
        "options": {"webhook": receiver.url()},
    });
    app.submit(&body).await;
    let first = receiver.next().await;
    for attempt in 2..=4 {
        let again = receiver.next().await;
        again.verify();
        assert_eq!((again.id(), &again.body), (first.id(), &first.body));
        assert_eq!(again.header("webhook-attempt"), attempt.to_string());
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_floor_of_free_disk_jobs_wait_instead_of_failing() {
    let host = FileHost::of(&["second.m4a"]).await;
    let options =
        crate::app::Options::default().with("MIN_FREE_BYTES", "1000000TB").with("POLL_INTERVAL", "100ms");
    let mut app = TestApp::start_with(options).await;
    let body = json!({"source": {"type": "url", "url": host.url("second.m4a")}, "output": {"format": "wav"}});
    let job = app.submit(&body).await;
    // The loop has looked, and left the job where it is.
    let deadline = tokio::time::Instant::now() + crate::app::PATIENCE;
    while !app.log().contains("too little free disk") {
        assert!(tokio::time::Instant::now() < deadline, "nothing is said of the disk");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(app.status(&job).await["status"], "queued");
    app.set("MIN_FREE_BYTES", "1MB").await;
    assert_eq!(app.wait_for_end(&job).await["status"], "completed");
    app.stop().await;
}
