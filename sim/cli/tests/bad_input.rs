//! Whatever is wrong with what is asked for: exit code 2, one line that names the place and the
//! nearest valid choice, and nothing written.

mod common;

use common::{files, sim};
use std::fs;
use std::path::Path;

/// Runs `sim` in an empty folder and expects exactly this line.
fn refused(arguments: &[&str], message: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    refused_in(folder.path(), arguments, message);
    let left = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0, "{arguments:?} left something behind");
}

fn refused_in(folder: &Path, arguments: &[&str], message: &str) {
    let output = sim(folder, arguments).output().expect("the command starts");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(stderr, format!("error: {message}\n"), "{arguments:?}");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
}

/// Runs `sim` in an empty folder and expects one line that begins like this.
fn refused_with(arguments: &[&str], beginning: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = sim(folder.path(), arguments).output().expect("the command starts");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(stderr.starts_with(&format!("error: {beginning}")), "{arguments:?}: {stderr}");
    assert_eq!(stderr.matches('\n').count(), 1, "{arguments:?}: {stderr}");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "{arguments:?}");
}

#[test]
fn unknown_names() {
    for (arguments, message) in [
        (
            &["run", "--engine", "netherit"][..],
            "unknown engine \"netherit\": did you mean \"netherite\"? valid: azure-storage, \
             in-memory, internet-computer, netherite, sql-server, triggerflow",
        ),
        (
            &["run", "--engine", ""],
            "unknown engine \"\": valid: azure-storage, in-memory, internet-computer, netherite, \
             sql-server, triggerflow",
        ),
        (
            &["run", "--workload", "helo"],
            "unknown workload \"helo\": did you mean \"hello\"? valid: bank, collision, counter, \
             dag, definition, fanout, filehash, hello, imagerecognition, ingestion, passes, \
             periodic, producerconsumer, semaphore, sequence, store, tally, waves, wordcount",
        ),
        (
            &["run", "--workload", "hello:lenght=5"],
            "unknown parameter of hello \"lenght\": did you mean \"length\"? valid: length",
        ),
        (
            &["run", "--load", "btach:10"],
            "unknown load \"btach\": did you mean \"batch\"? valid: batch, open, closed",
        ),
        (
            &["run", "--plan", "ep9"],
            "unknown plan of profile azure-2021-10 \"ep9\": did you mean \"EP1\"? valid: EP1, EP2, \
             EP3",
        ),
        (
            &["run", "--profile", "azure-2021"],
            "unknown profile \"azure-2021\": did you mean \"azure-2021-10\"? valid: azure-2021-10, \
             azure-2021-02",
        ),
        (
            &["run", "--set", "netherit.speculation=none"],
            "unknown engine \"netherit\": did you mean \"netherite\"? valid: azure-storage, \
             in-memory, internet-computer, netherite, sql-server, triggerflow",
        ),
        (
            &["run", "--set", "in-memory.dedup=false", "--engine", "in-memory"],
            "unknown setting of in-memory \"dedup\": there are none",
        ),
        (
            &["list", "engins"],
            "unknown list \"engins\": did you mean \"engines\"? valid: engines, workloads, loads, \
             profiles, plans, settings, ablations, faults, figures",
        ),
        (
            &["figure", "hello-latency"],
            "unknown figure \"hello-latency\": did you mean \"netherite-hello-latency\"? valid: \
             ablations, breakdown, costs, elasticity, guarantees, internet-computer-latency, \
             internet-computer-predictions, netherite-hello-latency, netherite-hello-throughput, \
             netherite-maxima, netherite-storage-traffic, predictions, recovery, \
             recovery-operations, speculation, speculation-rollback, sql-server-scaling, \
             triggerflow-crashes, triggerflow-fault-tolerance, triggerflow-ingestion, \
             triggerflow-scaling, validation",
        ),
    ] {
        refused(arguments, message);
    }
}

#[test]
fn unknown_commands_and_flags() {
    for (arguments, message) in [
        (
            &["runn"][..],
            "unrecognized subcommand 'runn'; a similar subcommand exists: 'run'; see 'sim --help'",
        ),
        (
            &["run", "--enigne", "netherite"],
            "unexpected argument '--enigne' found; a similar argument exists: '--engine'; see 'sim \
             run --help'",
        ),
        (&["run", "netherite"], "unexpected argument 'netherite' found; see 'sim run --help'"),
        (
            &["run", "--engine", "netherite", "--engine", "in-memory"],
            "the argument '--engine <NAME>' cannot be used multiple times; see 'sim run --help'",
        ),
        (
            &["run", "--out"],
            "a value is required for '--out <DIR>' but none was supplied; see 'sim run --help'",
        ),
        (
            &["diverge", "a"],
            "the following required arguments were not provided: <B>; see 'sim diverge --help'",
        ),
        (
            &["replay"],
            "the following required arguments were not provided: <FILE>...; see 'sim replay --help'",
        ),
    ] {
        refused(arguments, message);
    }
    refused_with(&[], "a command is missing: run, compare, ");
}

