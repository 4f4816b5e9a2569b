//! Query parameters, read strictly: a misspelt filter must not quietly return everything.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use uuid::Uuid;

use super::error::ApiError;
use crate::domain::Timestamp;
use crate::domain::event::FieldFault;
use crate::store::Reading;

/// The parameters of a request that have not been taken yet.
pub struct Params(Vec<(String, String)>);

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
            .map_err(|_| ApiError::bad_request("malformed_query", "the query string cannot be read"))?;
        match pairs
            .iter()
            .find(|(name, value)| name.contains('\0') || value.contains('\0'))
        {
            Some(_) => Err(ApiError::bad_request(
                "nul_character",
                "the character U+0000 is not part of any parameter",
            )),
            None => Ok(Self(pairs)),
        }
    }
}

impl Params {
    /// Every value of a parameter that may be repeated.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, left): (Vec<_>, Vec<_>) = self.0.drain(..).partition(|(n, _)| n == name);
        self.0 = left;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of a parameter that may be given once.
    ///
    /// # Errors
    /// 400 where it is repeated.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(invalid(name, "may be given once")),
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
    /// 400 with the first parameter that the resource does not know.
    pub fn end(self) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(name, "is not a parameter of this resource")),
        }
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
