use super::*;

const BOUNDS: Bounds = Bounds { max_segments: 100 };

fn read(lines: &str) -> Result<Listing, PlaylistError> {
    let base = Url::parse("http://h.example/v/list.m3u8").expect("a URL");
    parse(&format!("#EXTM3U\n{lines}"), &base, BOUNDS)
}

/// Role, path, range and the vector's last byte of each segment.
type Row = (Role, String, Option<Range<u64>>, Option<u8>);

fn rows(lines: &str) -> Vec<Row> {
    let row = |segment: Segment| {
        let path = segment.place.url.path().trim_start_matches("/v/").to_owned();
        (segment.role, path, segment.place.range, segment.key.map(|key| key.iv[15]))
    };
    read(lines).expect(lines).segments.into_iter().map(row).collect()
}

fn media(path: &str, range: Option<Range<u64>>, iv: Option<u8>) -> Row {
    (Role::Media, path.to_owned(), range, iv)
}

fn header(path: &str, range: Option<Range<u64>>) -> Row {
    (Role::Header, path.to_owned(), range, None)
}

#[test]
fn durations_are_summed_with_what_rounding_hides() {
    let exact = read("#EXTINF:9.5,title\na.ts\n#EXTINF:0.25,\nb.ts\n#EXT-X-ENDLIST").expect("a playlist");
    assert_eq!((exact.duration_secs, exact.slack_secs, exact.has_breaks), (9.75, 0.0, false));
    let rounded =
        read("#EXTINF:10,\na.ts\n#EXTINF:10\nb.ts\n#EXTINF:0,\nc.ts\n#EXT-X-ENDLIST").expect("a playlist");
    assert_eq!((rounded.duration_secs, rounded.slack_secs), (20.0, 1.0));
    let holed =
        read("#EXTINF:10,\n#EXT-X-GAP\na.ts\n#EXTINF:4.5,\nb.ts\n#EXT-X-ENDLIST").expect("a playlist");
    assert_eq!((holed.duration_secs, holed.slack_secs), (14.5, 10.0));
}

#[test]
fn a_range_goes_on_where_the_last_one_of_the_file_ended() {
    let lines = "#EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"700@0\"
#EXTINF:1.0,\n#EXT-X-BYTERANGE:100@700\nall.mp4
#EXTINF:1.0,\n#EXT-X-BYTERANGE:50\nall.mp4
#EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"30\"
#EXTINF:1.0,\nwhole.mp4
#EXT-X-ENDLIST";
    let expected = [
        header("all.mp4", Some(0..700)),
        media("all.mp4", Some(700..800), None),
        media("all.mp4", Some(800..850), None),
        header("all.mp4", Some(0..30)),
        media("whole.mp4", None, None),
    ];
    assert_eq!(rows(lines), expected);
}

#[test]
fn a_key_holds_until_the_next_and_counts_by_sequence() {
    let lines = "#EXT-X-MEDIA-SEQUENCE:7
#EXTINF:1.0,\na.ts
#EXT-X-KEY:METHOD=AES-128,URI=\"k1\"
#EXTINF:1.0,\nb.ts
#EXTINF:1.0,\n#EXT-X-GAP\ngone.ts
#EXTINF:1.0,\nc.ts
#EXT-X-KEY:METHOD=AES-128,URI=\"k2\",IV=0x000000000000000000000000000000FF
#EXTINF:1.0,\nd.ts
#EXT-X-KEY:METHOD=NONE
#EXTINF:1.0,\ne.ts
#EXT-X-ENDLIST";
    let expected = [
        media("a.ts", None, None),
        media("b.ts", None, Some(8)),
        media("c.ts", None, Some(10)),
        media("d.ts", None, Some(255)),
        media("e.ts", None, None),
    ];
    assert_eq!(rows(lines), expected);
    assert_eq!(read(lines).expect("a playlist").duration_secs, 6.0, "a gap has its time");
}

