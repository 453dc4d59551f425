//! One worker: the tasks of a host, and how they call the database.
//!
//! A worker has two dispatchers, one for steps and one for activities; each waits for a free slot,
//! fetches one work item, and hands it to the slot. An empty poll is followed by a delay that grows.
//! One more task renews the locks of work items that run for long. All of its memory is lost with its
//! host; what it had locked is fetched by others once the locks have expired.
//!
//! Sources: microsoft/durabletask-mssql main@e7d35db, `SqlOrchestrationService.cs`; Azure/durabletask
//! main@5217032, `src/DurableTask.Core/WorkItemDispatcher.cs` (slot, then fetch), and
//! `TaskOrchestrationDispatcher.cs` (renewal 30 s before the lock expires, after 5 to 30 s).

use crate::backoff::PollingBackoff;
use crate::procedures::{DurableSchema, Procedure, RenewOrchestration, RenewTask};
use crate::record::Record;
use crate::settings::Parameters;
use crate::{activities, steps};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sim_model::application::Application;
use sim_model::codec::{decode, encode};
use sim_model::id::InstanceId;
use sim_model::time::Timestamp;
use sim_world::functions::FunctionsHost;
use sim_world::kernel::{Kernel, Notify};
use sim_world::seed::Stream;
use sim_world::service::Reply;
use sim_world::sql::{Database, DatabaseClient, SqlError, Verdict};
use sim_world::world::World;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How long before its end a lock is renewed, and the bounds of the wait until then.
const RENEWAL_MARGIN: Duration = Duration::from_secs(30);
const RENEWAL_WAIT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// First and longest pause before a call is repeated that failed for the moment. [assumption]
const REPEAT_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What a task hub shares.
pub(crate) struct Shared {
    pub world: World,
    pub application: Rc<Application>,
    pub parameters: Parameters,
    pub record: Rc<Record>,
    pub database: Database<DurableSchema>,
    /// Numbers workers, so that one on a restarted host is another one.
    pub next_worker: Cell<u64>,
}

/// A work item that is locked for this worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    Orchestration(InstanceId),
    Task(u64),
}

/// A worker.
pub(crate) struct Worker {
    pub shared: Rc<Shared>,
    pub functions: FunctionsHost,
    number: u64,
    database: DatabaseClient<DurableSchema>,
    /// Ends the polling delays.
    orchestration_wake_up: Notify,
    activity_wake_up: Notify,
    /// Locks of work items that run, with the instants at which they are to be renewed.
    held: RefCell<BTreeMap<Held, Timestamp>>,
}

impl Worker {
    /// A worker on the host with this index, not started.
    pub fn new(shared: &Rc<Shared>, host: usize) -> Rc<Worker> {
        let backend = shared.parameters.entity_backend();
        let functions = FunctionsHost::new(&shared.world, host, backend);
        let kernel = shared.world.kernel();
        let number = shared.next_worker.get();
        shared.next_worker.set(number + 1);
        Rc::new(Worker {
            shared: shared.clone(),
            number,
            database: shared.database.client(functions.host()),
            functions,
            orchestration_wake_up: kernel.notify(),
            activity_wake_up: kernel.notify(),
            held: RefCell::default(),
        })
    }

    /// Spawns its tasks.
    pub fn start(self: &Rc<Self>) {
        let host = self.functions.host();
        let (parameters, kernel) = (&self.shared.parameters, self.kernel());
        let slots = parameters.orchestrations(host.cores());
        let (steps, step_inputs) = kernel.channel();
        let permits = kernel.semaphore(slots);
        host.spawn(steps::dispatch(self.clone(), permits, steps));
        (0..slots).for_each(|_| host.spawn(steps::run(self.clone(), step_inputs.clone())));
        let slots = parameters.activities(host.cores());
        let (jobs, job_inputs) = kernel.channel();
        let permits = kernel.semaphore(slots);
        host.spawn(activities::dispatch(self.clone(), permits, jobs));
        (0..slots).for_each(|_| host.spawn(activities::run(self.clone(), job_inputs.clone())));
        if parameters.lock_renewal {
            host.spawn(self.clone().renew_locks());
        }
    }

    pub fn kernel(&self) -> &Kernel {
        self.shared.world.kernel()
    }

    pub fn record(&self) -> &Rc<Record> {
        &self.shared.record
    }

    /// Its name in rows that it locks.
    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn now(&self) -> Timestamp {
        self.kernel().now()
    }

    /// The stream of random numbers of one of its loops.
    pub fn stream(&self, name: &str) -> Stream {
        let host = self.functions.host().name();
        self.shared.world.seeds().stream(&format!("engine sql-server {host} {name}"))
    }

    /// The back-off of one of its loops.
    pub fn backoff(&self) -> PollingBackoff {
        let parameters = &self.shared.parameters;
        PollingBackoff::new(
            parameters.min_polling_interval,
            parameters.max_polling_interval,
            parameters.delta_polling_interval,
        )
    }

