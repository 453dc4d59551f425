//! `sim compare A B`: two results side by side, with paired differences and verdicts.

use crate::arguments::CompareArguments;
use crate::failure::Failure;
use crate::terminal::{self, Look};
use crate::text;
use anyhow::Error;
use sim_lab::contrast::{self, Contrast, ContrastGroup, MetricRow, PooledRow, ResultSet};
use sim_lab::metric::Limit;
use sim_lab::statistics::{
    Confidence, Design, Difference, PercentileDifference, PercentileEstimate, Verdict,
};
use std::path::Path;

/// Narrower than this, columns that can be missed are left out.
const WIDE: usize = 90;
/// From how many runs on intervals of the bootstrap cover about what they say.
const RUNS_FAIR: usize = 10;
/// Narrower than this, each metric has lines of its own.
const MEDIUM: usize = 66;

/// Reads both results, pairs their runs, and prints what differs.
pub(crate) fn contrast(asked: &CompareArguments) -> Result<(), Failure> {
    let [baseline, other] = folders(asked)?;
    let limits = asked.fail_if.iter().map(|text| {
        let limit = text.parse::<Limit>();
        limit.map_err(|error| Failure::input(Error::new(error).context("--fail-if")))
    });
    let limits = limits.collect::<Result<Vec<Limit>, Failure>>()?;
    let read = |place: &Path| ResultSet::read(place).map_err(Failure::input);
    let (baseline, other) = (read(baseline)?, read(other)?);
    let found = contrast::contrast(&baseline, &other, Confidence::default());
    let found = found.map_err(Failure::input)?;
    let exceeded = found
        .exceeded(&limits)
        .map_err(|error| Failure::input(Error::new(error).context("--fail-if")))?;
    match asked.json {
        true => terminal::print(&(found.to_json(&exceeded) + "\n"))?,
        false => terminal::print(&page(&found, Look::of_standard_output()))?,
    }
    exceeded.iter().for_each(|line| terminal::complain(line));
    match exceeded.len() {
        0 => Ok(()),
        1 => Err(Failure::checks("a --fail-if holds".to_owned())),
        count => Err(Failure::checks(format!("--fail-if holds {count} times"))),
    }
}

/// Both folders; flags that say what is to be run do not go with them.
fn folders(asked: &CompareArguments) -> Result<[&Path; 2], Failure> {
    let given = [
        ("--results", asked.results),
        ("--engine", !asked.engine.is_empty()),
        ("--workload", !asked.workload.is_empty()),
        ("--seeds", asked.seeds.is_some()),
        ("--load", asked.load.is_some()),
        ("--plan", asked.plan.is_some()),
        ("--hosts", asked.hosts.is_some()),
        ("--partitions", asked.partitions.is_some()),
        ("--profile", asked.profile.is_some()),
        ("--threads", asked.threads.is_some()),
        ("--out", asked.out.is_some()),
    ];
    let [one, two] = &asked.folders[..] else {
        let only = asked.folders[0].display();
        let problem = format!("a second result is missing to compare {only} with: sim compare A B");
        return Err(Failure::input(Error::msg(problem)));
    };
    match given.iter().find(|(_, given)| *given) {
        None => Ok([one, two]),
        Some((flag, _)) => {
            let problem = format!(
                "{flag} says what is to be run, but {} and {} are results that are there: give \
                 either two folders or flags of runs",
                one.display(),
                two.display()
            );
            Err(Failure::input(Error::msg(problem)))
        }
    }
}

