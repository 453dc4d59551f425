//! What an orchestration's code and the cursor that drives it have in common.

use super::decision::Decision;
use super::section::Section;
use crate::error::{ApplicationError, ApplicationResult};
use crate::history::{EventId, RaisedEvent};
use crate::id::InstanceId;
use crate::payload::Payload;
use crate::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

/// An answer that user code waits for, or has not taken yet.
pub(super) enum Answer {
    /// Nobody answered; the waker of the code that awaits it, if any does.
    Open(Option<Waker>),
    /// Answered, and not taken by the code yet.
    Ready(ApplicationResult),
}

/// An external event that user code waits for.
struct Wait {
    id: u64,
    name: Arc<str>,
    waker: Option<Waker>,
    arrived: Option<External>,
}

/// An external event that the code has not taken.
struct External {
    /// Its place among all that arrived.
    number: u64,
    name: Arc<str>,
    input: Payload,
}

/// State shared between user code and the cursor that drives it.
pub(super) struct Shared {
    pub(super) instance: InstanceId,
    pub(super) now: Timestamp,
    pub(super) replaying: bool,
    pub(super) next_event_id: EventId,
    /// Decisions of the code that no history event has recorded yet, oldest first.
    pub(super) unrecorded: VecDeque<(EventId, Decision)>,
    pub(super) answers: BTreeMap<EventId, Answer>,
    /// The critical section that the code is in, or waits to enter.
    pub(super) section: Option<Section>,
    /// The rule of the model that the code has broken.
    pub(super) misuse: Option<ApplicationError>,
    /// The input of the next execution, if the code asked for one.
    pub(super) continue_with: Option<Payload>,
    pub(super) custom_status: Option<Payload>,
    next_wait: u64,
    waits: VecDeque<Wait>,
    next_external: u64,
    /// External events that nobody waits for, in the order they arrived.
    buffered: VecDeque<External>,
    /// How many of the things above the code is waiting for right now.
    awaited: usize,
}

impl Shared {
    pub(super) fn new(instance: InstanceId) -> Shared {
        Shared {
            instance,
            now: Timestamp::ZERO,
            replaying: false,
            next_event_id: 0,
            unrecorded: VecDeque::new(),
            answers: BTreeMap::new(),
            section: None,
            misuse: None,
            continue_with: None,
            custom_status: None,
            next_wait: 0,
            waits: VecDeque::new(),
            next_external: 0,
            buffered: VecDeque::new(),
            awaited: 0,
        }
    }

    /// Forgets everything about an execution that has continued as new, and returns the external
    /// events it did not take, oldest first. The numbers of decisions go on.
    pub(super) fn begin_execution(&mut self) -> Vec<RaisedEvent> {
        self.answers.clear();
        self.awaited = 0;
        let untaken = self.waits.drain(..).filter_map(|wait| wait.arrived);
        let mut events: Vec<External> = untaken.chain(self.buffered.drain(..)).collect();
        events.sort_by_key(|event| event.number);
        let raised = |External { name, input, .. }| RaisedEvent::External { name, input };
        events.into_iter().map(raised).collect()
    }

    pub(super) fn decide(&mut self, decision: Decision) -> EventId {
        let event_id = self.next_event_id;
        self.next_event_id += 1;
        self.unrecorded.push_back((event_id, decision));
        event_id
    }

    /// A decision that will be answered.
    pub(super) fn call(&mut self, decision: Decision) -> EventId {
        let event_id = self.decide(decision);
        self.answers.insert(event_id, Answer::Open(None));
        event_id
    }

    /// Notes that the code has broken a rule. The first breach counts.
    pub(super) fn break_rule(&mut self, problem: impl Into<Arc<str>>) {
        self.misuse.get_or_insert_with(|| ApplicationError::misuse(problem));
    }

    /// Whether the code waits for anything that can come.
    pub(super) fn is_waiting(&self) -> bool {
        self.awaited > 0
    }

