//! The cloud services: what they promise, where they refuse, and what a client sees of it.

mod common;

use bytes::Bytes;
use common::{deterministic, ms, run, world};
use proptest::prelude::*;
use sim_model::ledger::Category;
use sim_model::time::Timestamp;
use sim_world::distribution::Latency;
use sim_world::event_log::Event;
use sim_world::profile::Profile;
use sim_world::queue::QueueMessage;
use sim_world::service::{Reply, RequestOptions, StorageError};
use sim_world::table::{TableAction, TableOperation};
use sim_world::world::{Deployment, World};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn exceeded<T: std::fmt::Debug>(result: Result<T, StorageError>) -> (u64, u64) {
    match result {
        Err(StorageError::LimitExceeded { limit, actual, .. }) => (limit, actual),
        other => panic!("expected a limit, got {other:?}"),
    }
}

fn invalid<T: std::fmt::Debug>(result: Result<T, StorageError>) {
    assert!(matches!(result, Err(StorageError::InvalidRequest { .. })), "{result:?}");
}

// ---- limits ----

#[test]
fn sizes_beyond_the_limits_are_typed_errors() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let host = &world.hosts()[0];
        let zeros = |bytes: usize| Bytes::from(vec![0; bytes]);

        let queue = world.storage().queue("q");
        let result = queue.put(host, zeros(65_537), Duration::ZERO).await;
        assert_eq!(exceeded(result), (65_536, 65_537));
        queue.put(host, zeros(65_536), Duration::ZERO).await.expect("exactly the limit");
        assert_eq!(exceeded(queue.get(host, 33, ms(1)).await), (32, 33));
        invalid(queue.get(host, 0, ms(1)).await);
        let eight_days = Duration::from_secs(8 * 24 * 3600);
        assert_eq!(exceeded(queue.get(host, 1, eight_days).await), (604_800, 691_200));

        let table = world.storage().table("t");
        let rows = |count: usize, bytes: usize| -> Vec<TableOperation> {
            let insert = |row| {
                let action = TableAction::InsertOrReplace(Bytes::from(vec![0; bytes]));
                TableOperation::new(format!("{row:03}"), action)
            };
            (0..count).map(insert).collect()
        };
        assert_eq!(exceeded(table.transaction(host, "p", rows(101, 1)).await), (100, 101));
        let (limit, actual) = exceeded(table.transaction(host, "p", rows(50, 90_000)).await);
        assert_eq!((limit, actual), (4 << 20, 50 * 90_003));
        invalid(table.transaction(host, "p", Vec::new()).await);
        invalid(table.transaction(host, "p", [rows(2, 1), rows(1, 1)].concat()).await);
        table.transaction(host, "p", rows(100, 1)).await.expect("exactly the limit");
        let result = table.insert(host, "p", "big", zeros(1 << 20)).await;
        assert_eq!(exceeded(result).0, 1 << 20);

        let blobs = world.storage().container("c");
        invalid(blobs.page_create(host, "pages", 1_000, None).await);
        blobs.page_create(host, "pages", 8 << 20, None).await.expect("aligned");
        invalid(blobs.page_write(host, "pages", 100, zeros(512), None).await);
        invalid(blobs.page_write(host, "pages", 512, zeros(100), None).await);
        invalid(blobs.page_write(host, "pages", 8 << 20, zeros(512), None).await);
        let result = blobs.page_write(host, "pages", 0, zeros((4 << 20) + 512), None).await;
        assert_eq!(exceeded(result), (4 << 20, (4 << 20) + 512));
        let result = blobs.append(host, "log", zeros((4 << 20) + 1), None).await;
        assert_eq!(exceeded(result).0, 4 << 20);
        invalid(blobs.acquire_lease(host, "pages", Some(Duration::from_secs(5))).await);

        let log = world.event_log("l", 2);
        invalid(log.send(host, 2, vec![zeros(1)]).await);
        invalid(log.send(host, 0, Vec::new()).await);
        assert_eq!(exceeded(log.send(host, 0, vec![zeros(600_000); 2]).await).0, 1_000_000);
        assert!(world.set_throughput_units(0).is_err());
        let error = world.set_throughput_units(21).expect_err("more than can be rented");
        assert!(error.to_string().contains("services.eventlog.throughput_units"), "{error}");
    });
}

#[test]
fn the_services_of_an_account_share_its_limit() {
    let change = |profile: &mut Profile| {
        deterministic(profile);
        profile.services.account.rate = 100.0;
        profile.services.account.busy_threshold = Duration::from_secs(10);
    };
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let host = world.hosts()[0].clone();
        let (queue, table) = (world.storage().queue("q"), world.storage().table("t"));
        let blobs = world.storage().container("c");
        let work = (0..30).map(|turn| {
            let (host, queue, table, blobs) =
                (host.clone(), queue.clone(), table.clone(), blobs.clone());
            async move {
                let timing = match turn % 3 {
                    0 => queue.put(&host, text("m"), Duration::ZERO).await.expect("served").timing,
                    1 => table.get(&host, "p", "r").await.expect("served").timing,
                    _ => blobs.put(&host, "b", text("x"), None).await.expect("served").timing,
                };
                timing.get(Category::Throttling)
            }
        });
        let mut waits = futures_util::future::join_all(work).await;
        waits.sort();
        let expected: Vec<_> = (0..30).map(|turn| ms(10 * turn)).collect();
        assert_eq!(waits, expected, "one turn each 10 ms, whatever the service");
    });
}

