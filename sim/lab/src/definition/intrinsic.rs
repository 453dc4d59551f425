//! The intrinsic functions of the Amazon States Language whose value their arguments fix.

use super::fields::{kind, whole};
use crate::suggest::UnknownName;
use serde_json::{Map, Value};

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intrinsic {
    Array,
    ArrayContains,
    ArrayGetItem,
    ArrayLength,
    ArrayPartition,
    ArrayRange,
    ArrayUnique,
    Base64Decode,
    Base64Encode,
    Format,
    JsonMerge,
    JsonToString,
    MathAdd,
    StringSplit,
    StringToJson,
}

use Intrinsic::*;

/// Most elements that `States.ArrayRange` makes, as the language has it.
const RANGE_MAX: i128 = 1_000;
/// Most arguments of a function that takes any number.
const ARGUMENTS_MAX: usize = 1_000;

/// Most elements that `States.ArrayUnique` takes: each is compared with all before it.
const UNIQUE_MAX: usize = 10_000;

/// Every function with its name and how many arguments it takes.
const FUNCTIONS: [(&str, Intrinsic, usize, usize); 15] = [
    ("States.Array", Array, 0, ARGUMENTS_MAX),
    ("States.ArrayContains", ArrayContains, 2, 2),
    ("States.ArrayGetItem", ArrayGetItem, 2, 2),
    ("States.ArrayLength", ArrayLength, 1, 1),
    ("States.ArrayPartition", ArrayPartition, 2, 2),
    ("States.ArrayRange", ArrayRange, 3, 3),
    ("States.ArrayUnique", ArrayUnique, 1, 1),
    ("States.Base64Decode", Base64Decode, 1, 1),
    ("States.Base64Encode", Base64Encode, 1, 1),
    ("States.Format", Format, 1, ARGUMENTS_MAX),
    ("States.JsonMerge", JsonMerge, 3, 3),
    ("States.JsonToString", JsonToString, 1, 1),
    ("States.MathAdd", MathAdd, 2, 2),
    ("States.StringSplit", StringSplit, 2, 2),
    ("States.StringToJson", StringToJson, 1, 1),
];

/// Functions of the language that are not simulated, and why.
const REFUSED: [(&str, &str); 3] = [
    ("States.UUID", "its value is random, so results would not repeat"),
    ("States.MathRandom", "its value is random, so results would not repeat"),
    ("States.Hash", "the testbed has none of its hash functions"),
];

/// The function of this name.
///
/// # Errors
/// If there is none, or it is not simulated.
pub(super) fn named(name: &str) -> Result<Intrinsic, String> {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(format!("{name} is not simulated: {why}"));
    }
    let found = FUNCTIONS.iter().find(|(known, ..)| *known == name);
    found.map(|(_, function, ..)| *function).ok_or_else(|| {
        let known = FUNCTIONS.iter().map(|(known, ..)| *known);
        UnknownName::new("function", super::fields::short(name), known).to_string()
    })
}

impl Intrinsic {
    /// Checks how many arguments there are.
    ///
    /// # Errors
    /// How many there should be.
    pub fn check_number_of_arguments(self, given: usize) -> Result<(), String> {
        let of = |row: &&(&str, Intrinsic, usize, usize)| row.1 == self;
        let (name, _, least, most) =
            FUNCTIONS.iter().find(of).expect("invariant: every function has a row");
        match (least..=most).contains(&&given) {
            true => Ok(()),
            false if least == most => Err(format!("{name} takes {least} arguments, found {given}")),
            false => Err(format!("{name} takes {least} to {most} arguments, found {given}")),
        }
    }

