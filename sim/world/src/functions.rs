//! The functions runtime of a host: what executing user code costs.
//!
//! Every engine runs its work items here, so that a step or an activity costs the same core time
//! whatever stored it. The costs are the profile's `cpu.step` (one orchestration or entity step:
//! dispatch, user code up to its next await, collecting the decisions), `cpu.activity` (dispatch of
//! one activity), `cpu.operation` (one operation of an entity, besides its step) and
//! `cpu.replayed_event` (one history event fed to code that runs again from its start). Once a work
//! item has been executed, `cpu.after_work_item` is taken from the cores beside whatever comes next:
//! telemetry and garbage collection use a core and delay nobody directly.
//! User code in orchestrations takes no core time of its own; activities and operations of entities
//! take what they ask for through their contexts. What an operation asks for is taken when the code
//! of the step has run and before the step is committed, so it delays whatever the step sends.
//!
//! All of it queues for the host's cores like anything else that runs there. Time is charged to the
//! ledger of the work item: waiting for a core as queueing, holding one as CPU, and what an
//! activity waits for as the application's own.

use crate::application_storage::ApplicationStorage;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::profile::CpuProfile;
use crate::world::World;
use futures_util::future::LocalBoxFuture;
use sim_model::application::{
    ActivityContext, ActivityEnvironment, Application, ApplicationResult,
};
use sim_model::cursor::Cursor;
use sim_model::id::WorkItemId;
use sim_model::ledger::{Category, Ledger, Timing};
use sim_model::message::{InstanceMessage, TaskMessage};
use sim_model::step::{EntityBackend, StepInput, StepOutcome, UserWork};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The functions runtime of one host. Cloning shares it.
#[derive(Clone)]
pub struct FunctionsHost {
    host: Host,
    kernel: Kernel,
    storage: ApplicationStorage,
    backend: EntityBackend,
    step: Duration,
    activity: Duration,
    operation: Duration,
    replayed_event: Duration,
    after_work_item: Duration,
}

impl FunctionsHost {
    /// The runtime of the host with this index, over an engine with these properties.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn new(world: &World, host: usize, backend: EntityBackend) -> FunctionsHost {
        FunctionsHost::on(world, &world.hosts()[host], &world.profile().cpu, backend)
    }

    /// The runtime of any host, where executing user code costs what `cpu` says: for an engine whose
    /// own runtime executes it, and not that of the plan.
    pub fn on(
        world: &World,
        host: &Host,
        cpu: &CpuProfile,
        backend: EntityBackend,
    ) -> FunctionsHost {
        FunctionsHost {
            host: host.clone(),
            kernel: world.kernel().clone(),
            storage: world.application_storage().clone(),
            backend,
            step: cpu.step,
            activity: cpu.activity,
            operation: cpu.operation,
            replayed_event: cpu.replayed_event,
            after_work_item: cpu.after_work_item,
        }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Takes `work` of core time, on behalf of the work item with this ledger; how long it took.
    pub async fn charge(&self, work: Duration, ledger: &mut Ledger) -> Timing {
        let why = Category::Queueing.because("waited for its host to begin");
        ledger.charge(why, self.kernel.now());
        let timing = self.host.run(work).await;
        let timing = split(timing.queued, timing.ran);
        let why = Category::Queueing.because("executed on a core of its host");
        ledger.charge_request(&timing, self.kernel.now(), why);
        timing
    }

    /// Executes one step of an instance whose code first had to be fed `replayed_events`.
    pub async fn step(
        &self,
        cursor: &mut Cursor,
        replayed_events: usize,
        work_item: WorkItemId,
        ledger: &mut Ledger,
        messages: Vec<InstanceMessage>,
    ) -> StepOutcome {
        let replay = self.replayed_event * u32::try_from(replayed_events).unwrap_or(u32::MAX);
        let execution = self.charge(self.step + replay, ledger).await;
        let now = self.kernel.now();
        self.clean_up();
        let (ledger_now, backend) = (*ledger, self.backend);
        let mut outcome = cursor.step(StepInput {
            work_item,
            now,
            ledger: ledger_now,
            execution,
            messages,
            backend,
        });
        if !outcome.work.is_empty() {
            let timing = self.work(&outcome.work).await;
            let until = self.kernel.now();
            outcome.charge(&timing, until);
            let why = Category::Queueing.because("the code of the step worked on its host");
            ledger.charge_request(&timing, until, why);
        }
        outcome
    }

    /// Takes what the code of a step asked of its host: reads, computes, waits, writes.
    async fn work(&self, work: &UserWork) -> Timing {
        let used = Rc::new(Cell::new(Timing::default()));
        let host = self.environment(&used);
        for read in parts(work.read_bytes, work.reads) {
            host.read_blob(read).await;
        }
        let compute = work.compute + self.operation * work.operations;
        if !compute.is_zero() {
            host.compute(compute).await;
        }
        if !work.wait.is_zero() {
            host.wait(work.wait).await;
        }
        for write in parts(work.written_bytes, work.writes) {
            host.write_blob(write).await;
        }
        used.get()
    }

    fn environment(&self, used: &Rc<Cell<Timing>>) -> HostEnvironment {
        HostEnvironment {
            host: self.host.clone(),
            kernel: self.kernel.clone(),
            storage: self.storage.clone(),
            used: used.clone(),
        }
    }

    /// Executes one activity.
    pub async fn task(
        &self,
        application: &Application,
        ledger: &mut Ledger,
        task: &TaskMessage,
    ) -> ApplicationResult {
        self.charge(self.activity, ledger).await;
        let used = Rc::new(Cell::new(Timing::default()));
        let environment = Rc::new(self.environment(&used));
        let context = ActivityContext::new(environment, task);
        let result = application.run_activity(&task.name, context, task.input.clone()).await;
        let why = Category::Application.because("the activity worked");
        ledger.charge_request(&used.get(), self.kernel.now(), why);
        self.clean_up();
        result
    }

    /// Gives the cores what comes after a work item. Nobody waits for it.
    fn clean_up(&self) {
        drop(self.host.run(self.after_work_item));
    }
}

