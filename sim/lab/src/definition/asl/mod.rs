//! Documents of the Amazon States Language (the public specification, states-language.net, with
//! the limits and the reserved errors of AWS Step Functions where it leaves them open).
//!
//! A document is read to the types of this folder, in which states still name each other, and then
//! lowered to a [`Machine`]. Assumptions:
//!
//! * The query language is JSONPath. JSONata is refused.
//! * The last segment of a `Resource` names the function; `state.rs` says how.
//! * Branches and iterations run to their end even if one of them fails, as tasks of a Durable
//!   Functions orchestration do; the first failure in the order of the document counts.
//! * `TimeoutSeconds` of a task counts the time of its function, not that of the engine around it,
//!   so that results do not depend on the engine.
//! * Fields of the language that have no effect here are accepted with a warning.

mod choice;
mod errors;
mod state;

use super::condition::Condition;
use super::fields::Fields;
use super::links::{self, Link, Named, Names};
use super::machine::*;
use super::path::Path;
use super::problem::{Findings, Place, quoted};
use super::template::Template;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most letters of a state's name, as AWS Step Functions has it.
const NAME_LETTERS_MAX: usize = 80;

/// A machine of the language.
type Document = links::Document<Body>;

/// What is common to all states, as far as it applies to their type.
#[derive(Debug)]
struct Body {
    flow: Flow,
    kind: Kind,
    retry: Vec<Retrier>,
    catch: Vec<Catch>,
    next: Option<Link>,
}

/// What a state does.
#[derive(Debug)]
enum Kind {
    Task(Call),
    Pass(Option<Value>),
    Choice(Vec<(Condition, Link)>, Option<Link>),
    Wait(Delay),
    Succeed,
    Fail(Text, Text),
    Parallel(Vec<Document>),
    Map(Box<Map>),
}

#[derive(Debug)]
struct Map {
    items: Path,
    item: Option<Template>,
    width: Amount,
    processor: Document,
}

#[derive(Debug)]
struct Catch {
    errors: Vec<Arc<str>>,
    result: Target,
    next: Link,
}

/// Reads a document. What is wrong is noted; the machine is of use only if nothing was.
pub(super) fn machine(document: &Value, findings: &Findings) -> Machine {
    let nothing = Machine { start: 0, states: Vec::new() };
    let Some(mut fields) = Fields::of(document, Place::root(), findings) else { return nothing };
    fields.text("Comment", "a text");
    if let Some(version) = fields.text("Version", "the text 1.0").filter(|text| *text != "1.0") {
        fields.problem("Version", format!("found {}, expected 1.0", quoted(version)));
    }
    fields.not_simulated(&[("TimeoutSeconds", "the execution takes the time it takes")]);
    let machine = read(&mut fields, 1);
    fields.finish("machine");
    let Some(machine) = machine else { return nothing };
    check_names(&machine, &mut BTreeMap::new(), findings);
    lower(&machine, findings)
}

/// Reads `StartAt` and `States`, which may stand among other fields.
fn read(fields: &mut Fields<'_>, depth: usize) -> Option<Document> {
    if depth > NESTING_MAX {
        fields.problem_here(format!("machines stand at most {NESTING_MAX} deep within each other"));
        return None;
    }
    query_language(fields);
    let start = fields.required_text("StartAt", "the name of the first state");
    let start = start.map(|name| Link { name: name.to_owned(), place: fields.at("StartAt") });
    let states = fields.required_object("States", "an object of states by name")?;
    if states.is_empty() {
        fields.problem("States", "is empty, expected at least one state");
    }
    let (place, findings) = (fields.at("States"), fields.findings());
    let states = states.iter().map(|(name, value)| {
        let place = place.field(name);
        if name.is_empty() || name.chars().count() > NAME_LETTERS_MAX {
            let said = format!("the name of a state has 1 to {NAME_LETTERS_MAX} letters");
            findings.problem(&place, said);
        }
        let body = state::read(value, place.clone(), findings, depth);
        Named { name: name.clone(), place, body }
    });
    Some(Document { start, states: states.collect() })
}

