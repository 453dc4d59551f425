//! WordCount: mapper entities send every word of their books to reducer entities.
//!
//! A job with M mapper entities, R reducer entities and one summary entity, each pinned to the
//! partition of its number. Phase 1: the orchestration `Init` calls `Init` of the summary, then of all
//! mappers and reducers in parallel. Phase 2: the trigger signals each mapper with the name of one
//! book. In one step the mapper downloads the book, splits it, signals each word to the reducer
//! of the word's hash modulo R, and then signals `MapperEnd` to every reducer. A reducer counts
//! words in its state, which grows; after the M-th `MapperEnd` it reports to the summary. The
//! duration of the job runs from the summary's `Init` to the last report, as published; that the
//! trigger looks every 10 s does not enter it.
//!
//! A mapper sends at most the first `word_limit` words of its book: 5000 in the published runs, of
//! which 15x40 received 56,653 words; without a limit (`word_limit=0`) they are 676,335. The books
//! are those of `corpus.rs`. Words are hashed by FNV-1a [assumption: the hash is not published].
//!
//! **Core time.** A mapper's step takes [`SPLIT_NANOS_PER_WORD`] for each word of the whole book,
//! besides what a step costs anyway. Counting a word is less than a microsecond and not charged.
//!
//! Checked: the words that reducers report, and every reducer's final counts against the corpus.

use super::corpus::{self, Book, SPLIT_NANOS_PER_WORD, Vocabulary};
use super::declare::count;
use super::{
    EntityStates, Job, JobContext, JobResult, Start, Unit, Workload, WorkloadKind, completed,
    states,
};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, try_join_all};
use serde::{Deserialize, Serialize};
use sim_model::application::{Application, ApplicationError};
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How often the trigger looks whether the work is done.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Signals of the trigger under way at a time.
const PARALLEL_SIGNALS: usize = 50;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "wordcount",
    summary: "WordCount: mapper entities signal each word of a book to reducer entities",
    parameters: &[
        count("mappers", (1, 1_000), "15", "mapper entities, one book each; published: 15"),
        count("reducers", (1, 1_000), "40", "reducer entities; published: 40"),
        count(
            "word_limit",
            (0, 1_000_000),
            "5000",
            "most words a mapper sends, 0 for all; published: 5000, and all for other runs",
        ),
        count("corpus_seed", (0, u64::MAX), "1", "the seed from which the books are generated"),
    ],
    files: &[],
    load: "batch:1",
    build: |parameters| Ok(Rc::new(WordCount::new(parameters))),
};

/// Entities of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shape {
    /// The index of the job.
    job: u64,
    mappers: u64,
    reducers: u64,
}

impl Shape {
    fn mapper(self, number: u64) -> EntityId {
        EntityId::new("Mapper", format!("{}.{number}-!{number}", self.job))
    }

    fn reducer(self, number: u64) -> EntityId {
        EntityId::new("Reducer", format!("{}.{number}-!{number}", self.job))
    }

    fn reducer_of(self, word: &str) -> u64 {
        let hash = word
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        u64::from(hash) % self.reducers
    }

    fn summary(self) -> EntityId {
        EntityId::new("Summary", format!("{}-!0", self.job))
    }
}

/// The state of a mapper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mapper {
    shape: Shape,
}

/// The state of a reducer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Reducer {
    shape: Shape,
    number: u64,
    mappers_ended: u64,
    counts: BTreeMap<String, u64>,
}

/// What a reducer tells the summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    reducer: u64,
    /// Words received.
    words: u64,
    /// Different words among them.
    distinct: u64,
}

/// The state of the summary.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Summary {
    shape: Shape,
    started: Timestamp,
    last_report: Timestamp,
    /// By reducer.
    reports: BTreeMap<u64, Report>,
}

/// What a job comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Total {
    words: u64,
    distinct: u64,
}

impl Total {
    fn of<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Self {
        let none = Total { words: 0, distinct: 0 };
        reports.into_iter().fold(none, |total, report| Total {
            words: total.words + report.words,
            distinct: total.distinct + report.distinct,
        })
    }
}

