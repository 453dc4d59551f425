//! Every safety mechanism of v4 that crashes can put to the test, switched off: the checks catch it.

mod stage;

use sim_model::application::{ActivityContext, Application};
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::orchestration::OrchestrationContext;
use sim_model::payload::Payload;
use sim_model::workflow::{State, StateMachine, Transform, Workflow};
use sim_world::seed::SeedTree;
use stage::{Outcome, Play, Stage, finding, stage};
use std::rc::Rc;
use std::time::Duration;

type Sets = &'static [(&'static str, &'static str)];

const FLOWS: u32 = 60;
/// Calls that one chain makes, of an activity and of an entity each.
const CALLS: u32 = 6;

/// Ten states that pass a value on: events between triggers.
fn passes() -> Workflow {
    let state = |number: u32| {
        let output: Transform = Rc::new(|input: &Payload| Ok(input.clone()));
        let next = (number < 9).then(|| format!("s{}", number + 1).into());
        (format!("s{number}").into(), State::Pass { output, next })
    };
    Workflow::Machine(Rc::new(StateMachine {
        start: "s0".into(),
        states: (0..10).map(state).collect(),
    }))
}

fn application() -> Application {
    let mut app = Application::new();
    app.activity("Work", |cx: ActivityContext, millis: u64| async move {
        cx.wait(Duration::from_millis(millis)).await;
        Ok(1_u32)
    });
    app.workflow("Passes", passes());
    app.entity::<u32>("Counter").operation(
        "Add",
        |_: &mut EntityContext, count: &mut u32, amount: u32| {
            *count += amount;
            Ok(*count)
        },
    );
    app.orchestration("Calls", |ctx: OrchestrationContext, calls: u32| async move {
        for _ in 0..calls {
            ctx.call_activity::<u32>("Work", &1_u64).await?;
            ctx.call_entity::<u32>(&EntityId::new("Counter", "all"), "Add", &1_u32).await?;
        }
        Ok(calls)
    });
    app
}

/// Workflows start one after the other while hosts crash at moments that the seed says; how many have ended
/// a while after.
fn crashed(sets: Sets, seed: u64, name: &'static str) -> Outcome<(usize, u32)> {
    Stage { hosts: 4, seed, sets, ..stage(application) }.play(async move |play: Rc<Play>| {
        let crashes = async {
            let mut draws = SeedTree::new(seed).stream("crashes");
            play.kernel.sleep(Duration::from_millis(300)).await;
            for host in [0, 2, 3, 0, 2, 3] {
                play.kernel.sleep(Duration::from_millis(draws.below(250))).await;
                play.crash_for(host, Duration::from_millis(50)).await;
            }
        };
        let client = play.hub.client(1);
        let starts = async {
            for index in 0..FLOWS {
                let request = stage::request(&format!("flow-{index}"), name, CALLS);
                client.start(request).await.expect("accepted");
                play.kernel.sleep(Duration::from_millis(20)).await;
            }
        };
        futures_util::join!(crashes, starts);
        play.kernel.sleep(Duration::from_secs(300)).await;
        let counter = EntityId::new("Counter", "all").instance_id();
        let state = client.status(counter).await.expect("an answer");
        let count = state.and_then(|state| state.entity_state).map(|state| state.decode());
        (play.completions.borrow().len(), count.and_then(Result::ok).unwrap_or_default())
    })
}

/// Whether everything ended, and no rule was broken. The functions of a host that has died run again, some
/// of them after they had ended.
fn is_sound(outcome: &Outcome<(usize, u32)>, name: &str) -> bool {
    let (ended, counted) = outcome.value;
    let calls = if name == "Calls" { FLOWS * CALLS } else { 0 };
    let rules = outcome.findings.iter().enumerate();
    let kept = |(rule, finding): (usize, &Option<_>)| rule == finding::TASKS || finding.is_none();
    ended == FLOWS as usize && counted == calls && rules.into_iter().all(kept)
}

/// With the mechanism every seed is sound, without it one of them is not.
fn is_caught(name: &'static str, without: Sets) {
    const WITH: Sets = &[("scaling", "standalone")];
    let seeds = || 1..=4;
    assert!(seeds().all(|seed| is_sound(&crashed(WITH, seed, name), name)), "{name} is sound");
    assert!(
        seeds().any(|seed| !is_sound(&crashed(without, seed, name), name)),
        "{without:?} is caught"
    );
}

#[test]
fn without_dedup_an_event_that_is_published_again_counts_twice() {
    is_caught("Calls", &[("scaling", "standalone"), ("dedup", "false")]);
}

#[test]
fn without_ordered_commits_contexts_are_lost_after_their_acknowledgement() {
    is_caught("Passes", &[("scaling", "standalone"), ("ordered_commit", "false")]);
}

#[test]
fn events_between_triggers_are_lost_unless_the_broker_has_them() {
    is_caught("Passes", &[("scaling", "standalone"), ("broker_local_events", "false")]);
}

#[test]
fn what_is_invoked_before_its_trigger_is_registered_is_invoked_by_two() {
    is_caught("Calls", &[("scaling", "standalone"), ("register_before_invoke", "false")]);
}

#[test]
fn without_retries_functions_die_with_their_hosts() {
    is_caught("Calls", &[("scaling", "standalone"), ("function_retries", "false")]);
}
