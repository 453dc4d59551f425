//! What can be set on the engine, with the defaults of the main network.
//!
//! Sources: `limits` stands for dfinity/ic rs/limits/src/lib.rs@051bb67c, `subnet config` for
//! rs/config/src/subnet_config.rs@002d5530, `notary` for rs/consensus/src/consensus/notary.rs@002d5530,
//! `limits page` for dfinity/developer-docs@b58cf04 docs/references/resource-limits.md.

use crate::canister::Costs;
use crate::consensus::{Parameters, tolerated};
use crate::pool::BlockLimits;
use crate::scheduler::Limits;
use sim_model::settings::{Purpose, Setting, SettingKind, Settings};
use std::time::Duration;

/// Instructions that a core executes in a second. Source: subnet config (2 B, about 1 s at 2 GHz).
const INSTRUCTIONS_PER_SECOND: u64 = 2_000_000_000;
/// Instructions of a message execution that is not sliced. Source: subnet config (5 B).
const UNSLICED_MESSAGE_MAX: u64 = 5_000_000_000;
/// Bytes of the response to an outcall. Source: dfinity/developer-docs, HTTPS outcalls (2 MB).
const OUTCALL_BYTES_MAX: u64 = 2_000_000;

const fn count(
    key: &'static str,
    (min, max): (u64, u64),
    default: &'static str,
    help: &'static str,
) -> Setting {
    let kind = SettingKind::Count { min, max };
    Setting { key, kind, default, purpose: Purpose::Parameter, help }
}

const fn span(key: &'static str, default: &'static str, help: &'static str) -> Setting {
    let kind = SettingKind::Span { max: Duration::from_secs(3600) };
    Setting { key, kind, default, purpose: Purpose::Parameter, help }
}

const fn choice(
    key: &'static str,
    words: &'static [&'static str],
    default: &'static str,
    help: &'static str,
) -> Setting {
    let kind = SettingKind::Choice(words);
    Setting { key, kind, default, purpose: Purpose::Parameter, help }
}

const fn flag(key: &'static str, purpose: Purpose, help: &'static str) -> Setting {
    Setting { key, kind: SettingKind::Flag, default: "true", purpose, help }
}

/// What Byzantine replicas do.
pub(crate) const BEHAVIOURS: &[&str] = &["withhold", "equivocate", "late", "lie", "fork"];

