//! Edits are read strictly, and carried out exactly once or not at all.

use sim_mutants::edits::{self, Edit};

const FILE: &str = "\
breaks: what is right
with: in-memory.some=thing

file: a.rs
<<<<<<<
old
=======
if mutant::is(\"wrong\") {
    new
}
>>>>>>>
";

fn refused(name: &str, text: &str) -> String {
    edits::parse(name, text).expect_err("it is wrong")
}

#[test]
fn a_file_of_edits_is_read() {
    let mutant = edits::parse("wrong", FILE).expect("it is right");
    assert_eq!((mutant.name.as_str(), mutant.breaks.as_str()), ("wrong", "what is right"));
    assert_eq!(mutant.settings, ["in-memory.some=thing"]);
    let new = "if mutant::is(\"wrong\") {\n    new\n}\n".to_owned();
    assert_eq!(mutant.edits, [Edit { file: "a.rs".to_owned(), old: "old\n".to_owned(), new }]);
}

#[test]
fn a_file_that_is_wrong_is_refused_with_the_line() {
    assert_eq!(refused("other", FILE), "no edit asks for mutant::is(\"other\")");
    assert_eq!(
        refused("wrong", &FILE.replace("breaks: what is right\n", "")),
        "nothing says what it breaks: `breaks: `"
    );
    assert_eq!(
        refused("wrong", &FILE.replace(">>>>>>>\n", "")),
        "the last edit has no end: >>>>>>>"
    );
    assert_eq!(
        refused("wrong", &FILE.replace("file: a.rs\n", "")),
        "line 4: no `file: ` before this edit: \"<<<<<<<\""
    );
    assert!(refused("wrong", &FILE.replace("with: ", "wiht: ")).starts_with("line 2: expected "));
}

#[test]
fn old_lines_that_are_gone_or_there_twice_are_named() {
    let edit = Edit { file: "a.rs".to_owned(), old: "old\n".to_owned(), new: "new\n".to_owned() };
    assert_eq!(edits::apply(&edit, "one\nold\ntwo\n"), Ok("one\nnew\ntwo\n".to_owned()));
    for (source, count) in [("one\n", 0), ("old\nold\n", 2)] {
        let wrong = edits::apply(&edit, source).expect_err("it is not there once");
        assert_eq!(wrong, format!("these lines are there {count} times, and not once:\nold\n"));
    }
}

#[test]
fn paths_from_the_root_begin_at_the_module() {
    let source = "use crate::a;\npub(crate) fn f(x: crate::B) -> my_crate::C { $crate::d() }";
    let moved = "use crate::m::a;\npub(crate) fn f(x: crate::m::B) -> my_crate::C { $crate::d() }";
    assert_eq!(edits::move_into("m", source), moved);
}
