//! What the file store promises, in a real folder.

use std::collections::HashMap;
use std::path::Path;

use futures_util::TryStreamExt;
use store::{FileStore, StoreError};
use tempfile::TempDir;
use url::Url;

struct World {
    files: FileStore,
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self { files: FileStore::open_folder(&dir.path().join("files")).expect("opened"), dir }
    }

    async fn put(&self, location: &str, bytes: &[u8]) {
        let from = self.dir.path().join("from");
        std::fs::write(&from, bytes).expect("written");
        self.files.put(location, &from).await.expect(location);
    }

    async fn get(&self, location: &str, range: Option<std::ops::Range<u64>>) -> Result<Vec<u8>, StoreError> {
        let body = self.files.get(location, range).await?;
        let parts: Vec<bytes::Bytes> = body.bytes.try_collect().await?;
        Ok(parts.concat())
    }

    fn on_disk(&self, location: &str) -> std::path::PathBuf {
        self.dir.path().join("files").join(location)
    }
}

/// Bytes that tell where they are.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index / 251 + index) as u8).collect()
}

#[tokio::test]
async fn files_of_every_size_come_back_whole_and_in_ranges() {
    let world = World::new();
    for len in [0, 1, 100_000, 8 * 1024 * 1024, 20 * 1024 * 1024 + 17] {
        let (bytes, location) = (pattern(len), format!("job_0000000000000001/{len}/a.mp3"));
        world.put(&location, &bytes).await;
        assert_eq!(world.files.head(&location).await.expect("its size"), len as u64);
        assert!(
            world.get(&location, None).await.expect("its bytes") == bytes,
            "{len} bytes came back changed"
        );
        for (start, end) in [(0, len.min(1)), (len / 3, len / 2), (len.saturating_sub(5), len)] {
            if start < end {
                let body = world.files.get(&location, Some(start as u64..end as u64)).await.expect("a range");
                assert_eq!(body.size, len as u64, "the size is the whole file's");
                let parts: Vec<bytes::Bytes> = body.bytes.try_collect().await.expect("its bytes");
                assert!(parts.concat() == bytes[start..end], "{start}..{end} of {len}");
            }
        }
    }
}

#[tokio::test]
async fn names_are_kept_as_they_are() {
    let world = World::new();
    let longest = format!("{}.flac", "ü".repeat(120));
    let names = [
        "für Élise.mp3",
        "50% off #1?.mp3",
        "a%41b.mp3",
        "[x]{y}~^\"<>|*\\.mp3",
        "talk#1.mp3",
        &longest,
        " .mp3",
    ];
    for name in names {
        let location = format!("job_0000000000000001/1/{name}");
        world.put(&location, name.as_bytes()).await;
        let bytes = world.get(&location, None).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(bytes, name.as_bytes());
    }
    world.put("job_0000000000000001/2/50% für #1?.mp3", b"x").await;
    let names: Vec<_> =
        std::fs::read_dir(world.on_disk("job_0000000000000001/2")).expect("a folder").collect();
    assert_eq!(names.len(), 1, "a put leaves its file and nothing else");
}

#[tokio::test]
async fn a_location_outside_the_folder_is_refused() {
    let world = World::new();
    std::fs::write(world.dir.path().join("secret"), "secret").expect("written");
    for location in ["../secret", "a/../../secret", "", "/", "a//b", "a/./b", "a/b\n"] {
        assert!(world.get(location, None).await.is_err(), "{location:?} was read");
        assert!(world.files.delete_prefix(location).await.is_err(), "{location:?} was deleted");
    }
    assert!(world.dir.path().join("secret").exists());
    assert!(world.on_disk("").exists());
}

