//! `GET /analytics/…`: key figures of business days. They cover the whole tenant, so only callers who may see all of it can read them.

use crate::App;
use annals_http::{ApiError, Authenticated, Cursor, Page, Params};
use annals_store::{By, Days, Granularity};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{Datelike, Days as Count, NaiveDate, Utc};
use serde_json::json;

use crate::request::{after_key, require_tenant_reader};

/// How many days a request without `from` gets.
const DEFAULT_DAYS: u64 = 30;

/// `GET /analytics/kpis?from=&to=&granularity=&limit=&cursor=`: key figures by period and currency. `from` (inclusive) and `to` (exclusive)
/// are days of business time. By default `to` is the day after tomorrow (UTC), and `from` is thirty days before `to`.
pub async fn kpis(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Response, ApiError> {
    let bounds = DayBounds::read(&mut params)?;
    let granularity = granularity(&mut params)?;
    let cursor = Cursor::of("kpis", &(bounds.from, bounds.to, granularity, caller.tenant_id()));
    let key = after_key(&mut params, &cursor)?;
    let (days, after) = match key.as_deref().map(parse_key).transpose()? {
        Some((days, last)) => (days, Some(last)),
        None => (bounds.days()?, None),
    };
    let limit = params.limit()?;
    params.end()?;
    require_tenant_reader(&caller)?;
    let found = app
        .store
        .list_kpis(&caller, days, granularity, after, limit.plus_one())
        .await?;
    let page = Page::cut(&found.items, limit, |line| {
        let period = line.period.map(|day| day.to_string()).unwrap_or_default();
        cursor.encode(&format!("{period} {} {} {}", line.currency, days.from, days.to))
    })?;
    let page = page.with("totals", &found.totals)?;
    let page = page.with("changes_pending", &found.changes_pending)?;
    Ok(page.with("changes_pending_exact", &found.is_exact)?.into_response())
}

/// `GET /analytics/top?by=product|customer&currency=&from=&to=&limit=`: the products or customers with the largest net amounts in one
/// currency. `currency` is required, because amounts in different currencies cannot be compared.
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
    let (days, limit) = (DayBounds::read(&mut params)?.days()?, params.limit()?);
    params.end()?;
    require_tenant_reader(&caller)?;
    let limit = i64::try_from(limit.items()).unwrap_or(i64::MAX);
    let items = app.store.list_top(&caller, by, &currency, days, limit).await?;
    // The list has no next page: to get more items, ask for a larger limit.
    Ok(Json(json!({"items": items, "next_cursor": null})).into_response())
}

fn granularity(params: &mut Params) -> Result<Granularity, ApiError> {
    let granularity = params.read("granularity", "must be day, week or month", |value| match value {
        "day" => Some(Granularity::Day),
        "week" => Some(Granularity::Week),
        "month" => Some(Granularity::Month),
        _ => None,
    })?;
    Ok(granularity.unwrap_or(Granularity::Day))
}

fn missing(name: &str, what: &str) -> ApiError {
    ApiError::bad_request("invalid_parameter", format!("{name} is required: {what}"))
}

/// `from` and `to` as the request gave them.
#[derive(Clone, Copy)]
struct DayBounds {
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
}

impl DayBounds {
    fn read(params: &mut Params) -> Result<Self, ApiError> {
        Ok(Self {
            from: day(params, "from")?,
            to: day(params, "to")?,
        })
    }

    /// The days, with defaults for what is missing. `to` defaults to the day after tomorrow (UTC), so that today is included in every time
    /// zone.
    fn days(self) -> Result<Days, ApiError> {
        let to = self.to.unwrap_or_else(|| Utc::now().date_naive() + Count::new(2));
        let from = self
            .from
            .or_else(|| to.checked_sub_days(Count::new(DEFAULT_DAYS)))
            .unwrap_or(to);
        match from < to {
            true => Ok(Days { from, to }),
            false => Err(ApiError::bad_request(
                "contradictory_parameters",
                "from must be before to",
            )),
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

/// What a cursor of `/analytics/kpis` holds: the days of the first page, and the period and currency of the last line. The days are kept
/// because the default days change at midnight, and all pages must cover the same days.
fn parse_key(key: &str) -> Result<(Days, (NaiveDate, String)), ApiError> {
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
    fn a_cursor_keeps_the_days_of_the_first_page() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let (days, last) = parse_key("2026-01-05 USD 2025-12-10 2026-01-09").ok().unwrap();
        assert_eq!((days.from, days.to), (day("2025-12-10"), day("2026-01-09")));
        assert_eq!(last, (day("2026-01-05"), "USD".to_owned()));
        for garbage in ["", "2026-01-05 USD", "2026-01-05 USD x y"] {
            assert!(parse_key(garbage).is_err());
        }
    }
}
