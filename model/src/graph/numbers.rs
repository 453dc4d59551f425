//! Numbers of messages: one column of values for all messages of a graph.
//!
//! The messages of clients come first, then those of each work item in turn, so that looking one up is
//! an addition and no hash. A message that was consumed but is none of those that its producer has
//! reported (which only a faulty engine does) has a place in a small table of its own.

use super::Graph;
use crate::id::{MessageId, Producer};
use rustc_hash::FxHashMap;

/// No value.
pub(super) const NONE: u32 = u32::MAX;

/// A value for each message of a graph.
pub(super) struct Column {
    /// Where the messages of each work item begin, and where those of the last one end.
    starts: Vec<u32>,
    clients: u32,
    values: Vec<u32>,
    strays: FxHashMap<MessageId, u32>,
}

impl Column {
    /// A column without values.
    pub(super) fn new(graph: &Graph) -> Column {
        let clients = graph.client_messages();
        let mut starts = Vec::with_capacity(graph.items.len() + 1);
        let mut next = clients;
        starts.push(next);
        for item in &graph.items {
            next += item.produced;
            starts.push(next);
        }
        Column { starts, clients, values: vec![NONE; next as usize], strays: FxHashMap::default() }
    }

    fn number(&self, message: &MessageId) -> Option<usize> {
        match message.producer {
            Producer::Client => (message.index < self.clients).then_some(message.index as usize),
            Producer::WorkItem(item) => {
                let start = *self.starts.get(item.0 as usize)?;
                let end = *self.starts.get(item.0 as usize + 1)?;
                let number = start.checked_add(message.index)?;
                (number < end).then_some(number as usize)
            }
        }
    }

    /// The value of a message.
    pub(super) fn get(&self, message: &MessageId) -> Option<u32> {
        let value = match self.number(message) {
            Some(number) => self.values[number],
            None => self.strays.get(message).copied().unwrap_or(NONE),
        };
        (value != NONE).then_some(value)
    }

    /// Gives a message a value; the one that it had before.
    pub(super) fn set(&mut self, message: &MessageId, value: u32) -> Option<u32> {
        let before = match self.number(message) {
            Some(number) => std::mem::replace(&mut self.values[number], value),
            None => self.strays.insert(*message, value).unwrap_or(NONE),
        };
        (before != NONE).then_some(before)
    }
}
