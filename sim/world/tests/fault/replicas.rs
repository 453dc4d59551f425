//! Replicas that do what their protocol forbids, for a while.

use crate::common::{deterministic, run, world};
use crate::named;
use sim_world::fault::{Effect, Trouble};

fn sulking(replica: &str, behaviour: &str) -> Trouble {
    Trouble::Misconduct { replica: named(replica), behaviour: behaviour.to_owned() }
}

#[test]
fn a_replica_does_what_it_is_made_to_while_it_is() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 2);
        let conducts = world.replicas(&["worker-0", "worker-1"], 1, &["sulk", "lie"]);
        let present = || conducts.iter().map(|one| one.at_present()).collect::<Vec<_>>();
        assert_eq!(present(), [None, None]);
        let one = world.begin(&sulking("worker-1", "sulk")).expect("it can");
        assert_eq!(present(), [None, Some("sulk")]);
        let both = world.begin(&sulking("*", "lie")).expect("they can");
        assert_eq!(present(), [Some("lie"), Some("lie")], "what began last");
        conducts[0].departed();
        world.end(both);
        assert_eq!(present(), [None, Some("sulk")]);
        world.end(one);
        assert_eq!(present(), [None, None]);
        assert_eq!(world.fault_counts().of(Effect::ProtocolDeparture), 1);
    });
}

#[test]
fn only_declared_replicas_and_behaviours_are_taken() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 2);
        let refusal = |trouble: Trouble| world.begin(&trouble).expect_err("refused").to_string();
        assert_eq!(
            refusal(sulking("worker-0", "sulk")),
            "misconduct: no replica matches \"worker-0\"; there are: none"
        );
        world.replicas(&["worker-0"], 0, &["sulk", "lie"]);
        world.replicas(&["worker-1"], 0, &["lie"]);
        assert_eq!(
            refusal(sulking("worker-0", "sulc")),
            "misconduct: these replicas cannot be made to \"sulc\", did you mean \"sulk\"?; they can be \
             made to: sulk, lie"
        );
        assert!(refusal(sulking("*", "sulk")).ends_with("they can be made to: lie"));
        assert!(world.begin(&sulking("*", "lie")).is_ok());
    });
}
