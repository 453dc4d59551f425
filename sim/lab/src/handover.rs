//! Handovers: a partition goes on on another host, and how long it stood still meanwhile.
//!
//! Engines whose instances are in partitions report each step that becomes final, with the partition and
//! the life of the host that executed it ([`sim_model::engine::Observer::progressed`]). Where two
//! reports in a row of one partition come from different lives, it was handed over, and made no *progress*
//! from the first of the two instants to the second. So the span holds everything a move costs: the last
//! commit, giving up the lease and waiting for it, recovery, and the way of messages to the new owner.
//!
//! **Assumption.** There is work for the partition all the time: a span in which nobody wanted anything
//! of it counts like one in which nobody served it. A host that was restarted is another owner of what it
//! had before. Where two lives finish steps of one partition in turn, as while an old owner drains, each
//! turn is a handover.
//!
//! Reports are measurements: they take no virtual time and are no part of a run's digest.

use sim_model::engine::HostLife;
use sim_model::time::Timestamp;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// A partition that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The partition.
    pub partition: u32,
    /// Who owned it.
    pub from: HostLife,
    /// Who owns it now.
    pub to: HostLife,
    /// The last progress on the old owner.
    pub last: Timestamp,
    /// The first on the new one.
    pub first: Timestamp,
}

impl Handover {
    /// How long the partition made no progress.
    pub fn span(&self) -> Duration {
        self.first.since(self.last)
    }
}

/// Where progress is reported. Cloning shares the record.
#[derive(Clone, Debug, Default)]
pub(crate) struct HandoverRecorder(Rc<RefCell<Record>>);

#[derive(Debug, Default)]
struct Record {
    /// The last progress of each partition, and whose it was.
    last: BTreeMap<u32, (HostLife, Timestamp)>,
    handovers: Vec<Handover>,
}

impl HandoverRecorder {
    /// A step of `partition` has become final.
    pub(crate) fn progressed(&self, at: Timestamp, partition: u32, owner: HostLife) {
        let record = &mut *self.0.borrow_mut();
        let before = record.last.insert(partition, (owner, at));
        if let Some((from, last)) = before.filter(|(from, _)| *from != owner) {
            record.handovers.push(Handover { partition, from, to: owner, last, first: at });
        }
    }

    /// All handovers so far, by the time of the new owner's first progress.
    pub(crate) fn take(&self) -> Vec<Handover> {
        std::mem::take(&mut self.0.borrow_mut().handovers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_stands_still_from_its_last_step_here_to_its_first_there() {
        let record = HandoverRecorder::default();
        let owner = |host, life| HostLife { host, life };
        let seconds = Timestamp::from_secs;
        for (at, partition, host, life) in
            [(1, 0, 0, 0), (2, 1, 0, 0), (3, 0, 0, 0), (7, 0, 1, 0), (8, 1, 0, 0), (10, 0, 1, 1)]
        {
            record.progressed(seconds(at), partition, owner(host, life));
        }
        let spans: Vec<(u32, usize, u64)> = record
            .take()
            .iter()
            .map(|handover| (handover.partition, handover.to.host, handover.span().as_secs()))
            .collect();
        assert_eq!(spans, [(0, 1, 4), (0, 1, 3)], "a restarted host is another owner");
        assert!(record.take().is_empty());
    }
}
