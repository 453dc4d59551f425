//! A run that is over leaves nothing in memory. Campaigns and sweeps are many runs in one process: what one of
//! them keeps, ten thousand of them keep.
//!
//! The only test of its process, since it counts what all runs of the process have left.

use sim_lab::explore::Campaign;
use sim_lab::progress::Progress;
use sim_lab::{registry, run};
use sim_world::kernel::kernels_alive;
use std::collections::BTreeMap;

#[test]
fn a_run_leaves_no_world_behind() {
    let mut kept: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut before = kernels_alive();
    for engine in registry::engines() {
        let campaign = Campaign::of(engine.name());
        for seed in 1..=12 {
            let spec = campaign.draw(seed).expect("can be drawn").check().expect("valid");
            run::run(&spec, &Progress::default()).expect("carried out");
            let after = kernels_alive();
            if after > before {
                kept.entry(engine.name()).or_default().push(seed);
            }
            before = after;
        }
    }
    assert!(kept.is_empty(), "worlds are kept after runs of these seeds: {kept:?}");
}
