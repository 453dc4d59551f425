//! Result equality: every workload ends in the same states on every engine.

use sim_lab::compare::{Comparison, ComparisonOutcome};
use sim_lab::progress::Progress;
use sim_lab::registry::{self, REFERENCE};
use sim_lab::spec::RunSpec;
use sim_lab::workload;

/// Small sizes, by name; a workload that is not here has its default size and load.
const SMALL: &[(&str, &str)] = &[
    ("bank", "bank:variant=random,accounts=6"),
    ("collision", "collision:billions=40"),
    ("counter", "counter:signals=100"),
    ("fanout", "fanout:width=40"),
    ("filehash", "filehash:files=40"),
    ("periodic", "periodic:ticks=4,interval=200ms,ticks_per_execution=2"),
    ("producerconsumer", "producerconsumer:batches=3,batch_size=10"),
    ("store", "store:stores=2,slots=4,value_bytes=100"),
    ("wordcount", "wordcount:mappers=2,reducers=3,word_limit=200"),
];

/// Loads of workloads whose own is larger than a test needs.
const LOADS: &[(&str, &str)] = &[
    ("bank", "batch:20"),
    ("fanout", "batch:2"),
    ("hello", "batch:20,launcher=5"),
    ("imagerecognition", "batch:10"),
    ("periodic", "batch:4"),
    ("semaphore", "batch:8"),
    ("sequence", "open:rate=5,duration=2s"),
    ("store", "batch:20"),
];

fn found<'a>(table: &'a [(&str, &'a str)], name: &str) -> Option<&'a str> {
    table.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

fn compare(workload: &str, load: Option<&str>, seeds: &[u64]) -> ComparisonOutcome {
    let comparison = Comparison {
        engines: registry::engines().iter().map(|engine| engine.name().to_owned()).collect(),
        workloads: vec![workload.parse().expect(workload)],
        seeds: seeds.to_vec(),
        load: load.map(|load| load.parse().expect(load)),
        place: RunSpec { hosts: 2, partitions: 4, ..RunSpec::default() },
    };
    let checked = comparison.check().expect(workload);
    checked.run(None, &Progress::default()).expect(workload)
}

#[test]
fn every_workload_ends_in_the_same_states_on_every_engine() {
    let needs_no_file =
        |kind: &&workload::WorkloadKind| kind.files.iter().all(|file| !file.required);
    let mut compared = 0;
    for kind in workload::kinds().iter().filter(needs_no_file) {
        let workload = found(SMALL, kind.name).unwrap_or(kind.name);
        let outcome = compare(workload, found(LOADS, kind.name), &[1, 2]);
        assert_eq!(outcome.cases.len(), 2);
        for case in &outcome.cases {
            assert_eq!(case.engines.len(), registry::engines().len());
            assert_eq!(case.engines[0].engine, REFERENCE);
            assert!(case.ended > 0, "{}", case.workload);
            compared += usize::from(case.compared);
            for result in &case.engines {
                assert!(result.passed(), "{}, seed {}: {result:?}", case.workload, case.seed);
                let same = result.results_digest == case.engines[0].results_digest;
                assert!(same || !case.compared, "{}: {}", case.workload, result.engine);
            }
        }
        assert!(outcome.passed);
    }
    assert!(compared >= 2 * 8, "most workloads do not depend on timing: {compared}");
}

#[test]
fn small_sizes_are_those_of_workloads_that_exist() {
    for (name, _) in SMALL.iter().chain(LOADS) {
        assert!(workload::kind(name).is_ok(), "{name}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let comparison = |engines: &[&str], load: Option<&str>| Comparison {
        engines: engines.iter().map(|&name| name.to_owned()).collect(),
        workloads: vec!["hello".parse().expect("a workload")],
        seeds: vec![1],
        load: load.map(|load| load.parse().expect(load)),
        place: RunSpec::default(),
    };
    let refused = |comparison: Comparison, expected: &str| {
        let error = comparison.check().expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(comparison(&[REFERENCE], None), "an engine besides the reference");
    refused(comparison(&["netherite"], Some("closed:clients=2")), "a batch or an open load");
    refused(comparison(&["nethrite"], None), "did you mean \"netherite\"?");
    let nothing = Comparison { seeds: Vec::new(), ..comparison(&["netherite"], None) };
    refused(nothing, "at least one each");
}
