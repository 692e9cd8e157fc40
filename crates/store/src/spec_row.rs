//! What was asked for, as JSON in a column. Rows of our own, because domain knows no JSON and because what was
//! once written must be readable for good: a field that is added later is optional here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{
    AudioFormat, Bitrate, ChannelCount, EventKind, FileId, Filename, JobId, JobOptions, JobSpec, Loudness,
    OutputSpec, Priority, Quality, SampleRate, SourceHeader, SourceSpec, Span, TrackChoice, WebUrl,
};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::sql::Unreadable;
use crate::vault::Vault;

#[derive(Serialize, Deserialize)]
struct SpecRow {
    source: SourceRow,
    output: OutputRow,
    options: OptionsRow,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum SourceRow {
    Url { url: String, headers: Vec<HeaderRow> },
    Upload { file: String, name: Option<String> },
}

/// The value is sealed: it is often a credential.
#[derive(Serialize, Deserialize)]
struct HeaderRow {
    name: String,
    sealed: String,
}

#[derive(Serialize, Deserialize)]
struct OutputRow {
    format: String,
    quality: Option<String>,
    bitrate: Option<String>,
    normalize: Option<LoudnessRow>,
    #[serde(default)]
    preserve_metadata: bool,
    track: Option<TrackRow>,
    start_secs: Option<f64>,
    end_secs: Option<f64>,
    channels: Option<u16>,
    sample_rate: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TrackRow {
    Index(u32),
    Language(String),
}

#[derive(Serialize, Deserialize)]
struct LoudnessRow {
    integrated_lufs: f64,
    true_peak_dbtp: f64,
}

#[derive(Serialize, Deserialize)]
struct OptionsRow {
    filename: Option<String>,
    webhook: Option<String>,
    priority: String,
    metadata: Vec<(String, String)>,
    webhook_events: Vec<String>,
}

fn place(job: &JobId, header: &str) -> String {
    format!("jobs {job} source header {header}")
}

/// Writes what was asked for, its secrets sealed for this job.
pub(crate) fn spec_to_text(spec: &JobSpec, job: &JobId, vault: &Vault) -> Result<String, StoreError> {
    let options = &spec.options;
    let row = SpecRow {
        source: source_to_row(&spec.source, job, vault)?,
        output: output_to_row(&spec.output),
        options: OptionsRow {
            filename: options.filename.as_ref().map(|filename| filename.as_written().to_owned()),
            webhook: options.webhook.as_ref().map(|url| url.as_written().to_owned()),
            priority: options.priority.as_str().to_owned(),
            metadata: options.metadata.clone(),
            webhook_events: options.webhook_events.iter().map(|kind| kind.as_str().to_owned()).collect(),
        },
    };
    to_text(&row)
}

/// Reads what [`spec_to_text`] wrote.
pub(crate) fn spec_from_text(text: &str, job: &JobId, vault: &Vault) -> Result<JobSpec, Unreadable> {
    let row: SpecRow = from_text("spec", text)?;
    Ok(JobSpec {
        source: source_from_row(row.source, job, vault)?,
        output: output_from_row(row.output)?,
        options: options_from_row(row.options)?,
    })
}

fn source_to_row(source: &SourceSpec, job: &JobId, vault: &Vault) -> Result<SourceRow, StoreError> {
    let (url, headers) = match source {
        SourceSpec::Url { url, headers } => (url, headers),
        SourceSpec::Upload { file, name } => {
            let name = name.as_ref().map(|name| name.as_written().to_owned());
            return Ok(SourceRow::Upload { file: file.as_str().to_owned(), name });
        }
    };
    let seal = |header: &SourceHeader| {
        let sealed = vault.seal(&place(job, &header.name), header.value.expose().as_bytes())?;
        Ok(HeaderRow { name: header.name.clone(), sealed: STANDARD.encode(sealed) })
    };
    let headers = headers.iter().map(seal).collect::<Result<_, StoreError>>()?;
    Ok(SourceRow::Url { url: url.as_written().to_owned(), headers })
}

fn source_from_row(row: SourceRow, job: &JobId, vault: &Vault) -> Result<SourceSpec, Unreadable> {
    let (url, headers) = match row {
        SourceRow::Url { url, headers } => (url, headers),
        SourceRow::Upload { file, name } => {
            let file = FileId::parse(&file).map_err(|_| wrong("source.file"))?;
            let name = name.map(|name| Filename::parse(&name)).transpose();
            return Ok(SourceSpec::Upload { file, name: name.map_err(|_| wrong("source.name"))? });
        }
    };
    let open = |header: HeaderRow| {
        let sealed = STANDARD.decode(&header.sealed).map_err(|_| wrong("source.headers"))?;
        let value = vault.open_text(&place(job, &header.name), &sealed).ok_or_else(|| {
            Unreadable("column `spec`: a source header does not open with this master key".to_owned())
        })?;
        Ok(SourceHeader { name: header.name, value })
    };
    let headers = headers.into_iter().map(open).collect::<Result<_, Unreadable>>()?;
    let url = WebUrl::parse(&url).map_err(|_| wrong("source.url"))?;
    Ok(SourceSpec::Url { url, headers })
}

fn output_to_row(output: &OutputSpec) -> OutputRow {
    let OutputSpec { format, quality, bitrate, normalize, preserve_metadata, .. } = output;
    let OutputSpec { track, span, channels, sample_rate, .. } = output;
    OutputRow {
        format: format.as_str().to_owned(),
        quality: quality.map(|quality| quality.as_str().to_owned()),
        bitrate: bitrate.map(|bitrate| format!("{}k", bitrate.kbps())),
        normalize: normalize.map(|loudness| LoudnessRow {
            integrated_lufs: loudness.integrated_lufs,
            true_peak_dbtp: loudness.true_peak_dbtp,
        }),
        preserve_metadata: *preserve_metadata,
        track: track.clone().map(|track| match track {
            TrackChoice::Index(index) => TrackRow::Index(index),
            TrackChoice::Language(language) => TrackRow::Language(language),
        }),
        start_secs: Some(span.start_secs).filter(|start| *start > 0.0),
        end_secs: span.end_secs,
        channels: channels.map(ChannelCount::get),
        sample_rate: sample_rate.map(SampleRate::hz),
    }
}

fn output_from_row(row: OutputRow) -> Result<OutputSpec, Unreadable> {
    let format = AudioFormat::parse(&row.format).ok_or_else(|| wrong("output.format"))?;
    let quality = row.quality.map(|text| Quality::parse(&text).ok_or_else(|| wrong("output.quality")));
    let bitrate = row.bitrate.map(|text| Bitrate::parse(&text, format)).transpose();
    let normalize = row.normalize.map(|loudness| Loudness {
        integrated_lufs: loudness.integrated_lufs,
        true_peak_dbtp: loudness.true_peak_dbtp,
    });
    let track = row.track.map(|track| match track {
        TrackRow::Index(index) => TrackChoice::Index(index),
        TrackRow::Language(language) => TrackChoice::Language(language),
    });
    let channels = row.channels.map(|count| ChannelCount::parse(count.into())).transpose();
    let sample_rate = row.sample_rate.map(|hz| SampleRate::parse(hz.into(), format)).transpose();
    Ok(OutputSpec {
        format,
        quality: quality.transpose()?,
        bitrate: bitrate.map_err(|_| wrong("output.bitrate"))?,
        normalize,
        preserve_metadata: row.preserve_metadata,
        track,
        span: Span::parse(row.start_secs, row.end_secs).map_err(|_| wrong("output.start"))?,
        channels: channels.map_err(|_| wrong("output.channels"))?,
        sample_rate: sample_rate.map_err(|_| wrong("output.sample_rate"))?,
    })
}

fn options_from_row(row: OptionsRow) -> Result<JobOptions, Unreadable> {
    let filename = row.filename.map(|text| Filename::parse(&text)).transpose();
    let webhook = row.webhook.map(|text| WebUrl::parse(&text)).transpose();
    let kinds = row.webhook_events.iter().map(|text| EventKind::parse(text)).collect::<Option<_>>();
    Ok(JobOptions {
        filename: filename.map_err(|_| wrong("options.filename"))?,
        webhook: webhook.map_err(|_| wrong("options.webhook"))?,
        priority: Priority::parse(&row.priority).ok_or_else(|| wrong("options.priority"))?,
        metadata: row.metadata,
        webhook_events: kinds.ok_or_else(|| wrong("options.webhook_events"))?,
    })
}

/// Names the field alone: its value may be a customer's secret.
fn wrong(field: &str) -> Unreadable {
    Unreadable(format!("column `spec`: `{field}` is not what belongs there"))
}

/// Writes a row's JSON.
pub(crate) fn to_text<T: Serialize>(row: &T) -> Result<String, StoreError> {
    serde_json::to_string(row).map_err(|error| StoreError::Defect(format!("a row has no JSON: {error}")))
}

/// Reads a row's JSON. The error says where, not what: the values are the customer's.
pub(crate) fn from_text<T: for<'de> Deserialize<'de>>(column: &str, text: &str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| {
        let (line, at) = (error.line(), error.column());
        Unreadable(format!("column `{column}`: not the JSON that belongs there, at {line}:{at}"))
    })
}
