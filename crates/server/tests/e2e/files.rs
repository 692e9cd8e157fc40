//! Somebody's video host: a folder over HTTP, with ranges, as most hosts have them.

use std::net::SocketAddr;

use axum::Router;
use testkit::samples::sample;
use tower_http::services::ServeDir;

pub(crate) struct FileHost {
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl FileHost {
    /// Serves these samples.
    pub(crate) async fn of(samples: &'static [&'static str]) -> Self {
        let made = || samples.iter().map(|name| sample(name)).collect::<Vec<_>>();
        let made = tokio::task::spawn_blocking(made).await.expect("the samples");
        let folder = made.first().and_then(|path| path.parent()).expect("at least one sample");
        Self::serving(Router::new().fallback_service(ServeDir::new(folder))).await
    }

    /// A host with routes of its own.
    pub(crate) async fn serving(routes: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { address, server }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }
}

impl Drop for FileHost {
    fn drop(&mut self) {
        self.server.abort();
    }
}
