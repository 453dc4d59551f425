//! Builds a [`Profile`] from its text: the schema's keys, units and cross-checks.

use super::broker;
use super::database;
use super::disk::{self, DiskProfile};
use super::error::ProfileError;
use super::inherit;
use super::log_store;
use super::reader::{BANDWIDTH, CORES, Context, PRICE, RATE, RATIO, RENT, Section};
use super::replication;
use super::scaling;
use super::schema::*;
use super::selfhosted;
use super::store;
use super::transport;
use crate::network::LinkProfile;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

type Loaded<T> = Result<T, ProfileError>;
type Disks = BTreeMap<String, Arc<DiskProfile>>;

/// The profile that `text` describes.
pub(super) fn profile(name: &str, text: &str) -> Loaded<Profile> {
    let table = inherit::complete(name, parse(name, text)?)?;
    let context = Context { profile: name, entries: RefCell::default() };
    let keys = [
        "plans",
        "machines",
        "disks",
        "selfhosted",
        "stream_store",
        "broker",
        "scaling",
        "log_store",
        "database",
        "replication",
        "host",
        "cpu",
        "links",
        "transport",
        "services",
        "retry",
        "prices",
    ];
    let root = Section::root(&context, &table, &keys)?;
    let disks = disk::disks(&root)?;
    let mut profile = Profile {
        name: name.to_owned(),
        plans: plans(&root)?,
        machines: machines(&root, &disks)?,
        host: host(&root, &disks)?,
        disks,
        selfhosted: selfhosted::selfhosted(&root)?,
        store: store::store(&root)?,
        broker: broker::broker(&root)?,
        scaling: scaling::scaling(&root)?,
        log_store: log_store::log_store(&root)?,
        database: database::database(&root)?,
        replication: replication::load(&root)?,
        cpu: cpu(&root)?,
        links: links(&root)?,
        transport: transport::transport(&root)?,
        services: services(&root)?,
        retry: retry(&root)?,
        prices: prices(&root)?,
        entries: Vec::new(),
    };
    for (plan_name, plan) in &profile.plans {
        if profile.host.background_cores >= f64::from(plan.cores) {
            let problem = format!("leaves nothing of the {} cores of plan {plan_name}", plan.cores);
            return Err(root.any_child("host")?.error("background_cores", problem));
        }
    }
    profile.entries = context.entries.take();
    Ok(profile)
}

/// The text as TOML.
pub(super) fn parse(name: &str, text: &str) -> Loaded<toml::Table> {
    text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        ProfileError::Syntax {
            profile: name.to_owned(),
            line: text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1,
            reason: error.message().replace('\n', "; "),
        }
    })
}

fn plans(root: &Section) -> Loaded<BTreeMap<String, Plan>> {
    let plans = root.any_child("plans")?;
    let mut all = BTreeMap::new();
    for name in plans.keys() {
        let s = plans.child(name, &["cores", "memory", "price"])?;
        let plan = Plan {
            cores: whole_cores(&s, "cores")?,
            memory_bytes: s.bytes("memory")?,
            price_per_hour: s.number("price", RENT)?,
        };
        all.insert(name.to_owned(), plan);
    }
    if all.is_empty() {
        return Err(root.error("plans", "is empty, expected at least one plan"));
    }
    Ok(all)
}

fn machines(root: &Section, disks: &Disks) -> Loaded<BTreeMap<String, MachineProfile>> {
    let mut all = BTreeMap::new();
    if !root.has("machines") {
        return Ok(all);
    }
    let classes = root.any_child("machines")?;
    for name in classes.keys() {
        let keys =
            ["cores", "memory", "price_per_core", "latency", "peer_latency", "bandwidth", "disk"];
        let s = classes.child(name, &keys)?;
        let bandwidth_bytes_per_s = bandwidth(&s)?;
        let link = |key: &str| {
            Ok(match s.has(key) {
                false => None,
                true => {
                    let latency = s.latency(key)?;
                    Some(LinkProfile { latency, bandwidth_bytes_per_s, ordered: true })
                }
            })
        };
        let machine = MachineProfile {
            cores: whole_cores(&s, "cores")?,
            memory_bytes: s.bytes("memory")?,
            price_per_core_hour: s.number("price_per_core", RENT)?,
            link: link("latency")?,
            peer_link: link("peer_latency")?,
            disk: disk_of(&s, disks)?,
        };
        all.insert(name.to_owned(), machine);
    }
    Ok(all)
}

/// The disk that an optional key `disk` names.
fn disk_of(section: &Section, disks: &Disks) -> Loaded<Option<Arc<DiskProfile>>> {
    if !section.has("disk") {
        return Ok(None);
    }
    let class = section.name("disk")?;
    let Some(disk) = disks.get(class) else {
        let known = disks.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let problem = format!("{class:?} is no class of disks, expected one of: {known}");
        return Err(section.error("disk", problem));
    };
    Ok(Some(disk.clone()))
}

fn bandwidth(section: &Section) -> Loaded<Option<u64>> {
    Ok(match section.has("bandwidth") {
        true => Some(section.positive("bandwidth", BANDWIDTH)? as u64),
        false => None,
    })
}

