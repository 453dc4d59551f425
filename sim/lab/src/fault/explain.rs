//! A fault plan in words.

use super::plan::{Entry, FaultPlan, HowOften, SWIZZLE, What, When};
use crate::span;

impl FaultPlan {
    /// A sentence for each entry.
    pub fn explain(&self) -> Vec<String> {
        self.entries.iter().map(Entry::explain).collect()
    }
}

impl Entry {
    fn explain(&self) -> String {
        let (name, summary) = match self.what {
            What::Kind(kind) => (kind.name, kind.summary),
            What::Swizzle => (
                SWIZZLE,
                "a random half of the nodes is clogged one by one, and unclogged in another order",
            ),
        };
        let fields: Vec<String> =
            self.fields.iter().map(|(key, text)| format!("{key} {}", in_words(text))).collect();
        let with =
            if fields.is_empty() { String::new() } else { format!("; {}", fields.join(", ")) };
        format!("{}: {name}: {summary}{with}", self.when())
    }

    fn when(&self) -> String {
        match &self.when {
            When::At(at) => format!("at {at}"),
            When::Random { how_often, during } => {
                let during = match during {
                    Some(during) => format!(
                        "between {} and {}",
                        span::format(during.start),
                        span::format(during.end)
                    ),
                    None => "during the load".to_owned(),
                };
                let often = match how_often {
                    HowOften::Rate(rate) if *rate >= 1.0 => {
                        format!("{rate} times a second on average")
                    }
                    HowOften::Rate(rate) => format!("every {:.1} s on average", 1.0 / rate),
                    HowOften::Times(low, high) if low == high => times(*low),
                    HowOften::Times(low, high) => format!("{low} to {}", times(*high)),
                };
                let whom = if self.all_targets { ", to all at once" } else { "" };
                format!("{often} {during}{whom}")
            }
        }
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn in_words(text: &str) -> String {
    match text.split_once("..") {
        Some((low, high)) => format!("from {low} to {high}"),
        None => text.to_owned(),
    }
}
