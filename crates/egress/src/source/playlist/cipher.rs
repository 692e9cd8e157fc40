//! AES-128 in CBC with the padding of PKCS #7, decrypted as it arrives.

use aes::Aes128;
use cbc::cipher::{Block, BlockModeDecrypt, KeyIvInit};

use super::error::PlaylistError;

const BLOCK_BYTES: usize = 16;

/// One encrypted segment.
pub(super) struct Cipher {
    blocks: cbc::Decryptor<Aes128>,
    /// Less than a block, or the last whole one so far: the last of all ends with padding.
    pending: Vec<u8>,
}

impl Cipher {
    pub(super) fn new(key: &[u8; 16], iv: &[u8; 16]) -> Self {
        Self { blocks: cbc::Decryptor::new(key.into(), iv.into()), pending: Vec::new() }
    }

    /// More of it; gives out what cannot be padding.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        let whole = self.pending.len().saturating_sub(1) / BLOCK_BYTES * BLOCK_BYTES;
        let rest = self.pending.split_off(whole);
        let mut plain = std::mem::replace(&mut self.pending, rest);
        for block in plain.chunks_exact_mut(BLOCK_BYTES) {
            self.decrypt(block);
        }
        plain
    }

    /// The end: what is left without its padding.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, PlaylistError> {
        let mut last = std::mem::take(&mut self.pending);
        if last.len() != BLOCK_BYTES {
            return Err(PlaylistError::Undecryptable);
        }
        self.decrypt(&mut last);
        let padding = last.last().map_or(0, |count| usize::from(*count));
        let kept = BLOCK_BYTES.checked_sub(padding).filter(|_| padding > 0);
        let is_padding = |kept: &usize| last[*kept..].iter().all(|byte| usize::from(*byte) == padding);
        let kept = kept.filter(is_padding).ok_or(PlaylistError::Undecryptable)?;
        last.truncate(kept);
        Ok(last)
    }

    fn decrypt(&mut self, block: &mut [u8]) {
        if let Ok(block) = <&mut Block<cbc::Decryptor<Aes128>>>::try_from(block) {
            self.blocks.decrypt_block(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST SP 800-38A, F.2.2, with one block of PKCS #7 padding added by openssl.
    const KEY: [u8; 16] = *b"\x2b\x7e\x15\x16\x28\xae\xd2\xa6\xab\xf7\x15\x88\x09\xcf\x4f\x3c";
    const IV: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const PLAIN: [u8; 32] = *b"\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a\
        \xae\x2d\x8a\x57\x1e\x03\xac\x9c\x9e\xb7\x6f\xac\x45\xaf\x8e\x51";
    const SECRET: [u8; 32] = *b"\x76\x49\xab\xac\x81\x19\xb2\x46\xce\xe9\x8e\x9b\x12\xe9\x19\x7d\
        \x50\x86\xcb\x9b\x50\x72\x19\xee\x95\xdb\x11\x3a\x91\x76\x78\xb2";
    const PADDING: [u8; 16] = *b"\x55\xe2\x1d\x71\x00\xb9\x88\xff\xec\x32\xfe\xea\xfa\xf2\x35\x38";

    fn decrypt(pieces: &[&[u8]]) -> Result<Vec<u8>, PlaylistError> {
        let mut cipher = Cipher::new(&KEY, &IV);
        let mut plain = Vec::new();
        for piece in pieces {
            plain.extend(cipher.push(piece));
        }
        plain.extend(cipher.finish()?);
        Ok(plain)
    }

    #[test]
    fn the_standards_vector_in_any_pieces() {
        let all = [&SECRET[..], &PADDING[..]].concat();
        for step in [1, 5, 16, 17, 48] {
            assert_eq!(decrypt(&all.chunks(step).collect::<Vec<_>>()).as_deref(), Ok(&PLAIN[..]), "{step}");
        }
    }

    #[test]
    fn what_does_not_end_in_padding_is_refused() {
        for wrong in [&SECRET[..], &SECRET[..20], &[]] {
            assert_eq!(decrypt(&[wrong]), Err(PlaylistError::Undecryptable));
        }
    }
}