#[test]
fn values_that_do_not_fit() {
    for hosts in ["0", "-1", "101", "NaN", "four", "1e300", "99999999999999999999999"] {
        refused(
            &["run", "--hosts", hosts],
            &format!(
                "invalid value '{hosts}' for '--hosts <N>': expected a whole number from 1 to 100; \
                 see 'sim run --help'"
            ),
        );
    }
    for (arguments, message) in [
        (
            &["run", "--partitions", "33"][..],
            "invalid value '33' for '--partitions <N>': expected a whole number from 1 to 32; see \
             'sim run --help'",
        ),
        (
            &["run", "--seed", "-7"],
            "invalid value '-7' for '--seed <N>': expected a whole number from 0 to \
             9223372036854775807; see 'sim run --help'",
        ),
        (
            &["figure", "netherite-hello-latency", "--threads", "0"],
            "invalid value '0' for '--threads <N>': expected a whole number from 1 to 1024; see \
             'sim figure --help'",
        ),
        (
            &["run", "--workload", "hello:length=five"],
            "parameter of hello \"length\": found \"five\", expected a whole number from 1 to 1000",
        ),
        (
            &["run", "--load", "open:rate=NaN"],
            "load open: rate: found \"NaN\", expected a rate above 0, at most 1000000 a second",
        ),
        (
            &["run", "--load", "batch:-5"],
            "load batch: size: found \"-5\", expected a whole number of orchestrations",
        ),
        (
            &["run", "--load", "open:rate=inf"],
            "load open: rate: found \"inf\", expected a rate above 0, at most 1000000 a second",
        ),
        (
            &["run", "--load", "open:rate=1e308"],
            "load open: rate: found \"1e308\", expected a rate above 0, at most 1000000 a second",
        ),
        (
            &["run", "--load", "open:rate=1000,duration=24h"],
            "load open: rate times duration: found \"86400000\", expected at most 5000000 \
             orchestrations",
        ),
        (
            &["run", "--set", "netherite.speculation=far"],
            "setting of netherite \"speculation\": found \"far\", expected one of none, local, \
             global",
        ),
        (
            &["run", "--set", "speculation"],
            "setting: found \"speculation\", expected engine.key=value",
        ),
        (
            &["run", "--set", "netherite.dedup=true", "--set", "netherite.dedup=false"],
            "setting \"netherite.dedup\" is given twice",
        ),
        (
            &["run", "--engine", "in-memory", "--set", "netherite.dedup=true"],
            "setting \"netherite.dedup\" is of engine \"netherite\", but the run uses \
             \"in-memory\"",
        ),
    ] {
        refused(arguments, message);
    }
}

#[test]
#[cfg(unix)]
fn arguments_that_are_not_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = sim(folder.path(), &["run", "--engine"]);
    let output = command.arg(OsStr::from_bytes(b"nether\xff")).output().expect("it starts");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(stderr, "error: argument 3, \"nether\\xFF\", is not UTF-8 text\n");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn profiles_that_cannot_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = include_str!("../../../experiments/profiles/azure-2021-10.toml");
    let (head, _) = good.split_once("[plans.EP2]").expect("the plan");
    fs::write(folder.path().join("short.toml"), head).expect("a file");
    fs::write(folder.path().join("odd.toml"), "plans = [").expect("a file");
    let small = |profile: &str, message: &str| {
        refused_in(folder.path(), &["run", "--profile", profile], message);
    };
    small("odd.toml", "profile odd: not valid TOML at line 1: unclosed array, expected `]`");
    let missing =
        sim(folder.path(), &["run", "--profile", "short.toml"]).output().expect("it starts");
    let stderr = String::from_utf8(missing.stderr).expect("text");
    assert_eq!(missing.status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("error: profile short: field "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn folders_that_cannot_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path();
    fs::write(place.join("file"), "precious").expect("a file");
    fs::create_dir(place.join("full")).expect("a folder");
    fs::write(place.join("full").join("thesis.tex"), "precious").expect("a file");
    let before = files(place);
    for (out, message) in [
        ("file", "--out: file: is not a folder that results can be written to"),
        (
            "full",
            "--out: full: holds other files and no earlier result (no spec.toml): choose a new or \
             empty folder",
        ),
    ] {
        refused_in(place, &["run", "--load", "batch:1", "--out", out], message);
    }
    #[cfg(target_os = "linux")]
    refused_in(
        place,
        &["run", "--load", "batch:1", "--out", "/proc/results"],
        "--out: /proc/results: cannot write: No such file or directory (os error 2)",
    );
    refused_in(
        place,
        &["figure", "netherite-hello-latency", "--out", "full"],
        "--out: full: holds other files and no earlier result (no experiment.toml): choose a new \
         or empty folder",
    );
    assert_eq!(files(place), before);
}

#[test]
fn bad_input_leaves_an_earlier_result_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    sim(folder.path(), &["run", "--load", "batch:1", "--out", "kept"]).assert().success();
    let before = files(folder.path());
    let bad = ["run", "--engine", "x", "--out", "kept"];
    sim(folder.path(), &bad).assert().code(2);
    assert_eq!(files(folder.path()), before);
}