    /// Its value; the number of arguments was checked.
    ///
    /// # Errors
    /// Why it has none.
    pub fn apply(self, arguments: Vec<Value>) -> Result<Value, String> {
        if self == Array {
            return Ok(Value::Array(arguments));
        }
        if self == Format {
            return format_text(&arguments).map(Value::String);
        }
        let mut arguments = arguments.into_iter();
        let mut next = || arguments.next().unwrap_or(Value::Null);
        match self {
            Array | Format => unreachable!("returned above"),
            ArrayContains => {
                let (items, wanted) = (array(next())?, next());
                Ok(items.contains(&wanted).into())
            }
            ArrayGetItem => {
                let (mut items, index) = (array(next())?, position(&next())?);
                let length = items.len();
                match index < length {
                    true => Ok(items.swap_remove(index)),
                    false => Err(format!("there is no element {index} of {length}")),
                }
            }
            ArrayLength => Ok(array(next())?.len().into()),
            ArrayPartition => {
                let (items, size) = (array(next())?, position(&next())?);
                let part = |part: &[Value]| Value::Array(part.to_vec());
                match size {
                    0 => Err("the parts of an array have at least 1 element".to_owned()),
                    size => Ok(items.chunks(size).map(part).collect()),
                }
            }
            ArrayRange => range(integer(&next())?, integer(&next())?, integer(&next())?),
            ArrayUnique => {
                let (items, mut unique): (_, Vec<Value>) = (array(next())?, Vec::new());
                if items.len() > UNIQUE_MAX {
                    return Err(format!("{} elements, at most {UNIQUE_MAX} fit", items.len()));
                }
                for item in items {
                    if !unique.contains(&item) {
                        unique.push(item);
                    }
                }
                Ok(unique.into())
            }
            Base64Decode => base64_decode(&text(next())?).map(Value::String),
            Base64Encode => Ok(base64_encode(text(next())?.as_bytes()).into()),
            JsonMerge => merge(next(), next(), &next()),
            JsonToString => Ok(next().to_string().into()),
            MathAdd => {
                let sum = integer(&next())? + integer(&next())?;
                i64::try_from(sum).map(Value::from).map_err(|_| format!("{sum} is out of range"))
            }
            StringSplit => {
                let (whole, separators) = (text(next())?, text(next())?);
                let separates = |letter: char| separators.contains(letter);
                let parts = whole.split(separates).filter(|part| !part.is_empty());
                Ok(parts.map(Value::from).collect())
            }
            StringToJson => {
                let text = text(next())?;
                super::json::read(&text).map_err(|error| error.to_string())
            }
        }
    }
}

fn wrong(value: &Value, expected: &str) -> String {
    format!("found {}, expected {expected}", kind(value))
}

fn array(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(wrong(&other, "an array")),
    }
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong(&other, "a text")),
    }
}

fn position(value: &Value) -> Result<usize, String> {
    let position = whole(value).and_then(|count| usize::try_from(count).ok());
    position.ok_or_else(|| wrong(value, "a whole number >= 0"))
}

/// A number as a whole one: the language rounds.
fn integer(value: &Value) -> Result<i128, String> {
    let exact = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    let in_range = |number: &f64| number.abs() < 2f64.powi(63);
    let rounded = || value.as_f64().filter(in_range).map(|number| libm::round(number) as i128);
    exact.or_else(rounded).ok_or_else(|| wrong(value, "a number"))
}

fn range(first: i128, last: i128, step: i128) -> Result<Value, String> {
    if step == 0 {
        return Err("the step of a range is not 0".to_owned());
    }
    let outward = (last - first).signum() * step.signum() < 0;
    let count = if outward { 0 } else { (last - first) / step + 1 };
    if count > RANGE_MAX {
        return Err(format!("a range has at most {RANGE_MAX} elements, this one {count}"));
    }
    let item = |index: i128| {
        let item = first + index * step;
        i64::try_from(item).map(Value::from).map_err(|_| format!("{item} is out of range"))
    };
    (0..count).map(item).collect()
}

fn merge(first: Value, second: Value, deep: &Value) -> Result<Value, String> {
    if deep != &Value::Bool(false) {
        return Err("a deep merge is not part of the language: the third argument is false".into());
    }
    let object = |value: Value| match value {
        Value::Object(object) => Ok(object),
        other => Err(wrong(&other, "an object")),
    };
    let (mut merged, second): (Map<String, Value>, _) = (object(first)?, object(second)?);
    merged.extend(second);
    Ok(merged.into())
}

