//! Workflow definitions that were written for other platforms, run unchanged.
//!
//! Two formats are read: SeBS-Flow definitions (`sebs.rs`) and the Amazon States Language
//! (`asl/`). Each is read strictly to types of its own, with every problem named at once, and
//! lowered to one small machine (`machine.rs`). The interpreter carries it out as an orchestration
//! (`interpreter.rs`); the reference walks it without an engine (`reference.rs`), and both must
//! come to the same result. What the functions do stands in a description beside the definition
//! (`companion.rs`).
//!
//! | room | holds |
//! |---|---|
//! | `json`, `fields`, `problem`, `links` | strict reading, and what is wrong where |
//! | `path`, `expression`, `intrinsic`, `template` | what definitions compute |
//! | `condition`, `context`, `instant` | what they decide by |
//! | `sebs`, `asl` | the formats |
//! | `machine`, `flow`, `scope`, `failure` | the machine, and what happens to payloads in it |
//! | `companion`, `behaviour` | what functions do |
//! | `interpreter`, `reference` | carrying it out |
//! | `as_data` | handing it to engines as a state machine of the model |
//! | `outline` | showing it to a person |
//!
//! Limits: machines nest 24 deep, one machine enters 25,000 states in a row, 100,000 machines go on
//! side by side, a payload has 4 MiB and nests 100 deep. Beyond them an execution fails with an
//! error that says so.

mod as_data;
mod asl;
mod behaviour;
mod companion;
mod condition;
mod context;
mod expression;
mod failure;
mod fields;
mod flow;
mod instant;
mod interpreter;
mod intrinsic;
mod json;
mod links;
mod machine;
mod outline;
mod path;
mod problem;
mod reference;
mod scope;
mod sebs;
mod template;

pub use outline::{FunctionLine, StateLine};
pub use problem::{DefinitionError, Problem};

use behaviour::{Behaviour, Order};
use companion::Companion;
use context::Execution;
use instant::Instant;
use interpreter::Run;
use machine::Machine;
use problem::{Findings, Place};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::orchestration::OrchestrationContext;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// The registered name of the orchestration that carries a definition out.
pub const ORCHESTRATION: &str = "Workflow";

/// The formats of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SeBS-Flow.
    Sebs,
    /// Amazon States Language.
    AmazonStates,
}

impl Format {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Sebs => "SeBS-Flow",
            Format::AmazonStates => "Amazon States Language",
        }
    }

    /// The format of a document, by the fields that each must have.
    fn of(document: &Value) -> Option<Format> {
        let count = |keys: [&str; 2]| keys.iter().filter(|key| document.get(key).is_some()).count();
        match (count(["root", "states"]), count(["StartAt", "States"])) {
            (sebs, states) if sebs > states => Some(Format::Sebs),
            (sebs, states) if sebs < states => Some(Format::AmazonStates),
            _ => None,
        }
    }
}

/// A text with the name of its file.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file, as it was named.
    pub file: &'a str,
    /// What it holds.
    pub text: &'a str,
}

/// A definition that can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    format: Format,
    machine: Machine,
    functions: BTreeMap<Arc<str>, Behaviour>,
    /// Functions that the description says nothing of.
    assumed: Vec<Arc<str>>,
    described: bool,
    input: Value,
    start: Instant,
    warnings: Vec<Problem>,
    digest: u64,
}

/// The input of the orchestration.
#[derive(Serialize, Deserialize)]
struct Input {
    index: u64,
    payload: Value,
}

impl Definition {
    /// Reads a document, and the description of its functions if there is one.
    ///
    /// # Errors
    /// Everything that is wrong with the document; if nothing is, with the description.
    pub fn read(
        document: Source<'_>,
        functions: Option<Source<'_>>,
    ) -> Result<Definition, DefinitionError> {
        let (format, mut machine, warnings) = read_document(document.text)
            .map_err(|problems| DefinitionError { file: document.file.to_owned(), problems })?;
        let companion = match functions {
            None => Companion::default(),
            Some(source) => Companion::parse(source.text)
                .and_then(|companion| fit(&companion, &machine).map(|()| companion))
                .map_err(|problems| DefinitionError { file: source.file.to_owned(), problems })?,
        };
        machine.visit_maps(&mut |each| {
            let length = companion.lengths.iter().find(|(path, _)| *path == each.items);
            each.default_length = length.map_or(companion.default_length, |(_, length)| *length);
        });
        let (mut known, mut assumed) = (BTreeMap::new(), Vec::new());
        machine.visit(&mut |state| {
            let Some(call) = state.call() else { return };
            let described = companion.functions.get(&*call.function);
            let behaviour = described.unwrap_or(&companion.default).clone();
            let is_new = known.insert(call.function.clone(), behaviour).is_none();
            if is_new && described.is_none() {
                assumed.push(call.function.clone());
            }
        });
        Ok(Definition {
            format,
            machine,
            functions: known,
            assumed,
            described: functions.is_some(),
            input: companion.input,
            start: companion.start,
            warnings,
            digest: digest(document.text, functions.map(|source| source.text)),
        })
    }

