//! BankTransaction: money moves between two accounts, in a critical section.
//!
//! An account is an entity with a balance. The orchestration locks the source and the destination,
//! reads the source's balance (`Get`), takes 1000 from it and adds 1000 to the destination (two
//! calls of `Add`), strictly one after the other, and releases the locks: nine message hops in
//! sequence and two releases. Nobody looks at the balance, so accounts go below zero and every
//! transaction succeeds.
//!
//! `variant=pairs` is the published throughput test: transaction `i` moves money from
//! `src{i}-!{(i+1)%32}` to `dst{i}-!{(i+2)%32}`, so no two transactions share an account, and the
//! two accounts lie on neighbouring partitions. `variant=random` is the latency test of the paper:
//! two different ones out of 1000 accounts. Which ones is a hash of the index here (the paper draws
//! them); accounts are spread over partitions by their names.
//!
//! Checked: every account's balance at the end, and that the balances sum to nothing.

use super::declare::{choice, count};
use super::{EntityStates, Start, Unit, Workload, WorkloadKind, completed, mix, states};
use serde::{Deserialize, Serialize};
use sim_model::application::{Application, ApplicationError};
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What one transaction moves.
const AMOUNT: i64 = 1000;
/// Partitions to which the published test pins accounts; engines take the number modulo their own.
const PINS: u64 = 32;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "bank",
    summary: "BankTransaction: moves money between two account entities in a critical section",
    parameters: &[
        choice(
            "variant",
            &["pairs", "random"],
            "pairs",
            "pairs: two accounts of its own for each transaction, the published throughput test; \
             random: two of `accounts`, its latency test",
        ),
        count("accounts", (2, 1_000_000), "1000", "accounts of variant=random; published: 1000"),
    ],
    files: &[],
    load: "batch:500",
    build: |parameters| Ok(Rc::new(Bank { accounts: Accounts::new(parameters) })),
};

/// An account's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

/// Which accounts a transaction moves money between.
#[derive(Clone, Copy)]
enum Accounts {
    Pairs,
    Random(u64),
}

impl Accounts {
    fn new(parameters: &Settings) -> Self {
        match parameters.choice("variant") {
            "pairs" => Accounts::Pairs,
            _ => Accounts::Random(parameters.count("accounts")),
        }
    }

    /// Source and destination of the transaction with this index.
    fn of(self, index: u64) -> [EntityId; 2] {
        match self {
            Accounts::Pairs => {
                let pin = |distance| (index + distance) % PINS;
                [format!("src{index}-!{}", pin(1)), format!("dst{index}-!{}", pin(2))]
            }
            Accounts::Random(accounts) => {
                let source = mix(2 * index) % accounts;
                // One of the others: those from the source on move up by one.
                let other = mix(2 * index + 1) % (accounts - 1);
                let destination = other + u64::from(other >= source);
                [format!("account{source}"), format!("account{destination}")]
            }
        }
        .map(|key| EntityId::new("Account", key))
    }

    /// The balances after the first `transactions`, of all accounts that they touch.
    fn balances(self, transactions: u64) -> BTreeMap<EntityId, i64> {
        let mut balances = BTreeMap::new();
        for index in 0..transactions {
            let [source, destination] = self.of(index);
            *balances.entry(source).or_default() -= AMOUNT;
            *balances.entry(destination).or_default() += AMOUNT;
        }
        balances
    }
}

async fn transaction(
    context: OrchestrationContext,
    [source, destination]: [EntityId; 2],
) -> Result<bool, ApplicationError> {
    let locks = context.lock(&[source.clone(), destination.clone()]).await?;
    context.call_entity::<i64>(&source, "Get", &()).await?;
    context.call_entity::<()>(&source, "Add", &-AMOUNT).await?;
    context.call_entity::<()>(&destination, "Add", &AMOUNT).await?;
    locks.release();
    Ok(true)
}

struct Bank {
    accounts: Accounts,
}

