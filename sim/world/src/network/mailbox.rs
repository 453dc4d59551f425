//! Mailboxes: where messages of one type arrive on a node.
//!
//! A message in flight is kept as it is, not as bytes. So a message can come twice only if its type
//! can be copied ([`Network::mailbox_with_copies`]); one that carries the place of its answer cannot.

use super::{Arrival, Network};
use crate::fault::Carrier;
use crate::kernel::{Device, DeviceId, Kernel, NodeId, Receiver, Sender};
use slab::Slab;
use std::cell::RefCell;
use std::rc::Rc;

impl Network {
    /// Makes a mailbox on `node` for messages of one type. It belongs to the node's present
    /// generation: a node that restarts makes a new one, and messages to the old are dropped.
    pub fn mailbox<T: 'static>(&self, node: NodeId) -> (MailboxSender<T>, Receiver<T>) {
        self.mailbox_that_copies(node, None)
    }

    /// A [mailbox](Network::mailbox) to which a message can come twice.
    pub fn mailbox_with_copies<T: Clone + 'static>(
        &self,
        node: NodeId,
    ) -> (MailboxSender<T>, Receiver<T>) {
        self.mailbox_that_copies(node, Some(T::clone))
    }

    fn mailbox_that_copies<T: 'static>(
        &self,
        node: NodeId,
        copy: Option<fn(&T) -> T>,
    ) -> (MailboxSender<T>, Receiver<T>) {
        let kernel = &self.0.kernel;
        let (deliver, receiver) = kernel.channel();
        let mut state = self.0.state.borrow_mut();
        let name = format!("mailbox {} of {}", state.mailboxes.len(), kernel.node_name(node));
        let mailbox = Rc::new(Mailbox {
            kernel: kernel.clone(),
            node,
            generation: kernel.generation(node),
            in_flight: RefCell::new(Slab::new()),
            deliver,
            copy,
        });
        let device: Rc<dyn Device> = mailbox.clone();
        let id = kernel.register(&name, Rc::downgrade(&device));
        state.mailboxes.push(device);
        (MailboxSender { network: self.clone(), mailbox, id }, receiver)
    }
}

struct Mailbox<T> {
    kernel: Kernel,
    node: NodeId,
    generation: u32,
    in_flight: RefCell<Slab<T>>,
    deliver: Sender<T>,
    /// How a message is copied, if it can be.
    copy: Option<fn(&T) -> T>,
}

impl<T> Device for Mailbox<T> {
    fn fire(&self, token: u64) {
        let message = self.in_flight.borrow_mut().remove(token as usize);
        let reachable =
            self.kernel.is_alive(self.node) && self.kernel.generation(self.node) == self.generation;
        if reachable {
            self.deliver.send(message);
        }
    }
}

/// Sends messages of one type to one mailbox; clones send to the same.
pub struct MailboxSender<T> {
    network: Network,
    mailbox: Rc<Mailbox<T>>,
    id: DeviceId,
}

impl<T> Clone for MailboxSender<T> {
    fn clone(&self) -> Self {
        MailboxSender { network: self.network.clone(), mailbox: self.mailbox.clone(), id: self.id }
    }
}

impl<T> MailboxSender<T> {
    /// Sends a message of `bytes` from node `from`. It stays in flight if the sender dies. False if the
    /// network loses it: a real sender learns that only by waiting in vain.
    pub fn send(&self, from: NodeId, bytes: u64, message: T) -> bool {
        let token = self.mailbox.in_flight.borrow_mut().insert(message);
        let way = (from, self.mailbox.node);
        // A copy is possible or not for the whole mailbox, so what cannot be is not drawn for.
        let carrier = match self.mailbox.copy {
            Some(_) => Carrier::Message,
            None => Carrier::Single,
        };
        match self.network.send(way, bytes, carrier, self.id, token as u64) {
            Arrival::Once(_) | Arrival::Held => true,
            Arrival::Twice(_, second) => {
                let mut in_flight = self.mailbox.in_flight.borrow_mut();
                let copy =
                    self.mailbox.copy.expect("invariant: only what can be copied comes twice");
                let copy = copy(&in_flight[token]);
                let token = in_flight.insert(copy);
                drop(in_flight);
                self.mailbox.kernel.schedule(second, self.id, token as u64);
                true
            }
            Arrival::Never => {
                let lost = self.mailbox.in_flight.borrow_mut().remove(token);
                // Dropped with nothing borrowed: it may hold the place of an answer.
                drop(lost);
                false
            }
        }
    }

    /// The node of the mailbox.
    pub fn node(&self) -> NodeId {
        self.mailbox.node
    }
}
