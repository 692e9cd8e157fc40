//! How uploads come in: what may be appended to one, and what a key may hold. How long they stay is in
//! [`crate::keeping_uploads`].

use std::time::Duration;

use domain::{FileId, Filename, Job, KeyId, SourceSpec, Timestamp, Upload, UploadState};
use store::{Addition, Appended, Deletion, FileStore, Submitted, UploadBounds, UploadPart, UploadSources};

use crate::on_both;
use crate::world::{NOW, World, bytes, job};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
const ROOMY: UploadBounds = UploadBounds { max_files: 100, max_bytes: 1 << 40 };

fn upload(key: &KeyId, length: Option<u64>) -> Upload {
    Upload {
        id: FileId::from_random(bytes()),
        key: key.clone(),
        name: Filename::parse("für Élise.mp4").ok(),
        metadata: Some("filename x,is_secret".to_owned()),
        state: UploadState::Receiving,
        length,
        received: 0,
        expires_at: NOW.plus(DAY),
    }
}

/// Parts of these sizes.
fn parts(upload: &Upload, sizes: &[u64]) -> Vec<UploadPart> {
    let part = |size: &u64| {
        let name = u64::from_be_bytes(bytes());
        UploadPart { location: format!("uploads/{}/{name:016x}", upload.id), size: *size }
    };
    sizes.iter().map(part).collect()
}

impl World {
    pub(crate) async fn begin(&self, key: &KeyId, length: Option<u64>) -> Upload {
        let upload = upload(key, length);
        assert!(self.store.create_upload(&upload, &ROOMY, NOW).await.expect("begun"));
        upload
    }

    /// Appends parts of these sizes where the upload is known to stand.
    pub(crate) async fn append(&self, upload: &Upload, sizes: &[u64], length: Option<u64>) -> Appended {
        let parts = parts(upload, sizes);
        let addition = Addition {
            key: &upload.key,
            id: &upload.id,
            at: upload.received,
            parts: &parts,
            length,
            expires_at: NOW.plus(2 * DAY),
        };
        self.store.append_upload(&addition, &ROOMY, NOW).await.expect("answered")
    }

    pub(crate) async fn complete_upload(&self, key: &KeyId) -> Upload {
        let upload = self.begin(key, Some(10)).await;
        accepted(self.append(&upload, &[10], None).await)
    }

    pub(crate) async fn found(&self, upload: &Upload, now: Timestamp) -> Option<Upload> {
        self.store.upload(&upload.key, &upload.id, now).await.expect("read")
    }
}

fn accepted(appended: Appended) -> Upload {
    match appended {
        Appended::Accepted(upload) => upload,
        other => panic!("it was not accepted: {other:?}"),
    }
}

pub(crate) fn job_on(key: &KeyId, file: &FileId) -> Job {
    let mut job = job(key);
    job.spec.source = SourceSpec::Upload { file: file.clone(), name: Filename::parse("talk.mp4").ok() };
    job
}

async fn an_upload_grows_until_it_has_its_length(world: World) {
    let key = world.key().await;
    let begun = world.begin(&key, Some(30)).await;
    assert_eq!(world.found(&begun, NOW).await, Some(begun.clone()));
    let half = accepted(world.append(&begun, &[10, 5], None).await);
    assert_eq!((half.received, half.state), (15, UploadState::Receiving));
    assert_eq!(half.expires_at, NOW.plus(2 * DAY));
    assert_eq!(world.found(&begun, NOW).await.as_ref(), Some(&half));
    assert_eq!(world.append(&begun, &[1], None).await, Appended::Moved(half.clone()), "a place behind");
    assert_eq!(world.append(&half, &[16], None).await, Appended::OtherLength(half.clone()));
    assert_eq!(world.append(&half, &[1], Some(31)).await, Appended::OtherLength(half.clone()));
    let whole = accepted(world.append(&half, &[15], None).await);
    assert_eq!((whole.received, whole.state), (30, UploadState::Complete));
    assert_eq!(world.append(&whole, &[1], None).await, Appended::Moved(whole));
}

