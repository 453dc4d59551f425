//! Replay: a cursor that is dropped and rebuilt from the recorded history goes on exactly like the
//! one that was kept, whatever the program and however its messages arrive.
//!
//! Random programs of all the model's operations run on the small engine of these tests, which
//! rebuilds a cursor of every instance before every step: those of the programs, of the orchestrations
//! they call, and of the entities they use. All of them take all further steps and must agree.

mod common;

use common::{Options, Play, Rebuild, ms, payload};
use futures_util::future::{Either, LocalBoxFuture, join_all, select};
use proptest::prelude::*;
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::engine::ClientMessage;
use sim_model::entity::EntityContext;
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::{OrchestrationContext, RetryPolicy, RuntimeStatus};
use std::rc::Rc;
use std::time::Duration;

/// One instruction of a random program. A program folds everything it sees into one number.
#[derive(Clone, Debug)]
enum Op {
    /// Call an activity; with `caught` its failure is a value, without it ends the program.
    Call { caught: bool },
    /// Call an activity up to three times, with growing pauses.
    Retry,
    /// Call that many activities and join them.
    FanOut(usize),
    /// Call an activity and drop the call.
    Forget,
    /// Start another orchestration and do not wait.
    Start,
    /// Call another orchestration; with `retried` again if it fails.
    SubCall { retried: bool },
    /// Wait for a timer; one that is due already if zero.
    Sleep(u64),
    /// Wait for an event, for so long.
    Await { event: u8, millis: u64 },
    /// Wait for an event.
    AwaitForever(u8),
    /// Send itself an event.
    Raise(u8),
    /// Signal an entity, now or later.
    Signal { entity: u8, operation: u8, delay: Option<u64> },
    /// Call an entity.
    CallEntity { entity: u8, operation: u8 },
    /// Enter a critical section, give up after so long, run the program inside.
    Section { entities: Vec<u8>, patience: Option<u64>, inside: Vec<Op> },
    /// Set the custom status.
    Status,
    /// Continue as new with the number, up to three times.
    Continue,
    /// End with an error if the number is a multiple of eight.
    FailIfEighth,
    /// Await something that nobody can wake.
    Foreign,
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

type Number = Result<u64, ApplicationError>;

/// What the activity returns for `input`: one input in five is an error.
fn work(input: u64) -> Number {
    match mix(input, 5) % 5 {
        0 => Err(ApplicationError::user(format!("cannot work on {input}"))),
        _ => Ok(mix(input, 1)),
    }
}

fn entity(key: u8) -> EntityId {
    EntityId::new("Account", (key % 4).to_string())
}

fn operation(number: u8) -> &'static str {
    ["Add", "Get", "Fail", "Delete", "Tell", "Begin", "Unknown"][usize::from(number % 7)]
}

fn number_of(result: Number) -> u64 {
    result.unwrap_or_else(|error| error.message.len() as u64)
}

/// One program on its way.
#[derive(Clone)]
struct Run {
    ctx: OrchestrationContext,
    round: u64,
}

