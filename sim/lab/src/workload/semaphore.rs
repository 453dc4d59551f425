//! Semaphore: orchestrations contend for the permits of one entity.
//!
//! The published suite has a test of this name and no numbers for it; the design is our own. A
//! semaphore entity has `permits` permits. Each orchestration asks it for one (`TryAcquire`); if none
//! is free it sleeps for `retry` and asks again; with a permit it holds it for `hold` (a durable
//! timer), and then gives it back (`Release`). So one entity takes all calls, most of which are in
//! vain when many contend: the opposite of the bank, whose locks nobody else wants.
//!
//! A second entity, the room, is a witness that shares no code with the semaphore: who has a permit
//! calls `Enter` and `Leave` and waits for the answers, so at no time can more be in the room than
//! hold permits. The room counts every entry that finds it full.
//!
//! Checked: no entry found the room full, everyone entered once and left, and all permits came back.
//! Who waits for how long depends on timing; that everyone gets in once does not.

use super::declare::{count, span};
use super::{EntityStates, Start, Workload, WorkloadKind, completed, states};
use serde::{Deserialize, Serialize};
use sim_model::application::{Application, ApplicationError};
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "semaphore",
    summary: "Semaphore: orchestrations contend for the permits of one entity",
    parameters: &[
        count("permits", (1, 100_000), "3", "orchestrations that may hold a permit at a time"),
        span("hold", Duration::from_secs(3600), "100ms", "how long each holds its permit"),
        span("retry", Duration::from_secs(3600), "200ms", "sleep before asking again"),
    ],
    files: &[],
    load: "batch:50",
    build: |parameters| Semaphore::new(parameters).map(|semaphore| Rc::new(semaphore) as _),
};

/// The state of the semaphore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Permits {
    /// Who has one.
    holders: BTreeSet<String>,
    granted: u64,
}

impl Permits {
    /// Gives out a permit if fewer than `permits` are out.
    fn try_acquire(&mut self, holder: String, permits: u64) -> bool {
        let free = (self.holders.len() as u64) < permits;
        if free && self.holders.insert(holder) {
            self.granted += 1;
        }
        free
    }

    fn release(&mut self, holder: &str) -> Result<(), ApplicationError> {
        if self.holders.remove(holder) {
            return Ok(());
        }
        Err(ApplicationError::user(format!("{holder} has no permit")))
    }
}

/// The state of the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Room {
    inside: u64,
    entered: u64,
    /// Entries that found as many inside as there are permits.
    found_full: u64,
}

impl Room {
    fn enter(&mut self, permits: u64) {
        self.found_full += u64::from(self.inside >= permits);
        self.inside += 1;
        self.entered += 1;
    }

    fn leave(&mut self) -> Result<(), ApplicationError> {
        let left = self.inside.checked_sub(1);
        self.inside = left.ok_or_else(|| ApplicationError::user("nobody is in the room"))?;
        Ok(())
    }
}

fn semaphore_entity() -> EntityId {
    EntityId::new("Semaphore", "0")
}

fn room_entity() -> EntityId {
    EntityId::new("Room", "0")
}

async fn visit(
    context: OrchestrationContext,
    [hold, retry]: [Duration; 2],
) -> Result<bool, ApplicationError> {
    let (semaphore, room) = (semaphore_entity(), room_entity());
    let holder = context.instance_id().as_str().to_owned();
    while !context.call_entity::<bool>(&semaphore, "TryAcquire", &holder).await? {
        context.sleep(retry).await?;
    }
    context.call_entity::<()>(&room, "Enter", &()).await?;
    context.sleep(hold).await?;
    context.call_entity::<()>(&room, "Leave", &()).await?;
    context.call_entity::<()>(&semaphore, "Release", &holder).await?;
    Ok(true)
}

struct Semaphore {
    permits: u64,
    hold: Duration,
    retry: Duration,
}

impl Semaphore {
    fn new(parameters: &Settings) -> Result<Self, String> {
        let [hold, retry] = ["hold", "retry"].map(|key| parameters.span(key));
        if retry.is_zero() {
            return Err("retry is 0, expected a span above it: who waits would ask forever".into());
        }
        Ok(Semaphore { permits: parameters.count("permits"), hold, retry })
    }
}

