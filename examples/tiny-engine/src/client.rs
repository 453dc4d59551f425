//! The client: requests reach the queues at once and cost nothing, but for the blob that a purge removes.

use crate::hub::HubInner;
use sim_model::engine::{
    Client, ClientAnswer, ClientError, ClientMessage, InstanceQuery, InstanceState, StartRequest,
};
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::InstanceId;
use sim_model::ledger::Ledger;
use sim_model::message::InstanceMessage;
use std::rc::Rc;

pub(crate) struct TinyClient {
    hub: Rc<HubInner>,
}

impl TinyClient {
    pub(crate) fn new(hub: Rc<HubInner>) -> TinyClient {
        TinyClient { hub }
    }

    fn deliver(&self, target: InstanceId, kind: EventKind) {
        let now = self.hub.kernel.now();
        let id = self.hub.observer.graph().client_message();
        let event = HistoryEvent { timestamp: now, kind };
        self.hub.deliver(InstanceMessage { id, target, event, ledger: Ledger::new(now) });
    }

    fn state(&self, instance: &InstanceId) -> Option<InstanceState> {
        self.hub.instances.borrow().get(instance).map(|found| found.state.clone())
    }
}

fn now<T: 'static>(answer: Result<T, ClientError>) -> ClientAnswer<T> {
    Box::pin(std::future::ready(answer))
}

fn refuse<T: 'static>(problem: String) -> ClientAnswer<T> {
    now(Err(ClientError::Refused(problem)))
}

impl Client for TinyClient {
    fn start(&self, request: StartRequest) -> ClientAnswer<()> {
        let StartRequest { instance, name, input } = request;
        if instance.is_entity() {
            return refuse(format!("{instance} is the key of an entity"));
        }
        if self.state(&instance).is_some_and(|state| !state.status.is_final()) {
            return refuse(format!("instance {instance} exists and has not ended"));
        }
        self.deliver(instance, EventKind::execution_started(name, input));
        now(Ok(()))
    }

    fn send(&self, instance: InstanceId, message: ClientMessage) -> ClientAnswer<()> {
        self.deliver(instance, message.into_event());
        now(Ok(()))
    }

    fn status(&self, instance: InstanceId) -> ClientAnswer<Option<InstanceState>> {
        now(Ok(self.state(&instance)))
    }

    fn wait(&self, instance: InstanceId) -> ClientAnswer<InstanceState> {
        let mut instances = self.hub.instances.borrow_mut();
        let Some(found) = instances.get_mut(&instance) else {
            return refuse(format!("there is no instance {instance}"));
        };
        if found.state.status.is_final() {
            return now(Ok(found.state.clone()));
        }
        let (resolver, completion) = self.hub.kernel.completion();
        found.waiting.push(resolver);
        Box::pin(async move { Ok(completion.await) })
    }

    fn query(&self, query: InstanceQuery) -> ClientAnswer<Vec<(InstanceId, InstanceState)>> {
        let instances = self.hub.instances.borrow();
        let selected = instances.iter().filter(|(id, found)| query.selects(id, &found.state));
        let mut states: Vec<_> =
            selected.map(|(id, found)| (id.clone(), found.state.clone())).collect();
        states.sort_by(|(left, _), (right, _)| left.cmp(right));
        now(Ok(states))
    }

    fn purge(&self, instance: InstanceId) -> ClientAnswer<bool> {
        let Some(state) = self.state(&instance) else { return now(Ok(false)) };
        let busy = self.hub.instances.borrow()[&instance].scheduled;
        if busy || !(state.status.is_final() || instance.is_entity()) {
            return refuse(format!("instance {instance} has not ended"));
        }
        self.hub.instances.borrow_mut().swap_remove(&instance);
        if instance.is_entity() {
            self.hub.observer.graph().removed(&instance);
        }
        let hub = self.hub.clone();
        Box::pin(async move {
            hub.blobs.remove(hub.functions(&instance).host(), &instance).await;
            Ok(true)
        })
    }
}