#[test]
fn folders_that_are_no_results() {
    refused(&["diverge", "a", "b"], "a: holds no result of sim run --out (no spec.toml)");
    refused(&["run", "--spec", "none.toml"], "none.toml: No such file or directory (os error 2)");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("spec.toml"), "engin = 'netherite'\n").expect("a file");
    refused_in(
        folder.path(),
        &["run", "--spec", "spec.toml"],
        "spec.toml: unknown key of a specification \"engin\": did you mean \"engine\"? valid: \
         engine, workload, load, plan, hosts, partitions, profile, seed, host_events, autoscale, \
         faults, settings",
    );
    fs::write(folder.path().join("empty.toml"), "\n").expect("a file");
    refused_in(
        folder.path(),
        &["run", "--spec", "empty.toml"],
        "empty.toml: is empty, expected one or more of engine, workload, load, plan, hosts, \
         partitions, profile, seed, host_events, autoscale, faults, settings",
    );
}

#[test]
fn an_engine_that_cannot_carry_the_workload() {
    refused(
        &["run", "--engine", "triggerflow", "--set", "triggerflow.discipline=v3"],
        "engine triggerflow: discipline v3 deletes the stream that workflow as code, such as \
         HelloSequence, is run from; use v1, v2 or v4, or a workload whose workflows are data (dag, \
         ingestion, waves)",
    );
}

#[test]
fn faults_that_cannot_happen() {
    for (arguments, message) in [
        (
            &["run", "--fault", "cutt:from=worker-1,at=1s,for=1s"][..],
            "unknown kind of fault \"cutt\": did you mean \"cut\"? valid: crash, pause, ",
        ),
        (
            &["run", "--fault", "cut:from=worker-9,at=1s,for=1s"],
            "unknown from of fault cut \"worker-9\": did you mean \"worker-0\"? valid: worker-0, ",
        ),
        (
            &["run", "--fault", "lose:from=*,probability=NaN,at=1s,for=1s"],
            "fault lose: probability: found \"NaN\", expected a probability from 0 to 1",
        ),
        (
            &["run", "--fault", "crash:host=7,at=1s,for=1s"],
            "fault crash: host: found \"7\", expected a host from 0 to 3",
        ),
        (
            &["run", "--chaos", "strom"],
            "unknown level of chaos \"strom\": did you mean \"storm\"? valid: calm, rough, storm",
        ),
        (&["run", "--faults", "none.toml"], "none.toml: No such file or directory (os error 2)"),
        (
            &["run", "--engine", "in-memory", "--fault", "lose-lease:blob=,at=1s"],
            "fault lose-lease: blob: found \"\", expected a name, with * for any characters",
        ),
        (
            &["explore", "--engine", "netherit"],
            "unknown engine \"netherit\": did you mean \"netherite\"?",
        ),
        (
            &["explore", "--set", "sql-server.row_locks=false"],
            "setting \"sql-server.row_locks\" is of no engine that is explored (netherite)",
        ),
        (&["replay", "none.toml"], "none.toml: No such file or directory (os error 2)"),
    ] {
        refused_with(arguments, message);
    }
}

#[test]
fn host_events_that_cannot_happen() {
    for (event, message) in [
        (
            "crush:host=1,at=1s",
            "unknown host event \"crush\": did you mean \"crash\"? valid: crash, \
             power-loss, pause, leave, join",
        ),
        (
            "crash:host=9,at=1s",
            "host event: found \"crash:host=9,at=1s\", expected a host from 0 to 3",
        ),
        (
            "crash:host=-1,at=1s",
            "host event crash: host: found \"-1\", expected the number of a host",
        ),
        (
            "pause:host=1,at=1s",
            "host event pause: for is missing, expected a span of at most 24h, such as 30s, 1.5s, \
             250ms or 2m",
        ),
    ] {
        refused(&["run", "--host-event", event], message);
    }
    refused(
        &["run", "--host-event", "crash:host=1,at=1s", "--load", "batch:5000"],
        "host events or autoscale with load: found \"batch:5000,launcher=200\", expected another load: \
         launchers cannot be asked twice; add launcher=0",
    );
}

#[test]
fn experiments_of_ones_own() {
    refused(&["figure", "none.toml"], "none.toml: No such file or directory (os error 2)");
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("own.toml");
    fs::write(&own, "kind = \"latency\"\nname = \"../own\"\n").expect("written");
    let refusal = sim(folder.path(), &["figure", "own.toml"]).assert().code(2);
    let told = String::from_utf8_lossy(&refusal.get_output().stderr).into_owned();
    assert!(told.starts_with("error: own.toml: ") && told.contains("missing field"), "{told}");
    let known = include_str!("../../../experiments/recovery.toml");
    fs::write(&own, known.replace("\"recovery\"", "\"../own\"")).expect("written");
    let expected = "own.toml: name: found \"../own\", expected letters, digits, - and _";
    refused_in(folder.path(), &["figure", "own.toml"], expected);
    assert_eq!(files(folder.path()).len(), 1);
}
