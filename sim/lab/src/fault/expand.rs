//! From a plan to the list of its faults: a function of the plan, the seed and what there is.
//!
//! Each entry draws from a stream of its own (`fault plan <number>`), so that an entry that is added behind
//! the others changes nothing of them. Occurrences of one entry draw in the order of their instants.
//!
//! A host, and a rented machine, can have one crash, pause or power loss at a time. An occurrence at
//! random that finds its target taken takes another; if all are, it is left out. One at an instant is an
//! error. In the same way occurrences at random make no more replicas of a group Byzantine than it tolerates
//! (`replicas`); at instants there may be any number.

use super::kinds::Kind;
use super::plan::{Entry, FaultPlan, HowOften, What, When};
use super::replicas::{are_tolerated, there_are_none};
use super::value::{Target, Value, ValueKind, in_millis};
use super::{Fault, known};
use crate::span;
use crate::spec::{Items, SpecError};
use sim_model::engine::FaultClass;
use sim_world::fault::{Pattern, ReplicaGroup};
use sim_world::seed::{SeedTree, Stream};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// Most faults of one run.
pub const FAULTS_MAX: usize = 100_000;
/// How often an occurrence looks for a target that is free.
const TRIES: u32 = 8;

/// What there is that a fault can concern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// How many hosts the application has.
    pub hosts: u32,
    /// Nodes: hosts, services, rented machines, the load generator's machine.
    pub nodes: Vec<String>,
    /// Hosts, rented machines, the load generator's machine.
    pub computers: Vec<String>,
    /// Rented machines.
    pub machines: Vec<String>,
    /// Services.
    pub services: Vec<String>,
    /// Machines with a disk.
    pub disks: Vec<String>,
    /// Replicas that can be made to depart from their protocol, by group.
    pub groups: Vec<ReplicaGroup>,
    /// Their names.
    pub replicas: Vec<String>,
}

impl Targets {
    /// The names of such targets; `None` if they are not known before the run.
    pub(super) fn names(&self, target: Target) -> Option<&[String]> {
        match target {
            Target::Node => Some(&self.nodes),
            Target::Computer => Some(&self.computers),
            Target::Machine => Some(&self.machines),
            Target::Service => Some(&self.services),
            Target::Disk => Some(&self.disks),
            Target::Replica => Some(&self.replicas),
            Target::Blob => None,
        }
    }
}

impl FaultPlan {
    /// The faults of a run with this seed and those `beside` them, in the order of their instants.
    ///
    /// # Errors
    /// The first entry that cannot be: a range where it happens at an instant, bounds of a range that are
    /// none, a name that nothing has, a host that has two things at a time.
    pub fn expand(
        &self,
        seed: u64,
        targets: &Targets,
        load: Duration,
        beside: &[Fault],
    ) -> Result<Vec<Fault>, SpecError> {
        let mut faults = beside.to_vec();
        for (index, entry) in self.entries.iter().enumerate() {
            let stream = SeedTree::new(seed).stream(&format!("fault plan {index}"));
            let mut drawing = Drawing { entry, targets, stream, faults: &mut faults };
            drawing.expand(load)?;
            if faults.len() > FAULTS_MAX {
                let expected = format!("a plan of at most {FAULTS_MAX} faults");
                return Err(SpecError::bad(&*entry.place, faults.len(), expected));
            }
        }
        faults.sort_by_cached_key(|fault| (fault.at, fault.to_string()));
        Ok(faults)
    }
}

/// An entry on its way to faults.
struct Drawing<'a> {
    entry: &'a Entry,
    targets: &'a Targets,
    stream: Stream,
    faults: &'a mut Vec<Fault>,
}

