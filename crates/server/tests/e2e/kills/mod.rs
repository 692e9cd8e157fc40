//! `kill -9` of the shipped service at every point of a job's life that an onlooker can tell from the others, and at
//! every moment in which something comes to last. After each the service is started again, and the job must have
//! ended once, with one event, whose id and bytes are the same in every POST, and as many POSTs as its recorded
//! attempts tell of; the key's events have no gap, and nothing is left under way.
//!
//! [`blow`] kills, from outside: strace instead of a system call, a proxy around a COMMIT to PostgreSQL, the hosts of
//! source and receiver when they are asked. [`world`] has the life, [`onlooker`] tells the point, [`point`] lists all.

use std::collections::BTreeSet;

use blow::{Blow, Call};
use point::Point;
use world::World;

mod blow;
mod commits;
mod onlooker;
mod point;
mod world;

/// Blows that fall when the world outside has seen something.
const FROM_OUTSIDE: [Blow; 5] = [
    Blow::Answered,
    Blow::SourceAsked,
    Blow::Posted { is_replay: false },
    Blow::ReplayAnswered,
    Blow::Posted { is_replay: true },
];

/// Strikes with each of these until one does not fall, because the life is over before it; the points that were hit.
async fn strike_all(world: &mut World, blows: impl IntoIterator<Item = Blow>, hit: &mut BTreeSet<Point>) {
    for blow in blows {
        let Some(point) = world.strike(blow).await else { return };
        hit.insert(point);
    }
}

/// Blows of this number and each `step`th after it.
fn every(step: usize, blow: impl Fn(usize) -> Blow) -> impl Iterator<Item = Blow> {
    (1..).step_by(step).map(blow)
}

/// Strikes at calls or commits by their numbers are made in so many rounds at most. Sweeps and looks come in between
/// what belongs to the job, so that a number may stand for another moment in another life, and a moment be passed over.
const MOST_ROUNDS: usize = 4;

/// The points at which nothing was killed.
fn missed(hit: &BTreeSet<Point>) -> Vec<&'static str> {
    Point::ALL.into_iter().filter(|point| !hit.contains(point)).map(Point::name).collect()
}

async fn kill_on_sqlite(writes_between: usize) {
    let (mut world, mut hit) = (World::on_sqlite().await, BTreeSet::new());
    strike_all(&mut world, FROM_OUTSIDE, &mut hit).await;
    strike_all(&mut world, every(1, |number| Blow::InsteadOf(Call::Rename, number)), &mut hit).await;
    let writes = every(writes_between, |number| Blow::InsteadOf(Call::Write, number));
    strike_all(&mut world, writes, &mut hit).await;
    for _ in 0..MOST_ROUNDS {
        strike_all(&mut world, every(1, |number| Blow::InsteadOf(Call::Sync, number)), &mut hit).await;
        if missed(&hit).is_empty() {
            return;
        }
    }
    panic!("nothing was killed at: {:?}", missed(&hit));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_on_sqlite_nothing_is_lost_doubled_or_stuck() {
    kill_on_sqlite(23).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; `make kill-run` does it"]
async fn killed_at_every_single_write_on_sqlite_nothing_is_lost_doubled_or_stuck() {
    kill_on_sqlite(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_on_postgresql_nothing_is_lost_doubled_or_stuck() {
    let (mut world, mut hit) = (World::on_postgresql().await, BTreeSet::new());
    strike_all(&mut world, FROM_OUTSIDE, &mut hit).await;
    strike_all(&mut world, every(1, |number| Blow::InsteadOf(Call::Rename, number)), &mut hit).await;
    for _ in 0..MOST_ROUNDS {
        strike_all(&mut world, every(1, Blow::BeforeCommit), &mut hit).await;
        strike_all(&mut world, every(1, Blow::AfterCommit), &mut hit).await;
        if missed(&hit).is_empty() {
            return;
        }
    }
    panic!("nothing was killed at: {:?}", missed(&hit));
}
