use super::*;

fn figure(points: &[(f64, f64)]) -> TimelineFigure {
    let curve = TimelineCurve {
        label: "netherite".to_owned(),
        engine: "netherite".to_owned(),
        stroke: Stroke::Solid,
        points: points.to_vec(),
    };
    let band = TimelineBand { from: 1.0, to: 2.0, label: "host 1 down".to_owned() };
    let panel = TimelinePanel {
        title: "A crash".to_owned(),
        end: 10.0,
        curves: vec![curve],
        bands: vec![band],
    };
    TimelineFigure {
        title: "Recovery".to_owned(),
        of: "orchestrations a second".to_owned(),
        panels: vec![panel],
        caption: "One seed.".to_owned(),
    }
}

#[test]
fn a_figure_shows_rates_and_what_happened() {
    let drawn = figure(&[(0.0, 20.0), (1.0, 0.0), (2.0, 21.0)]);
    let svg = drawn.to_svg().expect("can be drawn");
    for text in ["Recovery", "A crash", "netherite", "host 1 down", "One seed."] {
        assert!(svg.contains(text), "{text}");
    }
    assert_eq!(drawn.to_svg(), Ok(svg));
    assert!(drawn.to_png().is_ok_and(|png| png.starts_with(b"\x89PNG")));
}

#[test]
fn what_cannot_be_drawn_is_named() {
    let refused = |points: &[(f64, f64)]| figure(points).to_svg().expect_err("refused").to_string();
    assert!(refused(&[]).contains("has nothing to draw"));
    assert!(refused(&[(0.0, f64::NAN)]).contains("rate is NaN"));
    assert!(refused(&[(0.0, -1.0)]).contains("zero or more"));
    assert!(refused(&[(1.0, 1.0), (1.0, 2.0)]).contains("time does"));
    let none = TimelineFigure { panels: Vec::new(), ..figure(&[(0.0, 1.0)]) };
    assert!(none.to_svg().is_err());
}
