//! SeBS-Flow definitions: the format of the serverless workflow benchmark suite (Schmid et al.,
//! EuroSys 2025; spcl/serverless-benchmarks, branch feature/workflows).
//!
//! A document is `{"root": NAME, "states": {NAME: STATE}}`. It is read to the types of this file
//! and then lowered to a [`Machine`]. Where the suite's back ends differ, its Azure Durable
//! Functions back end is followed, or the Step Functions machine that it generates:
//!
//! * `task`: the result replaces the payload. `failure` names the state to go on with when the
//!   function fails; the payload is then what the function was given, so that a saga's undoing
//!   steps know what to undo.
//! * `switch`: cases are tried in order; `var` is a dotted path. A path that leads nowhere, or to
//!   a value of another type, makes the case not hold. With no case and no `default` the machine
//!   ends.
//! * `map`: each branch is given the element, or, with `common_params`,
//!   `{"array_element": ELEMENT, PARAM: VALUE, ...}` with those fields of the payload (null if
//!   absent). The results replace the array.
//! * `parallel`: each branch is given the payload; the array of their results replaces it.
//! * `loop`: as `map` with one function, one element after the other.
//! * `repeat`: each call is given the result of the one before.

use super::condition::{Condition, Relation};
use super::expression::Expression;
use super::failure::names;
use super::fields::Fields;
use super::links::{self, Link, Named, Names};
use super::machine::*;
use super::path::Path;
use super::problem::{Findings, Place, quoted};
use super::template::Template;
use crate::suggest::UnknownName;
use serde_json::Value;

const TYPES: [&str; 6] = ["loop", "map", "parallel", "repeat", "switch", "task"];
const RELATIONS: [(&str, Relation); 5] = [
    ("<", Relation::Less),
    ("<=", Relation::LessOrEqual),
    ("==", Relation::Equal),
    (">=", Relation::GreaterOrEqual),
    (">", Relation::Greater),
];
/// The field in which a branch finds its element beside `common_params`.
const ELEMENT: &str = "array_element";

/// A machine of the format.
type Document = links::Document<Node>;

#[derive(Debug)]
enum Node {
    Task { function: String, next: Option<Link>, failure: Option<Link> },
    Switch { cases: Vec<Case>, default: Option<Link> },
    Map { array: Path, machine: Document, common_params: Vec<(String, Path)>, next: Option<Link> },
    Parallel { branches: Vec<Document>, next: Option<Link> },
    Loop { function: String, array: Path, next: Option<Link> },
    Repeat { function: String, count: u64, next: Option<Link> },
}

#[derive(Debug)]
struct Case {
    var: Path,
    op: Relation,
    val: Value,
    next: Link,
}

/// Reads a document. What is wrong is noted; the machine is of use only if nothing was.
pub(super) fn machine(document: &Value, findings: &Findings) -> Machine {
    match read(document, Place::root(), findings, 1) {
        Some(document) => lower(&document, findings),
        None => Machine { start: 0, states: Vec::new() },
    }
}

fn read(value: &Value, place: Place, findings: &Findings, depth: usize) -> Option<Document> {
    let mut fields = Fields::of(value, place, findings)?;
    let document = read_fields(&mut fields, depth);
    fields.finish("machine");
    document
}

/// Reads `root` and `states`, which may stand among other fields.
fn read_fields(fields: &mut Fields<'_>, depth: usize) -> Option<Document> {
    if depth > NESTING_MAX {
        fields.problem_here(format!("machines stand at most {NESTING_MAX} deep within each other"));
        return None;
    }
    let root = required_link(fields, "root", "the name of the first state");
    let states = fields.required_object("states", "an object of states by name")?;
    let place = fields.at("states");
    if states.is_empty() {
        fields.problem("states", "is empty, expected at least one state");
    }
    let findings = fields.findings();
    let states = states.iter().map(|(name, state)| {
        let place = place.field(name);
        let body = node(state, place.clone(), findings, depth);
        Named { name: name.clone(), place, body }
    });
    Some(Document { start: root, states: states.collect() })
}

