//! Services: outages, refusals, lost answers, late effects; and requests over links in trouble.

use crate::common::{deterministic, ms, run, world};
use crate::{between, named, of_service, one_way};
use bytes::Bytes;
use sim_model::time::Timestamp;
use sim_world::blob::Condition;
use sim_world::fault::{Effect, LinkTrouble, ServiceTrouble, Trouble};
use sim_world::kernel::Kernel;
use sim_world::service::{RequestOptions, StorageError};
use sim_world::world::World;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(2);

fn scene<F>(main: impl FnOnce(Kernel, World) -> F + Send)
where
    F: Future<Output = ()> + 'static,
{
    run(deterministic, |kernel, profile| {
        let world = world(&kernel, profile, 2);
        main(kernel, world)
    });
}

/// Puts a message into the queue, with one attempt of 2 s.
async fn put(world: &World, host: usize) -> Result<(), StorageError> {
    let queue = world.storage().queue("q").with_options(RequestOptions::once(TIMEOUT));
    let host = world.hosts()[host].clone();
    queue.put(&host, Bytes::from_static(b"x"), Duration::ZERO).await.map(drop)
}

/// Messages in the queue, asked by the second host.
async fn length(world: &World) -> u64 {
    let queue = world.storage().queue("q");
    queue.length(&world.hosts()[1]).await.expect("an answer").value
}

const UNKNOWN: Result<(), StorageError> = Err(StorageError::TimedOut { attempts: 1 });

#[test]
fn a_cut_host_runs_into_timeouts_and_recovers() {
    scene(|kernel, world| async move {
        let cut = world.begin(&between("worker-0", "*", LinkTrouble::Cut)).expect("begins");
        assert_eq!(put(&world, 0).await, UNKNOWN);
        assert_eq!(kernel.now(), Timestamp::ZERO + TIMEOUT, "at the deadline");
        assert_eq!(put(&world, 1).await, Ok(()), "the other host is not concerned");
        world.end(cut);
        assert_eq!(put(&world, 0).await, Ok(()));
        assert_eq!(length(&world).await, 2, "what was sent into the cut is gone");
    });
}

#[test]
fn an_answer_that_meets_a_cut_leaves_an_ambiguous_timeout() {
    scene(|_, world| async move {
        let cut = one_way("queue", "worker-0", LinkTrouble::Cut);
        let cut = world.begin(&cut).expect("begins");
        assert_eq!(put(&world, 0).await, UNKNOWN);
        assert_eq!(length(&world).await, 1, "it was applied");
        world.end(cut);
        assert_eq!(put(&world, 0).await, Ok(()));
    });
}

#[test]
fn the_client_library_repeats_until_the_cut_is_over() {
    scene(|kernel, world| async move {
        let cut = world.begin(&between("worker-0", "*", LinkTrouble::Cut)).expect("begins");
        let asking = world.clone();
        kernel.spawn(world.hosts()[0].node(), async move {
            let queue = asking.storage().queue("q");
            let put = queue.put(&asking.hosts()[0], Bytes::new(), Duration::ZERO).await;
            let timing = put.expect("repeated").timing;
            assert!(timing.total() >= Duration::from_secs(30), "one timeout of 30 s");
        });
        kernel.sleep(Duration::from_secs(20)).await;
        world.end(cut);
        kernel.sleep(Duration::from_secs(60)).await;
        assert_eq!(length(&world).await, 1);
    });
}

#[test]
fn a_held_request_is_applied_after_its_client_gave_up_or_died() {
    scene(|kernel, world| async move {
        let clog = one_way("worker-0", "queue", LinkTrouble::Clog);
        let clog = world.begin(&clog).expect("begins");
        assert_eq!(put(&world, 0).await, UNKNOWN);
        let asking = world.clone();
        world.hosts()[0].spawn(async move {
            let _ = put(&asking, 0).await;
            unreachable!("the host is killed before");
        });
        kernel.sleep(ms(100)).await;
        world.hosts()[0].kill();
        assert_eq!(length(&world).await, 0);
        world.end(clog);
        kernel.sleep(ms(100)).await;
        assert_eq!(length(&world).await, 2, "late, but applied");
    });
}

