//! Hosts: nodes whose cores serve work in turn.
//!
//! **What it models.** A host is a node with a number of equal cores and one run queue, first
//! come, first served. With a `quantum`, work that has had its slice goes to the tail of the
//! queue (round robin); without one it runs to completion. Background processes of the machine
//! slow all cores alike: with `b` of `c` cores eaten, work takes `c / (c - b)` times as long.
//!
//! **Faults.** What can be wrong with cores and clocks is in `host/faults.rs`. A killed host loses its run queue and what runs on its cores. A paused host
//! freezes both: a slice goes on from where it stood. Work that was given to a core goes on
//! if the task that waits for it is dropped, as a computation does.
//!
//! **Assumptions.** Switching between jobs is free, and memory is a number that others check.
//! Work of no length completes at once, without queueing.
//!
//! Units: work is core time of an undisturbed core; memory is bytes.

mod faults;

use crate::kernel::{Completion, Device, DeviceId, EventId, Kernel, NodeId, Resolver};
use faults::Wrong;
use sim_model::time::{Timestamp, nanos};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

/// What a host is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct HostSpec {
    /// Name of the host and of its node.
    pub name: String,
    /// Number of cores, at least 1.
    pub cores: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Cores' worth of work that other processes of the machine take, less than `cores`.
    pub background_cores: f64,
    /// Time slice; `None` runs each job to completion.
    pub quantum: Option<Duration>,
}

/// A [`HostSpec`] that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HostSpecError {
    /// No core.
    #[error("host {name}: cores = 0: expected at least 1")]
    NoCores {
        /// Name of the host.
        name: String,
    },
    /// The background leaves no core to run on.
    #[error(
        "host {name}: background_cores = {background_cores}: expected from 0 to less than {cores}, its cores"
    )]
    Background {
        /// Name of the host.
        name: String,
        /// Cores of the host.
        cores: u32,
        /// What was asked for.
        background_cores: f64,
    },
    /// A time slice in which no work gets done.
    #[error("host {name}: quantum = 0: expected a positive time slice, or none")]
    NoQuantum {
        /// Name of the host.
        name: String,
    },
}

impl HostSpec {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that cannot be.
    pub fn validate(&self) -> Result<(), HostSpecError> {
        let name = || self.name.clone();
        if self.cores == 0 {
            return Err(HostSpecError::NoCores { name: name() });
        }
        // A comparison with NaN is false.
        if !(0.0..f64::from(self.cores)).contains(&self.background_cores) {
            let HostSpec { cores, background_cores, .. } = *self;
            return Err(HostSpecError::Background { name: name(), cores, background_cores });
        }
        if self.quantum == Some(Duration::ZERO) {
            return Err(HostSpecError::NoQuantum { name: name() });
        }
        Ok(())
    }
}

/// How a piece of work fared; the two sum to the time from call to completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTiming {
    /// Time in the run queue, and frozen on a paused host.
    pub queued: Duration,
    /// Time on a core.
    pub ran: Duration,
}

impl CpuTiming {
    /// Queueing and running together.
    pub fn total(&self) -> Duration {
        self.queued + self.ran
    }
}

/// A piece of work on its way.
struct Job {
    arrived: Timestamp,
    /// Nanoseconds on this host's cores that the work takes in all.
    demand: u64,
    /// Those still to be done.
    remaining: u64,
    resolver: Resolver<CpuTiming>,
}

/// A core at work on a slice of a job.
struct Running {
    job: Job,
    started: Timestamp,
    /// Nanoseconds of the slice.
    slice: u64,
    /// The end of the slice; absent while the host is paused.
    end: Option<EventId>,
}

struct Cores {
    /// A slot for each core.
    running: Vec<Option<Running>>,
    queue: VecDeque<Job>,
    /// Nanoseconds of core time in slices that have ended.
    used: u64,
    /// The generation of the node to which the work belongs.
    generation: u32,
    paused: bool,
}

