//! The right to work on something for a while.

use crate::ids::NodeId;

/// A job or delivery that this node may work on until the lease runs out.
///
/// Each claim raises `attempt`; whatever ends the work names the attempt, and the store lets only the newest one
/// change anything. So a node that was presumed dead and comes back can harm nothing (a fencing token).
#[derive(Debug, Clone, PartialEq)]
pub struct Lease<T> {
    /// What was leased, as it stood when it was claimed.
    pub item: T,
    /// Which claim this is, from 1.
    pub attempt: u32,
    /// Who holds it.
    pub holder: NodeId,
}
