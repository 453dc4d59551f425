//! From a campaign and a seed to a specification.
//!
//! Workloads are small and cover the programming model: chains of activities, fan-outs, entities,
//! critical sections, timers, activities that wait and read files, workflows as data. Settings for
//! performance, and those that choose a mechanism, are changed with probability one quarter each, as in
//! swarm testing: a mechanism that hides what another does wrong is sometimes away. Sizes are drawn from
//! those that the engine names for small runs. Settings that the engine cannot carry together are drawn
//! again, then left at their defaults.

use crate::checks;
use crate::fault::{self, Chaos, Kind};
use crate::load::LoadSpec;
use crate::registry::Engines;
use crate::run::RunError;
use crate::spec::{RunSpec, SpecError};
use serde::{Deserialize, Serialize};
use sim_model::engine::Engine;
use sim_model::settings::{Purpose, Setting, SettingKind, Settings};
use sim_world::seed::{SeedTree, Stream};
use sim_world::world::World;
use std::collections::BTreeMap;

/// Workloads with their loads.
const WORKLOADS: [(&str, &str); 12] = [
    ("hello:length=3", "batch:12"),
    ("hello:length=5", "open:rate=3,duration=8s"),
    ("bank", "batch:8"),
    ("bank:variant=random,accounts=4", "open:rate=1,duration=8s"),
    ("semaphore", "batch:5"),
    ("periodic:ticks=3", "batch:5"),
    ("fanout:width=12", "batch:3"),
    ("sequence", "batch:8"),
    ("store", "batch:6"),
    ("filehash:files=6", "batch:2"),
    ("dag:shape=joined,length=5,width=6,sleep=500ms", "batch:4"),
    ("passes:states=6", "batch:8"),
];
/// How often settings are drawn before the defaults are taken.
const TRIES: u32 = 4;

/// Which runs are to be explored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// The engine.
    pub engine: String,
    /// Settings of the engine that every run has, by `engine.key`.
    pub settings: BTreeMap<String, String>,
    /// The level of chaos; drawn for each run if `None`.
    pub chaos: Option<Chaos>,
    /// Whether chaos draws faults that the engine does not promise to survive, too.
    #[serde(default)]
    pub beyond_budget: bool,
    /// The kinds of faults that chaos draws from, as far as they are in the engine's budget; all of the
    /// budget if `None`.
    #[serde(default)]
    pub kinds: Option<Vec<String>>,
    /// Names of checks that count as if the engine promised their rules.
    #[serde(default)]
    pub strict: Vec<String>,
    /// The workload; drawn for each run if `None`.
    pub workload: Option<String>,
    /// Whether settings are drawn, and sizes from those that the engine names for small runs.
    pub vary_settings: bool,
}

impl Campaign {
    /// All of an engine.
    pub fn of(engine: &str) -> Campaign {
        Campaign {
            engine: engine.to_owned(),
            settings: BTreeMap::new(),
            chaos: None,
            beyond_budget: false,
            kinds: None,
            strict: Vec::new(),
            workload: None,
            vary_settings: true,
        }
    }

    /// The run of a seed, with its faults.
    ///
    /// # Errors
    /// If the campaign's own choices cannot be run.
    pub fn draw(&self, seed: u64) -> Result<RunSpec, RunError> {
        self.draw_with(&Engines::built_in(), seed)
    }

    /// [`Campaign::draw`], for one of these engines.
    ///
    /// # Errors
    /// As for [`Campaign::draw`].
    pub fn draw_with(&self, engines: &Engines, seed: u64) -> Result<RunSpec, RunError> {
        let mut stream = SeedTree::new(seed).stream("explore");
        let engine = engines.get(&self.engine).map_err(crate::spec::SpecError::from)?;
        let (workload, load) = self.workload(&mut stream)?;
        let mut spec = RunSpec {
            engine: self.engine.clone(),
            workload,
            load,
            hosts: 1 + stream.below(3) as u32 + 1,
            partitions: 1 + stream.below(6) as u32,
            seed,
            ..RunSpec::default()
        };
        let level = Chaos::ALL[stream.below(Chaos::ALL.len() as u64) as usize];
        let chaos = self.chaos.unwrap_or(level);
        for attempt in 0..=TRIES {
            spec.settings.clone_from(&self.settings);
            if self.vary_settings && attempt < TRIES {
                for setting in engine.settings() {
                    let key = format!("{}.{}", self.engine, setting.key);
                    let value = vary(setting, &mut stream);
                    let value = value.filter(|value| self.promises(&*engine, setting.key, value));
                    if let Some(value) = value {
                        spec.settings.entry(key).or_insert(value);
                    }
                }
                for (key, values) in engine.small_scales() {
                    let value = values[stream.below(values.len() as u64) as usize].to_owned();
                    spec.settings.entry(format!("{}.{key}", self.engine)).or_insert(value);
                }
            }
            let kinds = self.kinds()?;
            let asked = fault::Asked {
                chaos: Some(chaos),
                beyond_budget: self.beyond_budget,
                kinds,
                ..fault::Asked::default()
            };
            match fault::make_with(engines, &spec, &asked) {
                Ok(made) => {
                    spec.faults = made.faults;
                    break;
                }
                Err(_) if attempt < TRIES => {}
                Err(error) => return Err(error),
            }
        }
        Ok(spec)
    }