#[test]
fn the_same_key_may_be_given_in_several_formats() {
    const APPLE: &str =
        "#EXT-X-KEY:METHOD=AES-128,URI=\"skd://x\",KEYFORMAT=\"com.apple.streamingkeydelivery\"";
    const PLAIN: &str = "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x7";
    const SAMPLES: &str = "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://x\",KEYFORMAT=\"com.widevine\"";
    const NONE: &str = "#EXT-X-KEY:METHOD=NONE";
    let one = "#EXTINF:1.0,\na.ts";
    for (tags, expected) in [
        (&[APPLE, PLAIN][..], Some(7)),
        (&[PLAIN, APPLE], Some(7)),
        (&[PLAIN, APPLE, "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x8,KEYFORMAT=\"identity\""], Some(8)),
        (&[SAMPLES, NONE, APPLE, PLAIN], Some(7)),
        (&[APPLE, PLAIN, NONE], None),
        (&[APPLE, NONE], None),
    ] {
        let lines = format!("{}\n{one}\n#EXT-X-ENDLIST", tags.join("\n"));
        assert_eq!(rows(&lines), [media("a.ts", None, expected)], "{lines}");
    }
    for (tags, expected) in [
        (&[APPLE][..], "AES-128, com.apple.streamingkeydelivery"),
        (&[PLAIN, NONE, APPLE], "AES-128, com.apple.streamingkeydelivery"),
        (&[PLAIN, SAMPLES], "SAMPLE-AES, com.widevine"),
    ] {
        let lines = format!("{}\n{one}\n#EXT-X-ENDLIST", tags.join("\n"));
        let error = read(&lines).expect_err(&lines);
        assert!(matches!(&error, PlaylistError::Encrypted(named) if named == expected), "{error}");
    }
    let format = |number| format!("#EXT-X-KEY:METHOD=AES-128,URI=\"k\",KEYFORMAT=\"{number}\"\n");
    let error = read(&(0..17).map(format).collect::<String>()).expect_err("a flood");
    assert!(error.to_string().contains("too many formats"), "{error}");
}

#[test]
fn a_break_is_one_between_segments() {
    let breaks = |lines: &str| read(&format!("{lines}\n#EXT-X-ENDLIST")).expect(lines).has_breaks;
    assert!(!breaks("#EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-DISCONTINUITY\n#EXTINF:1.0,\na.ts"));
    assert!(breaks("#EXTINF:1.0,\na.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.0,\nb.ts"));
}

#[test]
fn what_cannot_be_played_is_refused_by_name() {
    let one = "#EXTINF:1.0,\na.ts\n";
    for (lines, expected) in [
        (one.to_owned(), "live stream"),
        ("#EXT-X-ENDLIST".to_owned(), "no segments"),
        ("a.ts\n#EXT-X-ENDLIST".to_owned(), "no duration"),
        (
            format!(
                "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://x\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n{one}"
            ),
            "SAMPLE-AES",
        ),
        (
            format!("#EXT-X-KEY:METHOD=AES-128,URI=\"k\",KEYFORMAT=\"com.microsoft.playready\"\n{one}"),
            "playready",
        ),
        (format!("#EXT-X-KEY:METHOD=AES-128\n{one}"), "#EXT-X-KEY cannot be read"),
        (format!("#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0xyz\n{one}"), "#EXT-X-KEY cannot be read"),
        (format!("#EXT-X-KEY:METHOD=AES-128,URI=\"data:;base64,AAAA\"\n{one}"), "scheme `data`"),
        (
            format!("#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXT-X-MAP:URI=\"h\"\n{one}"),
            "initialisation vector",
        ),
        ("#EXTINF:1.0,\n#EXT-X-BYTERANGE:10\na.ts\n".to_owned(), "where it begins"),
        ("#EXTINF:1.0,\n#EXT-X-BYTERANGE:10@18446744073709551615\na.ts\n".to_owned(), "#EXT-X-BYTERANGE"),
        ("#EXTINF:1.0,\n#EXT-X-BYTERANGE:0@5\na.ts\n".to_owned(), "#EXT-X-BYTERANGE"),
        ("#EXTINF:inf,\na.ts\n".to_owned(), "#EXTINF"),
        ("#EXTINF:-1,\na.ts\n".to_owned(), "#EXTINF"),
        ("#EXTINF:1.0,\nfile:///etc/passwd\n".to_owned(), "scheme `file`"),
        ("#EXT-X-I-FRAMES-ONLY\n".to_owned(), "no audio"),
        ("#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n".to_owned(), "delta updates"),
        (one.repeat(101), "more than 100 segments"),
        ("#\n".repeat(4000), "too many lines"),
    ] {
        let error = read(&lines).expect_err(&lines);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}
