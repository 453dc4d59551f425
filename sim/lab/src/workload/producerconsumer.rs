//! ProducerConsumer: entities that stream messages to other entities.
//!
//! P producer entities send `batches` batches of `batch_size` signals of `message_bytes` bytes to C
//! consumer entities. A producer sends one batch in a step, then signals itself for the next one.
//! Message `k` of producer `p` goes to consumer `(p + k) mod C` [assumption: the published test does
//! not say whom a message goes to]. Producers are pinned to partitions 0 to P - 1 and consumers to P
//! to P + C - 1, so they do not share partitions where the hub has that many.
//!
//! After its last batch a producer signals to each consumer how many messages it has sent to it.
//! A consumer that has heard so from all reports what it has received to the completion entity, to
//! which every producer has reported its start: signals of one entity to another come in order, so
//! that is everything. The duration of the job runs from the first start to the last report
//! [assumption: it leaves out the trigger, as other tests do].
//!
//! Checked: each consumer's final state: how many messages and bytes it has received, a sum over the
//! numbers of its messages, and that messages of one producer came in the order they were sent.

use super::declare::count;
use super::{EntityStates, Job, JobContext, JobResult, Start, Unit, Workload, WorkloadKind};
use super::{completed, states};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use sim_model::application::{Application, ApplicationError};
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How often the trigger looks whether the work is done.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Signals of the trigger under way at a time.
const PARALLEL_SIGNALS: usize = 50;
/// Most messages of one job.
const MESSAGES_MAX: u64 = 10_000_000;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "producerconsumer",
    summary: "ProducerConsumer: entities signal batches of messages to other entities",
    parameters: &[
        count("producers", (1, 1_000), "4", "producer entities, on the first partitions"),
        count("consumers", (1, 1_000), "4", "consumer entities, on the partitions after those"),
        count("batches", (1, 10_000), "10", "batches that each producer sends"),
        count("batch_size", (1, 10_000), "50", "messages of one batch, sent in one step"),
        count("message_bytes", (0, 30_000), "100", "ballast of one message"),
    ],
    files: &[],
    load: "batch:1",
    build: |parameters| ProducerConsumer::new(parameters).map(|workload| Rc::new(workload) as _),
};

/// One job: who sends what to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shape {
    /// The index of the job.
    job: u64,
    producers: u64,
    consumers: u64,
    batches: u64,
    batch_size: u64,
    message_bytes: u64,
}

impl Shape {
    fn new(job: u64, parameters: &Settings) -> Self {
        let count = |key| parameters.count(key);
        Shape {
            job,
            producers: count("producers"),
            consumers: count("consumers"),
            batches: count("batches"),
            batch_size: count("batch_size"),
            message_bytes: count("message_bytes"),
        }
    }

    fn producer(self, number: u64) -> EntityId {
        EntityId::new("Producer", format!("{}.{number}-!{number}", self.job))
    }

    fn consumer(self, number: u64) -> EntityId {
        EntityId::new("Consumer", format!("{}.{number}-!{}", self.job, self.producers + number))
    }

    fn completion(self) -> EntityId {
        let pin = self.producers + self.consumers;
        EntityId::new("Completion", format!("{}-!{pin}", self.job))
    }

    /// Messages of one producer.
    fn messages(self) -> u64 {
        self.batches * self.batch_size
    }

    /// The consumer of a producer's message with this number.
    fn target(self, producer: u64, sequence: u64) -> u64 {
        (producer + sequence) % self.consumers
    }

    /// The messages of a producer to a consumer.
    fn sent(self, producer: u64, consumer: u64) -> impl Iterator<Item = u64> {
        let first = (consumer + self.consumers - producer % self.consumers) % self.consumers;
        (first..self.messages()).step_by(self.consumers as usize)
    }
}

/// The state of a producer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    shape: Shape,
    number: u64,
    batches_sent: u64,
}

impl Producer {
    /// Sends the next batch, and then either asks for another one or says that this was the last.
    fn send(&mut self, cx: &mut EntityContext) -> Result<(), ApplicationError> {
        let Producer { shape, number, .. } = *self;
        let first = self.batches_sent * shape.batch_size;
        let data = "x".repeat(shape.message_bytes as usize);
        for sequence in first..first + shape.batch_size {
            let message = Message { producer: number, sequence, data: data.clone() };
            cx.signal(&shape.consumer(shape.target(number, sequence)), "Message", &message)?;
        }
        self.batches_sent += 1;
        if self.batches_sent < shape.batches {
            return cx.signal(&shape.producer(number), "Continue", &());
        }
        for consumer in 0..shape.consumers {
            let count = shape.sent(number, consumer).count() as u64;
            cx.signal(&shape.consumer(consumer), "End", &End { shape, consumer, count })?;
        }
        Ok(())
    }
}

