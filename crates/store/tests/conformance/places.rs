//! What holds at the end of every case: a pending delivery waits in the queue or is leased, one of the two, as the next
//! of its attempts and for its own endpoint; any other does neither.

use std::sync::Arc;

use store::DatabaseUrl;
use tempfile::TempDir;

use crate::world::{World, count};

/// Those that are not so.
const MISPLACED: &str = "WITH places AS (SELECT delivery_id, endpoint_id, number FROM delivery_queue \
         UNION ALL SELECT delivery_id, endpoint_id, number FROM delivery_leases) \
     SELECT (SELECT COUNT(*) FROM deliveries d WHERE (SELECT COUNT(*) FROM places p WHERE p.delivery_id = d.id) \
             <> CASE d.state WHEN 'pending' THEN 1 ELSE 0 END) \
         + (SELECT COUNT(*) FROM places p WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.id = p.delivery_id \
             AND d.endpoint_id = p.endpoint_id AND d.attempts = p.number - 1))";

pub(crate) struct Places {
    url: DatabaseUrl,
    _dir: Option<Arc<TempDir>>,
}

impl Places {
    pub(crate) fn of(world: &World) -> Self {
        Self { url: world.url.clone(), _dir: world.dir.clone() }
    }

    pub(crate) async fn check(self) {
        assert_eq!(count(&self.url, MISPLACED).await, 0, "deliveries are not where they belong");
    }
}
