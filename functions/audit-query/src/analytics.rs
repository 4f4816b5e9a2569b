//! `GET /analytics/…`: key figures of business days. They are the whole tenant's, so they are for those who see it.

use annals::App;
use annals::domain::Caller;
use annals::http::{ApiError, Authenticated, Cursor, Page, Params};
use annals::store::{By, Days, Granularity};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{Datelike, Days as Count, NaiveDate, Utc};
use serde_json::json;

/// Days that one hears of who does not say which.
const LAST: u64 = 30;

/// `GET /analytics/kpis?from=&to=&granularity=&limit=&cursor=`: days of business time, `from` inclusive, `to` exclusive; the last thirty
/// by default.
pub async fn kpis(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&mut params)?;
    let granularity = params.read("granularity", "must be day, week or month", |value| match value {
        "day" => Some(Granularity::Day),
        "week" => Some(Granularity::Week),
        "month" => Some(Granularity::Month),
        _ => None,
    })?;
    let granularity = granularity.unwrap_or(Granularity::Day);
    let cursor = Cursor::of("kpis", &(asked.from, asked.to, granularity, caller.tenant_id()));
    let key = params.one("cursor")?.map(|c| cursor.decode(&c)).transpose()?;
    let (days, after) = match key.as_deref().map(last_line).transpose()? {
        Some((days, last)) => (days, Some(last)),
        None => (asked.days()?, None),
    };
    let limit = params.limit()?;
    params.end()?;
    may_see(&caller)?;
    let found = app
        .store
        .list_kpis(&caller, days, granularity, after, limit.plus_one())
        .await?;
    let page = Page::cut(&found.items, limit, |line| {
        let period = line.period.map(|day| day.to_string()).unwrap_or_default();
        cursor.encode(&format!("{period} {} {} {}", line.currency, days.from, days.to))
    })?;
    let page = page.with("totals", &found.totals)?;
    Ok(page.with("changes_pending", &found.changes_pending)?.into_response())
}

/// `GET /analytics/top?by=product|customer&currency=&from=&to=&limit=`: by net amount, in one currency, since amounts of several have no
/// order.
pub async fn top(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Response, ApiError> {
    let by = params.read("by", "must be product or customer", |value| match value {
        "product" => Some(By::Product),
        "customer" => Some(By::Customer),
        _ => None,
    })?;
    let by = by.ok_or_else(|| missing("by", "product or customer"))?;
    let currency = params.read("currency", "must be three capital letters", |value| {
        let is_code = value.len() == 3 && value.bytes().all(|b| b.is_ascii_uppercase());
        is_code.then(|| value.to_owned())
    })?;
    let currency = currency.ok_or_else(|| missing("currency", "the currency whose amounts are compared"))?;
    let (days, limit) = (Asked::read(&mut params)?.days()?, params.limit()?);
    params.end()?;
    may_see(&caller)?;
    let limit = i64::try_from(limit.items()).unwrap_or(i64::MAX);
    let items = app.store.list_top(&caller, by, &currency, days, limit).await?;
    // The list has no next page: to get more items, ask for a larger limit.
    Ok(Json(json!({"items": items, "next_cursor": null})).into_response())
}

fn may_see(caller: &Caller) -> Result<(), ApiError> {
    match caller.role().sees_tenant() {
        true => Ok(()),
        false => Err(ApiError::forbidden(
            "staff_only",
            "only staff and services may read this",
        )),
    }
}

fn missing(name: &str, what: &str) -> ApiError {
    ApiError::bad_request("invalid_parameter", format!("{name} is required: {what}"))
}

/// Days as they were asked for.
#[derive(Clone, Copy)]
struct Asked {
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
}

impl Asked {
    fn read(params: &mut Params) -> Result<Self, ApiError> {
        Ok(Self {
            from: day(params, "from")?,
            to: day(params, "to")?,
        })
    }

    /// Those that are meant: up to today, wherever in the world that is tomorrow already.
    fn days(self) -> Result<Days, ApiError> {
        let to = self.to.unwrap_or_else(|| Utc::now().date_naive() + Count::new(2));
        let from = self
            .from
            .or_else(|| to.checked_sub_days(Count::new(LAST)))
            .unwrap_or(to);
        match from < to {
            true => Ok(Days { from, to }),
            false => Err(ApiError::bad_request("invalid_parameter", "from must be before to")),
        }
    }
}

fn day(params: &mut Params, name: &str) -> Result<Option<NaiveDate>, ApiError> {
    params.read(
        name,
        "must be a date, YYYY-MM-DD, from the year 0001 to 9999",
        |value| {
            let is_shaped = value.len() == 10 && value.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            let parsed: Option<NaiveDate> = value.parse().ok().filter(|_| is_shaped);
            parsed.filter(|day| day.year() >= 1)
        },
    )
}

/// The days that the first page was about, which may be others than those of the day on which the next one is asked for; and its last line.
fn last_line(key: &str) -> Result<(Days, (NaiveDate, String)), ApiError> {
    let parsed = || {
        let mut parts = key.split(' ');
        let (period, currency) = (parts.next()?.parse().ok()?, parts.next()?.to_owned());
        let (from, to) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some((Days { from, to }, (period, currency)))
    };
    parsed().ok_or_else(Cursor::invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_on_with_the_days_of_the_first_page() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let (days, last) = last_line("2026-01-05 USD 2025-12-10 2026-01-09").ok().unwrap();
        assert_eq!((days.from, days.to), (day("2025-12-10"), day("2026-01-09")));
        assert_eq!(last, (day("2026-01-05"), "USD".to_owned()));
        for garbage in ["", "2026-01-05 USD", "2026-01-05 USD x y"] {
            assert!(last_line(garbage).is_err());
        }
    }
}
