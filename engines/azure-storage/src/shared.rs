//! What all workers and clients of a task hub share: its stores, settings and records.

use crate::counters::Counters;
use crate::history::RowKeys;
use crate::ownership::Ownership;
use crate::settings::Parameters;
use crate::transit::Transit;
use rustc_hash::FxHashSet;
use sim_model::application::Application;
use sim_model::engine::{Completion, Observer};
use sim_model::graph::{Graph, Progress, WorkItemKind};
use sim_model::id::{InstanceId, MessageId, WorkItemId};
use sim_model::time::Timestamp;
use sim_world::blob::BlobContainer;
use sim_world::host::Host;
use sim_world::kernel::Kernel;
use sim_world::queue::Queue;
use sim_world::table::Table;
use sim_world::world::World;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// The name of the task hub: a prefix of the names of its stores.
const HUB: &str = "taskhub";

/// What a task hub is made of.
pub(crate) struct Shared {
    pub world: World,
    pub application: Rc<Application>,
    pub parameters: Parameters,
    pub observer: Observer,
    pub ownership: Ownership,
    /// `{hub}-control-NN`.
    pub control_queues: Vec<Queue>,
    /// `{hub}-workitems`.
    pub work_items: Queue,
    /// `{hub}History`.
    pub history: Table,
    /// `{hub}Instances`.
    pub instances: Table,
    /// `{hub}Partitions`: leases of the table manager.
    pub partitions: Table,
    /// `{hub}-leases`: leases of the blob managers.
    pub leases: BlobContainer,
    /// `{hub}-largemessages`.
    pub large: BlobContainer,
    pub row_keys: RowKeys,
    pub counters: Counters,
    pub transit: Transit,
    /// The keys of all rows of the Instances table, in order: the index of the table itself, which
    /// the table service of the world does not offer to read.
    pub directory: RefCell<BTreeSet<InstanceId>>,
    /// What the committed steps of entities have consumed: a measurement, by which a message that
    /// is handed out again is told from a new one in the record of work items.
    consumed: RefCell<FxHashSet<MessageId>>,
    /// Executions whose end was reported: an end that is found again is not reported again.
    reported: RefCell<FxHashSet<MessageId>>,
}

impl Shared {
    /// Creates the stores of a task hub.
    pub fn new(
        world: &World,
        application: Rc<Application>,
        parameters: Parameters,
        observer: Observer,
    ) -> Rc<Shared> {
        let storage = world.storage();
        let deployment = world.deployment();
        let control_queues = (0..deployment.partitions as usize)
            .map(|queue| storage.queue(&Shared::queue_name(queue)))
            .collect();
        Rc::new(Shared {
            world: world.clone(),
            application,
            parameters,
            observer,
            ownership: Ownership::new(deployment.partitions, deployment.hosts),
            control_queues,
            work_items: storage.queue(&format!("{HUB}-workitems")),
            history: storage.table(&format!("{HUB}History")),
            instances: storage.table(&format!("{HUB}Instances")),
            partitions: storage.table(&format!("{HUB}Partitions")),
            leases: storage.container(&format!("{HUB}-leases")),
            large: storage.container(&format!("{HUB}-largemessages")),
            row_keys: RowKeys::default(),
            counters: Counters::default(),
            transit: Transit::default(),
            directory: RefCell::default(),
            consumed: RefCell::default(),
            reported: RefCell::default(),
        })
    }

    /// The name of a control queue.
    pub fn queue_name(queue: usize) -> String {
        format!("{HUB}-control-{queue:02}")
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        self.world.kernel()
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        self.world.kernel().now()
    }

    /// Records that the effects of a work item are final, unless that is known already: they may
    /// be found in storage before, or without, the acknowledgement of the write; also after a refusal, if
    /// the network has doubled the request and its copy was applied first.
    pub fn record_committed(&self, item: WorkItemId) {
        let graph = self.observer.graph();
        let progress = graph.graph().item(item).progress;
        match progress {
            Progress::Executed => graph.committed(item),
            Progress::Aborted => graph.committed_after_all(item),
            _ => return,
        }
        self.note_consumed(&graph.graph(), item);
    }

    /// Records that a work item was given up, unless its effects are known to be final.
    pub fn record_aborted(&self, item: WorkItemId) {
        let graph = self.observer.graph();
        let executed = graph.graph().item(item).progress == Progress::Executed;
        if executed {
            graph.aborted(item);
        }
    }

    fn note_consumed(&self, graph: &Graph, item: WorkItemId) {
        let item = graph.item(item);
        if let WorkItemKind::Step { instance, .. } = item.kind
            && graph.instance(instance).is_entity()
        {
            self.consumed.borrow_mut().extend(graph.consumed(item));
        }
    }

    /// Whether a committed step of an entity has consumed this message.
    pub fn was_consumed(&self, message: &MessageId) -> bool {
        self.consumed.borrow().contains(message)
    }

    /// How long a message is to be hidden that is due at `due`, by the clock of `host`: the service hides
    /// for days only.
    pub fn hidden_until(&self, host: &Host, due: Timestamp) -> Duration {
        let longest = self.world.profile().services.queue.visibility_max;
        due.since(host.clock_now()).min(longest)
    }

    /// Reports the end of an execution, once.
    pub fn report(&self, execution: MessageId, completion: Completion) {
        let first = self.reported.borrow_mut().insert(execution);
        if first {
            self.observer.completed(completion);
        }
    }
}
