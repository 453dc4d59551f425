//! The critical path of one orchestration, step by step: where its latency went, and why.
//!
//! A run's ledgers say how much of a latency went to each category. From the trail that is kept of them
//! ([`sim_model::ledger::trail`]) the path is followed back from the end: each charge is a *stretch* of time,
//! and the messages that were sent with a ledger lead from each work item to the one that it waited for
//! last. A path through another orchestration that was called goes through that one's own stretches.
//!
//! Stretches follow each other without a gap. By category they sum to exactly what the run reports for
//! the orchestration, after what is in [`CriticalPath::uncounted`]: an engine may keep a creation time that
//! is later, or a last update that is earlier, than the times that a path begins and ends at.

use crate::trace::End;
use rustc_hash::FxHashMap;
use sim_model::graph::{Graph, Target, WorkItemKind};
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::trail::{self, Charge, Trail};
use sim_model::ledger::{Category, Ledger, Timing};
use sim_model::time::Timestamp;
use std::time::Duration;

/// A part of a latency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its begin.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// What it went to; sums to its length.
    pub parts: Timing,
    /// Why.
    pub words: String,
}

/// Something that happened on the path, at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The instant.
    pub at: Timestamp,
    /// What happened.
    pub words: String,
    /// The work item that did it, if one did.
    pub work_item: Option<WorkItemId>,
    /// The host it was on, if that is known.
    pub host: Option<String>,
    /// The message that was sent, if one was.
    pub message: Option<String>,
}

/// An element of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    /// Time that passed.
    Stretch(Stretch),
    /// Something that happened.
    Turn(Turn),
}

/// The critical path of an orchestration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CriticalPath {
    /// The orchestration.
    pub instance: InstanceId,
    /// When it was created, as the engine keeps it.
    pub created: Timestamp,
    /// When it was last updated.
    pub last_updated: Timestamp,
    /// How it ended: completed, failed or terminated.
    pub status: &'static str,
    /// Stretches and turns in the order of time.
    pub elements: Vec<Element>,
    /// What is in the stretches and not in the latency.
    pub uncounted: Timing,
    /// What the latency went to: the row of the orchestration in `latency.csv`.
    pub timing: Timing,
}

impl CriticalPath {
    /// The latency as the engine reports it.
    pub fn latency(&self) -> Duration {
        self.last_updated.since(self.created)
    }

    /// The stretches.
    pub fn stretches(&self) -> impl Iterator<Item = &Stretch> {
        self.elements.iter().filter_map(|element| match element {
            Element::Stretch(stretch) => Some(stretch),
            Element::Turn(_) => None,
        })
    }

    /// What is wrong with it, if anything is: stretches that leave a gap, or do not sum to the latency.
    pub fn check(&self) -> Result<(), String> {
        let mut sum = Timing::default();
        let mut before: Option<Timestamp> = None;
        for stretch in self.stretches() {
            if stretch.parts.total() != stretch.until.since(stretch.from) {
                return Err(format!("the parts of {stretch:?} do not sum to its length"));
            }
            if before.is_some_and(|before| before != stretch.from) {
                return Err(format!("a gap before {stretch:?}"));
            }
            before = Some(stretch.until);
            sum.merge(&stretch.parts);
        }
        for category in Category::ALL {
            let counted = self.timing.get(category) + self.uncounted.get(category);
            if sum.get(category) != counted {
                let (name, found) = (category.name(), sum.get(category));
                return Err(format!("{name}: the path sums to {found:?}, expected {counted:?}"));
            }
        }
        let latency = self.latency();
        match self.timing.total() == latency {
            true => Ok(()),
            false => Err(format!("{:?} explained of {latency:?}", self.timing.total())),
        }
    }
}

/// What paths are found with.
pub(crate) struct Finder<'a> {
    graph: &'a Graph,
    trail: &'a Trail,
    /// The partitions of instances, where there are partitions.
    partitions: FxHashMap<u32, u32>,
    /// The last step of each instance, by its index.
    last_steps: FxHashMap<u32, WorkItemId>,
}

