//! The published measurements of the real systems, as typed rows.
//!
//! The files lie in `experiments/published/` (its README says where each number is from) and are
//! embedded, so that a figure does not depend on the folder a run is started from. They are drawn
//! and tabulated beside simulated results; no simulated run reads them.
//!
//! Units: latencies in milliseconds, throughput in orchestrations a second unless a row names another.

use csv::StringRecord;

/// `latency-percentiles.csv`, byte for byte.
pub const LATENCY_PERCENTILES_CSV: &str =
    include_str!("../../../experiments/published/latency-percentiles.csv");
/// `throughput-runs.csv`, byte for byte.
pub const THROUGHPUT_RUNS_CSV: &str =
    include_str!("../../../experiments/published/throughput-runs.csv");
/// `tables.csv`, byte for byte.
pub const TABLES_CSV: &str = include_str!("../../../experiments/published/tables.csv");
/// `internet-computer.csv`, byte for byte.
pub const INTERNET_COMPUTER_CSV: &str =
    include_str!("../../../experiments/published/internet-computer.csv");

/// Measured latency percentiles of one series: one system under one workload.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencySeries {
    /// Name of the series without the run's suffix, for example `hello-neth-p`.
    pub series: String,
    /// (fraction, latency in milliseconds), ascending in both; the ends are minimum and maximum.
    pub percentiles: Vec<(f64, f64)>,
}

impl LatencySeries {
    /// The percentiles as points of a distribution: (latency in milliseconds, fraction).
    pub fn points(&self) -> Vec<(f64, f64)> {
        self.percentiles.iter().map(|(fraction, latency)| (*latency, *fraction)).collect()
    }

    /// The measured latency in milliseconds at exactly `fraction`, if it was published.
    pub fn at(&self, fraction: f64) -> Option<f64> {
        self.percentiles.iter().find(|(known, _)| *known == fraction).map(|(_, latency)| *latency)
    }
}

/// Measured throughput of one configuration, over its repetitions.
#[derive(Debug, Clone, PartialEq)]
pub struct ThroughputRun {
    /// The measurement campaign: the file of the public repository the runs are from.
    pub campaign: String,
    /// Hosting plan, for example `EP2`.
    pub plan: String,
    /// Number of hosts.
    pub hosts: u32,
    /// The engine and its variant: `azst-12`, `neth`, `neth-loc`, `neth-12-ns`, ...
    pub tag: String,
    /// The test as the benchmark names it: workload, size, orchestrations for each launcher.
    pub test: String,
    /// Throughput units of the event log.
    pub throughput_units: u32,
    /// Number of repetitions.
    pub repetitions: u32,
    /// Median throughput, orchestrations a second.
    pub median: f64,
    /// Lowest throughput, orchestrations a second.
    pub min: f64,
    /// Highest throughput, orchestrations a second.
    pub max: f64,
    /// Mean throughput, orchestrations a second.
    pub mean: f64,
    /// Orchestrations in a run (median over the repetitions).
    pub size: f64,
}

/// An estimate of the highest rate of one worker.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedMaximum {
    /// The document it is from.
    pub source: String,
    /// The engine, as the document names it.
    pub engine: String,
    /// Hosting plan, for example `EP2`.
    pub plan: String,
    /// The scenario, as the document names it.
    pub scenario: String,
    /// The rate, a second.
    pub per_s: f64,
    /// What is counted: `activities/s`, `signals/s`, `orch/s`.
    pub unit: String,
}

