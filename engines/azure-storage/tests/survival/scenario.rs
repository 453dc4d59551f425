//! A mixed load on four hosts, a fault at a seeded moment, and what must hold afterwards.

use super::application::{Account, ROUNDS, account, application};
use crate::stage::{Outcome, Play, Stage, delay_requests, stage, told};
use sim_model::engine::Completion;
use sim_model::id::InstanceId;
use sim_model::orchestration::RuntimeStatus;
use sim_world::fault::{LinkTrouble, Pattern, ServiceTrouble, Trouble};
use std::rc::Rc;
use std::time::Duration;

/// Hosts of every scenario.
pub const HOSTS: usize = 4;
/// Transfers of money, all over the same few accounts.
pub const TRANSFERS: u32 = 40;
const ACCOUNTS: u32 = 5;
/// Orchestrations that another one calls.
const CHILDREN: u64 = 3;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Chains, fan-outs, timers and children.
    Orchestrations,
    /// Those, and transfers between accounts in critical sections.
    WithBank,
    /// Many chains: at any moment many steps are under way.
    Chains,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One host crashes and is back after 20 s.
    CrashOne,
    /// Two do.
    CrashTwo,
    /// All do.
    CrashAll,
    /// One host crashes and never comes back.
    LoseOne,
    /// What one host sends to storage arrives 100 s late, for a minute: all its requests time out, and
    /// take effect later.
    IsolateOne,
    /// One host hangs for a minute: longer than its leases last.
    PauseOne,
    /// One host hangs for seven minutes: longer than messages stay hidden.
    PauseLong,
    /// One host reaches nobody for half a minute, and nobody reaches it.
    CutOne,
    /// What one host sends is held for half a minute, and arrives then.
    ClogOne,
    /// For a minute a tenth of all transmissions is lost, and repeated.
    LoseMessages,
    /// For a minute a tenth of all messages comes twice.
    DuplicateMessages,
    /// For a minute a fifth of all answers of services is lost.
    LoseAnswers,
    /// For a minute a fifth of all requests takes effect 10 s late.
    ApplyLate,
    /// The clock of one host is two minutes ahead, for a minute.
    ClockOne,
}

impl Fault {
    /// What is wrong with network and services, and for how long.
    fn trouble(self, host: usize) -> Option<(Trouble, Duration)> {
        let named = |text: &str| text.parse::<Pattern>().expect("a pattern");
        let (host, all) = (named(&format!("worker-{host}")), named("*"));
        let link = |from: &Pattern, both_ways, what| {
            let (from, to) = (from.clone(), all.clone());
            Trouble::Link { from, to, both_ways, what }
        };
        let service = |what| Trouble::Service { service: all.clone(), what };
        let (trouble, seconds) = match self {
            Fault::CutOne => (link(&host, true, LinkTrouble::Cut), 30),
            Fault::ClogOne => (link(&host, false, LinkTrouble::Clog), 30),
            Fault::LoseMessages => (link(&all, true, LinkTrouble::Lose { probability: 0.1 }), 60),
            Fault::DuplicateMessages => {
                (link(&all, true, LinkTrouble::Duplicate { probability: 0.1 }), 60)
            }
            Fault::LoseAnswers => (service(ServiceTrouble::LoseAnswer { probability: 0.2 }), 60),
            Fault::ApplyLate => {
                let by = Duration::from_secs(10);
                (service(ServiceTrouble::ApplyLate { probability: 0.2, by }), 60)
            }
            Fault::ClockOne => {
                let offset = 120_000_000_000;
                (Trouble::Clock { node: host, offset, drift_ppm: 0 }, 60)
            }
            _ => return None,
        };
        Some((trouble, Duration::from_secs(seconds)))
    }
}

/// One run.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub fault: Fault,
    pub mix: Mix,
    pub sets: Vec<(&'static str, &'static str)>,
}

/// What is known after a run.
pub struct Seen {
    pub scenario: Scenario,
    pub outcome: Outcome<Finals>,
}

