//! Result folders: written whole or not at all, compared, and repeated.

use sim_lab::diverge::{DivergeError, Divergence, first_difference};
use sim_lab::progress::Progress;
use sim_lab::results::{self, Provenance, ResultsError, ResultsFolder};
use sim_lab::run::run;
use sim_lab::spec::RunSpec;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn spec(seed: u64) -> RunSpec {
    RunSpec {
        engine: "in-memory".to_owned(),
        load: "batch:300".parse().expect("a load"),
        seed,
        ..RunSpec::default()
    }
}

fn write(spec: &RunSpec, path: &Path) {
    let folder = ResultsFolder::check(path).expect("a place for results");
    let checked = spec.check().expect("valid");
    let outcome = run(&checked, &Progress::default()).expect("a run");
    results::write(&folder, &checked, &outcome, &Provenance::default()).expect("written");
}

/// Every file below `path`, with its content.
fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        if entry.path().is_dir() {
            for (inner, content) in files(&entry.path()) {
                found.insert(format!("{name}/{inner}"), content);
            }
        } else {
            found.insert(name, fs::read(entry.path()).expect("a file"));
        }
    }
    found
}

#[test]
fn a_result_is_complete_and_repeats() {
    let place = tempfile::tempdir().expect("a folder");
    let (first, second) = (place.path().join("deep/first"), place.path().join("second"));
    write(&spec(7), &first);
    let repeat = RunSpec::load(&first.join("spec.toml")).expect("a specification");
    write(&repeat, &second);
    let found = files(&first);
    assert_eq!(
        found.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "counters.csv",
            "events.csv",
            "figures/latency.png",
            "figures/latency.svg",
            "latency.csv",
            "operations.csv",
            "provenance.json",
            "spec.toml",
            "summary.json",
            "timeseries.csv",
        ]
    );
    assert!(found == files(&second), "the same bytes");
    let rows = String::from_utf8(found["latency.csv"].clone()).expect("text").lines().count();
    assert_eq!(rows, 301);
    let mut beside: Vec<_> = fs::read_dir(place.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    beside.sort();
    assert_eq!(beside, ["deep", "second"], "nothing else is left");
}

#[test]
fn levels_are_a_table_of_their_own_if_there_are_any() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("levels");
    let waves = RunSpec {
        engine: "in-memory".to_owned(),
        ..RunSpec::of("waves:percent=1".parse().expect("a workload"))
    };
    write(&waves, &folder);
    let table = String::from_utf8(files(&folder)["levels.csv"].clone()).expect("text");
    let mut rows = table.lines();
    assert_eq!(rows.next(), Some("time_s,what,value"));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split(',').collect()).collect();
    let times: Vec<f64> = rows.iter().map(|row| row[0].parse().expect("seconds")).collect();
    assert!(times.is_sorted(), "{table}");
    assert!(rows.iter().all(|row| row[1] == "active workspaces"), "{table}");
    assert!(rows.windows(2).all(|pair| pair[0][2] != pair[1][2]), "each row is a change");
    assert_eq!(rows.last().expect("rows")[2], "0", "in the end none is active");
}

#[test]
fn an_earlier_result_is_replaced_and_anything_else_left_alone() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("result");
    write(&spec(7), &path);
    fs::write(path.join("stale.txt"), "of the earlier result").expect("written");
    write(&spec(8), &path);
    assert!(!path.join("stale.txt").exists());
    let other = place.path().join("other");
    fs::create_dir(&other).expect("made");
    assert!(ResultsFolder::check(&other).is_ok(), "an empty folder will do");
    fs::write(other.join("thesis.tex"), "years of work").expect("written");
    let error = ResultsFolder::check(&other).expect_err("it holds something else");
    assert!(matches!(error, ResultsError::NotAResult { .. }), "{error}");
    let file = place.path().join("file");
    fs::write(&file, "").expect("written");
    for bad in [&file, &file.join("below")] {
        let error = ResultsFolder::check(bad).expect_err("no folder");
        assert!(matches!(error, ResultsError::NotAFolder { .. }), "{error}");
    }
    assert!(ResultsFolder::check(Path::new("/")).is_err());
    let system = ResultsFolder::check(Path::new("/proc/no-such-place/result"));
    assert!(matches!(system, Err(ResultsError::Io { .. })), "{system:?}");
}

