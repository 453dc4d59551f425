//! `sim sweep`, `status`, `merge` and `rerun`: one set of bytes whatever the threads, shards and
//! interruptions, and the verdicts of runs.

mod common;

use common::{files, sim, stdout};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Two engines, two loads, two seeds: eight runs of a few milliseconds.
const SMALL: &str = r#"
kind = "sweep"
name = "small"
seeds = "1..2"

[base]
workload = "hello:length=2"
hosts = 2
partitions = 2

[[axes]]
name = "engine"
values = ["in-memory", "netherite"]

[[axes]]
name = "load"
values = ["batch:5", "open:rate=5,duration=1s"]
"#;

/// A folder that has the sweep as `small.toml`.
fn with_small(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("small.toml"), text).expect("a file");
    folder
}

/// The files that do not depend on the machine.
fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = files(folder);
    found.retain(|name, _| !name.ends_with("provenance.json") && !name.starts_with("shards/"));
    found
}

fn same(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, content) in one {
        assert!(content == &other[name], "{name} differs");
    }
}

fn records(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("records")).expect("a folder");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.sort();
    found
}

#[test]
fn threads_shards_and_interruptions_change_no_byte() {
    let folder = with_small(SMALL);
    let place = folder.path();
    let whole = stdout(place, &["sweep", "small.toml", "--out", "whole", "--threads", "1"]);
    assert!(whole.contains("4 cells, 2 seeds each; 8 runs: 8 passed"), "{whole}");
    let expected = results(&place.join("whole"));
    assert_eq!(expected.keys().filter(|name| name.starts_with("records/")).count(), 8);
    assert!(expected.contains_key("runs.csv") && expected.contains_key("table.csv"));

    // Stopped after three runs; then what a kill leaves behind, and what a crash of the machine tears.
    let part = stdout(place, &["sweep", "small.toml", "--out", "again", "--runs", "3"]);
    assert!(part.contains("8 runs: 3 passed, 5 missing"), "{part}");
    let again = place.join("again");
    assert!(!again.join("runs.csv").exists(), "tables are of all runs");
    let kept = records(&again);
    let torn = fs::read(&kept[0]).expect("a record");
    fs::write(&kept[0], &torn[..torn.len() / 2]).expect("written");
    let key = kept[1].file_stem().expect("a name").to_string_lossy().into_owned();
    fs::write(again.join("runs").join(key).join("summary.json"), "{}").expect("written");
    fs::create_dir(again.join("runs/.0123")).expect("a folder");
    fs::write(again.join("records/.0123.json"), "{").expect("written");
    fs::write(again.join(".runs.csv"), "engine").expect("written");
    let rest = sim(place, &["sweep", "small.toml", "--out", "again"]).assert().success();
    let said = String::from_utf8(rest.get_output().stderr.clone()).expect("text");
    assert!(said.starts_with("2 records damaged, run again\n"), "{said}");
    assert_eq!(String::from_utf8_lossy(&rest.get_output().stdout), whole);
    same(&expected, &results(&again));

    for shard in ["1/3", "2/3", "3/3"] {
        stdout(place, &["sweep", "small.toml", "--out", "parts", "--shard", shard]);
    }
    assert_eq!(stdout(place, &["merge", "parts"]), whole);
    same(&expected, &results(&place.join("parts")));
    // Shards lie anywhere, and an array's tasks find their numbers themselves.
    let mut task = sim(place, &["sweep", "small.toml", "--out", "far", "--shard", "auto/1"]);
    task.env("HQ_TASK_ID", "1").assert().success();
    let merged = ["merge", "far/shards/00001-of-00001", "--out", "merged"];
    assert_eq!(stdout(place, &merged), whole);
    same(&expected, &results(&place.join("merged")));
}

#[test]
fn a_merge_without_all_runs_says_what_is_missing_and_can_go_on() {
    let folder = with_small(SMALL);
    let place = folder.path();
    stdout(place, &["sweep", "small.toml", "--out", "parts", "--shard", "2/4"]);
    let merge = sim(place, &["merge", "parts"]).assert().code(3);
    let said = String::from_utf8(merge.get_output().stderr.clone()).expect("text");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: 6 of 8 runs missing, first engine="), "{said}");
    assert!(last.ends_with("; sim sweep parts/sweep.toml goes on with them"), "{said}");
    assert!(!place.join("parts/runs.csv").exists());
    stdout(place, &["sweep", "parts/sweep.toml", "--out", "parts"]);
    stdout(place, &["sweep", "small.toml", "--out", "whole"]);
    same(&results(&place.join("whole")), &results(&place.join("parts")));
    let status = stdout(place, &["status", "parts"]);
    assert!(status.contains("8 runs: 8 passed\n  shard 2/4 of 4 cells"), "{status}");
}

