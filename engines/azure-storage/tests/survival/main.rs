//! What the engine survives: crashes, pauses, lost networks, hosts that come and go.

mod application;
mod elasticity;
mod faults;
mod messages;
mod scenario;
#[path = "../stage/mod.rs"]
mod stage;
