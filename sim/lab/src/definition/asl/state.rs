//! States of the Amazon States Language, each with the fields that its type has.
//!
//! The function of a task: for `arn:aws:states:::lambda:invoke` it is the last segment of
//! `Parameters.FunctionName`, and the field `Payload` of the parameters is what it is given; for
//! any other `Resource` it is the last segment of that (the text after the last colon or slash; a
//! version or alias after `function:NAME` does not count). The endings `.sync`, `.sync:2` and
//! `.waitForTaskToken` have no effect.

use super::super::context;
use super::super::expression::Expression;
use super::super::fields::mismatch;
use super::super::instant;
use super::*;
use crate::suggest::UnknownName;

const TYPES: [&str; 8] = ["Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"];
/// Fields that exist only with the query language JSONata.
const OF_JSONATA: [&str; 4] = ["Arguments", "Condition", "Items", "Output"];

/// Reads a state. Nothing is returned if something essential is wrong.
pub(super) fn read(value: &Value, place: Place, findings: &Findings, depth: usize) -> Option<Body> {
    let mut fields = Fields::of(value, place, findings)?;
    let of_type = fields.required_text("Type", &format!("one of {}", TYPES.join(", ")))?;
    if !TYPES.contains(&of_type) {
        let unknown = UnknownName::new("state type", super::super::fields::short(of_type), TYPES);
        fields.problem("Type", unknown.to_string());
        return None;
    }
    fields.text("Comment", "a text");
    query_language(&mut fields);
    for key in OF_JSONATA {
        if fields.has(key) {
            fields.take(key);
            fields.problem(key, "belongs to JSONata, which is not simulated");
        }
    }
    if of_type != "Fail" && of_type != "Choice" {
        fields.not_simulated(&[("Assign", "no variables are set")]);
    }
    let body = body(&mut fields, of_type, depth);
    fields.finish(&format!("{of_type} state"));
    body
}

fn body(fields: &mut Fields<'_>, of_type: &str, depth: usize) -> Option<Body> {
    let mut flow = Flow::default();
    if of_type != "Fail" {
        flow.input = picked(fields, "InputPath");
        flow.output = picked(fields, "OutputPath");
    }
    if ["Task", "Pass", "Parallel"].contains(&of_type) {
        flow.parameters = template(fields, "Parameters");
    }
    if ["Task", "Pass", "Parallel", "Map"].contains(&of_type) {
        flow.result = errors::result_path(fields);
    }
    let works = ["Task", "Parallel", "Map"].contains(&of_type);
    let (mut retry, mut catch) = (Vec::new(), Vec::new());
    if works {
        flow.selector = template(fields, "ResultSelector");
        retry = errors::retry(fields);
        catch = errors::catch(fields);
    }
    let next = if ["Choice", "Succeed", "Fail"].contains(&of_type) { None } else { next(fields) };
    let kind = match of_type {
        "Task" => task(fields).map(Kind::Task),
        "Pass" => Some(Kind::Pass(fields.take("Result").cloned())),
        "Choice" => choice::read(fields),
        "Wait" => wait(fields).map(Kind::Wait),
        "Succeed" => Some(Kind::Succeed),
        "Fail" => fail(fields),
        "Parallel" => parallel(fields, depth),
        _ => map(fields, depth),
    };
    Some(Body { flow, kind: kind?, retry, catch, next })
}

/// `InputPath` or `OutputPath`: null is an empty object, and an absent field the whole payload.
fn picked(fields: &mut Fields<'_>, key: &'static str) -> Option<Path> {
    match fields.take(key) {
        None => Some(Path::WHOLE),
        Some(Value::Null) => None,
        Some(value) => Some(path_of(fields, key, value).unwrap_or(Path::WHOLE)),
    }
}

fn path_of(fields: &Fields<'_>, key: &str, value: &Value) -> Option<Path> {
    let Value::String(text) = value else {
        fields.problem(key, mismatch(value, "a path such as $.name"));
        return None;
    };
    let path = Path::parse(text).and_then(|path| context::check(&path).map(|()| path));
    if let Err(problem) = &path {
        fields.problem(key, format!("{}: {problem}", quoted(text)));
    }
    path.ok()
}

/// A path that must be there if the field is.
pub(super) fn path(fields: &mut Fields<'_>, key: &'static str) -> Option<Path> {
    let value = fields.take(key)?;
    path_of(fields, key, value)
}