/// What clients were told.
pub struct Finals {
    /// Instances of which a client was told before the fault that they had completed, and is told
    /// something else after it.
    pub forgotten: Vec<String>,
    /// The balances of all accounts, if there are transfers.
    pub balances: Vec<i64>,
    /// Instances that have not ended.
    pub unfinished: Vec<String>,
}

fn pair(number: u32) -> (u32, u32) {
    (number % ACCOUNTS, (number + 1 + number / ACCOUNTS) % ACCOUNTS)
}

/// The instances of a mix: name, code, input, result.
fn load(mix: Mix) -> Vec<(String, &'static str, u64, u64)> {
    let mut load = Vec::new();
    if mix == Mix::Chains {
        return (0..60).map(|number| (format!("chain-{number}"), "Chain", 30, 1 << 30)).collect();
    }
    for number in 0..10 {
        load.push((format!("chain-{number}"), "Chain", 30, 1 << 30));
    }
    for number in 0..3 {
        load.push((format!("fan-{number}"), "FanOut", 12, 132 * ROUNDS));
        load.push((format!("timers-{number}"), "Timers", 4, 4));
    }
    load.push(("family".to_owned(), "Family", CHILDREN, 4 * CHILDREN));
    if mix == Mix::WithBank {
        for number in 0..TRANSFERS {
            load.push((format!("transfer-{number}"), "Transfer", u64::from(number), 10));
        }
    }
    load
}

/// The balances once every transfer has been made once.
fn expected_balances() -> Vec<i64> {
    let mut balances = vec![0; ACCOUNTS as usize];
    for (from, to) in (0..TRANSFERS).map(pair) {
        balances[from as usize] -= 10;
        balances[to as usize] += 10;
    }
    balances
}

