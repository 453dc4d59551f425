//! The context object `$$` of the Amazon States Language, and the values that paths find.
//!
//! What depends on time is left out (`Execution.StartTime`, `State.EnteredTime`): results would
//! differ between engines, and equal results are what the testbed checks.

use super::path::{Path, Root};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One execution of a definition: what it is called and was given.
#[derive(Clone, Debug)]
pub(super) struct Execution {
    /// Its number within the run.
    pub index: u64,
    /// The payload it began with.
    pub input: Value,
}

/// The element that an iteration of a map is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Item {
    /// Its position.
    pub index: u64,
    /// The element.
    pub value: Value,
}

/// Where an execution stands.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The execution.
    pub execution: &'a Execution,
    /// The element of the innermost map, if there is one.
    pub item: Option<&'a Item>,
    /// The state.
    pub state: &'a str,
    /// How often the state was tried again.
    pub retries: u64,
}

/// The parts of the context object there are, as fields from its root.
const PARTS: [&[&str]; 9] = [
    &["Execution", "Id"],
    &["Execution", "Input"],
    &["Execution", "Name"],
    &["Map", "Item", "Index"],
    &["Map", "Item", "Value"],
    &["State", "Name"],
    &["State", "RetryCount"],
    &["StateMachine", "Id"],
    &["StateMachine", "Name"],
];

/// Checks that a path leads into a part of the context object that there is. Paths into the
/// payload are right.
///
/// # Errors
/// What there is instead.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let fields = path.leading_fields();
    if path.root() == Root::Payload || PARTS.iter().any(|part| fields.starts_with(part)) {
        return Ok(());
    }
    let parts = PARTS.map(|part| format!("$$.{}", part.join(".")));
    let given = path.to_string();
    let nearest = crate::suggest::nearest(&given, parts.iter().map(String::as_str));
    let hint = nearest.map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
    Err(format!("{given} is not simulated: {hint}simulated: {}", parts.join(", ")))
}

impl Context<'_> {
    /// What a path finds in the payload or in the context object.
    pub fn find(&self, path: &Path, payload: &Value) -> Option<Value> {
        match path.root() {
            Root::Payload => path.get(payload).map(|found| found.into_owned()),
            Root::Context => path.get(&self.object()).map(|found| found.into_owned()),
        }
    }

    /// The context object.
    fn object(&self) -> Value {
        let name = format!("execution-{}", self.execution.index);
        let mut object = json!({
            "Execution": { "Id": &name, "Input": self.execution.input, "Name": &name },
            "State": { "Name": self.state, "RetryCount": self.retries },
            "StateMachine": { "Id": "definition", "Name": "definition" },
        });
        if let Some(item) = self.item {
            object["Map"] = json!({ "Item": { "Index": item.index, "Value": item.value } });
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_object_has_every_part_that_is_allowed() {
        let execution = Execution { index: 7, input: json!({"a": [1]}) };
        let item = Item { index: 2, value: json!("x") };
        let cx = Context { execution: &execution, item: Some(&item), state: "S", retries: 1 };
        let find = |path: &str| cx.find(&Path::parse(path).expect(path), &json!(null));
        assert_eq!(find("$$.Execution.Name"), Some(json!("execution-7")));
        assert_eq!(find("$$.Execution.Input.a[0]"), Some(json!(1)));
        assert_eq!(find("$$.Map.Item.Value"), Some(json!("x")));
        for part in PARTS {
            let path = format!("$$.{}", part.join("."));
            assert!(find(&path).is_some() && check(&Path::parse(&path).expect("a path")).is_ok());
        }
    }

    #[test]
    fn parts_that_depend_on_time_are_refused() {
        for path in ["$$", "$$.Execution", "$$.Execution.StartTime", "$$.Task.Token"] {
            let error = check(&Path::parse(path).expect(path)).expect_err(path);
            assert!(error.contains("is not simulated"), "{error}");
        }
    }
}
