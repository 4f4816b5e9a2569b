//! Reading the fields of an event from a request's JSON.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::fault::FieldFault;
use crate::ids::{Text, TextFault};
use crate::json::whole_number;
use crate::json_pointer;
use crate::time::Timestamp;

/// Maximum number of unknown fields that a refusal names.
const MAX_UNKNOWN: usize = 20;

/// Takes typed fields out of a JSON object and collects the faults. `null` counts as absent.
pub(super) struct Fields<'a> {
    members: Map<String, Value>,
    at: &'a str,
    faults: Vec<FieldFault>,
}

impl<'a> Fields<'a> {
    /// The fields of an object. Pointers in faults begin with `at`.
    pub(super) fn of(members: Map<String, Value>, at: &'a str) -> Self {
        Self {
            members,
            at,
            faults: Vec::new(),
        }
    }

    /// Adds a fault; there is then no value.
    fn fault<T>(&mut self, name: &str, code: &'static str, detail: impl Into<String>) -> Option<T> {
        let pointer = format!("{}/{name}", self.at);
        self.faults.push(FieldFault::new(pointer, code, detail));
        None
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    fn string(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => self.fault(name, "wrong_type", "must be a string"),
        }
    }

    pub(super) fn text<T: TryFrom<String, Error = TextFault>>(&mut self, name: &str) -> Option<T> {
        let text = self.string(name)?;
        T::try_from(text).map_or_else(|fault| self.fault(name, fault.code(), fault.to_string()), Some)
    }

    fn require(&mut self, name: &str) {
        if self.members.get(name).is_none_or(Value::is_null) {
            self.fault::<()>(name, "required", "is required");
        }
    }

    pub(super) fn required_text<T: TryFrom<String, Error = TextFault>>(&mut self, name: &str) -> Option<T> {
        self.require(name);
        self.text(name)
    }

    /// The field or, if it is absent, `metadata.correlation_id`, so that `?correlation_id=` finds the event either way. Metadata
    /// stay as they were sent. Two different ids are refused, because it is not known which one is right.
    pub(super) fn correlation_id(&mut self, metadata: Option<&Map<String, Value>>) -> Option<Text<128>> {
        let field = self.text("correlation_id");
        let place = "metadata/correlation_id";
        let noted = match metadata.and_then(|metadata| metadata.get("correlation_id")) {
            None | Some(Value::Null) => return field,
            Some(Value::String(text)) => Text::try_from(text.clone()),
            Some(_) => return self.fault(place, "wrong_type", "must be a string"),
        };
        match (field, noted) {
            (Some(field), Ok(noted)) if field != noted => {
                let detail = "differs from correlation_id; send only one of them, or the same value in both";
                self.fault(place, "correlation_id_differs", detail)
            }
            (_, Ok(noted)) => Some(noted),
            (_, Err(fault)) => self.fault(place, "invalid_value", fault.to_string()),
        }
    }

    pub(super) fn uuid(&mut self, name: &str) -> Option<Uuid> {
        let text = self.string(name)?;
        Uuid::try_parse(&text).map_or_else(|_| self.fault(name, "invalid_value", "must be a uuid"), Some)
    }

    pub(super) fn timestamp(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.string(name)?;
        Timestamp::parse(&text).map_or_else(|fault| self.fault(name, "invalid_value", fault.to_string()), Some)
    }

    pub(super) fn whole_number(&mut self, name: &str) -> Option<i32> {
        let value = self.take(name)?;
        let number = value.as_number().and_then(|number| whole_number(&number.to_string()));
        let number = number
            .and_then(|number| i32::try_from(number).ok())
            .filter(|n| (0..i32::MAX).contains(n));
        number.or_else(|| self.fault(name, "invalid_value", "must be a whole number from 0 to 2147483646"))
    }

    pub(super) fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(members) => Some(members),
            _ => self.fault(name, "wrong_type", "must be an object"),
        }
    }

    pub(super) fn required_object(&mut self, name: &str) -> Option<Map<String, Value>> {
        self.require(name);
        self.object(name)
    }

    pub(super) fn finish(mut self) -> Vec<FieldFault> {
        for name in std::mem::take(&mut self.members).keys().take(MAX_UNKNOWN) {
            self.fault::<()>(
                &json_pointer::escape(name),
                "unknown_field",
                "is not a field of an event",
            );
        }
        self.faults
    }
}
