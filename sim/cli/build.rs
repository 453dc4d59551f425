//! Hands the compiler's version and the revision of the sources to `provenance.json`.
//!
//! Neither reaches a result. What cannot be found out (a source tree without git, no git
//! installed) becomes "unknown"; the build never fails for it.

use std::path::Path;
use std::process::Command;

fn main() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = first_line(Command::new(rustc).arg("--version"));
    let revision = first_line(Command::new("git").args(["rev-parse", "HEAD"]));
    println!("cargo::rustc-env=SIM_RUSTC={}", version.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=SIM_REVISION={}", revision.as_deref().unwrap_or("unknown"));
    println!("cargo::rerun-if-changed=build.rs");
    // Each commit appends to the log of HEAD. A path that does not exist would rebuild each time.
    let head = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.git/logs/HEAD");
    if head.is_file() {
        println!("cargo::rerun-if-changed={}", head.display());
    }
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}
