//! Profiles: what loads, and what each mistake says.

use sim_world::profile::{Profile, ProfileError, Provenance};
use std::time::Duration;

const TEXT: &str = include_str!("../../../experiments/profiles/azure-2021-10.toml");

/// The embedded text with the first `from` after the header of `section` replaced by `to`; the
/// values of the entries may be calibrated without changing these tests.
fn changed(section: &str, from: &str, to: &str) -> String {
    let header = format!("[{section}]");
    let start = TEXT.find(&header).unwrap_or_else(|| panic!("no section {section}"));
    let (before, rest) = TEXT.split_at(start);
    assert!(rest.contains(from), "{from:?} follows {header}");
    format!("{before}{}", rest.replacen(from, to, 1))
}

/// The embedded text with the content of an entry's braces replaced.
fn entry(section: &str, key: &str, content: &str) -> String {
    let header = format!("[{section}]");
    let start = TEXT.find(&header).unwrap_or_else(|| panic!("no section {section}"));
    let line = TEXT[start..].lines().find(|line| line.starts_with(&format!("{key} = ")));
    let line = line.unwrap_or_else(|| panic!("no entry {section}.{key}"));
    changed(section, line, &format!("{key} = {{ {content} }}"))
}

/// The one line in which `text` is refused.
fn refused(text: &str) -> String {
    let line = Profile::parse("changed", text).expect_err("is refused").to_string();
    assert!(!line.contains('\n'), "one line: {line}");
    assert!(line.starts_with("profile changed: "), "{line}");
    line
}

#[test]
fn every_embedded_profile_loads_with_sources() {
    for name in Profile::names() {
        let profile = Profile::named(name).expect("embedded profiles are valid");
        assert_eq!(profile.name, name);
        assert!(profile.entries.len() > 80, "{} entries", profile.entries.len());
        for entry in &profile.entries {
            let (Provenance::Source(text) | Provenance::FittedTo(text)) = &entry.provenance;
            assert!(text.len() > 5, "{}: {text:?} is no source", entry.field);
        }
    }
}

#[test]
fn a_profile_replaces_entries_of_its_base() {
    let text = "base = \"azure-2021-10\"\n[cpu]\n\
        step = { value = 7, unit = \"ms\", source = \"this test\" }";
    let (base, changed) = (
        Profile::named("azure-2021-10").expect("valid"),
        Profile::parse("changed", text).expect("valid"),
    );
    assert_eq!(changed.cpu.step, Duration::from_millis(7));
    assert_eq!(changed.name, "changed");
    let differ: Vec<_> = (base.entries.iter().zip(&changed.entries))
        .filter(|(before, after)| before.provenance != after.provenance)
        .map(|(_, after)| after.field.clone())
        .collect();
    assert_eq!(differ, ["cpu.step"]);
    assert_eq!(changed.retry.timeout, base.retry.timeout);
}

#[test]
fn a_base_is_known_and_has_what_is_replaced() {
    let with = |rest: &str| refused(&format!("base = \"azure-2021-10\"\n{rest}"));
    let line = with("[cpu]\nstap = { value = 7, unit = \"ms\", source = \"this test\" }");
    assert!(line.contains("field cpu.stap: is not in the base"), "{line}");
    let line = with("[cpu]\nstep = { value = -7, unit = \"ms\", source = \"this test\" }");
    assert!(line.contains("cpu.step"), "{line}");
    let line = with("cpu = 7");
    assert!(line.contains("cpu"), "{line}");
    let line = refused("base = \"azure-2021-11\"");
    assert!(line.contains("field base") && line.contains("azure-2021-10"), "{line}");
    assert!(refused("base = 7").contains("field base: is not text"));
}

#[test]
fn units_are_converted() {
    let profile = Profile::named("azure-2021-10").expect("valid");
    assert_eq!(profile.host.quantum, Duration::from_millis(10));
    assert_eq!(profile.services.queue.message_bytes_max, 65_536);
    assert_eq!(profile.services.blob.bandwidth_bytes_per_s, 60.0 * 1_048_576.0);
    assert_eq!(profile.services.eventlog.ingress_bytes_per_s, 1e6);
    assert!((profile.plan("EP1").expect("exists").price_per_hour - 157.72 / 730.0).abs() < 1e-12);
    assert!((profile.prices.queue_operation - 0.004 / 10_000.0).abs() < 1e-18);
    assert!((profile.prices.eventlog_event - 0.03 / 1e6).abs() < 1e-18);
    assert_eq!(profile.plan("EP3").expect("exists").memory_bytes, 14 << 30);
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let error = Profile::load("azure-2021-1").expect_err("unknown");
    assert!(matches!(&error, ProfileError::Unknown { nearest, .. } if nearest == "azure-2021-10"));
    assert!(error.to_string().contains("did you mean \"azure-2021-10\""), "{error}");
    let profile = Profile::named("azure-2021-10").expect("valid");
    let error = profile.plan("EP9").expect_err("unknown").to_string();
    assert!(error.contains("plans.EP9") && error.contains("EP1, EP2, EP3"), "{error}");
}

