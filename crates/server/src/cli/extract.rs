//! `audio-extract extract SOURCE`: one extraction without a server, by the same parts.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use domain::{
    AudioFormat, Bitrate, ExtractOrder, Extracted, Extractor as _, Failure, Fetched, Loudness,
    LoudnessReport, OutputSpec, ProgressSink as _, Quality, SpecError, Step,
};
use engine::CancellationToken;
use serde::Serialize;
use wire::loudness::LoudnessResponse;

use super::choice::{ChoiceArgs, usage};
use super::destination::Destination;
use super::origin::{Origin, STANDARD};
use super::progress::Shown;
use super::{Stop, block_on, print, to_json};
use crate::config::{Flags, Settings};
use crate::{boot, lifecycle};

#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(super) struct ExtractArgs {
    /// A media file, its http or https URL, or - for stdin
    source: String,
    /// Where to write the audio, - for stdout; without it, beside you, under the source's name
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// mp3, aac, flac, wav, ogg or opus; without it, what the output's extension says, else mp3
    #[arg(short, long)]
    format: Option<String>,
    /// low, medium (where it is left out), high or extreme
    #[arg(long)]
    quality: Option<String>,
    /// Like 192k; wins over quality
    #[arg(long)]
    bitrate: Option<String>,
    /// Normalise to -16 LUFS, true peaks below -1 dBTP
    #[arg(long)]
    normalize: bool,
    /// Normalise to so many LUFS instead, -70 to -5
    #[arg(long, value_name = "LUFS", allow_negative_numbers = true)]
    loudness: Option<f64>,
    /// Normalise with true peaks below so many dBTP instead, -9 to 0
    #[arg(long, value_name = "DBTP", allow_negative_numbers = true)]
    true_peak: Option<f64>,
    /// Print the result as a JSON object; on stderr if the audio goes to stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    choice: ChoiceArgs,
    /// Carry tags, chapters and cover art over
    #[arg(long)]
    preserve_metadata: bool,
    #[command(flatten)]
    flags: Flags,
}

/// What an extraction made, in the words of the API.
#[derive(Serialize)]
struct MadeFile<'a> {
    /// Absent on stdout.
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
    size: u64,
    duration: f64,
    format: &'static str,
    bitrate: String,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    loudness: Option<LoudnessResponse>,
    /// Absent where there were none.
    #[serde(rename = "damagedPackets", skip_serializing_if = "Option::is_none")]
    damaged_packets: Option<u64>,
    /// Bytes that were transferred of the source, and the requests that took.
    fetched: u64,
    requests: u64,
    /// Absent where nothing was.
    #[serde(rename = "metadataLeftOut", skip_serializing_if = "Vec::is_empty")]
    metadata_left_out: Vec<&'static str>,
}

/// What was typed, understood.
struct Plan {
    source: Origin,
    output: OutputSpec,
    into: Destination,
}

impl ExtractArgs {
    /// The loudness that was asked for.
    fn normalize(&self) -> Option<Result<Loudness, SpecError>> {
        let is_asked = self.normalize || self.loudness.is_some() || self.true_peak.is_some();
        is_asked.then(|| Loudness::parse(self.loudness, self.true_peak))
    }
}

pub(super) fn run(args: ExtractArgs) -> Result<(), Stop> {
    let plan = plan(&args)?;
    let settings = Settings::load(&args.flags)?;
    block_on(async move {
        let stop = CancellationToken::new();
        let signals = lifecycle::stop_on_signal(stop.clone())?;
        let progress = Shown::start(plan.output.span);
        let made = tokio::select! {
            made = extract(&settings, &plan, &progress) => made,
            () = stop.cancelled() => Err(Stop::Failed("interrupted".to_owned())),
        };
        signals.abort();
        progress.end();
        report(&plan, &made?, args.json)
    })
}

