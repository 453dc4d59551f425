//! The README shows what its first command prints, digest included: on this machine, too.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

const OPEN: &str = "\n```text\n";
const CLOSE: &str = "```\n";

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")
}

#[test]
fn the_readme_shows_what_its_first_command_prints() {
    let text = fs::read_to_string(readme()).expect("the README");
    let command = text.lines().find_map(|line| line.strip_prefix("cargo run --release -- "));
    let arguments: Vec<&str> = command.expect("the command").split_whitespace().collect();
    let printed = common::stdout(Path::new("."), &arguments);
    let start = text.find(OPEN).expect("the output") + OPEN.len();
    let end = start + text[start..].find(CLOSE).expect("its end");
    if std::env::var_os("SIM_UPDATE").is_some() {
        let updated = format!("{}{printed}{}", &text[..start], &text[end..]);
        fs::write(readme(), updated).expect("the README");
        return;
    }
    assert!(
        text[start..end] == printed,
        "README.md shows another output. If the change is meant, run SIM_UPDATE=1 cargo test -p \
         sim-cli --test readme\n{printed}"
    );
}

#[test]
fn the_readme_has_exactly_two_commands_for_setting_up() {
    let text = fs::read_to_string(readme()).expect("the README");
    let (_, section) = text.split_once("## Set up\n").expect("the section");
    let (_, block) = section.split_once("```sh\n").expect("the commands");
    let (block, _) = block.split_once(CLOSE).expect("their end");
    assert_eq!(
        block,
        "cargo run --release -- run --engine netherite --seed 7\ncargo test --workspace\n"
    );
}
