//! Replay: a cursor that is dropped and rebuilt from the recorded history goes on exactly like the
//! one that was kept, whatever the program and however its answers arrive.
//!
//! A random program runs against a driver that plays the engine: it holds back, reorders, groups
//! and repeats the answers. Before every step, cursors rebuilt from the history recorded so far
//! join the one that was never dropped; all of them take all further steps and must agree.

use futures_util::future::{Either, LocalBoxFuture, join_all, select};
use proptest::prelude::*;
use sim_model::application::{Application, ApplicationError};
use sim_model::codec;
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::{Category, Ledger};
use sim_model::message::{InstanceMessage, TaskMessage, critical_ledger};
use sim_model::orchestration::{
    Cursor, OrchestrationContext, RuntimeStatus, StepInput, StepOutcome,
};
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// One instruction of a random program. A program folds everything it sees into one number.
#[derive(Clone, Debug)]
enum Op {
    /// Call an activity; with `caught` its failure is a value, without it ends the program.
    Call { caught: bool },
    /// Call that many activities and join them.
    FanOut(usize),
    /// Call an activity and drop the call.
    Forget,
    /// Start another orchestration and do not wait.
    Start,
    /// End with an error if the number is a multiple of eight.
    FailIfEighth,
    /// Run one of two programs, as the parity of the number says.
    Branch(Vec<Op>, Vec<Op>),
    /// Run programs side by side and join them.
    Join(Vec<Vec<Op>>),
    /// Run two programs until one of them ends; then await the other, or drop it.
    Race { sides: [Vec<Op>; 2], await_loser: bool },
}

fn mix(left: u64, right: u64) -> u64 {
    (left ^ right.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(23).wrapping_mul(0xff51_afd7)
}

/// What the activity returns for `input`: one input in five is an error.
fn activity_result(input: u64) -> Result<u64, ApplicationError> {
    match mix(input, 5) % 5 {
        0 => Err(ApplicationError::user(format!("cannot work on {input}"))),
        _ => Ok(mix(input, 1)),
    }
}

type Number = Result<u64, ApplicationError>;

fn run(
    ctx: OrchestrationContext,
    program: Rc<[Op]>,
    start: u64,
) -> LocalBoxFuture<'static, Number> {
    Box::pin(async move {
        let mut number = start;
        for op in program.iter() {
            let sub = |ops: &[Op], start| run(ctx.clone(), ops.into(), start);
            let seen = match op {
                Op::Call { caught: true } => match ctx.call_activity("Work", &number).await {
                    Ok(result) => result,
                    Err(error) => error.message.len() as u64,
                },
                Op::Call { caught: false } => ctx.call_activity("Work", &number).await?,
                Op::FanOut(width) => {
                    let call = |index| ctx.call_activity::<u64>("Work", &mix(number, index));
                    let results = join_all((0..*width as u64).map(call)).await;
                    results.into_iter().flatten().fold(number, mix)
                }
                Op::Forget => {
                    drop(ctx.call_activity::<u64>("Work", &number));
                    2
                }
                Op::Start => {
                    let child = InstanceId::new(format!("{}/{number}", ctx.instance_id()));
                    ctx.start_orchestration("Child", child, &number)?;
                    3
                }
                Op::FailIfEighth if number.is_multiple_of(8) => {
                    return Err(ApplicationError::user(format!("{number} is not for me")));
                }
                Op::FailIfEighth => 4,
                Op::Branch(even, odd) => {
                    sub(if number.is_multiple_of(2) { even } else { odd }, number).await?
                }
                Op::Join(programs) => {
                    let runs = programs.iter().zip(number..).map(|(ops, start)| sub(ops, start));
                    let results = join_all(runs).await;
                    results.into_iter().map(|result| result.unwrap_or(6)).fold(number, mix)
                }
                Op::Race { sides: [left, right], await_loser } => {
                    let race = select(sub(left, number), sub(right, number + 1)).await;
                    let (side, first, loser) = match race {
                        Either::Left((result, loser)) => (0, result, loser),
                        Either::Right((result, loser)) => (1, result, loser),
                    };
                    let second = if *await_loser { loser.await.unwrap_or(7) } else { 8 };
                    mix(mix(first.unwrap_or(9), second), side)
                }
            };
            number = mix(mix(number, seen), ctx.now().as_nanos());
        }
        Ok(number)
    })
}

fn application(program: &[Op]) -> Rc<Application> {
    let program: Rc<[Op]> = program.into();
    let mut app = Application::new();
    app.orchestration("Main", move |ctx: OrchestrationContext, input: u64| {
        run(ctx, program.clone(), input)
    });
    Rc::new(app)
}