fn page(found: &Contrast, look: Look) -> String {
    let wrapped = |line: &str| text::wrap(line, look.columns, text::INDENT, text::INDENT);
    let mut page = look.heading("Two results side by side") + "\n";
    page += &wrapped(&format!("A: {}", found.baseline));
    page += &wrapped(&format!("B: {}", found.other));
    page += &wrapped(&format!("{}{}", found.pairing.words(), alone(found)));
    for group in &found.groups {
        page += "\n";
        let heading = breakable(&heading(group), look.columns);
        let heading = text::wrap(&heading, look.columns, 0, 0);
        page += &format!("{}\n", look.heading(heading.trim_end()));
        page += &differing(group, look);
        page += &table(group, look);
        page += &wrapped(&notes(group));
        page += &pooled(group, look);
    }
    page += "\n";
    page + &wrapped(
        "change: from A to B, by the mean of A, with half of its interval. size: the difference by its standard \
         deviation. p: of the t test, and of a rank test. Each interval is by itself: of 20 metrics \
         without any difference, one is shown at 95 %.",
    )
}

/// What both sides of a group have and differ in. Settings that only one engine has are counted.
fn differing(group: &ContrastGroup, look: Look) -> String {
    let mut page = String::new();
    let of_both = |values: &&[String; 2]| values.iter().all(|value| !value.is_empty());
    for (key, [one, two]) in group.differing.iter().filter(|(_, values)| of_both(values)) {
        let line = breakable(&format!("{key}: {one} -> {two}"), look.columns);
        page += &text::wrap(&line, look.columns, text::INDENT, text::INDENT + 2);
    }
    let others = group.differing.values().filter(|values| !of_both(values)).count();
    if others > 0 {
        let line = format!("and {} that only one of them has", super::in_words(others, "setting"));
        page += &text::wrap(&line, look.columns, text::INDENT, text::INDENT);
    }
    page
}

fn alone(found: &Contrast) -> String {
    match found.without_partner {
        [0, 0] => String::new(),
        [one, two] => format!("; without a partner: {one} of A, {two} of B"),
    }
}

/// The text, which may be broken after each comma if it has a word that is longer than a line.
fn breakable(text: &str, columns: usize) -> String {
    let room = columns - 2 * text::INDENT;
    match text.split_whitespace().any(|word| word.chars().count() > room) {
        true => text.replace(',', ", "),
        false => text.to_owned(),
    }
}

fn heading(group: &ContrastGroup) -> String {
    let name = group.name();
    let name = if name.is_empty() { "all runs".to_owned() } else { name };
    format!("{name}, {}", super::in_words(group.seeds.len(), "seed"))
}

fn notes(group: &ContrastGroup) -> String {
    let same = match group.same_runs {
        0 => String::new(),
        same if same == group.seeds.len() => {
            " All pairs are the same run, by their digests.".to_owned()
        }
        same => format!(" {same} of the pairs are the same run, by their digests."),
    };
    format!("{}.{same}", group.method)
}

fn table(group: &ContrastGroup, look: Look) -> String {
    if look.columns < MEDIUM {
        return list(group, look);
    }
    let wide = look.columns >= WIDE;
    let mut heading = vec!["", "A", "B", "change", "verdict"];
    if wide {
        heading.extend(["size", "p", "rank p"]);
    }
    let row = |row: &MetricRow| {
        let mut cells = cells(row).to_vec();
        cells.truncate(heading.len());
        cells
    };
    let rows: Vec<Vec<String>> = group.metrics.iter().map(row).collect();
    text::table(&heading, &rows, 1, look.columns)
}

/// Percentiles of all runs together, if there are any.
fn pooled(group: &ContrastGroup, look: Look) -> String {
    let Some(first) = group.pooled.first() else { return String::new() };
    let row = |row: &PooledRow| {
        let PercentileDifference { baseline, other, .. } = &row.found;
        let name = format!("{} ({})", row.metric, row.unit);
        [name, with_interval(baseline), with_interval(other), pooled_change(row)]
    };
    let rows: Vec<[String; 4]> = group.pooled.iter().map(row).collect();
    let mut page = "\n".to_owned();
    page += &text::wrap("All requests of all runs:", look.columns, text::INDENT, text::INDENT);
    if look.columns < MEDIUM {
        for [name, one, two, change] in rows {
            for line in [format!("{name}: {one} -> {two}"), format!("  {change}")] {
                let indent = text::INDENT + line.len() - line.trim_start().len();
                page += &text::wrap(&line, look.columns, indent, indent);
            }
        }
    } else {
        let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
        page += &text::table(&["", "A", "B", "change"], &rows, 1, look.columns);
    }
    let fewest = first.found.baseline.drawn_from.min(first.found.other.drawn_from);
    let few = match fewest < RUNS_FAIR {
        true => " So few runs cover less than that.",
        false => "",
    };
    let rare = match group.pooled.iter().any(|row| !is_resolved(row)) {
        true => " *: fewer than 10 requests are beyond it.",
        false => "",
    };
    let note = format!("{}.{few}{rare}", first.found.method());
    page + &text::wrap(&note, look.columns, text::INDENT, text::INDENT)
}

