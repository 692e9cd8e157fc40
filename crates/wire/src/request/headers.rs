//! `source.headers`: what is sent along to the source's host.

use domain::{Secret, SourceHeader, SpecError, SpecPart};
use serde_json::{Map, Value};

const MAX_HEADERS: usize = 16;
const MAX_BYTES: usize = 8192;

/// What frames the request, belongs to the connection, or says under which condition there is an answer: not the
/// customer's to set.
const RESERVED: [&str; 16] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads the headers; an error names the header, never its value.
pub(super) fn parse(headers: Map<String, Value>) -> Result<Vec<SourceHeader>, SpecError> {
    let refuse = |reason: String| Err(SpecError::new(SpecPart::Source, "source.headers", reason));
    if headers.len() > MAX_HEADERS {
        return refuse(format!("there are {}; at most {MAX_HEADERS} are taken", headers.len()));
    }
    let mut parsed = Vec::with_capacity(headers.len());
    let mut bytes = 0;
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token) {
            return refuse("a name is not a header's name".to_owned());
        }
        if RESERVED.contains(&name.as_str()) || name.starts_with("proxy-") {
            return refuse(format!("`{name}` is set by the service itself; leave it out"));
        }
        let Value::String(value) = value else {
            return refuse(format!("the value of `{name}` is not a text"));
        };
        if !value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
            return refuse(format!("the value of `{name}` has characters that a header cannot carry"));
        }
        bytes += name.len() + value.len();
        parsed.push(SourceHeader { name, value: Secret::new(value) });
    }
    if bytes > MAX_BYTES {
        return refuse(format!("they have {bytes} bytes; at most {MAX_BYTES} are taken"));
    }
    Ok(parsed)
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
