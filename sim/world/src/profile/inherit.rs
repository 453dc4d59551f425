//! Profiles that differ from another one in a few constants, which they name.
//!
//! A profile that begins with `base = "<embedded profile>"` has all entries of the base; each entry
//! of its own replaces one of them, with its own source. It cannot add entries, so that a
//! misspelt name is an error and not a constant that nobody reads.

use super::error::ProfileError;
use super::{EMBEDDED, load, unknown};
use toml::{Table, Value};

/// The table of a profile, with what it has from its base.
pub(super) fn complete(profile: &str, mut own: Table) -> Result<Table, ProfileError> {
    let Some(base) = own.remove("base") else { return Ok(own) };
    let field = |field: &str, problem: String| ProfileError::Field {
        profile: profile.to_owned(),
        field: field.to_owned(),
        problem,
    };
    let Value::String(base) = base else {
        return Err(field("base", "is not text, expected the name of a profile".to_owned()));
    };
    let Some((_, text)) = EMBEDDED.iter().find(|(known, _)| *known == base) else {
        return Err(field("base", unknown(&base).to_string()));
    };
    let mut table = load::parse(&base, text)?;
    if table.contains_key("base") {
        let problem = format!("{base:?} has a base itself, expected a profile without one");
        return Err(field("base", problem));
    }
    replace(&mut table, own, "").map_err(|path| {
        let problem = format!("is not in the base {base:?}, of which entries can only be replaced");
        field(&path, problem)
    })?;
    Ok(table)
}

/// Replaces entries (tables with a `source` or a `fitted_to`) of `base` by those of `own`; the path
/// of the first that `base` does not have.
fn replace(base: &mut Table, own: Table, path: &str) -> Result<(), String> {
    for (key, value) in own {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (base.get_mut(&key), value) {
            (None, _) => return Err(path),
            (Some(Value::Table(of_base)), Value::Table(section)) if !is_entry(of_base) => {
                replace(of_base, section, &path)?;
            }
            (Some(place), value) => *place = value,
        }
    }
    Ok(())
}

fn is_entry(table: &Table) -> bool {
    table.contains_key("source") || table.contains_key("fitted_to")
}
