//! Campaigns: that they find what is switched off, make it small, and do not depend on how they are carried
//! out. What was found and kept in `experiments/regressions` is repeated.

use sim_lab::explore::{self, Campaign, Expectation, Regression, State};
use sim_lab::fault::Chaos;
use sim_lab::registry::{self, Engines, REFERENCE, WorldEngine};
use sim_lab::run::RunError;
use sim_model::engine::{DeployError, Deployment, Engine, FaultBudget, Guarantees, TaskHub};
use sim_model::settings::{Setting, Settings};
use sim_world::world::World;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

fn carried_on(campaign: &Campaign, runs: u64, threads: usize, interruptions: bool) -> State {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    pool.install(|| {
        let mut state = State::new(campaign, 1);
        while state.done < runs {
            explore::carry_on(&mut state, runs, |_| Ok::<_, RunError>(!interruptions))
                .expect("the campaign can be run");
            // What is taken up again was written down.
            state = serde_json::from_str(&state.to_json()).expect("its own text");
        }
        state
    })
}

#[test]
fn a_campaign_depends_on_neither_threads_nor_interruptions() {
    let campaign = Campaign { chaos: Some(Chaos::Rough), ..Campaign::of("netherite") };
    let alone = carried_on(&campaign, 80, 1, false);
    assert_eq!(alone, carried_on(&campaign, 80, 2, true));
    assert_eq!((alone.done, alone.coverage.runs), (80, 80));
    assert!(alone.faults > 80);
    let unlike = carried_on(&Campaign { chaos: Some(Chaos::Calm), ..campaign }, 80, 2, false);
    assert_ne!(alone.digest, unlike.digest);
}

#[test]
fn an_ablation_is_found_and_made_small() {
    let settings = BTreeMap::from([("netherite.dedup".to_owned(), "false".to_owned())]);
    let campaign = Campaign { settings, ..Campaign::of("netherite") };
    let state = carried_on(&campaign, 192, 2, false);
    assert!(state.failed() > 0, "deduplication is switched off, and nobody noticed");
    for finding in &state.findings {
        assert!(finding.minimal);
        assert!(finding.regression.run.faults.len() <= finding.faults_before);
        let replayed = explore::replay(&finding.regression).expect("it can be run");
        assert_eq!(replayed.differences, Vec::<String>::new());
        // No fault can be taken out.
        for left_out in 0..finding.regression.run.faults.len() {
            let mut run = finding.regression.run.clone();
            run.faults.remove(left_out);
            let judgement = explore::judge(&run).expect("it can be run");
            let failed = judgement.failure.map(|failure| Expectation::Fail(failure.check));
            assert_ne!(failed.as_ref(), Some(&finding.regression.expect), "fault {left_out}");
        }
    }
}

#[test]
fn a_campaign_draws_no_settings_with_which_less_is_promised() {
    let settings_of = |campaign: &Campaign| -> Vec<(String, String)> {
        let specs = (1..=64).map(|seed| campaign.draw(seed).expect("a run"));
        specs.flat_map(|spec| spec.settings).collect()
    };
    let drawn = settings_of(&Campaign::of("triggerflow"));
    let is_discipline = |(key, _): &&(String, String)| key == "triggerflow.discipline";
    assert!(drawn.iter().filter(is_discipline).all(|(_, value)| value == "v4"), "{drawn:?}");
    assert!(drawn.iter().any(|(key, _)| key == "triggerflow.acknowledgement"), "{drawn:?}");
    // Who asks for less gets it.
    let asked = ("triggerflow.discipline".to_owned(), "v1".to_owned());
    let settings = BTreeMap::from([asked.clone()]);
    let weak = Campaign { settings, ..Campaign::of("triggerflow") };
    assert_eq!(settings_of(&weak).iter().filter(|pair| **pair == asked).count(), 64);
}

#[test]
fn a_campaign_tells_what_it_did_not_reach() {
    let campaign = Campaign {
        workload: Some("hello:length=3".to_owned()),
        vary_settings: false,
        ..Campaign::of("netherite")
    };
    let state = carried_on(&campaign, 4, 1, false);
    let unreached: Vec<&str> = state.coverage.unreached().collect();
    assert!(unreached.contains(&"instances_evicted"), "{unreached:?}");
    assert!(!unreached.contains(&"log_commits"));
}

#[test]
fn what_is_expected_survives_being_printed() {
    for text in ["pass", "fail: completion"] {
        let expectation: Expectation = text.parse().expect(text);
        assert_eq!(expectation.to_string(), text);
    }
    for bad in ["", "fail", "fail: ", "passed"] {
        let told = bad.parse::<Expectation>().expect_err(bad).to_string();
        assert!(told.contains("the name of a check"), "{told}");
    }
}

#[test]
fn regressions_come_to_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/regressions");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let regression = Regression::load(&path).expect("a regression");
        let text = regression.to_toml();
        let again: Regression = toml::from_str(&text).expect("its own text");
        assert_eq!(again, regression);
        let replayed = explore::replay(&regression).expect("it can be run");
        assert_eq!(replayed.differences, Vec::<String>::new(), "{}", path.display());
    }
}

/// An engine from elsewhere, on whose first host something waits for no time at all, again and again.
struct Spinning(WorldEngine);

impl Engine<World> for Spinning {
    fn name(&self) -> &'static str {
        "spinning"
    }

    fn summary(&self) -> &'static str {
        "never rests"
    }

    fn guarantees(&self, settings: &Settings) -> Guarantees {
        self.0.guarantees(settings)
    }

    fn fault_budget(&self, settings: &Settings) -> FaultBudget {
        self.0.fault_budget(settings)
    }

    fn settings(&self) -> &'static [Setting] {
        self.0.settings()
    }

    fn deploy(
        &self,
        world: &World,
        deployment: Deployment,
    ) -> Result<Rc<dyn TaskHub>, DeployError> {
        let kernel = world.kernel().clone();
        world.hosts()[0].spawn(async move {
            kernel.sleep(Duration::from_secs(1)).await;
            loop {
                kernel.sleep(Duration::ZERO).await;
            }
        });
        self.0.deploy(world, deployment)
    }
}

#[test]
fn a_livelock_in_an_engine_from_elsewhere_is_a_finding_and_no_hang() {
    let reference = registry::engine(REFERENCE).expect("it is built in");
    let engines = Engines::built_in().with(Spinning(reference));
    let campaign = Campaign { vary_settings: false, ..Campaign::of("spinning") };
    let found = explore::first_failure_with(&engines, &campaign, 1, 2).expect("it can be run");
    let found = found.expect("the first seed fails");
    assert_eq!((found.spec.seed, found.failure.check.as_str()), (1, "stuck"));
    let told = &found.failure.detail;
    assert!(told.contains("virtual time stands still at 1.000000000 s"), "{told}");
    assert!(told.contains("a task of worker-0"), "{told}");
    let unknown = campaign.draw(1).expect_err("it is not built in").to_string();
    assert!(unknown.contains("spinning"), "{unknown}");
}
