//! The kinds of faults: what each is called, what it takes, to which class it belongs, and what it
//! does to the world.
//!
//! Everything else about a kind follows from its entry in [`KINDS`]: how it is read, written, drawn and
//! explained. What a trouble means exactly is said where it is carried out, in `sim_world::fault`.

use super::value::{Target, Value, ValueKind};
use crate::host_event::{HostChange, HostEvent};
use sim_model::engine::FaultClass;
use sim_world::disk::DiskFault;
use sim_world::fault::{LinkTrouble, Pattern, ServiceTrouble, Trouble};
use std::time::Duration;

/// One thing that a kind of fault takes.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: ValueKind,
    /// What holds if it is left out; needed if `None`.
    pub default: Option<&'static str>,
}

/// Whether faults of a kind last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// They happen at an instant.
    No,
    /// They have a span, `for`.
    Yes,
}

/// A kind of fault.
#[derive(Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// The class by which budgets of engines know it.
    pub class: FaultClass,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What it takes besides `at` and `for`.
    pub keys: &'static [Key],
    /// Whether it lasts.
    pub lasting: Lasting,
    pub(super) build: fn(&Given<'_>) -> Effect,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Something happens to a host of the application.
    Host(HostEvent),
    /// Something happens to rented machines.
    Machine {
        /// Which.
        machine: Pattern,
        /// What.
        change: MachineChange,
    },
    /// Something is wrong with the world.
    World(Trouble),
}

/// What happens to a rented machine. All of it is over after the fault's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineChange {
    /// Its processes lose their memory, and start again.
    Crash,
    /// It stands still.
    Pause,
    /// It loses its power, and starts again.
    PowerLoss,
}

/// The values of a fault, in the order of its kind's keys.
pub(super) struct Given<'a> {
    pub kind: &'static Kind,
    pub values: &'a [Value],
    pub at: Duration,
    pub lasting: Duration,
}

impl Given<'_> {
    fn value(&self, name: &str) -> &Value {
        let index = self.kind.keys.iter().position(|key| key.name == name);
        &self.values[index.unwrap_or_else(|| panic!("{} has no key {name}", self.kind.name))]
    }

    fn pattern(&self, name: &str) -> Pattern {
        match self.value(name) {
            Value::Pattern(pattern) => pattern.clone(),
            other => panic!("{name} is {other:?}, not a pattern"),
        }
    }

    fn span(&self, name: &str) -> Duration {
        match self.value(name) {
            Value::Span(span) => *span,
            other => panic!("{name} is {other:?}, not a span"),
        }
    }

    fn number(&self, name: &str) -> f64 {
        match self.value(name) {
            Value::Number(number) => *number,
            other => panic!("{name} is {other:?}, not a number"),
        }
    }

    fn count(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Count(count) => *count,
            other => panic!("{name} is {other:?}, not a count"),
        }
    }

    fn signed(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Offset(number) | Value::Ppm(number) => *number,
            other => panic!("{name} is {other:?}, not a signed number"),
        }
    }

    fn flag(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Flag(flag) => *flag,
            other => panic!("{name} is {other:?}, not a flag"),
        }
    }

    fn word(&self, name: &str) -> String {
        match self.value(name) {
            Value::Behaviour(word) => word.clone(),
            other => panic!("{name} is {other:?}, not a behaviour"),
        }
    }

    fn host(&self) -> u32 {
        u32::try_from(self.count("host")).expect("invariant: numbers of hosts are small")
    }

    fn host_event(&self, change: HostChange) -> Effect {
        Effect::Host(HostEvent { change, host: self.host(), at: self.at })
    }

    fn machine(&self, change: MachineChange) -> Effect {
        Effect::Machine { machine: self.pattern("machine"), change }
    }

    fn link(&self, what: LinkTrouble) -> Effect {
        Effect::World(Trouble::Link {
            from: self.pattern("from"),
            to: self.pattern("to"),
            both_ways: !self.flag("one_way"),
            what,
        })
    }

    fn service(&self, what: ServiceTrouble) -> Effect {
        Effect::World(Trouble::Service { service: self.pattern("service"), what })
    }

    fn disk(&self, what: DiskFault) -> Effect {
        Effect::World(Trouble::Disk { of: self.pattern("disk"), what })
    }
}

