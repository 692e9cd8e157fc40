//! Packets as they were: the ffmpeg command decodes the copy to the very samples of the source.

use domain::{ChannelCount, Method, SampleRate, Span};

use super::damage::packets;
use super::*;

/// All samples of all channels, as the ffmpeg command decodes and trims them.
pub(super) fn exact(path: &Path) -> Vec<u8> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(path);
    output_of(ffmpeg.args(["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", "-"]))
}

/// Nothing asked for but the format.
fn copied(name: &str, format: AudioFormat) -> Made {
    let made = extract(name, OutputSpec::plain(format));
    assert_eq!(made.result.method, Method::Copy, "{name} to {format:?}");
    assert_eq!(made.host.probes.len(), 1, "{name}");
    made
}

#[test]
fn a_copy_decodes_to_the_samples_of_its_source() {
    use AudioFormat::{Flac, Mp3, Ogg, Opus, Wav};
    for (format, names) in [
        (Mp3, &["mp3.mp4", "mp3.mkv", "mp3.avi", "mp3.flv", "mp3.ts", "sound.mp3"][..]),
        (Opus, &["opus.mp4", "opus.mkv", "opus.webm", "sound.opus"]),
        (Ogg, &["vorbis.mkv", "vorbis.webm", "sound.ogg"]),
        (Flac, &["flac.mkv", "flac.mp4", "sound.flac"]),
        (Wav, &["pcm16.mov", "pcm.mkv", "pcm.avi", "sound.wav"]),
    ] {
        for name in names {
            let made = copied(name, format);
            let (source, copy) = (exact(&sample(name)), exact(made.file.path()));
            let samples = copy.len() / 4 / usize::from(made.result.channels);
            assert_eq!(samples as u64, made.result.samples, "{name}: what is said and what is there");
            // A shorter last sample of an mp4 is heeded here, and not by the ffmpeg command.
            let beyond = source.len() - copy.len();
            let most = if name.ends_with(".mp4") { 1152 * 8 } else { 0 };
            assert!(beyond <= most, "{name}: {beyond} bytes of {} are missing", source.len());
            assert!(source.starts_with(&copy), "{name}: other samples");
        }
    }
}

#[test]
fn an_adts_copy_is_late_by_what_adts_cannot_say() {
    for (name, priming) in [
        ("aac.mp4", 1024),
        ("faststart.mp4", 1024),
        ("fragmented.mp4", 0),
        ("aac.mov", 1024),
        ("mono.m4a", 1024),
        ("aac.mkv", 0),
        ("aac.flv", 0),
        ("aac.ts", 0),
        ("sound.aac", 0),
    ] {
        let made = copied(name, AudioFormat::Aac);
        let (source, copy) = (exact(&sample(name)), exact(made.file.path()));
        let at = priming * 4 * usize::from(made.result.channels);
        assert_eq!(copy[at..].len(), source.len(), "{name}");
        assert!(copy[at..] == source, "{name}: other samples");
        let said = made.result.samples as usize * 4 * usize::from(made.result.channels);
        assert!(source.len() - said < 1024 * 8, "{name}: {said} of {}", source.len());
    }
}

/// Another file made of samples, packet by packet.
pub(super) fn remade(name: &str, words: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    let words = words.split_whitespace().map(|word| match word.strip_prefix('@') {
        Some(name) => sample(name).into_os_string(),
        None => word.into(),
    });
    output_of(Command::new("ffmpeg").args(["-v", "error", "-nostdin"]).args(words).arg(&path));
    (folder, path)
}

pub(super) fn extract_file(path: &Path, output: OutputSpec) -> Made {
    let file = tempfile::NamedTempFile::new().expect("a result's file");
    let mut host = FileHost::open(path);
    let result = run(&mut host, output, AvLimits::default(), file.path());
    let result = result.unwrap_or_else(|failure| panic!("{}: {failure}", path.display()));
    assert_eq!(host.probes.len(), 1, "probed once, however often it is read");
    Made { result, file, host }
}

