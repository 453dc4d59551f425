//! The scale controller of the platform: reads the table of loads and reports what it would do.
//!
//! It runs outside of the hosts: it has to be there when none of them is. What it votes for changes the
//! level `recommended_workers`, from the number of hosts that run the hub when it looks.

use crate::scaling::{CHANCE_TO_SHRINK, PartitionLoad, READ_INTERVAL, Vote, vote};
use sim_model::codec;
use sim_model::engine::{Observer, RECOMMENDED_WORKERS};
use sim_world::table::Table;
use sim_world::world::World;

/// The partition key of all rows.
pub(crate) const TABLE_KEY: &str = "netherite";

/// Reads and votes, for ever. `workers` says how many hosts run the hub.
pub(crate) async fn run(
    world: World,
    table: Table,
    observer: Observer,
    workers: impl Fn() -> usize,
) {
    let mut draws = world.seeds().stream("scale controller");
    loop {
        world.kernel().sleep(READ_INTERVAL).await;
        let Ok(read) = table.query_partition(world.client(), TABLE_KEY).await else { continue };
        let decode = |entity: &sim_world::table::Entity| -> PartitionLoad {
            codec::decode(&entity.body).expect("invariant: a row is read as it was written")
        };
        let rows: Vec<PartitionLoad> = read.value.iter().map(decode).collect();
        let (now, workers) = (world.kernel().now(), workers());
        let recommended = match vote(&rows, workers, now, draws.below(CHANCE_TO_SHRINK) == 0) {
            Vote::Add => workers + 1,
            Vote::Keep => workers,
            Vote::Remove => workers - 1,
            Vote::ToZero => 0,
        };
        observer.level(RECOMMENDED_WORKERS, recommended as u64);
    }
}