impl Run {
    fn run(&self, program: Rc<[Op]>, start: u64) -> LocalBoxFuture<'static, Number> {
        let run = self.clone();
        Box::pin(async move {
            let mut number = start;
            for op in program.iter() {
                let seen = match op {
                    Op::Branch(..) | Op::Join(_) | Op::Race { .. } | Op::Section { .. } => {
                        run.nested(op.clone(), number).await?
                    }
                    _ => run.simple(op.clone(), number).await?,
                };
                number = mix(mix(number, seen), run.ctx.now().as_nanos());
            }
            Ok(number)
        })
    }

    async fn simple(&self, op: Op, number: u64) -> Number {
        let ctx = &self.ctx;
        let policy = RetryPolicy { backoff: 2.0, ..RetryPolicy::new(ms(5), 3) };
        let child = |kind: &str| InstanceId::new(format!("{}/{kind}{number}", ctx.instance_id()));
        Ok(match op {
            Op::Call { caught: true } => number_of(ctx.call_activity("Work", &number).await),
            Op::Call { caught: false } => ctx.call_activity("Work", &number).await?,
            Op::Retry => number_of(ctx.call_activity_with_retry("Luck", &number, policy).await),
            Op::FanOut(width) => {
                let call = |index| ctx.call_activity::<u64>("Work", &mix(number, index));
                let results = join_all((0..width as u64).map(call)).await;
                results.into_iter().flatten().fold(number, mix)
            }
            Op::Forget => {
                drop(ctx.call_activity::<u64>("Work", &number));
                2
            }
            Op::Start => {
                ctx.start_orchestration("Child", child("f"), &number)?;
                3
            }
            Op::SubCall { retried: false } => {
                number_of(ctx.call_sub_orchestration_as("Child", child("c"), &number).await)
            }
            Op::SubCall { retried: true } => {
                number_of(ctx.call_sub_orchestration_with_retry("Child", &number, policy).await)
            }
            Op::Sleep(millis) => ctx.sleep(ms(millis)).await.map(|()| 4)?,
            Op::Await { event, millis } => {
                let wait = ctx.wait_for_event::<u64>(&format!("event{event}"));
                match select(wait, ctx.sleep(ms(millis))).await {
                    Either::Left((input, _)) => number_of(input),
                    Either::Right(_) => 5,
                }
            }
            Op::AwaitForever(event) => {
                number_of(ctx.wait_for_event(&format!("event{event}")).await)
            }
            Op::Raise(event) => {
                ctx.raise_event(&ctx.instance_id(), &format!("event{event}"), &number)?;
                6
            }
            Op::Signal { entity: key, operation: op, delay } => {
                match delay {
                    None => ctx.signal_entity(&entity(key), operation(op), &number)?,
                    Some(delay) => {
                        let at = ctx.now() + ms(delay);
                        ctx.signal_entity_at(&entity(key), at, operation(op), &number)?;
                    }
                }
                7
            }
            Op::CallEntity { entity: key, operation: op } => {
                number_of(ctx.call_entity(&entity(key), operation(op), &number).await)
            }
            Op::Status => ctx.set_custom_status(&number).map(|()| 8)?,
            Op::Continue if self.round < 3 => {
                ctx.continue_as_new::<u64>(&(number, self.round + 1)).await?
            }
            Op::FailIfEighth if number.is_multiple_of(8) => {
                return Err(ApplicationError::user(format!("{number} is not for me")));
            }
            Op::Foreign => std::future::pending::<u64>().await,
            _ => 9,
        })
    }

    async fn nested(&self, op: Op, number: u64) -> Number {
        let sub = |ops: &[Op], start| self.run(ops.into(), start);
        Ok(match op {
            Op::Branch(even, odd) => {
                sub(if number.is_multiple_of(2) { &even } else { &odd }, number).await?
            }
            Op::Join(programs) => {
                let runs = programs.iter().zip(number..).map(|(ops, start)| sub(ops, start));
                join_all(runs).await.into_iter().map(|result| result.unwrap_or(6)).fold(number, mix)
            }
            Op::Race { sides: [left, right], await_loser } => {
                let race = select(sub(&left, number), sub(&right, number ^ 1)).await;
                let (side, first, loser) = match race {
                    Either::Left((result, loser)) => (0, result, loser),
                    Either::Right((result, loser)) => (1, result, loser),
                };
                let second = if await_loser { loser.await.unwrap_or(7) } else { 8 };
                mix(mix(first.unwrap_or(9), second), side)
            }
            Op::Section { entities, patience, inside } => {
                let entities: Vec<_> = entities.into_iter().map(entity).collect();
                let lock = self.ctx.lock(&entities);
                let entered = match patience {
                    None => Some(lock.await?),
                    Some(millis) => match select(lock, self.ctx.sleep(ms(millis))).await {
                        Either::Left((entered, _)) => Some(entered?),
                        Either::Right(_) => None,
                    },
                };
                let Some(section) = entered else { return Ok(10) };
                // Left by `?`, with calls on their way, if the program inside fails.
                let inside = sub(&inside, number).await?;
                section.release();
                inside
            }
            other => unreachable!("{other:?} is simple"),
        })
    }
}

