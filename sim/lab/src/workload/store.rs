//! Store: entities with a large state.
//!
//! The published suite has a test of this name and no numbers for it; the design is our own. There are
//! `stores` entities, each of which keeps `slots` values of `value_bytes` bytes. Orchestration `i`
//! puts a value into one slot of one store (all stores in turn, then the next slot) and reads it
//! back. Every `Put` changes a few bytes of a state that grows to `slots * value_bytes`: what an
//! engine pays for a step of an entity with a large state.
//!
//! A value depends on its slot alone, so several orchestrations may write one slot in any order.
//! Checked: what each orchestration reads back, and for each store which slots were written, how
//! often, and a hash of their values.

use super::declare::count;
use super::{EntityStates, Start, Unit, Workload, WorkloadKind, completed, mix, states};
use serde::{Deserialize, Serialize};
use sim_model::application::{Application, ApplicationError};
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "store",
    summary: "Store: orchestrations write to and read from entities with a large state",
    parameters: &[
        count("stores", (1, 10_000), "4", "entities"),
        count("slots", (1, 10_000), "64", "values that each of them keeps"),
        count("value_bytes", (1, 30_000), "1024", "bytes of a value"),
    ],
    files: &[],
    load: "batch:300",
    build: |parameters| Ok(Rc::new(Store::new(parameters))),
};

/// One value of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    /// How often it was written.
    writes: u64,
    value: String,
}

/// The state of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Slots {
    slots: BTreeMap<u64, Slot>,
}

impl Slots {
    fn put(&mut self, number: u64, value: String) {
        let slot = self.slots.entry(number).or_default();
        slot.writes += 1;
        slot.value = value;
    }
}

/// What an orchestration writes, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    store: u64,
    slot: u64,
    bytes: u64,
}

impl Place {
    fn entity(self) -> EntityId {
        EntityId::new("Store", self.store.to_string())
    }

    /// The value of this slot: hexadecimal digits that no other slot has.
    fn value(self) -> String {
        let seed = mix(self.store) ^ self.slot;
        let digits =
            (0..self.bytes.div_ceil(16)).map(|block| format!("{:016x}", mix(seed ^ mix(block))));
        let mut value: String = digits.collect();
        value.truncate(self.bytes as usize);
        value
    }
}

fn hash(value: &str) -> String {
    blake3::hash(value.as_bytes()).to_hex()[..16].to_owned()
}

async fn write_and_read(
    context: OrchestrationContext,
    place: Place,
) -> Result<String, ApplicationError> {
    let store = place.entity();
    context.call_entity::<()>(&store, "Put", &(place.slot, place.value())).await?;
    let value: String = context.call_entity(&store, "Get", &place.slot).await?;
    Ok(hash(&value))
}

struct Store {
    stores: u64,
    slots: u64,
    value_bytes: u64,
}

impl Store {
    fn new(parameters: &Settings) -> Self {
        let count = |key| parameters.count(key);
        Store { stores: count("stores"), slots: count("slots"), value_bytes: count("value_bytes") }
    }

    fn place(&self, index: u64) -> Place {
        let slot = index / self.stores % self.slots;
        Place { store: index % self.stores, slot, bytes: self.value_bytes }
    }

    /// The final states of the stores that the first `started` orchestrations write to.
    fn finals(&self, started: u64) -> BTreeMap<EntityId, Slots> {
        let mut finals: BTreeMap<EntityId, Slots> = BTreeMap::new();
        for index in 0..started {
            let place = self.place(index);
            finals.entry(place.entity()).or_default().put(place.slot, place.value());
        }
        finals
    }
}

impl Workload for Store {
    fn register(&self, application: &mut Application) {
        application
            .entity::<Slots>("Store")
            .operation("Put", |_: &mut EntityContext, state: &mut Slots, (number, value)| {
                state.put(number, value);
                Ok(())
            })
            .operation("Get", |_: &mut EntityContext, state: &mut Slots, number: u64| {
                let slot = state.slots.get(&number);
                let missing = || ApplicationError::user(format!("slot {number} is empty"));
                slot.map(|slot| slot.value.clone()).ok_or_else(missing)
            });
        application.orchestration("WriteAndRead", write_and_read);
    }

    fn start(&self) -> Start {
        Start::Orchestration("WriteAndRead")
    }

    fn input(&self, index: u64) -> Payload {
        Payload::encode(&self.place(index)).expect("invariant: numbers have a JSON form")
    }

    fn check(&self, index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let (read, expected): (String, _) = (completed(status)?, hash(&self.place(index).value()));
        if read == expected {
            return Ok(());
        }
        Err(format!("read a value with the hash {read}, expected {expected}"))
    }

    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "writes", per_orchestration: 1.0 }
    }

    fn entities(&self, started: u64) -> Vec<EntityId> {
        (0..started.min(self.stores)).map(|index| self.place(index).entity()).collect()
    }

    fn check_entities(&self, started: u64, finals: &EntityStates) -> Result<(), String> {
        for (entity, expected) in self.finals(started) {
            let found: Slots = states::decode(finals, &entity)?;
            let numbers = found.slots.keys().chain(expected.slots.keys());
            for number in numbers {
                let show = |state: &Slots| match state.slots.get(number) {
                    None => "nothing".to_owned(),
                    Some(slot) => format!("{} writes and {}", slot.writes, hash(&slot.value)),
                };
                let (found, expected) = (show(&found), show(&expected));
                if found != expected {
                    return Err(format!("{entity} slot {number}: {found}, expected {expected}"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        Store { stores: 2, slots: 3, value_bytes: 20 }
    }

    #[test]
    fn orchestrations_fill_all_slots_of_all_stores() {
        let places: Vec<(u64, u64)> = (0..7)
            .map(|index| store().place(index))
            .map(|place| (place.store, place.slot))
            .collect();
        assert_eq!(places, [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 0)]);
        let values: Vec<String> = (0..6).map(|index| store().place(index).value()).collect();
        assert!(values.iter().all(|value| value.len() == 20));
        for (index, value) in values.iter().enumerate() {
            assert!(!values[..index].contains(value), "{value}");
        }
        assert_eq!(store().entities(1).len(), 1);
        assert_eq!(store().entities(7).len(), 2);
    }

    #[test]
    fn the_check_knows_right_from_wrong() {
        let store = store();
        let result = |text: &str| RuntimeStatus::Completed(Payload::encode(&text).expect("text"));
        let value = store.place(3).value();
        assert_eq!(store.check(3, &result(&hash(&value))), Ok(()));
        assert!(store.check(4, &result(&hash(&value))).is_err());

        let with = |change: fn(&mut Slots)| {
            let mut finals = store.finals(7);
            change(finals.get_mut(&store.place(0).entity()).expect("the first store"));
            let encode = |state: &Slots| Some(Payload::encode(state).expect("a state"));
            let finals = finals.iter().map(|(entity, state)| (entity.clone(), encode(state)));
            store.check_entities(7, &finals.collect())
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert!(with(|state| drop(state.slots.pop_last())).is_err());
        assert!(with(|state| state.slots.entry(1).or_default().writes += 1).is_err());
        assert!(with(|state| state.slots.entry(1).or_default().value.clear()).is_err());
    }
}
