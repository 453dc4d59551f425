//! Specifications: what is accepted, and what is said about the rest.

use proptest::prelude::*;
use sim_lab::load::LoadSpec;
use sim_lab::spec::{RunSpec, SpecError, WorkloadSpec};
use sim_lab::{experiment, registry, workload};

fn message(spec: &RunSpec) -> String {
    spec.check().expect_err("not valid").to_string()
}

#[test]
fn the_default_specification_is_valid() {
    let checked = RunSpec::default().check().expect("valid");
    let spec = checked.spec();
    assert_eq!(spec.engine, "netherite");
    assert_eq!(spec.workload.to_string(), "hello:length=5");
    assert_eq!(spec.load, LoadSpec::DEFAULT);
    assert!(spec.settings.keys().all(|key| key.starts_with("netherite.")), "{:?}", spec.settings);
}

#[test]
fn every_engine_can_be_asked_for() {
    for engine in registry::engines() {
        let spec = RunSpec { engine: engine.name().to_owned(), ..RunSpec::default() };
        assert!(spec.check().is_ok(), "{}", engine.name());
    }
}

#[test]
fn faults_are_named_with_the_nearest_valid_choice() {
    let spec = RunSpec { engine: "netherit".to_owned(), ..RunSpec::default() };
    assert_eq!(
        message(&spec),
        "unknown engine \"netherit\": did you mean \"netherite\"? valid: azure-storage, \
         in-memory, netherite, sql-server"
    );
    let spec = RunSpec { plan: "EP4".to_owned(), ..RunSpec::default() };
    assert_eq!(
        message(&spec),
        "unknown plan of profile azure-2021-10 \"EP4\": did you mean \"EP1\"? valid: EP1, EP2, EP3"
    );
    let spec = RunSpec { profile: "azure-2021".to_owned(), ..RunSpec::default() };
    let unknown = message(&spec);
    assert!(
        unknown.starts_with("unknown profile \"azure-2021\": did you mean \"azure-2021-"),
        "{unknown}"
    );
    for (hosts, partitions, seed, expected) in [
        (0, 12, 1, "hosts: found \"0\", expected a whole number from 1 to 100"),
        (101, 12, 1, "hosts: found \"101\", expected a whole number from 1 to 100"),
        (4, 0, 1, "partitions: found \"0\", expected a whole number from 1 to 32"),
        (4, 33, 1, "partitions: found \"33\", expected a whole number from 1 to 32"),
        (
            4,
            12,
            u64::MAX,
            "seed: found \"18446744073709551615\", expected a whole number from 0 to 9223372036854775807",
        ),
    ] {
        assert_eq!(message(&RunSpec { hosts, partitions, seed, ..RunSpec::default() }), expected);
    }
}

