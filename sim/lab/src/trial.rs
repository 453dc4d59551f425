//! Trials: an application on an engine, without a load and without a verdict.
//!
//! A trial is for the author of an application or a workload who wants to see it run: in a test of
//! its own, or in an example. It deploys the application on one host of the default plan and the
//! default profile, with the engine's default settings, and plays a scene: the code of a trigger on
//! that host, which reaches the application through a client. What a *run* adds (load, measurement,
//! checks, results) is [`crate::run`].

use crate::registry;
use crate::spec::RunSpec;
use crate::suggest::UnknownName;
use crate::workload::{
    EntityStates, JobContext, Naming, Orchestrations, Start, Workload, in_parallel,
};
use sim_model::application::Application;
use sim_model::engine::{DeployError, Deployment, Observer, TaskHub};
use sim_model::graph::GraphRecorder;
use sim_model::id::InstanceId;
use sim_model::orchestration::RuntimeStatus;
use sim_model::settings::Settings;
use sim_world::kernel::{self, Kernel, KernelError, KernelOptions};
use sim_world::profile::{Profile, ProfileError};
use sim_world::world::{self, World, WorldError};
use std::rc::Rc;
use std::time::Duration;
use thiserror::Error;

/// Virtual time that engines have to start up before the scene begins.
const SETTLE: Duration = Duration::from_secs(1);
/// Virtual time for what is still under way when everything has ended that was waited for.
const REST: Duration = Duration::from_secs(60);

/// A trial that could not be carried out.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TrialError {
    /// There is no such engine.
    #[error("{0}")]
    Engine(UnknownName),
    /// The default profile cannot be read.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The world cannot be built.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The engine cannot run like this.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// Nothing was left that could happen, and the scene had not ended.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// What the workload says is wrong.
    #[error("{0}")]
    Check(String),
}

/// Plays `scene` on `engine`, and returns what it comes to.
///
/// # Errors
/// If the engine does not exist, or the scene never ends.
///
/// ```
/// use sim_lab::trial;
/// use sim_model::application::Application;
/// use sim_model::id::InstanceId;
/// use sim_model::orchestration::OrchestrationContext;
/// use sim_model::payload::Payload;
///
/// let application = || {
///     let mut app = Application::new();
///     app.orchestration("Double", |_: OrchestrationContext, n: u32| async move { Ok(2 * n) });
///     app
/// };
/// let doubled: u32 = trial::play("in-memory", application, async |cx| {
///     let input = Payload::encode(&21).expect("a number");
///     let ended = cx.run("Double", InstanceId::new("one"), input).await.expect("it completes");
///     ended.result.decode().expect("a number")
/// })?;
/// assert_eq!(doubled, 42);
/// # Ok::<(), trial::TrialError>(())
/// ```
pub fn play<T: Send + 'static>(
    engine: &str,
    application: impl FnOnce() -> Application + Send,
    scene: impl AsyncFnOnce(JobContext) -> T + Send + 'static,
) -> Result<T, TrialError> {
    stage(engine, application, async move |kernel, hub| {
        scene(JobContext::new(&kernel, hub.client(0), InstanceId::new("trial"))).await
    })
}

fn stage<T: Send + 'static>(
    engine: &str,
    application: impl FnOnce() -> Application + Send,
    scene: impl AsyncFnOnce(Kernel, Rc<dyn TaskHub>) -> T + Send + 'static,
) -> Result<T, TrialError> {
    let spec = RunSpec { engine: engine.to_owned(), hosts: 1, ..RunSpec::default() };
    kernel::on_fresh_thread(move || {
        let application = application();
        let main = |kernel: Kernel| async move {
            let hub = deploy(&kernel, &spec, application)?;
            hub.start_host(0);
            kernel.sleep(SETTLE).await;
            Ok::<_, TrialError>(scene(kernel, hub).await)
        };
        let (value, _) = kernel::simulate(KernelOptions::with_seed(1), main)?;
        value
    })
}

fn deploy(
    kernel: &Kernel,
    spec: &RunSpec,
    application: Application,
) -> Result<Rc<dyn TaskHub>, TrialError> {
    let engine = registry::engine(&spec.engine).map_err(TrialError::Engine)?;
    let machines = world::Deployment {
        plan: spec.plan.clone(),
        hosts: spec.hosts,
        partitions: spec.partitions,
    };
    let profile = Rc::new(Profile::named(&spec.profile)?);
    let world = World::new(kernel, spec.seed, profile, &machines)?;
    let deployment = Deployment {
        application: Rc::new(application),
        settings: Settings::defaults(engine.settings()),
        observer: Observer::new(GraphRecorder::default(), |_| ()),
    };
    Ok(engine.deploy(&world, deployment)?)
}

/// Starts the first `count` orchestrations or jobs of a workload side by side on `engine`, and
/// checks what they come to, as a run does.
///
/// # Errors
/// As [`play`], and with [`TrialError::Check`] if a result or a final state is not what the
/// workload expects.
pub fn check<W: Workload + 'static>(
    engine: &str,
    workload: impl Fn() -> W + Clone + Send + 'static,
    count: u64,
) -> Result<(), TrialError> {
    let orchestrations = move || Orchestrations::new(Rc::new(workload()), Naming::new(1));
    let code = orchestrations.clone();
    let scene = async move |kernel: Kernel, hub: Rc<dyn TaskHub>| {
        check_all(&orchestrations(), count, &kernel, &hub).await
    };
    stage(engine, move || code().application(), scene)?.map_err(TrialError::Check)
}

async fn check_all(
    all: &Orchestrations,
    count: u64,
    kernel: &Kernel,
    hub: &Rc<dyn TaskHub>,
) -> Result<(), String> {
    let workload = all.workload();
    let side_by_side = usize::try_from(count).unwrap_or(usize::MAX).max(1);
    in_parallel(0..count, side_by_side, async |index| {
        let instance = all.instance(index);
        let cx = JobContext::new(kernel, hub.client(0), instance.clone());
        let ended = match workload.start() {
            Start::Orchestration(name) => cx.run(name, instance, workload.input(index)).await,
            Start::Job(job) => job.run(index, cx).await,
        };
        let status = RuntimeStatus::Completed(ended?.result);
        workload.check(index, &status).map_err(|wrong| format!("number {index}: {wrong}"))
    })
    .await?;
    // Signals that nobody waits for may still be on their way.
    kernel.sleep(REST).await;
    let mut states = EntityStates::new();
    for entity in workload.entities(count) {
        let told = hub.client(0).status(entity.instance_id()).await;
        let told = told.map_err(|error| format!("{entity}: {error}"))?;
        states.insert(entity, told.and_then(|instance| instance.entity_state));
    }
    workload.check_entities(count, &states)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_engine_is_named() {
        let error = play("in-memroy", Application::new, async |_| ()).expect_err("no such engine");
        assert!(error.to_string().contains("in-memory"), "{error}");
    }
}
