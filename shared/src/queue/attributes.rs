//! What a message tells of the request that sent it, beside its body: attributes, so that a body stays what it was, and a
//! projector of yesterday reads a message of today.

use std::collections::HashMap;

use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue};

use crate::telemetry::Carried;

/// Name of the attribute that holds the sender's request id.
const REQUEST_ID: &str = "request_id";
/// Name of the attribute that holds the correlation id of what was appended.
const CORRELATION_ID: &str = "correlation_id";
/// Name of SQS' own attribute for X-Ray's header, as messages arrive with it.
const TRACE: &str = "AWSTraceHeader";
/// Characters of an id at most: what we send is shorter, and others may send us what they like.
const MAX: usize = 128;

/// Attributes by name, as far as they are usable.
pub(super) fn attributes_of(carried: &Carried) -> HashMap<String, MessageAttributeValue> {
    let ids = [
        (REQUEST_ID, &carried.request_id),
        (CORRELATION_ID, &carried.correlation_id),
    ];
    let attribute = |(name, id): (&str, &Option<String>)| {
        let id = id.as_deref().filter(|id| is_usable(id))?;
        let value = MessageAttributeValue::builder().data_type("String").string_value(id);
        Some((name.to_owned(), value.build().ok()?))
    };
    ids.into_iter().filter_map(attribute).collect()
}

/// X-Ray's header, which lets it draw the projector's work beside the request's.
pub(super) fn system_attributes_of(
    carried: &Carried,
) -> HashMap<MessageSystemAttributeNameForSends, MessageSystemAttributeValue> {
    let trace = carried.trace.as_deref().filter(|header| header.starts_with("Root="));
    let attribute = |header| {
        let value = MessageSystemAttributeValue::builder()
            .data_type("String")
            .string_value(header);
        Some((MessageSystemAttributeNameForSends::AwsTraceHeader, value.build().ok()?))
    };
    trace.and_then(attribute).into_iter().collect()
}

/// What a message that has arrived carries. `attribute` and `system_attribute` look one up by its name.
pub fn carried_by<'m>(
    attribute: impl Fn(&str) -> Option<&'m str>,
    system_attribute: impl Fn(&str) -> Option<&'m str>,
) -> Carried {
    let usable = |id: &&str| is_usable(id);
    Carried {
        request_id: attribute(REQUEST_ID).filter(usable).map(str::to_owned),
        correlation_id: attribute(CORRELATION_ID).filter(usable).map(str::to_owned),
        trace: system_attribute(TRACE).filter(usable).map(str::to_owned),
    }
}

/// SQS takes what XML takes, and refuses the whole message otherwise.
fn is_usable(id: &str) -> bool {
    (1..=MAX).contains(&id.chars().count())
        && !id
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrives(carried: &Carried) -> Carried {
        let (sent, system) = (attributes_of(carried), system_attributes_of(carried));
        let system = system.get(&MessageSystemAttributeNameForSends::AwsTraceHeader);
        carried_by(
            |name| sent.get(name)?.string_value(),
            |name| system.filter(|_| name == "AWSTraceHeader")?.string_value(),
        )
    }

    #[test]
    fn what_a_message_carries_arrives() {
        let carried = Carried {
            request_id: Some("JKJaXmPLvHcESHA=".to_owned()),
            correlation_id: Some("Grüße 7".to_owned()),
            trace: Some("Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1".to_owned()),
        };
        assert_eq!(arrives(&carried), carried);
        assert_eq!(arrives(&Carried::default()), Carried::default());
    }

    #[test]
    fn what_sqs_would_refuse_is_left_out() {
        let carried = Carried {
            request_id: Some("\u{FFFE}".to_owned()),
            correlation_id: Some(String::new()),
            trace: Some("no header".to_owned()),
        };
        assert_eq!(arrives(&carried), Carried::default());
    }
}
