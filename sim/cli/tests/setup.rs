//! What helps with the command line itself: completions and manual pages.

mod common;

use common::{files, sim, stdout};
use std::path::Path;
use std::process::Command;

/// What bash offers for the last of these words, by the script; `None` without bash.
fn offered(script: &str, words: &[&str]) -> Option<Vec<String>> {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let asked = format!(
        "{script}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_sim sim '{}' '{}'\nprintf '%s\\n' \
         \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words.len() - 1,
        words[words.len() - 1],
        words[words.len() - 2],
    );
    let output = Command::new("bash").args(["--norc", "-c", &asked]).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    Some(text.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn bash_completes_commands_flags_and_names() {
    let script = stdout(Path::new("."), &["completions", "bash"]);
    for (words, expected) in [
        (&["sim", "repl"][..], "replay"),
        (&["sim", "run", "--eng"], "--engine"),
        (&["sim", "run", "--engine", "neth"], "netherite"),
        (&["sim", "run", "--set", "netherite.spec"], "netherite.speculation"),
        (&["sim", "figure", "netherite-m"], "netherite-maxima"),
        (&["sim", "list", "abl"], "ablations"),
    ] {
        let Some(found) = offered(&script, words) else { return };
        assert_eq!(found, [expected], "{words:?}");
    }
}

#[test]
fn an_unknown_shell_is_refused_with_the_known_ones() {
    let assert = sim(Path::new("."), &["completions", "bsh"]).assert().code(2);
    let told = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert_eq!(told.trim_end().lines().count(), 1, "{told}");
    for word in ["bsh", "bash", "elvish", "fish", "powershell", "zsh", "sim completions --help"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(assert.get_output().stdout.is_empty());
}

#[test]
fn pages_are_the_same_each_time_and_leave_the_rest_of_the_folder_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("other.1"), "other").expect("a file");
    for _ in 0..2 {
        sim(folder.path(), &["manual", "--out", "."]).assert().success();
    }
    let found = files(folder.path());
    assert_eq!(found["other.1"], b"other");
    assert!(found.keys().all(|name| name.ends_with(".1")), "{:?}", found.keys());
    for (file, command) in [
        ("sim.1", &[][..]),
        ("sim-run.1", &["run"]),
        ("sim-definition-check.1", &["definition", "check"]),
    ] {
        let printed = stdout(folder.path(), &[&["manual"], command].concat());
        assert_eq!(String::from_utf8_lossy(&found[file]), printed, "{file}");
        let title = file.trim_end_matches(".1");
        assert!(printed.contains(&format!(".TH {title} 1 ")), "{file}: {printed}");
    }
}

#[test]
fn a_page_that_does_not_exist_or_cannot_be_written_is_told_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "").expect("a file");
    for (arguments, code, expected) in [
        (&["manual", "rnu"][..], 2, "unknown command \"rnu\": did you mean \"run\"?"),
        (&["manual", "--out", "file"], 3, "--out: file: cannot write"),
        (&["manual", "run", "--out", "pages"], 2, "cannot be used with"),
    ] {
        let assert = sim(folder.path(), arguments).assert().code(code);
        let told = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(told.contains(expected) && told.trim_end().lines().count() == 1, "{told}");
    }
    assert_eq!(files(folder.path()).len(), 1);
}
