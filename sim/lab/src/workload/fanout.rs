//! FanOutFanIn: many greetings at once, and a wait for all of them.
//!
//! The orchestration calls the activity `SayHello` `width` times in parallel (1000 in the published
//! runs), waits for all answers and returns. Activities do no CPU work. The published orchestration
//! returns nothing of interest; here it returns how many answers came and a hash over them in the
//! order of the calls, so that a lost, doubled or swapped answer shows.

use super::declare::count;
use super::{Start, Workload, WorkloadKind, completed};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use std::rc::Rc;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "fanout",
    summary: "FanOutFanIn: calls SayHello many times in parallel, waits for all",
    parameters: &[count("width", (1, 10_000), "1000", "activities in parallel; published: 1000")],
    files: &[],
    load: "batch:4",
    build: |parameters| Ok(Rc::new(FanOut::new(parameters))),
};

/// What the orchestration returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answers {
    count: usize,
    /// Over all answers, in the order of the calls.
    hash: String,
}

impl Answers {
    fn of<'a>(greetings: impl IntoIterator<Item = &'a String>) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut count = 0;
        for greeting in greetings {
            hasher.update(&(greeting.len() as u64).to_le_bytes());
            hasher.update(greeting.as_bytes());
            count += 1;
        }
        Answers { count, hash: hasher.finalize().to_hex()[..16].to_owned() }
    }
}

struct FanOut {
    input: Payload,
    expected: Answers,
}

impl FanOut {
    fn new(parameters: &Settings) -> Self {
        let width = parameters.count("width");
        let greetings: Vec<String> = (0..width).map(|number| greeting(&name(number))).collect();
        let input = Payload::encode(&width).expect("invariant: a number has a JSON form");
        FanOut { input, expected: Answers::of(&greetings) }
    }
}

/// Who is greeted by the call with this number.
fn name(number: u64) -> String {
    format!("{number:05}")
}

fn greeting(name: &str) -> String {
    format!("Hello {name}!")
}

async fn fan_out_fan_in(
    context: OrchestrationContext,
    width: u64,
) -> Result<Answers, ApplicationError> {
    let calls = (0..width).map(|number| context.call_activity("SayHello", &name(number)));
    let greetings: Vec<String> = try_join_all(calls).await?;
    Ok(Answers::of(&greetings))
}

impl Workload for FanOut {
    fn register(&self, application: &mut Application) {
        application.activity("SayHello", |_: ActivityContext, name: String| async move {
            Ok(greeting(&name))
        });
        application.orchestration("FanOutFanIn", fan_out_fan_in);
    }

    fn start(&self) -> Start {
        Start::Orchestration("FanOutFanIn")
    }

    fn input(&self, _index: u64) -> Payload {
        self.input.clone()
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let answers: Answers = completed(status)?;
        if answers == self.expected {
            return Ok(());
        }
        Err(format!("returned {answers:?}, expected {:?}", self.expected))
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
        let mut parameters = Settings::defaults(KIND.parameters);
        parameters.set("width", "3").expect("in range");
        let fanout = FanOut::new(&parameters);
        let check = |greetings: &[&str]| {
            let greetings: Vec<String> = greetings.iter().map(|&text| text.to_owned()).collect();
            let result = Payload::encode(&Answers::of(&greetings)).expect("answers");
            fanout.check(0, &RuntimeStatus::Completed(result))
        };
        assert_eq!(check(&["Hello 00000!", "Hello 00001!", "Hello 00002!"]), Ok(()));
        for wrong in [
            &["Hello 00000!", "Hello 00002!", "Hello 00001!"][..],
            &["Hello 00000!", "Hello 00001!"],
            &["Hello 00000!", "Hello 00001!", "Hello 00001!"],
        ] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
        assert!(fanout.check(0, &RuntimeStatus::Running).is_err());
    }
}
