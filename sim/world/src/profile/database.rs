//! A relational database on a rented machine: `[database]`.

use super::error::ProfileError;
use super::reader::Section;
use std::time::Duration;

/// What a relational database costs its machine, and how it is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseProfile {
    /// Core time of what procedures do.
    pub costs: DatabaseCosts,
    /// Core time of the client library for each call, on the calling host.
    pub client_call: Duration,
    /// How long a client waits for the answer to a call.
    pub command_timeout: Duration,
    /// Connections that a host has to the database at most.
    pub connections_max: u32,
    /// Requests that are worked on side by side, for each core.
    pub workers_per_core: u32,
    /// Writes of the log that can be under way at once.
    pub log_writes_max: u32,
    /// Bytes of log at which a commit that does not wait for the log has it written.
    pub log_block_bytes: u64,
    /// Bytes of a log record besides key and columns.
    pub log_record_overhead_bytes: u64,
    /// Bytes by which the file of the log is filled up when it is full.
    pub log_growth_bytes: u64,
    /// Time between two checkpoints.
    pub checkpoint_interval: Duration,
}

/// Core time on the database's machine, at full core speed.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseCosts {
    /// A call: network, session, looking up the plan, beginning and ending the transaction.
    pub call: Duration,
    /// A statement, besides its rows.
    pub statement: Duration,
    /// A row, or an entry of an index, that was looked at.
    pub row_read: Duration,
    /// A row that was inserted, changed or deleted, with its indexes and log record.
    pub row_write: Duration,
    /// A page that a checkpoint writes.
    pub page_write: Duration,
}

const KEYS: [&str; 14] = [
    "call",
    "statement",
    "row_read",
    "row_write",
    "page_write",
    "client_call",
    "command_timeout",
    "connections_max",
    "workers_per_core",
    "log_writes_max",
    "log_block",
    "log_record_overhead",
    "log_growth",
    "checkpoint_interval",
];

/// Reads the section, if the profile has it.
pub(super) fn database(root: &Section) -> Result<Option<DatabaseProfile>, ProfileError> {
    if !root.has("database") {
        return Ok(None);
    }
    let s = root.child("database", &KEYS)?;
    let profile = DatabaseProfile {
        costs: DatabaseCosts {
            call: s.time("call")?,
            statement: s.time("statement")?,
            row_read: s.time("row_read")?,
            row_write: s.time("row_write")?,
            page_write: s.time("page_write")?,
        },
        client_call: s.time("client_call")?,
        command_timeout: s.time("command_timeout")?,
        connections_max: s.count("connections_max")?,
        workers_per_core: s.count("workers_per_core")?,
        log_writes_max: s.count("log_writes_max")?,
        log_block_bytes: s.bytes("log_block")?,
        log_record_overhead_bytes: s.bytes("log_record_overhead")?,
        log_growth_bytes: s.bytes("log_growth")?,
        checkpoint_interval: s.time("checkpoint_interval")?,
    };
    let counts = [
        ("connections_max", profile.connections_max),
        ("workers_per_core", profile.workers_per_core),
        ("log_writes_max", profile.log_writes_max),
    ];
    if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(s.error(key, "value is 0, expected at least 1"));
    }
    let spans = [
        ("command_timeout", profile.command_timeout),
        ("checkpoint_interval", profile.checkpoint_interval),
    ];
    if let Some((key, _)) = spans.iter().find(|(_, span)| span.is_zero()) {
        return Err(s.error(key, "value is 0, expected more"));
    }
    Ok(Some(profile))
}
