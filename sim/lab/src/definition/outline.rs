//! A definition as lines for a person: states with their edges, and functions with their costs.

use super::behaviour::{Behaviour, CPU_MS_DEFAULT, Outcome};
use super::companion::LENGTH_DEFAULT;
use super::machine::*;
use super::problem::plain;
use super::{Definition, expression};
use sim_world::distribution::Latency;

/// A state of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateLine {
    /// How many states it is within.
    pub depth: usize,
    /// Its name; a branch stands in the list as `branch N`.
    pub name: String,
    /// What it does.
    pub what: String,
    /// Where it leads, in the order of precedence.
    pub edges: Vec<String>,
}

/// A function of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionLine {
    /// Its name.
    pub name: String,
    /// Whether nothing is said of it.
    pub assumed: bool,
    /// Core time of a call.
    pub cpu: String,
    /// Time a call waits.
    pub wait: String,
    /// Bytes a call reads.
    pub reads: u64,
    /// Bytes it writes.
    pub writes: u64,
    /// What it gives.
    pub result: String,
    /// When it fails.
    pub fails: String,
}

/// What is assumed since nothing says otherwise.
pub(super) fn assumptions(definition: &Definition) -> Vec<String> {
    let mut said = Vec::new();
    let functions = definition.functions.len();
    if !definition.described {
        said.push(format!(
            "nothing says what the functions do: each computes for {CPU_MS_DEFAULT} ms and echoes \
             its input (--functions FILE says otherwise)"
        ));
        said.push("executions begin with an empty object".to_owned());
    } else if !definition.assumed.is_empty() {
        let names: Vec<&str> = definition.assumed.iter().map(|name| &**name).collect();
        let of = definition.assumed.len();
        let names = names.join(", ");
        said.push(format!("{of} of {functions} functions have the default behaviour: {names}"));
    }
    let mut arrays: Vec<(String, u64)> = Vec::new();
    definition.machine.visit(&mut |state| {
        if let Step::Map(each) = &state.step {
            let array = (each.items.to_string(), each.default_length);
            if !arrays.contains(&array) {
                arrays.push(array);
            }
        }
    });
    if !arrays.is_empty() {
        let each = arrays.iter().map(|(path, length)| format!("{path} has {length}"));
        let each = each.collect::<Vec<_>>().join(", ");
        let usual = if definition.described { String::new() } else { usual_length() };
        said.push(format!("arrays that the payload lacks have a default length{usual}: {each}"));
    }
    said.iter().map(|line| plain(line)).collect()
}

fn usual_length() -> String {
    format!(" ({LENGTH_DEFAULT} unless the description says otherwise)")
}

/// The states of a machine, depth first.
pub(super) fn states(machine: &Machine) -> Vec<StateLine> {
    let mut lines = Vec::new();
    list(machine, 0, &mut lines);
    lines
}

fn list(machine: &Machine, depth: usize, lines: &mut Vec<StateLine>) {
    // The state that is entered first comes first, whatever the order of the document.
    let others = (0..machine.states.len()).filter(|index| *index != machine.start);
    for index in std::iter::once(machine.start).chain(others) {
        let Some(state) = machine.states.get(index) else { continue };
        let (name, what) = (plain(&state.name), plain(&what(state)));
        let edges = edges(state, machine).iter().map(|edge| plain(edge)).collect();
        lines.push(StateLine { depth, name, what, edges });
        match &state.step {
            Step::Parallel(branches) => {
                for (number, branch) in branches.iter().enumerate() {
                    let (name, what) = (format!("branch {number}"), String::new());
                    lines.push(StateLine { depth: depth + 1, name, what, edges: Vec::new() });
                    list(branch, depth + 2, lines);
                }
            }
            Step::Map(each) => list(&each.machine, depth + 1, lines),
            _ => {}
        }
    }
}

