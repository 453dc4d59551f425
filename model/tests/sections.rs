//! Critical sections: what they cost, that they exclude each other and never deadlock, the rules inside
//! them, and that every way out of them releases their locks.

mod common;

use common::{Options, Play, Random, Rebuild, ms};
use futures_util::future::{Either, join, select};
use sim_model::application::{ActivityContext, Application, ApplicationError, ErrorKind};
use sim_model::cursor::Cursor;
use sim_model::engine::ClientMessage;
use sim_model::entity::{EntityContext, RequestKind};
use sim_model::history::{EventKind, RaisedEvent};
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use std::rc::Rc;

fn account(key: impl std::fmt::Display) -> EntityId {
    EntityId::new("Account", key.to_string())
}

fn accounts() -> Application {
    let mut app = Application::new();
    app.entity::<i64>("Account")
        .operation("Get", |_, balance: &mut i64, (): ()| Ok(*balance))
        .operation("Add", |_: &mut EntityContext, balance: &mut i64, amount: i64| {
            *balance += amount;
            Ok(*balance)
        });
    app.activity("Nothing", |_: ActivityContext, (): ()| async { Ok(()) });
    app
}

type Transfer = (u32, u32, i64);

/// Moves money, in the published order of calls.
async fn transfer(
    ctx: OrchestrationContext,
    (source, destination, amount): Transfer,
) -> Result<bool, ApplicationError> {
    let (source, destination) = (account(source), account(destination));
    let section = ctx.lock(&[source.clone(), destination.clone()]).await?;
    let balance: i64 = ctx.call_entity(&source, "Get", &()).await?;
    if balance < amount {
        return Ok(false);
    }
    ctx.call_entity::<i64>(&source, "Add", &-amount).await?;
    ctx.call_entity::<i64>(&destination, "Add", &amount).await?;
    section.release();
    Ok(true)
}

fn bank() -> Rc<Application> {
    let mut app = accounts();
    app.orchestration("Transfer", transfer);
    Rc::new(app)
}

/// How many messages of this kind steps have sent.
fn sent(play: &Play, select: fn(&RequestKind) -> bool) -> usize {
    let messages = play.taken.iter().flat_map(|step| &step.outcome.messages);
    let requests = messages.filter_map(|message| match &message.event.kind {
        EventKind::EventRaised { event: RaisedEvent::Request(request) } => Some(request),
        _ => None,
    });
    requests.filter(|request| select(&request.kind)).count()
}

#[test]
fn a_transfer_costs_nine_messages_one_after_the_other_and_two_releases() {
    let mut play = Play::new(bank(), Options::fifo(0));
    play.signal(&account(1), "Add", 100);
    play.run();
    play.start("Transfer", "main", (1, 2, 30));
    play.run();
    assert!(play.result::<bool>("main"));
    let steps: Vec<_> = play.taken.iter().filter(|step| step.instance.as_str() == "main").collect();
    let (first, last) = (steps[0], steps[steps.len() - 1]);
    assert_eq!(last.chain - first.chain, 9, "from the start to the last answer");
    assert_eq!(steps.len(), 5, "the start, the grant, three answers");
    assert_eq!(sent(&play, |kind| matches!(kind, RequestKind::Lock(_))), 2);
    assert_eq!(sent(&play, |kind| matches!(kind, RequestKind::Operation(_))), 3);
    assert_eq!(sent(&play, |kind| matches!(kind, RequestKind::Release(_))), 2);
    assert_eq!(play.unsettled(), [""; 0]);
    assert_eq!(
        (play.entity::<i64>(&account(1)), play.entity::<i64>(&account(2))),
        (Some(70), Some(30))
    );
}

#[test]
fn k_locks_cost_k_plus_1_messages_one_after_the_other() {
    for count in 1..6 {
        let mut app = accounts();
        app.orchestration("Main", move |ctx: OrchestrationContext, (): ()| async move {
            let entities: Vec<_> = (0..count).rev().map(account).collect();
            ctx.lock(&entities).await?.release();
            Ok(())
        });
        let mut play = Play::new(Rc::new(app), Options::fifo(0));
        play.start("Main", "main", ());
        play.run();
        let chains = play.taken.iter().filter(|step| step.instance.as_str() == "main");
        assert_eq!(chains.map(|step| step.chain).collect::<Vec<_>>(), [1, 2 + count]);
    }
}

