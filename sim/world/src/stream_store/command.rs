//! Commands and answers of the store.

use super::resp;
use crate::selfhosted::Command;
use bytes::Bytes;
use std::fmt;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// The id of a stream's entry: the server's clock when it was added, and a number among those of the
/// same millisecond. Ids of a stream increase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds of the server's clock.
    pub millis: u64,
    /// Number within the millisecond.
    pub sequence: u64,
}

impl EntryId {
    /// Before every entry.
    pub const ZERO: EntryId = EntryId { millis: 0, sequence: 0 };

    /// The id in the form `millis-sequence`, if `text` is one.
    pub fn parse(text: &str) -> Option<EntryId> {
        let (millis, sequence) = text.split_once('-')?;
        Some(EntryId { millis: millis.parse().ok()?, sequence: sequence.parse().ok()? })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

/// Names with values.
pub type Fields = Vec<(String, Bytes)>;

/// An entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// What it holds.
    pub fields: Fields,
}

/// How long a read waits for entries if there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Not at all.
    No,
    /// At most so long; the answer is then empty.
    For(Duration),
    /// As long as the connection lives.
    Forever,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    StreamAdd {
        stream: String,
        fields: Fields,
    },
    StreamRead {
        stream: String,
        after: EntryId,
        count: Option<u64>,
        block: Block,
    },
    StreamDelete {
        stream: String,
        ids: Vec<EntryId>,
    },
    ListPush {
        list: String,
        values: Vec<Bytes>,
    },
    ListRange {
        list: String,
        start: i64,
        stop: i64,
    },
    HashSet {
        hash: String,
        fields: Fields,
        many: bool,
    },
    HashGet {
        hash: String,
        field: String,
    },
    HashGetAll {
        hash: String,
    },
    HashExists {
        hash: String,
        field: String,
    },
    HashDelete {
        hash: String,
        fields: Vec<String>,
    },
    Delete {
        keys: Vec<String>,
    },
    HashSetNew {
        hash: String,
        field: String,
        value: Bytes,
    },
    StreamLast {
        stream: String,
    },
    /// A script: if a field holds `expected`, then it gets another value, or goes, and `deleted` keys go.
    HashReplace {
        hash: String,
        field: String,
        expected: Bytes,
        value: Option<Bytes>,
        deleted: Vec<String>,
    },
}

/// How a script is named that the store has loaded: as long as the digest that names it in Redis
/// (`EVALSHA`, 40 digits \[general\]).
const REPLACE_SCRIPT: &str = "replace-a-field-that-is-as-expected-----";

impl Operation {
    /// Its place in the names of kinds.
    fn kind(&self) -> usize {
        match self {
            Operation::StreamAdd { .. } => 0,
            Operation::StreamRead { .. } => 1,
            Operation::StreamDelete { .. } => 2,
            Operation::ListPush { .. } => 3,
            Operation::ListRange { .. } => 4,
            Operation::HashSet { many: false, .. } => 5,
            Operation::HashSet { many: true, .. } => 6,
            Operation::HashGet { .. } => 7,
            Operation::HashGetAll { .. } => 8,
            Operation::HashExists { .. } => 9,
            Operation::HashDelete { .. } => 10,
            Operation::Delete { .. } => 11,
            Operation::HashSetNew { .. } => 12,
            Operation::StreamLast { .. } => 13,
            Operation::HashReplace { .. } => 14,
        }
    }

