//! A command at its server, and where its time there went.

use super::Command;
use super::endpoint::Inner;
use crate::service::Reply;
use sim_model::ledger::{Category, Timing};
use sim_model::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// A command that a server has to answer. Dropping it closes the client's connection.
pub struct Incoming<C: Command> {
    endpoint: Rc<Inner<C>>,
    key: usize,
    number: u64,
    command: C,
    arrived: Timestamp,
    /// Up to when its time is explained.
    at: Timestamp,
    timing: Timing,
    is_answered: bool,
}

impl<C: Command> Incoming<C> {
    pub(super) fn new(endpoint: &Rc<Inner<C>>, key: usize, number: u64, command: C) -> Self {
        let now = endpoint.kernel.now();
        Incoming {
            endpoint: endpoint.clone(),
            key,
            number,
            command,
            arrived: now,
            at: now,
            timing: Timing::default(),
            is_answered: false,
        }
    }

    /// What the client asks for.
    pub fn command(&self) -> &C {
        &self.command
    }

    /// When it arrived at the machine.
    pub fn arrived(&self) -> Timestamp {
        self.arrived
    }

    /// Whether nobody waits for the answer any more: the client gave up, or its process died.
    pub fn is_abandoned(&self) -> bool {
        self.endpoint.is_abandoned(self.key, self.number)
    }

    /// Charges the time that is not explained yet to `category`.
    pub fn charge(&mut self, category: Category) {
        let now = self.endpoint.kernel.now();
        self.timing.add(category, now.since(self.at));
        self.at = now;
    }

    /// Works on the command on a core of the machine; the time before and in the run queue is
    /// queueing.
    pub async fn cpu(&mut self, work: Duration) {
        self.charge(Category::Queueing);
        let ran = self.endpoint.machine.host().run(work).await;
        self.timing.add(Category::Queueing, ran.queued);
        self.timing.add(Category::Cpu, ran.ran);
        self.at += ran.total();
        debug_assert!(self.at <= self.endpoint.kernel.now(), "no time is charged twice");
    }

    /// Charges a request that the server made for this command, just before, as its reply says; the
    /// time before that request is queueing.
    ///
    /// # Panics
    /// If the request took longer than what is not explained yet: it was made for another command.
    pub fn note<T>(&mut self, reply: Reply<T>) -> T {
        let now = self.endpoint.kernel.now();
        let (unexplained, took) = (now.since(self.at), reply.timing.total());
        assert!(took <= unexplained, "a request of {took:?} within {unexplained:?} of a command");
        self.timing.add(Category::Queueing, unexplained - took);
        self.timing.merge(&reply.timing);
        self.at = now;
        reply.value
    }

    /// Answers the command. What its time was not charged to is queueing.
    pub fn answer(mut self, answer: C::Answer) {
        self.charge(Category::Queueing);
        self.is_answered = true;
        let (bytes, kind) = (self.command.bytes(), self.command.kind());
        self.endpoint.answer(self.key, self.number, bytes, kind, answer, self.timing);
    }
}

impl<C: Command> Drop for Incoming<C> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.endpoint.abandon(self.key, self.number);
        }
    }
}
