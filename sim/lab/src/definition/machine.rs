//! The machine that both formats are lowered to, and that one interpreter carries out.
//!
//! A machine is a list of states; one is entered at a time, with the payload. Entering a state
//! does these in turn: `input` picks what the state sees; `parameters` shapes it; the step is
//! carried out; `selector` shapes its result; `result` says where in the payload it goes; `output`
//! picks what goes on to the next state. What SeBS has is a special case: its states see the whole
//! payload and replace it, or the array they went over.
//!
//! A step that fails is tried again as `retry` says, then caught as `catch` says, and otherwise
//! ends the machine with its failure. Machines within a state are carried out side by side, each
//! to its end; the failure of the first of them, in the order of the definition and not of time,
//! is the failure of the state. So results do not depend on timing.

use super::condition::Condition;
use super::path::Path;
use super::template::Template;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How deep machines may stand within each other. The reader of JSON allows 128 levels, and the
/// wordiest format needs four of them for a machine.
pub(super) const NESTING_MAX: usize = 24;
/// Most states that one machine may enter in a row, the number of history events at which AWS Step
/// Functions ends an execution: a loop that never ends must end somewhere.
pub(super) const ENTERED_MAX: u64 = 25_000;
/// Most machines that may be carried out side by side, over all nested maps together.
pub(super) const BREADTH_MAX: u64 = 100_000;
/// Most bytes of a payload as JSON.
pub(super) const PAYLOAD_BYTES_MAX: usize = 4 << 20;
/// How deep a payload may nest: the reader of JSON allows 128 levels, with the envelope of a call.
pub(super) const PAYLOAD_DEPTH_MAX: usize = 100;
/// The longest wait of a state, as AWS Step Functions has it.
pub(super) const WAIT_S_MAX: u64 = 99_999_999;

/// States, and where they begin. An index means a state of the same machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Machine {
    /// The state that is entered first.
    pub start: usize,
    /// The states, in the order of the document.
    pub states: Vec<State>,
}

/// A state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    /// Its name.
    pub name: Arc<str>,
    /// What it does with the payload before and after its step.
    pub flow: Flow,
    /// What it does.
    pub step: Step,
    /// When its step is tried again.
    pub retry: Vec<Retrier>,
    /// Where its failures lead.
    pub catch: Vec<Catcher>,
    /// The state that follows; none if this one ends the machine.
    pub next: Option<usize>,
}

/// How a payload goes through a state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Flow {
    /// What the state sees; `None` is an empty object.
    pub input: Option<Path>,
    /// What its step is given, made from what it sees.
    pub parameters: Option<Template>,
    /// What its result is, made from what the step gave.
    pub selector: Option<Template>,
    /// Where the result goes.
    pub result: Target,
    /// What goes on; `None` is an empty object.
    pub output: Option<Path>,
}

impl Default for Flow {
    /// The step sees the payload and its result replaces it.
    fn default() -> Flow {
        Flow {
            input: Some(Path::WHOLE),
            parameters: None,
            selector: None,
            result: Target::At(Path::WHOLE),
            output: Some(Path::WHOLE),
        }
    }
}

/// Where a result goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    /// Nowhere.
    Nowhere,
    /// To this place of the payload, which must fit.
    At(Path),
    /// To this place of the payload, whatever is there.
    Over(Path),
}

/// What a state does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Calls a function.
    Task(Call),
    /// Calls a function `count` times in a row, each time with what it gave before.
    Repeat(Call, u64),
    /// Gives a value, or what it was given.
    Pass(Option<Value>),
    /// Goes where the first case that holds says.
    Choice(Vec<(Condition, usize)>, Otherwise),
    /// Waits.
    Wait(Delay),
    /// Ends the machine with what it was given.
    Succeed,
    /// Ends the machine with a failure: its name and its cause.
    Fail(Text, Text),
    /// Carries machines out side by side, all with the same payload.
    Parallel(Vec<Machine>),
    /// Carries a machine out for each element of an array.
    Map(Box<Each>),
}

/// What a choice does if no case holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// Goes to a state.
    Go(usize),
    /// Ends the machine with the payload.
    End,
    /// Fails.
    Fail,
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    /// The function.
    pub function: Arc<str>,
    /// The time it may take.
    pub timeout: Option<Amount>,
    /// Whether the payload is in the field `Payload` of what the step is given, and the result is
    /// to be wrapped likewise, as `arn:aws:states:::lambda:invoke` has it.
    pub wrapped: bool,
}

