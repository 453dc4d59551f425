//! Claims that hold, and claims that a faulty store contradicts.

use super::claims::entity_states;
use super::*;
use crate::checks::scene::Scene;
use crate::recorder::Outcome;
use futures_util::FutureExt;
use sim_model::engine::{ClientAnswer, ClientMessage, InstanceQuery, InstanceState, StartRequest};
use sim_model::time::Timestamp;
use sim_world::kernel::{self, KernelOptions};
use std::cell::Cell;
use std::collections::BTreeMap;

/// A store that answers what a test says; queries miss what only a status read shows.
struct Store {
    queried: States,
    read: States,
    /// Status reads that still know nothing.
    stale: Cell<u32>,
}

type States = Vec<(InstanceId, InstanceState)>;

fn answer<T: 'static>(value: T) -> ClientAnswer<T> {
    async move { Ok(value) }.boxed_local()
}

impl Client for Store {
    fn start(&self, _: StartRequest) -> ClientAnswer<()> {
        answer(())
    }

    fn send(&self, _: InstanceId, _: ClientMessage) -> ClientAnswer<()> {
        answer(())
    }

    fn status(&self, instance: InstanceId) -> ClientAnswer<Option<InstanceState>> {
        if let Some(left) = self.stale.get().checked_sub(1) {
            self.stale.set(left);
            return answer(None);
        }
        let found = self.read.iter().find(|(key, _)| *key == instance);
        answer(found.map(|(_, state)| state.clone()))
    }

    fn wait(&self, _: InstanceId) -> ClientAnswer<InstanceState> {
        unreachable!("nobody waits")
    }

    fn query(&self, _: InstanceQuery) -> ClientAnswer<Vec<(InstanceId, InstanceState)>> {
        answer(self.queried.clone())
    }

    fn purge(&self, _: InstanceId) -> ClientAnswer<bool> {
        answer(false)
    }
}

fn done(result: i64) -> RuntimeStatus {
    RuntimeStatus::Completed(number(result))
}

fn number(value: i64) -> Payload {
    Payload::encode(&value).expect("a number")
}

fn state(key: &str, status: RuntimeStatus, entity: Option<i64>) -> (InstanceId, InstanceState) {
    let state = InstanceState {
        name: "X".into(),
        created: Timestamp::ZERO,
        last_updated: Timestamp::from_secs(1),
        status,
        custom_status: None,
        entity_state: entity.map(number),
    };
    (InstanceId::new(key), state)
}

/// The check of a run in which this was said of `a` and of the counter `x`, whose last step left 1.
fn judge(said: Vec<Claim>, queried: States, read: States) -> Check {
    judge_healing(said, queried, read, (0, Duration::ZERO))
}

/// The same where the store knows nothing for some status reads, and may take so long to be well again.
fn judge_healing(
    said: Vec<Claim>,
    queried: States,
    read: States,
    (stale, heals_within): (u32, Duration),
) -> Check {
    let promises = Promises { told: true, reads: true, outside: None };
    let mut checks = judge_promises(said, (queried, read), (stale, heals_within), promises);
    assert_eq!(checks.len(), 1, "nobody asked for a status: {checks:?}");
    checks.pop().expect("there is one")
}

/// All checks, of an engine that promises this.
fn judge_promises(
    said: Vec<Claim>,
    (queried, read): (States, States),
    (stale, heals_within): (u32, Duration),
    promises: Promises,
) -> Vec<Check> {
    kernel::on_fresh_thread(|| {
        let main = |kernel: Kernel| async move {
            let scene = Scene::new();
            scene.round(10, "caller", &vec![], "x", ("Add", 1), None);
            let mut claims = BTreeMap::from([(InstanceId::new("a"), said)]);
            for (instance, state, steps) in entity_states(&scene.graph.graph()) {
                let instance = scene.graph.graph().instance(instance).clone();
                claims.insert(instance, vec![Claim::Entity(state, steps, Timestamp::ZERO)]);
            }
            let client = Rc::new(Store { queried, read, stale: Cell::new(stale) });
            let healing = Healing::within(&kernel, heals_within);
            check(&kernel, client, &scene.graph, Claims(claims), promises, healing).await
        };
        kernel::simulate(KernelOptions::with_seed(1), main).expect("it ends").0
    })
}

fn said() -> Vec<Claim> {
    vec![
        Claim::Accepted(Timestamp::from_secs(1)),
        Claim::Told(done(7), Timestamp::from_secs(2)),
        Claim::Reported(hash_of_end(&done(7)), Outcome::Completed, Timestamp::from_secs(2)),
    ]
}

fn counter(sum: Option<i64>) -> (InstanceId, InstanceState) {
    state("@Counter@x", RuntimeStatus::Running, sum)
}

#[test]
fn what_is_as_it_was_told_passes() {
    let states = vec![state("a", done(7), None), counter(Some(1))];
    let check = judge(said(), states.clone(), states);
    assert_eq!((check.verdict, &*check.detail), (Verdict::Pass, "2 instances are as was told"));
}

#[test]
fn what_a_query_misses_is_asked_for_once_more() {
    let states = vec![state("a", done(7), None), counter(Some(1))];
    assert_eq!(judge(said(), Vec::new(), states).verdict, Verdict::Pass);
}