#[test]
fn a_part_that_an_edit_list_cuts_is_copied_where_the_format_can_say_it() {
    // Without the noise that a decoder makes up anew each time.
    let (_folder, calm) = remade("calm.m4a", "-i @cd.wav -c:a aac -aac_pns 0");
    for (whole, format, most_shift) in
        [(calm, AudioFormat::Aac, 2048), (sample("opus.mp4"), AudioFormat::Opus, 0)]
    {
        let (_folder, path) = remade("cut.mp4", &format!("-ss 2.511 -i {} -vn -c copy", whole.display()));
        let made = extract_file(&path, OutputSpec::plain(format));
        assert_eq!(made.result.method, Method::Copy, "{format:?}");
        let (source, copy) = (exact(&path), exact(made.file.path()));
        let frame = 4 * usize::from(made.result.channels);
        let shift = (0..=most_shift).find(|shift| copy[shift * frame..].starts_with(&source[..48_000]));
        let shift = shift.unwrap_or_else(|| panic!("{format:?}: the cut's sound is not in the copy"));
        let same = source.len().min(copy.len() - shift * frame);
        assert!(same > source.len() - 1024 * frame, "{format:?}: its end is missing");
        assert!(copy[shift * frame..][..same] == source[..same], "{format:?}: other samples");
    }
}

#[test]
fn what_cannot_be_said_by_the_format_is_encoded_within_the_sources_bitrate() {
    let late = "-i @picture.mp4 -itsoffset 1 -i @{} -map 0 -map 1:a -c copy";
    let hole = "-i @{} -bsf:a noise=drop=between(n\\,94\\,140) -map 0 -c copy";
    for (name, source, words, format) in [
        ("late.mp4", "aac.mp4", late, AudioFormat::Aac),
        ("late.mkv", "sound.mp3", late, AudioFormat::Mp3),
        ("late.mkv", "sound.opus", late, AudioFormat::Opus),
        ("late.mkv", "vorbis.mkv", late, AudioFormat::Ogg),
        ("hole.mkv", "aac.mkv", hole, AudioFormat::Aac),
    ] {
        let (_folder, path) = remade(name, &words.replace("{}", source));
        let output = OutputSpec { quality: Some(Quality::Extreme), ..OutputSpec::plain(format) };
        let made = extract_file(&path, output);
        assert_eq!(made.result.method, Method::Encode, "{name} to {format:?}");
        let secs = if name == "hole.mkv" { 6.0 } else { 7.0 };
        assert!((made.result.duration_secs() - secs).abs() < 0.05, "{name}: {:?}", made.result);
        let source = extract(source, OutputSpec::plain(format));
        let (source, kbps) = (source.result.bitrate_kbps(), made.result.bitrate_kbps());
        assert!(kbps <= source + 1, "{name} to {format:?}: {kbps} of {source} kbit/s");
    }
}

/// kbit/s of all packets, as ffprobe and ffmpeg count them.
fn spent(path: &Path) -> f64 {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "a:0", "-show_entries", "packet=size", "-of", "csv=p=0"]);
    let text = String::from_utf8(output_of(ffprobe.arg(path))).expect("text");
    let size = |line: &str| line.trim_end_matches(',').parse::<usize>().ok();
    let bytes: usize = text.lines().filter_map(size).sum();
    bytes as f64 * 8.0 / heard(path).secs / 1000.0
}

