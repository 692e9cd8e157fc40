//! Requests that are answered before they are read: the client hears the answer, whatever it still sends.

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::app::{API_KEY, Options, TestApp, http_client};

const JOBS: &str = "/audio-extract/v1/extract";
const UPLOAD: &str = "/audio-extract/v1/upload";

/// The head of a request that says it has so many bytes.
fn head(path: &str, key: &str, length: usize, more: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n{more}Content-Length: {length}\r\n\r\n")
        .into_bytes()
}

/// All that the service says until it ends the connection.
async fn hear_out(mut stream: TcpStream) -> String {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.expect("the connection ends, and is not reset");
    String::from_utf8(heard).expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_all_before_it_listens_hears_the_answer() {
    const LENGTH: usize = 8 << 20;
    let app = TestApp::start().await;
    for (path, key, status) in [(JOBS, "wrong", 401), (UPLOAD, "wrong", 401), (JOBS, API_KEY, 413)] {
        let mut stream = TcpStream::connect(app.address()).await.expect("connected");
        stream.write_all(&head(path, key, LENGTH, "")).await.expect("the head is sent");
        stream.write_all(&vec![b'x'; LENGTH]).await.expect("the body is sent");
        let heard = hear_out(stream).await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {heard}");
        assert!(heard.contains("connection: close\r\n"), "{path}: {heard}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_its_connections_sends_into_none_that_ends() {
    let app = TestApp::start().await;
    let client = http_client();
    for turn in 0..200 {
        let upload = client.request(Method::POST, app.url(UPLOAD)).body(vec![b'x'; 200_000]);
        let refused = upload.send().await.expect("an answer");
        assert_eq!(refused.status(), 401, "turn {turn}");
        let next = client.get(app.url("/livez")).send().await.expect("an answer");
        assert_eq!(next.status(), 200, "turn {turn}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_that_nobody_reads_ends_no_connection() {
    let app = TestApp::start().await;
    let mut stream = TcpStream::connect(app.address()).await.expect("connected");
    for _ in 0..3 {
        stream.write_all(&head(JOBS, "wrong", 1000, "")).await.expect("the head is sent");
        stream.write_all(&[b'x'; 1000]).await.expect("the body is sent");
    }
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sent");
    let heard = hear_out(stream).await;
    let statuses: Vec<_> = heard.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["401", "401", "401", "200"], "{heard}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_small_a_rest_is_read_is_a_setting() {
    let app = TestApp::start_with(Options::default().with("REST_BYTES", "1000B")).await;
    for (length, goes_on) in [(1000, true), (1001, false)] {
        let mut stream = TcpStream::connect(app.address()).await.expect("connected");
        stream.write_all(&head(JOBS, "wrong", length, "")).await.expect("the head is sent");
        stream.write_all(&vec![b'x'; length]).await.expect("the body is sent");
        if goes_on {
            stream
                .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .await
                .expect("sent");
        }
        let answers = hear_out(stream).await.matches("HTTP/1.1 ").count();
        assert_eq!(answers, if goes_on { 2 } else { 1 }, "{length} bytes");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_spared_its_body() {
    let app = TestApp::start().await;
    let mut stream = TcpStream::connect(app.address()).await.expect("connected");
    let asking = head(UPLOAD, "wrong", 1000, "Expect: 100-continue\r\n");
    stream.write_all(&asking).await.expect("the head is sent");
    let heard = hear_out(stream).await;
    assert!(heard.starts_with("HTTP/1.1 401 "), "{heard}");
    assert!(heard.contains("connection: close\r\n"), "{heard}");
    app.stop().await;
}
