//! What `sim list` and `sim help` say.

mod common;

use common::stdout;
use std::path::Path;

fn list(what: &[&str]) -> String {
    stdout(Path::new("."), &[&["list"], what].concat())
}

#[test]
fn each_list_has_one_line_for_each_item() {
    let engines = list(&["engines"]);
    let names: Vec<&str> =
        engines.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(
        names,
        [
            "azure-storage",
            "in-memory",
            "internet-computer",
            "netherite",
            "sql-server",
            "triggerflow"
        ]
    );
    assert!(list(&["settings"]).lines().any(|line| line.starts_with("netherite.speculation ")));
    assert!(list(&["workloads"]).lines().any(|line| line.starts_with("hello:length ")));
    assert_eq!(list(&["plans"]).lines().count(), 3);
}

#[test]
fn the_whole_list_has_all_lists() {
    let all = list(&[]);
    for name in ["engines", "workloads", "loads", "profiles", "plans", "settings", "figures"] {
        assert!(all.lines().any(|line| line.starts_with(&format!("{name} ("))), "{name}");
        for line in list(&[name]).lines() {
            assert!(all.contains(&format!("  {line}\n")), "{line}");
        }
    }
}

#[test]
fn the_help_states_the_exit_codes() {
    let help = stdout(Path::new("."), &["help"]);
    for code in ["0    success", "1    a check failed", "2    bad input", "3    ", "101  "] {
        assert!(help.contains(code), "{code}: {help}");
    }
    assert_eq!(stdout(Path::new("."), &["--help"]), help);
}

#[test]
fn the_version_is_one_line() {
    let version = stdout(Path::new("."), &["--version"]);
    assert_eq!(version, concat!("sim ", env!("CARGO_PKG_VERSION"), "\n"));
}
