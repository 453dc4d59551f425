//! A workload and its parameters, as on the command line and in a specification.

use super::{Items, SpecError};
use crate::load::LoadSpec;
use crate::text_file;
use crate::workload::{self, Parameters, SourceFile, Workload, WorkloadKind};
use serde_with::{DeserializeFromStr, SerializeDisplay};
use sim_model::settings::Settings;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;

/// A workload and its parameters, as on the command line: `hello:length=5`,
/// `sequence:length=10,data_exponent=0`. Parameters that are left out have their defaults. The
/// first item of a workload that reads files may leave out the key.
#[derive(Clone, Debug, PartialEq, Eq, SerializeDisplay, DeserializeFromStr)]
pub struct WorkloadSpec {
    /// The workload.
    pub name: String,
    /// Parameters by key.
    pub parameters: BTreeMap<String, String>,
}

impl WorkloadSpec {
    /// Checks the name and the parameters, and reads the files that they name.
    ///
    /// # Errors
    /// The first that is unknown, does not fit, or cannot be read.
    pub fn check(&self) -> Result<(&'static WorkloadKind, Parameters), SpecError> {
        let (kind, settings) = self.check_keys()?;
        let mut files = BTreeMap::new();
        for file in kind.files {
            match self.parameters.get(file.key) {
                Some(path) if path.is_empty() => {
                    let place = format!("parameter of {} {:?}", kind.name, file.key);
                    return Err(SpecError::bad(place, path, "the name of a file"));
                }
                Some(path) => {
                    files.insert(file.key, read(path)?);
                }
                None if file.required => {
                    let place = format!("workload {}: {}", kind.name, file.key);
                    return Err(SpecError::Missing { place, expected: file.help.to_owned() });
                }
                None => {}
            }
        }
        Ok((kind, Parameters::new(settings).with_files(files)))
    }

    /// Checks everything but the files.
    fn check_keys(&self) -> Result<(&'static WorkloadKind, Settings), SpecError> {
        let kind = workload::kind(&self.name)?;
        let mut settings = Settings::defaults(kind.parameters);
        let owner = format!("parameter of {}", kind.name);
        for (key, value) in &self.parameters {
            if kind.files.iter().any(|file| file.key == key) {
                continue;
            }
            settings.set(key, value).map_err(|error| match SpecError::setting(&owner, error) {
                SpecError::Unknown(_) => SpecError::unknown(&*owner, key, kind.keys()),
                other => other,
            })?;
        }
        Ok((kind, settings))
    }

    /// The load of a run that names none.
    pub fn default_load(&self) -> LoadSpec {
        let kind = workload::kind(&self.name).ok();
        let load = kind.and_then(|kind| kind.load.parse().ok());
        load.unwrap_or(LoadSpec::DEFAULT)
    }

    /// Takes relative paths from the folder of `specification` on.
    pub(super) fn look_beside(&mut self, specification: &Path) {
        let Ok(kind) = workload::kind(&self.name) else { return };
        let folder = specification.parent().unwrap_or(Path::new(""));
        for file in kind.files {
            if let Some(path) = self.parameters.get_mut(file.key) {
                *path = folder.join(&path).to_string_lossy().into_owned();
            }
        }
    }

    /// The same with every file under the name that `name` gives it, by key and path.
    pub(crate) fn with_file_names(
        &self,
        mut name: impl FnMut(&'static str, &Path) -> String,
    ) -> WorkloadSpec {
        let mut named = self.clone();
        let files = workload::kind(&self.name).map_or(&[][..], |kind| kind.files);
        for file in files {
            if let Some(path) = named.parameters.get_mut(file.key) {
                *path = name(file.key, Path::new(&*path));
            }
        }
        named
    }

    /// The same as it stands in results: where a file lay may not reach them, only its name.
    pub fn shown(&self) -> WorkloadSpec {
        self.with_file_names(|_, path| {
            path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
        })
    }
}

impl WorkloadKind {
    /// The keys of its files and parameters.
    fn keys(&self) -> impl Iterator<Item = &'static str> {
        let files = self.files.iter().map(|file| file.key);
        files.chain(self.parameters.iter().map(|parameter| parameter.key))
    }

    /// Builds the workload.
    pub(super) fn build_checked(
        &self,
        parameters: &Parameters,
    ) -> Result<Rc<dyn Workload>, SpecError> {
        (self.build)(parameters).map_err(|problem| SpecError::Workload { name: self.name, problem })
    }
}

/// Reads a text file of bounded size.
fn read(path: &str) -> Result<SourceFile, SpecError> {
    let path = PathBuf::from(path);
    match text_file::read(&path) {
        Ok(text) => Ok(SourceFile { path, text: text.into() }),
        Err(problem) => Err(SpecError::File { path, problem }),
    }
}

impl fmt::Display for WorkloadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let mut separator = ':';
        for (key, value) in &self.parameters {
            write!(f, "{separator}{key}={value}")?;
            separator = ',';
        }
        Ok(())
    }
}

impl FromStr for WorkloadSpec {
    type Err = SpecError;

    /// Reads the text and checks it against the workloads there are; files are not opened.
    fn from_str(text: &str) -> Result<WorkloadSpec, SpecError> {
        let (name, rest) = text.split_once(':').map_or((text, None), |(n, r)| (n, Some(r)));
        let kind = workload::kind(name)?;
        let first_file = kind.files.first().map(|file| file.key);
        let parameters = Items::read(format!("workload {name}"), rest, first_file)?.into_map();
        let spec = WorkloadSpec { name: name.to_owned(), parameters };
        spec.check_keys()?;
        Ok(spec)
    }
}