impl Workload for Bank {
    fn register(&self, application: &mut Application) {
        application
            .entity::<Account>("Account")
            .operation("Get", |_: &mut EntityContext, account: &mut Account, (): ()| {
                Ok(account.balance)
            })
            .operation("Add", |_: &mut EntityContext, account: &mut Account, amount: i64| {
                account.balance += amount;
                Ok(())
            });
        let accounts = self.accounts;
        application.orchestration("BankTransaction", move |context, index: u64| {
            transaction(context, accounts.of(index))
        });
    }

    fn start(&self) -> Start {
        Start::Orchestration("BankTransaction")
    }

    fn input(&self, index: u64) -> Payload {
        Payload::encode(&index).expect("invariant: a number has a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        match completed(status)? {
            true => Ok(()),
            false => Err("returned that nothing was moved".to_owned()),
        }
    }

    /// Sums do not depend on the order of what they add up.
    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "transactions", per_orchestration: 1.0 }
    }

    fn entities(&self, started: u64) -> Vec<EntityId> {
        self.accounts.balances(started).into_keys().collect()
    }

    fn check_entities(&self, started: u64, finals: &EntityStates) -> Result<(), String> {
        let expected = self.accounts.balances(started);
        let mut sum = 0;
        for account in expected.keys() {
            sum += states::decode::<Account>(finals, account)?.balance;
        }
        if sum != 0 {
            return Err(format!("the balances sum to {sum}, expected 0"));
        }
        let expected = expected.into_iter();
        states::compare(finals, expected.map(|(account, balance)| (account, Account { balance })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bank(variant: &str) -> Bank {
        let mut parameters = Settings::defaults(KIND.parameters);
        parameters.set("variant", variant).expect("a variant");
        parameters.set("accounts", "10").expect("in range");
        Bank { accounts: Accounts::new(&parameters) }
    }

    fn finals(bank: &Bank, started: u64) -> EntityStates {
        let balances = bank.accounts.balances(started).into_iter();
        let state = |balance| Payload::encode(&Account { balance }).ok();
        balances.map(|(account, balance)| (account, state(balance))).collect()
    }

    #[test]
    fn accounts_are_named_and_pinned_as_published() {
        let [source, destination] = Accounts::Pairs.of(31);
        assert_eq!((&**source.key(), &**destination.key()), ("src31-!0", "dst31-!1"));
        assert_eq!(bank("pairs").entities(100).len(), 200);
    }

    #[test]
    fn random_pairs_are_of_two_accounts_and_use_all_of_them() {
        for accounts in [2, 3, 10] {
            let random = Accounts::Random(accounts);
            assert!((0..1_000).all(|index| random.of(index)[0] != random.of(index)[1]));
            assert_eq!(random.balances(1_000).len() as u64, accounts);
        }
    }

    #[test]
    fn the_check_knows_right_from_wrong() {
        for variant in ["pairs", "random"] {
            let bank = bank(variant);
            let right = finals(&bank, 20);
            assert_eq!(bank.check_entities(20, &right), Ok(()), "{variant}");
            assert!(bank.check_entities(21, &right).is_err(), "a transaction was lost");
            let [source, destination] = bank.accounts.of(3);
            let with = |changes: &[(&EntityId, Option<i64>)]| {
                let mut wrong = right.clone();
                for (account, balance) in changes {
                    let state = balance.map(|balance| Account { balance });
                    let state = state.map(|state| Payload::encode(&state).expect("a state"));
                    wrong.insert((*account).clone(), state);
                }
                bank.check_entities(20, &wrong)
            };
            assert!(with(&[(&source, None)]).is_err_and(|e| e.contains("does not exist")));
            assert!(with(&[(&source, Some(77))]).is_err_and(|e| e.contains("sum to")));
            let balance =
                |account| states::decode::<Account>(&right, account).expect("a state").balance;
            let once_more = [
                (&source, Some(balance(&source) - AMOUNT)),
                (&destination, Some(balance(&destination) + AMOUNT)),
            ];
            assert!(with(&once_more).is_err_and(|e| e.contains("ended as")), "moved twice");
        }
    }
}