fn template(fields: &mut Fields<'_>, key: &'static str) -> Option<Template> {
    let value = fields.take(key)?;
    Some(Template::parse(value, &fields.at(key), fields.findings()))
}

/// `Next` or `End`, exactly one of them.
fn next(fields: &mut Fields<'_>) -> Option<Link> {
    let name = fields.text("Next", "the name of a state");
    let end = fields.take("End");
    match (fields.has("Next"), end) {
        (true, Some(Value::Bool(false))) | (false, Some(Value::Bool(true))) => {}
        (true, None) => {}
        (true, Some(Value::Bool(true))) => {
            fields.problem("End", "stands beside Next, expected one of them");
        }
        (false, None) => fields.problem_here("Next is missing, or \"End\": true"),
        (false, Some(Value::Bool(false))) => {
            fields.problem("End", "is false and Next is missing, expected one of them");
        }
        (_, Some(other)) => fields.problem("End", mismatch(other, "true")),
    }
    name.map(|name| Link { name: name.to_owned(), place: fields.at("Next") })
}

/// A number that may be written out under `key` or found by the path under `key_of_path`.
fn amount(
    fields: &mut Fields<'_>,
    (key, key_of_path): (&'static str, &'static str),
    range: std::ops::RangeInclusive<u64>,
) -> Option<Amount> {
    let (fixed, found) = (fields.count(key, range), path(fields, key_of_path));
    if fields.has(key) && fields.has(key_of_path) {
        fields.problem(key, format!("stands beside {key_of_path}, expected one of them"));
    }
    fixed.map(Amount::Fixed).or(found.map(Amount::Found))
}

fn task(fields: &mut Fields<'_>) -> Option<Call> {
    let timeout = amount(fields, ("TimeoutSeconds", "TimeoutSecondsPath"), 1..=WAIT_S_MAX);
    fields.not_simulated(&[
        ("HeartbeatSeconds", "functions send no heartbeats"),
        ("HeartbeatSecondsPath", "functions send no heartbeats"),
        ("Credentials", "there are no roles"),
    ]);
    let resource = fields.required_text("Resource", "the ARN of a function")?.to_owned();
    let mut plain = resource.as_str();
    for ending in [".sync", ".sync:2", ".waitForTaskToken"] {
        if let Some(before) = plain.strip_suffix(ending) {
            plain = before;
            let said = format!("{ending} is not simulated: the function's result is waited for");
            fields.warning("Resource", said);
        }
    }
    let wrapped = plain.ends_with(":states:::lambda:invoke");
    let function = match wrapped {
        true => invoked(fields)?,
        false => last_segment(plain).to_owned(),
    };
    if function.is_empty() {
        let said = format!("{} has no last segment to name a function", quoted(&resource));
        fields.problem("Resource", said);
        return None;
    }
    Some(Call { function: function.into(), timeout, wrapped })
}

/// The function that `lambda:invoke` is to call.
fn invoked(fields: &mut Fields<'_>) -> Option<String> {
    let parameters = fields.take("Parameters");
    let name = parameters.and_then(|parameters| parameters.get("FunctionName"));
    match name {
        Some(Value::String(name)) => Some(last_segment(name).to_owned()),
        Some(other) => {
            let place = fields.at("Parameters").field("FunctionName");
            fields.findings().problem(&place, mismatch(other, "the name or ARN of a function"));
            None
        }
        None => {
            let said = "FunctionName is missing, expected the name or ARN of a function (one that \
                        is computed, FunctionName.$, is not simulated)";
            fields.problem("Parameters", said);
            None
        }
    }
}

/// The name at the end of an ARN, without a version or alias.
fn last_segment(resource: &str) -> &str {
    let after_function = resource.split_once(":function:").map(|(_, name)| name);
    match after_function {
        Some(name) => name.split(':').next().unwrap_or(name),
        None => resource.rsplit([':', '/']).next().unwrap_or(resource),
    }
}

