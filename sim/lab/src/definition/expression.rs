//! Expressions of the Amazon States Language: paths and intrinsic functions, as they are written.
//!
//! `intrinsic.rs` says what the functions do. Functions whose value is not fixed by their
//! arguments (`States.UUID`, `States.MathRandom`) are refused, and so is `States.Hash`.

use super::context::{self, Context};
use super::failure::{Failure, names};
use super::intrinsic::{self, Intrinsic};
use super::path::Path;
use super::problem::quoted;
use serde_json::Value;

/// How deep functions may stand within each other, as the language has it.
const NESTING_MAX: usize = 10;

/// Something that is computed from a payload.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// What a path finds.
    Path(Path),
    /// A value that is written out.
    Literal(Value),
    /// The result of a function.
    Call(Intrinsic, Vec<Expression>),
}

impl Expression {
    /// Reads a path (`$...`) or a function (`States.Name(...)`).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Expression, String> {
        let text = text.trim();
        if text.starts_with('$') {
            return path(text);
        }
        if !text.starts_with("States.") {
            return Err("it must be a path ($...) or a function (States....)".to_owned());
        }
        let mut reader = Reader { text, at: 0 };
        let expression = reader.call(0)?;
        reader.skip_spaces();
        match reader.rest().is_empty() {
            true => Ok(expression),
            false => Err(format!("{} follows the function", quoted(reader.rest()))),
        }
    }

    /// Its value.
    ///
    /// # Errors
    /// If a path leads nowhere, or a function cannot take its arguments.
    pub fn value(&self, payload: &Value, cx: Context<'_>) -> Result<Value, Failure> {
        match self {
            Expression::Path(path) => cx.find(path, payload).ok_or_else(|| {
                Failure::new(names::PARAMETER_PATH, format!("{path} is not in the payload"))
            }),
            Expression::Literal(value) => Ok(value.clone()),
            Expression::Call(function, arguments) => {
                let arguments = arguments.iter().map(|argument| argument.value(payload, cx));
                let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
                function.apply(arguments).map_err(|cause| Failure::new(names::INTRINSIC, cause))
            }
        }
    }
}

fn path(text: &str) -> Result<Expression, String> {
    let path = Path::parse(text)?;
    context::check(&path)?;
    Ok(Expression::Path(path))
}

