use domain::{Bitrate, ChannelCount, Loudness, SampleRate, Span, TrackChoice};

use super::*;

const FULL: &str = r#"{
  "source":  { "type": "url", "url": "https://example.com/video.mp4?token=t", "headers": {"Authorization": "Bearer x"} },
  "output":  { "format": "mp3", "quality": "high", "bitrate": "192k", "normalize": true, "preserveMetadata": true },
  "options": { "filename": "my-audio-file", "webhook": "https://example.com/webhook", "priority": "high",
               "metadata": {"order": "17"}, "webhookEvents": ["job.failed"] }
}"#;

/// The smallest request with one value replaced.
fn with(path: &str, value: &str) -> String {
    let mut body: Value = serde_json::from_str(
        r#"{"source":{"type":"url","url":"http://e.com/v.mp4"},"output":{"format":"mp3"},"options":{}}"#,
    )
    .expect("JSON");
    let (parent, field) = path.rsplit_once('/').expect("a path");
    let value = serde_json::from_str(value).expect("JSON");
    body.pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .expect("an object")
        .insert(field.to_owned(), value);
    body.to_string()
}

#[test]
fn the_documented_request_becomes_a_spec() {
    let spec = parse_extract(FULL.as_bytes()).expect("a spec");
    let SourceSpec::Url { url, headers } = &spec.source else { panic!("it is {:?}", spec.source) };
    assert_eq!(url.as_written(), "https://example.com/video.mp4?token=t");
    assert_eq!((headers[0].name.as_str(), headers[0].value.expose()), ("authorization", "Bearer x"));
    assert_eq!(spec.output.bitrate.map(Bitrate::kbps), Some(192));
    assert_eq!(spec.output.normalize, Some(Loudness::default()));
    assert_eq!(spec.result_filename(), "my-audio-file.mp3");
    assert_eq!(spec.options.priority, Priority::High);
    assert_eq!(spec.options.metadata, [("order".to_owned(), "17".to_owned())]);
    assert_eq!(spec.options.webhook_events, [EventKind::Failed]);
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let spec = parse_extract(
        br#"{"source":{"type":"url","url":"http://e.com/clip.webm"},"output":{"format":"opus"}}"#,
    )
    .expect("a spec");
    assert_eq!((spec.output.quality, spec.options.priority), (None, Priority::Normal));
    assert_eq!((spec.output.normalize, spec.options.webhook.is_none()), (None, true));
    assert_eq!(spec.result_filename(), "clip.opus");
}

#[test]
fn what_part_of_the_source_is_wanted_becomes_a_spec() {
    let output =
        |path: &str, value: &str| parse_extract(with(path, value).as_bytes()).expect("a spec").output;
    assert_eq!(output("/output/track", "2").track, Some(TrackChoice::Index(2)));
    assert_eq!(output("/output/track", "\"pt-BR\"").track, Some(TrackChoice::Language("pt-br".to_owned())));
    assert_eq!(output("/output/start", "90").span, Span { start_secs: 90.0, end_secs: None });
    assert_eq!(output("/output/end", "1.5").span, Span { start_secs: 0.0, end_secs: Some(1.5) });
    assert_eq!(output("/output/channels", "1").channels, Some(ChannelCount::Mono));
    assert_eq!(output("/output/sampleRate", "16000").sample_rate.map(SampleRate::hz), Some(16_000));
}