/// What a producer sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Message {
    producer: u64,
    /// Its number among the messages of that producer.
    sequence: u64,
    data: String,
}

/// What a producer sends last.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct End {
    shape: Shape,
    /// The number of the consumer.
    consumer: u64,
    /// Messages that the producer has sent to this consumer.
    count: u64,
}

/// The state of a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Consumer {
    received: u64,
    bytes: u64,
    /// Sum over the numbers of all messages received.
    sequence_sum: u64,
    /// Messages that came after a later one of the same producer.
    disordered: u64,
    /// The greatest number received, by producer.
    latest: BTreeMap<u64, u64>,
    producers_ended: u64,
    /// Messages that the producers that have ended have sent here.
    announced: u64,
}

impl Consumer {
    fn receive(&mut self, message: &Message) {
        self.received += 1;
        self.bytes += message.data.len() as u64;
        self.sequence_sum += message.sequence;
        let latest = self.latest.entry(message.producer).or_insert(message.sequence);
        if message.sequence < *latest {
            self.disordered += 1;
        }
        *latest = message.sequence.max(*latest);
    }

    fn end(&mut self, end: &End) {
        self.producers_ended += 1;
        self.announced += end.count;
    }

    /// The state in which the consumer with this number ends.
    fn expected(shape: Shape, consumer: u64) -> Self {
        let mut state = Consumer::default();
        for producer in 0..shape.producers {
            let mut count = 0;
            for sequence in shape.sent(producer, consumer) {
                count += 1;
                state.sequence_sum += sequence;
                state.latest.insert(producer, sequence);
            }
            state.received += count;
            state.end(&End { shape, consumer, count });
        }
        state.bytes = state.received * shape.message_bytes;
        state
    }
}

/// The state of the completion entity.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Completion {
    /// When the first producer started.
    started: Option<Timestamp>,
    /// When the last report came.
    last_report: Timestamp,
    /// Messages received, by consumer.
    reports: BTreeMap<u64, u64>,
}

fn register_producer(application: &mut Application) {
    application
        .entity::<Producer>("Producer")
        .operation("Start", |cx: &mut EntityContext, producer: &mut Producer, (shape, number)| {
            *producer = Producer { shape, number, batches_sent: 0 };
            cx.signal(&shape.completion(), "Started", &cx.now())?;
            producer.send(cx)
        })
        .operation("Continue", |cx: &mut EntityContext, producer: &mut Producer, (): ()| {
            producer.send(cx)
        });
}

fn register_consumer(application: &mut Application) {
    application
        .entity::<Consumer>("Consumer")
        .operation("Message", |_: &mut EntityContext, consumer: &mut Consumer, message| {
            consumer.receive(&message);
            Ok(())
        })
        .operation("End", |cx: &mut EntityContext, consumer: &mut Consumer, end: End| {
            consumer.end(&end);
            if consumer.producers_ended == end.shape.producers {
                let report = (end.consumer, consumer.received);
                cx.signal(&end.shape.completion(), "Report", &report)?;
            }
            Ok(())
        });
}

fn register_completion(application: &mut Application) {
    application
        .entity::<Completion>("Completion")
        .operation("Started", |_: &mut EntityContext, completion: &mut Completion, at| {
            let earliest = completion.started.map_or(at, |started: Timestamp| started.min(at));
            completion.started = Some(earliest);
            Ok(())
        })
        .operation("Report", |cx: &mut EntityContext, completion: &mut Completion, report| {
            let (consumer, received): (u64, u64) = report;
            completion.reports.insert(consumer, received);
            completion.last_report = cx.now();
            Ok(())
        });
}

/// The code of the trigger.
struct Trigger {
    /// The first job.
    shape: Shape,
}

impl Job for Trigger {
    fn run(
        &self,
        index: u64,
        cx: JobContext,
    ) -> LocalBoxFuture<'static, Result<JobResult, String>> {
        let shape = Shape { job: index, ..self.shape };
        async move {
            cx.parallel(0..shape.producers, PARALLEL_SIGNALS, async |number| {
                let input = Payload::encode(&(shape, number)).map_err(|error| error.to_string())?;
                let sent = cx.client().signal_entity(&shape.producer(number), "Start", input).await;
                sent.map_err(|error| format!("a signal to a producer: {error}"))
            })
            .await?;
            let finished = |completion: Completion| {
                let all = completion.reports.len() as u64 == shape.consumers;
                completion.started.filter(|_| all).map(|started| (started, completion))
            };
            let awaited = "the reports of all consumers";
            let completion = shape.completion();
            let (started, completion) =
                states::poll(&cx, &completion, POLL_INTERVAL, awaited, finished).await?;
            let received: u64 = completion.reports.values().sum();
            let result = Payload::encode(&received).map_err(|error| error.to_string())?;
            Ok(JobResult { started, ended: completion.last_report, result })
        }
        .boxed_local()
    }
}

