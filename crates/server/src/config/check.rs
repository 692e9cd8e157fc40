//! What settings must be, beyond being well written.

use std::time::Duration;

use super::{ConfigError, Role, Settings};

/// Less leaves several connections nothing to do; more than the other fits no machine with several jobs.
const LEAST_WINDOW_BYTES: u64 = 1 << 20;
const MOST_WINDOW_BYTES: u64 = 1 << 30;
/// Each has an encoder and some megabytes of samples; beyond this an extraction no longer fits its memory.
pub(super) const MOST_ENCODER_THREADS: u32 = 64;

/// A metadata block of FLAC has at most 16 MiB: one with all texts, one with the picture. A text may grow when its encoding
/// is mended.
const MOST_TAG_BYTES: u64 = 1 << 20;
const MOST_COVER_BYTES: u64 = 15 << 20;
/// ID3's table of contents counts them in one byte.
const MOST_CHAPTERS: u32 = 255;

fn refuse(text: &str) -> Result<(), ConfigError> {
    Err(ConfigError(text.to_owned()))
}

/// What holds for every command.
pub(super) fn values(settings: &Settings) -> Result<(), ConfigError> {
    if let Some(url) = &settings.public_url
        && (!matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some())
    {
        return refuse("public_url: must be an http or https URL without query and fragment");
    }
    if settings.lease < Duration::from_secs(3) {
        return refuse("lease: less than 3s leaves no room for a heartbeat");
    }
    let positive = [
        ("max_connections", settings.max_connections as u64),
        ("max_attempts", u64::from(settings.max_attempts)),
        ("webhook_tests", settings.webhook_tests as u64),
        ("webhook_tests_per_key", settings.webhook_tests_per_key as u64),
        ("webhook_slots", settings.webhook_slots as u64),
        ("webhook_slots_per_key", settings.webhook_slots_per_key as u64),
        ("webhook_replays_per_second", settings.webhook_replays_per_second as u64),
        ("webhook_window_start", settings.webhook_window_start as u64),
        ("webhook_window_most", settings.webhook_window_most as u64),
        ("webhook_open_after", u64::from(settings.webhook_open_after)),
        ("max_queued", settings.max_queued),
        ("upload_slots", settings.upload_slots as u64),
        ("upload_slots_per_key", settings.upload_slots_per_key as u64),
        ("upload_stall_window", u64::from(!settings.upload_stall_window.is_zero())),
        ("upload_retention", u64::from(!settings.upload_retention.is_zero())),
        ("max_streams", u64::from(settings.max_streams)),
        ("max_soundless_packets", u64::from(settings.max_soundless_packets)),
        ("source_connections", settings.source_connections as u64),
        ("source_hosts", settings.source_hosts as u64),
        ("source_max_parts", settings.source_max_parts as u64),
        ("max_body_bytes", settings.max_body_bytes),
        ("rate_limit_burst", u64::from(settings.rate_limit_burst)),
        ("poll_interval", u64::from(!settings.poll_interval.is_zero())),
        ("sweep_interval", u64::from(!settings.sweep_interval.is_zero())),
        ("webhook_live_timeout", u64::from(!settings.webhook_live_timeout.is_zero())),
        ("header_read_timeout", u64::from(!settings.header_read_timeout.is_zero())),
        ("request_timeout", u64::from(!settings.request_timeout.is_zero())),
    ];
    if settings.encoder_threads > MOST_ENCODER_THREADS {
        return refuse("encoder_threads: must be at most 64, for which there is memory");
    }
    if settings.max_tag_bytes > MOST_TAG_BYTES || settings.max_cover_bytes > MOST_COVER_BYTES {
        return refuse("max_tag_bytes and max_cover_bytes: must be at most 1MiB and 15MiB");
    }
    if settings.max_chapters > MOST_CHAPTERS {
        return refuse("max_chapters: must be at most 255, which is how far ID3 counts");
    }
    if settings.max_damaged_percent > 100 {
        return refuse("max_damaged_percent: must be 0 to 100");
    }
    if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return refuse(&format!("{name}: must be more than 0"));
    }
    if !(LEAST_WINDOW_BYTES..=MOST_WINDOW_BYTES).contains(&settings.source_window_bytes) {
        return refuse("source_window_bytes: must be from 1MiB to 1GiB");
    }
    if !(0.0..=1.0).contains(&settings.webhook_retry_jitter) {
        return refuse("webhook_retry_jitter: must be a fraction from 0 to 1");
    }
    let schedule = settings.webhook_retry().longest(settings.webhook_timeout);
    let kept = settings.retention.max(settings.undelivered_retention);
    if kept < schedule.saturating_add(settings.undelivered_margin) {
        return refuse(
            "undelivered_retention: must cover webhook_retry_waits with a webhook_timeout for each attempt, and \
             undelivered_margin; else the last attempts name a file that is gone",
        );
    }
    if !(64 << 10..=256 << 20).contains(&settings.upload_part_bytes) {
        return refuse(
            "upload_part_bytes: must be from 64KiB, to be worth a file, to 256MiB, which is memory",
        );
    }
    if settings.request_timeout <= settings.webhook_timeout {
        return refuse(
            "request_timeout: must be longer than webhook_timeout, which a try of a webhook may take",
        );
    }
    Ok(())
}

/// What holds for `serve` besides.
pub(crate) fn for_serving(settings: &Settings) -> Result<(), ConfigError> {
    if settings.api_key.is_some() && settings.webhook_secret.is_none() {
        return refuse("api_key is set without webhook_secret; set both, so that its webhooks can be signed");
    }
    if settings.public_url.is_some() {
        return Ok(());
    }
    if settings.role == Role::Worker {
        return refuse(
            "public_url must be set on a worker; it is written into events and this node has no address",
        );
    }
    if settings.listen.ip().is_unspecified() {
        return refuse(
            "public_url must be set where listen is a wildcard address; it is written into events",
        );
    }
    Ok(())
}
