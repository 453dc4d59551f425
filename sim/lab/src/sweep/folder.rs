//! The folder of a sweep: what is in it, and how it gets there.
//!
//! Every file and every folder of a run is written under another name beside its place and renamed when
//! it is complete; a run's record comes after its folder. A process that is killed at any instant leaves
//! runs that are complete, and names that begin with a point, which the next one removes.

use super::record::{self, Ended, Record};
use super::{MARKER, Outcome, Plan, Planned, Shard, SweepError, plan, table};
use crate::results::{PROVENANCE, Provenance, ResultsError, at, remove, write_file};
use crate::text_file;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of shards within that of the whole.
pub const SHARDS: &str = "shards";
const SHARD: &str = "shard.toml";
const RUNS: &str = "runs";
const RECORDS: &str = "records";
const TABLES: [&str; 2] = [table::RUNS, table::CELLS];

/// The folder of a sweep, which this process may write to.
#[derive(Debug)]
pub struct SweepFolder {
    path: PathBuf,
    shard: Shard,
    /// Holds the lock until it is dropped.
    _lock: File,
}

/// What a folder has of its runs.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The record of each run of the plan, if it is there and intact.
    pub records: Vec<Option<Record>>,
    /// How many records there are that are not intact.
    pub damaged: usize,
}

impl Loaded {
    /// The runs, of these, that have no record.
    pub fn missing(&self, of: &[usize]) -> Vec<usize> {
        of.iter().copied().filter(|run| self.records[*run].is_none()).collect()
    }

    /// The runs that ended like this.
    pub fn ended(&self, outcome: Outcome) -> impl Iterator<Item = usize> {
        self.records.iter().enumerate().filter_map(move |(index, record)| {
            record.as_ref().filter(|record| record.outcome == outcome).map(|_| index)
        })
    }
}

