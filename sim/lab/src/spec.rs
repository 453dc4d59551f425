//! What a run is: a specification that can be written down, checked, and repeated.
//!
//! A [`RunSpec`] is what a person asks for, on the command line or in a `spec.toml`. Checking it
//! ([`RunSpec::check`]) looks at every name, key, number and profile before anything runs, and
//! gives a [`CheckedSpec`], in which every default is written out: it repeats the run even if
//! defaults change.

mod items;
mod scaled;
mod workload_spec;

pub(crate) use items::Items;

use crate::autoscale::Autoscale;
use crate::fault::{FAULTS_MAX, Fault, play};
use crate::host_event::{self, HostChange, HostEvent};
use crate::load::LoadSpec;
use crate::registry::{Engines, WorldEngine};
use crate::suggest::UnknownName;
use crate::text_file;
use crate::workload::{Parameters, Start, Workload, WorkloadKind};
use serde::{Deserialize, Serialize};
use sim_model::engine::FaultClass;
use sim_model::settings::{SettingError, Settings};
use sim_world::profile::{Profile, ProfileError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use thiserror::Error;

/// Most hosts: the published plans scale out to 100 instances.
pub const HOSTS_MAX: u32 = 100;
/// Most partitions: Netherite allows 32 (microsoft/durabletask-netherite).
pub const PARTITIONS_MAX: u32 = 32;
/// The greatest seed: TOML has no greater number.
pub const SEED_MAX: u64 = i64::MAX as u64;

/// A specification that cannot be run, with the place of the fault and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    /// A name that is not among the valid ones.
    #[error("{0}")]
    Unknown(UnknownName),
    /// A value that does not fit.
    #[error("{place}: found {given:?}, expected {expected}")]
    BadValue {
        /// Where it was given.
        place: String,
        /// The value.
        given: String,
        /// What would fit.
        expected: String,
    },
    /// A value that has no default and was not given.
    #[error("{place} is missing, expected {expected}")]
    Missing {
        /// What is missing.
        place: String,
        /// What would fit.
        expected: String,
    },
    /// One key with two values.
    #[error("{place} is given twice")]
    Twice {
        /// The key.
        place: String,
    },
    /// A setting of an engine that the run does not use.
    #[error("setting {key:?} is of engine {engine:?}, but the run uses {used:?}")]
    OtherEngine {
        /// The setting, with its engine.
        key: String,
        /// The engine it is of.
        engine: String,
        /// The engine of the run.
        used: String,
    },
    /// A profile that cannot be used.
    #[error("{0}")]
    Profile(ProfileError),
    /// A workload that cannot be built with its parameters.
    #[error("workload {name}: {problem}")]
    Workload {
        /// The workload.
        name: &'static str,
        /// What does not fit.
        problem: String,
    },
    /// A file that cannot be read or is not a specification.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl SpecError {
    pub(crate) fn bad(
        place: impl Into<String>,
        given: impl ToString,
        expected: impl Into<String>,
    ) -> SpecError {
        let (place, expected) = (place.into(), expected.into());
        SpecError::BadValue { place, given: given.to_string(), expected }
    }

    pub(crate) fn unknown<S: Into<String>>(
        what: impl Into<String>,
        given: impl Into<String>,
        valid: impl IntoIterator<Item = S>,
    ) -> SpecError {
        SpecError::Unknown(UnknownName::new(what, given, valid))
    }

    /// The error of a declared setting or parameter, with the place it belongs to.
    fn setting(owner: &str, error: SettingError) -> SpecError {
        match error {
            SettingError::UnknownKey { key, valid } => SpecError::unknown(owner, key, valid),
            SettingError::BadValue { key, value, expected } => {
                SpecError::bad(format!("{owner} {key:?}"), value, expected)
            }
        }
    }
}

impl From<UnknownName> for SpecError {
    fn from(unknown: UnknownName) -> SpecError {
        SpecError::Unknown(unknown)
    }
}

