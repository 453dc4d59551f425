//! What both formats share: states that name each other, and what can be said of the whole.

use super::fields::short;
use super::machine::{Machine, State, Step};
use super::problem::{Findings, Place};
use crate::suggest::UnknownName;
use std::collections::BTreeMap;

/// Most names in the message about an unknown one.
const NAMES_MAX: usize = 20;

/// A state named by another.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// The name.
    pub name: String,
    /// Where it was named.
    pub place: Place,
}

/// A machine as a document has it: its states name each other. `B` is what the format says of a state.
#[derive(Debug)]
pub(super) struct Document<B> {
    /// The state that is entered first.
    pub start: Option<Link>,
    /// The states, in the order of the document.
    pub states: Vec<Named<B>>,
}

/// A state of a document.
#[derive(Debug)]
pub(super) struct Named<B> {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Absent if it could not be read.
    pub body: Option<B>,
}

/// Lowers a document to a machine, each of its states by `lower_state`.
pub(super) fn lower<B>(
    document: &Document<B>,
    findings: &Findings,
    lower_state: impl Fn(&str, &B, &Names<'_>) -> State,
) -> Machine {
    let names = Names::new(document.states.iter().map(|state| state.name.as_str()), findings);
    let start = names.resolve_any(document.start.as_ref()).unwrap_or(0);
    let states = document.states.iter().map(|named| match &named.body {
        Some(body) => lower_state(&named.name, body, &names),
        None => unreadable(&named.name),
    });
    let machine = Machine { start, states: states.collect() };
    if findings.is_sound() {
        let places: Vec<Place> = document.states.iter().map(|state| state.place.clone()).collect();
        check_ways(&machine, &places, findings);
    }
    machine
}

/// The names of the states of one machine.
pub(super) struct Names<'a> {
    indices: BTreeMap<&'a str, usize>,
    findings: &'a Findings,
}

impl<'a> Names<'a> {
    /// States by their names, in order.
    pub fn new(names: impl Iterator<Item = &'a str>, findings: &'a Findings) -> Names<'a> {
        Names { indices: names.enumerate().map(|(index, name)| (name, index)).collect(), findings }
    }

    /// The state that a link names. One that names none is noted, and leads to the first.
    pub fn resolve(&self, link: &Link) -> usize {
        self.indices.get(link.name.as_str()).copied().unwrap_or_else(|| {
            let name = short(&link.name);
            let near = crate::suggest::nearest(&name, self.indices.keys().copied());
            // The nearest is always among those that are listed.
            let others = self.indices.keys().copied().filter(|other| Some(*other) != near);
            let mut listed: Vec<&str> = near.into_iter().chain(others).take(NAMES_MAX).collect();
            listed.sort_unstable();
            let unknown = UnknownName::new("state", name, listed.into_iter().map(short));
            self.findings.problem(&link.place, unknown.to_string());
            0
        })
    }

    /// The same for a link that may be absent.
    pub fn resolve_any(&self, link: Option<&Link>) -> Option<usize> {
        link.map(|link| self.resolve(link))
    }
}

/// Warns of states that are never entered, and of machines that never end. `places` are those of
/// the states.
fn check_ways(machine: &Machine, places: &[Place], findings: &Findings) {
    let mut entered = vec![false; machine.states.len()];
    let mut left = vec![machine.start];
    while let Some(index) = left.pop() {
        let Some(state) = machine.states.get(index).filter(|_| !entered[index]) else { continue };
        entered[index] = true;
        left.extend(state.successors());
    }
    for (index, place) in places.iter().enumerate().filter(|(index, _)| !entered[*index]) {
        let name = &machine.states[index].name;
        findings.warning(place, format!("state {name:?} is never entered"));
    }
    let ends = |(state, entered): (&State, &bool)| *entered && state.may_end();
    if !machine.states.is_empty() && !machine.states.iter().zip(&entered).any(ends) {
        let start = &machine.states[machine.start];
        let said = format!("no state ends the machine that begins with {:?}", start.name);
        findings.warning(places.first().unwrap_or(&Place::root()), said);
    }
}

/// A state that could not be read, in place of it.
pub(super) fn unreadable(name: &str) -> State {
    State {
        name: name.into(),
        flow: super::machine::Flow::default(),
        step: Step::Succeed,
        retry: Vec::new(),
        catch: Vec::new(),
        next: None,
    }
}
