//! hyper's tasks of one client, side by side in one task of ours.
//!
//! Two of hyper's tasks turn an HTTP/2 connection: one hands requests over, the other reads and writes. Where they run on
//! two threads, a request may be sent and a host's farewell (GOAWAY) come back while it is still being handed over; then
//! hyper tells of it as of one that the host has not looked at, although an answer is on its way. In one task neither has
//! its turn in the middle of the other's.

use std::future::Future;

use domain::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hyper::rt::Executor;
use tokio::sync::mpsc;

/// Where hyper's client puts its tasks.
#[derive(Clone)]
pub(crate) struct OneTask {
    added: mpsc::UnboundedSender<BoxFuture<'static, ()>>,
}

impl OneTask {
    /// It ends once the client is gone and its tasks have ended. Needs a tokio runtime around it.
    pub(crate) fn start() -> Self {
        let (added, to_add) = mpsc::unbounded_channel();
        tokio::spawn(run(to_add));
        Self { added }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for OneTask {
    fn execute(&self, task: F) {
        // It is gone where the runtime is shutting down, which drops all tasks.
        let _gone = self.added.send(Box::pin(task));
    }
}

async fn run(mut to_add: mpsc::UnboundedReceiver<BoxFuture<'static, ()>>) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            added = to_add.recv() => match added {
                Some(task) => running.push(task),
                None => break,
            },
            Some(()) = running.next() => {}
        }
    }
    while running.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_two_tasks_have_their_turn_at_once() {
        let (is_taken, tasks) = (Arc::new(AtomicBool::new(false)), OneTask::start());
        let (ended, mut ends) = mpsc::unbounded_channel();
        for _ in 0..4 {
            let (is_taken, ended) = (Arc::clone(&is_taken), ended.clone());
            tasks.execute(async move {
                let mut were_at_once = false;
                for _ in 0..100 {
                    were_at_once |= is_taken.swap(true, Ordering::SeqCst);
                    std::thread::yield_now();
                    is_taken.store(false, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                }
                ended.send(were_at_once).expect("a test that waits");
            });
        }
        drop((tasks, ended));
        for _ in 0..4 {
            assert_eq!(ends.recv().await, Some(false));
        }
        assert_eq!(ends.recv().await, None, "all have ended, and with them what holds the channel");
    }
}
