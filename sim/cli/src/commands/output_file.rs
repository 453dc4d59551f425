//! A file that a run leaves besides its folder.

use crate::failure::{Exit, Failure};
use std::path::{Path, PathBuf};

/// A file that was asked for by a flag.
pub(super) struct OutputFile {
    flag: &'static str,
    path: PathBuf,
}

impl OutputFile {
    /// The file that `flag` names, or `usual` in the folder of `--out` or else here. That it can be
    /// written is checked as far as it can be before the run.
    ///
    /// # Errors
    /// If it cannot.
    pub(super) fn check(
        flag: &'static str,
        named: Option<&Path>,
        usual: &str,
        out: Option<&Path>,
    ) -> Result<OutputFile, Failure> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => out.unwrap_or(Path::new("")).join(usual),
        };
        let shown = path.display();
        let refused = |problem: String| Err(Failure::input(anyhow::anyhow!("{flag}: {problem}")));
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if path.as_os_str().is_empty() {
            return refused("the name of the file is empty".to_owned());
        }
        if named.is_some() && folder.is_some_and(|folder| !folder.is_dir()) {
            return refused(format!("{shown}: its folder does not exist"));
        }
        if path.is_dir() {
            return refused(format!("{shown}: is a folder"));
        }
        Ok(OutputFile { flag, path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write(&self, text: &str) -> Result<(), Failure> {
        std::fs::write(&self.path, text).map_err(|error| {
            let problem = format!("{}: {}: cannot write", self.flag, self.path.display());
            Failure::new(Exit::NotCarriedOut, anyhow::Error::new(error).context(problem))
        })
    }
}
