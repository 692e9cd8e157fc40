//! What needs no host: files on this machine, and the system's own names.

use std::io::Write;

use domain::Source;
use egress::{FileSource, Resolve, SystemResolver};

use crate::kit::{content, read_all};

#[tokio::test]
async fn a_local_file_is_read_where_it_lies() {
    let bytes = content(100_000);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&bytes).expect("written");
    let source = FileSource::open(file.path()).expect("a source");
    assert_eq!(source.known_size(), Some(100_000));
    assert!(read_all(&source).await.expect("the file") == bytes);
    assert_eq!(source.read_at(99_990, 100).await, Ok(bytes[99_990..].to_vec()));
    for past in [100_000, u64::MAX] {
        assert_eq!(source.read_at(past, 100).await, Ok(Vec::new()));
    }
}

#[test]
fn what_is_no_regular_file_has_no_size_to_read_by() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(FileSource::open(folder.path()).is_err());
    assert!(FileSource::open(&folder.path().join("missing")).is_err());
}

#[tokio::test]
async fn the_systems_names_resolve() {
    let addresses = SystemResolver::new().expect("a resolver").resolve("localhost").await.expect("addresses");
    assert!(!addresses.is_empty() && addresses.iter().all(std::net::IpAddr::is_loopback), "{addresses:?}");
}
