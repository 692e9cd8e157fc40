//! Thousands of files that nearly are media, through real children: whatever they do there, this process stays as it
//! was, and each gets an answer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::{
    Access, AudioFormat, Bitrate, BoxFuture, ChannelCount, ExtractOrder, Extractor, Failure, FailureCode,
    Fetched, Loudness, OutputSpec, Quality, SampleRate, Source, Span, TrackChoice,
};
use libtest_mimic::Failed;
use media::{Attack, Supervisor};
use testkit::samples::{CONTAINERS, TINY, sample};

use crate::Test;
use crate::corpus::config;
use crate::desk::{Desk, Memory, run, start, until};
use crate::mutate::{Dice, mutant};
use crate::watch::Watch;

pub(crate) const TESTS: &[Test] = &[("mutated_files_get_an_answer_each", mutated_files_get_an_answer_each)];

/// How many files every run of the tests has; `make fuzz` has more.
const FEW: u64 = 200;
/// Files on their way at once: more than there are workers, so that children start while others crash.
const AT_ONCE: u64 = 4;
/// One child in so many crashes by order, because libav seldom does: what follows on a crash must work at any rate.
const ORDERED_CRASHES: u64 = 50;
/// No answer after this is a hang: past every limit that should have ended it.
const HANG: Duration = Duration::from_secs(180);
/// What this process may grow by between a tenth of the way and the end. Its buffers are a few hundred KiB a job; what
/// leaked a page for each file would pass this long before 20,000.
const MOST_GROWTH_KIB: u64 = 24 << 10;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Which numbers are drawn.
    pub(crate) seed: u64,
    /// The first file's number.
    pub(crate) first: u64,
    /// How many files.
    pub(crate) files: u64,
}

/// In what order a source's bytes may be had.
const ACCESSES: [Access; 3] =
    [Access::Random, Access::InOrder { is_sized: true }, Access::InOrder { is_sized: false }];

/// A source that says to come in this order.
struct Arriving {
    memory: Memory,
    access: Access,
}

impl Source for Arriving {
    fn size(&self) -> BoxFuture<'_, Result<u64, Failure>> {
        self.memory.size()
    }
    fn known_size(&self) -> Option<u64> {
        self.memory.known_size()
    }
    fn access(&self) -> Access {
        self.access
    }
    fn read_at(&self, offset: u64, max_bytes: usize) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        self.memory.read_at(offset, max_bytes)
    }
    fn plan(&self, ranges: Vec<Range<u64>>) {
        self.memory.plan(ranges);
    }
    fn fetched(&self) -> Fetched {
        self.memory.fetched()
    }
}

fn mutated_files_get_an_answer_each() -> Result<(), Failed> {
    // Another part of the sequence than `make fuzz` begins with.
    fuzz(Plan { seed: 1, first: 1 << 32, files: FEW }).map(drop)
}

/// What is mutated: a second of each container, and some that are long enough for late parts.
fn names() -> impl Iterator<Item = String> {
    let short = CONTAINERS.iter().map(|name| format!("short-{name}"));
    short.chain(TINY.iter().map(|name| (*name).to_owned()))
}

