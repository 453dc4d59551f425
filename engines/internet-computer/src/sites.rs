//! Where replicas are: round trips between real sites.
//!
//! Source: dfinity/developer-docs@b58cf04 docs/concepts/protocol/performance.md, table of round-trip
//! times between nodes, September 2023 (each value the mean of both directions where they differ).

use crate::block::ReplicaId;
use std::time::Duration;

/// What the setting `sites` takes.
pub(crate) const NAMES: &[&str] = &["one", "europe", "america", "world"];

/// The twelve sites of the table.
const SITES: [&str; 12] = [
    "Brussels",
    "Chicago",
    "Dallas",
    "Fremont",
    "Geneva",
    "Ljubljana",
    "Munich",
    "Orlando",
    "Singapore",
    "Stockholm",
    "Tokyo",
    "Zurich",
];

/// Microseconds of the round trip between two sites, a row for each site with the sites after it.
const ROUND_TRIPS: [&[u64]; 12] = [
    &[102_000, 121_000, 143_000, 17_650, 27_400, 18_350, 106_000, 167_000, 36_600, 223_000, 16_070],
    &[24_600, 59_050, 118_000, 130_000, 110_000, 49_400, 249_500, 117_500, 152_000, 121_500],
    &[53_800, 132_000, 137_000, 127_000, 37_050, 276_000, 131_000, 139_000, 129_500],
    &[145_000, 156_000, 145_000, 67_700, 191_000, 161_000, 109_000, 147_000],
    &[26_950, 17_900, 112_000, 257_500, 38_300, 248_000, 16_050],
    &[17_550, 123_000, 258_000, 42_000, 235_000, 22_100],
    &[118_000, 251_000, 37_500, 246_000, 12_350],
    &[250_000, 131_000, 166_000, 111_000],
    &[195_500, 177_000, 200_250],
    &[260_000, 36_900],
    &[230_000],
    &[],
];

/// The sites of a choice, by their number in the table.
fn members(sites: &str) -> Vec<usize> {
    let wanted: &[&str] = match sites {
        "europe" => &["Brussels", "Geneva", "Ljubljana", "Munich", "Stockholm", "Zurich"],
        "america" => &["Chicago", "Dallas", "Fremont", "Orlando"],
        _ => &SITES,
    };
    (0..SITES.len()).filter(|site| wanted.contains(&SITES[*site])).collect()
}

/// The round trip between two replicas that are dealt to the sites of `sites` in turn; `None` if they
/// are in one data centre.
pub(crate) fn round_trip(sites: &str, one: ReplicaId, other: ReplicaId) -> Option<Duration> {
    if sites == "one" {
        return None;
    }
    let members = members(sites);
    let site = |replica: ReplicaId| members[usize::from(replica.0) % members.len()];
    let (near, far) = (site(one).min(site(other)), site(one).max(site(other)));
    if near == far {
        return None;
    }
    Some(Duration::from_micros(ROUND_TRIPS[near][far - near - 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_all_pairs() {
        for (site, row) in ROUND_TRIPS.iter().enumerate() {
            assert_eq!(row.len(), 11 - site, "{}", SITES[site]);
        }
        assert_eq!(ROUND_TRIPS.iter().map(|row| row.len()).sum::<usize>(), 66);
    }

    #[test]
    fn replicas_are_dealt_to_sites() {
        let between = |sites, one, other| round_trip(sites, ReplicaId(one), ReplicaId(other));
        assert_eq!(between("one", 0, 1), None);
        let pair = |millis: f64| Some(Duration::from_micros((millis * 1e3) as u64));
        assert_eq!(between("world", 0, 1), pair(102.0), "Brussels and Chicago");
        assert_eq!(between("world", 11, 10), pair(230.0), "Zurich and Tokyo");
        assert_eq!(between("europe", 0, 1), pair(17.65), "Brussels and Geneva");
        assert_eq!(between("europe", 0, 6), None, "both in Brussels");
        assert_eq!(between("america", 1, 2), pair(53.8), "Dallas and Fremont");
    }
}