/// Puts the further arguments in place of `{}`. A backslash keeps a brace as it is.
fn format_text(arguments: &[Value]) -> Result<String, String> {
    let (template, values) = arguments.split_first().ok_or("a format has a text")?;
    let template = template.as_str().ok_or_else(|| wrong(template, "a text"))?;
    let (mut out, mut values) = (String::new(), values.iter());
    let mut letters = template.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.peek().is_some_and(|next| "{}\\".contains(*next)) => {
                out.extend(letters.next());
            }
            '{' if letters.next_if_eq(&'}').is_some() => match values.next() {
                Some(Value::String(text)) => out.push_str(text),
                Some(value) => out.push_str(&value.to_string()),
                None => return Err("a format has more {} than values".to_owned()),
            },
            other => out.push(other),
        }
    }
    match values.next() {
        None => Ok(out),
        Some(_) => Err("a format has fewer {} than values".to_owned()),
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, section 4, with padding.
fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for letter in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * letter)) as usize & 63];
            out.push(if letter <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

fn base64_decode(text: &str) -> Result<String, String> {
    let unpadded = text.trim_end_matches('=');
    let padded = text.len().is_multiple_of(4) && text.len() - unpadded.len() <= 2;
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in unpadded.bytes() {
        let digit = BASE64.iter().position(|known| *known == letter);
        let digit = digit.ok_or("the text is not in Base64")?;
        (bits, count) = (bits << 6 | digit as u32, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    let decoded = String::from_utf8(bytes).map_err(|_| "the decoded bytes are no UTF-8")?;
    if padded { Ok(decoded) } else { Err("the text is not in Base64".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn apply(name: &str, arguments: Value) -> Result<Value, String> {
        let arguments = arguments.as_array().expect("a list").clone();
        let function = named(name)?;
        function.check_number_of_arguments(arguments.len())?;
        function.apply(arguments)
    }

    #[test]
    fn every_function_gives_what_the_language_says() {
        for (name, arguments, expected) in [
            ("States.Array", json!([1, "a"]), json!([1, "a"])),
            ("States.ArrayContains", json!([[1, {"a": 2}], {"a": 2}]), json!(true)),
            ("States.ArrayGetItem", json!([[5, 6, 7], 1]), json!(6)),
            ("States.ArrayLength", json!([[5, 6, 7]]), json!(3)),
            ("States.ArrayPartition", json!([[1, 2, 3], 2]), json!([[1, 2], [3]])),
            ("States.ArrayRange", json!([1, 9, 2]), json!([1, 3, 5, 7, 9])),
            ("States.ArrayRange", json!([5, 1, -2]), json!([5, 3, 1])),
            ("States.ArrayRange", json!([5, 1, 2]), json!([])),
            ("States.ArrayUnique", json!([[1, 2, 1, "a", "a"]]), json!([1, 2, "a"])),
            ("States.Base64Encode", json!(["Data"]), json!("RGF0YQ==")),
            ("States.Base64Decode", json!(["RGF0YQ=="]), json!("Data")),
            (
                "States.JsonMerge",
                json!([{"a": 1}, {"a": 2, "b": 3}, false]),
                json!({"a": 2, "b": 3}),
            ),
            ("States.JsonToString", json!([{"a": [1]}]), json!("{\"a\":[1]}")),
            ("States.MathAdd", json!([111, -1]), json!(110)),
            ("States.MathAdd", json!([1.5, 1]), json!(3)),
            ("States.StringSplit", json!(["1,2.3..4", ".,"]), json!(["1", "2", "3", "4"])),
            ("States.Format", json!(["{} \\{\\} {}", "a", [1]]), json!("a {} [1]")),
        ] {
            assert_eq!(apply(name, arguments.clone()), Ok(expected), "{name} {arguments}");
        }
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused() {
        for (name, arguments) in [
            ("States.ArrayGetItem", json!([[1], 1])),
            ("States.ArrayGetItem", json!([[1], -1])),
            ("States.ArrayPartition", json!([[1], 0])),
            ("States.ArrayRange", json!([0, 1000, 1])),
            ("States.ArrayRange", json!([1, 2, 0])),
            ("States.Base64Decode", json!(["RGF0YQ"])),
            ("States.Base64Decode", json!(["R*=="])),
            ("States.Format", json!(["{} {}", 1])),
            ("States.Format", json!(["{}", 1, 2])),
            ("States.JsonMerge", json!([{}, {}, true])),
            ("States.MathAdd", json!([i64::MAX, 1])),
            ("States.MathAdd", json!(["1", 1])),
            ("States.StringToJson", json!(["{"])),
            ("States.StringToJson", json!([1])),
        ] {
            assert!(apply(name, arguments.clone()).is_err(), "{name} {arguments}");
        }
    }

    #[test]
    fn base64_returns_every_text() {
        for text in ["", "a", "ab", "abc", "abcd", "häßlich ≠ ok"] {
            let encoded = base64_encode(text.as_bytes());
            assert_eq!(encoded.len() % 4, 0);
            assert_eq!(base64_decode(&encoded).as_deref(), Ok(text));
        }
    }
}
