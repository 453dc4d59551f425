//! An unbounded channel, first in first out, with any number of senders and receivers.

use super::line::Line;
use crate::kernel::Kernel;
use crate::kernel::standstill::Stepper;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

struct ChannelState<T> {
    kernel: Kernel,
    queue: RefCell<Queue<T>>,
}

struct Queue<T> {
    /// Values nobody has been served, oldest first, with their numbers.
    values: VecDeque<(u64, T)>,
    line: Line<(u64, T)>,
    next_number: u64,
}

impl<T> Queue<T> {
    /// Puts a value back in its place, or hands it on to a receiver that waits.
    fn give_back(&mut self, numbered: (u64, T)) -> Option<Waker> {
        match self.line.serve(numbered) {
            Ok(waker) => Some(waker),
            Err(numbered) => {
                let place = self.values.partition_point(|(number, _)| *number < numbered.0);
                self.values.insert(place, numbered);
                None
            }
        }
    }

    fn take(&mut self) -> Option<T> {
        let (_, value) = self.values.pop_front()?;
        debug_assert_eq!(self.line.waiting(), 0, "a value waits only when no receiver does");
        Some(value)
    }
}

/// The sending end of a channel; clones send into the same channel.
pub struct Sender<T>(Rc<ChannelState<T>>);

/// The receiving end of a channel; clones compete for its values in the order of their calls.
pub struct Receiver<T>(Rc<ChannelState<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver(self.0.clone())
    }
}

pub(in crate::kernel) fn channel<T>(kernel: &Kernel) -> (Sender<T>, Receiver<T>) {
    let queue = Queue { values: VecDeque::new(), line: Line::new(), next_number: 0 };
    let state = Rc::new(ChannelState { kernel: kernel.clone(), queue: RefCell::new(queue) });
    (Sender(state.clone()), Receiver(state))
}

impl<T> Sender<T> {
    /// Adds a value at the end of the channel. Values nobody receives stay there.
    pub fn send(&self, value: T) {
        let mut queue = self.0.queue.borrow_mut();
        let number = queue.next_number;
        queue.next_number += 1;
        match queue.line.serve((number, value)) {
            Ok(waker) => {
                drop(queue);
                self.0.kernel.wake(waker);
            }
            Err(numbered) => queue.values.push_back(numbered),
        }
    }

    /// Number of values that wait to be received.
    pub fn len(&self) -> usize {
        self.0.queue.borrow().values.len()
    }

    /// Whether no value waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Receiver<T> {
    /// Waits for the next value. Pending for ever if none is sent any more.
    pub fn recv(&self) -> Recv<'_, T> {
        Recv { channel: &self.0, place: None }
    }

    /// The next value, if one waits.
    pub fn try_recv(&self) -> Option<T> {
        self.0.queue.borrow_mut().take()
    }

    /// Up to `max` values that wait, oldest first.
    pub fn drain(&self, max: usize) -> Vec<T> {
        let mut queue = self.0.queue.borrow_mut();
        let count = max.min(queue.values.len());
        queue.values.drain(..count).map(|(_, value)| value).collect()
    }

    /// Waits for a value, and returns it with those that wait behind it, up to `max` (at least
    /// one) in all.
    pub async fn recv_many(&self, max: usize) -> Vec<T> {
        assert!(max > 0, "at least one value is received");
        let mut values = vec![self.recv().await];
        values.append(&mut self.drain(max - 1));
        values
    }

    /// Number of values that wait to be received.
    pub fn len(&self) -> usize {
        self.0.queue.borrow().values.len()
    }

    /// Whether no value waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The future of [`Receiver::recv`]. Dropping it loses no value.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Recv<'a, T> {
    channel: &'a Rc<ChannelState<T>>,
    place: Option<usize>,
}

impl<T> Future for Recv<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let channel = self.channel;
        if channel.kernel.is_at_standstill(Stepper::Task) {
            return Poll::Pending;
        }
        let mut queue = channel.queue.borrow_mut();
        let Some(place) = self.place else {
            if let Some(value) = queue.take() {
                return Poll::Ready(value);
            }
            self.place = Some(queue.line.join(context.waker().clone()));
            return Poll::Pending;
        };
        let served = queue.line.poll(place, context.waker());
        if served.is_ready() {
            self.place = None;
        }
        served.map(|(_, value)| value)
    }
}

impl<T> Drop for Recv<'_, T> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let mut queue = self.channel.queue.borrow_mut();
        let waker = queue.line.leave(place).and_then(|numbered| queue.give_back(numbered));
        drop(queue);
        if let Some(waker) = waker {
            self.channel.kernel.wake(waker);
        }
    }
}
