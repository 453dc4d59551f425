//! The store against a plain map, with a storage that is a plain map too.

use super::*;
use proptest::prelude::*;
use sim_model::orchestration::RuntimeStatus;
use sim_model::time::Timestamp;

fn id(number: u8) -> InstanceId {
    InstanceId::new(format!("instance-{number}"))
}

fn instance(value: u16) -> Instance {
    let state = InstanceState {
        name: "code".into(),
        created: Timestamp::from_nanos(u64::from(value)),
        last_updated: Timestamp::ZERO,
        status: RuntimeStatus::Running,
        custom_status: None,
        entity_state: None,
    };
    let episodes = vec![Bytes::from(vec![7; usize::from(value % 500)])];
    Instance { state, episodes, waiting: Vec::new() }
}

/// Storage: segments that were written.
#[derive(Default)]
struct Segments(BTreeMap<SegmentId, Bytes>);

impl Segments {
    fn load(&self, store: &mut InstanceStore, id: &InstanceId) {
        if let Some(address) = store.cold(id) {
            let segment = &self.0[&address.segment];
            let record = &segment[address.offset as usize..][..address.length as usize];
            store.loaded(id, address, record);
        }
    }

    fn checkpoint(&mut self, store: &mut InstanceStore, number: u64) -> Bytes {
        let segment = SegmentId { epoch: 1, number };
        let content = store.flush(segment);
        if let Some(content) = content {
            self.0.insert(segment, content);
            store.written(segment);
        }
        let index = store.encode_index();
        for dead in store.take_dead() {
            self.0.remove(&dead);
        }
        index
    }
}

#[derive(Clone, Debug)]
enum Action {
    Insert(u8, u16),
    Change(u8, u16),
    Remove(u8),
    Read(u8),
    Checkpoint,
    Evict(u16),
    Compact,
    Recover,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0u8..20, any::<u16>()).prop_map(|(id, value)| Action::Insert(id, value)),
        (0u8..20, any::<u16>()).prop_map(|(id, value)| Action::Change(id, value)),
        (0u8..20).prop_map(Action::Remove),
        (0u8..20).prop_map(Action::Read),
        Just(Action::Checkpoint),
        (0u16..4_000).prop_map(Action::Evict),
        Just(Action::Compact),
        Just(Action::Recover),
    ]
}

proptest! {
    /// Whatever is dropped, compacted or recovered from a checkpoint, the store holds what a map
    /// holds.
    #[test]
    fn the_store_agrees_with_a_map(actions in proptest::collection::vec(action(), 1..120)) {
        let (mut store, mut segments) = (InstanceStore::default(), Segments::default());
        let mut map: BTreeMap<InstanceId, Instance> = BTreeMap::new();
        let mut number = 0;
        let mut checkpoint = |store: &mut InstanceStore, segments: &mut Segments| {
            number += 1;
            segments.checkpoint(store, number)
        };
        for action in actions {
            match action {
                Action::Insert(number, value) => {
                    store.insert(id(number), instance(value));
                    map.insert(id(number), instance(value));
                }
                Action::Change(number, value) => {
                    segments.load(&mut store, &id(number));
                    let changed = store.change(&id(number), |found| *found = instance(value));
                    prop_assert_eq!(changed.is_some(), map.contains_key(&id(number)));
                    map.entry(id(number)).and_modify(|found| *found = instance(value));
                }
                Action::Remove(number) => {
                    store.remove(&id(number));
                    map.remove(&id(number));
                }
                Action::Read(number) => {
                    segments.load(&mut store, &id(number));
                    prop_assert_eq!(store.get(&id(number)), map.get(&id(number)));
                }
                Action::Checkpoint => drop(checkpoint(&mut store, &mut segments)),
                Action::Evict(budget) => {
                    store.evict(u64::from(budget));
                    let pinned = store.resident.values().filter(|held| held.address.is_none());
                    let pinned: u64 = pinned.map(|held| held.bytes).sum();
                    prop_assert!(store.resident_bytes() <= u64::from(budget).max(pinned));
                }
                Action::Compact => {
                    for id in store.to_compact() {
                        segments.load(&mut store, &id);
                        store.rewrite(&id);
                    }
                }
                Action::Recover => {
                    let index = checkpoint(&mut store, &mut segments);
                    store = InstanceStore::decode_index(&index);
                    prop_assert_eq!(store.resident_bytes(), 0);
                }
            }
            prop_assert_eq!(store.len(), map.len());
            let sum: u64 = store.resident.iter().map(|(id, held)| held.instance.bytes(id)).sum();
            prop_assert_eq!(store.resident_bytes(), sum);
        }
    }
}

#[test]
fn compaction_bounds_the_log() {
    let (mut store, mut segments) = (InstanceStore::default(), Segments::default());
    let large = || Instance { episodes: vec![Bytes::from(vec![1; 20_000])], ..instance(1) };
    for round in 0..200 {
        for number in 0..10 {
            // One in ten changes each time, each with every tenth round.
            if round == 0 || u64::from(number) == round % 10 {
                segments.load(&mut store, &id(number));
                store.insert(id(number), large());
            }
        }
        for id in store.to_compact() {
            segments.load(&mut store, &id);
            store.rewrite(&id);
        }
        segments.checkpoint(&mut store, round);
        store.evict(0);
    }
    let live = 10 * 20_000;
    assert!(store.log_bytes() < 3 * live + 2 * COMPACTION_BYTES_MIN, "{}", store.log_bytes());
    let stored: usize = segments.0.values().map(Bytes::len).sum();
    assert!(stored as u64 <= store.log_bytes(), "dead segments are gone");
}

#[test]
fn what_is_being_written_stays_in_memory() {
    let mut store = InstanceStore::default();
    store.insert(id(1), instance(400));
    let segment = SegmentId { epoch: 1, number: 1 };
    store.flush(segment).expect("a changed record");
    assert!(store.evict(0).is_empty());
    store.written(segment);
    assert_eq!(store.evict(0), [id(1)]);
    assert!(store.cold(&id(1)).is_some());
}
