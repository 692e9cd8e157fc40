//! `audio-extract extract SOURCE`: one extraction without a server, by the same parts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use domain::{
    AddressPolicy as _, AudioFormat, Bitrate, ExtractOrder, Extracted, Extractor as _, Failure, Fetched,
    Loudness, OutputSpec, ProgressSink as _, Quality, Source, SourceOpener as _, SourceSpec, Step, WebUrl,
};
use egress::FileSource;
use engine::CancellationToken;
use serde::Serialize;
use wire::loudness::LoudnessResponse;

use super::choice::ChoiceArgs;
use super::progress::Shown;
use super::{Stop, block_on, print, to_json};
use crate::config::{Flags, Settings};
use crate::{boot, lifecycle};

#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(super) struct ExtractArgs {
    /// A media file, or its http or https URL
    source: String,
    /// Where to write the audio; without it, beside you, under the source's name
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
    /// Print the result as a JSON object
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
    filename: &'a str,
    size: u64,
    duration: f64,
    format: &'static str,
    bitrate: String,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    loudness: Option<LoudnessResponse>,
    /// Bytes that were transferred of the source, and the requests that took.
    fetched: u64,
    requests: u64,
}

/// What was typed, understood.
struct Plan {
    source: Origin,
    output: OutputSpec,
    into: PathBuf,
}

enum Origin {
    File(PathBuf),
    Url(WebUrl),
}

pub(super) fn run(args: ExtractArgs) -> Result<(), Stop> {
    let plan = plan(&args)?;
    let settings = Settings::load(&args.flags)?;
    block_on(async move {
        let stop = CancellationToken::new();
        let signals = lifecycle::stop_on_signal(stop.clone())?;
        let progress = Shown::start();
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
    let source = if args.source.contains("://") {
        let url = WebUrl::parse(&args.source).map_err(|reason| Stop::Usage(format!("SOURCE: {reason}")))?;
        Origin::Url(url)
    } else {
        Origin::File(PathBuf::from(&args.source))
    };
    let format = match (&args.format, &args.output) {
        (Some(name), _) => {
            known("--format", name, AudioFormat::parse(name), "mp3, aac, flac, wav, ogg, opus")?
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
        normalize: args.normalize.then(Loudness::default),
        preserve_metadata: args.preserve_metadata,
        ..args.choice.output(format)?
    };
    let into = args
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.{}", source.stem(), format.as_str())));
    if let Origin::File(path) = &source
        && is_same_file(path, &into)
    {
        return Err(Stop::Usage("the output would replace the source; give another name with -o".to_owned()));
    }
    Ok(Plan { source, output, into })
}

fn known<T>(option: &str, text: &str, parsed: Option<T>, choices: &str) -> Result<T, Stop> {
    parsed.ok_or_else(|| Stop::Usage(format!("{option}: `{text}` is none of {choices}")))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

impl Origin {
    /// What people call it.
    fn name(&self) -> String {
        match self {
            Self::File(path) => path
                .file_name()
                .map_or_else(|| "source".to_owned(), |name| name.to_string_lossy().into_owned()),
            Self::Url(url) => spec(url).name().to_owned(),
        }
    }

    /// Its name without its extension.
    fn stem(&self) -> String {
        let name = self.name();
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        if stem.is_empty() { "audio".to_owned() } else { stem.to_owned() }
    }
}

async fn extract(settings: &Settings, plan: &Plan, progress: &Shown) -> Result<(Extracted, Fetched), Stop> {
    let draft = Draft::beside(&plan.into)?;
    let source = open(settings, &plan.source).await?;
    let supervisor = boot::supervisor(settings).await?;
    let name = plan.source.name();
    let order = ExtractOrder {
        source: Arc::clone(&source),
        source_name: &name,
        output: &plan.output,
        into: &draft.0,
        progress,
    };
    let extracted = supervisor.extract(order).await.map_err(|failure| failed(&failure))?;
    progress.progressed(Step::Finalizing, Some(1.0));
    std::fs::rename(&draft.0, &plan.into)
        .map_err(|cause| Stop::Failed(format!("{}: {cause}", plan.into.display())))?;
    Ok((extracted, source.fetched()))
}

fn spec(url: &WebUrl) -> SourceSpec {
    SourceSpec::Url { url: url.clone(), headers: Vec::new() }
}

async fn open(settings: &Settings, origin: &Origin) -> Result<Arc<dyn Source>, Stop> {
    match origin {
        Origin::File(path) => {
            let source = FileSource::open(path);
            let source = source.map_err(|cause| Stop::Failed(format!("{}: {cause}", path.display())))?;
            Ok(Arc::new(source))
        }
        Origin::Url(url) => {
            let egress = boot::egress(settings, std::env::temp_dir())?;
            egress.guard.check(url.url()).map_err(|refused| {
                Stop::Failed(format!("{} (--allow-networks opens private networks)", refused.0))
            })?;
            egress.sources.open(&spec(url)).await.map_err(|failure| failed(&failure))
        }
    }
}

/// Here the customer is the operator, and may know everything.
fn failed(failure: &Failure) -> Stop {
    let private = failure.private.as_ref().map_or_else(String::new, |private| format!(" [{private}]"));
    Stop::Failed(format!("{failure}{private}"))
}

/// The file while it is being made: beside its place, so that it gets there whole or not at all.
struct Draft(PathBuf);

impl Draft {
    /// Makes it, empty, so that what cannot be written is known before anything is fetched, and with the permissions
    /// of any new file of the user's.
    fn beside(path: &Path) -> Result<Self, Stop> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.part", std::process::id()));
        let draft = Self(path.with_file_name(name));
        std::fs::File::create(&draft.0)
            .map_err(|cause| Stop::Failed(format!("{}: {cause}", path.display())))?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a success it has moved away and there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn report(plan: &Plan, (made, fetched): &(Extracted, Fetched), as_json: bool) -> Result<(), Stop> {
    let filename = plan.into.display().to_string();
    let result = MadeFile {
        filename: &filename,
        size: made.size,
        duration: (made.duration_secs() * 1000.0).round() / 1000.0,
        format: plan.output.format.as_str(),
        bitrate: format!("{}k", made.bitrate_kbps()),
        method: made.method.as_str(),
        loudness: made.loudness.map(LoudnessResponse::from),
        fetched: fetched.bytes,
        requests: fetched.requests,
    };
    if as_json {
        return print(&to_json(&result)?);
    }
    print(&format!("{filename}: {} bytes, {} s, {}", result.size, result.duration, result.bitrate))
}
