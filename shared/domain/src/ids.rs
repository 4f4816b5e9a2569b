//! Types for ids and names. Each identity has its own type, so a tenant cannot be passed where an event is meant.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use super::text::{Text, TextFault};

macro_rules! uuid_identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The uuid.
            pub fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_identity! {
    /// A tenant. The nil uuid is the default one.
    TenantId
}
uuid_identity! {
    /// An event's id: a UUID v7, chosen before the append.
    EventId
}

impl TenantId {
    /// The tenant of tokens that name none.
    pub const DEFAULT: Self = Self(Uuid::nil());

    /// Whether it is the default tenant.
    pub fn is_default(self) -> bool {
        self == Self::DEFAULT
    }
}

impl EventId {
    /// A new id for an event that will be appended.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the event that compensates this one. It is derived from this id, so there is at most one compensation, and a
    /// client, which cannot choose ids, cannot forge one. `attempt` counts earlier compensations that staff excluded from the
    /// state. The time inside the id is the compensated event's.
    pub fn of_compensation(self, attempt: u8) -> Self {
        let digest = Sha256::new()
            .chain_update("compensates")
            .chain_update(self.0)
            .chain_update([attempt])
            .finalize();
        let mut bytes = self.0.into_bytes();
        bytes[6..].copy_from_slice(&digest[..10]);
        let id = uuid::Builder::from_bytes(bytes).with_version(uuid::Version::SortRand);
        Self(id.with_variant(uuid::Variant::RFC4122).into_uuid())
    }
}

macro_rules! text_identity {
    ($(#[$doc:meta])* $name:ident, $max:literal, $form:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Text<$max>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextFault;

            fn try_from(text: String) -> Result<Self, TextFault> {
                let text = Text::try_from(text)?;
                let check: fn(&str) -> bool = $check;
                if check(text.as_str()) { Ok(Self(text)) } else { Err(TextFault::Form($form)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_identity! {
    /// An event type: `{aggregate_type}.{action}`, e.g. `organization.gst.added`.
    EventType, 100, "look like aggregate.action, in lower case", |text| {
        let mut parts = text.split('.');
        parts.next().is_some_and(is_name) && parts.clone().next().is_some() && parts.all(is_name)
    }
}
text_identity! {
    /// Type of an aggregate, e.g. `organization`.
    AggregateType, 50, "look like lower_snake_case", is_name
}
text_identity! {
    /// Id of an aggregate within its type: a uuid or any printable string, except `.` and `..`.
    AggregateId, 128, "not be . or .., which have a meaning in URL paths", is_not_dot_segment
}
text_identity! {
    /// Name of a consumer's checkpoint. `sweep` is reserved for the sweep.
    CheckpointName, 100, "not be sweep: the projector uses that name", |text| text != "sweep"
}
text_identity! {
    /// Version of an event type's schema: `1.0` or `1.0.2`.
    SchemaVersion, 14, "look like 1.0", |text| {
        let parts: Vec<&str> = text.split('.').collect();
        (2..=3).contains(&parts.len())
            && parts.iter().all(|part| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
    }
}

impl AggregateId {
    /// The id of a stream in the log, without a check: an older rule may have applied when it was appended.
    pub fn stored(text: String) -> Self {
        Self(Text::stored(text))
    }

    /// The id of a new aggregate if the request names none but has an idempotency key. Every retry gives the same id. `owner` is
    /// the caller whose key it is.
    pub fn from_key(owner: &str, key: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(owner)
            .chain_update([0])
            .chain_update(key)
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let id = uuid::Builder::from_custom_bytes(bytes).into_uuid();
        Self(Text::stored(id.to_string()))
    }
}

impl EventType {
    /// The part before the first dot.
    pub fn aggregate_part(&self) -> &str {
        self.as_str().split('.').next().unwrap_or_default()
    }
}

/// Clients and proxies resolve `.` and `..` in paths, so an aggregate with such an id could not be requested.
fn is_not_dot_segment(text: &str) -> bool {
    !matches!(text, "." | "..")
}

/// Lower-case letters, digits and underscores, beginning with a letter.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// A stream: all events of one aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct StreamId {
    /// Tenant that it belongs to.
    pub tenant_id: TenantId,
    /// Type of the aggregate.
    pub aggregate_type: AggregateType,
    /// Id of the aggregate.
    pub aggregate_id: AggregateId,
}

/// The version that a new type begins with.
pub static FIRST_VERSION: LazyLock<SchemaVersion> = LazyLock::new(|| SchemaVersion(Text::stored("1.0".into())));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_have_an_aggregate_and_an_action() {
        for good in ["sale.created", "organization.gst.added", "a1.b_2"] {
            assert!(EventType::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "sale",
            "sale.",
            ".created",
            "Sale.created",
            "sale..created",
            "sale.created ",
            "1a.b",
        ] {
            assert!(EventType::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn aggregate_ids_are_printable_and_bounded() {
        assert!(AggregateId::try_from("CUST-0042 ü/€".to_owned()).is_ok());
        assert_eq!(AggregateId::try_from(String::new()), Err(TextFault::Empty));
        assert_eq!(
            AggregateId::try_from("a\nb".to_owned()),
            Err(TextFault::Unprintable(10))
        );
        for dots in [".", ".."] {
            assert!(
                matches!(AggregateId::try_from(dots.to_owned()), Err(TextFault::Form(_))),
                "{dots}"
            );
        }
        assert!(AggregateId::try_from("...".to_owned()).is_ok());
        assert_eq!(AggregateId::try_from("x".repeat(129)), Err(TextFault::TooLong(128)));
        assert!(AggregateId::try_from("ü".repeat(128)).is_ok());
    }
}
