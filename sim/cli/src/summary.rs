//! The summary of a run for a person, section by section.
//!
//! Written for a given number of columns, with escape sequences only if the look has colours: the
//! same run gives the same bytes wherever it is piped to.

use crate::repeat;
use crate::terminal::Look;
use crate::text::{self, INDENT, number};
use sim_lab::checks::{Check, Verdict};
use sim_lab::levels::LevelSummary;
use sim_lab::measure::Percentiles;
use sim_lab::run::RunOutcome;
use sim_lab::spec::RunSpec;
use sim_lab::summary::Summary;
use sim_world::cost::Cost;

/// Narrower than this, columns that can be missed are left out.
const WIDE: usize = 60;

/// The whole summary.
pub(crate) fn of_run(spec: &RunSpec, outcome: &RunOutcome, look: Look) -> String {
    let summary = &outcome.summary;
    let page = Page { summary, jobs: outcome.jobs, look };
    let sections = [
        page.title(spec),
        page.orchestrations(),
        page.latency(),
        page.breakdown(),
        page.operations(),
        page.levels(),
        page.faults(),
        page.money(&outcome.cost),
        page.checks(),
        page.repeat(spec),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

struct Page<'a> {
    summary: &'a Summary,
    /// Whether the load runs jobs, not orchestrations.
    jobs: bool,
    look: Look,
}

impl Page<'_> {
    fn wide(&self) -> bool {
        self.look.columns >= WIDE
    }

    fn wrapped(&self, line: &str) -> String {
        text::wrap(line, self.look.columns, INDENT, INDENT)
    }

    fn table(&self, heading: &[&str], rows: &[Vec<String>]) -> String {
        text::table(heading, rows, 1, self.look.columns)
    }

    fn section(&self, heading: &str, body: &str) -> String {
        format!("{}\n{body}", self.look.heading(heading))
    }

    fn title(&self, spec: &RunSpec) -> String {
        let Summary { engine, workload, .. } = self.summary;
        let title = format!("{workload} on {engine}");
        let where_it_ran = format!(
            "load {}, {} {} {}, {} {}, profile {}, seed {}",
            spec.load,
            spec.hosts,
            spec.plan,
            if spec.hosts == 1 { "host" } else { "hosts" },
            spec.partitions,
            if spec.partitions == 1 { "partition" } else { "partitions" },
            spec.profile,
            spec.seed
        );
        let title = text::wrap(&title, self.look.columns, 0, 0);
        let title = self.look.heading(title.trim_end());
        let mut text = format!("{title}\n{}", self.wrapped(&where_it_ran));
        if !spec.settings.is_empty() {
            let settings = spec.settings.iter().map(|(key, value)| format!("{key}={value}"));
            text += &self.wrapped(&format!("set {}", settings.collect::<Vec<_>>().join(" ")));
        }
        text
    }

    fn faults(&self) -> String {
        let Some(faults) = &self.summary.faults else { return String::new() };
        let row = |(name, count): (&String, String)| vec![name.clone(), count];
        let mut rows: Vec<Vec<String>> =
            faults.by_kind.iter().map(|(name, count)| row((name, count.to_string()))).collect();
        let effects = faults.effects.iter().filter(|(_, count)| **count > 0);
        rows.extend(effects.map(|(name, count)| vec![format!("-> {name}"), count.to_string()]));
        rows.push(vec!["last one over, s".to_owned(), number(Some(faults.last_end_seconds), 2)]);
        self.section("Faults", &self.table(&["", ""], &rows))
    }

    fn orchestrations(&self) -> String {
        let Summary { orchestrations: counts, throughput_per_s, work, virtual_seconds, .. } =
            self.summary;
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![
            row("started", counts.started.to_string()),
            row("completed", counts.completed.to_string()),
            row("failed", counts.failed.to_string()),
        ];
        if counts.terminated > 0 {
            rows.push(row("terminated", counts.terminated.to_string()));
        }
        rows.push(row("completed per second", number(*throughput_per_s, 2)));
        if work.total != counts.completed as f64 {
            rows.push(row(&work.unit, number(Some(work.total), 0)));
            rows.push(row(&format!("{} per second", work.unit), number(work.per_s, 2)));
        }
        let others = self.summary.other_instances_ended;
        if others > 0 {
            rows.push(row("other instances ended", others.to_string()));
        }
        rows.push(row("virtual time, s", number(Some(*virtual_seconds), 2)));
        let heading = if self.jobs { "Jobs" } else { "Orchestrations" };
        self.section(heading, &self.table(&["", ""], &rows))
    }

    fn latency(&self) -> String {
        let Summary { latency_ms: engine, client_latency_ms: client, .. } = self.summary;
        let own = if self.jobs { "job" } else { "engine" };
        let heading: &[&str] = match client {
            Some(_) => &["", own, "client"],
            None => &["", own],
        };
        let of_client = client.as_ref().map(percentiles);
        let rows: Vec<Vec<String>> = percentiles(engine)
            .into_iter()
            .enumerate()
            .map(|(index, (name, value))| {
                let mut row = vec![name.to_owned(), number(value, 1)];
                row.extend(of_client.map(|client| number(client[index].1, 1)));
                row
            })
            .collect();
        let own = match self.jobs {
            true => "job: the duration that it reports, as its benchmark defines it.",
            false => "engine: from created to last updated.",
        };
        let clients = match client {
            Some(_) => "client: from the intended request to the answer.",
            None => "No client waits in a batch.",
        };
        let meaning = self.wrapped(&format!("{own} {clients}"));
        self.section("Latency, ms", &(self.table(heading, &rows) + &meaning))
    }

    /// Categories without time are left out.
    fn breakdown(&self) -> String {
        let Some(parts) = &self.summary.breakdown_ms else { return String::new() };
        let total: f64 = parts.values().sum();
        if total <= 0.0 {
            return String::new();
        }
        let row = |name: &str, mean: f64| {
            vec![name.to_owned(), number(Some(mean), 3), share(mean, total)]
        };
        let spent = parts.iter().filter(|(_, mean)| **mean > 0.0);
        let mut rows: Vec<Vec<String>> = spent.map(|(name, mean)| row(name, *mean)).collect();
        rows.push(row("mean latency", total));
        self.section("Where the latency goes", &self.table(&["", "ms", "share"], &rows))
    }

    fn operations(&self) -> String {
        let Summary { operations, bytes, orchestrations, .. } = self.summary;
        let heading = "Storage and event operations";
        let total: u64 = operations.values().sum();
        if total == 0 {
            return self.section(heading, &self.wrapped("none"));
        }
        let completed = orchestrations.completed;
        let row = |name: &str, count: u64, carried: u64| {
            let mut row =
                vec![name.to_owned(), count.to_string(), each(count as f64, completed, 3)];
            if self.wide() {
                row.push(each(carried as f64 / 1e3, completed, 2));
            }
            row
        };
        let carried = |name: &String| bytes.get(name).copied().unwrap_or(0);
        let mut rows: Vec<Vec<String>> =
            operations.iter().map(|(name, count)| row(name, *count, carried(name))).collect();
        rows.push(row("total", total, operations.keys().map(carried).sum()));
        let columns: &[&str] = match self.wide() {
            true if self.jobs => &["", "count", "per job", "kB per job"],
            true => &["", "count", "per orchestration", "kB per orchestration"],
            false => &["", "count", "each"],
        };
        let mut text = self.table(columns, &rows);
        if !self.wide() {
            let what = if self.jobs { "job" } else { "orchestration" };
            text += &self.wrapped(&format!("each: per completed {what}"));
        }
        self.section(heading, &text)
    }

    /// Nothing unless levels were reported.
    fn levels(&self) -> String {
        let Summary { levels, .. } = self.summary;
        if levels.is_empty() {
            return String::new();
        }
        let row = |(what, level): (&String, &LevelSummary)| {
            let LevelSummary { min, mean, max } = level;
            vec![what.clone(), min.to_string(), number(Some(*mean), 2), max.to_string()]
        };
        let rows: Vec<Vec<String>> = levels.iter().map(row).collect();
        let meaning = "from the first report of each to the end of the run; the mean by time.";
        let table = self.table(&["", "min", "mean", "max"], &rows);
        self.section("Levels over time", &(table + &self.wrapped(meaning)))
    }

    fn money(&self, cost: &Cost) -> String {
        let completed = self.summary.orchestrations.completed;
        let row = |name: &str, usd: f64| {
            vec![name.to_owned(), number(Some(usd), 6), each(usd * 1e6, completed, 2)]
        };
        let rows = [
            row("hosts", cost.compute_usd),
            row("operations", cost.operations_usd),
            row("reserved", cost.reserved_usd),
            row("total", cost.total_usd()),
        ];
        let each = match (self.wide(), self.jobs) {
            (true, true) => "per million jobs",
            (true, false) => "per million orchestrations",
            (false, _) => "per million",
        };
        let heading = ["", "this run", each];
        self.section("Cost, US dollars", &self.table(&heading, &rows))
    }

    fn checks(&self) -> String {
        let mut text = String::new();
        let name_columns =
            self.summary.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        for Check { name, verdict, detail, history } in &self.summary.checks {
            let shown = match verdict {
                Verdict::Pass => self.look.good("pass"),
                Verdict::Fail => self.look.bad("FAIL"),
                Verdict::Observed => self.look.notable("observed"),
            };
            let pad = " ".repeat(8 - verdict.name().len());
            let indent = " ".repeat(INDENT);
            let at = if self.wide() { INDENT + 8 + 2 + name_columns + 2 } else { INDENT + 2 };
            let wrapped = text::wrap(detail, self.look.columns, at, at);
            if self.wide() {
                let gap = " ".repeat(name_columns - name.len() + 2);
                text += &format!("{indent}{shown}{pad}  {name}{gap}{}", wrapped.trim_start());
            } else {
                text += &format!("{indent}{shown}{pad}  {name}\n{wrapped}");
            }
            // What shows it, event by event.
            let at = INDENT + 8 + 2;
            text.extend(history.iter().map(|line| text::wrap(line, self.look.columns, at, at + 2)));
        }
        if self.summary.checks.iter().any(|check| check.verdict == Verdict::Observed) {
            let meaning = "observed: this engine does not promise it, or it could not be judged.";
            text += &self.wrapped(meaning);
        }
        self.section("Checks", &text)
    }

    fn repeat(&self, spec: &RunSpec) -> String {
        format!(
            "{}\n  {}\n{}\n{}",
            self.look.heading("Digest"),
            self.summary.digest,
            self.look.heading("Repeat it with"),
            repeat::command_lines(spec, self.look.columns, INDENT)
        )
    }
}

