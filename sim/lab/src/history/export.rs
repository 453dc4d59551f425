//! Histories for checkers outside: what clients and callers of entities saw, in the form of Jepsen
//! (EDN, one operation map a line) and as JSON lines with one operation each, as Porcupine takes them.
//!
//! An operation is a request of a client about an instance, or a call or signal of an orchestration or
//! entity to an entity. A call that no committed step heard the answer of is open, and so is a signal.
//! Attempts that were given up are left out: what they asked is asked again by the attempt that is
//! committed.
//!
//! **Jepsen.** `{:index 0, :time 2000000000, :process 0, :type :invoke, :f :Add, :value 1, :key "@Account@a",
//! :client "000001-9f86d081"}`; `:type` is then `:ok`, `:fail` (it did not take effect) or `:info` (it may have, or
//! may yet). Values are those of the application, as EDN. A process has one operation at a time, as
//! Jepsen demands: each operation takes the free process with the lowest number, and one that is open
//! keeps it for ever. `:key` is the object, `:client` who asked.
//!
//! **Porcupine.** `{"client_id":0,"key":"@Account@a","op":"Add","input":1,"call":2000000000,"output":null,
//! "return":2000000123,"outcome":"ok","client":"000001-9f86d081"}`: `client_id` is the process; `return` is
//! `null` where the operation is open. Source: jepsen-io/jepsen (`history`), anishathalye/porcupine
//! (`Operation`).
//!
//! Units: virtual nanoseconds since the start of the run.

use super::{ClientOperation, ClientRequest, Told};
use rustc_hash::FxHashMap;
use sim_model::engine::ClientMessage;
use sim_model::graph::checks::in_commit_order;
use sim_model::graph::entities::Asked;
use sim_model::graph::{Graph, Progress, WorkItemKind};
use sim_model::history::EventId;
use sim_model::time::Timestamp;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// With this value.
    Ok(serde_json::Value),
    /// It did not take effect, for this reason.
    Fail(String),
    /// It may have taken effect.
    Unknown(String),
}

/// One operation, as whoever asked for it saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The object: an instance.
    pub key: String,
    /// What was asked: `start`, `wait`, `status`, ..., or the name of an entity's operation.
    pub function: String,
    /// With what.
    pub input: serde_json::Value,
    /// Who asked: a host's client, or an instance.
    pub client: String,
    /// When it was asked.
    pub invoked: Timestamp,
    /// When it ended, and how; nothing if it is open.
    pub end: Option<(Timestamp, End)>,
}

/// A form of histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Jepsen's.
    Edn,
    /// One JSON object for each operation.
    Jsonl,
}

impl Form {
    /// The form's name, which is also the extension of its files.
    pub const fn name(self) -> &'static str {
        match self {
            Form::Edn => "edn",
            Form::Jsonl => "jsonl",
        }
    }
}

/// Where a history goes, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The form.
    pub form: Form,
    /// The file; none if only a form was given.
    pub path: Option<PathBuf>,
}

/// A text that names no form of histories.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}, expected edn, jsonl, or a file that ends in .edn or .jsonl")]
pub struct UnknownForm(pub String);

impl FromStr for Destination {
    type Err = UnknownForm;

    fn from_str(text: &str) -> Result<Destination, UnknownForm> {
        let of = |name: &str| [Form::Edn, Form::Jsonl].into_iter().find(|form| form.name() == name);
        if let Some(form) = of(text) {
            return Ok(Destination { form, path: None });
        }
        let extension = Path::new(text).extension().and_then(|extension| extension.to_str());
        match extension.and_then(of) {
            Some(form) => Ok(Destination { form, path: Some(PathBuf::from(text)) }),
            None => Err(UnknownForm(text.to_owned())),
        }
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.to_owned()))
}

/// Everything that was seen, in the order of requests.
pub(crate) fn seen(graph: &Graph, clients: &[ClientOperation]) -> Vec<Seen> {
    let mut all: Vec<Seen> = clients.iter().map(of_client).collect();
    all.extend(of_steps(graph));
    all.sort_by_key(|seen| seen.invoked);
    all
}

