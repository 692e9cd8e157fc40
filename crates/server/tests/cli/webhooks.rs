//! `audio-extract webhooks replay`, with no service to do it.

use serde_json::Value;

use crate::{run, text};

#[test]
fn a_key_with_as_many_replays_as_it_may_have_keeps_no_other_from_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = ["one", "two", "three"].map(|name| {
        let created = run(folder.path(), &["keys", "create", "--name", name, "--json"]);
        let key: Value = serde_json::from_slice(&created.stdout).expect("one JSON object");
        key["id"].as_str().expect("an id").to_owned()
    });
    let replay = |arguments: &[&str]| {
        run(folder.path(), &[&["webhooks", "replay", "--state", "exhausted"], arguments].concat())
    };
    for busy in &keys[..2] {
        for _ in 0..10 {
            assert_eq!(replay(&["--key", busy]).status.code(), Some(0));
        }
    }
    let output = replay(&[]);
    assert_eq!(output.status.code(), Some(1));
    let (begun, refused) = (text(&output.stdout), text(&output.stderr));
    assert!(begun.lines().count() == 1 && begun.contains(&keys[2]), "{begun}");
    assert!(keys[..2].iter().all(|busy| refused.contains(busy)), "{refused}");
}
