//! A waiting line: tasks in the order of their arrival, each waiting for one gift.

use slab::Slab;
use std::collections::VecDeque;
use std::task::{Poll, Waker};

/// Tasks that wait, in their order, for a `G` each.
pub(super) struct Line<G> {
    places: Slab<Place<G>>,
    order: VecDeque<usize>,
}

enum Place<G> {
    Waiting(Waker),
    Served(G),
}

impl<G> Line<G> {
    pub(super) fn new() -> Self {
        Line { places: Slab::new(), order: VecDeque::new() }
    }

    /// Number of tasks still waiting.
    pub(super) fn waiting(&self) -> usize {
        self.order.len()
    }

    pub(super) fn join(&mut self, waker: Waker) -> usize {
        let place = self.places.insert(Place::Waiting(waker));
        self.order.push_back(place);
        place
    }

    /// Serves the head of the line: the waker to call, or the gift back if nobody waits.
    pub(super) fn serve(&mut self, gift: G) -> Result<Waker, G> {
        let Some(place) = self.order.pop_front() else {
            return Err(gift);
        };
        match std::mem::replace(&mut self.places[place], Place::Served(gift)) {
            Place::Waiting(waker) => Ok(waker),
            Place::Served(_) => unreachable!("a served place has left the order"),
        }
    }

    /// Takes what was served, or waits on with the new waker.
    pub(super) fn poll(&mut self, place: usize, waker: &Waker) -> Poll<G> {
        match &mut self.places[place] {
            Place::Waiting(old) => {
                old.clone_from(waker);
                Poll::Pending
            }
            Place::Served(_) => match self.places.remove(place) {
                Place::Served(gift) => Poll::Ready(gift),
                Place::Waiting(_) => unreachable!("looked at just now"),
            },
        }
    }

    /// Leaves the line: what was served but not taken, if anything.
    pub(super) fn leave(&mut self, place: usize) -> Option<G> {
        match self.places.remove(place) {
            Place::Served(gift) => Some(gift),
            Place::Waiting(_) => {
                let position = self.order.iter().position(|other| *other == place);
                self.order.remove(position.expect("invariant: a waiting place is in the order"));
                None
            }
        }
    }
}
