//! Chaos: fault plans that are made from a seed.
//!
//! A plan draws, for a run, *some* of the kinds of faults that the engine's budget covers (each with
//! probability one half, at least one), and spreads a number of faults over them: runs under few kinds meet
//! what runs under all kinds hide from each other (swarm testing: Groce et al., ISSTA 2012). How many
//! faults there are is the level's; how long they last and how bad they are is drawn over the ranges
//! below, evenly by the logarithm, so that there are many short ones.
//!
//! Ranges are \[assumption\]s: around the timeouts of engines and services, so that about as many faults are
//! over before anybody gives up as after.

use super::expand::Targets;
use super::kinds::{KINDS, Kind, Lasting};
use super::plan::{Entry, FaultPlan, HowOften, What, When};
use super::value::{Target, ValueKind};
use crate::spec::SpecError;
use serde_with::{DeserializeFromStr, SerializeDisplay};
use sim_model::engine::FaultBudget;
use sim_world::seed::SeedTree;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

/// How many faults a plan has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SerializeDisplay, DeserializeFromStr)]
pub enum Chaos {
    /// One to three.
    Calm,
    /// Four to twelve.
    Rough,
    /// 15 to 40.
    Storm,
}

impl Chaos {
    /// All levels.
    pub const ALL: [Chaos; 3] = [Chaos::Calm, Chaos::Rough, Chaos::Storm];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Chaos::Calm => "calm",
            Chaos::Rough => "rough",
            Chaos::Storm => "storm",
        }
    }

    /// How many faults a plan has, both included.
    pub const fn faults(self) -> (u64, u64) {
        match self {
            Chaos::Calm => (1, 3),
            Chaos::Rough => (4, 12),
            Chaos::Storm => (15, 40),
        }
    }

    /// The plan of a run with this seed, for faults that begin `during` a span of the load: of the kinds that
    /// the budget covers, and of those only `kinds`, if there are some.
    pub fn plan(
        self,
        seed: u64,
        budget: &FaultBudget,
        kinds: Option<&[&'static Kind]>,
        targets: &Targets,
        during: Range<Duration>,
    ) -> FaultPlan {
        let mut stream = SeedTree::new(seed).stream("chaos");
        let eligible: Vec<&'static Kind> = drawable(budget, targets, kinds).collect();
        if eligible.is_empty() {
            return FaultPlan::default();
        }
        let always = stream.below(eligible.len() as u64) as usize;
        let swarm: Vec<&'static Kind> = (eligible.iter().enumerate())
            .filter(|(index, _)| stream.chance(0.5) || *index == always)
            .map(|(_, kind)| *kind)
            .collect();
        let (low, high) = self.faults();
        let mut times = vec![0; swarm.len()];
        for _ in 0..low + stream.below(high - low + 1) {
            times[stream.below(swarm.len() as u64) as usize] += 1;
        }
        let entry = |(kind, times): (&&'static Kind, u64)| Entry {
            place: format!("chaos {}: {}", self.name(), kind.name),
            what: What::Kind(kind),
            when: When::Random {
                how_often: HowOften::Times(times, times),
                during: Some(during.clone()),
            },
            all_targets: false,
            fields: recipe(kind),
        };
        let entries = swarm.iter().zip(times).filter(|(_, times)| *times > 0).map(entry);
        FaultPlan { entries: entries.collect() }
    }
}

impl fmt::Display for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Chaos {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Chaos, SpecError> {
        let level = Chaos::ALL.into_iter().find(|level| level.name() == text);
        level.ok_or_else(|| SpecError::unknown("level of chaos", text, Chaos::ALL.map(Chaos::name)))
    }
}

/// The kinds that chaos can draw: of the budget, of `kinds` if there are some, and with something that they
/// could concern.
pub fn drawable(
    budget: &FaultBudget,
    targets: &Targets,
    kinds: Option<&[&'static Kind]>,
) -> impl Iterator<Item = &'static Kind> {
    let asked = move |kind: &Kind| {
        kinds.is_none_or(|kinds| kinds.iter().any(|asked| asked.name == kind.name))
    };
    KINDS.iter().filter(move |kind| asked(kind) && budget.covers(kind.class) && fits(kind, targets))
}

/// Whether there is anything that such a fault could concern.
fn fits(kind: &Kind, targets: &Targets) -> bool {
    kind.keys.iter().all(|key| match key.kind {
        ValueKind::Pattern(Target::Replica) => {
            targets.groups.iter().any(|group| group.tolerates > 0)
        }
        ValueKind::Pattern(target) => targets.names(target).is_none_or(|names| !names.is_empty()),
        ValueKind::Host => targets.hosts > 0,
        _ => true,
    })
}