/// What is asked for: often only a format, else anything that can be.
fn drawn(dice: &mut Dice) -> OutputSpec {
    /// Of the sources, which have a second or 24: in the middle, late, at the very end, behind it.
    const STARTS: [f64; 8] = [0.0, 0.001, 0.25, 0.999, 13.7, 20.480_001, 23.99, 3600.0];
    const LASTING: [f64; 4] = [0.000_01, 0.02, 0.5, 100.0];
    const TRACKS: [TrackChoice; 2] = [TrackChoice::Index(0), TrackChoice::Index(1)];
    let format = dice.one_of(&AudioFormat::ALL);
    let mut sometimes = |one_in: usize| dice.below(one_in) == 0;
    let (has_span, has_end) = (sometimes(2), sometimes(2));
    let (has_track, has_channels, has_rate) = (sometimes(6), sometimes(4), sometimes(4));
    let (has_quality, has_bitrate, has_metadata) = (sometimes(2), sometimes(4), sometimes(2));
    let (is_louder, has_target) = (sometimes(8), sometimes(2));
    let start_secs = dice.one_of(&STARTS);
    let end_secs = Some(start_secs + dice.one_of(&LASTING)).filter(|_| has_end);
    let target = Loudness {
        integrated_lufs: dice.one_of(&[-70.0, -41.0, -23.0, -5.0]),
        true_peak_dbtp: dice.one_of(&[-9.0, -1.0, 0.0]),
    };
    let hz = dice.one_of(&[8000, 16_000, 44_100, 48_000, 192_000]);
    let kbps = dice.one_of(&["8k", "32k", "128k", "512k"]);
    OutputSpec {
        quality: has_quality.then(|| dice.one_of(&Quality::ALL)),
        bitrate: Bitrate::parse(kbps, format).ok().filter(|_| has_bitrate),
        normalize: is_louder.then_some(if has_target { target } else { Loudness::default() }),
        preserve_metadata: has_metadata,
        track: has_track.then(|| TRACKS[dice.below(TRACKS.len())].clone()),
        span: if has_span { Span { start_secs, end_secs } } else { Span::WHOLE },
        channels: has_channels.then(|| dice.one_of(&[ChannelCount::Mono, ChannelCount::Stereo])),
        sample_rate: SampleRate::parse(hz, format).ok().filter(|_| has_rate),
        ..OutputSpec::plain(format)
    }
}

/// One run of many files.
struct Run {
    plan: Plan,
    supervisor: Supervisor,
    samples: Vec<Vec<u8>>,
    next: AtomicU64,
    ends: Mutex<BTreeMap<String, u64>>,
    kept: PathBuf,
    /// This process when a tenth was done.
    early: Mutex<Option<Watch>>,
}

/// Runs the plan and says how the files ended. The error names those that were wrong, which are kept.
pub(crate) fn fuzz(plan: Plan) -> Result<String, Failed> {
    let samples: Vec<Vec<u8>> = names().map(|name| std::fs::read(sample(&name)).expect("a sample")).collect();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz");
    std::fs::create_dir_all(&kept)?;
    let began = Instant::now();
    run(async {
        let supervisor = start(config()).await;
        let run = Run {
            plan,
            supervisor,
            samples,
            next: AtomicU64::new(0),
            ends: Mutex::default(),
            kept,
            early: Mutex::default(),
        };
        // What a runtime and a first job open for good is open now.
        run.one(plan.first).await.map_err(Failed::from)?;
        let before = Watch::now();
        let run = Arc::new(run);
        let lanes: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(lane(Arc::clone(&run)))).collect();
        let mut wrong = Vec::new();
        for lane in lanes {
            wrong.extend(lane.await.expect("a panic in this process"));
        }
        let report = run.report(began.elapsed(), &before);
        run.nothing_is_left(&before).await;
        if wrong.is_empty() { Ok(report) } else { Err(Failed::from(format!("{report}{}", wrong.join("\n")))) }
    })
}

async fn lane(run: Arc<Run>) -> Vec<String> {
    let mut wrong = Vec::new();
    loop {
        let turn = run.next.fetch_add(1, Ordering::Relaxed);
        if turn >= run.plan.files {
            return wrong;
        }
        if turn == run.plan.files / 10 {
            *run.early.lock().expect("unpoisoned") = Some(Watch::now());
        }
        wrong.extend(run.one(run.plan.first + turn).await.err());
    }
}

