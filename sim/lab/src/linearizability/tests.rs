//! Histories of a register and of a counter, by hand, at random, and against trying every order.

use super::*;
use proptest::prelude::*;

/// A register: what a client saw of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Wrote(u8),
    /// Adds, and sees the sum.
    Added(u8, u8),
    /// Adds, and sees nothing.
    Add(u8),
    Read(u8),
}

struct Register;

impl Specification for Register {
    type State = u8;
    type Operation = Seen;

    fn initial(&self) -> u8 {
        0
    }

    fn apply(&self, state: &u8, operation: &Seen) -> Option<u8> {
        match *operation {
            Seen::Wrote(value) => Some(value),
            Seen::Add(by) => Some(state.wrapping_add(by)),
            Seen::Added(by, sum) => (state.wrapping_add(by) == sum).then_some(sum),
            Seen::Read(value) => (*state == value).then_some(value),
        }
    }

    fn unanswered(&self, operation: &Seen) -> Option<Seen> {
        match *operation {
            Seen::Added(by, _) => Some(Seen::Add(by)),
            Seen::Read(_) => None,
            other => Some(other),
        }
    }
}

fn one(invoked: u64, responded: impl Into<Option<u64>>, operation: Seen) -> Interval<Seen> {
    let responded = responded.into().map(Timestamp::from_nanos);
    let class = match operation {
        Seen::Add(by) => Some(u32::from(by)),
        _ => None,
    };
    Interval { invoked: Timestamp::from_nanos(invoked), responded, class, operation }
}

fn judge(history: &[Interval<Seen>]) -> Verdict {
    check(&Register, history, &mut 1_000_000)
}

fn accepted(history: &[Interval<Seen>]) -> bool {
    matches!(judge(history), Verdict::Linearizable(_))
}

#[test]
fn a_stale_read_is_rejected_and_a_concurrent_one_is_not() {
    let stale = [one(0, 10, Seen::Wrote(1)), one(11, 20, Seen::Read(0))];
    let Verdict::Violation(evidence) = judge(&stale) else { panic!("it is stale") };
    assert_eq!(evidence, Evidence { explained: vec![0], unexplained: vec![1] });
    assert!(accepted(&[one(0, 10, Seen::Wrote(1)), one(10, 20, Seen::Read(0))]), "one instant");
    assert!(accepted(&[one(0, 10, Seen::Wrote(1)), one(5, 20, Seen::Read(0))]));
}

#[test]
fn a_value_that_comes_and_goes_is_rejected() {
    let history =
        [one(0, 100, Seen::Wrote(1)), one(10, 20, Seen::Read(1)), one(30, 40, Seen::Read(0))];
    assert!(!accepted(&history));
}

#[test]
fn a_lost_update_is_rejected() {
    let history = [one(0, 10, Seen::Added(1, 1)), one(0, 10, Seen::Added(2, 2))];
    assert!(!accepted(&history), "both began from 0");
    assert!(accepted(&[one(0, 10, Seen::Added(1, 1)), one(0, 10, Seen::Added(2, 3))]));
}

#[test]
fn an_open_operation_may_take_effect_late_or_never() {
    assert!(accepted(&[one(0, None, Seen::Wrote(7)), one(5, 6, Seen::Read(0))]));
    let late = [one(0, None, Seen::Wrote(7)), one(5, 6, Seen::Read(0)), one(50, 60, Seen::Read(7))];
    assert!(accepted(&late));
    let back = [one(0, None, Seen::Wrote(7)), one(5, 6, Seen::Read(7)), one(8, 9, Seen::Read(0))];
    assert!(!accepted(&back));
    assert!(!accepted(&[one(7, None, Seen::Wrote(7)), one(5, 6, Seen::Read(7))]), "not yet asked");
}

#[test]
fn an_operation_that_took_effect_twice_is_rejected() {
    let twice = [one(0, None, Seen::Add(1)), one(5, 6, Seen::Read(2))];
    assert!(!accepted(&twice));
}

#[test]
fn thousands_of_interchangeable_open_operations_are_judged_at_once() {
    let mut history: Vec<_> = (0..4_000).map(|at| one(at, None, Seen::Add(0))).collect();
    history.extend((0..200).map(|at| one(5_000 + 2 * at, 5_001 + 2 * at, Seen::Read(0))));
    let mut budget = 10_000;
    let verdict = check(&Register, &history, &mut budget);
    assert!(matches!(verdict, Verdict::Linearizable(_)), "{verdict:?}, {budget} left");
}

#[test]
fn a_long_serial_history_is_judged_in_one_go() {
    let serial = (0..50_000u64).map(|at| one(3 * at, 3 * at + 1, Seen::Added(1, (at + 1) as u8)));
    let history: Vec<_> = serial.collect();
    let mut budget = 50_000;
    assert!(matches!(check(&Register, &history, &mut budget), Verdict::Linearizable(_)));
    assert_eq!(budget, 0, "one try for each");
}

