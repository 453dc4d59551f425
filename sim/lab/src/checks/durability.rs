//! Durability: what was said stays so. Once a run has come to rest, the states of all instances are read
//! again and held against everything that was told before.
//!
//! - An orchestration whose end the engine reported, or a client was told who waited for it, has ended in
//!   the same way.
//! - An instance whose start was accepted is known.
//! - An entity has the state that its last committed step left.
//!
//! These are `durability`. A rule of its own, `durable-reads`, is that an orchestration has ended as a client was
//! told who asked for its status: an engine may answer from memory what it has not made durable yet. It is there
//! if any client was told an end like that.
//!
//! All of them are read by one query; what is missing or different there is asked for once more by
//! itself, after faults for as long as the engine may take to be well again: a replica that was away may
//! not know yet. This happens after the event trail has ended and everything has been measured, so it
//! changes no digest and costs nothing that is reported. Instances that a client or the application
//! has removed or started again are left out: what was told of their former lives is no claim.
//!
//! What an engine does not promise is only observed: [`Promises`]. An engine that does not answer has contradicted
//! nothing: then the rules are not judged.

mod claims;

use super::{Check, Verdict};
use crate::recorder::hash_of_end;
use crate::run::rest::Healing;
use crate::workload::EntityStates;
pub(crate) use claims::Claims;
use claims::{Claim, Rule};
use rustc_hash::FxHashMap;
use sim_model::engine::{Client, InstanceState};
use sim_model::graph::{Graph, GraphRecorder, Progress, WorkItemKind};
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_world::kernel::Kernel;
use std::rc::Rc;
use std::time::Duration;

/// How long to wait before a question is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Most virtual time that reading everything again may take.
const READ_BOUND: Duration = Duration::from_secs(600);
/// How many instances are asked for once more.
const ASKED_AGAIN_MAX: usize = 32;

/// What an engine promises of what it says, in a run.
#[derive(Clone, Debug)]
pub(crate) struct Promises {
    /// That what was told stays so.
    pub(crate) told: bool,
    /// That what a status shows stays so.
    pub(crate) reads: bool,
    /// Why nothing is promised, if something went wrong outside of the fault budget.
    pub(crate) outside: Option<String>,
}

impl Promises {
    /// The check of a rule that was found to be broken like this.
    fn broken(&self, rule: Rule, detail: String) -> Check {
        let promised = match rule {
            Rule::Durability => self.told,
            Rule::DurableReads => self.reads,
        };
        match (promised, &self.outside) {
            (false, _) => Check::new(rule.name(), Verdict::Observed, detail),
            (true, Some(why)) => {
                Check::new(rule.name(), Verdict::Observed, format!("{why}: {detail}"))
            }
            (true, None) => Check::new(rule.name(), Verdict::Fail, detail),
        }
    }
}

/// What the last committed steps of these entities left, if each was told as one of its committed steps has left it.
pub(super) fn last_states(graph: &Graph, told: &EntityStates) -> Option<EntityStates> {
    let committed = Later::of(graph);
    let last = |(entity, state): (&EntityId, &Option<Payload>)| {
        let instance = entity.instance_id();
        let last = committed.last(&instance);
        let is_one = *state == last || committed.has(&instance, 0, state.as_ref());
        is_one.then(|| (entity.clone(), last))
    };
    told.iter().map(last).collect()
}

/// The check of a run that cannot be judged.
pub(crate) fn not_judged() -> Check {
    unjudged("the run did not come to rest".to_owned())
}

fn unjudged(why: String) -> Check {
    Check::new(Rule::Durability.name(), Verdict::Observed, format!("not judged: {why}"))
}