impl SweepFolder {
    /// The folder that holds this shard of a sweep, which is made if there is none.
    ///
    /// # Errors
    /// If it holds something else, another sweep or another shard, or another process writes to it.
    pub fn open(path: &Path, plan: &Plan, shard: Shard) -> Result<SweepFolder, SweepError> {
        let marker = plan::file_in(path);
        if !marker.exists() {
            Self::begin(path, plan, shard)?;
        }
        // Before the lock: whose sweep it is does not change any more.
        check_same(path, plan)?;
        let found = shard_of(path)?;
        if found != shard {
            let what = format!("shard {found}, not {shard},");
            return Err(SweepError::Other { path: path.to_owned(), what });
        }
        let lock = File::options().append(true).open(&marker).map_err(at(&marker))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(SweepError::Busy { path: path.to_owned() });
        }
        let folder = SweepFolder { path: path.to_owned(), shard, _lock: lock };
        folder.sweep_up()?;
        Ok(folder)
    }

    fn begin(path: &Path, plan: &Plan, shard: Shard) -> Result<(), SweepError> {
        if path.exists() && !path.is_dir() {
            return Err(ResultsError::NotAFolder { path: path.to_owned() }.into());
        }
        // What a beginning that was killed has left, or shards that are to be merged.
        let begun = |name: &str| [SHARD, "files", SHARDS].contains(&name) || is_partial(name);
        for name in names(path)? {
            if !begun(&name) {
                let (path, marker) = (path.to_owned(), MARKER);
                return Err(ResultsError::NotAResult { path, marker }.into());
            }
        }
        fs::create_dir_all(path).map_err(at(path))?;
        for (name, content) in &plan.packed().files {
            write_atomically(path, name, content)?;
        }
        if !shard.is_all() {
            write_atomically(path, SHARD, format!("shard = \"{shard}\"\n").as_bytes())?;
        }
        // By which the folder is known, and so the last.
        write_atomically(path, MARKER, plan.packed().text.as_bytes())?;
        Ok(())
    }

    /// Removes what a process that was killed had not completed.
    fn sweep_up(&self) -> Result<(), SweepError> {
        for name in names(&self.path)?.into_iter().filter(|name| is_partial(name)) {
            let path = self.path.join(name);
            fs::remove_file(&path).map_err(at(&path))?;
        }
        for folder in [self.path.join(RUNS), self.path.join(RECORDS)] {
            for name in names(&folder)?.into_iter().filter(|name| name.starts_with('.')) {
                let path = folder.join(name);
                if path.is_dir() {
                    remove(&path)?;
                } else {
                    fs::remove_file(&path).map_err(at(&path))?;
                }
            }
        }
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which part of the sweep it has.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Writes a run that has ended.
    pub(super) fn write(
        &self,
        run: &Planned,
        spec: &crate::spec::CheckedSpec,
        ended: &Ended,
        keep: super::Keep,
        provenance: &Provenance,
    ) -> Result<(), ResultsError> {
        let files = record::kept(spec, ended, keep);
        let record = Record::of(run, ended, &files);
        if !files.is_empty() {
            self.put_run(&run.key, |place| {
                for (name, content) in &files {
                    write_file(place, name, content)?;
                }
                write_file(place, PROVENANCE, provenance.to_json())
            })?;
        }
        self.put_record(&record)
    }

    fn put_run(
        &self,
        key: &str,
        write: impl FnOnce(&Path) -> Result<(), ResultsError>,
    ) -> Result<(), ResultsError> {
        let runs = self.path.join(RUNS);
        let (partial, place) = (runs.join(format!(".{key}")), runs.join(key));
        remove(&partial)?;
        fs::create_dir_all(&partial).map_err(at(&partial))?;
        write(&partial)?;
        remove(&place)?;
        fs::rename(&partial, &place).map_err(at(&place))
    }

    fn put_record(&self, record: &Record) -> Result<(), ResultsError> {
        let name = format!("{RECORDS}/{}.json", record.key);
        write_atomically(&self.path, &name, record.to_json().as_bytes())
    }

    /// Forgets these runs, so that they are missing.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget(&self, plan: &Plan, runs: &[usize]) -> Result<(), SweepError> {
        self.remove_tables()?;
        for run in runs {
            let path = record_path(&self.path, &plan.runs()[*run].key);
            fs::remove_file(&path).map_err(at(&path))?;
        }
        Ok(())
    }

    /// Takes in all runs that another folder of the same sweep has and this one has not; returns how many.
    ///
    /// # Errors
    /// If the other is of another sweep, or the system refuses.
    pub fn take_in(&self, plan: &Plan, other: &Path) -> Result<usize, SweepError> {
        check_same(other, plan)?;
        let theirs = load(other, plan);
        let ours = load(&self.path, plan);
        let mut taken = 0;
        for (index, record) in theirs.records.iter().enumerate() {
            let Some(record) = record.as_ref().filter(|_| ours.records[index].is_none()) else {
                continue;
            };
            if !record.files.is_empty() {
                let from = other.join(RUNS).join(&record.key);
                let provenance = [PROVENANCE.to_owned()];
                self.put_run(&record.key, |place| {
                    for name in record.files.keys().chain(&provenance) {
                        link_or_copy(&from.join(name), &place.join(name))?;
                    }
                    Ok(())
                })?;
            }
            self.put_record(record)?;
            taken += 1;
        }
        Ok(taken)
    }

    /// Writes the tables over all runs of the plan, which all have records.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_tables(
        &self,
        plan: &Plan,
        records: &[Record],
        provenance: &Provenance,
    ) -> Result<(), SweepError> {
        let cells = table::cells(plan, records);
        let files = [
            (PROVENANCE, provenance.to_json().into_bytes()),
            (table::CELLS, table::table_csv(plan, &cells)),
            (table::RUNS, table::runs_csv(plan, records)),
        ];
        for (name, content) in files {
            write_atomically(&self.path, name, &content)?;
        }
        Ok(())
    }

    /// Removes the tables of a folder that is to change.
    pub(super) fn remove_tables(&self) -> Result<(), ResultsError> {
        for name in TABLES {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at(&path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Checks that a folder is of this sweep.
///
/// # Errors
/// If it is of another, or of none.
pub fn check_same(folder: &Path, plan: &Plan) -> Result<(), SweepError> {
    let text = fs::read(plan::file_in(folder))
        .map_err(|_| SweepError::NoSweep { path: folder.to_owned() })?;
    if text == plan.packed().text.as_bytes() {
        return Ok(());
    }
    let what = first_difference(&String::from_utf8_lossy(&text), &plan.packed().text);
    Err(SweepError::Other { path: folder.to_owned(), what })
}

/// Which part of the sweep a folder has.
///
/// # Errors
/// If it does not say so in the form it is written in.
pub fn shard_of(folder: &Path) -> Result<Shard, SweepError> {
    let path = folder.join(SHARD);
    if !path.exists() {
        return Ok(Shard::ALL);
    }
    let failed = |problem: String| SweepError::Cannot { path: path.clone(), problem };
    let text = text_file::read(&path).map_err(failed)?;
    let table: toml::Table =
        toml::from_str(&text).map_err(|error| failed(error.message().to_owned()))?;
    let shard = table.get("shard").and_then(toml::Value::as_str).unwrap_or_default();
    Shard::read(shard, |_| None).map_err(|error| failed(error.to_string()))
}

/// What a folder has of the runs of a plan.
pub fn load(folder: &Path, plan: &Plan) -> Loaded {
    let one = |run: &Planned| {
        let text = fs::read(record_path(folder, &run.key)).ok()?;
        let record = Record::from_json(&text, &run.key);
        Some(record.filter(|record| record.fits(&folder.join(RUNS).join(&run.key))))
    };
    let found: Vec<Option<Option<Record>>> = plan.runs().iter().map(one).collect();
    let damaged = found.iter().filter(|record| matches!(record, Some(None))).count();
    Loaded { records: found.into_iter().map(Option::flatten).collect(), damaged }
}

/// What is known of how a run was made, if it left files.
pub fn provenance_of(folder: &Path, key: &str) -> Option<Provenance> {
    let text = fs::read(folder.join(RUNS).join(key).join(PROVENANCE)).ok()?;
    serde_json::from_slice(&text).ok()
}

fn record_path(folder: &Path, key: &str) -> PathBuf {
    folder.join(RECORDS).join(format!("{key}.json"))
}

/// The names in a folder, which need not exist.
fn names(folder: &Path) -> Result<Vec<String>, ResultsError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(at(folder))?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        Ok(entry.map_err(at(folder))?.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

/// Whether a name in the folder itself is that of a file that is not complete.
fn is_partial(name: &str) -> bool {
    let written = [MARKER, SHARD, PROVENANCE].into_iter().chain(TABLES);
    name.strip_prefix('.').is_some_and(|name| written.into_iter().any(|known| known == name))
}

/// Writes a file beside its place, and renames it.
fn write_atomically(folder: &Path, name: &str, content: &[u8]) -> Result<(), ResultsError> {
    let place = folder.join(name);
    let parent = place.parent().unwrap_or(folder);
    let last = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let partial = format!(".{last}");
    write_file(parent, &partial, content)?;
    fs::rename(parent.join(partial), &place).map_err(at(&place))
}

fn link_or_copy(from: &Path, to: &Path) -> Result<(), ResultsError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        // Another file system, or one without links.
        Err(_) => fs::copy(from, to).map(|_| ()).map_err(at(from)),
    }
}

/// The key of the first line in which two sweeps differ.
fn first_difference(one: &str, other: &str) -> String {
    let differs = |(one, other): &(&str, &str)| one != other;
    let line = one.lines().zip(other.lines()).find(differs).map(|(line, _)| line);
    let key = line.and_then(|line| line.split(['=', ' ']).next());
    key.filter(|key| !key.is_empty()).unwrap_or("its length").to_owned()
}
