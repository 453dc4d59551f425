//! The append-only file: every change, in the wire format, and when it is synced.

use super::command::{EntryId, Operation};
use super::state::State;
use super::{Fsync, resp};
use crate::disk::{Disk, DiskError};
use crate::kernel::{Kernel, NodeId, Notify};
use crate::service::Reply;
use bytes::Bytes;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The file.
pub(super) const FILE: &str = "appendonly.aof";
/// How often a log with [`Fsync::EverySecond`] is synced.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The log can no longer keep its promise: the server exits.
pub(super) struct Unusable;

/// What the server and the task that syncs share.
struct Shared {
    unsynced: Cell<bool>,
    changed: Notify,
    /// Syncing in the background has failed and not succeeded since.
    sync_failing: Cell<bool>,
}

/// The append-only file of a server that runs.
pub(super) struct Log {
    disk: Disk,
    fsync: Fsync,
    /// Changes that are not in the file yet.
    buffer: Vec<u8>,
    /// Writing has failed and not succeeded since.
    write_failing: bool,
    shared: Rc<Shared>,
}

/// What a restart found.
pub(super) struct Loaded {
    pub state: State,
    /// Commands in the file.
    pub commands: u64,
    /// Bytes after the last whole command, which were cut off.
    pub cut_bytes: u64,
}

impl Log {
    /// A log to which a server of `node` adds; for [`Fsync::EverySecond`], with a task that syncs it.
    pub fn open(kernel: &Kernel, node: NodeId, disk: &Disk, fsync: Fsync) -> Log {
        let shared = Rc::new(Shared {
            unsynced: Cell::new(false),
            changed: kernel.notify(),
            sync_failing: Cell::new(false),
        });
        if fsync == Fsync::EverySecond {
            kernel.spawn(node, sync_every_second(kernel.clone(), disk.clone(), shared.clone()));
        }
        Log { disk: disk.clone(), fsync, buffer: Vec::new(), write_failing: false, shared }
    }

    /// Adds a change to what the end of the round writes.
    pub fn add(&mut self, operation: &Operation, id: EntryId) {
        let words = operation.words(&id.to_string());
        let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
        self.buffer.extend_from_slice(&resp::encode(&words));
    }

    /// Whether changes have to be refused.
    pub fn is_failing(&self) -> bool {
        self.write_failing || self.shared.sync_failing.get()
    }

    /// Writes the round's changes, and syncs them if that is the policy: what the disk answered.
    pub async fn write(&mut self) -> Result<Option<Reply<()>>, Unusable> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        let mut written = match self.disk.append(FILE, bytes.clone()).await {
            Ok(reply) => reply.map(drop),
            Err(_) if self.fsync == Fsync::Always => return Err(Unusable),
            Err(_) => {
                // The changes stay in memory and are written with the next; until then none are
                // taken.
                self.buffer = bytes.to_vec();
                self.write_failing = true;
                return Ok(None);
            }
        };
        self.write_failing = false;
        match self.fsync {
            Fsync::Always => {
                let synced = self.disk.sync(FILE).await.map_err(|_| Unusable)?;
                written.timing.merge(&synced.timing);
            }
            Fsync::EverySecond | Fsync::No => self.note_change(),
        }
        Ok(Some(written))
    }

    fn note_change(&self) {
        if !self.shared.unsynced.replace(true) {
            self.shared.changed.notify_one();
        }
    }
}

/// Syncs once a second while there is something to sync.
async fn sync_every_second(kernel: Kernel, disk: Disk, shared: Rc<Shared>) {
    loop {
        if !shared.unsynced.get() {
            shared.changed.notified().await;
        }
        kernel.sleep(SYNC_INTERVAL).await;
        shared.unsynced.set(false);
        let has_failed = disk.sync(FILE).await.is_err();
        shared.sync_failing.set(has_failed);
        if has_failed {
            shared.unsynced.set(true);
        }
    }
}

/// Rebuilds the state from the file, and cuts off what is not whole at its end. The disk's time passes
/// here, the core time for each command is the caller's.
pub(super) async fn load(disk: &Disk) -> Result<Loaded, DiskError> {
    let Some(size) = disk.size(FILE) else {
        return Ok(replay(Bytes::new()));
    };
    let loaded = replay(disk.read_all(FILE).await?.value);
    if loaded.cut_bytes > 0 {
        disk.truncate(FILE, size - loaded.cut_bytes)?;
    }
    Ok(loaded)
}

