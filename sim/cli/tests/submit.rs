//! `sim submit`: what a scheduler is handed. The scheduler here is a script that writes down its
//! arguments and carries out the tasks of an array at once; `scripts/` has the real ones.
#![cfg(unix)]

mod common;

use common::{sim, stdout};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const SMALL: &str = r#"
kind = "sweep"
name = "small"
seeds = "1..3"
base = { workload = "hello:length=2", hosts = 2, partitions = 2, load = "batch:5" }
axes = [{ name = "engine", values = ["in-memory", "netherite"] }]
"#;

/// Carries out tasks 1 to 3, but for the second in a first array, as if its machine were lost.
const SBATCH: &str = r#"#!/bin/sh
printf '%s ' "$@" >>calls.txt
echo >>calls.txt
for last in "$@"; do :; done
case "$*" in
*--dependency=*) sh "$last" >merge.txt 2>&1 || true; echo 8 ;;
*--array=1-3*) for task in 1 3; do SLURM_ARRAY_TASK_ID=$task sh "$last" >&2; done; echo "7;here" ;;
*--array=2\ *) SLURM_ARRAY_TASK_ID=2 sh "$last" >&2; echo 9 ;;
*) echo "no such array" >&2; exit 1 ;;
esac
"#;

fn with_scheduler() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("small.toml"), SMALL).expect("a file");
    let sbatch = folder.path().join("sbatch");
    fs::write(&sbatch, SBATCH).expect("a file");
    fs::set_permissions(&sbatch, fs::Permissions::from_mode(0o755)).expect("a mode");
    folder
}

fn submit(place: &Path, flags: &[&str]) -> assert_cmd::Command {
    let fixed = ["submit", "slurm", "small.toml", "--shards", "3", "--out", "all"];
    let mut command = sim(place, &[&fixed[..], flags].concat());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let with_ours =
        std::env::join_paths([place.to_owned()].into_iter().chain(std::env::split_paths(&path)));
    command.env("PATH", with_ours.expect("a path"));
    command
}

#[test]
fn an_array_is_submitted_and_then_what_is_missing_of_it() {
    let folder = with_scheduler();
    let place = folder.path();
    let first = submit(place, &["--time", "90m"]).assert().success();
    assert_eq!(
        String::from_utf8_lossy(&first.get_output().stdout),
        "job 7: 3 tasks\njob 8: merge, after it\n"
    );
    let calls = fs::read_to_string(place.join("calls.txt")).expect("calls");
    let calls: Vec<&str> = calls.lines().collect();
    assert!(calls[0].contains("--job-name=sim-small --array=1-3 --time=01:30:00"), "{calls:?}");
    assert!(calls[1].contains("--dependency=afterany:7 --time=01:30:00"), "{calls:?}");
    let merge = fs::read_to_string(place.join("merge.txt")).expect("what the merge said");
    assert!(merge.contains("of 6 runs missing"), "{merge}");

    let second = submit(place, &["--failed"]).assert().success();
    assert_eq!(
        String::from_utf8_lossy(&second.get_output().stdout),
        "job 9: 1 task\njob 8: merge, after it\n"
    );
    stdout(place, &["sweep", "small.toml", "--out", "local"]);
    let runs = |folder: &str| fs::read(place.join(folder).join("runs.csv")).expect("a table");
    assert!(runs("all") == runs("local"));
    let third = submit(place, &["--failed"]).assert().success();
    assert_eq!(
        String::from_utf8_lossy(&third.get_output().stderr),
        "no shard misses a run\n",
        "nothing is left to submit"
    );
}

#[test]
fn what_would_be_submitted_is_printed_and_nothing_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    fs::write(place.join("small.toml"), SMALL).expect("a file");
    let arguments = ["submit", "hq", "small.toml", "--shards", "2", "--out", "all", "--print"];
    let page = stdout(place, &arguments);
    assert!(page.contains("--shard auto/2 --threads 1\n"), "{page}");
    assert!(page.contains("hq --output-mode=quiet submit --name=sim-small --array=1-2"), "{page}");
    assert!(page.contains("--time-limit=3600s"), "{page}");
    assert_eq!(fs::read_dir(place).expect("a folder").count(), 1);
}

#[test]
fn what_cannot_be_submitted_is_told_in_one_line() {
    let folder = with_scheduler();
    let place = folder.path();
    let told = |arguments: &[&str], code: i32, message: &str| {
        let mut command = sim(place, arguments);
        let output = command.env("PATH", "/nowhere").output().expect("it starts");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(stderr, format!("error: {message}\n"));
        assert_eq!(output.status.code(), Some(code));
    };
    told(
        &["submit", "slurm", "small.toml", "--shards", "7"],
        2,
        "--shards: found 7, expected 1 to 6, one run each",
    );
    told(
        &["submit", "slurm", "small.toml", "--shards", "0"],
        2,
        "invalid value '0' for '--shards <N>': expected a whole number from 1 to 100000; see 'sim submit \
         --help'",
    );
    told(
        &["submit", "hq", "small.toml", "--shards", "2", "--out", "all"],
        3,
        "hq: cannot be started: No such file or directory (os error 2); --print shows what would be \
         submitted",
    );
}
