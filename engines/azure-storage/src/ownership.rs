//! Which control queue an instance belongs to, and who dequeues it if that is fixed.
//!
//! Instances are spread over control queues by the FNV-1a hash of their names, and each control
//! queue belongs to one worker at a time: only its owner dequeues it. Ownership moves by leases (see
//! [`crate::leases`]) or, with `partition_management=static`, not at all: queue `q` then belongs to
//! worker `q mod workers`, which is what leases arrive at when all workers start together and none
//! fails, without a lease's traffic. The queues of a host that is down then wait for it.

use sim_model::id::InstanceId;

/// The assignment of control queues to workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ownership {
    queues: u32,
    workers: u32,
}

impl Ownership {
    /// `queues` control queues over `workers` workers.
    pub fn new(queues: u32, workers: u32) -> Self {
        assert!(queues > 0 && workers > 0, "a task hub has a queue and a worker");
        Ownership { queues, workers }
    }

    /// The control queue of an instance.
    pub fn queue_of(&self, instance: &InstanceId) -> usize {
        (instance.fnv1a() % self.queues) as usize
    }

    /// The control queues that are assigned to `worker`.
    pub fn owned_by(&self, worker: usize) -> impl Iterator<Item = usize> {
        debug_assert!(worker < self.workers as usize, "a worker of this task hub");
        (worker..self.queues as usize).step_by(self.workers as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_has_one_owner_and_loads_differ_by_at_most_one() {
        for (queues, workers) in [(12, 8), (4, 8), (12, 5), (1, 1), (16, 3)] {
            let ownership = Ownership::new(queues, workers);
            let mut owners = vec![0; queues as usize];
            let mut loads = Vec::new();
            for worker in 0..workers as usize {
                loads.push(ownership.owned_by(worker).count());
                for queue in ownership.owned_by(worker) {
                    owners[queue] += 1;
                }
            }
            assert!(owners.iter().all(|owners| *owners == 1), "{queues} over {workers}");
            assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
        }
    }
}
