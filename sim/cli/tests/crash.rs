//! What is said after a panic. The panic happens in a second process of this test, which installs
//! the hook as the command does.

use sim_cli::crash::{self, Running};
use std::process::Command;

const MARK: &str = "SIM_CLI_TEST_PANICS";

/// Does nothing unless the test below has started it.
#[test]
fn panics_when_asked_to() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    crash::install();
    crash::remember(Running {
        what: "engine netherite, seed 7".to_owned(),
        command: "sim run --engine netherite --seed 7".to_owned(),
    });
    panic!("a broken invariant");
}

#[test]
fn a_panic_names_the_command_that_repeats_it() {
    let this = std::env::current_exe().expect("a path");
    let output = Command::new(this)
        .args(["--exact", "panics_when_asked_to", "--nocapture"])
        .env(MARK, "1")
        .env_remove("RUST_BACKTRACE")
        .output()
        .expect("it starts");
    let stderr = String::from_utf8(output.stderr).expect("text");
    let at = stderr.find("error: internal fault at ").unwrap_or_else(|| panic!("{stderr}"));
    let lines: Vec<&str> = stderr[at..].lines().take(4).collect();
    assert!(lines[0].ends_with(": a broken invariant"), "{stderr}");
    assert_eq!(
        lines[1..],
        [
            "  while running engine netherite, seed 7",
            "  repeat it with: sim run --engine netherite --seed 7",
            "This is a fault of the simulator. Please report it with the lines above; \
             RUST_BACKTRACE=1 adds a backtrace.",
        ]
    );
    assert!(!stderr.contains("stack backtrace"), "{stderr}");
    assert_eq!(output.status.code(), Some(101));
}