/// A number from a seed and a purpose.
fn draw(seed: u64, purpose: u64) -> u64 {
    let mut z =
        seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ purpose.wrapping_mul(0xD1B5_4A32_D192_ED03);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Scenario {
    /// The hosts that the fault hits.
    fn victims(&self) -> Vec<usize> {
        let first = draw(self.seed, 1) as usize % HOSTS;
        let second = (first + 1 + draw(self.seed, 2) as usize % (HOSTS - 1)) % HOSTS;
        match self.fault {
            Fault::CrashAll => (0..HOSTS).collect(),
            Fault::CrashTwo => vec![first, second],
            _ => vec![first],
        }
    }

    /// The moment of the fault after the load has begun, within the three seconds in which most of it
    /// is under way.
    fn moment(&self) -> Duration {
        Duration::from_micros(draw(self.seed, 3) % 3_000_000)
    }

    /// Runs it.
    pub fn play(self) -> Seen {
        let sets: &'static [_] = Box::leak(self.sets.clone().into_boxed_slice());
        let stage = Stage { seed: self.seed, sets, ..stage(application).on(HOSTS as u32) };
        let scenario = self.clone();
        let outcome = stage.play(async move |play: Rc<Play>| scenario.scene(play).await);
        Seen { scenario: self, outcome }
    }

    async fn scene(self, play: Rc<Play>) -> Finals {
        // Leases are claimed and balanced before the load begins.
        play.kernel.sleep(Duration::from_secs(40)).await;
        for (number, (instance, name, input, _)) in load(self.mix).into_iter().enumerate() {
            let client = play.hub.client(number % HOSTS);
            let request = match name {
                "Transfer" => crate::stage::request(&instance, name, pair(input as u32)),
                _ => crate::stage::request(&instance, name, input),
            };
            let host = play.world.hosts()[number % HOSTS].clone();
            host.spawn(async move { drop(client.start(request).await) });
        }
        // All starts are in their queues and rows.
        play.kernel.sleep(Duration::from_millis(150)).await;
        play.kernel.sleep(self.moment()).await;
        let told = told(&play);
        self.strike(&play).await;
        let children = if self.mix == Mix::Chains { 0 } else { CHILDREN as usize };
        let all = load(self.mix).len() + children;
        play.ended_within(all, Duration::from_secs(4 * 3600)).await;
        // Copies of messages whose effects are final are hidden still, for five minutes or ten.
        play.kernel.sleep(Duration::from_secs(700)).await;
        play.rest().await;
        let client = play.client();
        let mut finals = Finals { forgotten: vec![], balances: vec![], unfinished: vec![] };
        for (instance, status) in told {
            let now = client.status(InstanceId::new(instance.as_str())).await.expect("an answer");
            if now.is_none_or(|state| state.status != status) {
                finals.forgotten.push(instance);
            }
        }
        for (instance, ..) in load(self.mix) {
            let state = client.status(InstanceId::new(instance.as_str())).await.expect("an answer");
            if !state.is_some_and(|state| state.status.is_final()) {
                finals.unfinished.push(instance);
            }
        }
        if self.mix == Mix::WithBank {
            for number in 0..ACCOUNTS {
                let state = play.state::<Account>(&account(number)).await.unwrap_or_default();
                finals.balances.push(state.balance);
            }
        }
        finals
    }

    async fn strike(&self, play: &Play) {
        let victims = self.victims();
        let hosts = play.world.hosts();
        match self.fault {
            Fault::CrashOne | Fault::CrashTwo | Fault::CrashAll => {
                victims.iter().for_each(|&host| hosts[host].kill());
                play.kernel.sleep(Duration::from_secs(20)).await;
                for &host in &victims {
                    hosts[host].restart();
                    play.hub.start_host(host);
                }
            }
            Fault::LoseOne => hosts[victims[0]].kill(),
            Fault::IsolateOne => {
                delay_requests(play, victims[0], Some(Duration::from_secs(100)));
                play.kernel.sleep(Duration::from_secs(60)).await;
                delay_requests(play, victims[0], None);
            }
            Fault::PauseOne | Fault::PauseLong => {
                let long = self.fault == Fault::PauseLong;
                hosts[victims[0]].pause();
                play.kernel.sleep(Duration::from_secs(if long { 420 } else { 60 })).await;
                hosts[victims[0]].resume();
            }
            _ => {
                let (trouble, lasts) =
                    self.fault.trouble(victims[0]).expect("it is of the network");
                let id = play.world.begin(&trouble).expect("it can be");
                play.kernel.sleep(lasts).await;
                play.world.end(id);
                assert!(!play.world.fault_counts().is_empty(), "{self:?}: the trouble showed");
            }
        }
    }
}

impl Seen {
    /// What did not come out as it must: an orchestration that has not completed, or not with its
    /// result, a client that is told something else than before, a message lost, consumed by two steps
    /// or before its time, two steps on one state.
    pub fn problems(&self) -> Vec<String> {
        let Finals { forgotten, unfinished, .. } = &self.outcome.value;
        let mut problems: Vec<String> = Vec::new();
        problems.extend(unfinished.iter().map(|instance| format!("{instance} has not ended")));
        problems.extend(forgotten.iter().map(|instance| format!("{instance} was told otherwise")));
        for (instance, _, _, result) in load(self.scenario.mix) {
            let of = |end: &&Completion| end.instance.as_str() == instance;
            let ends: Vec<_> = self.outcome.completions.iter().filter(of).collect();
            let is_right = |status: &RuntimeStatus| match status {
                RuntimeStatus::Completed(value) => value.decode::<u64>() == Ok(result),
                _ => false,
            };
            if ends.len() != 1 || !is_right(&ends[0].status) {
                let states: Vec<_> = ends.iter().map(|end| &end.status).collect();
                problems.push(format!("{instance} ended {} times: {states:?}", ends.len()));
            }
        }
        let [steps, _, lost, serial, causal, early] = &self.outcome.findings;
        problems.extend([steps, lost, serial, early].into_iter().flatten().cloned());
        if self.scenario.sets.contains(&("step_order", "history-first")) {
            problems.extend(causal.clone());
        }
        let Finals { balances, .. } = &self.outcome.value;
        if self.scenario.mix == Mix::WithBank && *balances != expected_balances() {
            problems.push(format!("balances {balances:?}, not {:?}", expected_balances()));
        }
        if !problems.is_empty() {
            problems.insert(0, format!("{:?}", self.scenario));
        }
        problems
    }
}
