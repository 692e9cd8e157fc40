//! Attempts under way: each a task, and the place that it takes up until it is over, however it ends.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{SendError, SendOutcome};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::lanes::{Place, Turn};
use super::record::Ended;
use super::{DeliverLoop, Over};

#[derive(Default)]
pub(super) struct Sending {
    tasks: JoinSet<Over>,
    places: HashMap<Id, Place>,
}

impl Sending {
    pub(super) fn begin(&mut self, deliver: Arc<DeliverLoop>, turn: Turn, ended: mpsc::Sender<Ended>) {
        let place = turn.place.clone();
        let task = self.tasks.spawn(deliver.send(turn, ended));
        self.places.insert(task.id(), place);
    }

    /// The next that is over; `None` when none is under way. None is lost if this is dropped.
    pub(super) async fn next(&mut self) -> Option<Over> {
        loop {
            let joined = self.tasks.join_next_with_id().await?;
            if let Some(over) = self.over(joined) {
                return Some(over);
            }
        }
    }

    /// One more that is over by now.
    pub(super) fn try_next(&mut self) -> Option<Over> {
        loop {
            let joined = self.tasks.try_join_next_with_id()?;
            if let Some(over) = self.over(joined) {
                return Some(over);
            }
        }
    }

    /// Cuts off what is under way.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }

    /// One that panicked leaves its place like any other. Nothing of it is recorded: its lease runs out.
    fn over(&mut self, joined: Result<(Id, Over), JoinError>) -> Option<Over> {
        match joined {
            Ok((id, over)) => {
                self.places.remove(&id);
                Some(over)
            }
            Err(error) => {
                tracing::error!(%error, "an attempt broke off; its delivery waits until its lease has run out");
                let place = self.places.remove(&error.id())?;
                let outcome = SendOutcome::failed(SendError::Interrupted);
                Some(Over { place, began: Instant::now(), outcome, is_left_alone: false })
            }
        }
    }
}
