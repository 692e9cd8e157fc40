//! Where redirects lead: how many are followed, and what is asked again once a place fails to which one led.

use domain::Retry;
use testkit::host::{Host, Reply, Step};

use crate::kit::{config, content, details, failure_of, open, open_with, read_all};

pub(crate) fn to(location: &str) -> Reply {
    Reply::new(302, &[("location", location)], b"")
}

#[tokio::test]
async fn three_redirects_are_followed_and_a_fourth_is_not() {
    let host = Host::start(|seen| match seen.target.as_str() {
        "/4" => to("/3"),
        "/3" => Reply::new(307, &[("location", "2")], b""),
        "/2" => Reply::new(308, &[("location", "/1?x=y#z")], b""),
        "/1?x=y" => Reply::new(301, &[("location", "/file")], b"moved"),
        "/loop" => to("/loop"),
        "/nowhere" => Reply::new(302, &[], b""),
        "/ftp" => to("ftp://example.com/"),
        _ => Reply::file(seen, b"the file", &[]),
    })
    .await;
    let source = open(&host.url("/3")).await.expect("three redirects");
    assert_eq!(read_all(&*source).await, Ok(b"the file".to_vec()));
    assert_eq!(source.fetched().requests, 4);
    for (path, told) in [
        ("/4", "there are more than 3"),
        ("/loop", "there are more than 3"),
        ("/nowhere", "it leads nowhere"),
        ("/ftp", "the scheme is `ftp`"),
    ] {
        let failure = failure_of(config(), &host.url(path)).await;
        assert!(details(&failure).contains(told), "{path}: {failure}");
        assert_eq!(failure.retry, Retry::Never);
    }
}

