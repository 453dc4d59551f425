//! What is refused, and in which words; what the trail says.

use crate::common::{deterministic, ms, run, world};
use crate::{between, named, of_service};
use sim_world::disk::DiskFault;
use sim_world::fault::{LinkTrouble, ServiceTrouble, Trouble};
use sim_world::kernel::{KernelOptions, on_fresh_thread, simulate};
use sim_world::profile::Profile;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn what_cannot_be_is_refused_in_words() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 2);
        let refusal = |trouble: Trouble| world.begin(&trouble).expect_err("refused").to_string();
        assert_eq!(
            refusal(between("worker-7", "queue", LinkTrouble::Cut)),
            "link-cut: no node matches \"worker-7\", did you mean \"worker-0\"?; there are: worker-0, \
             worker-1, client, queue, table, blob, eventlog, application-blob"
        );
        assert_eq!(
            refusal(of_service("qeueu", ServiceTrouble::Outage)),
            "service-outage: no service matches \"qeueu\", did you mean \"queue\"?; there are: \
             application-blob, blob, eventlog, queue, table"
        );
        assert_eq!(
            refusal(between("queue", "queue", LinkTrouble::Clog)),
            "link-clog: from \"queue\" to \"queue\" is one node only, and a node reaches itself \
             without a link"
        );
        for probability in [-0.1, 1.5, f64::NAN] {
            let lose = between("*", "*", LinkTrouble::Lose { probability });
            let expected = "expected a number from 0 to 1";
            assert_eq!(
                refusal(lose),
                format!("link-lose: probability is {probability}, {expected}")
            );
        }
        let late = ServiceTrouble::ApplyLate { probability: 1.0, by: Duration::from_secs(90_000) };
        assert_eq!(
            refusal(of_service("*", late)),
            "service-apply-late: by is 90000s, expected at most 86400s"
        );
        let slow = |slowdown| Trouble::Cpu { node: named("*"), slowdown };
        assert!(refusal(slow(0.0)).starts_with("cpu: slowdown is 0, expected a number from"));
        let clock = |offset, drift_ppm| Trouble::Clock { node: named("*"), offset, drift_ppm };
        assert!(refusal(clock(i64::MIN, 0)).starts_with("clock: offset is -9223372036854775808"));
        assert!(refusal(clock(0, -1_000_000)).starts_with("clock: drift_ppm is -1000000"));
        let slow_disk = DiskFault::Slow { factor: f64::INFINITY };
        let disk = Trouble::Disk { of: named("worker-0"), what: slow_disk };
        assert!(refusal(disk).starts_with("disk-slow: factor is inf"));
        let disk = Trouble::Disk { of: named("queue"), what: DiskFault::BitRot { bits: 1 } };
        assert!(refusal(disk).starts_with("disk-bit-rot: no disk matches \"queue\""));
        assert!(world.fault_counts().is_empty(), "nothing has begun");
    });
}

#[test]
fn every_kind_has_a_name_and_survives_being_written() {
    let by = ms(3);
    let links = [
        LinkTrouble::Cut,
        LinkTrouble::Clog,
        LinkTrouble::Delay { by, jitter: by },
        LinkTrouble::Lose { probability: 0.5 },
        LinkTrouble::Duplicate { probability: 0.5 },
        LinkTrouble::Reorder { probability: 0.5, by },
        LinkTrouble::Corrupt { probability: 0.5 },
    ];
    let services = [
        ServiceTrouble::Outage,
        ServiceTrouble::Throttle { probability: 0.5 },
        ServiceTrouble::Delay { by, jitter: by },
        ServiceTrouble::LoseAnswer { probability: 0.5 },
        ServiceTrouble::ApplyLate { probability: 0.5, by },
    ];
    let links = links.map(|what| between("worker-*", "*", what));
    let services = services.map(|what| of_service("queue", what));
    let others = [
        Trouble::Lease { blob: named("*") },
        Trouble::Cpu { node: named("*"), slowdown: 2.0 },
        Trouble::Clock { node: named("*"), offset: -1, drift_ppm: 5 },
        Trouble::Misconduct { replica: named("*"), behaviour: "sulk".to_owned() },
    ];
    for trouble in links.into_iter().chain(services).chain(others) {
        assert!(Trouble::KINDS.contains(&trouble.kind()), "{trouble:?}");
        assert_eq!(trouble.validate(), Ok(()));
        let text = toml::to_string(&trouble).expect("it can be written");
        assert_eq!(toml::from_str::<Trouble>(&text).expect("it can be read"), trouble, "{text}");
    }
}

/// The digest of a run in which something may go wrong.
fn digest(trouble: Option<Trouble>) -> u64 {
    on_fresh_thread(|| {
        let program = |kernel| async move {
            let profile = Rc::new(Profile::named("azure-2021-10").expect("embedded"));
            let world = world(&kernel, profile, 1);
            let begun = trouble.map(|trouble| world.begin(&trouble).expect("it can be"));
            kernel.sleep(ms(10)).await;
            if let Some(id) = begun {
                world.end(id);
                world.end(id);
            }
        };
        simulate(KernelOptions::with_seed(1), program).expect("it ends").1.digest
    })
}

#[test]
fn each_trouble_is_an_event_of_the_trail() {
    let cut = || between("worker-0", "queue", LinkTrouble::Cut);
    assert_eq!(digest(Some(cut())), digest(Some(cut())));
    assert_ne!(digest(Some(cut())), digest(None));
    let other = between("worker-0", "table", LinkTrouble::Cut);
    assert_ne!(digest(Some(cut())), digest(Some(other)), "with its payload");
}
