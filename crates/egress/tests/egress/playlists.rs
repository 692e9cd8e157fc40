//! Playlists: what is fetched of them, in which order, from whom. Hosts that fail are in [`crate::playlists_broken`].

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use domain::{Failure, FailureCode, PlaylistKind, Retry, SourceOpener, TrackChoice};
use egress::EgressConfig;
use testkit::host::{Host, Reply, Seen};

use crate::kit::{config, content, details, egress, open, read_all, spec, spec_with};

/// A host of one playlist at `/list` and files by name.
pub(crate) async fn host(list: String, files: Vec<(&'static str, Vec<u8>)>) -> Host {
    Host::start(move |seen| {
        let path = seen.target.as_str();
        if path == "/list" {
            return Reply::file(seen, list.as_bytes(), &[]);
        }
        let found = files.iter().find(|(name, _)| *name == path);
        found.map_or_else(|| Reply::new(404, &[], b""), |(_, bytes)| Reply::file(seen, bytes, &[]))
    })
    .await
}

pub(crate) fn hls(lines: &str) -> String {
    format!("#EXTM3U\n{lines}\n#EXT-X-ENDLIST\n")
}

/// The failure of opening, or else of reading to the end.
pub(crate) async fn failure(config: EgressConfig, url: &str) -> Failure {
    let failure = match egress(config).sources.open(&spec(url), None, Arc::default()).await {
        Err(failure) => failure,
        Ok(source) => read_all(&*source).await.expect_err("a failure"),
    };
    assert!(!failure.to_string().contains("127.0.0.1"), "an address is told: {failure}");
    failure
}

fn asked(seen: &[Seen], path: &str) -> usize {
    seen.iter().filter(|seen| seen.target == path).count()
}

#[tokio::test]
async fn segments_are_laid_end_to_end_in_their_order() {
    let all = content(1_000_000);
    let names = ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9"];
    let files = names.iter().zip(all.chunks(100_000)).map(|(name, bytes)| (*name, bytes.to_vec())).collect();
    let lines = names.map(|name| format!("#EXTINF:2.5,\n{name}\n")).concat();
    let host = host(format!("\u{feff}{}", hls(&lines)), files).await;
    let source = open(&host.url("/list")).await.expect("a source");
    assert_eq!(read_all(&*source).await, Ok(all.clone()));
    assert_eq!(source.known_size(), Some(1_000_000));
    assert_eq!(source.read_at(999_990, 100).await, Ok(all[999_990..].to_vec()), "again");
    let playlist = source.playlist().expect("a playlist");
    assert_eq!((playlist.kind, playlist.duration_secs, playlist.is_stream), (PlaylistKind::Hls, 25.0, true));
    let fetched = source.fetched();
    assert_eq!(fetched.requests, host.seen().len() as u64);
    assert_eq!(fetched.requests, 11, "no byte is fetched twice");
}

#[tokio::test]
async fn headers_go_to_the_sources_own_host_alone() {
    let other = Host::start(|seen| Reply::file(seen, b"other", &[])).await;
    let lines = format!("#EXTINF:1.0,\n/own\n#EXTINF:1.0,\n{}\n", other.url("/other"));
    let host = host(hls(&lines), vec![("/own", b"own".to_vec())]).await;
    let spec = spec_with(&host.url("/list"), &[("x-api-key", "k")]);
    let source = egress(config()).sources.open(&spec, None, Arc::default()).await.expect("a source");
    assert_eq!(read_all(&*source).await, Ok(b"ownother".to_vec()));
    assert!(host.seen().iter().all(|seen| seen.header("x-api-key") == Some("k")));
    assert!(other.seen().iter().all(|seen| seen.header("x-api-key").is_none()));
}

/// As openssl encrypts it.
fn encrypted(plain: &[u8], key: &[u8; 16], iv: u128) -> Vec<u8> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut child = Command::new("openssl")
        .args(["enc", "-aes-128-cbc", "-K", &hex(key), "-iv", &hex(&iv.to_be_bytes())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl starts");
    child.stdin.take().expect("a pipe").write_all(plain).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    output.stdout
}

#[tokio::test]
async fn keys_change_and_are_fetched_once() {
    let (one, two) = (b"0123456789abcdef", b"fedcba9876543210");
    let plain = [content(50_001), content(16), content(70_000), b"clear".to_vec()];
    let files = vec![
        ("/k1", one.to_vec()),
        ("/k2", two.to_vec()),
        ("/a", encrypted(&plain[0], one, 5)),
        ("/b", encrypted(&plain[1], one, 6)),
        ("/c", encrypted(&plain[2], two, 0xabc)),
        ("/d", plain[3].clone()),
    ];
    let list = hls(
        "#EXT-X-MEDIA-SEQUENCE:5\n#EXT-X-KEY:METHOD=AES-128,URI=\"/k1\"\n#EXTINF:1.0,\n/a\n#EXTINF:1.0,\n/b\n\
         #EXT-X-KEY:METHOD=AES-128,URI=\"/k2\",IV=0xABC\n#EXTINF:1.0,\n/c\n#EXT-X-KEY:METHOD=NONE\n#EXTINF:1.0,\n/d",
    );
    let host = host(list, files).await;
    let source = open(&host.url("/list")).await.expect("a source");
    assert_eq!(read_all(&*source).await, Ok(plain.concat()));
    assert_eq!((asked(&host.seen(), "/k1"), asked(&host.seen(), "/k2")), (1, 1));
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_told_by_segment() {
    for (key, told) in [
        (&b"short"[..], "segment 1 of 1: its key has not 16 bytes"),
        (b"0123456789abcdefX", "segment 1 of 1: its key has not 16 bytes"),
        (b"0123456789abcdeX", "segment 1 of 1: it cannot be decrypted by its key"),
    ] {
        let secret = encrypted(&content(1000), b"0123456789abcdef", 0);
        let list = hls("#EXT-X-KEY:METHOD=AES-128,URI=\"/k\"\n#EXTINF:1.0,\n/a");
        let host = host(list, vec![("/k", key.to_vec()), ("/a", secret)]).await;
        let failure = failure(config(), &host.url("/list")).await;
        assert_eq!((failure.public.code, failure.retry), (FailureCode::InvalidVideo, Retry::Never));
        assert_eq!(details(&failure), told);
    }
}

#[tokio::test]
async fn a_header_that_describes_other_sound_is_refused() {
    let list = hls(
        "#EXT-X-MAP:URI=\"/h1\"\n#EXTINF:1.0,\n/a\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"/h2\"\n#EXTINF:1.0,\n/b",
    );
    let files = |second: &[u8]| {
        vec![
            ("/h1", b"header".to_vec()),
            ("/h2", second.to_vec()),
            ("/a", b"1".to_vec()),
            ("/b", b"2".to_vec()),
        ]
    };
    let same = host(list.clone(), files(b"header")).await;
    let source = open(&same.url("/list")).await.expect("a source");
    assert_eq!(read_all(&*source).await, Ok(b"header12".to_vec()), "the second time it is left out");
    let other = host(list, files(b"another")).await;
    let failure = failure(config(), &other.url("/list")).await;
    assert_eq!(failure.public.code, FailureCode::ExtractionFailed);
    assert!(details(&failure).contains("coded in another way"), "{failure}");
}

/// A manifest of one representation with these attributes of `MPD` and these children.
pub(crate) fn dash(attributes: &str, inside: &str) -> String {
    format!(
        "\u{feff}<?xml version=\"1.0\"?>\n<!-- made by hand -->\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" mediaPresentationDuration=\"PT4S\" \
         {attributes}><Period><AdaptationSet contentType=\"audio\"><Representation id=\"r\" bandwidth=\"64000\">{inside}\
         </Representation></AdaptationSet></Period></MPD>"
    )
}

#[tokio::test]
async fn a_manifest_may_begin_with_much_to_say() {
    let manifest = dash("type=\"static\"", "<SegmentTemplate media=\"/$Number$\" duration=\"4\"/>");
    for (comment_bytes, is_manifest) in [(5_000, true), (60_000, true), (70_000, false)] {
        let list = manifest.replace("made by hand", &"x".repeat(comment_bytes));
        let host = host(list.clone(), vec![("/1", b"1".to_vec())]).await;
        let source = open(&host.url("/list")).await.expect("a source");
        let expected = if is_manifest { b"1".to_vec() } else { list.into_bytes() };
        assert!(read_all(&*source).await.expect("bytes") == expected, "{comment_bytes}");
        assert_eq!(source.playlist().is_some(), is_manifest, "{comment_bytes}");
    }
}

#[tokio::test]
async fn a_manifest_is_resolved_at_every_level() {
    let manifest = r#"<MPD type="static" mediaPresentationDuration="PT10S">
      <BaseURL>/v/</BaseURL>
      <Period duration="PT6S">
        <BaseURL>one/</BaseURL>
        <AdaptationSet mimeType="video/mp4"><Representation id="v" bandwidth="9" codecs="avc1.4d"/></AdaptationSet>
        <AdaptationSet mimeType="audio/mp4" lang="en" codecs="mp4a.40.2">
          <SegmentTemplate timescale="10" presentationTimeOffset="100" startNumber="4" initialization="$RepresentationID$-i" media="$RepresentationID$-$Number%03d$-$Time$">
            <SegmentTimeline><S t="100" d="20" r="1"/><S d="20" r="-1"/></SegmentTimeline>
          </SegmentTemplate>
          <Representation id="lo" bandwidth="64000"/>
          <Representation id="hi" bandwidth="128000"/>
        </AdaptationSet>
        <AdaptationSet mimeType="audio/mp4" lang="de" codecs="mp4a.40.2">
          <Representation id="de" bandwidth="128000"><BaseURL>de</BaseURL>
            <SegmentList duration="3"><Initialization range="0-1"/><SegmentURL mediaRange="2-3"/><SegmentURL mediaRange="4-4"/></SegmentList>
          </Representation>
        </AdaptationSet>
      </Period>
      <Period start="PT6S">
        <BaseURL>two/</BaseURL>
        <AdaptationSet mimeType="audio/mp4" lang="en" codecs="mp4a.40.2">
          <Representation id="x" bandwidth="1"><SegmentTemplate duration="2" media="$Number$"/></Representation>
        </AdaptationSet>
        <AdaptationSet mimeType="audio/mp4" lang="de" codecs="mp4a.40.2">
          <Representation id="y" bandwidth="1"><SegmentTemplate duration="4" endNumber="1" media="y$Number$"/></Representation>
        </AdaptationSet>
      </Period>
    </MPD>"#;
    let files = || {
        vec![
            ("/v/one/hi-i", b"H".to_vec()),
            ("/v/one/hi-004-100", b"a".to_vec()),
            ("/v/one/hi-005-120", b"b".to_vec()),
            ("/v/one/hi-006-140", b"c".to_vec()),
            ("/v/one/de", b"HHdef".to_vec()),
            ("/v/two/1", b"1".to_vec()),
            ("/v/two/2", b"2".to_vec()),
            ("/v/two/y1", b"y".to_vec()),
        ]
    };
    let german = TrackChoice::language("de").expect("a language");
    for (wanted, bytes) in [(None, b"Habc12"), (Some(&german), b"HHdefy")] {
        let host = host(manifest.to_owned(), files()).await;
        let source = egress(config())
            .sources
            .open(&spec(&host.url("/list")), wanted, Arc::default())
            .await
            .expect("a source");
        assert_eq!(read_all(&*source).await, Ok(bytes.to_vec()), "{wanted:?}");
        let playlist = source.playlist().expect("a playlist");
        assert_eq!((playlist.kind, playlist.duration_secs), (PlaylistKind::Dash, 10.0));
        assert!(playlist.has_breaks && playlist.is_one_track);
    }
}