#[test]
fn a_request_beyond_the_busy_threshold_is_refused_and_repeated() {
    let change = |profile: &mut Profile| {
        deterministic(profile);
        profile.services.queue.rate = 10.0;
        profile.services.queue.busy_threshold = ms(400);
    };
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (host, queue) = (world.hosts()[0].clone(), world.storage().queue("q"));
        let started = kernel.now();
        let puts = (0..20).map(|_| queue.put(&host, text("m"), Duration::ZERO));
        let replies = futures_util::future::join_all(puts).await;
        let repeated = replies
            .iter()
            .map(|reply| reply.as_ref().expect("repeated until it is served"))
            .filter(|reply| reply.timing.get(Category::Throttling) >= Duration::from_secs(3))
            .count();
        assert_eq!(repeated, 15, "a turn at once, and four within 400 ms");
        assert!(kernel.now().since(started) >= Duration::from_secs(3), "the least back-off");
        let refused = world.meter().total("queue", "throttled");
        assert!(refused >= 15, "{refused} refusals");
        assert_eq!(world.meter().total("queue", "put"), 20 + refused, "each attempt is metered");
        assert_eq!(queue.length(&host).await.expect("served").value, 20, "each put once");

        let impatient = queue.with_options(RequestOptions::once(Duration::from_secs(30)));
        let puts = (0..20).map(|_| impatient.put(&host, text("m"), Duration::ZERO));
        let replies = futures_util::future::join_all(puts).await;
        let busy = StorageError::ServerBusy { attempts: 1 };
        assert!(replies.iter().any(|reply| reply.as_ref().err() == Some(&busy)));
    });
}

/// The limiter of a queue, table partition or blob under Poisson arrivals is M/D/1: the mean wait
/// is `rho / (2 (1 - rho))` service times.
#[test]
fn a_limited_service_agrees_with_m_d_1() {
    const CLIENTS: usize = 400;
    const REQUESTS: u64 = 1_000_000;
    for load in [0.5, 0.8] {
        let change = |profile: &mut Profile| {
            deterministic(profile);
            profile.services.table.rate = 2000.0;
            profile.services.table.busy_threshold = Duration::from_secs(3600);
            profile.services.account.rate = 1e9;
        };
        let mean = run(change, move |kernel, profile| async move {
            let world = world(&kernel, profile, 1);
            let (host, table) = (world.hosts()[0].clone(), world.storage().table("t"));
            let arrivals = Latency::exponential(Duration::from_secs_f64(1.0 / (2000.0 * load)));
            let mut stream = world.seeds().stream("poisson");
            let (work, requests) = kernel.channel::<bool>();
            let (done, waits) = kernel.channel::<(u64, Duration)>();
            for _ in 0..CLIENTS {
                let (client, table) = (host.clone(), table.clone());
                let (requests, done) = (requests.clone(), done.clone());
                host.spawn(async move {
                    let (mut served, mut waited) = (0, Duration::ZERO);
                    while requests.recv().await {
                        let reply = table.get(&client, "p", "r").await.expect("never refused");
                        served += 1;
                        waited += reply.timing.get(Category::Throttling);
                    }
                    done.send((served, waited));
                });
            }
            for _ in 0..REQUESTS {
                kernel.sleep(arrivals.sample(&mut stream)).await;
                work.send(true);
            }
            (0..CLIENTS).for_each(|_| work.send(false));
            let (mut served, mut waited) = (0, Duration::ZERO);
            for _ in 0..CLIENTS {
                let (more, longer) = waits.recv().await;
                served += more;
                waited += longer;
            }
            assert_eq!(served, REQUESTS);
            waited.as_secs_f64() / REQUESTS as f64
        });
        let formula = load / (2.0 * (1.0 - load)) / 2000.0;
        let error = (mean / formula - 1.0).abs();
        assert!(error < 0.01, "load {load}: mean wait {mean} s, formula {formula} s");
    }
}

#[test]
fn a_deployment_that_cannot_be_is_refused() {
    run(deterministic, |kernel, profile| async move {
        let refused = |plan: &str, hosts, partitions| {
            let deployment = Deployment { plan: plan.to_owned(), hosts, partitions };
            World::new(&kernel, 7, profile.clone(), &deployment).err().expect("refused").to_string()
        };
        assert!(refused("EP4", 1, 1).contains("plans.EP4: is unknown, did you mean"));
        assert_eq!(refused("EP1", 0, 1), "deployment: hosts is 0, expected 1 to 100");
        assert!(refused("EP1", 1, 0).contains("partitions is 0"));
    });
}

// ---- queues ----

