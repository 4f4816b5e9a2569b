//! Query parameters, read strictly: a misspelt filter must not return everything.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::error::ApiError;
use annals_domain::event::FieldFault;
use annals_domain::{Actor, AggregateType, EventType, Timestamp};
use annals_store::Reading;

/// The parameters of a request that have not been read yet, and the names that have been asked for.
pub struct Params {
    left: Vec<(String, String)>,
    known: Vec<String>,
}

/// What a parameter that names a field of the data begins with.
const DATA: &str = "data.";

/// The number of items of a page: 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(usize);

impl Limit {
    const DEFAULT: usize = 100;
    const MAX: usize = 1_000;

    /// The number of items.
    pub fn items(self) -> usize {
        self.0
    }

    /// One item more than the limit. If it is found, there is a next page.
    pub fn plus_one(self) -> i64 {
        i64::try_from(self.0 + 1).unwrap_or(i64::MAX)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let malformed =
            || ApiError::bad_request("malformed_query", "the query string is not valid percent-encoded UTF-8");
        // axum would replace bytes that are not UTF-8 by U+FFFD.
        if percent_decode_str(parts.uri.query().unwrap_or_default())
            .decode_utf8()
            .is_err()
        {
            return Err(malformed());
        }
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| malformed())?;
        match pairs
            .iter()
            .find(|(name, value)| name.contains('\0') || value.contains('\0'))
        {
            Some(_) => Err(ApiError::bad_request(
                "nul_character",
                "a parameter contains the character U+0000, which the log never contains",
            )),
            None => Ok(Self {
                left: pairs,
                known: Vec::new(),
            }),
        }
    }
}