impl Drawing<'_> {
    fn expand(&mut self, load: Duration) -> Result<(), SpecError> {
        match &self.entry.when {
            When::At(at) => {
                let at = self.parse("at", ValueKind::Span, at)?;
                let Value::Span(at) = at else { unreachable!("spans are read as spans") };
                self.occur(at, false)
            }
            When::Random { how_often, during } => {
                let during = during.clone().unwrap_or(Duration::ZERO..load);
                for at in instants(how_often, &during, &mut self.stream) {
                    self.occur(at, true)?;
                    if self.faults.len() > FAULTS_MAX {
                        return Ok(());
                    }
                }
                Ok(())
            }
        }
    }

    fn occur(&mut self, at: Duration, random: bool) -> Result<(), SpecError> {
        match self.entry.what {
            What::Swizzle => self.swizzle(at, random),
            What::Kind(kind) => {
                for _ in 0..TRIES {
                    let fault = self.fault(kind, at, random)?;
                    if random && !self.entry.all_targets && !self.is_tolerated(&fault) {
                        continue;
                    }
                    let taken = self.faults.iter().find(|other| contend(other, &fault));
                    match taken {
                        None => {
                            self.faults.push(fault);
                            return Ok(());
                        }
                        Some(other) if !random => {
                            let expected = format!("an instant outside of {other}");
                            return Err(SpecError::bad(&*self.entry.place, &fault, expected));
                        }
                        Some(_) => {}
                    }
                }
                Ok(())
            }
        }
    }

    /// Whether such a fault leaves no group with more Byzantine replicas than it tolerates.
    fn is_tolerated(&self, fault: &Fault) -> bool {
        fault.class() != FaultClass::Byzantine
            || are_tolerated(self.faults.iter().chain([fault]), &self.targets.groups)
    }

    fn fault(
        &mut self,
        kind: &'static Kind,
        at: Duration,
        random: bool,
    ) -> Result<Fault, SpecError> {
        let mut items = BTreeMap::new();
        for key in kind.keys {
            if let Some(text) = self.entry.fields.get(key.name) {
                items.insert(key.name.to_owned(), self.value(key.name, key.kind, text, random)?);
            }
        }
        if let Some(text) = self.entry.fields.get("for") {
            items.insert("for".to_owned(), self.value("for", ValueKind::Span, text, random)?);
        }
        items.insert("at".to_owned(), span::format(at));
        let fault = Fault::from_items(kind, Items::of(&*self.entry.place, items))?;
        if let Some(host) = fault.host().filter(|host| *host >= self.targets.hosts) {
            let expected = format!("a host from 0 to {}", self.targets.hosts.saturating_sub(1));
            return Err(SpecError::bad(format!("{}: host", self.entry.place), host, expected));
        }
        Ok(fault)
    }

    /// The text of one value: as it is written, or drawn.
    fn value(
        &mut self,
        key: &str,
        kind: ValueKind,
        text: &str,
        random: bool,
    ) -> Result<String, SpecError> {
        match kind {
            ValueKind::Host if random && text == "*" => {
                Ok(self.stream.below(u64::from(self.targets.hosts)).to_string())
            }
            ValueKind::Pattern(target) => self.target(key, target, text, random),
            ValueKind::Behaviour if random && text == "*" => {
                let known = self.targets.behaviours(&Pattern::any());
                let index = self.stream.below((known.len() as u64).max(1)) as usize;
                let place = || format!("{key} in {}", self.entry.place);
                let drawn = known.get(index).cloned();
                drawn.ok_or_else(|| SpecError::unknown(place(), text, known))
            }
            _ => match text.split_once("..") {
                None => Ok(self.parse(key, kind, text)?.to_string()),
                Some(_) if !random => {
                    let expected = "one value: ranges are for what happens by rate or times";
                    Err(SpecError::bad(format!("{}: {key}", self.entry.place), text, expected))
                }
                Some((low, high)) => {
                    let bounds = (self.parse(key, kind, low)?, self.parse(key, kind, high)?);
                    let drawn = kind.draw(&bounds.0, &bounds.1, &mut self.stream);
                    let expected = "a range from less to more";
                    let bad =
                        || SpecError::bad(format!("{}: {key}", self.entry.place), text, expected);
                    Ok(drawn.ok_or_else(bad)?.to_string())
                }
            },
        }
    }

    fn target(
        &mut self,
        key: &str,
        target: Target,
        text: &str,
        random: bool,
    ) -> Result<String, SpecError> {
        let Value::Pattern(pattern) = self.parse(key, ValueKind::Pattern(target), text)? else {
            unreachable!("patterns are read as patterns")
        };
        let Some(names) = self.targets.names(target) else { return Ok(text.to_owned()) };
        if target == Target::Replica && names.is_empty() {
            return Err(there_are_none(&format!("{key} in {}", self.entry.place), text));
        }
        let matching = matching(names, &pattern);
        if matching.is_empty() {
            let place = format!("{} in {}", key, self.entry.place);
            return Err(SpecError::unknown(place, text, names.iter().cloned()));
        }
        // The far end of a link is all it matches: it is who is cut off that is drawn.
        if !random || self.entry.all_targets || key == "to" {
            return Ok(text.to_owned());
        }
        let index = self.stream.below(matching.len() as u64) as usize;
        Ok(matching[index].to_owned())
    }

    fn swizzle(&mut self, at: Duration, random: bool) -> Result<(), SpecError> {
        let clog = known("clog")?;
        let field = |name: &str| {
            self.entry.fields.get(name).cloned().ok_or_else(|| SpecError::Missing {
                place: format!("{}: {name}", self.entry.place),
                expected: if name == "for" {
                    ValueKind::Span.expected().to_owned()
                } else {
                    ValueKind::Pattern(Target::Node).expected().to_owned()
                },
            })
        };
        let (node, lasting) = (field("node")?, field("for")?);
        let lasting = self.value("for", ValueKind::Span, &lasting, random)?;
        let lasting = span::parse(&lasting).expect("invariant: it was written as a span");
        let Value::Pattern(pattern) =
            self.parse("node", ValueKind::Pattern(Target::Node), &node)?
        else {
            unreachable!("patterns are read as patterns")
        };
        let mut chosen = matching(&self.targets.nodes, &pattern);
        if chosen.is_empty() {
            let place = format!("node in {}", self.entry.place);
            return Err(SpecError::unknown(place, node, self.targets.nodes.iter().cloned()));
        }
        let always = self.stream.below(chosen.len() as u64) as usize;
        let mut index = 0;
        chosen.retain(|_| {
            index += 1;
            self.stream.chance(0.5) || index - 1 == always
        });
        for name in chosen {
            let begin = at + lasting.mul_f64(self.stream.unit() / 3.0);
            let end = at + lasting.mul_f64((2.0 + self.stream.unit()) / 3.0);
            let micros = |span: Duration| Duration::from_micros(in_millis(span.as_micros() as u64));
            let items = BTreeMap::from([
                ("from".to_owned(), name.to_owned()),
                ("at".to_owned(), span::format(micros(begin))),
                ("for".to_owned(), span::format(micros(end - begin))),
            ]);
            self.faults.push(Fault::from_items(clog, Items::of(&*self.entry.place, items))?);
        }
        Ok(())
    }

    fn parse(&self, key: &str, kind: ValueKind, text: &str) -> Result<Value, SpecError> {
        let place = || format!("{}: {key}", self.entry.place);
        kind.parse(text).ok_or_else(|| SpecError::bad(place(), text, kind.expected()))
    }
}

