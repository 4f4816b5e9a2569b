//! Reading figures: a year of them is some hundred rows, whatever lies beneath.

use chrono::{Datelike, Months, NaiveDate};
use serde::Serialize;
use serde_json::Number;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{number, optional_number};
use crate::domain::Caller;
use crate::store::session::{As, Param};
use crate::store::{Store, StoreError};

/// Categories of expenses that are told of a period, the largest ones.
const CATEGORIES: i64 = 50;

/// A stretch of business days, `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Days {
    /// The first one.
    pub from: NaiveDate,
    /// The one after the last.
    pub to: NaiveDate,
}

/// What a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// A day.
    Day,
    /// A week from Monday on.
    Week,
    /// A month.
    Month,
}

/// What is ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Products.
    Product,
    /// Customers.
    Customer,
}

/// Figures of a period, or of all that was asked for, in one currency.
#[derive(Debug, Serialize)]
pub struct KpiLine {
    /// First day of the period; none: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<NaiveDate>,
    /// Currency.
    pub currency: String,
    /// Sum of positive amounts.
    pub revenue_cents: Number,
    /// Sum of negative amounts, as a positive number.
    pub refunds_cents: Number,
    /// Revenue less refunds.
    pub net_cents: Number,
    /// Sales, refunds among them.
    pub sales_count: Number,
    /// Net by sales, halves away from zero; null without sales.
    pub average_sale_cents: Option<Number>,
    /// Sum of expenses.
    pub expenses_cents: Number,
    /// Expenses.
    pub expenses_count: Number,
    /// The largest categories of expenses.
    pub expenses_by_category: Vec<Category>,
    /// Sum of expenses in smaller categories than those.
    pub other_expenses_cents: Number,
    /// Net less expenses.
    pub profit_cents: Number,
    /// Customers whose first sale in this currency it was.
    pub new_customers: Number,
    /// Customers with a sale in this currency.
    pub active_customers: Number,
}

/// Expenses of a category.
#[derive(Debug, Serialize)]
pub struct Category {
    /// The category; null: none was given.
    category: Option<String>,
    /// Sum of its expenses.
    expenses_cents: Number,
}

/// Some periods, and the figures of all of them.
#[derive(Debug)]
pub struct KpiPage {
    /// By period and currency.
    pub items: Vec<KpiLine>,
    /// By currency.
    pub totals: Vec<KpiLine>,
    /// Changes of sales and expenses that the figures lack still; 10,000: so many or more.
    pub changes_pending: i64,
}

/// A product or customer, with its sales.
#[derive(Debug, Serialize)]
pub struct TopLine {
    /// Which product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Which customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// Currency.
    pub currency: String,
    /// Sum of positive amounts.
    pub revenue_cents: Number,
    /// Sum of negative amounts, as a positive number.
    pub refunds_cents: Number,
    /// Revenue less refunds.
    pub net_cents: Number,
    /// Sales, refunds among them.
    pub sales_count: Number,
}

/// A customer is active in a period if the purchase before was not in it, nor in the part of it that was asked for.
const LIST_KPIS: &str = include_str!("../queries/kpis/list.sql");
const LIST_TOP_PRODUCTS: &str = include_str!("../queries/kpis/top_products.sql");
const LIST_TOP_CUSTOMERS: &str = include_str!("../queries/kpis/top_customers.sql");

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
    /// Figures of periods after the given one, at most `limit`, and of all days together. A period that the days cut is told as far
    /// as they reach.
    ///
    /// # Errors
    /// The database's.
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
        let lines = rows.iter().filter_map(|row| line_from(row).transpose());
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let (items, totals) = lines.into_iter().partition(|line| line.period.is_some());
        Ok(KpiPage {
            items,
            totals,
            changes_pending,
        })
    }

    /// Products or customers that were sold most, by net amount.
    ///
    /// # Errors
    /// The database's.
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

/// Sums that are kept of more than a day.
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
    /// The whole months or years among them; none: an empty stretch within the next smaller ones.
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
            // Months go on to their own end, past years that there are none of.
            (false, Span::Year) => {
                let end = self.whole(Span::Month).to;
                Self { from: end, to: end }
            }
        }
    }
}

/// The line of a row; none: it tells of none.
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
                .map_err(|e| StoreError::Unexpected(format!("a category's sum is no number: {e}")))?,
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