impl From<ProfileError> for SpecError {
    fn from(error: ProfileError) -> SpecError {
        match error {
            ProfileError::Unknown { profile, .. } => {
                SpecError::unknown("profile", profile, Profile::names())
            }
            other => SpecError::Profile(other),
        }
    }
}

pub use workload_spec::WorkloadSpec;

/// Everything a run depends on.
///
/// ```
/// use sim_lab::spec::RunSpec;
/// let spec = RunSpec::from_toml("engine = 'netherite'\nload = 'batch:100'\n").unwrap();
/// assert_eq!(spec.hosts, 4);
/// assert_eq!(RunSpec::from_toml(&spec.to_toml()), Ok(spec));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSpec {
    /// The engine.
    pub engine: String,
    /// The application and its inputs.
    pub workload: WorkloadSpec,
    /// When orchestrations are started.
    pub load: LoadSpec,
    /// The plan (machine size) of the hosts.
    pub plan: String,
    /// Hosts.
    pub hosts: u32,
    /// Partitions of the task hub.
    pub partitions: u32,
    /// The profile: an embedded one by its name, or a file by its path.
    pub profile: String,
    /// The seed of all randomness.
    pub seed: u64,
    /// What happens to hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_events: Vec<HostEvent>,
    /// Between how many hosts there are by the votes of the engine; without it, their number is fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Autoscale>,
    /// What else goes wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Settings of the engine, by `engine.key`.
    pub settings: BTreeMap<String, String>,
}

impl Default for RunSpec {
    fn default() -> RunSpec {
        let parameters = BTreeMap::from([("length".to_owned(), "5".to_owned())]);
        RunSpec {
            engine: "netherite".to_owned(),
            workload: WorkloadSpec { name: "hello".to_owned(), parameters },
            load: LoadSpec::DEFAULT,
            plan: "EP2".to_owned(),
            hosts: 4,
            partitions: 12,
            profile: "azure-2021-10".to_owned(),
            seed: 1,
            host_events: Vec::new(),
            autoscale: None,
            faults: Vec::new(),
            settings: BTreeMap::new(),
        }
    }
}

impl RunSpec {
    /// A run of this workload under the workload's own load; everything else has its default.
    pub fn of(workload: WorkloadSpec) -> RunSpec {
        RunSpec { load: workload.default_load(), workload, ..RunSpec::default() }
    }

    /// The keys of a specification file.
    const KEYS: [&'static str; 12] = [
        "engine",
        "workload",
        "load",
        "plan",
        "hosts",
        "partitions",
        "profile",
        "seed",
        "host_events",
        "autoscale",
        "faults",
        "settings",
    ];

