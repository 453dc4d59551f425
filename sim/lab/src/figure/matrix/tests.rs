use super::*;

fn cell(text: &str, shade: Shade) -> MatrixCell {
    MatrixCell { text: text.to_owned(), shade }
}

fn figure() -> MatrixFigure {
    let row = |label: &str| MatrixRow {
        label: label.to_owned(),
        cells: vec![cell("seed 4", Shade::Good), cell("not in 100 seeds", Shade::Plain)],
    };
    let group = |engine: &str, rows: &[&str]| MatrixGroup {
        engine: engine.to_owned(),
        rows: rows.iter().map(|label| row(label)).collect(),
    };
    MatrixFigure {
        title: "A title".to_owned(),
        of: "mechanism".to_owned(),
        columns: vec!["crashes".to_owned(), "loss of messages".to_owned()],
        groups: vec![group("netherite", &["one", "two"]), group("azure-storage", &["three"])],
        shades: vec![(Shade::Good, "found".to_owned()), (Shade::Plain, "not found".to_owned())],
        caption: "What was run.".to_owned(),
    }
}

#[test]
fn everything_is_on_the_page() {
    let svg = figure().to_svg().expect("a figure");
    for text in ["A title", "mechanism", "crashes", "netherite", "azure-storage", "three", "seed 4"]
    {
        assert!(svg.contains(text), "{text}");
    }
    assert!(svg.contains("What was run."));
    assert!(figure().to_png().expect("a figure").starts_with(b"\x89PNG"));
}

#[test]
fn a_row_needs_a_cell_for_each_column() {
    let mut short = figure();
    short.groups[1].rows[0].cells.pop();
    assert!(matches!(short.to_svg(), Err(FigureError::Empty { .. })));
    let none = MatrixFigure { groups: Vec::new(), ..figure() };
    assert!(matches!(none.to_png(), Err(FigureError::Empty { .. })));
}
