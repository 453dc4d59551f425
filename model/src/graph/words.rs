//! The graph in the words of the model: who sent what, who consumed it, what became of it, and when.
//!
//! A [`Story`] collects what happened to the few work items that show something, and puts it in the
//! order of virtual time. Of a recorder without moments only the instants of fetches are known.

use super::{Graph, Progress, Target, WorkItem, WorkItemKind};
use crate::id::{MessageId, Producer, WorkItemId};
use crate::time::Timestamp;

/// A work item in a few words: `work item 7 (a step of order-17)`.
pub fn name(graph: &Graph, id: WorkItemId) -> String {
    match graph.item(id).kind {
        WorkItemKind::Task => format!("{id} (a task)"),
        WorkItemKind::Step { instance, .. } => {
            format!("{id} (a step of {})", graph.instance(instance))
        }
    }
}

/// A work item with the instant of its fetch.
pub(super) fn describe(graph: &Graph, id: WorkItemId) -> String {
    let item = graph.item(id);
    match item.kind {
        WorkItemKind::Task => format!("{id} (a task fetched at {})", item.fetched_at),
        WorkItemKind::Step { instance, .. } => {
            let name = graph.instance(instance);
            format!("{id} (a step of {name} fetched at {})", item.fetched_at)
        }
    }
}

/// ` on host-1`, if that is known.
pub(super) fn on(graph: &Graph, place: Option<u32>) -> String {
    let name = place.and_then(|place| graph.place(place));
    name.map(|name| format!(" on {name}")).unwrap_or_default()
}

/// Whom a message is for, in words.
pub(super) fn recipient(graph: &Graph, message: &MessageId) -> String {
    match graph.target(message) {
        Some(Target::TaskQueue) => " to the task queue".to_owned(),
        Some(Target::Instance(instance)) => format!(" to {}", graph.instance(instance)),
        None => String::new(),
    }
}

/// What happened, in the order of virtual time: one line for each event.
pub struct Story<'a> {
    graph: &'a Graph,
    lines: Vec<(Option<Timestamp>, String)>,
}

impl<'a> Story<'a> {
    /// A story in which nothing has happened yet.
    pub fn of(graph: &'a Graph) -> Story<'a> {
        Story { graph, lines: Vec::new() }
    }

    fn item(&self, id: WorkItemId) -> &'a WorkItem {
        self.graph.item(id)
    }

    /// Something that happened at an instant, in words. Without an instant it comes where it was told,
    /// after what was told before it.
    pub fn line(mut self, at: Option<Timestamp>, text: String) -> Self {
        if !self.lines.iter().any(|line| *line == (at, text.clone())) {
            self.lines.push((at, text));
        }
        self
    }

    /// A message was sent.
    pub fn sent(self, message: &MessageId) -> Self {
        let to = recipient(self.graph, message);
        match message.producer {
            Producer::Client => {
                let at = self.graph.client_sent_at(message.index);
                self.line(at, format!("a client sends {message}"))
            }
            Producer::WorkItem(id) if id.0 as usize >= self.graph.items().len() => {
                self.line(None, format!("{message} names a work item that never was"))
            }
            Producer::WorkItem(id) => {
                let item = self.item(id);
                let (at, place) = match item.executed {
                    Some(moment) => (moment.at, moment.place),
                    None => (item.fetched_at, item.fetched_on),
                };
                let from = match item.kind {
                    WorkItemKind::Task => "a task".to_owned(),
                    WorkItemKind::Step { instance, .. } => {
                        format!("a step of {}", self.graph.instance(instance))
                    }
                };
                let (on, due) = (on(self.graph, place), self.graph.due(message));
                let due = due.map(|due| format!(", due at {due}")).unwrap_or_default();
                self.line(Some(at), format!("{from}{on} sends {message}{to}{due}"))
            }
        }
    }

    /// A work item was fetched, perhaps with a message that matters.
    pub fn fetched(self, id: WorkItemId, with: Option<&MessageId>) -> Self {
        let item = self.item(id);
        let with = with.map(|message| format!(" with {message}")).unwrap_or_default();
        let on = on(self.graph, item.fetched_on);
        let text = format!("{} is fetched{on}{with}", name(self.graph, id));
        self.line(Some(item.fetched_at), text)
    }

    /// A work item came to its end, or has not.
    pub fn settled(self, id: WorkItemId) -> Self {
        let item = self.item(id);
        let text = match item.progress {
            Progress::Committed(order) => {
                format!("{id} is committed, as number {order} of the run")
            }
            Progress::Aborted => format!("{id} is given up"),
            Progress::Executed => format!("{id} is executed and never committed"),
            Progress::Fetched => format!("{id} is never executed"),
        };
        let settled = matches!(item.progress, Progress::Committed(_) | Progress::Aborted);
        let at = item.settled_at.filter(|_| settled);
        self.line(at, text)
    }

    /// The lines, each beginning with its instant.
    pub fn lines(self) -> Vec<String> {
        let mut before = Timestamp::ZERO;
        let mut lines: Vec<(Timestamp, String)> = Vec::with_capacity(self.lines.len());
        for (at, text) in self.lines {
            before = at.unwrap_or(before);
            let shown = at.map_or_else(|| "-".to_owned(), |at| at.to_string());
            lines.push((before, format!("{shown}  {text}")));
        }
        // A stable order: of what happens at one instant, what was told first comes first.
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().map(|(_, line)| line).collect()
    }
}