/// What mappers read.
struct Corpus {
    books: Vec<Book>,
    vocabulary: Vocabulary,
    word_limit: u64,
}

impl Corpus {
    /// The words that the mapper of `book` sends.
    fn sent(&self, book: &Book) -> impl Iterator<Item = String> {
        let limit = if self.word_limit == 0 { u64::MAX } else { self.word_limit };
        let limit = usize::try_from(limit).expect("invariant: 64-bit machine");
        self.vocabulary.text(book).take(limit)
    }

    fn words_sent(&self) -> u64 {
        self.books.iter().map(|book| self.sent(book).count() as u64).sum()
    }
}

async fn init(context: OrchestrationContext, shape: Shape) -> Result<(), ApplicationError> {
    context.call_entity::<()>(&shape.summary(), "Init", &shape).await?;
    let mappers = (0..shape.mappers)
        .map(|number| context.call_entity::<()>(&shape.mapper(number), "Init", &shape));
    let reducers = (0..shape.reducers)
        .map(|number| context.call_entity::<()>(&shape.reducer(number), "Init", &(shape, number)));
    try_join_all(mappers.chain(reducers)).await?;
    Ok(())
}

/// The step of a mapper: the whole book.
fn map(
    cx: &mut EntityContext,
    mapper: &Mapper,
    corpus: &Corpus,
    book: &str,
) -> Result<(), ApplicationError> {
    let book = corpus.books.iter().find(|other| other.name == book);
    let book = book.ok_or_else(|| ApplicationError::user("there is no such book"))?;
    cx.read_blob(book.bytes());
    cx.compute(Duration::from_nanos(book.words * SPLIT_NANOS_PER_WORD));
    let reducers: Vec<EntityId> =
        (0..mapper.shape.reducers).map(|number| mapper.shape.reducer(number)).collect();
    for word in corpus.sent(book) {
        let reducer = &reducers[mapper.shape.reducer_of(&word) as usize];
        cx.signal(reducer, "Word", &word)?;
    }
    for reducer in &reducers {
        cx.signal(reducer, "MapperEnd", &())?;
    }
    Ok(())
}

fn register_reducer(application: &mut Application) {
    application
        .entity::<Reducer>("Reducer")
        .operation("Init", |_: &mut EntityContext, reducer: &mut Reducer, (shape, number)| {
            *reducer = Reducer { shape, number, ..Reducer::default() };
            Ok(())
        })
        .operation("Word", |_: &mut EntityContext, reducer: &mut Reducer, word: String| {
            *reducer.counts.entry(word).or_default() += 1;
            Ok(())
        })
        .operation("MapperEnd", |cx: &mut EntityContext, reducer: &mut Reducer, (): ()| {
            reducer.mappers_ended += 1;
            if reducer.mappers_ended == reducer.shape.mappers {
                let words = reducer.counts.values().sum();
                let distinct = reducer.counts.len() as u64;
                let report = Report { reducer: reducer.number, words, distinct };
                cx.signal(&reducer.shape.summary(), "Report", &report)?;
            }
            Ok(())
        });
}

fn register_summary(application: &mut Application) {
    application
        .entity::<Summary>("Summary")
        .operation("Init", |cx: &mut EntityContext, summary: &mut Summary, shape: Shape| {
            *summary = Summary { shape, started: cx.now(), ..Summary::default() };
            Ok(())
        })
        .operation("Report", |cx: &mut EntityContext, summary: &mut Summary, report: Report| {
            summary.reports.insert(report.reducer, report);
            summary.last_report = cx.now();
            Ok(())
        });
}

/// The code of the trigger.
struct Trigger {
    mappers: u64,
    reducers: u64,
    corpus: Rc<Corpus>,
}

impl Trigger {
    fn shape(&self, job: u64) -> Shape {
        Shape { job, mappers: self.mappers, reducers: self.reducers }
    }
}

