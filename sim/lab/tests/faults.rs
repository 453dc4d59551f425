//! Fault plans: what is read, what is refused, and what a seed makes of a plan.

use proptest::prelude::*;
use sim_lab::checks::Verdict;
use sim_lab::fault::{Chaos, Fault, FaultPlan, KINDS, Targets};
use sim_lab::progress::Progress;
use sim_lab::run::run;
use sim_lab::spec::RunSpec;
use sim_world::fault::ReplicaGroup;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const LOAD: Duration = Duration::from_secs(60);

fn targets() -> Targets {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Targets {
        hosts: 3,
        nodes: names(&["worker-0", "worker-1", "worker-2", "client", "queue", "database"]),
        computers: names(&["worker-0", "worker-1", "worker-2", "client", "database"]),
        machines: names(&["database"]),
        services: names(&["queue", "table", "blob"]),
        disks: names(&["database"]),
        ..Targets::default()
    }
}

fn expand(text: &str, seed: u64) -> Result<Vec<Fault>, String> {
    let plan = FaultPlan::parse(text).map_err(|error| error.to_string())?;
    plan.expand(seed, &targets(), LOAD, &[]).map_err(|error| error.to_string())
}

fn texts(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn what_happens_at_an_instant_is_taken_as_it_is() {
    let text = "
        [[fault]]
        kind = 'crash'
        host = 1
        at = '10s'
        for = '5s'

        [[fault]]
        kind = 'lose'
        from = 'worker-*'
        probability = 0.1
        at = '2s'
        for = '1s'";
    assert_eq!(
        texts(&expand(text, 1).expect("a plan")),
        [
            "lose:from=worker-*,to=*,one_way=false,probability=0.1,at=2s,for=1s",
            "crash:host=1,at=10s,for=5s",
        ]
    );
}

#[test]
fn rates_are_kept_on_average() {
    let text = "[[fault]]\nkind = 'throttle'\nservice = '*'\nprobability = '0.1..0.2'\nrate = '6/m'\nfor = '1s'";
    let counts: Vec<usize> =
        (0..200).map(|seed| expand(text, seed).expect("a plan").len()).collect();
    let mean = counts.iter().sum::<usize>() as f64 / 200.0;
    // Six in 60 s; the mean of 200 has a standard deviation of 0.17.
    assert!((5.4..6.6).contains(&mean), "{mean}");
    assert!(counts.iter().any(|count| *count != counts[0]));
}

#[test]
fn entries_do_not_disturb_each_other() {
    let one = "[[fault]]\nkind = 'cut'\nfrom = 'worker-*'\nrate = '6/m'\nfor = '1s..9s'\n";
    let two =
        format!("{one}[[fault]]\nkind = 'outage'\nservice = '*'\nrate = '6/m'\nfor = '1s..9s'\n");
    let alone = texts(&expand(one, 8).expect("a plan"));
    let both = texts(&expand(&two, 8).expect("a plan"));
    assert!(both.len() > alone.len());
    assert!(alone.iter().all(|fault| both.contains(fault)));
}

#[test]
fn a_host_has_one_thing_at_a_time() {
    let text = "[[fault]]\nkind = 'crash'\nhost = '*'\nrate = '60/m'\nfor = '1s..30s'\n\
                [[fault]]\nkind = 'pause'\nhost = '*'\nrate = '60/m'\nfor = '1s..30s'\n";
    for seed in 0..20 {
        let faults = expand(text, seed).expect("a plan");
        assert!(faults.len() > 3);
        for (index, one) in faults.iter().enumerate() {
            for other in &faults[index + 1..] {
                let apart = one.end() < other.at() || other.end() < one.at();
                assert!(one.host() != other.host() || apart, "{one} and {other}");
            }
        }
    }
    let text = "[[fault]]\nkind = 'crash'\nhost = 0\nat = '1s'\nfor = '9s'\n\
                [[fault]]\nkind = 'pause'\nhost = 0\nat = '5s'\nfor = '9s'\n";
    assert!(expand(text, 1).expect_err("taken").contains("outside of crash:host=0"));
}

#[test]
fn a_swizzle_clogs_one_by_one_and_unclogs_in_another_order() {
    let text = "[[fault]]\nkind = 'swizzle'\nnode = 'worker-*'\nat = '10s'\nfor = '30s'\n";
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let faults = expand(text, seed).expect("a plan");
        assert!((1..=3).contains(&faults.len()));
        for fault in &faults {
            assert_eq!(fault.kind().name, "clog");
            assert!(fault.at() >= Duration::from_secs(10) && fault.at() <= Duration::from_secs(20));
            assert!(
                fault.end() >= Duration::from_secs(30) && fault.end() <= Duration::from_secs(40)
            );
        }
        let in_order = faults.windows(2).all(|pair| pair[0].end() <= pair[1].end());
        orders.insert((faults.len(), in_order));
    }
    assert!(orders.contains(&(3, false)) && orders.contains(&(3, true)), "{orders:?}");
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    for (text, expected) in [
        ("", "has no [[fault]]"),
        ("[[fault]]\n", "fault 1 (line 1): kind is missing"),
        ("[[fault]]\nkind = 'crush'\nat = '1s'", "did you mean \"crash\""),
        ("\n\n[[fault]]\nkind = 'crush'\nat = '1s'", "(line 3)"),
        ("[[faults]]\nkind = 'crash'", "unknown field"),
        ("[[fault]]\nkind = 'crash'\nhost = 0\nfor = '1s'", "one of at, rate and times"),
        ("[[fault]]\nkind = 'crash'\nhost = 0\nfor = '1s'\nat = '1s'\nrate = '1/m'", "one of at"),
        ("[[fault]]\nkind = 'crash'\nhost = 0\nfor = '1s'\nrate = '1'", "such as 2/m"),
        ("[[fault]]\nkind = 'crash'\nhost = 0\nfor = '1s'\nrate = 'NaN/m'", "such as 2/m"),
        ("[[fault]]\nkind = 'crash'\nhost = 0\nfor = '1s'\nrate = '1e9/s'", "such as 2/m"),
        ("[[fault]]\nkind = 'crash'\nhost = 0\nfor = '1s'\ntimes = -1", "a whole number"),
        ("[[fault]]\nkind = 'crash'\nhost = 3\nfor = '1s'\nat = '1s'", "a host from 0 to 2"),
        ("[[fault]]\nkind = 'crash'\nhost = '*'\nfor = '1s'\nat = '1s'", "the number of a host"),
        ("[[fault]]\nkind = 'crash'\nhost = 0\nat = '1s'", "for is missing"),
        ("[[fault]]\nkind = 'crash'\nhost = 0\nat = '1s'\nfor = '1s..2s'", "one value"),
        ("[[fault]]\nkind = 'crash'\nhost = 0\nrate = '9/m'\nfor = '9s..2s'", "from less to more"),
        ("[[fault]]\nkind = 'crash'\nhost = 0\nat = '1s'\nfor = '25h'", "at most 24h"),
        ("[[fault]]\nkind = 'cut'\nfrom = 'worker-7'\nat = '1s'\nfor = '1s'", "worker-1"),
        (
            "[[fault]]\nkind = 'cut'\nform = 'worker-1'\nat = '1s'\nfor = '1s'",
            "did you mean \"from\"",
        ),
        (
            "[[fault]]\nkind = 'lose'\nfrom = '*'\nprobability = 2\nat = '1s'\nfor = '1s'",
            "from 0 to 1",
        ),
        (
            "[[fault]]\nkind = 'lose'\nfrom = '*'\nprobability = [1]\nat = '1s'\nfor = '1s'",
            "a text, a number",
        ),
        (
            "[[fault]]\nkind = 'crash'\nhost = 0\nfor = '1s'\nrate = '1/m'\nduring = '9s..1s'",
            "two instants",
        ),
        (
            "[[fault]]\nkind = 'crash'\nhost = 0\nfor = '1s'\nat = '1s'\ntargets = 'some'",
            "one or all",
        ),
        ("[[fault]]\nkind = 'swizzle'\nat = '1s'\nfor = '1s'", "node is missing"),
        ("nonsense", "line 1"),
    ] {
        let told = expand(text, 1).expect_err(text);
        assert!(told.contains(expected), "{text:?}: {told}");
        assert!(!told.trim_end().contains('\n'), "one line: {told}");
    }
}

