//! Rounds without a world: limits, transitive execution, and execution again from bytes.

use super::{Checkpoint, Execution, Program, SubnetState};
use crate::block::{
    Block, BlockHash, CanisterId, Ingress, IngressId, Method, Payload, ReplicaId, Sealed, SubnetId,
    decode, encode,
};
use crate::canister::{Costs, Cursors, Trace};
use crate::consensus::genesis;
use crate::placement::Placement;
use crate::scheduler::Limits;
use crate::state::Round;
use sim_model::application::{ActivityContext, Application};
use sim_model::engine::ClientMessage;
use sim_model::entity::EntityContext;
use sim_model::graph::{GraphRecorder, checks};
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::InstanceId;
use sim_model::ledger::Ledger;
use sim_model::message::InstanceMessage;
use sim_model::orchestration::OrchestrationContext;
use sim_model::payload::Payload as Value;
use sim_model::time::Timestamp;
use std::rc::Rc;

const PLACEMENT: Placement = Placement { subnets: 1, instance_canisters: 2, task_canisters: 2 };
const FREE: Costs = Costs {
    step: 0,
    task: 0,
    operation: 0,
    per_second: 2_000_000_000,
    message_max: 40_000_000_000,
    outcall_bytes_max: 2_000_000,
};

fn program(limits: Limits) -> Program {
    let mut application = Application::new();
    application.entity::<u64>("Counter").operation(
        "Add",
        |_: &mut EntityContext, count: &mut u64, amount: u64| {
            *count += amount;
            Ok(*count)
        },
    );
    application.activity("Double", |_: ActivityContext, n: u64| async move { Ok(2 * n) });
    application.orchestration("Chain", |ctx: OrchestrationContext, length: u64| async move {
        let mut value = 1;
        for _ in 0..length {
            value = ctx.call_activity::<u64>("Double", &value).await?;
        }
        Ok(value)
    });
    Program {
        application: Rc::new(application),
        graph: GraphRecorder::default(),
        costs: FREE,
        limits,
        placement: PLACEMENT,
        ingress_dedup: true,
        queue_reservation: true,
        checkpoint_interval: 500,
        forks: false,
    }
}

/// A call that brings a message to an instance.
fn call(program: &Program, id: u64, target: &str, kind: EventKind) -> Rc<Ingress> {
    let target = InstanceId::new(target);
    let canister = PLACEMENT.canister_of(&target);
    let event = HistoryEvent { timestamp: Timestamp::ZERO, kind };
    let ledger = Ledger::new(Timestamp::ZERO);
    let message = InstanceMessage { id: program.graph.client_message(), target, event, ledger };
    Ingress::new(IngressId(id), canister, Timestamp::from_secs(300), Method::Send(message))
}

fn add() -> EventKind {
    let input = Value::encode(&1u64).expect("a number");
    ClientMessage::Signal { operation: "Add".into(), input, at: None }.into_event()
}

fn chain(length: u64) -> EventKind {
    let input = Value::encode(&length).expect("a number");
    EventKind::execution_started("Chain".into(), input)
}

fn block(parent: &Sealed, ingress: Vec<Rc<Ingress>>) -> Rc<Sealed> {
    let height = parent.block.height + 1;
    let payload = Payload { ingress, ..Payload::default() };
    Sealed::of(Block {
        height,
        parent: parent.hash,
        maker: ReplicaId(0),
        rank: 0,
        time: Timestamp::from_secs(height),
        payload,
    })
}

/// A subnet that executes one block after the other.
struct Subnet {
    program: Program,
    state: SubnetState,
    cursors: Cursors,
    last: Rc<Sealed>,
}

impl Subnet {
    fn new(limits: Limits) -> Subnet {
        let state = SubnetState::new(&PLACEMENT, SubnetId(0));
        let program = program(limits);
        Subnet { program, state, cursors: Cursors::default(), last: genesis() }
    }

