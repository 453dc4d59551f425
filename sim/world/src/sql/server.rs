//! The database as a server: its machine, its procedures, and who calls them.
//!
//! A request names a procedure and carries its arguments as bytes; a worker of the server, of which
//! there are so many for each core, runs the procedure in one transaction and answers. Requests
//! beyond that wait in line. A request that could not begin or commit before its client gave up is
//! cancelled (the client's attention signal).
//!
//! **Verdicts.** Whoever calls can have itself told what became of the transaction: that it was
//! committed (once that is durable, or in recovery if the server crashed in between), or that it never
//! will be. This is for measurement; it takes no time, and a real client cannot know it.

use super::core::TableSpec;
use super::error::SqlError;
use super::process::{Process, Reports, Setup};
use super::transaction::{Fate, Transaction, Verdict};
use crate::host::Host;
use crate::kernel::Semaphore;
use crate::machine::Machine;
use crate::profile::DatabaseProfile;
use crate::selfhosted::{
    CallError, Client, Command, Endpoint, EndpointOptions, Incoming, Listener,
};
use crate::service::Reply;
use crate::world::{World, WorldError};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use sim_model::ledger::{Category, Timing};
use sim_model::time::Timestamp;
use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;

/// The name by which the meter knows databases.
pub const SERVICE: &str = "sql";

/// The tables of a database and its stored procedures.
pub trait Schema: 'static {
    /// The tables, in the order of their numbers.
    const TABLES: &'static [TableSpec];
    /// The names of the procedures, in the order of their numbers.
    const PROCEDURES: &'static [&'static str];

    /// Runs a procedure in a transaction. It is committed if the procedure returns an answer, and
    /// rolled back if it returns an error.
    fn run(
        &self,
        procedure: usize,
        transaction: Transaction,
        arguments: Bytes,
    ) -> LocalBoxFuture<'static, Result<Bytes, SqlError>>;
}

/// How a database is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseOptions {
    /// Cores of its machine; as the machine's class says if absent.
    pub cores: Option<u32>,
    /// Whether a commit does not wait for the log: a crash can take back what was committed.
    pub delayed_durability: bool,
}

/// A verdict of a request that has not begun: dropped, the request is lost.
struct Pending(Cell<Option<Verdict>>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(verdict) = self.0.take() {
            verdict(Fate::Lost);
        }
    }
}

/// A request on its way.
struct Request<S> {
    procedure: usize,
    arguments: Bytes,
    deadline: Timestamp,
    verdict: Pending,
    schema: PhantomData<S>,
}

impl<S: Schema> Command for Request<S> {
    type Answer = Result<Bytes, SqlError>;

    const KINDS: &'static [&'static str] = S::PROCEDURES;

    fn kind(&self) -> usize {
        self.procedure
    }

    fn bytes(&self) -> u64 {
        self.arguments.len() as u64
    }

    fn answer_bytes(answer: &Self::Answer) -> u64 {
        answer.as_ref().map_or(0, |bytes| bytes.len() as u64)
    }

    fn digest(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64_with_seed(&self.arguments, self.procedure as u64)
    }
}

struct Inner<S: Schema> {
    machine: Machine,
    endpoint: Endpoint<Request<S>>,
    profile: Rc<DatabaseProfile>,
}

/// A database on a machine of its own; clones are the same.
pub struct Database<S: Schema>(Rc<Inner<S>>);

impl<S: Schema> Clone for Database<S> {
    fn clone(&self) -> Self {
        Database(self.0.clone())
    }
}