fn programs() -> impl Strategy<Value = Vec<Op>> {
    let leaf = prop_oneof![
        4 => any::<bool>().prop_map(|caught| Op::Call { caught }),
        1 => (0usize..5).prop_map(Op::FanOut),
        // Beyond 30 calls `join_all` polls only the calls that were woken.
        1 => (31usize..40).prop_map(Op::FanOut),
        1 => Just(Op::Forget),
        1 => Just(Op::Start),
        1 => Just(Op::FailIfEighth),
    ];
    let op = leaf.prop_recursive(3, 24, 4, |inner| {
        let block = prop::collection::vec(inner, 0..4);
        prop_oneof![
            (block.clone(), block.clone()).prop_map(|(even, odd)| Op::Branch(even, odd)),
            prop::collection::vec(block.clone(), 0..4).prop_map(Op::Join),
            ([block.clone(), block], any::<bool>())
                .prop_map(|(sides, await_loser)| Op::Race { sides, await_loser }),
        ]
    });
    prop::collection::vec(op, 0..6)
}

/// What one step consumes: some of the outstanding answers, and copies of earlier ones. A pick
/// counts round and round the messages there are.
#[derive(Clone, Debug)]
struct Batch {
    fresh: Vec<usize>,
    copies: Vec<usize>,
    fresh_first: bool,
}

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let picks = |range| prop::collection::vec(0usize..64, range);
    let batch = (picks(1..6), picks(0..3), any::<bool>())
        .prop_map(|(fresh, copies, fresh_first)| Batch { fresh, copies, fresh_first });
    prop::collection::vec(batch, 0..12)
}

/// Plays the engine for one instance.
struct Driver {
    clock: Timestamp,
    steps: u32,
    outstanding: Vec<InstanceMessage>,
    consumed: Vec<InstanceMessage>,
    history: Vec<HistoryEvent>,
}

fn main_instance() -> InstanceId {
    InstanceId::new("main")
}

fn start_message(input: u64) -> InstanceMessage {
    let ledger = Ledger::new(Timestamp::from_millis(1));
    let input = Payload::encode(&input).expect("a number has a JSON form");
    let kind = EventKind::ExecutionStarted { name: "Main".into(), input };
    let id = MessageId { producer: Producer::Client, index: 0 };
    let event = HistoryEvent { timestamp: ledger.at(), kind };
    InstanceMessage { id, target: main_instance(), event, ledger }
}

