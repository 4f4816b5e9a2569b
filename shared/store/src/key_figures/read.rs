//! Reads key figures from stored sums by day, month and year. The sales themselves are not read, however many there are.

use chrono::{Datelike, Months, NaiveDate};
use serde::Serialize;
use serde_json::Number;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{number, optional_number};
use crate::connection::statement::{As, Param};
use crate::{Store, StoreError};
use annals_domain::Caller;

/// Maximum number of expense categories that a period lists: the largest ones.
const CATEGORIES: i64 = 50;

/// A range of business days, `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Days {
    /// First day.
    pub from: NaiveDate,
    /// Day after the last.
    pub to: NaiveDate,
}

/// Length of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// One day.
    Day,
    /// One week, beginning on Monday.
    Week,
    /// One calendar month.
    Month,
}

/// What to rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Products.
    Product,
    /// Customers.
    Customer,
}

/// Figures of a period, or of the whole range, in one currency. Amounts are integers in minor units.
#[derive(Debug, Serialize)]
pub struct KpiLine {
    /// First day of the period; `None`: the whole range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<NaiveDate>,
    /// Currency code.
    pub currency: String,
    /// Sum of positive sales amounts.
    pub revenue_cents: Number,
    /// Sum of negative sales amounts, as a positive number.
    pub refunds_cents: Number,
    /// Revenue minus refunds.
    pub net_cents: Number,
    /// Number of sales, refunds included.
    pub sales_count: Number,
    /// `net_cents` divided by `sales_count`, rounded half away from zero; null without sales.
    pub average_sale_cents: Option<Number>,
    /// Sum of expenses.
    pub expenses_cents: Number,
    /// Number of expenses.
    pub expenses_count: Number,
    /// The largest expense categories.
    pub expenses_by_category: Vec<Category>,
    /// Sum of the expenses in all other categories.
    pub other_expenses_cents: Number,
    /// Net minus expenses.
    pub profit_cents: Number,
    /// Customers whose first sale in this currency is in the period.
    pub new_customers: Number,
    /// Customers with a sale in this currency in the period.
    pub active_customers: Number,
}

/// Expenses of one category.
#[derive(Debug, Serialize)]
pub struct Category {
    /// Name of the category; null: the expenses have none.
    category: Option<String>,
    /// Sum of its expenses.
    expenses_cents: Number,
}

/// A page of periods, and the figures of the whole range.
#[derive(Debug)]
pub struct KpiPage {
    /// By period and currency.
    pub items: Vec<KpiLine>,
    /// By currency.
    pub totals: Vec<KpiLine>,
    /// Number of changes of sales and expenses that are not in the figures yet.
    pub changes_pending: i64,
    /// Whether there are no more than that.
    pub is_exact: bool,
}

/// A product or a customer with its sales.
#[derive(Debug, Serialize)]
pub struct TopLine {
    /// Name of the product, if products are ranked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Id of the customer, if customers are ranked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// Currency code.
    pub currency: String,
    /// Sum of positive sales amounts.
    pub revenue_cents: Number,
    /// Sum of negative sales amounts, as a positive number.
    pub refunds_cents: Number,
    /// Revenue minus refunds.
    pub net_cents: Number,
    /// Number of sales, refunds included.
    pub sales_count: Number,
}

/// Each customer is counted as active once per period: on the first day with a purchase in the period, or in its requested part. That
/// is the day whose previous purchase (`annals.kpi_repeat_customers`) was before the period, or before its requested part.
const LIST_KPIS: &str = include_str!("../queries/key_figures/list.sql");
const LIST_TOP_PRODUCTS: &str = include_str!("../queries/key_figures/top_products.sql");
const LIST_TOP_CUSTOMERS: &str = include_str!("../queries/key_figures/top_customers.sql");

impl Granularity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

impl Store {
    /// Figures of periods after the given one, at most `limit`, and of the whole range. Of a period that is only partly in the range,
    /// only the days in the range count.
    pub async fn list_kpis(
        &self,
        caller: &Caller,
        days: Days,
        granularity: Granularity,
        after: Option<(NaiveDate, String)>,
        limit: i64,
    ) -> Result<KpiPage, StoreError> {
        let (period, currency) = after.unzip();
        let params: [Param<'_>; 8] = [
            (caller.tenant_uuid(), Type::UUID),
            (&days.from, Type::DATE),
            (&days.to, Type::DATE),
            (&granularity.as_str(), Type::TEXT),
            (&period, Type::DATE),
            (&currency, Type::TEXT),
            (&limit, Type::INT8),
            (&CATEGORIES, Type::INT8),
        ];
        let rows = self.read(As::Caller(caller), LIST_KPIS, &params).await?;
        let changes_pending = rows.first().map_or(Ok(0), |row| row.try_get("changes_pending"))?;
        let is_exact = rows.first().map_or(Ok(true), |row| row.try_get("is_exact"))?;
        let lines = rows.iter().filter_map(|row| line_from(row).transpose());
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let (items, totals) = lines.into_iter().partition(|line| line.period.is_some());
        Ok(KpiPage {
            items,
            totals,
            changes_pending,
            is_exact,
        })
    }