#[tokio::test]
async fn a_redirect_may_be_written_in_any_letters() {
    let host = Host::start(|seen| match seen.target.as_str() {
        "/start" => to("/vidéo/日本.mp4?q=ü"),
        "/vid%C3%A9o/%E6%97%A5%E6%9C%AC.mp4?q=%C3%BC" => Reply::file(seen, b"the file", &[]),
        "/forbidden" => to("http://１０.0.0.1/é"),
        _ => Reply::new(404, &[], b""),
    })
    .await;
    let source = open(&host.url("/start")).await.expect("a redirect in UTF-8");
    assert_eq!(read_all(&*source).await, Ok(b"the file".to_vec()));
    let failure = failure_of(config(), &host.url("/forbidden")).await;
    assert_eq!(failure.public.message, "Use a source URL that is reachable on the public internet.");
    let latin =
        Host::start(|_| Reply::raw(b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: /\xe9\r\n\r\n"))
            .await;
    let failure = failure_of(config(), &latin.url("/")).await;
    assert!(details(&failure).contains("it leads nowhere"), "{failure}");
}

#[tokio::test]
async fn an_expired_redirect_is_asked_for_again() {
    let file = vec![7; 2_000_000];
    let served = file.clone();
    let host = Host::start(move |seen| match (seen.target.as_str(), seen.number) {
        ("/start", 0) => to("/signed?1"),
        ("/start", _) => to("/signed?2"),
        ("/signed?1", 1) | ("/signed?2", _) => Reply::file(seen, &served, &[]),
        _ => Reply::new(403, &[], b"expired"),
    })
    .await;
    let source = open(&host.url("/start")).await.expect("a source");
    assert_eq!(source.read_at(1_000_000, 5).await, Ok(vec![7; 5]));
    let targets: Vec<_> = host.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/start", "/signed?1", "/signed?1", "/start", "/signed?2"]);
}

#[tokio::test]
async fn a_redirect_that_leads_elsewhere_once_its_first_place_fails_is_asked_for_again() {
    // Whoever is busy has had two tries; whoever is not there has not even been asked.
    for (is_there, retries) in [(true, 2), (false, 0)] {
        let file = vec![7; 2_000_000];
        let (old, new) = (file.clone(), file.clone());
        let first = Host::start(move |seen| match seen.number {
            0 => Reply::file(seen, &old, &[("connection", "close")]).then(Step::Close),
            _ => Reply::new(503, &[], b""),
        })
        .await;
        let second = Host::start(move |seen| Reply::file(seen, &new, &[])).await;
        let places = [first.url("/"), second.url("/")];
        let start = Host::start(move |seen| to(&places[seen.number.min(1)])).await;
        let mut config = config();
        config.source.retries = retries;
        let source = open_with(config, &start.url("/")).await.expect("a source");
        if !is_there {
            first.stop().await;
        }
        assert_eq!(source.read_at(1_000_000, 5).await, Ok(vec![7; 5]), "{is_there}");
        assert!(read_all(&*source).await.expect("the file") == file, "{is_there}");
        assert_eq!(start.seen().len(), 2, "{is_there}: what answers is asked at once");
    }
}

/// A host that leads to the first of these places, and each further time that it is asked to the next.
async fn leading_to(places: Vec<String>) -> Host {
    Host::start(move |seen| to(&places[seen.number.min(places.len() - 1)])).await
}

/// A host of this file in the version that `tag` names.
async fn mirror(file: &[u8], tag: &'static str) -> Host {
    let file = file.to_vec();
    Host::start(move |seen| Reply::file(seen, &file, &[("etag", tag)])).await
}

#[tokio::test]
async fn a_place_that_fails_once_is_asked_again_before_any_other() {
    type Blip = fn() -> Reply;
    let blips: [(&str, Blip); 3] = [
        ("503", || Reply::new(503, &[], b"")),
        ("429", || Reply::new(429, &[("retry-after", "1")], b"")),
        ("a reset", || Reply::default().then(Step::Reset)),
    ];
    for (name, blip) in blips {
        let file = content(2_000_000);
        let served = file.clone();
        let first = Host::start(move |seen| match seen.number {
            1 => blip(),
            _ => Reply::file(seen, &served, &[("etag", "\"a\"")]),
        })
        .await;
        // As another web server names the same bytes.
        let second = mirror(&file, "\"b\"").await;
        let start = leading_to(vec![first.url("/"), second.url("/")]).await;
        let mut config = config();
        // What others bring meanwhile would show that the place is well.
        config.source.max_connections = 1;
        let source = open_with(config, &start.url("/")).await.expect(name);
        assert!(read_all(&*source).await.expect(name) == file, "{name}");
        assert_eq!((start.seen().len(), second.seen().len()), (1, 0), "{name}");
    }
}

#[tokio::test]
async fn another_hosts_version_is_told_as_that_and_worth_another_attempt() {
    type Fails = fn() -> Reply;
    let failures: [(&str, Fails); 3] = [
        ("503", || Reply::new(503, &[], b"")),
        ("404", || Reply::new(404, &[], b"")),
        ("a reset", || Reply::default().then(Step::Reset)),
    ];
    let file = content(2_000_000);
    let tag = |tag| [("etag", tag)];
    for (case, fails) in failures {
        // By its name or, where there is none, by its length.
        for (what, first_has, then_has, cut) in
            [("name", &tag("\"a\"")[..], &tag("\"b\"")[..], 0), ("length", &[], &[], 1)]
        {
            let (old, new) = (file.clone(), file[cut..].to_vec());
            let (first_has, then_has) = (first_has.to_vec(), then_has.to_vec());
            let first = Host::start(move |seen| match seen.number {
                0 => Reply::file(seen, &old, &first_has),
                _ => fails(),
            })
            .await;
            let second = Host::start(move |seen| Reply::file(seen, &new, &then_has)).await;
            let start = leading_to(vec![first.url("/"), second.url("/")]).await;
            let failure = failure_of(config(), &start.url("/")).await;
            let told = (details(&failure), failure.retry);
            let expected = ("another host of this source has another version of it", Retry::Worthwhile);
            assert_eq!(told, expected, "{case}, {what}");
        }
    }
}

#[tokio::test]
async fn a_file_that_changed_at_its_own_host_has_changed_wherever_it_lies_there() {
    let file = content(2_000_000);
    let host = Host::start(move |seen| match (seen.target.as_str(), seen.number) {
        ("/start", 0) => to("/signed?1"),
        ("/start", _) => to("/signed?2"),
        ("/signed?1", 1) => Reply::file(seen, &file, &[("etag", "\"a\"")]),
        ("/signed?2", _) => Reply::file(seen, &file, &[("etag", "\"b\"")]),
        _ => Reply::new(403, &[], b"expired"),
    })
    .await;
    let failure = failure_of(config(), &host.url("/start")).await;
    assert_eq!((details(&failure), failure.retry), ("it changed while being read", Retry::Never));
}

#[tokio::test]
async fn a_place_that_is_gone_is_not_asked_again_while_the_source_is_busy() {
    let file = content(2_000_000);
    let (old, new) = (file.clone(), file.clone());
    let first = Host::start(move |seen| match seen.number {
        0 => Reply::file(seen, &old, &[]),
        _ => Reply::new(404, &[], b""),
    })
    .await;
    let second = Host::start(move |seen| Reply::file(seen, &new, &[])).await;
    let places = [first.url("/"), second.url("/")];
    let start = Host::start(move |seen| match seen.number {
        0 => to(&places[0]),
        1 | 2 => Reply::new(503, &[], b""),
        _ => to(&places[1]),
    })
    .await;
    let mut config = config();
    config.source.max_connections = 1;
    let source = open_with(config, &start.url("/")).await.expect("a source");
    assert!(read_all(&*source).await.expect("the file") == file);
    assert_eq!((first.seen().len(), start.seen().len()), (2, 4), "what is gone is gone");
}
