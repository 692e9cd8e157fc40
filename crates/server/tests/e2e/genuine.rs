//! What makes a webhook genuine, and trying a receiver out.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Options, PATIENCE, TestApp, json};
use crate::files::FileHost;
use crate::receiver::{Answer, Receiver};
use crate::webhooks::{DELIVERIES, Key, command, data, failing_to, settled, until};

const ENDPOINTS: &str = "/audio-extract/v1/webhooks/endpoints";
const TEST: &str = "/audio-extract/v1/webhooks/test";

#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_tried_with_a_signed_sample() {
    let mut receiver = Receiver::answering([Answer::Status(200), Answer::Status(302)]).await;
    let app = TestApp::start_with(Options::default().with("ROLE", "api")).await;
    let test = |url: &str| app.post(TEST, &json!({"url": url}));

    let tried = data(test(&receiver.url())).await;
    let received = receiver.next().await;
    received.verify();
    assert_eq!((&tried["isDelivered"], &tried["status"]), (&json!(true), &json!(200)));
    assert_eq!(tried["eventId"], received.id());
    let payload = received.json();
    assert_eq!((&payload["event"], &payload["status"]), (&json!("job.completed"), &json!("completed")));
    assert_eq!(payload["outputFile"].as_object().expect("an object").len(), 6);

    let tried = data(test(&receiver.url())).await;
    assert_eq!((&tried["isDelivered"], &tried["disposition"]), (&json!(false), &json!("rejected")));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let tried = data(test(&format!("http://{address}/"))).await;
    assert_eq!((&tried["disposition"], &tried["error"]), (&json!("not_sent"), &json!("connect")));

    for url in ["http://10.0.0.1/hook", "ftp://a.example/"] {
        let (status, answer) = json(test(url)).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("INVALID_REQUEST")), "{url}");
    }
    for path in [DELIVERIES, "/audio-extract/v1/events"] {
        assert_eq!(data(app.get(path)).await["items"], json!([]), "a try is kept nowhere");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_receivers_are_tried_at_once_and_one_key_has_not_all_of_them() {
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let body = json!({"url": format!("http://{}/", mute.local_addr().expect("an address"))});
    let options = Options::default().with("ROLE", "api").with("WEBHOOK_TIMEOUT", "5s");
    let app =
        TestApp::start_with(options.with("WEBHOOK_TESTS", "2").with("WEBHOOK_TESTS_PER_KEY", "1")).await;
    let (one, other, late) =
        (Key::create(&app, "webhooks"), Key::create(&app, "webhooks"), Key::create(&app, "webhooks"));
    let test = |key: &Key| {
        let request = key.request(&app, Method::POST, TEST).header("Content-Type", "application/json");
        request.body(body.to_string()).send()
    };
    let first = tokio::spawn(test(&one));
    let _held = mute.accept().await.expect("the first try");
    let refused = test(&one).await.expect("an answer");
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &"5".parse().expect("a value"))
    );
    assert_eq!(json_of(refused).await["error"]["code"], json!("RATE_LIMITED"));
    let second = tokio::spawn(test(&other));
    let _held_too = mute.accept().await.expect("the other key's try");
    assert_eq!(test(&late).await.expect("an answer").status().as_u16(), 429, "there were two");
    for tried in [first, second] {
        let tried = tried.await.expect("no panic").expect("an answer");
        assert_eq!(json_of(tried).await["data"]["disposition"], json!("maybe_delivered"));
    }
    app.stop().await;
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.expect("a body")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_the_settings_change_overlaps_with_the_one_before() {
    let host = FileHost::of(&["no-audio.mp4"]).await;
    let mut receiver = Receiver::start().await;
    let mut app = TestApp::start().await;
    let second = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    app.set("WEBHOOK_SECRET", second).await;
    app.submit(&failing_to(&host, &receiver)).await;
    let received = receiver.next().await;
    received.verify();
    let webhook = standardwebhooks::Webhook::new(second).expect("a secret");
    webhook.verify(&received.body, &received.headers).expect("signed with the new one too");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_rotation_overlaps_old_and_new_secret_verify() {
    let host = FileHost::of(&["no-audio.mp4"]).await;
    let mut receiver = Receiver::start().await;
    let app = TestApp::start().await;
    let key = Key::create(&app, "jobs:read,jobs:write,webhooks");
    let body = failing_to(&host, &receiver).to_string();
    let submit = || data(key.request(&app, Method::POST, "/audio-extract/v1/extract").body(body.clone()));
    let verifies = |received: &crate::receiver::Received, secret: &str| {
        let webhook = standardwebhooks::Webhook::new(secret).expect("a secret");
        webhook.verify(&received.body, &received.headers).is_ok()
    };
    let rotate = |overlap: &str| {
        let made = command(&app, &["keys", "rotate-secret", &key.id, "--overlap", overlap, "--json"]);
        made["webhookSecret"].as_str().expect("a secret").to_owned()
    };
    let public_keys = format!("/.well-known/webhook-keys/{}", key.id);
    assert_eq!(json(app.anonymous(Method::GET, &app.url(&public_keys))).await.0, 404);

    let second = rotate("24h");
    let public = command(&app, &["keys", "add-signing-key", &key.id, "--json"])["publicKey"].clone();
    command(&app, &["keys", "set-header", &key.id, "X-Token", "t0ken"]);
    submit().await;
    let received = receiver.next().await;
    assert!(verifies(&received, &second) && verifies(&received, &key.webhook_secret));
    assert_eq!(received.header("x-token"), "t0ken");
    let (status, published) = json(app.anonymous(Method::GET, &app.url(&public_keys))).await;
    assert_eq!((status, published), (200, json!({"keyId": key.id, "publicKeys": [public]})));
    let shown_public = public.clone();
    let public = egress::sign::PublicKey::parse(public.as_str().expect("a text")).expect("a public key");
    let at = received.header("webhook-timestamp").parse().expect("seconds");
    assert!(public.verifies(received.id(), at, &received.body, received.header("webhook-signature")));

    let listed = data(key.request(&app, Method::GET, DELIVERIES)).await;
    let path = format!("{DELIVERIES}/{}", listed["items"][0]["id"].as_str().expect("an id"));
    let shown = data(key.request(&app, Method::GET, &path)).await;
    assert!(!shown.to_string().contains("t0ken"), "{shown}");

    command(&app, &["keys", "set-header", &key.id, "--remove"]);
    let written = shown_public.as_str().expect("a text");
    command(&app, &["keys", "remove-signing-key", &key.id, written]);
    assert_eq!(json(app.anonymous(Method::GET, &app.url(&public_keys))).await.0, 404);
    let third = rotate("0s");
    // The service remembers a key's secrets for a moment.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let received = loop {
        submit().await;
        let received = receiver.next().await;
        if verifies(&received, &third) {
            break received;
        }
        assert!(tokio::time::Instant::now() < deadline, "the new secret does not sign");
    };
    assert!(!verifies(&received, &second), "without overlap the old one is gone");
    assert!(received.headers.get("x-token").is_none());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_said_gone_is_shown_and_can_be_enabled() {
    let host = FileHost::of(&["no-audio.mp4"]).await;
    let mut receiver = Receiver::answering([Answer::Status(410)]).await;
    let app = TestApp::start().await;
    app.submit(&failing_to(&host, &receiver)).await;
    settled(&app, 1).await;
    receiver.next().await;
    let listed = data(app.get(ENDPOINTS)).await["items"].clone();
    let endpoint = &listed[0];
    assert_eq!((&endpoint["url"], &endpoint["state"]), (&json!(receiver.url()), &json!("disabled")));
    assert!(endpoint["reason"].as_str().is_some_and(|reason| reason.contains("410")), "{endpoint}");

    let path = format!("{ENDPOINTS}/{}/enable", endpoint["id"].as_str().expect("an id"));
    let enabled = data(app.request(Method::POST, &path)).await;
    assert_eq!((&enabled["state"], &enabled["reason"]), (&json!("healthy"), &Value::Null));
    app.submit(&failing_to(&host, &receiver)).await;
    receiver.next().await;
    app.stop().await;
}

/// Time passes by turning back when the first failure was.
#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_fails_everything_for_five_days_is_disabled_and_loses_nothing() {
    let host = FileHost::of(&["no-audio.mp4"]).await;
    let mut receiver = Receiver::answering([Answer::Status(500), Answer::Status(500)]).await;
    let database = testkit::postgres().create_database();
    let name = database.split(['/', '?']).nth(3).expect("a name").to_owned();
    let options = Options::default().with("DATABASE_URL", &database).with("WEBHOOK_RETRY_WAITS", "1h,1h,1h");
    let app = TestApp::start_with(options).await;
    let endpoint_is = async |state: &str| {
        let has_state = |page: &Value| page["items"][0]["state"] == state;
        until(&app, ENDPOINTS, has_state).await["items"][0].clone()
    };

    app.submit(&failing_to(&host, &receiver)).await;
    let first = receiver.next().await;
    let was_tried = |page: &Value| page["items"][0]["attemptCount"] == 1;
    let delivery = until(&app, DELIVERIES, was_tried).await["items"][0]["id"].clone();
    let replay = format!("{DELIVERIES}/{}/replay", delivery.as_str().expect("an id"));
    assert_eq!(endpoint_is("healthy").await["reason"], Value::Null);
    let five_days = "UPDATE endpoints SET first_failed_at = first_failed_at - 5 * 24 * 3600 * 1000";
    testkit::postgres().run_sql(&name, five_days);
    data(app.request(Method::POST, &replay)).await;
    receiver.next().await;
    let endpoint = endpoint_is("disabled").await;
    assert!(endpoint["reason"].as_str().is_some_and(|reason| reason.contains("5 days")), "{endpoint}");

    let second = app.submit(&failing_to(&host, &receiver)).await;
    app.wait_for_end(&second).await;
    let listed = data(app.get(&format!("{DELIVERIES}?state=pending"))).await;
    let listed = listed["items"].as_array().expect("items");
    let seen: Vec<_> = listed.iter().map(|item| (&item["attemptCount"], &item["jobId"])).collect();
    assert_eq!(seen[0], (&json!(0), &json!(second)), "what came since is kept");
    assert_eq!((seen.len(), seen[1].0), (2, &json!(2)), "and so is what failed");
    let events = data(app.get("/audio-extract/v1/events")).await;
    let events: Vec<_> =
        events["items"].as_array().expect("items").iter().map(|event| &event["id"]).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(receiver.rest().len(), 0, "it is disabled");

    let path = format!("{ENDPOINTS}/{}/enable", endpoint["id"].as_str().expect("an id"));
    data(app.request(Method::POST, &path)).await;
    assert_eq!(events[1], receiver.next().await.id(), "what waited is sent");
    data(app.request(Method::POST, &replay)).await;
    let replayed = receiver.next().await;
    replayed.verify();
    assert_eq!((replayed.id(), &replayed.body), (first.id(), &first.body));
    settled(&app, 2).await;
    assert_eq!(endpoint_is("healthy").await["reason"], Value::Null);
    app.stop().await;
}
