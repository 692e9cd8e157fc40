//! tus' checksum of one request's body: `Upload-Checksum: sha256 BASE64`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use wire::ErrorCode;

use super::Refusal;

/// The algorithms, as the header and `Tus-Checksum-Algorithm` name them. tus asks for SHA-1.
pub(super) const ALGORITHMS: &str = "sha1,sha256";

/// What a body must hash to, and what has come of it so far.
pub(super) struct Checksum {
    expected: Vec<u8>,
    context: digest::Context,
}

impl Checksum {
    /// Reads the header.
    pub(super) fn parse(header: &str) -> Result<Self, Refusal> {
        let refuse = |details: String| {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Correct the `Upload-Checksum` header.")
                .with_details(details))
        };
        let (name, value) = header.trim().split_once(' ').unwrap_or((header, ""));
        let algorithm = match name {
            "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => &digest::SHA256,
            _ => return refuse(format!("there are {ALGORITHMS}")),
        };
        match STANDARD.decode(value.trim()) {
            Ok(expected) if expected.len() == algorithm.output_len() => {
                Ok(Self { expected, context: digest::Context::new(algorithm) })
            }
            _ => refuse(format!("it takes the base64 of {} bytes", algorithm.output_len())),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Whether the whole body was the one that was meant.
    pub(super) fn holds(self) -> bool {
        self.context.finish().as_ref() == self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_told_from_another() {
        // Of `hello world`, as in the protocol's own sample, and by sha256sum.
        let sha256 = "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=";
        for header in ["sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", sha256] {
            for (body, holds) in [(&b"hello world"[..], true), (b"hello worle", false), (b"", false)] {
                let mut checksum = Checksum::parse(header).expect("a checksum");
                body.chunks(4).for_each(|piece| checksum.update(piece));
                assert_eq!(checksum.holds(), holds, "{header} {body:?}");
            }
        }
    }

    #[test]
    fn what_is_no_checksum_is_refused() {
        for header in
            ["", "md5 XUFAKrxLKna5cZ2REBfFkg==", "sha1", "sha1 x", "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0="]
        {
            assert!(Checksum::parse(header).is_err(), "{header:?} was taken");
        }
    }
}
