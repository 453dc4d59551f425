//! Faults of the world: each trouble shows its effect and its end, and nobody else notices.

mod common;

mod fault {
    mod input;
    mod links;
    mod machines;
    mod readers;
    mod replicas;
    mod selfhosted;
    mod services;
}

use sim_world::fault::{LinkTrouble, Pattern, ServiceTrouble, Trouble};

fn named(text: &str) -> Pattern {
    text.parse().expect("a pattern")
}

/// Something that happens between two nodes, each way.
fn between(one: &str, other: &str, what: LinkTrouble) -> Trouble {
    Trouble::Link { from: named(one), to: named(other), both_ways: true, what }
}

/// Something that happens to what one node sends another.
fn one_way(from: &str, to: &str, what: LinkTrouble) -> Trouble {
    Trouble::Link { from: named(from), to: named(to), both_ways: false, what }
}

fn of_service(service: &str, what: ServiceTrouble) -> Trouble {
    Trouble::Service { service: named(service), what }
}
