//! `docs/claims.md` claims what the committed results have.
//!
//! A claim is a row of a table whose heading has `expected`: the folder in `results/`, cells that the row of
//! its `table.csv` has, and what stands in a column of that row; or the sum of a column over all rows that
//! have these cells, or how many there are. `measured` and `tolerance` bound the ratio to a measurement.

use csv::StringRecord;
use sim_lab::experiment;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/claims.md";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rows of all tables of the page whose heading has this column; each cell with its heading.
fn rows(page: &str, heading: &str) -> Vec<Vec<(String, String)>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut found = Vec::new();
    let mut headings: Option<Vec<String>> = None;
    for line in page.lines() {
        match (&headings, line.starts_with('|')) {
            (_, false) => headings = None,
            (None, true) => headings = Some(cells(line)),
            (Some(_), true) if line.starts_with("|---") => {}
            (Some(names), true) if names.iter().any(|name| name == heading) => {
                found.push(names.iter().cloned().zip(cells(line)).collect());
            }
            (Some(_), true) => {}
        }
    }
    found
}

fn cell<'a>(row: &'a [(String, String)], heading: &str) -> Option<&'a str> {
    row.iter().find(|(name, _)| name == heading).map(|(_, cell)| cell.as_str())
}

struct Table {
    headings: StringRecord,
    records: Vec<StringRecord>,
}

impl Table {
    fn read(folder: &str) -> Table {
        let path = root().join("results").join(folder).join("table.csv");
        let mut reader = csv::Reader::from_path(&path).expect(folder);
        let headings = reader.headers().expect("headings").clone();
        Table { headings, records: reader.records().map(|record| record.expect("a row")).collect() }
    }

    fn having(&self, cells: &[&str]) -> Vec<&StringRecord> {
        let has = |record: &&StringRecord| {
            cells.iter().all(|cell| record.iter().any(|field| field == *cell))
        };
        self.records.iter().filter(has).collect()
    }

    fn column(&self, name: &str) -> usize {
        self.headings.iter().position(|heading| heading == name).unwrap_or_else(|| panic!("{name}"))
    }
}

/// What the committed table has for a claim.
fn committed(row: &[(String, String)]) -> Result<f64, String> {
    let table = Table::read(quoted(cell(row, "table").expect("a table"))[0]);
    let cells = quoted(cell(row, "row").expect("a row"));
    let matching = table.having(&cells);
    let asked = cell(row, "column").expect("a column");
    if asked == "count" {
        return Ok(matching.len() as f64);
    }
    let at = table.column(quoted(asked)[0]);
    let number = |record: &&StringRecord| record[at].parse::<f64>().map_err(|e| e.to_string());
    match (asked.starts_with("sum of"), &matching[..]) {
        (_, []) => Err(format!("no row has {cells:?}")),
        (true, several) => several.iter().map(number).sum(),
        (false, [one]) => number(one),
        (false, several) => Err(format!("{} rows have {cells:?}", several.len())),
    }
}

#[test]
fn every_claim_is_what_the_results_have() {
    let page = fs::read_to_string(root().join(PAGE)).expect(PAGE);
    let claims = rows(&page, "expected");
    let mut wrong = Vec::new();
    for row in &claims {
        let claim = cell(row, "claim").expect("a claim");
        let number = |heading| cell(row, heading).map(|cell| cell.parse::<f64>().expect(cell));
        let expected = number("expected").expect("a number");
        match committed(row) {
            Ok(found) if found == expected => {}
            Ok(found) => wrong.push(format!("{claim}: expected {expected}, the table has {found}")),
            Err(problem) => wrong.push(format!("{claim}: {problem}")),
        }
        if let (Some(measured), Some(tolerance)) = (number("measured"), number("tolerance"))
            && (expected / measured - 1.0).abs() > tolerance
        {
            wrong.push(format!("{claim}: {expected} is not within {tolerance} of {measured}"));
        }
    }
    assert!(wrong.is_empty(), "{PAGE}:\n{}", wrong.join("\n"));
    assert!(claims.len() > 30, "{} claims", claims.len());
}

/// Every folder of tables in `results/`, from there.
fn folders(below: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(below).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(root().join("results")).expect("below").display().to_string();
        if path.is_dir() && name != "runs" {
            if path.join("table.csv").is_file() {
                found.insert(name);
            }
            folders(&path, found);
        }
    }
}

#[test]
fn every_committed_result_has_its_command_and_a_claim() {
    let page = fs::read_to_string(root().join(PAGE)).expect(PAGE);
    let mut there = BTreeSet::new();
    folders(&root().join("results"), &mut there);
    let of = |heading: &str, column: &str| -> BTreeSet<String> {
        let rows = rows(&page, heading);
        rows.iter().map(|row| quoted(cell(row, column).expect("a cell"))[0].to_owned()).collect()
    };
    assert_eq!(of("time", "results"), there, "the table of commands");
    assert_eq!(of("expected", "table"), there, "the tables of claims");
    for command in of("time", "command") {
        if let Some(name) = command.strip_prefix("sim figure ") {
            assert!(experiment::named(name).is_ok(), "{command}");
        }
    }
}
