//! A real nginx, out of Debian's package, for as long as its owner lives.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// What does not depend on the test. `user` is heeded of root alone, whose worker would lose the right to read the
/// folder otherwise.
const MAIN: &str = "
daemon off;
user root;
worker_processes 1;
pid pid;
events {}
http {
    log_format requests '$connection $server_protocol $status $body_bytes_sent';
    access_log requests.log requests;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
";

/// A request that nginx has answered, as its own log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Which connection it came on.
    pub connection: u64,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: String,
    /// The answer's.
    pub status: u16,
    /// Bytes of the body that were sent.
    pub body_bytes: u64,
}

/// A running nginx. It ends when it is dropped, or with the thread that started it.
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    dir: TempDir,
    process: Child,
}

impl Nginx {
    /// Serves these files from a free port of 127.0.0.1. `listen` follows the address in the directive of that name
    /// (`ssl http2`), `server` is what else its server block says; paths in it are within the folder of the files.
    pub fn start(listen: &str, server: &str, files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::Builder::new().prefix("nginx").tempdir().expect("a temporary folder");
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).expect("a file");
        }
        // nginx takes over a socket that listens already, so that nobody takes its port first, and nobody has to wait.
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("a local address");
        let root = dir.path().display();
        let conf = format!("{MAIN} server {{ listen {address} {listen}; root {root}; {server} }}\n}}\n");
        fs::write(dir.path().join("nginx.conf"), conf).expect("a file");
        let log = fs::File::create(dir.path().join("error.log")).expect("a file");
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--", executable(), "-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(dir.path())
            .env("NGINX", "0;")
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .stderr(log)
            .spawn()
            .expect("setpriv, and nginx");
        Self { address, dir, process }
    }

    /// What it has answered, once that is so many requests: it writes them down just after it has answered.
    pub async fn served(&self, requests: usize) -> Vec<Served> {
        let read = async {
            loop {
                let served: Vec<Served> = self.read("requests.log").lines().filter_map(served).collect();
                if served.len() >= requests {
                    return served;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        read.unwrap_or_else(|_| {
            let [served, errors] = ["requests.log", "error.log"].map(|name| self.read(name));
            panic!("nginx answered less than {requests} requests:\n{served}{errors}")
        })
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed without ceremony it would leave its worker behind.
        let pid = self.process.id().to_string();
        let _told = Command::new("kill").args(["-TERM", &pid]).status();
        let _ended = self.process.wait();
    }
}

fn served(line: &str) -> Option<Served> {
    let mut words = line.split(' ');
    Some(Served {
        connection: words.next()?.parse().ok()?,
        protocol: words.next()?.to_owned(),
        status: words.next()?.parse().ok()?,
        body_bytes: words.next()?.parse().ok()?,
    })
}

/// Debian keeps it where only root looks for commands.
fn executable() -> &'static str {
    ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists()).unwrap_or("nginx")
}
