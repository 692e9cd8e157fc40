//! Egress against scripted hosts on loopback: one binary, so that it links once.

mod guard;
mod http2;
mod http2_frames;
mod http2_streams;
mod kit;
mod local;
mod misbehaving;
mod nginx;
mod notify;
mod playlists;
mod playlists_broken;
mod playlists_refused;
mod receivers;
mod signing;
mod source_access;
mod source_hosts;
mod source_limits;
mod source_parts;
mod source_plan;
mod source_redirects;
mod source_spool;
mod tls;
