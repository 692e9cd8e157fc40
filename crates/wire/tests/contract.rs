//! The public JSON against the contract's own samples, byte for byte.

use std::time::Duration;

use domain::*;
use serde_json::Value;

const LINK: &str = "https://cdn.example.com/audio/job_a1b2c3d4e5f6g7h8/my-audio-file.mp3";

fn spec(options: &str) -> JobSpec {
    let body = format!(
        r#"{{"source":{{"type":"url","url":"https://example.com/video.mp4"}},"output":{{"format":"mp3"}},"options":{options}}}"#
    );
    wire::parse_extract(body.as_bytes()).expect("a spec")
}

fn job(options: &str, state: JobState) -> Job {
    Job {
        id: JobId::parse("job_a1b2c3d4e5f6g7h8").expect("an id"),
        key: KeyId::from_random([1; 8]),
        batch: None,
        spec: spec(options),
        created_at: at(0),
        attempts: 1,
        input: None,
        fetched: Fetched::default(),
        state,
    }
}

/// `2026-01-21T12:34:56.789Z`, and so many seconds later.
fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(1_768_998_896_789 + secs * 1000)
}

fn done() -> Completed {
    let result = ResultFile {
        filename: "my-audio-file.mp3".to_owned(),
        location: "job_a1b2c3d4e5f6g7h8/1/my-audio-file.mp3".to_owned(),
        size: 4_824_000,
        duration_secs: 120.5,
        bitrate_kbps: 192,
        method: Method::Encode,
        sha256: "00".repeat(32),
        sample_rate: 48_000,
        channels: 2,
        damaged_packets: 0,
        loudness: None,
        metadata_left_out: Vec::new(),
    };
    Completed { at: at(0), result, expires_at: at(86_400) }
}

