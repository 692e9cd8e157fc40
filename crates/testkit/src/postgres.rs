//! A real PostgreSQL, out of Debian's binaries, for as long as the test process lives.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where Debian and Ubuntu keep one folder a version.
const INSTALLED: &str = "/usr/lib/postgresql";

/// Makes the cluster, waits until it is up and says so in a line, waits until its standard input ends, which is
/// when the test process is gone, however it went, and takes everything away. The server is stopped without
/// ceremony: nobody will read what it holds. Everything but the two lines goes to a log, which is shown on failure.
const WATCHDOG: &str = r#"
set -eu
cd "$DIR"
trap 'rm -rf "$DIR"' EXIT
{
    "$BIN/initdb" -D data -U postgres -A trust -E UTF8 --locale=C --no-sync
    "$BIN/pg_ctl" -D data -w -t 60 -l server.log start -o "-k $DIR -c listen_addresses='' \
        $SETTINGS -c max_connections=200"
} >log 2>&1 || { cat log server.log 2>/dev/null | tr '\n' ' '; exit 1; }
echo up
cat >/dev/null
"$BIN/pg_ctl" -D data -m immediate stop >/dev/null 2>&1
"#;

/// Durability is not what tests test, and costs them most of their time.
const FORGETFUL: &str = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off";

/// A PostgreSQL server that this process is the only user of. It listens on a socket in a temporary folder and on
/// no port, and is gone, folder and all, when the process ends, even if it is killed.
pub struct PostgresCluster {
    dir: PathBuf,
    bin: PathBuf,
    databases: AtomicU32,
    /// What the watchdog waits on; never written to.
    _until: ChildStdin,
    _watchdog: Child,
}

/// The process's cluster, started when it is first asked for.
pub fn postgres() -> &'static PostgresCluster {
    static CLUSTER: OnceLock<PostgresCluster> = OnceLock::new();
    CLUSTER.get_or_init(|| PostgresCluster::start(FORGETFUL))
}

/// Another one, which has every commit on its disk before it says so: for measuring, not for tests.
pub fn durable_postgres() -> &'static PostgresCluster {
    static CLUSTER: OnceLock<PostgresCluster> = OnceLock::new();
    CLUSTER.get_or_init(|| PostgresCluster::start(""))
}

impl PostgresCluster {
    /// Starts one. Panics with what PostgreSQL said if it does not come up: a test that needs it cannot pass.
    fn start(settings: &str) -> Self {
        let bin = newest_version();
        let dir = tempfile::Builder::new().prefix("pg").tempdir().expect("a temporary folder").keep();
        let mut command = as_postgres(&dir, "sh");
        command.args(["-c", WATCHDOG]).env("DIR", &dir).env("BIN", &bin).env("SETTINGS", settings);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A group of its own: Ctrl-C in a terminal reaches the tests alone, and then the watchdog hears of it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut watchdog = command.spawn().expect("a shell");
        let until = watchdog.stdin.take().expect("its input is piped");
        let output = watchdog.stdout.take().expect("its output is piped");
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("its output");
        assert_eq!(line.trim(), "up", "PostgreSQL did not start");
        Self { dir, bin, databases: AtomicU32::new(0), _until: until, _watchdog: watchdog }
    }

    /// Makes an empty database and gives its URL.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run_sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database of this cluster.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.dir.display())
    }

    /// Runs SQL as the superuser, to prepare or to break something.
    pub fn run_sql(&self, database: &str, sql: &str) {
        let mut command = Command::new(self.bin.join("psql"));
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        let mut psql = command.arg(&self.dir).stdin(Stdio::piped()).spawn().expect("psql");
        let written = psql.stdin.take().expect("its input is piped").write_all(sql.as_bytes());
        written.expect("psql reads");
        assert!(psql.wait().expect("psql").success(), "psql did not do: {sql}");
    }
}

fn newest_version() -> PathBuf {
    let versions = fs::read_dir(INSTALLED)
        .unwrap_or_else(|error| panic!("{INSTALLED}: {error}; install the package `postgresql`"));
    let version = |entry: &fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
    let newest = versions
        .flatten()
        .filter(|entry| entry.path().join("bin/initdb").exists())
        .max_by_key(|entry| version(entry).unwrap_or(0));
    newest.unwrap_or_else(|| panic!("{INSTALLED} has no initdb; install `postgresql`")).path().join("bin")
}

/// A command as who we are, or as the user `postgres` if that is root, which PostgreSQL refuses to run as.
fn as_postgres(dir: &Path, program: &str) -> Command {
    if fs::metadata(dir).expect("our folder").uid() != 0 {
        return Command::new(program);
    }
    fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("our folder");
    let owned = Command::new("chown").arg("postgres").arg(dir).status().expect("chown");
    assert!(owned.success(), "there is no user `postgres`; install the package `postgresql`");
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", program]);
    command
}
