//! Query parameters, read strictly: a misspelt filter must not quietly return everything.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use uuid::Uuid;

use super::error::ApiError;
use crate::domain::Timestamp;
use crate::domain::event::FieldFault;
use crate::store::Reading;

/// The parameters of a request that have not been taken yet, and the names that were asked for: what the resource takes.
pub struct Params {
    left: Vec<(String, String)>,
    known: Vec<String>,
}

/// How many items a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(usize);

impl Limit {
    const DEFAULT: usize = 100;
    const MAX: usize = 1_000;

    /// As a number of items.
    pub fn items(self) -> usize {
        self.0
    }

    /// One more, which tells whether there is a next page.
    pub fn plus_one(self) -> i64 {
        i64::try_from(self.0 + 1).unwrap_or(i64::MAX)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| {
                ApiError::bad_request("malformed_query", "the query string is not valid percent-encoded UTF-8")
            })?;
        match pairs
            .iter()
            .find(|(name, value)| name.contains('\0') || value.contains('\0'))
        {
            Some(_) => Err(ApiError::bad_request(
                "nul_character",
                "a parameter holds the character U+0000, which nothing in the log has",
            )),
            None => Ok(Self {
                left: pairs,
                known: Vec::new(),
            }),
        }
    }
}

impl Params {
    /// Every value of a parameter that may be repeated.
    fn all(&mut self, name: &str) -> Vec<String> {
        if !self.known.iter().any(|known| known == name) {
            self.known.push(name.to_owned());
        }
        let (taken, left): (Vec<_>, Vec<_>) = self.left.drain(..).partition(|(n, _)| n == name);
        self.left = left;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// Every value of a parameter that may be repeated and whose values hold no comma, such as names of types. A list in one
    /// value would be one long name that nothing has: an empty answer for a question that was not asked.
    ///
    /// # Errors
    /// 400 for a value with a comma.
    pub fn each(&mut self, name: &str) -> Result<Vec<String>, ApiError> {
        let values = self.all(name);
        match values.iter().find(|value| value.contains(',')) {
            None => Ok(values),
            Some(_) => Err(invalid(
                name,
                &format!(
                    "takes one name at a time: repeat the parameter, as in ?{name}=…&{name}=…, instead of a comma"
                ),
            )),
        }
    }

    /// The value of a parameter that may be given once and holds no comma.
    ///
    /// # Errors
    /// 400 where it is repeated or a list.
    pub fn name(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let value = self.one(name)?;
        match value {
            Some(value) if value.contains(',') => Err(invalid(name, "takes one name, not a list with commas")),
            value => Ok(value),
        }
    }

    /// The value of a parameter that may be given once.
    ///
    /// # Errors
    /// 400 where it is repeated.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(invalid(name, "may be given only once")),
        }
    }

    /// A parameter that `read` understands.
    ///
    /// # Errors
    /// 400 with what it should be.
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
    /// 400 for anything else.
    pub fn uuid(&mut self, name: &str) -> Result<Option<Uuid>, ApiError> {
        self.read(name, "must be a uuid", |value| Uuid::try_parse(value).ok())
    }

    /// An instant.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn timestamp(&mut self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        // A plus sign that was not escaped arrives as a space; in an instant it can mean nothing else.
        self.read(name, "must be an RFC 3339 date and time", |value| {
            Timestamp::parse(&value.replace(' ', "+")).ok()
        })
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        self.read(name, "must be true or false", |value| value.parse().ok())
    }

    /// `upcast=false` asks for events as they were stored.
    ///
    /// # Errors
    /// 400 for anything but `true` and `false`.
    pub fn reading(&mut self) -> Result<Reading, ApiError> {
        Ok(match self.boolean("upcast")? {
            Some(false) => Reading::AsStored,
            _ => Reading::Current,
        })
    }

    /// The page size: 100 by default, more than 1000 is lowered to it.
    ///
    /// # Errors
    /// 400 for anything but a positive number.
    pub fn limit(&mut self) -> Result<Limit, ApiError> {
        let read = |value: &str| value.parse::<u64>().ok().filter(|n| *n > 0);
        let limit = self.read("limit", "must be a whole number from 1", read)?;
        Ok(Limit(limit.map_or(Limit::DEFAULT, |n| {
            usize::try_from(n).unwrap_or(Limit::MAX).min(Limit::MAX)
        })))
    }

    /// That nothing is left over.
    ///
    /// # Errors
    /// 400 with the first parameter that the resource does not know, and those that it knows.
    pub fn end(self) -> Result<(), ApiError> {
        let Some((name, _)) = self.left.first() else {
            return Ok(());
        };
        let known = match self.known.as_slice() {
            [] => "it takes none".to_owned(),
            names => format!("it takes {}", names.join(", ")),
        };
        Err(invalid(name, &format!("is not a parameter of this resource; {known}")))
    }
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
