//! Temporary.
#![allow(warnings)]
#![allow(clippy::all)]
use engine_sql_server::SqlServer;
use sim_model::application::{ActivityContext, Application};
use sim_model::engine::*;
use sim_model::graph::GraphRecorder;
use sim_model::id::InstanceId;
use sim_model::orchestration::OrchestrationContext;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_world::kernel::*;
use sim_world::profile::Profile;
use sim_world::world::{Deployment as Machines, World};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

fn application() -> Application {
    let mut app = Application::new();
    app.activity("SayHello", |_: ActivityContext, name: String| async move {
        Ok(format!("Hello {name}!"))
    });
    app.orchestration("Hello", |ctx: OrchestrationContext, (): ()| async move {
        for city in ["Tokyo", "Seattle", "London", "Amsterdam", "Mumbai"] {
            ctx.call_activity::<String>("SayHello", &city).await?;
        }
        Ok(())
    });
    app
}

#[test]
fn probe() {
    let var = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let path = var("PROFILE", "../../experiments/profiles/azure-2021-10.toml");
    let count: usize = var("COUNT", "5000").parse().unwrap();
    let sizes = var("SIZES", "2,4,8,16");
    let sets = var("SETS", "");
    for vcores in sizes.split(',') {
        let (vcores, path, sets) = (vcores.to_owned(), path.clone(), sets.clone());
        on_fresh_thread(move || {
            let main = move |kernel: Kernel| async move {
                let mut settings = Settings::defaults(SqlServer.settings());
                settings.set("vcores", &vcores).unwrap();
                for set in sets.split(',').filter(|s| !s.is_empty()) {
                    let (k, v) = set.split_once('=').unwrap();
                    settings.set(k, v).unwrap();
                }
                let profile = Rc::new(
                    Profile::parse("probe", &std::fs::read_to_string(&path).unwrap()).unwrap(),
                );
                let machines = Machines { plan: "EP2".to_owned(), hosts: 4, partitions: 12 };
                let world = World::new(&kernel, 1, profile, &machines).unwrap();
                let graph = GraphRecorder::default();
                let done = Rc::new(Cell::new(0usize));
                let sink = done.clone();
                let observer = Observer::new(graph.clone(), move |_| sink.set(sink.get() + 1));
                let hub = SqlServer
                    .deploy(
                        &world,
                        Deployment { application: Rc::new(application()), settings, observer },
                    )
                    .unwrap();
                (0..4).for_each(|host| hub.start_host(host));
                kernel.sleep(Duration::from_secs(2)).await;
                let database = world.machines().remove(0);
                let begun = kernel.now();
                let cpu0 = database.host().cpu_used();
                let next = Rc::new(Cell::new(0usize));
                for _ in 0..200 {
                    let (next, client) = (next.clone(), hub.client(0));
                    world.hosts()[0].spawn(async move {
                        loop {
                            let n = next.get();
                            if n >= count {
                                return;
                            }
                            next.set(n + 1);
                            let request = StartRequest {
                                instance: InstanceId::new(format!(
                                    "{:08x}",
                                    (n as u32).wrapping_mul(2654435761)
                                )),
                                name: "Hello".into(),
                                input: Payload::encode(&()).unwrap(),
                            };
                            client.start(request).await.unwrap();
                        }
                    });
                }
                let mut started = None;
                while done.get() < count {
                    kernel.sleep(Duration::from_millis(100)).await;
                    if started.is_none() && next.get() >= count {
                        started = Some(kernel.now().since(begun));
                    }
                }
                let span = kernel.now().since(begun).as_secs_f64();
                let cores: f64 = vcores.parse().unwrap();
                let cpu = (database.host().cpu_used() - cpu0).as_secs_f64();
                let calls: u64 = world
                    .meter()
                    .snapshot()
                    .iter()
                    .filter(|o| {
                        o.service == "sql"
                            && !["log_flush", "lock_wait", "deadlock", "checkpoint"]
                                .contains(&o.kind.as_str())
                    })
                    .map(|o| o.count)
                    .sum();
                eprintln!(
                    "vcores {vcores}: {:.1}/s in {span:.1} s, db cpu {:.0} %, {:.3} ms a call, {calls} calls, started after {started:?}",
                    count as f64 / span,
                    100.0 * cpu / cores / span,
                    1e3 * cpu / calls as f64
                );
                for (n, v) in hub.counters() {
                    if v > 0 {
                        eprint!(" {n}={v}");
                    }
                }
                eprintln!();
                for host in world.hosts() {
                    eprint!(
                        " host {:.0} %",
                        100.0 * host.cpu_used().as_secs_f64() / 2.0 / kernel.now().as_secs_f64()
                    );
                }
                for o in world.meter().snapshot() {
                    if o.service == "sql" || o.service == "disk" {
                        eprint!(
                            " {}.{}={} ({} KB)",
                            o.service,
                            o.kind,
                            o.count,
                            (o.bytes_in + o.bytes_out) / 1024
                        );
                    }
                }
                eprintln!();
            };
            simulate(KernelOptions::with_seed(1), main).unwrap();
        });
    }
}