/// A published file that is not as it should be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PublishedError {
    /// A row with too few or too many fields, or not CSV at all.
    #[error("{file}, line {line}: {message}")]
    Malformed {
        /// Name of the file.
        file: &'static str,
        /// Line in the file, from 1 (the heading).
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The heading lacks a column.
    #[error("{file}, line 1: no column \"{column}\"")]
    MissingColumn {
        /// Name of the file.
        file: &'static str,
        /// The column that is expected.
        column: &'static str,
    },
    /// A field is not what its column holds.
    #[error("{file}, line {line}, column \"{column}\": found \"{found}\", expected {expected}")]
    BadField {
        /// Name of the file.
        file: &'static str,
        /// Line in the file, from 1 (the heading).
        line: usize,
        /// Name of the column.
        column: &'static str,
        /// What the field holds.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
}

/// The series of the embedded `latency-percentiles.csv`, in the order of the file.
///
/// # Errors
/// [`PublishedError`], naming line and column; never for the file as committed (a test).
pub fn latency_series() -> Result<Vec<LatencySeries>, PublishedError> {
    let mut all = parse_latency(LATENCY_PERCENTILES_CSV)?;
    all.push(counter_updates(INTERNET_COMPUTER_CSV)?);
    Ok(all)
}

/// The series of update calls in `internet-computer.csv`: the rows of workload `counter canister
/// updates`, whose metrics are `latency p50` and so on, in seconds.
fn counter_updates(text: &str) -> Result<LatencySeries, PublishedError> {
    let table = Table::read("internet-computer.csv", text)?;
    let mut percentiles = Vec::new();
    for row in &table.rows {
        if row.text(&table, "workload")? != "counter canister updates" {
            continue;
        }
        let metric = row.text(&table, "metric")?;
        let percent = metric.strip_prefix("latency p").and_then(|p| p.parse::<f64>().ok());
        if let Some(percent) = percent {
            let millis = (row.number(&table, "value")? * 1e6).round() / 1e3;
            percentiles.push(((percent * 10.0).round() / 1e3, millis));
        }
    }
    Ok(LatencySeries { series: "counter-updates-1000".to_owned(), percentiles })
}

/// The runs of the embedded `throughput-runs.csv`, in the order of the file.
///
/// # Errors
/// [`PublishedError`], naming line and column; never for the file as committed (a test).
pub fn throughput_runs() -> Result<Vec<ThroughputRun>, PublishedError> {
    parse_throughput(THROUGHPUT_RUNS_CSV)
}

/// The maxima on one worker in the embedded `tables.csv`, in the order of the file.
///
/// # Errors
/// [`PublishedError`], naming line and column; never for the file as committed (a test).
pub fn single_worker_maxima() -> Result<Vec<PublishedMaximum>, PublishedError> {
    let table = Table::read("tables.csv", TABLES_CSV)?;
    let mut maxima = Vec::new();
    for row in &table.rows {
        if row.text(&table, "table")? != "max-single-worker" {
            continue;
        }
        maxima.push(PublishedMaximum {
            source: row.text(&table, "source")?,
            engine: row.text(&table, "engine")?,
            plan: row.text(&table, "plan")?,
            scenario: row.text(&table, "workload")?,
            per_s: row.number(&table, "value")?,
            unit: row.text(&table, "unit")?,
        });
    }
    Ok(maxima)
}

/// A figure of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRow {
    /// The system.
    pub engine: String,
    /// What the figure is of.
    pub metric: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: String,
}

/// The figures of one table of the embedded `tables.csv`, in the order of the file; none if there is no
/// such table.
///
/// # Errors
/// [`PublishedError`], naming line and column; never for the file as committed (a test).
pub fn table_rows(name: &str) -> Result<Vec<TableRow>, PublishedError> {
    let table = Table::read("tables.csv", TABLES_CSV)?;
    let mut found = Vec::new();
    for row in &table.rows {
        if row.text(&table, "table")? == name {
            found.push(TableRow {
                engine: row.text(&table, "engine")?,
                metric: row.text(&table, "metric")?,
                value: row.number(&table, "value")?,
                unit: row.text(&table, "unit")?,
            });
        }
    }
    Ok(found)
}

/// How a system scaled with the cores of its database.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseScaling {
    /// Cores of the database.
    pub cores: u32,
    /// Orchestrations a second.
    pub per_s: f64,
    /// Core time that the database used, as a fraction of what it has.
    pub cpu: f64,
}

/// The table `sql-scaling` in the embedded `tables.csv`, ascending in the cores.
///
/// # Errors
/// [`PublishedError`], naming line and column; never for the file as committed (a test).
pub fn database_scaling() -> Result<Vec<DatabaseScaling>, PublishedError> {
    let table = Table::read("tables.csv", TABLES_CSV)?;
    let mut by_cores: std::collections::BTreeMap<u32, [f64; 2]> = Default::default();
    for row in &table.rows {
        if row.text(&table, "table")? != "sql-scaling" {
            continue;
        }
        let notes = row.text(&table, "notes")?;
        let cores = notes.split(' ').next().and_then(|cores| cores.parse().ok());
        let cores = cores.ok_or_else(|| row.bad(&table, "notes", "a number of cores first"))?;
        let [per_s, cpu] = by_cores.entry(cores).or_default();
        match &*row.text(&table, "metric")? {
            "throughput" => *per_s = row.number(&table, "value")?,
            "db_cpu" => *cpu = row.number(&table, "value")? / 100.0,
            _ => {}
        }
    }
    let row = |(cores, [per_s, cpu]): (u32, [f64; 2])| DatabaseScaling { cores, per_s, cpu };
    Ok(by_cores.into_iter().map(row).collect())
}

