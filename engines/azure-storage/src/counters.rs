//! How often each mechanism of the engine came into play.

use std::cell::Cell;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The counters of a task hub.
        #[derive(Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub $name: Counter,)+
        }

        impl Counters {
            /// All counters by name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)+]
            }
        }
    };
}

counters! {
    /// Gets from control queues, empty ones included.
    control_queue_gets,
    /// Gets from control queues that found nothing.
    control_queue_empty_polls,
    /// Messages taken from control queues, each as often as it was handed out.
    control_messages_taken,
    /// Gets from the work-item queue, empty ones included.
    work_item_gets,
    /// Gets from the work-item queue that found nothing.
    work_item_empty_polls,
    /// Messages taken from the work-item queue, each as often as it was handed out.
    work_items_taken,
    /// Polling delays that ended early because this worker itself put a message.
    local_wake_ups,
    /// Seconds for which control-queue loops rested because the buffer was full.
    buffer_full_seconds,
    /// Reads of the Instances table for clients that ask for a status.
    status_reads,
    /// Reads of waiting clients that got no answer and were tried again.
    failed_status_reads,
    /// Reads of the Instances table that check a start message.
    dedupe_reads,
    /// Start messages put back because their row was missing.
    start_abandons,
    /// Start messages dropped because their row shows another execution, or none for too long.
    start_discards,
    /// Messages that clients have sent to instances.
    client_messages,
    /// Rows of the Instances table read for queries of clients.
    query_reads,
    /// Instances removed by clients.
    purges,
    /// Timers and delayed signals put into control queues.
    timers,
    /// Timers and delayed signals handed out early, because a queue does not hide a message for
    /// longer, and hidden again.
    timers_put_back,
    /// Steps of entities.
    entity_steps,
    /// Steps that replaced a history: continue-as-new, and new lives of instances.
    replaced_histories,
    /// Histories read ahead.
    prefetches,
    /// Histories read, ahead or at dispatch.
    history_reads,
    /// Histories read again because a session of this worker had changed them meanwhile.
    stale_prefetches,
    /// Answers put back because the history that was read lacks what they answer.
    out_of_order_abandons,
    /// Messages that a step consumed although the history had them already.
    duplicates,
    /// Steps whose messages were put once more, because one that they had consumed came again.
    outboxes_put_again,
    /// Messages dropped because their instance has ended or never was.
    discards,
    /// Transactions that wrote history.
    history_transactions,
    /// Steps given up because another worker wrote the history.
    split_brains,
    /// Steps and activities given up because a storage operation failed.
    failed_work_items,
    /// Large messages and rows written to blobs.
    large_writes,
    /// Large messages and rows read from blobs.
    large_reads,
    /// Visibility timeouts of running activities that were renewed.
    renewals,
    /// Visibility timeouts of control messages of running steps that were renewed.
    control_renewals,
    /// Messages put back for the longest time, each time: the published engine logs them as poison.
    poison_messages,
    /// Reads and writes of the Partitions table, and of lease blobs: lists, reads, leases, writes.
    lease_operations,
    /// Control queues that a worker began to dequeue.
    leases_claimed,
    /// Leases renewed.
    leases_renewed,
    /// Leases that a worker asked for while another had them.
    leases_stolen,
    /// Control queues that a worker ceased to dequeue because another asked for them, or because it
    /// stopped.
    leases_drained,
    /// Leases given up in an orderly way.
    leases_released,
    /// Control queues that a worker ceased to dequeue because it found that it no longer had them.
    leases_lost,
    /// Rounds of lease management begun again because another worker had changed a lease meanwhile.
    lease_conflicts,
    /// Rounds of lease management that failed because storage did not answer in time.
    lease_failures,
    /// Deletes and put-backs that failed: the message will be handed out again.
    failed_operations,
    /// Messages that were consumed after another worker had been given them.
    lost_locks,
    /// Messages put back because they do not decode.
    undecodable_messages,
    /// Steps that found the suspended code of their orchestration in memory.
    extended_session_hits,
}

/// One counter.
#[derive(Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    /// Counts once more.
    pub fn count(&self) {
        self.0.set(self.0.get() + 1);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}
