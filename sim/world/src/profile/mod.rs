//! Named profiles: every latency, limit, price and CPU cost of a simulated environment.
//!
//! A profile is one TOML file. Each number in it is an entry with a unit, and with either the
//! `source` it was taken from or the published figure it was `fitted_to`; a bare number is an
//! error. Units are checked and converted on loading: durations become [`std::time::Duration`]s, sizes bytes,
//! rates things per second, prices US dollars per operation or per hour.
//!
//! No field depends on an engine or a workload (their names appear in citations only): a profile
//! describes the world.

mod broker;
mod database;
mod disk;
mod error;
mod inherit;
mod load;
mod log_store;
mod reader;
mod replication;
mod scale;
mod scaling;
mod schema;
mod selfhosted;
mod store;
mod transport;

pub use broker::BrokerProfile;
pub use database::{DatabaseCosts, DatabaseProfile};
pub use disk::DiskProfile;
pub use error::ProfileError;
pub(crate) use error::nearest;
pub use log_store::LogStoreProfile;
pub use replication::ReplicationProfile;
pub use scaling::ScalingProfile;
pub use schema::*;
pub use selfhosted::SelfHostedProfile;
pub use store::StoreProfile;
pub use transport::TransportProfile;

use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The embedded profiles: name and text.
const EMBEDDED: [(&str, &str); 2] = [
    ("azure-2021-10", include_str!("../../../../experiments/profiles/azure-2021-10.toml")),
    ("azure-2021-02", include_str!("../../../../experiments/profiles/azure-2021-02.toml")),
];

/// The embedded profiles as they are once read: a campaign of small runs would spend much of its time on
/// reading the same text again.
static READ: [OnceLock<Result<Profile, ProfileError>>; EMBEDDED.len()] =
    [const { OnceLock::new() }; EMBEDDED.len()];

/// Where a number of a profile comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// A document, a source file, or the words that mark an assumption.
    Source(Arc<str>),
    /// The published figure it was fitted to.
    FittedTo(Arc<str>),
}

/// One number of a profile as it was written, for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Dotted path of the field.
    pub field: String,
    /// The value with its unit.
    pub quantity: String,
    /// Where it comes from.
    pub provenance: Provenance,
}

impl Profile {
    /// The names of the embedded profiles.
    pub fn names() -> impl Iterator<Item = &'static str> {
        EMBEDDED.iter().map(|(name, _)| *name)
    }

    /// The embedded profile `name`.
    ///
    /// # Errors
    /// An unknown name; the error suggests the nearest known one.
    pub fn named(name: &str) -> Result<Profile, ProfileError> {
        let index = EMBEDDED.iter().position(|(known, _)| *known == name);
        let index = index.ok_or_else(|| unknown(name))?;
        READ[index].get_or_init(|| Profile::parse(name, EMBEDDED[index].1)).clone()
    }

    /// The embedded profile of that name, or else the profile in the file at that path.
    ///
    /// # Errors
    /// An unknown name that is no file either; an unreadable file; text that is no valid profile.
    pub fn load(name_or_path: &str) -> Result<Profile, ProfileError> {
        if EMBEDDED.iter().any(|(known, _)| *known == name_or_path) {
            return Profile::named(name_or_path);
        }
        let path = Path::new(name_or_path);
        if !path.exists() {
            return Err(unknown(name_or_path));
        }
        let text = std::fs::read_to_string(path).map_err(|error| ProfileError::Unreadable {
            profile: name_or_path.to_owned(),
            reason: error.to_string(),
        })?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(name_or_path);
        Profile::parse(stem, &text)
    }

    /// The profile that `text` describes.
    ///
    /// # Errors
    /// The first thing that is wrong with the text.
    pub fn parse(name: &str, text: &str) -> Result<Profile, ProfileError> {
        load::profile(name, text)
    }

    /// The plan `name`.
    ///
    /// # Errors
    /// An unknown plan; the error suggests the nearest known one.
    pub fn plan(&self, name: &str) -> Result<&Plan, ProfileError> {
        self.plans.get(name).ok_or_else(|| {
            let names = || self.plans.keys().map(String::as_str);
            let known = names().collect::<Vec<_>>().join(", ");
            let hint = match error::nearest(name, names()) {
                Some(near) => format!("is unknown, did you mean {near:?}? (known: {known})"),
                None => format!("is unknown, expected one of {known}"),
            };
            ProfileError::Field {
                profile: self.name.clone(),
                field: format!("plans.{name}"),
                problem: hint,
            }
        })
    }
}

fn unknown(name: &str) -> ProfileError {
    let known: Vec<&str> = Profile::names().collect();
    let nearest = Profile::names()
        .min_by_key(|known| strsim::damerau_levenshtein(name, known))
        .expect("invariant: there is an embedded profile");
    ProfileError::Unknown {
        profile: name.to_owned(),
        nearest: nearest.to_owned(),
        known: known.join(", "),
    }
}
