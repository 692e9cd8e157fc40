//! Requests by HTTP/2 are streams of one connection, and under way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Barrier;

use crate::http2::{Session, head_of, listen, range_of};
use crate::kit::{content, open_with, read_all};
use crate::tls::Authority;

const MB: usize = 1 << 20;
/// What a source has under way at one host, unless it is set otherwise.
const TOGETHER: usize = 4;

/// Serves one file by range. The first requests for what lies behind its first bytes are answered once all of them have
/// come in this connection.
async fn serve_together(session: Session, file: Arc<Vec<u8>>) {
    let Ok(mut connection) = h2::server::handshake(session).await else { return };
    let (together, asked) = (Arc::new(Barrier::new(TOGETHER)), Arc::new(AtomicUsize::new(0)));
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (file, together, asked) = (Arc::clone(&file), Arc::clone(&together), Arc::clone(&asked));
        tokio::spawn(async move {
            let range = range_of(&request, file.len());
            if range.start > 0 && asked.fetch_add(1, Ordering::Relaxed) < TOGETHER {
                together.wait().await;
            }
            let head = head_of(range.clone(), file.len());
            let mut stream = respond.send_response(head, false).expect("a stream");
            stream.send_data(Bytes::copy_from_slice(&file[range]), true).expect("a stream");
        });
    }
}

#[tokio::test]
async fn requests_by_http_2_are_under_way_side_by_side() {
    let (authority, file) = (Authority::new(), Arc::new(content(8 * MB)));
    let (served, opened) = (Arc::clone(&file), Arc::new(AtomicUsize::new(0)));
    let connections = Arc::clone(&opened);
    let url = listen(&authority, move |session| {
        connections.fetch_add(1, Ordering::Relaxed);
        serve_together(session, Arc::clone(&served))
    })
    .await;
    let mut config = authority.trusted();
    assert_eq!(config.source.max_connections, TOGETHER);
    // One that waits for the answer before it asks again never gets one.
    config.source.retries = 0;
    config.source.first_byte_timeout = Duration::from_secs(10);
    let source = open_with(config, &url).await.expect("a source");
    source.plan(std::iter::once(0..file.len() as u64).collect());
    assert!(read_all(&*source).await.expect("the file") == *file);
    assert_eq!(opened.load(Ordering::Relaxed), 1, "connections");
    assert_eq!(source.fetched().bytes, file.len() as u64);
}