impl Driver {
    fn new(input: u64) -> Driver {
        Driver {
            clock: Timestamp::from_millis(2),
            steps: 0,
            outstanding: vec![start_message(input)],
            consumed: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Takes the messages of the next step; the oldest one if the script has ended.
    fn next_batch(&mut self, batch: Option<&Batch>) -> Vec<InstanceMessage> {
        let Some(batch) = batch else {
            return vec![self.outstanding.remove(0)];
        };
        let copies = batch.copies.iter().filter(|_| !self.consumed.is_empty());
        let copies: Vec<_> =
            copies.map(|pick| self.consumed[pick % self.consumed.len()].clone()).collect();
        let mut fresh = Vec::new();
        for pick in &batch.fresh {
            if !self.outstanding.is_empty() {
                fresh.push(self.outstanding.swap_remove(pick % self.outstanding.len()));
            }
        }
        self.consumed.extend(fresh.iter().cloned());
        let order = if batch.fresh_first { [fresh, copies] } else { [copies, fresh] };
        order.concat()
    }

    fn input(&self, messages: &[InstanceMessage]) -> StepInput {
        let mut ledger = critical_ledger(messages);
        ledger.charge(Category::Queueing, self.clock);
        StepInput {
            work_item: WorkItemId(self.steps * 7),
            now: self.clock,
            ledger,
            messages: messages.to_vec(),
        }
    }

    /// Takes up what the step produced: the history grows, the activities run.
    fn absorb(&mut self, outcome: &StepOutcome) {
        // What an engine gets back is what its store decodes.
        let stored = codec::encode(&outcome.new_events);
        let events: Vec<HistoryEvent> = codec::decode(&stored).expect("written by encode");
        self.history.extend(events);
        self.clock += Duration::from_micros(1_500);
        let answers: Vec<_> = outcome.tasks.iter().map(|task| self.answer(task)).collect();
        self.outstanding.extend(answers);
        self.steps += 1;
    }

    fn answer(&self, task: &TaskMessage) -> InstanceMessage {
        let mut ledger = task.ledger;
        ledger.charge(Category::Cpu, self.clock);
        let id = MessageId {
            producer: Producer::WorkItem(WorkItemId(1_000_000 + self.steps)),
            index: task.event_id,
        };
        let input = task.input.decode().expect("programs send numbers");
        let result = activity_result(input).and_then(|value| Payload::encode(&value));
        task.response(id, result, ledger)
    }
}

fn assert_same(kept: &Cursor, replayed: &Cursor) {
    assert_eq!(replayed.has_started(), kept.has_started());
    assert_eq!(replayed.status(), kept.status());
    assert_eq!(replayed.created(), kept.created());
    assert_eq!(replayed.name(), kept.name());
    assert_eq!(replayed.last_step(), kept.last_step());
    assert_eq!(replayed.history_len(), kept.history_len());
}

/// Runs the program to its end and returns its history.
fn check(program: &[Op], input: u64, script: &[Batch]) -> Vec<HistoryEvent> {
    let app = application(program);
    let mut driver = Driver::new(input);
    let mut kept = Cursor::new(app.clone(), main_instance());
    let mut replayed: Vec<Cursor> = Vec::new();
    let mut script = script.iter();
    while !kept.status().is_final() {
        replayed.push(Cursor::replay(app.clone(), main_instance(), &driver.history));
        replayed.iter().for_each(|cursor| assert_same(&kept, cursor));
        assert!(!driver.outstanding.is_empty(), "the program waits for nothing");
        let messages = driver.next_batch(script.next());
        let outcome = kept.step(driver.input(&messages));
        for cursor in &mut replayed {
            assert_eq!(cursor.step(driver.input(&messages)), outcome);
        }
        assert_eq!(&outcome.status, kept.status());
        driver.absorb(&outcome);
        assert_eq!(kept.history_len(), driver.history.len());
    }
    replayed.push(Cursor::replay(app, main_instance(), &driver.history));
    replayed.iter().for_each(|cursor| assert_same(&kept, cursor));
    assert_well_formed(&driver.history, kept.status());
    driver.history
}

/// Decisions are numbered without a gap, and only the last episode ends the orchestration.
fn assert_well_formed(history: &[HistoryEvent], status: &RuntimeStatus) {
    let decisions: Vec<_> = history.iter().filter_map(|event| event.kind.decision()).collect();
    assert_eq!(decisions, (0..decisions.len() as u32).collect::<Vec<_>>());
    let [.., end, last] = history else { panic!("an episode has at least two events") };
    assert_eq!(last.kind, EventKind::OrchestratorCompleted);
    match (&end.kind, status) {
        (EventKind::ExecutionCompleted { result }, RuntimeStatus::Completed(value)) => {
            assert_eq!(result, value);
        }
        (EventKind::ExecutionFailed { error }, RuntimeStatus::Failed(cause)) => {
            assert_eq!(error, cause);
        }
        (event, status) => panic!("{event:?} does not end an orchestration as {status:?}"),
    }
    assert_eq!(history.iter().filter(|event| event.kind.is_end()).count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_replayed_cursor_goes_on_like_the_kept_one(
        program in programs(),
        input in 0u64..1_000,
        script in batches(),
    ) {
        check(&program, input, &script);
    }
}

/// The names of a history's events, in order.
fn names(history: &[HistoryEvent]) -> Vec<&'static str> {
    history.iter().map(|event| event.kind.name()).collect()
}

/// An input for which the first `calls` calls of a chain all succeed.
fn lucky_input(calls: usize) -> (u64, Vec<HistoryEvent>) {
    let program = vec![Op::Call { caught: false }; calls];
    let history = |input| check(&program, input, &[]);
    (0..)
        .map(|input| (input, history(input)))
        .find(|(_, history)| {
            !history.iter().any(|event| matches!(event.kind, EventKind::ExecutionFailed { .. }))
        })
        .expect("some input has no unlucky call")
}

#[test]
fn a_chain_of_n_activities_has_four_rows_for_each_of_its_n_plus_1_episodes() {
    for length in 0..=8 {
        let (_, history) = lucky_input(length);
        assert_eq!(history.len(), 4 * (length + 1));
        let mut expected = Vec::new();
        for episode in 0..=length {
            let consumed = if episode == 0 { "ExecutionStarted" } else { "TaskCompleted" };
            let decided = if episode == length { "ExecutionCompleted" } else { "TaskScheduled" };
            expected.extend(["OrchestratorStarted", consumed, decided, "OrchestratorCompleted"]);
        }
        assert_eq!(names(&history), expected);
    }
}

#[test]
fn hello_sequence_5_has_24_rows() {
    assert_eq!(lucky_input(5).1.len(), 24);
}

#[test]
fn answers_that_arrive_together_share_an_episode() {
    let batch =
        |fresh: usize| Batch { fresh: vec![0; fresh], copies: Vec::new(), fresh_first: true };
    let history = check(&[Op::FanOut(3)], 7, &[batch(1), batch(3)]);
    let answers = names(&history).iter().filter(|name| name.starts_with("TaskC")).count()
        + names(&history).iter().filter(|name| name.starts_with("TaskF")).count();
    assert_eq!(answers, 3);
    assert_eq!(names(&history).iter().filter(|name| **name == "OrchestratorStarted").count(), 2);
}