impl Job for Trigger {
    fn run(
        &self,
        index: u64,
        cx: JobContext,
    ) -> LocalBoxFuture<'static, Result<JobResult, String>> {
        let (shape, corpus) = (self.shape(index), self.corpus.clone());
        async move {
            let input = Payload::encode(&shape).map_err(|error| error.to_string())?;
            cx.run("Init", cx.instance_named("init"), input).await?;
            cx.parallel(0..shape.mappers, PARALLEL_SIGNALS, async |number| {
                let book = &corpus.books[number as usize].name;
                let book = Payload::encode(book).map_err(|error| error.to_string())?;
                let sent = cx.client().signal_entity(&shape.mapper(number), "Map", book).await;
                sent.map_err(|error| format!("a signal to a mapper: {error}"))
            })
            .await?;
            let all_reported = |summary: Summary| {
                (summary.reports.len() as u64 == shape.reducers).then_some(summary)
            };
            let awaited = "the reports of all reducers";
            let summary =
                states::poll(&cx, &shape.summary(), POLL_INTERVAL, awaited, all_reported).await?;
            let total = Total::of(summary.reports.values());
            let result = Payload::encode(&total).map_err(|error| error.to_string())?;
            Ok(JobResult { started: summary.started, ended: summary.last_report, result })
        }
        .boxed_local()
    }
}

struct WordCount {
    trigger: Rc<Trigger>,
    /// The counts that each reducer ends with.
    expected: Vec<BTreeMap<String, u64>>,
    words: u64,
}

impl WordCount {
    fn new(parameters: &Settings) -> Self {
        let (mappers, reducers) = (parameters.count("mappers"), parameters.count("reducers"));
        let seed = parameters.count("corpus_seed");
        let corpus = Corpus {
            books: corpus::shelf(seed, mappers),
            vocabulary: Vocabulary::new(seed),
            word_limit: parameters.count("word_limit"),
        };
        let words = corpus.words_sent();
        let trigger = Trigger { mappers, reducers, corpus: Rc::new(corpus) };
        let mut expected = vec![BTreeMap::new(); reducers as usize];
        for word in trigger.corpus.books.iter().flat_map(|book| trigger.corpus.sent(book)) {
            let reducer = trigger.shape(0).reducer_of(&word);
            *expected[reducer as usize].entry(word).or_default() += 1;
        }
        WordCount { trigger: Rc::new(trigger), expected, words }
    }

    fn total(&self) -> Total {
        let distinct = self.expected.iter().map(|counts| counts.len() as u64).sum();
        Total { words: self.words, distinct }
    }

    /// The reducers of the first `jobs` jobs and the states they end in.
    fn reducers(&self, jobs: u64) -> impl Iterator<Item = (EntityId, Reducer)> {
        let each = (0..jobs).flat_map(|job| (0..).zip(&self.expected).map(move |r| (job, r)));
        each.map(|(job, (number, counts))| {
            let shape = self.trigger.shape(job);
            let state = Reducer {
                shape,
                number,
                mappers_ended: self.trigger.mappers,
                counts: counts.clone(),
            };
            (shape.reducer(number), state)
        })
    }
}

impl Workload for WordCount {
    fn register(&self, application: &mut Application) {
        application.orchestration("Init", init);
        let corpus = self.trigger.corpus.clone();
        application
            .entity::<Mapper>("Mapper")
            .operation("Init", |_: &mut EntityContext, mapper: &mut Mapper, shape: Shape| {
                mapper.shape = shape;
                Ok(())
            })
            .operation("Map", move |cx: &mut EntityContext, mapper: &mut Mapper, book: String| {
                map(cx, mapper, &corpus, &book)
            });
        register_reducer(application);
        register_summary(application);
    }

    fn start(&self) -> Start {
        Start::Job(self.trigger.clone())
    }

