//! Money: what a run costs by the profile's prices.
//!
//! Compute is paid for host hours, operations each, and throughput units by the hour, since the
//! three scale differently. Hours are counted exactly, not rounded up to the provider's billing
//! unit. Capacity and traffic are not counted.
//!
//! An operation is priced by its service and kind: an entity group transaction is one table
//! operation, a page of a query is one; blob writes and lists are dearer than reads; deletes are
//! free; events into a log are paid for each begun 64 KB.

use crate::meter::OperationCount;
use crate::profile::{Plan, Prices};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The name by which the meter knows the application's own blob storage.
pub const APPLICATION_BLOB: &str = "application-blob";

/// What a run costs, in US dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Hosts and machines.
    pub compute_usd: f64,
    /// Operations on storage and event services.
    pub operations_usd: f64,
    /// Throughput that is paid for whether it is used or not.
    pub reserved_usd: f64,
}

impl Cost {
    /// All of it.
    pub fn total_usd(&self) -> f64 {
        self.compute_usd + self.operations_usd + self.reserved_usd
    }
}

/// What was rented, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rented {
    /// Time of all hosts together.
    pub host_time: Duration,
    /// Time of all throughput units together; zero for an engine that uses no event log.
    pub throughput_unit_time: Duration,
    /// What machines besides the hosts have cost, in US dollars.
    pub machines_usd: f64,
}

/// The cost of a run: its operations by the meter's snapshot, and what was rented.
pub fn cost(prices: &Prices, plan: &Plan, operations: &[OperationCount], rented: &Rented) -> Cost {
    let hours = |time: Duration| time.as_secs_f64() / 3600.0;
    Cost {
        compute_usd: hours(rented.host_time) * plan.price_per_hour + rented.machines_usd,
        operations_usd: operations
            .iter()
            .map(|counted| {
                counted.count as f64 * operation_price(prices, &counted.service, &counted.kind)
            })
            .sum(),
        reserved_usd: hours(rented.throughput_unit_time) * prices.throughput_unit_per_hour,
    }
}

/// The price of one operation in US dollars; zero for what is not charged by the operation.
pub fn operation_price(prices: &Prices, service: &str, kind: &str) -> f64 {
    match (service, kind) {
        ("eventlog", "event_in") => prices.eventlog_event,
        (APPLICATION_BLOB, "get") => prices.block_blob_read,
        (APPLICATION_BLOB, "put") => prices.block_blob_write,
        _ if !crate::service::is_operation(service, kind) => 0.0,
        ("queue", _) => prices.queue_operation,
        ("table", _) => prices.table_operation,
        ("blob", "put" | "append" | "list") => prices.block_blob_write,
        ("blob", "page_create" | "page_write") => prices.page_blob_operation,
        ("blob", "get" | "lease") => prices.block_blob_read,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    #[test]
    fn money_is_compute_operations_and_reserved_throughput() {
        let profile = Profile::named("azure-2021-10").expect("embedded profiles are valid");
        let counted = |service: &str, kind: &str, count| OperationCount {
            service: service.to_owned(),
            kind: kind.to_owned(),
            count,
            bytes_in: 0,
            bytes_out: 0,
        };
        let operations = [
            counted("queue", "put", 10_000),
            counted("queue", "get_empty", 10_000),
            counted("queue", "throttled", 10_000),
            counted("table", "transaction", 20_000),
            counted("blob", "append", 10_000),
            counted("blob", "delete", 10_000),
            counted("blob", "get", 10_000),
            counted("blob", "page_write", 10_000),
            counted("eventlog", "send", 500),
            counted("eventlog", "event_in", 1_000_000),
            counted("network", "message", 1_000_000),
        ];
        let hour = Duration::from_secs(3600);
        let rented =
            Rented { host_time: hour * 8, throughput_unit_time: hour * 5, machines_usd: 2.0 };
        let plan = profile.plan("EP2").expect("exists");
        let cost = cost(&profile.prices, plan, &operations, &rented);
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        assert!(near(cost.compute_usd, 8.0 * 315.43 / 730.0 + 2.0), "{cost:?}");
        assert!(near(cost.reserved_usd, 0.15), "{cost:?}");
        let expected = 0.004 + 2.0 * 0.00036 + 0.055 + 0.0044 + 0.00036 + 0.03;
        assert!(near(cost.operations_usd, expected), "{cost:?}");
        let parts = cost.compute_usd + cost.operations_usd + cost.reserved_usd;
        assert!(near(cost.total_usd(), parts));
    }
}
