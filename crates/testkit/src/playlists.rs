//! Playlists of the sample `faststart.mp4`, made by ffmpeg's own muxers, and the same rearranged as other packagers do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::samples::{folder, next_number, run, sample};

/// The folder of each, and what ffmpeg is told to make in it. `{source}` is the sample.
const RECIPES: &[(&str, &str)] = &[
    ("ts", "-i {source} -c copy -hls_time 1 -hls_list_size 0 -f hls list.m3u8"),
    ("fmp4", "-i {source} -c copy -hls_time 1 -hls_list_size 0 -hls_segment_type fmp4 -f hls list.m3u8"),
    (
        "single",
        "-i {source} -vn -c copy -hls_time 1 -hls_list_size 0 -hls_segment_type fmp4 -hls_flags single_file -f hls list.m3u8",
    ),
    ("single-ts", "-i {source} -c copy -hls_time 1 -hls_list_size 0 -hls_flags single_file -f hls list.m3u8"),
    // The keys come from the file beside it.
    ("aes", "-i {source} -c copy -hls_time 1 -hls_list_size 0 -hls_key_info_file key.info -f hls list.m3u8"),
    (
        "groups",
        "-i {source} -map 0:v -map 0:a -map 0:a -c copy -hls_time 1 -hls_list_size 0 \
         -var_stream_map v:0,agroup:a\u{a0}a:0,agroup:a,language:en,default:yes\u{a0}a:1,agroup:a,language:de \
         -master_pl_name list.m3u8 -f hls v%v.m3u8",
    ),
    ("dash-timeline", "-i {source} -c copy -f dash -seg_duration 1 -use_template 1 -use_timeline 1 list.mpd"),
    ("dash-duration", "-i {source} -c copy -f dash -seg_duration 1 -use_template 1 -use_timeline 0 list.mpd"),
    ("dash-list", "-i {source} -c copy -f dash -seg_duration 1 -use_template 0 -use_timeline 0 list.mpd"),
    ("dash-single", "-i {source} -c copy -f dash -seg_duration 1 -single_file 1 list.mpd"),
    ("dash-webm", "-i {source} -vn -c:a libopus -f dash -seg_duration 1 -dash_segment_type webm list.mpd"),
    (
        "packed",
        "-i {source} -vn -c copy -f segment -segment_time 1 -segment_list list.m3u8 -segment_format adts s%d.aac",
    ),
];

/// The paths of all of them within [`playlists`].
pub const LISTS: &[&str] = &[
    "ts/list.m3u8",
    "fmp4/list.m3u8",
    "single/list.m3u8",
    "single-ts/list.m3u8",
    "aes/list.m3u8",
    "groups/list.m3u8",
    "dash-timeline/list.mpd",
    "dash-duration/list.mpd",
    "dash-list/list.mpd",
    "dash-single/list.mpd",
    "dash-webm/list.mpd",
    "packed/list.m3u8",
];

/// The folder of all of them, which is made if it is not there yet.
///
/// # Panics
/// If it cannot be made.
pub fn playlists() -> PathBuf {
    let source = sample("faststart.mp4");
    let path = folder().join("playlists");
    if !path.exists() {
        let draft = folder().join(format!("draft-{}-{}-playlists", std::process::id(), next_number()));
        for (name, recipe) in RECIPES {
            make(&draft.join(name), recipe, &source);
        }
        // The first one stays: a folder takes no other's place unless that is empty.
        if fs::rename(&draft, &path).is_err() {
            assert!(path.exists(), "the playlists find no place");
            fs::remove_dir_all(&draft).expect("a draft to remove");
        }
    }
    path
}

fn make(into: &Path, recipe: &str, source: &Path) {
    fs::create_dir_all(into).expect("a folder for a playlist");
    fs::write(into.join("key"), b"sixteen bytes it").expect("a key to write");
    fs::write(into.join("key.info"), "key\nkey\n").expect("where the key is to write");
    let mut command = Command::new("ffmpeg");
    command.current_dir(into).args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]);
    for word in recipe.split_ascii_whitespace() {
        match word {
            "{source}" => command.arg(source),
            word => command.arg(word.replace('\u{a0}', " ")),
        };
    }
    run(&mut command, &into.display().to_string());
    if into.ends_with("packed") {
        tag_segments(into);
    }
}

/// Puts a tag with its time before each segment (RFC 8216, 3.4), which ffmpeg does not.
fn tag_segments(folder: &Path) {
    let owner = b"com.apple.streaming.transportStreamTimestamp\0";
    let frame_bytes = (owner.len() + 8) as u8;
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "aac") {
            let mut tagged = b"ID3\x04\x00\x00\x00\x00\x00".to_vec();
            tagged.extend([frame_bytes + 10]);
            tagged.extend(b"PRIV\x00\x00\x00");
            tagged.extend([frame_bytes, 0, 0]);
            tagged.extend(owner);
            tagged.extend([0; 8]);
            tagged.extend(fs::read(&path).expect("a segment"));
            fs::write(&path, tagged).expect("a segment to write");
        }
    }
}
