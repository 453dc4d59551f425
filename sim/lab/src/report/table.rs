//! Tables of results, as CSV files have them: a heading, and rows that are as long.

use super::ReportError;
use crate::suggest::UnknownName;
use std::fs::File;
use std::io;
use std::path::Path;

/// Rows beyond this are not read: no table of a page can be looked through that is longer.
const ROWS_MAX: usize = 2_000_000;

/// A table, with its cells as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub heading: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a file, or nothing if it is not there.
    pub(super) fn read_if_there(path: &Path) -> Result<Option<Table>, ReportError> {
        let damaged = |problem: String| ReportError::damaged(path, problem);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(damaged(error.to_string())),
        };
        Table::parse(io::BufReader::new(file)).map(Some).map_err(damaged)
    }

    /// Reads CSV.
    ///
    /// # Errors
    /// What is wrong, with the line.
    fn parse(input: impl io::Read) -> Result<Table, String> {
        let mut reader = csv::Reader::from_reader(input);
        let heading = reader.headers().map_err(|error| in_words(&error))?.clone();
        if heading.is_empty() {
            return Err("is empty, expected a heading and rows".to_owned());
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| in_words(&error))?;
            if rows.len() == ROWS_MAX {
                return Err(format!(
                    "has more than {ROWS_MAX} rows, which is the most that is read"
                ));
            }
            rows.push(record.iter().map(str::to_owned).collect());
        }
        Ok(Table { heading: heading.iter().map(str::to_owned).collect(), rows })
    }

    /// The index of a column.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.heading.iter().position(|heading| heading == name)
    }

    /// The numbers in a column; empty cells are `None`.
    pub(super) fn numbers(&self, path: &Path, name: &str) -> Result<Vec<Option<f64>>, ReportError> {
        let Some(column) = self.column(name) else {
            let headings = self.heading.iter().map(String::as_str);
            let unknown = UnknownName::new("column", name, headings);
            return Err(ReportError::damaged(path, format!("line 1: {unknown}")));
        };
        let number = |(index, row): (usize, &Vec<String>)| {
            let cell = row[column].as_str();
            match cell.parse::<f64>() {
                _ if cell.is_empty() => Ok(None),
                Ok(number) if number.is_finite() => Ok(Some(number)),
                _ => {
                    let line = index + 2;
                    let problem =
                        format!("line {line}, column {name}: found {cell:?}, expected a number");
                    Err(ReportError::damaged(path, problem))
                }
            }
        };
        self.rows.iter().enumerate().map(number).collect()
    }

    /// Whether all cells of a column that are not empty are numbers, and there is one.
    pub(super) fn is_numeric(&self, column: usize) -> bool {
        let mut cells =
            self.rows.iter().map(|row| row[column].as_str()).filter(|cell| !cell.is_empty());
        let is_number = |cell: &str| cell.parse::<f64>().is_ok_and(f64::is_finite);
        cells.next().is_some_and(is_number) && cells.all(is_number)
    }
}

fn in_words(error: &csv::Error) -> String {
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line}: found {len} fields, expected {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => format!("line {line}: is not text in UTF-8"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_tables_are_refused_with_their_line() {
        let parse = |text: &[u8]| Table::parse(text).expect_err("damaged");
        assert_eq!(parse(b"a,b\n1,2\n3\n"), "line 3: found 1 fields, expected 2");
        assert_eq!(parse(b"a,b\n1,\xff\n"), "line 2: is not text in UTF-8");
        assert_eq!(parse(b""), "is empty, expected a heading and rows");
    }

    #[test]
    fn a_column_is_numeric_if_everything_in_it_is() {
        let table = Table::parse(&b"a,b,c\n1,x,\n,2,\n"[..]).expect("a table");
        assert!(table.is_numeric(0) && !table.is_numeric(1) && !table.is_numeric(2));
    }

    #[test]
    fn a_cell_that_is_no_number_is_named() {
        let table = Table::parse(&b"latency_ms\n1\ninf\n"[..]).expect("a table");
        let path = Path::new("latency.csv");
        let error = table.numbers(path, "latency_ms").expect_err("no number").to_string();
        assert_eq!(
            error,
            "latency.csv: line 3, column latency_ms: found \"inf\", expected a number"
        );
        let error = table.numbers(path, "latency").expect_err("no column").to_string();
        assert!(error.contains("did you mean \"latency_ms\"?"), "{error}");
    }
}