fn percentiles(latency: &Percentiles) -> [(&'static str, Option<f64>); 6] {
    let Percentiles { p50, p90, p95, p99, p99_9, max } = *latency;
    [("p50", p50), ("p90", p90), ("p95", p95), ("p99", p99), ("p99.9", p99_9), ("max", max)]
}

fn share(part: f64, total: f64) -> String {
    format!("{:.1} %", 100.0 * part / total)
}

/// `value` for each of the completed orchestrations.
fn each(value: f64, completed: u64, digits: usize) -> String {
    number((completed > 0).then(|| value / completed as f64), digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_lab::progress::Progress;
    use sim_lab::run;

    fn outcome(engine: &str, load: &str) -> (RunSpec, RunOutcome) {
        let spec = RunSpec {
            engine: engine.to_owned(),
            load: load.parse().expect("a load"),
            ..RunSpec::default()
        };
        let checked = spec.check().expect("a specification");
        let outcome = run::run(&checked, &Progress::default()).expect("a run");
        (spec, outcome)
    }

    fn look(columns: usize) -> Look {
        Look { columns, ..Look::PIPED }
    }

    #[test]
    fn the_summary_keeps_to_the_columns_there_are() {
        for engine in ["azure-storage", "in-memory", "netherite"] {
            let (spec, mut outcome) = outcome(engine, "open:rate=20,duration=1s");
            outcome.summary.checks[0].verdict = Verdict::Observed;
            outcome.summary.checks[1].detail = "many words ".repeat(40);
            for columns in [40, 60, 80, 100] {
                let text = of_run(&spec, &outcome, look(columns));
                for line in text.lines() {
                    assert!(line.chars().count() <= columns, "{columns}: {line:?}");
                    assert_eq!(line.trim_end(), line, "{columns}");
                }
                assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()));
            }
        }
    }

    #[test]
    fn every_section_is_there() {
        let (spec, outcome) = outcome("netherite", "open:rate=20,duration=1s");
        let text = of_run(&spec, &outcome, look(80));
        let headings: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(
            headings,
            [
                "hello:length=5 on netherite",
                "",
                "Orchestrations",
                "",
                "Latency, ms",
                "",
                "Where the latency goes",
                "",
                "Storage and event operations",
                "",
                "Cost, US dollars",
                "",
                "Checks",
                "",
                "Digest",
                "Repeat it with",
            ]
        );
    }

    #[test]
    fn a_job_is_called_one() {
        let spec = RunSpec {
            engine: "in-memory".to_owned(),
            ..RunSpec::of("counter:signals=10".parse().expect("a workload"))
        };
        let checked = spec.check().expect("a specification");
        let outcome = run::run(&checked, &Progress::default()).expect("a run");
        for columns in [40, 80] {
            let text = of_run(&spec, &outcome, look(columns));
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
            for words in ["\nJobs\n", "\n  signals ", "signals per second", "job: the duration"] {
                assert!(text.contains(words), "{words}: {text}");
            }
            assert!(!text.contains("Where the latency goes"), "{text}");
        }
    }

    #[test]
    fn levels_have_a_section_if_there_are_any() {
        let spec = RunSpec {
            engine: "in-memory".to_owned(),
            ..RunSpec::of("waves:percent=1".parse().expect("a workload"))
        };
        let checked = spec.check().expect("a specification");
        let outcome = run::run(&checked, &Progress::default()).expect("a run");
        for columns in [40, 80] {
            let text = of_run(&spec, &outcome, look(columns));
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
            let (_, section) = text.split_once("\nLevels over time\n").expect("a section");
            let row = section.lines().find(|line| line.contains("active workspaces"));
            let cells: Vec<&str> = row.expect("a level").split_whitespace().collect();
            let [_, _, min, mean, max] = cells[..] else { panic!("{cells:?}") };
            assert_eq!(min, "0");
            assert!(mean.parse::<f64>().expect("a mean") < max.parse().expect("a most"));
        }
        let (_, without) = self::outcome("in-memory", "batch:3");
        assert!(without.summary.levels.is_empty());
        assert!(!without.summary.to_json().contains("levels"));
    }

    #[test]
    fn a_batch_has_no_client_latency() {
        let (spec, outcome) = outcome("in-memory", "batch:3");
        let text = of_run(&spec, &outcome, look(80));
        assert!(text.contains("No client waits in a batch."), "{text}");
        assert!(!text.contains("client  "), "{text}");
    }

    #[test]
    fn what_did_not_complete_has_no_figures() {
        let (spec, mut outcome) = outcome("in-memory", "batch:3");
        outcome.summary.orchestrations.completed = 0;
        outcome.summary.throughput_per_s = None;
        outcome.summary.latency_ms =
            Percentiles { p50: None, p90: None, p95: None, p99: None, p99_9: None, max: None };
        outcome.summary.breakdown_ms = None;
        let text = of_run(&spec, &outcome, look(80));
        assert!(
            text.contains("completed per second") && text.contains("  p50         -\n"),
            "{text}"
        );
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(!text.contains("Where the latency goes"), "{text}");
    }
}