/// Columns of percentiles and the fraction each stands for.
const PERCENTILE_COLUMNS: [(&str, f64); 11] = [
    ("min_ms", 0.0),
    ("p1_ms", 0.01),
    ("p5_ms", 0.05),
    ("p10_ms", 0.10),
    ("p25_ms", 0.25),
    ("p50_ms", 0.50),
    ("p75_ms", 0.75),
    ("p90_ms", 0.90),
    ("p95_ms", 0.95),
    ("p99_ms", 0.99),
    ("p99_9_ms", 0.999),
];
const LATENCY_MAX_COLUMN: (&str, f64) = ("max_ms", 1.0);

fn parse_latency(text: &str) -> Result<Vec<LatencySeries>, PublishedError> {
    let table = Table::read("latency-percentiles.csv", text)?;
    table
        .rows
        .iter()
        .map(|row| {
            // The run's hash follows the name of the series.
            let name = row.text(&table, "series")?;
            let series = name.split_whitespace().next().unwrap_or_default().to_owned();
            let mut percentiles: Vec<(f64, f64)> = Vec::with_capacity(12);
            for (column, fraction) in PERCENTILE_COLUMNS.into_iter().chain([LATENCY_MAX_COLUMN]) {
                let latency = row.number(&table, column)?;
                if percentiles.last().is_some_and(|(_, before)| latency < *before) {
                    return Err(row.bad(&table, column, "at least the percentile before it"));
                }
                percentiles.push((fraction, latency));
            }
            Ok(LatencySeries { series, percentiles })
        })
        .collect()
}

fn parse_throughput(text: &str) -> Result<Vec<ThroughputRun>, PublishedError> {
    let table = Table::read("throughput-runs.csv", text)?;
    table
        .rows
        .iter()
        .map(|row| {
            Ok(ThroughputRun {
                campaign: row.text(&table, "source_file")?,
                plan: row.text(&table, "plan")?,
                hosts: row.count(&table, "nodes")?,
                tag: row.text(&table, "tag")?,
                test: row.text(&table, "test")?,
                throughput_units: row.count(&table, "tu")?,
                repetitions: row.count(&table, "n")?,
                median: row.number(&table, "thr_median")?,
                min: row.number(&table, "thr_min")?,
                max: row.number(&table, "thr_max")?,
                mean: row.number(&table, "thr_mean")?,
                size: row.number(&table, "size_median")?,
            })
        })
        .collect()
}

/// A CSV file with its heading, and where each row stands.
struct Table {
    file: &'static str,
    heading: StringRecord,
    rows: Vec<Row>,
}

struct Row {
    line: usize,
    fields: StringRecord,
}

impl Table {
    fn read(file: &'static str, text: &str) -> Result<Table, PublishedError> {
        let malformed = |error| malformed(file, text, &error);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let heading = reader.headers().map_err(malformed)?.clone();
        let mut rows = Vec::new();
        for record in reader.records() {
            let fields = record.map_err(malformed)?;
            let line = line_of(text, fields.position());
            rows.push(Row { line, fields });
        }
        Ok(Table { file, heading, rows })
    }
}

fn malformed(file: &'static str, text: &str, error: &csv::Error) -> PublishedError {
    let message = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("found {len} fields, expected {expected_len}")
        }
        _ => error.to_string(),
    };
    PublishedError::Malformed { file, line: line_of(text, error.position()), message }
}

/// The line, from 1, at which a record starts. The reader's own count lags by one in a file with
/// CR LF, where it takes a record to start at the LF that ends the line before.
fn line_of(text: &str, position: Option<&csv::Position>) -> usize {
    let start = position.map_or(0, |position| position.byte() as usize);
    let before = text
        .as_bytes()
        .iter()
        .enumerate()
        .take_while(|(at, byte)| *at < start || (*at == start && **byte == b'\n'));
    1 + before.filter(|(_, byte)| **byte == b'\n').count()
}

impl Row {
    fn field<'a>(&'a self, table: &Table, column: &'static str) -> Result<&'a str, PublishedError> {
        let index = table.heading.iter().position(|name| name == column);
        let missing = PublishedError::MissingColumn { file: table.file, column };
        let index = index.ok_or(missing)?;
        Ok(self.fields.get(index).expect("invariant: rows are as long as the heading"))
    }

    fn bad(&self, table: &Table, column: &'static str, expected: &'static str) -> PublishedError {
        let found = self.field(table, column).unwrap_or_default().to_owned();
        PublishedError::BadField { file: table.file, line: self.line, column, found, expected }
    }

