//! What the store holds, and what commands do to it. A plain state machine.

use super::command::{Answer, Entry, EntryId, Fields, Operation};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A value under a key.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Stream(Stream),
    List(Vec<Bytes>),
    Hash(BTreeMap<String, Bytes>),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Stream {
    entries: BTreeMap<EntryId, Fields>,
    /// The greatest id that was ever given.
    last: EntryId,
}

/// All keys with their values.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    keys: BTreeMap<String, Value>,
}

/// What a command did.
pub(super) struct Applied {
    pub answer: Answer,
    /// Whether it changed anything, so that it must be logged.
    pub changed: bool,
}

fn reads(answer: Answer) -> Applied {
    Applied { answer, changed: false }
}

fn counts(count: usize) -> Applied {
    Applied { answer: Answer::Count(count as u64), changed: count > 0 }
}

impl State {
    /// The id that an entry gets which is added to a stream at `millis` of the server's clock: after
    /// all ids of that stream.
    pub fn next_id(&self, stream: &str, millis: u64) -> EntryId {
        let Some(Value::Stream(Stream { last, .. })) = self.keys.get(stream) else {
            // The id 0-0 is before every entry and belongs to none.
            return EntryId { millis, sequence: u64::from(millis == 0) };
        };
        if millis > last.millis {
            return EntryId { millis, sequence: 0 };
        }
        EntryId { millis: last.millis, sequence: last.sequence + 1 }
    }

    /// Whether an entry with this id may be added: ids of a stream increase. Those that the store gives do;
    /// one that comes from a file on a damaged disk may not.
    pub fn takes(&self, operation: &Operation, id: EntryId) -> bool {
        let Operation::StreamAdd { stream, .. } = operation else { return true };
        !matches!(self.keys.get(stream), Some(Value::Stream(stream)) if id <= stream.last)
    }

    /// Carries out a command; an added entry gets the id `id`. A read does not block here.
    pub fn apply(&mut self, operation: &Operation, id: EntryId) -> Applied {
        self.try_apply(operation, id).unwrap_or_else(|WrongType| reads(Answer::WrongType))
    }

    fn try_apply(&mut self, operation: &Operation, id: EntryId) -> Result<Applied, WrongType> {
        Ok(match operation {
            Operation::StreamAdd { stream, fields } => {
                let stream = self.stream_mut(stream)?;
                debug_assert!(id > stream.last, "ids of a stream increase");
                stream.last = id;
                stream.entries.insert(id, fields.clone());
                Applied { answer: Answer::Id(id), changed: true }
            }
            Operation::StreamRead { stream, after, count, .. } => {
                reads(Answer::Entries(self.read(stream, *after, *count)?))
            }
            Operation::StreamDelete { stream, ids } => match self.keys.get_mut(stream) {
                None => counts(0),
                Some(Value::Stream(stream)) => {
                    counts(ids.iter().filter(|id| stream.entries.remove(id).is_some()).count())
                }
                Some(_) => return Err(WrongType),
            },
            Operation::ListPush { list, values } => {
                let value = self.keys.entry(list.clone()).or_insert(Value::List(Vec::new()));
                let Value::List(list) = value else { return Err(WrongType) };
                list.extend(values.iter().cloned());
                counts(list.len())
            }
            Operation::ListRange { list, start, stop } => match self.keys.get(list) {
                None => reads(Answer::Values(Vec::new())),
                Some(Value::List(list)) => reads(Answer::Values(range(list, *start, *stop))),
                Some(_) => return Err(WrongType),
            },
            Operation::HashSet { hash, fields, .. } => {
                let value = self.keys.entry(hash.clone()).or_insert(Value::Hash(BTreeMap::new()));
                let Value::Hash(hash) = value else { return Err(WrongType) };
                let mut added = 0;
                for (name, value) in fields {
                    added += u64::from(hash.insert(name.clone(), value.clone()).is_none());
                }
                Applied { answer: Answer::Count(added), changed: true }
            }
            Operation::HashGet { hash, field } => {
                let value = self.hash(hash)?.and_then(|hash| hash.get(field)).cloned();
                reads(Answer::Value(value))
            }
            Operation::HashGetAll { hash } => {
                let hash = self.hash(hash)?.into_iter().flatten();
                reads(Answer::Fields(hash.map(|(n, v)| (n.clone(), v.clone())).collect()))
            }
            Operation::HashExists { hash, field } => {
                let exists = self.hash(hash)?.is_some_and(|hash| hash.contains_key(field));
                reads(Answer::Count(u64::from(exists)))
            }
            Operation::HashSetNew { hash, field, value } => {
                let entry = self.keys.entry(hash.clone()).or_insert(Value::Hash(BTreeMap::new()));
                let Value::Hash(hash) = entry else { return Err(WrongType) };
                let is_new = !hash.contains_key(field);
                if is_new {
                    hash.insert(field.clone(), value.clone());
                }
                counts(usize::from(is_new))
            }
            Operation::StreamLast { stream } => match self.keys.get(stream) {
                None => reads(Answer::Id(EntryId::ZERO)),
                Some(Value::Stream(stream)) => reads(Answer::Id(stream.last)),
                Some(_) => return Err(WrongType),
            },
            Operation::HashDelete { hash, fields } => self.delete_fields(hash, fields)?,
            Operation::Delete { keys } => {
                counts(keys.iter().filter(|key| self.keys.remove(*key).is_some()).count())
            }
            Operation::HashReplace { hash, field, expected, value, deleted } => {
                if self.hash(hash)?.and_then(|hash| hash.get(field)) != Some(expected) {
                    return Ok(counts(0));
                }
                match value {
                    Some(value) => {
                        let Some(Value::Hash(hash)) = self.keys.get_mut(hash) else {
                            unreachable!("invariant: the hash has the field");
                        };
                        hash.insert(field.clone(), value.clone());
                    }
                    None => drop(self.delete_fields(hash, std::slice::from_ref(field))?),
                }
                deleted.iter().for_each(|key| drop(self.keys.remove(key)));
                counts(1)
            }
        })
    }