fn is_resolved(row: &PooledRow) -> bool {
    row.found.baseline.resolved() && row.found.other.resolved()
}

/// `21.3 [20.9, 22.1]`.
fn with_interval(found: &PercentileEstimate) -> String {
    let shown = |value: f64| super::side_by_side::significant(Some(value));
    let mark = if found.resolved() { "" } else { "*" };
    let interval = found
        .interval
        .map(|interval| format!(" [{}, {}]", shown(interval.low), shown(interval.high)));
    format!("{}{mark}{}", shown(found.value), interval.unwrap_or_default())
}

/// `+5.0 % [+3.1, +6.8]`.
fn pooled_change(row: &PooledRow) -> String {
    let Some(all) = row.relative() else { return "-".to_owned() };
    let [change, low, high] = all.map(|share| signed(share * 100.0));
    format!("{change} % [{low}, {high}]")
}

/// Each metric with a line for each of its values.
fn list(group: &ContrastGroup, look: Look) -> String {
    let mut page = String::new();
    for row in &group.metrics {
        let [name, one, two, change, verdict, ..] = cells(row);
        for line in
            [format!("{name}: {verdict}"), format!("  {one} -> {two}"), format!("  {change}")]
        {
            let indent = text::INDENT + line.len() - line.trim_start().len();
            page += &text::wrap(&line, look.columns, indent, indent);
        }
    }
    page
}

fn cells(row: &MetricRow) -> [String; 8] {
    let Difference { baseline, other, effect_size, p_value, rank_p_value, .. } = row.difference;
    let name = match row.unit {
        "" => row.metric.to_owned(),
        unit => format!("{} ({unit})", row.metric),
    };
    let shown = |value: f64| super::side_by_side::significant(Some(value));
    [
        name,
        shown(baseline),
        shown(other),
        change(&row.difference),
        verdict(row).to_owned(),
        text::number(effect_size, 1),
        text::number(p_value, 3),
        text::number(rank_p_value, 3),
    ]
}

/// Whether no pair differs at all.
fn is_equal(difference: &Difference) -> bool {
    let point = difference.interval.is_none_or(|interval| interval.low == interval.high);
    difference.difference == 0.0 && point && difference.design == Design::Paired
}

fn verdict(row: &MetricRow) -> &'static str {
    match row.verdict {
        Verdict::TooFewRuns | Verdict::NoDifferenceShown if is_equal(&row.difference) => "equal",
        verdict => verdict.words(),
    }
}

fn digits(percent: f64) -> usize {
    if percent.abs() >= 99.95 { 0 } else { 1 }
}

/// With a sign, but none before a zero.
fn signed(percent: f64) -> String {
    let rounded = format!("{percent:+.0$}", digits(percent));
    match rounded.trim_start_matches(['+', '-']).parse() {
        Ok(0.0) => "0".to_owned(),
        _ => rounded,
    }
}

/// `+5.0 % ±1.9`.
fn change(difference: &Difference) -> String {
    let Some(relative) = difference.relative else { return "-".to_owned() };
    let interval = difference.relative_interval.map(|interval| {
        let half = interval.half_width() * 100.0;
        format!(" \u{b1}{half:.0$}", digits(half))
    });
    format!("{} %{}", signed(relative * 100.0), interval.unwrap_or_default())
}