#[test]
fn a_held_answer_still_counts_if_it_comes_in_time() {
    scene(|kernel, world| async move {
        for (held_for, expected) in [(ms(500), Ok(())), (ms(2_500), UNKNOWN)] {
            let clog = one_way("queue", "worker-0", LinkTrouble::Clog);
            let clog = world.begin(&clog).expect("begins");
            let ending = world.clone();
            kernel.spawn(world.client_node(), async move {
                ending.kernel().sleep(held_for).await;
                ending.end(clog);
            });
            assert_eq!(put(&world, 0).await, expected);
            kernel.sleep(Duration::from_secs(5)).await;
        }
        assert_eq!(length(&world).await, 2);
    });
}

#[test]
fn a_request_that_comes_twice_is_applied_twice_and_answered_once() {
    scene(|kernel, world| async move {
        let duplicate = LinkTrouble::Duplicate { probability: 1.0 };
        let id = world.begin(&one_way("worker-0", "queue", duplicate)).expect("begins");
        assert_eq!(put(&world, 0).await, Ok(()));
        world.end(id);
        kernel.sleep(ms(100)).await;
        assert_eq!(length(&world).await, 2);
        assert_eq!(world.fault_counts().of(Effect::MessageDuplicated), 1);
        assert_eq!(world.meter().total("queue", "put"), 2);
    });
}

#[test]
fn a_service_that_is_out_answers_nobody_and_comes_back() {
    scene(|_, world| async move {
        let out = world.begin(&of_service("queue", ServiceTrouble::Outage)).expect("begins");
        assert_eq!(put(&world, 0).await, UNKNOWN);
        let table = world.storage().table("t");
        let inserted = table.insert(&world.hosts()[0], "p", "r", Bytes::new()).await;
        assert!(inserted.is_ok(), "another service is not concerned");
        world.end(out);
        assert_eq!(put(&world, 0).await, Ok(()));
        assert_eq!(length(&world).await, 1, "nothing of the outage was taken in");
        assert_eq!(world.fault_counts().of(Effect::RequestUnanswered), 1);
    });
}

#[test]
fn a_throttled_request_is_refused_and_metered() {
    scene(|_, world| async move {
        let throttle = ServiceTrouble::Throttle { probability: 1.0 };
        let id = world.begin(&of_service("queue", throttle)).expect("begins");
        assert_eq!(put(&world, 0).await, Err(StorageError::ServerBusy { attempts: 1 }));
        assert_eq!(world.meter().total("queue", "throttled"), 1);
        world.end(id);
        assert_eq!(put(&world, 0).await, Ok(()));
        assert_eq!(length(&world).await, 1);
    });
}

#[test]
fn a_delayed_service_takes_longer() {
    scene(|kernel, world| async move {
        let delay = ServiceTrouble::Delay { by: ms(300), jitter: Duration::ZERO };
        let id = world.begin(&of_service("queue", delay)).expect("begins");
        assert_eq!(put(&world, 0).await, Ok(()));
        assert_eq!(kernel.now(), Timestamp::from_millis(307));
        world.end(id);
        assert_eq!(put(&world, 0).await, Ok(()));
        assert_eq!(kernel.now(), Timestamp::from_millis(314));
    });
}

#[test]
fn a_lost_answer_is_an_ambiguous_timeout() {
    scene(|_, world| async move {
        let lose = ServiceTrouble::LoseAnswer { probability: 1.0 };
        let id = world.begin(&of_service("queue", lose)).expect("begins");
        assert_eq!(put(&world, 0).await, UNKNOWN);
        world.end(id);
        assert_eq!(length(&world).await, 1, "it was applied");
        assert_eq!(world.fault_counts().of(Effect::AnswerLost), 1);
    });
}

