//! Calls of clients and queries on a replica.

use super::Life;
use crate::block::{Ingress, IngressId, Method};
use crate::canister::Reply;
use crate::counters::add;
use crate::settings::Behaviour;
use crate::subnet::{Answer, Packet, Question};
use sim_world::network::MailboxSender;
use std::rc::Rc;

/// Bytes of an answer without its content: certificate and headers. [assumption]
const ANSWER_BYTES: u64 = 600;
/// Heights that certification may lag before a replica calls itself behind. [assumption]
const LAG_MAX: u64 = 10;
/// Heights that others have certified before a replica has executed them, beyond which it calls itself
/// behind: the last one it may just be executing. [assumption]
const CERTIFIED_LAG_MAX: u64 = 1;

impl Life {
    /// Takes a core for the signature of a client call.
    pub(super) fn verify_request(&self) {
        drop(self.host.run(self.subnet.costs.request_verify));
    }

    /// Takes a call of a client: into the pool, to the others, and the client waits for the answer.
    pub(super) fn submit(&self, ingress: Rc<Ingress>, gateway: MailboxSender<Answer>) {
        self.verify_request();
        match self.behaviour() {
            Behaviour::Withhold => {
                self.conduct.departed();
                return;
            }
            Behaviour::Lie => return self.lie(&ingress, &gateway),
            Behaviour::Honest | Behaviour::Equivocate | Behaviour::Late | Behaviour::Fork => {}
        }
        if let Some(reply) = self.known_answer(&ingress) {
            let certified = self.subnet.config.certification;
            let answer = Answer::Update { id: ingress.id, reply, certified };
            gateway.send(self.host.node(), ANSWER_BYTES, answer);
            return;
        }
        self.waiting.borrow_mut().entry(ingress.id).or_default().push(gateway);
        if self.pool_call(&ingress) {
            for to in self.subnet.others(self.me) {
                self.send(to, ingress.bytes, Packet::Gossip(ingress.clone()));
            }
        }
    }

    /// The answer to a call that was sent again, if it is known at the last visible height.
    fn known_answer(&self, ingress: &Ingress) -> Option<Reply> {
        let execution = self.subnet.execution.borrow();
        let state = execution.state()?;
        let visible = self.visible_height.get();
        if let Some(reply) = state.history.reply(ingress.id, visible) {
            return Some(reply.clone());
        }
        let visible = self.visible.borrow();
        let is_past = visible.as_ref().is_some_and(|round| round.time > ingress.expiry);
        (is_past && !state.history.contains(ingress.id)).then_some(Reply::Expired)
    }

    /// A Byzantine replica claims to have done what it was asked.
    fn lie(&self, ingress: &Ingress, gateway: &MailboxSender<Answer>) {
        self.conduct.departed();
        let reply = match ingress.method {
            Method::Start(_) | Method::Send(_) => Reply::Accepted,
            Method::Wait(_) => return,
            Method::Purge(_) => Reply::Purged(true),
        };
        let id: IngressId = ingress.id;
        let answer = Answer::Update { id, reply, certified: false };
        gateway.send(self.host.node(), ANSWER_BYTES, answer);
    }

    /// Answers a query from the last visible state, on one of the machine's cores.
    pub(super) fn query(&self, token: u64, question: Question, gateway: MailboxSender<Answer>) {
        if self.withholds() {
            return;
        }
        add(&self.subnet.counters.queries, 1);
        let (host, height) = (self.host.clone(), self.visible_height.get());
        let cost = self.subnet.costs.query;
        let behind = self.is_behind();
        let subnet = self.subnet.clone();
        host.clone().spawn(async move {
            host.run(cost).await;
            let execution = subnet.execution.borrow();
            let views = execution.views();
            let instances = (!behind).then(|| match &question {
                Question::Status(id) => {
                    let state = views.get(id, height);
                    state.map(|state| (id.clone(), state.clone())).into_iter().collect()
                }
                Question::Instances(canister, query) => {
                    let placement = execution.program().placement;
                    views
                        .iter(height)
                        .filter(|(id, _)| placement.canister_of(id) == *canister)
                        .filter(|(id, state)| query.selects(id, state))
                        .map(|(id, state)| (id.clone(), state.clone()))
                        .collect()
                }
            });
            let bytes = ANSWER_BYTES
                * instances.as_ref().map_or(1, |found: &Vec<_>| 1 + found.len() as u64);
            gateway.send(host.node(), bytes, Answer::Query { token, instances });
        });
    }

    /// Whether this replica knows that others have gone ahead of what it can show.
    fn is_behind(&self) -> bool {
        let (now, height) = (self.now(), self.visible_height.get());
        let consensus = self.consensus.borrow();
        now < self.behind_until.get()
            || height <= self.loaded
            || consensus.certified() > height + CERTIFIED_LAG_MAX
            || consensus.finalized().saturating_sub(height) > LAG_MAX
    }
}
