//! One file for each command.

pub(crate) mod compare;
pub(crate) mod completions;
mod contrast;
pub(crate) mod definition;
pub(crate) mod diverge;
pub(crate) mod explain;
pub(crate) mod explore;
pub(crate) mod faults;
pub(crate) mod figure;
mod figures;
pub(crate) mod list;
pub(crate) mod manual;
mod output_file;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod saturate;
pub(crate) mod sensitivity;
mod side_by_side;
pub(crate) mod submit;
pub(crate) mod sweep;
pub(crate) mod sweep_folder;

use sim_lab::results::Provenance;
use std::collections::BTreeMap;
use std::time::Duration;

/// What may differ between machines: versions, and how long it took.
fn provenance(took: Duration) -> Provenance {
    let versions = [
        ("sim", env!("CARGO_PKG_VERSION")),
        ("revision", env!("SIM_REVISION")),
        ("rustc", env!("SIM_RUSTC")),
    ];
    Provenance {
        wall_seconds: took.as_secs_f64(),
        versions: versions
            .into_iter()
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn in_words(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