fn whole_cores(section: &Section, key: &str) -> Loaded<u32> {
    let cores = section.positive(key, CORES)?;
    if cores.fract() != 0.0 || cores > 1024.0 {
        return Err(section.error(key, format!("value is {cores}, expected 1 to 1024 whole cores")));
    }
    Ok(cores as u32)
}

fn host(root: &Section, disks: &Disks) -> Loaded<HostProfile> {
    let keys = ["background_cores", "quantum", "client_cores", "client_memory", "disk"];
    let s = root.child("host", &keys)?;
    let quantum = s.time("quantum")?;
    if quantum.is_zero() {
        return Err(s.error("quantum", "value is 0, expected more"));
    }
    Ok(HostProfile {
        background_cores: s.number("background_cores", CORES)?,
        quantum,
        client_cores: whole_cores(&s, "client_cores")?,
        client_memory_bytes: s.bytes("client_memory")?,
        disk: disk_of(&s, disks)?,
    })
}

fn cpu(root: &Section) -> Loaded<CpuProfile> {
    let keys = [
        "step",
        "activity",
        "operation",
        "storage_request",
        "event",
        "event_send",
        "replayed_event",
        "http_request",
        "after_work_item",
    ];
    let s = root.child("cpu", &keys)?;
    Ok(CpuProfile {
        step: s.time("step")?,
        activity: s.time("activity")?,
        operation: s.time("operation")?,
        storage_request: s.time("storage_request")?,
        event: s.time("event")?,
        event_send: s.time("event_send")?,
        replayed_event: s.time("replayed_event")?,
        http_request: s.time("http_request")?,
        after_work_item: s.time("after_work_item")?,
    })
}

fn links(root: &Section) -> Loaded<Links> {
    let s = root.child("links", &["host_to_service", "host_to_host", "client_to_host"])?;
    let link = |name: &str| {
        let s = s.child(name, &["latency", "bandwidth"])?;
        let bandwidth_bytes_per_s = bandwidth(&s)?;
        Ok(LinkEntry { latency: s.latency("latency")?, bandwidth_bytes_per_s })
    };
    Ok(Links {
        host_to_service: link("host_to_service")?,
        host_to_host: link("host_to_host")?,
        client_to_host: link("client_to_host")?,
    })
}

fn services(root: &Section) -> Loaded<Services> {
    let s = root.child("services", &["http", "account", "queue", "table", "blob", "eventlog"])?;
    let http = s.child("http", &["request_envelope", "response_envelope"])?;
    Ok(Services {
        request_envelope_bytes: http.bytes("request_envelope")?,
        response_envelope_bytes: http.bytes("response_envelope")?,
        account: account(&s)?,
        queue: queue(&s)?,
        table: table(&s)?,
        blob: blob(&s)?,
        eventlog: eventlog(&s)?,
    })
}

fn account(services: &Section) -> Loaded<AccountProfile> {
    let s = services.child("account", &["rate", "busy_threshold"])?;
    Ok(AccountProfile {
        rate: s.positive("rate", RATE)?,
        busy_threshold: s.time("busy_threshold")?,
    })
}

fn queue(services: &Section) -> Loaded<QueueProfile> {
    let keys =
        ["rate", "busy_threshold", "message_size_max", "get_max", "visibility_max", "latency"];
    let s = services.child("queue", &keys)?;
    let l = s.child("latency", &["put", "get", "delete", "update", "peek", "length"])?;
    Ok(QueueProfile {
        rate: s.positive("rate", RATE)?,
        busy_threshold: s.time("busy_threshold")?,
        message_bytes_max: s.bytes("message_size_max")?,
        get_max: s.count("get_max")?,
        visibility_max: s.time("visibility_max")?,
        latency: QueueLatencies {
            put: l.latency("put")?,
            get: l.latency("get")?,
            delete: l.latency("delete")?,
            update: l.latency("update")?,
            peek: l.latency("peek")?,
            length: l.latency("length")?,
        },
    })
}

fn table(services: &Section) -> Loaded<TableProfile> {
    let keys = [
        "rate",
        "busy_threshold",
        "transaction_entities_max",
        "transaction_size_max",
        "entity_size_max",
        "page_entities",
        "query_entity_time",
        "latency",
    ];
    let s = services.child("table", &keys)?;
    let kinds = ["get", "query", "insert", "replace", "merge", "delete", "transaction"];
    let l = s.child("latency", &kinds)?;
    Ok(TableProfile {
        rate: s.positive("rate", RATE)?,
        busy_threshold: s.time("busy_threshold")?,
        transaction_entities_max: s.count("transaction_entities_max")?,
        transaction_bytes_max: s.bytes("transaction_size_max")?,
        entity_bytes_max: s.bytes("entity_size_max")?,
        page_entities: s.count("page_entities")?,
        query_entity_time: s.time("query_entity_time")?,
        latency: TableLatencies {
            get: l.latency("get")?,
            query: l.latency("query")?,
            insert: l.latency("insert")?,
            replace: l.latency("replace")?,
            merge: l.latency("merge")?,
            delete: l.latency("delete")?,
            transaction: l.latency("transaction")?,
        },
    })
}

