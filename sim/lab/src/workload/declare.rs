//! Parameters of workloads, declared in a line each.

use sim_model::settings::{Purpose, Setting, SettingKind};
use std::time::Duration;

/// A whole number within bounds, both included.
pub(super) const fn count(
    key: &'static str,
    bounds: (u64, u64),
    default: &'static str,
    help: &'static str,
) -> Setting {
    let (min, max) = bounds;
    parameter(key, SettingKind::Count { min, max }, default, help)
}

/// A span of time of at most `max`.
pub(super) const fn span(
    key: &'static str,
    max: Duration,
    default: &'static str,
    help: &'static str,
) -> Setting {
    parameter(key, SettingKind::Span { max }, default, help)
}

/// One of some words.
pub(super) const fn choice(
    key: &'static str,
    words: &'static [&'static str],
    default: &'static str,
    help: &'static str,
) -> Setting {
    parameter(key, SettingKind::Choice(words), default, help)
}

const fn parameter(
    key: &'static str,
    kind: SettingKind,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, kind, default, purpose: Purpose::Parameter, help }
}