#[test]
fn committed_plans_fit_and_survive_being_printed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/faults");
    let mut plans = 0;
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let plan = FaultPlan::load(&entry.expect("a file").path()).expect("a plan");
        let again = FaultPlan::parse(&plan.to_string()).expect("its own text");
        assert_eq!(plan.explain().len(), again.explain().len());
        for seed in 0..20 {
            let faults = plan.expand(seed, &targets(), LOAD, &[]).expect("it fits");
            let repeated = again.expand(seed, &targets(), LOAD, &[]).expect("it fits");
            assert!(!faults.is_empty());
            assert_eq!(texts(&faults), texts(&repeated));
        }
        plans += 1;
    }
    assert!(plans >= 3);
}

/// Two of seven replicas at most, whatever the rate.
#[test]
fn byzantine_replicas_at_random_stay_within_what_is_tolerated() {
    let members: Vec<String> = (0..7).map(|number| format!("replica-0-{number}")).collect();
    let group =
        ReplicaGroup { members: members.clone(), tolerates: 2, behaviours: &["lie", "withhold"] };
    let targets = Targets { groups: vec![group], replicas: members, ..targets() };
    let without_replicas = |text| expand(text, 1);
    let expand = |text: &str, seed| {
        FaultPlan::parse(text).expect("a plan").expand(seed, &targets, LOAD, &[])
    };
    let text = "[[fault]]\nkind = 'byzantine'\nreplica = '*'\nbehaviour = '*'\nrate = '30/m'\nfor = '1s..9s'";
    for seed in 0..20 {
        let faults = expand(text, seed).expect("replicas that there are");
        let texts = texts(&faults);
        let replicas: BTreeSet<&str> =
            texts.iter().filter_map(|text| text.split(',').next()).collect();
        assert_eq!(replicas.len(), 2, "{texts:?}");
        assert!(faults.len() > 2 && texts.iter().any(|text| text.contains("behaviour=lie")));
    }
    let all =
        "[[fault]]\nkind = 'byzantine'\nreplica = 3\nbehaviour = 'lie'\nat = '1s'\nfor = '2s'";
    assert_eq!(
        texts(&expand(all, 1).expect("a replica")),
        ["byzantine:replica=*-3,behaviour=lie,at=1s,for=2s"]
    );
    let error = expand(&all.replace("= 3", "= 9"), 1).expect_err("there are seven").to_string();
    assert!(error.contains("unknown replica") && error.contains("valid: replica-0-0"), "{error}");
    let none = without_replicas(all).expect_err("there are none");
    assert!(none.contains("an engine with replicas"), "{none}");
}

