//! A new version of a type: what lifts data of the older ones to it, and what its number promises.
//!
//! The database refuses a version that upcasters do not lead to from every other (V17); here is what only schemas can tell.

use annals::domain::event::{FieldFault, MAX_DATA_BYTES};
use annals::domain::schema::Checker;
use annals::domain::upcast::Step;
use annals::domain::{EventKind, SchemaVersion, Upcaster, semver};
use annals::http::ApiError;
use annals::store::NewVersion;
use serde::Deserialize;
use serde_json::Value;

use super::fault;

/// Most upcasters that come with a version, and most steps of one: each stored event of an old version takes them all.
const MAX_UPCASTERS: usize = 20;
const MAX_STEPS: usize = 100;

/// An upcaster as it is sent; without `to_version` it leads to the version that it comes with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpcasterBody {
    from_version: String,
    to_version: Option<String>,
    steps: Vec<Value>,
}

pub(super) fn read(
    bodies: Vec<UpcasterBody>,
    version: Option<&SchemaVersion>,
    faults: &mut Vec<FieldFault>,
) -> Vec<Upcaster> {
    if bodies.len() > MAX_UPCASTERS {
        fault(
            faults,
            "upcasters",
            format!("must hold at most {MAX_UPCASTERS} upcasters"),
        );
    }
    let mut upcasters = Vec::new();
    for (place, body) in bodies.into_iter().enumerate() {
        let at = format!("upcasters/{place}");
        if body.steps.len() > MAX_STEPS {
            fault(
                faults,
                &format!("{at}/steps"),
                format!("must hold at most {MAX_STEPS} steps"),
            );
        }
        let mut steps = Vec::new();
        for (number, step) in body.steps.iter().enumerate() {
            match serde_json::from_str::<Step>(&step.to_string()) {
                Ok(step) => steps.push(step),
                Err(e) => fault(
                    faults,
                    &format!("{at}/steps/{number}"),
                    format!("is not a valid step: {e}"),
                ),
            }
        }
        let from_version = read_version(body.from_version, &format!("{at}/from_version"), faults);
        let to_version = match body.to_version {
            None => version.cloned(),
            Some(text) => read_version(text, &format!("{at}/to_version"), faults),
        };
        if let (Some(from), Some(to)) = (from_version, to_version) {
            upcasters.push(Upcaster {
                from_version: from.to_string(),
                to_version: to.to_string(),
                steps,
            });
        }
    }
    upcasters
}

fn read_version(text: String, field: &str, faults: &mut Vec<FieldFault>) -> Option<SchemaVersion> {
    SchemaVersion::try_from(text)
        .map_err(|e| fault(faults, field, e.to_string()))
        .ok()
}

/// A minor or patch version must not break those who read the version before; and what a version lifts must be what it
/// describes, as far as the examples of the older versions show.
pub(super) fn check(known: &EventKind, new: &NewVersion) -> Result<(), ApiError> {
    let current = known.current_version.as_str();
    if semver::same_major(current, new.version.as_str())
        && let Some(before) = known.versions.get(current)
    {
        let faults = under("/schema", semver::breaks(&before.schema(), &new.schema));
        if !faults.is_empty() {
            return Err(ApiError::unprocessable(
                "breaking_change",
                format!(
                    "{} would break readers of {current}: register it as a new major version, with upcasters",
                    new.version
                ),
                faults,
            ));
        }
    }
    refuse_large_ways(known, new)?;
    let lifted = lifted_examples(known, new);
    if lifted.is_empty() {
        return Ok(());
    }
    Err(ApiError::unprocessable(
        "upcaster_misses_schema",
        "the upcasters turn examples of older versions into data that the new schema refuses",
        lifted,
    ))
}

/// All that the steps of a way say may end up in an event, of which there may be millions.
fn refuse_large_ways(known: &EventKind, new: &NewVersion) -> Result<(), ApiError> {
    for version in known.versions.keys() {
        let bytes: usize = way_from(version, known, new).map(Upcaster::text_bytes).sum();
        if bytes > MAX_DATA_BYTES {
            let detail = format!(
                "the steps that lead from version {version} to {} have {bytes} bytes of JSON; at most {MAX_DATA_BYTES} are allowed",
                new.version
            );
            return Err(ApiError::unprocessable("upcasters_too_large", detail, Vec::new()));
        }
    }
    Ok(())
}

/// The upcasters, known and new, that data of a version take.
fn way_from<'a>(version: &str, known: &'a EventKind, new: &'a NewVersion) -> impl Iterator<Item = &'a Upcaster> {
    let next = |reached: &str| {
        let added = new.upcasters.iter().find(|u| u.from_version == reached);
        added.or_else(|| known.upcasters.get(reached))
    };
    // Upcasters lead to later versions only, so a way is no longer than there are upcasters.
    let most = known.upcasters.len() + new.upcasters.len();
    std::iter::successors(next(version), move |upcaster| next(&upcaster.to_version)).take(most)
}

fn under(prefix: &str, faults: Vec<FieldFault>) -> Vec<FieldFault> {
    let under = |f: FieldFault| FieldFault {
        pointer: format!("{prefix}{}", f.pointer),
        ..f
    };
    faults.into_iter().map(under).collect()
}

/// Where older examples, lifted by the upcasters known and new, fail the new schema. Versions that nothing lifts are left to the
/// database to refuse.
fn lifted_examples(known: &EventKind, new: &NewVersion) -> Vec<FieldFault> {
    // One that cannot be compiled was refused before.
    let Ok(checker) = Checker::compile(&new.schema) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    for (version, old) in &known.versions {
        let Value::Object(mut data) = old.example() else {
            continue;
        };
        let mut reached = version.as_str();
        for upcaster in way_from(version, known, new) {
            upcaster.apply(&mut data);
            reached = &upcaster.to_version;
        }
        let arrives = reached == new.version.as_str()
            || (reached == known.current_version.as_str() && semver::same_major(reached, new.version.as_str()));
        if arrives && let Err(refused) = checker.check(&data) {
            faults.extend(under(&format!("/upcasters/{version}"), refused));
        }
    }
    faults
}