/// The declared settings.
pub(crate) const SETTINGS: &[Setting] = &[
    count("subnets", (1, 16), "1", "subnets, to which instance canisters are dealt round robin"),
    count(
        "replicas",
        (4, 40),
        "13",
        "replicas of each subnet, 3f + 1 to tolerate f faults (13 on application subnets, 40 on the \
         largest)",
    ),
    count(
        "task_canisters",
        (1, 64),
        "8",
        "canisters of each subnet that run tasks [assumption: two for each execution thread]",
    ),
    span(
        "round_trip",
        "0s",
        "round trip between two replicas; 0s: as the profile's class of machines says",
    ),
    choice(
        "sites",
        crate::sites::NAMES,
        "one",
        "where replicas are: one data centre, or sites with the measured round trips between them \
         (performance page, September 2023)",
    ),
    span("unit_delay", "1s", "delay of a block maker and of a notary for each rank (limits)"),
    span("initial_notary_delay", "300ms", "least delay of a notary (limits)"),
    span(
        "backlog_delay",
        "2s",
        "delay of a notary for each height that is finalized and not certified, beyond one (notary)",
    ),
    count(
        "dkg_interval",
        (9, 9_999),
        "499",
        "heights between two summary blocks, with which \
         checkpoints and catch-up packages are made (limits)",
    ),
    count("block_messages", (1, 100_000), "1000", "ingress messages of a block (limits)"),
    count("block_kilobytes", (64, 65_536), "4096", "KiB of ingress messages in a block (limits)"),
    span("ingress_expiry", "5m", "how long a call of a client may enter a block (limits)"),
    count(
        "execution_queue",
        (1, 1_000),
        "16",
        "finalized blocks that wait for execution (rs/messaging)",
    ),
    count("threads", (1, 64), "4", "execution threads (subnet config)"),
    count(
        "round_instructions",
        (100, 1_000_000),
        "7000",
        "million instructions of a thread in a round \
         (subnet config)",
    ),
    count(
        "slice_instructions",
        (10, 100_000),
        "2000",
        "million instructions of a slice (subnet config)",
    ),
    count(
        "message_instructions",
        (10, 1_000_000),
        "40000",
        "million instructions of a message \
         execution (subnet config)",
    ),
    count(
        "message_overhead",
        (0, 1_000_000),
        "2000",
        "thousand instructions that each message \
         execution costs (subnet config)",
    ),
    count(
        "canister_overhead",
        (0, 1_000_000),
        "8000",
        "thousand instructions that each canister costs \
         in an iteration (subnet config)",
    ),
    count(
        "step_instructions",
        (0, 10_000_000),
        "500",
        "thousand instructions of a step of an instance \
         [assumption: decoding a message, finding the instance, user code up to its next await]",
    ),
    count(
        "task_instructions",
        (0, 10_000_000),
        "200",
        "thousand instructions of a task without its own \
         work [assumption: less than a step]",
    ),
    count(
        "operation_instructions",
        (0, 10_000_000),
        "50",
        "thousand instructions of an operation of \
         an entity, besides its step [assumption]",
    ),
    count(
        "artefact_push_bytes",
        (0, 100_000_000),
        "1024",
        "bytes up to which an artefact is sent at \
         once; larger ones are announced and fetched (rs/p2p, recalled, not verified)",
    ),
    span(
        "call_timeout",
        "10s",
        "how long a gateway waits for the answer to a call before it asks \
         another replica (developer-docs: synchronous calls)",
    ),
    count("byzantine", (0, 40), "0", "Byzantine replicas of each subnet"),
    choice(
        "byzantine_behaviour",
        BEHAVIOURS,
        "withhold",
        "what they do: send nothing, propose two \
         blocks, propose late, answer clients without executing, or vote for every block and propose so \
         that two get notarized and both are extended",
    ),
    flag(
        "notarization_quorum",
        Purpose::Safety,
        "a block is notarized and finalized by n - f shares, \
         not by f + 1",
    ),
    flag(
        "finalization_check",
        Purpose::Safety,
        "a replica finalizes a block only if it supported no \
         other at that height",
    ),
    flag(
        "certification",
        Purpose::Safety,
        "clients and other subnets see an output once n - f replicas \
         have certified the state, not once one replica has executed it",
    ),
    flag(
        "queue_reservation",
        Purpose::Safety,
        "a call reserves the slot of its response, and waits \
         while 500 calls are open; otherwise a full queue drops messages",
    ),
    flag(
        "ingress_dedup",
        Purpose::Safety,
        "a call of a client that is in the chain or in the history \
         does not enter again",
    ),
    flag(
        "time_slicing",
        Purpose::Performance,
        "an execution of more than a slice goes on in later \
         rounds, instead of holding up its own (and being limited to 5 billion instructions)",
    ),
    flag(
        "subnet_messages",
        Purpose::Performance,
        "messages between canisters of one subnet are \
         executed in the round in which they are sent, instead of in the next one",
    ),
];

/// What a Byzantine replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Follows the protocol.
    Honest,
    /// Sends nothing.
    Withhold,
    /// Makes two blocks, shows each to half of the others, and signs both.
    Equivocate,
    /// Makes its block after the next maker may have made one.
    Late,
    /// Tells clients that their calls were accepted, and drops them.
    Lie,
    /// Supports and finalizes every block that it sees. Makes its block after the next maker may have
    /// made one, so that others support both; where two are notarized, it makes its own at once, on the
    /// one that others do not go on from.
    Fork,
}

impl Behaviour {
    /// The behaviour of this name, one of [`BEHAVIOURS`].
    pub(crate) fn named(name: &str) -> Behaviour {
        match name {
            "withhold" => Behaviour::Withhold,
            "equivocate" => Behaviour::Equivocate,
            "late" => Behaviour::Late,
            "fork" => Behaviour::Fork,
            _ => Behaviour::Lie,
        }
    }
}

/// Sizes at which short runs reach checkpoints, catch-up packages, state synchronization and streams.
pub(crate) const SMALL_SCALES: &[(&str, &[&str])] = &[
    ("replicas", &["4", "4", "4", "7"]),
    ("subnets", &["1", "1", "2"]),
    ("dkg_interval", &["9", "19", "499"]),
    ("task_canisters", &["1", "2", "8"]),
];

/// The settings, read.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) subnets: u16,
    pub(crate) replicas: u16,
    pub(crate) task_canisters: u32,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) sites: &'static str,
    pub(crate) block: BlockLimits,
    pub(crate) ingress_expiry: Duration,
    pub(crate) execution_queue: usize,
    pub(crate) push_bytes: u64,
    pub(crate) call_timeout: Duration,
    pub(crate) byzantine: u16,
    behaviour: Behaviour,
    pub(crate) certification: bool,
    pub(crate) ingress_dedup: bool,
    pub(crate) queue_reservation: bool,
    /// Whether two blocks may be finalized at one height.
    pub(crate) forks: bool,
    pub(crate) costs: Costs,
    pub(crate) limits: Limits,
    consensus: Parameters,
}