#[test]
fn workloads_and_their_parameters_are_checked_when_read() {
    let names: Vec<&str> = workload::kinds().iter().map(|kind| kind.name).collect();
    let unknown =
        format!("unknown workload \"helo\": did you mean \"hello\"? valid: {}", names.join(", "));
    for (text, expected) in [
        ("helo", &*unknown),
        (
            "hello:lenght=5",
            "unknown parameter of hello \"lenght\": did you mean \"length\"? valid: length",
        ),
        (
            "hello:length=0",
            "parameter of hello \"length\": found \"0\", expected a whole number from 1 to 1000",
        ),
        (
            "hello:length=x",
            "parameter of hello \"length\": found \"x\", expected a whole number from 1 to 1000",
        ),
        ("hello:", "workload hello: found \"\", expected key=value"),
        ("hello:length=3,length=5", "workload hello: length is given twice"),
    ] {
        assert_eq!(text.parse::<WorkloadSpec>().expect_err(text).to_string(), expected);
    }
    for (text, expected) in [
        ("definition", "workload definition: file is missing, expected "),
        ("definition:no/such.json", "no/such.json: "),
        (
            "definition:file=a,flie=b",
            "unknown parameter of definition \"flie\": did you mean \"file\"?",
        ),
    ] {
        let checked = text.parse::<WorkloadSpec>().and_then(|spec| spec.check().map(|_| ()));
        let error = checked.expect_err(text).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let complete = RunSpec { workload: "sequence".parse().expect("valid"), ..RunSpec::default() };
    let complete = complete.check().expect("valid").spec().workload.to_string();
    assert_eq!(complete, "sequence:data_exponent=0,length=10");
}

#[test]
fn settings_are_checked_against_their_engine() {
    let set = |text: &str| {
        let mut spec = RunSpec::default();
        spec.set(text)?;
        spec.check().map(|_| ())
    };
    assert_eq!(set("netherite.speculation=none"), Ok(()));
    let error = set("netherite.specluation=none").expect_err("misspelt").to_string();
    assert!(
        error.starts_with(
            "unknown setting of netherite \"specluation\": did you mean \"speculation\"? valid: "
        ),
        "{error}"
    );
    let error = set("netherite.speculation=global-ish").expect_err("no such mode").to_string();
    assert!(
        error.starts_with(
            "setting of netherite \"speculation\": found \"global-ish\", expected one of "
        ),
        "{error}"
    );
    let error = set("nethrite.speculation=none").expect_err("misspelt").to_string();
    assert!(error.contains("did you mean \"netherite\"?"), "{error}");
    let error = set("in-memory.speculation=none").expect_err("of another engine").to_string();
    assert!(error.contains("the run uses \"netherite\""), "{error}");
    for bad in ["speculation=none", "netherite.speculation", ""] {
        let error = set(bad).expect_err(bad).to_string();
        assert!(error.contains("expected engine.key=value"), "{error}");
    }
    let mut spec = RunSpec::default();
    spec.set("netherite.speculation=none").expect("once");
    let error = spec.set("netherite.speculation=local").expect_err("twice");
    assert!(matches!(error, SpecError::Twice { .. }), "{error}");
}

#[test]
fn a_file_with_a_misspelt_key_or_value_is_refused() {
    for (text, expected) in [
        ("enigne = 'netherite'", "did you mean \"engine\"?"),
        ("hosts = 'four'", "expected u32"),
        ("load = 'btach:10'", "did you mean \"batch\"?"),
        ("workload = 'helo'", "did you mean \"hello\"?"),
        ("hosts = 4\nengine = ", "spec.toml: line 2: "),
    ] {
        let error = RunSpec::from_toml(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn embedded_experiments_are_valid() {
    for known in experiment::all() {
        let checked = known.check().unwrap_or_else(|error| panic!("{}: {error}", known.name()));
        assert!(checked.runs() > 0);
        let again = experiment::Experiment::from_toml(&known.to_toml());
        assert_eq!(again, Ok(known));
    }
    let error = experiment::named("netherite-hello-latncy").expect_err("misspelt").to_string();
    assert!(error.contains("did you mean \"netherite-hello-latency\"?"), "{error}");
}

fn specs() -> impl Strategy<Value = RunSpec> {
    let engines: Vec<String> =
        registry::engines().iter().map(|engine| engine.name().to_owned()).collect();
    let workload = prop_oneof![
        (1..1_000u32).prop_map(|length| format!("hello:length={length}")),
        (1..1_000u32, 0..20u32).prop_map(|(length, exponent)| format!(
            "sequence:length={length},data_exponent={exponent}"
        )),
    ];
    let load = prop_oneof![
        (1..100_000u32).prop_map(|size| format!("batch:{size}")),
        (0.1..100.0).prop_map(|rate: f64| format!("open:rate={rate}")),
        (1..1_000u32).prop_map(|clients| format!("closed:clients={clients},think=1.5s")),
    ];
    let numbers = (1..=100u32, 1..=32u32, 0..=sim_lab::spec::SEED_MAX);
    (proptest::sample::select(engines), workload, load, numbers, 1..4u32).prop_map(
        |(engine, workload, load, (hosts, partitions, seed), plan)| RunSpec {
            engine,
            workload: workload.parse().expect("a workload"),
            load: load.parse().expect("a load"),
            plan: format!("EP{plan}"),
            hosts,
            partitions,
            seed,
            ..RunSpec::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_specification_survives_being_written(spec in specs()) {
        prop_assert_eq!(RunSpec::from_toml(&spec.to_toml()), Ok(spec.clone()));
        let checked = spec.check().expect("valid");
        let written = RunSpec::from_toml(&checked.spec().to_toml());
        prop_assert_eq!(written.as_ref(), Ok(checked.spec()));
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,60}") {
        let _ = text.parse::<WorkloadSpec>();
        let _ = text.parse::<LoadSpec>();
        let _ = RunSpec::from_toml(&text);
        let _ = RunSpec::default().set(&text);
    }

    #[test]
    fn no_workload_parameter_makes_a_reader_panic(text in "(hello|sequence):?[a-z_]{0,15}=?[0-9a-z,=-]{0,20}") {
        let _ = text.parse::<WorkloadSpec>();
    }
}