struct ProducerConsumer {
    trigger: Rc<Trigger>,
}

impl ProducerConsumer {
    fn new(parameters: &Settings) -> Result<Self, String> {
        let workload =
            ProducerConsumer { trigger: Rc::new(Trigger { shape: Shape::new(0, parameters) }) };
        match workload.messages() {
            0..=MESSAGES_MAX => Ok(workload),
            more => Err(format!(
                "producers times batches times batch_size is {more}, expected at most {MESSAGES_MAX}"
            )),
        }
    }

    fn messages(&self) -> u64 {
        self.trigger.shape.producers * self.trigger.shape.messages()
    }

    /// The consumers of the first `jobs` jobs and the states they end in.
    fn consumers(&self, jobs: u64) -> impl Iterator<Item = (EntityId, Consumer)> {
        (0..jobs).flat_map(move |job| {
            let shape = Shape { job, ..self.trigger.shape };
            (0..shape.consumers)
                .map(move |number| (shape.consumer(number), Consumer::expected(shape, number)))
        })
    }
}

impl Workload for ProducerConsumer {
    fn register(&self, application: &mut Application) {
        register_producer(application);
        register_consumer(application);
        register_completion(application);
    }

    fn start(&self) -> Start {
        Start::Job(self.trigger.clone())
    }

    fn input(&self, _index: u64) -> Payload {
        Payload::encode(&()).expect("invariant: nothing has a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let received: u64 = completed(status)?;
        if received == self.messages() {
            return Ok(());
        }
        Err(format!("consumers received {received} messages, expected {}", self.messages()))
    }

    /// A consumer's counts do not depend on how the messages of several producers interleave.
    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "signals", per_orchestration: self.messages() as f64 }
    }

    fn entities(&self, started: u64) -> Vec<EntityId> {
        self.consumers(started).map(|(consumer, _)| consumer).collect()
    }

    fn check_entities(&self, started: u64, finals: &EntityStates) -> Result<(), String> {
        states::compare(finals, self.consumers(started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape { job: 0, producers: 2, consumers: 3, batches: 2, batch_size: 5, message_bytes: 7 }
    }

    /// The messages to a consumer, in the order of their producers.
    fn messages(consumer: u64) -> Vec<Message> {
        let of = |producer| {
            let data = "x".repeat(7);
            let message = move |sequence| Message { producer, sequence, data: data.clone() };
            shape().sent(producer, consumer).map(message)
        };
        of(0).chain(of(1)).collect()
    }

    fn after(messages: &[Message]) -> Consumer {
        let mut consumer = Consumer::default();
        messages.iter().for_each(|message| consumer.receive(message));
        for producer in 0..2 {
            let count = shape().sent(producer, 1).count() as u64;
            consumer.end(&End { shape: shape(), consumer: 1, count });
        }
        consumer
    }

    #[test]
    fn every_message_has_one_consumer() {
        for producer in 0..2 {
            let mut received = Vec::new();
            for consumer in 0..3 {
                received.extend(shape().sent(producer, consumer).inspect(|&sequence| {
                    assert_eq!(shape().target(producer, sequence), consumer);
                }));
            }
            received.sort_unstable();
            assert_eq!(received, (0..shape().messages()).collect::<Vec<_>>());
        }
        assert_eq!(shape().producer(1).key().as_ref(), "0.1-!1");
        assert_eq!(shape().consumer(0).key().as_ref(), "0.0-!2");
    }

    #[test]
    fn a_job_that_could_never_end_is_refused() {
        let mut parameters = Settings::defaults(KIND.parameters);
        assert!(ProducerConsumer::new(&parameters).is_ok());
        for key in ["batches", "batch_size"] {
            parameters.set(key, "10000").expect("in range");
        }
        let refused = ProducerConsumer::new(&parameters).map(|_| ());
        assert!(refused.is_err_and(|error| error.contains("at most 10000000")));
    }

    #[test]
    fn the_check_knows_right_from_wrong() {
        let expected = Consumer::expected(shape(), 1);
        let messages = messages(1);
        assert_eq!(after(&messages), expected);
        let mut interleaved = messages.clone();
        interleaved.sort_by_key(|message| message.sequence);
        assert_eq!(after(&interleaved), expected, "producers may interleave");

        assert_ne!(after(&messages[1..]), expected, "one was lost");
        let twice = [&messages[..1], &messages].concat();
        assert_ne!(after(&twice), expected, "one came twice");
        let mut swapped = messages.clone();
        swapped.swap(0, 1);
        assert_ne!(after(&swapped), expected, "one overtook another of its producer");
        let mut replaced = messages.clone();
        replaced[1] = replaced[0].clone();
        assert_ne!(after(&replaced), expected, "one was lost and another came twice");
    }
}
