//! Instances as query calls see them: by height, since a replica answers from the last state that it
//! knows to be certified.

use super::SubnetState;
use crate::block::Height;
use sim_model::engine::InstanceState;
use sim_model::id::InstanceId;
use std::collections::BTreeMap;

/// Heights for which older versions are kept: notarization stops before a replica can lag further.
const KEPT: Height = 100;

/// The versions of one instance, oldest first.
type Versions = Vec<(Height, Option<InstanceState>)>;

/// Recent states of instances.
#[derive(Debug, Default)]
pub(crate) struct Views(BTreeMap<InstanceId, Versions>);

impl Views {
    /// Takes all instances of a state.
    pub(super) fn fill(&mut self, state: &SubnetState) {
        for canister in state.canisters.values() {
            for (id, instance) in &canister.instances {
                self.0.insert(id.clone(), vec![(state.height, Some(instance.state.clone()))]);
            }
        }
    }

    /// Adds what a round has changed.
    pub(super) fn add(&mut self, height: Height, changed: &[(InstanceId, Option<InstanceState>)]) {
        for (id, state) in changed {
            let versions = self.0.entry(id.clone()).or_default();
            match versions.last_mut() {
                Some((at, last)) if *at == height => last.clone_from(state),
                _ => versions.push((height, state.clone())),
            }
            let old = versions.iter().filter(|(at, _)| *at + KEPT < height).count();
            versions.drain(..old.saturating_sub(1));
        }
    }

    /// An instance as of `height`.
    pub(crate) fn get(&self, id: &InstanceId, height: Height) -> Option<&InstanceState> {
        self.0.get(id).and_then(|versions| as_of(versions, height))
    }

    /// All instances as of `height`.
    pub(crate) fn iter(
        &self,
        height: Height,
    ) -> impl Iterator<Item = (&InstanceId, &InstanceState)> {
        self.0.iter().filter_map(move |(id, versions)| Some((id, as_of(versions, height)?)))
    }
}

fn as_of(versions: &Versions, height: Height) -> Option<&InstanceState> {
    versions.iter().rev().find(|(at, _)| *at <= height).and_then(|(_, state)| state.as_ref())
}
