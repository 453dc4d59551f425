//! The stage of this engine's tests.

#![allow(dead_code, unused_imports, reason = "each file of tests uses its part")]

use engine_netherite::Netherite;
use sim_model::application::Application;
use sim_world::stage::ClientHost;
pub use sim_world::stage::{Level, Outcome, Play, Stage, finding, request};
use std::time::Duration;

/// All ways to speculate.
pub const SPECULATION: [&[(&str, &str)]; 3] =
    [&[("speculation", "none")], &[("speculation", "local")], &[("speculation", "global")]];

/// Two hosts that start up for a second; requests go to the first.
pub fn stage(application: fn() -> Application) -> Stage {
    Stage {
        hosts: 2,
        client_host: ClientHost::First,
        settle: Duration::from_secs(1),
        rest: Duration::from_secs(240),
        tail: Duration::ZERO,
        ..Stage::new(|| Box::new(Netherite), application)
    }
}
