//! Functions: what actions invoke, and what runs on the hosts for it.
//!
//! **Invoking.** An action sends an HTTP request for each function; a pool of threads limits how many it
//! sends at a time. A request that is not accepted in time is repeated after a back-off, so a function may
//! be started twice. Requests go to the hosts in turn, to those that are up. Source:
//! triggerflow/triggerflow@e1f9f6d, `triggerflow/service/actions/default.py`.
//!
//! **Running.** The activity runs on the host; then the function's proxy appends the termination event to
//! the workspace's stream over a new connection, and tries several times. A result that cannot be
//! published is lost. Source: `runtime/ibm_cloud_functions/actionproxy.py` there.
//!
//! **The platform** knows what it has accepted. With `function_retries`, what ran on a host that died
//! runs again after a delay, as asynchronous invocations of AWS Lambda do; without, it is lost, as in
//! OpenWhisk. The platform itself never fails, and offers what it has accepted until a host takes it.
//!
//! **Under v4**, which promises that nothing is lost, two things go on where the published ones give up
//! \[assumption\]: an action that has used up its repetitions begins again, since its event is not
//! acknowledged; and a function that cannot publish its end has failed, so that the platform runs it again
//! (AWS Lambda retries asynchronous invocations that return an error \[general\]).

use crate::api;
use crate::coordinator::{self, CoordinatorCall};
use crate::event::{Event, TaskCall};
use crate::hub::Hub;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use sim_model::codec::{decode, encode};
use sim_model::id::{MessageId, Producer};
use sim_model::ledger::Category;
use sim_world::fault::Carrier;
use sim_world::host::Host;
use sim_world::kernel::{Completion, NodeId, Resolver};
use sim_world::network::MailboxSender;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of an invocation and of its answer besides what they carry [assumption: HTTP headers].
const ENVELOPE_BYTES: u64 = 400;

/// A function to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Function {
    /// An activity, whose termination event goes to this stream.
    Task(Arc<str>, TaskCall),
    /// A coordinator.
    Coordinator(CoordinatorCall),
}

/// An invocation on its way to a host.
pub(crate) struct Request {
    function: Bytes,
    from: NodeId,
    accepted: Resolver<()>,
    /// Given the answer of a coordinator.
    answer: Option<Resolver<Bytes>>,
}

/// What runs, or ran when its host died.
struct Running {
    function: Bytes,
    place: usize,
    generation: u32,
    /// It has ended, and could not say so.
    failed: bool,
}

/// The platform that functions run on.
pub(crate) struct Platform {
    mailboxes: RefCell<Vec<Option<MailboxSender<Request>>>>,
    running: RefCell<BTreeMap<u64, Running>>,
    accepted: Cell<u64>,
    turn: Cell<usize>,
}

impl Platform {
    pub(crate) fn new(hosts: usize) -> Platform {
        Platform {
            mailboxes: RefCell::new((0..hosts).map(|_| None).collect()),
            running: RefCell::default(),
            accepted: Cell::new(0),
            turn: Cell::new(0),
        }
    }

    /// How many functions run on a host.
    pub(crate) fn running_on(&self, place: usize) -> usize {
        let here = |running: &&Running| running.place == place && !running.failed;
        self.running.borrow().values().filter(here).count()
    }

    /// A host takes no more functions.
    pub(crate) fn close(&self, place: usize) {
        self.mailboxes.borrow_mut()[place] = None;
    }
}

/// Starts a host's part of the platform.
pub(crate) fn start_host(hub: &Rc<Hub>, place: usize) {
    let host = hub.host(place);
    let (sender, receiver) = hub.network.mailbox(host.node());
    hub.platform.mailboxes.borrow_mut()[place] = Some(sender);
    let hub = hub.clone();
    host.spawn(async move {
        loop {
            let request: Request = receiver.recv().await;
            let way = (hub.host(place).node(), request.from);
            let back = hub.network.arrival(way, ENVELOPE_BYTES, Carrier::Single, None).first();
            let number = accept(&hub, place, request.function.clone());
            let run = hub.clone();
            // An acceptance that is lost is missed by the invoker, who invokes again.
            if let Some(back) = back {
                hub.host(place).spawn(async move {
                    run.kernel.sleep_until(back).await;
                    request.accepted.resolve(());
                });
            }
            let host = hub.host(place).clone();
            host.spawn(run_function(hub.clone(), place, number, request.function, request.answer));
        }
    });
}

fn accept(hub: &Hub, place: usize, function: Bytes) -> u64 {
    let platform = &hub.platform;
    let number = platform.accepted.replace(platform.accepted.get() + 1);
    let generation = hub.kernel.generation(hub.host(place).node());
    let running = Running { function, place, generation, failed: false };
    platform.running.borrow_mut().insert(number, running);
    number
}

