//! A client's connection to a server.

use super::endpoint::{Endpoint, Outcome};
use super::{CallError, Command};
use crate::host::Host;
use crate::kernel::Semaphore;
use crate::service::Reply;
use sim_model::ledger::{Category, Timing};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// A connection from a host to a server, opened when it is first used and reopened after it broke.
/// Clones share it. It belongs to a process of the host: one that starts anew makes a new one.
pub struct Client<C: Command>(Rc<Inner<C>>);

struct Inner<C: Command> {
    endpoint: Endpoint<C>,
    host: Host,
    /// The listening of the server that it is connected to.
    connection: Cell<Option<u32>>,
    /// Held while a connection is being opened.
    opening: Semaphore,
}

impl<C: Command> Clone for Client<C> {
    fn clone(&self) -> Self {
        Client(self.0.clone())
    }
}

impl<C: Command> Client<C> {
    pub(super) fn new(endpoint: &Endpoint<C>, host: &Host) -> Client<C> {
        Client(Rc::new(Inner {
            opening: host.kernel().semaphore(1),
            endpoint: endpoint.clone(),
            host: host.clone(),
            connection: Cell::new(None),
        }))
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// Gives the connection up; the next command opens another one.
    pub fn disconnect(&self) {
        self.0.connection.set(None);
    }

    /// Sends a command and waits for its answer, no longer than the service's timeout.
    ///
    /// # Errors
    /// See the table in the text of this module's parent.
    pub async fn call(&self, command: C) -> Result<Reply<C::Answer>, CallError> {
        let timeout = self.0.endpoint.0.options.timeout;
        self.call_within(timeout, command).await
    }

    /// [`Client::call`] with another timeout; none to wait as long as the connection lives.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn call_within(
        &self,
        timeout: Option<Duration>,
        command: C,
    ) -> Result<Reply<C::Answer>, CallError> {
        let Inner { endpoint, host, .. } = &*self.0;
        let (kernel, options) = (&endpoint.0.kernel, &endpoint.0.options);
        let mut timing = Timing::default();
        let ran = host.run(options.client_cpu).await;
        timing.add(Category::Queueing, ran.queued);
        timing.add(Category::Cpu, ran.ran);
        let begun = kernel.now();
        let epoch = self.connect().await?;
        let sent = kernel.now();
        timing.add(Category::Network, sent.since(begun));
        let sent_command = endpoint.0.send(host.node(), Some(epoch), Some(command), timeout);
        if sent_command.is_lost {
            // What follows needs another connection; this call learns it in its own time.
            self.give_up(epoch);
        }
        match sent_command.outcome.await {
            Outcome::Answered { answer, arrived, served, .. } => {
                timing.add(Category::Network, arrived.since(sent));
                timing.merge(&served);
                let departed = arrived + served.total();
                timing.add(Category::Network, kernel.now().since(departed));
                let value = answer.expect("invariant: a command is answered with a value");
                Ok(Reply { value, timing })
            }
            Outcome::Broken => {
                self.give_up(epoch);
                Err(CallError::Broken { service: options.service })
            }
            Outcome::TimedOut => {
                self.give_up(epoch);
                Err(CallError::TimedOut { service: options.service })
            }
        }
    }

    /// Sends a command without waiting for its answer, which is not sent: what the sending took.
    /// Nobody learns what became of it.
    ///
    /// # Errors
    /// [`CallError::Unreachable`]; [`CallError::Broken`] is never told.
    pub async fn post(&self, command: C) -> Result<Timing, CallError> {
        let Inner { endpoint, host, .. } = &*self.0;
        let mut timing = Timing::default();
        let ran = host.run(endpoint.0.options.client_cpu).await;
        timing.add(Category::Queueing, ran.queued);
        timing.add(Category::Cpu, ran.ran);
        let begun = endpoint.0.kernel.now();
        let epoch = self.connect().await?;
        timing.add(Category::Network, endpoint.0.kernel.now().since(begun));
        if !endpoint.0.post(host.node(), epoch, command) {
            self.give_up(epoch);
        }
        Ok(timing)
    }

    /// The connection, opened if there is none.
    async fn connect(&self) -> Result<u32, CallError> {
        let Inner { endpoint, host, connection, opening } = &*self.0;
        let is_open = |epoch: &u32| !endpoint.0.is_known_broken(*epoch);
        if let Some(epoch) = connection.get().filter(is_open) {
            return Ok(epoch);
        }
        let _permit = opening.acquire().await;
        // Another task may have opened it meanwhile.
        if let Some(epoch) = connection.get().filter(is_open) {
            return Ok(epoch);
        }
        connection.set(None);
        match endpoint.0.send(host.node(), None, None, None).outcome.await {
            Outcome::Answered { epoch, .. } => {
                connection.set(Some(epoch));
                Ok(epoch)
            }
            Outcome::Broken | Outcome::TimedOut => {
                Err(CallError::Unreachable { service: endpoint.0.options.service })
            }
        }
    }

    fn give_up(&self, epoch: u32) {
        if self.0.connection.get() == Some(epoch) {
            self.0.connection.set(None);
        }
    }
}
