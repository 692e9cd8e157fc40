//! What audio costs: ours beside the `ffmpeg` command on the same inputs, taken turn by turn in one run.

mod clips;
pub(crate) mod cost;
pub(crate) mod inputs;
mod long;

use std::path::PathBuf;

use domain::AudioFormat;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::stats::median;

/// What is to be measured.
pub(crate) struct Plan {
    /// Fewer turns and a shorter recording: to see that it works, not to quote.
    pub(crate) is_quick: bool,
    /// One figure; empty: all.
    pub(crate) only: String,
    /// The release binary.
    pub(crate) binary: PathBuf,
}

impl Plan {
    /// Turns of each pair: an odd number, so that there is a middle one.
    fn turns(&self, full: usize) -> usize {
        if self.is_quick { 1 } else { full }
    }

    /// How long the long recording is, in seconds.
    fn long_secs(&self) -> u32 {
        if self.is_quick { 120 } else { 600 }
    }

    fn wants(&self, figure: &str) -> bool {
        self.only.is_empty() || self.only == figure
    }
}

/// A line of the table: what ours and the peer's cost, and the most that their ratio may be.
struct Line {
    work: String,
    ours: String,
    peer: String,
    ratio: f64,
    bar: f64,
    /// What else was checked; empty if nothing is wrong.
    wrong: String,
}

impl Line {
    /// Of values in a unit, taken turn by turn.
    fn of_pairs(work: String, unit: &str, pairs: &[(f64, f64)], bar: f64) -> Self {
        let (ours, peer): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let (ours, peer) = (median(ours), median(peer));
        let shown = |value: f64| {
            if value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.2} {unit}") }
        };
        let (ratio, wrong) = (ours / peer, String::new());
        Self { work, ours: shown(ours), peer: shown(peer), ratio, bar, wrong }
    }
}

/// Measures and prints; whether every bar is met.
pub(crate) fn print(plan: &Plan, runtime: &Runtime, say: impl Fn(&str)) -> Outcome<bool> {
    let inputs = inputs::Inputs::make(plan)?;
    let mut is_met = true;
    say("| work | ours | ffmpeg | ratio | bar | |\n|---|---|---|---|---|---|");
    let mut tell = |line: Line| {
        let is_good = line.ratio <= line.bar && line.wrong.is_empty();
        is_met &= is_good;
        let verdict = if is_good { "met" } else { "MISSED" };
        let Line { work, ours, peer, ratio, bar, wrong } = line;
        say(&format!("| {work} | {ours} | {peer} | {ratio:.2} | {bar:.2} | {verdict} {wrong}|"));
    };
    if plan.wants("clips") {
        runtime.block_on(clips::one_by_one(plan, &inputs))?.into_iter().for_each(&mut tell);
    }
    if plan.wants("crowd") {
        tell(runtime.block_on(clips::crowd(plan, &inputs))?);
    }
    if plan.wants("long") {
        long::encodes(plan, &inputs)?.into_iter().for_each(&mut tell);
    }
    if plan.wants("copy") {
        tell(long::copy(plan, &inputs)?);
    }
    if plan.wants("flac") {
        tell(long::flac_on_two_cores(plan, &inputs)?);
    }
    if plan.wants("normalize") {
        tell(long::normalized(plan, &inputs)?);
    }
    if plan.wants("memory") {
        tell(long::memory(plan, &inputs)?);
    }
    Ok(is_met)
}

/// What the `ffmpeg` command is told for the same codec, sample format and bitrate as ours at medium quality.
fn encoder_of(format: AudioFormat) -> &'static [&'static str] {
    match format {
        AudioFormat::Mp3 => &["-c:a", "libmp3lame", "-b:a", "192k"],
        AudioFormat::Aac => &["-c:a", "aac", "-b:a", "128k"],
        AudioFormat::Flac => &["-c:a", "flac", "-sample_fmt", "s16"],
        AudioFormat::Wav => &["-c:a", "pcm_s16le"],
        AudioFormat::Ogg => &["-c:a", "libvorbis", "-q:a", "4"],
        AudioFormat::Opus => &["-c:a", "libopus", "-b:a", "96k"],
    }
}

/// Sets a command apart from this program's own words.
fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
