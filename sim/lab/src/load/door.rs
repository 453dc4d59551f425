//! The front door: which hosts take requests, and what becomes of requests whose host is lost.
//!
//! **What it models.** A load balancer in front of the hosts that learns at once when a host is gone
//! (connections break) and never sends it requests while it is; a host that merely stands still keeps
//! its connections. A robot whose connection broke, or who was told that the outcome is unknown, asks
//! again after [`ASK_AGAIN`], another host if there is one, and for the same instance: the handler
//! first looks whether it exists, and then only waits. Requests that find no host wait for one.
//!
//! **Assumptions.** [`ASK_AGAIN`] is the back-off of a common HTTP client, and never grows. \[assumption\]
//!
//! Where hosts do not change none of this takes part: requests are not remembered.

use super::front::Request;
use sim_world::network::MailboxSender;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// How long a robot waits before it asks again.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Opens the front end of the host with this number.
type Open = Box<dyn Fn(usize) -> MailboxSender<Request>>;
/// Sends a request again, some time from now.
type Again = Box<dyn Fn(Request)>;

/// The front door of a run. Cloning shares it.
#[derive(Clone)]
pub(crate) struct FrontDoor(Rc<Inner>);

struct Inner {
    open: Open,
    again: RefCell<Option<Again>>,
    /// The front end of each host that takes requests.
    hosts: RefCell<Vec<Option<MailboxSender<Request>>>>,
    next_host: Cell<usize>,
    /// Requests under way by their key, and the host of each; absent if hosts do not change.
    under_way: Option<RefCell<BTreeMap<Key, (usize, Request)>>>,
    /// Requests that found no host.
    waiting: RefCell<VecDeque<Request>>,
}

/// What a request is known by: an index, or the batch, which is under way as long as its host is there.
type Key = Option<u64>;

impl FrontDoor {
    /// A door to the hosts that are `running`. It remembers requests if hosts change.
    pub(super) fn new(open: Open, running: &[bool], hosts_change: bool) -> FrontDoor {
        let hosts = running.iter().enumerate();
        let hosts = hosts.map(|(host, running)| running.then(|| open(host))).collect();
        FrontDoor(Rc::new(Inner {
            open,
            again: RefCell::new(None),
            hosts: RefCell::new(hosts),
            next_host: Cell::new(0),
            under_way: hosts_change.then(RefCell::default),
            waiting: RefCell::default(),
        }))
    }

    /// Says how a request is sent again.
    pub(super) fn ask_again_by(&self, again: impl Fn(Request) + 'static) {
        *self.0.again.borrow_mut() = Some(Box::new(again));
    }

    /// The front end that takes `request`: the hosts take turns. `None` if there is no host now; it is
    /// kept for the next one then.
    pub(super) fn admit(&self, request: &Request) -> Option<MailboxSender<Request>> {
        let hosts = self.0.hosts.borrow();
        let first = self.0.next_host.get();
        let in_turn = (0..hosts.len()).map(|step| (first + step) % hosts.len());
        let found = in_turn.into_iter().find_map(|host| Some((host, hosts[host].clone()?)));
        let Some((host, front)) = found else {
            self.0.waiting.borrow_mut().push_back(*request);
            return None;
        };
        self.0.next_host.set((host + 1) % hosts.len());
        self.note(host, request);
        Some(front)
    }

    /// The front end that takes a batch: that of the first host there is.
    pub(super) fn admit_batch(&self, request: &Request) -> Option<MailboxSender<Request>> {
        self.0.next_host.set(0);
        self.admit(request)
    }

    fn note(&self, host: usize, request: &Request) {
        if let Some(under_way) = &self.0.under_way {
            under_way.borrow_mut().insert(request.key(), (host, *request));
        }
    }

    /// Whether an answer is the first to its request: a request that was asked twice is answered
    /// twice.
    pub(super) fn answered(&self, key: Key) -> bool {
        let Some(under_way) = &self.0.under_way else { return true };
        under_way.borrow_mut().remove(&key).is_some()
    }

    /// Whether robots ask again.
    pub(super) fn asks_again(&self) -> bool {
        self.0.under_way.is_some()
    }

    /// Sends a request once more, after a while.
    pub(super) fn ask_again(&self, request: Request) {
        let again = self.0.again.borrow();
        again.as_ref().expect("invariant: set before the load starts")(request.again());
    }

    /// No new requests go to this host.
    pub(crate) fn host_leaving(&self, host: usize) {
        self.0.hosts.borrow_mut()[host] = None;
    }

    /// The host is gone: its connections break.
    pub(crate) fn host_lost(&self, host: usize) {
        self.host_leaving(host);
        let under_way = self.0.under_way.as_ref().expect("invariant: hosts change");
        let mut broken = Vec::new();
        under_way.borrow_mut().retain(|_, (of, request)| {
            let keep = *of != host;
            if !keep {
                broken.push(*request);
            }
            keep
        });
        broken.into_iter().for_each(|request| self.ask_again(request));
    }

    /// The host takes requests, those first that found none.
    pub(crate) fn host_there(&self, host: usize) {
        let front = (self.0.open)(host);
        self.0.hosts.borrow_mut()[host] = Some(front);
        let waiting = std::mem::take(&mut *self.0.waiting.borrow_mut());
        waiting.into_iter().for_each(|request| self.ask_again(request));
    }
}
