//! A client whose requests are recorded.

use super::{ClientRequest, HistoryRecorder, Told};
use futures_util::FutureExt;
use sim_model::engine::{
    Client, ClientAnswer, ClientMessage, InstanceQuery, InstanceState, StartRequest,
};
use sim_model::id::InstanceId;
use std::rc::Rc;

/// Passes every request on, and notes it and its answer.
pub(super) struct WatchedClient {
    history: HistoryRecorder,
    host: usize,
    inner: Rc<dyn Client>,
}

impl WatchedClient {
    pub(super) fn new(history: HistoryRecorder, host: usize, inner: Rc<dyn Client>) -> Self {
        WatchedClient { history, host, inner }
    }

    fn watched<T: 'static>(
        &self,
        instance: &InstanceId,
        request: ClientRequest,
        answer: ClientAnswer<T>,
        good: fn(&T) -> Told,
    ) -> ClientAnswer<T> {
        let index = self.history.invoke(self.host, instance, request);
        let history = self.history.clone();
        async move {
            let answer = answer.await;
            history.respond(index, Told::of(&answer, good));
            answer
        }
        .boxed_local()
    }
}

impl Client for WatchedClient {
    fn start(&self, request: StartRequest) -> ClientAnswer<()> {
        let instance = request.instance.clone();
        let (name, input) = (request.name.clone(), request.input.clone());
        let answer = self.inner.start(request);
        self.watched(&instance, ClientRequest::Start { name, input }, answer, |()| Told::Accepted)
    }

    fn send(&self, instance: InstanceId, message: ClientMessage) -> ClientAnswer<()> {
        let answer = self.inner.send(instance.clone(), message.clone());
        self.watched(&instance, ClientRequest::Send(message), answer, |()| Told::Accepted)
    }

    fn status(&self, instance: InstanceId) -> ClientAnswer<Option<InstanceState>> {
        let answer = self.inner.status(instance.clone());
        self.watched(&instance, ClientRequest::Status, answer, |state| {
            Told::State(state.clone().map(Box::new))
        })
    }

    fn wait(&self, instance: InstanceId) -> ClientAnswer<InstanceState> {
        let answer = self.inner.wait(instance.clone());
        self.watched(&instance, ClientRequest::Wait, answer, |state| {
            Told::State(Some(Box::new(state.clone())))
        })
    }

    fn query(&self, query: InstanceQuery) -> ClientAnswer<Vec<(InstanceId, InstanceState)>> {
        self.inner.query(query)
    }

    fn purge(&self, instance: InstanceId) -> ClientAnswer<bool> {
        let answer = self.inner.purge(instance.clone());
        self.watched(&instance, ClientRequest::Purge, answer, |removed| Told::Removed(*removed))
    }
}
