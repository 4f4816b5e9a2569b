//! Message attributes: what a message says about the request that sent it. They are not in the body, so that a projector of an older
//! version can still read the messages of a newer one.

use std::collections::HashMap;

use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue};

use annals_telemetry::MessageContext;

/// Attribute with the sender's request id.
const REQUEST_ID: &str = "request_id";
/// Attribute with the correlation id of the appended events.
const CORRELATION_ID: &str = "correlation_id";
/// SQS' own attribute for X-Ray's header, as received messages have it.
const TRACE: &str = "AWSTraceHeader";
/// Maximum number of characters of an id. Annals sends shorter ones, but a received message may hold anything.
const MAX: usize = 128;

/// The attributes by name. Unusable ids are left out.
pub(super) fn attributes_of(context: &MessageContext) -> HashMap<String, MessageAttributeValue> {
    let ids = [
        (REQUEST_ID, &context.request_id),
        (CORRELATION_ID, &context.correlation_id),
    ];
    let attribute = |(name, id): (&str, &Option<String>)| {
        let id = id.as_deref().filter(|id| is_usable(id))?;
        let value = MessageAttributeValue::builder().data_type("String").string_value(id);
        Some((name.to_owned(), value.build().ok()?))
    };
    ids.into_iter().filter_map(attribute).collect()
}

/// X-Ray's header as a system attribute. With it, X-Ray shows the projector's work in the same trace as the request.
pub(super) fn system_attributes_of(
    context: &MessageContext,
) -> HashMap<MessageSystemAttributeNameForSends, MessageSystemAttributeValue> {
    let trace = context.trace.as_deref().filter(|header| header.starts_with("Root="));
    let attribute = |header| {
        let value = MessageSystemAttributeValue::builder()
            .data_type("String")
            .string_value(header);
        Some((MessageSystemAttributeNameForSends::AwsTraceHeader, value.build().ok()?))
    };
    trace.and_then(attribute).into_iter().collect()
}

/// The context that a received message carries. `attribute` and `system_attribute` look up one value by its name.
pub fn context_of_message<'m>(
    attribute: impl Fn(&str) -> Option<&'m str>,
    system_attribute: impl Fn(&str) -> Option<&'m str>,
) -> MessageContext {
    let usable = |id: &&str| is_usable(id);
    MessageContext {
        request_id: attribute(REQUEST_ID).filter(usable).map(str::to_owned),
        correlation_id: attribute(CORRELATION_ID).filter(usable).map(str::to_owned),
        trace: system_attribute(TRACE).filter(usable).map(str::to_owned),
    }
}

/// Whether an id is sent, and read from a received message: 1 to 128 characters, and no control character, U+FFFE or U+FFFF. XML does
/// not allow most of these, and SQS refuses a whole message because of one of them.
fn is_usable(id: &str) -> bool {
    (1..=MAX).contains(&id.chars().count())
        && !id
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrives(context: &MessageContext) -> MessageContext {
        let (sent, system) = (attributes_of(context), system_attributes_of(context));
        let system = system.get(&MessageSystemAttributeNameForSends::AwsTraceHeader);
        context_of_message(
            |name| sent.get(name)?.string_value(),
            |name| system.filter(|_| name == "AWSTraceHeader")?.string_value(),
        )
    }

    #[test]
    fn a_received_message_has_the_context_that_was_sent() {
        let context = MessageContext {
            request_id: Some("JKJaXmPLvHcESHA=".to_owned()),
            correlation_id: Some("Grüße 7".to_owned()),
            trace: Some("Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1".to_owned()),
        };
        assert_eq!(arrives(&context), context);
        assert_eq!(arrives(&MessageContext::default()), MessageContext::default());
    }

    #[test]
    fn ids_that_sqs_would_refuse_are_left_out() {
        let context = MessageContext {
            request_id: Some("\u{FFFE}".to_owned()),
            correlation_id: Some(String::new()),
            trace: Some("no header".to_owned()),
        };
        assert_eq!(arrives(&context), MessageContext::default());
    }
}
