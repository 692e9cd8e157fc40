//! The service's own deliver loop and sender, with the settings that it has by default.

use std::time::Duration;

use domain::{CircuitPolicy, NodeId, RetryPolicy};
use egress::{Egress, EgressConfig, GuardConfig};
use engine::deliver::DeliverParts;
use engine::{CancellationToken, DeliverConfig, DeliverLoop, random_id};
use tokio::task::JoinHandle;

use crate::Outcome;
use crate::rows::Rows;

/// A loop at work.
pub(crate) struct Delivering {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Delivering {
    pub(crate) fn start(rows: &Rows) -> Outcome<Self> {
        let guard = GuardConfig { allow_networks: vec!["127.0.0.0/8".parse()?], ..GuardConfig::default() };
        let config = EgressConfig { guard, ..EgressConfig::default() };
        let egress = Egress::new(config, rows.clock())?;
        let parts = DeliverParts {
            store: rows.store.clone(),
            notifier: egress.webhooks.clone(),
            clock: rows.clock(),
            node: NodeId::from_random(random_id()),
        };
        let config = DeliverConfig {
            slots: 512,
            slots_per_key: 256,
            window_start: 4,
            window_most: 64,
            circuit: CircuitPolicy {
                open_after: 5,
                first_pause: Duration::from_secs(10),
                longest_pause: Duration::from_secs(600),
                jitter: 0.1,
                disable_after: Duration::from_secs(5 * 24 * 3600),
            },
            lease: Duration::from_secs(90),
            live_timeout: Duration::from_secs(5),
            undelivered_margin: Duration::from_secs(3600),
            undelivered_at_most: Duration::from_secs(80 * 3600),
            retry: RetryPolicy::standard(),
            max_retry_after: Duration::from_secs(24 * 3600),
            poll: Duration::from_secs(1),
            // What is under way to a mute receiver at the end of a measurement is of no use to anybody.
            grace: Duration::from_millis(200),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(DeliverLoop::new(parts, config).run(stop.clone()));
        Ok(Self { stop, running })
    }

    pub(crate) async fn stop(self) -> Outcome<()> {
        self.stop.cancel();
        Ok(self.running.await?)
    }
}
