//! Identities: one type each, so that a tenant cannot be passed where an event is meant.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What is wrong with a piece of text that should be an identity. `Display` completes the sentence "the value …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// Nothing there.
    #[error("must not be empty")]
    Empty,
    /// More characters than allowed.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// Control characters, or others that cannot be printed.
    #[error("must be printable text")]
    Unprintable,
    /// Not of the form that the identity has.
    #[error("must look like {0}")]
    Form(&'static str),
}

/// Printable text of 1 to `MAX` characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = TextFault;

    fn try_from(text: String) -> Result<Self, TextFault> {
        if text.is_empty() {
            return Err(TextFault::Empty);
        }
        if text.chars().count() > MAX {
            return Err(TextFault::TooLong(MAX));
        }
        if !text.chars().all(is_printable) {
            return Err(TextFault::Unprintable);
        }
        Ok(Self(text))
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Neither a control character nor one of those that only change how their neighbours are shown: an identity that looks like
/// another one in a list is no use to an auditor.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{00AD}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{FFFE}' | '\u{FFFF}' | '\u{E000}'..='\u{F8FF}')
}

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
    /// A tenant; the nil uuid is the default one.
    TenantId
}
uuid_identity! {
    /// An event's id: a UUID v7, made before the append.
    EventId
}

impl TenantId {
    /// The tenant of tokens that name none.
    pub const DEFAULT: Self = Self(Uuid::nil());
}

impl EventId {
    /// A new id for an event that is about to be appended.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the event that compensates this one. Since there is one id, there is one compensation; a client that cannot
    /// choose ids cannot pretend to another. `attempt` counts those before it that staff has left out of state. The time in it
    /// is the compensated event's.
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
    EventType, 100, "aggregate.action, in lower case", |text| {
        let mut parts = text.split('.');
        parts.next().is_some_and(is_name) && parts.clone().next().is_some() && parts.all(is_name)
    }
}
text_identity! {
    /// Kind of an aggregate: `organization`.
    AggregateType, 50, "lower_snake_case", is_name
}
text_identity! {
    /// An aggregate within its kind: a uuid or any printable string.
    AggregateId, 128, "printable text", |_| true
}
text_identity! {
    /// Name of a consumer's checkpoint. The sweep's own is not to be had.
    CheckpointName, 100, "a name of your own: sweep is the projector's", |text| text != "sweep"
}
text_identity! {
    /// Version of an event type's schema: `1.0` or `1.0.2`.
    SchemaVersion, 14, "1.0", |text| {
        let parts: Vec<&str> = text.split('.').collect();
        (2..=3).contains(&parts.len())
            && parts.iter().all(|part| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
    }
}

impl AggregateId {
    /// The id of an aggregate whose creation names none but has an idempotency key: the same for every retry. `owner` is whose
    /// key it is.
    pub fn from_key(owner: &str, key: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(owner)
            .chain_update([0])
            .chain_update(key)
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let id = uuid::Builder::from_custom_bytes(bytes).into_uuid();
        Self(Text(id.to_string()))
    }
}

impl EventType {
    /// What stands before the first dot.
    pub fn aggregate_part(&self) -> &str {
        self.as_str().split('.').next().unwrap_or_default()
    }
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
    /// The tenant.
    pub tenant_id: TenantId,
    /// Kind of the aggregate.
    pub aggregate_type: AggregateType,
    /// The aggregate.
    pub aggregate_id: AggregateId,
}

/// The version that a type begins with.
pub static FIRST_VERSION: LazyLock<SchemaVersion> = LazyLock::new(|| SchemaVersion(Text("1.0".into())));

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
        assert_eq!(AggregateId::try_from("a\nb".to_owned()), Err(TextFault::Unprintable));
        assert_eq!(
            AggregateId::try_from("a\u{200b}b".to_owned()),
            Err(TextFault::Unprintable)
        );
        assert_eq!(AggregateId::try_from("x".repeat(129)), Err(TextFault::TooLong(128)));
        assert!(AggregateId::try_from("ü".repeat(128)).is_ok());
    }
}
