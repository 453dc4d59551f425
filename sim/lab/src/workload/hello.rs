//! HelloSequence: one greeting after the other.
//!
//! The orchestration calls the activity `SayHello(city)` `length` times, one after the other, and
//! returns the list of greetings "Hello city!". Payloads are tens of bytes and there is no CPU
//! work: what a run costs is what the engine costs. HelloSequence3 and HelloSequence5 of the
//! published benchmarks are `length=3` and `length=5`.

use super::{Start, Workload, WorkloadKind, completed};
use sim_model::application::{ActivityContext, Application};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::{Purpose, Setting, SettingKind, Settings};
use std::rc::Rc;

/// Greeted in this order, and again from the start.
const CITIES: [&str; 5] = ["Tokyo", "Seattle", "London", "Amsterdam", "Seoul"];

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "hello",
    summary: "HelloSequence: calls SayHello(city) one after the other, returns the greetings",
    parameters: &[Setting {
        key: "length",
        kind: SettingKind::Count { min: 1, max: 1_000 },
        default: "5",
        purpose: Purpose::Parameter,
        help: "activities in sequence; the published runs have 3 and 5",
    }],
    files: &[],
    load: "open:rate=20,duration=30s",
    build: |parameters| Ok(Rc::new(Hello::new(parameters))),
};

struct Hello {
    length: usize,
    input: Payload,
    expected: Vec<String>,
}

impl Hello {
    fn new(parameters: &Settings) -> Self {
        let length = parameters.count("length") as usize;
        let expected = cities(length).map(|city| format!("Hello {city}!")).collect();
        let input = Payload::encode(&length).expect("invariant: a number has a JSON form");
        Hello { length, input, expected }
    }
}

fn cities(length: usize) -> impl Iterator<Item = &'static str> {
    CITIES.into_iter().cycle().take(length)
}

async fn hello_sequence(
    context: OrchestrationContext,
    length: usize,
) -> Result<Vec<String>, sim_model::application::ApplicationError> {
    let mut greetings: Vec<String> = Vec::with_capacity(length);
    for city in cities(length) {
        greetings.push(context.call_activity("SayHello", &city).await?);
    }
    Ok(greetings)
}

impl Workload for Hello {
    fn register(&self, application: &mut Application) {
        application.activity("SayHello", |_: ActivityContext, city: String| async move {
            Ok(format!("Hello {city}!"))
        });
        application.orchestration("HelloSequence", hello_sequence);
    }

    fn start(&self) -> Start {
        Start::Orchestration("HelloSequence")
    }

    fn input(&self, _index: u64) -> Payload {
        self.input.clone()
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let greetings: Vec<String> = completed(status)?;
        if greetings == self.expected {
            return Ok(());
        }
        Err(format!("returned {greetings:?}, expected the {} greetings in order", self.length))
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
        parameters.set("length", "6").expect("in range");
        let hello = Hello::new(&parameters);
        let ended = |greetings: &[&str]| {
            RuntimeStatus::Completed(Payload::encode(&greetings).expect("text"))
        };
        let right = [
            "Hello Tokyo!",
            "Hello Seattle!",
            "Hello London!",
            "Hello Amsterdam!",
            "Hello Seoul!",
            "Hello Tokyo!",
        ];
        assert_eq!(hello.check(0, &ended(&right)), Ok(()));
        assert!(hello.check(0, &ended(&right[1..])).is_err());
        assert!(hello.check(0, &RuntimeStatus::Running).is_err());
    }
}