fn blob(services: &Section) -> Loaded<BlobProfile> {
    let keys = [
        "rate",
        "bandwidth",
        "busy_threshold",
        "page_write_size_max",
        "page_size",
        "append_size_max",
        "append_blocks_max",
        "lease_min",
        "lease_max",
        "latency",
    ];
    let s = services.child("blob", &keys)?;
    let kinds = ["put", "get", "delete", "page_create", "page_write", "append", "lease", "list"];
    let l = s.child("latency", &kinds)?;
    let page_bytes = s.bytes("page_size")?;
    if page_bytes == 0 {
        return Err(s.error("page_size", "value is 0, expected more"));
    }
    Ok(BlobProfile {
        rate: s.positive("rate", RATE)?,
        bandwidth_bytes_per_s: s.positive("bandwidth", BANDWIDTH)?,
        busy_threshold: s.time("busy_threshold")?,
        page_write_bytes_max: s.bytes("page_write_size_max")?,
        page_bytes,
        append_bytes_max: s.bytes("append_size_max")?,
        append_blocks_max: s.count("append_blocks_max")?,
        lease_min: s.time("lease_min")?,
        lease_max: s.time("lease_max")?,
        latency: BlobLatencies {
            put: l.latency("put")?,
            get: l.latency("get")?,
            delete: l.latency("delete")?,
            page_create: l.latency("page_create")?,
            page_write: l.latency("page_write")?,
            append: l.latency("append")?,
            lease: l.latency("lease")?,
            list: l.latency("list")?,
        },
    })
}

fn eventlog(services: &Section) -> Loaded<EventLogProfile> {
    let keys = [
        "throughput_units",
        "throughput_units_max",
        "ingress_bytes",
        "ingress_events",
        "egress_bytes",
        "egress_events",
        "burst",
        "batch_size_max",
        "event_unit_size",
        "prefetch_events",
        "latency",
    ];
    let s = services.child("eventlog", &keys)?;
    let (throughput_units, most) = (s.count("throughput_units")?, s.count("throughput_units_max")?);
    if throughput_units > most {
        let problem = format!("value is {throughput_units}, expected at most {most}");
        return Err(s.error("throughput_units", problem));
    }
    let event_unit_bytes = s.bytes("event_unit_size")?;
    if event_unit_bytes == 0 {
        return Err(s.error("event_unit_size", "value is 0, expected more"));
    }
    Ok(EventLogProfile {
        throughput_units,
        throughput_units_max: most,
        ingress_bytes_per_s: s.positive("ingress_bytes", BANDWIDTH)?,
        ingress_events_per_s: s.positive("ingress_events", RATE)?,
        egress_bytes_per_s: s.positive("egress_bytes", BANDWIDTH)?,
        egress_events_per_s: s.positive("egress_events", RATE)?,
        burst: s.time("burst")?,
        batch_bytes_max: s.bytes("batch_size_max")?,
        event_unit_bytes,
        prefetch_events: s.count("prefetch_events")?,
        send: s.child("latency", &["send"])?.latency("send")?,
    })
}

fn retry(root: &Section) -> Loaded<RetryProfile> {
    let keys = [
        "timeout",
        "retries_max",
        "delta_backoff",
        "min_backoff",
        "max_backoff",
        "jitter_low",
        "jitter_high",
    ];
    let s = root.child("retry", &keys)?;
    let retry = RetryProfile {
        timeout: s.time("timeout")?,
        retries_max: s.count_or_zero("retries_max")?,
        delta_backoff: s.time("delta_backoff")?,
        min_backoff: s.time("min_backoff")?,
        max_backoff: s.time("max_backoff")?,
        jitter_low: s.number("jitter_low", RATIO)?,
        jitter_high: s.number("jitter_high", RATIO)?,
    };
    if retry.timeout.is_zero() {
        return Err(s.error("timeout", "value is 0, expected more"));
    }
    if retry.jitter_low > retry.jitter_high {
        return Err(s.error("jitter_low", "is above jitter_high"));
    }
    if retry.min_backoff > retry.max_backoff {
        return Err(s.error("min_backoff", "is above max_backoff"));
    }
    Ok(retry)
}

fn prices(root: &Section) -> Loaded<Prices> {
    let keys = [
        "queue_operation",
        "table_operation",
        "block_blob_write",
        "block_blob_read",
        "page_blob_operation",
        "eventlog_event",
        "throughput_unit",
    ];
    let s = root.child("prices", &keys)?;
    Ok(Prices {
        queue_operation: s.number("queue_operation", PRICE)?,
        table_operation: s.number("table_operation", PRICE)?,
        block_blob_write: s.number("block_blob_write", PRICE)?,
        block_blob_read: s.number("block_blob_read", PRICE)?,
        page_blob_operation: s.number("page_blob_operation", PRICE)?,
        eventlog_event: s.number("eventlog_event", PRICE)?,
        throughput_unit_per_hour: s.number("throughput_unit", RENT)?,
    })
}
