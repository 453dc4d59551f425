//! Partitions move: hosts join and leave, and a host that was thought dead comes back.

mod mixture;
mod stage;

use futures_util::future::join_all;
use mixture::{COMPLETIONS, application, play_all};
use sim_model::id::InstanceId;
use stage::{Level, Play, SPECULATION, Stage, stage};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

type Sets = &'static [(&'static str, &'static str)];

/// How many partitions each process owns, by what the blobs of ownership say.
async fn owners(play: &Play) -> BTreeMap<String, usize> {
    let blobs = play.world.storage().container("netherite");
    let listed = blobs.list_details(play.world.client(), "owners/p").await.expect("a list").value;
    let mut owners = BTreeMap::new();
    for blob in listed.iter().filter(|blob| blob.leased) {
        *owners.entry(String::from_utf8_lossy(&blob.metadata).into_owned()).or_default() += 1;
    }
    owners
}

async fn sleep(play: &Play, seconds: u64) {
    play.kernel.sleep(Duration::from_secs(seconds)).await;
}

/// Starts a chain of activities every 200 ms for so long; all of them have to end.
async fn steady(play: &Play, seconds: u32) -> usize {
    let count = 5 * seconds;
    let chains = (0..count).map(async |number| {
        play.kernel.sleep(Duration::from_millis(200) * number).await;
        let instance = format!("steady-{number}");
        play.start(&instance, "Hello", 2).await;
        let ended = play.client().wait(InstanceId::new(instance.as_str())).await;
        assert!(ended.expect("an answer").status.is_final());
    });
    join_all(chains).await;
    count as usize
}

#[test]
fn partitions_follow_the_hosts_that_join_and_leave() {
    for sets in SPECULATION {
        let stage = Stage { started: Some(1), sets, ..stage(application).on(4) };
        let outcome = stage.play(async |play: Rc<Play>| {
            let load = steady(&play, 150);
            let scaling = async {
                sleep(&play, 5).await;
                assert_eq!(owners(&play).await, BTreeMap::from([("host0.0".to_owned(), 12)]));
                (1..4).for_each(|host| play.start_host(host));
                sleep(&play, 60).await;
                let counts: Vec<usize> = owners(&play).await.into_values().collect();
                assert_eq!(counts, [3, 3, 3, 3]);
                play.stop_host(2).await;
                sleep(&play, 20).await;
                let counts: Vec<usize> = owners(&play).await.into_values().collect();
                assert_eq!(counts.iter().sum::<usize>(), 12, "{counts:?}");
                play.stop_host(3).await;
                play.stop_host(1).await;
                sleep(&play, 20).await;
                assert_eq!(owners(&play).await, BTreeMap::from([("host0.0".to_owned(), 12)]));
            };
            futures_util::join!(load, scaling).0
        });
        let outcome = outcome.sound();
        assert_eq!(outcome.completions.len(), outcome.value);
        assert!(outcome.counter("recoveries") >= 9 + 9, "each move begins an incarnation");
    }
}

/// A partition that is stopped in an orderly way gives up its lease: the next host does not wait for
/// its end, and has nothing to replay.
#[test]
fn an_orderly_move_is_short() {
    let longest = |orderly: bool| {
        let outcome = stage(application).on(2).play(async move |play: Rc<Play>| {
            play.start("before!1", "Hello", 3).await;
            let moved = play.kernel.now();
            match orderly {
                true => play.stop_host(1).await,
                false => play.crash(1),
            }
            play.start("after!1", "Hello", 3).await;
            play.kernel.now().since(moved)
        });
        outcome.sound().value
    };
    let (orderly, crash) = (longest(true), longest(false));
    assert!(orderly < Duration::from_secs(12), "next look at what nobody owns: {orderly:?}");
    let expiry = Duration::from_secs(25)..Duration::from_secs(60);
    assert!(expiry.contains(&crash), "two leases have to end: {crash:?}");
}

/// A host is frozen long enough to lose everything it owns, and goes on as if nothing had happened.
#[test]
fn a_host_that_was_frozen_is_fenced() {
    for sets in SPECULATION {
        for seed in 1..=4 {
            let stage = Stage { seed, sets, ..stage(application).on(3) };
            let outcome = stage.play(async move |play: Rc<Play>| {
                let freezing = async {
                    play.kernel.sleep(Duration::from_millis(50 * seed)).await;
                    play.pause(1);
                    sleep(&play, 20 * seed).await;
                    play.resume(1);
                };
                futures_util::join!(play_all(&play), freezing);
            });
            let outcome = outcome.sound();
            assert_eq!(outcome.completions.len(), COMPLETIONS, "seed {seed}, {sets:?}");
            assert_eq!(outcome.counter("leases_lost") > 0, seed > 1, "seed {seed}, {sets:?}");
        }
    }
}

/// The scale controller asks for more hosts while activities pile up, and for none when all is quiet,
/// until a timer comes due.
#[test]
fn the_scale_controller_follows_the_load() {
    let sets: Sets = &[("load_publishing", "true"), ("max_activities", "2")];
    let stage = Stage { sets, ..stage(application).on(2) };
    let outcome = stage.play(async |play: Rc<Play>| {
        let votes = |play: &Play| std::mem::take(&mut *play.levels.borrow_mut());
        play.start("timer", "Sleep", 400).await;
        sleep(&play, 90).await;
        let quiet = votes(&play);
        for n in 0..4 {
            play.start(&format!("wait-{n}"), "Wait", 40).await;
        }
        play.ended(4).await;
        let busy = votes(&play);
        play.ended(5).await;
        (quiet, busy, votes(&play))
    });
    let (quiet, busy, late) = outcome.sound().value;
    assert!(quiet.iter().all(|(_, what, _)| *what == "recommended_workers"));
    let last = |votes: &[Level]| votes.last().expect("a vote").2;
    assert_eq!(last(&quiet), 0, "{quiet:?}");
    assert!(busy.iter().any(|(_, _, workers)| *workers == 3), "{busy:?}");
    assert!(late.iter().any(|(_, _, workers)| *workers == 0), "{late:?}");
}
