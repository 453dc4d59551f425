//! A gateway: a host of the plan, through which an application reaches the subnets.
//!
//! **What it models.** The boundary of the system: it sends an update call to one replica of the
//! canister's subnet, and waits for the certified answer. A call that is not answered in time is sent to
//! another replica; it is the same call, with the same identity. An answer without a certificate is
//! refused. A query call goes to one replica, and its answer is not certified.
//!
//! Gateways have no state that matters: a host that crashes loses calls it waits for, and nothing else.
//! Sources: dfinity/developer-docs, concepts/boundary-nodes [general]; guides/canister-calls/idempotency.

use crate::block::{CanisterId, Ingress, IngressId, Method, ReplicaId, SubnetId};
use crate::canister::Reply;
use crate::counters::{Counters, add};
use crate::placement::Placement;
use crate::settings::Config;
use crate::subnet::{Answer, Directory, Packet, Question};
use sim_model::engine::InstanceState;
use sim_model::id::InstanceId;
use sim_world::host::Host;
use sim_world::kernel::{Kernel, Receiver, Resolver};
use sim_world::network::MailboxSender;
use sim_world::seed::Stream;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of a query besides its content. [assumption]
const QUERY_BYTES: u64 = 400;
/// How long a gateway waits before it asks another replica, if one says that it is behind. [assumption]
const BEHIND_PAUSE: Duration = Duration::from_millis(200);

/// What all gateways share.
pub(crate) struct Access {
    pub(crate) kernel: Kernel,
    pub(crate) config: Rc<Config>,
    pub(crate) placement: Placement,
    pub(crate) directory: Rc<Directory>,
    pub(crate) counters: Rc<Counters>,
    /// Identities of calls are drawn at random on the real system; here they are counted.
    pub(crate) calls: Cell<u64>,
}

type Found = Vec<(InstanceId, InstanceState)>;

/// The gateway of one host, from a start of it to its crash.
pub(crate) struct Gateway {
    access: Rc<Access>,
    host: Host,
    address: MailboxSender<Answer>,
    random: RefCell<Stream>,
    /// Calls that wait; nothing is the answer if it has to be asked for again.
    calls: RefCell<BTreeMap<IngressId, Resolver<Option<Reply>>>>,
    queries: RefCell<BTreeMap<u64, Resolver<Option<Found>>>>,
}

impl Gateway {
    /// Starts the gateway of a host.
    pub(crate) fn start(
        access: &Rc<Access>,
        host: &Host,
        (address, inbox): (MailboxSender<Answer>, Receiver<Answer>),
        random: Stream,
    ) -> Rc<Gateway> {
        let gateway = Rc::new(Gateway {
            access: access.clone(),
            host: host.clone(),
            address,
            random: RefCell::new(random),
            calls: RefCell::default(),
            queries: RefCell::default(),
        });
        let receiver = gateway.clone();
        host.spawn(async move {
            loop {
                receiver.take(inbox.recv().await);
            }
        });
        gateway
    }

    /// The instant, by the clock of this host.
    pub(crate) fn kernel(&self) -> &Kernel {
        &self.access.kernel
    }

    /// Where instances are.
    pub(crate) fn placement(&self) -> &Placement {
        &self.access.placement
    }

    fn take(&self, answer: Answer) {
        match answer {
            Answer::Update { id, reply, certified } => {
                let Some(resolver) = self.calls.borrow_mut().remove(&id) else { return };
                if self.access.config.certification && !certified {
                    add(&self.access.counters.refused_answers, 1);
                    resolver.resolve(None);
                } else {
                    resolver.resolve(Some(reply));
                }
            }
            Answer::Query { token, instances } => {
                if let Some(resolver) = self.queries.borrow_mut().remove(&token) {
                    resolver.resolve(instances);
                }
            }
        }
    }

    /// A replica of `subnet`, at random.
    fn pick(&self, subnet: SubnetId) -> MailboxSender<Packet> {
        let replicas = u64::from(self.access.config.replicas);
        let pick = self.random.borrow_mut().below(replicas) as u16;
        let address = self.access.directory.of(subnet, ReplicaId(pick));
        address.expect("invariant: every replica was started once")
    }

    fn number(&self) -> u64 {
        let number = self.access.calls.get() + 1;
        self.access.calls.set(number);
        number
    }

    /// Makes an update call; the certified answer.
    pub(crate) async fn update(&self, canister: CanisterId, method: Method) -> Reply {
        let Access { kernel, config, placement, counters, .. } = &*self.access;
        let id = IngressId(self.number());
        let expiry = kernel.now() + config.ingress_expiry;
        let ingress = Ingress::new(id, canister, expiry, method);
        let subnet = placement.subnet_of(canister);
        loop {
            let (resolver, completion) = kernel.completion();
            self.calls.borrow_mut().insert(id, resolver);
            let submit = Packet::Submit(ingress.clone(), self.address.clone());
            self.pick(subnet).send(self.host.node(), ingress.bytes, submit);
            match kernel.timeout(config.call_timeout, completion).await {
                Some(Some(reply)) => return reply,
                Some(None) | None => add(&counters.repeated_calls, 1),
            }
        }
    }

    /// Asks one replica of `canister`'s subnet, and another if that does not answer or is behind.
    pub(crate) async fn query(&self, canister: CanisterId, question: Question) -> Found {
        let Access { kernel, config, placement, .. } = &*self.access;
        let subnet = placement.subnet_of(canister);
        loop {
            let token = self.number();
            let (resolver, completion) = kernel.completion();
            self.queries.borrow_mut().insert(token, resolver);
            let (question, gateway) = (question.clone(), self.address.clone());
            let query = Packet::Query { token, question, gateway };
            self.pick(subnet).send(self.host.node(), QUERY_BYTES, query);
            match kernel.timeout(config.call_timeout, completion).await {
                Some(Some(found)) => return found,
                Some(None) => kernel.sleep(BEHIND_PAUSE).await,
                None => {}
            }
            self.queries.borrow_mut().remove(&token);
        }
    }
}
