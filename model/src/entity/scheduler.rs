//! What is stored of an entity, and which request comes next.

use super::request::{EntityRequest, LockRequest, Operation, RequestKind, SectionId};
use super::sorter::MessageSorter;
use crate::ledger::Ledger;
use crate::payload::Payload;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// A request with the time of whoever waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending<K> {
    pub(super) request: K,
    pub(super) ledger: Ledger,
}

/// What waits in the queue of an entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Queued {
    Operation(Operation),
    Lock(LockRequest),
}

/// Everything an entity remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SchedulerState {
    /// The user's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<Payload>,
    /// Requests that wait for their turn, or for a lock to be given up.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(super) queue: VecDeque<Pending<Queued>>,
    /// Who has locked the entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) locked_by: Option<SectionId>,
    /// Whether the entity waits for its own message to continue.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) suspended: bool,
    /// Cancelled critical sections of which either the request or the release has been seen.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    half_cancelled: BTreeSet<SectionId>,
    /// The order of messages from and to this entity.
    #[serde(default, skip_serializing_if = "MessageSorter::is_empty")]
    pub(super) sorter: MessageSorter<Pending<EntityRequest>>,
}

/// What becomes of a lock request that an entity passes on at once.
pub(super) enum Next {
    /// Nothing can run now.
    Nothing,
    /// Run this operation.
    Operation(Pending<Operation>),
    /// The entity is locked now: pass the request on.
    Locked(Pending<LockRequest>),
}

impl SchedulerState {
    /// Whether nothing is left to remember.
    pub(super) fn is_empty(&self) -> bool {
        *self == SchedulerState::default()
            || (self.state.is_none()
                && self.queue.is_empty()
                && self.locked_by.is_none()
                && !self.suspended
                && self.half_cancelled.is_empty()
                && self.sorter.is_empty())
    }

    /// Takes requests that have arrived together, in order. Those of the lock's owner go to the
    /// front of the queue, in their order. Returns cancelled lock requests, to be passed on.
    pub(super) fn enqueue(
        &mut self,
        arrived: Vec<Pending<EntityRequest>>,
    ) -> Vec<Pending<LockRequest>> {
        let mut passed_on = Vec::new();
        let mut owners = 0;
        for Pending { request, ledger } in arrived {
            match request.kind {
                RequestKind::Operation(operation) => {
                    let owner = self.is_owner(operation.section.as_ref());
                    let request = Pending { request: Queued::Operation(operation), ledger };
                    if owner {
                        self.queue.insert(owners, request);
                        owners += 1;
                    } else {
                        self.queue.push_back(request);
                    }
                }
                RequestKind::Lock(lock) => {
                    if let Some(cancelled) = self.lock(lock, ledger) {
                        passed_on.push(cancelled);
                    }
                }
                RequestKind::Release(section) => {
                    passed_on.extend(self.release(&section));
                    owners = 0;
                }
                RequestKind::Continue => self.suspended = false,
            }
        }
        passed_on
    }

    fn is_owner(&self, section: Option<&SectionId>) -> bool {
        section.is_some() && self.locked_by.as_ref() == section
    }

    /// A lock request arrived: it waits in the queue, unless its section was given up.
    fn lock(&mut self, mut lock: LockRequest, ledger: Ledger) -> Option<Pending<LockRequest>> {
        if self.knows(&lock.section) {
            // A second copy: an orchestration asks once for each section.
            return None;
        }
        let released = self.half_cancelled.remove(&lock.section);
        if lock.cancelled && !released {
            self.half_cancelled.insert(lock.section.clone());
        }
        if lock.cancelled || released {
            lock.cancelled = true;
            return Some(Pending { request: lock, ledger });
        }
        self.queue.push_back(Pending { request: Queued::Lock(lock), ledger });
        None
    }

    /// Whether the section holds the lock or waits for it.
    fn knows(&self, section: &SectionId) -> bool {
        let waits = |pending: &Pending<Queued>| matches!(&pending.request, Queued::Lock(lock) if lock.section == *section);
        self.locked_by.as_ref() == Some(section) || self.queue.iter().any(waits)
    }

    /// A release arrived: the lock is free, or its request is cancelled.
    fn release(&mut self, section: &SectionId) -> Option<Pending<LockRequest>> {
        if self.locked_by.as_ref() == Some(section) {
            self.locked_by = None;
            return None;
        }
        let waiting = self.queue.iter().position(
            |pending| matches!(&pending.request, Queued::Lock(lock) if lock.section == *section),
        );
        if let Some(Pending { request: Queued::Lock(mut lock), ledger }) =
            waiting.and_then(|index| self.queue.remove(index))
        {
            lock.cancelled = true;
            return Some(Pending { request: lock, ledger });
        }
        if !self.half_cancelled.remove(section) {
            self.half_cancelled.insert(section.clone());
        }
        None
    }

    /// Whether something in the queue could run now.
    pub(super) fn is_runnable(&self) -> bool {
        match self.queue.front().map(|pending| &pending.request) {
            None => false,
            Some(_) if self.locked_by.is_none() => true,
            Some(Queued::Operation(operation)) => self.is_owner(operation.section.as_ref()),
            Some(Queued::Lock(_)) => false,
        }
    }

