//! `sim sensitivity`: which parameter moves a result most.

use super::in_words;
use super::saturate::{folder, place, print};
use crate::arguments::SensitivityArguments;
use crate::crash;
use crate::failure::Failure;
use crate::repeat;
use crate::terminal::{self, Look};
use crate::text;
use crate::wall;
use anyhow::Error;
use sim_lab::metric::Metric;
use sim_lab::sensitivity::{
    Effect, MARKER, ParameterRow, Sensitivity, SensitivityError, SensitivityOutcome, ValueEffect,
};
use sim_lab::spec::RunSpec;

/// Narrower than this, each parameter has lines of its own.
const WIDE: usize = 90;

/// Carries out the analysis, writes its files if asked, and prints it.
pub(crate) fn sensitivity(asked: &SensitivityArguments) -> Result<(), Failure> {
    let mut base: RunSpec = place(&asked.place)?;
    if let Some(load) = &asked.load {
        base.load = load.parse()?;
    }
    let metric = Metric::named(&asked.metric);
    let analysis = Sensitivity {
        base,
        metric: metric.map_err(|error| Failure::input(Error::new(error).context("--metric")))?,
        parameters: asked.parameters.clone(),
        factor: asked.factor,
        seeds: asked.place.seeds.0.clone(),
    };
    let checked = analysis.check()?;
    let folder = folder(&asked.place, MARKER)?;
    crash::remember(crash::Running {
        what: "an analysis of sensitivity".to_owned(),
        command: repeat::command(&analysis.base),
    });
    let (outcome, took) = wall::timed(|| {
        terminal::with_progress(checked.runs_at_most(), |progress| {
            checked.run(asked.place.threads, progress)
        })
    });
    let outcome = outcome.map_err(|error| match error {
        SensitivityError::Run(error) => Failure::from(error),
        other => Failure::input(other),
    })?;
    let files = || outcome.files();
    print(&asked.place, folder, took, files, outcome.to_json(), |look| page(asked, &outcome, look))
}

fn page(asked: &SensitivityArguments, outcome: &SensitivityOutcome, look: Look) -> String {
    let wrapped = |line: &str| text::wrap(line, look.columns, text::INDENT, text::INDENT);
    let unit = if outcome.unit.is_empty() { String::new() } else { format!(" {}", outcome.unit) };
    let mut page = look.heading(&format!("What moves {} most", outcome.metric)) + "\n";
    page += &wrapped(&format!(
        "{} on {}, load {}, {}",
        outcome.workload,
        outcome.engine,
        outcome.load,
        in_words(outcome.seeds.len(), "seed")
    ));
    let default = super::side_by_side::significant(Some(outcome.default_mean));
    page += &wrapped(&format!("with the defaults: {default}{unit}"));
    let moving: Vec<&ParameterRow> = outcome.parameters.iter().filter(|row| row.moves()).collect();
    let shown = &moving[..moving.len().min(asked.top)];
    page +=
        &format!("\n{}", if look.columns < WIDE { list(shown, look) } else { table(shown, look) });
    let left = moving.len() - shown.len();
    if left > 0 {
        page += &wrapped(&format!("and {left} more that move it less (--top, table.csv)"));
    }
    let still = outcome.parameters.iter().filter(|row| row.has_no_effect()).count();
    page += &format!(
        "\n{}",
        wrapped(&format!(
            "{} tried, one at a time; {still} of them leave the run as it is, and {} more do not move {} or could not be tried. change: from the defaults{}. \
         swing: from the value with the lowest mean to that with the highest, the default among them. {}.",
            in_words(outcome.parameters.len(), "parameter"),
            outcome.parameters.len() - still - moving.len(),
            outcome.metric,
            if unit.is_empty() { String::new() } else { format!(", in{unit}") },
            outcome.method
        ))
    );
    page + &failed(outcome, look)
}

fn cells(row: &ParameterRow, value: &ValueEffect) -> [String; 5] {
    let swing = row.swing.as_ref().map(|swing| &swing.difference);
    let signed = |value: f64| {
        let digits = super::side_by_side::significant(Some(value.abs()));
        match digits.parse() {
            Ok(0.0) => "0".to_owned(),
            _ if value < 0.0 => format!("-{digits}"),
            _ => format!("+{digits}"),
        }
    };
    let with_interval = |difference: &sim_lab::statistics::Difference| match difference.interval {
        None => signed(difference.difference),
        Some(interval) => format!(
            "{} ({} to {})",
            signed(difference.difference),
            signed(interval.low),
            signed(interval.high)
        ),
    };
    let change = match &value.effect {
        Effect::None => "none".to_owned(),
        Effect::Change(difference) => with_interval(difference),
        Effect::Refused(_) => "refused".to_owned(),
        Effect::NothingMeasured => "nothing measured".to_owned(),
    };
    [
        row.name.clone(),
        row.default.clone(),
        value.value.clone(),
        change,
        swing.map(with_interval).unwrap_or_default(),
    ]
}

/// One row for each value; name, default and swing stand in the first.
fn table(rows: &[&ParameterRow], look: Look) -> String {
    let mut lines = Vec::new();
    for row in rows {
        for (index, value) in row.values.iter().enumerate() {
            let mut line = cells(row, value);
            if index > 0 {
                [0, 1, 4].into_iter().for_each(|column: usize| line[column].clear());
            }
            lines.push(line.to_vec());
        }
    }
    text::table(&["parameter", "default", "value", "change", "swing"], &lines, 3, look.columns)
}

/// Each parameter with a line for each value.
fn list(rows: &[&ParameterRow], look: Look) -> String {
    let mut page = String::new();
    for row in rows {
        page += &text::wrap(&format!("{}: {}", row.name, row.default), look.columns, 2, 4);
        for value in &row.values {
            let [_, _, value, change, _] = cells(row, value);
            page += &text::wrap(&format!("{value}: {change}"), look.columns, 4, 6);
        }
    }
    page
}

/// Values under which a check failed: their results are not to be trusted.
fn failed(outcome: &SensitivityOutcome, look: Look) -> String {
    let mut page = String::new();
    for row in &outcome.parameters {
        for value in row.values.iter().filter(|value| !value.failed_checks.is_empty()) {
            let checks: Vec<&str> = value.failed_checks.iter().map(String::as_str).collect();
            let line = format!("{} = {}: {}", row.name, value.value, checks.join(", "));
            page += &text::wrap(&line, look.columns, text::INDENT, text::INDENT);
        }
    }
    match page.is_empty() {
        true => page,
        false => format!("\n{}\n{page}", look.heading("Failed checks")),
    }
}