fn application(program: &[Op]) -> Rc<Application> {
    let program: Rc<[Op]> = program.into();
    let mut app = Application::new();
    app.orchestration("Main", move |ctx, (input, round): (u64, u64)| {
        let run = Run { ctx, round };
        let program = program.clone();
        async move { run.run(program, input).await }
    });
    app.orchestration("Child", |ctx: OrchestrationContext, input: u64| async move {
        let first: u64 = ctx.call_activity("Work", &input).await?;
        ctx.signal_entity(&entity(first as u8), "Add", &first)?;
        ctx.sleep(ms(first % 9)).await?;
        ctx.call_activity::<u64>("Work", &first).await
    });
    app.activity("Work", |_: ActivityContext, input: u64| async move { work(input) });
    app.activity("Luck", |cx: ActivityContext, _: u64| async move { work(cx.call_key() & !1) });
    app.entity::<u64>("Account")
        .operation("Add", |_, state: &mut u64, amount: u64| {
            *state = mix(*state, amount);
            Ok(*state)
        })
        .operation("Get", |cx: &mut EntityContext, state: &mut u64, _: u64| {
            Ok(mix(*state, cx.now().as_nanos()))
        })
        .operation("Fail", |_, state: &mut u64, amount: u64| {
            *state += 1;
            Err::<u64, _>(ApplicationError::user(format!("not {amount}")))
        })
        .operation("Delete", |cx: &mut EntityContext, _: &mut u64, _: u64| {
            cx.delete_state();
            Ok(11)
        })
        .operation("Tell", |cx: &mut EntityContext, state: &mut u64, amount: u64| {
            cx.signal(&entity(amount as u8), "Add", &*state)?;
            let at = cx.now() + ms(amount % 40);
            cx.signal_at(&entity((amount >> 8) as u8), at, "Get", &amount)?;
            cx.compute(Duration::from_micros(amount % 10));
            Ok(12)
        })
        .operation("Begin", |cx: &mut EntityContext, state: &mut u64, amount: u64| {
            let child = InstanceId::new(format!("{}/{amount}", cx.id().key()));
            cx.start_orchestration("Child", child, &*state)?;
            Ok(13)
        });
    Rc::new(app)
}

fn leaves() -> impl Strategy<Value = Op> {
    let key = 0u8..4;
    let signal = (key.clone(), 0u8..7, prop::option::of(0u64..60));
    prop_oneof![
        6 => any::<bool>().prop_map(|caught| Op::Call { caught }),
        2 => Just(Op::Retry),
        2 => (0usize..5).prop_map(Op::FanOut),
        // Beyond 30 calls `join_all` polls only the calls that were woken.
        1 => (31usize..40).prop_map(Op::FanOut),
        1 => Just(Op::Forget),
        1 => Just(Op::Start),
        2 => any::<bool>().prop_map(|retried| Op::SubCall { retried }),
        3 => (0u64..50).prop_map(Op::Sleep),
        3 => (0u8..2, 0u64..40).prop_map(|(event, millis)| Op::Await { event, millis }),
        1 => (0u8..2).prop_map(Op::AwaitForever),
        2 => (0u8..2).prop_map(Op::Raise),
        3 => signal.prop_map(|(entity, operation, delay)| Op::Signal { entity, operation, delay }),
        4 => (key, 0u8..7).prop_map(|(entity, operation)| Op::CallEntity { entity, operation }),
        2 => Just(Op::Status),
        2 => Just(Op::Continue),
        1 => Just(Op::FailIfEighth),
        1 => Just(Op::Foreign),
    ]
}

fn programs() -> impl Strategy<Value = Vec<Op>> {
    let op = leaves().prop_recursive(3, 24, 4, |inner| {
        let block = prop::collection::vec(inner, 0..4);
        let entities = prop::collection::vec(0u8..4, 0..4);
        // Mostly what is allowed inside, so that sections are seldom left by misuse.
        let locked = |keys: Vec<u8>, calls: Vec<u8>| -> Vec<Op> {
            let entity = |index: &u8| keys.get(usize::from(*index) % keys.len().max(1)).copied();
            calls
                .iter()
                .filter_map(entity)
                .zip(&calls)
                .map(|(entity, operation)| Op::CallEntity { entity, operation: *operation })
                .collect()
        };
        let patience = prop::option::of(0u64..30);
        prop_oneof![
            2 => (block.clone(), block.clone()).prop_map(|(even, odd)| Op::Branch(even, odd)),
            2 => prop::collection::vec(block.clone(), 0..4).prop_map(Op::Join),
            2 => ([block.clone(), block.clone()], any::<bool>())
                .prop_map(|(sides, await_loser)| Op::Race { sides, await_loser }),
            3 => (entities.clone(), patience.clone(), prop::collection::vec(0u8..7, 0..4)).prop_map(
                move |(entities, patience, calls)| {
                    let inside = locked(entities.clone(), calls);
                    Op::Section { entities, patience, inside }
                }
            ),
            1 => (entities, patience, block)
                .prop_map(|(entities, patience, inside)| Op::Section { entities, patience, inside }),
        ]
    });
    prop::collection::vec(op, 0..7)
}