/// Ten transfers among five accounts, all at once.
fn transfers(seed: u64, options: Options) {
    let mut random = Random(seed);
    let mut play = Play::new(bank(), options);
    for key in 0..5 {
        play.signal(&account(key), "Add", 100);
    }
    play.run();
    for number in 0..10 {
        let source = random.below(5) as u32;
        let destination = (source + 1 + random.below(4) as u32) % 5;
        let amount = 1 + random.below(120) as i64;
        play.start("Transfer", &format!("transfer{number}"), (source, destination, amount));
    }
    play.run();
    let succeeded = (0..10).filter(|n| play.result::<bool>(&format!("transfer{n}"))).count();
    assert!(succeeded > 0);
    let balances: Vec<i64> = (0..5).filter_map(|key| play.entity(&account(key))).collect();
    assert_eq!(balances.iter().sum::<i64>(), 500, "seed {seed}: {balances:?}");
    assert!(balances.iter().all(|balance| *balance >= 0), "seed {seed}: {balances:?}");
    assert_eq!(play.unsettled(), [""; 0], "seed {seed}");
}

#[test]
fn ten_transfers_over_five_accounts_never_deadlock_over_1_000_seeds() {
    for seed in 0..1_000 {
        let options = if seed % 4 == 0 {
            Options { delay_max: ms(20), ..Options::fifo(seed) }
        } else {
            Options::disorderly(seed)
        };
        transfers(seed, Options { rebuild: Rebuild::Never, ..options });
    }
}

#[test]
fn ten_transfers_with_every_instance_dropped_after_every_step() {
    for seed in 0..30 {
        transfers(seed, Options::disorderly(seed));
    }
}

/// Runs `Main`, which is this code, on a transport without order, and checks that nothing stays locked.
fn run<O, F, Fut>(code: F, steps: impl FnOnce(&mut Play)) -> Play
where
    O: serde::Serialize + 'static,
    F: Fn(OrchestrationContext) -> Fut + 'static,
    Fut: Future<Output = Result<O, ApplicationError>> + 'static,
{
    let mut app = accounts();
    app.orchestration("Main", move |ctx: OrchestrationContext, (): ()| code(ctx));
    app.orchestration("Hold", |ctx: OrchestrationContext, (): ()| async move {
        let _section = ctx.lock(&[account(1)]).await?;
        ctx.sleep(ms(500)).await
    });
    let mut play = Play::new(Rc::new(app), Options::disorderly(7));
    play.start("Main", "main", ());
    steps(&mut play);
    play.run();
    assert_eq!(play.unsettled(), [""; 0]);
    // Somebody else gets the locks.
    play.start("Hold", "other", ());
    play.run();
    play.result::<()>("other");
    play
}

/// `Main` must fail with this misuse, and its locks must be free afterwards.
fn misuse<O, F, Fut>(expected: &str, code: F)
where
    O: serde::Serialize + 'static,
    F: Fn(OrchestrationContext) -> Fut + 'static,
    Fut: Future<Output = Result<O, ApplicationError>> + 'static,
{
    let error = run(code, |_| ()).error("main");
    assert_eq!((error.kind, &*error.message), (ErrorKind::Misuse, expected));
}

#[test]
fn a_section_inside_another_one_is_misuse() {
    let expected = "a critical section was entered inside another one";
    misuse(expected, |ctx| async move {
        let _outer = ctx.lock(&[account(1)]).await?;
        ctx.lock(&[account(2)]).await.map(drop)
    });
    // One that is not entered yet counts too.
    misuse(expected, |ctx| async move {
        let (first, second) = join(ctx.lock(&[account(1)]), ctx.lock(&[account(2)])).await;
        first.and(second).map(drop)
    });
}

#[test]
fn a_call_of_an_entity_that_is_not_locked_is_misuse() {
    misuse(
        "entity @Account@2 was called inside a critical section that does not lock it",
        |ctx| async move {
            let _section = ctx.lock(&[account(1)]).await?;
            ctx.call_entity::<i64>(&account(2), "Get", &()).await
        },
    );
}

#[test]
fn a_signal_to_a_locked_entity_is_misuse() {
    misuse(
        "entity @Account@1 was signalled inside a critical section that locks it",
        |ctx| async move {
            let _section = ctx.lock(&[account(1)]).await?;
            ctx.signal_entity(&account(2), "Add", &1)?;
            ctx.signal_entity(&account(1), "Add", &1)?;
            ctx.sleep(ms(1)).await
        },
    );
}

