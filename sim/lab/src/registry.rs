//! The engines there are. This is the only place that names them.

use crate::suggest::UnknownName;
use sim_model::engine::Engine;
use sim_world::world::World;

/// An engine for the simulated world.
pub type WorldEngine = Box<dyn Engine<World>>;

/// The engine whose results the others are compared with: it runs the model with nothing in
/// between.
pub const REFERENCE: &str = "in-memory";

/// All engines, sorted by name.
pub fn engines() -> Vec<WorldEngine> {
    vec![
        Box::new(engine_azure_storage::AzureStorage),
        Box::new(engine_in_memory::InMemory),
        Box::new(engine_internet_computer::InternetComputer),
        Box::new(engine_netherite::Netherite),
        Box::new(engine_sql_server::SqlServer),
        Box::new(engine_triggerflow::Triggerflow),
    ]
}

/// The engine of this name.
///
/// # Errors
/// If there is none; the error names the nearest.
pub fn engine(name: &str) -> Result<WorldEngine, UnknownName> {
    let mut all = engines();
    match all.iter().position(|engine| engine.name() == name) {
        Some(index) => Ok(all.swap_remove(index)),
        None => Err(UnknownName::new("engine", name, all.iter().map(|engine| engine.name()))),
    }
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
    fn every_declared_default_is_valid() {
        for engine in engines() {
            let _ = Settings::defaults(engine.settings());
            assert!(!engine.summary().contains('\n'), "{}", engine.name());
        }
    }
}
