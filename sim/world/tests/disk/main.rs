//! Disks: durability, crashes, faults and timing.

mod basics;
mod faults;
mod power_loss;
mod support;
mod theory;