#[test]
fn a_sub_orchestration_inside_a_section_is_misuse() {
    misuse(r#"orchestration "Hold" was called inside a critical section"#, |ctx| async move {
        let _section = ctx.lock(&[account(2)]).await?;
        ctx.call_sub_orchestration::<()>("Hold", &()).await
    });
}

#[test]
fn two_calls_of_one_locked_entity_at_once_are_misuse() {
    misuse(
        "entity @Account@1 was called inside a critical section while another call of it was not \
         answered",
        |ctx| async move {
            let _section = ctx.lock(&[account(1)]).await?;
            let first = ctx.call_entity::<i64>(&account(1), "Get", &());
            let second = ctx.call_entity::<i64>(&account(1), "Get", &());
            let (first, second) = join(first, second).await;
            Ok(first? + second?)
        },
    );
}

#[test]
fn a_lock_of_nothing_is_misuse() {
    misuse("a critical section was entered without entities to lock", |ctx| async move {
        ctx.lock(&[]).await.map(drop)
    });
}

#[test]
fn something_foreign_is_misuse() {
    let expected = "the code awaits something that its context did not give it, so that nothing can \
                    wake it";
    misuse(expected, |ctx| async move {
        let _section = ctx.lock(&[account(1)]).await?;
        std::future::pending::<Result<(), ApplicationError>>().await
    });
    // A channel whose other end is not in the orchestration.
    let channel = Channel::default();
    misuse(expected, move |ctx| {
        let channel = channel.clone();
        async move {
            let _section = ctx.lock(&[account(1)]).await?;
            Ok(channel.receive().await)
        }
    });
}

/// A channel that the model knows nothing of.
#[derive(Clone, Default)]
struct Channel(Rc<std::cell::RefCell<(Vec<u32>, Vec<std::task::Waker>)>>);

impl Channel {
    async fn receive(&self) -> u32 {
        std::future::poll_fn(|cx| {
            let mut inner = self.0.borrow_mut();
            if let Some(value) = inner.0.pop() {
                return std::task::Poll::Ready(value);
            }
            inner.1.push(cx.waker().clone());
            std::task::Poll::Pending
        })
        .await
    }

    fn send(&self, value: u32) {
        let mut inner = self.0.borrow_mut();
        inner.0.push(value);
        let waiting = std::mem::take(&mut inner.1);
        drop(inner);
        waiting.into_iter().for_each(std::task::Waker::wake);
    }
}

#[test]
fn a_channel_between_two_parts_of_the_code_is_no_misuse() {
    let play = run(
        |ctx| async move {
            let channel = Channel::default();
            let (value, ()) = join(channel.receive(), async { channel.send(5) }).await;
            ctx.sleep(ms(1)).await?;
            Ok(value)
        },
        |_| (),
    );
    assert_eq!(play.result::<u32>("main"), 5);
}

#[test]
fn code_that_wakes_itself_without_end_is_misuse() {
    misuse(
        "the code wakes itself without end instead of awaiting what its context gives it",
        |_| {
            std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                std::task::Poll::<Result<(), _>>::Pending
            })
        },
    );
}

#[test]
fn a_call_awaited_again_is_misuse() {
    misuse("a call was awaited again after its end", |ctx| async move {
        let mut call = ctx.call_activity::<()>("Nothing", &());
        (&mut call).await?;
        call.await
    });
}

#[test]
fn a_call_that_was_dropped_leaves_its_entity_free_for_another() {
    let play = run(
        |ctx| async move {
            let section = ctx.lock(&[account(1)]).await?;
            let call = ctx.call_entity::<i64>(&account(1), "Add", &1);
            select(call, ctx.sleep(ms(0))).await;
            ctx.sleep(ms(100)).await?;
            let balance = ctx.call_entity::<i64>(&account(1), "Add", &1).await?;
            section.release();
            Ok(balance)
        },
        |_| (),
    );
    assert_eq!(play.result::<i64>("main"), 2);
}

#[test]
fn returning_releases() {
    run(|ctx| async move { ctx.lock(&[account(1), account(2)]).await.map(|_| ()) }, |_| ());
}

#[test]
fn an_error_releases() {
    let play = run(
        |ctx| async move {
            let _section = ctx.lock(&[account(1), account(2)]).await?;
            Err::<(), _>(ApplicationError::user("sold out"))
        },
        |_| (),
    );
    assert_eq!(play.error("main"), ApplicationError::user("sold out"));
}

