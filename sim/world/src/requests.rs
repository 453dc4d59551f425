//! Requests one by one, for whoever draws or explains a run.
//!
//! The [`Meter`](crate::meter::Meter) counts; asked to ([`Meter::keep_requests`](crate::meter::Meter::keep_requests)),
//! it also keeps every request: who sent it, when it arrived, was taken up and left again, and how it
//! ended. What an event log pushes to its readers is kept too, as requests that nobody sent. Unless asked
//! for, nothing is kept and nothing is paid. Keeping takes no virtual time and is no part of the event
//! trail.
//!
//! **Assumptions.** A request is kept when it is over for client and service, so those still under way at
//! the end of a run are missing. Handshakes of self-hosted servers are no requests.
//!
//! Units: virtual nanoseconds, bytes with their envelopes.

use crate::kernel::NodeId;
use sim_model::time::Timestamp;

/// How a request ended, for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    /// An answer came, if only that something does not exist.
    Answered,
    /// It was refused because of a limit.
    Refused,
    /// The client gave up; the service may have applied it.
    TimedOut,
    /// The connection broke.
    Broken,
    /// It came a second time, or was sent without waiting: nobody was told.
    Unawaited,
    /// The service pushed it to a reader.
    Pushed,
}

impl RequestEnd {
    /// The end as a word of traces.
    pub const fn name(self) -> &'static str {
        match self {
            RequestEnd::Answered => "answered",
            RequestEnd::Refused => "refused",
            RequestEnd::TimedOut => "timed out",
            RequestEnd::Broken => "connection broken",
            RequestEnd::Unawaited => "unawaited",
            RequestEnd::Pushed => "pushed",
        }
    }
}

/// A request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Name of the service.
    pub service: &'static str,
    /// Kind of operation.
    pub kind: &'static str,
    /// The node that sent it, or to which something was pushed.
    pub client: NodeId,
    /// The node of the service.
    pub server: NodeId,
    /// When it was sent, or pushed.
    pub sent: Timestamp,
    /// When it was at the service: it arrived, its turn came, and its answer left. Absent if it never
    /// came that far.
    pub served: Option<[Timestamp; 3]>,
    /// When the client had its answer or gave up, or when a push arrived at its reader.
    pub ended: Timestamp,
    /// How it ended.
    pub end: RequestEnd,
    /// Bytes of the request.
    pub bytes_in: u64,
    /// Bytes of the answer.
    pub bytes_out: u64,
}

/// Which requests are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Those that end at this instant or later.
    pub from: Timestamp,
    /// Those that are sent before this instant.
    pub until: Timestamp,
    /// No more than so many, the first that end.
    pub most: usize,
}

/// The requests that were kept.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// In the order in which they ended.
    pub kept: Vec<Request>,
    /// When the first ended that there was no room for.
    pub full_at: Option<Timestamp>,
}

/// The record of a meter that keeps requests.
pub(crate) struct RequestRecord {
    keep: Keep,
    requests: Requests,
}

impl RequestRecord {
    pub(crate) fn new(keep: Keep) -> RequestRecord {
        RequestRecord { keep, requests: Requests::default() }
    }

    pub(crate) fn note(&mut self, now: Timestamp, request: Request) {
        let Keep { from, until, most } = self.keep;
        let over = now.max(request.ended);
        if over < from || request.sent >= until {
            return;
        }
        match self.requests.kept.len() < most {
            true => self.requests.kept.push(request),
            false => {
                self.requests.full_at.get_or_insert(over);
            }
        }
    }

    pub(crate) fn take(&mut self) -> Requests {
        std::mem::take(&mut self.requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sent: u64, ended: u64) -> Request {
        Request {
            service: "blob",
            kind: "get",
            client: NodeId(1),
            server: NodeId(2),
            sent: Timestamp::from_millis(sent),
            served: None,
            ended: Timestamp::from_millis(ended),
            end: RequestEnd::TimedOut,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    #[test]
    fn what_touches_the_window_is_kept_as_long_as_there_is_room() {
        let (from, until) = (Timestamp::from_millis(10), Timestamp::from_millis(20));
        let mut record = RequestRecord::new(Keep { from, until, most: 2 });
        for (sent, ended) in [(1, 9), (1, 10), (20, 21), (19, 30), (12, 31), (12, 32)] {
            let request = request(sent, ended);
            record.note(request.ended, request);
        }
        let requests = record.take();
        assert_eq!(requests.kept, [request(1, 10), request(19, 30)]);
        assert_eq!(requests.full_at, Some(Timestamp::from_millis(31)));
    }
}