impl<S: Schema> Database<S> {
    /// Rents the machine `name` of class `class`, and starts a database on it.
    ///
    /// # Errors
    /// A profile without such machines, or without the section `[database]`; no or too many cores.
    ///
    /// # Panics
    /// If the name is taken, or the class of machines has no disk.
    pub fn open(
        world: &World,
        name: &str,
        class: &str,
        schema: Rc<S>,
        options: DatabaseOptions,
    ) -> Result<Database<S>, WorldError> {
        let described = world.profile().database.clone();
        let profile = Rc::new(described.ok_or_else(|| world.lacks("database", SERVICE))?);
        let machine = world.rent(name, class, options.cores)?;
        let reached = EndpointOptions {
            service: SERVICE,
            client_cpu: profile.client_call,
            timeout: Some(profile.command_timeout),
        };
        let endpoint = world.endpoint(&machine, reached)?;
        let kind = |kind| world.meter().kind(SERVICE, kind);
        let setup = Setup {
            kernel: world.kernel().clone(),
            host: machine.host().clone(),
            disk: machine.disk().expect("the machine of a database has a disk").clone(),
            profile: profile.clone(),
            schema: S::TABLES,
            delayed_durability: options.delayed_durability,
            reports: Reports {
                meter: world.meter().clone(),
                log_flush: kind("log_flush"),
                lock_wait: kind("lock_wait"),
                deadlock: kind("deadlock"),
                checkpoint: kind("checkpoint"),
                in_doubt: Rc::default(),
            },
        };
        let workers = machine.host().cores() * profile.workers_per_core;
        let database = Database(Rc::new(Inner { machine, endpoint, profile }));
        // Weak: the endpoint holds the machine, which holds how it is started.
        let weak = Rc::downgrade(&database.0);
        database.0.machine.run(move || {
            if let Some(inner) = weak.upgrade() {
                let server = inner.endpoint.clone();
                let serving = serve(setup.clone(), server, schema.clone(), workers);
                inner.machine.host().spawn(serving);
            }
        });
        Ok(database)
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.0.machine
    }

    /// The connections of a process on a host to the database.
    pub fn client(&self, host: &Host) -> DatabaseClient<S> {
        DatabaseClient {
            connections: host.kernel().semaphore(self.0.profile.connections_max as usize),
            client: self.0.endpoint.client(host),
            database: self.clone(),
        }
    }
}

/// Recovers, and then works on requests, unless the database is damaged.
async fn serve<S: Schema>(
    setup: Setup,
    endpoint: Endpoint<Request<S>>,
    schema: Rc<S>,
    workers: u32,
) {
    let host = setup.host.clone();
    let Ok(process) = Process::start(setup).await else { return };
    let listener = endpoint.listen();
    for _ in 0..workers {
        host.spawn(work(process.clone(), listener.clone(), schema.clone()));
    }
}

async fn work<S: Schema>(process: Rc<Process>, listener: Listener<Request<S>>, schema: Rc<S>) {
    loop {
        let mut incoming = listener.next().await;
        incoming.charge(Category::Queueing);
        let (timing, answer) = execute(&process, &*schema, &incoming).await;
        incoming.note(Reply { value: (), timing });
        incoming.answer(answer);
    }
}

async fn execute<S: Schema>(
    process: &Rc<Process>,
    schema: &S,
    incoming: &Incoming<Request<S>>,
) -> (Timing, Result<Bytes, SqlError>) {
    let request = incoming.command();
    if process.now() >= request.deadline {
        return (Timing::default(), Err(SqlError::Cancelled));
    }
    let transaction = Transaction::begin(process, request.verdict.0.take(), request.deadline);
    let arguments = request.arguments.clone();
    let answer = match schema.run(request.procedure, transaction.clone(), arguments).await {
        Ok(answer) => transaction.commit().await.map(|()| answer),
        Err(error) => Err(error),
    };
    if answer.is_err() {
        transaction.roll_back().await;
    }
    (transaction.timing(), answer)
}

/// The connections of a process on a host to a database.
pub struct DatabaseClient<S: Schema> {
    database: Database<S>,
    client: Client<Request<S>>,
    connections: Semaphore,
}

impl<S: Schema> DatabaseClient<S> {
    /// Calls a procedure: one transaction. Nothing is repeated. `verdict`, if there is one, is told
    /// what became of it, even if it never begins.
    ///
    /// # Errors
    /// What the procedure or the database answers; [`SqlError::Unanswered`] if no answer came.
    pub async fn call(
        &self,
        procedure: usize,
        arguments: Bytes,
        verdict: Option<Verdict>,
    ) -> Result<Reply<Bytes>, SqlError> {
        let kernel = self.client.host().kernel();
        let begun = kernel.now();
        let _connection = self.connections.acquire().await;
        let queued = kernel.now().since(begun);
        let inner = &self.database.0;
        let request = Request {
            procedure,
            arguments,
            deadline: kernel.now() + inner.profile.command_timeout,
            verdict: Pending(Cell::new(verdict)),
            schema: PhantomData,
        };
        match self.client.call(request).await {
            Ok(Reply { value, mut timing }) => {
                timing.add(Category::Queueing, queued);
                Ok(Reply { value: value?, timing })
            }
            Err(CallError::Unreachable { .. }) => Err(SqlError::Unavailable),
            Err(CallError::Broken { .. } | CallError::TimedOut { .. }) => Err(SqlError::Unanswered),
        }
    }
}
