//! Requests to services: a span at the client, one at the service, and arrows there and back.

use super::build::Builder;
use super::slice::{Arrow, Group, Slice};
use super::{Nodes, Scene};
use sim_world::requests::{Request, RequestEnd, Requests};

/// Rank of a host's threads: work items first.
const REQUESTS: u64 = 1;
const SERVES: u64 = 2;

/// The thread of what a node serves.
pub(super) fn serves(service: &str) -> (u64, String) {
    (SERVES, format!("serves {service}"))
}

pub(super) fn add(scene: &Scene<'_>, requests: &Requests, builder: &mut Builder) {
    builder.requests_end(requests.full_at);
    for (number, request) in requests.kept.iter().enumerate() {
        let number = number as u128;
        let (asked, served) =
            (at_client(request, number), at_service(request, &scene.nodes, number));
        builder.add(asked);
        served.into_iter().for_each(|served| builder.add(served));
    }
}

fn ask(key: u128) -> Arrow {
    Arrow { category: "ask", key }
}

fn answer(key: u128) -> Arrow {
    Arrow { category: "answer", key }
}

fn is_told(end: RequestEnd) -> bool {
    matches!(end, RequestEnd::Answered | RequestEnd::Refused | RequestEnd::Pushed)
}

fn at_client(request: &Request, number: u128) -> Slice {
    let Request { service, kind, client, sent, ended, end, .. } = *request;
    let thread = (REQUESTS, "requests");
    let name = format!("{service} {kind}");
    let mut slice = Slice::new(Group::Node(client.0), thread, "request", name, (sent, ended))
        .with("service", service)
        .with("kind", kind)
        .with("end", end.name())
        .with("bytes_in", request.bytes_in)
        .with("bytes_out", request.bytes_out);
    if end != RequestEnd::Pushed {
        slice.sends(ask(number), sent);
    }
    if is_told(end) {
        slice.receives(answer(number), ended);
    }
    slice
}

fn at_service(request: &Request, nodes: &Nodes, number: u128) -> Option<Slice> {
    let Request { service, kind, client, server, end, .. } = *request;
    let [arrived, started, left] = request.served?;
    let mut slice =
        Slice::new(Group::Node(server.0), serves(service), "served", kind, (arrived, left))
            .with("client", nodes.name(client.0))
            .with("kind", kind)
            .with("end", end.name());
    if started > arrived {
        slice.holds("throttled", "throttled", (arrived, started));
    }
    if end != RequestEnd::Pushed {
        slice.receives(ask(number), arrived);
    }
    if is_told(end) {
        slice.sends(answer(number), left);
    }
    Some(slice)
}
