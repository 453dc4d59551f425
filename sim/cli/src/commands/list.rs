//! `sim list`: what can be asked for, one line each.

use crate::arguments::ListArguments;
use crate::failure::Failure;
use crate::terminal::{self, Look};
use crate::text;
use sim_lab::experiment::{self, Experiment};
use sim_lab::fault;
use sim_lab::spec::{RunSpec, SpecError};
use sim_lab::suggest::UnknownName;
use sim_lab::{registry, workload};
use sim_model::settings::{Purpose, Setting, SettingKind};
use sim_world::profile::Profile;

/// A list: its name, what it holds, and its lines (name, rest).
type List = (&'static str, &'static str, fn() -> Result<Vec<Line>, Failure>);
type Line = (String, String);

const LISTS: [List; 9] = [
    ("engines", "--engine NAME", engines),
    ("workloads", "--workload NAME:KEY=VALUE,...", workloads),
    ("loads", "--load SHAPE", loads),
    ("profiles", "--profile NAME|PATH", profiles),
    ("plans", "--plan NAME", plans),
    ("settings", "--set ENGINE.KEY=VALUE", settings),
    ("ablations", "--set ENGINE.KEY=false", ablations),
    ("faults", "--fault KIND:KEY=VALUE,...,at=T,for=T", faults),
    ("figures", "sim figure NAME", figures),
];

/// Prints one list, or all under headings.
pub(crate) fn list(asked: &ListArguments) -> Result<(), Failure> {
    let look = Look::of_standard_output();
    let mut page = String::new();
    match &asked.what {
        Some(name) => {
            let found = LISTS.iter().find(|(known, _, _)| known == name);
            let known = LISTS.iter().map(|(known, _, _)| *known);
            let (_, _, lines) =
                found.ok_or_else(|| SpecError::Unknown(UnknownName::new("list", name, known)))?;
            page += &layout(&lines()?, look, 0);
        }
        None => {
            for (index, (name, usage, lines)) in LISTS.iter().enumerate() {
                let gap = if index == 0 { "" } else { "\n" };
                page += &format!("{gap}{} ({usage})\n", look.heading(name));
                page += &layout(&lines()?, look, text::INDENT);
            }
        }
    }
    terminal::print(&page)
}

/// The names of the lists.
pub(super) fn lists() -> Vec<String> {
    LISTS.iter().map(|(name, _, _)| (*name).to_owned()).collect()
}

/// What one of the lists has in its column of names.
pub(super) fn names_in(list: &str) -> Vec<String> {
    let found = LISTS.iter().find(|(known, _, _)| *known == list);
    let (_, _, lines) = found.expect("invariant: the list is one of those above");
    // The build's own profiles are what can fail here, and tests read them all.
    lines().map(|lines| lines.into_iter().map(|(name, _)| name).collect()).unwrap_or_default()
}

/// Names in one column and the rest in another. At a terminal lines are wrapped at words; in a
/// pipe each is one line, for `grep`.
fn layout(lines: &[Line], look: Look, indent: usize) -> String {
    let longest = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let width = if look.interactive { longest.min(look.columns / 3) } else { longest };
    let columns = if look.interactive { look.columns } else { usize::MAX };
    let rest_at = indent + width + 2;
    let mut page = String::new();
    for (name, rest) in lines {
        let pad = " ".repeat(width.saturating_sub(name.chars().count()) + 2);
        let head = format!("{}{name}", " ".repeat(indent));
        let wrapped = text::wrap(rest, columns, rest_at, rest_at);
        let overlong = name.chars().count() > width;
        if overlong && look.interactive {
            page += &format!("{head}\n{wrapped}");
        } else {
            page += &format!("{head}{pad}{}", wrapped.trim_start());
        }
    }
    page
}

fn engines() -> Result<Vec<Line>, Failure> {
    let line = |engine: &registry::WorldEngine| (engine.name().into(), engine.summary().into());
    Ok(registry::engines().iter().map(line).collect())
}

fn workloads() -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for kind in workload::kinds() {
        lines.push((kind.name.to_owned(), format!("{} [load {}]", kind.summary, kind.load)));
        lines.extend(kind.files.iter().map(|file| {
            let needed = if file.required { "needed" } else { "may be left out" };
            let name = format!("{}:{}", kind.name, file.key);
            (name, format!("{} [path of a file; {needed}]", file.help))
        }));
        lines.extend(kind.parameters.iter().map(|parameter| described(kind.name, ':', parameter)));
    }
    Ok(lines)
}

