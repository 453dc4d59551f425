//! The command under test.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use assert_cmd::Command;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A run that takes a few milliseconds.
pub const SMALL: [&str; 3] = ["run", "--load", "batch:20"];

/// `sim` with these arguments, in `folder`.
pub fn sim(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("sim");
    command.current_dir(folder).args(arguments).env_remove("RAYON_NUM_THREADS");
    command
}

/// Standard output of a command that must succeed.
pub fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let output = sim(folder, arguments).assert().success().get_output().stdout.clone();
    String::from_utf8(output).expect("text")
}

/// All files under `folder` with their contents, by path.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("a path within").to_string_lossy();
                found.insert(name.into_owned(), fs::read(&path).expect("a file"));
            }
        }
    }
    found
}
