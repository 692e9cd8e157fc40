//! Deliveries and events as their owner is shown them, byte for byte.

use std::time::Duration;

use domain::*;
use wire::webhook::*;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(1_768_998_896_789 + secs * 1000)
}

fn url() -> WebhookUrl {
    WebhookUrl::parse("https://hooks.example.com/x?token=t").expect("a URL")
}

fn event() -> Event {
    Event {
        id: EventId::from_random([1; 8]),
        key: KeyId::from_random([2; 8]),
        sequence: Some(17),
        job: JobId::parse("job_a1b2c3d4e5f6g7h8").expect("an id"),
        kind: EventKind::Completed,
        body: br#"{"event":"job.completed", "odd":1.0}"#.to_vec(),
        created_at: at(0),
    }
}

fn text(data: impl serde::Serialize) -> String {
    String::from_utf8(wire::error::success(data)).expect("UTF-8")
}

#[test]
fn a_delivery_shows_every_attempt_and_its_endpoint() {
    let (id, event, url) = (DeliveryId::from_random([3; 8]), event(), url());
    let facts = DeliveryFacts {
        id: &id,
        event: &event.id,
        kind: event.kind,
        sequence: event.sequence,
        job: &event.job,
        url: &url,
        state: DeliveryState::Pending,
        attempts: 1,
        last_status: Some(503),
        last_error: None,
        is_replay: false,
        created_at: at(0),
        next_at: Some(at(5)),
    };
    let outcome = SendOutcome {
        answer: b"no \xff".to_vec(),
        took: Duration::from_micros(12_345),
        phases: Phases { answer: Some(Duration::from_micros(2_500)), ..Phases::default() },
        request: [("webhook-attempt", "1")].into_iter().collect(),
        retry_after: Some(Duration::from_secs(20)),
        ..SendOutcome::answered(503)
    };
    let attempts = [DeliveryAttempt { number: 1, started_at: at(1), outcome }];
    let endpoint = Endpoint {
        id: EndpointId::of(&event.key, &url),
        key: event.key.clone(),
        receiver: Receiver::of(url.url()),
        url: url.clone(),
        state: EndpointState::Failing,
        failures: 5,
        first_failed_at: Some(at(0)),
        retry_at: Some(at(30)),
        reason: None,
        changed_at: at(2),
    };
    insta::assert_snapshot!(text(RecordedDeliveryResponse::new(facts, &event.body, &attempts, &endpoint, at(29))), @r#"{"success":true,"data":{"id":"dlv_0303030303030303","eventId":"msg_0101010101010101","event":"job.completed","sequence":17,"jobId":"job_a1b2c3d4e5f6g7h8","url":"https://hooks.example.com/x?token=t","receiver":"hooks.example.com:443","state":"pending","attemptCount":1,"lastStatus":503,"lastError":null,"isReplay":false,"createdAt":"2026-01-21T12:34:56.789Z","nextAttemptAt":"2026-01-21T12:35:01.789Z","body":{"event":"job.completed", "odd":1.0},"attempts":[{"number":1,"startedAt":"2026-01-21T12:34:57.789Z","disposition":"rejected","status":503,"error":null,"durationMs":12.345,"phases":{"dnsMs":null,"connectMs":null,"tlsMs":null,"answerMs":2.5,"bodyMs":null},"request":[{"name":"webhook-attempt","value":"1"}],"answer":"no �","retryAfter":20}],"endpoint":{"id":"ep_755cb38f6b585357","url":"https://hooks.example.com/x?token=t","receiver":"hooks.example.com:443","state":"failing","reason":null,"failures":5,"firstFailedAt":"2026-01-21T12:34:56.789Z","retryAt":"2026-01-21T12:35:26.789Z","changedAt":"2026-01-21T12:34:58.789Z"}}}"#);
    let delivered = DeliveryFacts { state: DeliveryState::Delivered, ..facts };
    insta::assert_snapshot!(text(ListResponse { items: vec![DeliveryResponse::from(delivered)], next_cursor: Some("c".to_owned()) }), @r#"{"success":true,"data":{"items":[{"id":"dlv_0303030303030303","eventId":"msg_0101010101010101","event":"job.completed","sequence":17,"jobId":"job_a1b2c3d4e5f6g7h8","url":"https://hooks.example.com/x?token=t","receiver":"hooks.example.com:443","state":"delivered","attemptCount":1,"lastStatus":503,"lastError":null,"isReplay":false,"createdAt":"2026-01-21T12:34:56.789Z","nextAttemptAt":null}],"nextCursor":"c"}}"#);
    insta::assert_snapshot!(text(TestResponse::new(&event, &attempts[0].outcome)), @r#"{"success":true,"data":{"eventId":"msg_0101010101010101","isDelivered":false,"disposition":"rejected","status":503,"error":null,"durationMs":12.345,"phases":{"dnsMs":null,"connectMs":null,"tlsMs":null,"answerMs":2.5,"bodyMs":null},"request":[{"name":"webhook-attempt","value":"1"}],"answer":"no �","retryAfter":20}}"#);
    let with_password = WebhookUrl::parse("https://user:pa55@hooks.example.com/x").expect("a URL");
    let (facts, endpoint) =
        (DeliveryFacts { url: &with_password, ..facts }, Endpoint { url: with_password.clone(), ..endpoint });
    let shown = text(RecordedDeliveryResponse::new(facts, &event.body, &[], &endpoint, at(30)));
    assert_eq!(shown.matches("https://***@hooks.example.com/x").count(), 2, "{shown}");
    assert!(!shown.contains("pa55"), "{shown}");
    assert!(shown.contains(r#""retryAt":null"#), "it has passed: {shown}");
}

#[test]
fn a_replay_says_how_far_it_is() {
    let id = ReplayId::from_random([4; 8]);
    let shown = |finished_at| text(ReplayResponse::new(&id, (2, 1, Some(3)), at(0), finished_at));
    insta::assert_snapshot!(shown(None), @r#"{"success":true,"data":{"replayId":"rpl_0404040404040404","state":"running","total":3,"replayed":2,"skipped":1,"createdAt":"2026-01-21T12:34:56.789Z","finishedAt":null}}"#);
    insta::assert_snapshot!(shown(Some(at(1))), @r#"{"success":true,"data":{"replayId":"rpl_0404040404040404","state":"finished","total":3,"replayed":2,"skipped":1,"createdAt":"2026-01-21T12:34:56.789Z","finishedAt":"2026-01-21T12:34:57.789Z"}}"#);
    let begun = text(ReplayResponse::new(&id, (0, 0, None), at(0), None));
    assert!(begun.contains(r#""total":null"#), "not counted yet: {begun}");
}

#[test]
fn an_events_body_is_shown_byte_for_byte() {
    let event = event();
    insta::assert_snapshot!(text(EventResponse::new(&event)), @r#"{"success":true,"data":{"sequence":17,"id":"msg_0101010101010101","event":"job.completed","jobId":"job_a1b2c3d4e5f6g7h8","createdAt":"2026-01-21T12:34:56.789Z","body":{"event":"job.completed", "odd":1.0}}}"#);
    assert!(EventResponse::new(&Event { body: b"{".to_vec(), ..event }).is_none());
}

#[test]
fn a_sample_has_the_fields_of_a_real_event() {
    let body = wire::event::sample(&event().job, at(0), "https://cdn.example.com/sample.mp3");
    insta::assert_snapshot!(String::from_utf8(body).expect("UTF-8"), @r#"{"event":"job.completed","jobId":"job_a1b2c3d4e5f6g7h8","status":"completed","timestamp":"2026-01-21T12:34:56Z","downloadUrl":"/audio-extract/v1/download/job_a1b2c3d4e5f6g7h8","outputFile":{"filename":"sample.mp3","url":"https://cdn.example.com/sample.mp3","size":240000,"duration":10.0,"format":"mp3","bitrate":"192k"}}"#);
}