/// Where a search stands: it goes from the end to the begin.
struct Search {
    ledger: Ledger,
    /// The work item whose message is looked for.
    wanted: Option<WorkItemId>,
    /// Where to go on when the present ledger has been followed to its origin.
    outer: Vec<Ledger>,
    /// What was found so far, the last first.
    found: Vec<Element>,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(
        graph: &'a Graph,
        trail: &'a Trail,
        partitions: impl IntoIterator<Item = (WorkItemId, u32)>,
    ) -> Finder<'a> {
        let instance_of = |item: WorkItemId| match graph.item(item).kind {
            WorkItemKind::Step { instance, .. } => Some(instance),
            WorkItemKind::Task => None,
        };
        let partitions = partitions.into_iter();
        let partitions =
            partitions.filter_map(|(item, partition)| Some((instance_of(item)?, partition)));
        let ends_life = graph.items().filter(|(_, item)| item.ends_life);
        let last_steps = ends_life.filter_map(|(id, _)| Some((instance_of(id)?, id)));
        Finder { graph, trail, partitions: partitions.collect(), last_steps: last_steps.collect() }
    }

    /// The critical path of an orchestration that has ended.
    pub(crate) fn path(&self, instance: &InstanceId, end: &End) -> CriticalPath {
        let End { created, last_updated, status, ledger } = end;
        let (created, last_updated) = (*created, *last_updated);
        let mut found = Vec::new();
        if last_updated > ledger.at() {
            let span = last_updated.since(ledger.at());
            found.push(Element::Stretch(Stretch {
                from: ledger.at(),
                until: last_updated,
                parts: Timing::of(Category::Queueing, span),
                words: "the end was noted".to_owned(),
            }));
        }
        let last = self.graph.index_of(instance).and_then(|index| self.last_steps.get(&index));
        let mut search =
            Search { ledger: *ledger, wanted: last.copied(), outer: Vec::new(), found };
        while self.step_back(&mut search) {}
        let mut elements = search.found;
        elements.reverse();
        if let Some(last) = last {
            self.put_end(&mut elements, *last);
        }
        let timing = ledger.settle(created, last_updated);
        close(&mut elements, created, &timing);
        let mut sum = Timing::default();
        for element in &elements {
            if let Element::Stretch(stretch) = element {
                sum.merge(&stretch.parts);
            }
        }
        let uncounted = sum.less(&timing);
        let instance = instance.clone();
        CriticalPath { instance, created, last_updated, status, elements, uncounted, timing }
    }

    /// Puts the end of the last step before what was waited for after it.
    fn put_end(&self, elements: &mut Vec<Element>, last: WorkItemId) {
        let when = self.when(last);
        let mut later = elements.iter().enumerate().filter_map(|(index, element)| match element {
            Element::Stretch(stretch) if stretch.until > when => Some((index, stretch.from)),
            _ => None,
        });
        // The record of a work item may be by another clock than the path: then it ends at the boundary
        // before.
        let (index, at) = later.next().unwrap_or((elements.len(), when));
        let words = format!("{} ends the orchestration", self.name(last));
        elements.insert(index, self.turn(at, words, Some(last), None));
    }

    /// Goes back by one message or one charge. Whether there was one.
    fn step_back(&self, search: &mut Search) -> bool {
        if let Some(message) = self.consumed_here(search) {
            let at = search.ledger.at();
            search.wanted = match message.producer {
                Producer::WorkItem(sender) => Some(sender),
                Producer::Client => None,
            };
            let words = self.sending(&message);
            let turn = self.turn(at, words, search.wanted, Some(&message));
            search.found.push(turn);
            return true;
        }
        let charges = self.trail.charges(&search.ledger);
        let leads = |charge: &&Charge| self.leads(charge.before, search.wanted);
        let charge = match charges {
            [] => return self.leave(search),
            [only] => only,
            [first, ..] => charges.iter().find(leads).unwrap_or(first),
        };
        let Charge { before, words, through } = *charge;
        let parts = trail::between(&before, &search.ledger);
        let inner = through
            .filter(|inner| before.at() <= inner.origin() && !self.trail.charges(inner).is_empty());
        match inner {
            Some(inner) => {
                search.outer.push(before);
                search.ledger = inner;
            }
            None => {
                let (from, until) = (before.at(), search.ledger.at());
                let words = words.to_owned();
                search.found.push(Element::Stretch(Stretch { from, until, parts, words }));
                search.ledger = before;
            }
        }
        true
    }

    /// Goes from the origin of an orchestration that was called to its caller. Whether there is one.
    fn leave(&self, search: &mut Search) -> bool {
        let Some(before) = search.outer.pop() else {
            // A path begins with what a client sent, unless the orchestration was started by another one.
            let first = search.wanted.take();
            let consumed = first.map(|item| self.graph.consumed(self.graph.item(item)));
            let of_client = |message: &&MessageId| message.producer == Producer::Client;
            let message = consumed.and_then(|consumed| consumed.iter().find(of_client));
            if let Some(message) = message {
                let words = self.sending(message);
                search.found.push(self.turn(search.ledger.at(), words, None, Some(message)));
            }
            return false;
        };
        let (from, until) = (before.at(), search.ledger.at());
        if until > from {
            let parts = Timing::of(Category::Application, until.since(from));
            let words = "waited for the orchestration it had called to be created".to_owned();
            search.found.push(Element::Stretch(Stretch { from, until, parts, words }));
        }
        search.ledger = before;
        true
    }

    /// The message that the wanted work item consumed, if it was sent with the present ledger.
    fn consumed_here(&self, search: &Search) -> Option<MessageId> {
        let consumed = self.graph.consumed(self.graph.item(search.wanted?));
        let sent = self.trail.sent(&search.ledger);
        sent.iter().find(|message| consumed.contains(message)).copied()
    }

    /// Whether a ledger leads back to the message that the wanted work item consumed.
    fn leads(&self, mut ledger: Ledger, wanted: Option<WorkItemId>) -> bool {
        let Some(wanted) = wanted else { return true };
        let consumed = self.graph.consumed(self.graph.item(wanted));
        loop {
            if self.trail.sent(&ledger).iter().any(|message| consumed.contains(message)) {
                return true;
            }
            match self.trail.charges(&ledger).first() {
                Some(charge) => ledger = charge.before,
                None => return false,
            }
        }
    }

    fn turn(
        &self,
        at: Timestamp,
        words: String,
        work_item: Option<WorkItemId>,
        message: Option<&MessageId>,
    ) -> Element {
        let host = work_item.and_then(|id| self.host(id)).map(str::to_owned);
        let message = message.map(MessageId::to_string);
        Element::Turn(Turn { at, words, work_item, host, message })
    }

    fn host(&self, id: WorkItemId) -> Option<&str> {
        let item = self.graph.item(id);
        let place = item.executed.and_then(|executed| executed.place).or(item.fetched_on);
        place.and_then(|place| self.graph.place(place))
    }

    /// When a work item was executed, or else fetched.
    fn when(&self, id: WorkItemId) -> Timestamp {
        let item = self.graph.item(id);
        item.executed.map_or(item.fetched_at, |executed| executed.at)
    }

    /// A work item in words, with its host.
    fn name(&self, id: WorkItemId) -> String {
        let what = match self.graph.item(id).kind {
            WorkItemKind::Task => "an activity".to_owned(),
            WorkItemKind::Step { instance, .. } => {
                format!("a step of {}", self.graph.instance(instance))
            }
        };
        let on = self.host(id).map(|host| format!(", on {host}")).unwrap_or_default();
        format!("{what} ({id}{on})")
    }

    /// The sending of a message in words.
    fn sending(&self, message: &MessageId) -> String {
        let Producer::WorkItem(sender) = message.producer else {
            return format!("a client sends {message}");
        };
        let number = message.index;
        let sender_name = self.name(sender);
        match self.graph.target(message) {
            Some(Target::TaskQueue) => format!("{sender_name} calls an activity: message {number}"),
            Some(Target::Instance(instance)) => {
                let partition = self.partitions.get(&instance);
                let to = self.graph.instance(instance);
                let place = partition.map(|partition| format!(" in partition {partition}"));
                let place = place.unwrap_or_default();
                match self.graph.item(sender).kind {
                    WorkItemKind::Task => format!("{sender_name} answers {to}{place}"),
                    WorkItemKind::Step { .. } => {
                        format!("{sender_name} sends message {number} to {to}{place}")
                    }
                }
            }
            None => format!("{sender_name} sends message {number}"),
        }
    }
}

/// Explains what lies between the creation and the begin of the path.
fn close(elements: &mut Vec<Element>, created: Timestamp, timing: &Timing) {
    let begin = elements.iter().find_map(|element| match element {
        Element::Stretch(stretch) => Some(stretch.from),
        Element::Turn(_) => None,
    });
    let begin = begin.unwrap_or(created + timing.total());
    if begin > created {
        let waited = Stretch {
            from: created,
            until: begin,
            parts: Timing::of(Category::Application, begin.since(created)),
            words: "waited for something from outside".to_owned(),
        };
        elements.insert(0, Element::Stretch(waited));
    }
}
