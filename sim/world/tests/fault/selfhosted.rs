//! Self-hosted servers over links in trouble, and services of theirs in trouble.

use crate::common::{deterministic, ms, run, world};
use crate::{between, of_service, one_way};
use sim_model::time::Timestamp;
use sim_world::fault::{Effect, LinkTrouble, ServiceTrouble};
use sim_world::kernel::Kernel;
use sim_world::selfhosted::{CallError, Client, Command, EndpointOptions};
use sim_world::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

struct Number(u64);

impl Command for Number {
    type Answer = u64;
    const KINDS: &'static [&'static str] = &["number"];

    fn kind(&self) -> usize {
        0
    }

    fn bytes(&self) -> u64 {
        8
    }

    fn answer_bytes(_: &u64) -> u64 {
        8
    }

    fn digest(&self) -> u64 {
        self.0
    }
}

/// A server that notes numbers and sends them back, and a client on the first host.
fn serve(world: &World, timeout: Option<Duration>) -> (Client<Number>, Rc<RefCell<Vec<u64>>>) {
    let machine = world.rent("numbers", "stream-store", Some(1)).expect("a class");
    let options = EndpointOptions { service: "numbers", client_cpu: Duration::ZERO, timeout };
    let endpoint = world.endpoint::<Number>(&machine, options).expect("described");
    let seen: Rc<RefCell<Vec<u64>>> = Rc::default();
    let (listener, notes) = (endpoint.listen(), seen.clone());
    machine.host().spawn(async move {
        loop {
            let incoming = listener.next().await;
            let number = incoming.command().0;
            notes.borrow_mut().push(number);
            incoming.answer(number);
        }
    });
    (endpoint.client(&world.hosts()[0]), seen)
}

fn scene<F>(main: impl FnOnce(Kernel, World) -> F + Send)
where
    F: Future<Output = ()> + 'static,
{
    run(deterministic, |kernel, profile| {
        let world = world(&kernel, profile, 1);
        main(kernel, world)
    });
}

async fn call(client: &Client<Number>, number: u64) -> Result<u64, CallError> {
    client.call(Number(number)).await.map(|reply| reply.value)
}

const SERVICE: &str = "numbers";

#[test]
fn a_cut_breaks_the_connection_and_a_new_one_is_opened() {
    scene(|kernel, world| async move {
        let (client, seen) = serve(&world, None);
        assert_eq!(call(&client, 1).await, Ok(1));
        let cut = between("worker-0", "numbers", LinkTrouble::Cut);
        let cut = world.begin(&cut).expect("begins");
        let before = kernel.now();
        assert_eq!(call(&client, 2).await, Err(CallError::Broken { service: SERVICE }));
        assert_eq!(kernel.now().since(before), Duration::from_secs(15), "the keep-alive time");
        let refused = call(&client, 3).await;
        assert_eq!(refused, Err(CallError::Unreachable { service: SERVICE }), "no new connection");
        world.end(cut);
        assert_eq!(call(&client, 4).await, Ok(4));
        assert_eq!(*seen.borrow(), [1, 4]);
    });
}

#[test]
fn a_lost_answer_is_a_timeout_after_the_effect() {
    scene(|_, world| async move {
        let (client, seen) = serve(&world, Some(ms(500)));
        assert_eq!(call(&client, 1).await, Ok(1));
        let cut = one_way("numbers", "worker-0", LinkTrouble::Cut);
        let cut = world.begin(&cut).expect("begins");
        assert_eq!(call(&client, 2).await, Err(CallError::TimedOut { service: SERVICE }));
        world.end(cut);
        let lose = ServiceTrouble::LoseAnswer { probability: 1.0 };
        let lose = world.begin(&of_service("numbers", lose)).expect("begins");
        assert_eq!(call(&client, 3).await, Err(CallError::TimedOut { service: SERVICE }));
        world.end(lose);
        assert_eq!(call(&client, 4).await, Ok(4));
        assert_eq!(*seen.borrow(), [1, 2, 3, 4], "all were served");
        assert_eq!(world.fault_counts().of(Effect::AnswerLost), 1);
    });
}

#[test]
fn a_held_command_is_served_when_its_client_is_dead() {
    scene(|kernel, world| async move {
        let (client, seen) = serve(&world, None);
        assert_eq!(call(&client, 1).await, Ok(1));
        let clog = between("worker-0", "numbers", LinkTrouble::Clog);
        let clog = world.begin(&clog).expect("begins");
        for number in [2, 3] {
            let client = client.clone();
            world.hosts()[0].spawn(async move {
                let _ = call(&client, number).await;
                unreachable!("the host is killed before");
            });
            kernel.sleep(ms(1)).await;
        }
        kernel.sleep(ms(50)).await;
        world.hosts()[0].kill();
        world.end(clog);
        kernel.sleep(ms(50)).await;
        assert_eq!(*seen.borrow(), [1, 2, 3]);
    });
}

#[test]
fn commands_of_a_connection_come_once_and_in_order() {
    scene(|kernel, world| async move {
        let (client, seen) = serve(&world, None);
        assert_eq!(call(&client, 0).await, Ok(0));
        let reorder = LinkTrouble::Reorder { probability: 0.5, by: ms(30) };
        world.begin(&between("worker-0", "numbers", reorder)).expect("begins");
        let duplicate = LinkTrouble::Duplicate { probability: 1.0 };
        world.begin(&between("worker-0", "numbers", duplicate)).expect("begins");
        for number in 1..50 {
            let client = client.clone();
            world.hosts()[0].spawn(async move {
                assert_eq!(call(&client, number).await, Ok(number));
            });
            kernel.sleep(ms(1)).await;
        }
        kernel.sleep(ms(500)).await;
        assert_eq!(*seen.borrow(), (0..50).collect::<Vec<u64>>());
    });
}

#[test]
fn a_server_that_is_out_or_late_or_refuses() {
    scene(|kernel, world| async move {
        let (client, seen) = serve(&world, Some(ms(500)));
        assert_eq!(call(&client, 1).await, Ok(1));
        let out = world.begin(&of_service("numbers", ServiceTrouble::Outage)).expect("begins");
        assert_eq!(call(&client, 2).await, Err(CallError::TimedOut { service: SERVICE }));
        let unreachable = call(&client, 2).await;
        assert_eq!(unreachable, Err(CallError::Unreachable { service: SERVICE }));
        world.end(out);

        let refuse = ServiceTrouble::Throttle { probability: 1.0 };
        assert_eq!(call(&client, 3).await, Ok(3));
        let refuse = world.begin(&of_service("numbers", refuse)).expect("begins");
        assert_eq!(call(&client, 4).await, Err(CallError::Broken { service: SERVICE }));
        world.end(refuse);

        assert_eq!(call(&client, 5).await, Ok(5));
        let late = ServiceTrouble::ApplyLate { probability: 1.0, by: Duration::from_secs(2) };
        let late = world.begin(&of_service("numbers", late)).expect("begins");
        assert_eq!(call(&client, 6).await, Err(CallError::TimedOut { service: SERVICE }));
        world.end(late);
        assert_eq!(call(&client, 7).await, Ok(7));
        kernel.sleep(Duration::from_secs(2)).await;
        assert_eq!(*seen.borrow(), [1, 3, 5, 7, 6], "late, and overtaken");
        assert!(kernel.now() > Timestamp::ZERO);
    });
}
