//! A database on its machine: locks that wait, commits that share a write of the log, crashes.

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join_all};
use sim_model::ledger::Category;
use sim_world::disk::DiskFault;
use sim_world::kernel::{Kernel, KernelOptions, on_fresh_thread, simulate};
use sim_world::profile::Profile;
use sim_world::sql::{
    Database, DatabaseClient, DatabaseOptions, Fate, LockMode, Row, Schema, SqlError, TableId,
    TableSpec, Transaction,
};
use sim_world::world::{Deployment, World, WorldError};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

const ACCOUNTS: TableId = TableId(0);
const TRANSFER: usize = 0;
const INSERT: usize = 1;
const SUM: usize = 2;
const READ_BOTH: usize = 3;

struct Bank;

fn amount(row: &Row) -> i64 {
    i64::from_be_bytes(row.value[..].try_into().expect("8 bytes"))
}

fn row(amount: i64) -> Row {
    Row::new(Bytes::copy_from_slice(&amount.to_be_bytes()))
}

impl Schema for Bank {
    const TABLES: &'static [TableSpec] = &[TableSpec { name: "Accounts", indexes: 0 }];
    const PROCEDURES: &'static [&'static str] = &["Transfer", "Insert", "Sum", "ReadBoth"];

    fn run(
        &self,
        procedure: usize,
        tx: Transaction,
        arguments: Bytes,
    ) -> LocalBoxFuture<'static, Result<Bytes, SqlError>> {
        let key = |index: usize| Rc::from(&arguments[index..=index]);
        match procedure {
            TRANSFER => {
                let (from, to) = (key(0), key(1));
                Box::pin(async move {
                    for (account, change) in [(from, -1), (to, 1)] {
                        tx.statement().await;
                        let found = tx.read_locked(ACCOUNTS, &account, LockMode::Exclusive).await?;
                        let before = found.as_ref().map_or(0, amount);
                        tx.put(ACCOUNTS, &account, row(before + change)).await?;
                    }
                    Ok(Bytes::new())
                })
            }
            INSERT => {
                let account = key(0);
                Box::pin(async move {
                    tx.statement().await;
                    tx.insert(ACCOUNTS, account, row(0)).await?;
                    Ok(Bytes::new())
                })
            }
            SUM => Box::pin(async move {
                tx.statement().await;
                let sum: i64 =
                    tx.scan_prefix(ACCOUNTS, &[]).iter().map(|(_, row)| amount(row)).sum();
                Ok(Bytes::copy_from_slice(&sum.to_be_bytes()))
            }),
            READ_BOTH => {
                let (first, second) = (key(0), key(1));
                Box::pin(async move {
                    tx.statement().await;
                    tx.read_locked(ACCOUNTS, &first, LockMode::Shared).await?;
                    tx.statement().await;
                    tx.read_locked(ACCOUNTS, &second, LockMode::Shared).await?;
                    Ok(Bytes::new())
                })
            }
            other => unreachable!("no procedure {other}"),
        }
    }
}

struct Stage {
    kernel: Kernel,
    world: World,
    database: Database<Bank>,
    client: DatabaseClient<Bank>,
    committed: Cell<u32>,
    lost: Cell<u32>,
}

impl Stage {
    async fn call(
        self: &Rc<Self>,
        procedure: usize,
        keys: impl AsRef<[u8]>,
    ) -> Result<Bytes, SqlError> {
        let stage = self.clone();
        let verdict = Box::new(move |fate| {
            let count = if fate == Fate::Committed { &stage.committed } else { &stage.lost };
            count.set(count.get() + 1);
        });
        let arguments = Bytes::copy_from_slice(keys.as_ref());
        let begun = self.kernel.now();
        let reply = self.client.call(procedure, arguments, Some(verdict)).await?;
        assert_eq!(reply.timing.total(), self.kernel.now().since(begun), "all is explained");
        Ok(reply.value)
    }

    async fn sum(self: &Rc<Self>) -> i64 {
        let bytes = self.call(SUM, [0; 0]).await.expect("an answer");
        i64::from_be_bytes(bytes[..].try_into().expect("8 bytes"))
    }

    fn total(&self, kind: &str) -> u64 {
        self.world.meter().total("sql", kind)
    }
}

fn play<T: Send + 'static>(
    seed: u64,
    scene: impl AsyncFnOnce(Rc<Stage>) -> T + Send + 'static,
) -> T {
    on_fresh_thread(move || {
        let main = move |kernel: Kernel| async move {
            let profile = Rc::new(Profile::named("azure-2021-10").expect("embedded"));
            let deployment = Deployment { plan: "EP2".into(), hosts: 2, partitions: 1 };
            let world = World::new(&kernel, seed, profile, &deployment).expect("a world");
            let options = DatabaseOptions { cores: Some(4), delayed_durability: false };
            let database = Database::open(&world, "db", "database", Rc::new(Bank), options)
                .expect("the profile has databases");
            let client = database.client(&world.hosts()[0]);
            kernel.sleep(Duration::from_secs(1)).await;
            let (committed, lost) = (Cell::new(0), Cell::new(0));
            scene(Rc::new(Stage { kernel, world, database, client, committed, lost })).await
        };
        simulate(KernelOptions::with_seed(seed), main).expect("the run ends").0
    })
}