#[test]
fn a_message_reappears_with_a_new_receipt_and_a_higher_count() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (host, queue) = (&world.hosts()[0], world.storage().queue("q"));
        // On the link for 1 ms, and applied half-way through the 5 ms of the server.
        let put_at = kernel.now() + Duration::from_micros(3_500);
        queue.put(host, text("hello"), ms(500)).await.expect("put");
        let get = async || queue.get(host, 32, ms(1_000)).await.expect("served").value;
        assert!(get().await.is_empty(), "not visible for half a second");
        kernel.sleep(ms(500)).await;
        let first = get().await.pop().expect("visible now");
        assert_eq!((first.dequeue_count, first.insertion_time), (1, put_at));
        assert_eq!(&first.body[..], b"hello");
        assert!(get().await.is_empty(), "taken");
        assert_eq!(queue.length(host).await.expect("served").value, 1);
        kernel.sleep(ms(1_000)).await;
        let peeked = queue.peek(host, 1).await.expect("served").value;
        assert_eq!((peeked.len(), peeked[0].dequeue_count), (1, 1), "peeking is not taking");
        let second = get().await.pop().expect("visible again");
        assert_eq!((second.id, second.dequeue_count), (first.id, 2));
        assert_ne!(second.pop_receipt, first.pop_receipt);

        let stale = queue.delete(host, first.id, first.pop_receipt).await;
        assert_eq!(stale.expect_err("handed out again"), StorageError::PopReceiptMismatch);
        let renewed = queue.update(host, second.id, second.pop_receipt, Duration::ZERO).await;
        let renewed = renewed.expect("the latest receipt").value;
        let stale = queue.delete(host, second.id, second.pop_receipt).await;
        assert_eq!(stale.expect_err("updated since"), StorageError::PopReceiptMismatch);
        assert_eq!(queue.peek(host, 1).await.expect("served").value.len(), 1, "made visible");
        queue.delete(host, second.id, renewed).await.expect("the latest receipt");
        let gone = queue.delete(host, second.id, renewed).await.expect_err("deleted");
        assert_eq!(gone.status(), 404);
        assert_eq!(world.meter().total("queue", "get"), 4);
        assert_eq!(world.meter().total("queue", "get_empty"), 2);
    });
}

#[test]
fn messages_come_in_the_order_of_their_visibility() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (host, queue) = (&world.hosts()[0], world.storage().queue("q"));
        for (name, delay) in [("c", 300), ("a", 0), ("b", 100), ("d", 60_000)] {
            queue.put(host, text(name), ms(delay)).await.expect("put");
        }
        kernel.sleep(ms(1_000)).await;
        let messages = queue.get(host, 32, ms(1_000)).await.expect("served").value;
        let names: Vec<&[u8]> = messages.iter().map(|message| &message.body[..]).collect();
        assert_eq!(names, [b"a", b"b", b"c"]);
    });
}

/// Consumers that are slower than the visibility timeout see messages again, and never while they
/// are invisible.
#[test]
fn competing_consumers_never_share_an_invisible_message() {
    const MESSAGES: usize = 60;
    let visibility = ms(300);
    let (taken, deleted) = run(
        |_| {},
        move |kernel, profile| async move {
            let world = world(&kernel, profile, 4);
            let queue = world.storage().queue("q");
            for _ in 0..MESSAGES {
                queue.put(world.client(), text("m"), Duration::ZERO).await.expect("put");
            }
            let (log, takes) = kernel.channel::<(Timestamp, QueueMessage, bool)>();
            for (index, host) in world.hosts().iter().cycle().take(12).enumerate() {
                let (client, queue, log) = (host.clone(), queue.clone(), log.clone());
                let (kernel, mut pause) =
                    (kernel.clone(), world.seeds().stream(&format!("{index}")));
                host.spawn(async move {
                    loop {
                        let reply = queue.get(&client, 3, visibility).await.expect("served");
                        let hidden_from = kernel.now();
                        for message in reply.value {
                            let slow = if pause.chance(0.2) { 4_000 } else { 0 };
                            kernel.sleep(ms(slow + pause.below(200))).await;
                            let deleted =
                                queue.delete(&client, message.id, message.pop_receipt).await;
                            log.send((hidden_from, message, deleted.is_ok()));
                        }
                    }
                });
            }
            kernel.sleep(Duration::from_secs(600)).await;
            assert_eq!(queue.length(world.client()).await.expect("served").value, 0);
            let takes = takes.drain(usize::MAX);
            let taken: Vec<_> = takes
                .iter()
                .map(|(at, message, _)| (message.id, *at, message.dequeue_count))
                .collect();
            (taken, takes.iter().filter(|(_, _, deleted)| *deleted).count())
        },
    );
    assert_eq!(deleted, MESSAGES, "each message is deleted once");
    let mut by_message: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (id, at, count) in taken {
        by_message.entry(id).or_default().push((at, count));
    }
    assert_eq!(by_message.len(), MESSAGES);
    let mut again = 0;
    for takes in by_message.values_mut() {
        takes.sort();
        for (pair, count) in takes.windows(2).zip(2..) {
            // A response takes some milliseconds from the service, more for some than for others.
            let apart = pair[1].0.since(pair[0].0) + ms(100);
            assert!(apart >= visibility, "handed out again after {apart:?}");
            assert_eq!(pair[1].1, count, "each delivery is counted");
            again += 1;
        }
    }
    assert!(again > 20, "the timeouts were too long to test anything: {again}");
}