struct Inner {
    kernel: Kernel,
    node: NodeId,
    spec: HostSpec,
    /// Nanoseconds on a core for one nanosecond of work.
    slowdown: f64,
    device: DeviceId,
    cores: RefCell<Cores>,
    wrong: Wrong,
}

/// A host; clones are the same host.
#[derive(Clone)]
pub struct Host(Rc<Inner>);

impl Host {
    /// Makes a host and its node.
    ///
    /// # Errors
    /// If the specification cannot be.
    pub fn new(kernel: &Kernel, spec: HostSpec) -> Result<Host, HostSpecError> {
        spec.validate()?;
        let node = kernel.create_node(&spec.name);
        let cores = f64::from(spec.cores);
        let state = Cores {
            running: (0..spec.cores).map(|_| None).collect(),
            queue: VecDeque::new(),
            used: 0,
            generation: kernel.generation(node),
            paused: false,
        };
        Ok(Host(Rc::new_cyclic(|weak: &Weak<Inner>| Inner {
            kernel: kernel.clone(),
            node,
            slowdown: cores / (cores - spec.background_cores),
            device: kernel.register(&format!("cores of {}", spec.name), weak.clone()),
            spec,
            cores: RefCell::new(state),
            wrong: Wrong::default(),
        })))
    }

    /// The host's node.
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        &self.0.spec.name
    }

    /// Number of cores.
    pub fn cores(&self) -> u32 {
        self.0.spec.cores
    }

    /// What the host is made of.
    pub fn spec(&self) -> &HostSpec {
        &self.0.spec
    }

    /// The kernel the host lives in.
    pub fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    /// Whether the host has not been killed since it was made or restarted.
    pub fn is_alive(&self) -> bool {
        self.0.kernel.is_alive(self.0.node)
    }

    /// Runs `future` as a task of this host; see [`Kernel::spawn`].
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.0.kernel.spawn(self.0.node, future);
    }

    /// Gives `work` to the cores, at this call, and waits until it is done. Work given to a
    /// killed host never is.
    pub fn run(&self, work: Duration) -> impl Future<Output = CpuTiming> + use<> {
        let mut completion = if work.is_zero() { None } else { Some(self.0.submit(work)) };
        std::future::poll_fn(move |context| match &mut completion {
            None => Poll::Ready(CpuTiming::default()),
            Some(completion) => std::pin::Pin::new(completion).poll(context),
        })
    }

    /// Core time spent so far: at most cores times elapsed time.
    pub fn cpu_used(&self) -> Duration {
        let now = self.0.kernel.now();
        let cores = self.0.cores.borrow();
        let current: u64 = cores
            .running
            .iter()
            .flatten()
            .filter(|running| running.end.is_some())
            .map(|running| nanos(now.since(running.started)).min(running.slice))
            .sum();
        Duration::from_nanos(cores.used + current)
    }

    /// Number of jobs that wait for a core.
    pub fn run_queue_length(&self) -> usize {
        self.0.cores.borrow().queue.len()
    }

    /// Crashes the host: its tasks, its run queue and what runs on its cores are gone.
    pub fn kill(&self) {
        self.0.kernel.kill(self.0.node);
        self.0.discard_lost_work();
    }

    /// Freezes the host: its tasks and its cores.
    pub fn pause(&self) {
        if self.is_alive() {
            self.0.kernel.pause(self.0.node);
            self.0.freeze();
        }
    }

    /// Lets a paused host go on.
    pub fn resume(&self) {
        self.0.kernel.resume(self.0.node);
        self.0.thaw();
    }

    /// Makes a host, killed first if it is alive, able to run again. Its start-up is the
    /// caller's to spawn.
    pub fn restart(&self) {
        self.0.kernel.restart(self.0.node);
        self.0.discard_lost_work();
    }
}

