//! What the store promises, each case on both databases: an SQLite file in a temporary folder and a fresh
//! database of a real PostgreSQL.

mod circuits;
mod claiming;
mod delivering;
mod endpoints;
mod finishing;
mod keeping;
mod keeping_uploads;
mod keys;
mod live;
mod looking;
mod opening;
mod places;
mod replaying;
mod submitting;
mod uploading;
mod waking;
mod world;

/// Makes each case a test on SQLite and one on PostgreSQL. Tasks run on several threads: what is meant to happen
/// at once does. However a case ends, each delivery is where it belongs.
macro_rules! on_both {
    ($($case:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                let world = crate::world::World::sqlite().await;
                let places = crate::places::Places::of(&world);
                super::$case(world).await;
                places.check().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                let world = crate::world::World::postgres().await;
                let places = crate::places::Places::of(&world);
                super::$case(world).await;
                places.check().await;
            })*
        }
    };
}
pub(crate) use on_both;