fn of_client(operation: &ClientOperation) -> Seen {
    let ClientOperation { host, instance, request, invoked, answer } = operation;
    let nothing = serde_json::Value::Null;
    let (function, input) = match request {
        ClientRequest::Start { name, input } => {
            ("start".to_owned(), serde_json::json!([&**name, json(input.as_str())]))
        }
        ClientRequest::Status => ("status".to_owned(), nothing),
        ClientRequest::Wait => ("wait".to_owned(), nothing),
        ClientRequest::Purge => ("purge".to_owned(), nothing),
        ClientRequest::Send(message) => of_message(message),
    };
    let is_signal = matches!(request, ClientRequest::Send(ClientMessage::Signal { .. }));
    let end = answer.as_ref().and_then(|(at, told)| {
        let end = match told {
            // An accepted signal runs some time later: what was answered is not its end.
            Told::Accepted if is_signal => return None,
            Told::Accepted => End::Ok(serde_json::Value::Null),
            Told::State(state) => End::Ok(match state {
                None => serde_json::Value::Null,
                Some(state) => match &state.entity_state {
                    Some(state) => json(state.as_str()),
                    None => of_status(&state.status),
                },
            }),
            Told::Removed(removed) => End::Ok(serde_json::Value::Bool(*removed)),
            Told::Refused(problem) => End::Fail(problem.clone()),
            Told::Unknown(problem) => End::Unknown(problem.clone()),
        };
        Some((*at, end))
    });
    let (key, client) = (instance.to_string(), format!("host {host}"));
    Seen { key, function, input, client, invoked: *invoked, end }
}

fn of_status(status: &sim_model::orchestration::RuntimeStatus) -> serde_json::Value {
    use sim_model::orchestration::RuntimeStatus;
    match status {
        RuntimeStatus::Completed(result) => serde_json::json!(["completed", json(result.as_str())]),
        RuntimeStatus::Failed(error) => serde_json::json!(["failed", error.to_string()]),
        RuntimeStatus::Terminated(reason) => serde_json::json!(["terminated", &**reason]),
        other => serde_json::json!([other.name()]),
    }
}

fn of_message(message: &ClientMessage) -> (String, serde_json::Value) {
    let text = |text: &str| serde_json::Value::String(text.to_owned());
    match message {
        ClientMessage::Signal { operation, input, .. } => {
            (operation.to_string(), json(input.as_str()))
        }
        ClientMessage::RaiseEvent { name, input } => {
            ("raise".to_owned(), serde_json::json!([&**name, json(input.as_str())]))
        }
        ClientMessage::Terminate { reason } => ("terminate".to_owned(), text(reason)),
        ClientMessage::Suspend { reason } => ("suspend".to_owned(), text(reason)),
        ClientMessage::Resume { reason } => ("resume".to_owned(), text(reason)),
    }
}

/// Calls and signals of committed steps to entities.
fn of_steps(graph: &Graph) -> Vec<Seen> {
    let log = graph.entities();
    let mut heard: FxHashMap<(u32, EventId), (Timestamp, End)> = FxHashMap::default();
    let answers: FxHashMap<_, _> =
        log.answers().iter().map(|answer| (answer.message, answer)).collect();
    for id in in_commit_order(graph) {
        let item = graph.item(id);
        for answer in graph.consumed(item).iter().filter_map(|message| answers.get(message)) {
            let end = match &answer.result {
                Ok(value) => End::Ok(json(value.as_str())),
                // The operation ran, and said so: for its caller that is an answer.
                Err(error) => End::Ok(serde_json::json!({ "error": error.to_string() })),
            };
            heard.entry((answer.to, answer.event_id)).or_insert((item.fetched_at, end));
        }
    }
    let mut all = Vec::new();
    for sent in log.requests() {
        let item = graph.item(sent.by);
        let (Asked::Operation(operation), Progress::Committed(_)) = (&sent.asked, item.progress)
        else {
            continue;
        };
        let WorkItemKind::Step { instance, .. } = item.kind else { continue };
        let end = operation.caller.as_ref().and_then(|caller| {
            heard.get(&(graph.index_of(&caller.instance)?, caller.event_id)).cloned()
        });
        all.push(Seen {
            key: graph.instance(sent.entity).to_string(),
            function: operation.name.to_string(),
            input: json(operation.input.as_str()),
            client: graph.instance(instance).to_string(),
            invoked: item.fetched_at,
            end,
        });
    }
    all
}

