//! The parameters of a workload: checked values, and the texts of files that are named.
//!
//! Files are read once, when a run is checked, and travel with it: what a run depends on is what
//! was read, not what lies in the file later. Their texts are written beside the results of the
//! run, so that it can be repeated from there.

use sim_model::settings::Settings;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

/// A parameter that names a file.
#[derive(Clone, Copy, Debug)]
pub struct FileParameter {
    /// Its key. The first item of a workload may leave out the key of the first file.
    pub key: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// One line for the listing.
    pub help: &'static str,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it was, as it was given.
    pub path: PathBuf,
    /// What it held.
    pub text: Arc<str>,
}

/// A complete set of the declared settings, which it stands for, and the files that were given.
#[derive(Clone, Debug)]
pub struct Parameters {
    settings: Settings,
    files: BTreeMap<&'static str, SourceFile>,
}

impl Parameters {
    /// Parameters of a workload that takes no files.
    pub fn new(settings: Settings) -> Parameters {
        Parameters { settings, files: BTreeMap::new() }
    }

    /// The same with files by their keys.
    pub fn with_files(self, files: BTreeMap<&'static str, SourceFile>) -> Parameters {
        Parameters { files, ..self }
    }

    /// The file of this key, if it was given.
    pub fn file(&self, key: &str) -> Option<&SourceFile> {
        self.files.get(key)
    }

    /// All files that were given, by their keys.
    pub fn files(&self) -> &BTreeMap<&'static str, SourceFile> {
        &self.files
    }
}

impl Deref for Parameters {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}
