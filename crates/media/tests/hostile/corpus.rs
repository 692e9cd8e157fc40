//! Runs made-up attacks through real children and judges how each ended.

use std::sync::Arc;
use std::time::Duration;

use domain::{AudioFormat, Extracted, Extractor, Failure, FailureCode, Retry};
use libtest_mimic::Failed;
use media::{AvLimits, Supervisor, SupervisorConfig};

use crate::desk::{Desk, Memory, run, start};

/// How an attack must end.
pub(crate) enum End {
    /// `INVALID_VIDEO`, with this in its details.
    Invalid(&'static str),
    /// `EXTRACTION_FAILED`, with this in its details.
    Failed(&'static str),
    /// It does no harm, and its sound is this long in seconds.
    Makes(f64),
    /// Either code or sound, whatever libav makes of it: but at once, not by using up processor time or memory.
    AtOnce,
}

/// One attack.
pub(crate) type Case = (&'static str, Vec<u8>, End);

/// What a small file may cost here. A child that needs more is ended, and its end says so, which no case expects
/// unless it is about that.
pub(crate) fn config() -> SupervisorConfig {
    SupervisorConfig {
        max_memory_bytes: 256 << 20,
        max_cpu_secs: 30,
        stall_timeout: Duration::from_secs(60),
        total_timeout: Duration::from_secs(120),
        av: AvLimits {
            max_decoded_samples: 20_000_000,
            max_output_bytes: 32 << 20,
            max_streams: 64,
            ..AvLimits::default()
        },
        ..SupervisorConfig::default()
    }
}

/// One file through one child.
pub(crate) async fn extract(supervisor: &Supervisor, bytes: Vec<u8>) -> Result<Extracted, Failure> {
    let mut desk = Desk::new();
    desk.output.format = AudioFormat::Wav;
    let into = desk.result();
    supervisor.extract(desk.order(Arc::new(Memory(bytes)), &into)).await
}

/// Every case ends as it must.
pub(crate) fn all_end_so(config: SupervisorConfig, cases: Vec<Case>) -> Result<(), Failed> {
    run(async {
        let supervisor = start(config).await;
        let mut wrong = Vec::new();
        for (name, bytes, end) in cases {
            let size = bytes.len();
            let ended = extract(&supervisor, bytes).await;
            if !is_so(&ended, &end) {
                wrong.push(format!("{name} ({size} bytes): {ended:?}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(Failed::from(wrong.join("\n"))) }
    })
}

fn is_so(ended: &Result<Extracted, Failure>, end: &End) -> bool {
    let fails = |code, words: &str| {
        ended.as_ref().err().is_some_and(|failure| {
            let details = failure.public.details.as_deref().unwrap_or_default();
            // The same file will end the same way again.
            failure.retry == Retry::Never && failure.public.code == code && details.contains(words)
        })
    };
    match end {
        End::Invalid(words) => fails(FailureCode::InvalidVideo, words),
        End::Failed(words) => fails(FailureCode::ExtractionFailed, words),
        End::AtOnce => ended.as_ref().err().is_none_or(|failure| {
            let details = failure.public.details.as_deref().unwrap_or("that are allowed");
            failure.retry == Retry::Never && !details.contains("that are allowed")
        }),
        End::Makes(secs) => ended.as_ref().is_ok_and(|made| (made.duration_secs() - secs).abs() < 0.15),
    }
}