#[test]
fn no_other_encoding_outspends_its_source() {
    let span = Span::parse(Some(1.0), Some(5.0)).expect("a part");
    let variants = |format: AudioFormat| {
        let plain = spec(format, Quality::Extreme);
        [
            ("a part", OutputSpec { span, ..plain.clone() }),
            ("mono", OutputSpec { channels: Some(ChannelCount::Mono), ..plain.clone() }),
            (
                "another rate",
                OutputSpec { sample_rate: SampleRate::parse(24_000, format).ok(), ..plain.clone() },
            ),
            ("another loudness", OutputSpec { normalize: Some(Loudness::default()), ..plain }),
        ]
    };
    for (name, words, format) in [
        ("sound.mp3", "-i @cd.wav -c:a libmp3lame -b:a 64k", AudioFormat::Mp3),
        ("variable.mp3", "-i @cd.wav -c:a libmp3lame -q:a 7 -write_xing 0", AudioFormat::Mp3),
        ("sound.opus", "-i @sound.wav -c:a libopus -b:a 64k", AudioFormat::Opus),
        ("sound.mkv", "-i @sound.wav -c:a libopus -b:a 64k", AudioFormat::Opus),
        ("sound.m4a", "-i @cd.wav -c:a aac -b:a 64k", AudioFormat::Aac),
        (
            "fragments.mp4",
            "-i @cd.wav -c:a aac -b:a 64k -movflags +frag_keyframe+empty_moov",
            AudioFormat::Aac,
        ),
        ("sound.ts", "-i @cd.wav -c:a aac -b:a 64k", AudioFormat::Aac),
        ("sound.latm", "-i @cd.wav -c:a aac -b:a 64k -f latm", AudioFormat::Aac),
        ("sound.ogg", "-i @cd.wav -c:a libvorbis -b:a 80k", AudioFormat::Ogg),
        // So little that libvorbis takes no such bitrate: its lowest quality, of a voice that has nothing above 4 kHz.
        (
            "mono.ogg",
            "-i @speech.wav -af lowpass=f=4000,lowpass=f=4000 -ac 1 -ar 44100 -c:a libvorbis -flags:a +qscale \
             -global_quality:a -118",
            AudioFormat::Ogg,
        ),
        (
            "stereo.ogg",
            "-i @speech.wav -af lowpass=f=4000,lowpass=f=4000 -ac 2 -ar 44100 -c:a libvorbis -flags:a +qscale \
             -global_quality:a -118",
            AudioFormat::Ogg,
        ),
    ] {
        let (_folder, path) = remade(name, words);
        let most = spent(&path);
        let is_other = |variant: &str| !(name.starts_with(variant) && variant == "mono");
        for (variant, output) in variants(format).into_iter().filter(|(variant, _)| is_other(variant)) {
            let made = extract_file(&path, output);
            assert_eq!(made.result.method, Method::Encode, "{variant} of {name}");
            // Encoders meet a bitrate on average.
            let kbps = spent(made.file.path());
            assert!(kbps <= most * 1.08, "{variant} of {name}: {kbps:.1} of {most:.1} kbit/s");
            assert!(kbps >= most * 0.3, "{variant} of {name}: {kbps:.1} of {most:.1} kbit/s");
        }
    }
}

#[test]
fn a_source_that_spends_next_to_nothing_is_encoded_all_the_same() {
    let span = Span::parse(Some(0.5), Some(1.5)).expect("a part");
    for (name, codec, format) in [
        ("silence.mp3", "libmp3lame", AudioFormat::Mp3),
        ("silence.m4a", "aac", AudioFormat::Aac),
        ("silence.ogg", "libvorbis", AudioFormat::Ogg),
        ("silence.opus", "libopus", AudioFormat::Opus),
    ] {
        let (_folder, path) = remade(name, &format!("-i @silence.wav -c:a {codec}"));
        let made = extract_file(&path, OutputSpec { span, ..OutputSpec::plain(format) });
        assert!((made.result.duration_secs() - 1.0).abs() < 0.03, "{name}: {:?}", made.result);
    }
}

#[test]
fn what_is_no_frame_does_not_keep_the_others_from_being_copied() {
    const FRAME_BYTES: usize = 1152 * 8;
    let whole = std::fs::read(sample("sound.mp3")).expect("a sample");
    let tag = [b"ID3\x03\0\0\0\0\x10\x22".as_slice(), &[0; 16 * 128 + 34]].concat();
    for (name, bytes, is_second) in [
        ("zeroes.mp3", [whole.as_slice(), &[0; 200]].concat(), false),
        ("text.mp3", [whole.as_slice(), b"LYRICSBEGIN not a frame LYRICSEND"].concat(), false),
        ("twice.mp3", [&whole, &tag, &whole].map(Vec::as_slice).concat(), true),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        let made = extract_file(&path, OutputSpec::plain(AudioFormat::Mp3));
        assert_eq!(made.result.method, Method::Copy, "{name}");
        let (source, copy) = (exact(&path), exact(made.file.path()));
        assert_eq!((copy.len() / 8) as u64, made.result.samples, "{name}");
        // The second header is a silent frame by the file's clock; ffmpeg does not decode what has tags in front of it.
        let silent = if is_second { FRAME_BYTES } else { 0 };
        assert_eq!(copy.len(), source.len() + silent, "{name}");
        let seam = if is_second { source.len() / 2 - 2 * FRAME_BYTES } else { source.len() };
        assert!(copy[..seam] == source[..seam], "{name}: other samples");
        let behind = (seam + 6 * FRAME_BYTES).min(source.len());
        assert!(copy[behind + silent..] == source[behind..], "{name}: other samples behind the seam");
    }
}

#[test]
fn a_last_frame_without_a_head_is_damage_where_the_header_counts_it() {
    let path = tempfile::Builder::new().suffix(".mp3").tempfile().expect("a file");
    let mut bytes = std::fs::read(sample("sound.mp3")).expect("a sample");
    let (last, _) = *packets(&sample("sound.mp3")).last().expect("packets");
    bytes[last..last + 4].fill(0);
    std::fs::write(path.path(), bytes).expect("written");
    let made = extract_file(path.path(), OutputSpec::plain(AudioFormat::Mp3));
    assert_eq!(made.result.method, Method::Encode);
}

