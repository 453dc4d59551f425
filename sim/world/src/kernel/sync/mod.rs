//! How tasks wait for each other and for devices: completion, channel, notify, semaphore.
//!
//! All waiting lines are first come, first served, and hand over directly: a value or permit
//! goes to the task at the head of the line, not to whichever task runs first. A task dropped
//! while it waits leaves the line; one dropped after it was served, but before it ran, gives
//! back what it was served: a channel's value returns to its place, a permit to the next.

mod channel;
mod completion;
mod line;
mod notify;
mod semaphore;

pub(super) use channel::channel;
pub use channel::{Receiver, Recv, Sender};
pub(super) use completion::completion;
pub use completion::{Completion, Resolver};
pub use notify::{Notified, Notify};
pub use semaphore::{Acquire, Permit, Semaphore};
