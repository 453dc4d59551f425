//! The front door: which hosts take requests, and what becomes of requests whose host is lost.
//!
//! **What it models.** A load balancer in front of the hosts that learns at once when a host is gone
//! (connections break) and never sends it requests while it is; a host that merely stands still keeps
//! its connections. A robot whose connection broke, or who was told that the outcome is unknown, asks
//! again after [`ASK_AGAIN`], another host if there is one, and for the same instance: the handler
//! first looks whether it exists, and then only waits. Requests that find no host wait for one.
//!
//! Where messages can be lost a robot also waits no longer than [`CLIENT_TIMEOUT`]: then the outcome of
//! its request is unknown to it, and it asks again. (A batch is never answered; its robot asks again if
//! the request itself was lost.) Its latency counts from the intended start, whatever was lost.
//!
//! **Assumptions.** [`ASK_AGAIN`] is the back-off of a common HTTP client, and never grows. \[assumption\]
//!
//! Where neither hosts change nor messages can be lost none of this takes part: requests are not
//! remembered.

use super::front::Request;
use sim_world::network::MailboxSender;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// How long a robot waits before it asks again.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a robot waits for an answer, where messages can be lost: the default of a common HTTP
/// client (.NET, `HttpClient.Timeout`). [general]
pub(super) const CLIENT_TIMEOUT: Duration = Duration::from_secs(100);

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
    /// Requests under way by their key; absent if every request is answered.
    under_way: Option<RefCell<BTreeMap<Key, UnderWay>>>,
    /// How many requests were sent so far.
    sent: Cell<u64>,
    messages_can_be_lost: bool,
    /// Requests that found no host.
    waiting: RefCell<VecDeque<Request>>,
    /// Who is told of every request.
    told: RefCell<Option<Told>>,
}

/// A request under way.
struct UnderWay {
    host: usize,
    request: Request,
    /// Tells it from the same request asked at another time.
    number: u64,
}

type Told = Box<dyn Fn()>;

/// What a request is known by: an index, or the batch, which is under way as long as its host is there.
type Key = Option<u64>;

impl FrontDoor {
    /// A door to the hosts that are `running`. It remembers requests if hosts change or messages can
    /// be lost.
    pub(super) fn new(
        open: Open,
        running: &[bool],
        hosts_change: bool,
        messages_can_be_lost: bool,
    ) -> FrontDoor {
        let hosts = running.iter().enumerate();
        let hosts = hosts.map(|(host, running)| running.then(|| open(host))).collect();
        FrontDoor(Rc::new(Inner {
            open,
            again: RefCell::new(None),
            hosts: RefCell::new(hosts),
            next_host: Cell::new(0),
            under_way: (hosts_change || messages_can_be_lost).then(RefCell::default),
            sent: Cell::new(0),
            messages_can_be_lost,
            waiting: RefCell::default(),
            told: RefCell::default(),
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
            self.tell();
            return None;
        };
        self.0.next_host.set((host + 1) % hosts.len());
        self.note(host, request);
        self.tell();
        Some(front)
    }

    /// The front end that takes a batch: that of the first host there is.
    pub(super) fn admit_batch(&self, request: &Request) -> Option<MailboxSender<Request>> {
        self.0.next_host.set(0);
        self.admit(request)
    }

    fn note(&self, host: usize, request: &Request) {
        let is_batch = request.key().is_none();
        if let Some(under_way) = self.0.under_way.as_ref().filter(|_| !is_batch || !self.tells()) {
            let number = self.0.sent.get() + 1;
            self.0.sent.set(number);
            let entry = UnderWay { host, request: *request, number };
            under_way.borrow_mut().insert(request.key(), entry);
        }
    }

    /// What to call [`FrontDoor::give_up`] with after [`CLIENT_TIMEOUT`] about the request that was sent
    /// last; nothing if its robot waits for as long as it takes.
    pub(super) fn patience(&self) -> Option<u64> {
        self.0.messages_can_be_lost.then(|| self.0.sent.get())
    }

    /// A robot has waited long enough: it asks again if its request, sent as that number, is still under
    /// way.
    pub(super) fn give_up(&self, request: Request, number: u64) {
        let under_way = self.0.under_way.as_ref().expect("invariant: messages can be lost");
        let mut under_way = under_way.borrow_mut();
        let is_waited_for = |entry: &UnderWay| entry.number == number;
        if under_way.get(&request.key()).is_some_and(is_waited_for) {
            under_way.remove(&request.key());
            drop(under_way);
            self.ask_again(request);
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

    fn tell(&self) {
        if let Some(told) = &*self.0.told.borrow() {
            told();
        }
    }

    /// Calls `told` at every request. Hosts that are told go only when they are idle, and have begun all
    /// of a batch then: it is not asked for again.
    pub(crate) fn tell_of_requests(&self, told: impl Fn() + 'static) {
        *self.0.told.borrow_mut() = Some(Box::new(told));
        if let Some(under_way) = &self.0.under_way {
            under_way.borrow_mut().remove(&None);
        }
    }

    fn tells(&self) -> bool {
        self.0.told.borrow().is_some()
    }

    /// Whether somebody waits for an answer.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.under_way.as_ref().is_some_and(|under_way| !under_way.borrow().is_empty())
    }

    /// Whether requests wait for a host.
    pub(crate) fn is_waited_at(&self) -> bool {
        !self.0.waiting.borrow().is_empty()
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
        under_way.borrow_mut().retain(|_, entry| {
            let keep = entry.host != host;
            if !keep {
                broken.push(entry.request);
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

#[cfg(test)]
mod tests {
    use super::*;
    use sim_world::kernel::{KernelOptions, on_fresh_thread, simulate};
    use sim_world::meter::Meter;
    use sim_world::network::{LinkProfile, Network};
    use sim_world::seed::SeedTree;

    #[test]
    fn a_robot_gives_up_only_on_what_is_still_under_way() {
        let program = |kernel: sim_world::kernel::Kernel| async move {
            let seeds = SeedTree::new(1);
            let network = Network::new(&kernel, &seeds, &Meter::new(), LinkProfile::INSTANT);
            let node = kernel.create_node("host");
            let open = move |_| network.mailbox(node).0;
            let door = FrontDoor::new(Box::new(open), &[true], false, true);
            let asked: Rc<RefCell<Vec<Key>>> = Rc::default();
            let notes = asked.clone();
            door.ask_again_by(move |request| notes.borrow_mut().push(request.key()));
            let request = Request::Run { index: 7, again: false };
            assert!(door.admit(&request).is_some());
            let first = door.patience().expect("messages can be lost");
            door.give_up(request, first);
            assert_eq!(*asked.borrow(), [Some(7)]);
            assert!(door.admit(&request.again()).is_some());
            let second = door.patience().expect("messages can be lost");
            door.give_up(request, first);
            assert_eq!(asked.borrow().len(), 1, "it was asked at another time");
            assert!(door.answered(Some(7)));
            door.give_up(request, second);
            assert_eq!(asked.borrow().len(), 1, "it was answered");
        };
        on_fresh_thread(|| simulate(KernelOptions::with_seed(1), program)).expect("it ends");
    }
}
