//! The house has the rooms and doors that ARCHITECTURE.md says: every edge between our crates, no more and no fewer.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each may use. Tests may use `testkit` besides.
const DOORS: [(&str, &[&str]); 10] = [
    ("domain", &[]),
    ("store", &["domain"]),
    ("media", &["domain"]),
    ("egress", &["domain"]),
    ("wire", &["domain"]),
    ("engine", &["domain", "store", "wire"]),
    ("server", &["domain", "egress", "engine", "media", "store", "wire"]),
    ("testkit", &[]),
    // An example for people at the other end, who have none of our crates.
    ("audio-extract-receiver", &[]),
    ("bench", &["domain", "egress", "engine", "store", "testkit", "wire"]),
];

/// Heavy dependencies, and the only crates that may name them.
const WALLS: [(&str, &[&str]); 8] = [
    // In bench, for rows by the hundred thousand.
    ("sqlx", &["bench", "store"]),
    ("object_store", &["store"]),
    ("ffmpeg-sys-next", &["media"]),
    ("hyper", &["bench", "egress", "server"]),
    // Only to choose the TLS of object_store, which is built on it.
    ("reqwest", &["store"]),
    ("axum", &["audio-extract-receiver", "server"]),
    // In egress, for the manifests of other people's playlists.
    ("serde", &["egress", "server", "store", "wire"]),
    (
        "tokio",
        &["audio-extract-receiver", "bench", "egress", "engine", "media", "server", "store", "testkit"],
    ),
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// The names of a package's dependencies, those of its tests left out or alone.
fn dependencies(package: &Value, kind: Option<&str>) -> BTreeSet<String> {
    let all = package["dependencies"].as_array().expect("dependencies");
    let of_kind = all.iter().filter(|dependency| dependency["kind"].as_str() == kind);
    of_kind.map(|dependency| dependency["name"].as_str().expect("a name").to_owned()).collect()
}

fn name(package: &Value) -> String {
    package["name"].as_str().expect("a name").to_owned()
}

#[test]
fn the_doors_between_the_rooms_are_exactly_these() {
    let packages = packages();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let found: BTreeMap<String, BTreeSet<String>> =
        packages.iter().map(|p| (name(p), &dependencies(p, None) & &ours)).collect();
    let drawn: BTreeMap<String, BTreeSet<String>> = DOORS
        .iter()
        .map(|(room, doors)| (room.to_string(), doors.iter().map(ToString::to_string).collect()))
        .collect();
    assert_eq!(found, drawn);
}

#[test]
fn tests_go_through_no_other_door_but_the_testkits() {
    for package in packages() {
        let room = name(&package);
        let (_, doors) = DOORS.iter().find(|(name, _)| *name == room).expect("a room of the house");
        let mut allowed: BTreeSet<String> = doors.iter().map(ToString::to_string).collect();
        allowed.insert("testkit".to_owned());
        let ours: BTreeSet<String> = DOORS.iter().map(|(name, _)| name.to_string()).collect();
        let used = &dependencies(&package, Some("dev")) & &ours;
        assert!(used.is_subset(&allowed), "the tests of {room} use {used:?}");
    }
}

#[test]
fn heavy_dependencies_stay_in_their_rooms() {
    for package in packages() {
        let room = name(&package);
        let used = dependencies(&package, None);
        for (heavy, rooms) in WALLS {
            assert!(!used.contains(heavy) || rooms.contains(&room.as_str()), "{room} uses {heavy}");
        }
    }
}