    /// The format of the document.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What the document says that is taken otherwise than it may expect.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The first 53 bits of a BLAKE3 hash of both texts.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// What is assumed since nothing says otherwise, for a person.
    pub fn assumptions(&self) -> Vec<String> {
        outline::assumptions(self)
    }

    /// The states, with those of machines within a state below it.
    pub fn states(&self) -> Vec<StateLine> {
        outline::states(&self.machine)
    }

    /// The functions that are called, and what they do.
    pub fn functions(&self) -> Vec<FunctionLine> {
        outline::functions(self)
    }

    /// Registers the orchestration and its activities.
    pub fn register(self: &Rc<Self>, application: &mut Application, draws: u64) {
        for name in self.functions.keys() {
            let (definition, function) = (self.clone(), name.clone());
            application.activity(name, move |context: ActivityContext, order: Order| {
                let (definition, function) = (definition.clone(), function.clone());
                async move { interpreter::activity(&definition, &function, context, order).await }
            });
        }
        let definition = self.clone();
        application.orchestration(
            ORCHESTRATION,
            move |context: OrchestrationContext, input: Input| {
                let definition = definition.clone();
                async move {
                    let execution = Execution { index: input.index, input: input.payload };
                    let (definition, orchestration) = (&definition, &context);
                    let run = Run { definition, execution: &execution, draws, orchestration };
                    let outcome = run.outcome().await;
                    outcome.map_err(|failure| ApplicationError::user(failure.to_string()))
                }
            },
        );
    }

    /// Why the definition cannot be handed to an engine as a state machine of the model, if so: the
    /// first state that does not fit.
    pub fn misfit(&self) -> Option<String> {
        as_data::misfit(&self.machine)
    }

    /// [`Definition::register`], as a state machine of the model.
    ///
    /// # Panics
    /// If the definition has a [`Definition::misfit`].
    pub fn register_as_data(self: &Rc<Self>, application: &mut Application) {
        as_data::register(self, application);
    }

    /// The input of the machine with this index, if the definition was registered as data.
    pub fn input_as_data(&self, draws: u64, index: u64) -> impl Serialize + use<> {
        as_data::input(self, draws, index)
    }

    /// The input of the orchestration with this index.
    pub fn input(&self, index: u64) -> impl Serialize + use<> {
        Input { index, payload: self.input.clone() }
    }

    /// What the orchestration with this index must come to: its result, or the message of its
    /// error.
    pub fn expected(&self, draws: u64, index: u64) -> Result<Value, String> {
        let execution = Execution { index, input: self.input.clone() };
        reference::outcome(self, &execution, draws).map_err(|failure| failure.to_string())
    }

    fn behaviour(&self, function: &str) -> &Behaviour {
        self.functions.get(function).expect("invariant: every called function has a behaviour")
    }
}

fn read_document(text: &str) -> Result<(Format, Machine, Vec<Problem>), Vec<Problem>> {
    let document = json::read(text).map_err(|problem| vec![problem])?;
    let findings = Findings::default();
    let format = Format::of(&document);
    let machine = match format {
        Some(Format::Sebs) => sebs::machine(&document, &findings),
        Some(Format::AmazonStates) => asl::machine(&document, &findings),
        None => {
            let said = "neither a SeBS-Flow definition (an object with root and states) nor an \
                        Amazon States Language document (an object with StartAt and States)";
            findings.problem(&Place::root(), said);
            Machine { start: 0, states: Vec::new() }
        }
    };
    let warnings = findings.into_warnings()?;
    Ok((format.expect("invariant: a document without problems has a format"), machine, warnings))
}

/// Checks that a description speaks of functions and arrays that the machine has.
fn fit(companion: &Companion, machine: &Machine) -> Result<(), Vec<Problem>> {
    let (mut functions, mut arrays) = (Vec::new(), Vec::new());
    machine.visit(&mut |state| {
        functions.extend(state.call().map(|call| call.function.to_string()));
        if let machine::Step::Map(each) = &state.step {
            arrays.push(each.items.to_string());
        }
    });
    let findings = Findings::default();
    let check = |kind: &str, place: &Place, given: String, valid: &[String]| {
        if !valid.contains(&given) {
            let mut valid = valid.to_vec();
            valid.sort();
            valid.dedup();
            let unknown = crate::suggest::UnknownName::new(kind, fields::short(&given), valid);
            findings.problem(place, unknown.to_string());
        }
    };
    let root = Place::root();
    for name in companion.functions.keys() {
        check("function", &root.field("functions"), name.clone(), &functions);
    }
    for (path, _) in &companion.lengths {
        let place = root.field("arrays").field("lengths");
        check("array", &place, path.to_string(), &arrays);
    }
    if let Err(failure) = flow::check_size(&companion.input) {
        findings.problem(&root.field("input"), failure.cause);
    }
    findings.into_warnings().map(drop)
}

fn digest(document: &str, functions: Option<&str>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for text in [Some(document), functions].into_iter().flatten() {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    // Fewer bits than a number of JSON and TOML keeps exactly.
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 11
}