// ---- tables ----

#[test]
fn etags_let_one_of_two_writers_win() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 2);
        let (one, two) = (&world.hosts()[0], &world.hosts()[1]);
        let table = world.storage().table("t");
        let first = table.insert(one, "p", "r", text("0")).await.expect("new").value;
        let again = table.insert(two, "p", "r", text("1")).await.expect_err("exists");
        assert_eq!(again.status(), 409);
        let writes = futures_util::future::join(
            table.replace(one, "p", "r", text("one"), Some(first)),
            table.replace(two, "p", "r", text("two"), Some(first)),
        );
        let (won, lost) = writes.await;
        let etag = won.expect("the first to arrive").value;
        assert_eq!(lost.expect_err("the ETag has changed"), StorageError::PreconditionFailed);
        let entity = table.get(two, "p", "r").await.expect("served").value.expect("exists");
        assert_eq!((entity.etag, &entity.body[..]), (etag, &b"one"[..]));
        let merged = table.insert_or_merge(two, "p", "r", text("any")).await.expect("no ETag");
        assert!(merged.value > etag);
        let stale = table.delete(one, "p", "r", Some(etag)).await;
        assert_eq!(stale.expect_err("changed"), StorageError::PreconditionFailed);
        table.delete(one, "p", "r", None).await.expect("without ETag");
        let gone = table.replace(one, "p", "r", text("x"), None).await.expect_err("deleted");
        assert_eq!(gone.status(), 404);
        assert_eq!(table.get(one, "q", "r").await.expect("served").value, None);
    });
}

#[test]
fn a_query_reads_page_by_page() {
    let change = |profile: &mut Profile| {
        deterministic(profile);
        profile.services.table.page_entities = 10;
    };
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (host, table) = (&world.hosts()[0], world.storage().table("t"));
        for row in (0..25).rev() {
            let key = format!("{row:02}");
            table.insert(host, "p", key, text("x")).await.expect("new");
        }
        let started = kernel.now();
        let reply = table.query_partition(host, "p").await.expect("served");
        let keys: Vec<String> = reply.value.iter().map(|row| row.row_key.to_string()).collect();
        let expected: Vec<String> = (0..25).map(|row| format!("{row:02}")).collect();
        assert_eq!(keys, expected);
        assert_eq!(world.meter().total("table", "query"), 3);
        let reading = world.profile().services.table.query_entity_time * 25;
        assert_eq!(reply.timing.get(Category::Storage), ms(15) + reading);
        assert_eq!(reply.timing.total(), kernel.now().since(started));
        assert!(table.query_partition(host, "empty").await.expect("served").value.is_empty());
    });
}

/// What a transaction does to a model of the partition.
fn apply_to_model(
    model: &BTreeMap<String, (u64, u8)>,
    writes: &[(String, TableAction)],
) -> Option<BTreeMap<String, u8>> {
    let mut after: BTreeMap<String, u8> =
        model.iter().map(|(key, (_, value))| (key.clone(), *value)).collect();
    for (key, action) in writes {
        let existing = model.get(key);
        let matches =
            |etag: &Option<u64>| existing.is_some_and(|(is, _)| etag.is_none_or(|e| e == *is));
        let value = match action {
            TableAction::Insert(body) if existing.is_none() => Some(body[0]),
            TableAction::InsertOrReplace(body) | TableAction::InsertOrMerge(body) => Some(body[0]),
            TableAction::Replace(body, etag) | TableAction::Merge(body, etag) if matches(etag) => {
                Some(body[0])
            }
            TableAction::Delete(etag) if matches(etag) => None,
            _ => return None,
        };
        match value {
            Some(value) => drop(after.insert(key.clone(), value)),
            None => drop(after.remove(key)),
        }
    }
    Some(after)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    /// Transactions agree with a model: all of their writes are done, or none.
    #[test]
    fn transactions_are_applied_whole_or_not_at_all(
        transactions in proptest::collection::vec(
            proptest::collection::btree_map(0u8..8, (0u8..6, any::<u8>(), 0u8..3), 1..6),
            1..12,
        ),
    ) {
        run(deterministic, move |kernel, profile| async move {
            let world = world(&kernel, profile, 1);
            let (host, table) = (&world.hosts()[0], world.storage().table("t"));
            let mut model: BTreeMap<String, (u64, u8)> = BTreeMap::new();
            for transaction in transactions {
                let writes: Vec<(String, TableAction)> = transaction
                    .into_iter()
                    .map(|(row, (kind, value, tag))| {
                        let key = format!("row{row}");
                        let body = Bytes::from(vec![value]);
                        let etag = match tag {
                            0 => None,
                            1 => model.get(&key).map(|(etag, _)| *etag),
                            _ => Some(u64::MAX),
                        };
                        let action = match kind {
                            0 => TableAction::Insert(body),
                            1 => TableAction::InsertOrReplace(body),
                            2 => TableAction::InsertOrMerge(body),
                            3 => TableAction::Replace(body, etag),
                            4 => TableAction::Merge(body, etag),
                            _ => TableAction::Delete(etag),
                        };
                        (key, action)
                    })
                    .collect();
                let expected = apply_to_model(&model, &writes);
                let operations = writes
                    .iter()
                    .map(|(key, action)| TableOperation::new(key.as_str(), action.clone()))
                    .collect();
                let result = table.transaction(host, "p", operations).await;
                assert_eq!(result.is_ok(), expected.is_some(), "{result:?} for {writes:?}");
                let rows = table.query_partition(host, "p").await.expect("served").value;
                let now: BTreeMap<String, (u64, u8)> = rows
                    .iter()
                    .map(|row| (row.row_key.to_string(), (row.etag, row.body[0])))
                    .collect();
                let expected = expected
                    .unwrap_or_else(|| model.iter().map(|(k, (_, v))| (k.clone(), *v)).collect());
                let values: BTreeMap<String, u8> =
                    now.iter().map(|(key, (_, value))| (key.clone(), *value)).collect();
                assert_eq!(values, expected);
                if let Ok(reply) = &result {
                    for ((key, _), etag) in writes.iter().zip(&reply.value) {
                        assert_eq!(now.get(key).map_or(0, |(etag, _)| *etag), *etag);
                    }
                } else {
                    assert_eq!(now, model, "nothing has changed, ETags neither");
                }
                model = now;
            }
        });
    }
}

