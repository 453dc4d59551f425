//! The result of an experiment, a comparison or a sweep: its table, its figures, and what it was.
//!
//! What was asked is shown as the file has it. Only its title and the command that repeats it are
//! read out of it, and each of these may be missing: results of older builds, and tables that were
//! put together by hand, are shown as well.

use super::ReportError;
use super::find::{Place, TABLE};
use super::picture::Picture;
use super::run::text;
use super::table::Table;

/// The files that say what was asked, and what each is of.
const MARKERS: [(&str, Kind); 3] = [
    ("experiment.toml", Kind::Experiment),
    ("comparison.toml", Kind::Comparison),
    ("sweep.toml", Kind::Sweep),
];

/// What made a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Experiment,
    Comparison,
    Sweep,
    /// Nothing that is known.
    Table,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Kind::Experiment => "experiment",
            Kind::Comparison => "comparison of engines",
            Kind::Sweep => "sweep",
            Kind::Table => "table",
        }
    }
}

/// A result.
pub(super) struct Experiment {
    /// Its path from the searched folder.
    pub name: String,
    pub kind: Kind,
    pub title: String,
    /// One line about it.
    pub summary: Option<String>,
    /// What was asked, with the name of its file.
    pub asked: Option<(&'static str, String)>,
    /// The command that repeats it.
    pub command: Option<String>,
    pub table: Table,
    pub runs: Option<Table>,
    pub figures: Vec<Picture>,
}

impl Experiment {
    pub(super) fn read(place: &Place) -> Result<Experiment, ReportError> {
        let path = &place.path;
        let marker = MARKERS.iter().find(|(marker, _)| path.join(marker).is_file());
        let asked =
            marker.map(|(marker, _)| Ok((*marker, text(&path.join(marker))?))).transpose()?;
        let kind = marker.map_or(Kind::Table, |(_, kind)| *kind);
        let fields = match &asked {
            Some((marker, text)) => toml::from_str(text).map_err(|error: toml::de::Error| {
                ReportError::damaged(&path.join(marker), error.message())
            })?,
            None => toml::Table::new(),
        };
        let field = |name: &str| fields.get(name).and_then(toml::Value::as_str).map(str::to_owned);
        let table = Table::read_if_there(&path.join(TABLE))?.unwrap_or_default();
        Ok(Experiment {
            title: field("title").unwrap_or_else(|| match (kind, place.name.as_str()) {
                (_, ".") => format!("The {} in this folder", kind.name()),
                (_, name) => name.to_owned(),
            }),
            summary: field("summary"),
            command: command(kind, &fields, &place.name),
            name: place.name.clone(),
            kind,
            asked,
            table,
            runs: Table::read_if_there(&path.join("runs.csv"))?,
            figures: Picture::all_in(path)?,
        })
    }
}

/// The command that repeats a result, if the fields say enough.
fn command(kind: Kind, fields: &toml::Table, name: &str) -> Option<String> {
    match kind {
        Kind::Experiment => {
            let name = fields.get("name")?.as_str()?;
            crate::experiment::named(name).ok().map(|_| format!("sim figure {name}"))
        }
        Kind::Comparison => comparison(fields),
        Kind::Sweep if name == "." => Some("sim sweep sweep.toml".to_owned()),
        Kind::Sweep => Some(format!("sim sweep {name}/sweep.toml")),
        Kind::Table => None,
    }
}

fn comparison(fields: &toml::Table) -> Option<String> {
    let list = |name: &str| fields.get(name)?.as_array();
    let word = |value: &toml::Value| match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut command = String::from("sim compare");
    for engine in list("engines")? {
        command += &format!(" --engine {}", word(engine));
    }
    for workload in list("workloads")? {
        command += &format!(" --workload {}", word(workload));
    }
    let seeds: Vec<String> = list("seeds")?.iter().map(word).collect();
    command += &format!(" --seeds {}", seeds.join(","));
    for name in ["load", "plan", "hosts", "partitions", "profile"] {
        if let Some(value) = fields.get(name) {
            command += &format!(" --{name} {}", word(value));
        }
    }
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_a_comparison_says_all_that_its_file_does() {
        let text = "engines = ['netherite', 'in-memory']\nworkloads = ['hello:length=5']\nseeds = [1, 2]\n\
                    plan = 'EP2'\nhosts = 4\npartitions = 12\nprofile = 'azure-2021-10'\n";
        let fields = toml::from_str(text).expect("a table");
        assert_eq!(
            command(Kind::Comparison, &fields, "a").as_deref(),
            Some(
                "sim compare --engine netherite --engine in-memory --workload hello:length=5 --seeds 1,2 \
                 --plan EP2 --hosts 4 --partitions 12 --profile azure-2021-10"
            )
        );
        assert_eq!(command(Kind::Comparison, &toml::Table::new(), "a"), None);
        assert_eq!(
            command(Kind::Sweep, &fields, "a/b").as_deref(),
            Some("sim sweep a/b/sweep.toml")
        );
    }
}
