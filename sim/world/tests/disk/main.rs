//! Disks: durability, crashes, faults and timing.

mod basics;
mod support;