fn matching<'a>(names: &'a [String], pattern: &Pattern) -> Vec<&'a str> {
    names.iter().map(String::as_str).filter(|name| pattern.matches(name)).collect()
}

/// Whether two faults want the same host or machine for themselves at the same time.
pub(super) fn contend(a: &Fault, b: &Fault) -> bool {
    let same = match (taken(a), taken(b)) {
        (Some(Taken::Host(a)), Some(Taken::Host(b))) => a == b,
        (Some(Taken::Machine(a)), Some(Taken::Machine(b))) => {
            a.matches(b.as_str()) || b.matches(a.as_str())
        }
        _ => false,
    };
    // Two things that touch are too near: the first has to be over.
    same && a.at() <= b.end() && b.at() <= a.end()
}

enum Taken<'a> {
    Host(u32),
    Machine(&'a Pattern),
}

fn taken(fault: &Fault) -> Option<Taken<'_>> {
    if let Some(host) = fault.host() {
        return Some(Taken::Host(host));
    }
    fault.values().find_map(|(key, value)| match (key.kind, value) {
        (ValueKind::Pattern(Target::Machine), Value::Pattern(pattern)) => {
            Some(Taken::Machine(pattern))
        }
        _ => None,
    })
}

/// The instants of something random.
fn instants(how_often: &HowOften, during: &Range<Duration>, stream: &mut Stream) -> Vec<Duration> {
    let length = during.end.saturating_sub(during.start);
    let mut instants = Vec::new();
    match how_often {
        HowOften::Rate(rate) => {
            let mut at = 0.0;
            loop {
                // 1 - unit lies in (0, 1].
                at -= libm::log(1.0 - stream.unit()) / rate;
                if at >= length.as_secs_f64() || instants.len() > FAULTS_MAX {
                    break;
                }
                instants.push(during.start + Duration::from_micros(in_millis((at * 1e6) as u64)));
            }
        }
        HowOften::Times(low, high) => {
            let times = low + stream.below(high - low + 1);
            let micros = (length.as_micros() as u64).max(1);
            instants
                .extend((0..times).map(|_| {
                    during.start + Duration::from_micros(in_millis(stream.below(micros)))
                }));
            instants.sort();
        }
    }
    instants
}
