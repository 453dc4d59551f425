use super::*;

fn run(engine: &str, workload: &str, seed: u64, p50: f64) -> Run {
    Run {
        engine: BTreeMap::from([("engine".to_owned(), engine.to_owned())]),
        shared: BTreeMap::from([("workload".to_owned(), workload.to_owned())]),
        seed,
        digest: Some(format!("{engine} {workload} {seed} {p50}")),
        values: BTreeMap::from([("latency.p50", p50), ("throughput", 1e3 / p50)]),
        latencies: BTreeMap::new(),
    }
}

fn compared(one: Vec<Run>, two: Vec<Run>) -> Result<Contrast, ContrastError> {
    contrast(&ResultSet::new("a", one), &ResultSet::new("b", two), Confidence::default())
}

#[test]
fn engines_are_paired_by_seed_and_the_rest_of_the_specification() {
    let of = |engine: &str, factor: f64| -> Vec<Run> {
        [
            ("hello", 1, 10.0),
            ("hello", 2, 12.0),
            ("hello", 3, 11.0),
            ("bank", 1, 20.0),
            ("bank", 2, 21.0),
        ]
        .map(|(workload, seed, p50)| run(engine, workload, seed, p50 * factor))
        .to_vec()
    };
    let found = compared(of("netherite", 1.0), of("azure-storage", 3.0)).expect("pairs");
    assert_eq!((found.pairing, found.without_partner), (Pairing::ByAllButEngine, [0, 0]));
    let [bank, hello] = &found.groups[..] else { panic!("{found:?}") };
    assert_eq!((hello.seeds.clone(), hello.name()), (vec![1, 2, 3], "hello".to_owned()));
    assert_eq!(bank.seeds, [1, 2]);
    let verdicts: Vec<(&str, Verdict)> =
        hello.metrics.iter().map(|row| (row.metric, row.verdict)).collect();
    assert_eq!(verdicts, [("throughput", Verdict::Slower), ("latency.p50", Verdict::Slower)]);
    assert_eq!(hello.metrics[1].difference.relative, Some(2.0));
    assert_eq!(hello.differing["engine"], ["netherite", "azure-storage"].map(str::to_owned));
    let limits =
        ["p50>+150%", "p50>+250%", "throughput<-50%"].map(|text| text.parse().expect(text));
    let lines = found.exceeded(&limits).expect("measured");
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[0].ends_with(" in bank"), "{lines:?}");
}

#[test]
fn two_builds_are_paired_by_everything() {
    let all = || vec![run("netherite", "hello", 1, 10.0), run("azure-storage", "hello", 1, 30.0)];
    let found = compared(all(), all()).expect("pairs");
    assert_eq!(found.pairing, Pairing::BySpecification);
    assert_eq!(found.groups.len(), 2);
    assert!(found.groups.iter().all(|group| group.same_runs == 1));
    assert_eq!(found.groups[0].metrics[0].verdict, Verdict::TooFewRuns);
}

#[test]
fn other_loads_are_paired_by_seed_and_other_seeds_not_at_all() {
    let of = |workload: &str, seeds: [u64; 3]| -> Vec<Run> {
        seeds.map(|seed| run("netherite", workload, seed, 10.0 + seed as f64)).to_vec()
    };
    let found = compared(of("hello", [1, 2, 3]), of("bank", [2, 3, 4])).expect("pairs");
    assert_eq!((found.pairing, found.without_partner), (Pairing::BySeed, [1, 1]));
    assert_eq!(found.groups[0].seeds, [2, 3]);
    let found = compared(of("hello", [1, 2, 3]), of("hello", [4, 5, 6])).expect("samples");
    assert_eq!((found.pairing, found.without_partner), (Pairing::Independent, [0, 0]));
    assert_eq!(found.groups[0].metrics[1].difference.difference, 3.0);
    assert!(found.groups[0].method.contains("Welch"), "{}", found.groups[0].method);
}

#[test]
fn what_has_no_single_partner_is_refused() {
    let two = vec![run("netherite", "hello", 1, 10.0), run("netherite", "bank", 1, 10.0)];
    let one = vec![run("azure-storage", "tally", 1, 10.0)];
    let error = compared(two, one).expect_err("two workloads against a third");
    assert!(error.to_string().contains("cannot be paired"), "{error}");
    let one = || vec![run("netherite", "hello", 1, 10.0)];
    let limit: Limit = "client.p50>1%".parse().expect("a limit");
    let error = compared(one(), one()).expect("a pair").exceeded(&[limit]).expect_err("no clients");
    assert_eq!(
        error.to_string(),
        "client.p50 was not measured in both results; measured: latency.p50, throughput"
    );
}
