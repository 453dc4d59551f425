//! Histories written and read back: by a reader of EDN of its own, and as JSON.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn one(function: &str, input: Value, invoked: u64, end: Option<(u64, End)>) -> Seen {
    Seen {
        key: "@Account@a".to_owned(),
        function: function.to_owned(),
        input,
        client: "000001-9f86d081".to_owned(),
        invoked: at(invoked),
        end: end.map(|(nanos, end)| (at(nanos), end)),
    }
}

/// A reader of what is written here: maps, vectors, texts, keywords (as texts with a colon), numbers.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', ',']);
    }

    fn value(&mut self) -> Value {
        self.space();
        let first = self.0.chars().next().expect("a value");
        match first {
            '{' => {
                let items = self.sequence('}');
                let mut map = serde_json::Map::new();
                for pair in items.chunks(2) {
                    let key = pair[0].as_str().expect("a key is a text or a keyword").to_owned();
                    map.insert(key, pair[1].clone());
                }
                Value::Object(map)
            }
            '[' => Value::Array(self.sequence(']')),
            '"' => {
                let mut stream = serde_json::Deserializer::from_str(self.0).into_iter::<Value>();
                let value = stream.next().expect("a text").expect("with escapes of JSON");
                self.0 = &self.0[stream.byte_offset()..];
                value
            }
            _ => {
                let end = self.0.find([' ', ',', '}', ']']).unwrap_or(self.0.len());
                let (token, rest) = self.0.split_at(end);
                self.0 = rest;
                match token {
                    "nil" => Value::Null,
                    token if token.starts_with(':') => Value::String(token.to_owned()),
                    token => serde_json::from_str(token).expect("a number or a truth value"),
                }
            }
        }
    }

    fn sequence(&mut self, close: char) -> Vec<Value> {
        self.0 = &self.0[1..];
        let mut items = Vec::new();
        loop {
            self.space();
            if let Some(rest) = self.0.strip_prefix(close) {
                self.0 = rest;
                return items;
            }
            items.push(self.value());
        }
    }
}

fn read(text: &str) -> Vec<Value> {
    text.lines().map(|line| Reader(line).value()).collect()
}

#[test]
fn a_history_is_written_as_jepsen_has_it() {
    let history = [
        one("Add", json!(1), 5, None),
        one("Get", json!(null), 10, Some((20, End::Ok(json!({"balance": 1}))))),
        one("start", json!(["X", "a \"b\""]), 30, Some((40, End::Fail("it exists".to_owned())))),
    ];
    let text = write(&history, Form::Edn);
    assert!(
        text.starts_with(
            "{:index 0, :time 5, :process 0, :type :invoke, :f :Add, :value 1, :key \
             \"@Account@a\", :client \"000001-9f86d081\"}\n"
        ),
        "{text}"
    );
    let events = read(&text);
    let column =
        |name: &str| -> Vec<Value> { events.iter().map(|event| event[name].clone()).collect() };
    assert_eq!(column(":type"), [":invoke", ":invoke", ":ok", ":invoke", ":fail"].map(Value::from));
    assert_eq!(column(":process"), [0, 1, 1, 1, 1].map(Value::from));
    assert_eq!(events[2][":value"], json!({"balance": 1}));
    assert_eq!(events[4][":error"], "it exists");
}

#[test]
fn a_history_is_written_as_json_lines() {
    let unknown = End::Unknown("no answer".to_owned());
    let history = [
        one("Get", json!(null), 10, Some((20, End::Ok(json!(7))))),
        one("Add", json!(1), 15, Some((30, unknown))),
    ];
    let text = write(&history, Form::Jsonl);
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["return"], 20);
    assert_eq!((&lines[0]["output"], &lines[0]["outcome"]), (&json!(7), &json!("ok")));
    assert_eq!((&lines[1]["return"], &lines[1]["outcome"]), (&Value::Null, &json!("unknown")));
    assert_eq!(lines[1]["client_id"], 1);
}

#[test]
fn a_destination_is_a_form_or_a_file_with_its_extension() {
    let of = |text: &str| text.parse::<Destination>();
    assert_eq!(of("edn"), Ok(Destination { form: Form::Edn, path: None }));
    let path = Some(PathBuf::from("a/b.jsonl"));
    assert_eq!(of("a/b.jsonl"), Ok(Destination { form: Form::Jsonl, path }));
    for bad in ["", "json", "history.txt", "edn/"] {
        let error = of(bad).expect_err(bad);
        assert!(error.to_string().contains("edn, jsonl"), "{error}");
    }
}

fn histories() -> impl Strategy<Value = Vec<Seen>> {
    let value = prop_oneof![
        Just(json!(null)),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!([1, {"a b": [true, null]}])),
    ];
    let end = prop_oneof![
        Just(None),
        (0u64..100, value.clone()).prop_map(|(span, value)| Some((span, End::Ok(value)))),
        (0u64..100).prop_map(|span| Some((span, End::Fail("no".to_owned())))),
        (0u64..100).prop_map(|span| Some((span, End::Unknown("who knows".to_owned())))),
    ];
    let name = prop_oneof!["[A-Za-z]{1,6}", "\\PC{0,6}"];
    proptest::collection::vec((name, value, 0u64..300, end), 0..30).prop_map(|seen| {
        let mut history: Vec<Seen> = seen
            .into_iter()
            .map(|(name, input, invoked, end)| {
                one(&name, input, invoked, end.map(|(span, end)| (invoked + span, end)))
            })
            .collect();
        history.sort_by_key(|seen| seen.invoked);
        history
    })
}

proptest! {
    /// Read back, every process has one operation at a time, in the order of time, and every operation is
    /// there with its end.
    #[test]
    fn what_is_written_is_read_back(history in histories()) {
        let events = read(&write(&history, Form::Edn));
        let mut open: BTreeMap<u64, Value> = BTreeMap::new();
        let mut read_back = Vec::new();
        let mut before = 0;
        for (number, event) in events.iter().enumerate() {
            prop_assert_eq!(&event[":index"], number);
            let time = event[":time"].as_u64().expect("a time");
            prop_assert!(time >= before);
            before = time;
            let process = event[":process"].as_u64().expect("a process");
            match event[":type"].as_str() {
                Some(":invoke") => prop_assert!(open.insert(process, event.clone()).is_none()),
                Some(":info") => {}
                _ => {
                    let invoked = open.remove(&process).expect("a request");
                    prop_assert_eq!(&invoked[":f"], &event[":f"]);
                    read_back.push((invoked, event.clone()));
                }
            }
        }
        let ended = history.iter().filter(|seen| matches!(seen.end, Some((_, End::Ok(_) | End::Fail(_)))));
        prop_assert_eq!(read_back.len(), ended.clone().count());
        let mut expected: Vec<(u64, Value)> =
            ended.map(|seen| (seen.invoked.as_nanos(), seen.input.clone())).collect();
        let mut found: Vec<(u64, Value)> = read_back
            .into_iter()
            .map(|(invoked, _)| (invoked[":time"].as_u64().expect("a time"), invoked[":value"].clone()))
            .collect();
        let key = |(at, value): &(u64, Value)| (*at, value.to_string());
        expected.sort_by_key(key);
        found.sort_by_key(key);
        prop_assert_eq!(expected, found);
    }
}