#[test]
fn a_run_that_fails_is_a_row_and_the_others_go_on() {
    // A run that a campaign found: a message counts twice if nobody looks for it.
    let folder = with_small(
        r#"
kind = "sweep"
name = "dedup"
keep = "tables"
seeds = [26]

[base]
engine = "netherite"
workload = "periodic:ticks=3"
load = "batch:2"
hosts = 2
partitions = 3
faults = ["cut:from=worker-0,to=*,one_way=false,at=3750ms,for=50634ms"]

[[axes]]
name = "dedup"
cases = [
    { label = "on", "netherite.dedup" = true },
    { label = "off", "netherite.dedup" = false },
    { label = "refused", engine = "triggerflow", settings = { "triggerflow.discipline" = "v3" }, faults = [] },
]
"#,
    );
    let place = folder.path();
    let run = sim(place, &["sweep", "small.toml", "--out", "all"]).assert().code(1);
    let said = String::from_utf8(run.get_output().stderr.clone()).expect("text");
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(
        last,
        "error: checks failed in 1 of 3 runs, first in dedup=off, seed 26: exactly-once-steps \
         entities fifo-between-instances"
    );
    assert!(said.contains("repeat the first with: sim run --engine netherite"), "{said}");
    let table = fs::read_to_string(place.join("all/runs.csv")).expect("a table");
    for start in ["on,26,", "off,26,", "refused,26,"] {
        assert!(table.lines().any(|line| line.starts_with(start)), "{table}");
    }
    assert!(table.contains(",failed,exactly-once-steps entities"), "{table}");
    assert!(table.contains(",refused,\"engine triggerflow: discipline v3"), "{table}");
    let folders = fs::read_dir(place.join("all/runs")).expect("a folder").count();
    assert_eq!(folders, 2, "what was refused leaves no folder of a run");

    let status = stdout(place, &["status", "all"]);
    assert!(status.contains("3 runs: 1 passed, 1 failed, 1 refused"), "{status}");
    assert!(status.contains("failed dedup=off, seed 26: exactly-once-steps"), "{status}");
    let before = results(&place.join("all"));
    sim(place, &["rerun", "--failed", "all"]).assert().code(1);
    same(&before, &results(&place.join("all")));

    // The folder of a run is that of `sim run`, but for its figures.
    let key = records(&place.join("all"));
    let runs = key.iter().map(|path| path.file_stem().expect("a name").to_owned());
    let run = runs.map(|key| place.join("all/runs").join(key)).find(|path| path.is_dir());
    let run = run.expect("a run");
    let spec = run.join("spec.toml").to_string_lossy().into_owned();
    sim(place, &["run", "--spec", &spec, "--out", "one"]).output().expect("it starts");
    let mut one = results(&place.join("one"));
    one.retain(|name, _| !name.starts_with("figures/"));
    same(&one, &results(&run));
}

#[test]
fn what_a_sweep_names_is_copied_and_found_again() {
    let folder = with_small(
        r#"
kind = "sweep"
name = "files"
seeds = [1]
base = { load = "batch:2", engine = "in-memory" }
axes = [{ name = "profile", values = ["azure-2021-10", "own.toml"] }]
"#,
    );
    let place = folder.path();
    let profile = include_str!("../../../experiments/profiles/azure-2021-10.toml");
    fs::write(place.join("own.toml"), profile).expect("a file");
    stdout(place, &["sweep", "small.toml", "--out", "first"]);
    fs::remove_file(place.join("own.toml")).expect("removed");
    stdout(place, &["sweep", "first/sweep.toml", "--out", "second"]);
    same(&results(&place.join("first")), &results(&place.join("second")));
    let table = fs::read_to_string(place.join("second/table.csv")).expect("a table");
    assert!(table.contains("\nown.toml,1,0,"), "a file is shown by its name: {table}");
    let whole = stdout(place, &["status", "second"]);
    assert!(whole.contains("2 runs: 2 passed"), "{whole}");
}