    /// Whether the engine promises as much with `key` set to `value` as without: otherwise nothing that it does
    /// then could fail.
    fn promises(&self, engine: &dyn Engine<World>, key: &str, value: &str) -> bool {
        let mut settings = Settings::defaults(engine.settings());
        for (key, value) in &self.settings {
            let key = key.strip_prefix(&self.engine).and_then(|key| key.strip_prefix('.'));
            // What cannot be set is refused when the run is checked.
            let _ = key.map(|key| settings.set(key, value));
        }
        let usual = engine.guarantees(&settings);
        settings.set(key, value).is_ok() && engine.guarantees(&settings).include(&usual)
    }

    /// Checks that what is named exists.
    ///
    /// # Errors
    /// The first name that does not; the error names the nearest.
    pub fn check(&self) -> Result<(), SpecError> {
        self.kinds()?;
        match self.strict.iter().find(|name| !checks::NAMES.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(SpecError::unknown("check", name, checks::NAMES)),
        }
    }

    /// The kinds that chaos draws from.
    ///
    /// # Errors
    /// If there is no kind of a name; the error names the nearest.
    pub fn kinds(&self) -> Result<Option<Vec<&'static Kind>>, SpecError> {
        let one = |name: &String| {
            let unknown = || {
                SpecError::unknown("kind of fault", name, fault::KINDS.iter().map(|kind| kind.name))
            };
            fault::kind(name).ok_or_else(unknown)
        };
        self.kinds.as_ref().map(|names| names.iter().map(one).collect()).transpose()
    }

    fn workload(
        &self,
        stream: &mut Stream,
    ) -> Result<(crate::spec::WorkloadSpec, LoadSpec), RunError> {
        let (name, load) = WORKLOADS[stream.below(WORKLOADS.len() as u64) as usize];
        Ok(match &self.workload {
            None => (name.parse()?, load.parse()?),
            Some(text) => {
                let known = WORKLOADS.iter().find(|(name, _)| name == text);
                let workload: crate::spec::WorkloadSpec = text.parse()?;
                let load = match known {
                    Some((_, load)) => load.parse()?,
                    None => LoadSpec::Batch {
                        size: 8,
                        launcher: Some(0),
                        settle: crate::load::SETTLE_DEFAULT,
                    },
                };
                (workload, load)
            }
        })
    }
}

/// Another value of a setting, or `None` to leave it: of those for performance, and of parameters those that
/// switch or choose a mechanism.
fn vary(setting: &Setting, stream: &mut Stream) -> Option<String> {
    // Every setting draws, so that a new one changes as little as possible of older seeds' runs.
    let (changes, choice) = (stream.chance(0.25), stream.unit());
    let is_mechanism = matches!(setting.kind, SettingKind::Flag | SettingKind::Choice(_));
    let varies = match setting.purpose {
        Purpose::Performance => true,
        Purpose::Parameter => is_mechanism,
        Purpose::Safety => false,
    };
    if !varies || !changes {
        return None;
    }
    match setting.kind {
        SettingKind::Flag => Some((setting.default != "true").to_string()),
        SettingKind::Choice(words) => {
            Some(words[(choice * words.len() as f64) as usize].to_owned())
        }
        SettingKind::Count { min, max } => {
            // Small numbers, where batches and caches are at their limits.
            let most = max.min(16);
            Some(
                (min + (choice * (most.saturating_sub(min) + 1) as f64) as u64)
                    .min(max)
                    .to_string(),
            )
        }
        SettingKind::Span { .. } => None,
    }
}