// ---- blobs ----

#[test]
fn blobs_of_each_kind_keep_their_content() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (host, blobs) = (&world.hosts()[0], world.storage().container("c"));
        let read = async |name: &str| blobs.get(host, name).await.map(|reply| reply.value);

        assert_eq!(read("block").await.expect_err("absent").status(), 404);
        blobs.put(host, "block", text("one"), None).await.expect("put");
        blobs.put(host, "block", text("two"), None).await.expect("replaced");
        assert_eq!(&read("block").await.expect("exists")[..], b"two");
        let part = blobs.get_range(host, "block", 1, 100).await.expect("exists").value;
        assert_eq!(&part[..], b"wo");

        assert_eq!(blobs.append(host, "log", text("ab"), None).await.expect("new").value, 0);
        assert_eq!(blobs.append(host, "log", text("cde"), None).await.expect("more").value, 2);
        assert_eq!(&read("log").await.expect("exists")[..], b"abcde");

        let page = |value: u8, pages: usize| Bytes::from(vec![value; 512 * pages]);
        let write = async |offset: u64, body: Bytes| {
            blobs.page_write(host, "pages", 512 * offset, body, None).await
        };
        assert_eq!(write(0, page(1, 1)).await.expect_err("absent").status(), 404);
        blobs.page_create(host, "pages", 512 * 6, None).await.expect("created");
        write(1, page(1, 3)).await.expect("inside");
        write(2, page(2, 1)).await.expect("over the first");
        let content = read("pages").await.expect("exists");
        let pages: Vec<u8> = content.chunks(512).map(|page| page[511]).collect();
        assert_eq!(pages, [0, 1, 2, 1, 0, 0]);
        let wrong = blobs.append(host, "pages", text("x"), None).await.expect_err("no append blob");
        assert_eq!(wrong.status(), 400);

        let names = blobs.list(host, "").await.expect("served").value;
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["block", "log", "pages"]);
        blobs.delete(host, "log", None).await.expect("exists");
        assert_eq!(blobs.delete(host, "log", None).await.expect_err("gone").status(), 404);
        assert_eq!(blobs.list(host, "l").await.expect("served").value.len(), 0);
        assert_eq!(blobs.append(host, "log", text("new"), None).await.expect("new").value, 0);
    });
}

#[test]
fn a_listing_shows_metadata_and_leases() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (host, blobs) = (&world.hosts()[0], world.storage().container("c"));
        let set = async |text: &'static str, lease| {
            blobs.set_metadata(host, "b", Bytes::from_static(text.as_bytes()), lease).await
        };
        assert_eq!(set("nobody", None).await.expect_err("absent").status(), 404);
        blobs.put(host, "b", text("one"), None).await.expect("put");
        let term = Some(Duration::from_secs(15));
        let lease = blobs.acquire_lease(host, "b", term).await.expect("free").value;
        assert_eq!(set("another", None).await.expect_err("leased").status(), 412);
        set("owner", Some(lease)).await.expect("held");
        let listed = async || blobs.list_details(host, "").await.expect("served").value;
        let [blob] = &listed().await[..] else { panic!("one blob") };
        assert_eq!((&*blob.name, &blob.metadata[..], blob.leased), ("b", &b"owner"[..], true));
        kernel.sleep(Duration::from_secs(16)).await;
        assert!(!listed().await[0].leased, "it has run out");
        assert_eq!(&blobs.get(host, "b").await.expect("exists").value[..], b"one");
    });
}

#[test]
fn a_transfer_takes_its_bytes_over_the_bandwidth() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (host, blobs) = (&world.hosts()[0], world.storage().container("c"));
        let body = Bytes::from(vec![0; 3 << 20]);
        let reply = blobs.put(host, "b", body, None).await.expect("put");
        assert_eq!(reply.timing.get(Category::Storage), ms(5) + ms(50), "3 MiB at 60 MiB/s");
        let reply = blobs.get(host, "b").await.expect("exists");
        assert_eq!(reply.timing.get(Category::Storage), ms(5) + ms(50));
    });
}