#[test]
fn a_profile_loads_from_a_path() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/profiles/azure-2021-10.toml");
    assert_eq!(Profile::load(path).expect("valid").name, "azure-2021-10");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    assert!(matches!(Profile::load(folder), Err(ProfileError::Unreadable { .. })));
}

#[test]
fn a_misspelt_key_is_named_with_the_nearest() {
    let line = refused(&changed("services.account", "busy_threshold", "busy_treshold"));
    assert!(line.contains("services.account.busy_treshold"), "{line}");
    assert!(line.contains("did you mean \"busy_threshold\"?"), "{line}");
    let line = refused(&changed("retry", "[retry]", "[retries]"));
    assert!(line.contains("field retries: is unknown, did you mean \"retry\"?"), "{line}");
    let line = refused(&changed("services.queue.latency", "median_ms", "median"));
    assert!(line.contains("services.queue.latency.put.median"), "{line}");
    assert!(line.contains("did you mean \"median_ms\"?"), "{line}");
    let line = refused(&changed("services.queue.latency", "lognormal", "lognomal"));
    assert!(line.contains("kind \"lognomal\" is unknown, did you mean \"lognormal\"?"), "{line}");
    let line = refused(&changed("cpu", "value =", "valeu ="));
    assert!(line.contains("cpu.step.valeu: is unknown, did you mean \"value\"?"), "{line}");
}

#[test]
fn a_missing_number_is_named_with_what_is_expected() {
    let line = refused(&changed("services.queue", "get_max = ", "# "));
    assert!(line.contains("services.queue.get_max: is missing, expected a number"), "{line}");
    let line = refused(&changed("services.queue.latency", "put = ", "# "));
    assert!(line.contains("services.queue.latency.put: is missing, expected a latency"), "{line}");
    let content = "kind = \"lognormal\", median_ms = 7, source = \"some\"";
    let line = refused(&entry("services.queue.latency", "put", content));
    assert!(line.contains("services.queue.latency.put: sigma is missing"), "{line}");
    let line = refused(&entry("cpu", "step", "unit = \"ms\", source = \"some\""));
    assert!(line.contains("cpu.step: value is missing, expected a span of time"), "{line}");
}

#[test]
fn a_wrong_number_is_named() {
    for (wrong, says) in [
        ("-1.4", "value is -1.4, expected a finite number >= 0"),
        ("nan", "value is NaN, expected a finite number >= 0"),
        ("inf", "value is inf, expected a finite number >= 0"),
        ("\"1.4\"", "value is a string, expected a number"),
    ] {
        let content = format!("value = {wrong}, unit = \"ms\", source = \"some\"");
        let line = refused(&entry("cpu", "step", &content));
        assert!(line.contains("cpu.step") && line.contains(says), "{line}");
    }
    for (wrong, says) in
        [("-7", "median_ms = -7: expected"), ("\"x\"", "median_ms is a string, expected a number")]
    {
        let content =
            format!("kind = \"lognormal\", median_ms = {wrong}, sigma = 0.5, source = \"some\"");
        let line = refused(&entry("services.queue.latency", "put", &content));
        assert!(line.contains("services.queue.latency.put: "), "{line}");
        assert!(line.contains(says), "{line}");
    }
    let content = "value = 32.5, unit = \"count\", source = \"some\"";
    let line = refused(&entry("services.queue", "get_max", content));
    assert!(line.contains("services.queue.get_max: value is 32.5, expected a whole"), "{line}");
    let content = "value = 0, unit = \"1/s\", source = \"some\"";
    let line = refused(&entry("services.account", "rate", content));
    assert!(line.contains("services.account.rate: value is 0, expected more"), "{line}");
}

#[test]
fn a_bare_number_a_wrong_unit_and_a_missing_source_are_refused() {
    let line = refused(&entry("cpu", "step", "value = 1, unit = \"m\", source = \"some\""));
    assert!(
        line.contains("cpu.step: unit is \"m\", expected \"ns\" or \"us\" or \"ms\""),
        "{line}"
    );
    let line = refused(&changed("services.queue", "get_max = {", "get_max = 32 #"));
    assert!(line.contains("services.queue.get_max: is of type integer, expected"), "{line}");
    for (labels, says) in [
        ("", "has neither source nor fitted_to"),
        (", source = \"a\", fitted_to = \"b\"", "has both source and fitted_to"),
        (", source = \"\"", "source is not a text with content"),
    ] {
        let content = format!("value = 32, unit = \"count\"{labels}");
        let line = refused(&entry("services.queue", "get_max", &content));
        assert!(line.contains("services.queue.get_max: ") && line.contains(says), "{line}");
    }
}

