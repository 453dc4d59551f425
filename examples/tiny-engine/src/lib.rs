//! The engine `tiny`: a complete engine to read and to start from. The book takes it apart
//! (`docs/book/own-engine.md`).
//!
//! **What it models.** The history of each instance is one blob in cloud storage; its queue of messages
//! is in the memory of one process for all hosts. A step reads the blob, replays the code, executes, and
//! writes the blob; then its messages leave. So it costs a read and a write for each step, and nothing
//! for a message or an activity.
//!
//! **Assumptions.** Instances are spread over the hosts by the hash of their key; an activity runs on the
//! host of its caller. Clients live in the same process: their requests take no time. Messages between
//! hosts take none either, and are lost with a host.
//!
//! **What it promises.** Each message takes effect once, and commits follow their causes, as long as
//! hosts keep their memory. It does not promise durability: nobody reads a blob after a crash.
//!
//! | file | holds |
//! |---|---|
//! | `lib.rs` | what the engine declares |
//! | `hub.rs` | queues, steps, activities, timers |
//! | `blobs.rs` | reading and writing histories |
//! | `client.rs` | requests of clients |
#![forbid(unsafe_code)]

mod blobs;
mod client;
mod hub;

use sim_model::engine::{
    Delivery, DeployError, Deployment, Engine, FaultBudget, FaultClass, Guarantees, TaskHub,
};
use sim_model::settings::{Purpose, Setting, SettingKind, Settings};
use sim_world::world::World;
use std::rc::Rc;
use std::time::Duration;

/// What can be set: a mechanism that is there for speed, and one that is there for safety.
const SETTINGS: &[Setting] = &[
    Setting {
        key: "keep_cursors",
        kind: SettingKind::Flag,
        default: "false",
        purpose: Purpose::Performance,
        help: "keep instances in memory between steps: no blob is read and no code replayed",
    },
    Setting {
        key: "write_before_send",
        kind: SettingKind::Flag,
        default: "true",
        purpose: Purpose::Safety,
        help: "let the messages of a step leave only when its history is written",
    },
];

/// The engine.
pub struct Tiny;

impl Engine<World> for Tiny {
    fn name(&self) -> &'static str {
        "tiny"
    }

    fn summary(&self) -> &'static str {
        "an example: a blob for each instance's history, queues in memory"
    }

    fn guarantees(&self, _settings: &Settings) -> Guarantees {
        Guarantees {
            steps: Delivery::ExactlyOnce,
            tasks: Delivery::ExactlyOnce,
            // Declared with the mechanism off, too: then the checks have to say that it is broken.
            causally_consistent_commit: true,
            fifo_between_instances: true,
            durable: false,
            durable_reads: false,
            lossless: true,
            serial_instances: true,
        }
    }

    fn fault_budget(&self, _settings: &Settings) -> FaultBudget {
        // Not in it: what takes memory (crashes), and what lets a write take effect after the one that
        // followed it (lost answers, late effects, slow services), since a write has no condition.
        FaultBudget {
            survives: vec![
                FaultClass::HostPause,
                FaultClass::Throttling,
                FaultClass::SlowCpu,
                FaultClass::ClockError,
            ],
            heals_within: Duration::from_secs(120),
        }
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn deploy(
        &self,
        world: &World,
        deployment: Deployment,
    ) -> Result<Rc<dyn TaskHub>, DeployError> {
        Ok(Rc::new(hub::Hub::new(world, deployment)))
    }
}