/// The ranges that a fault of a kind is drawn from.
fn recipe(kind: &Kind) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for key in kind.keys {
        let range = match (key.name, key.kind) {
            ("host", _) => "*",
            ("to", _) | ("one_way", _) | ("count", _) => continue,
            (_, ValueKind::Pattern(_) | ValueKind::Behaviour) => "*",
            ("probability", _) => "0.01..0.5",
            ("by", _) => "10ms..10s",
            ("jitter", _) => "1ms..1s",
            ("factor", _) => "1.5..50",
            ("offset", _) => "-30s..30s",
            ("drift_ppm", _) => "-10000..10000",
            ("free_bytes", _) => "0..1000000",
            (name, kind) => panic!("a range for {name}, {kind:?}"),
        };
        fields.insert(key.name.to_owned(), range.to_owned());
    }
    if kind.lasting == Lasting::Yes {
        fields.insert("for".to_owned(), "100ms..90s".to_owned());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Effect;
    use sim_model::engine::FaultClass;
    use sim_world::fault::ReplicaGroup;
    use std::collections::BTreeSet;

    fn targets() -> Targets {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Targets {
            hosts: 3,
            nodes: names(&["worker-0", "worker-1", "worker-2", "queue", "database"]),
            computers: names(&["worker-0", "worker-1", "worker-2", "database"]),
            machines: names(&["database"]),
            services: names(&["queue"]),
            disks: names(&["database"]),
            replicas: names(&["replica-0-0", "replica-0-1"]),
            groups: vec![ReplicaGroup {
                members: names(&["replica-0-0", "replica-0-1"]),
                tolerates: 1,
                behaviours: &["withhold", "lie"],
            }],
        }
    }

    fn budget(survives: &[FaultClass]) -> FaultBudget {
        FaultBudget { survives: survives.to_vec(), heals_within: Duration::from_secs(1) }
    }

    /// Every kind has ranges, and what is drawn from them is valid.
    #[test]
    fn every_kind_of_the_budget_is_drawn_by_some_seed() {
        let everything = budget(&FaultClass::ALL);
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            for level in Chaos::ALL {
                let during = Duration::from_secs(1)..Duration::from_secs(31);
                let plan = level.plan(seed, &everything, None, &targets(), during.clone());
                let faults =
                    plan.expand(seed, &targets(), Duration::ZERO, &[]).expect("a valid plan");
                assert!(faults.len() as u64 <= level.faults().1);
                assert!(faults.iter().all(|fault| during.contains(&fault.at())));
                let under = super::super::budget_under(&everything, &faults, &targets());
                assert!(under.covers(FaultClass::Byzantine), "no more than are tolerated");
                for fault in &faults {
                    // What ends when it begins has no effect.
                    if let Effect::World(trouble) = fault.effect() {
                        let lasts = fault.kind().lasting == Lasting::Yes;
                        assert_eq!(lasts, !trouble.happens_once(), "{fault}");
                    }
                }
                seen.extend(faults.iter().map(|fault| fault.kind().name));
            }
        }
        let all: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn nothing_outside_the_budget_is_drawn() {
        let some = budget(&[FaultClass::HostCrash, FaultClass::MachineCrash]);
        let no_machines = Targets { machines: Vec::new(), ..targets() };
        for seed in 0..50 {
            let during = Duration::ZERO..Duration::from_secs(30);
            let plan = Chaos::Rough.plan(seed, &some, None, &no_machines, during);
            let faults =
                plan.expand(seed, &no_machines, Duration::ZERO, &[]).expect("a valid plan");
            assert!(faults.iter().all(|fault| fault.kind().name == "crash"));
        }
    }

    #[test]
    fn of_the_budget_only_what_is_asked_for_is_drawn() {
        let some = budget(&[FaultClass::HostCrash, FaultClass::HostPause]);
        let kinds: Vec<&'static Kind> =
            KINDS.iter().filter(|kind| ["pause", "outage"].contains(&kind.name)).collect();
        let during = || Duration::ZERO..Duration::from_secs(30);
        for seed in 0..50 {
            let plan = Chaos::Rough.plan(seed, &some, Some(&kinds), &targets(), during());
            let faults = plan.expand(seed, &targets(), Duration::ZERO, &[]).expect("a valid plan");
            assert!(!faults.is_empty());
            assert!(faults.iter().all(|fault| fault.kind().name == "pause"));
            assert!(
                Chaos::Rough.plan(seed, &some, Some(&[]), &targets(), during()).entries.is_empty()
            );
        }
    }
}
