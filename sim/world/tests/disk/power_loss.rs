//! What a power loss leaves, against a model that knows every version of every file.
//!
//! The model keeps, for each file, the content at its last sync and every content since, and the
//! states of all names since the last sync of anything. After a power loss
//! - the names must be one of those states;
//! - each sector of a file must be as in one of the file's contents;
//! - the size must be at least that of the last sync and at most the largest since.
//!
//! So what was synced and not changed since is there whole, and nothing is invented. Before the loss,
//! reading must give exactly what was written last.

use super::support::{profile, run_with_digest};
use bytes::Bytes;
use proptest::prelude::*;
use sim_world::disk::Disk;
use sim_world::distribution::Latency;
use sim_world::kernel::{Kernel, Sender};
use sim_world::profile::DiskProfile;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const SECTOR: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Append(u8, usize, u8),
    Write(u8, u64, usize, u8),
    Truncate(u8, u64),
    Rename(u8, u8),
    Delete(u8),
    Sync(u8),
    SyncNames,
    Sleep(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0u8..3;
    prop_oneof![
        4 => (file.clone(), 0usize..90, 1u8..).prop_map(|(f, n, b)| Step::Append(f, n, b)),
        4 => (file.clone(), 0u64..150, 0usize..70, 1u8..)
            .prop_map(|(f, at, n, b)| Step::Write(f, at, n, b)),
        1 => (file.clone(), 0u64..150).prop_map(|(f, n)| Step::Truncate(f, n)),
        1 => (file.clone(), file.clone()).prop_map(|(a, b)| Step::Rename(a, b)),
        1 => file.clone().prop_map(Step::Delete),
        3 => file.prop_map(Step::Sync),
        1 => Just(Step::SyncNames),
        2 => (0u64..4000).prop_map(Step::Sleep),
    ]
}

fn name(file: u8) -> String {
    format!("file-{file}")
}

/// A file, whatever its name: its content at the last sync, and all since.
type Versions = Vec<Vec<u8>>;

#[derive(Default)]
struct Model {
    files: Vec<Versions>,
    /// States of the names, the last is the present one.
    names: Vec<BTreeMap<String, usize>>,
}

impl Model {
    fn from(contents: BTreeMap<String, Vec<u8>>) -> Model {
        let mut model = Model { files: Vec::new(), names: vec![BTreeMap::new()] };
        for (name, content) in contents {
            model.names[0].insert(name, model.files.len());
            model.files.push(vec![content]);
        }
        model
    }

    fn now(&self) -> &BTreeMap<String, usize> {
        self.names.last().expect("there is a present")
    }

    fn file(&self, name: &str) -> Option<usize> {
        self.now().get(name).copied()
    }

    fn rename(&mut self, change: impl FnOnce(&mut BTreeMap<String, usize>) -> Option<usize>) {
        let mut names = self.now().clone();
        let _before = change(&mut names);
        self.names.push(names);
    }

    fn write(&mut self, name: &str, at: Option<u64>, bytes: &[u8]) {
        let file = self.file(name).unwrap_or_else(|| {
            self.files.push(vec![Vec::new()]);
            let file = self.files.len() - 1;
            self.rename(|names| names.insert(name.to_owned(), file));
            file
        });
        let mut content = self.files[file].last().expect("a version").clone();
        let at = at.map_or(content.len(), |at| at as usize);
        if !bytes.is_empty() {
            content.resize(content.len().max(at + bytes.len()), 0);
            content[at..at + bytes.len()].copy_from_slice(bytes);
        }
        self.files[file].push(content);
    }

    fn truncate(&mut self, name: &str, size: usize) {
        let Some(file) = self.file(name) else { return };
        if self.files[file].last().expect("a version").len() <= size {
            return;
        }
        let mut versions = self.files[file].clone();
        versions.iter_mut().for_each(|version| version.truncate(size));
        self.files.push(versions);
        let file = self.files.len() - 1;
        self.rename(|names| names.insert(name.to_owned(), file));
    }

    /// Checks what is left.
    fn check(&self, left: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
        let fits = |names: &BTreeMap<String, usize>| -> Result<(), String> {
            if !names.keys().eq(left.keys()) {
                return Err(format!("other names: {:?}", names.keys()));
            }
            names.iter().try_for_each(|(name, file)| fits_versions(&self.files[*file], &left[name]))
        };
        let reasons: Vec<String> =
            self.names.iter().filter_map(|names| fits(names).err()).collect();
        if reasons.len() < self.names.len() { Ok(()) } else { Err(reasons.join("; ")) }
    }
}