#[test]
fn what_is_not_known_yet_is_asked_for_while_the_engine_heals() {
    let states = vec![state("a", done(7), None), counter(Some(1))];
    let judged =
        |heals_within| judge_healing(said(), Vec::new(), states.clone(), (3, heals_within)).verdict;
    assert_eq!(judged(Duration::ZERO), Verdict::Fail);
    assert_eq!(judged(Duration::from_secs(2)), Verdict::Fail, "asked again after 1 s and 2 s");
    assert_eq!(judged(Duration::from_secs(30)), Verdict::Pass);
}

#[test]
fn an_end_that_was_forgotten_or_changed_is_found() {
    for (wrong, told) in [
        (None, "the start of a was accepted, and it is not known"),
        (Some(RuntimeStatus::Running), "a was told as completed with 7, and is running"),
        (Some(done(8)), "a was told as completed with 7, and is completed with 8"),
    ] {
        let mut states = vec![counter(Some(1))];
        states.extend(wrong.map(|status| state("a", status, None)));
        let check = judge(said(), states.clone(), states);
        assert_eq!(check.verdict, Verdict::Fail);
        assert_eq!(check.detail, format!("1 breaches, first: {told}"));
        assert_eq!(check.history.len(), 2, "what was told, and what is: {:?}", check.history);
    }
}

#[test]
fn what_a_status_showed_is_a_rule_of_its_own() {
    let read = |result| Claim::Read(done(result), Timestamp::from_secs(2));
    let judged = |said: Vec<Claim>, (told, reads, outside): (bool, bool, Option<&str>)| {
        let states = vec![state("a", done(7), None), counter(Some(1))];
        let promises = Promises { told, reads, outside: outside.map(str::to_owned) };
        let checks = judge_promises(said, (states.clone(), states), (0, Duration::ZERO), promises);
        let verdict = |check: Check| (check.name, check.verdict, check.detail);
        checks.into_iter().map(verdict).collect::<Vec<_>>()
    };
    let named = |name: &str, verdict, detail: &str| (name.to_owned(), verdict, detail.to_owned());
    let kept = named("durability", Verdict::Pass, "2 instances are as was told");
    let told = named("durability", Verdict::Pass, "1 instances are as was told");
    let wrong = "1 breaches, first: a was told as completed with 8, and is completed with 7";

    let mut all = said();
    all.push(read(7));
    let as_read = named("durable-reads", Verdict::Pass, "1 orchestrations ended as was read");
    assert_eq!(judged(all, (true, true, None)), [kept.clone(), as_read]);
    for (promised, verdict) in [(true, Verdict::Fail), (false, Verdict::Observed)] {
        let mut all = said();
        all.push(read(8));
        let lost = named("durable-reads", verdict, wrong);
        assert_eq!(judged(all, (true, promised, None)), [kept.clone(), lost]);
    }
    let outside = Some("outside of the fault budget (disk-corruption)");
    let lost = format!("outside of the fault budget (disk-corruption): {wrong}");
    let lost = named("durable-reads", Verdict::Observed, &lost);
    assert_eq!(judged(vec![read(8)], (true, true, outside)), [told, lost]);
    let changed = judged(vec![Claim::Told(done(8), Timestamp::ZERO)], (true, true, outside));
    assert_eq!(changed.len(), 1, "nobody asked for a status");
    assert_eq!(changed[0].1, Verdict::Observed, "{changed:?}");
}

#[test]
fn a_report_of_the_engine_is_a_claim_too() {
    let report = said().pop().into_iter().collect();
    let states = vec![state("a", done(8), None), counter(Some(1))];
    let check = judge(report, states.clone(), states);
    assert!(check.detail.contains("a was reported as completed, and is completed with 8"));
}

#[test]
fn an_entity_that_lost_its_last_step_is_found() {
    for lost in [None, Some(0)] {
        let states = vec![state("a", done(7), None), counter(lost)];
        let check = judge(said(), states.clone(), states);
        assert_eq!(check.verdict, Verdict::Fail);
        let problem = "the last committed step of @Counter@x left 1, and it has";
        assert!(check.detail.contains(problem), "{}", check.detail);
    }
}

#[test]
fn what_was_told_late_is_what_an_earlier_step_left() {
    let scene = Scene::new();
    let stored = scene.round(10, "a", &vec![], "x", ("Add", 1), None);
    scene.round(20, "b", &stored, "x", ("Add", 2), None);
    let told = |key: &str, sum: Option<i64>| {
        EntityStates::from([(EntityId::new("Counter", key), sum.map(number))])
    };
    let last = |told: EntityStates| last_states(&scene.graph.graph(), &told);
    assert_eq!(last(told("x", Some(3))), Some(told("x", Some(3))));
    assert_eq!(last(told("x", Some(1))), Some(told("x", Some(3))), "an earlier step has left it");
    assert_eq!(last(told("x", Some(2))), None, "no step has left it");
    assert_eq!(last(told("x", None)), None, "its first step left a state");
    assert_eq!(last(told("y", None)), Some(told("y", None)), "it has had no step");
}
