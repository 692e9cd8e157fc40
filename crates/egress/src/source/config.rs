//! The limits of a source.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;

/// What a source may cost.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Who we say we are. Default: `audio-extract/VERSION`.
    pub user_agent: HeaderValue,
    /// The largest file, in bytes, by its stated length and by counting. Default: 5 GB (the contract).
    pub max_bytes: u64,
    /// Body bytes over all requests of a source, re-reading included. Default: 15 GB, three readings of the
    /// largest file (an analysis, an extraction, and as much again for jumping about).
    pub max_fetched_bytes: u64,
    /// Resolving, connecting and TLS together. Default: 10 s.
    pub connect_timeout: Duration,
    /// From a connection to the head of the answer. Default: 30 s (object stores that restore a file are slow).
    pub first_byte_timeout: Duration,
    /// How often an HTTP/2 connection with requests under way is asked whether it is there, and how long it may take to say
    /// so: one that died in silence would get all further requests too. Default: 10 s.
    pub ping_interval: Duration,
    /// The slowest average over `stall_window`. Default: 1 KiB/s.
    pub min_bytes_per_sec: u64,
    /// Waiting time over which the average is taken. Default: 30 s.
    pub stall_window: Duration,
    /// From the first request to the last byte. Default: 2 h, which 5 GB need at 0.7 MB/s.
    pub total_timeout: Duration,
    /// Redirects followed for a request. Default: 3.
    pub max_redirects: u32,
    /// Tries after a failure that may pass, without progress between them. Default: 4.
    pub retries: u32,
    /// The wait before the first retry, doubled for each further one. Default: 500 ms.
    pub back_off: Duration,
    /// The longest wait, also where the host asks for more by `Retry-After`. Default: 30 s.
    pub max_back_off: Duration,
    /// Requests to one host at once for one source. Default: 4.
    pub max_connections: usize,
    /// Hosts that one source may lie on, redirects and all that a playlist names included: each may hold
    /// `max_connections`. Default: 32 (a playlist with its keys and advertisements has a handful).
    pub max_hosts: usize,
    /// Bytes fetched ahead of the reader, and held in memory for it. Default: 8 MiB, which 4 connections of 4 MB/s
    /// fill in half a second.
    pub window_bytes: usize,
    /// Ranges in one request; 1 never asks for several. Default: 100 (many hosts refuse more).
    pub max_parts: usize,
    /// The longest playlist, in bytes. Default: 4 MiB.
    pub max_playlist_bytes: usize,
    /// The most segments that a playlist may have. Default: 20,000, 11 h of 2 s each.
    pub max_segments: usize,
    /// Where spools are written, as files without a name. Default: the system's folder for temporary files.
    pub scratch_dir: PathBuf,
    /// Disk space of all spools together, in bytes, and of what is kept for a second reading. Default: 20 GB.
    pub max_spooled_bytes: u64,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            user_agent: crate::user_agent(),
            max_bytes: 5_000_000_000,
            max_fetched_bytes: 15_000_000_000,
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(10),
            min_bytes_per_sec: 1024,
            stall_window: Duration::from_secs(30),
            total_timeout: Duration::from_secs(2 * 3600),
            max_redirects: 3,
            retries: 4,
            back_off: Duration::from_millis(500),
            max_back_off: Duration::from_secs(30),
            max_connections: 4,
            max_hosts: 32,
            window_bytes: 8 << 20,
            max_parts: 100,
            max_playlist_bytes: 4 << 20,
            max_segments: 20_000,
            scratch_dir: std::env::temp_dir(),
            max_spooled_bytes: 20_000_000_000,
        }
    }
}
