//! Connections that receivers keep open between webhooks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;
use url::{Position, Url};

use super::connection::Connection;
use crate::client::{IDLE_TIMEOUT, MAX_IDLE_PER_HOST};

/// All receivers together: each idle connection is a file descriptor.
const MAX_IDLE: usize = 512;

/// Idle connections by receiver.
#[derive(Default)]
pub(super) struct Pool {
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    plain: HashMap<String, Vec<Idle>>,
    secure: HashMap<String, Vec<Idle>>,
    count: usize,
    is_tended: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Shelves {
    fn of(&mut self, url: &Url) -> &mut HashMap<String, Vec<Idle>> {
        if url.scheme() == "https" { &mut self.secure } else { &mut self.plain }
    }

    fn take(&mut self, url: &Url) -> Option<Connection> {
        let idle = self.of(url).get_mut(authority(url))?.pop()?;
        self.count -= 1;
        Some(idle.connection)
    }

    fn drop_old(&mut self) {
        let mut kept = 0;
        for shelf in [&mut self.plain, &mut self.secure] {
            shelf.retain(|_, idle| {
                idle.retain(|idle| idle.since.elapsed() < IDLE_TIMEOUT);
                kept += idle.len();
                !idle.is_empty()
            });
        }
        self.count = kept;
    }
}

impl Pool {
    /// A connection to this receiver that can take a request, the last used first.
    pub(super) async fn take(&self, url: &Url) -> Option<Connection> {
        loop {
            let mut connection = self.lock().take(url)?;
            if connection.is_free().await {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request to this receiver, if it can take one.
    pub(super) async fn keep(self: &Arc<Self>, url: &Url, mut connection: Connection) {
        if !connection.is_free().await {
            return;
        }
        let mut shelves = self.lock();
        if shelves.count >= MAX_IDLE {
            return;
        }
        let idle = Idle { connection, since: Instant::now() };
        match shelves.of(url).get_mut(authority(url)) {
            Some(shelf) if shelf.len() >= MAX_IDLE_PER_HOST => return,
            Some(shelf) => shelf.push(idle),
            None => drop(shelves.of(url).insert(authority(url).to_owned(), vec![idle])),
        }
        shelves.count += 1;
        if !shelves.is_tended {
            shelves.is_tended = true;
            tokio::spawn(tend(Arc::downgrade(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // Nothing panics while it holds the lock; if something did, a connection is lost at worst.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what nobody has used for a while, for as long as there is anything.
async fn tend(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut shelves = pool.lock();
        shelves.drop_old();
        if shelves.count == 0 {
            shelves.is_tended = false;
            return;
        }
    }
}

/// Host, and port where it is not the scheme's.
pub(super) fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}