impl Workload for Semaphore {
    fn register(&self, application: &mut Application) {
        let permits = self.permits;
        application
            .entity::<Permits>("Semaphore")
            .operation("TryAcquire", move |_: &mut EntityContext, state: &mut Permits, holder| {
                Ok(state.try_acquire(holder, permits))
            })
            .operation("Release", |_: &mut EntityContext, state: &mut Permits, holder: String| {
                state.release(&holder)
            });
        application
            .entity::<Room>("Room")
            .operation("Enter", move |_: &mut EntityContext, room: &mut Room, (): ()| {
                room.enter(permits);
                Ok(())
            })
            .operation("Leave", |_: &mut EntityContext, room: &mut Room, (): ()| room.leave());
        let spans = [self.hold, self.retry];
        application.orchestration("Visit", move |context, (): ()| visit(context, spans));
    }

    fn start(&self) -> Start {
        Start::Orchestration("Visit")
    }

    fn input(&self, _index: u64) -> Payload {
        Payload::encode(&()).expect("invariant: nothing has a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        match completed(status)? {
            true => Ok(()),
            false => Err("returned that it never got in".to_owned()),
        }
    }

    fn timing_independent(&self) -> bool {
        true
    }

    fn entities(&self, started: u64) -> Vec<EntityId> {
        if started == 0 { Vec::new() } else { vec![room_entity(), semaphore_entity()] }
    }

    fn check_entities(&self, started: u64, finals: &EntityStates) -> Result<(), String> {
        if started == 0 {
            return Ok(());
        }
        let room: Room = states::decode(finals, &room_entity())?;
        if room.found_full > 0 {
            let Room { found_full, .. } = room;
            return Err(format!("{found_full} entries found all {} permits out", self.permits));
        }
        let expected = Room { inside: 0, entered: started, found_full: 0 };
        states::compare(finals, [(room_entity(), expected)])?;
        let expected = Permits { holders: BTreeSet::new(), granted: started };
        states::compare(finals, [(semaphore_entity(), expected)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_hold_permits_than_there_are() {
        let mut state = Permits::default();
        assert!(state.try_acquire("a".to_owned(), 2));
        assert!(state.try_acquire("b".to_owned(), 2));
        assert!(!state.try_acquire("c".to_owned(), 2));
        assert!(state.release("c").is_err());
        assert_eq!(state.release("a"), Ok(()));
        assert!(state.try_acquire("c".to_owned(), 2));
        assert_eq!(state.granted, 3);
    }

    #[test]
    fn the_check_knows_right_from_wrong() {
        let semaphore = Semaphore::new(&Settings::defaults(KIND.parameters)).expect("defaults");
        let mut parameters = Settings::defaults(KIND.parameters);
        parameters.set("retry", "0s").expect("a span");
        assert!(Semaphore::new(&parameters).is_err());
        let check = |inside: &[bool], granted, holders: &[&str]| {
            let mut room = Room::default();
            for &enters in inside {
                if enters { room.enter(3) } else { room.leave().expect("someone is inside") }
            }
            let holders = holders.iter().map(|&holder| holder.to_owned()).collect();
            let permits = Payload::encode(&Permits { holders, granted }).expect("a state");
            let room = Payload::encode(&room).expect("a state");
            let finals = [(room_entity(), Some(room)), (semaphore_entity(), Some(permits))];
            semaphore.check_entities(4, &finals.into())
        };
        let (enter, leave) = (true, false);
        let right = [enter, enter, enter, leave, enter, leave, leave, leave];
        assert_eq!(check(&right, 4, &[]), Ok(()));
        let crowd = [enter, enter, enter, enter, leave, leave, leave, leave];
        assert!(check(&crowd, 4, &[]).is_err_and(|error| error.contains("found all 3")));
        assert!(check(&right[..7], 4, &[]).is_err(), "someone is inside still");
        assert!(check(&right, 5, &[]).is_err(), "a permit too many");
        assert!(check(&right, 4, &["a"]).is_err(), "a permit did not come back");
    }
}