#[test]
fn what_is_too_concurrent_is_not_judged() {
    let mut history: Vec<_> = (0..24).map(|by| one(0, 100, Seen::Wrote(by))).collect();
    history.push(one(0, 100, Seen::Read(200)));
    assert_eq!(check(&Register, &history, &mut 10_000), Verdict::TooConcurrent);
}

#[test]
fn the_shortest_violation_ends_with_the_answer_that_shows_it() {
    let mut history = vec![one(0, 10, Seen::Wrote(1)), one(11, 20, Seen::Read(0))];
    history.extend((0..50).map(|at| one(100 + 2 * at, 101 + 2 * at, Seen::Read(1))));
    let (part, evidence) =
        shortest_violation(&Register, &history, &mut 100_000).expect("a violation");
    assert_eq!(part, [0, 1]);
    assert_eq!(evidence.unexplained, [1]);
}

/// Whether some order of all answered and some open operations explains everything: all are tried.
fn brute_force(history: &[Interval<Seen>]) -> bool {
    fn go(history: &[Interval<Seen>], used: &mut Vec<bool>, state: u8) -> bool {
        let left = (0..history.len()).filter(|index| !used[*index]);
        let answers: Vec<Timestamp> =
            left.clone().filter_map(|index| history[index].responded).collect();
        let Some(first) = answers.iter().min() else { return true };
        left.collect::<Vec<_>>().into_iter().any(|index| {
            let fits = history[index].invoked <= *first;
            let Some(after) = Register.apply(&state, &history[index].operation) else {
                return false;
            };
            if !fits {
                return false;
            }
            used[index] = true;
            let found = go(history, used, after);
            used[index] = false;
            found
        })
    }
    go(history, &mut vec![false; history.len()], 0)
}

/// A history that has an order: operations one after the other, with stretched intervals.
fn stretched() -> impl Strategy<Value = Vec<Interval<Seen>>> {
    let operation = (0u8..4, 0u8..3, 0u64..60, 0u64..60, any::<bool>());
    proptest::collection::vec(operation, 1..8).prop_map(|steps| {
        let mut state = 0u8;
        let mut history = Vec::new();
        for (number, (kind, value, before, behind, open)) in steps.into_iter().enumerate() {
            let at = 50 * (number as u64 + 2);
            let operation = match kind {
                0 => Seen::Wrote(value),
                1 => Seen::Added(value, state.wrapping_add(value)),
                2 => Seen::Add(value),
                _ => Seen::Read(state),
            };
            state = Register.apply(&state, &operation).expect("it is what happened");
            let open = open && matches!(operation, Seen::Wrote(_) | Seen::Add(_));
            let responded = (!open).then_some(at + behind);
            history.push(one(at - before, responded, operation));
        }
        history
    })
}

/// The same, with something that a client may not have seen.
fn mutated() -> impl Strategy<Value = Vec<Interval<Seen>>> {
    (stretched(), any::<proptest::sample::Index>(), 0u8..5, 0u64..400).prop_map(
        |(mut history, which, value, shift)| {
            let index = which.index(history.len());
            match &mut history[index].operation {
                Seen::Read(seen) | Seen::Added(_, seen) => *seen = value,
                Seen::Wrote(_) | Seen::Add(_) => {
                    let length =
                        history[index].responded.map(|at| at.since(history[index].invoked));
                    history[index].invoked = Timestamp::from_nanos(shift);
                    history[index].responded = length.map(|length| history[index].invoked + length);
                }
            }
            history
        },
    )
}

proptest! {
    #[test]
    fn whatever_happened_one_after_the_other_is_accepted(history in stretched()) {
        prop_assert!(accepted(&history));
    }

    #[test]
    fn the_search_agrees_with_trying_every_order(history in mutated()) {
        prop_assert_eq!(accepted(&history), brute_force(&history));
    }

    /// What was found is an order: it explains what clients saw, and keeps to the intervals.
    #[test]
    fn the_order_that_is_found_explains_the_history(history in stretched()) {
        let Verdict::Linearizable(order) = judge(&history) else { panic!("it is one") };
        let mut state = 0;
        for (position, index) in order.iter().enumerate() {
            state = Register.apply(&state, &history[*index].operation).expect("it fits");
            for later in &order[position..] {
                let too_late = history[*later].responded;
                prop_assert!(too_late.is_none_or(|at| at >= history[*index].invoked));
            }
        }
        let answered = (0..history.len()).filter(|index| history[*index].responded.is_some());
        for index in answered {
            prop_assert!(order.contains(&index));
        }
    }

    #[test]
    fn the_shortest_violation_is_one(history in mutated()) {
        let found = shortest_violation(&Register, &history, &mut 1_000_000);
        prop_assert_eq!(found.is_some(), !accepted(&history));
    }
}
