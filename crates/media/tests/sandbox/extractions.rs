//! libav behind all the walls, over real files.

use std::ops::Range;
use std::sync::Arc;

use domain::{
    AudioFormat, BoxFuture, Extractor, Failure, FailureCode, Fetched, Loudness, Method, OutputSpec, Retry,
    Source,
};
use libtest_mimic::Failed;
use media::{AvLimits, Supervisor, SupervisorConfig};
use testkit::samples::{PLAYABLE, sample};

use crate::Test;
use crate::scene::{Desk, Memory, run, start};

pub(crate) const TESTS: &[Test] = &[
    ("every_sample_is_extracted_behind_the_walls", every_sample_is_extracted),
    ("every_format_is_made_behind_the_walls", every_format_is_made),
    ("a_copy_that_turns_out_unfit_is_encoded_behind_the_walls", an_unfit_copy_is_encoded),
    ("threads_work_behind_the_walls", threads_work),
    ("what_is_no_media_is_said_to_be_none", what_is_no_media_is_said_to_be_none),
    ("a_failed_source_is_passed_on_as_it_was", a_failed_source_is_passed_on_as_it_was),
    ("jobs_run_side_by_side", jobs_run_side_by_side),
];

fn wav() -> OutputSpec {
    OutputSpec::plain(AudioFormat::Wav)
}

/// One extraction, whose result must be as long as it says and told of on the way.
async fn extracts(supervisor: &Supervisor, name: &str, output: OutputSpec) {
    let mut desk = Desk::new();
    desk.output = output;
    let source = Arc::new(Memory(std::fs::read(sample(name)).expect("a sample")));
    let source_bytes = source.0.len() as u64;
    let into = desk.result();
    let made = supervisor.extract(desk.order(source, &into)).await;
    let made = made.unwrap_or_else(|failure| panic!("{name} to {:?}: {failure:?}", desk.output.format));
    assert_eq!(std::fs::metadata(&into).expect("a result").len(), made.size, "{name}");
    assert!(made.duration_secs() > 0.9, "{name}: {made:?}");
    let probed = desk.heard.probed.lock().expect("unpoisoned").take().expect("probed");
    assert_eq!((probed.name.as_str(), probed.size), ("talk.wav", Some(source_bytes)), "{name}");
    assert!(!desk.heard.steps.lock().expect("unpoisoned").is_empty(), "{name} told of no progress");
}

fn every_sample_is_extracted() -> Result<(), Failed> {
    run(async {
        let supervisor = start(SupervisorConfig::default()).await;
        for name in PLAYABLE {
            extracts(&supervisor, name, wav()).await;
        }
    });
    Ok(())
}

fn every_format_is_made() -> Result<(), Failed> {
    run(async {
        let supervisor = start(SupervisorConfig::default()).await;
        for format in AudioFormat::ALL {
            for normalize in [None, Some(Loudness::default())] {
                extracts(&supervisor, "vorbis.mkv", OutputSpec { format, normalize, ..wav() }).await;
            }
        }
    });
    Ok(())
}

fn an_unfit_copy_is_encoded() -> Result<(), Failed> {
    run(async {
        let supervisor = start(SupervisorConfig::default()).await;
        let mut desk = Desk::new();
        desk.output = OutputSpec::plain(AudioFormat::Aac);
        for (name, method) in [("faststart.mp4", Method::Copy), ("late.mp4", Method::Encode)] {
            let source = Arc::new(Memory(std::fs::read(sample(name)).expect("a sample")));
            let made = supervisor.extract(desk.order(source, &desk.result())).await;
            assert_eq!(made.map(|made| made.method), Ok(method), "{name}");
        }
    });
    Ok(())
}

fn threads_work() -> Result<(), Failed> {
    let av = AvLimits { encoder_threads: 4, ..AvLimits::default() };
    run(async {
        let supervisor = start(SupervisorConfig { av, ..SupervisorConfig::default() }).await;
        let mut desk = Desk::new();
        desk.output = OutputSpec::plain(AudioFormat::Flac);
        let source = Arc::new(Memory(std::fs::read(sample("aac.mp4")).expect("a sample")));
        let made = supervisor.extract(desk.order(source, &desk.result())).await;
        // Which takes threads, as a copy would not.
        assert_eq!(made.map(|made| made.method), Ok(Method::Encode));
    });
    Ok(())
}

fn what_is_no_media_is_said_to_be_none() -> Result<(), Failed> {
    run(async {
        let supervisor = start(SupervisorConfig::default()).await;
        for (name, code) in [
            ("page.mp4", FailureCode::InvalidVideo),
            ("playlist.mp4", FailureCode::InvalidVideo),
            ("no-audio.mp4", FailureCode::ExtractionFailed),
        ] {
            let desk = Desk::new();
            let (source, into) = (std::fs::read(sample(name)).expect("a sample"), desk.result());
            let failure = supervisor.extract(desk.order(Arc::new(Memory(source)), &into)).await;
            let failure = failure.expect_err(name);
            assert_eq!((failure.public.code, failure.retry), (code, Retry::Never), "{name}: {failure:?}");
        }
    });
    Ok(())
}

/// A source whose host goes away after so many bytes.
struct Failing(Memory, u64);

fn gone() -> Failure {
    Failure::transient(FailureCode::DownloadFailed, "Try again.")
        .with_details("gone")
        .with_private("10.0.0.7")
}

impl Source for Failing {
    fn size(&self) -> BoxFuture<'_, Result<u64, Failure>> {
        self.0.size()
    }
    fn known_size(&self) -> Option<u64> {
        self.0.known_size()
    }
    fn read_at(&self, offset: u64, max_bytes: usize) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        if offset >= self.1 { Box::pin(async { Err(gone()) }) } else { self.0.read_at(offset, max_bytes) }
    }
    fn plan(&self, _: Vec<Range<u64>>) {}
    fn fetched(&self) -> Fetched {
        Fetched::default()
    }
}

fn a_failed_source_is_passed_on_as_it_was() -> Result<(), Failed> {
    run(async {
        let supervisor = start(SupervisorConfig::default()).await;
        let media = std::fs::read(sample("pcm.mkv")).expect("a sample");
        for held in [0, media.len() as u64 / 2] {
            let (desk, source) = (Desk::new(), Failing(Memory(media.clone()), held));
            let into = desk.result();
            let failure = supervisor.extract(desk.order(Arc::new(source), &into)).await;
            assert_eq!(failure, Err(gone()), "after {held} bytes");
        }
    });
    Ok(())
}

fn jobs_run_side_by_side() -> Result<(), Failed> {
    run(async {
        let supervisor = Arc::new(start(SupervisorConfig::default()).await);
        let jobs: Vec<_> = (0..8)
            .map(|_| {
                let supervisor = Arc::clone(&supervisor);
                tokio::spawn(async move { extracts(&supervisor, "sound.mp3", wav()).await })
            })
            .collect();
        for job in jobs {
            job.await.expect("no panic");
        }
    });
    Ok(())
}
