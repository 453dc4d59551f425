//! Copies the sources of engines, plants the mutants in them, and makes modules of the copies.
//!
//! For every folder in `edits/`, which has the name of an engine, the engine's `src/` is copied to the build's
//! own folder, with all edits of its mutants. What cannot be planted any more, since the engine has
//! changed, fails the build with the name of the mutant and the lines that are missing.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to the build")]

#[allow(dead_code, reason = "the crate itself uses the rest")]
mod edits;

use edits::Mutant;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What the copies are allowed besides what engines are: they are judged where they come from.
const ALLOWED: &str = "#[allow(clippy::all, dead_code, unused, missing_docs)]";

#[allow(clippy::disallowed_methods, reason = "this is how a build script is told where to write")]
fn main() {
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("the build says where to write"));
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let engines = here.join("../../engines").canonicalize().expect("the engines are there");
    println!("cargo::rerun-if-changed=edits");
    let (mut modules, mut mutants) = (String::new(), String::new());
    for folder in sorted(&here.join("edits")) {
        let engine = name_of(&folder);
        let module = engine.replace('-', "_");
        let source = engines.join(&engine).join("src");
        println!("cargo::rerun-if-changed={}", source.display());
        let found = mutants_in(&folder);
        let root = copy(&source, &out.join(&module), &module, &found);
        writeln!(modules, "{ALLOWED}\n#[path = {root:?}]\npub mod {module};")
            .expect("memory takes it");
        for Mutant { name, breaks, settings, .. } in found {
            writeln!(
                mutants,
                "    Mutant {{ engine: {engine:?}, name: {name:?}, breaks: {breaks:?}, settings: &{settings:?} }},"
            )
            .expect("memory takes it");
        }
    }
    let mutants = format!(
        "/// All mutants, by engine and name.\npub const MUTANTS: &[Mutant] = &[\n{mutants}];\n"
    );
    fs::write(out.join("copies.rs"), modules + &mutants).expect("the build can write");
}

/// The mutants whose edits are in `folder`.
fn mutants_in(folder: &Path) -> Vec<Mutant> {
    let parse = |path: PathBuf| {
        let name = name_of(&path.with_extension(""));
        let text = read(&path);
        edits::parse(&name, &text).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()))
    };
    sorted(folder).into_iter().map(parse).collect()
}

/// Copies the sources in `from` to `to`, as module `module`, with these mutants; the path of their root.
fn copy(from: &Path, to: &Path, module: &str, mutants: &[Mutant]) -> PathBuf {
    let mut sources = BTreeMap::new();
    read_all(from, Path::new(""), &mut sources);
    for mutant in mutants {
        for edit in &mutant.edits {
            let fail = |wrong: String| -> ! {
                panic!(
                    "mutant {} of {module}, {}: {wrong}",
                    mutant.name,
                    from.join(&edit.file).display()
                )
            };
            let Some(source) = sources.get_mut(Path::new(&edit.file)) else {
                fail("there is no such file".to_owned())
            };
            *source = edits::apply(edit, source).unwrap_or_else(|wrong| fail(wrong));
        }
    }
    // What is left of an older build would do no harm, but confuse whoever looks.
    drop(fs::remove_dir_all(to));
    for (path, source) in sources {
        let path = to.join(path);
        fs::create_dir_all(path.parent().expect("a file is in a folder"))
            .expect("the build can write");
        fs::write(&path, edits::move_into(module, &source)).expect("the build can write");
    }
    let root = to.join("lib.rs");
    let with_choice = read(&root) + "\nuse crate::mutant;\n";
    fs::write(&root, with_choice).expect("the build can write");
    root
}

fn read_all(root: &Path, below: &Path, sources: &mut BTreeMap<PathBuf, String>) {
    for path in sorted(&root.join(below)) {
        let name = below.join(name_of(&path));
        if path.is_dir() {
            read_all(root, &name, sources);
        } else {
            sources.insert(name, read(&path));
        }
    }
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("a path of a file").to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