    /// Waits after an empty poll for steps, or until this worker commits a message.
    pub async fn rest_orchestrations(&self, backoff: &mut PollingBackoff, stream: &mut Stream) {
        self.rest(backoff, stream, &self.orchestration_wake_up).await;
    }

    /// Waits after an empty poll for activities, or until this worker commits one.
    pub async fn rest_activities(&self, backoff: &mut PollingBackoff, stream: &mut Stream) {
        self.rest(backoff, stream, &self.activity_wake_up).await;
    }

    async fn rest(&self, backoff: &mut PollingBackoff, stream: &mut Stream, wake_up: &Notify) {
        let delay = backoff.after_empty_poll(stream.unit());
        if self.kernel().timeout(delay, wake_up.notified()).await.is_some() {
            self.record().counters.local_wake_ups.count();
            backoff.reset();
        }
    }

    /// This worker has committed messages to instances.
    pub fn wake_orchestrations(&self) {
        if self.shared.parameters.local_wake_up {
            self.orchestration_wake_up.notify_one();
        }
    }

    /// This worker has committed activities.
    pub fn wake_activities(&self) {
        if self.shared.parameters.local_wake_up {
            self.activity_wake_up.notify_one();
        }
    }

    /// Calls a procedure once.
    pub async fn call<A: Serialize, R: DeserializeOwned>(
        &self,
        procedure: Procedure,
        arguments: &A,
        verdict: Option<Verdict>,
    ) -> Result<Reply<R>, SqlError> {
        let reply = self.database.call(procedure as usize, encode(arguments), verdict).await?;
        Ok(reply.map(|answer| decode(&answer).expect("invariant: procedures encode their answers")))
    }

    /// Calls a procedure, again and again while the database cannot serve it for the moment, until
    /// `until`. A procedure that may have been committed is repeated, too: whoever uses this makes
    /// sure that a second time has no effect.
    pub async fn call_until<A: Serialize, R: DeserializeOwned>(
        &self,
        procedure: Procedure,
        arguments: &A,
        until: Timestamp,
    ) -> Result<Reply<R>, SqlError> {
        let mut pause = REPEAT_PAUSE.0;
        loop {
            match self.call(procedure, arguments, None).await {
                Err(error) if error.is_transient() && self.now() + pause < until => {
                    self.record().counters.repeated_calls.count();
                    self.kernel().sleep(pause).await;
                    pause = (2 * pause).min(REPEAT_PAUSE.1);
                }
                outcome => return outcome,
            }
        }
    }

    /// The pause of a dispatcher after a fetch that failed.
    pub async fn pause_after_error(&self) {
        self.kernel().sleep(REPEAT_PAUSE.1).await;
    }

    /// A work item runs that is locked until then.
    pub fn hold(&self, held: Held, expiration: Timestamp) {
        self.held.borrow_mut().insert(held, self.renewal(expiration));
    }

    /// A work item has ended.
    pub fn release(&self, held: &Held) {
        self.held.borrow_mut().remove(held);
    }

    fn renewal(&self, expiration: Timestamp) -> Timestamp {
        let (least, longest) = RENEWAL_WAIT;
        let wait = expiration.before(RENEWAL_MARGIN).since(self.now());
        self.now() + wait.clamp(least, longest)
    }

    async fn renew_locks(self: Rc<Self>) {
        loop {
            let soon = self.now() + RENEWAL_WAIT.0;
            let first = self.held.borrow().values().min().copied();
            self.kernel().sleep_until(first.map_or(soon, |first| first.min(soon))).await;
            let now = self.now();
            let is_due = |(held, at): (&Held, &Timestamp)| (*at <= now).then(|| held.clone());
            let due: Vec<Held> = self.held.borrow().iter().filter_map(is_due).collect();
            for held in due {
                self.renew(held).await;
            }
        }
    }

    async fn renew(&self, held: Held) {
        let (worker, timeout) = (self.number, self.shared.parameters.lock_timeout);
        self.record().counters.lock_renewals.count();
        let renewed: Result<Reply<Option<Timestamp>>, SqlError> = match &held {
            Held::Orchestration(instance) => {
                let args = RenewOrchestration { instance: instance.clone(), worker, timeout };
                self.call(Procedure::RenewOrchestrationLocks, &args, None).await
            }
            Held::Task(number) => {
                let args = RenewTask { number: *number, worker, timeout };
                self.call(Procedure::RenewTaskLocks, &args, None).await
            }
        };
        let next = match renewed {
            Ok(Reply { value: Some(expiration), .. }) => self.renewal(expiration),
            // The lock is lost, which shows when the work item is committed; or the database does not
            // answer, and it is tried again.
            Ok(Reply { value: None, .. }) => Timestamp::MAX,
            Err(_) => self.now() + RENEWAL_WAIT.0,
        };
        if let Some(at) = self.held.borrow_mut().get_mut(&held) {
            *at = next;
        }
    }
}