/// Looks for functions that failed or whose host has died, and runs them again.
pub(crate) async fn watch(hub: Rc<Hub>) {
    loop {
        hub.kernel.sleep(hub.parameters.function_retry_delay.max(Duration::from_millis(1))).await;
        let lost = |running: &Running| {
            let node = hub.host(running.place).node();
            let is_gone = !hub.kernel.is_alive(node);
            running.failed || is_gone || hub.kernel.generation(node) != running.generation
        };
        let mut functions = Vec::new();
        hub.platform.running.borrow_mut().retain(|_, running| {
            let is_lost = lost(running);
            if is_lost {
                functions.push(running.function.clone());
            }
            !is_lost
        });
        for function in functions.into_iter().filter(|_| hub.parameters.function_retries) {
            hub.counters.function_retries.count();
            let repeating = hub.clone();
            hub.control.spawn(async move {
                let control = repeating.control.clone();
                while invoke_encoded(&repeating, &control, function.clone()).await.is_none() {}
            });
        }
    }
}

/// Invokes a function; resolves when it was accepted, with what its answer will be, or with nothing if
/// it never was.
pub(crate) async fn invoke(
    hub: &Rc<Hub>,
    from: &Host,
    function: &Function,
) -> Option<Completion<Bytes>> {
    hub.counters.invocations.count();
    invoke_encoded(hub, from, encode(function)).await
}

async fn invoke_encoded(hub: &Rc<Hub>, from: &Host, function: Bytes) -> Option<Completion<Bytes>> {
    let parameters = &hub.parameters;
    for attempt in 0..=parameters.invocation_retries {
        if attempt > 0 {
            hub.counters.invocation_retries.count();
            hub.kernel.sleep(Duration::from_secs(1 << attempt)).await;
        }
        from.run(hub.invocation).await;
        let (accepted, acceptance) = hub.kernel.completion();
        let (resolver, answer) = hub.kernel.completion();
        let bytes = function.len() as u64 + ENVELOPE_BYTES;
        let request = Request {
            function: function.clone(),
            from: from.node(),
            accepted,
            answer: Some(resolver),
        };
        if !send(hub, from, bytes, request) {
            continue;
        }
        let accepted = hub.kernel.timeout(parameters.invocation_timeout, acceptance).await;
        if accepted.is_some() {
            return Some(answer);
        }
    }
    None
}

/// Sends a request to the next host that is up.
fn send(hub: &Hub, from: &Host, bytes: u64, request: Request) -> bool {
    let mailboxes = hub.platform.mailboxes.borrow();
    let turn = &hub.platform.turn;
    for _ in 0..mailboxes.len() {
        let place = turn.replace((turn.get() + 1) % mailboxes.len());
        let is_up = hub.host(place).is_alive();
        if let Some(mailbox) = mailboxes[place].as_ref().filter(|_| is_up) {
            mailbox.send(from.node(), bytes, request);
            return true;
        }
    }
    false
}

/// Invokes functions, as many at a time as there are threads; resolves when all were accepted.
pub(crate) async fn invoke_all(
    hub: &Rc<Hub>,
    from: &Host,
    stream: &Arc<str>,
    calls: Vec<TaskCall>,
) {
    let threads = hub.parameters.invocation_threads;
    let calls = calls.into_iter().map(|call| Function::Task(stream.clone(), call));
    futures_util::stream::iter(calls)
        .for_each_concurrent(threads, |function| async move {
            while invoke(hub, from, &function).await.is_none() && hub.rules.is_v4() {}
        })
        .await;
}

async fn run_function(
    hub: Rc<Hub>,
    place: usize,
    number: u64,
    function: Bytes,
    answer: Option<Resolver<Bytes>>,
) {
    let decoded = decode(&function).unwrap_or_else(|error| panic!("an invocation: {error}"));
    let is_published = match decoded {
        Function::Task(stream, call) => run_task(&hub, place, &stream, call).await,
        Function::Coordinator(call) => {
            let answered = coordinator::run(&hub, place, call).await;
            // Nothing stands for a run that was done with.
            if let Some(answer) = answer {
                answer.resolve(answered.unwrap_or_default());
            }
            true
        }
    };
    let mut running = hub.platform.running.borrow_mut();
    if is_published || !hub.rules.is_v4() {
        running.remove(&number);
    } else if let Some(entry) = running.get_mut(&number) {
        entry.failed = true;
    }
}

/// Runs an activity, and tells whether its end was published.
async fn run_task(hub: &Rc<Hub>, place: usize, stream: &str, call: TaskCall) -> bool {
    let graph = hub.observer.graph();
    let functions = &hub.functions[place];
    let item = graph.fetch_task(call.task.id, hub.now());
    let mut ledger = call.task.ledger;
    ledger.charge(Category::Network.because("the function was called"), hub.now());
    let result = functions.task(&hub.application, &mut ledger, &call.task).await;
    graph.executed(item, 1);
    let id = MessageId { producer: Producer::WorkItem(item), index: 0 };
    let event = Event::termination(&call, call.task.response(id, result, ledger));
    // A new connection for each function.
    let connection = hub.store.connect_for(
        functions.host(),
        hub.parameters.publish_attempts,
        hub.parameters.publish_delay,
    );
    match api::append_event(hub, &connection, stream, &event).await {
        Ok(()) => {
            hub.measure.committed(item);
            true
        }
        Err(error) => {
            hub.counters.lost_results.count();
            if !error.is_ambiguous() {
                graph.aborted(item);
            }
            false
        }
    }
}