/// Carries out the commands of a file, up to the first that is not whole. What a command answers is not
/// looked at: one that the store would refuse does nothing. Source: Redis, `loadSingleAppendOnlyFile` of
/// `aof.c`, which runs them for a client that discards answers \[general\].
fn replay(mut text: Bytes) -> Loaded {
    let mut loaded = Loaded { state: State::default(), commands: 0, cut_bytes: 0 };
    while let Some((words, used)) = resp::decode(&text) {
        let Some((operation, id)) = Operation::parse(&words) else { break };
        if loaded.state.takes(&operation, id) {
            loaded.state.apply(&operation, id);
        }
        loaded.commands += 1;
        text = text.slice(used..);
    }
    loaded.cut_bytes = text.len() as u64;
    loaded
}

#[cfg(test)]
mod tests {
    use super::super::command::Fields;
    use super::*;
    use proptest::prelude::*;

    fn fields() -> impl Strategy<Value = Fields> {
        // Short values come often, so that they are what somebody expects.
        let value = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..5),
            proptest::collection::vec(0u8..2, 0..2)
        ];
        proptest::collection::vec(("[a-c]", value.prop_map(Bytes::from)), 1..3)
    }

    /// A field, what it is expected to hold, what it is to hold, and keys that go with it.
    fn replacement() -> impl Strategy<Value = (String, Bytes, Option<Bytes>, Vec<String>)> {
        let value = || proptest::collection::vec(0u8..2, 0..2).prop_map(Bytes::from);
        let value_or_none = proptest::option::of(value());
        ("[a-c]", value(), value_or_none, proptest::collection::vec("[k-n]", 0..3))
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let key = || "[k-n]";
        let values = proptest::collection::vec(any::<u8>().prop_map(|it| vec![it].into()), 1..3);
        let id = (0u64..9, 0u64..3).prop_map(|(millis, sequence)| EntryId { millis, sequence });
        prop_oneof![
            (key(), fields()).prop_map(|(stream, fields)| Operation::StreamAdd { stream, fields }),
            (key(), proptest::collection::vec(id, 1..4))
                .prop_map(|(stream, ids)| Operation::StreamDelete { stream, ids }),
            (key(), values).prop_map(|(list, values)| Operation::ListPush { list, values }),
            (key(), fields(), any::<bool>()).prop_map(|(hash, fields, many)| Operation::HashSet {
                hash,
                fields,
                many
            }),
            (key(), proptest::collection::vec("[a-c]", 1..3))
                .prop_map(|(hash, fields)| Operation::HashDelete { hash, fields }),
            proptest::collection::vec(key(), 1..3).prop_map(|keys| Operation::Delete { keys }),
            (key(), replacement()).prop_map(|(hash, (field, expected, value, deleted))| {
                Operation::HashReplace { hash, field, expected, value, deleted }
            }),
        ]
    }

    #[test]
    fn an_entry_whose_id_a_disk_has_changed_to_an_earlier_one_is_left_out() {
        let mut text = Vec::new();
        for id in ["5-0", "3-0", "6-0"] {
            text.extend_from_slice(&resp::encode(&[b"xadd", b"k", id.as_bytes(), b"a", b"b"]));
        }
        let loaded = replay(Bytes::from(text));
        assert_eq!((loaded.commands, loaded.cut_bytes), (3, 0));
        assert_eq!(loaded.state.next_id("k", 0), EntryId { millis: 6, sequence: 1 });
    }

    proptest! {
        #[test]
        fn a_file_replays_to_the_state_it_was_written_from(
            operations in proptest::collection::vec(operation(), 0..60),
            cut in 0usize..40,
        ) {
            let (mut state, mut text, mut whole) = (State::default(), Vec::new(), 0);
            let mut changes = 0;
            for (millis, operation) in operations.iter().enumerate() {
                let id = match operation {
                    Operation::StreamAdd { stream, .. } => state.next_id(stream, millis as u64 / 4),
                    _ => EntryId::ZERO,
                };
                if state.apply(operation, id).changed {
                    whole = text.len();
                    changes += 1;
                    let words = operation.words(&id.to_string());
                    let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
                    text.extend_from_slice(&resp::encode(&words));
                }
            }
            let loaded = replay(Bytes::from(text.clone()));
            prop_assert_eq!((loaded.commands, loaded.cut_bytes), (changes, 0));
            prop_assert_eq!(loaded.state, state);
            // A file that was cut within its last command loses that one alone.
            let length = text.len().saturating_sub(1 + cut).max(whole);
            if length < text.len() {
                let loaded = replay(Bytes::from(text).slice(..length));
                prop_assert_eq!(loaded.commands, changes - 1);
                prop_assert_eq!(loaded.cut_bytes, (length - whole) as u64);
            }
        }
    }
}