impl Inner {
    fn submit(&self, work: Duration) -> Completion<CpuTiming> {
        let (resolver, completion) = self.kernel.completion();
        if !self.kernel.is_alive(self.node) {
            return completion;
        }
        self.discard_lost_work();
        let slowdown = self.slowdown * self.wrong.slowdown();
        let demand = (libm::rint(nanos(work) as f64 * slowdown) as u64).max(1);
        let arrived = self.kernel.now();
        let job = Job { arrived, demand, remaining: demand, resolver };
        let mut cores = self.cores.borrow_mut();
        cores.queue.push_back(job);
        self.dispatch(&mut cores);
        completion
    }

    /// Gives free cores the jobs at the head of the queue.
    fn dispatch(&self, cores: &mut Cores) {
        if cores.paused {
            return;
        }
        while !cores.queue.is_empty() {
            let Some(core) = cores.running.iter().position(Option::is_none) else { return };
            let Some(job) = cores.queue.pop_front() else { return };
            let slice = self.spec.quantum.map_or(u64::MAX, nanos).min(job.remaining);
            let mut running = Running { job, started: self.kernel.now(), slice, end: None };
            self.start_slice(core, &mut running);
            cores.running[core] = Some(running);
        }
    }

    fn start_slice(&self, core: usize, running: &mut Running) {
        // Nothing is left of a slice that was frozen at the very instant of its end.
        debug_assert!(running.slice <= running.job.remaining);
        let now = self.kernel.now();
        running.started = now;
        let end = now + Duration::from_nanos(running.slice);
        running.end = Some(self.kernel.schedule(end, self.device, core as u64));
    }

    /// Drops work of a node that was killed, even if it was killed through the kernel.
    fn discard_lost_work(&self) {
        let generation = self.kernel.generation(self.node);
        let mut cores = self.cores.borrow_mut();
        if self.kernel.is_alive(self.node) && cores.generation == generation {
            return;
        }
        let now = self.kernel.now();
        let queue = std::mem::take(&mut cores.queue);
        let running: Vec<Running> = cores.running.iter_mut().filter_map(Option::take).collect();
        for lost in &running {
            if let Some(end) = lost.end {
                self.kernel.cancel(end);
                cores.used += nanos(now.since(lost.started)).min(lost.slice);
            }
        }
        cores.generation = generation;
        cores.paused = false;
        drop(cores);
        drop((queue, running));
    }

    fn freeze(&self) {
        let now = self.kernel.now();
        let cores = &mut *self.cores.borrow_mut();
        if std::mem::replace(&mut cores.paused, true) {
            return;
        }
        for running in cores.running.iter_mut().flatten() {
            let end = running.end.take().expect("invariant: a core that is not frozen has an end");
            self.kernel.cancel(end);
            let done = nanos(now.since(running.started));
            cores.used += done;
            running.job.remaining -= done;
            running.slice -= done;
        }
    }

    fn thaw(&self) {
        let cores = &mut *self.cores.borrow_mut();
        if !std::mem::replace(&mut cores.paused, false) {
            return;
        }
        for (core, slot) in cores.running.iter_mut().enumerate() {
            if let Some(running) = slot {
                self.start_slice(core, running);
            }
        }
        self.dispatch(cores);
    }
}

impl Device for Inner {
    /// The end of a slice on core `token`.
    fn fire(&self, token: u64) {
        self.discard_lost_work();
        let mut cores = self.cores.borrow_mut();
        let Some(Running { mut job, slice, .. }) = cores.running[token as usize].take() else {
            return;
        };
        cores.used += slice;
        job.remaining -= slice;
        let finished = if job.remaining == 0 {
            Some(job)
        } else {
            cores.queue.push_back(job);
            None
        };
        self.dispatch(&mut cores);
        drop(cores);
        if let Some(job) = finished {
            let total = self.kernel.now().since(job.arrived);
            let ran = Duration::from_nanos(job.demand);
            job.resolver.resolve(CpuTiming { queued: total - ran, ran });
        }
    }
}