    /// Reads a specification; keys that are left out have their defaults, the load that of the
    /// workload.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn from_toml(text: &str) -> Result<RunSpec, SpecError> {
        let in_text = |error: toml::de::Error| SpecError::File {
            path: PathBuf::from("spec.toml"),
            problem: one_line(text, &error),
        };
        let table: toml::Table = toml::from_str(text).map_err(in_text)?;
        if let Some(key) = table.keys().find(|key| !Self::KEYS.contains(&key.as_str())) {
            return Err(SpecError::unknown("key of a specification", key, Self::KEYS));
        }
        let mut spec: RunSpec = toml::from_str(text).map_err(in_text)?;
        if !table.contains_key("load") {
            spec.load = spec.workload.default_load();
        }
        Ok(spec)
    }

    /// Reads the specification in a file. Files that it names by relative paths (a profile, those
    /// of a workload) are looked for beside it.
    ///
    /// # Errors
    /// If the file cannot be read or is not a specification.
    pub fn load(path: &Path) -> Result<RunSpec, SpecError> {
        let failed = |problem: String| SpecError::File { path: path.to_owned(), problem };
        let text = text_file::read(path).map_err(failed)?;
        if text.trim().is_empty() {
            let keys = Self::KEYS.join(", ");
            return Err(failed(format!("is empty, expected one or more of {keys}")));
        }
        let mut spec = RunSpec::from_toml(&text).map_err(|error| match error {
            SpecError::File { problem, .. } => failed(problem),
            other => failed(other.to_string()),
        })?;
        if !Profile::names().any(|name| name == spec.profile) {
            let beside = path.parent().unwrap_or(Path::new("")).join(&spec.profile);
            spec.profile = beside.to_string_lossy().into_owned();
        }
        spec.workload.look_beside(path);
        Ok(spec)
    }

    /// The specification as a file; [`RunSpec::from_toml`] reads it back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("invariant: a specification has a TOML form")
    }

    /// Takes a setting written as `engine.key=value`, as `--set` has it. The engine and the key
    /// are checked together with everything else, by [`RunSpec::check`].
    ///
    /// # Errors
    /// If the text has another form, or the key is set already.
    pub fn set(&mut self, text: &str) -> Result<(), SpecError> {
        let parts = text.split_once('=').filter(|(key, _)| key.contains('.'));
        let Some((key, value)) = parts else {
            return Err(SpecError::bad("setting", text, "engine.key=value"));
        };
        match self.settings.insert(key.to_owned(), value.to_owned()) {
            None => Ok(()),
            Some(_) => Err(SpecError::Twice { place: format!("setting {key:?}") }),
        }
    }

    /// Checks everything: names, keys, types, limits, the profile and its plan.
    ///
    /// # Errors
    /// The first fault, with its place and what would be right.
    pub fn check(&self) -> Result<CheckedSpec, SpecError> {
        self.check_with(&Engines::built_in())
    }

    /// [`RunSpec::check`], for one of these engines.
    ///
    /// # Errors
    /// As for [`RunSpec::check`].
    pub fn check_with(&self, engines: &Engines) -> Result<CheckedSpec, SpecError> {
        let engine = engines.get(&self.engine)?;
        let (workload, parameters) = self.workload.check()?;
        self.load.check()?;
        let range = |place: &str, value: u64, max: u64| {
            let expected = format!("a whole number from 1 to {max}");
            let fits = (1..=max).contains(&value);
            if fits { Ok(()) } else { Err(SpecError::bad(place, value, expected)) }
        };
        range("hosts", u64::from(self.hosts), u64::from(HOSTS_MAX))?;
        range("partitions", u64::from(self.partitions), u64::from(PARTITIONS_MAX))?;
        if self.seed > SEED_MAX {
            let expected = format!("a whole number from 0 to {SEED_MAX}");
            return Err(SpecError::bad("seed", self.seed, expected));
        }
        let source = ProfileSource::read(&self.profile)?;
        let profile = source.profile()?;
        if !profile.plans.contains_key(&self.plan) {
            let plans = profile.plans.keys().map(String::as_str);
            let what = format!("plan of profile {}", profile.name);
            return Err(SpecError::unknown(what, &self.plan, plans));
        }
        let mut settings = Settings::defaults(engine.settings());
        for (key, value) in &self.settings {
            self.check_setting(engines, key, value, &mut settings)?;
        }
        let built = workload.build_checked(&parameters)?;
        let mut spec = self.clone();
        spec.load = load_of(&*built, &self.load)?;
        self.check_faults()?;
        if self.is_disturbed() || self.autoscale.is_some() {
            can_be_repeated(&*built, &spec.load, self.spares_the_first_host())?;
        }
        if let Some(bounds) = self.autoscale {
            self.can_scale(bounds, engine.votes(&settings), profile.scaling.is_some())?;
        }
        spec.workload.parameters = texts(&parameters, "");
        for (key, file) in parameters.files() {
            let path = file.path.to_string_lossy().into_owned();
            spec.workload.parameters.insert((*key).to_owned(), path);
        }
        for (key, value) in built.determined() {
            spec.workload.parameters.insert(key.to_owned(), value);
        }
        spec.settings = texts(&settings, &format!("{}.", self.engine));
        Ok(CheckedSpec { spec, engine, workload, parameters, settings, source })
    }

    fn can_scale(
        &self,
        bounds: Autoscale,
        votes: Result<(), &'static str>,
        has_pace: bool,
    ) -> Result<(), SpecError> {
        let refused = |expected: String| Err(SpecError::bad("autoscale", bounds, expected));
        if let Err(reason) = votes {
            let engine = &self.engine;
            return refused(format!("an engine that votes; of {engine}: {reason}"));
        }
        if !self.all_host_events().is_empty() {
            return refused("no host events: the engine says which hosts come and go".to_owned());
        }
        if !has_pace {
            let profile = &self.profile;
            return refused(format!("a section [scaling], which profile {profile} lacks"));
        }
        if self.hosts > bounds.max {
            let expected = format!("at most {}: autoscale has max={0}", bounds.max);
            return Err(SpecError::bad("hosts", self.hosts, expected));
        }
        Ok(())
    }

    /// Hosts that there can be.
    pub fn hosts_at_most(&self) -> u32 {
        self.autoscale.map_or(self.hosts, |bounds| bounds.max)
    }

    /// Whether anything happens to hosts or goes wrong.
    pub fn is_disturbed(&self) -> bool {
        !self.host_events.is_empty() || !self.faults.is_empty()
    }

    /// The classes of everything that goes wrong.
    pub(crate) fn fault_classes(&self) -> BTreeSet<FaultClass> {
        let of_host = |event: &HostEvent| match event.change {
            HostChange::Crash(_) => Some(FaultClass::HostCrash),
            HostChange::PowerLoss(_) => Some(FaultClass::HostPowerLoss),
            HostChange::Pause(_) => Some(FaultClass::HostPause),
            HostChange::Leave | HostChange::Join => None,
        };
        let hosts = self.host_events.iter().filter_map(of_host);
        hosts.chain(self.faults.iter().map(Fault::class)).collect()
    }

    /// Everything that happens to hosts, from both lists.
    pub(crate) fn all_host_events(&self) -> Vec<HostEvent> {
        [self.host_events.clone(), play::host_events(&self.faults)].concat()
    }

    fn check_faults(&self) -> Result<(), SpecError> {
        if self.faults.len() > FAULTS_MAX {
            let expected = format!("at most {FAULTS_MAX}");
            return Err(SpecError::bad("faults", self.faults.len(), expected));
        }
        for fault in &self.faults {
            if let Some(host) = fault.host().filter(|host| *host >= self.hosts) {
                let expected = format!("a host from 0 to {}", self.hosts.saturating_sub(1));
                return Err(SpecError::bad(
                    format!("fault {}: host", fault.kind().name),
                    host,
                    expected,
                ));
            }
        }
        host_event::check(&self.all_host_events(), self.hosts)
    }

    /// Whether nothing goes wrong but that hosts crash, and not the first.
    fn spares_the_first_host(&self) -> bool {
        let spares = |fault: &Fault| {
            fault.class() == FaultClass::HostCrash && fault.host().is_some_and(|host| host > 0)
        };
        self.autoscale.is_none() && self.host_events.is_empty() && self.faults.iter().all(spares)
    }

    fn check_setting(
        &self,
        engines: &Engines,
        key: &str,
        value: &str,
        settings: &mut Settings,
    ) -> Result<(), SpecError> {
        let Some((owner, local)) = key.split_once('.') else {
            return Err(SpecError::bad("setting", key, "engine.key"));
        };
        engines.get(owner)?;
        if owner != self.engine {
            let (key, engine, used) = (key.to_owned(), owner.to_owned(), self.engine.clone());
            return Err(SpecError::OtherEngine { key, engine, used });
        }
        let set = settings.set(local, value);
        set.map_err(|error| SpecError::setting(&format!("setting of {owner}"), error))
    }
}