/// Reads a function with its arguments.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Goes past `symbol` if it comes next, after spaces.
    fn take(&mut self, symbol: char) -> bool {
        self.skip_spaces();
        let found = self.rest().starts_with(symbol);
        self.at += if found { symbol.len_utf8() } else { 0 };
        found
    }

    /// Goes past everything up to one of `ends`.
    fn until(&mut self, ends: &[char]) -> &'a str {
        let rest = self.rest();
        let end = rest.find(ends).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn call(&mut self, depth: usize) -> Result<Expression, String> {
        if depth >= NESTING_MAX {
            return Err(format!("functions stand at most {NESTING_MAX} deep within each other"));
        }
        let name = self.until(&['(', ')', ',']).trim();
        let function = intrinsic::named(name)?;
        if !self.take('(') {
            return Err(format!("{name} has no arguments in parentheses"));
        }
        let mut arguments = Vec::new();
        if !self.take(')') {
            loop {
                let keep_braces = function == Intrinsic::Format && arguments.is_empty();
                arguments.push(self.argument(depth, keep_braces)?);
                if self.take(')') {
                    break;
                }
                if !self.take(',') {
                    return Err(format!("an argument of {name} is not followed by , or )"));
                }
            }
        }
        function.check_number_of_arguments(arguments.len())?;
        Ok(Expression::Call(function, arguments))
    }

    fn argument(&mut self, depth: usize, keep_braces: bool) -> Result<Expression, String> {
        self.skip_spaces();
        let rest = self.rest();
        if rest.starts_with("States.") {
            return self.call(depth + 1);
        }
        if rest.starts_with('\'') {
            return self.literal(keep_braces).map(|text| Expression::Literal(text.into()));
        }
        if rest.starts_with('$') {
            return path(self.path_text().trim_end());
        }
        let word = self.until(&[',', ')']).trim();
        let value: Option<Value> = serde_json::from_str(word).ok();
        value
            .filter(|value| !value.is_object() && !value.is_array() && !value.is_string())
            .map(Expression::Literal)
            .ok_or_else(|| {
                format!("{} is no argument: a 'text', number, path or function", quoted(word))
            })
    }

    /// A path ends at a comma or parenthesis that is not within brackets.
    fn path_text(&mut self) -> &'a str {
        let (rest, mut quote, mut brackets) = (self.rest(), None, 0_usize);
        let end = rest.find(|letter: char| {
            match (letter, quote) {
                (_, Some(open)) if letter == open => quote = None,
                (_, Some(_)) => {}
                ('\'' | '"', None) if brackets > 0 => quote = Some(letter),
                ('[', None) => brackets += 1,
                (']', None) => brackets = brackets.saturating_sub(1),
                (',' | ')', None) => return brackets == 0,
                _ => {}
            }
            false
        });
        let end = end.unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// A text in single quotes. A backslash keeps the next letter from its meaning; with
    /// `keep_braces`, it is left before braces and backslashes, for `States.Format`.
    fn literal(&mut self, keep_braces: bool) -> Result<String, String> {
        let mut text = String::new();
        let mut letters = self.rest().char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\'' => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\\' => {
                    let (_, escaped) = letters.next().ok_or("a text ends in a backslash")?;
                    if keep_braces && escaped != '\'' {
                        text.push('\\');
                    }
                    text.push(escaped);
                }
                other => text.push(other),
            }
        }
        Err("a text is not closed by '".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::context::Execution;
    use serde_json::json;

    fn value(text: &str, payload: &Value) -> Result<Value, Failure> {
        let execution = Execution { index: 3, input: json!({}) };
        let cx = Context { execution: &execution, item: None, state: "S", retries: 0 };
        Expression::parse(text).expect(text).value(payload, cx)
    }

    #[test]
    fn functions_take_literals_paths_and_functions() {
        let payload = json!({"name": "Ann", "n": 2, "a(b": [1, 2], "json": "{\"x\":1}"});
        for (text, expected) in [
            (
                "States.Format('Hi {}, \\{{}\\} it\\'s {}', $.name, $.n, true)",
                json!("Hi Ann, {2} it's true"),
            ),
            (
                "States.Array( 1 , 'a,b)', null, States.MathAdd($.n, -5) )",
                json!([1, "a,b)", null, -3]),
            ),
            ("States.ArrayLength($['a(b'])", json!(2)),
            ("States.StringToJson($.json)", json!({"x": 1})),
            ("$$.Execution.Name", json!("execution-3")),
        ] {
            assert_eq!(value(text, &payload), Ok(expected), "{text}");
        }
        let error = value("States.ArrayLength($.x)", &payload).expect_err("absent");
        assert_eq!(&*error.error, names::PARAMETER_PATH);
        let error = value("States.ArrayLength($.n)", &payload).expect_err("no array");
        assert_eq!(&*error.error, names::INTRINSIC);
    }

    #[test]
    fn what_cannot_be_read_or_repeated_is_refused() {
        let deep = format!("{}1{}", "States.Array(".repeat(11), ")".repeat(11));
        for (text, reason) in [
            ("name", "must be a path"),
            ("States.UUID()", "not simulated"),
            ("States.MathRandom(1, 2)", "not simulated"),
            ("States.Fromat('x')", "did you mean \"States.Format\"?"),
            ("States.Array", "no arguments"),
            ("States.Array(1", "not followed by"),
            ("States.Array('a)", "not closed"),
            ("States.Array(a)", "is no argument"),
            ("States.Array({})", "is no argument"),
            ("States.MathAdd(1)", "takes 2 arguments"),
            ("States.Array(1) x", "follows the function"),
            ("States.Array($$.State.EnteredTime)", "not simulated"),
            (&deep, "at most 10 deep"),
        ] {
            let error = Expression::parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