    /// Takes the next request that can run.
    pub(super) fn next(&mut self) -> Next {
        if !self.is_runnable() {
            return Next::Nothing;
        }
        let Pending { request, ledger } =
            self.queue.pop_front().expect("invariant: something is runnable");
        match request {
            Queued::Operation(request) => Next::Operation(Pending { request, ledger }),
            Queued::Lock(request) => {
                self.locked_by = Some(request.section.clone());
                Next::Locked(Pending { request, ledger })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Caller;
    use crate::id::{EntityId, InstanceId};
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn section(owner: u32) -> SectionId {
        SectionId { owner: InstanceId::new(format!("o{owner}")), event_id: 0 }
    }

    fn pending(kind: RequestKind) -> Pending<EntityRequest> {
        let ledger = Ledger::new(Timestamp::ZERO);
        Pending { request: EntityRequest::unordered(kind), ledger }
    }

    fn lock(owner: u32, position: u32, entities: u32) -> RequestKind {
        let entities = (0..entities).map(|key| EntityId::new("E", key.to_string())).collect();
        RequestKind::Lock(LockRequest {
            section: section(owner),
            entities,
            position,
            cancelled: false,
        })
    }

    fn operation(name: &str, owner: Option<u32>) -> RequestKind {
        RequestKind::Operation(Operation {
            name: name.into(),
            input: Payload::encode(&()).expect("null"),
            caller: owner.map(|owner| Caller { instance: section(owner).owner, event_id: 1 }),
            section: owner.map(section),
            scheduled: None,
        })
    }

    /// Runs everything that can run; names of operations, and `+owner` for each lock taken.
    fn run(state: &mut SchedulerState) -> Vec<String> {
        let mut ran = Vec::new();
        loop {
            match state.next() {
                Next::Nothing => return ran,
                Next::Operation(operation) => ran.push(operation.request.name.to_string()),
                Next::Locked(lock) => ran.push(format!("+{}", lock.request.section.owner)),
            }
        }
    }

    #[test]
    fn a_locked_entity_serves_its_owner_only_and_first() {
        let mut state = SchedulerState::default();
        state.enqueue(vec![pending(operation("a", None)), pending(lock(1, 0, 2))]);
        state.enqueue(vec![pending(operation("b", None)), pending(lock(2, 0, 2))]);
        assert_eq!(run(&mut state), ["a", "+o1"]);
        state.enqueue(vec![
            pending(operation("c", None)),
            pending(operation("mine", Some(1))),
            pending(operation("mine too", Some(1))),
        ]);
        assert_eq!(run(&mut state), ["mine", "mine too"]);
        state.enqueue(vec![pending(RequestKind::Release(section(1)))]);
        assert_eq!(run(&mut state), ["b", "+o2"]);
        state.enqueue(vec![pending(RequestKind::Release(section(2)))]);
        assert_eq!(run(&mut state), ["c"]);
        assert!(state.is_empty());
    }

    /// The entities of one lock chain, with everything on its way between them.
    struct Chain {
        entities: Vec<SchedulerState>,
        on_its_way: Vec<(usize, Pending<EntityRequest>)>,
        granted: bool,
    }

    impl Chain {
        fn deliver(&mut self, index: usize) {
            let (entity, request) = self.on_its_way.remove(index);
            let mut passed_on = self.entities[entity].enqueue(vec![request]);
            while let Next::Locked(lock) = self.entities[entity].next() {
                passed_on.push(lock);
            }
            for Pending { mut request, ledger } in passed_on {
                request.position += 1;
                let next = request.position as usize;
                if next < self.entities.len() {
                    let request = EntityRequest::unordered(RequestKind::Lock(request));
                    self.on_its_way.push((next, Pending { request, ledger }));
                } else {
                    self.granted |= !request.cancelled;
                }
            }
        }
    }

    proptest! {
        /// A section that is given up at any moment leaves nothing behind, whatever arrives first.
        #[test]
        fn cancelled_sections_are_forgotten(
            entities in 1u32..5,
            give_up_after in 0usize..8,
            picks in proptest::collection::vec(any::<proptest::sample::Index>(), 20),
        ) {
            let states = vec![SchedulerState::default(); entities as usize];
            let on_its_way = vec![(0, pending(lock(1, 0, entities)))];
            let mut chain = Chain { entities: states, on_its_way, granted: false };
            for (delivered, pick) in picks.into_iter().enumerate() {
                if delivered == give_up_after {
                    for entity in 0..entities as usize {
                        let release = RequestKind::Release(section(1));
                        chain.on_its_way.push((entity, pending(release)));
                    }
                }
                if !chain.on_its_way.is_empty() {
                    let next = pick.index(chain.on_its_way.len());
                    chain.deliver(next);
                }
            }
            prop_assert!(chain.on_its_way.is_empty());
            for state in &chain.entities {
                prop_assert!(state.is_empty(), "left behind: {:?}", state);
            }
        }
    }
}