// ---- event logs ----

#[test]
fn a_partition_is_first_in_first_out_and_resumes_at_a_position() {
    let received = run(
        |_| {},
        |kernel, profile| async move {
            let world = world(&kernel, profile, 3);
            let log = world.event_log("l", 2);
            for (index, host) in world.hosts().iter().take(2).enumerate() {
                let (client, log) = (host.clone(), log.clone());
                host.spawn(async move {
                    for batch in 0..200u32 {
                        let event = |n: u32| text(&format!("{index} {:04}", batch * 5 + n));
                        let events = (0..5).map(event).collect();
                        log.send(&client, batch % 2, events).await.expect("within the units");
                    }
                });
            }
            let host = &world.hosts()[2];
            let mut received: Vec<Event> = Vec::new();
            let mut subscription = log.subscribe(host, 0, 0);
            while received.len() < 333 {
                let batch = subscription.recv(7).await;
                assert!((1..=7).contains(&batch.len()));
                received.extend(batch);
            }
            drop(subscription);
            kernel.sleep(Duration::from_secs(10)).await;
            assert_eq!((log.end(0), log.end(1)), (1_000, 1_000));
            let mut resumed = log.subscribe(host, 0, received.len() as u64);
            while received.len() < 1_000 {
                received.extend(resumed.recv(1_000).await);
            }
            let nothing = kernel.timeout(Duration::from_secs(1), resumed.recv(1)).await;
            assert_eq!(nothing, None);
            log.send(host, 0, vec![text("last")]).await.expect("within the units");
            assert_eq!(&resumed.recv(9).await[0].body[..], b"last");
            received
        },
    );
    for (position, event) in received.iter().enumerate() {
        assert_eq!(event.position, position as u64);
    }
    for pair in received.windows(2) {
        assert!(pair[0].enqueued_at <= pair[1].enqueued_at);
    }
    for sender in ["0", "1"] {
        let from_sender: Vec<_> =
            received.iter().filter(|event| event.body.starts_with(sender.as_bytes())).collect();
        assert_eq!(from_sender.len(), 500);
        assert!(from_sender.windows(2).all(|pair| pair[0].body < pair[1].body), "in order");
    }
}

#[test]
fn a_slow_reader_is_sent_no_more_than_the_prefetch() {
    run(deterministic, |kernel, profile| async move {
        let prefetch = u64::from(profile.services.eventlog.prefetch_events);
        let world = world(&kernel, profile, 1);
        let (host, log) = (&world.hosts()[0], world.event_log("l", 1));
        let mut subscription = log.subscribe(host, 0, 0);
        for _ in 0..20 {
            log.send(host, 0, vec![text("e"); 100]).await.expect("within the units");
        }
        kernel.sleep(Duration::from_secs(1)).await;
        assert_eq!(world.meter().total("eventlog", "event_out"), prefetch);
        let mut read = 0;
        while read < 2_000 {
            read += subscription.recv(50).await.len();
        }
        assert_eq!(world.meter().total("eventlog", "event_out"), 2_000);
        assert_eq!(world.meter().total("eventlog", "event_in"), 2_000);
        assert_eq!(world.meter().total("eventlog", "send"), 20);
    });
}

#[test]
fn a_reader_that_died_is_sent_nothing() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 2);
        let (dying, host) = (&world.hosts()[0], &world.hosts()[1]);
        let log = world.event_log("l", 1);
        let mut subscription = log.subscribe(dying, 0, 0);
        dying.spawn(async move {
            loop {
                subscription.recv(10).await;
            }
        });
        log.send(host, 0, vec![text("one")]).await.expect("within the units");
        kernel.sleep(ms(10)).await;
        dying.kill();
        kernel.sleep(ms(10)).await;
        log.send(host, 0, vec![text("two")]).await.expect("within the units");
        kernel.sleep(ms(10)).await;
        assert_eq!(world.meter().total("eventlog", "event_out"), 1);
        let mut successor = log.subscribe(host, 0, 1);
        assert_eq!(&successor.recv(10).await[0].body[..], b"two");
    });
}