#[test]
fn a_copy_is_made_where_nothing_else_was_asked_for() {
    let plain = OutputSpec::plain;
    let quality = |format, quality| spec(format, quality);
    for (name, output, method) in [
        ("sound.mp3", plain(AudioFormat::Mp3), Method::Copy),
        ("sound.mp3", at_bitrate(AudioFormat::Mp3, "320k"), Method::Copy),
        ("sound.mp3", at_bitrate(AudioFormat::Mp3, "128k"), Method::Copy),
        ("sound.mp3", at_bitrate(AudioFormat::Mp3, "96k"), Method::Encode),
        ("sound.mp3", quality(AudioFormat::Mp3, Quality::Extreme), Method::Copy),
        ("aac.mp4", quality(AudioFormat::Aac, Quality::Low), Method::Encode),
        ("aac.mkv", quality(AudioFormat::Aac, Quality::Low), Method::Encode),
        ("aac.mkv", quality(AudioFormat::Aac, Quality::High), Method::Copy),
        ("sound.opus", quality(AudioFormat::Opus, Quality::Low), Method::Encode),
        ("sound.flac", quality(AudioFormat::Flac, Quality::Low), Method::Copy),
        ("sound24.flac", quality(AudioFormat::Flac, Quality::Medium), Method::Encode),
        ("sound24.flac", quality(AudioFormat::Flac, Quality::High), Method::Copy),
        ("sound24.flac", plain(AudioFormat::Flac), Method::Encode),
        ("pcm24.mov", plain(AudioFormat::Wav), Method::Encode),
        ("pcm24.mov", quality(AudioFormat::Wav, Quality::High), Method::Copy),
        ("sound.mp3", normalized(AudioFormat::Mp3, Loudness::default()), Method::Encode),
        ("sound.mp3", plain(AudioFormat::Aac), Method::Encode),
        ("alac.mp4", plain(AudioFormat::Flac), Method::Encode),
    ] {
        let made = extract(name, output.clone());
        assert_eq!(made.result.method, method, "{name} to {output:?}");
    }
}

#[test]
fn damage_is_not_copied() {
    // Its frames have checksums. Elsewhere only a decoder can tell, and a player will do what that would have done.
    let made = extract("damaged-sound.flac", OutputSpec::plain(AudioFormat::Flac));
    assert_eq!(made.result.method, Method::Encode);
    for (name, format) in
        [("truncated-faststart.mp4", AudioFormat::Aac), ("truncated-sound.flac", AudioFormat::Flac)]
    {
        let failed = try_extract(name, OutputSpec::plain(format), AvLimits::default());
        let details = failed.err().and_then(|failure| failure.public.details).unwrap_or_default();
        assert!(details.contains("ends after 3."), "{name} says: {details}");
    }
}

#[test]
fn a_copy_is_bounded() {
    for (limits, details) in [
        (AvLimits { max_decoded_samples: 100_000, ..AvLimits::default() }, "more than 100000 samples"),
        (AvLimits { max_output_bytes: 10_000, ..AvLimits::default() }, "larger than allowed"),
    ] {
        for name in ["sound.mp3", "aac.mp4", "sound.opus"] {
            let format = match name {
                "sound.mp3" => AudioFormat::Mp3,
                "aac.mp4" => AudioFormat::Aac,
                _ => AudioFormat::Opus,
            };
            let failed = try_extract(name, OutputSpec::plain(format), limits.clone());
            let said = failed.err().and_then(|failure| failure.public.details).unwrap_or_default();
            assert!(said.contains(details), "{name} says: {said}");
        }
    }
}

#[test]
fn the_tools_of_each_format_find_nothing_wrong() {
    let flac = copied("flac.mkv", AudioFormat::Flac);
    output_of(
        Command::new("flac").args(["--test", "--silent", "--warnings-as-errors"]).arg(flac.file.path()),
    );
    let opus = copied("opus.mp4", AudioFormat::Opus);
    let output = Command::new("opusinfo").arg(opus.file.path()).output().expect("the oracle starts");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("WARNING") && !said.contains("ERROR"), "{said}");
    assert!(said.contains("Pre-skip: 312") && said.contains("Playback length: 0m:06.000s"), "{said}");
}