    /// The words of the command; an added entry has the id `id`.
    pub fn words(&self, id: &str) -> Vec<Bytes> {
        fn word(text: &str) -> Bytes {
            Bytes::copy_from_slice(text.as_bytes())
        }
        fn add(words: &mut Vec<Bytes>, fields: &Fields) {
            fields.iter().for_each(|(name, value)| words.extend([word(name), value.clone()]));
        }
        let mut words = vec![Bytes::from_static(KINDS[self.kind()].as_bytes())];
        match self {
            Operation::StreamAdd { stream, fields } => {
                words.extend([word(stream), word(id)]);
                add(&mut words, fields);
            }
            Operation::StreamRead { stream, after, count, block } => {
                if let Some(count) = count {
                    words.extend([word("count"), word(&count.to_string())]);
                }
                match block {
                    Block::No => {}
                    Block::For(span) => {
                        words.extend([word("block"), word(&span.as_millis().to_string())]);
                    }
                    Block::Forever => words.extend([word("block"), word("0")]),
                }
                words.extend([word("streams"), word(stream), word(&after.to_string())]);
            }
            Operation::StreamDelete { stream, ids } => {
                words.push(word(stream));
                words.extend(ids.iter().map(|id| word(&id.to_string())));
            }
            Operation::ListPush { list, values } => {
                words.push(word(list));
                words.extend(values.iter().cloned());
            }
            Operation::ListRange { list, start, stop } => {
                words.extend([word(list), word(&start.to_string()), word(&stop.to_string())]);
            }
            Operation::HashSet { hash, fields, .. } => {
                words.push(word(hash));
                add(&mut words, fields);
            }
            Operation::HashGet { hash, field } | Operation::HashExists { hash, field } => {
                words.extend([word(hash), word(field)]);
            }
            Operation::HashGetAll { hash } => words.push(word(hash)),
            Operation::HashDelete { hash, fields } => {
                words.push(word(hash));
                words.extend(fields.iter().map(|field| word(field)));
            }
            Operation::Delete { keys } => words.extend(keys.iter().map(|key| word(key))),
            Operation::HashSetNew { hash, field, value } => {
                words.extend([word(hash), word(field), value.clone()]);
            }
            Operation::StreamLast { stream } => words.extend([word("stream"), word(stream)]),
            Operation::HashReplace { hash, field, expected, value, deleted } => {
                let count = (1 + deleted.len()).to_string();
                words.extend([word(REPLACE_SCRIPT), word(&count), word(hash)]);
                words.extend(deleted.iter().map(|key| word(key)));
                words.extend([word(field), expected.clone()]);
                words.extend(value.clone());
            }
        }
        words
    }

    /// A command that changes something, from its words in the append-only file, with the id of an
    /// added entry; none for anything else.
    pub fn parse(words: &[Bytes]) -> Option<(Operation, EntryId)> {
        let text = |word: &Bytes| std::str::from_utf8(word).ok().map(str::to_owned);
        let (kind, words) = words.split_first()?;
        let (key, rest) = words.split_first()?;
        let key = text(key)?;
        let fields = |words: &[Bytes]| -> Option<Fields> {
            let (pairs, odd) = words.as_chunks::<2>();
            let pair = |[name, value]: &[Bytes; 2]| Some((text(name)?, value.clone()));
            odd.is_empty().then(|| pairs.iter().map(pair).collect())?
        };
        let operation = match std::str::from_utf8(kind).ok()? {
            "xadd" => {
                let (id, rest) = rest.split_first()?;
                let id = EntryId::parse(&text(id)?)?;
                return Some((Operation::StreamAdd { stream: key, fields: fields(rest)? }, id));
            }
            "xdel" => {
                let ids =
                    rest.iter().map(|id| EntryId::parse(&text(id)?)).collect::<Option<_>>()?;
                Operation::StreamDelete { stream: key, ids }
            }
            "rpush" => Operation::ListPush { list: key, values: rest.to_vec() },
            "hset" => Operation::HashSet { hash: key, fields: fields(rest)?, many: false },
            "hmset" => Operation::HashSet { hash: key, fields: fields(rest)?, many: true },
            "hdel" => {
                let fields = rest.iter().map(text).collect::<Option<_>>()?;
                Operation::HashDelete { hash: key, fields }
            }
            "hsetnx" => {
                let [field, value] = rest else { return None };
                Operation::HashSetNew { hash: key, field: text(field)?, value: value.clone() }
            }
            "del" => Operation::Delete { keys: words.iter().map(text).collect::<Option<_>>()? },
            "evalsha" if key == REPLACE_SCRIPT => {
                let (count, rest) = rest.split_first()?;
                let (keys, rest) = rest.split_at_checked(text(count)?.parse().ok()?)?;
                let (hash, deleted) = keys.split_first()?;
                let (field, expected, value) = match rest {
                    [field, expected] => (field, expected, None),
                    [field, expected, value] => (field, expected, Some(value.clone())),
                    _ => return None,
                };
                Operation::HashReplace {
                    hash: text(hash)?,
                    field: text(field)?,
                    expected: expected.clone(),
                    value,
                    deleted: deleted.iter().map(text).collect::<Option<_>>()?,
                }
            }
            _ => return None,
        };
        Some((operation, EntryId::ZERO))
    }