/// A sum of `bytes` in `count` parts as equal as they can be.
fn parts(bytes: u64, count: u32) -> impl Iterator<Item = u64> {
    let count = u64::from(count);
    (0..count).map(move |index| bytes / count + u64::from(index < bytes % count))
}

fn split(queued: Duration, ran: Duration) -> Timing {
    let mut timing = Timing::of(Category::Queueing, queued);
    timing.add(Category::Cpu, ran);
    timing
}

/// What an activity may use of the host it runs on.
struct HostEnvironment {
    host: Host,
    kernel: Kernel,
    storage: ApplicationStorage,
    used: Rc<Cell<Timing>>,
}

impl HostEnvironment {
    fn add(used: &Cell<Timing>, timing: &Timing) {
        let mut sum = used.get();
        sum.merge(timing);
        used.set(sum);
    }
}

impl ActivityEnvironment for HostEnvironment {
    fn compute(&self, work: Duration) -> LocalBoxFuture<'static, ()> {
        let (host, used) = (self.host.clone(), self.used.clone());
        Box::pin(async move {
            let ran = host.run(work).await;
            Self::add(&used, &split(ran.queued, ran.ran));
        })
    }

    fn wait(&self, span: Duration) -> LocalBoxFuture<'static, ()> {
        let (kernel, used) = (self.kernel.clone(), self.used.clone());
        Box::pin(async move {
            kernel.sleep(span).await;
            Self::add(&used, &Timing::of(Category::Application, span));
        })
    }

    fn read_blob(&self, bytes: u64) -> LocalBoxFuture<'static, ()> {
        let (host, storage, used) = (self.host.clone(), self.storage.clone(), self.used.clone());
        Box::pin(async move {
            let timing = storage.read(&host, bytes).await;
            Self::add(&used, &timing);
        })
    }

    fn write_blob(&self, bytes: u64) -> LocalBoxFuture<'static, ()> {
        let (host, storage, used) = (self.host.clone(), self.storage.clone(), self.used.clone());
        Box::pin(async move {
            let timing = storage.write(&host, bytes).await;
            Self::add(&used, &timing);
        })
    }
}
