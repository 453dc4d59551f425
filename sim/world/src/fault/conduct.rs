//! Replicas that do not follow their protocol: who there is, and how each conducts itself at present.
//!
//! **What it models.** A Byzantine replica: its operator, or whoever has broken into it, lets it do what
//! the protocol forbids. What that can be, only the software knows that runs there; so it declares a group
//! of replicas with the names of what each may do ([`World::replicas`]), and asks the [`Conduct`] of each
//! before it acts. The world says when and which, and counts how often something was done.
//!
//! **Assumptions.** A replica acts for itself: it signs with its own name only. What it is made to do it
//! does from an instant to another, through crashes of its machine; then it follows the protocol again,
//! with the state it has. If it is to do several things at a time, it does the one that began last.
//!
//! **How many.** A group says how many of its replicas may do so. It is counted over the whole run and not
//! at an instant: what a replica has signed before it was honest again remains signed, for heights that
//! may be undecided still. Source: the fault model is that of fixed corruptions (Castro and Liskov,
//! OSDI 1999, section 2); replicas that recover would have to change their keys (their proactive
//! recovery, OSDI 2000).

use super::board::{Board, TroubleId};
use super::effect::Effect;
use super::pattern::Pattern;
use crate::world::World;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Replicas that hold the same state, and agree on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplicaGroup {
    /// The names of their nodes.
    pub members: Vec<String>,
    /// Of how many it does not matter what they do.
    pub tolerates: u32,
    /// What their software can be made to do, by name.
    pub behaviours: &'static [&'static str],
}

/// How one replica conducts itself at present; its software asks it. Clones are of the same replica.
#[derive(Clone)]
pub struct Conduct {
    board: Board,
    present: Rc<Present>,
}

/// What a replica is made to do, by who makes it.
type Present = RefCell<BTreeMap<TroubleId, &'static str>>;

impl Conduct {
    /// What the replica does instead of following the protocol, one of the declared behaviours.
    pub fn at_present(&self) -> Option<&'static str> {
        self.present.borrow().last_key_value().map(|(_, behaviour)| *behaviour)
    }

    /// Notes that it did something that the protocol forbids.
    pub fn departed(&self) {
        self.board.count(Effect::ProtocolDeparture, 1);
    }
}

/// What the board knows of replicas.
#[derive(Default)]
pub(super) struct Replicas {
    groups: Vec<ReplicaGroup>,
    present: BTreeMap<String, Rc<Present>>,
}

impl Replicas {
    pub fn groups(&self) -> &[ReplicaGroup] {
        &self.groups
    }

    /// The names of all replicas, group by group.
    pub fn names(&self) -> Vec<String> {
        self.groups.iter().flat_map(|group| group.members.iter().cloned()).collect()
    }

    /// What every replica that matches can be made to do.
    pub fn behaviours(&self, replica: &Pattern) -> Vec<String> {
        let concerned = |group: &&ReplicaGroup| group.members.iter().any(|m| replica.matches(m));
        let mut groups = self.groups.iter().filter(concerned);
        let first = groups.next().map_or(&[][..], |group| group.behaviours);
        let others: Vec<_> = groups.collect();
        let common =
            first.iter().filter(|word| others.iter().all(|group| group.behaviours.contains(word)));
        common.map(|word| (*word).to_owned()).collect()
    }

    /// Lets replicas do something; each that matches has it among its behaviours.
    pub fn begin(&self, id: TroubleId, replica: &Pattern, behaviour: &str) {
        for group in &self.groups {
            let word = group.behaviours.iter().find(|word| **word == behaviour);
            for member in group.members.iter().filter(|member| replica.matches(member)) {
                let word = word.expect("invariant: the behaviour was checked");
                self.present[member].borrow_mut().insert(id, word);
            }
        }
    }

    /// Lets them follow the protocol again.
    pub fn end(&self, id: TroubleId) {
        self.present.values().for_each(|present| {
            present.borrow_mut().remove(&id);
        });
    }
}

impl World {
    /// Declares nodes to be replicas of one another, of which `tolerates` may do what they like. Whoever
    /// runs them asks the conduct of each, in the order of `members`.
    ///
    /// # Panics
    /// If one of them is declared twice.
    pub fn replicas(
        &self,
        members: &[&str],
        tolerates: u32,
        behaviours: &'static [&'static str],
    ) -> Vec<Conduct> {
        let board = self.network().faults();
        let replicas = &mut *board.replicas().borrow_mut();
        let members: Vec<String> = members.iter().map(|name| (*name).to_owned()).collect();
        let mut conducts = Vec::new();
        for member in &members {
            let present = Rc::new(Present::default());
            let before = replicas.present.insert(member.clone(), present.clone());
            assert!(before.is_none(), "{member} is declared a replica twice");
            conducts.push(Conduct { board: board.clone(), present });
        }
        replicas.groups.push(ReplicaGroup { members, tolerates, behaviours });
        conducts
    }
}
