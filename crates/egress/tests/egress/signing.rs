//! Signatures, verified by programs that others wrote.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use egress::sign::{PrivateKey, generate_private_key};
use testkit::host::Reply;

use crate::kit::{Sending, config, egress};
use crate::notify::receiver;

/// What precedes the 32 bytes of an ed25519 key in a SubjectPublicKeyInfo (RFC 8410, 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

fn openssl_verifies(folder: &Path, public_key: &str, content: &[u8], signature: &str) -> bool {
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let key = STANDARD.decode(public_key.strip_prefix("whpk_").expect("a public key")).expect("base64");
    let signature = STANDARD.decode(signature).expect("base64");
    let output = Command::new("openssl")
        .args(["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin", "-inkey"])
        .arg(file("key", &[&SPKI[..], &key].concat()))
        .arg("-in")
        .arg(file("content", content))
        .arg("-sigfile")
        .arg(file("signature", &signature))
        .output()
        .expect("openssl runs; `make setup-test` installs it");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), said.contains("Verified Successfully"), "{said}");
    output.status.success()
}

#[tokio::test]
async fn openssl_verifies_the_v1a_signature_of_a_delivery() {
    let host = receiver(Reply::new(200, &[], b"")).await;
    let mut sending = Sending::default();
    let keys = [generate_private_key().expect("random"), generate_private_key().expect("random")];
    sending.signing.private_keys = keys.to_vec();
    sending.to(&egress(config()), &host.url("/")).await;

    let seen = &host.seen()[0];
    let header = |name: &str| seen.header(name).expect(name).to_owned();
    let (id, timestamp, signatures) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    let entries: Vec<(&str, &str)> =
        signatures.split(' ').filter_map(|entry| entry.split_once(',')).collect();
    let versions: Vec<&str> = entries.iter().map(|(version, _)| *version).collect();
    assert_eq!(versions, ["v1", "v1a", "v1a"]);

    let content = [format!("{id}.{timestamp}.").as_bytes(), &seen.body].concat();
    let folder = tempfile::tempdir().expect("a folder");
    for (key, (_, signature)) in keys.iter().zip(&entries[1..]) {
        let public = PrivateKey::parse(key).expect("a key").public_key();
        assert!(openssl_verifies(folder.path(), public.as_str(), &content, signature));
        let changed = [content.as_slice(), b" "].concat();
        assert!(
            !openssl_verifies(folder.path(), public.as_str(), &changed, signature),
            "it believes anything"
        );
    }
}