    fn stream_mut(&mut self, key: &str) -> Result<&mut Stream, WrongType> {
        let empty = || Value::Stream(Stream::default());
        match self.keys.entry(key.to_owned()).or_insert_with(empty) {
            Value::Stream(stream) => Ok(stream),
            _ => Err(WrongType),
        }
    }

    fn hash(&self, key: &str) -> Result<Option<&BTreeMap<String, Bytes>>, WrongType> {
        match self.keys.get(key) {
            None => Ok(None),
            Some(Value::Hash(hash)) => Ok(Some(hash)),
            Some(_) => Err(WrongType),
        }
    }

    fn delete_fields(&mut self, key: &str, fields: &[String]) -> Result<Applied, WrongType> {
        let Some(value) = self.keys.get_mut(key) else { return Ok(counts(0)) };
        let Value::Hash(hash) = value else { return Err(WrongType) };
        let deleted = fields.iter().filter(|field| hash.remove(*field).is_some()).count();
        if hash.is_empty() {
            self.keys.remove(key);
        }
        Ok(counts(deleted))
    }

    fn read(
        &self,
        stream: &str,
        after: EntryId,
        count: Option<u64>,
    ) -> Result<Vec<Entry>, WrongType> {
        let stream = match self.keys.get(stream) {
            None => return Ok(Vec::new()),
            Some(Value::Stream(stream)) => stream,
            Some(_) => return Err(WrongType),
        };
        let most = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
        let later = stream.entries.range((Bound::Excluded(after), Bound::Unbounded)).take(most);
        Ok(later.map(|(id, fields)| Entry { id: *id, fields: fields.clone() }).collect())
    }
}

/// The key holds another type of value.
struct WrongType;

