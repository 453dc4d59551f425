//! FileHash: hashes the words of thousands of books.
//!
//! One orchestration calls `GetFiles`, which lists the corpus, and then `HashFile` for every file,
//! all in parallel: each downloads a book, splits it into words and hashes them 20 to 49 times, as
//! the seeded generator of .NET draws for each file. With 5000 files that makes the published
//! 12,862.56 million words. The published runs start one orchestration at a time, so the load
//! should be `batch:1`. The books are those of `corpus.rs`.
//!
//! **Core time.** Splitting: [`SPLIT_NANOS_PER_WORD`]. Hashing: [`HASH_PICOS_PER_WORD`], [inferred]
//! from the one published figure, about 0.9 core-seconds for 1e9 hashes of an integer
//! (CollisionSearch): a word is hashed letter by letter, each letter is one such hash, and a word has
//! five, since it takes six bytes of a file.
//!
//! **Modelled.** No text is generated. What a file's hash comes to is the BLAKE3 hash of its name, its
//! words and how often they were hashed; the orchestration returns the sum of words, and the hash
//! over those of all files in their order, which are checked against the corpus.

use super::corpus::{self, BYTES_PER_WORD, Book, LIBRARY_BOOKS, SPLIT_NANOS_PER_WORD};
use super::declare::count;
use super::{Start, Unit, Workload, WorkloadKind, completed};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Core time to hash one word once, in picoseconds: 0.9 ns for each letter, five of them.
const HASH_PICOS_PER_WORD: u64 = 900 * (BYTES_PER_WORD - 1);
/// Bytes of a listing for each file in it: [general] name, times and properties of a blob as XML.
const LISTING_BYTES_PER_FILE: u64 = 500;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "filehash",
    summary: "FileHash: downloads and hashes many books in parallel, from one orchestration",
    parameters: &[
        count(
            "files",
            (1, LIBRARY_BOOKS as u64),
            "5000",
            "books to hash; published: 5000, with load batch:1",
        ),
        count("corpus_seed", (0, u64::MAX), "1", "the seed from which the books are generated"),
    ],
    files: &[],
    load: "batch:1",
    build: |parameters| Ok(Rc::new(FileHash::new(parameters))),
};

/// The input of `HashFile`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    name: String,
    /// How often to hash it.
    times: u64,
}

/// What `HashFile` returns, and the orchestration for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hashed {
    /// Words that were hashed, each as often as it was.
    words: u64,
    hash: String,
}

impl Hashed {
    fn file(book: &Book, times: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(book.name.as_bytes());
        hasher.update(&book.words.to_le_bytes());
        hasher.update(&times.to_le_bytes());
        Hashed { words: book.words * times, hash: hex(&hasher) }
    }

    fn set<'a>(files: impl IntoIterator<Item = &'a Hashed>) -> Self {
        let (mut words, mut hasher) = (0, blake3::Hasher::new());
        for file in files {
            words += file.words;
            hasher.update(file.hash.as_bytes());
        }
        Hashed { words, hash: hex(&hasher) }
    }
}

fn hex(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..16].to_owned()
}

async fn file_hash(context: OrchestrationContext, (): ()) -> Result<Hashed, ApplicationError> {
    let names: Vec<String> = context.call_activity("GetFiles", &()).await?;
    let times = corpus::multipliers(names.len());
    let files = names.into_iter().zip(times).map(|(name, times)| File { name, times });
    let calls = files.map(|file| context.call_activity("HashFile", &file));
    let hashed: Vec<Hashed> = try_join_all(calls).await?;
    Ok(Hashed::set(&hashed))
}

/// Core time to split a book into words and hash them so many times.
fn core_time(words: u64, times: u64) -> Duration {
    let hashing = words * times * HASH_PICOS_PER_WORD / 1_000;
    Duration::from_nanos(words * SPLIT_NANOS_PER_WORD + hashing)
}

struct FileHash {
    books: Rc<BTreeMap<String, Book>>,
    expected: Hashed,
}

impl FileHash {
    fn new(parameters: &Settings) -> Self {
        let mut books = corpus::library(parameters.count("corpus_seed"));
        books.truncate(
            usize::try_from(parameters.count("files")).expect("invariant: 64-bit machine"),
        );
        let times = corpus::multipliers(books.len());
        let files = books.iter().zip(times).map(|(book, times)| Hashed::file(book, times));
        let expected = Hashed::set(&files.collect::<Vec<_>>());
        // Names are numbered, so their order is that of the books.
        let books = books.into_iter().map(|book| (book.name.clone(), book)).collect();
        FileHash { books: Rc::new(books), expected }
    }
}

impl Workload for FileHash {
    fn register(&self, application: &mut Application) {
        let books = self.books.clone();
        application.activity("GetFiles", move |cx: ActivityContext, (): ()| {
            let books = books.clone();
            async move {
                cx.read_blob(books.len() as u64 * LISTING_BYTES_PER_FILE).await;
                Ok(books.keys().cloned().collect::<Vec<_>>())
            }
        });
        let books = self.books.clone();
        application.activity("HashFile", move |cx: ActivityContext, file: File| {
            let book = books.get(&file.name).cloned();
            async move {
                let missing = || ApplicationError::user(format!("there is no file {}", file.name));
                let book = book.ok_or_else(missing)?;
                cx.read_blob(book.bytes()).await;
                cx.compute(core_time(book.words, file.times)).await;
                Ok(Hashed::file(&book, file.times))
            }
        });
        application.orchestration("FileHash", file_hash);
    }

    fn start(&self) -> Start {
        Start::Orchestration("FileHash")
    }

    fn input(&self, _index: u64) -> Payload {
        Payload::encode(&()).expect("invariant: nothing has a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let hashed: Hashed = completed(status)?;
        if hashed == self.expected {
            return Ok(());
        }
        Err(format!("returned {hashed:?}, expected {:?}", self.expected))
    }

    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "million words", per_orchestration: self.expected.words as f64 / 1e6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashing(files: &str) -> FileHash {
        let mut parameters = Settings::defaults(KIND.parameters);
        parameters.set("files", files).expect("in range");
        FileHash::new(&parameters)
    }

    #[test]
    fn the_published_size_hashes_the_published_words() {
        assert_eq!(format!("{:.2}", hashing("5000").unit().per_orchestration), "12862.56");
    }

    #[test]
    fn core_time_is_that_of_splitting_and_of_hashing_letters() {
        // 1e9 letters are 0.2e9 words of five: 0.9 s to hash, and 10 s to split.
        assert_eq!(core_time(200_000_000, 0), Duration::from_secs(10));
        assert_eq!(
            core_time(200_000_000, 1) - core_time(200_000_000, 0),
            Duration::from_millis(900)
        );
    }

    #[test]
    fn the_check_knows_right_from_wrong() {
        let filehash = hashing("10");
        let files: Vec<Hashed> = filehash
            .books
            .values()
            .zip(corpus::multipliers(10))
            .map(|(book, times)| Hashed::file(book, times))
            .collect();
        let check = |files: &[&Hashed]| {
            let result = Payload::encode(&Hashed::set(files.iter().copied())).expect("a hash");
            filehash.check(0, &RuntimeStatus::Completed(result))
        };
        let mut order: Vec<&Hashed> = files.iter().collect();
        assert_eq!(check(&order), Ok(()));
        assert!(check(&order[1..]).is_err());
        order.swap(2, 3);
        assert!(check(&order).is_err());
    }
}
