//! What the engine survives: crashes, pauses, lost networks, hosts that come and go.

mod stage;
mod survival {
    mod application;
    mod elasticity;
    mod faults;
    mod messages;
    mod network;
    mod scenario;
}