#[test]
fn a_call_waits_for_the_network_the_cores_and_the_log() {
    play(1, async |stage: Rc<Stage>| {
        let arguments = Bytes::from_static(&[1]);
        let reply = stage.client.call(INSERT, arguments, None).await.expect("committed");
        let millis = |category| reply.timing.get(category).as_secs_f64() * 1e3;
        assert!(millis(Category::Network) > 1.0, "opening the connection, there and back");
        assert!(millis(Category::Cpu) > 1.0);
        assert!(millis(Category::Commit) > 1.0);
        let again = stage.call(INSERT, [1]).await;
        assert_eq!(again, Err(SqlError::DuplicateKey { table: "Accounts" }));
        assert_eq!((stage.committed.get(), stage.lost.get()), (0, 1));
        let begun = stage.kernel.now();
        assert_eq!(stage.sum().await, 0);
        let read = stage.kernel.now().since(begun);
        assert!(read < Duration::from_millis(4), "{read:?}: a read does not wait for the log");
    });
}

#[test]
fn writers_of_one_row_wait_in_line_and_commits_share_writes_of_the_log() {
    play(2, async |stage: Rc<Stage>| {
        join_all((0..20).map(|_| stage.call(TRANSFER, [1, 2]))).await;
        assert!(stage.total("lock_wait") >= 19, "{}", stage.total("lock_wait"));
        assert_eq!(stage.sum().await, 0);
        let before = stage.total("log_flush");
        join_all((0..100).map(|n| stage.call(TRANSFER, [10 + n, 120 + n]))).await;
        let writes = stage.total("log_flush") - before;
        assert!((1..100).contains(&writes), "{writes} writes for 100 commits");
        assert_eq!((stage.committed.get(), stage.lost.get()), (121, 0));
    });
}

#[test]
fn deadlocks_have_a_victim_and_everybody_else_goes_on() {
    play(3, async |stage: Rc<Stage>| {
        let outcomes = join_all((0..40).map(|n| {
            let pair = if n % 2 == 0 { [1, 2] } else { [2, 1] };
            let stage = stage.clone();
            async move { stage.call(TRANSFER, pair).await }
        }))
        .await;
        let victims = outcomes.iter().filter(|out| **out == Err(SqlError::Deadlock)).count();
        assert!(
            victims > 0
                && outcomes.iter().all(|out| out.is_ok() || out == &Err(SqlError::Deadlock))
        );
        assert_eq!(stage.total("deadlock"), victims as u64);
        assert_eq!(
            (stage.committed.get() as usize, stage.lost.get() as usize),
            (40 - victims, victims)
        );
        assert_eq!(stage.sum().await, 0);
    });
}

/// Readers with locks see both accounts of a transfer before it, or after.
#[test]
fn readers_with_locks_hold_writers_up() {
    play(4, async |stage: Rc<Stage>| {
        join_all((0..30).map(|n| {
            let stage = stage.clone();
            async move {
                let procedure = if n % 3 == 0 { TRANSFER } else { READ_BOTH };
                stage.call(procedure, [1, 2]).await.expect("in the same order: no deadlock");
            }
        }))
        .await;
        assert!(stage.total("lock_wait") > 0);
        assert_eq!(stage.total("deadlock"), 0);
    });
}

/// Whatever a crash interrupts: what was answered is there, every verdict is given, and it is right.
#[test]
fn after_a_crash_the_committed_prefix_is_there() {
    let mut unanswered = 0;
    for seed in 1..=12 {
        unanswered += play(seed, async move |stage: Rc<Stage>| {
            let (answered, unanswered) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(0)));
            for n in 0..60_u8 {
                let (task, answered, unanswered) =
                    (stage.clone(), answered.clone(), unanswered.clone());
                stage.world.hosts()[0].spawn(async move {
                    for _ in 0..4 {
                        match task.call(INSERT, [4 * n]).await {
                            Ok(_) => answered.set(answered.get() + 1),
                            Err(SqlError::DuplicateKey { .. }) => {}
                            Err(error) => {
                                assert!(error.is_transient(), "{error}");
                                *unanswered.borrow_mut() += u32::from(error.is_ambiguous());
                                task.kernel.sleep(Duration::from_millis(700)).await;
                            }
                        }
                    }
                });
            }
            stage.kernel.sleep(Duration::from_micros(2_000 + 700 * seed)).await;
            if seed % 2 == 0 {
                stage.database.machine().kill();
            } else {
                stage.database.machine().lose_power();
            }
            stage.kernel.sleep(Duration::from_millis(500)).await;
            stage.database.machine().restart();
            stage.kernel.sleep(Duration::from_secs(100)).await;
            let inserted = stage.committed.get();
            assert!(inserted >= answered.get(), "what was answered was committed");
            stage.call(SUM, [0; 0]).await.expect("it lives");
            // Nothing is left open: each of the calls has its verdict.
            assert_eq!(stage.committed.get() + stage.lost.get(), 60 * 4 + 1, "seed {seed}");
            let again = join_all((0..60_u8).map(|n| {
                let stage = stage.clone();
                async move { stage.call(INSERT, [4 * n]).await.is_err() }
            }));
            let there = again.await.into_iter().filter(|there| *there).count() as u32;
            assert_eq!(there, inserted, "seed {seed}: the verdicts are right");
            *unanswered.borrow()
        });
    }
    assert!(unanswered > 0, "some crash hit a commit");
}