async fn a_length_may_become_known_later(world: World) {
    let key = world.key().await;
    let begun = world.begin(&key, None).await;
    let half = accepted(world.append(&begun, &[10], None).await);
    assert_eq!((half.length, half.state), (None, UploadState::Receiving));
    let known = accepted(world.append(&half, &[], Some(12)).await);
    assert_eq!((known.length, known.state), (Some(12), UploadState::Receiving));
    let whole = accepted(world.append(&known, &[2], Some(12)).await);
    assert_eq!(whole.state, UploadState::Complete);
    let other = world.begin(&key, None).await;
    let other = accepted(world.append(&other, &[10], None).await);
    let other = accepted(world.append(&other, &[], Some(10)).await);
    assert_eq!(other.state, UploadState::Complete, "its length is what it has");
}

async fn of_many_that_append_at_one_place_one_does(world: World) {
    let key = world.key().await;
    let begun = world.begin(&key, Some(1000)).await;
    let tasks: Vec<_> = (1..=16)
        .map(|size| {
            let (store, begun) = (world.store.clone(), begun.clone());
            tokio::spawn(async move {
                let parts = parts(&begun, &[size]);
                let addition = Addition {
                    key: &begun.key,
                    id: &begun.id,
                    at: 0,
                    parts: &parts,
                    length: None,
                    expires_at: NOW.plus(DAY),
                };
                store.append_upload(&addition, &ROOMY, NOW).await.expect("answered")
            })
        })
        .collect();
    let mut sizes = Vec::new();
    for task in tasks {
        match task.await.expect("a task") {
            Appended::Accepted(upload) => sizes.push(upload.received),
            Appended::Moved(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sizes.len(), 1);
    assert_eq!(world.found(&begun, NOW).await.expect("it").received, sizes[0]);
}

async fn a_key_holds_no_more_than_its_bounds(world: World) {
    let (key, other) = (world.key().await, world.key().await);
    let bounds = UploadBounds { max_files: 3, max_bytes: 100 };
    let create = async |key: &KeyId, length| {
        let upload = upload(key, length);
        world.store.create_upload(&upload, &bounds, NOW).await.expect("answered").then_some(upload)
    };
    let announced = create(&key, Some(90)).await.expect("there is room");
    assert!(create(&key, Some(11)).await.is_none(), "what is announced counts");
    let open = create(&key, None).await.expect("there is room");
    let append = async |upload: &Upload, size| {
        let parts = parts(upload, &[size]);
        let (at, expires_at) = (upload.received, NOW.plus(DAY));
        let addition = Addition { key: &key, id: &upload.id, at, parts: &parts, length: None, expires_at };
        world.store.append_upload(&addition, &bounds, NOW).await.expect("answered")
    };
    assert_eq!(append(&open, 11).await, Appended::NoRoom);
    assert_eq!(accepted(append(&open, 10).await).received, 10);
    assert_eq!(accepted(append(&announced, 90).await).received, 90, "it was reserved");
    create(&key, Some(0)).await.expect("the third");
    assert!(create(&key, Some(0)).await.is_none(), "a fourth");
    create(&other, Some(100)).await.expect("another key has its own");
    assert_eq!(world.store.delete_upload(&key, &open.id, NOW).await.expect("answered"), Deletion::Deleted);
    create(&key, Some(10)).await.expect("what is deleted does not count");
}

async fn an_upload_has_so_many_parts_and_no_more(world: World) {
    let key = world.key().await;
    let begun = world.begin(&key, None).await;
    let too_many = Appended::TooManyParts { max: 10_000 };
    assert_eq!(world.append(&begun, &[1; 10_001], None).await, too_many);
    let full = accepted(world.append(&begun, &[1; 10_000], None).await);
    assert_eq!(world.append(&full, &[1], None).await, too_many);
    assert_eq!(world.found(&begun, NOW).await.as_ref(), Some(&full), "what has come is kept");
    let whole = accepted(world.append(&full, &[], Some(10_000)).await);
    assert_eq!(whole.state, UploadState::Complete);
}

async fn an_upload_is_its_keys_own(world: World) {
    let (key, other) = (world.key().await, world.key().await);
    let whole = world.complete_upload(&key).await;
    let begun = world.begin(&key, Some(10)).await;
    assert_eq!(world.store.upload(&other, &whole.id, NOW).await.expect("read"), None);
    let stolen = Upload { key: other.clone(), ..begun };
    assert_eq!(world.append(&stolen, &[10], None).await, Appended::Gone);
    let deletion = world.store.delete_upload(&other, &whole.id, NOW).await;
    assert_eq!(deletion.expect("answered"), Deletion::NotThere);
    let submitted = world.submit_on(&job_on(&other, &whole.id), NOW).await;
    assert_eq!(submitted, Submitted::Unusable { position: 0, upload: None });
    let unknown = FileId::from_random(bytes());
    let submitted = world.submit_on(&job_on(&other, &unknown), NOW).await;
    assert_eq!(submitted, Submitted::Unusable { position: 0, upload: None }, "as unknown as none");
}

async fn a_source_reads_its_parts_as_one_file(world: World) {
    let dir = tempfile::tempdir().expect("a folder");
    let files = FileStore::open_folder(dir.path()).expect("opened");
    let key = world.key().await;
    let whole: Vec<u8> = (0..6_000_000_u32).flat_map(|number| (number as u16).to_be_bytes()).collect();
    let begun = world.begin(&key, Some(whole.len() as u64)).await;
    let sizes = [1, 5_000_000, 70_000, 6_929_999];
    let parts = parts(&begun, &sizes);
    let mut rest = whole.as_slice();
    for part in &parts {
        let (bytes, after) = rest.split_at(part.size as usize);
        files.put_bytes(&part.location, bytes.to_vec()).await.expect("put");
        rest = after;
    }
    assert!(rest.is_empty());
    let sources = UploadSources::new(world.store.clone(), files.clone());
    sources.open(&begun.id).await.err().expect("it is not complete");
    let (id, expires_at) = (&begun.id, NOW.plus(DAY));
    let addition = Addition { key: &key, id, at: 0, parts: &parts, length: None, expires_at };
    accepted(world.store.append_upload(&addition, &ROOMY, NOW).await.expect("answered"));

    let source = sources.open(&begun.id).await.expect("opened");
    let size = whole.len() as u64;
    assert_eq!(source.size().await, Ok(size));
    let read = async |offset: u64, count: usize| source.read_at(offset, count).await.expect("read");
    let mut at = 0;
    while at < whole.len() {
        let piece = read(at as u64, 300_000).await;
        assert!(!piece.is_empty() && piece == whole[at..at + piece.len()], "at {at}");
        at += piece.len();
    }
    for offset in [0, 11_999_990, 1, 4_999_999, 5_000_001, 5_070_000, 5_070_001, 17, 5_000_500, 4_000_000] {
        let piece = read(offset, 64).await;
        assert!(!piece.is_empty() && piece == whole[offset as usize..offset as usize + piece.len()]);
    }
    assert_eq!(read(size, 10).await, b"");
    assert_eq!(read(u64::MAX, 10).await, b"");
    files.delete_prefix(&format!("uploads/{}", begun.id)).await.expect("deleted");
    let failure = source.read_at(0, 10).await.expect_err("its bytes are gone");
    assert_eq!(failure.retry, domain::Retry::Never);
}

on_both! {
    an_upload_grows_until_it_has_its_length
    a_length_may_become_known_later
    of_many_that_append_at_one_place_one_does
    a_key_holds_no_more_than_its_bounds
    an_upload_has_so_many_parts_and_no_more
    an_upload_is_its_keys_own
    a_source_reads_its_parts_as_one_file
}