/// What clients send to the orchestration, and when.
fn interventions() -> impl Strategy<Value = Vec<(u64, ClientMessage)>> {
    let reason = || "a test".into();
    let message = prop_oneof![
        6 => (0u8..2, any::<u16>()).prop_map(|(event, input)| ClientMessage::RaiseEvent {
            name: format!("event{event}").into(),
            input: payload(input),
        }),
        2 => Just(ClientMessage::Suspend { reason: reason() }),
        3 => Just(ClientMessage::Resume { reason: reason() }),
        1 => Just(ClientMessage::Terminate { reason: reason() }),
    ];
    prop::collection::vec((0u64..200, message), 0..6)
}

const MAIN: &str = "main";

/// Runs the program until nothing happens any more.
fn check(
    program: &[Op],
    input: u64,
    interventions: &[(u64, ClientMessage)],
    options: Options,
) -> Play {
    let mut play = Play::new(application(program), options);
    play.start("Main", MAIN, (input, 0u64));
    for (at, message) in interventions {
        let at = play.clock + ms(*at);
        play.send_at(&InstanceId::new(MAIN), message.clone(), at);
    }
    play.run();
    if play.status(MAIN) == RuntimeStatus::Suspended {
        play.send(MAIN, ClientMessage::Resume { reason: "at last".into() });
        play.run();
    }
    assert_well_formed(play.history(MAIN), &play.status(MAIN));
    assert_settled(&play);
    play
}

/// Decisions are numbered without a gap, and only the last episode ends the orchestration.
fn assert_well_formed(history: &[HistoryEvent], status: &RuntimeStatus) {
    let first = history.iter().find_map(|event| match event.kind {
        EventKind::ExecutionStarted { first_event_id, .. } => Some(first_event_id),
        _ => None,
    });
    let first = first.expect("a history has a start");
    let decisions: Vec<_> = history.iter().filter_map(|event| event.kind.decision()).collect();
    assert_eq!(decisions, (first..first + decisions.len() as u32).collect::<Vec<_>>());
    let last = history.iter().rposition(|event| event.kind.name() == "OrchestratorStarted");
    let (before, episode) = history.split_at(last.expect("a history has an episode"));
    assert!(!before.iter().any(|event| event.kind.is_end()));
    assert_eq!(episode.last().map(|event| &event.kind), Some(&EventKind::OrchestratorCompleted));
    let ends = episode.iter().any(|event| match (&event.kind, status) {
        (EventKind::ExecutionCompleted { result }, RuntimeStatus::Completed(value)) => {
            result == value
        }
        (EventKind::ExecutionFailed { error }, RuntimeStatus::Failed(cause)) => error == cause,
        (EventKind::ExecutionTerminated { reason }, RuntimeStatus::Terminated(why)) => {
            reason == why
        }
        _ => false,
    });
    assert_eq!(ends, status.is_final(), "{status:?} after {episode:?}");
}

/// An orchestration that has ended holds no lock, and its requests have been served.
fn assert_settled(play: &Play) {
    if play.status(MAIN).is_final() {
        assert_eq!(play.unsettled(), [""; 0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_replayed_cursor_goes_on_like_the_kept_one(
        program in programs(),
        input in 0u64..1_000,
        interventions in interventions(),
        fifo in any::<bool>(),
        seed in any::<u64>(),
        max_operations in prop_oneof![Just(usize::MAX), 1usize..4],
        signal_delay in prop::option::of(10u64..30),
    ) {
        let options = if fifo { Options::fifo(seed) } else { Options::disorderly(seed) };
        let options = Options {
            rebuild: Rebuild::EachPrefix,
            max_operations,
            max_signal_delay: signal_delay.map(ms),
            ..options
        };
        check(&program, input, &interventions, options);
    }
}