impl Config {
    /// Reads a complete set of settings.
    pub(crate) fn new(settings: &Settings) -> Config {
        let count = |key| settings.count(key);
        let thousand = |key| settings.count(key) * 1_000;
        let million = |key| settings.count(key) * 1_000_000;
        let replicas = u16::try_from(count("replicas")).expect("invariant: its declared limit");
        let quorum_is_safe = settings.flag("notarization_quorum");
        let finalization_check = settings.flag("finalization_check");
        let slicing = settings.flag("time_slicing");
        let round_trip = settings.span("round_trip");
        let behaviour = Behaviour::named(settings.choice("byzantine_behaviour"));
        Config {
            subnets: count("subnets") as u16,
            replicas,
            task_canisters: count("task_canisters") as u32,
            round_trip: (!round_trip.is_zero()).then_some(round_trip),
            sites: settings.choice("sites"),
            block: BlockLimits {
                messages: count("block_messages") as usize,
                bytes: count("block_kilobytes") * 1024,
            },
            ingress_expiry: settings.span("ingress_expiry"),
            execution_queue: count("execution_queue") as usize,
            push_bytes: count("artefact_push_bytes"),
            call_timeout: settings.span("call_timeout"),
            byzantine: count("byzantine") as u16,
            behaviour,
            certification: settings.flag("certification"),
            ingress_dedup: settings.flag("ingress_dedup"),
            queue_reservation: settings.flag("queue_reservation"),
            forks: !quorum_is_safe || !finalization_check,
            costs: Costs {
                step: thousand("step_instructions"),
                task: thousand("task_instructions"),
                operation: thousand("operation_instructions"),
                per_second: INSTRUCTIONS_PER_SECOND,
                message_max: match slicing {
                    true => million("message_instructions"),
                    false => UNSLICED_MESSAGE_MAX,
                },
                outcall_bytes_max: OUTCALL_BYTES_MAX,
            },
            limits: Limits {
                threads: count("threads") as usize,
                round: million("round_instructions"),
                slice: million("slice_instructions"),
                message_overhead: thousand("message_overhead"),
                canister_overhead: thousand("canister_overhead"),
                slicing,
                transitive: settings.flag("subnet_messages"),
                ..Limits::default()
            },
            consensus: parameters(settings, replicas, quorum_is_safe, finalization_check),
        }
    }

    /// The parameters of a subnet whose random beacon starts with `seed`, on machines that take
    /// `round_overhead` from one round to the next.
    pub(crate) fn consensus(&self, seed: u64, round_overhead: Duration) -> Parameters {
        Parameters { seed, round_overhead, ..self.consensus }
    }

    /// How many replicas of a subnet may be Byzantine besides those that are for the whole run.
    pub(crate) fn tolerates(&self) -> u32 {
        u32::from(tolerated(self.replicas).saturating_sub(self.byzantine))
    }

    /// What the replica with this number does for the whole run: the last ones are Byzantine.
    pub(crate) fn behaviour(&self, replica: u16) -> Behaviour {
        match replica + self.byzantine >= self.replicas {
            true => self.behaviour,
            false => Behaviour::Honest,
        }
    }
}

fn parameters(
    settings: &Settings,
    replicas: u16,
    quorum_is_safe: bool,
    finalization_check: bool,
) -> Parameters {
    let f = tolerated(replicas);
    Parameters {
        replicas,
        quorum: if quorum_is_safe { replicas - f } else { f + 1 },
        certification_quorum: match (quorum_is_safe, settings.flag("certification")) {
            (true, true) => replicas - f,
            _ => f + 1,
        },
        beacon_quorum: f + 1,
        seed: 0,
        round_overhead: Duration::ZERO,
        unit_delay: settings.span("unit_delay"),
        initial_notary_delay: settings.span("initial_notary_delay"),
        backlog_delay: settings.span("backlog_delay"),
        package_interval: settings.count("dkg_interval") + 1,
        finalization_check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_an_application_subnet() {
        let config = Config::new(&Settings::defaults(SETTINGS));
        let consensus = config.consensus(1, Duration::ZERO);
        assert_eq!((consensus.replicas, consensus.quorum, consensus.beacon_quorum), (13, 9, 5));
        assert_eq!(consensus.package_interval, 500);
        assert_eq!(config.limits.round, 7_000_000_000);
        assert_eq!(config.costs.message_max, 40_000_000_000);
        assert!((0..13).all(|replica| config.behaviour(replica) == Behaviour::Honest));
        assert!(!config.forks);
    }

    #[test]
    fn the_last_replicas_are_byzantine() {
        let mut settings = Settings::defaults(SETTINGS);
        settings.set("byzantine", "4").expect("in range");
        settings.set("byzantine_behaviour", "late").expect("a behaviour");
        let config = Config::new(&settings);
        assert_eq!(config.behaviour(8), Behaviour::Honest);
        assert_eq!(config.behaviour(9), Behaviour::Late);
    }
}
