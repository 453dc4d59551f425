//! Paths into payloads: the JSONPath of the Amazon States Language, and the dotted paths of SeBS.
//!
//! A path begins at the payload (`$`) or at the context object (`$$`) and goes on by fields
//! (`.name`, `['name']`), positions (`[2]`, `[-1]`), slices (`[1:3]`), and everything (`[*]`,
//! `.*`). Descent (`..`) and filters (`[?(...)]`) are not simulated. A *reference path* names one
//! place: fields and positions from the front only.

use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Most steps of a path.
const STEPS_MAX: usize = 64;

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// At the payload.
    Payload,
    /// At the context object.
    Context,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(Arc<str>),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    Every,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    root: Root,
    steps: Vec<Step>,
}

impl Path {
    /// The payload as a whole.
    pub const WHOLE: Path = Path { root: Root::Payload, steps: Vec::new() };

    /// Reads a path that begins with `$`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Path, String> {
        let Some(rest) = text.strip_prefix('$') else {
            return Err("a path begins with $".to_owned());
        };
        let (root, mut rest) = match rest.strip_prefix('$') {
            Some(rest) => (Root::Context, rest),
            None => (Root::Payload, rest),
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, left) = step(rest)?;
            steps.push(step);
            if steps.len() > STEPS_MAX {
                return Err(format!("a path has at most {STEPS_MAX} steps"));
            }
            rest = left;
        }
        Ok(Path { root, steps })
    }

    /// Reads a reference path into the payload.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_reference(text: &str) -> Result<Path, String> {
        let path = Path::parse(text)?;
        let plain = |step: &Step| match step {
            Step::Field(_) => true,
            Step::Index(index) => *index >= 0,
            Step::Slice(..) | Step::Every => false,
        };
        match path.root == Root::Payload && path.steps.iter().all(plain) {
            true => Ok(path),
            false => Err("it must name one place of the payload: $, fields and positions".into()),
        }
    }

    /// Reads fields separated by points.
    ///
    /// # Errors
    /// If a field has no name.
    pub fn parse_dotted(text: &str) -> Result<Path, String> {
        let fields: Vec<&str> = text.split('.').collect();
        if fields.iter().any(|field| field.trim().is_empty()) {
            return Err("it must be names of fields with points between them".to_owned());
        }
        if fields.len() > STEPS_MAX {
            return Err(format!("a path has at most {STEPS_MAX} steps"));
        }
        let steps = fields.into_iter().map(|field| Step::Field(field.into())).collect();
        Ok(Path { root: Root::Payload, steps })
    }

    /// Where it begins.
    pub fn root(&self) -> Root {
        self.root
    }

    /// The names of its first fields, up to the first step of another kind.
    pub fn leading_fields(&self) -> Vec<&str> {
        let field = |step: &'_ Step| matches!(step, Step::Field(_));
        let leading = self.steps.iter().take_while(|step| field(step));
        leading
            .filter_map(|step| match step {
                Step::Field(name) => Some(&**name),
                _ => None,
            })
            .collect()
    }

    /// What is there, from `root` on. Nothing if a field or position is absent; a path that may
    /// name several places gives an array of what it finds.
    pub fn get<'a>(&self, root: &'a Value) -> Option<Cow<'a, Value>> {
        let several = |step: &Step| matches!(step, Step::Slice(..) | Step::Every);
        if self.steps.iter().any(several) {
            let mut found = vec![root];
            for step in &self.steps {
                found = found.into_iter().flat_map(|value| all(value, step)).collect();
            }
            return Some(Cow::Owned(Value::Array(found.into_iter().cloned().collect())));
        }
        let follow = |value: &'a Value, step: &Step| all(value, step).into_iter().next();
        self.steps.iter().try_fold(root, follow).map(Cow::Borrowed)
    }

    /// Puts `value` there. Absent fields come into being.
    ///
    /// # Errors
    /// If what lies on the way is no object, or has no such position.
    pub fn put(&self, root: &mut Value, value: Value) -> Result<(), String> {
        let mut place = root;
        for step in &self.steps {
            place = match (step, place) {
                (Step::Field(name), Value::Object(object)) => {
                    object.entry(&**name).or_insert_with(|| Value::Object(Map::new()))
                }
                (Step::Index(index), Value::Array(items)) => {
                    let found = usize::try_from(*index).ok().and_then(|at| items.get_mut(at));
                    found.ok_or_else(|| format!("{self}: there is no element {index}"))?
                }
                (_, found) => {
                    let found = super::fields::kind(found);
                    return Err(format!("{self}: there is {found} on the way"));
                }
            };
        }
        *place = value;
        Ok(())
    }

    /// Puts `value` there, at any cost: what is no object on the way is replaced by one. For paths
    /// of fields only.
    pub fn put_over(&self, root: &mut Value, value: Value) {
        let mut place = root;
        for step in &self.steps {
            let Step::Field(name) = step else { unreachable!("a dotted path has fields only") };
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let object = place.as_object_mut().expect("invariant: just made one");
            place = object.entry(&**name).or_insert(Value::Null);
        }
        *place = value;
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.root == Root::Context { "$$" } else { "$" })?;
        let bound = |bound: &Option<i64>| bound.map_or_else(String::new, |at| at.to_string());
        for step in &self.steps {
            match step {
                Step::Field(name) if is_plain(name) => write!(f, ".{name}")?,
                Step::Field(name) => write!(f, "[{name:?}]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Slice(from, to) => write!(f, "[{}:{}]", bound(from), bound(to))?,
                Step::Every => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || "_-".contains(letter))
}

/// Everything that one step leads to.
fn all<'a>(value: &'a Value, step: &Step) -> Vec<&'a Value> {
    match (step, value) {
        (Step::Field(name), Value::Object(object)) => object.get(&**name).into_iter().collect(),
        (Step::Index(index), Value::Array(items)) => {
            position(*index, items.len()).and_then(|at| items.get(at)).into_iter().collect()
        }
        (Step::Slice(from, to), Value::Array(items)) => {
            let at = |bound: &Option<i64>, absent: usize| match bound {
                None => absent,
                Some(index) if *index < 0 => position(*index, items.len()).unwrap_or(0),
                Some(index) => usize::try_from(*index).unwrap_or(usize::MAX).min(items.len()),
            };
            let (from, to) = (at(from, 0), at(to, items.len()));
            items.get(from..to).unwrap_or_default().iter().collect()
        }
        (Step::Every, Value::Array(items)) => items.iter().collect(),
        (Step::Every, Value::Object(object)) => object.values().collect(),
        _ => Vec::new(),
    }
}

