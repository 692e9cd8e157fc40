//! Playlists that are made to do harm, that nobody can play, or that have no end.

use std::sync::Arc;

use domain::{FailureCode, Retry, SourceOpener};
use testkit::host::{Host, Reply, Step};

use crate::kit::{config, content, details, egress, open, read_all, spec};
use crate::playlists::{dash, failure, hls, host};

#[tokio::test]
async fn every_address_in_a_playlist_passes_the_guard() {
    for forbidden in [
        "http://10.0.0.1/a",
        "http://169.254.169.254/latest/",
        "http://[::ffff:10.0.0.1]/",
        "http://127.0.0.1:22/",
    ] {
        for list in [
            hls(&format!("#EXTINF:1.0,\n{forbidden}")),
            hls(&format!("#EXT-X-MAP:URI=\"{forbidden}\"\n#EXTINF:1.0,\n/a")),
            hls(&format!("#EXT-X-KEY:METHOD=AES-128,URI=\"{forbidden}\"\n#EXTINF:1.0,\n/a")),
            format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{forbidden}\n"),
            dash(
                "",
                &format!(
                    "<BaseURL>{forbidden}</BaseURL><SegmentTemplate media=\"$Number$\" duration=\"1\"/>"
                ),
            ),
            dash("", &format!("<BaseURL>{forbidden}</BaseURL>")),
        ] {
            let host = host(list.clone(), vec![("/a", b"a".to_vec())]).await;
            let failure = failure(config(), &host.url("/list")).await;
            assert_eq!(
                failure.public.message, "Use a source URL that is reachable on the public internet.",
                "{list}"
            );
            assert_eq!((failure.public.code, failure.retry), (FailureCode::DownloadFailed, Retry::Never));
        }
    }
}

