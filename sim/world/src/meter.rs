//! The meter: every operation on a service and every message, counted.
//!
//! An operation is named by service and kind (`queue`, `put`). It is counted when the service
//! serves it, with the bytes that came in with the request and went out with the reply, and
//! the counts are also kept for each second of virtual time.

use crate::requests::{Keep, Request, RequestRecord, Requests};
use serde::{Deserialize, Serialize};
use sim_model::time::Timestamp;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Nanoseconds in a bucket of the time series.
const SECOND: u64 = 1_000_000_000;

/// Counts operations; clones count into the same meter.
#[derive(Clone, Default)]
pub struct Meter(Rc<Inner>);

#[derive(Default)]
struct Inner {
    counters: RefCell<Counters>,
    /// Requests one by one, if they are kept.
    requests: RefCell<Option<RequestRecord>>,
}

#[derive(Default)]
struct Counters {
    by_name: BTreeMap<(String, String), OperationKind>,
    counters: Vec<Counter>,
}

#[derive(Clone, Default)]
struct Counter {
    count: u64,
    bytes_in: u64,
    bytes_out: u64,
    per_second: Vec<u32>,
}

/// An operation's service and kind, interned by [`Meter::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKind(u16);

/// How often one kind of operation was served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationCount {
    /// Name of the service.
    pub service: String,
    /// Name of the kind of operation.
    pub kind: String,
    /// Number of operations.
    pub count: u64,
    /// Bytes that came in with the requests.
    pub bytes_in: u64,
    /// Bytes that went out with the replies.
    pub bytes_out: u64,
}

/// How often one kind of operation was served in each second of virtual time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationSeries {
    /// Name of the service.
    pub service: String,
    /// Name of the kind of operation.
    pub kind: String,
    /// Operations by second, from the start of the run to the last second with any.
    pub per_second: Vec<u32>,
}

impl Meter {
    /// A meter that has counted nothing.
    pub fn new() -> Self {
        Meter::default()
    }

    /// Interns an operation's name; a name always gives the same kind.
    ///
    /// # Panics
    /// With more than 65536 kinds.
    pub fn kind(&self, service: &str, kind: &str) -> OperationKind {
        let inner = &mut *self.0.counters.borrow_mut();
        let counters = &mut inner.counters;
        *inner.by_name.entry((service.to_owned(), kind.to_owned())).or_insert_with(|| {
            counters.push(Counter::default());
            OperationKind(u16::try_from(counters.len() - 1).expect("at most 65536 kinds"))
        })
    }

    /// Counts one operation served at instant `at`.
    pub fn count(&self, kind: OperationKind, at: Timestamp, bytes_in: u64, bytes_out: u64) {
        self.add(kind, at, 1, bytes_in, bytes_out);
    }

    /// Counts `count` operations served at instant `at`, with their bytes in all.
    pub fn add(
        &self,
        kind: OperationKind,
        at: Timestamp,
        count: u32,
        bytes_in: u64,
        bytes_out: u64,
    ) {
        let mut inner = self.0.counters.borrow_mut();
        let counter = &mut inner.counters[usize::from(kind.0)];
        counter.count += u64::from(count);
        counter.bytes_in += bytes_in;
        counter.bytes_out += bytes_out;
        let second = usize::try_from(at.as_nanos() / SECOND).expect("invariant: 64-bit machine");
        if counter.per_second.len() <= second {
            counter.per_second.resize(second + 1, 0);
        }
        counter.per_second[second] += count;
    }

    /// From now on keeps requests one by one.
    pub fn keep_requests(&self, keep: Keep) {
        *self.0.requests.borrow_mut() = Some(RequestRecord::new(keep));
    }

    /// A request is over for client and service.
    pub(crate) fn request_over(&self, now: Timestamp, request: impl FnOnce() -> Request) {
        if let Some(record) = &mut *self.0.requests.borrow_mut() {
            record.note(now, request());
        }
    }

    /// The requests that were kept so far, by the time of their ends; none unless they are kept.
    pub fn take_requests(&self) -> Requests {
        self.0.requests.borrow_mut().as_mut().map(RequestRecord::take).unwrap_or_default()
    }

    /// Operations of this kind so far.
    pub fn total(&self, service: &str, kind: &str) -> u64 {
        let inner = self.0.counters.borrow();
        let known = inner.by_name.get(&(service.to_owned(), kind.to_owned()));
        known.map_or(0, |kind| inner.counters[usize::from(kind.0)].count)
    }

    /// All kinds that were counted at least once, sorted by service and kind.
    pub fn snapshot(&self) -> Vec<OperationCount> {
        self.counted()
            .map(|((service, kind), counter)| OperationCount {
                service,
                kind,
                count: counter.count,
                bytes_in: counter.bytes_in,
                bytes_out: counter.bytes_out,
            })
            .collect()
    }

    /// The time series of all kinds that were counted at least once, sorted by service and kind.
    pub fn series(&self) -> Vec<OperationSeries> {
        self.counted()
            .map(|((service, kind), counter)| OperationSeries {
                service,
                kind,
                per_second: counter.per_second,
            })
            .collect()
    }

    fn counted(&self) -> impl Iterator<Item = ((String, String), Counter)> + use<> {
        let inner = self.0.counters.borrow();
        let counted: Vec<_> = inner
            .by_name
            .iter()
            .map(|(name, kind)| (name.clone(), inner.counters[usize::from(kind.0)].clone()))
            .filter(|(_, counter)| counter.count > 0)
            .collect();
        counted.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_kind_and_second() {
        let meter = Meter::new();
        let put = meter.kind("queue", "put");
        let get = meter.kind("queue", "get");
        meter.kind("blob", "never");
        assert_eq!(meter.kind("queue", "put"), put);
        meter.count(put, Timestamp::from_millis(100), 10, 1);
        meter.count(put, Timestamp::from_millis(2_500), 20, 2);
        meter.add(get, Timestamp::from_millis(999), 3, 5, 600);
        let names: Vec<_> = meter.snapshot().into_iter().map(|op| (op.kind, op.count)).collect();
        assert_eq!(names, [("get".to_owned(), 3), ("put".to_owned(), 2)]);
        assert_eq!(meter.snapshot()[1].bytes_in, 30);
        assert_eq!(meter.snapshot()[0].bytes_out, 600);
        assert_eq!(meter.series()[1].per_second, [1, 0, 1]);
        assert_eq!(meter.series()[0].per_second, [3]);
        assert_eq!((meter.total("queue", "get"), meter.total("queue", "delete")), (3, 0));
    }
}