/// The position that an index means; negative ones count from the end.
fn position(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(at) => Some(at),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

/// Reads one step, and returns what is left.
fn step(text: &str) -> Result<(Step, &str), String> {
    if text.starts_with("..") {
        return Err("descent (..) is not simulated".to_owned());
    }
    if let Some(rest) = text.strip_prefix('.') {
        if let Some(rest) = rest.strip_prefix('*') {
            return Ok((Step::Every, rest));
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        return match is_plain(name) {
            true => Ok((Step::Field(name.into()), rest)),
            false => Err(format!("{} is no name of a field", super::problem::quoted(name))),
        };
    }
    let Some(rest) = text.strip_prefix('[') else {
        return Err("after $ comes a point or a bracket".to_owned());
    };
    for quote in ['\'', '"'] {
        if let Some(rest) = rest.strip_prefix(quote) {
            let end = rest.find(quote).ok_or("a quote is not closed")?;
            let (name, rest) = rest.split_at(end);
            let rest = rest[1..].strip_prefix(']').ok_or("a bracket is not closed")?;
            return Ok((Step::Field(name.into()), rest));
        }
    }
    if rest.starts_with('?') || rest.starts_with('(') {
        return Err("filters and scripts in brackets are not simulated".to_owned());
    }
    let end = rest.find(']').ok_or("a bracket is not closed")?;
    let (inside, rest) = rest.split_at(end);
    bracketed(inside.trim()).map(|step| (step, &rest[1..]))
}

/// Reads what stands in brackets without quotes.
fn bracketed(inside: &str) -> Result<Step, String> {
    let number = |text: &str| text.trim().parse::<i64>();
    let bound = |text: &str| match text.trim().is_empty() {
        true => Ok(None),
        false => number(text).map(Some),
    };
    let read = match inside.split_once(':') {
        _ if inside == "*" => Ok(Step::Every),
        Some((from, to)) => bound(from).and_then(|from| Ok(Step::Slice(from, bound(to)?))),
        None => number(inside).map(Step::Index),
    };
    let shown = super::problem::quoted(inside);
    read.map_err(|_| format!("[{shown}] is no position, slice, star or quoted field"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(path: &str, value: &Value) -> Option<Value> {
        Path::parse(path).expect(path).get(value).map(Cow::into_owned)
    }

    #[test]
    fn paths_lead_where_they_say() {
        let value = json!({"a": {"b c": [10, 20, {"d": 30}]}, "e": [[1], [2, 3]]});
        for (path, expected) in [
            ("$", Some(value.clone())),
            ("$.a['b c'][1]", Some(json!(20))),
            ("$['a'][\"b c\"][-1].d", Some(json!(30))),
            ("$.a['b c'][-4]", None),
            ("$.a.x", None),
            ("$.e[*][0]", Some(json!([1, 2]))),
            ("$.e[1][0:]", Some(json!([2, 3]))),
            ("$.e[-1:][1]", Some(json!([3]))),
            ("$.e[5:2]", Some(json!([]))),
            ("$.a.*[0]", Some(json!([10]))),
        ] {
            assert_eq!(at(path, &value), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_the_reason() {
        for (path, reason) in [
            ("a", "begins with $"),
            ("$a", "point or a bracket"),
            ("$.", "no name of a field"),
            ("$..a", "descent"),
            ("$[?(@.x)]", "filters"),
            ("$['a", "quote is not closed"),
            ("$['a'", "bracket is not closed"),
            ("$[1.5]", "no position"),
            ("$.a b", "no name of a field"),
        ] {
            let error = Path::parse(path).expect_err(path);
            assert!(error.contains(reason), "{path}: {error}");
        }
        assert!(Path::parse(&format!("${}", ".a".repeat(65))).is_err());
        for path in ["$.a[*]", "$.a[-1]", "$$.a", "$.a[0:1]"] {
            assert!(Path::parse(path).is_ok() && Path::parse_reference(path).is_err(), "{path}");
        }
        assert!(Path::parse_dotted("a..b").is_err());
    }

    #[test]
    fn a_value_is_put_where_it_belongs() {
        let put = |path: &str, mut value: Value| {
            let path = Path::parse_reference(path).expect(path);
            path.put(&mut value, json!(7)).map(|()| value)
        };
        assert_eq!(put("$", json!(1)), Ok(json!(7)));
        assert_eq!(put("$.a.b", json!({"c": 1})), Ok(json!({"c": 1, "a": {"b": 7}})));
        assert_eq!(put("$.a[1]", json!({"a": [1, 2]})), Ok(json!({"a": [1, 7]})));
        assert!(put("$.a[2]", json!({"a": [1, 2]})).is_err());
        assert!(put("$.a.b", json!({"a": 1})).is_err());
        let mut value = json!(3);
        Path::parse_dotted("a.b").expect("a path").put_over(&mut value, json!(7));
        assert_eq!(value, json!({"a": {"b": 7}}));
    }

    #[test]
    fn a_path_prints_as_it_is_read() {
        for path in ["$", "$$.Map.Item.Value", "$.a[0][-1][1:][*]", "$[\"b c\"]"] {
            assert_eq!(Path::parse(path).expect(path).to_string(), path);
        }
        assert_eq!(Path::parse_dotted("a.b").expect("a path").to_string(), "$.a.b");
    }
}