#[test]
fn a_late_write_of_a_dead_client_takes_effect() {
    scene(|kernel, world| async move {
        let late = ServiceTrouble::ApplyLate { probability: 1.0, by: Duration::from_secs(10) };
        let id = world.begin(&of_service("queue", late)).expect("begins");
        let asking = world.clone();
        world.hosts()[0].spawn(async move {
            let _ = put(&asking, 0).await;
            unreachable!("the host is killed before");
        });
        kernel.sleep(ms(100)).await;
        world.hosts()[0].kill();
        world.end(id);
        kernel.sleep(Duration::from_secs(9)).await;
        assert_eq!(length(&world).await, 0);
        kernel.sleep(Duration::from_secs(1)).await;
        assert_eq!(length(&world).await, 1);
        assert_eq!(world.fault_counts().of(Effect::RequestAppliedLate), 1);
    });
}

/// A write that comes late, after another one; what the blob holds in the end.
async fn after_a_late_write(kernel: &Kernel, world: &World, conditional: bool) -> Bytes {
    let (host, name) = (&world.hosts()[0], if conditional { "on condition" } else { "plain" });
    let blobs = world.storage().container("c").with_options(RequestOptions::once(TIMEOUT));
    let first = blobs.put_if(host, name, Bytes::from_static(b"0"), None, Condition::Absent).await;
    let on = match conditional {
        true => Condition::Tag(first.expect("there is none").value),
        false => Condition::Any,
    };
    let late = ServiceTrouble::ApplyLate { probability: 1.0, by: Duration::from_secs(10) };
    let id = world.begin(&of_service("blob", late)).expect("begins");
    let write = |text: &'static [u8]| blobs.put_if(host, name, Bytes::from_static(text), None, on);
    assert_eq!(write(b"1").await.map(drop), UNKNOWN);
    world.end(id);
    write(b"2").await.expect("the first has not been applied");
    kernel.sleep(Duration::from_secs(20)).await;
    blobs.get(host, name).await.expect("it is there").value
}

#[test]
fn a_late_write_is_refused_if_it_was_made_on_condition() {
    scene(|kernel, world| async move {
        assert_eq!(&after_a_late_write(&kernel, &world, false).await[..], b"1");
        assert_eq!(&after_a_late_write(&kernel, &world, true).await[..], b"2");
        let (host, blobs) = (&world.hosts()[0], world.storage().container("c"));
        let again = blobs.put_if(host, "plain", Bytes::new(), None, Condition::Absent).await;
        assert_eq!(again.expect_err("it exists"), StorageError::PreconditionFailed);
    });
}

#[test]
fn a_broken_lease_is_lost_to_its_holder() {
    scene(|_, world| async move {
        let (host, blobs) = (&world.hosts()[0], world.storage().container("c"));
        for name in ["leased", "other"] {
            blobs.put(host, name, Bytes::new(), None).await.expect("stored");
        }
        let lease = blobs.acquire_lease(host, "leased", None).await.expect("free").value;
        let other = blobs.acquire_lease(host, "other", None).await.expect("free").value;
        let id = world.begin(&Trouble::Lease { blob: named("c/leas*") }).expect("begins");
        world.end(id);
        let write = blobs.put(host, "leased", Bytes::new(), Some(lease)).await;
        assert_eq!(write.expect_err("fenced"), StorageError::LeaseLost);
        let renewal = blobs.renew_lease(host, "leased", lease).await;
        assert!(matches!(renewal, Err(StorageError::Conflict { .. })), "{renewal:?}");
        blobs.renew_lease(host, "other", other).await.expect("it does not match");
        blobs.acquire_lease(host, "leased", None).await.expect("free again");
        assert_eq!(world.fault_counts().of(Effect::LeaseBroken), 1);
        assert_eq!(world.fault_targets().blobs, ["c/leased", "c/other"]);
    });
}
