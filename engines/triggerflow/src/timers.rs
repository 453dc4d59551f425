//! The timer service: an event source by time. An extension; the published system has none.
//!
//! A timer is an event in a stream. The service reads the stream, keeps what it has read in order of the
//! instants, appends each timer's message to the stream of its workspace when it is due, and then deletes
//! the timer. It runs on the control plane's machine.

use crate::api;
use crate::event::Position;
use crate::hub::Hub;
use sim_model::message::TimerMessage;
use sim_model::time::Timestamp;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The stream of timers.
pub(crate) const STREAM: &str = "triggerflow-timers";

/// Timers by their instants.
type Pending = Rc<RefCell<BTreeMap<(Timestamp, Position), TimerMessage>>>;

/// Starts the service.
pub(crate) fn start(hub: &Rc<Hub>) {
    let pending = Pending::default();
    let news = hub.kernel.notify();
    let (reader, read, told) = (hub.clone(), pending.clone(), news.clone());
    hub.control.spawn(async move {
        let connection = reader.store.connect(&reader.control);
        let mut after = Position::default();
        loop {
            for (position, body) in connection.wait_for_entries(STREAM, after).await {
                after = position;
                let Some(timer) = connection.decoded::<TimerMessage>(&body) else { continue };
                read.borrow_mut().insert((timer.fire_at, position), timer);
            }
            told.notify_one();
        }
    });
    let hub = hub.clone();
    hub.control.clone().spawn(async move {
        let connection = Rc::new(hub.store.connect(&hub.control));
        loop {
            let next = pending.borrow().keys().next().copied();
            let told = news.notified();
            match next {
                None => told.await,
                Some((due, _)) if due > hub.now() => {
                    let _ = hub.kernel.timeout(due.since(hub.now()), told).await;
                }
                Some(key) => {
                    let timer = pending.borrow_mut().remove(&key).expect("invariant: it is there");
                    let (hub, connection) = (hub.clone(), connection.clone());
                    hub.control.clone().spawn(async move {
                        let sent = api::append(&hub, &connection, timer.message).await;
                        connection.sure(sent);
                        connection.delete_entries(STREAM, vec![key.1]).await;
                    });
                }
            }
        }
    });
}
