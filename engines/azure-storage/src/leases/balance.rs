//! Which lease blobs a worker acquires or steals: a plan for one look at all of them.
//!
//! With `b` blobs and `w` workers (those that hold a lease, and the worker itself) each is to have
//! `b / w`, rounded up. A worker that has fewer acquires blobs whose lease has run out or was given up,
//! as many as it needs. If there are none, it steals one from the worker that has most, if that has
//! more than the share, or as much as the share and this worker lacks two or more.
//!
//! Source: Azure/durabletask main@5217032, `Partitioning/LeaseCollectionBalancer.cs` (TakeLeasesAsync),
//! after the balancer of the event processor host \[general\].

use std::collections::BTreeMap;
use std::rc::Rc;

/// A lease blob, as it was listed and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The control queue.
    pub queue: usize,
    /// Who holds the lease, if it is leased.
    pub holder: Option<Rc<str>>,
}

/// What a worker does about a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// It acquires the lease, which nobody holds.
    Acquire(usize),
    /// It takes the lease from its holder.
    Steal(usize),
}

/// What worker `me` takes. It may have only what `may_have` allows, and steals only if `steals`.
pub(crate) fn take(
    me: &str,
    seen: &[Seen],
    may_have: impl Fn(usize) -> bool,
    steals: bool,
) -> Vec<Take> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    counts.insert(me, 0);
    for holder in seen.iter().filter_map(|seen| seen.holder.as_deref()) {
        *counts.entry(holder).or_default() += 1;
    }
    let share = seen.len().div_ceil(counts.len());
    let lacks = share.saturating_sub(counts[me]);
    let free = seen.iter().filter(|seen| seen.holder.is_none() && may_have(seen.queue));
    let acquired: Vec<Take> = free.take(lacks).map(|seen| Take::Acquire(seen.queue)).collect();
    let any_free = seen.iter().any(|seen| seen.holder.is_none());
    if lacks == 0 || any_free || !steals {
        return acquired;
    }
    let others = counts.iter().filter(|(worker, _)| **worker != me);
    let Some((victim, count)) = others.max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0))) else {
        return acquired;
    };
    let least = if lacks > 1 { share } else { share + 1 };
    let of_victim = seen.iter().find(|seen| seen.holder.as_deref() == Some(victim));
    let steal = of_victim.filter(|_| *count >= least);
    steal.map(|seen| Take::Steal(seen.queue)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(holders: &[Option<&str>]) -> Vec<Seen> {
        let of =
            |(queue, holder): (usize, &Option<&str>)| Seen { queue, holder: holder.map(Rc::from) };
        holders.iter().enumerate().map(of).collect()
    }

    #[test]
    fn what_is_free_is_acquired_up_to_the_share() {
        let blobs = seen(&[None, Some("a"), None, None, None]);
        let expected = [Take::Acquire(0), Take::Acquire(2), Take::Acquire(3)];
        assert_eq!(take("b", &blobs, |_| true, true), expected);
        assert_eq!(take("b", &blobs, |queue| queue == 4, false), [Take::Acquire(4)]);
    }

    #[test]
    fn one_lease_is_stolen_at_a_time_from_whoever_has_most() {
        let all = seen(&[Some("a"); 4]);
        assert_eq!(take("b", &all, |_| true, true), [Take::Steal(0)]);
        assert_eq!(take("b", &all, |_| true, false), []);
        let nearly = seen(&[Some("b"), Some("a"), Some("a"), Some("a")]);
        assert_eq!(take("b", &nearly, |_| true, true), [Take::Steal(1)]);
        let even = seen(&[Some("b"), Some("b"), Some("a"), Some("a")]);
        assert_eq!(take("b", &even, |_| true, true), []);
        let odd = seen(&[Some("b"), Some("a"), Some("a")]);
        assert_eq!(take("b", &odd, |_| true, true), [], "the other has its share");
    }

    proptest! {
        /// Workers that take turns come to rest, each within one of its share.
        #[test]
        fn taking_turns_comes_to_balance(blobs in 1usize..17, workers in 1usize..6) {
            let names: Vec<Rc<str>> = (0..workers).map(|n| format!("w{n}").into()).collect();
            let mut seen = vec![None::<Rc<str>>; blobs];
            let look = |holders: &[Option<Rc<str>>]| -> Vec<Seen> {
                let of = |(queue, holder): (usize, &Option<Rc<str>>)| Seen { queue, holder: holder.clone() };
                holders.iter().enumerate().map(of).collect()
            };
            for _ in 0..60 {
                for name in &names {
                    for taken in take(name, &look(&seen), |_| true, true) {
                        let (Take::Acquire(queue) | Take::Steal(queue)) = taken;
                        seen[queue] = Some(name.clone());
                    }
                }
            }
            let share = blobs.div_ceil(workers);
            for name in &names {
                let holds = seen.iter().flatten().filter(|holder| *holder == name).count();
                prop_assert!(holds <= share, "{holds} of {blobs} over {workers}");
                prop_assert!(blobs < workers || holds + 1 >= blobs / workers, "{holds}");
                prop_assert!(take(name, &look(&seen), |_| true, true).is_empty(), "at rest");
            }
        }
    }
}