fn loads() -> Result<Vec<Line>, Failure> {
    let line = |form: &str, what: &str| (form.to_owned(), what.to_owned());
    Ok(vec![
        line(
            "batch:N",
            "N at once; nobody waits for the results [also launcher=N (not for jobs), settle=T]",
        ),
        line(
            "open:rate=R,duration=T",
            "Poisson arrivals, R a second, whatever the system does [also settle=T]",
        ),
        line(
            "closed:clients=N,duration=T",
            "N clients, each with one request at a time [also think=T, settle=T]",
        ),
    ])
}

fn profiles() -> Result<Vec<Line>, Failure> {
    Profile::names()
        .map(|name| {
            let profile = Profile::named(name).map_err(SpecError::from)?;
            let plans: Vec<&str> = profile.plans.keys().map(String::as_str).collect();
            Ok((name.to_owned(), format!("plans {}", plans.join(", "))))
        })
        .collect()
}

fn plans() -> Result<Vec<Line>, Failure> {
    let usual = RunSpec::default().profile;
    let profile = Profile::named(&usual).map_err(SpecError::from)?;
    let line = |(name, plan): (&String, &sim_world::profile::Plan)| {
        let gib = plan.memory_bytes as f64 / f64::from(1 << 30);
        let cores = if plan.cores == 1 { "core" } else { "cores" };
        let what = format!(
            "{} {cores}, {gib} GiB, {:.4} USD an hour (profile {usual})",
            plan.cores, plan.price_per_hour
        );
        (name.clone(), what)
    };
    Ok(profile.plans.iter().map(line).collect())
}

fn settings() -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for engine in registry::engines() {
        let of_engine = engine.settings().iter();
        lines.extend(of_engine.map(|setting| described(engine.name(), '.', setting)));
    }
    Ok(lines)
}

/// The safety mechanisms of all engines, each as the setting that switches it off.
fn ablations() -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for engine in registry::engines() {
        let of_engine = engine.settings().iter();
        let safety = of_engine.filter(|setting| setting.purpose == Purpose::Safety);
        lines.extend(safety.map(|setting| ablation(engine.name(), setting)));
    }
    Ok(lines)
}

fn ablation(engine: &str, setting: &Setting) -> Line {
    debug_assert_eq!(setting.kind, SettingKind::Flag, "a mechanism has a switch");
    let usual = if setting.default == "false" { " [off by default]" } else { "" };
    (format!("{engine}.{}=false", setting.key), format!("{}{usual}", setting.help))
}

fn faults() -> Result<Vec<Line>, Failure> {
    Ok(fault::KINDS
        .iter()
        .map(|kind| (kind.name.to_owned(), super::faults::keys_of(kind)))
        .collect())
}

fn figures() -> Result<Vec<Line>, Failure> {
    let line = |known: &Experiment| (known.name().to_owned(), known.summary().to_owned());
    Ok(experiment::all().iter().map(line).collect())
}

fn described(owner: &str, separator: char, setting: &Setting) -> Line {
    let purpose = match setting.purpose {
        Purpose::Parameter => "",
        Purpose::Performance => ", performance",
        Purpose::Safety => ", safety",
    };
    let (expected, default) = (setting.kind.expected(), setting.default);
    let name = format!("{owner}{separator}{}", setting.key);
    (name, format!("{} [{expected}; default {default}{purpose}]", setting.help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        let line = |name: &str, rest: &str| (name.to_owned(), rest.to_owned());
        vec![line("short", "a few words"), line("a-rather-long-name", "and its explanation")]
    }

    #[test]
    fn in_a_pipe_each_item_is_one_line() {
        assert_eq!(
            layout(&lines(), Look::PIPED, 0),
            "short               a few words\na-rather-long-name  and its explanation\n"
        );
    }

    #[test]
    fn a_narrow_terminal_is_not_overrun() {
        let look = Look { columns: 24, interactive: true, colours: false };
        assert_eq!(
            layout(&lines(), look, 0),
            "short     a few words\na-rather-long-name\n          and its\n          explanation\n"
        );
    }

    #[test]
    fn every_safety_mechanism_has_a_switch() {
        let engines = registry::engines();
        let settings = engines.iter().flat_map(|engine| engine.settings());
        let safety = settings.filter(|setting| setting.purpose == Purpose::Safety);
        let kinds: Vec<_> = safety.map(|setting| (setting.key, setting.kind)).collect();
        assert!(kinds.len() > 30, "{kinds:?}");
        assert!(kinds.iter().all(|(_, kind)| *kind == SettingKind::Flag), "{kinds:?}");
    }

    #[test]
    fn everything_is_listed_on_one_line() {
        for (name, _, lines) in LISTS {
            let lines = lines().expect(name);
            assert!(!lines.is_empty(), "{name}");
            for (item, rest) in lines {
                assert!(!item.is_empty() && !rest.contains('\n'), "{name}: {item}: {rest}");
            }
        }
    }
}