/// The values from `start` to `stop`, both included; negative places count from the end.
fn range(list: &[Bytes], start: i64, stop: i64) -> Vec<Bytes> {
    let length = list.len() as i64;
    let place = |index: i64| if index < 0 { index + length } else { index };
    let (start, stop) = (place(start).max(0), place(stop).min(length - 1));
    if start > stop { Vec::new() } else { list[start as usize..=stop as usize].to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(state: &mut State, operation: Operation) -> Answer {
        state.apply(&operation, EntryId::ZERO).answer
    }

    fn text(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn ids_increase_when_the_clock_does_not() {
        let mut state = State::default();
        let add = Operation::StreamAdd { stream: "s".into(), fields: vec![] };
        let mut ids = Vec::new();
        for millis in [0, 0, 5, 5, 3, 6] {
            let id = state.next_id("s", millis);
            state.apply(&add, id);
            ids.push((id.millis, id.sequence));
        }
        assert_eq!(ids, [(0, 1), (0, 2), (5, 0), (5, 1), (5, 2), (6, 0)]);
        assert_eq!(EntryId::parse("5-2"), Some(EntryId { millis: 5, sequence: 2 }));
        assert_eq!(EntryId::parse("5"), None);
    }

    #[test]
    fn ranges_count_from_both_ends() {
        let list: Vec<Bytes> = ["a", "b", "c", "d"].map(text).to_vec();
        let joined = |start, stop| {
            range(&list, start, stop).iter().map(|it| it[0] as char).collect::<String>()
        };
        assert_eq!(joined(0, -1), "abcd");
        assert_eq!(joined(1, 2), "bc");
        assert_eq!(joined(-2, 100), "cd");
        assert_eq!(joined(3, 1), "");
        assert_eq!(joined(-100, 0), "a");
        assert_eq!(range(&[], 0, -1), Vec::<Bytes>::new());
    }

    #[test]
    fn a_field_is_set_once_if_it_must_be_new_and_a_stream_knows_its_last_id() {
        let mut state = State::default();
        let set = |value| Operation::HashSetNew {
            hash: "k".into(),
            field: "a".into(),
            value: text(value),
        };
        let last = Operation::StreamLast { stream: "s".into() };
        assert_eq!(apply(&mut state, set("1")), Answer::Count(1));
        assert_eq!(apply(&mut state, set("2")), Answer::Count(0));
        let get = Operation::HashGet { hash: "k".into(), field: "a".into() };
        assert_eq!(apply(&mut state, get), Answer::Value(Some(text("1"))));
        assert_eq!(apply(&mut state, last.clone()), Answer::Id(EntryId::ZERO));
        let id = EntryId { millis: 7, sequence: 0 };
        state.apply(&Operation::StreamAdd { stream: "s".into(), fields: vec![] }, id);
        let delete = Operation::StreamDelete { stream: "s".into(), ids: vec![id] };
        assert_eq!(apply(&mut state, delete), Answer::Count(1));
        assert_eq!(apply(&mut state, last), Answer::Id(id), "deleting does not take it back");
    }

    #[test]
    fn a_field_is_replaced_only_if_it_holds_what_is_expected_and_other_keys_go_with_it() {
        let mut state = State::default();
        let set = |key: &str, value| Operation::HashSetNew {
            hash: key.into(),
            field: "a".into(),
            value: text(value),
        };
        let replace = |expected, value: Option<&str>| Operation::HashReplace {
            hash: "k".into(),
            field: "a".into(),
            expected: text(expected),
            value: value.map(text),
            deleted: vec!["l".into(), "m".into()],
        };
        let get = |key: &str| Operation::HashGet { hash: key.into(), field: "a".into() };
        assert_eq!(apply(&mut state, replace("1", Some("2"))), Answer::Count(0), "no such hash");
        assert_eq!(apply(&mut state, set("k", "1")), Answer::Count(1));
        assert_eq!(apply(&mut state, set("l", "x")), Answer::Count(1));
        assert_eq!(apply(&mut state, replace("2", Some("3"))), Answer::Count(0), "another value");
        assert_eq!(apply(&mut state, get("l")), Answer::Value(Some(text("x"))), "nothing was done");
        assert_eq!(apply(&mut state, replace("1", Some("2"))), Answer::Count(1));
        assert_eq!(apply(&mut state, replace("1", Some("3"))), Answer::Count(0), "it came first");
        assert_eq!(apply(&mut state, get("k")), Answer::Value(Some(text("2"))));
        assert_eq!(apply(&mut state, get("l")), Answer::Value(None));
        assert_eq!(apply(&mut state, replace("2", None)), Answer::Count(1));
        assert_eq!(state, State::default());
        let push = Operation::ListPush { list: "k".into(), values: vec![text("x")] };
        assert_eq!(apply(&mut state, push), Answer::Count(1));
        assert_eq!(apply(&mut state, replace("2", None)), Answer::WrongType);
    }

    #[test]
    fn values_keep_their_type_until_they_are_deleted() {
        let mut state = State::default();
        let set = Operation::HashSet {
            hash: "k".into(),
            fields: vec![("a".into(), text("1")), ("b".into(), text("2"))],
            many: true,
        };
        assert_eq!(apply(&mut state, set.clone()), Answer::Count(2));
        assert_eq!(apply(&mut state, set), Answer::Count(0), "both are there already");
        let push = Operation::ListPush { list: "k".into(), values: vec![text("x")] };
        assert_eq!(apply(&mut state, push.clone()), Answer::WrongType);
        let read = Operation::StreamRead {
            stream: "k".into(),
            after: EntryId::ZERO,
            count: None,
            block: super::super::Block::No,
        };
        assert_eq!(apply(&mut state, read), Answer::WrongType);
        let fields = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let delete = Operation::HashDelete { hash: "k".into(), fields };
        assert_eq!(apply(&mut state, delete), Answer::Count(2));
        assert_eq!(apply(&mut state, push), Answer::Count(1), "an empty hash is no key");
        let keys = vec!["k".to_owned(), "l".to_owned()];
        assert_eq!(apply(&mut state, Operation::Delete { keys }), Answer::Count(1));
        assert_eq!(state, State::default());
    }
}