impl Run {
    /// One file. The error says what was wrong with its end.
    async fn one(&self, number: u64) -> Result<(), String> {
        let mut dice = Dice::new(self.plan.seed, number);
        let (file, donor) = (dice.below(self.samples.len()), dice.below(self.samples.len()));
        let bytes = mutant(&self.samples[file], &self.samples[donor], &mut dice);
        let mut desk = Desk::new();
        desk.output = drawn(&mut dice);
        let into = desk.result();
        let source = Arc::new(Arriving { memory: Memory(bytes), access: dice.one_of(&ACCESSES) });
        let order = desk.order(source.clone(), &into);
        if number % ORDERED_CRASHES == ORDERED_CRASHES - 1 {
            return self.crash(order).await;
        }
        let work = self.supervisor.extract(order);
        let (end, is_wrong) = match tokio::time::timeout(HANG, work).await {
            Err(_) => ("no answer".to_owned(), true),
            Ok(Ok(_)) => ("success".to_owned(), false),
            Ok(Err(failure)) => (name(&failure), !is_an_answer(&failure)),
        };
        let is_crash = end.contains("was ended by");
        *self.ends.lock().expect("unpoisoned").entry(end.clone()).or_default() += 1;
        if !is_wrong && !is_crash {
            return Ok(());
        }
        let name = names().nth(file).unwrap_or_default();
        let path = self.kept.join(format!("{}-{number}-{name}", self.plan.seed));
        std::fs::write(&path, &source.memory.0).map_err(|cause| format!("{}: {cause}", path.display()))?;
        let said = format!("{}, {:?}, to {:?}: {end}", path.display(), source.access, desk.output);
        eprintln!("{said}");
        if is_wrong { Err(said) } else { Ok(()) }
    }

    /// A child that crashes while others are at work: its zygote is replaced, and they go on.
    async fn crash(&self, order: ExtractOrder<'_>) -> Result<(), String> {
        let ended = self.supervisor.extract_attacked(Attack::Crash, order).await;
        *self.ends.lock().expect("unpoisoned").entry("a crash by order".to_owned()).or_default() += 1;
        match ended {
            Err(failure) if failure.to_string().contains("was ended by") => Ok(()),
            other => Err(format!("a crash by order: {other:?}")),
        }
    }

    fn report(&self, took: Duration, before: &Watch) -> String {
        let Plan { seed, first, files } = self.plan;
        let secs = took.as_secs_f64();
        let mut lines = vec![format!(
            "seed {seed}: {files} files from {first} in {secs:.0} s, {:.0}/s",
            files as f64 / secs
        )];
        let ends = self.ends.lock().expect("unpoisoned");
        let mut ends: Vec<_> = ends.iter().collect();
        ends.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        lines.extend(ends.iter().map(|(end, count)| format!("{count:>8}  {end}")));
        let early = self.early.lock().expect("unpoisoned").clone();
        lines.extend([format!("before  {before:?}"), format!("a tenth {early:?}")]);
        lines.push(format!("after   {:?}\n", Watch::now()));
        lines.join("\n")
    }

    /// Nothing of all this is left in this process.
    async fn nothing_is_left(&self, before: &Watch) {
        // A zygote that was replaced ends once its last job has, and its socket is closed a moment later.
        until(|| {
            let now = Watch::now();
            let is_calm = now.children_of_zygotes == 0 && now.zygotes == 1;
            (is_calm && now.descriptors == before.descriptors).then_some(())
        })
        .await;
        let early = self.early.lock().expect("unpoisoned").take().expect("a look at a tenth");
        let after = Watch::now();
        for (early, after) in
            [(early.memory_kib, after.memory_kib), (early.zygotes_memory_kib, after.zygotes_memory_kib)]
        {
            assert!(after.saturating_sub(early) <= MOST_GROWTH_KIB, "{early} KiB grew to {after} KiB");
        }
    }
}

/// Both codes that a video can end with, and no fault of ours: those have no details.
fn is_an_answer(failure: &Failure) -> bool {
    matches!(failure.public.code, FailureCode::InvalidVideo | FailureCode::ExtractionFailed)
        && failure.public.details.is_some()
}

/// Code and details, with every number as `#`, so that the same ends count as one.
fn name(failure: &Failure) -> String {
    let ours = failure.private.as_deref().unwrap_or("nothing is said");
    let details = failure.public.details.as_deref().unwrap_or(ours);
    let mut name = format!("{:?}: ", failure.public.code);
    for letter in details.chars().take(80) {
        if !letter.is_ascii_digit() {
            name.push(letter);
        } else if !name.ends_with('#') {
            name.push('#');
        }
    }
    name
}