/// The process of each operation: the free one with the lowest number.
fn processes(history: &[Seen]) -> Vec<usize> {
    let mut busy: BinaryHeap<Reverse<(Timestamp, usize)>> = BinaryHeap::new();
    let mut free: BinaryHeap<Reverse<usize>> = BinaryHeap::new();
    let mut count = 0;
    let mut processes = Vec::with_capacity(history.len());
    for seen in history {
        while let Some(Reverse((until, process))) = busy.peek().copied() {
            // At one instant requests come first, so the process is free after it.
            if until >= seen.invoked {
                break;
            }
            busy.pop();
            free.push(Reverse(process));
        }
        let process = free.pop().map_or_else(
            || {
                count += 1;
                count - 1
            },
            |Reverse(process)| process,
        );
        if let Some((until, End::Ok(_) | End::Fail(_))) = &seen.end {
            busy.push(Reverse((*until, process)));
        }
        processes.push(process);
    }
    processes
}

/// A history as text; equal histories give equal bytes.
pub fn write(history: &[Seen], form: Form) -> String {
    match form {
        Form::Edn => edn_lines(history),
        Form::Jsonl => json_lines(history),
    }
}

fn json_lines(history: &[Seen]) -> String {
    let mut text = String::new();
    for (seen, process) in history.iter().zip(processes(history)) {
        let (end, outcome, output) = match &seen.end {
            None => (None, "unknown", serde_json::Value::Null),
            Some((at, End::Ok(value))) => (Some(at.as_nanos()), "ok", value.clone()),
            Some((at, End::Fail(problem))) => (Some(at.as_nanos()), "fail", problem.clone().into()),
            Some((_, End::Unknown(problem))) => (None, "unknown", problem.clone().into()),
        };
        let line = serde_json::json!({
            "client_id": process,
            "key": seen.key,
            "op": seen.function,
            "input": seen.input,
            "call": seen.invoked.as_nanos(),
            "output": output,
            "return": end,
            "outcome": outcome,
            "client": seen.client,
        });
        text += &line.to_string();
        text.push('\n');
    }
    text
}

fn edn_lines(history: &[Seen]) -> String {
    let processes = processes(history);
    // Requests before ends at one instant, as the processes were dealt.
    let mut events: Vec<(Timestamp, u8, usize)> = Vec::with_capacity(2 * history.len());
    for (index, seen) in history.iter().enumerate() {
        events.push((seen.invoked, 0, index));
        events.extend(seen.end.as_ref().map(|(at, _)| (*at, 1, index)));
    }
    events.sort_unstable();
    let mut text = String::new();
    for (number, (at, which, index)) in events.into_iter().enumerate() {
        let seen = &history[index];
        let (kind, value, error) = match (which, &seen.end) {
            (1, Some((_, End::Ok(value)))) => ("ok", value.clone(), None),
            (1, Some((_, End::Fail(problem)))) => ("fail", seen.input.clone(), Some(problem)),
            (1, Some((_, End::Unknown(problem)))) => ("info", seen.input.clone(), Some(problem)),
            _ => ("invoke", seen.input.clone(), None),
        };
        let error = error.map(|problem| format!(", :error {}", edn_text(problem)));
        let _ = writeln!(
            text,
            "{{:index {number}, :time {}, :process {}, :type :{kind}, :f {}, :value {}, :key {}, \
             :client {}{}}}",
            at.as_nanos(),
            processes[index],
            edn_keyword(&seen.function),
            edn(&value),
            edn_text(&seen.key),
            edn_text(&seen.client),
            error.unwrap_or_default(),
        );
    }
    text
}

/// A keyword; a name that cannot be one is a text.
fn edn_keyword(name: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.!?*+".contains(letter);
    let starts = name.chars().next().is_some_and(|letter| letter.is_ascii_alphabetic());
    if starts && name.chars().all(fits) { format!(":{name}") } else { edn_text(name) }
}

/// A text: the escapes of JSON are those of EDN.
fn edn_text(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

/// A value of JSON as EDN.
fn edn(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "nil".to_owned(),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => value.to_string(),
        serde_json::Value::String(text) => edn_text(text),
        serde_json::Value::Array(values) => {
            let values: Vec<String> = values.iter().map(edn).collect();
            format!("[{}]", values.join(" "))
        }
        serde_json::Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{} {}", edn_text(key), edn(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
