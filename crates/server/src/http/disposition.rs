//! The name that a downloaded file is saved under (RFC 6266, RFC 8187).

use std::fmt::Write as _;

/// `attachment` with the name in ASCII, and beside it in UTF-8 where the ASCII one is not the name itself.
pub(super) fn attachment(filename: &str) -> String {
    let plain: String = filename.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut header = format!("attachment; filename=\"{plain}\"");
    if plain != filename {
        header.push_str("; filename*=UTF-8''");
        for byte in filename.bytes() {
            if is_attr_char(byte) {
                header.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(header, "%{byte:02X}");
            }
        }
    }
    header
}

/// What stands in a quoted string without an escape; clients read escapes in different ways.
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') && !matches!(c, '"' | '\\')
}

/// RFC 8187's `attr-char`.
fn is_attr_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_so_that_every_client_reads_it() {
        for (filename, header) in [
            ("talk.mp3", "attachment; filename=\"talk.mp3\""),
            ("a talk; 50% of it.mp3", "attachment; filename=\"a talk; 50% of it.mp3\""),
            (
                "für Élise.mp3",
                "attachment; filename=\"f_r _lise.mp3\"; filename*=UTF-8''f%C3%BCr%20%C3%89lise.mp3",
            ),
            ("a\"b.mp3", "attachment; filename=\"a_b.mp3\"; filename*=UTF-8''a%22b.mp3"),
            ("日本.mp3", "attachment; filename=\"__.mp3\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.mp3"),
            ("it's*.mp3", "attachment; filename=\"it's*.mp3\""),
            ("é'*(.mp3", "attachment; filename=\"_'*(.mp3\"; filename*=UTF-8''%C3%A9%27%2A%28.mp3"),
        ] {
            assert_eq!(attachment(filename), header, "{filename}");
        }
    }
}