    /// Products or customers with the largest net amounts.
    pub async fn list_top(
        &self,
        caller: &Caller,
        by: By,
        currency: &str,
        days: Days,
        limit: i64,
    ) -> Result<Vec<TopLine>, StoreError> {
        let statement = match by {
            By::Product => LIST_TOP_PRODUCTS,
            By::Customer => LIST_TOP_CUSTOMERS,
        };
        let (months, years) = (days.whole(Span::Month), days.whole(Span::Year));
        let params: [Param<'_>; 9] = [
            (caller.tenant_uuid(), Type::UUID),
            (&currency, Type::TEXT),
            (&days.from, Type::DATE),
            (&months.from, Type::DATE),
            (&years.from, Type::DATE),
            (&years.to, Type::DATE),
            (&months.to, Type::DATE),
            (&days.to, Type::DATE),
            (&limit, Type::INT8),
        ];
        let rows = self.read(As::Caller(caller), statement, &params).await?;
        rows.iter().map(|row| top_from(row, by)).collect()
    }
}

/// Periods longer than a day for which sums are stored.
#[derive(Clone, Copy)]
enum Span {
    Month,
    Year,
}

impl Span {
    fn first_day(self, of: NaiveDate) -> NaiveDate {
        let first = match self {
            Self::Month => of.with_day(1),
            Self::Year => of.with_ordinal(1),
        };
        first.unwrap_or(of)
    }

    fn next(self, first: NaiveDate) -> NaiveDate {
        let months = match self {
            Self::Month => 1,
            Self::Year => 12,
        };
        first.checked_add_months(Months::new(months)).unwrap_or(first)
    }
}

impl Days {
    /// The whole months or years in the range. If there are none, an empty range at the end of the range, or of its whole months.
    fn whole(self, span: Span) -> Self {
        let to = span.first_day(self.to);
        let from = match span.first_day(self.from) {
            first if first == self.from => first,
            cut => span.next(cut),
        };
        match (from < to, span) {
            (true, _) => Self { from, to },
            (false, Span::Month) => Self {
                from: self.to,
                to: self.to,
            },
            // Without whole years, the whole months extend to their own end.
            (false, Span::Year) => {
                let end = self.whole(Span::Month).to;
                Self { from: end, to: end }
            }
        }
    }
}

/// The figures in a row; `None` if the row only carries the number of pending changes.
fn line_from(row: &Row) -> Result<Option<KpiLine>, StoreError> {
    let Some(currency) = row.try_get("currency")? else {
        return Ok(None);
    };
    let names: Vec<String> = row.try_get("categories")?;
    let sums: Vec<String> = row.try_get("category_cents")?;
    let category = |(name, sum): (String, String)| {
        Ok(Category {
            category: Some(name).filter(|name| !name.is_empty()),
            expenses_cents: sum
                .parse()
                .map_err(|e| StoreError::Unexpected(format!("a category's sum is not a number: {e}")))?,
        })
    };
    Ok(Some(KpiLine {
        period: row.try_get("period")?,
        currency,
        revenue_cents: number(row, "revenue_cents")?,
        refunds_cents: number(row, "refunds_cents")?,
        net_cents: number(row, "net_cents")?,
        sales_count: number(row, "sales_count")?,
        average_sale_cents: optional_number(row, "average_sale_cents")?,
        expenses_cents: number(row, "expenses_cents")?,
        expenses_count: number(row, "expenses_count")?,
        expenses_by_category: names
            .into_iter()
            .zip(sums)
            .map(category)
            .collect::<Result<_, StoreError>>()?,
        other_expenses_cents: number(row, "other_cents")?,
        profit_cents: number(row, "profit_cents")?,
        new_customers: number(row, "new_customers")?,
        active_customers: number(row, "active_customers")?,
    }))
}

fn top_from(row: &Row, by: By) -> Result<TopLine, StoreError> {
    let name: String = row.try_get("name")?;
    let (product, customer_id) = match by {
        By::Product => (Some(name), None),
        By::Customer => (None, Some(name)),
    };
    Ok(TopLine {
        product,
        customer_id,
        currency: row.try_get("currency")?,
        revenue_cents: number(row, "revenue_cents")?,
        refunds_cents: number(row, "refunds_cents")?,
        net_cents: number(row, "net_cents")?,
        sales_count: number(row, "sales_count")?,
    })
}