/// Sends as fast as it can for 10 s; the accepted events and bytes for each second and unit.
fn accepted_per_second(units: u32, events: usize, bytes: usize) -> (f64, f64) {
    let accepted = run(deterministic, move |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        world.set_throughput_units(units).expect("can be rented");
        let (host, log) = (&world.hosts()[0], world.event_log("l", 1));
        let (mut accepted, mut refused) = (0, 0);
        let batch = vec![Bytes::from(vec![0; bytes]); events];
        let end = kernel.now() + Duration::from_secs(10);
        while kernel.now() < end {
            match log.send(host, 0, batch.clone()).await {
                Ok(_) => accepted += 1,
                Err(StorageError::ServerBusy { attempts: 1 }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(refused > 0, "the units are used up");
        assert_eq!(world.meter().total("eventlog", "throttled"), refused);
        accepted
    });
    let per_unit = f64::from(accepted) / 11.0 / f64::from(units);
    (per_unit * events as f64, per_unit * (events * bytes) as f64)
}

#[test]
fn throughput_units_limit_events_and_bytes() {
    for units in [1, 4] {
        let (events, _) = accepted_per_second(units, 50, 10);
        assert!((events / 1_000.0 - 1.0).abs() < 0.02, "{events} small events/s per unit");
        let (_, bytes) = accepted_per_second(units, 3, 30_000);
        assert!((bytes / 1e6 - 1.0).abs() < 0.02, "{bytes} bytes/s per unit");
        let (events, _) = accepted_per_second(units, 1, 300_000);
        assert!((events / (1e6 / 3e5) - 1.0).abs() < 0.15, "{events} large events/s per unit");
    }
}

// ---- clients that die or give up ----

#[test]
fn the_request_of_a_killed_client_is_applied() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 2);
        let (dying, host) = (&world.hosts()[0], &world.hosts()[1]);
        let (queue, table) = (world.storage().queue("q"), world.storage().table("t"));
        let reached = Rc::new(Cell::new(false));
        {
            let (client, queue, table) = (dying.clone(), queue.clone(), table.clone());
            let reached = reached.clone();
            dying.spawn(async move {
                queue.put(&client, text("first"), Duration::ZERO).await.expect("alive");
                let both = futures_util::future::join(
                    queue.put(&client, text("late"), Duration::ZERO),
                    table.insert(&client, "p", "r", text("late")),
                );
                let _ = both.await;
                reached.set(true);
            });
        }
        // The first takes 7 ms; half a millisecond later the second are on the link.
        kernel.sleep(Duration::from_micros(7_500)).await;
        dying.kill();
        assert_eq!(world.meter().total("queue", "put"), 1, "the second is still in flight");
        kernel.sleep(ms(20)).await;
        assert_eq!(queue.length(host).await.expect("served").value, 2);
        assert!(table.get(host, "p", "r").await.expect("served").value.is_some());
        assert!(!reached.get(), "the client has died");
    });
}

#[test]
fn a_request_that_times_out_may_be_applied() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (host, queue) = (&world.hosts()[0], world.storage().queue("q"));
        // Requests arrive after 1 ms, are applied after 3.5, leave after 6 and are answered after 7.
        let mut applied = 0;
        for (timeout, is_answered) in [(0, false), (1, false), (4, false), (6, false), (7, true)] {
            let impatient = queue.with_options(RequestOptions::once(ms(timeout)));
            let started = kernel.now();
            let result = impatient.put(host, text("m"), Duration::ZERO).await;
            assert_eq!(kernel.now().since(started), ms(timeout), "not a nanosecond longer");
            assert_eq!(result.is_ok(), is_answered);
            if let Err(error) = result {
                assert_eq!(error, StorageError::TimedOut { attempts: 1 });
                assert!(error.is_ambiguous());
            }
            kernel.sleep(ms(20)).await;
            applied += 1;
            assert_eq!(queue.length(host).await.expect("served").value, applied);
        }
    });
}

#[test]
fn a_refusal_after_an_attempt_without_an_answer_leaves_the_outcome_open() {
    let change = |profile: &mut Profile| {
        deterministic(profile);
        profile.services.queue.rate = 1.0;
        profile.services.queue.busy_threshold = ms(1200);
    };
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (host, queue) = (&world.hosts()[0], world.storage().queue("q"));
        queue.put(host, text("first"), Duration::ZERO).await.expect("its turn is at once");
        let mut options = RequestOptions::once(ms(500));
        options.retry.retries_max = 1;
        // Waits for its turn when it times out; the repetition would wait too long, and is refused.
        let put = queue.with_options(options);
        let result = put.put(host, text("second"), Duration::ZERO).await;
        assert!(result.expect_err("no answer").is_ambiguous());
        kernel.sleep(Duration::from_secs(5)).await;
        assert_eq!(queue.length(host).await.expect("served").value, 2, "it was applied");
    });
}

#[test]
fn a_timed_out_request_is_repeated_after_the_back_off() {
    let change = |profile: &mut Profile| {
        deterministic(profile);
        let kinds = Latency::Uniform { low_ms: 0.0, high_ms: 200.0 };
        profile.services.table.latency.insert = kinds;
        profile.retry.timeout = ms(50);
    };
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (host, table) = (&world.hosts()[0], world.storage().table("t"));
        let (mut won, mut ambiguous, mut gave_up) = (0, 0, 0);
        for row in 0..200 {
            let started = kernel.now();
            match table.insert(host, "p", row.to_string(), text("x")).await {
                Ok(reply) => {
                    won += 1;
                    assert_eq!(reply.timing.total(), kernel.now().since(started));
                    let retries = reply.timing.get(Category::Retries);
                    assert!(retries.is_zero() || retries >= ms(3_050));
                }
                // The first attempt was applied, though it was not answered in time.
                Err(StorageError::Conflict { .. }) => ambiguous += 1,
                Err(StorageError::TimedOut { attempts: 4 }) => gave_up += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(won > 20 && ambiguous > 20, "{won} {ambiguous}");
        assert!(gave_up > 0 || won + ambiguous == 200);
        let rows = table.query_partition(host, "p").await.expect("served").value;
        assert_eq!(rows.len(), 200, "all were applied in the end");
    });
}

