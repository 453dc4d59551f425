//! The file of a sweep: reading it, and writing it with every choice made.
//!
//! Files that a sweep names (profiles, fault plans, inputs of workloads) are looked for beside it. In the
//! folder of its results they are copied beside `sweep.toml` under the hash of what they hold, so that
//! the folder needs nothing else and two sweeps are the same if their texts are.

use super::axis::{Axis, Given, read_table};
use super::{Keep, Sweep, SweepError};
use crate::spec::{SEED_MAX, SpecError, WorkloadSpec, one_line};
use crate::text_file;
use crate::workload;
use sim_world::profile::Profile;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The keys of a sweep.
const KEYS: [&str; 8] = ["kind", "name", "title", "summary", "keep", "seeds", "base", "axes"];
/// Most seeds.
const SEEDS_MAX: u64 = 100_000;

/// A sweep on its way to a folder: its text there, and the files beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) text: String,
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

impl Sweep {
    /// Reads the sweep in a file.
    ///
    /// # Errors
    /// If the file cannot be read or is no sweep.
    pub fn load(path: &Path) -> Result<Sweep, SweepError> {
        let failed =
            |problem| SweepError::File { path: path.to_owned(), problem: Box::new(problem) };
        let text = text_file::read(path).map_err(|problem| {
            let path = path.to_owned();
            SweepError::Cannot { path, problem }
        })?;
        let mut sweep = Sweep::from_toml(&text).map_err(failed)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        sweep.map_paths(&mut |path| Ok(folder.join(path).to_string_lossy().into_owned()))?;
        sweep.show_files_by_name()?;
        for axis in &sweep.axes {
            axis.check().map_err(failed)?;
        }
        Ok(sweep)
    }

    /// Where a file lies may not reach a table: labels that are values show its name only.
    fn show_files_by_name(&mut self) -> Result<(), SweepError> {
        let mut shown = self.clone();
        shown.map_paths(&mut |path| {
            let path = Path::new(path);
            Ok(path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned())
        })?;
        for (axis, shown) in self.axes.iter_mut().zip(shown.axes).filter(|(axis, _)| axis.is_key) {
            for (case, shown) in axis.cases.iter_mut().zip(shown.cases) {
                case.label = shown.set.values().map(Given::to_string).collect();
            }
        }
        Ok(())
    }

    /// Reads a sweep.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn from_toml(text: &str) -> Result<Sweep, SpecError> {
        let table: Table = toml::from_str(text)
            .map_err(|error| SpecError::bad("sweep", one_line(text, &error), "TOML"))?;
        let kind = text_of(&table, "kind")?.unwrap_or_default();
        if kind != "sweep" {
            let expected = "\"sweep\" (experiments of other kinds: sim figure)";
            return Err(SpecError::bad("kind", kind, expected));
        }
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(SpecError::unknown("key of a sweep", key, KEYS));
        }
        let name = text_of(&table, "name")?.unwrap_or_default();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(SpecError::bad("name", name, "letters, digits, - and _"));
        }
        let base = match table.get("base") {
            None => BTreeMap::new(),
            Some(Value::Table(base)) => read_table("base", base)?,
            Some(other) => return Err(SpecError::bad("base", other, "a table")),
        };
        Ok(Sweep {
            title: text_of(&table, "title")?.unwrap_or_else(|| name.clone()),
            summary: text_of(&table, "summary")?.unwrap_or_default(),
            keep: keep(text_of(&table, "keep")?)?,
            seeds: seeds(table.get("seeds"))?,
            axes: axes(table.get("axes"))?,
            name,
            base,
        })
    }

    /// The sweep as a file that [`Sweep::from_toml`] reads back.
    pub fn to_toml(&self) -> String {
        let text = |text: &str| Value::String(text.to_owned());
        let keep = match self.keep {
            Keep::Summary => "summary",
            Keep::Tables => "tables",
        };
        let seeds = self.seeds.iter().map(|seed| Value::Integer(*seed as i64)).collect();
        let base = self.base.iter().map(|(key, given)| (key.clone(), given.to_value())).collect();
        let axes = self.axes.iter().map(|axis| Value::Table(axis.to_table())).collect();
        let all = [
            ("kind", text("sweep")),
            ("name", text(&self.name)),
            ("title", text(&self.title)),
            ("summary", text(&self.summary)),
            ("keep", text(keep)),
            ("seeds", Value::Array(seeds)),
            ("base", Value::Table(base)),
            ("axes", Value::Array(axes)),
        ];
        // One after the other: a table would put them into the order of their names.
        let line = |(key, value)| {
            let table = Table::from_iter([(String::from(key), value)]);
            toml::to_string(&table).expect("invariant: these values have a TOML form")
        };
        all.into_iter().map(line).collect()
    }

    /// Replaces every path of a file by what `replace` makes of it.
    fn map_paths(
        &mut self,
        replace: &mut dyn FnMut(&str) -> Result<String, SweepError>,
    ) -> Result<(), SweepError> {
        let file_keys = self.file_keys();
        let cases = self.axes.iter_mut().flat_map(|axis| &mut axis.cases);
        let sets = [&mut self.base].into_iter().chain(cases.map(|case| &mut case.set));
        for (key, given) in sets.flatten() {
            // What is no text here is refused when a run is made of it.
            let Given::One(text) = given else { continue };
            match key.as_str() {
                "profile" if is_path(text) => *text = replace(text)?,
                "fault_plan" => *text = replace(text)?,
                "workload" => {
                    let Ok(workload) = text.parse::<WorkloadSpec>() else { continue };
                    let mut failed = None;
                    let replaced = workload.with_file_names(|_, path| {
                        let path = path.to_string_lossy().into_owned();
                        replace(&path).unwrap_or_else(|error| {
                            failed.get_or_insert(error);
                            path
                        })
                    });
                    *text = replaced.to_string();
                    failed.map_or(Ok(()), Err)?;
                }
                key if file_keys.contains(key) => *text = replace(text)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The keys `workload.NAME` that are files of any workload of the sweep.
    fn file_keys(&self) -> BTreeSet<String> {
        let cases = self.axes.iter().flat_map(|axis| &axis.cases);
        let sets = [&self.base].into_iter().chain(cases.map(|case| &case.set));
        let mut keys = BTreeSet::new();
        for set in sets {
            let Some(Given::One(text)) = set.get("workload") else { continue };
            let name = text.split(':').next().unwrap_or_default();
            let files = workload::kind(name).map_or(&[][..], |kind| kind.files);
            keys.extend(files.iter().map(|file| format!("workload.{}", file.key)));
        }
        keys
    }

    /// The sweep for a folder of its own.
    pub(super) fn pack(&self) -> Result<Packed, SweepError> {
        let mut packed = self.clone();
        let mut files = BTreeMap::new();
        packed.map_paths(&mut |path| {
            let place = PathBuf::from(path);
            let text = text_file::read(&place)
                .map_err(|problem| SweepError::Cannot { path: place.clone(), problem })?;
            let hash = blake3::hash(text.as_bytes()).to_hex();
            let name = place.file_name().unwrap_or(place.as_os_str()).to_string_lossy();
            let name = format!("files/{}/{name}", &hash[..16]);
            files.insert(name.clone(), text.into_bytes());
            Ok(name)
        })?;
        Ok(Packed { text: packed.to_toml(), files })
    }
}

/// Whether a profile is a file, and no embedded one.
fn is_path(profile: &str) -> bool {
    let known = Profile::names().any(|name| name == profile);
    !known && (profile.contains('/') || profile.ends_with(".toml"))
}

fn text_of(table: &Table, key: &str) -> Result<Option<String>, SpecError> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(SpecError::bad(key, other, "a text")),
    }
}

