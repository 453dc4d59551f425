//! The stored procedures: what the database does in one transaction each.
//!
//! Arguments and answers are bytes. Which statements a procedure has, and which rows they lock, is
//! that of the published scripts; see the module of each. Source: microsoft/durabletask-mssql
//! main@e7d35db, `src/DurableTask.SqlServer/Scripts/logic.sql`.

mod checkpoint;
mod client;
mod orchestrations;
mod tables;
mod tasks;

pub(crate) use checkpoint::{Checkpoint, NewHistory, NewMessage, Part};
pub(crate) use client::{Page, PurgeInstance, QueryMany, SendMessage};
pub(crate) use orchestrations::{Discard, LockNext, LockedOrchestration, RenewOrchestration};
pub(crate) use tasks::{CompleteTask, LockedTask, RenewTask};

use crate::record::Record;
use crate::rows::TABLES;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sim_model::codec::{decode, encode};
use sim_world::sql::{Schema, SqlError, TableSpec, Transaction};
use std::future::Future;
use std::rc::Rc;

/// The procedures, in the order of [`DurableSchema::PROCEDURES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Procedure {
    CreateInstance,
    LockNextOrchestration,
    CheckpointOrchestration,
    DiscardEventsAndUnlockInstance,
    RenewOrchestrationLocks,
    LockNextTask,
    CompleteTasks,
    RenewTaskLocks,
    RaiseEvent,
    TerminateInstance,
    QuerySingleOrchestration,
    QueryManyOrchestrations,
    PurgeInstanceStateByID,
}

/// The instance does not exist, or is not what the caller has read.
pub(crate) const NO_INSTANCE: u32 = 50000;
/// An instance of this key exists and has not ended.
pub(crate) const INSTANCE_EXISTS: u32 = 50001;
/// The row of a completed task is gone.
pub(crate) const NO_TASK: u32 = 50002;
/// The instance cannot be removed now.
pub(crate) const INSTANCE_BUSY: u32 = 50003;

/// An error of a procedure.
fn thrown(number: u32, message: &'static str) -> SqlError {
    SqlError::Thrown { number, message }
}

/// Which mechanisms the procedures use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Fetching skips rows that others hold.
    pub readpast: bool,
    /// Fetching looks at a row again under its lock.
    pub row_locks: bool,
    /// History is inserted, and not overwritten.
    pub history_key: bool,
    /// A commit must find the execution that was fetched.
    pub execution_check: bool,
    /// A completion must delete its task.
    pub task_check: bool,
}

/// Tables and procedures.
pub(crate) struct DurableSchema {
    pub rules: Rules,
    pub record: Rc<Record>,
}

type Answer = LocalBoxFuture<'static, Result<Bytes, SqlError>>;

/// Runs a procedure: from bytes to bytes.
fn run<A, R, F>(arguments: &Bytes, body: impl FnOnce(A) -> F) -> Answer
where
    A: DeserializeOwned,
    R: Serialize,
    F: Future<Output = Result<R, SqlError>> + 'static,
{
    let arguments = decode(arguments).expect("invariant: callers encode what procedures take");
    let running = body(arguments);
    Box::pin(async move { running.await.map(|answer| encode(&answer)) })
}

impl Schema for DurableSchema {
    const TABLES: &'static [TableSpec] = TABLES;
    const PROCEDURES: &'static [&'static str] = &[
        "CreateInstance",
        "_LockNextOrchestration",
        "_CheckpointOrchestration",
        "_DiscardEventsAndUnlockInstance",
        "_RenewOrchestrationLocks",
        "_LockNextTask",
        "_CompleteTasks",
        "_RenewTaskLocks",
        "RaiseEvent",
        "TerminateInstance",
        "QuerySingleOrchestration",
        "_QueryManyOrchestrations",
        "PurgeInstanceStateByID",
    ];

    fn run(&self, procedure: usize, tx: Transaction, arguments: Bytes) -> Answer {
        use Procedure as P;
        let (rules, record) = (self.rules, self.record.clone());
        let is = |other: P| procedure == other as usize;
        let arguments = &arguments;
        if is(P::CreateInstance) {
            run(arguments, |args| client::create(tx, args, record))
        } else if is(P::LockNextOrchestration) {
            run(arguments, move |args| orchestrations::lock_next(tx, args, rules, record))
        } else if is(P::CheckpointOrchestration) {
            run(arguments, move |args| checkpoint::checkpoint(tx, args, rules, record))
        } else if is(P::DiscardEventsAndUnlockInstance) {
            run(arguments, |args| orchestrations::discard(tx, args, record))
        } else if is(P::RenewOrchestrationLocks) {
            run(arguments, |args| orchestrations::renew(tx, args))
        } else if is(P::LockNextTask) {
            run(arguments, move |args| tasks::lock_next(tx, args, rules))
        } else if is(P::CompleteTasks) {
            run(arguments, move |args| tasks::complete(tx, args, rules, record))
        } else if is(P::RenewTaskLocks) {
            run(arguments, |args| tasks::renew(tx, args))
        } else if is(P::RaiseEvent) || is(P::TerminateInstance) {
            run(arguments, |args| client::send(tx, args))
        } else if is(P::QuerySingleOrchestration) {
            run(arguments, |args| client::query_single(tx, args))
        } else if is(P::QueryManyOrchestrations) {
            run(arguments, |args| client::query_many(tx, args))
        } else if is(P::PurgeInstanceStateByID) {
            run(arguments, |args| client::purge(tx, args, record))
        } else {
            unreachable!("the database knows its procedures")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn procedures_have_their_names() {
        let name = |procedure: Procedure| DurableSchema::PROCEDURES[procedure as usize];
        assert_eq!(name(Procedure::CreateInstance), "CreateInstance");
        assert_eq!(name(Procedure::CompleteTasks), "_CompleteTasks");
        assert_eq!(name(Procedure::PurgeInstanceStateByID), "PurgeInstanceStateByID");
        assert_eq!(DurableSchema::PROCEDURES.len(), Procedure::PurgeInstanceStateByID as usize + 1);
    }
}
