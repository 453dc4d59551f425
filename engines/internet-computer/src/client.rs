//! The client: requests as update calls, questions as query calls.
//!
//! `start`, `send` and `purge` are update calls that are answered when their message has been executed
//! and the state is certified. `wait` is one that the canister answers when the instance has ended.
//! `status` and `query` are query calls.

use crate::block::Method;
use crate::canister::Reply;
use crate::gateway::Gateway;
use crate::subnet::Question;
use sim_model::engine::{
    Client, ClientAnswer, ClientError, ClientMessage, InstanceQuery, InstanceState, Observer,
    StartRequest,
};
use sim_model::graph::Sending;
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::InstanceId;
use sim_model::ledger::Ledger;
use sim_model::message::InstanceMessage;
use std::cell::RefCell;
use std::rc::Rc;

/// The gateways of all hosts that were started.
pub(crate) type Gateways = Rc<RefCell<Vec<Option<Rc<Gateway>>>>>;

/// The client of an application on one host.
pub(crate) struct CanisterClient {
    pub(crate) gateways: Gateways,
    pub(crate) host: usize,
    pub(crate) observer: Observer,
}

impl CanisterClient {
    /// The gateway on the host, as it was last started.
    fn gateway(&self) -> Rc<Gateway> {
        let gateway = self.gateways.borrow()[self.host].clone();
        gateway.expect("a host is started before an application on it makes a call")
    }

    fn message(&self, target: &InstanceId, kind: EventKind) -> (Sending, InstanceMessage) {
        let now = self.gateway().kernel().now();
        let sending = self.observer.graph().sending();
        let id = sending.message();
        let event = HistoryEvent { timestamp: now, kind };
        let message =
            InstanceMessage { id, target: target.clone(), event, ledger: Ledger::new(now) };
        (sending, message)
    }

    /// Makes an update call that carries a message, and waits until it is accepted.
    fn deliver(&self, instance: &InstanceId, sending: Sending, method: Method) -> ClientAnswer<()> {
        let gateway = self.gateway();
        let canister = gateway.placement().canister_of(instance);
        Box::pin(async move {
            match gateway.update(canister, method).await {
                Reply::Accepted => {
                    sending.accepted();
                    Ok(())
                }
                Reply::Refused(problem) => Err(ClientError::Refused(problem)),
                Reply::Expired => Err(ClientError::Unavailable(
                    "the call expired before it entered a block".into(),
                )),
                other => unreachable!("a delivery was answered by {other:?}"),
            }
        })
    }
}

impl Client for CanisterClient {
    fn start(&self, request: StartRequest) -> ClientAnswer<()> {
        let StartRequest { instance, name, input } = request;
        if instance.is_entity() {
            let problem = format!("{instance} is the key of an entity");
            return Box::pin(std::future::ready(Err(ClientError::Refused(problem))));
        }
        let kind = EventKind::execution_started(name, input);
        let (sending, message) = self.message(&instance, kind);
        self.deliver(&instance, sending, Method::Start(message))
    }

    fn send(&self, instance: InstanceId, message: ClientMessage) -> ClientAnswer<()> {
        let (sending, message) = self.message(&instance, message.into_event());
        self.deliver(&instance, sending, Method::Send(message))
    }

    fn status(&self, instance: InstanceId) -> ClientAnswer<Option<InstanceState>> {
        let gateway = self.gateway();
        Box::pin(async move {
            let canister = gateway.placement().canister_of(&instance);
            let found = gateway.query(canister, Question::Status(instance)).await;
            Ok(found.into_iter().next().map(|(_, state)| state))
        })
    }

    fn wait(&self, instance: InstanceId) -> ClientAnswer<InstanceState> {
        let gateway = self.gateway();
        Box::pin(async move {
            let canister = gateway.placement().canister_of(&instance);
            loop {
                match gateway.update(canister, Method::Wait(instance.clone())).await {
                    Reply::Ended(state) => return Ok(state),
                    Reply::Refused(problem) => return Err(ClientError::Refused(problem)),
                    // It has no effect: it can be made again.
                    Reply::Expired => {}
                    other => unreachable!("waiting was answered by {other:?}"),
                }
            }
        })
    }

    fn query(&self, query: InstanceQuery) -> ClientAnswer<Vec<(InstanceId, InstanceState)>> {
        let gateway = self.gateway();
        Box::pin(async move {
            let mut all = Vec::new();
            for canister in gateway.placement().instance_canisters() {
                let question = Question::Instances(canister, query.clone());
                all.append(&mut gateway.query(canister, question).await);
            }
            all.sort_by(|(left, _), (right, _)| left.cmp(right));
            Ok(all)
        })
    }

    fn purge(&self, instance: InstanceId) -> ClientAnswer<bool> {
        let gateway = self.gateway();
        Box::pin(async move {
            let canister = gateway.placement().canister_of(&instance);
            match gateway.update(canister, Method::Purge(instance)).await {
                Reply::Purged(existed) => Ok(existed),
                Reply::Refused(problem) => Err(ClientError::Refused(problem)),
                Reply::Expired => Err(ClientError::Unavailable(
                    "the call expired before it entered a block".into(),
                )),
                other => unreachable!("a purge was answered by {other:?}"),
            }
        })
    }
}