/// Reads everything again, and holds it against the claims: one check for each rule of which there are any.
pub(crate) async fn check(
    kernel: &Kernel,
    client: Rc<dyn Client>,
    graph: &GraphRecorder,
    claims: Claims,
    promises: Promises,
    healing: Healing,
) -> Vec<Check> {
    // The first question may go over a connection that broke long ago, unnoticed.
    let asking = async {
        loop {
            match client.query(Default::default()).await {
                Err(error) if error.is_transient() => kernel.sleep(ASK_AGAIN).await,
                answer => return answer,
            }
        }
    };
    let read = kernel.timeout(READ_BOUND, asking).await;
    let states: FxHashMap<InstanceId, InstanceState> = match read {
        Some(Ok(states)) => states.into_iter().collect(),
        Some(Err(error)) => return vec![unjudged(format!("nothing can be read: {error}"))],
        None => {
            let bound = READ_BOUND.as_secs();
            return vec![unjudged(format!("nothing was read within {bound} s"))];
        }
    };
    let mut reader = Reader { kernel, client, graph, states, healing, asked_again: 0 };
    let mut checks = Vec::new();
    for rule in [Rule::Durability, Rule::DurableReads] {
        let count = claims.count(rule);
        if rule == Rule::Durability || count > 0 {
            let breaches = reader.breaches(&claims, rule).await;
            checks.push(match breaches.first {
                None => Check::new(rule.name(), Verdict::Pass, rule.kept(count)),
                Some((first, history)) => {
                    let detail = format!("{} breaches, first: {first}", breaches.count);
                    promises.broken(rule, detail).with_history(history)
                }
            });
        }
    }
    checks
}

/// What contradicts the claims of a rule.
#[derive(Default)]
struct Breaches {
    count: usize,
    /// What is wrong, and the history that shows it.
    first: Option<(String, Vec<String>)>,
}

/// Reads what has become of instances.
struct Reader<'a> {
    kernel: &'a Kernel,
    client: Rc<dyn Client>,
    graph: &'a GraphRecorder,
    /// What one query told of all.
    states: FxHashMap<InstanceId, InstanceState>,
    healing: Healing,
    /// How many instances were asked for once more.
    asked_again: usize,
}

impl Reader<'_> {
    async fn breaches(&mut self, claims: &Claims, rule: Rule) -> Breaches {
        let mut found = Breaches::default();
        // What entities have done since is looked at only where something differs.
        let later = Later(FxHashMap::default());
        for (instance, said) in &claims.0 {
            let said: Vec<&Claim> = said.iter().filter(|claim| claim.rule() == rule).collect();
            let state = self.states.get(instance);
            if said.iter().all(|claim| contradiction(instance, claim, state, &later).is_none()) {
                continue;
            }
            // A query may miss what changes meanwhile: the instance itself has the last word.
            self.asked_again += 1;
            if self.asked_again > ASKED_AGAIN_MAX {
                found.count += 1;
            } else if let Some(breach) = self.ask_again(instance, &said).await {
                found.count += 1;
                found.first.get_or_insert(breach);
            }
        }
        found
    }

    /// What contradicts what was said of an instance, also after the engine had time to be well again.
    async fn ask_again(
        &mut self,
        instance: &InstanceId,
        said: &[&Claim],
    ) -> Option<(String, Vec<String>)> {
        let mut state = self.states.get(instance).cloned();
        loop {
            let asked = self.client.status(instance.clone());
            if let Some(Ok(answer)) = self.kernel.timeout(READ_BOUND, asked).await {
                state = answer;
            }
            let later = Later::of(&self.graph.graph());
            let (claim, problem) = said.iter().find_map(|claim| {
                Some((claim, contradiction(instance, claim, state.as_ref(), &later)?))
            })?;
            if !self.healing.goes_on().await {
                return Some((problem, history(instance, claim, state.as_ref(), self.kernel)));
            }
        }
    }
}

/// The states that entities had after each of their committed steps: an application may go on after a run has
/// come to rest.
struct Later(FxHashMap<InstanceId, Vec<Option<Payload>>>);

impl Later {
    fn of(graph: &Graph) -> Later {
        let mut later: FxHashMap<InstanceId, Vec<(u32, Option<Payload>)>> = FxHashMap::default();
        for step in graph.entities().steps() {
            let item = graph.item(step.item);
            if let (Progress::Committed(order), WorkItemKind::Step { instance, .. }) =
                (item.progress, item.kind)
            {
                let state = step.state.clone().filter(|_| !item.ends_life);
                later.entry(graph.instance(instance).clone()).or_default().push((order, state));
            }
        }
        let in_order = later.into_iter().map(|(instance, mut states)| {
            states.sort_by_key(|(order, _)| *order);
            (instance, states.into_iter().map(|(_, state)| state).collect())
        });
        Later(in_order.collect())
    }

