//! The command that repeats a run.

use sim_lab::spec::RunSpec;

/// The arguments that repeat a run of `spec`, one item for each flag with its value. Everything
/// but settings is written out, so that the command stands for the same run if a default changes.
pub(crate) fn flags(spec: &RunSpec) -> Vec<String> {
    let mut flags = vec![
        format!("--engine {}", quoted(&spec.engine)),
        format!("--workload {}", quoted(&spec.workload.to_string())),
        format!("--load {}", quoted(&spec.load.to_string())),
        format!("--plan {}", quoted(&spec.plan)),
        format!("--hosts {}", spec.hosts),
        format!("--partitions {}", spec.partitions),
        format!("--profile {}", quoted(&spec.profile)),
        format!("--seed {}", spec.seed),
    ];
    let events = spec.host_events.iter();
    flags.extend(events.map(|event| format!("--host-event {}", quoted(&event.to_string()))));
    flags.extend(spec.autoscale.map(|bounds| format!("--autoscale {bounds}")));
    let faults = spec.faults.iter();
    flags.extend(faults.map(|fault| format!("--fault {}", quoted(&fault.to_string()))));
    let settings = spec.settings.iter();
    flags.extend(
        settings.map(|(key, value)| format!("--set {}", quoted(&format!("{key}={value}")))),
    );
    flags
}

/// The command on one line.
pub(crate) fn command(spec: &RunSpec) -> String {
    format!("sim run {}", flags(spec).join(" "))
}

/// The command in lines of at most `columns`, which a shell takes as one.
pub(crate) fn command_lines(spec: &RunSpec, columns: usize, indent: usize) -> String {
    const CONTINUED: &str = " \\";
    let mut text = String::new();
    let mut line = format!("{}sim run", " ".repeat(indent));
    for flag in flags(spec) {
        if line.chars().count() + 1 + flag.chars().count() + CONTINUED.len() > columns {
            text.push_str(&line);
            text.push_str(CONTINUED);
            text.push('\n');
            line = " ".repeat(indent + 4);
        } else {
            line.push(' ');
        }
        line.push_str(&flag);
    }
    text + &line + "\n"
}

/// `word` as a shell takes it unchanged.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./:=,@%+".contains(letter);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_everything_the_run_depends_on() {
        let mut spec = RunSpec { seed: 7, ..RunSpec::default() };
        spec.set("netherite.speculation=none").expect("a setting");
        assert_eq!(
            command(&spec),
            "sim run --engine netherite --workload hello:length=5 --load \
             open:rate=20,duration=30s --plan EP2 --hosts 4 --partitions 12 --profile \
             azure-2021-10 --seed 7 --set netherite.speculation=none"
        );
    }

    #[test]
    fn lines_are_continued_and_never_broken_within_a_flag() {
        let text = command_lines(&RunSpec::default(), 40, 2);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        let joined = text.replace(" \\\n", " ");
        let words: Vec<&str> = joined.split_whitespace().collect();
        assert_eq!(words.join(" "), command(&RunSpec::default()));
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_change_them() {
        assert_eq!(quoted("hello:length=5"), "hello:length=5");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("my profile.toml"), "'my profile.toml'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