fn what(state: &State) -> String {
    match &state.step {
        Step::Task(call) => match &call.timeout {
            None => format!("calls {}", call.function),
            Some(timeout) => format!("calls {}, at most {} s", call.function, amount(timeout)),
        },
        Step::Repeat(call, count) => format!("calls {} {count} times in a row", call.function),
        Step::Pass(_) => "passes on".to_owned(),
        Step::Choice(..) => "chooses".to_owned(),
        Step::Wait(Delay::For(span)) => format!("waits {} s", amount(span)),
        Step::Wait(Delay::Until(instant)) => format!("waits until {}", text(instant)),
        Step::Succeed => "succeeds".to_owned(),
        Step::Fail(error, _) => format!("fails with {}", text(error)),
        Step::Parallel(branches) => format!("{} branches side by side", branches.len()),
        Step::Map(each) => {
            let width = match &each.width {
                Amount::Fixed(0) => "all at once".to_owned(),
                Amount::Fixed(1) => "one after the other".to_owned(),
                other => format!("{} at a time", amount(other)),
            };
            format!("for each of {}, {width}", each.items)
        }
    }
}

fn amount(amount: &Amount) -> String {
    match amount {
        Amount::Fixed(number) => number.to_string(),
        Amount::Found(path) => path.to_string(),
    }
}

fn text(text: &Text) -> String {
    match text {
        Text::Fixed(text) => text.to_string(),
        Text::Computed(expression::Expression::Path(path)) => path.to_string(),
        Text::Computed(_) => "a computed text".to_owned(),
    }
}

fn edges(state: &State, machine: &Machine) -> Vec<String> {
    let name = |index: usize| machine.states[index].name.to_string();
    let mut edges = Vec::new();
    for retrier in &state.retry {
        let times = match retrier.attempts {
            0 => "never".to_owned(),
            1 => "once".to_owned(),
            attempts => format!("{attempts} times"),
        };
        edges.push(format!("on {}: again, {times}", retrier.errors.join(" or ")));
    }
    for catcher in &state.catch {
        edges.push(format!("on {}: {}", catcher.errors.join(" or "), name(catcher.next)));
    }
    match &state.step {
        Step::Choice(cases, otherwise) => {
            edges.extend(
                cases.iter().map(|(condition, next)| format!("if {condition}: {}", name(*next))),
            );
            edges.push(match otherwise {
                Otherwise::Go(next) => format!("otherwise: {}", name(*next)),
                Otherwise::End => "otherwise: end".to_owned(),
                Otherwise::Fail => "otherwise: fails".to_owned(),
            });
        }
        Step::Fail(..) => {}
        _ => edges.push(state.next.map_or_else(|| "end".to_owned(), name)),
    }
    edges
}

/// The functions of a definition, by name.
pub(super) fn functions(definition: &Definition) -> Vec<FunctionLine> {
    let line = |(name, behaviour): (&std::sync::Arc<str>, &Behaviour)| FunctionLine {
        name: plain(name),
        assumed: definition.assumed.contains(name),
        cpu: time(&behaviour.cpu),
        wait: time(&behaviour.wait),
        reads: behaviour.read_bytes,
        writes: behaviour.write_bytes,
        result: match &behaviour.result {
            Outcome::Echo => "echo".to_owned(),
            Outcome::Bytes(bytes) => format!("{bytes} B"),
            Outcome::Template(_) => "template".to_owned(),
            Outcome::Merge(_) => "merge".to_owned(),
        },
        fails: behaviour.failure.as_ref().map_or_else(
            || "-".to_owned(),
            |failing| format!("{} % {}", failing.probability * 100.0, plain(&failing.error)),
        ),
    };
    definition.functions.iter().map(line).collect()
}

fn time(latency: &Latency) -> String {
    match latency {
        Latency::Constant { value_ms: 0.0 } => "-".to_owned(),
        Latency::Constant { value_ms } => format!("{value_ms} ms"),
        Latency::Exponential { mean_ms } => format!("mean {mean_ms} ms"),
        Latency::Uniform { low_ms, high_ms } => format!("{low_ms}-{high_ms} ms"),
        Latency::LogNormal { median_ms, .. } => format!("median {median_ms} ms"),
        Latency::Measured { .. } => format!("mean {:.1} ms", latency.mean_ms()),
    }
}
