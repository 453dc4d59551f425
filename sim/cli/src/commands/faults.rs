//! `sim faults`: what a fault plan says, in words, and which faults a seed makes of it.

use crate::arguments::FaultsArguments;
use crate::failure::Failure;
use crate::terminal::{self, Look};
use crate::text;
use sim_lab::fault::{self, Asked, Fault, FaultPlan, Kind, Lasting, Made};
use sim_lab::spec::RunSpec;
use sim_model::engine::FaultClass;

/// Explains the plan that is asked for.
pub(crate) fn faults(asked: &FaultsArguments) -> Result<(), Failure> {
    let spec = specification(asked)?;
    let wanted = Asked {
        faults: Vec::new(),
        plan: asked.explain.as_deref().map(FaultPlan::load).transpose()?,
        chaos: asked.chaos.as_deref().map(str::parse).transpose()?,
        beyond_budget: false,
        kinds: None,
    };
    let made = fault::make(&spec, &wanted)?;
    let look = Look::of_standard_output();
    let mut page = budget(&spec, &made, look);
    for plan in wanted.plan.iter().chain(&made.chaos) {
        page += &format!("\n{}\n", look.heading("Plan"));
        for (index, sentence) in plan.explain().iter().enumerate() {
            page +=
                &text::wrap(&format!("{}. {sentence}", index + 1), look.columns, text::INDENT, 5);
        }
    }
    if !wanted.is_empty() {
        let heading = format!("Faults of seed {}", spec.seed);
        page += &format!("\n{}\n", look.heading(&heading));
        let outside = |fault: &Fault| !made.under.covers(fault.class());
        for fault in &made.faults {
            let note = if outside(fault) { "   (outside of the budget)" } else { "" };
            page += &format!("{}{fault}{note}\n", " ".repeat(text::INDENT));
        }
        let counts = fault::by_kind(&made.faults).into_iter();
        let counts: Vec<String> = counts.map(|(kind, count)| format!("{count} {kind}")).collect();
        let total = made.faults.len();
        page += &text::wrap(
            &format!("{total} in all: {}", counts.join(", ")),
            look.columns,
            text::INDENT,
            text::INDENT,
        );
    }
    terminal::print(&page)
}

fn specification(asked: &FaultsArguments) -> Result<RunSpec, Failure> {
    let mut spec = RunSpec::default();
    if let Some(engine) = &asked.engine {
        spec.engine.clone_from(engine);
    }
    if let Some(load) = &asked.load {
        spec.load = load.parse()?;
    }
    spec.hosts = asked.hosts.unwrap_or(spec.hosts);
    spec.seed = asked.seed.unwrap_or(spec.seed);
    for setting in &asked.settings {
        spec.set(setting)?;
    }
    Ok(spec)
}

/// What the engine promises to survive.
fn budget(spec: &RunSpec, made: &Made, look: Look) -> String {
    let names = |covered: bool| {
        let classes = FaultClass::ALL.iter().filter(|class| made.budget.covers(**class) == covered);
        let names: Vec<&str> = classes.map(|class| class.name()).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    let heading = look.heading(&format!("Fault budget of {}", spec.engine));
    let line = |text: String| text::wrap(&text, look.columns, text::INDENT, text::INDENT + 2);
    let heals = made.budget.heals_within.as_secs_f64();
    format!(
        "{heading}\n{}{}{}{}",
        line(format!("survives {}", names(true))),
        line(format!("does not promise to survive {}", names(false))),
        made.targets
            .tolerance()
            .into_iter()
            .map(|group| line(format!("byzantine: at most {group} in a run")))
            .collect::<String>(),
        line(format!("is well again within {heals} s of the last of them")),
    )
}

/// What a kind of fault does and takes, in a line.
pub(super) fn keys_of(kind: &Kind) -> String {
    let mut keys: Vec<String> = kind
        .keys
        .iter()
        .map(|key| match key.default {
            None => key.name.to_owned(),
            Some(default) => format!("{} (default {default})", key.name),
        })
        .collect();
    keys.push("at".to_owned());
    if kind.lasting == Lasting::Yes {
        keys.push("for".to_owned());
    }
    format!("{} [{}; class {}]", kind.summary, keys.join(", "), kind.class)
}
