//! Layers and checks, table by table.

use clap::{Args as _, FromArgMatches as _};

use super::*;

fn flags(arguments: &[&str]) -> Flags {
    let command = Flags::augment_args(clap::Command::new("test").no_binary_name(true));
    Flags::from_arg_matches(&command.try_get_matches_from(arguments).expect("flags")).expect("flags")
}

fn load(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::from_layers(&flags(arguments), environment)
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let settings = load(&[], &[]).expect("defaults");
    assert_eq!(settings.listen, "127.0.0.1:8080".parse().expect("an address"));
    assert_eq!(settings.role, Role::All);
    assert_eq!(settings.data_dir, PathBuf::from("./data"));
    assert_eq!(settings.max_source_bytes, 5_000_000_000);
    assert_eq!(settings.retention, Duration::from_secs(24 * 3600));
    assert_eq!(settings.undelivered_retention, Duration::from_secs(80 * 3600));
    assert_eq!(settings.webhook_retry_waits, domain::RetryPolicy::standard().waits);
    assert!(
        settings.allow_networks.is_empty() && settings.public_url.is_none() && settings.api_key.is_none()
    );
    assert!(settings.workers() >= 1);
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, "workers = 2\nretention = \"2h\"\nlog = \"from-file\"\n").expect("a file");
    let file = path.to_str().expect("a path");
    let environment = [("AUDIO_EXTRACT_WORKERS", "3"), ("AUDIO_EXTRACT_RETENTION", "3h")];

    let settings = load(&["--config", file, "--workers", "4"], &environment).expect("settings");
    assert_eq!(settings.workers(), 4, "flag");
    assert_eq!(settings.retention, Duration::from_secs(3 * 3600), "environment");
    assert_eq!(settings.log, "from-file", "file");
    assert_eq!(settings.max_attempts, 3, "default");
}

#[test]
fn every_layer_reads_lists_numbers_and_nothing() {
    let settings = load(
        &["--webhook-retry-waits", "1s, 2s", "--webhook-retry-jitter", "0"],
        &[("AUDIO_EXTRACT_ALLOW_NETWORKS", "127.0.0.0/8,::1/128"), ("AUDIO_EXTRACT_PUBLIC_URL", "")],
    )
    .expect("settings");
    assert_eq!(settings.webhook_retry_waits, [Duration::from_secs(1), Duration::from_secs(2)]);
    assert_eq!(settings.allow_networks.len(), 2);
    assert_eq!(settings.public_url, None);
}

#[test]
fn what_is_kept_of_the_undelivered_covers_the_schedule_and_the_margin() {
    let waits = "--webhook-retry-waits=1h,2h";
    // Three attempts of 15 s, and an hour more.
    for (kept, is_enough) in [("14444s", false), ("14445s", true)] {
        for name in ["--undelivered-retention", "--retention"] {
            let other = if name == "--retention" { "--undelivered-retention" } else { "--retention" };
            let loaded = load(&[waits, name, kept, other, "1h"], &[]);
            assert_eq!(loaded.is_ok(), is_enough, "{name} {kept}");
        }
    }
}

/// Arguments, environment, and the setting that must be named.
type Refused<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let cases: [Refused<'_>; 10] = [
        (&[], &[("AUDIO_EXTRACT_WORKERS", "many")], "AUDIO_EXTRACT_WORKERS"),
        (&["--max-queued=-1"], &[], "max_queued"),
        (&["--retention", "24"], &[], "retention"),
        (&["--listen", "localhost"], &[], "listen"),
        (&["--allow-networks", "10.0.0.0/33"], &[], "allow_networks"),
        (&["--role", "boss"], &[], "role"),
        (&["--public-url", "ftp://a.example"], &[], "public_url"),
        (&["--lease", "1s"], &[], "lease"),
        (&["--max-connections", "0"], &[], "max_connections"),
        (&["--undelivered-retention", "76h"], &[], "undelivered_retention"),
    ];
    for (arguments, environment, name) in cases {
        let error = load(arguments, environment).expect_err(name).to_string();
        assert!(error.contains(name), "{name}: {error}");
        assert!(!error.contains('\n'), "{name}: {error}");
    }
}

#[test]
fn an_unknown_key_in_the_file_is_refused_and_an_unknown_variable_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, "retenton = \"2h\"\n").expect("a file");
    let error = load(&["--config", path.to_str().expect("a path")], &[]).expect_err("a typo");
    assert!(error.to_string().contains("`retenton` is no setting"), "{error}");

    let settings = load(&[], &[("AUDIO_EXTRACT_RETENTON", "2h"), ("HOME", "/root")]).expect("settings");
    assert_eq!(settings.unknown_variables, ["AUDIO_EXTRACT_RETENTON"]);
}

#[test]
fn a_file_that_is_no_toml_is_refused_by_line_and_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("settings.toml");
    for text in ["\napi_key = \"hunter2\n", "\nmaster_key = hunter2", "\nhunter2", "\na = 1 \"hunter2\""] {
        std::fs::write(&path, text).expect("a file");
        let error = load(&["--config", path.to_str().expect("a path")], &[]).expect_err(text).to_string();
        assert!(error.contains("settings.toml: line 2: "), "{error}");
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let settings = load(
        &[],
        &[
            ("AUDIO_EXTRACT_API_KEY", "hunter2-key"),
            ("AUDIO_EXTRACT_MASTER_KEY", "hunter2-master"),
            ("AUDIO_EXTRACT_DATABASE_URL", "postgres://a:hunter2@b/c"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2-aws"),
        ],
    )
    .expect("settings");
    assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    assert_eq!(settings.storage_options.len(), 1);
}

#[test]
fn serving_needs_an_address_for_links_and_a_secret_for_the_given_key() {
    let cases: [(&[&str], Option<&str>); 7] = [
        (&[], None),
        (&["--listen", "0.0.0.0:80"], Some("public_url")),
        (&["--listen", "[::]:80"], Some("public_url")),
        (&["--listen", "0.0.0.0:80", "--public-url", "https://a.example"], None),
        (&["--role", "worker"], Some("public_url")),
        (&["--api-key", "k"], Some("webhook_secret")),
        (&["--api-key", "k", "--webhook-secret", "whsec_x"], None),
    ];
    for (arguments, refused) in cases {
        let outcome = for_serving(&load(arguments, &[]).expect("settings"));
        match refused {
            Some(name) => {
                let error = outcome.expect_err(name).to_string();
                assert!(error.contains(name), "{arguments:?}: {error}");
            }
            None => assert!(outcome.is_ok(), "{arguments:?}: {outcome:?}"),
        }
    }
}
