//! Tests of the latency distributions: bytes, errors, thinning.

use super::page::down_sample;
use super::*;
use crate::figure::canvas::{Point, at};

fn curve(label: &str, points: Vec<(f64, f64)>) -> CdfCurve {
    CdfCurve { label: label.into(), engine: "netherite".into(), stroke: Stroke::Solid, points }
}

fn figure(points: Vec<(f64, f64)>) -> CdfFigure {
    CdfFigure {
        title: "A figure".into(),
        panels: vec![CdfPanel {
            title: "A panel".into(),
            curves: vec![curve("simulated", points)],
            marks: vec![CdfMarks {
                label: "measured".into(),
                engine: "azure-storage".into(),
                points: vec![(10.0, 0.5), (30.0, 0.99)],
            }],
        }],
        own_axes: false,
        caption: "What was run.".into(),
    }
}

fn ramp(count: usize) -> Vec<(f64, f64)> {
    (1..=count).map(|i| (10.0 + i as f64 * 0.01, i as f64 / count as f64)).collect()
}

#[test]
fn the_same_figure_is_the_same_bytes() {
    let figure = figure(ramp(5_000));
    assert_eq!(figure.to_svg().unwrap(), figure.clone().to_svg().unwrap());
    let png = figure.to_png().unwrap();
    assert!(png == figure.clone().to_png().unwrap());
    assert_eq!(&png[1..4], b"PNG");
}

#[test]
fn the_svg_holds_the_words_and_names_a_generic_font() {
    let svg = figure(ramp(10)).to_svg().unwrap();
    for word in ["A figure", "A panel", "simulated", "measured", "What was run.", "sans-serif"] {
        assert!(svg.contains(word), "{word}");
    }
}

#[test]
fn nothing_to_draw_is_an_error() {
    let mut empty = figure(Vec::new());
    let error = empty.to_svg().unwrap_err();
    assert_eq!(error.to_string(), "figure: \"simulated\" of panel \"A panel\" has nothing to draw");
    assert_eq!(empty.to_png().unwrap_err(), error);
    empty.panels[0].curves.clear();
    empty.panels[0].marks.clear();
    assert_eq!(
        empty.to_svg().unwrap_err(),
        FigureError::Empty { what: "panel \"A panel\"".into() }
    );
    empty.panels.clear();
    assert_eq!(empty.to_svg().unwrap_err(), FigureError::Empty { what: "\"A figure\"".into() });
}

#[test]
fn numbers_that_are_none_are_an_error() {
    for (points, coordinate) in [
        (vec![(1.0, 0.1), (f64::NAN, 0.2)], "latency"),
        (vec![(1.0, 0.1), (f64::INFINITY, 0.2)], "latency"),
        (vec![(1.0, 0.1), (2.0, f64::NAN)], "fraction"),
    ] {
        match figure(points).to_svg().unwrap_err() {
            FigureError::NotFinite { index: 1, coordinate: found, .. } => {
                assert_eq!(found, coordinate);
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn values_off_the_axis_are_an_error() {
    for points in [vec![(-1.0, 0.5)], vec![(1.0, 1.01)], vec![(1.0, -0.01)]] {
        let error = figure(points).to_png().unwrap_err();
        assert!(matches!(error, FigureError::OutOfRange { index: 0, .. }), "{error}");
    }
}

#[test]
fn a_distribution_that_falls_is_an_error() {
    for points in [vec![(2.0, 0.1), (1.0, 0.2)], vec![(1.0, 0.2), (2.0, 0.1)]] {
        let error = figure(points).to_svg().unwrap_err();
        assert!(matches!(error, FigureError::Descending { index: 1, .. }), "{error}");
    }
}

#[test]
fn a_latency_of_zero_is_drawn() {
    figure(vec![(0.0, 0.5), (0.0, 1.0)]).to_svg().unwrap();
}

#[test]
fn down_sampling_keeps_the_ends_and_the_order() {
    for count in [1, 2, 3, 1_999, 2_000, 2_001, 5_000, 100_000] {
        let path: Vec<Point> = (0..count).map(|i| at(f64::from(i), f64::from(i).sqrt())).collect();
        let kept = down_sample(&path, CURVE_POINTS_MAX);
        assert!(kept.len() <= CURVE_POINTS_MAX);
        assert!(kept.len() >= path.len().min(CURVE_POINTS_MAX * 9 / 10), "{count}: {}", kept.len());
        assert_eq!((kept.first(), kept.last()), (path.first(), path.last()));
        assert!(kept.windows(2).all(|pair| pair[0].x < pair[1].x));
    }
}

#[test]
fn down_sampling_keeps_the_tail() {
    // 99,900 points in the first tenth of the way, 100 in the rest: the tail must survive.
    let head = (0..99_900).map(|i| at(f64::from(i) * 1e-3, 0.0));
    let tail = (1..=100).map(|i| at(99.9 + f64::from(i) * 9.0, 0.0));
    let path: Vec<Point> = head.chain(tail).collect();
    let kept = down_sample(&path, CURVE_POINTS_MAX);
    assert!(kept.iter().filter(|point| point.x > 99.95).count() >= 99);
}

#[test]
fn labels_repeat_once_in_the_legend() {
    let mut figure = figure(ramp(10));
    figure.panels.push(figure.panels[0].clone());
    assert_eq!(figure.legend_entries().len(), 2);
}
