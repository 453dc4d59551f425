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
    for name in [
        "engines",
        "workloads",
        "loads",
        "profiles",
        "plans",
        "settings",
        "ablations",
        "faults",
        "figures",
    ] {
        assert!(all.lines().any(|line| line.starts_with(&format!("{name} ("))), "{name}");
        for line in list(&[name]).lines() {
            assert!(all.contains(&format!("  {line}\n")), "{line}");
        }
    }
}

/// Each line is a setting that a run takes: the name of the mechanism, switched off, and what it does.
#[test]
fn ablations_are_the_safety_mechanisms_of_all_engines() {
    let ablations = list(&["ablations"]);
    let settings = list(&["settings"]);
    let of_settings: Vec<&str> = settings
        .lines()
        .filter(|line| line.ends_with(", safety]"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let names: Vec<&str> =
        ablations.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let switched_off: Vec<String> =
        of_settings.iter().map(|setting| format!("{setting}=false")).collect();
    assert_eq!(names, switched_off);
    for engine in ["azure-storage", "internet-computer", "netherite", "sql-server", "triggerflow"] {
        assert!(names.iter().any(|name| name.starts_with(&format!("{engine}."))), "{engine}");
    }
    let dedup = ablations.lines().find(|line| line.starts_with("netherite.dedup=false "));
    assert!(
        dedup.is_some_and(
            |line| line.ends_with("drop messages whose origin position was seen before")
        )
    );
    assert!(!names.iter().any(|name| name.starts_with("netherite.speculation")), "no safety");
    let off = ablations.lines().find(|line| line.starts_with("azure-storage.instance_etag=false "));
    assert!(off.is_some_and(|line| line.ends_with("[off by default]")));
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
