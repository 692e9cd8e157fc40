//! Public links to results: good without an API key, as long as the file is kept, and not to be guessed from a job's
//! id. The signature is a function of the master key alone, so that every node makes and knows the same link and the
//! bytes of an event never go stale.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::JobId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use url::Url;

/// What a path segment carries unescaped: RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Makes and checks public links.
#[derive(Clone)]
pub struct Links {
    base: String,
    key: [u8; 32],
}

impl Links {
    /// Links below `public_url`, signed with a key derived from the master key (HMAC-SHA256 with a label, so that
    /// this use of the master key can never meet another).
    pub fn new(public_url: &Url, master_key: &[u8; 32]) -> Self {
        let key = mac(master_key, &[b"audio-extract public link v1"]).finalize().into_bytes().into();
        Self { base: public_url.as_str().trim_end_matches('/').to_owned(), key }
    }

    /// `PUBLIC_URL/audio/{jobId}/{filename}?sig=…`
    pub fn public_url(&self, job: &JobId, filename: &str) -> String {
        let signature = URL_SAFE_NO_PAD.encode(self.mac(job, filename).finalize().into_bytes());
        format!("{}/audio/{job}/{}?sig={signature}", self.base, utf8_percent_encode(filename, SEGMENT))
    }

    /// Whether `signature` belongs to this job and file; takes the same time whatever it is.
    pub fn verify(&self, job: &JobId, filename: &str, signature: &str) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        self.mac(job, filename).verify_slice(&signature).is_ok()
    }

    fn mac(&self, job: &JobId, filename: &str) -> Hmac<Sha256> {
        // A job id has no newline, so the two parts cannot run into each other.
        mac(&self.key, &[job.as_str().as_bytes(), b"\n", filename.as_bytes()])
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(public_url: &str) -> Links {
        Links::new(&Url::parse(public_url).expect("a URL"), &[7; 32])
    }

    #[test]
    fn a_link_verifies_for_its_own_job_and_file_only() {
        let links = links("https://audio.example.com/base/");
        let (job, other) = (JobId::from_random([1; 8]), JobId::from_random([2; 8]));
        let url = Url::parse(&links.public_url(&job, "für Élise?/#.mp3")).expect("a URL");
        assert!(
            url.as_str().starts_with("https://audio.example.com/base/audio/job_0101010101010101/f%C3%BCr%20")
        );
        let (_, signature) = url.query_pairs().next().expect("a signature");
        assert!(links.verify(&job, "für Élise?/#.mp3", &signature));
        assert!(!links.verify(&other, "für Élise?/#.mp3", &signature));
        assert!(!links.verify(&job, "other.mp3", &signature));
        assert!(!links.verify(&job, "für Élise?/#.mp3", ""));
        assert!(!Links::new(&url, &[8; 32]).verify(&job, "für Élise?/#.mp3", &signature));
    }
}