/// A machine for each element of an array.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Each {
    /// Where the array is.
    pub items: Path,
    /// How many elements it has if the payload lacks it; set from the description of functions.
    pub default_length: u64,
    /// What an iteration is given; the element itself if there is none.
    pub item: Option<Template>,
    /// How many are carried out at a time; as many as there are if it is 0.
    pub width: Amount,
    /// The machine.
    pub machine: Machine,
}

/// A whole number (of seconds, or of iterations) that is written out or found in the payload.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Amount {
    /// Written out.
    Fixed(u64),
    /// Found by a path.
    Found(Path),
}

/// How long a state waits.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Delay {
    /// For a span.
    For(Amount),
    /// Until an instant of the calendar.
    Until(Text),
}

/// A text that is written out or found in the payload.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Text {
    /// Written out.
    Fixed(Arc<str>),
    /// Computed from the payload.
    Computed(super::expression::Expression),
}

/// When and how a step is tried again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Retrier {
    /// The errors it is for.
    pub errors: Vec<Arc<str>>,
    /// The pause before the first further attempt.
    pub interval: Duration,
    /// Most further attempts.
    pub attempts: u64,
    /// What each pause is to the one before.
    pub backoff: f64,
    /// The longest pause.
    pub interval_max: Option<Duration>,
}

impl Retrier {
    /// The pause before further attempt `number`, which counts from 1. Rounded to milliseconds.
    pub fn pause(&self, number: u64) -> Duration {
        let exponent = number.saturating_sub(1) as f64;
        let seconds = self.interval.as_secs_f64() * libm::pow(self.backoff, exponent);
        let most = self.interval_max.unwrap_or(Duration::from_secs(WAIT_S_MAX)).as_secs_f64();
        Duration::from_millis(libm::round(seconds.min(most) * 1e3) as u64)
    }
}

/// Where a failure leads.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Catcher {
    /// The errors it is for.
    pub errors: Vec<Arc<str>>,
    /// Where the error goes in the payload.
    pub result: Target,
    /// The state that follows.
    pub next: usize,
}

impl Machine {
    /// Calls `visit` for every state of this machine and of those within it, outermost first.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(&'a State)) {
        for state in &self.states {
            visit(state);
            match &state.step {
                Step::Parallel(machines) => {
                    machines.iter().for_each(|machine| machine.visit(visit));
                }
                Step::Map(each) => each.machine.visit(visit),
                _ => {}
            }
        }
    }

    /// Calls `visit` for every map of this machine and of those within it.
    pub fn visit_maps(&mut self, visit: &mut impl FnMut(&mut Each)) {
        for state in &mut self.states {
            match &mut state.step {
                Step::Parallel(machines) => {
                    machines.iter_mut().for_each(|machine| machine.visit_maps(visit));
                }
                Step::Map(each) => {
                    visit(each);
                    each.machine.visit_maps(visit);
                }
                _ => {}
            }
        }
    }
}

impl State {
    /// The function it calls, if it does.
    pub fn call(&self) -> Option<&Call> {
        match &self.step {
            Step::Task(call) | Step::Repeat(call, _) => Some(call),
            _ => None,
        }
    }

    /// For how many states it counts when it is entered: a repetition for each of its calls.
    pub fn weight(&self) -> u64 {
        match &self.step {
            Step::Repeat(_, count) => *count,
            _ => 1,
        }
    }

    /// Whether the machine may end with this state.
    pub fn may_end(&self) -> bool {
        match &self.step {
            Step::Choice(_, otherwise) => !matches!(otherwise, Otherwise::Go(_)),
            _ => self.next.is_none(),
        }
    }

    /// The states that may follow.
    pub fn successors(&self) -> Vec<usize> {
        let mut found: Vec<usize> = self.next.into_iter().collect();
        found.extend(self.catch.iter().map(|catcher| catcher.next));
        if let Step::Choice(cases, default) = &self.step {
            found.extend(cases.iter().map(|(_, next)| *next));
            if let Otherwise::Go(next) = default {
                found.push(*next);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound() {
        let retrier = Retrier {
            errors: vec!["States.ALL".into()],
            interval: Duration::from_secs(3),
            attempts: 5,
            backoff: 1.5,
            interval_max: Some(Duration::from_secs(6)),
        };
        let pauses: Vec<u128> = (1..=4).map(|number| retrier.pause(number).as_millis()).collect();
        assert_eq!(pauses, [3_000, 4_500, 6_000, 6_000]);
        let endless = Retrier { interval_max: None, backoff: 1e9, ..retrier };
        assert_eq!(endless.pause(99), Duration::from_secs(WAIT_S_MAX));
    }
}
