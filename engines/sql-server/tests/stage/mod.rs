//! The stage of this engine's tests.

#![allow(dead_code, unused_imports, reason = "each file of tests uses its part")]

use engine_sql_server::SqlServer;
use sim_model::application::Application;
use sim_world::machine::Machine;
pub use sim_world::stage::{Outcome, Play, Stage, finding, request};

/// One host.
pub fn stage(application: fn() -> Application) -> Stage {
    Stage::new(|| Box::new(SqlServer), application)
}

/// The machine of the database.
pub fn database(play: &Play) -> Machine {
    play.world.machines().into_iter().next().expect("the engine rents one")
}
