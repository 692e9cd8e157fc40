//! Ten minutes, by `audio-extract extract` beside the `ffmpeg` command on the same file.

use std::path::{Path, PathBuf};
use std::process::Command;

use domain::AudioFormat;

use super::cost::{Cost, run, run_watched};
use super::inputs::Inputs;
use super::{Line, Plan, encoder_of, words};
use crate::Outcome;

/// The most memory that a child and its parent may take together.
const MOST_BYTES: f64 = 128.0 * 1024.0 * 1024.0;

/// One work done by both.
struct Pair {
    ours: Vec<String>,
    peer: Vec<String>,
    made_ours: PathBuf,
    made_peer: PathBuf,
}

impl Pair {
    /// Into files of this extension; with these options of ours, and these of the command.
    fn new(
        plan: &Plan,
        inputs: &Inputs,
        source: &Path,
        extension: &str,
        ours: &[&str],
        peer: &[&str],
    ) -> Self {
        let made_ours = inputs.folder.join(format!("ours.{extension}"));
        let made_peer = inputs.folder.join(format!("peer.{extension}"));
        let (source, mine) = (source.display().to_string(), made_ours.display().to_string());
        let binary = plan.binary.display().to_string();
        let theirs = made_peer.display().to_string();
        let ours = [&[&binary, "extract", &source, "-o", &mine], ours].concat();
        let peer =
            [&["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", &source, "-vn"], peer, &[&theirs]].concat();
        Self { ours: words(&ours), peer: words(&peer), made_ours, made_peer }
    }

    /// What `figure` of each turn is, for ours and the command.
    fn measure(&self, turns: usize, figure: impl Fn(Cost) -> f64) -> Outcome<Vec<(f64, f64)>> {
        (0..turns).map(|_| Ok((figure(run(&self.ours)?), figure(run(&self.peer)?)))).collect()
    }
}

/// CPU time of each format.
pub(super) fn encodes(plan: &Plan, inputs: &Inputs) -> Outcome<Vec<Line>> {
    AudioFormat::ALL
        .into_iter()
        .map(|format| {
            let extension = format.as_str();
            let pair = match format {
                // A lower bitrate than the source's: its own codec would be copied.
                AudioFormat::Aac => {
                    let peer = ["-c:a", "aac", "-b:a", "96k"];
                    Pair::new(plan, inputs, &inputs.long, extension, &["--bitrate", "96k"], &peer)
                }
                _ => Pair::new(plan, inputs, &inputs.long, extension, &[], encoder_of(format)),
            };
            let pairs = pair.measure(plan.turns(5), |cost| cost.cpu)?;
            Ok(Line::of_pairs(format!("{} s to {extension}, CPU", plan.long_secs()), "s", &pairs, 1.03))
        })
        .collect()
}

/// The packets as they are.
pub(super) fn copy(plan: &Plan, inputs: &Inputs) -> Outcome<Line> {
    let pair = Pair::new(plan, inputs, &inputs.long, "aac", &[], &["-c:a", "copy"]);
    let pairs = pair.measure(plan.turns(9), |cost| cost.cpu)?;
    let mut line = Line::of_pairs(format!("{} s copied, CPU", plan.long_secs()), "s", &pairs, 1.0);
    line.wrong = differs(&pair.made_ours, &pair.made_peer)?;
    Ok(line)
}

/// Wall time of FLAC, whose result must be what the decoder gave and say so in its header.
pub(super) fn flac_on_two_cores(plan: &Plan, inputs: &Inputs) -> Outcome<Line> {
    let peer = encoder_of(AudioFormat::Flac);
    let pair = Pair::new(plan, inputs, &inputs.long_wav, "flac", &[], peer);
    let pairs = pair.measure(plan.turns(5), |cost| cost.wall)?;
    let mut line =
        Line::of_pairs(format!("{} s of PCM to flac on 2 cores, wall", plan.long_secs()), "s", &pairs, 0.75);
    line.wrong = differs(&pair.made_ours, &pair.made_peer)?;
    let tested = Command::new("flac").args(["-t", "-s"]).arg(&pair.made_ours).status()?;
    if !tested.success() {
        line.wrong.push_str("(flac -t fails) ");
    }
    Ok(line)
}

/// Loudness, beside the two passes of the loudnorm filter.
pub(super) fn normalized(plan: &Plan, inputs: &Inputs) -> Outcome<Line> {
    let target = "loudnorm=I=-16:TP=-1:LRA=20:linear=true";
    let measured = "measured_I=-23:measured_TP=-8:measured_LRA=3:measured_thresh=-33";
    let second = format!("{target}:{measured}");
    let encoder = ["-ar", "48000", "-c:a", "pcm_s16le"];
    let peer = [&["-af", &second], &encoder[..]].concat();
    let pair = Pair::new(plan, inputs, &inputs.long, "wav", &["--normalize"], &peer);
    let source = inputs.long.display().to_string();
    let first = format!("{target}:print_format=json");
    let first =
        words(&["ffmpeg", "-nostdin", "-v", "error", "-i", &source, "-vn", "-af", &first, "-f", "null", "-"]);
    let turns = (0..plan.turns(5)).map(|_| {
        let ours = run(&pair.ours)?.cpu;
        Ok((ours, run(&first)?.cpu + run(&pair.peer)?.cpu))
    });
    let pairs = turns.collect::<Outcome<Vec<_>>>()?;
    let work = format!("{} s normalised to wav, CPU, beside loudnorm's two passes", plan.long_secs());
    Ok(Line::of_pairs(work, "s", &pairs, 0.1))
}

/// Memory of parent and child together on a large source; the bar is a number of bytes, not the command's.
pub(super) fn memory(plan: &Plan, inputs: &Inputs) -> Outcome<Line> {
    let pair = Pair::new(plan, inputs, &inputs.large, "mp3", &[], encoder_of(AudioFormat::Mp3));
    let (ours, peer) =
        (run_watched(&pair.ours)?.peak_bytes as f64, run_watched(&pair.peer)?.peak_bytes as f64);
    let shown = |bytes: f64| format!("{:.0} MiB", bytes / (1024.0 * 1024.0));
    Ok(Line {
        work: "peak memory of all processes, 2 GB source, against 128 MiB".to_owned(),
        ours: shown(ours),
        peer: shown(peer),
        ratio: ours / MOST_BYTES,
        bar: 1.0,
        wrong: String::new(),
    })
}

/// Whether two files decode to other samples: what is wrong, or nothing.
fn differs(ours: &Path, peer: &Path) -> Outcome<String> {
    let digest = |file: &Path| -> Outcome<Vec<u8>> {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(file).args([
            "-c:a",
            "pcm_s32le",
            "-f",
            "md5",
            "-",
        ]);
        Ok(ffmpeg.output()?.stdout)
    };
    Ok(if digest(ours)? == digest(peer)? { String::new() } else { "(decodes to other samples) ".to_owned() })
}
