//! First in, first out between two instances.
//!
//! What one instance sends to another is consumed in the order in which it was sent: by the order of
//! the sender's steps, and within a step by the order of its messages. Steps of an instance are ordered
//! by their commits, the messages that a step consumed as the engine handed them to it. Messages of
//! tasks, of clients and of an instance to itself have no order, those that were sent for later have another
//! one, and a message that the rules on consumption reject already is left to them.

use super::{Finding, in_commit_order, note};
use crate::graph::words::{Story, describe};
use crate::graph::{Graph, WorkItemKind};
use crate::id::{MessageId, Producer};
use rustc_hash::FxHashMap;

/// How many messages of instances to instances were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Messages from one instance to another.
    pub messages: u64,
    /// Pairs of a sender and a receiver.
    pub pairs: u64,
}

/// What was consumed last of those that one instance sent to another.
struct Last {
    /// The position of the sending step in the order of commits, and the message's number within it.
    place: (u32, u32),
    message: MessageId,
    consumer: crate::id::WorkItemId,
}

/// Rule 6.
pub fn fifo_between_instances(graph: &Graph) -> (Pairs, Finding) {
    let mut last: FxHashMap<(u32, u32), Last> = FxHashMap::default();
    let mut pairs = Pairs::default();
    let mut finding = None;
    for id in in_commit_order(graph) {
        let item = graph.item(id);
        let WorkItemKind::Step { instance: receiver, .. } = item.kind else { continue };
        for message in graph.consumed(item) {
            let Some((sender, place)) = sent_by(graph, message) else { continue };
            if sender == receiver || graph.due(message).is_some() {
                continue;
            }
            pairs.messages += 1;
            let here = Last { place, message: *message, consumer: id };
            let Some(before) = last.get_mut(&(sender, receiver)) else {
                last.insert((sender, receiver), here);
                continue;
            };
            if before.place < place {
                *before = here;
            } else if before.place > place {
                let overtaken = &*before;
                note(&mut finding, id, || {
                    let (first, second) = (message, &overtaken.message);
                    let story = Story::of(graph).sent(first).sent(second);
                    let story = story.fetched(overtaken.consumer, Some(second));
                    (
                        format!(
                            "{} consumed {first} after {second}, which {} had sent later",
                            describe(graph, id),
                            graph.instance(sender)
                        ),
                        story
                            .settled(overtaken.consumer)
                            .fetched(id, Some(first))
                            .settled(id)
                            .lines(),
                    )
                });
            }
        }
    }
    pairs.pairs = last.len() as u64;
    (pairs, finding)
}

/// The instance that sent a message, and the place of the message in all that it sent.
fn sent_by(graph: &Graph, message: &MessageId) -> Option<(u32, (u32, u32))> {
    let Producer::WorkItem(producer) = message.producer else { return None };
    let item = graph.item(producer);
    let WorkItemKind::Step { instance, .. } = item.kind else { return None };
    let crate::graph::Progress::Committed(order) = item.progress else { return None };
    Some((instance, (order, message.index)))
}
