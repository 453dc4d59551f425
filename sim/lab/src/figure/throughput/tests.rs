//! Tests of the figures of throughput: bytes and errors.

use super::*;

fn figure() -> ThroughputFigure {
    let measured =
        |hosts, mean: f64| MeasuredThroughput { hosts, mean, min: mean * 0.9, max: mean * 1.2 };
    ThroughputFigure {
        title: "A figure".into(),
        unit: "orchestrations".to_owned(),
        of: "hosts".to_owned(),
        hosts: vec![1, 4, 8],
        panels: vec![ThroughputPanel {
            title: "A panel".into(),
            curves: vec![ThroughputCurve {
                label: "fast".into(),
                engine: "netherite".into(),
                stroke: Stroke::Solid,
                points: vec![(1, 40.0), (4, 150.0), (8, 260.5)],
            }],
            marks: vec![ThroughputMarks {
                label: "fast, measured".into(),
                engine: "netherite".into(),
                points: vec![measured(1, 35.0), measured(8, 270.0)],
            }],
        }],
        caption: "What was run.".into(),
    }
}

#[test]
fn the_same_figure_is_the_same_bytes() {
    let figure = figure();
    let svg = figure.to_svg().unwrap();
    assert_eq!(svg, figure.clone().to_svg().unwrap());
    for word in ["A figure", "A panel", "fast, simulated", "fast, measured", "What was run."] {
        assert!(svg.contains(word), "{word}");
    }
    let png = figure.to_png().unwrap();
    assert!(png == figure.clone().to_png().unwrap());
    assert_eq!(&png[1..4], b"PNG");
}

#[test]
fn labels_repeat_once_in_the_legend() {
    let mut figure = figure();
    figure.panels.push(figure.panels[0].clone());
    assert_eq!(figure.legend_entries().len(), 2);
}

#[test]
fn nothing_to_draw_is_an_error() {
    let empty = |change: fn(&mut ThroughputFigure)| {
        let mut figure = figure();
        change(&mut figure);
        let error = figure.to_svg().unwrap_err();
        assert_eq!(figure.to_png().unwrap_err(), error);
        error.to_string()
    };
    let in_panel = "figure: \"fast\" of panel \"A panel\" has nothing to draw";
    assert_eq!(empty(|figure| figure.panels[0].curves[0].points.clear()), in_panel);
    let panel = "figure: panel \"A panel\" has nothing to draw";
    assert_eq!(
        empty(|figure| {
            figure.panels[0].curves.clear();
            figure.panels[0].marks.clear();
        }),
        panel
    );
    let whole = "figure: \"A figure\" has nothing to draw";
    assert_eq!(empty(|figure| figure.panels.clear()), whole);
    assert_eq!(empty(|figure| figure.hosts.clear()), whole);
}

#[test]
fn values_off_the_axes_are_an_error() {
    let error = |hosts, rate| {
        let mut figure = figure();
        figure.panels[0].curves[0].points[1] = (hosts, rate);
        figure.to_svg().unwrap_err()
    };
    for rate in [0.0, -1.0] {
        let error = error(4, rate);
        assert!(matches!(error, FigureError::OutOfRange { index: 1, .. }), "{error}");
    }
    let infinite = error(4, f64::INFINITY);
    assert!(matches!(infinite, FigureError::NotFinite { index: 1, .. }), "{infinite}");
    assert_eq!(
        error(5, 1.0).to_string(),
        "figure: \"fast\" of panel \"A panel\", point 1: number of hosts is 5, expected one of \
         the numbers of hosts of the figure"
    );
}

#[test]
fn a_mean_outside_of_its_bar_is_an_error() {
    let mut figure = figure();
    figure.panels[0].marks[0].points[0].max = 1.0;
    let error = figure.to_svg().unwrap_err();
    assert!(matches!(error, FigureError::OutOfRange { coordinate: "throughput", .. }), "{error}");
}