/// A crash of the processes leaves in the page cache what a disk that stands still does not have. Recovery finds
/// it there; whatever it says of it must still hold when the power fails right after.
#[test]
fn what_recovery_has_shown_outlives_a_power_loss() {
    let mut fates = Vec::new();
    for seed in 1..=8 {
        fates.push(play(seed, async move |stage: Rc<Stage>| {
            let machine = stage.database.machine().clone();
            let pause = async |millis| stage.kernel.sleep(Duration::from_millis(millis)).await;
            stage.call(INSERT, [1]).await.expect("committed");
            let stall = DiskFault::Stall { span: Duration::from_secs(3) };
            machine.disk().expect("databases have one").inject(stall);
            let task = stage.clone();
            stage.world.hosts()[0].spawn(async move {
                let interrupted = task.call(INSERT, [2]).await;
                assert!(interrupted.is_err_and(|error| error.is_ambiguous()));
            });
            pause(200).await;
            machine.kill();
            pause(50).await;
            machine.restart();
            pause(100 * seed).await;
            machine.lose_power();
            pause(500).await;
            machine.restart();
            pause(10_000).await;
            let (committed, lost) = (stage.committed.get(), stage.lost.get());
            assert_eq!(committed + lost, 2, "seed {seed}: each has its verdict");
            let there = stage.call(INSERT, [2]).await.is_err();
            assert_eq!(there, committed == 2, "seed {seed}: the verdict is right");
            there
        }));
    }
    // The device has what it was given last, or it has not.
    assert!(fates.contains(&true) && fates.contains(&false), "{fates:?}");
}

/// Of what a disk did not write, recovery finds what came before, and nothing half done.
#[test]
fn what_a_disk_has_lost_is_the_end_of_the_log() {
    play(1, async |stage: Rc<Stage>| {
        let machine = stage.database.machine().clone();
        let disk = machine.disk().expect("databases have one").clone();
        for account in 0..3 {
            stage.call(INSERT, [account]).await.expect("committed");
        }
        disk.inject(DiskFault::LostWrites { count: 1 });
        for account in 3..6 {
            stage.call(INSERT, [account]).await.expect("the disk says so");
        }
        machine.lose_power();
        machine.restart();
        stage.kernel.sleep(Duration::from_secs(10)).await;
        for account in 0..6 {
            let there = stage.call(INSERT, [account]).await.is_err();
            assert_eq!(there, account < 3, "account {account}");
        }
    });
}

/// A checkpoint that was finished and is not whole any more: the database is not opened.
#[test]
fn a_damaged_database_answers_nobody() {
    play(1, async |stage: Rc<Stage>| {
        let machine = stage.database.machine().clone();
        let disk = machine.disk().expect("databases have one").clone();
        for account in 0..2 {
            stage.call(INSERT, [account]).await.expect("committed");
            stage.kernel.sleep(Duration::from_secs(70)).await;
        }
        let images: Vec<String> =
            disk.list().into_iter().filter(|name| name.starts_with("data-")).collect();
        assert_eq!(images.len(), 2, "{images:?}");
        machine.kill();
        disk.write(&images[0], 16, Bytes::from_static(b"????")).await.expect("room");
        machine.restart();
        stage.kernel.sleep(Duration::from_secs(10)).await;
        assert!(stage.call(INSERT, [2]).await.is_err());
    });
}

#[test]
fn a_profile_without_databases_is_refused() {
    on_fresh_thread(|| {
        let main = |kernel: Kernel| async move {
            let text = include_str!("../../../experiments/profiles/azure-2021-10.toml");
            let end = text.find("\n[database]").expect("the section");
            let profile = Rc::new(Profile::parse("bare", &text[..end]).expect("valid"));
            let deployment = Deployment { plan: "EP1".into(), hosts: 1, partitions: 1 };
            let world = World::new(&kernel, 1, profile, &deployment).expect("a world");
            let options = DatabaseOptions { cores: None, delayed_durability: false };
            let refused = Database::open(&world, "db", "database", Rc::new(Bank), options).err();
            assert!(matches!(refused, Some(WorldError::Section { section: "database", .. })));
        };
        simulate(KernelOptions::with_seed(1), main).expect("the run ends");
    });
}
