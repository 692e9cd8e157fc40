//! Resumable uploads: the protocol from outside. How one goes on that broke off is in [`crate::tus_going_on`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::app::{API_KEY, Options, TestApp, json};
use crate::contract::create_key;
use crate::uploads::{job_on, stored, until};

const UPLOADS: &str = "/audio-extract/v1/uploads";
pub(crate) const BODY: &str = "application/offset+octet-stream";

fn patch() -> Method {
    Method::PATCH
}

impl TestApp {
    fn tus(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).header("Tus-Resumable", "1.0.0")
    }

    pub(crate) async fn begin(&self, length: usize) -> String {
        let response = send(self.tus(Method::POST, UPLOADS).header("Upload-Length", length)).await;
        assert_eq!(response.status(), 201);
        header(&response, "location").expect("a location").to_owned()
    }

    pub(crate) fn append(&self, path: &str, offset: usize, bytes: &[u8]) -> RequestBuilder {
        let request = self.tus(patch(), path).header("Content-Type", BODY).header("Upload-Offset", offset);
        request.body(bytes.to_vec())
    }

    /// How many bytes an upload has.
    pub(crate) async fn offset(&self, path: &str) -> usize {
        let response = send(self.tus(Method::HEAD, path)).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        header(&response, "upload-offset").expect("an offset").parse().expect("a number")
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Response {
    let response = request.send().await.expect("an answer");
    assert_eq!(header(&response, "tus-resumable"), Some("1.0.0"), "{response:?}");
    response
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().expect("a text"))
}

pub(crate) fn id_of(path: &str) -> &str {
    path.rsplit('/').next().expect("an id")
}

/// A wav of noise: what comes out as wav is what went in, sample for sample.
pub(crate) fn noise(bytes: u32) -> Vec<u8> {
    let mut wav = Vec::new();
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(bytes + 36).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x02\0\x44\xac\0\0\x10\xb1\x02\0\x04\0\x10\0data");
    wav.extend_from_slice(&bytes.to_le_bytes());
    let mut state = 1_u32;
    wav.extend((0..bytes).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    }));
    wav
}

