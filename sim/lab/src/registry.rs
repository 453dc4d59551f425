//! The engines there are. This is the only place that names them.
//!
//! Everything that carries out a run by the name of an engine looks it up in a value, [`Engines`]: by
//! default in those that are built in. Whoever has an engine in a crate of their own adds it to such a
//! value, and runs, campaigns and regressions know it:
//!
//! ```
//! # mod my_crate { pub use engine_in_memory::InMemory as MyEngine; }
//! use sim_lab::explore::{Campaign, judge_with};
//! use sim_lab::registry::Engines;
//! use sim_model::engine::Engine;
//!
//! let engines = Engines::built_in().with(my_crate::MyEngine);
//! let run = Campaign::of(my_crate::MyEngine.name()).draw_with(&engines, 1)?;
//! assert_eq!(judge_with(&engines, &run, &[])?.failure, None);
//! # Ok::<(), sim_lab::run::RunError>(())
//! ```

use crate::suggest::UnknownName;
use sim_model::engine::Engine;
use sim_world::world::World;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// An engine for the simulated world; clones are the same engine.
#[derive(Clone)]
pub struct WorldEngine(Arc<dyn Engine<World> + Send + Sync>);

impl WorldEngine {
    fn new(engine: impl Engine<World> + Send + Sync + 'static) -> WorldEngine {
        WorldEngine(Arc::new(engine))
    }
}

impl fmt::Debug for WorldEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Deref for WorldEngine {
    type Target = dyn Engine<World> + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// Engines that runs can name.
#[derive(Clone, Debug)]
pub struct Engines(Vec<WorldEngine>);

impl Engines {
    /// Those that are built in.
    pub fn built_in() -> Engines {
        Engines(engines())
    }

    /// These and another one, in the place of the one of its name if there is one.
    #[must_use]
    pub fn with(mut self, engine: impl Engine<World> + Send + Sync + 'static) -> Engines {
        self.0.retain(|other| other.name() != engine.name());
        self.0.push(WorldEngine::new(engine));
        self.0.sort_by_key(|engine| engine.name());
        self
    }

    /// The engine of this name.
    ///
    /// # Errors
    /// If there is none; the error names the nearest.
    pub fn get(&self, name: &str) -> Result<WorldEngine, UnknownName> {
        match self.0.iter().find(|engine| engine.name() == name) {
            Some(engine) => Ok(engine.clone()),
            None => {
                Err(UnknownName::new("engine", name, self.0.iter().map(|engine| engine.name())))
            }
        }
    }
}

/// The engine whose results the others are compared with: it runs the model with nothing in
/// between.
pub const REFERENCE: &str = "in-memory";

/// The engines that are built in, sorted by name.
pub fn engines() -> Vec<WorldEngine> {
    vec![
        WorldEngine::new(engine_azure_storage::AzureStorage),
        WorldEngine::new(engine_in_memory::InMemory),
        WorldEngine::new(engine_internet_computer::InternetComputer),
        WorldEngine::new(engine_netherite::Netherite),
        WorldEngine::new(engine_sql_server::SqlServer),
        WorldEngine::new(engine_triggerflow::Triggerflow),
    ]
}

/// The engine of this name that is built in.
///
/// # Errors
/// If there is none; the error names the nearest.
pub fn engine(name: &str) -> Result<WorldEngine, UnknownName> {
    Engines::built_in().get(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_model::settings::Settings;

    #[test]
    fn engines_are_sorted_and_found_by_name() {
        let names: Vec<_> = engines().iter().map(|engine| engine.name()).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert!(names.contains(&REFERENCE), "{names:?}");
        for name in names {
            assert_eq!(engine(name).ok().map(|engine| engine.name()), Some(name));
        }
    }

    #[test]
    fn an_engine_from_elsewhere_takes_the_place_of_its_namesake() {
        let all = Engines::built_in().with(engine_in_memory::InMemory);
        assert_eq!(all.0.len(), engines().len());
        assert!(all.0.is_sorted_by_key(|engine| engine.name()));
        let unknown = all.get("in-memroy").expect_err("no such engine").to_string();
        assert!(unknown.contains(REFERENCE), "{unknown}");
    }

    #[test]
    fn every_declared_default_is_valid() {
        for engine in engines() {
            let _ = Settings::defaults(engine.settings());
            assert!(!engine.summary().contains('\n'), "{}", engine.name());
        }
    }
}
