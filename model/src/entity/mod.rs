//! Entities: small named states that run operations one after the other.
//!
//! **What it models.** The entities of Durable Functions (Azure/durabletask main@5217032,
//! `DurableTask.Core/TaskEntityDispatcher.cs`, `Entities/SchedulerState.cs`). An entity is an
//! eternal orchestration with the key `@name@key`. Its whole state (the user's state, the queue of
//! waiting requests, who has locked it, what it has received in order) is the *input* of its
//! `ExecutionStarted` event, and every step ends as continue-as-new: the length of its history is
//! constant. An entity comes into being with the first message to it.
//!
//! **One step.** Requests are brought into the order they were sent ([`MessageSorter`]); those of
//! the lock owner go to the front of the queue; then operations run one by one, as long as the
//! entity is not locked or the first is of the lock's owner, up to the batch limit of the engine. A
//! call is answered, a signal is not. Beyond the limit the entity suspends itself and sends itself a
//! message to continue.
//!
//! **Locks.** A critical section sends one lock request to the first of its entities, in the order of
//! their identities. Each entity that is free takes the lock and forwards the request to the next;
//! the last one answers the orchestration. So `k` locks cost `k + 1` messages one after the other,
//! and the common order excludes deadlock. A release is one message to each entity, not answered.
//!
//! **Beyond the published code.** An orchestration that ends or gives up while its lock request is
//! still on its way releases all its entities too. A release that meets a request which still
//! waits, or comes before it, cancels it: the request goes on to the next entity marked as
//! cancelled, and each entity forgets about it once it has seen both request and release.
//!
//! **Assumptions.** An operation that fails keeps what it changed before the error, as in the
//! in-process SDK. A state that has no JSON form is not stored: all calls of its batch fail, and the
//! state is what it was before the batch. Operations are synchronous: they have nothing to await but their host, and what
//! they ask of the host (core time, waiting, blobs) is taken when the step has run.

mod code;
mod context;
mod cursor;
mod request;
mod scheduler;
mod sequential;
mod sorter;

pub use code::EntityBuilder;
pub use context::EntityContext;
pub use request::{Caller, EntityRequest, LockRequest, Operation, RequestKind, SectionId};
pub use sequential::SequentialEntity;
pub use sorter::{MessageSorter, Stamp};

pub(crate) use code::EntityCode;
pub(crate) use cursor::EntityCursor;