/// Reads the machine within a state: a branch, or the processor of a map.
fn read_within(value: &Value, place: Place, findings: &Findings, depth: usize) -> Option<Document> {
    let mut fields = Fields::of(value, place, findings)?;
    fields.text("Comment", "a text");
    if let Some(config) = fields.take("ProcessorConfig") {
        let mut config = Fields::of(config, fields.at("ProcessorConfig"), findings)?;
        let mode = config.text("Mode", "INLINE or DISTRIBUTED");
        if mode.is_some_and(|mode| mode == "DISTRIBUTED") {
            config.warning("Mode", "is not simulated: iterations are part of the execution");
        } else if let Some(other) = mode.filter(|mode| *mode != "INLINE") {
            let said = format!("found {}, expected INLINE or DISTRIBUTED", quoted(other));
            config.problem("Mode", said);
        }
        let instead = "iterations are part of the execution";
        config.not_simulated(&[("ExecutionType", instead)]);
        config.finish("processor configuration");
    }
    let machine = read(&mut fields, depth);
    fields.finish("machine");
    machine
}

fn query_language(fields: &mut Fields<'_>) {
    let expected = "JSONPath";
    if let Some(other) = fields.text("QueryLanguage", expected).filter(|text| *text != expected) {
        let said = format!("{} is not simulated, expected JSONPath", quoted(other));
        fields.problem("QueryLanguage", said);
    }
}

/// Checks that no name stands for two states: the language wants them unique in the document.
fn check_names<'a>(
    document: &'a Document,
    known: &mut BTreeMap<&'a str, &'a Place>,
    findings: &Findings,
) {
    for state in &document.states {
        if let Some(first) = known.insert(&state.name, &state.place) {
            let said = format!("the name is taken by {first}: names are unique in a document");
            findings.problem(&state.place, said);
        }
        match state.body.as_ref().map(|body| &body.kind) {
            Some(Kind::Parallel(branches)) => {
                branches.iter().for_each(|branch| check_names(branch, known, findings));
            }
            Some(Kind::Map(map)) => check_names(&map.processor, known, findings),
            _ => {}
        }
    }
}

fn lower(document: &Document, findings: &Findings) -> Machine {
    links::lower(document, findings, |name, body, names| lower_state(name, body, names, findings))
}

fn lower_state(name: &str, body: &Body, names: &Names<'_>, findings: &Findings) -> State {
    let step = match &body.kind {
        Kind::Task(call) => Step::Task(call.clone()),
        Kind::Pass(result) => Step::Pass(result.clone()),
        Kind::Choice(cases, default) => {
            let case =
                |(condition, link): &(Condition, Link)| (condition.clone(), names.resolve(link));
            let default = names.resolve_any(default.as_ref());
            let otherwise = default.map_or(Otherwise::Fail, Otherwise::Go);
            Step::Choice(cases.iter().map(case).collect(), otherwise)
        }
        Kind::Wait(delay) => Step::Wait(delay.clone()),
        Kind::Succeed => Step::Succeed,
        Kind::Fail(error, cause) => Step::Fail(error.clone(), cause.clone()),
        Kind::Parallel(branches) => {
            Step::Parallel(branches.iter().map(|branch| lower(branch, findings)).collect())
        }
        Kind::Map(map) => Step::Map(Box::new(Each {
            items: map.items.clone(),
            default_length: 0,
            item: map.item.clone(),
            width: map.width.clone(),
            machine: lower(&map.processor, findings),
        })),
    };
    let catch = body.catch.iter().map(|catch| Catcher {
        errors: catch.errors.clone(),
        result: catch.result.clone(),
        next: names.resolve(&catch.next),
    });
    State {
        name: name.into(),
        flow: body.flow.clone(),
        step,
        retry: body.retry.clone(),
        catch: catch.collect(),
        next: names.resolve_any(body.next.as_ref()),
    }
}