#[test]
fn a_write_that_fails_leaves_the_place_as_it_was() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("result");
    let folder = ResultsFolder::check(&path).expect("a place");
    let refuse = |half: &Path| {
        fs::write(half.join("spec.toml"), "half").expect("written");
        Err(ResultsError::NotAFolder { path: half.to_owned() })
    };
    assert!(folder.fill(refuse).is_err());
    assert_eq!(fs::read_dir(place.path()).expect("a folder").count(), 0);
    write(&spec(7), &path);
    let before = files(&path);
    assert!(folder.fill(refuse).is_err());
    assert!(before == files(&path), "the earlier result is still there");
    assert_eq!(fs::read_dir(place.path()).expect("a folder").count(), 1);
}

#[test]
fn the_first_differing_event_is_named() {
    let place = tempfile::tempdir().expect("a folder");
    let at = |name: &str| place.path().join(name);
    write(&spec(7), &at("a"));
    write(&spec(7), &at("b"));
    write(&RunSpec { load: "batch:301".parse().expect("a load"), ..spec(7) }, &at("c"));
    let progress = Progress::default();
    let equal = first_difference(&at("a"), &at("b"), &progress).expect("comparable");
    assert!(matches!(equal, Divergence::Equal { events } if events > 1_000), "{equal}");
    let different = first_difference(&at("a"), &at("c"), &progress).expect("comparable");
    let Divergence::At { specs, index, left, right } = &different else {
        panic!("different runs: {different}");
    };
    assert_eq!(specs.len(), 1);
    assert_eq!(specs[0].0, "load");
    assert!(*index > 0);
    assert_ne!(left, right);
    assert!(left.is_some() && right.is_some(), "{different}");
}

#[test]
fn a_record_that_the_run_does_not_give_again_is_found() {
    let place = tempfile::tempdir().expect("a folder");
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    write(&spec(7), &a);
    write(&spec(7), &b);
    let events = fs::read_to_string(b.join("events.csv")).expect("marks");
    let mut lines: Vec<String> = events.lines().map(str::to_owned).collect();
    for line in &mut lines[2..] {
        let (events, _) = line.split_once(',').expect("two fields");
        *line = format!("{events},00000000deadbeef");
    }
    fs::write(b.join("events.csv"), lines.join("\n")).expect("written");
    let found = first_difference(&a, &b, &Progress::default()).expect("comparable");
    let Divergence::NotRepeatable { folder, events, from } = &found else {
        panic!("a forged record: {found}");
    };
    assert_eq!((folder, events.start), (&b, 4096));
    assert_eq!(from.as_ref().map(|event| event.index), Some(4096));
}

#[test]
fn what_is_no_result_is_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let error = first_difference(place.path(), place.path(), &Progress::default());
    assert!(matches!(error, Err(DivergeError::Spec(_))), "{error:?}");
    write(&spec(7), &place.path().join("a"));
    fs::write(place.path().join("a/events.csv"), "events,digest\n").expect("written");
    let a = place.path().join("a");
    let error = first_difference(&a, &a, &Progress::default());
    assert!(matches!(error, Err(DivergeError::Events { .. })), "{error:?}");
}

#[test]
fn a_profile_of_its_own_goes_with_the_result() {
    let place = tempfile::tempdir().expect("a folder");
    let embedded =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/profiles/azure-2021-10.toml");
    let own = place.path().join("own.toml");
    fs::copy(embedded, &own).expect("copied");
    let asked = RunSpec { profile: own.to_string_lossy().into_owned(), ..spec(7) };
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    write(&asked, &first);
    fs::remove_file(&own).expect("removed");
    let repeat = RunSpec::load(&first.join("spec.toml")).expect("a specification");
    write(&repeat, &second);
    assert!(files(&first) == files(&second), "the same bytes");
    assert!(first.join("profile.toml").is_file());
}