#[test]
fn a_plan_says_what_would_be_run_and_runs_nothing() {
    let folder = with_small(SMALL);
    let place = folder.path();
    let plan = stdout(place, &["sweep", "small.toml", "--plan", "--out", "a", "--shard", "1/2"]);
    assert_eq!(
        plan,
        "small\n  engine (2): in-memory, netherite\n  load (2): batch:5, \
         open:rate=5,duration=1s\n  shard 1/2 of 4 cells, 2 seeds each; 4 runs: 4 missing\n  to \
         run: 4, about 20 orchestrations\n"
    );
    assert_eq!(fs::read_dir(place).expect("a folder").count(), 1, "nothing is written");
    stdout(place, &["sweep", "small.toml", "--out", "a", "--runs", "6"]);
    let plan = sim(place, &["sweep", "small.toml", "--plan", "--out", "a"]).assert().success();
    let said = String::from_utf8(plan.get_output().stderr.clone()).expect("text");
    assert!(said.starts_with("about ") && said.contains(" (from 6 runs)"), "{said}");
}

/// Expects exit code 2 and exactly this line, and nothing written.
fn refused(text: &str, arguments: &[&str], message: &str) {
    let folder = with_small(text);
    let before = files(folder.path());
    let output = sim(folder.path(), arguments).output().expect("the command starts");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(stderr, format!("error: {message}\n"), "{text}");
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(output.stdout, b"", "{text}");
    assert_eq!(files(folder.path()), before, "{text}");
}

#[test]
fn sweeps_that_cannot_be_run() {
    let head = "kind = 'sweep'\nname = 'x'\nseeds = [1]\n";
    let keys = "engine, workload, load, plan, hosts, partitions, profile, host_events, autoscale, \
                faults, fault_plan, chaos, workload.PARAMETER, load.NUMBER, ENGINE.SETTING";
    let cases = [
        (
            "axes = [{ name = 'engin', values = ['netherite'] }]",
            format!("unknown axis \"engin\": did you mean \"engine\"? valid: {keys}"),
        ),
        (
            "axes = [{ name = 'netherit.dedup', values = [true] }]",
            format!("unknown axis \"netherit.dedup\": valid: {keys}"),
        ),
        (
            "axes = [{ name = 'engine', values = [] }]",
            "axis \"engine\": found \"none\", expected 1 to 10000 values".to_owned(),
        ),
        (
            "axes = [{ name = 'engine', values = ['netherite', 'netherite'] }]",
            "axis \"engine\": \"netherite\" is given twice".to_owned(),
        ),
        (
            "axes = [{ name = 'load.rate', values = [nan] }]",
            "axis \"load.rate\": found \"nan\", expected a text, a finite number, true, false, or a \
             list of these"
                .to_owned(),
        ),
        (
            "axes = [{ name = 'hosts', values = [2] }, { name = 'hosts', values = [3] }]",
            "axis \"hosts\" is given twice".to_owned(),
        ),
        (
            "axes = [{ name = 'hosts', values = [2] }, { name = 'size', cases = [{ label = 'a', hosts \
             = 3 }] }]",
            "key \"hosts\" of axes \"hosts\" and \"size\" is given twice".to_owned(),
        ),
        (
            "axes = [{ name = 'size', cases = [{ hosts = 3 }] }]",
            "axis \"size\": case 1: label is missing, expected a text".to_owned(),
        ),
        (
            "axes = [{ name = 'hosts' }]",
            "axis \"hosts\": a list is missing, expected either values or cases".to_owned(),
        ),
        (
            "base = { engin = 'netherite' }",
            format!("unknown key of base \"engin\": did you mean \"engine\"? valid: {keys}"),
        ),
        ("keep = 'all'", "unknown keep \"all\": valid: summary, tables".to_owned()),
        (
            "sedes = [1]",
            "unknown key of a sweep \"sedes\": did you mean \"seeds\"? valid: kind, name, title, \
             summary, keep, seeds, base, axes"
                .to_owned(),
        ),
    ];
    for (line, message) in cases {
        let text = format!("{head}{line}\n");
        refused(&text, &["sweep", "small.toml", "--out", "a"], &format!("small.toml: {message}"));
    }
    let cells = [
        (
            "axes = [{ name = 'engine', values = ['netherite', 'netherit'] }]",
            "cell engine=netherit: unknown engine \"netherit\": did you mean \"netherite\"? valid: \
             azure-storage, in-memory, internet-computer, netherite, sql-server, triggerflow",
        ),
        (
            "axes = [{ name = 'load.rate', values = [10, 'NaN'] }]",
            "cell load.rate=NaN: load open: rate: found \"NaN\", expected a rate above 0, at most \
             1000000 a second",
        ),
        (
            "base = { hosts = 101 }",
            "cell without axes: hosts: found \"101\", expected a whole number from 1 to 100",
        ),
        (
            "base = { fault_plan = 'none.toml' }",
            "cell without axes: none.toml: No such file or directory (os error 2)",
        ),
    ];
    for (line, message) in cells {
        let text = format!("{head}{line}\n");
        refused(&text, &["sweep", "small.toml"], &format!("small.toml: {message}"));
    }
    refused(
        &format!("{head}axes = [{{ name = 'load', values = ['batch:20', 'batch:size=20'] }}]\n"),
        &["sweep", "small.toml"],
        "small.toml: cells load=batch:20 and load=batch:size=20 are the same run",
    );
}