fn fits_versions(versions: &Versions, left: &[u8]) -> Result<(), String> {
    let most = versions.iter().map(Vec::len).max().expect("a version");
    if left.len() < versions[0].len() || left.len() > most {
        return Err(format!("{} bytes, expected {} to {most}", left.len(), versions[0].len()));
    }
    for from in (0..left.len()).step_by(SECTOR) {
        let to = (from + SECTOR).min(left.len());
        let is_as_in = |version: &Vec<u8>| (from..to).all(|at| version.get(at) == Some(&left[at]));
        if !versions.iter().any(is_as_in) {
            return Err(format!("bytes {from}..{to} are invented: {:?}", &left[from..to]));
        }
    }
    Ok(())
}

async fn contents(disk: &Disk) -> BTreeMap<String, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for name in disk.list() {
        let content = disk.read_all(&name).await.expect("it is there").value.to_vec();
        contents.insert(name, content);
    }
    contents
}

/// Carries out steps until the power fails.
async fn carry_out(
    kernel: Kernel,
    disk: Disk,
    model: Rc<RefCell<Model>>,
    steps: Vec<Step>,
    syncs: Sender<()>,
) {
    for step in steps {
        let done = match step {
            Step::Append(file, length, byte) => {
                model.borrow_mut().write(&name(file), None, &vec![byte; length]);
                disk.append(&name(file), Bytes::from(vec![byte; length])).await.map(drop)
            }
            Step::Write(file, at, length, byte) => {
                model.borrow_mut().write(&name(file), Some(at), &vec![byte; length]);
                disk.write(&name(file), at, Bytes::from(vec![byte; length])).await.map(drop)
            }
            Step::Truncate(file, size) => {
                model.borrow_mut().truncate(&name(file), size as usize);
                let _ = disk.truncate(&name(file), size);
                Ok(())
            }
            Step::Rename(from, to) => {
                let file = model.borrow().file(&name(from));
                if let (Some(file), true) = (file, from != to) {
                    model.borrow_mut().rename(|names| {
                        names.remove(&name(from));
                        names.insert(name(to), file)
                    });
                }
                assert_eq!(disk.rename(&name(from), &name(to)).is_ok(), file.is_some());
                Ok(())
            }
            Step::Delete(file) => {
                let known = model.borrow().file(&name(file)).is_some();
                if known {
                    model.borrow_mut().rename(|names| names.remove(&name(file)));
                }
                assert_eq!(disk.delete(&name(file)).is_ok(), known);
                Ok(())
            }
            Step::Sync(_) | Step::SyncNames => {
                let file = match step {
                    Step::Sync(file) => model.borrow().file(&name(file)),
                    _ => None,
                };
                let names = model.borrow().names.len() - 1;
                let version = file.map(|file| model.borrow().files[file].len() - 1);
                let synced = match (&step, file) {
                    (Step::Sync(it), Some(_)) => disk.sync(&name(*it)).await,
                    _ => disk.sync_names().await,
                };
                if synced.is_ok() {
                    let model = &mut *model.borrow_mut();
                    model.names.drain(..names);
                    if let (Some(file), Some(version)) = (file, version) {
                        model.files[file].drain(..version);
                    }
                    syncs.send(());
                }
                synced.map(drop)
            }
            Step::Sleep(millis) => {
                kernel.sleep(Duration::from_millis(millis)).await;
                Ok(())
            }
        };
        if done.is_err() {
            return;
        }
        let names = model.borrow().now().clone();
        for (name, file) in names {
            let Ok(read) = disk.read_all(&name).await else { return };
            let expected = model.borrow().files[file].last().expect("a version").clone();
            assert_eq!(read.value, expected, "{name} reads as it was written");
        }
    }
}

