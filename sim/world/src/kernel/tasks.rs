//! Nodes and their tasks: spawn, kill, pause, resume, restart.
//!
//! A killed node's tasks are not polled again: each is dropped, without being polled, at the
//! virtual instant of the kill, as soon as the executor picks it; a task that kills its own
//! node runs on to its next `await`. What a dropped task held (sleeps, permits, places in
//! waiting lines) is released by its destructors, and what it had sent stays in flight. A
//! paused node's tasks stay where they are, and whatever became ready meanwhile runs on resume.

use super::standstill::Counted;
use super::{DeviceId, Kernel, Kind, NodeId, trail};
use madsim::runtime::{Handle, NodeHandle};
use rustc_hash::FxHashMap;
use send_wrapper::SendWrapper;
use std::future::Future;
use std::rc::Rc;

/// Spawns between two sweeps of the executor's list of tasks, at least.
const PRUNE_INTERVAL_MIN: usize = 4096;

/// What the kernel knows of its nodes.
pub(super) struct Nodes {
    handle: Handle,
    nodes: Vec<Node>,
    /// The nodes by the executor's identities.
    by_executor: FxHashMap<madsim::task::NodeId, NodeId>,
    spawns_until_prune: usize,
}

struct Node {
    name: Rc<str>,
    handle: NodeHandle,
    alive: bool,
    paused: bool,
    generation: u32,
}

impl Nodes {
    pub(super) fn new(handle: Handle) -> Self {
        Nodes {
            handle,
            nodes: Vec::new(),
            by_executor: FxHashMap::default(),
            spawns_until_prune: PRUNE_INTERVAL_MIN,
        }
    }

    fn get(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn get_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// The executor keeps a weak reference for each task ever spawned on a living node, and
    /// drops those of finished tasks when it counts them: linear in the tasks, so it is done
    /// after as many spawns as there are tasks.
    fn note_spawn(&mut self) {
        self.spawns_until_prune -= 1;
        if self.spawns_until_prune == 0 {
            let live = self.handle.metrics().num_tasks();
            self.spawns_until_prune = live.max(PRUNE_INTERVAL_MIN);
        }
    }
}

impl Kernel {
    /// Makes a node. Its name appears in the event trail and in names of random streams.
    ///
    /// # Panics
    /// If a node of that name exists: two nodes would share their random streams.
    pub fn create_node(&self, name: &str) -> NodeId {
        let mut nodes = self.0.nodes.borrow_mut();
        let taken = nodes.nodes.iter().any(|node| &*node.name == name);
        assert!(!taken, "a node named {name:?} exists already");
        let id = NodeId(u32::try_from(nodes.nodes.len()).expect("invariant: under 2^32 nodes"));
        let handle = nodes.handle.create_node().name(name).build();
        nodes.by_executor.insert(handle.id(), id);
        nodes.nodes.push(Node {
            name: Rc::from(name),
            handle,
            alive: true,
            paused: false,
            generation: 0,
        });
        drop(nodes);
        self.record(DeviceId::KERNEL, Kind::REGISTER, trail::digest_of(name.as_bytes()));
        id
    }

    /// Runs `future` as a task of `node`; it dies with the node. On a killed node the future
    /// is dropped at once, and never polled. A task that panics ends the run with that panic.
    pub fn spawn(&self, node: NodeId, future: impl Future<Output = ()> + 'static) {
        let mut nodes = self.0.nodes.borrow_mut();
        if !nodes.get(node).alive {
            drop(nodes);
            drop(future);
            return;
        }
        nodes.note_spawn();
        let handle = nodes.get(node).handle.clone();
        drop(nodes);
        self.record(DeviceId::KERNEL, Kind::SPAWN, u64::from(node.0));
        self.0.woke.set(true);
        // The executor asks for `Send` although it never leaves this thread.
        handle.spawn(SendWrapper::new(Counted::new(self, future)));
    }

