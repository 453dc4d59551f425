//! The serverless message-passing model and Durable Functions on top of it.
//!
//! **What it models.** A stateful serverless application consists of *stateless tasks*
//! (activities: one message in, one message out) and *stateful instances* (orchestrations and
//! entities: a key, a queue of inbound messages, a state). The unit of execution is the *work item*:
//! it is fetched, executed (pure, repeatable) and committed. A task turns one message into
//! one message; a step turns `(state, m1..mn)` into `(state', m1'..mk')`. Source: Burckhardt
//! et al., "Netherite: Efficient Execution of Serverless Workflows", VLDB 2022, section 3.
//!
//! **What it does not know.** There is no clock, no random source, no I/O and no simulator
//! here: time and identifiers come in as arguments. Everything above (engines, world, lab)
//! imports this crate; it imports none of them.
//!
//! | room | holds |
//! |---|---|
//! | [`time`], [`id`], [`payload`], [`codec`] | the vocabulary: instants, names, values, bytes |
//! | [`history`], [`message`] | what an instance remembers and what instances send each other |
//! | [`application`], [`error`] | user code, registered by name; its errors |
//! | [`orchestration`] | orchestrations as `async fn`s, replayed from history |
//! | [`entity`] | entities: batches of operations, locks, order of arrival |
//! | [`workflow`] | workflows as data: graphs of tasks, state machines, joins of events |
//! | [`step`], [`cursor`] | one step of an instance, whichever kind it is |
//! | [`engine`], [`settings`] | the contract an engine fulfils, and what can be set on it |
//! | [`graph`] | the record of work items and the checks on it |
//! | [`ledger`] | the exact split of an orchestration's latency along its critical path |
//!
//! Units: instants and durations are virtual nanoseconds; sizes are bytes.
#![forbid(unsafe_code)]

pub mod application;
pub mod codec;
pub mod cursor;
pub mod engine;
pub mod entity;
pub mod error;
pub mod graph;
pub mod history;
pub mod id;
pub mod ledger;
pub mod message;
pub mod orchestration;
pub mod payload;
pub mod settings;
pub mod step;
pub mod time;
pub mod workflow;