    fn last(&self, instance: &InstanceId) -> Option<Payload> {
        self.0.get(instance).and_then(|states| states.last().cloned().flatten())
    }

    fn has(&self, instance: &InstanceId, after: usize, state: Option<&Payload>) -> bool {
        let states = self.0.get(instance).map_or(&[][..], |states| &states[..]);
        states.iter().skip(after).any(|later| later.as_ref() == state)
    }
}

fn shown(status: &RuntimeStatus) -> String {
    match status {
        RuntimeStatus::Completed(result) => {
            let result: String = result.as_str().chars().take(60).collect();
            format!("completed with {result}")
        }
        RuntimeStatus::Failed(error) => format!("failed with {error}"),
        RuntimeStatus::Terminated(reason) => format!("terminated: {reason}"),
        RuntimeStatus::Running => "running".to_owned(),
        RuntimeStatus::Suspended => "suspended".to_owned(),
    }
}

fn present(state: Option<&InstanceState>) -> String {
    state.map_or_else(|| "not known".to_owned(), |state| shown(&state.status))
}

/// What is wrong with the present state of an instance, if something is.
fn contradiction(
    instance: &InstanceId,
    claim: &Claim,
    state: Option<&InstanceState>,
    later: &Later,
) -> Option<String> {
    let status = state.map(|state| &state.status);
    match claim {
        Claim::Accepted(_) => {
            let problem = || format!("the start of {instance} was accepted, and it is not known");
            state.is_none().then(problem)
        }
        Claim::Told(told, _) | Claim::Read(told, _) => (status != Some(told))
            .then(|| format!("{instance} was told as {}, and is {}", shown(told), present(state))),
        Claim::Reported(hash, outcome, _) => {
            let same =
                status.is_some_and(|status| status.is_final() && hash_of_end(status) == *hash);
            let word = outcome.name();
            (!same).then(|| format!("{instance} was reported as {word}, and is {}", present(state)))
        }
        Claim::Entity(last, steps, _) => {
            let now = state.and_then(|state| state.entity_state.as_ref());
            let same = now == last.as_ref() || later.has(instance, *steps, now);
            let words = |state: Option<&Payload>| {
                let text = state.map_or("no state", |state| state.as_str());
                text.chars().take(60).collect::<String>()
            };
            (!same).then(|| {
                let (last, now) = (words(last.as_ref()), words(now));
                format!("the last committed step of {instance} left {last}, and it has {now}")
            })
        }
    }
}

fn history(
    instance: &InstanceId,
    claim: &Claim,
    state: Option<&InstanceState>,
    kernel: &Kernel,
) -> Vec<String> {
    let (at, said) = match claim {
        Claim::Accepted(at) => {
            (at, format!("a client is told that the start of {instance} is accepted"))
        }
        Claim::Told(status, at) | Claim::Read(status, at) => {
            (at, format!("a client is told that {instance} is {}", shown(status)))
        }
        Claim::Reported(_, outcome, at) => {
            (at, format!("the engine reports that {instance} is {}", outcome.name()))
        }
        Claim::Entity(state, _, at) => {
            let state = state.as_ref().map_or("no state", |state| state.as_str());
            (
                at,
                format!(
                    "the run has come to rest; the last committed step of {instance} left {state}"
                ),
            )
        }
    };
    let now = match state {
        None => format!("{instance} is not known"),
        Some(InstanceState { status, entity_state, last_updated, .. }) => {
            let entity = entity_state.as_ref().map_or("", |state| state.as_str());
            format!("{instance} is {} {entity}, last updated at {last_updated}", shown(status))
        }
    };
    vec![format!("{at}  {said}"), format!("{}  {now}", kernel.now())]
}

#[cfg(test)]
mod tests;