#[test]
fn a_wrong_value_gets_its_code_and_is_named() {
    use ErrorCode::*;
    let cases = [
        ("/source/type", "\"ftp\"", InvalidSource, "source.type"),
        ("/source/type", "\"upload\"", InvalidSource, "source.url"),
        ("/source/file", "\"file_a1b2c3d4e5f6g7h8\"", InvalidSource, "source.file"),
        ("/source", r#"{"type":"upload"}"#, InvalidRequest, "source.file"),
        ("/source", r#"{"type":"upload","file":"video.mp4"}"#, InvalidSource, "`file_`"),
        (
            "/source",
            r#"{"type":"upload","file":"file_a1b2c3d4e5f6g7h8","headers":{}}"#,
            InvalidSource,
            "source.headers",
        ),
        ("/source/type", "7", InvalidRequest, "source.type"),
        ("/source/url", "null", InvalidRequest, "source.url"),
        ("/source/url", "\"video.mp4\"", InvalidSource, "source.url"),
        ("/source/url", "\"file:///etc/passwd\"", InvalidSource, "only http and https"),
        ("/source/headers", r#"{"Range":"bytes=0-1"}"#, InvalidSource, "`range`"),
        ("/source/headers", r#"{"If-Match":"x"}"#, InvalidSource, "`if-match`"),
        ("/source/headers", r#"{"If-None-Match":"x"}"#, InvalidSource, "`if-none-match`"),
        ("/source/headers", r#"{"If-Modified-Since":"x"}"#, InvalidSource, "`if-modified-since`"),
        ("/source/headers", r#"{"If-Unmodified-Since":"x"}"#, InvalidSource, "`if-unmodified-since`"),
        ("/source/headers", r#"{"X-Token":"a\r\nb"}"#, InvalidSource, "`x-token`"),
        ("/source/uri", "\"x\"", InvalidRequest, "`source.uri`: unknown field"),
        ("/output/format", "\"mp4\"", InvalidOutput, "output.format"),
        ("/output/format", "3", InvalidRequest, "output.format"),
        ("/output/quality", "\"best\"", InvalidOutput, "output.quality"),
        ("/output/bitrate", "\"999k\"", InvalidOutput, "\"32k\" to \"320k\""),
        ("/output/normalize", "\"yes\"", InvalidRequest, "output.normalize"),
        (
            "/output/normalize",
            r#"{"loudness": -100}"#,
            InvalidOutput,
            "output.normalize.loudness`: takes -70 to -5",
        ),
        (
            "/output/normalize",
            r#"{"truePeak": 0.1}"#,
            InvalidOutput,
            "output.normalize.truePeak`: takes -9 to 0",
        ),
        ("/output/normalize", r#"{"truePeak": "-1"}"#, InvalidRequest, "output.normalize"),
        ("/output/normalize", r#"{"loudnes": -16}"#, InvalidRequest, "loudnes"),
        ("/output/preserveMetadata", "\"yes\"", InvalidRequest, "output.preserveMetadata"),
        ("/output/track", "-1", InvalidOutput, "output.track"),
        ("/output/track", "1.5", InvalidOutput, "output.track"),
        ("/output/track", "\"en us\"", InvalidOutput, "output.track"),
        ("/output/track", "[]", InvalidRequest, "output.track"),
        ("/output/start", "-1", InvalidOutput, "output.start"),
        ("/output/start", "\"1:30\"", InvalidRequest, "output.start"),
        ("/output/end", "0", InvalidOutput, "output.end"),
        ("/output/channels", "3", InvalidOutput, "output.channels"),
        ("/output/sampleRate", "96000", InvalidOutput, "8000, 11025"),
        ("/output/fromat", "\"mp3\"", InvalidRequest, "`output.fromat`: unknown field"),
        ("/options/filename", "\"a/b\"", InvalidRequest, "options.filename"),
        ("/options/webhook", "\"ftp://e.com\"", InvalidRequest, "options.webhook"),
        ("/options/priority", "\"urgent\"", InvalidRequest, "options.priority"),
        ("/options/metadata", r#"{"a":1}"#, InvalidRequest, "options.metadata"),
        ("/options/webhookEvents", r#"["job.done"]"#, InvalidRequest, "job.started, job.progress"),
        ("/webhook", "\"http://e.com\"", InvalidRequest, "`webhook`: unknown field"),
    ];
    for (path, value, code, named) in cases {
        let error = parse_extract(with(path, value).as_bytes()).expect_err(path);
        assert_eq!(error.code, code, "{path} = {value}: {error:?}");
        let details = error.details.as_deref().unwrap_or_default();
        assert!(details.contains(named), "{path} = {value}: {details:?} does not name {named:?}");
    }
}

#[test]
fn an_upload_is_named_by_its_id() {
    let body = with("/source", r#"{"type":"upload","file":"file_a1b2c3d4e5f6g7h8"}"#);
    let spec = parse_extract(body.as_bytes()).expect("a spec");
    let file = domain::FileId::parse("file_a1b2c3d4e5f6g7h8").expect("an id");
    assert_eq!(spec.source, SourceSpec::Upload { file, name: None });
    assert_eq!(spec.result_filename(), "file_a1b2c3d4e5f6g7h8.mp3");
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    for body in ["", "null", "[]", "{", "\"x\"", "{} {}", "{\"source\":{}}", "\u{feff}{}"] {
        assert_eq!(
            parse_extract(body.as_bytes()).expect_err(body).code,
            ErrorCode::InvalidRequest,
            "{body:?}"
        );
    }
    assert_eq!(parse_extract(b"\xff\xfe").expect_err("no UTF-8").code, ErrorCode::InvalidRequest);
    let trailing = format!("{FULL} x");
    assert_eq!(parse_extract(trailing.as_bytes()).expect_err("trailing").code, ErrorCode::InvalidRequest);
}

#[test]
fn a_list_is_no_object() {
    let source = r#"["url","http://e.com/v.mp4",null,null]"#;
    let output = r#"["mp3",null,null,null,null,null,null,null,null,null]"#;
    let whole = format!("[{source},{output},null]");
    let cases = [
        (parse_extract(whole.as_bytes()).map(drop), "expected an object"),
        (parse_extract(with("/source", source).as_bytes()).map(drop), "`source`: invalid type"),
        (parse_extract(with("/output", output).as_bytes()).map(drop), "`output`: invalid type"),
        (
            parse_extract(with("/options", "[null,null,null,null,null]").as_bytes()).map(drop),
            "`options`: invalid type",
        ),
        (parse_batch(format!("[[{PLAIN}],null]").as_bytes()).map(drop), "expected an object"),
        (parse_batch(batch(&[PLAIN, &whole]).as_bytes()).map(drop), "jobs[1]: invalid type"),
    ];
    for (parsed, named) in cases {
        let error = parsed.expect_err(named);
        let details = error.details.as_deref().unwrap_or_default();
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        assert!(details.contains(named), "{details:?} does not name {named:?}");
    }
}

#[test]
fn metadata_is_bounded_in_pairs_and_bytes() {
    let many: Map<String, Value> = (0..17).map(|n| (n.to_string(), Value::from("x"))).collect();
    assert!(parse_extract(with("/options/metadata", &Value::Object(many).to_string()).as_bytes()).is_err());
    let long = serde_json::json!({ "a": "x".repeat(4096) });
    assert!(parse_extract(with("/options/metadata", &long.to_string()).as_bytes()).is_err());
}

fn batch(jobs: &[&str]) -> String {
    format!(r#"{{"jobs":[{}],"webhook":"https://e.com/hook"}}"#, jobs.join(","))
}

const PLAIN: &str = r#"{"source":{"type":"url","url":"http://e.com/v"},"output":{"format":"wav"}}"#;

#[test]
fn a_batch_lends_its_webhook_to_jobs_without_one() {
    let own = r#"{"source":{"type":"url","url":"http://e.com/v"},"output":{"format":"wav"},"options":{"webhook":"https://own.example/"}}"#;
    let specs = parse_batch(batch(&[PLAIN, own]).as_bytes()).expect("two specs");
    let webhooks: Vec<_> =
        specs.iter().filter_map(|spec| spec.options.webhook.as_ref()).map(WebUrl::as_written).collect();
    assert_eq!(webhooks, ["https://e.com/hook", "https://own.example/"]);
}

#[test]
fn a_batch_names_the_job_that_is_wrong_and_has_its_bounds() {
    let wrong = PLAIN.replace("wav", "mp4");
    let error = parse_batch(batch(&[PLAIN, &wrong]).as_bytes()).expect_err("a wrong format");
    assert_eq!(error.code, ErrorCode::InvalidOutput);
    assert!(error.details.expect("details").starts_with("jobs[1]: `output.format`"));
    assert_eq!(parse_batch(batch(&[]).as_bytes()).expect_err("empty").code, ErrorCode::InvalidRequest);
    assert!(parse_batch(batch(&[PLAIN; 10]).as_bytes()).is_ok());
    let error = parse_batch(batch(&[PLAIN; 11]).as_bytes()).expect_err("too many");
    assert_eq!(error.code, ErrorCode::TooManyJobs);
}