/// Turns what was typed into what it means.
fn plan(args: &ExtractArgs) -> Result<Plan, Stop> {
    let source = Origin::parse(&args.source)?;
    let format = match (&args.format, &args.output) {
        (Some(name), _) => {
            known("--format", name, AudioFormat::parse(name), "mp3, aac, flac, wav, ogg, opus")?
        }
        (None, Some(path)) if path.as_os_str() == STANDARD => {
            return Err(Stop::Usage(
                "stdout has no extension that names a format; give one with --format".to_owned(),
            ));
        }
        (None, Some(path)) => {
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            AudioFormat::parse(&extension.to_ascii_lowercase()).ok_or_else(|| {
                Stop::Usage("the output's extension names no format; give one with --format".to_owned())
            })?
        }
        (None, None) => AudioFormat::Mp3,
    };
    let quality = args
        .quality
        .as_deref()
        .map(|text| known("--quality", text, Quality::parse(text), "low, medium, high, extreme"))
        .transpose()?;
    let bitrate = args.bitrate.as_deref().map(|text| Bitrate::parse(text, format)).transpose();
    let bitrate = bitrate.map_err(|error| Stop::Usage(format!("--bitrate: {}", error.reason)))?;
    let output = OutputSpec {
        quality,
        bitrate,
        normalize: args.normalize().transpose().map_err(usage)?,
        preserve_metadata: args.preserve_metadata,
        ..args.choice.output(format)?
    };
    let into = match &args.output {
        Some(path) if path.as_os_str() == STANDARD => Destination::stdout()?,
        Some(path) => Destination::File(path.clone()),
        None => Destination::File(PathBuf::from(format!("{}.{}", source.stem(), format.as_str()))),
    };
    if matches!(&into, Destination::File(path) if source.is_file(path)) {
        return Err(Stop::Usage("the output would replace the source; give another name with -o".to_owned()));
    }
    Ok(Plan { source, output, into })
}

fn known<T>(option: &str, text: &str, parsed: Option<T>, choices: &str) -> Result<T, Stop> {
    parsed.ok_or_else(|| Stop::Usage(format!("{option}: `{text}` is none of {choices}")))
}

async fn extract(settings: &Settings, plan: &Plan, progress: &Shown) -> Result<(Extracted, Fetched), Stop> {
    let draft = plan.into.draft()?;
    // libav is loaded while the source's host makes up its mind.
    let opening = plan.source.open(settings, plan.output.track.as_ref());
    let starting = boot::supervisor(settings, boot::Extractions::One);
    let (source, supervisor) = tokio::try_join!(opening, starting)?;
    let name = plan.source.name();
    let order = ExtractOrder {
        source: Arc::clone(&source),
        source_name: &name,
        output: &plan.output,
        into: &draft,
        progress,
    };
    let extracted = supervisor.extract(order).await.map_err(|failure| failed(&failure))?;
    progress.progressed(Step::Finalizing, Some(1.0));
    plan.into.deliver(draft).await?;
    Ok((extracted, source.fetched()))
}

/// Here the customer is the operator, and may know everything.
pub(super) fn failed(failure: &Failure) -> Stop {
    let private = failure.private.as_ref().map_or_else(String::new, |private| format!(" [{private}]"));
    Stop::Failed(format!("{failure}{private}"))
}

/// Says what was made: on stdout, unless that has the audio.
fn report(plan: &Plan, (made, fetched): &(Extracted, Fetched), as_json: bool) -> Result<(), Stop> {
    let name = plan.into.name();
    let result = MadeFile {
        filename: matches!(plan.into, Destination::File(_)).then_some(name.as_str()),
        size: made.size,
        duration: (made.duration_secs() * 1000.0).round() / 1000.0,
        format: plan.output.format.as_str(),
        bitrate: format!("{}k", made.bitrate_kbps()),
        method: made.method.as_str(),
        loudness: made.loudness.map(LoudnessResponse::from),
        damaged_packets: Some(made.damaged_packets).filter(|packets| *packets > 0),
        fetched: fetched.bytes,
        requests: fetched.requests,
        metadata_left_out: made.metadata_left_out.iter().map(|part| part.as_str()).collect(),
    };
    let line = if as_json {
        to_json(&result)?
    } else {
        let remarks = remarks(made);
        format!("{name}: {} bytes, {} s, {}{remarks}", result.size, result.duration, result.bitrate)
    };
    match plan.into {
        Destination::File(_) => print(&line),
        Destination::Stdout => {
            eprintln!("{line}");
            Ok(())
        }
    }
}

/// What is not as it might be expected.
fn remarks(made: &Extracted) -> String {
    let damage = match made.damaged_packets {
        0 => String::new(),
        1 => ", 1 damaged packet left out".to_owned(),
        packets => format!(", {packets} damaged packets left out"),
    };
    let loudness = match made.loudness {
        Some(LoudnessReport::Unmeasurable) => {
            ", not normalised: silence, or less than 400 ms of sound, has no loudness".to_owned()
        }
        Some(LoudnessReport::Normalized { shortfall_lu, .. }) if shortfall_lu > 0.0 => {
            format!(", {shortfall_lu:.1} LU short")
        }
        _ => String::new(),
    };
    let parts: Vec<&str> = made.metadata_left_out.iter().map(|part| part.as_str()).collect();
    let metadata =
        if parts.is_empty() { String::new() } else { format!(", without {}", parts.join(" and ")) };
    [damage, loudness, metadata].concat()
}
