//! Which host runs which partition: the decisions.
//!
//! **What it models.** The event processor host of the event log's client library (4.3.2, which the
//! measured version of the engine uses). Each partition of the event log has a blob; who holds its
//! lease owns the partition, and writes its name into the blob's metadata. Every 10 s a host renews
//! its leases and lists the blobs. It takes every partition that nobody owns. If all are owned, and
//! another host has at least two more than it has, it steals one of the host that has the most: it
//! breaks the lease and takes it, and the former owner learns of it when it next renews. So ownership
//! evens out by one partition for each host and interval.
//!
//! **Assumption.** At first partitions are dealt round robin over all hosts of the deployment, as a
//! hub that has been up for a while has them: each host claims its own at start, before it looks at
//! what nobody owns. Source: Azure/azure-event-hubs-dotnet, `PartitionManager.cs` [general].

use std::collections::BTreeMap;
use std::rc::Rc;

/// What a host sees of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub partition: u32,
    /// Who owns it, by name; nobody if the lease has run out.
    pub owner: Option<Rc<str>>,
}

/// What a host does next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Partitions that nobody owns.
    pub take: Vec<u32>,
    /// Partitions one of which to steal: those of the host that has the most.
    pub steal_one_of: Vec<u32>,
}

/// The next moves of the host `me` among the partitions it sees.
pub(crate) fn plan(seen: &[Seen], me: &str) -> Plan {
    let take: Vec<u32> =
        seen.iter().filter(|seen| seen.owner.is_none()).map(|seen| seen.partition).collect();
    if !take.is_empty() {
        return Plan { take, steal_one_of: Vec::new() };
    }
    let mut owned: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for seen in seen {
        let owner = seen.owner.as_deref().expect("all of them have one");
        owned.entry(owner).or_default().push(seen.partition);
    }
    let mine = owned.get(me).map_or(0, Vec::len);
    // The first of those with the most.
    let largest = owned.into_iter().rev().max_by_key(|(_, partitions)| partitions.len());
    match largest {
        Some((owner, partitions)) if owner != me && partitions.len() >= mine + 2 => {
            Plan { take, steal_one_of: partitions }
        }
        _ => Plan::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(owners: &[Option<&str>]) -> Vec<Seen> {
        let seen = |(partition, owner): (usize, &Option<&str>)| Seen {
            partition: partition as u32,
            owner: owner.map(Rc::from),
        };
        owners.iter().enumerate().map(seen).collect()
    }

    #[test]
    fn what_nobody_owns_is_taken_before_anything_is_stolen() {
        let plan_of = |owners: &[Option<&str>]| plan(&seen(owners), "b");
        let (a, b) = (Some("a"), Some("b"));
        assert_eq!(plan_of(&[a, None, a, None]).take, [1, 3]);
        assert_eq!(plan_of(&[a, a, a]).steal_one_of, [0, 1, 2]);
        assert_eq!(plan_of(&[a, a, b]), Plan::default(), "stealing would only turn it round");
        assert_eq!(plan_of(&[b, b, b, a]), Plan::default());
    }

    proptest! {
        /// Hosts that act in turn own everything and differ by at most one in the end, and then
        /// nothing moves any more.
        #[test]
        fn ownership_evens_out(hosts in 1usize..9, partitions in 1u32..40, first in 0usize..9) {
            let names: Vec<Rc<str>> = (0..hosts).map(|host| Rc::from(format!("host{host}"))).collect();
            let mut owners: Vec<Option<Rc<str>>> =
                (0..partitions).map(|_| (first < hosts).then(|| names[first].clone())).collect();
            let mut moves_of_last_round = 1;
            for _ in 0..2 * partitions {
                moves_of_last_round = 0;
                for name in &names {
                    let seen: Vec<Seen> = owners
                        .iter()
                        .enumerate()
                        .map(|(partition, owner)| Seen { partition: partition as u32, owner: owner.clone() })
                        .collect();
                    let plan = plan(&seen, name);
                    for partition in plan.take.iter().chain(plan.steal_one_of.first()) {
                        owners[*partition as usize] = Some(name.clone());
                        moves_of_last_round += 1;
                    }
                }
            }
            prop_assert_eq!(moves_of_last_round, 0);
            let counts: Vec<usize> = names
                .iter()
                .map(|name| owners.iter().filter(|owner| owner.as_ref() == Some(name)).count())
                .collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", counts);
        }
    }
}