const fn key(name: &'static str, kind: ValueKind) -> Key {
    Key { name, kind, default: None }
}

const fn optional(name: &'static str, kind: ValueKind, default: &'static str) -> Key {
    Key { name, kind, default: Some(default) }
}

const HOST: Key = key("host", ValueKind::Host);
const MACHINE: Key = key("machine", ValueKind::Pattern(Target::Machine));
const FROM: Key = key("from", ValueKind::Pattern(Target::Node));
const TO: Key = optional("to", ValueKind::Pattern(Target::Node), "*");
const ONE_WAY: Key = optional("one_way", ValueKind::Flag, "false");
const SERVICE: Key = key("service", ValueKind::Pattern(Target::Service));
const DISK: Key = key("disk", ValueKind::Pattern(Target::Disk));
const NODE: Key = key("node", ValueKind::Pattern(Target::Computer));
const PROBABILITY: Key = key("probability", ValueKind::Probability);
const BY: Key = key("by", ValueKind::Span);
const JITTER: Key = optional("jitter", ValueKind::Span, "0s");
const COUNT: Key = optional("count", ValueKind::Count, "1");

/// All kinds.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "crash",
        class: FaultClass::HostCrash,
        summary: "a host loses its memory, and starts again after the span",
        keys: &[HOST],
        lasting: Lasting::Yes,
        build: |given| given.host_event(HostChange::Crash(Some(given.lasting))),
    },
    Kind {
        name: "pause",
        class: FaultClass::HostPause,
        summary: "a host stands still with what it has in memory",
        keys: &[HOST],
        lasting: Lasting::Yes,
        build: |given| given.host_event(HostChange::Pause(given.lasting)),
    },
    Kind {
        name: "power-loss",
        class: FaultClass::HostPowerLoss,
        summary: "a host crashes and its disk loses what was not durable",
        keys: &[HOST],
        lasting: Lasting::Yes,
        build: |given| given.host_event(HostChange::PowerLoss(given.lasting)),
    },
    Kind {
        name: "machine-crash",
        class: FaultClass::MachineCrash,
        summary: "the processes of a rented machine lose their memory, and start again after the span",
        keys: &[MACHINE],
        lasting: Lasting::Yes,
        build: |given| given.machine(MachineChange::Crash),
    },
    Kind {
        name: "machine-pause",
        class: FaultClass::MachinePause,
        summary: "a rented machine stands still",
        keys: &[MACHINE],
        lasting: Lasting::Yes,
        build: |given| given.machine(MachineChange::Pause),
    },
    Kind {
        name: "machine-power-loss",
        class: FaultClass::MachinePowerLoss,
        summary: "a rented machine crashes and its disk loses what was not durable",
        keys: &[MACHINE],
        lasting: Lasting::Yes,
        build: |given| given.machine(MachineChange::PowerLoss),
    },
    Kind {
        name: "cut",
        class: FaultClass::NetworkLoss,
        summary: "nothing that is sent between two groups of nodes arrives (a partition)",
        keys: &[FROM, TO, ONE_WAY],
        lasting: Lasting::Yes,
        build: |given| given.link(LinkTrouble::Cut),
    },
    Kind {
        name: "clog",
        class: FaultClass::NetworkDelay,
        summary: "what is sent between two groups of nodes is held until the end",
        keys: &[FROM, TO, ONE_WAY],
        lasting: Lasting::Yes,
        build: |given| given.link(LinkTrouble::Clog),
    },
    Kind {
        name: "delay",
        class: FaultClass::NetworkDelay,
        summary: "messages take longer by a span and a jitter drawn from zero to its bound",
        keys: &[FROM, TO, ONE_WAY, BY, JITTER],
        lasting: Lasting::Yes,
        build: |given| {
            given.link(LinkTrouble::Delay { by: given.span("by"), jitter: given.span("jitter") })
        },
    },
    Kind {
        name: "lose",
        class: FaultClass::NetworkLoss,
        summary: "packets are lost: messages are sent again and come late, a few not at all",
        keys: &[FROM, TO, ONE_WAY, PROBABILITY],
        lasting: Lasting::Yes,
        build: |given| given.link(LinkTrouble::Lose { probability: given.number("probability") }),
    },
    Kind {
        name: "corrupt",
        class: FaultClass::NetworkLoss,
        summary: "messages are damaged, which breaks their connection: they do not arrive",
        keys: &[FROM, TO, ONE_WAY, PROBABILITY],
        lasting: Lasting::Yes,
        build: |given| {
            given.link(LinkTrouble::Corrupt { probability: given.number("probability") })
        },
    },
    Kind {
        name: "duplicate",
        class: FaultClass::Duplication,
        summary: "messages arrive twice",
        keys: &[FROM, TO, ONE_WAY, PROBABILITY],
        lasting: Lasting::Yes,
        build: |given| {
            given.link(LinkTrouble::Duplicate { probability: given.number("probability") })
        },
    },
    Kind {
        name: "reorder",
        class: FaultClass::NetworkDelay,
        summary: "messages are held back by a span, and later ones overtake them",
        keys: &[FROM, TO, ONE_WAY, PROBABILITY, BY],
        lasting: Lasting::Yes,
        build: |given| {
            let probability = given.number("probability");
            given.link(LinkTrouble::Reorder { probability, by: given.span("by") })
        },
    },
    Kind {
        name: "outage",
        class: FaultClass::ServiceOutage,
        summary: "a service answers nothing",
        keys: &[SERVICE],
        lasting: Lasting::Yes,
        build: |given| given.service(ServiceTrouble::Outage),
    },
    Kind {
        name: "throttle",
        class: FaultClass::Throttling,
        summary: "a service refuses requests as it does beyond its limits",
        keys: &[SERVICE, PROBABILITY],
        lasting: Lasting::Yes,
        build: |given| {
            given.service(ServiceTrouble::Throttle { probability: given.number("probability") })
        },
    },
    Kind {
        name: "slow-service",
        class: FaultClass::ServiceDelay,
        summary: "a service takes longer by a span and a jitter drawn from zero to its bound",
        keys: &[SERVICE, BY, JITTER],
        lasting: Lasting::Yes,
        build: |given| {
            let (by, jitter) = (given.span("by"), given.span("jitter"));
            given.service(ServiceTrouble::Delay { by, jitter })
        },
    },
    Kind {
        name: "lose-answer",
        class: FaultClass::LostAnswer,
        summary: "a service carries requests out, and their answers are lost (an ambiguous timeout)",
        keys: &[SERVICE, PROBABILITY],
        lasting: Lasting::Yes,
        build: |given| {
            given.service(ServiceTrouble::LoseAnswer { probability: given.number("probability") })
        },
    },
    Kind {
        name: "apply-late",
        class: FaultClass::LateApplication,
        summary: "a service carries requests out later, also when their sender has died",
        keys: &[SERVICE, PROBABILITY, BY],
        lasting: Lasting::Yes,
        build: |given| {
            let probability = given.number("probability");
            given.service(ServiceTrouble::ApplyLate { probability, by: given.span("by") })
        },
    },
    Kind {
        name: "lose-lease",
        class: FaultClass::LeaseLoss,
        summary: "the leases on blobs end",
        keys: &[key("blob", ValueKind::Pattern(Target::Blob))],
        lasting: Lasting::No,
        build: |given| Effect::World(Trouble::Lease { blob: given.pattern("blob") }),
    },
    Kind {
        name: "slow-cpu",
        class: FaultClass::SlowCpu,
        summary: "cores take longer by a factor",
        keys: &[NODE, key("factor", ValueKind::Factor)],
        lasting: Lasting::Yes,
        build: |given| {
            let slowdown = given.number("factor");
            Effect::World(Trouble::Cpu { node: given.pattern("node"), slowdown })
        },
    },
    Kind {
        name: "clock",
        class: FaultClass::ClockError,
        summary: "the clock of a host is off, and drifts",
        keys: &[NODE, key("offset", ValueKind::Offset), optional("drift_ppm", ValueKind::Ppm, "0")],
        lasting: Lasting::Yes,
        build: |given| {
            Effect::World(Trouble::Clock {
                node: given.pattern("node"),
                offset: given.signed("offset"),
                drift_ppm: given.signed("drift_ppm"),
            })
        },
    },
    Kind {
        name: "disk-stall",
        class: FaultClass::DiskDelay,
        summary: "a disk does nothing for the span",
        keys: &[DISK],
        lasting: Lasting::Yes,
        build: |given| given.disk(DiskFault::Stall { span: given.lasting }),
    },
    Kind {
        name: "disk-slow",
        class: FaultClass::DiskDelay,
        summary: "requests to a disk take longer by a factor",
        keys: &[DISK, key("factor", ValueKind::Factor)],
        lasting: Lasting::Yes,
        build: |given| given.disk(DiskFault::Slow { factor: given.number("factor") }),
    },
    Kind {
        name: "disk-read-errors",
        class: FaultClass::DiskError,
        summary: "the next reads of a disk within the span fail",
        keys: &[DISK, COUNT],
        lasting: Lasting::Yes,
        build: |given| given.disk(DiskFault::ReadErrors { count: small(given.count("count")) }),
    },
    Kind {
        name: "disk-write-errors",
        class: FaultClass::DiskError,
        summary: "the next writes to a disk within the span fail, and the sync that covers them says so once",
        keys: &[DISK, COUNT],
        lasting: Lasting::Yes,
        build: |given| given.disk(DiskFault::WriteErrors { count: small(given.count("count")) }),
    },
    Kind {
        name: "disk-sync-errors",
        class: FaultClass::DiskError,
        summary: "the next flushes of a disk's own cache within the span fail, and say so",
        keys: &[DISK, COUNT],
        lasting: Lasting::Yes,
        build: |given| given.disk(DiskFault::SyncErrors { count: small(given.count("count")) }),
    },
    Kind {
        name: "disk-lost-writes",
        class: FaultClass::DiskCorruption,
        summary: "the next writes to a disk within the span are acknowledged and not carried out",
        keys: &[DISK, COUNT],
        lasting: Lasting::Yes,
        build: |given| given.disk(DiskFault::LostWrites { count: small(given.count("count")) }),
    },
    Kind {
        name: "disk-misdirected-writes",
        class: FaultClass::DiskCorruption,
        summary: "the next writes to a disk within the span land on another page than their own",
        keys: &[DISK, COUNT],
        lasting: Lasting::Yes,
        build: |given| {
            given.disk(DiskFault::MisdirectedWrites { count: small(given.count("count")) })
        },
    },
    Kind {
        name: "disk-torn-sectors",
        class: FaultClass::DiskCorruption,
        summary: "a power loss tears single sectors of a disk too",
        keys: &[DISK],
        lasting: Lasting::Yes,
        build: |given| given.disk(DiskFault::TornSectors),
    },
    Kind {
        name: "disk-bit-rot",
        class: FaultClass::DiskCorruption,
        summary: "bits of files on a disk flip",
        keys: &[DISK, COUNT],
        lasting: Lasting::No,
        build: |given| given.disk(DiskFault::BitRot { bits: small(given.count("count")) }),
    },
    Kind {
        name: "disk-full",
        class: FaultClass::DiskError,
        summary: "a disk has only so many bytes left",
        keys: &[DISK, optional("free_bytes", ValueKind::Count, "0")],
        lasting: Lasting::Yes,
        build: |given| given.disk(DiskFault::Full { free_bytes: given.count("free_bytes") }),
    },
    Kind {
        name: "byzantine",
        class: FaultClass::Byzantine,
        summary: "a replica does what its protocol forbids, and signs for that with its own name only",
        keys: &[
            key("replica", ValueKind::Pattern(Target::Replica)),
            key("behaviour", ValueKind::Behaviour),
        ],
        lasting: Lasting::Yes,
        build: |given| {
            let (replica, behaviour) = (given.pattern("replica"), given.word("behaviour"));
            Effect::World(Trouble::Misconduct { replica, behaviour })
        },
    },
];

fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The kind with this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}