fn wait(fields: &mut Fields<'_>) -> Option<Delay> {
    const KEYS: [&str; 4] = ["Seconds", "SecondsPath", "Timestamp", "TimestampPath"];
    let given = KEYS.iter().filter(|key| fields.has(key)).count();
    if given != 1 {
        let said = format!("found {given} of {}, expected exactly one", KEYS.join(", "));
        fields.problem_here(said);
    }
    let span = amount(fields, ("Seconds", "SecondsPath"), 0..=WAIT_S_MAX);
    let expected = "a timestamp such as 2026-01-01T12:00:00Z";
    let instant = fields.text("Timestamp", expected);
    if let Some(text) = instant.filter(|text| instant::parse(text).is_none()) {
        fields.problem("Timestamp", format!("found {}, expected {expected}", quoted(text)));
    }
    let found = path(fields, "TimestampPath").map(Expression::Path).map(Text::Computed);
    let instant = instant.map(|text| Text::Fixed(text.into()));
    span.map(Delay::For).or(instant.or(found).map(Delay::Until))
}

fn fail(fields: &mut Fields<'_>) -> Option<Kind> {
    let mut text = |key: &'static str, key_of_path: &'static str| {
        let fixed = fields.text(key, "a text");
        let computed = fields.text(key_of_path, "a path or a function");
        if fixed.is_some() && computed.is_some() {
            fields.problem(key, format!("stands beside {key_of_path}, expected one of them"));
        }
        match computed.map(Expression::parse) {
            None => Some(Text::Fixed(fixed.unwrap_or_default().into())),
            Some(Ok(expression)) => Some(Text::Computed(expression)),
            Some(Err(problem)) => {
                let given = quoted(computed.unwrap_or_default());
                fields.problem(key_of_path, format!("{given}: {problem}"));
                None
            }
        }
    };
    let (error, cause) = (text("Error", "ErrorPath"), text("Cause", "CausePath"));
    Some(Kind::Fail(error?, cause?))
}

fn parallel(fields: &mut Fields<'_>, depth: usize) -> Option<Kind> {
    let branches = fields.required_array("Branches", "an array of machines")?;
    let place = fields.at("Branches");
    let branch =
        |(index, value)| read_within(value, place.index(index), fields.findings(), depth + 1);
    let branches: Vec<Option<Document>> = branches.iter().enumerate().map(branch).collect();
    Some(Kind::Parallel(branches.into_iter().collect::<Option<_>>()?))
}

fn map(fields: &mut Fields<'_>, depth: usize) -> Option<Kind> {
    let items = path(fields, "ItemsPath");
    let item = template(fields, "ItemSelector");
    let older = template(fields, "Parameters");
    if item.is_some() && older.is_some() {
        fields.problem("Parameters", "stands beside ItemSelector, expected one of them");
    }
    let width = amount(fields, ("MaxConcurrency", "MaxConcurrencyPath"), 0..=BREADTH_MAX);
    fields.not_simulated(&[
        ("ItemReader", "the array is taken from ItemsPath, or has its default length"),
        ("ItemBatcher", "each iteration has one element"),
        ("ResultWriter", "the results are the result"),
        ("ToleratedFailureCount", "one failed iteration fails the state"),
        ("ToleratedFailureCountPath", "one failed iteration fails the state"),
        ("ToleratedFailurePercentage", "one failed iteration fails the state"),
        ("ToleratedFailurePercentagePath", "one failed iteration fails the state"),
        ("Label", "it names nothing here"),
    ]);
    let (processor, iterator) = (fields.take("ItemProcessor"), fields.take("Iterator"));
    let (key, processor) = match (processor, iterator) {
        (Some(processor), None) => ("ItemProcessor", processor),
        (None, Some(iterator)) => ("Iterator", iterator),
        (Some(_), Some(_)) => {
            fields.problem("Iterator", "stands beside ItemProcessor, expected one of them");
            return None;
        }
        (None, None) => {
            fields.problem("ItemProcessor", "is missing, expected a machine");
            return None;
        }
    };
    let processor = read_within(processor, fields.at(key), fields.findings(), depth + 1)?;
    let items = items.unwrap_or(Path::WHOLE);
    let width = width.unwrap_or(Amount::Fixed(0));
    let item = item.or(older);
    Some(Kind::Map(Box::new(Map { items, item, width, processor })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_segment_names_the_function() {
        for (resource, name) in [
            ("arn:aws:lambda:us-east-1:123456789012:function:Resize", "Resize"),
            ("arn:aws:lambda:us-east-1:123456789012:function:Resize:7", "Resize"),
            ("arn:aws:states:us-east-1:123456789012:activity:Approve", "Approve"),
            ("arn:aws:states:::dynamodb:putItem", "putItem"),
            ("https://example.org/functions/resize", "resize"),
            ("Resize", "Resize"),
        ] {
            assert_eq!(last_segment(resource), name, "{resource}");
        }
    }
}
