//! A real S3 server on both sides: as the host of a source, and as our file store.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use ring::{digest, hmac};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use serde_json::json;
use tempfile::TempDir;
use testkit::samples::sample;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::app::{Options, TestApp};
use crate::tus::{comes_out_as_it_went_in, id_of, noise, send};
use crate::tus_going_on::the_npm_client_goes_on;
use crate::uploads::{stored, until};

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const REGION: &str = "eu-central-1";

/// A server with one bucket, `media`.
struct S3Host {
    address: SocketAddr,
    folder: TempDir,
    /// Method and path of each request.
    asked: Arc<Mutex<Vec<String>>>,
    listening: JoinHandle<()>,
}

impl Drop for S3Host {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl S3Host {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("media")).expect("a bucket");
        let files = s3s_fs::FileSystem::new(folder.path()).expect("a file system");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let listening = tokio::spawn(listen(listener, builder.build(), Arc::clone(&asked)));
        Self { address, folder, asked, listening }
    }

    fn bucket(&self) -> PathBuf {
        self.folder.path().join("media")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a list").clone()
    }

    /// A link to an object that needs no credentials for ten minutes, for GET alone (Signature Version 4, in the query).
    fn presigned(&self, key: &str) -> String {
        let now = std::process::Command::new("date").args(["-u", "+%Y%m%dT%H%M%SZ"]).output().expect("date");
        let now = String::from_utf8(now.stdout).expect("a text").trim().to_owned();
        let day = &now[..8];
        let scope = format!("{day}/{REGION}/s3/aws4_request");
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={ACCESS_KEY}%2F{}&X-Amz-Date={now}\
             &X-Amz-Expires=600&X-Amz-SignedHeaders=host",
            scope.replace('/', "%2F")
        );
        let path = format!("/media/{key}");
        let canonical = format!("GET\n{path}\n{query}\nhost:{}\n\nhost\nUNSIGNED-PAYLOAD", self.address);
        let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let to_sign = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashed}");
        let sign = |key: &[u8], text: &str| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
        };
        let start = format!("AWS4{SECRET_KEY}").into_bytes();
        let key = [day, REGION, "s3", "aws4_request"].iter().fold(start, |key, part| sign(&key, part));
        format!("http://{}{path}?{query}&X-Amz-Signature={}", self.address, hex(&sign(&key, &to_sign)))
    }

    /// A service that keeps its files here.
    fn options(&self) -> Options {
        Options::default()
            .with("STORAGE_URL", "s3://media/audio")
            .with("RETENTION_INTERVAL", "100ms")
            .with_variable("AWS_ENDPOINT", format!("http://{}", self.address))
            .with_variable("AWS_ALLOW_HTTP", "true")
            .with_variable("AWS_REGION", REGION)
            .with_variable("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .with_variable("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn listen(listener: TcpListener, service: S3Service, asked: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (service, asked) = (service.clone(), Arc::clone(&asked));
        let answer = service_fn(move |request: Request<Incoming>| {
            let asking = format!("{} {}", request.method(), request.uri().path());
            asked.lock().expect("a list").push(asking);
            Service::call(&service, request)
        });
        tokio::spawn(async move {
            // That a client goes is no failure of a test.
            let _gone =
                auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_link_is_read_by_get_alone() {
    let s3 = S3Host::start().await;
    let video = tokio::task::spawn_blocking(|| sample("faststart.mp4")).await.expect("the sample");
    std::fs::copy(&video, s3.bucket().join("talk.mp4")).expect("an object");
    let size = std::fs::metadata(&video).expect("the sample").len();
    let app = TestApp::start().await;
    let body = |url: &str| json!({"source": {"type": "url", "url": url}, "output": {"format": "aac"}});

    let job = app.submit(&body(&s3.presigned("talk.mp4"))).await;
    let status = app.wait_for_end(&job).await;
    assert_eq!(status["status"], "completed", "{status}");
    assert_eq!(status["inputFile"]["size"], json!(size));
    assert!(s3.asked().iter().all(|asked| asked == "GET /media/talk.mp4"), "{:?}", s3.asked());

    let job = app.submit(&body(&s3.presigned("talk.mp4").replace("Expires=600", "Expires=601"))).await;
    let status = app.wait_for_end(&job).await;
    assert_eq!(status["error"]["code"], "DOWNLOAD_FAILED", "{status}");
    assert!(status["error"]["details"].as_str().is_some_and(|told| told.contains("403")), "{status}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_results_are_kept_in_s3() {
    let s3 = S3Host::start().await;
    let mut app = TestApp::start_with(s3.options()).await;
    let kept = s3.bucket().join("audio");
    // More than goes into one part, both of the upload and of the result.
    let wav = noise(10 << 20);
    let path = app.begin(wav.len()).await;
    let half = 9_000_000;
    assert_eq!(send(app.append(&path, 0, &wav[..half])).await.status(), 204);
    app.kill_9();
    app.restart().await;
    assert_eq!(app.offset(&path).await, half);
    assert_eq!(send(app.append(&path, half, &wav[half..])).await.status(), 204);
    assert!(stored(&kept).len() > 2, "it is not there in parts");

    comes_out_as_it_went_in(&app, id_of(&path), &wav).await;
    until("the upload is deleted", async || stored(&kept).is_empty()).await;
    assert!(s3.asked().iter().any(|asked| asked.starts_with("POST /media/audio/job_")), "not put in parts");
    let nothing_here = std::fs::read_dir(app.data_dir().join("files")).map_or(0, Iterator::count);
    assert_eq!(nothing_here, 0, "something is kept in the data folder");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_npm_client_goes_on_where_it_was_killed_in_s3() {
    let s3 = S3Host::start().await;
    let app = TestApp::start_with(s3.options().with("UPLOAD_PART_BYTES", "256KiB")).await;
    the_npm_client_goes_on(app, &s3.bucket().join("audio")).await;
}