// ---- timing and repeatability ----

/// One request of the given kind; its timing, unless it failed.
async fn one_of_each(world: &World, host: usize, kind: u8) -> Option<Reply<()>> {
    let host = &world.hosts()[host % world.hosts().len()];
    let (queue, table) = (world.storage().queue("q"), world.storage().table("t"));
    let (blobs, log) = (world.storage().container("c"), world.event_log("l", 1));
    let body = Bytes::from(vec![kind; 600]);
    let result = match kind % 12 {
        0 => queue.put(host, body, Duration::ZERO).await,
        1 => queue.get(host, 4, ms(50)).await.map(|reply| reply.map(|_| ())),
        2 => queue.peek(host, 4).await.map(|reply| reply.map(|_| ())),
        3 => queue.length(host).await.map(|reply| reply.map(|_| ())),
        4 => table.get(host, "p", "r").await.map(|reply| reply.map(|_| ())),
        5 => table.insert_or_replace(host, "p", "r", body).await.map(|reply| reply.map(|_| ())),
        6 => table.query_partition(host, "p").await.map(|reply| reply.map(|_| ())),
        7 => blobs.put(host, "b", body, None).await,
        8 => blobs.get(host, "b").await.map(|reply| reply.map(|_| ())),
        9 => blobs.append(host, "a", body, None).await.map(|reply| reply.map(|_| ())),
        10 => blobs.list(host, "").await.map(|reply| reply.map(|_| ())),
        _ => log.send(host, 0, vec![body]).await,
    };
    result.ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    /// Under any mix of load, limits, timeouts and repetitions, the parts of a reply's timing sum
    /// exactly to the virtual time from call to return.
    #[test]
    fn timing_sums_to_the_elapsed_time(
        requests in proptest::collection::vec((0u64..3_000, 0usize..3, any::<u8>()), 1..150),
        rate in 20.0..2_000.0f64,
        threshold_ms in 0u64..200,
        timeout_ms in 5u64..100,
    ) {
        let change = move |profile: &mut Profile| {
            for rate_of in [
                &mut profile.services.queue.rate,
                &mut profile.services.table.rate,
                &mut profile.services.blob.rate,
            ] {
                *rate_of = rate;
            }
            profile.services.account.rate = rate * 1.5;
            profile.services.queue.busy_threshold = ms(threshold_ms);
            profile.services.table.busy_threshold = ms(threshold_ms);
            profile.services.blob.busy_threshold = ms(threshold_ms);
            profile.retry.timeout = ms(timeout_ms);
        };
        run(change, move |kernel, profile| async move {
            let world = world(&kernel, profile, 3);
            let replies = Rc::new(RefCell::new(0));
            let work = requests.into_iter().map(|(at, host, kind)| {
                let (world, kernel, replies) = (world.clone(), kernel.clone(), replies.clone());
                async move {
                    kernel.sleep(ms(at)).await;
                    let started = kernel.now();
                    if let Some(reply) = one_of_each(&world, host, kind).await {
                        assert_eq!(reply.timing.total(), kernel.now().since(started));
                        *replies.borrow_mut() += 1;
                    }
                }
            });
            futures_util::future::join_all(work).await;
        });
    }
}

#[test]
fn a_plain_request_is_split_into_its_parts() {
    let change = |profile: &mut Profile| {
        deterministic(profile);
        profile.cpu.storage_request = ms(4);
        profile.host.background_cores = 1.0;
    };
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (host, queue) = (world.hosts()[0].clone(), world.storage().queue("q"));
        // Two cores of which background work takes one: 4 ms take 8; the third waits for a core.
        let puts = (0..3).map(|_| queue.put(&host, text("m"), Duration::ZERO));
        let replies = futures_util::future::join_all(puts).await;
        let part =
            |index: usize, category| replies[index].as_ref().expect("served").timing.get(category);
        assert_eq!(part(0, Category::Cpu), ms(8));
        assert_eq!((part(0, Category::Network), part(0, Category::Storage)), (ms(2), ms(5)));
        assert_eq!((part(0, Category::Queueing), part(2, Category::Queueing)), (ms(0), ms(8)));
        assert_eq!(part(1, Category::Throttling), Duration::from_micros(500), "one turn at 2000/s");
    });
}

#[test]
fn equal_runs_have_equal_trails_and_other_payloads_others() {
    let trail = |payload: &'static str| {
        sim_world::kernel::on_fresh_thread(|| {
            let profile = Profile::named("azure-2021-10").expect("valid");
            let options = sim_world::kernel::KernelOptions::with_seed(3);
            let main = |kernel: sim_world::kernel::Kernel| async move {
                let world = world(&kernel, Rc::new(profile), 3);
                for kind in 0..100 {
                    one_of_each(&world, usize::from(kind), kind).await;
                }
                let queue = world.storage().queue("q");
                queue.put(&world.hosts()[0], text(payload), Duration::ZERO).await.expect("put");
            };
            sim_world::kernel::simulate(options, main).expect("comes to its end").1.digest
        })
    };
    assert_eq!(trail("a"), trail("a"));
    assert_ne!(trail("a"), trail("b"), "the same events, with another payload");
}