fn small(write_cache_bytes: u64, queue_depth: u32, cache_pages: u64) -> DiskProfile {
    DiskProfile {
        sector_bytes: SECTOR as u64,
        queue_depth,
        read: Latency::Exponential { mean_ms: 2.0 },
        write: Latency::Exponential { mean_ms: 20.0 },
        flush: Latency::Exponential { mean_ms: 5.0 },
        write_cache_bytes,
        cache_bytes: cache_pages * 16,
        dirty_background_bytes: cache_pages * 8,
        dirty_limit_bytes: cache_pages * 16,
        writeback_interval: Duration::from_millis(500),
        dirty_expire: Duration::from_millis(1000),
        ..profile()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn synced_bytes_survive_whole_and_none_are_invented(
        seed in 0u64..1000,
        write_cache in prop_oneof![Just(0u64), Just(64), Just(1 << 20)],
        queue_depth in prop_oneof![Just(1u32), Just(8)],
        cache_pages in prop_oneof![Just(2u64), Just(4), Just(12), Just(4096)],
        lives in proptest::collection::vec(
            (proptest::collection::vec(step(), 1..30), 0u64..20_000, 0usize..5), 1..4),
    ) {
        let disk_profile = small(write_cache, queue_depth, cache_pages);
        let program = |kernel: Kernel, disk: Disk, _| async move {
            let mut left = BTreeMap::new();
            let process = kernel.create_node("process");
            for (steps, millis, syncs) in lives {
                let model = Rc::new(RefCell::new(Model::from(left)));
                let (sender, synced) = kernel.channel();
                let work = carry_out(kernel.clone(), disk.clone(), model.clone(), steps, sender);
                kernel.spawn(process, work);
                // The power fails then, or right after the last of so many syncs.
                let last_sync = async {
                    for _ in 0..syncs {
                        synced.recv().await;
                    }
                };
                let span = Duration::from_millis(millis);
                match syncs {
                    0 => kernel.sleep(span).await,
                    _ => drop(kernel.timeout(span, last_sync).await),
                }
                kernel.restart(process);
                disk.lose_power();
                left = contents(&disk).await;
                model.borrow().check(&left)?;
            }
            Ok::<(), String>(())
        };
        let (result, _) = run_with_digest(seed, disk_profile, program);
        prop_assert!(result.is_ok(), "{:?}", result);
    }
}

/// A write of many sectors can be torn, and a later write can survive an earlier one.
#[test]
fn writes_are_torn_and_reordered() {
    let (mut torn, mut reordered, mut whole) = (0, 0, 0);
    for seed in 0..200 {
        let disk_profile = DiskProfile { write_cache_bytes: 1 << 20, ..small(0, 8, 4096) };
        let left =
            run_with_digest(seed, disk_profile, |kernel: Kernel, disk: Disk, _| async move {
                disk.append("log", Bytes::from(vec![1; 160])).await.expect("room");
                disk.sync("log").await.expect("synced");
                disk.write("log", 0, Bytes::from(vec![2; 64])).await.expect("room");
                kernel.sleep(Duration::from_secs(2)).await;
                disk.write("log", 96, Bytes::from(vec![3; 64])).await.expect("room");
                kernel.sleep(Duration::from_secs(2)).await;
                disk.lose_power();
                disk.read_all("log").await.expect("there").value
            })
            .0;
        assert_eq!((left.len(), &left[64..96]), (160, &[1; 32][..]), "what nobody touched");
        let earlier = left[..64].iter().filter(|byte| **byte == 2).count();
        let later = left[96..].iter().filter(|byte| **byte == 3).count();
        assert!(left.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        torn += usize::from(earlier % 64 != 0);
        reordered += usize::from(later > earlier);
        whole += usize::from(later == 64 && earlier == 64);
    }
    assert!(torn > 150 && reordered > 50 && whole < 20, "{torn} {reordered} {whole}");
}

/// A commit that is under way when the power fails has flushed what its sizes refer to, or did not happen.
#[test]
fn a_commit_refers_to_no_bytes_that_the_power_took() {
    let (mut committed, mut lost) = (0, 0);
    for seed in 0..300 {
        let disk_profile = small(1 << 20, 8, 4096);
        let program = move |kernel: Kernel, disk: Disk, _| async move {
            disk.append("log", Bytes::from(vec![1; 160])).await.expect("room");
            let crash = async {
                kernel.sleep(Duration::from_millis(20 + seed / 2)).await;
                disk.lose_power();
            };
            let _ = futures_util::future::join(disk.sync("log"), crash).await;
            match disk.read_all("log").await {
                Ok(read) => Some(read.value),
                Err(_) => None,
            }
        };
        match run_with_digest(seed, disk_profile, program).0 {
            Some(left) => {
                assert!(left.iter().all(|byte| *byte == 1), "seed {seed}: {left:?}");
                committed += 1;
            }
            None => lost += 1,
        }
    }
    assert!(committed > 30 && lost > 30, "{committed} committed, {lost} lost");
}