fn node(value: &Value, place: Place, findings: &Findings, depth: usize) -> Option<Node> {
    let mut fields = Fields::of(value, place, findings)?;
    let expected = format!("one of {}", TYPES.join(", "));
    let of_type = fields.required_text("type", &expected)?;
    let node = match of_type {
        "task" => task(&mut fields),
        "switch" => switch(&mut fields),
        "map" => map(&mut fields, depth),
        "parallel" => parallel(&mut fields, depth),
        "loop" => {
            let (function, array) = (function(&mut fields), dotted(&mut fields, "array"));
            let next = link(&mut fields, "next");
            function.zip(array).map(|(function, array)| Node::Loop { function, array, next })
        }
        "repeat" => {
            let function = function(&mut fields);
            let expected = "how often the function is called";
            fields.required("count", expected);
            let count = fields.count("count", 1..=ENTERED_MAX);
            let next = link(&mut fields, "next");
            function.zip(count).map(|(function, count)| Node::Repeat { function, count, next })
        }
        other => {
            let unknown = UnknownName::new("state type", super::fields::short(other), TYPES);
            fields.problem("type", unknown.to_string());
            return None;
        }
    };
    fields.finish(&format!("{of_type} state"));
    node
}

fn task(fields: &mut Fields<'_>) -> Option<Node> {
    let function = function(fields);
    let (next, failure) = (link(fields, "next"), link(fields, "failure"));
    Some(Node::Task { function: function?, next, failure })
}

fn switch(fields: &mut Fields<'_>) -> Option<Node> {
    let default = link(fields, "default");
    let cases = fields.required_array("cases", "an array of cases")?;
    let place = fields.at("cases");
    let read = |(index, value)| case(value, place.index(index), fields.findings());
    let cases: Vec<Option<Case>> = cases.iter().enumerate().map(read).collect();
    Some(Node::Switch { cases: cases.into_iter().collect::<Option<_>>()?, default })
}

fn case(value: &Value, place: Place, findings: &Findings) -> Option<Case> {
    let mut fields = Fields::of(value, place, findings)?;
    let var = dotted(&mut fields, "var");
    let relations = RELATIONS.map(|(text, _)| text);
    let op = fields.required_text("op", &format!("one of {}", relations.join(", ")));
    let op = op.and_then(|given| {
        let known = RELATIONS.iter().find(|(text, _)| *text == given);
        if known.is_none() {
            let unknown = UnknownName::new("comparison", super::fields::short(given), relations);
            fields.problem("op", unknown.to_string());
        }
        known.map(|(_, relation)| *relation)
    });
    let val = fields.required("val", "a number, text or boolean").cloned();
    if val.as_ref().is_some_and(|val| val.is_array() || val.is_object()) {
        fields.problem("val", "expected a number, text or boolean");
    }
    let next = required_link(&mut fields, "next", "the name of a state");
    fields.finish("case");
    Some(Case { var: var?, op: op?, val: val?, next: next? })
}

fn map(fields: &mut Fields<'_>, depth: usize) -> Option<Node> {
    let array = dotted(fields, "array");
    let next = link(fields, "next");
    let params = fields.text("common_params", "names of fields with commas between them");
    let mut common_params = Vec::new();
    for param in params.into_iter().flat_map(|params| params.split(',')).map(str::trim) {
        match Path::parse_dotted(param) {
            Ok(path) => common_params.push((param.to_owned(), path)),
            Err(problem) => {
                fields.problem("common_params", format!("{}: {problem}", quoted(param)));
            }
        }
    }
    let machine = read_fields(fields, depth + 1);
    Some(Node::Map { array: array?, machine: machine?, common_params, next })
}

fn parallel(fields: &mut Fields<'_>, depth: usize) -> Option<Node> {
    let next = link(fields, "next");
    let branches = fields.required_array("parallel_functions", "an array of machines")?;
    let place = fields.at("parallel_functions");
    let branch = |(index, value)| read(value, place.index(index), fields.findings(), depth + 1);
    let branches: Vec<Option<Document>> = branches.iter().enumerate().map(branch).collect();
    Some(Node::Parallel { branches: branches.into_iter().collect::<Option<_>>()?, next })
}

