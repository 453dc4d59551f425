//! What a study of ablations leaves besides its figure: the table, the smallest plans, and what fell short.

use super::{ALL, Ablation, Cell};
use crate::experiment::csv_of;
use crate::figure::{MatrixCell, Shade};
use std::collections::BTreeMap;

/// A cell as it is drawn.
pub(super) fn shown(cell: Option<&Cell>) -> MatrixCell {
    let cell_of = |text: String, shade| MatrixCell { text, shade };
    match cell {
        None => cell_of(String::new(), Shade::Blank),
        Some(Cell { runs, found: None, .. }) => cell_of(format!("not in {runs}"), Shade::Plain),
        Some(Cell { found: Some(found), .. }) => {
            let check = found.check().replace('-', " ");
            cell_of(format!("{}: {check}", found.seed), Shade::Good)
        }
    }
}

/// A line of the table.
pub(super) struct Row<'a> {
    pub(super) ablation: &'a Ablation,
    pub(super) group: &'a str,
    pub(super) cell: &'a Cell,
}

impl Row<'_> {
    pub(super) fn seeds_taken(&self) -> Option<u64> {
        self.cell.found.as_ref().map(|_| self.cell.runs)
    }

    pub(super) fn faults_left(&self) -> Option<usize> {
        self.cell.found.as_ref().map(|found| found.regression.run.faults.len())
    }

    /// The part of the faults that could be removed, of a run that had some.
    pub(super) fn removed(&self) -> Option<f64> {
        let found = self.cell.found.as_ref().filter(|found| found.faults_before > 0)?;
        let left = found.regression.run.faults.len() as f64;
        Some(1.0 - left / found.faults_before as f64)
    }
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

pub(super) fn csv(rows: &[Row<'_>]) -> Vec<u8> {
    let heading = [
        "engine",
        "mechanism",
        "settings",
        "faults",
        "seeds",
        "found_at_seed",
        "check",
        "faults_before",
        "faults_left",
        "shrinking_runs",
        "minimal",
        "plan",
        "digest",
    ];
    let lines = rows.iter().map(|row| {
        let Row { ablation, group, cell } = row;
        let settings: Vec<String> =
            ablation.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let begin = [
            ablation.engine.clone(),
            ablation.mechanism.clone(),
            settings.join(" "),
            (*group).to_owned(),
            cell.runs.to_string(),
        ];
        let end: [String; 8] = match &cell.found {
            None => Default::default(),
            Some(found) => {
                let run = &found.regression.run;
                let plan: Vec<String> = run.faults.iter().map(ToString::to_string).collect();
                [
                    found.seed.to_string(),
                    found.check(),
                    found.faults_before.to_string(),
                    run.faults.len().to_string(),
                    found.attempts.to_string(),
                    found.minimal.to_string(),
                    plan.join(" "),
                    found.regression.digest.clone(),
                ]
            }
        };
        let mut line: [String; 13] = Default::default();
        for (field, value) in line.iter_mut().zip(begin.into_iter().chain(end)) {
            *field = value;
        }
        line
    });
    csv_of(heading, lines)
}

/// The smallest plan of each mechanism under all faults, as `sim replay` repeats it.
pub(super) fn plans(rows: &[Row<'_>]) -> BTreeMap<String, Vec<u8>> {
    let of_all = rows.iter().filter(|row| row.group == ALL);
    let mut plans = BTreeMap::new();
    for row in of_all {
        let Some(found) = &row.cell.found else { continue };
        let Ablation { engine, mechanism, settings, .. } = row.ablation;
        let others: String =
            settings.iter().map(|(key, value)| format!("-{key}-{value}")).collect();
        let text = found.regression.to_toml().into_bytes();
        plans.insert(format!("plan-{engine}-{mechanism}{others}.toml"), text);
    }
    plans
}

pub(super) fn misses(rows: &[Row<'_>]) -> Vec<String> {
    let mut misses = Vec::new();
    for Row { ablation, group, cell } in rows {
        let what = format!("{}: {}", ablation.engine, ablation.label());
        if *group == ALL && cell.found.is_none() {
            misses.push(format!("{what} was not missed in {} seeds", cell.runs));
        }
        if let [first, ..] = cell.sick[..]
            && !ablation.lacks_another()
        {
            let count = cell.sick.len();
            misses.push(format!(
                "{what}, {group}: {count} runs fail with it as well, first of seed {first}"
            ));
        }
    }
    misses
}
