//! The stage of this engine's tests.

#![allow(dead_code, unused_imports, reason = "each file of tests uses its part")]

use engine_azure_storage::AzureStorage;
use sim_model::application::Application;
use sim_model::orchestration::RuntimeStatus;
use sim_world::distribution::Latency;
use sim_world::kernel::NodeId;
use sim_world::network::LinkProfile;
pub use sim_world::stage::{Outcome, Play, Stage, finding, request};
use std::time::Duration;

/// The finding that the steps of an instance do not form one chain.
pub const SERIAL: usize = 3;

/// One host.
pub fn stage(application: fn() -> Application) -> Stage {
    Stage::new(|| Box::new(AzureStorage), application)
}

/// The nodes of queues, tables and blobs.
fn services(play: &Play) -> impl Iterator<Item = NodeId> + '_ {
    let first = play.world.client_node().0 + 1;
    let named =
        |node: &NodeId| ["queue", "table", "blob"].contains(&&*play.kernel.node_name(*node));
    (first..first + 3).map(NodeId).inspect(move |node| assert!(named(node), "a service"))
}

/// What a host sends to storage takes this long from now on; `None`: as long as ever.
pub fn delay_requests(play: &Play, host: usize, latency: Option<Duration>) {
    let usual = &play.world.profile().links.host_to_service;
    let latency = latency.map_or_else(|| usual.latency.clone(), Latency::constant);
    let bandwidth_bytes_per_s = usual.bandwidth_bytes_per_s;
    let link = LinkProfile { latency, bandwidth_bytes_per_s, ordered: false };
    let node = play.world.hosts()[host].node();
    services(play).for_each(|service| play.world.network().set_link(node, service, link.clone()));
}

/// The owner of each control queue, as its lease says, wherever that is.
pub async fn owners(play: &Play) -> Vec<Option<String>> {
    let storage = play.world.storage();
    let (reader, table) = (play.world.client(), storage.table("taskhubPartitions"));
    let rows = table.query_partition(reader, "").await.expect("a read").value;
    let mut owners: Vec<_> = rows.iter().map(|row| owner(&row.body)).collect();
    let blobs = storage.container("taskhub-leases");
    for folder in ["ownership/", "default/"] {
        for name in blobs.list(reader, folder).await.expect("a list").value {
            owners.push(owner(&blobs.get(reader, &name).await.expect("a read").value));
        }
    }
    owners
}

/// The orchestrations that have ended so far, and how: a client may have been told of each.
pub fn told(play: &Play) -> Vec<(String, RuntimeStatus)> {
    let completions = play.completions.borrow();
    completions.iter().map(|end| (end.instance.to_string(), end.status.clone())).collect()
}

/// How many rows the history of an instance has, the sentinel not counted.
pub async fn history_rows(play: &Play, instance: &str) -> usize {
    let table = play.world.storage().table("taskhubHistory");
    let rows = table.query_partition(play.world.client(), instance).await.expect("a read");
    rows.value.len().saturating_sub(1)
}

/// How many bytes the Instances row of an instance has.
pub async fn instance_bytes(play: &Play, instance: &str) -> usize {
    let table = play.world.storage().table("taskhubInstances");
    let row = table.get(play.world.client(), instance, "").await.expect("a read").value;
    row.expect("a row").body.len()
}

/// The owner in a lease: its first field, in a row or blob that holds it inline.
fn owner(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    enum Stored {
        Inline(Option<String>),
    }
    let Stored::Inline(owner) = sim_model::codec::decode(body).expect("a lease");
    owner
}
