//! Hosts that join and leave by the votes of the engine: every orchestration survives it.

use sim_lab::progress::Progress;
use sim_lab::run::{self, RunOutcome};
use sim_lab::spec::RunSpec;
use sim_model::time::Timestamp;

fn spec(load: &str, hosts: u32, autoscale: &str) -> RunSpec {
    let mut spec = RunSpec {
        load: load.parse().expect("a load"),
        hosts,
        plan: "EP1".to_owned(),
        autoscale: Some(autoscale.parse().expect("bounds")),
        ..RunSpec::default()
    };
    spec.set("netherite.load_publishing=true").expect("a setting");
    spec
}

fn outcome(spec: &RunSpec) -> RunOutcome {
    let spec = spec.check().expect("a valid specification");
    let outcome = run::run(&spec, &Progress::default()).expect("it runs");
    assert!(outcome.summary.passed(), "{:?}", outcome.summary.checks);
    outcome
}

/// The number of hosts at an instant.
fn hosts_at(outcome: &RunOutcome, second: u64) -> u64 {
    let at = Timestamp::from_secs(second);
    let hosts = &outcome.levels["hosts"];
    hosts.iter().rev().find(|(since, _)| *since <= at).expect("from the start of the load").1
}

/// More load than one host can carry asks for others; all of them stay within the bounds, and cost what
/// they are there for.
#[test]
fn hosts_join_while_partitions_are_slow() {
    let scaled = outcome(&spec("open:rate=60,duration=200s", 1, "min=1,max=3"));
    assert_eq!(hosts_at(&scaled, 3), 1);
    assert_eq!(hosts_at(&scaled, 200), 3, "{:?}", scaled.levels["hosts"]);
    assert_eq!(scaled.summary.levels["hosts"].max, 3);
    let fixed =
        RunSpec { autoscale: None, hosts: 3, ..spec("open:rate=60,duration=200s", 1, "max=3") };
    let fixed = outcome(&fixed);
    assert!(scaled.cost.compute_usd < fixed.cost.compute_usd, "hosts that join later cost less");
    assert!(scaled.host_time < fixed.host_time);
    assert!(!fixed.levels.contains_key("hosts"));
}

/// Nothing to do for long: all hosts leave. A timer that comes due brings one back, and so does a request.
#[test]
fn an_idle_hub_goes_to_zero_and_comes_back_on_a_request_and_on_a_timer() {
    // A client thinks for minutes between its requests.
    let closed = "closed:clients=1,duration=2000s,think=250s";
    let woken = outcome(&spec(closed, 2, "min=0,max=2"));
    let hosts = &woken.levels["hosts"];
    assert_eq!(woken.summary.levels["hosts"].min, 0, "{hosts:?}");
    let comes_back = hosts.windows(2).filter(|two| two[0].1 == 0 && two[1].1 == 1).count();
    assert!(comes_back >= 2, "{hosts:?}");
    assert!(woken.summary.orchestrations.completed >= 3);
    let mut spec = spec("batch:3", 2, "min=0,max=2");
    spec.workload = "periodic:ticks=2,interval=400s".parse().expect("a workload");
    let timer = outcome(&spec);
    let hosts = &timer.levels["hosts"];
    assert_eq!((hosts_at(&timer, 300), hosts_at(&timer, 700)), (0, 0), "{hosts:?}");
    assert!((400..450).any(|second| hosts_at(&timer, second) == 1), "{hosts:?}");
}

/// More hosts than the load needs leave one after the other, also while entities are locked.
#[test]
fn hosts_leave_under_load() {
    let mut spec = spec("open:rate=5,duration=200s", 4, "min=1,max=4");
    spec.workload = "bank".parse().expect("a workload");
    let shrunk = outcome(&spec);
    assert!(shrunk.summary.levels["hosts"].min < 4, "{:?}", shrunk.levels["hosts"]);
    assert!(!shrunk.handovers.is_empty(), "partitions go with the hosts that stay");
}

#[test]
fn runs_with_autoscaling_repeat() {
    let spec = spec("open:rate=20,duration=60s", 2, "min=0,max=4");
    assert_eq!(outcome(&spec).summary.digest, outcome(&spec).summary.digest);
    let again = RunSpec::from_toml(&spec.to_toml()).expect("a specification");
    assert_eq!(again, spec);
    assert!(!RunSpec::default().to_toml().contains("autoscale"));
}

#[test]
fn what_cannot_scale_is_refused_in_words() {
    let told = |change: &dyn Fn(&mut RunSpec)| {
        let mut spec = spec("open:rate=20,duration=10s", 2, "min=0,max=4");
        change(&mut spec);
        spec.check().expect_err("refused").to_string()
    };
    let line = told(&|spec| {
        spec.engine = "azure-storage".to_owned();
        spec.settings.clear();
    });
    assert!(line.contains("an engine that votes; of azure-storage"), "{line}");
    let line = told(&|spec| spec.settings.clear());
    assert!(line.contains("set netherite.load_publishing=true"), "{line}");
    let line = told(&|spec| spec.set("netherite.log=local-disk").expect("a setting"));
    assert!(line.contains("stays there"), "{line}");
    let line = told(&|spec| spec.hosts = 5);
    assert!(line.contains("at most 4: autoscale has max=4"), "{line}");
    let line = told(&|spec| {
        spec.host_events = vec!["leave:host=1,at=1s".parse().expect("an event")];
    });
    assert!(line.contains("no host events"), "{line}");
}
