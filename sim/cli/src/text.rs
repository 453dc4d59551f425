//! Text in columns: wrapping at words, and tables without frames.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// Spaces before everything that stands under a heading.
pub(crate) const INDENT: usize = 2;

/// `text` in lines of at most `columns`, the first after `first` spaces and the others after
/// `rest`. A word that is longer than a line has a line of its own. Ends with a line feed.
pub(crate) fn wrap(text: &str, columns: usize, first: usize, rest: usize) -> String {
    let mut page = String::new();
    let mut line = " ".repeat(first);
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > columns {
            page.push_str(line.trim_end());
            page.push('\n');
            line = " ".repeat(rest);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    page.push_str(line.trim_end());
    page.push('\n');
    page
}

/// A table without frames: the first `left` columns are aligned to the left, the others to the
/// right. Fits into `columns` by breaking cells. Each line starts with [`INDENT`] spaces.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>], left: usize, columns: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(columns.saturating_sub(INDENT)).unwrap_or(u16::MAX));
    if heading.iter().any(|title| !title.is_empty()) {
        table.set_header(heading.iter().copied());
    }
    for row in rows {
        debug_assert_eq!(row.len(), heading.len(), "a row is as long as the heading");
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let indent = " ".repeat(INDENT);
    table.lines().map(|line| format!("{indent}{}\n", line.trim_end())).collect()
}

/// A number with `digits` after the point, or a dash if there is none.
pub(crate) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_whole() {
        assert_eq!(wrap("one two three", 9, 0, 2), "one two\n  three\n");
        assert_eq!(wrap("unbreakable words", 4, 1, 1), " unbreakable\n words\n");
        assert_eq!(wrap("", 10, 2, 2), "\n");
        assert_eq!(wrap("one two", 80, 2, 0), "  one two\n");
    }

    #[test]
    fn a_table_aligns_numbers_to_the_right_and_ends_lines_cleanly() {
        let rows =
            [vec!["a".to_owned(), "1.5".to_owned()], vec!["bc".to_owned(), "10.5".to_owned()]];
        assert_eq!(
            table(&["name", "value"], &rows, 1, 40),
            "  name  value\n  a       1.5\n  bc     10.5\n"
        );
        assert_eq!(table(&["", ""], &rows, 1, 40), "  a    1.5\n  bc  10.5\n");
    }

    #[test]
    fn absent_numbers_are_dashes() {
        assert_eq!(number(None, 1), "-");
        assert_eq!(number(Some(1.25), 2), "1.25");
    }
}
