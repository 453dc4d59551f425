//! Definition: a workflow that was written for another platform, run unchanged.
//!
//! The document is a SeBS-Flow definition or one of the Amazon States Language; what its functions
//! do stands in a second file ([`crate::definition`]). One orchestration carries one execution
//! out: tasks are activities, maps and parallel states are branches inside the orchestration, waits
//! and the pauses between attempts are timers. The expected result of an execution is that of a
//! plain walk of the same machine with the same draws; it depends on the index of the execution
//! and on the parameters, and on nothing else.
//!
//! With `form=data` the machine is registered as a value instead, which an engine that runs state
//! machines itself takes as it is; a document with a state that does not fit is refused.

use super::declare::{choice, count};
use super::{FileParameter, Parameters, Start, Workload, WorkloadKind, ended_badly};
use crate::definition::{Definition, ORCHESTRATION, Source};
use serde_json::Value;
use sim_model::application::{Application, ErrorKind};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use std::rc::Rc;

/// Most letters of a value in a message.
const SHOWN_MAX: usize = 200;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "definition",
    summary: "Definition: a SeBS-Flow definition or a document of the Amazon States Language",
    parameters: &[
        count(
            "digest",
            (0, (1 << 53) - 1),
            "0",
            "the digest that the files must have, so that a change is noticed; 0 for any",
        ),
        count(
            "draws",
            (0, u32::MAX as u64),
            "0",
            "tells series of random durations and failures apart, whatever the seed of the run",
        ),
        choice(
            "form",
            &["code", "data"],
            "code",
            "how engines are given the machine: code runs any document as an orchestration; data is \
             a value for engines that run state machines themselves",
        ),
    ],
    files: &[
        FileParameter {
            key: "file",
            required: true,
            help: "the document, whose format shows itself; see 'sim definition check FILE'",
        },
        FileParameter {
            key: "functions",
            required: false,
            help: "what the functions do and what executions begin with, as TOML",
        },
    ],
    load: "batch:100",
    build,
};

struct FromDefinition {
    definition: Rc<Definition>,
    draws: u64,
    as_data: bool,
}

fn build(parameters: &Parameters) -> Result<Rc<dyn Workload>, String> {
    let file = parameters.file("file").ok_or("file is missing")?;
    let functions = parameters.file("functions");
    let name = |path: &std::path::Path| path.display().to_string();
    let (file_name, functions_name) =
        (name(&file.path), functions.map_or_else(String::new, |functions| name(&functions.path)));
    let functions =
        functions.map(|functions| Source { file: &functions_name, text: &functions.text });
    let definition = Definition::read(Source { file: &file_name, text: &file.text }, functions)
        .map_err(|error| error.to_string())?;
    let (expected, found) = (parameters.count("digest"), definition.digest());
    if expected != 0 && expected != found {
        return Err(format!(
            "{file_name}: the files have digest {found}, expected {expected}: they were changed"
        ));
    }
    let as_data = parameters.choice("form") == "data";
    if let Some(misfit) = definition.misfit().filter(|_| as_data) {
        return Err(format!("form=data: {file_name}: {misfit}"));
    }
    Ok(Rc::new(FromDefinition {
        as_data,
        definition: Rc::new(definition),
        draws: parameters.count("draws"),
    }))
}

impl Workload for FromDefinition {
    fn register(&self, application: &mut Application) {
        match self.as_data {
            true => self.definition.register_as_data(application),
            false => self.definition.register(application, self.draws),
        }
    }

    fn start(&self) -> Start {
        Start::Orchestration(ORCHESTRATION)
    }

    fn input(&self, index: u64) -> Payload {
        let input = match self.as_data {
            true => Payload::encode(&self.definition.input_as_data(self.draws, index)),
            false => Payload::encode(&self.definition.input(index)),
        };
        input.expect("invariant: a payload is JSON")
    }

    fn check(&self, index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let expected = self.definition.expected(self.draws, index);
        match (&expected, status) {
            (Ok(expected), RuntimeStatus::Completed(result)) => {
                let result: Value = result.decode().map_err(|error| error.to_string())?;
                match result == *expected {
                    true => Ok(()),
                    false => {
                        Err(format!("returned {}, expected {}", shown(&result), shown(expected)))
                    }
                }
            }
            (Err(expected), RuntimeStatus::Failed(error))
                if error.kind == ErrorKind::User && *error.message == **expected =>
            {
                Ok(())
            }
            (Ok(expected), other) => {
                Err(format!("{}, expected the result {}", ended_badly(other), shown(expected)))
            }
            (Err(expected), other) => {
                Err(format!("{}, expected the failure {expected}", ended_badly(other)))
            }
        }
    }

    fn timing_independent(&self) -> bool {
        true
    }

    fn determined(&self) -> Vec<(&'static str, String)> {
        vec![("digest", self.definition.digest().to_string())]
    }

    fn notes(&self) -> Vec<String> {
        let warnings = self.definition.warnings().iter();
        let warnings = warnings.map(|warning| format!("warning: {warning}"));
        let assumed = self.definition.assumptions().into_iter();
        warnings.chain(assumed.map(|assumed| format!("note: {assumed}"))).collect()
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::SourceFile;
    use super::*;
    use sim_model::application::ApplicationError;
    use sim_model::settings::Settings;
    use std::collections::BTreeMap;

    const DOCUMENT: &str = r#"{"root": "A", "states": {"A": {"type": "task", "func_name": "f"}}}"#;
    const FUNCTIONS: &str = "[functions.f]\nresult = { template = 'done' }\n\
                             failure = { probability = 0.5, error = 'Broken', cause = 'so' }\n";

    fn parameters(digest: u64) -> Parameters {
        let mut settings = Settings::defaults(KIND.parameters);
        settings.set("digest", &digest.to_string()).expect("in range");
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let files = BTreeMap::from([
            ("file", file("a.json", DOCUMENT)),
            ("functions", file("a.toml", FUNCTIONS)),
        ]);
        Parameters::new(settings).with_files(files)
    }

    #[test]
    fn the_check_knows_right_from_wrong() {
        let workload = build(&parameters(0)).expect("valid");
        let done = RuntimeStatus::Completed(Payload::encode(&"done").expect("text"));
        let failed = RuntimeStatus::Failed(ApplicationError::user("Broken: so"));
        let (mut completed, mut broken) = (0, 0);
        for index in 0..100 {
            let (right, wrong) = match workload.check(index, &done) {
                Ok(()) => (&done, &failed),
                Err(_) => (&failed, &done),
            };
            assert_eq!(workload.check(index, right), Ok(()));
            assert!(workload.check(index, wrong).is_err());
            completed += u32::from(std::ptr::eq(right, &done));
            broken += u32::from(std::ptr::eq(right, &failed));
        }
        assert!(completed > 20 && broken > 20, "{completed} {broken}");
        let other = RuntimeStatus::Completed(Payload::encode(&"doen").expect("text"));
        assert!((0..10).all(|index| workload.check(index, &other).is_err()));
    }

    #[test]
    fn changed_files_are_noticed_by_their_digest() {
        let workload = build(&parameters(0)).expect("valid");
        let [(key, digest)] = &workload.determined()[..] else { panic!("one parameter") };
        assert_eq!(*key, "digest");
        let digest: u64 = digest.parse().expect("a number");
        assert!(build(&parameters(digest)).is_ok());
        let refused = build(&parameters(digest ^ 1)).err().expect("another digest");
        assert!(refused.contains("they were changed"), "{refused}");
    }
}