    /// Kills a node: its tasks are dropped at this instant, it can no longer spawn. Killing a
    /// killed node does nothing.
    pub fn kill(&self, node: NodeId) {
        assert_ne!(node, NodeId::WORLD, "the world cannot be killed");
        if self.is_alive(node) {
            self.record(DeviceId::KERNEL, Kind::KILL, u64::from(node.0));
            self.kill_tasks(node);
        }
    }

    fn kill_tasks(&self, node: NodeId) {
        let mut nodes = self.0.nodes.borrow_mut();
        let handle = nodes.handle.clone();
        let entry = nodes.get_mut(node);
        let was_paused = std::mem::replace(&mut entry.paused, false);
        entry.alive = false;
        let id = entry.handle.id();
        drop(nodes);
        self.0.woke.set(true);
        if was_paused {
            // The executor would drop parked tasks while it holds a lock that their
            // destructors may need; back in the ready queue they are dropped without it.
            handle.resume(id);
        }
        handle.kill(id);
    }

    /// Freezes a node: its tasks are not polled until [`Kernel::resume`]. Events go on.
    pub fn pause(&self, node: NodeId) {
        assert_ne!(node, NodeId::WORLD, "the world cannot be paused");
        let mut nodes = self.0.nodes.borrow_mut();
        let handle = nodes.handle.clone();
        let entry = nodes.get_mut(node);
        if !entry.alive || entry.paused {
            return;
        }
        entry.paused = true;
        let id = entry.handle.id();
        drop(nodes);
        self.record(DeviceId::KERNEL, Kind::PAUSE, u64::from(node.0));
        handle.pause(id);
    }

    /// Lets a paused node run on; does nothing if it is not paused.
    pub fn resume(&self, node: NodeId) {
        let mut nodes = self.0.nodes.borrow_mut();
        let handle = nodes.handle.clone();
        let entry = nodes.get_mut(node);
        if !entry.paused {
            return;
        }
        entry.paused = false;
        let id = entry.handle.id();
        drop(nodes);
        self.record(DeviceId::KERNEL, Kind::RESUME, u64::from(node.0));
        self.0.woke.set(true);
        handle.resume(id);
    }

    /// Makes a node ready to spawn again, after killing it if it is alive. Its generation
    /// grows by one; tasks of older generations never run again.
    pub fn restart(&self, node: NodeId) {
        self.kill(node);
        self.record(DeviceId::KERNEL, Kind::RESTART, u64::from(node.0));
        let mut nodes = self.0.nodes.borrow_mut();
        let handle = nodes.handle.clone();
        let entry = nodes.get_mut(node);
        let id = entry.handle.id();
        handle.restart(id);
        entry.handle = handle.get_node(id).expect("invariant: nodes are never removed");
        entry.alive = true;
        entry.generation += 1;
    }

    /// Whether the node can run tasks: it has not been killed since it was made or restarted.
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.0.nodes.borrow().get(node).alive
    }

    /// Whether the node is paused.
    pub fn is_paused(&self, node: NodeId) -> bool {
        self.0.nodes.borrow().get(node).paused
    }

    /// How often the node has been restarted.
    pub fn generation(&self, node: NodeId) -> u32 {
        self.0.nodes.borrow().get(node).generation
    }

    /// The node whose task runs now; none while events fire, and of the program itself.
    pub fn current_node(&self) -> Option<NodeId> {
        if self.0.firing.get() {
            return None;
        }
        self.0.nodes.borrow().by_executor.get(&madsim::plugin::node()).copied()
    }

    /// How many nodes there are; they are numbered from 0.
    pub fn nodes(&self) -> u32 {
        u32::try_from(self.0.nodes.borrow().nodes.len()).expect("invariant: under 2^32 nodes")
    }

    /// The name the node was made with.
    pub fn node_name(&self, node: NodeId) -> Rc<str> {
        self.0.nodes.borrow().get(node).name.clone()
    }

    /// Ends every task, so that what tasks and kernel hold of each other is released.
    pub(super) fn kill_all(&self) {
        let count = self.0.nodes.borrow().nodes.len();
        for index in 0..count {
            let node = NodeId(u32::try_from(index).expect("invariant: under 2^32 nodes"));
            if self.is_alive(node) {
                self.kill_tasks(node);
            }
        }
    }
}
