//! Hosts that reach nobody, messages that are lost, late or doubled, answers that never come, and
//! clocks that are wrong.

use super::faults::{EXACT, expect_sound, play, total};
use super::scenario::{Fault, Mix};
use std::ops::RangeInclusive;

/// The moments that CI plays.
const FEW: RangeInclusive<u64> = 1..=3;
const MANY: RangeInclusive<u64> = 1..=40;

fn survives(fault: Fault) {
    survives_at(fault, &FEW);
}

/// Orchestrations in the published order of a step, and money in the order in which steps are exactly
/// once. Rows are fenced in both: a row that comes late would be the second of the published gaps.
fn survives_at(fault: Fault, moments: &RangeInclusive<u64>) {
    let fenced = &[("instance_etag", "true")];
    expect_sound(&play(fault, Mix::Orchestrations, &["table"], moments.clone(), fenced));
    expect_sound(&play(fault, Mix::WithBank, &["table"], moments.clone(), EXACT));
}

#[test]
#[ignore = "minutes: cargo test -p engine-azure-storage --test survival network -- --ignored"]
fn networks_may_fail_at_many_moments() {
    survives_at(Fault::CutOne, &MANY);
    survives_at(Fault::ClogOne, &MANY);
    survives_at(Fault::LoseMessages, &MANY);
    survives_at(Fault::DuplicateMessages, &MANY);
}

#[test]
fn a_host_may_lose_its_network() {
    survives(Fault::CutOne);
}

#[test]
fn what_a_host_sends_may_come_late() {
    survives(Fault::ClogOne);
}

#[test]
fn a_tenth_of_the_messages_may_be_lost() {
    survives(Fault::LoseMessages);
}

/// A write can be refused because its own copy was applied before it. Who is told so gives the step up,
/// although it is final.
#[test]
fn a_tenth_of_the_messages_may_come_twice() {
    survives(Fault::DuplicateMessages);
}

/// At the fifteenth moment the answer is lost to the write that repairs the row of an orchestration that has
/// ended, and its repetition is refused.
#[test]
fn a_fifth_of_the_answers_may_be_lost() {
    survives(Fault::LoseAnswers);
    survives_at(Fault::LoseAnswers, &(15..=15));
}

#[test]
fn requests_may_take_effect_late() {
    survives(Fault::ApplyLate);
}

/// Rows of the lease table are compared with the clock of who reads them; the ETag of each history keeps
/// the work of those who were robbed from counting twice.
#[test]
fn a_clock_that_is_ahead_takes_queues_from_others() {
    let seen = play(Fault::ClockOne, Mix::Chains, &["table"], FEW, &[("instance_etag", "true")]);
    expect_sound(&seen);
    assert!(total(&seen, "leases_lost") > 0);
}