    /// Delivers an answer, and returns the waker to wake once this state is no longer borrowed.
    /// `None` if the call was answered before, or belongs to a former execution.
    pub(super) fn answer(
        &mut self,
        event_id: EventId,
        result: ApplicationResult,
    ) -> Option<Option<Waker>> {
        // The entity is free for another call even if the code has dropped this one.
        if let Some(section) = &mut self.section {
            section.answered(event_id);
        }
        let answer = self.answers.get_mut(&event_id)?;
        let Answer::Open(waker) = answer else { return None };
        let waker = waker.take();
        *answer = Answer::Ready(result);
        self.awaited -= usize::from(waker.is_some());
        Some(waker)
    }

    /// Takes an answer, or leaves a waker for it. A call that a former execution made is never
    /// answered.
    pub(super) fn poll_answer(
        &mut self,
        event_id: EventId,
        waker: &Waker,
    ) -> Option<ApplicationResult> {
        let answer = self.answers.get_mut(&event_id)?;
        if let Answer::Open(waiting) = answer {
            self.awaited += usize::from(waiting.is_none());
            *waiting = Some(waker.clone());
            return None;
        }
        match self.answers.remove(&event_id) {
            Some(Answer::Ready(result)) => Some(result),
            _ => unreachable!("the slot was seen to be ready"),
        }
    }

    /// The code has dropped a call: its answer will be ignored.
    pub(super) fn forget_answer(&mut self, event_id: EventId) {
        if let Some(Answer::Open(Some(_))) = self.answers.remove(&event_id) {
            self.awaited -= 1;
        }
    }

    /// Begins to wait for an external event; one that was buffered is taken at once.
    pub(super) fn begin_wait(&mut self, name: &str) -> u64 {
        let id = self.next_wait;
        self.next_wait += 1;
        let buffered = self.buffered.iter().position(|event| *event.name == *name);
        let arrived = buffered.and_then(|index| self.buffered.remove(index));
        self.waits.push_back(Wait { id, name: name.into(), waker: None, arrived });
        id
    }

    /// An external event arrived: it goes to whoever has waited for it the longest, or is kept.
    /// Returns the waker as [`Shared::answer`] does.
    pub(super) fn raise(&mut self, name: &Arc<str>, input: Payload) -> Option<Option<Waker>> {
        let number = self.next_external;
        self.next_external += 1;
        self.hand_out(External { number, name: name.clone(), input })
    }

    fn hand_out(&mut self, event: External) -> Option<Option<Waker>> {
        let waits = |wait: &&mut Wait| wait.name == event.name && wait.arrived.is_none();
        let Some(wait) = self.waits.iter_mut().find(waits) else {
            let later = self.buffered.partition_point(|other| other.number < event.number);
            self.buffered.insert(later, event);
            return None;
        };
        wait.arrived = Some(event);
        let waker = wait.waker.take();
        self.awaited -= usize::from(waker.is_some());
        Some(waker)
    }

    /// Takes the event of a wait, or leaves a waker for it. A wait of a former execution is over.
    pub(super) fn poll_wait(&mut self, id: u64, waker: &Waker) -> Option<Payload> {
        let index = self.waits.iter().position(|wait| wait.id == id)?;
        if self.waits[index].arrived.is_none() {
            let waiting = self.waits[index].waker.replace(waker.clone());
            self.awaited += usize::from(waiting.is_none());
            return None;
        }
        self.waits.remove(index).and_then(|wait| wait.arrived).map(|event| event.input)
    }

    /// The code no longer waits; an event that has arrived meanwhile goes to the next who does.
    /// Returns the waker as [`Shared::answer`] does.
    pub(super) fn end_wait(&mut self, id: u64) -> Option<Option<Waker>> {
        let index = self.waits.iter().position(|wait| wait.id == id)?;
        let wait = self.waits.remove(index)?;
        self.awaited -= usize::from(wait.waker.is_some());
        self.hand_out(wait.arrived?)
    }

    /// Gives up the critical section with this number, or any: every entity is sent its release.
    pub(super) fn leave_section(&mut self, number: Option<EventId>) {
        let is_meant = |section: &mut Section| number.is_none_or(|n| section.id.event_id == n);
        if let Some(section) = self.section.take_if(is_meant) {
            for (target, event) in section.releases() {
                self.decide(Decision::SendEvent { target, event });
            }
        }
    }
}