impl Params {
    /// All values of a parameter that may be repeated.
    fn all(&mut self, name: &str) -> Vec<String> {
        if !self.known.iter().any(|known| known == name) {
            self.known.push(name.to_owned());
        }
        let (taken, left): (Vec<_>, Vec<_>) = self.left.drain(..).partition(|(n, _)| n == name);
        self.left = left;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// Names of event types and patterns like `order.*`, from a parameter that may be repeated. An impossible name is refused,
    /// because the answer would be empty and hide the mistake.
    ///
    /// # Errors
    /// 400 `invalid_parameter`. For a list with commas, the message explains how to repeat the parameter.
    pub fn event_types(&mut self, name: &str) -> Result<Vec<String>, ApiError> {
        let values = self.all(name);
        if values.iter().any(|value| value.contains(',')) {
            return Err(invalid(
                name,
                &format!(
                    "accepts one name at a time: repeat the parameter, as in ?{name}=…&{name}=…, instead of a comma"
                ),
            ));
        }
        match values.iter().all(|value| names_event_types(value)) {
            true => Ok(values),
            false => Err(invalid(
                name,
                "must be the name of an event type, such as order.placed, or a pattern such as order.* (all that begins with order.); \
                 names have lower-case letters, digits, _ and dots",
            )),
        }
    }

    /// An aggregate type, from a parameter that may be given once.
    ///
    /// # Errors
    /// 400 `invalid_parameter` if it is repeated, a list, or not a possible name.
    pub fn aggregate_type(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.one_name(name)? {
            Some(value) if AggregateType::try_from(value.clone()).is_err() => Err(invalid(
                name,
                "must be the name of an entity type, such as order: lower-case letters, digits and _",
            )),
            value => Ok(value),
        }
    }

    /// An event type, from a parameter that may be given once.
    ///
    /// # Errors
    /// 400 `invalid_parameter` for anything else.
    pub fn event_type(&mut self, name: &str) -> Result<Option<EventType>, ApiError> {
        let should_be = "must be the name of an event type, such as order.placed";
        let value = self.one_name(name)?.map(EventType::try_from).transpose();
        value.map_err(|_| invalid(name, should_be))
    }

    fn one_name(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.one(name)? {
            Some(value) if value.contains(',') => Err(invalid(name, "must be one name, not a list")),
            value => Ok(value),
        }
    }

    /// An actor, e.g. `agent:pricing`.
    ///
    /// # Errors
    /// 400 `invalid_parameter` for anything else.
    pub fn actor(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let Some(value) = self.one_name(name)? else {
            return Ok(None);
        };
        match Actor::try_from(value.clone()) {
            Ok(_) => Ok(Some(value)),
            Err(fault) => Err(invalid(name, &fault.to_string())),
        }
    }

    /// The value of a parameter that may be given once.
    ///
    /// # Errors
    /// 400 `invalid_parameter` if it is repeated.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(invalid(name, "may be given only once")),
        }
    }

    /// The name of a field of the data and the text that it must have, from a parameter such as `data.sku`.
    ///
    /// # Errors
    /// 400 `invalid_parameter` if there is more than one.
    pub fn field(&mut self) -> Result<Option<(String, String)>, ApiError> {
        self.known.push(format!("{DATA}<field>"));
        let (mut found, left): (Vec<_>, Vec<_>) = self.left.drain(..).partition(|(name, _)| name.starts_with(DATA));
        self.left = left;
        match found.len() {
            0 | 1 => Ok(found.pop().map(|(name, value)| (name[DATA.len()..].to_owned(), value))),
            _ => Err(invalid(
                &found[1].0,
                "is one too many: events can be filtered by one field of their data",
            )),
        }
    }

    /// The value of a parameter, parsed by `read`.
    ///
    /// # Errors
    /// 400 `invalid_parameter` with the text `should_be`, if `read` returns `None`.
    pub fn read<T>(
        &mut self,
        name: &str,
        should_be: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| invalid(name, should_be))
    }

    /// A uuid.
    ///
    /// # Errors
    /// 400 `invalid_parameter` for anything else.
    pub fn uuid(&mut self, name: &str) -> Result<Option<Uuid>, ApiError> {
        self.read(name, "must be a uuid", |value| Uuid::try_parse(value).ok())
    }

    /// An instant.
    ///
    /// # Errors
    /// 400 `invalid_parameter` for anything else.
    pub fn timestamp(&mut self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        // A plus sign that was not escaped arrives as a space. An instant cannot contain a space otherwise.
        self.read(name, "must be an RFC 3339 date and time", |value| {
            Timestamp::parse(&value.replace(' ', "+")).ok()
        })
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// 400 `invalid_parameter` for anything else.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        self.read(name, "must be true or false", |value| value.parse().ok())
    }

    /// Whether events are upcast: `upcast=false` returns them as stored.
    ///
    /// # Errors
    /// 400 `invalid_parameter` for anything except `true` and `false`.
    pub fn reading(&mut self) -> Result<Reading, ApiError> {
        Ok(match self.boolean("upcast")? {
            Some(false) => Reading::AsStored,
            _ => Reading::Current,
        })
    }

    /// The page size `limit`: 100 by default. More than 1,000 is reduced to 1,000.
    ///
    /// # Errors
    /// 400 `invalid_parameter` for anything except a positive number.
    pub fn limit(&mut self) -> Result<Limit, ApiError> {
        let read = |value: &str| value.parse::<u64>().ok().filter(|n| *n > 0);
        let limit = self.read("limit", "must be a whole number from 1", read)?;
        Ok(Limit(limit.map_or(Limit::DEFAULT, |n| {
            usize::try_from(n).unwrap_or(Limit::MAX).min(Limit::MAX)
        })))
    }

    /// Checks that all parameters have been read.
    ///
    /// # Errors
    /// 400 `invalid_parameter` with the first unknown parameter, and the names that the resource accepts.
    pub fn end(self) -> Result<(), ApiError> {
        let Some((name, _)) = self.left.first() else {
            return Ok(());
        };
        let known = match self.known.as_slice() {
            [] => "it accepts none".to_owned(),
            names => format!("it accepts {}", names.join(", ")),
        };
        Err(invalid(name, &format!("is not a parameter of this resource; {known}")))
    }
}

/// Whether an event type can have this name or, for a pattern, begin with the part before `.*`.
fn names_event_types(value: &str) -> bool {
    let name = match value.strip_suffix(".*") {
        Some(prefix) => format!("{prefix}.x"),
        None => value.to_owned(),
    };
    EventType::try_from(name).is_ok()
}

fn invalid(name: &str, detail: &str) -> ApiError {
    let fault = FieldFault::new(format!("?{name}"), "invalid_parameter", detail);
    super::error::Problem::new(
        axum::http::StatusCode::BAD_REQUEST,
        "invalid_parameter",
        format!("{name} {detail}"),
    )
    .with_errors(vec![fault])
    .into()
}