    fn text(&self, table: &Table, column: &'static str) -> Result<String, PublishedError> {
        match self.field(table, column)? {
            "" => Err(self.bad(table, column, "a name")),
            name => Ok(name.to_owned()),
        }
    }

    fn number(&self, table: &Table, column: &'static str) -> Result<f64, PublishedError> {
        match self.field(table, column)?.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            _ => Err(self.bad(table, column, "a number of at least 0")),
        }
    }

    fn count(&self, table: &Table, column: &'static str) -> Result<u32, PublishedError> {
        let count = self.field(table, column)?.parse();
        count.map_err(|_| self.bad(table, column, "a whole number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_latencies_are_read() {
        let all = latency_series().unwrap();
        assert_eq!(all.len(), 11);
        let median = |name: &str| {
            let series = all.iter().find(|series| series.series == name);
            series.expect(name).at(0.5).unwrap()
        };
        assert_eq!(median("hello-neth-p"), 12.69);
        assert_eq!(median("hello-neth-np"), 93.68);
        assert_eq!(median("hello-orig"), 202.4);
        assert_eq!(median("seqlong-orch-neth-p"), 38.31);
        let (updates, distributions) = all.split_last().unwrap();
        let expected = [(0.5, 1790.0), (0.95, 2610.0), (0.99, 2990.0), (0.999, 3300.0)];
        assert_eq!(updates.percentiles, expected);
        for series in distributions {
            assert_eq!(series.percentiles.len(), 12);
            assert_eq!(series.percentiles[0].0, 0.0);
            assert_eq!(series.percentiles[11].0, 1.0);
            assert!(series.percentiles.is_sorted(), "{}", series.series);
        }
        assert_eq!(all[0].at(0.42), None);
    }

    #[test]
    fn the_embedded_maxima_are_read() {
        let all = single_worker_maxima().unwrap();
        assert_eq!(all.len(), 12);
        let signals = all.iter().find(|known| known.unit == "signals/s" && known.plan == "EP2");
        let signals = signals.expect("scenario C on EP2");
        assert_eq!((signals.per_s, &*signals.engine), (1400.0, "Netherite"));
        assert_eq!(signals.scenario, "C signals to one entity");
        assert_eq!(signals.source, "netherite gh-pages docs/scenarios.md");
    }

    #[test]
    fn the_embedded_runs_are_read() {
        let all = throughput_runs().unwrap();
        assert_eq!(all.len(), 101);
        let paper: Vec<_> =
            all.iter().filter(|run| run.campaign == "vldb-oct-2021__hello.csv").collect();
        assert_eq!(paper.len(), 24);
        let largest = paper
            .iter()
            .find(|r| (r.plan.as_str(), r.hosts, r.tag.as_str()) == ("EP3", 12, "neth"));
        let largest = largest.unwrap();
        assert_eq!((largest.median, largest.size), (1455.1996, 10_000.0));
        assert_eq!((largest.throughput_units, largest.repetitions), (5, 6));
        for run in &all {
            assert!(run.min <= run.median && run.median <= run.max, "{run:?}");
            assert!(run.min <= run.mean && run.mean <= run.max, "{run:?}");
        }
    }

    /// Replaces the first `from` of the embedded file and parses the result.
    fn broken_latency(from: &str, to: &str) -> String {
        assert!(LATENCY_PERCENTILES_CSV.contains(from));
        let text = LATENCY_PERCENTILES_CSV.replacen(from, to, 1);
        parse_latency(&text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_line_and_column() {
        assert_eq!(
            broken_latency("93.68", "fast"),
            "latency-percentiles.csv, line 3, column \"p50_ms\": found \"fast\", \
             expected a number of at least 0"
        );
        assert_eq!(
            broken_latency("93.68", "NaN"),
            "latency-percentiles.csv, line 3, column \"p50_ms\": found \"NaN\", \
             expected a number of at least 0"
        );
        assert_eq!(
            broken_latency("93.68", "3.68"),
            "latency-percentiles.csv, line 3, column \"p50_ms\": found \"3.68\", \
             expected at least the percentile before it"
        );
        assert_eq!(
            broken_latency("p50_ms", "p51_ms"),
            "latency-percentiles.csv, line 1: no column \"p50_ms\""
        );
        assert_eq!(
            broken_latency("93.68,", ""),
            "latency-percentiles.csv, line 3: found 15 fields, expected 16"
        );
        let runs = THROUGHPUT_RUNS_CSV.replacen("EP1,1,azst-12", "EP1,one,azst-12", 1);
        assert_eq!(
            parse_throughput(&runs).unwrap_err().to_string(),
            "throughput-runs.csv, line 2, column \"nodes\": found \"one\", expected a whole number"
        );
    }
}