#[tokio::test]
async fn a_deleted_prefix_is_gone_with_its_folder_and_its_neighbour_stays() {
    let world = World::new();
    world.put("job_0000000000000001/1/a.mp3", b"a").await;
    world.put("job_0000000000000001/2/a.mp3", b"a").await;
    world.put("job_0000000000000010/1/a.mp3", b"b").await;
    // What a put that was killed leaves behind.
    std::fs::write(world.on_disk("job_0000000000000001/2/a.mp3#1"), "half").expect("written");
    world.files.delete_prefix("job_0000000000000001").await.expect("deleted");
    world.files.delete_prefix("job_0000000000000001").await.expect("there may be nothing");
    assert!(!world.on_disk("job_0000000000000001").exists());
    let error = world.get("job_0000000000000001/1/a.mp3", None).await.expect_err("it is gone");
    assert!(matches!(error, StoreError::NoSuchFile { .. }), "{error}");
    assert_eq!(world.get("job_0000000000000010/1/a.mp3", None).await.expect("the neighbour"), b"b");
}

#[tokio::test]
async fn a_file_that_is_being_read_can_be_deleted() {
    let world = World::new();
    let bytes = pattern(3 * 1024 * 1024);
    world.put("job_0000000000000001/1/a.mp3", &bytes).await;
    let body = world.files.get("job_0000000000000001/1/a.mp3", None).await.expect("opened");
    world.files.delete_prefix("job_0000000000000001").await.expect("deleted");
    let parts: Vec<bytes::Bytes> = body.bytes.try_collect().await.expect("what was opened is readable");
    assert!(parts.concat() == bytes);
}

#[tokio::test]
async fn a_source_that_is_not_there_leaves_nothing() {
    let world = World::new();
    let error = world.files.put("job_0000000000000001/1/a.mp3", Path::new("/nonexistent")).await;
    error.expect_err("there is nothing to put");
    assert!(!world.on_disk("job_0000000000000001/1/a.mp3").exists());
}

#[tokio::test]
async fn stores_are_opened_by_url_and_answer_a_ping() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = Url::from_directory_path(dir.path().join("by url")).expect("a URL");
    let files = FileStore::open(&url, &HashMap::new()).expect("opened");
    files.ping().await.expect("a sign of life");
    std::fs::remove_dir(dir.path().join("by url")).expect("removed");
    let error = files.ping().await.expect_err("the folder is gone");
    assert!(error.is_unavailable(), "{error}");
    for text in ["ftp://host/x", "nonsense:x"] {
        assert!(
            FileStore::open(&Url::parse(text).expect("a URL"), &HashMap::new()).is_err(),
            "{text} was opened"
        );
    }
}

/// A bucket of an object store that listens here, and is still to be played.
async fn bucket() -> (tokio::net::TcpListener, FileStore) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
    let options = [
        ("endpoint", endpoint.as_str()),
        ("allow_http", "true"),
        ("region", "eu-1"),
        ("access_key_id", "id"),
        ("secret_access_key", "s3cr3t"),
        ("timeout", "1s"),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let url = Url::parse("s3://bucket/prefix").expect("a URL");
    (listener, FileStore::open(&url, &options).expect("opened"))
}

#[tokio::test]
async fn an_object_store_that_refuses_a_file_is_an_error() {
    let (listener, files) = bucket().await;
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"the audio") {
            assert_ne!(stream.read_buf(&mut request).await.expect("a request"), 0, "it broke off");
        }
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.expect("answered");
    });
    let dir = tempfile::tempdir().expect("a folder");
    let from = dir.path().join("from");
    std::fs::write(&from, "the audio").expect("written");
    let error = files.put("job_0000000000000001/1/audio.mp3", &from).await.expect_err("it was refused");
    assert!(error.is_unavailable(), "{error}");
    server.await.expect("it was asked");
}

#[tokio::test]
async fn an_object_store_is_reached_with_the_options_given_and_its_absence_is_no_defect() {
    let (listener, files) = bucket().await;
    assert!(!format!("{files:?}").contains("s3cr3t"));
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.expect("a request");
        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.expect("answered");
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    files.ping().await.expect("404 is a sign of life");
    let request = server.await.expect("a request");
    assert!(request.starts_with("HEAD /bucket/prefix/ping HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("Credential=id/"), "{request}");
}