fn keep(text: Option<String>) -> Result<Keep, SpecError> {
    match text.as_deref() {
        None | Some("summary") => Ok(Keep::Summary),
        Some("tables") => Ok(Keep::Tables),
        Some(other) => Err(SpecError::unknown("keep", other, ["summary", "tables"])),
    }
}

/// A list of numbers, or a text such as `1..5`, both included.
fn seeds(value: Option<&Value>) -> Result<Vec<u64>, SpecError> {
    let expected = format!(
        "a list of whole numbers from 0 to {SEED_MAX}, or a text such as \"1..5\", at most \
         {SEEDS_MAX} of them"
    );
    let Some(value) = value else {
        return Err(SpecError::Missing { place: "seeds".to_owned(), expected });
    };
    let bad = || SpecError::bad("seeds", value, expected.clone());
    let seeds: Vec<u64> = match value {
        Value::Array(values) if values.is_empty() => {
            return Err(SpecError::bad("seeds", "none", expected));
        }
        Value::Array(values) => {
            let number = |value: &Value| value.as_integer().and_then(|seed| seed.try_into().ok());
            values.iter().map(number).collect::<Option<_>>().ok_or_else(bad)?
        }
        Value::String(text) => {
            let (first, last) = text.split_once("..").ok_or_else(bad)?;
            let number = |text: &str| text.trim().parse().ok().filter(|seed| *seed <= SEED_MAX);
            let (first, last): (u64, u64) =
                number(first).zip(number(last.trim_start_matches('='))).ok_or_else(bad)?;
            if first > last || last - first >= SEEDS_MAX {
                return Err(bad());
            }
            (first..=last).collect()
        }
        _ => return Err(bad()),
    };
    let mut seen = BTreeSet::new();
    match seeds.iter().find(|seed| !seen.insert(**seed)) {
        Some(seed) => Err(SpecError::Twice { place: format!("seeds: {seed}") }),
        None if seeds.len() as u64 > SEEDS_MAX => {
            Err(SpecError::bad("seeds", seeds.len(), expected))
        }
        None => Ok(seeds),
    }
}

/// The axes, whose names and keys must differ.
fn axes(value: Option<&Value>) -> Result<Vec<Axis>, SpecError> {
    let tables = match value {
        None => &[][..],
        Some(Value::Array(tables)) => tables,
        Some(other) => return Err(SpecError::bad("axes", other, "[[axes]] tables")),
    };
    let mut axes: Vec<Axis> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let Value::Table(table) = table else {
            return Err(SpecError::bad("axes", table, "[[axes]] tables"));
        };
        let axis = Axis::read(index, table)?;
        for earlier in &axes {
            if earlier.name == axis.name {
                return Err(SpecError::Twice { place: format!("axis {:?}", axis.name) });
            }
            let both: Option<&str> = earlier.keys().intersection(&axis.keys()).next().copied();
            if let Some(key) = both {
                let place = format!("key {key:?} of axes {:?} and {:?}", earlier.name, axis.name);
                return Err(SpecError::Twice { place });
            }
        }
        axes.push(axis);
    }
    Ok(axes)
}