#[test]
fn names_of_kinds_are_different() {
    let names: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), KINDS.len());
}

proptest! {
    #[test]
    fn faults_survive_being_printed(seed: u64) {
        let budget = sim_model::engine::FaultBudget {
            survives: sim_model::engine::FaultClass::ALL.to_vec(),
            heals_within: Duration::ZERO,
        };
        let plan = Chaos::Storm.plan(seed, &budget, None, &targets(), Duration::ZERO..LOAD);
        for fault in plan.expand(seed, &targets(), LOAD, &[]).expect("it fits") {
            let again: Fault = fault.to_string().parse().expect("its own text");
            prop_assert_eq!(again, fault);
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC{0,60}|[a-z]{3,8}:[a-z]{1,8}=[a-z0-9.,*-]{0,12},at=1s") {
        let _ = text.parse::<Fault>();
        let _ = FaultPlan::parse(&text);
    }
}

/// A disk that lies is outside of every engine's budget: what comes of it shows, and is nobody's failure.
#[test]
fn what_a_lying_disk_takes_back_is_observed() {
    let faults = ["disk-lost-writes:disk=database,count=1000000,at=1s,for=4s"]
        .into_iter()
        .chain(["machine-power-loss:machine=database,at=4s,for=1s"])
        .map(|text| text.parse().expect("a fault"))
        .collect();
    let spec = RunSpec {
        engine: "sql-server".into(),
        workload: "hello:length=3".parse().expect("a workload"),
        load: "open:rate=5,duration=5s".parse().expect("a load"),
        faults,
        ..RunSpec::default()
    };
    let outcome = run(&spec.check().expect("valid"), &Progress::default()).expect("a run");
    let check = outcome.summary.checks.iter().find(|check| check.name == "durability");
    let check = check.expect("every run has it");
    assert_eq!(check.verdict, Verdict::Observed, "{}", check.detail);
    assert!(check.is_broken(), "{}", check.detail);
    let outside = "outside of the fault budget (disk-corruption): ";
    assert!(check.detail.starts_with(outside), "{}", check.detail);
}