#[test]
fn release_and_drop_release_while_the_code_goes_on() {
    run(
        |ctx| async move {
            let section = ctx.lock(&[account(1)]).await?;
            section.release();
            let section = ctx.lock(&[account(2), account(1)]).await?;
            drop(section);
            // Not locked any more: may be signalled, and somebody else may lock it.
            ctx.signal_entity(&account(1), "Add", &1)?;
            ctx.call_sub_orchestration::<()>("Hold", &()).await
        },
        |_| (),
    );
}

#[test]
fn termination_releases() {
    for after in [2, 15, 40, 200] {
        let play = run(
            |ctx| async move {
                let _section = ctx.lock(&[account(1), account(2), account(3)]).await?;
                ctx.wait_for_event::<()>("never").await
            },
            |play| {
                let at = play.clock + ms(after);
                let terminate = ClientMessage::Terminate { reason: "enough".into() };
                play.send_at(&InstanceId::new("main"), terminate, at);
            },
        );
        assert_eq!(play.status("main"), RuntimeStatus::Terminated("enough".into()));
    }
}

#[test]
fn continue_as_new_releases_even_what_the_code_has_leaked() {
    for leaks in [false, true] {
        let mut app = accounts();
        app.orchestration("Main", move |ctx: OrchestrationContext, round: u32| async move {
            let section = ctx.lock(&[account(1), account(2)]).await?;
            if leaks {
                std::mem::forget(section);
            }
            if round == 2 { Ok(()) } else { ctx.continue_as_new(&(round + 1)).await }
        });
        let mut play = Play::new(Rc::new(app), Options::disorderly(3));
        play.start("Main", "main", 0);
        play.run();
        play.result::<()>("main");
        assert_eq!(play.unsettled(), [""; 0]);
    }
}

#[test]
fn a_lock_that_is_given_up_is_released_whenever_it_comes() {
    let mut entered = 0;
    for patience in (0..60).map(|number| number * 13) {
        let play = run(
            move |ctx| async move {
                let lock = ctx.lock(&[account(0), account(1), account(2)]);
                match select(lock, ctx.sleep(ms(patience))).await {
                    Either::Left((section, _)) => section.map(|_| true),
                    Either::Right((timer, lock)) => {
                        timer?;
                        // Given up while the code goes on; or, in every other run, by returning.
                        if patience % 2 == 0 {
                            drop(lock);
                            ctx.sleep(ms(1)).await?;
                        }
                        Ok(false)
                    }
                }
            },
            |play| play.start("Hold", "holder", ()),
        );
        entered += usize::from(play.result::<bool>("main"));
    }
    assert!(0 < entered && entered < 60, "both happen: {entered} of 60");
}

#[test]
fn code_that_decides_something_else_on_replay_releases_what_its_history_has_locked() {
    let main = |ctx: OrchestrationContext, _: ()| async move {
        let _section = ctx.lock(&[account(1), account(2)]).await?;
        ctx.wait_for_event::<()>("news").await
    };
    let mut before = accounts();
    before.orchestration("Main", main);
    let mut play = Play::new(Rc::new(before), Options::fifo(1));
    play.start("Main", "main", ());
    play.run();
    assert_eq!(play.unsettled().len(), 2);

    let mut changed = accounts();
    changed.orchestration("Main", |ctx: OrchestrationContext, (): ()| async move {
        ctx.call_activity::<()>("Nothing", &()).await?;
        ctx.lock(&[account(3)]).await.map(drop)
    });
    let mut shortened = accounts();
    shortened.orchestration("Main", |ctx: OrchestrationContext, (): ()| async move {
        let _section = ctx.lock(&[account(1), account(2)]).await?;
        Ok(())
    });
    for app in [changed, shortened] {
        let mut cursor =
            Cursor::replay(Rc::new(app), InstanceId::new("main"), play.history("main"));
        let outcome = common::step_alone(&mut cursor, 99, vec![play.event("main", "news")]);
        let RuntimeStatus::Failed(error) = &outcome.status else { panic!("{:?}", outcome.status) };
        assert_eq!(error.kind, ErrorKind::NonDeterminism);
        let released: Vec<_> =
            outcome.messages.iter().map(|message| message.target.as_str()).collect();
        assert_eq!(released, ["@Account@1", "@Account@2"]);
        let mut numbers = play.history("main").iter().chain(&outcome.new_events);
        let numbers: Vec<_> = numbers.by_ref().filter_map(|event| event.kind.decision()).collect();
        assert_eq!(numbers, [0, 1, 2], "releases are numbered after what was recorded");
    }
}
