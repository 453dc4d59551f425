//! The client side of a service: the library that charges CPU, waits, and repeats.

use super::server::{Backend, Outcome, Server};
use super::{Reply, RequestOptions, StorageError};
use crate::host::Host;
use sim_model::ledger::{Category, Timing};
use std::rc::Rc;
use std::time::Duration;

impl<B: Backend> Server<B> {
    /// Makes a request from `host` and waits for its answer, repeating as `options` say.
    ///
    /// # Errors
    /// What the service answers; [`StorageError::ServerBusy`] or [`StorageError::TimedOut`] if the
    /// last attempt was refused or got no answer; the latter also if any earlier attempt got none.
    pub async fn call(
        &self,
        host: &Host,
        options: &RequestOptions,
        request: B::Request,
    ) -> Result<Reply<B::Response>, StorageError> {
        let kernel = &self.site.kernel;
        let request = Rc::new(request);
        let mut timing = Timing::default();
        let (mut attempts, mut unanswered) = (0, false);
        loop {
            let begun = kernel.now();
            let mut ran = Duration::ZERO;
            if !self.client_cpu.is_zero() {
                ran = host.run(self.client_cpu).await.ran;
            }
            let sent = kernel.now();
            attempts += 1;
            let outcome = self.send(host.node(), options.timeout, request.clone()).await;
            let (category, error) = match outcome {
                Outcome::Answered { result, arrived, started, departed } => {
                    let value = result?;
                    timing.add(Category::Cpu, ran);
                    timing.add(Category::Queueing, sent.since(begun) - ran);
                    timing.add(Category::Throttling, started.since(arrived));
                    timing.add(Category::Storage, departed.since(started));
                    let way = arrived.since(sent) + kernel.now().since(departed);
                    timing.add(Category::Network, way);
                    return Ok(Reply { value, timing });
                }
                // An earlier attempt without an answer may have been applied.
                Outcome::Busy if unanswered => {
                    (Category::Throttling, StorageError::TimedOut { attempts })
                }
                Outcome::Busy => (Category::Throttling, StorageError::ServerBusy { attempts }),
                Outcome::TimedOut => {
                    unanswered = true;
                    (Category::Retries, StorageError::TimedOut { attempts })
                }
            };
            if attempts > options.retry.retries_max {
                return Err(error);
            }
            let backoff = options.retry.backoff(attempts - 1, self.draw(host));
            kernel.sleep(backoff).await;
            timing.add(category, kernel.now().since(begun));
        }
    }

    /// A draw from `0..1` of the host's own stream of this service's client library.
    fn draw(&self, host: &Host) -> f64 {
        let mut streams = self.retry_streams.borrow_mut();
        let stream = streams.entry(host.node()).or_insert_with(|| {
            self.site.seeds.stream(&format!("retry {} {}", self.name, host.name()))
        });
        stream.unit()
    }
}