    /// How many things it names besides its key.
    pub fn elements(&self) -> u64 {
        let count = match self {
            Operation::StreamAdd { fields, .. } | Operation::HashSet { fields, .. } => fields.len(),
            Operation::StreamDelete { ids, .. } => ids.len(),
            Operation::ListPush { values, .. } => values.len(),
            Operation::HashDelete { fields, .. } => fields.len(),
            Operation::Delete { keys } => keys.len(),
            Operation::HashGet { .. }
            | Operation::HashExists { .. }
            | Operation::HashSetNew { .. } => 1,
            Operation::HashReplace { deleted, .. } => 1 + deleted.len(),
            Operation::StreamRead { .. }
            | Operation::StreamLast { .. }
            | Operation::ListRange { .. }
            | Operation::HashGetAll { .. } => 0,
        };
        count as u64
    }
}

/// The kinds of commands, as the real store names them.
const KINDS: [&str; 15] = [
    "xadd", "xread", "xdel", "rpush", "lrange", "hset", "hmset", "hget", "hgetall", "hexists",
    "hdel", "del", "hsetnx", "xinfo", "evalsha",
];

/// A command on its way, in the wire format.
pub(super) struct Request {
    pub operation: Operation,
    pub encoded: Vec<u8>,
}

impl Request {
    pub fn new(operation: Operation) -> Request {
        let words = operation.words("*");
        let encoded = resp::encode(&words.iter().map(|word| &word[..]).collect::<Vec<_>>());
        Request { operation, encoded }
    }
}

/// What the store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Id(EntryId),
    Entries(Vec<Entry>),
    Count(u64),
    Values(Vec<Bytes>),
    Value(Option<Bytes>),
    Fields(Fields),
    /// The key holds another type of value.
    WrongType,
    /// The append-only file cannot be written: changes are refused.
    CannotPersist,
}

impl Answer {
    /// How many things it holds.
    pub fn elements(&self) -> u64 {
        let count = match self {
            Answer::Entries(entries) => entries.iter().map(|entry| 1 + entry.fields.len()).sum(),
            Answer::Values(values) => values.len(),
            Answer::Fields(fields) => fields.len(),
            _ => 0,
        };
        count as u64
    }

    /// Bytes in the wire format.
    pub fn bytes(&self) -> u64 {
        let array = |count: usize| resp::header_bytes(count as u64);
        let string = |length: usize| resp::string_bytes(length as u64);
        let fields_bytes = |fields: &Fields| {
            let pair = |(name, value): &(String, Bytes)| string(name.len()) + string(value.len());
            array(2 * fields.len()) + fields.iter().map(pair).sum::<u64>()
        };
        match self {
            Answer::Id(id) => string(id.to_string().len()),
            // One stream with its name, here short, and its entries.
            Answer::Entries(entries) => {
                let entry = |entry: &Entry| {
                    array(2) + string(entry.id.to_string().len()) + fields_bytes(&entry.fields)
                };
                array(1) + array(2) + array(entries.len()) + entries.iter().map(entry).sum::<u64>()
            }
            Answer::Count(count) => resp::header_bytes(*count),
            Answer::Values(values) => {
                array(values.len()) + values.iter().map(|value| string(value.len())).sum::<u64>()
            }
            Answer::Value(Some(value)) => string(value.len()),
            Answer::Value(None) => 5,
            Answer::Fields(fields) => fields_bytes(fields),
            // A line of text.
            Answer::WrongType | Answer::CannotPersist => 68,
        }
    }
}

impl Command for Request {
    type Answer = Answer;
    const KINDS: &'static [&'static str] = &KINDS;

    fn kind(&self) -> usize {
        self.operation.kind()
    }

    fn bytes(&self) -> u64 {
        self.encoded.len() as u64
    }

    fn answer_bytes(answer: &Answer) -> u64 {
        answer.bytes()
    }

    fn digest(&self) -> u64 {
        xxh3_64(&self.encoded)
    }
}
