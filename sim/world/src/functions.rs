//! The functions runtime of a host: what executing user code costs.
//!
//! Every engine runs its work items here, so that a step or an activity costs the same core time
//! whatever stored it. The costs are the profile's `cpu.step` (one orchestration or entity step:
//! dispatch, user code up to its next await, collecting the decisions), `cpu.activity` (dispatch of
//! one activity) and `cpu.replayed_event` (one history event fed to code that runs again from its
//! start). Once a work item has been executed, `cpu.after_work_item` is taken from the cores beside
//! whatever comes next: telemetry and garbage collection use a core and delay nobody directly.
//! User code in orchestrations takes no core time of its own; activities take what they ask
//! for through their context.
//!
//! All of it queues for the host's cores like anything else that runs there. Time is charged to the
//! ledger of the work item: waiting for a core as queueing, holding one as CPU, and what an
//! activity waits for as the application's own.

use crate::host::Host;
use crate::kernel::Kernel;
use crate::world::World;
use futures_util::future::LocalBoxFuture;
use sim_model::application::{
    ActivityContext, ActivityEnvironment, Application, ApplicationResult,
};
use sim_model::id::WorkItemId;
use sim_model::ledger::{Category, Ledger, Timing};
use sim_model::message::{InstanceMessage, TaskMessage};
use sim_model::orchestration::{Cursor, StepInput, StepOutcome};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The functions runtime of one host. Cloning shares it.
#[derive(Clone)]
pub struct FunctionsHost {
    host: Host,
    kernel: Kernel,
    step: Duration,
    activity: Duration,
    replayed_event: Duration,
    after_work_item: Duration,
}

impl FunctionsHost {
    /// The runtime of the host with this index.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn new(world: &World, host: usize) -> FunctionsHost {
        let cpu = &world.profile().cpu;
        FunctionsHost {
            host: world.hosts()[host].clone(),
            kernel: world.kernel().clone(),
            step: cpu.step,
            activity: cpu.activity,
            replayed_event: cpu.replayed_event,
            after_work_item: cpu.after_work_item,
        }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Takes `work` of core time, on behalf of the work item with this ledger.
    pub async fn charge(&self, work: Duration, ledger: &mut Ledger) {
        ledger.charge(Category::Queueing, self.kernel.now());
        let timing = self.host.run(work).await;
        let now = self.kernel.now();
        ledger.charge_request(&split(timing.queued, timing.ran), now, Category::Queueing);
    }

    /// Executes one step of an orchestration whose code first had to be fed `replayed_events`.
    pub async fn step(
        &self,
        cursor: &mut Cursor,
        replayed_events: usize,
        work_item: WorkItemId,
        ledger: &mut Ledger,
        messages: Vec<InstanceMessage>,
    ) -> StepOutcome {
        let replay = self.replayed_event * u32::try_from(replayed_events).unwrap_or(u32::MAX);
        self.charge(self.step + replay, ledger).await;
        let now = self.kernel.now();
        self.clean_up();
        cursor.step(StepInput { work_item, now, ledger: *ledger, messages })
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
        let environment = Rc::new(HostEnvironment {
            host: self.host.clone(),
            kernel: self.kernel.clone(),
            used: used.clone(),
        });
        let context = ActivityContext::new(environment);
        let result = application.run_activity(&task.name, context, task.input.clone()).await;
        ledger.charge_request(&used.get(), self.kernel.now(), Category::Application);
        self.clean_up();
        result
    }

    /// Gives the cores what comes after a work item. Nobody waits for it.
    fn clean_up(&self) {
        drop(self.host.run(self.after_work_item));
    }
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
    used: Rc<Cell<Timing>>,
}

impl ActivityEnvironment for HostEnvironment {
    fn compute(&self, work: Duration) -> LocalBoxFuture<'static, ()> {
        let (host, used) = (self.host.clone(), self.used.clone());
        Box::pin(async move {
            let ran = host.run(work).await;
            let mut timing = used.get();
            timing.merge(&split(ran.queued, ran.ran));
            used.set(timing);
        })
    }

    fn wait(&self, span: Duration) -> LocalBoxFuture<'static, ()> {
        let (kernel, used) = (self.kernel.clone(), self.used.clone());
        Box::pin(async move {
            kernel.sleep(span).await;
            let mut timing = used.get();
            timing.add(Category::Application, span);
            used.set(timing);
        })
    }
}
