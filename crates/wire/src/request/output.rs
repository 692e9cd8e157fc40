//! `output`: what the result should be.

use domain::{
    AudioFormat, Bitrate, ChannelCount, Loudness, OutputSpec, Quality, SampleRate, Span, SpecError, SpecPart,
    TrackChoice,
};
use serde::Deserialize;
use serde_json::Value;

use crate::error::RequestError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct OutputRequest {
    format: String,
    quality: Option<String>,
    bitrate: Option<String>,
    normalize: Option<Value>,
    preserve_metadata: Option<bool>,
    track: Option<Value>,
    start: Option<f64>,
    end: Option<f64>,
    channels: Option<u64>,
    sample_rate: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NormalizeRequest {
    loudness: Option<f64>,
    true_peak: Option<f64>,
}

/// Reads `output`.
pub(super) fn parse(request: OutputRequest) -> Result<OutputSpec, RequestError> {
    let there_are = |field: &str, choices: &str| refused(field, format!("there are {choices}"));
    let format = AudioFormat::parse(&request.format)
        .ok_or_else(|| there_are("format", "mp3, aac, flac, wav, ogg and opus"))?;
    let quality = request.quality.map(|text| {
        Quality::parse(&text).ok_or_else(|| there_are("quality", "low, medium, high and extreme"))
    });
    Ok(OutputSpec {
        format,
        quality: quality.transpose()?,
        bitrate: request.bitrate.map(|text| Bitrate::parse(&text, format)).transpose()?,
        normalize: request.normalize.map_or(Ok(None), parse_normalize)?,
        preserve_metadata: request.preserve_metadata.unwrap_or(false),
        track: request.track.map(parse_track).transpose()?,
        span: Span::parse(request.start, request.end)?,
        channels: request.channels.map(ChannelCount::parse).transpose()?,
        sample_rate: request.sample_rate.map(|hz| SampleRate::parse(hz, format)).transpose()?,
    })
}

fn refused(field: &str, reason: impl Into<String>) -> SpecError {
    SpecError::new(SpecPart::Output, format!("output.{field}"), reason)
}

fn parse_track(value: Value) -> Result<TrackChoice, RequestError> {
    match value {
        Value::String(language) => Ok(TrackChoice::language(&language)?),
        Value::Number(number) => match number.as_u64() {
            Some(index) => Ok(TrackChoice::index(index)?),
            None => Err(refused("track", "an index is a whole number from 0").into()),
        },
        _ => Err(RequestError::body("`output.track`: takes an index or a language")),
    }
}

fn parse_normalize(value: Value) -> Result<Option<Loudness>, RequestError> {
    let request: NormalizeRequest = match value {
        Value::Bool(false) => return Ok(None),
        Value::Bool(true) => return Ok(Some(Loudness::default())),
        Value::Object(_) => serde_path_to_error::deserialize(value)
            .map_err(|error| RequestError::body(format!("`output.normalize`: {}", error.into_inner())))?,
        _ => return Err(RequestError::body("`output.normalize`: takes true, false or an object")),
    };
    Ok(Some(Loudness::parse(request.loudness, request.true_peak)?))
}