/// The load with every choice written out. Launchers start orchestrations; jobs need none.
fn load_of(workload: &dyn Workload, load: &LoadSpec) -> Result<LoadSpec, SpecError> {
    let mut load = load.clone();
    if let (Start::Job(_), LoadSpec::Batch { launcher, .. }) = (workload.start(), &mut load) {
        if launcher.is_some_and(|each| each > 0) {
            let expected = "0 or nothing: this workload runs jobs, which no launcher starts";
            return Err(SpecError::bad("load batch: launcher", launcher.unwrap_or(0), expected));
        }
        *launcher = Some(0);
    }
    Ok(load.completed())
}

/// Hosts that go break connections, and robots ask again: that needs a load whose every request names
/// the same orchestration each time. The jobs of a batch run on the first host: others may crash.
fn can_be_repeated(
    workload: &dyn Workload,
    load: &LoadSpec,
    spares_the_first_host: bool,
) -> Result<(), SpecError> {
    let problem = match (workload.start(), load) {
        (Start::Job(_), LoadSpec::Batch { .. }) if spares_the_first_host => return Ok(()),
        (Start::Job(_), _) => "this workload runs jobs, which end with the host they run on",
        (_, LoadSpec::Batch { launcher: Some(1..), .. }) => {
            "launchers cannot be asked twice; add launcher=0"
        }
        _ => return Ok(()),
    };
    Err(SpecError::bad(
        "host events or autoscale with load",
        load,
        format!("another load: {problem}"),
    ))
}