#[test]
fn fields_are_checked_against_each_other() {
    let quantity =
        |value: u32, unit| format!("value = {value}, unit = {unit:?}, source = \"some\"");
    let line = refused(&entry("host", "background_cores", &quantity(1, "cores")));
    assert!(line.contains("host.background_cores: leaves nothing of the 1 cores"), "{line}");
    let line = refused(&entry("services.eventlog", "throughput_units", &quantity(21, "count")));
    assert!(line.contains("services.eventlog.throughput_units: value is 21"), "{line}");
    let line = refused(&entry("retry", "min_backoff", &quantity(300, "s")));
    assert!(line.contains("retry.min_backoff: is above max_backoff"), "{line}");
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_line() {
    let at = TEXT.lines().position(|line| line == "[host]").expect("has hosts") + 1;
    let line = refused(&changed("host", "[host]", "[host"));
    assert!(line.contains(&format!("not valid TOML at line {at}")), "{line}");
}

#[test]
fn disks_and_servers_name_the_field_that_is_wrong() {
    let disk = |key: &str, content: &str| refused(&entry("disks.premium-ssd", key, content));
    let source = "source = \"this test\"";
    let line = disk("page", &format!("value = 4095, unit = \"bytes\", {source}"));
    assert!(line.contains("field disks.premium-ssd.page: value is 4095 bytes"), "{line}");
    assert!(line.contains("a multiple of sector (4096 bytes)"), "{line}");
    let line = disk("sector", &format!("value = 0, unit = \"bytes\", {source}"));
    assert!(line.contains("field disks.premium-ssd.sector: value is 0"), "{line}");
    let line = disk("request_size_max", &format!("value = 0, unit = \"bytes\", {source}"));
    assert!(line.contains("field disks.premium-ssd.request_size_max"), "{line}");
    let line = disk("queue_depth", &format!("value = 0, unit = \"count\", {source}"));
    assert!(line.contains("field disks.premium-ssd.queue_depth"), "{line}");
    let line = disk("iops", &format!("value = 0, unit = \"1/s\", {source}"));
    assert!(line.contains("field disks.premium-ssd.iops: value is 0"), "{line}");
    let line = disk("bandwidth", &format!("value = -1, unit = \"MB/s\", {source}"));
    assert!(line.contains("field disks.premium-ssd.bandwidth: value is -1"), "{line}");
    let line = disk("dirty_limit", &format!("value = 5, unit = \"GiB\", {source}"));
    assert!(line.contains("field disks.premium-ssd.dirty_limit: is above cache"), "{line}");
    let line = disk("dirty_limit", &format!("value = 300, unit = \"MiB\", {source}"));
    assert!(line.contains("field disks.premium-ssd.dirty_background: is above"), "{line}");
    let line = disk("capacity", &format!("value = 100, unit = \"bytes\", {source}"));
    assert!(line.contains("field disks.premium-ssd.capacity: is below page"), "{line}");
    let line = disk("writeback_interval", &format!("value = 0, unit = \"s\", {source}"));
    assert!(line.contains("field disks.premium-ssd.writeback_interval: value is 0"), "{line}");
    let line = disk("flush", &format!("kind = \"constant\", value_ms = -1, {source}"));
    assert!(line.contains("field disks.premium-ssd.flush"), "{line}");
    let line = refused(&changed("disks.premium-ssd", "queue_depth = ", "queue_dept = "));
    assert!(line.contains("disks.premium-ssd.queue_dept: is unknown, did you mean"), "{line}");
    let line = refused(&changed("machines.stream-store", "\"premium-ssd\"", "\"premium-sdd\""));
    assert!(
        line.contains("field machines.stream-store.disk: \"premium-sdd\" is no class"),
        "{line}"
    );
    assert!(line.contains("local-ssd, premium-ssd"), "{line}");
    let line = refused(&changed("host", "\"local-ssd\"", "7"));
    assert!(line.contains("field host.disk: is of type integer, expected a name"), "{line}");
    let zero = format!("value = 0, unit = \"s\", {source}");
    for (section, key) in [
        ("selfhosted", "keep_alive"),
        ("selfhosted", "connect_timeout"),
        ("broker", "request_timeout"),
        ("log_store", "request_timeout"),
        ("log_store", "retry"),
    ] {
        let line = refused(&entry(section, key, &zero));
        assert!(line.contains(&format!("field {section}.{key}: value is 0")), "{line}");
    }
    let line = refused(&changed("broker", "threads = ", "thread = "));
    assert!(line.contains("broker.thread: is unknown, did you mean \"threads\"?"), "{line}");
    let line = refused(&changed("stream_store", "client_cpu = ", "# "));
    assert!(line.contains("field stream_store.client_cpu: is missing"), "{line}");
}

#[test]
fn a_profile_without_servers_is_one_in_which_they_cannot_be_started() {
    let (base, rest) = TEXT.split_once("\n[selfhosted]").expect("there is one");
    assert!(rest.contains("[stream_store]") && rest.contains("[broker]"), "they follow it");
    let profile = Profile::parse("plain", base).expect("valid without them");
    assert!(profile.selfhosted.is_none() && profile.store.is_none() && profile.broker.is_none());
}
