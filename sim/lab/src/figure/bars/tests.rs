use super::*;

fn part(name: &str, value: f64) -> BarPart {
    BarPart { name: name.to_owned(), value }
}

fn bar(engine: &str, parts: Vec<BarPart>) -> Bar {
    let label = engine.to_owned();
    Bar { label, engine: engine.to_owned(), parts, range: None, measured: None, note: None }
}

fn figure() -> BarsFigure {
    let mut measured = bar("azure-storage", vec![part("queue", 40.0), part("table", 26.1)]);
    (measured.measured, measured.range) = (Some(75.0), Some((65.0, 67.5)));
    BarsFigure {
        title: "Operations".to_owned(),
        panels: vec![BarsPanel {
            title: "hello".to_owned(),
            of: "operations".to_owned(),
            bars: vec![measured, bar("netherite", vec![part("blob", 3.0), part("queue", 0.0)])],
        }],
        caption: "Experiment x: seeds 1.".to_owned(),
    }
}

#[test]
fn a_figure_is_the_same_bytes_each_time_and_names_all_it_shows() {
    let (one, other) = (figure().to_svg().expect("drawn"), figure().to_svg().expect("drawn"));
    assert_eq!(one, other);
    for said in ["queue", "table", "blob", "measured", "azure-storage", "66.1", "3"] {
        assert!(one.contains(&format!(">\n{said}\n<")) || one.contains(said), "{said}");
    }
    assert!(figure().to_png().expect("drawn").starts_with(b"\x89PNG"));
}

#[test]
fn bars_of_one_part_have_the_colors_of_engines_and_no_colors_of_parts() {
    let mut single = figure();
    for bar in &mut single.panels[0].bars {
        bar.parts.truncate(1);
    }
    assert!(single.part_names().is_empty());
    let labels: Vec<String> =
        single.legend_entries().into_iter().map(|entry| entry.label).collect();
    assert_eq!(labels, ["azure-storage", "netherite", "measured"]);
}

#[test]
fn a_part_of_nothing_takes_no_color() {
    assert_eq!(figure().part_names(), ["queue", "table", "blob"]);
}

#[test]
fn what_cannot_be_drawn_is_refused_by_name() {
    let refusal = |change: fn(&mut BarsFigure)| {
        let mut figure = figure();
        change(&mut figure);
        figure.to_svg().expect_err("refused").to_string()
    };
    assert!(refusal(|figure| figure.panels.clear()).contains("\"Operations\" has nothing"));
    assert!(
        refusal(|figure| figure.panels[0].bars.clear()).contains("panel \"hello\" has nothing")
    );
    let not_finite = refusal(|figure| figure.panels[0].bars[1].parts[0].value = f64::NAN);
    assert!(not_finite.contains("\"netherite\" of panel \"hello\", point 0: part is NaN"));
    let negative = refusal(|figure| figure.panels[0].bars[0].measured = Some(-1.0));
    assert!(negative.contains("measurement is -1, expected zero or more"), "{negative}");
}

#[test]
fn sums_have_three_digits_that_count() {
    let said = [0.0, 0.0123, 3.24159, 66.123, 1340.7].map(rounded);
    assert_eq!(said, ["0", "0.012", "3.24", "66.1", "1341"]);
}