fn texts(settings: &Settings, prefix: &str) -> BTreeMap<String, String> {
    settings.to_texts().into_iter().map(|(key, text)| (format!("{prefix}{key}"), text)).collect()
}

/// What is wrong with a TOML text, and in which of its lines.
pub(crate) fn one_line(text: &str, error: &toml::de::Error) -> String {
    match error.span() {
        Some(span) => {
            let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
            format!("line {line}: {}", error.message())
        }
        None => error.message().to_owned(),
    }
}

/// Where a profile's text is. A loaded profile belongs to one thread; this goes between threads.
#[derive(Clone, Debug)]
enum ProfileSource {
    Embedded(String),
    File { name: String, text: String },
}

impl ProfileSource {
    fn read(name_or_path: &str) -> Result<ProfileSource, SpecError> {
        let path = Path::new(name_or_path);
        let is_path = name_or_path.contains('/') || name_or_path.ends_with(".toml");
        let known = Profile::names().any(|name| name == name_or_path);
        if known || !(is_path || path.exists()) {
            return Ok(ProfileSource::Embedded(name_or_path.to_owned()));
        }
        let text = text_file::read(path).map_err(|problem| {
            let (path, problem) = (path.to_owned(), format!("no profile can be read: {problem}"));
            SpecError::File { path, problem }
        })?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(name_or_path);
        Ok(ProfileSource::File { name: stem.to_owned(), text })
    }

    fn profile(&self) -> Result<Profile, ProfileError> {
        match self {
            ProfileSource::Embedded(name) => Profile::named(name),
            ProfileSource::File { name, text } => Profile::parse(name, text),
        }
    }
}

/// A specification that was checked, with every default written out. It can go to other threads.
#[derive(Clone, Debug)]
pub struct CheckedSpec {
    spec: RunSpec,
    engine: WorldEngine,
    workload: &'static WorkloadKind,
    parameters: Parameters,
    settings: Settings,
    source: ProfileSource,
}

impl CheckedSpec {
    /// The specification with every default written out.
    pub fn spec(&self) -> &RunSpec {
        &self.spec
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &WorldEngine {
        &self.engine
    }

    /// The kind of workload.
    pub fn workload(&self) -> &'static WorkloadKind {
        self.workload
    }

    /// The complete parameters of the workload.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The workload. It belongs to the thread it is built on.
    pub fn build_workload(&self) -> Rc<dyn Workload> {
        let built = (self.workload.build)(&self.parameters);
        built.expect("invariant: the workload was built when the run was checked")
    }

    /// The complete settings of the engine.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        self.source.profile().expect("invariant: the profile was read when the run was checked")
    }

    /// The text of a profile that is not embedded.
    pub fn profile_text(&self) -> Option<&str> {
        match &self.source {
            ProfileSource::Embedded(_) => None,
            ProfileSource::File { text, .. } => Some(text),
        }
    }
}