#[tokio::test]
async fn playlists_that_cannot_be_taken_are_refused_by_name() {
    use FailureCode::{DownloadFailed, ExtractionFailed, InvalidVideo};
    let template = "<SegmentTemplate media=\"/$Number$\" duration=\"1\"/>";
    let many = "#EXTINF:1.0,\na\n".repeat(100_000);
    for (name, list, code, told) in [
        ("live", "#EXTM3U\n#EXTINF:1.0,\n/a\n".to_owned(), InvalidVideo, "live stream"),
        ("itself", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/list\n".to_owned(), InvalidVideo, "no media playlist"),
        ("too many segments", hls(&many), DownloadFailed, "more than 20000 segments"),
        ("another scheme", hls("#EXTINF:1.0,\nfile:///etc/passwd"), DownloadFailed, "`file`"),
        ("dynamic", dash("type=\"dynamic\"", template), InvalidVideo, "live stream"),
        ("protected", dash("", &format!("<ContentProtection schemeIdUri=\"urn:uuid:edef8ba9\"/>{template}")), ExtractionFailed, "urn:uuid:edef8ba9"),
        (
            "elsewhere",
            "<MPD xmlns:xlink=\"x\"><Period xlink:href=\"http://10.0.0.1/\" /></MPD>".to_owned(),
            ExtractionFailed,
            "xlink",
        ),
        (
            "a bomb of entities",
            "<!DOCTYPE MPD [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]><MPD>&b;</MPD>".to_owned(),
            InvalidVideo,
            "document type",
        ),
        ("an unknown entity", dash("", "<BaseURL>&lol;</BaseURL>"), InvalidVideo, "makes no sense"),
        (
            "ten million by repeat",
            dash("", "<SegmentTemplate media=\"$Number$\"><SegmentTimeline><S d=\"1\" r=\"10000000\"/></SegmentTimeline></SegmentTemplate>"),
            DownloadFailed,
            "more than 20000 segments",
        ),
        (
            "without end by repeat",
            dash("", "<SegmentTemplate timescale=\"90000\" media=\"$Time$\"><SegmentTimeline><S d=\"1\" r=\"-1\"/></SegmentTimeline></SegmentTemplate>"),
            DownloadFailed,
            "more than 20000 segments",
        ),
        (
            "ten million by duration",
            dash("", "<SegmentTemplate timescale=\"10000000\" media=\"$Number$\" duration=\"1\"/>"),
            DownloadFailed,
            "more than 20000 segments",
        ),
        ("deep", format!("<MPD>{}", "<a>".repeat(5000)), InvalidVideo, "more elements"),
        ("no XML", "<MPD><Period></MPD>".to_owned(), InvalidVideo, "not XML"),
        ("no sound", dash("", template).replace("audio", "video"), ExtractionFailed, "no audio"),
        ("many sets", format!("<MPD>{}</MPD>", "<Period/>".repeat(1001)), InvalidVideo, "more elements"),
        (
            "sets before much else",
            format!("<MPD><Period><BaseURL/>{}{}</Period></MPD>", "<AdaptationSet/>".repeat(999), "<a/>".repeat(10_000)),
            InvalidVideo,
            "more elements",
        ),
    ] {
        let host = host(list, vec![("/a", b"a".to_vec())]).await;
        let failure = failure(config(), &host.url("/list")).await;
        assert_eq!((failure.public.code, failure.retry), (code, Retry::Never), "{name}: {failure}");
        assert!(details(&failure).contains(told), "{name}: {failure}");
        assert!(host.seen().iter().all(|seen| seen.target == "/list"), "{name}: {:?}", host.seen());
    }
}

#[tokio::test]
async fn a_playlist_without_end_is_read_to_its_bound_and_no_further() {
    let line = b"# a line that says nothing, again and again\n".repeat(1000);
    let bytes = line.clone();
    let host = Host::start(move |_| {
        let reply = Reply::head(200, &[]).then(Step::Bytes(b"#EXTM3U\n".to_vec()));
        reply.then(Step::Forever(bytes.clone(), std::time::Duration::ZERO))
    })
    .await;
    let mut config = config();
    config.source.max_playlist_bytes = 1 << 20;
    let failure = failure(config, &host.url("/")).await;
    assert_eq!(failure.public.code, FailureCode::DownloadFailed);
    assert_eq!(details(&failure), "the playlist has more than 1048576 bytes");
}

#[tokio::test]
async fn a_segment_that_is_not_there_is_told_by_its_number() {
    let redirects = Host::start(|_| Reply::new(302, &[("location", "/on")], b"")).await;
    for (address, told) in [
        ("/none".to_owned(), "segment 2 of 2: the host answered 404"),
        (redirects.url("/"), "segment 2 of 2: a redirect was not followed: there are more than 3"),
    ] {
        let list = hls(&format!("#EXTINF:1.0,\n/a\n#EXTINF:1.0,\n{address}"));
        let host = host(list, vec![("/a", b"a".to_vec())]).await;
        let failure = failure(config(), &host.url("/list")).await;
        assert_eq!(failure.public.code, FailureCode::DownloadFailed);
        assert_eq!(details(&failure), told);
    }
}

#[tokio::test]
async fn the_last_of_segments_that_were_counted_may_be_missing_and_no_other() {
    // 4 s make two of 3 s, unless the sound is shorter than the period.
    for (more, file, told) in [
        ("", "/1", None),
        ("", "/2", Some("segment 1 of 2: the host answered 404")),
        ("endNumber=\"2\"", "/1", Some("segment 2 of 2: the host answered 404")),
    ] {
        let manifest = dash("", &format!("<SegmentTemplate media=\"/$Number$\" duration=\"3\" {more}/>"));
        let host = host(manifest, vec![(file, content(1000))]).await;
        let source = open(&host.url("/list")).await.expect("a source");
        match (read_all(&*source).await, told) {
            (Ok(read), None) => assert_eq!(read, content(1000)),
            (Err(failure), Some(told)) => assert_eq!(details(&failure), told),
            (outcome, told) => panic!("{more} {file}: {outcome:?} instead of {told:?}"),
        }
    }
}

#[tokio::test]
async fn a_source_lies_on_so_many_hosts_and_no_more() {
    let files = [&b"a"[..], b"b", b"c"];
    let mut others = Vec::new();
    for file in files {
        others.push(Host::start(move |seen| Reply::file(seen, file, &[])).await);
    }
    let redirects = others.iter().map(|other| other.url("/")).collect::<Vec<_>>();
    let lines = (0..3).map(|number| format!("#EXTINF:1.0,\n/{number}\n")).collect::<String>();
    let host = Host::start(move |seen| match seen.target.as_str() {
        "/list" => Reply::file(seen, hls(&lines).as_bytes(), &[]),
        number => {
            let number: usize = number[1..].parse().expect("a number");
            Reply::new(302, &[("location", &redirects[number])], b"")
        }
    })
    .await;
    let within = |max_hosts: usize| {
        let mut config = config();
        config.source.max_hosts = max_hosts;
        config.source.max_connections = 1;
        config
    };
    let opened = egress(within(4)).sources.open(&spec(&host.url("/list")), None, Arc::default()).await;
    assert_eq!(read_all(&*opened.expect("a source")).await, Ok(b"abc".to_vec()));
    let failure = failure(within(3), &host.url("/list")).await;
    assert_eq!((failure.public.code, failure.retry), (FailureCode::DownloadFailed, Retry::Never));
    assert_eq!(details(&failure), "segment 3 of 3: the source names more than 3 hosts");
    assert_eq!(others[2].seen().len(), 1, "it was asked by the first alone");
}

#[tokio::test]
async fn all_segments_together_are_bounded_as_one_source() {
    let lines = "#EXTINF:1.0,\n/a\n".repeat(10);
    let host = host(hls(&lines), vec![("/a", content(1000))]).await;
    let mut config = config();
    config.source.max_bytes = 5000;
    let failure = failure(config, &host.url("/list")).await;
    assert_eq!(
        (failure.public.code, details(&failure)),
        (FailureCode::DownloadFailed, "the source has more than 5000 bytes")
    );
}