    fn input(&self, _index: u64) -> Payload {
        Payload::encode(&()).expect("invariant: nothing has a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let (total, expected): (Total, Total) = (completed(status)?, self.total());
        if total == expected {
            return Ok(());
        }
        Err(format!("reducers reported {total:?}, expected {expected:?}"))
    }

    /// Counts do not depend on the order in which words come.
    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "words", per_orchestration: self.words as f64 }
    }

    fn entities(&self, started: u64) -> Vec<EntityId> {
        self.reducers(started).map(|(reducer, _)| reducer).collect()
    }

    fn check_entities(&self, started: u64, finals: &EntityStates) -> Result<(), String> {
        for (entity, expected) in self.reducers(started) {
            let reducer: Reducer = states::decode(finals, &entity)?;
            let differs = |word: &&String| reducer.counts.get(*word) != expected.counts.get(*word);
            let words = reducer.counts.keys().chain(expected.counts.keys());
            if let Some(word) = words.clone().find(differs) {
                let [found, expected] = [&reducer, &expected]
                    .map(|reducer| reducer.counts.get(word).copied().unwrap_or(0));
                return Err(format!(
                    "{entity} counted {word:?} {found} times, expected {expected}"
                ));
            }
            if reducer != expected {
                let (ended, mappers) = (reducer.mappers_ended, expected.mappers_ended);
                return Err(format!("{entity} heard of {ended} mappers' ends, expected {mappers}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wordcount(values: &[(&str, &str)]) -> WordCount {
        let mut parameters = Settings::defaults(KIND.parameters);
        for (key, value) in values {
            parameters.set(key, value).expect("in range");
        }
        WordCount::new(&parameters)
    }

    #[test]
    fn the_published_runs_receive_the_published_words() {
        let published = [("mappers", "15"), ("reducers", "40")];
        for (limit, words) in [("5000", 56_653), ("0", 676_335)] {
            let run = wordcount(&[published[0], published[1], ("word_limit", limit)]);
            assert_eq!(run.words, words);
            let counted: u64 = run.expected.iter().flat_map(|counts| counts.values()).sum();
            assert_eq!(counted, words);
        }
    }

    #[test]
    fn entities_are_pinned_to_the_partitions_of_their_numbers() {
        let shape = Shape { job: 0, mappers: 15, reducers: 40 };
        assert_eq!(&**shape.mapper(7).key(), "0.7-!7");
        assert_eq!(&**shape.reducer(39).key(), "0.39-!39");
        let other_job = Shape { job: 1, ..shape };
        assert_ne!(shape.summary(), other_job.summary());
    }

    #[test]
    fn the_check_knows_right_from_wrong() {
        let run = wordcount(&[("mappers", "2"), ("reducers", "3")]);
        let status =
            |total: &Total| RuntimeStatus::Completed(Payload::encode(total).expect("two numbers"));
        assert_eq!(run.check(0, &status(&run.total())), Ok(()));
        let wrong = Total { words: run.words - 1, ..run.total() };
        assert!(run.check(0, &status(&wrong)).is_err());

        let state = |reducer: &Reducer| Some(Payload::encode(reducer).expect("a state"));
        let right: BTreeMap<_, _> =
            run.reducers(1).map(|(entity, reducer)| (entity, state(&reducer))).collect();
        assert_eq!(right.keys().cloned().collect::<Vec<_>>(), run.entities(1));
        assert_eq!(run.check_entities(1, &right), Ok(()));
        let changed = |change: fn(&mut Reducer)| {
            let (entity, mut reducer) = run.reducers(1).nth(1).expect("three reducers");
            change(&mut reducer);
            let mut wrong = right.clone();
            wrong.insert(entity, state(&reducer));
            run.check_entities(1, &wrong)
        };
        assert!(changed(|r| *r.counts.values_mut().next().expect("words") += 1).is_err());
        assert!(changed(|r| drop(r.counts.pop_last())).is_err());
        assert!(changed(|r| *r.counts.entry("zzz".to_owned()).or_default() += 1).is_err());
        assert!(changed(|r| r.mappers_ended -= 1).is_err());
    }
}
