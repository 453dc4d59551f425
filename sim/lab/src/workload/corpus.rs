//! Corpora: synthetic books in place of those that the published benchmarks download.
//!
//! The published benchmarks read books of Project Gutenberg from blob storage. What is published of
//! them are totals, and the corpora here have exactly those:
//!
//! | corpus | books | total |
//! |---|---|---|
//! | [`library`], of FileHash | 5000 | 12,862.56 million words, each book taken 20 to 49 times |
//! | [`shelf`], of WordCount | 15 | 676,335 words; 56,653 if a book gives at most 5000 |
//!
//! **Inferred.** With the multipliers of FileHash (see [`multipliers`]) its books have about 74,500
//! words in the mean. If 6 of the 15 books of WordCount are shorter than the limit, the other 9 have
//! 73,900 words in the mean, which agrees; with 5 or 7 short ones it would be 67,000 or 82,500. So it
//! is 6, and they have 11,653 words together.
//!
//! **Assumed.** Sizes in the library are log-normal with `sigma` 0.9, which puts the median at two
//! thirds of the mean; sizes on the shelf are uniform between half and one and a half times their
//! mean. More than 15 books on the shelf repeat the totals every 15, with other sizes. Words have
//! frequencies by Zipf's law with the shares of English: 6.7 % the most frequent, then 4.0 %, 2.9 %,
//! 2.2 % [general: the, of, and, to]. The vocabulary has 20,000 words. A frequent word is short, as
//! in English: 2 letters for the first 80 ranks, then 5, then 8, and 4 in the mean.
//!
//! A corpus is a function of its seed, which is a parameter of the workload and not the seed of the
//! run. Units: sizes are words; a word takes [`BYTES_PER_WORD`] bytes of a file.

use super::dotnet_random::DotnetRandom;
use sim_world::seed::{SeedTree, Stream};

/// Bytes of a file for each of its words: [general] English prose has a little less than 5 letters
/// in a word, and as much space and punctuation as makes 6.
pub(super) const BYTES_PER_WORD: u64 = 6;
/// Core time in nanoseconds to split one word off a text: [assumption] a scan of 6 bytes and a new
/// string, at the 100 to 150 MB/s at which managed code splits text.
pub(super) const SPLIT_NANOS_PER_WORD: u64 = 50;

/// Books in the library: the size of the published runs of FileHash.
pub(super) const LIBRARY_BOOKS: usize = 5000;
/// Words that the published run of FileHash hashes: 12,862.56 million.
const LIBRARY_WORDS_HASHED: f64 = 12_862.56e6;
/// How often FileHash hashes a book: from 20 to 49 times.
const MULTIPLIERS: std::ops::Range<i32> = 20..50;
/// Standard deviation of the logarithm of sizes in the library.
const LIBRARY_SIGMA: f64 = 0.9;

/// Books on a shelf until its totals repeat: the size of the published runs of WordCount.
const SHELF_BOOKS: u64 = 15;
/// Short books among them, and their words.
const SHELF_SHORT: (u64, u64) = (6, 56_653 - 9 * 5_000);
/// Long books among them, and their words.
const SHELF_LONG: (u64, u64) = (9, 676_335 - SHELF_SHORT.1);

/// Words that there are.
const VOCABULARY: usize = 20_000;
/// Added to each rank in Zipf's law, for the shares of the most frequent words of English.
const ZIPF_SHIFT: f64 = 0.5;

/// A book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Book {
    /// The name of its file.
    pub(super) name: String,
    /// Its size.
    pub(super) words: u64,
}

impl Book {
    /// The size of its file.
    pub(super) fn bytes(&self) -> u64 {
        self.words * BYTES_PER_WORD
    }
}

/// How often FileHash hashes each of its files: in their order, from `new Random(0)`.
pub(super) fn multipliers(files: usize) -> impl Iterator<Item = u64> {
    let mut random = DotnetRandom::new(0);
    (0..files).map(move |_| u64::from(random.within(MULTIPLIERS).unsigned_abs()))
}

/// The books of FileHash. A run with fewer takes the first of them.
pub(super) fn library(seed: u64) -> Vec<Book> {
    let mut stream = SeedTree::new(seed).stream("corpus library");
    let weights: Vec<f64> =
        (0..LIBRARY_BOOKS).map(|_| libm::exp(LIBRARY_SIGMA * normal(&mut stream))).collect();
    let hashed: f64 = weights
        .iter()
        .zip(multipliers(LIBRARY_BOOKS))
        .map(|(size, times)| size * times as f64)
        .sum();
    let scale = LIBRARY_WORDS_HASHED / hashed;
    let words = |weight: &f64| libm::round(weight * scale).max(1.0) as u64;
    let book = |(number, weight)| Book {
        name: format!("gutenberg/{number:05}.txt"),
        words: words(weight),
    };
    weights.iter().enumerate().map(book).collect()
}

/// A draw from the standard normal distribution, by the method of Box and Muller.
fn normal(stream: &mut Stream) -> f64 {
    let (radius, angle) = (1.0 - stream.unit(), std::f64::consts::TAU * stream.unit());
    libm::sqrt(-2.0 * libm::log(radius)) * libm::cos(angle)
}