fn failed() -> Failed {
    let failure =
        Failure::permanent(FailureCode::ExtractionFailed, "Audio extraction failed due to unsupported codec")
            .with_details("Video codec VP9 is not supported in FLAC output")
            .with_private("never shown");
    Failed { at: at(14), failure: failure.public, percent: Percent::new(40) }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_completed_event_is_the_contracts_sample() {
    let job = job("{}", JobState::Completed(done()));
    insta::assert_snapshot!(text(wire::event::completed(&job, &done(), LINK)), @r#"{"event":"job.completed","jobId":"job_a1b2c3d4e5f6g7h8","status":"completed","timestamp":"2026-01-21T12:34:56Z","downloadUrl":"/audio-extract/v1/download/job_a1b2c3d4e5f6g7h8","outputFile":{"filename":"my-audio-file.mp3","url":"https://cdn.example.com/audio/job_a1b2c3d4e5f6g7h8/my-audio-file.mp3","size":4824000,"duration":120.5,"format":"mp3","bitrate":"192k"}}"#);
}

#[test]
fn a_failed_event_is_the_contracts_sample() {
    let job = job("{}", JobState::Failed(failed()));
    insta::assert_snapshot!(text(wire::event::failed(&job, &failed())), @r#"{"event":"job.failed","jobId":"job_a1b2c3d4e5f6g7h8","status":"failed","timestamp":"2026-01-21T12:35:10Z","error":{"code":"EXTRACTION_FAILED","message":"Audio extraction failed due to unsupported codec","details":"Video codec VP9 is not supported in FLAC output"}}"#);
}

#[test]
fn events_of_a_running_job_have_the_documented_fields_and_no_other() {
    let progress = Progress {
        step: Step::Extracting,
        percent: Percent::new(65),
        remaining: Some(Duration::from_millis(15_400)),
    };
    let state = JobState::Processing(Processing { started_at: at(0), progress });
    let plain = job("{}", state.clone());
    insta::assert_snapshot!(text(wire::event::started(&plain, at(0))), @r#"{"event":"job.started","jobId":"job_a1b2c3d4e5f6g7h8","status":"processing","timestamp":"2026-01-21T12:34:56Z"}"#);
    let unknown = Progress { remaining: None, ..progress };
    insta::assert_snapshot!(text(wire::event::progress(&plain, unknown, at(0))), @r#"{"event":"job.progress","jobId":"job_a1b2c3d4e5f6g7h8","status":"processing","timestamp":"2026-01-21T12:34:56Z","progress":65,"currentStep":"extracting_audio"}"#);
    let marked = job(r#"{"metadata":{"order":"17"}}"#, state);
    insta::assert_snapshot!(text(wire::event::started(&marked, at(0))), @r#"{"event":"job.started","jobId":"job_a1b2c3d4e5f6g7h8","status":"processing","timestamp":"2026-01-21T12:34:56Z","metadata":{"order":"17"}}"#);
    insta::assert_snapshot!(text(wire::event::progress(&marked, progress, at(1))), @r#"{"event":"job.progress","jobId":"job_a1b2c3d4e5f6g7h8","status":"processing","timestamp":"2026-01-21T12:34:57Z","progress":65,"currentStep":"extracting_audio","estimatedTimeRemaining":15,"metadata":{"order":"17"}}"#);
}

#[test]
fn metadata_is_in_the_event_only_if_it_was_given() {
    let job = job(r#"{"metadata":{"order":"17"}}"#, JobState::Failed(failed()));
    let event: Value = serde_json::from_slice(&wire::event::failed(&job, &failed())).expect("JSON");
    assert_eq!(event["metadata"], serde_json::json!({"order": "17"}));
}

#[test]
fn an_accepted_job_is_answered_as_documented() {
    let id = JobId::parse("job_00000000000000ab").expect("an id");
    let answer = wire::error::success(wire::response::ExtractResponse::new(&id, 30));
    insta::assert_snapshot!(text(answer), @r#"{"success":true,"data":{"jobId":"job_00000000000000ab","status":"queued","estimatedTime":30,"statusUrl":"/audio-extract/v1/status/job_00000000000000ab"}}"#);
}

#[test]
fn a_batch_lists_its_jobs() {
    let batch = BatchId::from_random([2; 8]);
    let jobs = [job("{}", JobState::Queued(Queued::default())), job("{}", JobState::Failed(failed()))];
    let answer = wire::error::success(wire::response::BatchResponse::new(&batch, &jobs));
    insta::assert_snapshot!(text(answer), @r#"{"success":true,"data":{"batchId":"batch_0202020202020202","totalJobs":2,"jobs":[{"jobId":"job_a1b2c3d4e5f6g7h8","status":"queued"},{"jobId":"job_a1b2c3d4e5f6g7h8","status":"failed"}]}}"#);
}

fn status(job: &Job) -> String {
    text(wire::error::success(wire::response::StatusResponse::new(job, LINK)))
}

#[test]
fn status_shows_each_state_as_documented() {
    let options = r#"{"filename":"my-audio-file","webhook":"https://example.com/webhook?t=1"}"#;
    insta::assert_snapshot!(status(&job(options, JobState::Queued(Queued::default()))), @r#"{"success":true,"data":{"jobId":"job_a1b2c3d4e5f6g7h8","status":"queued","progress":0,"inputFile":null,"outputFile":null,"options":{"filename":"my-audio-file","webhook":"https://example.com/webhook?t=1","priority":"normal"}}}"#);

    let progress = Progress {
        step: Step::Extracting,
        percent: Percent::new(65),
        remaining: Some(Duration::from_millis(15_400)),
    };
    let mut running = job(options, JobState::Processing(Processing { started_at: at(0), progress }));
    running.input = Some(InputFile {
        name: "video.mp4".to_owned(),
        size: Some(104_857_600),
        duration_secs: Some(120.5),
        format: "mp4".to_owned(),
    });
    running.fetched = Fetched { bytes: 3_145_728, requests: 9 };
    insta::assert_snapshot!(status(&running), @r#"{"success":true,"data":{"jobId":"job_a1b2c3d4e5f6g7h8","status":"processing","progress":65,"currentStep":"extracting_audio","estimatedTimeRemaining":15,"inputFile":{"name":"video.mp4","size":104857600,"duration":120.5,"format":"mp4","fetched":3145728,"requests":9},"outputFile":null,"options":{"filename":"my-audio-file","webhook":"https://example.com/webhook?t=1","priority":"normal"}}}"#);

    insta::assert_snapshot!(status(&job("{}", JobState::Completed(done()))), @r#"{"success":true,"data":{"jobId":"job_a1b2c3d4e5f6g7h8","status":"completed","progress":100,"inputFile":null,"outputFile":{"filename":"my-audio-file.mp3","url":"https://cdn.example.com/audio/job_a1b2c3d4e5f6g7h8/my-audio-file.mp3","size":4824000,"duration":120.5,"format":"mp3","bitrate":"192k","method":"encode","sampleRate":48000,"channels":2},"options":{"priority":"normal"},"downloadUrl":"/audio-extract/v1/download/job_a1b2c3d4e5f6g7h8","expiresAt":"2026-01-22T12:34:56Z"}}"#);

    insta::assert_snapshot!(status(&job("{}", JobState::Failed(failed()))), @r#"{"success":true,"data":{"jobId":"job_a1b2c3d4e5f6g7h8","status":"failed","progress":40,"inputFile":null,"outputFile":null,"options":{"priority":"normal"},"error":{"code":"EXTRACTION_FAILED","message":"Audio extraction failed due to unsupported codec","details":"Video codec VP9 is not supported in FLAC output"}}}"#);

    let mut unread = job("{}", JobState::Failed(failed()));
    unread.fetched = Fetched { bytes: 65_536, requests: 1 };
    insta::assert_snapshot!(status(&unread), @r#"{"success":true,"data":{"jobId":"job_a1b2c3d4e5f6g7h8","status":"failed","progress":40,"inputFile":{"name":"video.mp4","fetched":65536,"requests":1},"outputFile":null,"options":{"priority":"normal"},"error":{"code":"EXTRACTION_FAILED","message":"Audio extraction failed due to unsupported codec","details":"Video codec VP9 is not supported in FLAC output"}}}"#);
}

#[test]
fn source_headers_are_never_echoed() {
    let body = r#"{"source":{"type":"url","url":"https://e.com/v.mp4?sig=s3cret","headers":{"Authorization":"Bearer s3cret"}},"output":{"format":"mp3"}}"#;
    let mut job = job("{}", JobState::Queued(Queued::default()));
    job.spec = wire::parse_extract(body.as_bytes()).expect("a spec");
    assert!(!status(&job).contains("s3cret"));
    assert!(!format!("{job:?}").contains("s3cret"));
}

#[test]
fn an_error_has_its_envelope_and_leaves_absent_details_out() {
    let error = wire::RequestError::new(wire::ErrorCode::JobNotFound, "Check the id.");
    insta::assert_snapshot!(text(wire::error::failure(&error)), @r#"{"success":false,"error":{"code":"JOB_NOT_FOUND","message":"Check the id."}}"#);
}

#[test]
fn status_says_what_normalising_did_and_what_was_left_out() {
    let measured = |integrated_lufs, true_peak_dbtp| MeasuredLoudness { integrated_lufs, true_peak_dbtp };
    let mut completed = done();
    completed.result.damaged_packets = 2;
    completed.result.metadata_left_out = vec![MetadataPart::Chapters, MetadataPart::Cover];
    completed.result.loudness = Some(LoudnessReport::Normalized {
        before: measured(-27.304, -9.996),
        after: measured(-16.0, -1.0),
        gain_db: 11.304,
        limited_db: 2.308,
        shortfall_lu: -0.0,
        decoded_peak_dbtp: Some(-0.713),
    });
    let shown = |completed: &Completed| {
        let body = status(&job("{}", JobState::Completed(completed.clone())));
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let file = &body["data"]["outputFile"];
        let left_out = (file["damagedPackets"].clone(), file["metadataLeftOut"].clone());
        (file["loudness"].to_string(), left_out)
    };
    let (loudness, left_out) = shown(&completed);
    insta::assert_snapshot!(loudness, @r#"{"after":{"loudness":-16.0,"truePeak":-1.0},"before":{"loudness":-27.3,"truePeak":-10.0},"decodedTruePeak":-0.71,"gain":11.3,"limited":2.31,"normalized":true,"shortfall":0.0}"#);
    assert_eq!(left_out, (2.into(), serde_json::json!(["chapters", "cover"])));
    let state = JobState::Completed(completed.clone());
    let event = wire::event::completed(&job("{}", state), &completed, LINK);
    let event: Value = serde_json::from_slice(&event).expect("JSON");
    assert_eq!(
        event["outputFile"].as_object().expect("an object").len(),
        6,
        "status alone says more: {event}"
    );
    completed.result.loudness = Some(LoudnessReport::Unmeasurable);
    let (loudness, _) = shown(&completed);
    insta::assert_snapshot!(loudness, @r#"{"normalized":false,"reason":"silence, or less than 400 ms of sound, has no loudness; it was left as it is"}"#);
}