fn function(fields: &mut Fields<'_>) -> Option<String> {
    fields.required_text("func_name", "the name of a function").map(str::to_owned)
}

fn dotted(fields: &mut Fields<'_>, key: &'static str) -> Option<Path> {
    let text = fields.required_text(key, "a path: fields with points between them")?;
    let path = Path::parse_dotted(text);
    if let Err(problem) = &path {
        fields.problem(key, format!("{}: {problem}", quoted(text)));
    }
    path.ok()
}

/// The name of a state; null stands for none, as in the suite's own reader.
fn link(fields: &mut Fields<'_>, key: &'static str) -> Option<Link> {
    if fields.take(key)?.is_null() {
        return None;
    }
    let name = fields.text(key, "the name of a state")?.to_owned();
    Some(Link { name, place: fields.at(key) })
}

fn required_link(fields: &mut Fields<'_>, key: &'static str, expected: &str) -> Option<Link> {
    let name = fields.required_text(key, expected)?.to_owned();
    Some(Link { name, place: fields.at(key) })
}

fn lower(document: &Document, findings: &Findings) -> Machine {
    links::lower(document, findings, |name, node, names| lower_state(name, node, names, findings))
}

fn lower_state(name: &str, node: &Node, names: &Names<'_>, findings: &Findings) -> State {
    let mut state = links::unreadable(name);
    match node {
        Node::Task { function, next, failure } => {
            state.step = Step::Task(call(function));
            state.next = names.resolve_any(next.as_ref());
            let caught = failure.iter().map(|link| Catcher {
                errors: vec![names::ALL.into()],
                result: Target::Nowhere,
                next: names.resolve(link),
            });
            state.catch = caught.collect();
        }
        Node::Switch { cases, default } => {
            let lowered = cases.iter().map(|case| {
                let condition = Condition::Plain(case.var.clone(), case.op, case.val.clone());
                (condition, names.resolve(&case.next))
            });
            let otherwise = names.resolve_any(default.as_ref());
            let otherwise = otherwise.map_or(Otherwise::End, Otherwise::Go);
            state.step = Step::Choice(lowered.collect(), otherwise);
        }
        Node::Map { array, machine, common_params, next } => {
            state.flow.result = Target::Over(array.clone());
            state.next = names.resolve_any(next.as_ref());
            let (item, machine) = (element(common_params), lower(machine, findings));
            state.step = each(array, item, machine, 0);
        }
        Node::Parallel { branches, next } => {
            let branches = branches.iter().map(|branch| lower(branch, findings));
            state.step = Step::Parallel(branches.collect());
            state.next = names.resolve_any(next.as_ref());
        }
        Node::Loop { function, array, next } => {
            state.flow.result = Target::Over(array.clone());
            state.next = names.resolve_any(next.as_ref());
            let mut only = links::unreadable(function);
            only.step = Step::Task(call(function));
            let machine = Machine { start: 0, states: vec![only] };
            state.step = each(array, None, machine, 1);
        }
        Node::Repeat { function, count, next } => {
            state.step = Step::Repeat(call(function), *count);
            state.next = names.resolve_any(next.as_ref());
        }
    }
    state
}

fn call(function: &str) -> Call {
    Call { function: function.into(), timeout: None, wrapped: false }
}

fn each(array: &Path, item: Option<Template>, machine: Machine, width: u64) -> Step {
    let width = Amount::Fixed(width);
    Step::Map(Box::new(Each { items: array.clone(), default_length: 0, item, width, machine }))
}

/// What a branch is given beside its element.
fn element(common_params: &[(String, Path)]) -> Option<Template> {
    let value = Path::parse("$$.Map.Item.Value").expect("invariant: a path");
    let element = Template::Computed(Expression::Path(value));
    let mut entries = vec![(ELEMENT.to_owned(), element)];
    let params = common_params.iter();
    entries.extend(params.map(|(name, path)| (name.clone(), Template::OrNull(path.clone()))));
    (!common_params.is_empty()).then_some(Template::Object(entries))
}
