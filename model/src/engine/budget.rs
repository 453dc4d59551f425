//! What an engine promises to survive: classes of faults, and how soon it is well again.
//!
//! A run under faults is judged by it. A rule that is broken under faults of the budget is a failed
//! check; one that is broken under a fault outside of it is only observed.

use std::fmt;
use std::time::Duration;

/// A class of faults. Which faults of a world belong to it is for whoever injects them to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultClass {
    /// Processes of hosts of the application lose their memory; they start again later.
    HostCrash,
    /// Hosts of the application stand still with what they have in memory, and go on.
    HostPause,
    /// Hosts lose their power: memory, and what their disks had not made durable.
    HostPowerLoss,
    /// Processes of machines that the engine rents lose their memory.
    MachineCrash,
    /// Machines that the engine rents stand still.
    MachinePause,
    /// Machines that the engine rents lose their power.
    MachinePowerLoss,
    /// Messages come late, or in another order.
    NetworkDelay,
    /// Messages do not come.
    NetworkLoss,
    /// Messages come twice.
    Duplication,
    /// Services are slow.
    ServiceDelay,
    /// Services refuse requests.
    Throttling,
    /// Services do not answer.
    ServiceOutage,
    /// Services carry requests out, and their answers are lost.
    LostAnswer,
    /// Services carry requests out after those who sent them gave up.
    LateApplication,
    /// Leases end before their time.
    LeaseLoss,
    /// Disks are slow, or do nothing for a while.
    DiskDelay,
    /// Requests to disks fail, and say so.
    DiskError,
    /// Disks do not keep what they were given, and do not say so.
    DiskCorruption,
    /// Cores are slow.
    SlowCpu,
    /// Clocks of hosts are wrong.
    ClockError,
    /// Replicas do not follow the protocol.
    Byzantine,
}

impl FaultClass {
    /// All classes.
    pub const ALL: [FaultClass; 21] = [
        FaultClass::HostCrash,
        FaultClass::HostPause,
        FaultClass::HostPowerLoss,
        FaultClass::MachineCrash,
        FaultClass::MachinePause,
        FaultClass::MachinePowerLoss,
        FaultClass::NetworkDelay,
        FaultClass::NetworkLoss,
        FaultClass::Duplication,
        FaultClass::ServiceDelay,
        FaultClass::Throttling,
        FaultClass::ServiceOutage,
        FaultClass::LostAnswer,
        FaultClass::LateApplication,
        FaultClass::LeaseLoss,
        FaultClass::DiskDelay,
        FaultClass::DiskError,
        FaultClass::DiskCorruption,
        FaultClass::SlowCpu,
        FaultClass::ClockError,
        FaultClass::Byzantine,
    ];

    /// What hosts of an application meet that keeps everything in services of a cloud.
    pub const OF_CLOUD: [FaultClass; 14] = [
        FaultClass::HostCrash,
        FaultClass::HostPause,
        FaultClass::HostPowerLoss,
        FaultClass::NetworkDelay,
        FaultClass::NetworkLoss,
        FaultClass::Duplication,
        FaultClass::ServiceDelay,
        FaultClass::Throttling,
        FaultClass::ServiceOutage,
        FaultClass::LostAnswer,
        FaultClass::LateApplication,
        FaultClass::LeaseLoss,
        FaultClass::SlowCpu,
        FaultClass::ClockError,
    ];

    /// What machines meet on which an engine runs servers of its own, short of broken promises of the
    /// hardware.
    pub const OF_MACHINES: [FaultClass; 4] = [
        FaultClass::MachineCrash,
        FaultClass::MachinePause,
        FaultClass::MachinePowerLoss,
        FaultClass::DiskDelay,
    ];

    /// Its name in tables and messages.
    pub const fn name(self) -> &'static str {
        match self {
            FaultClass::HostCrash => "host-crash",
            FaultClass::HostPause => "host-pause",
            FaultClass::HostPowerLoss => "host-power-loss",
            FaultClass::MachineCrash => "machine-crash",
            FaultClass::MachinePause => "machine-pause",
            FaultClass::MachinePowerLoss => "machine-power-loss",
            FaultClass::NetworkDelay => "network-delay",
            FaultClass::NetworkLoss => "network-loss",
            FaultClass::Duplication => "duplication",
            FaultClass::ServiceDelay => "service-delay",
            FaultClass::Throttling => "throttling",
            FaultClass::ServiceOutage => "service-outage",
            FaultClass::LostAnswer => "lost-answer",
            FaultClass::LateApplication => "late-application",
            FaultClass::LeaseLoss => "lease-loss",
            FaultClass::DiskDelay => "disk-delay",
            FaultClass::DiskError => "disk-error",
            FaultClass::DiskCorruption => "disk-corruption",
            FaultClass::SlowCpu => "slow-cpu",
            FaultClass::ClockError => "clock-error",
            FaultClass::Byzantine => "byzantine",
        }
    }
}

impl fmt::Display for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The faults that an engine promises to survive, and what it does then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultBudget {
    /// Classes of faults under which every promised guarantee holds. Any number may come at once, and
    /// all of them end.
    pub survives: Vec<FaultClass>,
    /// When the last fault has ended and nothing new arrives, everything that was begun ends within
    /// this time, which follows from the engine's own timeouts.
    pub heals_within: Duration,
}

impl FaultBudget {
    /// Whether faults of this class are in the budget.
    pub fn covers(&self, class: FaultClass) -> bool {
        self.survives.contains(&class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn classes_have_names_of_their_own() {
        let names: BTreeSet<&str> = FaultClass::ALL.iter().map(|class| class.name()).collect();
        let classes: BTreeSet<FaultClass> = FaultClass::ALL.into_iter().collect();
        assert_eq!((names.len(), classes.len()), (FaultClass::ALL.len(), FaultClass::ALL.len()));
    }
}
