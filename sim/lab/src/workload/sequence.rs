//! Sequence: activities that hand an object of a given size on.
//!
//! The orchestration calls the activity `Step` `length` times; each takes the object that the one
//! before returned. The object carries `2^data_exponent` bytes (one at the published exponent 0)
//! and the number of steps it has seen, by which the result is checked.

use super::{Start, Workload, WorkloadKind, completed};
use serde::{Deserialize, Serialize};
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::{Purpose, Setting, SettingKind, Settings};
use std::rc::Rc;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "sequence",
    summary: "Sequence: activities that hand an object of 2^data_exponent bytes on",
    parameters: &[
        Setting {
            key: "length",
            kind: SettingKind::Count { min: 1, max: 1_000 },
            default: "10",
            purpose: Purpose::Parameter,
            help: "activities in sequence; the published latency test has 10",
        },
        Setting {
            key: "data_exponent",
            kind: SettingKind::Count { min: 0, max: 20 },
            default: "0",
            purpose: Purpose::Parameter,
            help: "the object carries 2 to this power bytes; the published test has 1 byte",
        },
    ],
    files: &[],
    load: "open:rate=20,duration=30s",
    build: |parameters| Ok(Rc::new(Sequence::new(parameters))),
};

/// What is handed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Object {
    /// Steps this object has seen.
    steps: u64,
    /// Ballast.
    data: String,
}

/// The input of the orchestration.
#[derive(Serialize, Deserialize)]
struct Input {
    length: u64,
    data_exponent: u32,
}

struct Sequence {
    length: u64,
    data_exponent: u32,
    input: Payload,
}

impl Sequence {
    fn new(parameters: &Settings) -> Self {
        let length = parameters.count("length");
        let data_exponent = parameters.count("data_exponent") as u32;
        let input = Payload::encode(&Input { length, data_exponent });
        let input = input.expect("invariant: two numbers have a JSON form");
        Sequence { length, data_exponent, input }
    }

    fn data_bytes(&self) -> usize {
        1 << self.data_exponent
    }
}

async fn sequence(context: OrchestrationContext, input: Input) -> Result<Object, ApplicationError> {
    let mut object = Object { steps: 0, data: "x".repeat(1 << input.data_exponent) };
    for _ in 0..input.length {
        object = context.call_activity("Step", &object).await?;
    }
    Ok(object)
}

impl Workload for Sequence {
    fn register(&self, application: &mut Application) {
        application.activity("Step", |_: ActivityContext, object: Object| async move {
            Ok(Object { steps: object.steps + 1, data: object.data })
        });
        application.orchestration("Sequence", sequence);
    }

    fn start(&self) -> Start {
        Start::Orchestration("Sequence")
    }

    fn input(&self, _index: u64) -> Payload {
        self.input.clone()
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let object: Object = completed(status)?;
        if object.steps == self.length && object.data.len() == self.data_bytes() {
            return Ok(());
        }
        Err(format!(
            "returned an object with {} steps and {} bytes, expected {} and {}",
            object.steps,
            object.data.len(),
            self.length,
            self.data_bytes()
        ))
    }

    fn timing_independent(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_knows_right_from_wrong() {
        let sequence = Sequence::new(&Settings::defaults(KIND.parameters));
        let ended = |steps, data: &str| {
            let object = Object { steps, data: data.to_owned() };
            RuntimeStatus::Completed(Payload::encode(&object).expect("an object"))
        };
        assert_eq!(sequence.check(0, &ended(10, "x")), Ok(()));
        assert!(sequence.check(0, &ended(9, "x")).is_err());
        assert!(sequence.check(0, &ended(10, "xx")).is_err());
        let failed = RuntimeStatus::Failed(ApplicationError::user("no"));
        assert_eq!(sequence.check(0, &failed), Err("failed with error: no".to_owned()));
    }
}