/// Has a job made of an upload of [`noise`], and compares every sample.
pub(crate) async fn comes_out_as_it_went_in(app: &TestApp, file: &str, sent: &[u8]) {
    let mut body = job_on(file);
    body["output"] = json!({"format": "wav"});
    let job = app.submit(&body).await;
    let status = app.wait_for_end(&job).await;
    assert_eq!(status["status"], "completed", "{status}");
    let made = app.download(&job).await;
    let at = made.windows(4).position(|window| window == b"data").expect("samples") + 8;
    assert!(made[at..] == sent[44..], "the samples are not those that were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tus_asks_for_is_answered_as_it_says() {
    let options = Options::default().with("ROLE", "api").with("MAX_SOURCE_BYTES", "1000B");
    let app = TestApp::start_with(options).await;
    let asked = send(app.request(Method::OPTIONS, UPLOADS)).await;
    assert_eq!(asked.status(), 204);
    assert_eq!(header(&asked, "tus-version"), Some("1.0.0"));
    assert_eq!(header(&asked, "tus-max-size"), Some("1000"));
    assert_eq!(header(&asked, "tus-checksum-algorithm"), Some("sha1,sha256"));
    let spoken = header(&asked, "tus-extension").expect("extensions").to_owned();
    for extension in ["creation", "creation-with-upload", "termination", "expiration", "checksum"] {
        assert!(spoken.split(',').any(|word| word == extension), "{spoken}");
    }
    let no_version = send(app.request(Method::POST, UPLOADS).header("Upload-Length", 10)).await;
    assert_eq!((no_version.status().as_u16(), header(&no_version, "tus-version")), (412, Some("1.0.0")));

    let metadata = format!("filename {},is_secret", STANDARD.encode("für Élise.mp4"));
    let create = app.tus(Method::POST, UPLOADS).header("Upload-Metadata", &metadata);
    let created = send(create.header("Upload-Length", 11)).await;
    assert!(header(&created, "upload-expires").is_some_and(|at| at.ends_with(" GMT")));
    let path = header(&created, "location").expect("a location").to_owned();
    let head = send(app.tus(Method::HEAD, &path)).await;
    assert_eq!(header(&head, "upload-metadata"), Some(metadata.as_str()));
    assert_eq!((header(&head, "upload-length"), header(&head, "upload-offset")), (Some("11"), Some("0")));

    let unfinished = json(app.post("/audio-extract/v1/extract", &job_on(id_of(&path)))).await;
    let details = unfinished.1["error"]["details"].as_str().expect("details");
    assert!(unfinished.0 == 400 && details.contains("0 of 11 bytes"), "{details}");

    let with = |name: &'static str, value: &str| app.append(&path, 0, b"hello world").header(name, value);
    let wrong = |request: RequestBuilder| async { send(request).await.status().as_u16() };
    let create = || app.tus(Method::POST, UPLOADS);
    assert_eq!(wrong(create()).await, 400, "no length");
    assert_eq!(wrong(create().header("Upload-Length", "-1")).await, 400);
    assert_eq!(wrong(create().header("Upload-Length", 1001)).await, 413);
    let twice = create().header("Upload-Length", 1).header("Upload-Defer-Length", "1");
    assert_eq!(wrong(twice).await, 400, "both lengths");
    assert_eq!(wrong(create().header("Upload-Length", 1).header("Upload-Metadata", "a %")).await, 400);
    assert_eq!(wrong(app.append(&path, 5, b"hello")).await, 409, "a wrong offset");
    assert_eq!(wrong(app.append(&path, 0, &[0; 12])).await, 413, "more than was announced");
    let other_type = app.tus(patch(), &path).header("Upload-Offset", 0).body("x");
    assert_eq!(wrong(other_type).await, 415);
    assert_eq!(wrong(with("Upload-Checksum", "md5 XUFAKrxLKna5cZ2REBfFkg==")).await, 400);
    let mismatch = format!("sha1 {}", STANDARD.encode([0; 20]));
    assert_eq!(wrong(with("Upload-Checksum", &mismatch)).await, 460);
    assert_eq!(app.offset(&path).await, 0, "nothing of all this is kept");
    assert_eq!(stored(&app.data_dir().join("files")), [] as [std::path::PathBuf; 0]);

    let sent = send(with("Upload-Checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")).await;
    assert_eq!((sent.status().as_u16(), header(&sent, "upload-offset")), (204, Some("11")));
    let other = create_key(&app, "other", None).key;
    for method in [Method::HEAD, patch(), Method::DELETE] {
        let stolen = app.anonymous(method, &app.url(&path)).header("X-API-Key", &other);
        let stolen = stolen.header("Tus-Resumable", "1.0.0").header("Content-Type", BODY);
        assert_eq!(wrong(stolen.header("Upload-Offset", 11)).await, 404, "another key's");
    }
    let override_with =
        |method: &str| app.tus(Method::POST, &path).header("X-HTTP-Method-Override", method.to_owned());
    assert_eq!(wrong(override_with("PUT")).await, 405);
    assert_eq!(wrong(override_with("HEAD")).await, 200);
    assert_eq!(wrong(override_with("DELETE")).await, 204);
    for method in [Method::HEAD, Method::DELETE] {
        assert_eq!(wrong(app.tus(method, &path)).await, 410);
    }
    assert_eq!(wrong(app.append(&path, 11, b"")).await, 410);
    assert_eq!(wrong(app.tus(Method::HEAD, &format!("{UPLOADS}/file_0123456789abcdef"))).await, 404);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_may_follow_and_the_first_bytes_may_come_at_once() {
    let app = TestApp::start_with(Options::default().with("UPLOAD_PART_BYTES", "64KiB")).await;
    let wav = noise(400_000);
    let create = app.tus(Method::POST, UPLOADS).header("Upload-Defer-Length", "1");
    let created = send(create.header("Content-Type", BODY).body(wav[..100_000].to_vec())).await;
    assert_eq!((created.status().as_u16(), header(&created, "upload-offset")), (201, Some("100000")));
    let path = header(&created, "location").expect("a location").to_owned();
    let head = send(app.tus(Method::HEAD, &path)).await;
    assert_eq!((header(&head, "upload-defer-length"), header(&head, "upload-length")), (Some("1"), None));
    for (length, details) in [(wav.len() - 1, "400043 bytes were announced"), (6_000_000_000, "at most")] {
        let rest = app.append(&path, 100_000, &wav[100_000..]).header("Upload-Length", length);
        let (status, body) = json(rest).await;
        assert_eq!(status, 413, "{body}");
        assert!(body["error"]["details"].as_str().is_some_and(|said| said.contains(details)), "{body}");
        assert_eq!(app.offset(&path).await, 100_000, "nothing of it is kept");
    }
    let rest = app.append(&path, 100_000, &wav[100_000..]).header("Upload-Length", wav.len());
    assert_eq!(send(rest).await.status(), 204);
    comes_out_as_it_went_in(&app, id_of(&path), &wav).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_that_fails_leaves_no_upload_that_nobody_can_name() {
    let options = Options::default().with("ROLE", "api").with("UPLOAD_PART_BYTES", "64KiB");
    // If one stayed, there would be no room for the next.
    let app = TestApp::start_with(options.with("MAX_UPLOADS_PER_KEY", "1")).await;
    let create = |length: usize, checksum: &str| {
        let request = app.tus(Method::POST, UPLOADS).header("Upload-Length", length);
        let request = request.header("Content-Type", BODY).header("Upload-Checksum", checksum);
        request.body(vec![b'x'; 100_000])
    };
    let other = format!("sha1 {}", STANDARD.encode([0; 20]));
    for (length, checksum, status) in
        [(200_000, "sha1 x", 400), (200_000, &*other, 460), (70_000, &*other, 413)]
    {
        assert_eq!(send(create(length, checksum)).await.status(), status);
    }
    let mut stream = TcpStream::connect(app.address()).await.expect("connected");
    let head = format!(
        "POST {UPLOADS} HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\nTus-Resumable: 1.0.0\r\n\
         Upload-Length: 200000\r\nContent-Type: {BODY}\r\nContent-Length: 200000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&[b'x'; 100_000]).await.expect("sent");
    let files = app.data_dir().join("files");
    until("a part is stored", async || !stored(&files).is_empty()).await;
    drop(stream);
    let create = || app.tus(Method::POST, UPLOADS).header("Upload-Length", 1);
    until("there is room", async || send(create()).await.status() == 201).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_not_gone_on_with_expires() {
    let options = Options::default().with("UPLOAD_RETENTION", "2s").with("RETENTION_INTERVAL", "100ms");
    let app = TestApp::start_with(options).await;
    let path = app.begin(10).await;
    assert_eq!(send(app.append(&path, 0, b"12345")).await.status(), 204);
    until("it is gone", async || send(app.tus(Method::HEAD, &path)).await.status() == 410).await;
    assert_eq!(send(app.append(&path, 5, b"67890")).await.status(), 410);
    until("its bytes are too", async || stored(&app.data_dir().join("files")).is_empty()).await;
    until("it is forgotten", async || send(app.tus(Method::HEAD, &path)).await.status() == 404).await;
    app.stop().await;
}
