//! A new version of a type: its upcasters, and whether it is compatible with the version before as its number promises.
//!
//! The database refuses a version unless upcasters lead to it from every earlier version. This module has the checks that need the schemas.

use annals_domain::checker::Checker;
use annals_domain::event::{FieldFault, MAX_DATA_BYTES};
use annals_domain::upcast::Step;
use annals_domain::{EventKind, SchemaVersion, Upcaster, compatibility, semver};
use annals_http::ApiError;
use annals_store::NewVersion;
use serde::Deserialize;
use serde_json::Value;

use super::faults::{fault, parsed};

/// Maximum number of upcasters in a registration, and of steps in an upcaster. Each time an event of an old version is read, all of them
/// are applied.
const MAX_UPCASTERS: usize = 20;
const MAX_STEPS: usize = 100;

/// An upcaster in a body. Without `to_version` it leads to the version that is being registered.
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
        let detail = format!("must contain at most {MAX_UPCASTERS} upcasters");
        fault(faults, "upcasters", detail);
    }
    let mut upcasters = Vec::new();
    for (place, body) in bodies.into_iter().enumerate() {
        let at = format!("upcasters/{place}");
        let steps = read_steps(&body.steps, &format!("{at}/steps"), faults);
        let from_version = SchemaVersion::try_from(body.from_version);
        let from_version = parsed(from_version, &format!("{at}/from_version"), faults);
        let to_version = match body.to_version {
            None => version.cloned(),
            Some(text) => parsed(SchemaVersion::try_from(text), &format!("{at}/to_version"), faults),
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

fn read_steps(steps: &[Value], at: &str, faults: &mut Vec<FieldFault>) -> Vec<Step> {
    if steps.len() > MAX_STEPS {
        fault(faults, at, format!("must contain at most {MAX_STEPS} steps"));
    }
    let steps = steps.iter().enumerate().filter_map(|(number, step)| {
        let step = serde_json::from_str(&step.to_string()).map_err(|e| format!("is not a valid step: {e}"));
        parsed(step, &format!("{at}/{number}"), faults)
    });
    steps.collect()
}

/// Refuses a minor or patch version that breaks readers of the version before, and upcasters that turn an example of an older version into
/// data that the new schema refuses.
pub(super) fn check(known: &EventKind, new: &NewVersion) -> Result<(), ApiError> {
    let current = known.current_version.as_str();
    if semver::same_major(current, new.version.as_str())
        && let Some(before) = known.versions.get(current)
    {
        let faults = under(
            "/schema",
            compatibility::breaking_changes(&before.schema(), &new.schema),
        );
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
    refuse_large_paths(known, new)?;
    let upcast = upcast_examples(known, new);
    if upcast.is_empty() {
        return Ok(());
    }
    Err(ApiError::unprocessable(
        "upcaster_misses_schema",
        "the upcasters turn examples of older versions into data that the new schema refuses",
        upcast,
    ))
}

/// Refuses upcasters with too much text: all of it may be added to each event that is upcast, and there may be millions.
fn refuse_large_paths(known: &EventKind, new: &NewVersion) -> Result<(), ApiError> {
    for version in known.versions.keys() {
        let bytes: usize = upcast_path(version, known, new).map(Upcaster::text_bytes).sum();
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
fn upcast_path<'a>(version: &str, known: &'a EventKind, new: &'a NewVersion) -> impl Iterator<Item = &'a Upcaster> {
    let next = |reached: &str| {
        let added = new.upcasters.iter().find(|u| u.from_version == reached);
        added.or_else(|| known.upcasters.get(reached))
    };
    // Upcasters lead to later versions only, so a path has at most as many steps as there are upcasters.
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

/// The faults of examples of older versions, upcast by the known and new upcasters, against the new schema. If no upcaster leads from an
/// older version to the new one, the database refuses the registration.
fn upcast_examples(known: &EventKind, new: &NewVersion) -> Vec<FieldFault> {
    // A schema that cannot be compiled has been refused before.
    let Ok(checker) = Checker::compile(&new.schema) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    for (version, old) in &known.versions {
        let Value::Object(mut data) = old.example() else {
            continue;
        };
        let mut reached = version.as_str();
        for upcaster in upcast_path(version, known, new) {
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
