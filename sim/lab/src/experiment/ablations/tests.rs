use super::super::{ResultTable, named};
use super::*;

fn embedded() -> AblationsExperiment {
    match named("ablations") {
        Ok(Experiment::Ablations(experiment)) => experiment,
        other => panic!("{other:?}"),
    }
}

/// A mechanism that nobody looks at may have lost its purpose.
#[test]
fn every_safety_mechanism_is_studied() {
    let experiment = embedded();
    for engine in registry::engines() {
        for setting in engine.settings() {
            if setting.purpose == Purpose::Safety {
                let studied = experiment.ablations.iter().any(|ablation| {
                    ablation.engine == engine.name() && ablation.mechanism == setting.key
                });
                assert!(studied, "{}.{}", engine.name(), setting.key);
            }
        }
    }
}

#[test]
fn every_kind_of_fault_is_in_one_group() {
    let grouped = embedded().groups.into_iter().flat_map(|group| group.kinds);
    let mut grouped: Vec<String> = grouped.collect();
    grouped.sort();
    let mut all: Vec<&str> = fault::KINDS.iter().map(|kind| kind.name).collect();
    all.sort_unstable();
    assert_eq!(grouped, all);
}

#[test]
fn what_does_not_exist_is_refused() {
    let told = |change: fn(&mut AblationsExperiment)| {
        let mut experiment = embedded();
        change(&mut experiment);
        experiment.check().expect_err("refused").to_string()
    };
    let mechanism = told(|study| study.ablations[0].mechanism = "lease_etga".to_owned());
    assert!(mechanism.contains("lease_etag"), "{mechanism}");
    let performance = told(|study| study.ablations[0].mechanism = "step_order".to_owned());
    assert!(performance.contains("safety mechanism of azure-storage"), "{performance}");
    let kind = told(|study| study.groups[1].kinds[0] = "crush".to_owned());
    assert!(kind.contains("crash"), "{kind}");
    let twice = told(|study| study.ablations.push(study.ablations[0].clone()));
    assert!(twice.contains("twice"), "{twice}");
    let none = told(|study| study.seeds.clear());
    assert!(none.contains("seeds"), "{none}");
}

/// A mechanism that is found by crashes alone, and columns that do not apply.
#[test]
fn a_study_says_what_was_found_under_which_faults() {
    let mut study = embedded();
    study.ablations.retain(|ablation| ablation.mechanism == "restart_pending");
    study.groups.retain(|group| ["none", "crashes", "disks"].contains(&group.title.as_str()));
    (study.seeds, study.seeds_by_group) = ((1..=64).collect(), 40);
    let outcome =
        study.check().expect("valid").run(Some(2), &Progress::default()).expect("a study");
    let ResultTable::Matrix(matrix) = &outcome.table else { panic!("{:?}", outcome.table) };
    assert_eq!(matrix.misses, Vec::<String>::new());
    let shades: Vec<Shade> =
        matrix.figure.groups[0].rows[0].cells.iter().map(|cell| cell.shade).collect();
    assert_eq!(shades, [Shade::Good, Shade::Plain, Shade::Good, Shade::Blank]);
    let again = study.check().expect("valid").run(Some(1), &Progress::default()).expect("a study");
    assert_eq!(again.files(), outcome.files(), "whatever the number of threads");
    let plan = &outcome.files().expect("files")["plan-netherite-restart_pending.toml"];
    let text = String::from_utf8(plan.clone()).expect("text");
    let regression: explore::Regression = toml::from_str(&text).expect("a regression");
    let replayed = explore::replay(&regression).expect("it can be run");
    assert_eq!(replayed.differences, Vec::<String>::new());
}
