//! The guard's conformance table.

use domain::AddressPolicy;
use egress::{Guard, GuardConfig};
use url::Url;

const REFUSED: &[&str] = &[
    // IPv4, class by class, at the edges.
    "http://0.0.0.0/",
    "http://0.255.255.255/",
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://100.64.0.0/",
    "http://100.100.100.200/",
    "http://100.127.255.255/",
    "http://127.0.0.1/",
    "http://127.255.255.254/",
    "http://168.63.129.16/",
    "http://169.254.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.0.0.1/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://192.88.99.1/",
    "http://192.168.0.1/",
    "http://192.168.255.255/",
    "http://198.18.0.1/",
    "http://198.19.255.255/",
    "http://198.51.100.7/",
    "http://203.0.113.7/",
    "http://224.0.0.1/",
    "http://239.255.255.255/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    // The same in other spellings.
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.1./",
    "http://１２７.０.０.１/",
    "http://%31%32%37.0.0.1/",
    "http://0/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://169.0xfe.43518/",
    "http://169.254.169.254./",
    // Who asks changes nothing.
    "http://user:secret@127.0.0.1/",
    "http://example.com@169.254.169.254/",
    "http://example.com:80@10.0.0.1/",
    "http:\\\\127.0.0.1/",
    // IPv6.
    "http://[::]/",
    "http://[::1]/",
    "http://[::127.0.0.1]/",
    "http://[::8.8.8.8]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::ffff:0:8.8.8.8]/",
    "http://[64:ff9b::8.8.8.8]/",
    "http://[64:ff9b::a00:1]/",
    "http://[64:ff9b:1::1]/",
    "http://[100::1]/",
    "http://[2001::1]/",
    "http://[2001:2::1]/",
    "http://[2001:10::1]/",
    "http://[2001:20::1]/",
    "http://[2001:db8::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:808:808::1]/",
    "http://[3fff::1]/",
    "http://[3fff:fff:ffff::1]/",
    "http://[4000::1]/",
    "http://[5f00::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fdff:ffff::1]/",
    "http://[fe80::1]/",
    "http://[febf::1]/",
    "http://[fec0::1]/",
    "http://[feff::1]/",
    "http://[ff02::1]/",
    // Names.
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://a.localhost/",
    "http://a.localhost./",
    "http://lOcAlHoSt.:8080/",
    "http://ⓛocalhost/",
    "http://printer.local/",
    "http://db.internal/",
    "http://db.internal./",
    "http://router.home.arpa/",
    "http://router.lan/",
    "http://intranet/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://metadata.google.internal./",
    "http://METADATA.google.internal:80/",
    "http://metadata/",
    "http://metadata.goog/",
    "http://instance-data/",
    // Ports of other protocols.
    "http://example.com:22/",
    "http://example.com:25/",
    "https://example.com:6379/",
    "http://example.com:0/",
    // Other schemes.
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
];

const ALLOWED: &[&str] = &[
    "http://example.com/video.mp4",
    "https://example.com./video.mp4",
    "https://user:secret@example.com:8443/v",
    "http://example.com:8080/",
    "http://localhost.example.com/",
    "http://my-internal.example/",
    "http://internal.example.org/",
    "http://1.1.1.1/",
    "http://8.8.8.8/",
    "http://9.255.255.255/",
    "http://11.0.0.0/",
    "http://100.63.255.255/",
    "http://100.128.0.0/",
    "http://126.255.255.255/",
    "http://128.0.0.1/",
    "http://172.15.255.255/",
    "http://172.32.0.0/",
    "http://192.0.1.1/",
    "http://192.167.255.255/",
    "http://198.17.255.255/",
    "http://198.20.0.0/",
    "http://223.255.255.255/",
    "http://[2000::1]/",
    "http://[2001:200::1]/",
    "http://[2001:4860:4860::8888]/",
    "http://[2003::1]/",
    "http://[2606:4700::1111]/",
    "http://[3ffe::1]/",
    "http://[3fff:1000::1]/",
];

fn verdict(guard: &Guard, url: &str) -> Result<(), String> {
    let parsed = Url::parse(url).map_err(|cause| cause.to_string())?;
    guard.check(&parsed).map_err(|refused| refused.0)
}

#[test]
fn only_public_places_are_reached() {
    let guard = Guard::new(GuardConfig::default());
    for url in REFUSED {
        let reason = verdict(&guard, url).expect_err(url);
        assert!(!reason.is_empty(), "{url}: no reason");
    }
    for url in ALLOWED {
        assert_eq!(verdict(&guard, url), Ok(()), "{url}");
    }
}

#[test]
fn zone_ids_do_not_parse() {
    for url in ["http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[::1%25lo]/"] {
        assert!(Url::parse(url).is_err(), "{url} was taken");
    }
}

#[test]
fn an_opened_network_opens_itself_and_nothing_else() {
    let allow_networks = vec!["127.0.0.0/8".parse().expect("a network"), "10.1.0.0/16".parse().expect("one")];
    let guard = Guard::new(GuardConfig { allow_networks, ..GuardConfig::default() });
    for (url, taken) in [
        ("http://127.0.0.1:8080/", true),
        ("http://2130706433/", true),
        ("http://[::ffff:127.0.0.1]/", true),
        ("http://[::ffff:10.1.2.3]/", true),
        ("http://localhost:3000/", true),
        ("http://10.1.255.255/", true),
        // Where a private name leads is seen at the dial.
        ("http://db.internal/", true),
        ("http://10.2.0.1/", false),
        ("http://[::1]/", false),
        ("http://[::127.0.0.1]/", false),
        ("http://[::ffff:10.2.0.1]/", false),
        ("http://[64:ff9b::127.0.0.1]/", false),
        ("http://192.168.0.1/", false),
        ("http://169.254.169.254/", false),
        ("http://metadata.google.internal/", false),
        ("http://127.0.0.1:22/", false),
        ("http://1.1.1.1/", true),
    ] {
        assert_eq!(verdict(&guard, url).is_ok(), taken, "{url}");
    }
}

#[test]
fn the_operator_chooses_the_ports() {
    let guard = Guard::new(GuardConfig { refused_ports: vec![80], ..GuardConfig::default() });
    assert!(verdict(&guard, "http://example.com/").is_err());
    assert!(verdict(&guard, "https://example.com/").is_ok());
    assert!(verdict(&guard, "http://example.com:22/").is_ok());
}
