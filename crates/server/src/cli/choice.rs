//! Which part of a source an extraction takes, as options of a command.

use clap::Args;
use domain::{AudioFormat, ChannelCount, OutputSpec, SampleRate, Span, SpecError, TrackChoice};

use super::Stop;

#[derive(Args)]
pub(super) struct ChoiceArgs {
    /// The audio track: its number (0 is the first) or its language (en, eng, pt-BR); without it, the default one
    #[arg(long, value_name = "TRACK")]
    track: Option<String>,
    /// Begin here, in seconds
    #[arg(long, value_name = "SECONDS")]
    start: Option<f64>,
    /// End here, in seconds from the start of the source, or with the source if that is sooner
    #[arg(long, value_name = "SECONDS")]
    end: Option<f64>,
    /// 1 or 2; without it, as many as the source has
    #[arg(long, value_name = "COUNT")]
    channels: Option<u64>,
    /// In Hz; without it, the source's
    #[arg(long, value_name = "HZ")]
    sample_rate: Option<u64>,
}

impl ChoiceArgs {
    /// What was asked for, for a result in `format`.
    pub(super) fn output(&self, format: AudioFormat) -> Result<OutputSpec, Stop> {
        let track = |text: &str| match text.parse() {
            Ok(index) => TrackChoice::index(index),
            Err(_) => TrackChoice::language(text),
        };
        Ok(OutputSpec {
            track: self.track.as_deref().map(track).transpose().map_err(usage)?,
            span: Span::parse(self.start, self.end).map_err(usage)?,
            channels: self.channels.map(ChannelCount::parse).transpose().map_err(usage)?,
            sample_rate: self
                .sample_rate
                .map(|hz| SampleRate::parse(hz, format))
                .transpose()
                .map_err(usage)?,
            ..OutputSpec::plain(format)
        })
    }
}

/// The API names a field `output.sampleRate`, the command `--sample-rate`.
pub(super) fn usage(error: SpecError) -> Stop {
    let field = error.field.rsplit('.').next().unwrap_or_default();
    let option: String = field
        .chars()
        .flat_map(|char| {
            char.is_ascii_uppercase().then_some('-').into_iter().chain([char.to_ascii_lowercase()])
        })
        .collect();
    Stop::Usage(format!("--{option}: {}", error.reason))
}
