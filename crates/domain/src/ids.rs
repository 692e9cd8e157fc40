//! Identifiers. Each is its own type, so that a job's id cannot stand where a key's is wanted.

use std::fmt;

/// Says which identifier was malformed; carries nothing of the input, which may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedId {
    /// The prefix that a well-formed one would have had.
    pub prefix: &'static str,
}

impl fmt::Display for MalformedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an id of this kind is `{}_` and 16 characters of 0-9 and a-z", self.prefix)
    }
}

impl std::error::Error for MalformedId {}

fn is_body(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
}

fn hex(bytes: [u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(bytes))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// A new id out of eight random bytes; it is hex, so a subset of what [`Self::parse`] takes.
            pub fn from_random(bytes: [u8; 8]) -> Self {
                Self(format!("{}_{}", $prefix, hex(bytes)))
            }

            /// Reads an id: the prefix and 16 of `[0-9a-z]`.
            pub fn parse(text: &str) -> Result<Self, MalformedId> {
                match text.strip_prefix(concat!($prefix, "_")) {
                    Some(body) if is_body(body) => Ok(Self(text.to_owned())),
                    _ => Err(MalformedId { prefix: $prefix }),
                }
            }

            /// The id as written in the API.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(/** One extraction: `job_…`. */ JobId, "job");
id!(/** Jobs that were submitted together: `batch_…`. */ BatchId, "batch");
id!(/** An API key's public name: `key_…`. Not the secret. */ KeyId, "key");
id!(
    /** An event, and what receivers see as `webhook-id`: `msg_…`. The same over all attempts and replays. */
    EventId,
    "msg"
);
id!(/** The errand of bringing one event to one URL: `dlv_…`. */ DeliveryId, "dlv");
id!(/** One exact URL of one key: `ep_…`. */ EndpointId, "ep");
id!(/** The errand of sending many deliveries again: `rpl_…`. */ ReplayId, "rpl");
id!(/** A file that a customer has sent or is sending: `file_…`. */ FileId, "file");
id!(/** One running process among equals: `node_…`. Made anew at each start. */ NodeId, "node");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_is_hex_and_reads_back() {
        let id = JobId::from_random([0, 1, 2, 3, 4, 5, 6, 0xff]);
        assert_eq!(id.as_str(), "job_00010203040506ff");
        assert_eq!(JobId::parse(id.as_str()), Ok(id));
    }

    #[test]
    fn the_documented_sample_id_is_well_formed_and_near_misses_are_not() {
        assert!(JobId::parse("job_a1b2c3d4e5f6g7h8").is_ok());
        for text in [
            "",
            "job_",
            "job_a1b2",
            "job_A1B2C3D4E5F6G7H8",
            "batch_a1b2c3d4e5f6g7h8",
            "job_a1b2c3d4e5f6g7h8x",
            "job_a1b2c3d4e5f6g7/8",
        ] {
            assert!(JobId::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