#[test]
fn files_and_flags_that_do_not_fit() {
    let seeds = "a list of whole numbers from 0 to 9223372036854775807, or a text such as \"1..5\", \
                 at most 100000 of them";
    for (text, message) in [
        ("", "kind: found \"\", expected \"sweep\" (experiments of other kinds: sim figure)"),
        (
            "kind = 'latency'",
            "kind: found \"latency\", expected \"sweep\" (experiments of other kinds: sim figure)",
        ),
        ("kind = [", "sweep: found \"line 1: unclosed array, expected `]`\", expected TOML"),
        ("kind = 'sweep'", "name: found \"\", expected letters, digits, - and _"),
        (
            "kind = 'sweep'\nname = '../x'",
            "name: found \"../x\", expected letters, digits, - and _",
        ),
        ("kind = 'sweep'\nname = 'x'", &format!("seeds is missing, expected {seeds}")),
        (
            "kind = 'sweep'\nname = 'x'\nseeds = []",
            &format!("seeds: found \"none\", expected {seeds}"),
        ),
        (
            "kind = 'sweep'\nname = 'x'\nseeds = [nan]",
            &format!("seeds: found \"[nan]\", expected {seeds}"),
        ),
        ("kind = 'sweep'\nname = 'x'\nseeds = [1, 1]", "seeds: 1 is given twice"),
        (
            "kind = 'sweep'\nname = 'x'\nseeds = '1..60000'\n\
             axes = [{ name = 'hosts', values = [1, 2] }]",
            "runs: found \"120000\", expected at most 100000",
        ),
    ] {
        refused(text, &["sweep", "small.toml"], &format!("small.toml: {message}"));
    }
    for shard in ["0/0", "5/4", "-1/2", "1"] {
        let message = format!(
            "--shard: found {shard:?}, expected i/n (i from 1 to n, n from 1 to 100000), auto or \
             auto/n"
        );
        refused(SMALL, &["sweep", "small.toml", "--shard", shard], &message);
    }
    refused(SMALL, &["sweep", "no.toml"], "no.toml: No such file or directory (os error 2)");
    refused(SMALL, &["status", "no"], "no: holds no sweep (no sweep.toml)");
    refused(SMALL, &["merge", "no", "--out", "a"], "no: holds no sweep (no sweep.toml)");
    refused(SMALL, &["rerun", "--failed", "no"], "no: holds no sweep (no sweep.toml)");
}

#[test]
fn folders_of_something_else_are_left_alone() {
    let folder = with_small(SMALL);
    let place = folder.path();
    fs::write(place.join("other.toml"), SMALL.replace("1..2", "1..3")).expect("a file");
    stdout(place, &["sweep", "small.toml", "--out", "a", "--runs", "1"]);
    stdout(place, &["sweep", "small.toml", "--out", "b", "--runs", "1", "--shard", "1/2"]);
    stdout(place, &["sweep", "other.toml", "--out", "c", "--runs", "1"]);
    fs::create_dir(place.join("full")).expect("a folder");
    fs::write(place.join("full/thesis.tex"), "precious").expect("a file");
    let before = files(place);
    let refused = |arguments: &[&str], message: &str| {
        let output = sim(place, arguments).output().expect("the command starts");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(stderr, format!("error: {message}\n"));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(files(place), before, "{arguments:?}");
    };
    refused(
        &["sweep", "other.toml", "--out", "a"],
        "--out: a: holds the results of another sweep (seeds differs): choose a new or empty folder",
    );
    refused(
        &["sweep", "small.toml", "--out", "b/shards/00001-of-00002"],
        "--out: b/shards/00001-of-00002: holds the results of another sweep (shard 1/2, not 1/1, \
         differs): choose a new or empty folder",
    );
    refused(
        &["sweep", "small.toml", "--out", "full"],
        "--out: full: holds other files and no earlier result (no sweep.toml): choose a new or empty \
         folder",
    );
    refused(
        &["sweep", "small.toml", "--out", "small.toml"],
        "--out: small.toml: is not a folder that results can be written to",
    );
    refused(&["merge", "a", "b"], "--out is missing: the folder of the whole");
    refused(
        &["merge", "a", "c", "--out", "merged"],
        "c: holds the results of another sweep (seeds differs): choose a new or empty folder",
    );
}