/// The first `books` of the endless shelf of WordCount.
pub(super) fn shelf(seed: u64, books: u64) -> Vec<Book> {
    let seeds = SeedTree::new(seed);
    let mut shelf: Vec<Book> = Vec::new();
    for group in 0..books.div_ceil(SHELF_BOOKS) {
        let mut stream = seeds.stream(&format!("corpus shelf {group}"));
        let mut short = shares(SHELF_SHORT, &mut stream);
        let mut long = shares(SHELF_LONG, &mut stream);
        for place in 0..SHELF_BOOKS {
            // Two of each five are short, and spread that way.
            let sizes = if matches!(place % 5, 1 | 3) { &mut short } else { &mut long };
            let words = sizes.next().expect("invariant: as many sizes as places");
            shelf
                .push(Book { name: format!("book-{:04}.txt", group * SHELF_BOOKS + place), words });
        }
    }
    shelf.truncate(usize::try_from(books).expect("invariant: 64-bit machine"));
    shelf
}

/// Shares `total` words out to `books`, each from half to one and a half times the mean or, since
/// the total must come out, some more.
fn shares((books, total): (u64, u64), stream: &mut Stream) -> impl Iterator<Item = u64> + use<> {
    let weights: Vec<f64> = (0..books).map(|_| 0.5 + stream.unit()).collect();
    let all: f64 = weights.iter().sum();
    let (mut weight_so_far, mut words_so_far) = (0.0, 0);
    weights.into_iter().map(move |weight| {
        weight_so_far += weight;
        let up_to = libm::round(total as f64 * (weight_so_far / all)) as u64;
        up_to - std::mem::replace(&mut words_so_far, up_to)
    })
}

/// The words there are and how frequent they are.
pub(super) struct Vocabulary {
    seeds: SeedTree,
    /// The summed frequencies of a word and all more frequent ones, not scaled.
    cumulative: Vec<f64>,
}

impl Vocabulary {
    /// The vocabulary of a corpus.
    pub(super) fn new(seed: u64) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=VOCABULARY).map(|rank| {
            sum += 1.0 / (rank as f64 + ZIPF_SHIFT);
            sum
        });
        Vocabulary { cumulative: cumulative.collect(), seeds: SeedTree::new(seed) }
    }

    /// The text of a book, word by word.
    pub(super) fn text(&self, book: &Book) -> impl Iterator<Item = String> {
        let mut stream = self.seeds.stream(&format!("corpus text {}", book.name));
        (0..book.words).map(move |_| spelling(self.draw(&mut stream)))
    }

    /// A word by its rank, from 0.
    fn draw(&self, stream: &mut Stream) -> usize {
        let all = self.cumulative[VOCABULARY - 1];
        let at = stream.unit() * all;
        self.cumulative.partition_point(|&sum| sum <= at).min(VOCABULARY - 1)
    }
}

/// The word with this rank: a syllable of two letters, then syllables of three.
fn spelling(rank: usize) -> String {
    const CONSONANTS: &[u8; 16] = b"bcdfghjklmnprstv";
    const VOWELS: &[u8; 5] = b"aeiou";
    const SYLLABLES: usize = CONSONANTS.len() * VOWELS.len();
    let mut word = String::new();
    let mut rest = rank;
    loop {
        let (consonant, vowel) = (rest % SYLLABLES / VOWELS.len(), rest % VOWELS.len());
        word.push(char::from(CONSONANTS[consonant]));
        word.push(char::from(VOWELS[vowel]));
        if word.len() > 2 {
            word.push(char::from(CONSONANTS[(consonant + vowel) % CONSONANTS.len()]));
        }
        if rest < SYLLABLES {
            return word;
        }
        rest = rest / SYLLABLES - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_library_has_the_published_total() {
        for seed in [1, 2, 99] {
            let books = library(seed);
            let hashed: u64 = books
                .iter()
                .zip(multipliers(books.len()))
                .map(|(book, times)| book.words * times)
                .sum();
            // It is published to the hundredth of a million.
            assert_eq!((hashed + 5_000) / 10_000, 1_286_256, "{hashed}");
            let mean = books.iter().map(|book| book.words).sum::<u64>() / books.len() as u64;
            assert!((73_000..76_000).contains(&mean), "{mean}");
        }
        assert_ne!(library(1), library(2));
    }

    #[test]
    fn the_shelf_has_the_published_totals_every_fifteen_books() {
        for seed in 0..50 {
            let books = shelf(seed, 45);
            for fifteen in books.chunks(15) {
                let total: u64 = fifteen.iter().map(|book| book.words).sum();
                let limited: u64 = fifteen.iter().map(|book| book.words.min(5_000)).sum();
                assert_eq!((total, limited), (676_335, 56_653), "{fifteen:?}");
            }
            assert_eq!(shelf(seed, 7), books[..7]);
        }
    }

    #[test]
    fn texts_have_the_frequencies_of_english() {
        let vocabulary = Vocabulary::new(1);
        let book = Book { name: "book".to_owned(), words: 200_000 };
        let words: Vec<String> = vocabulary.text(&book).collect();
        assert_eq!(words.len(), 200_000);
        let share = |rank: usize| {
            let word = spelling(rank);
            words.iter().filter(|&other| *other == word).count() as f64 / words.len() as f64
        };
        for (rank, expected) in [(0, 0.067), (1, 0.040), (2, 0.029), (3, 0.022)] {
            // Three standard deviations of the most frequent one are 0.0017.
            assert!((share(rank) - expected).abs() < 0.002, "rank {rank}: {}", share(rank));
        }
        let letters: usize = words.iter().map(String::len).sum();
        let mean = letters as f64 / words.len() as f64;
        assert!((3.5..4.5).contains(&mean), "{mean}");
    }

    #[test]
    fn no_two_words_are_spelt_alike() {
        let words: BTreeSet<String> = (0..VOCABULARY).map(spelling).collect();
        assert_eq!(words.len(), VOCABULARY);
        let of_length = |letters| words.iter().filter(|word| word.len() == letters).count();
        assert_eq!((of_length(2), of_length(5), of_length(8)), (80, 6400, VOCABULARY - 6480));
    }
}