    fn execute(&mut self, ingress: Vec<Rc<Ingress>>) -> Round {
        self.last = block(&self.last, ingress);
        let (block, hash) = (&self.last.block, self.last.hash);
        let mut trace = Trace::default();
        let now = block.time;
        let Subnet { program, cursors, .. } = self;
        self.state.execute(block, hash, program, cursors, &mut trace, now)
    }
}

#[test]
fn one_canister_executes_3496_trivial_messages_in_a_round() {
    let mut subnet = Subnet::new(Limits::default());
    let calls = (0..4_000).map(|id| call(&subnet.program, id, "@Counter@a!0", add())).collect();
    let first = subnet.execute(calls);
    assert_eq!(first.messages, 3_496, "(7 billion - 8 million) / 2 million");
    assert!(first.critical <= 7_000_000_000 + 12_000);
    let second = subnet.execute(Vec::new());
    assert_eq!(second.messages, 504, "the rest waited in the queue");
    assert_eq!(first.replies.len() + second.replies.len(), 4_000);
}

#[test]
fn a_chain_ends_in_one_round_or_takes_a_round_for_each_hop() {
    let mut subnet = Subnet::new(Limits::default());
    let start = call(&subnet.program, 1, "chain", chain(5));
    let round = subnet.execute(vec![start]);
    assert_eq!(round.ended.len(), 1);
    assert_eq!(round.messages, 11, "six steps and five tasks");

    let mut subnet = Subnet::new(Limits { transitive: false, ..Limits::default() });
    let start = call(&subnet.program, 1, "chain", chain(5));
    let mut rounds = 1;
    let mut round = subnet.execute(vec![start]);
    while round.ended.is_empty() {
        round = subnet.execute(Vec::new());
        rounds += 1;
    }
    assert_eq!(rounds, 11);
}

#[test]
fn the_state_survives_as_bytes() {
    let mut subnet = Subnet::new(Limits { transitive: false, ..Limits::default() });
    let calls = vec![
        call(&subnet.program, 1, "chain", chain(3)),
        call(&subnet.program, 2, "@Counter@a", add()),
    ];
    subnet.execute(calls);
    subnet.execute(Vec::new());
    let again: SubnetState = decode(&encode(&subnet.state));
    assert_eq!(again, subnet.state);
}

#[test]
fn execution_again_from_a_checkpoint_comes_to_the_same_digests() {
    let program = program(Limits { transitive: false, ..Limits::default() });
    let graph = program.graph.clone();
    let calls: Vec<_> = (0..6)
        .map(|id| call(&program, id, &format!("chain {id}"), chain(3)))
        .chain((6..12).map(|id| call(&program, id, "@Counter@a", add())))
        .collect();
    let state = SubnetState::new(&PLACEMENT, SubnetId(0));
    let bytes: Rc<[u8]> = encode(&state).into();
    let hash: BlockHash = genesis().hash;
    let checkpoint = Checkpoint { height: 0, hash, bytes, dirty_pages: 0 };
    let mut blocks = vec![genesis()];
    for step in 0..10 {
        let ingress = if step == 0 { calls.clone() } else { Vec::new() };
        blocks.push(block(&blocks[step], ingress));
    }
    let mut execution = Execution::new(program);
    let mut run = || {
        execution.hold(&checkpoint);
        let rounds = blocks[1..].iter().map(|block| {
            execution.execute(block, block.block.time).expect("it holds the state").digest
        });
        let digests: Vec<u64> = rounds.collect();
        execution.release();
        digests
    };
    let first = run();
    let items = graph.graph().items().len();
    // `execute` itself compares each digest with the record.
    assert_eq!(run(), first);
    assert_eq!(graph.graph().items().len(), items, "nothing is recorded twice");
    assert_eq!(checks::exactly_once(&graph.graph(), checks::is_step), None);
    assert_eq!(PLACEMENT.canister_of(&InstanceId::new("x!1")), CanisterId(1));
}
