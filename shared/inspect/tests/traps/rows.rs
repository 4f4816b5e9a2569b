//! Which rows count: those that were cancelled, paid back or never paid, and those that are totals.

use super::*;

#[tokio::test]
async fn cancelled_and_unpaid_rows_are_asked_about() {
    let shopify = "Name,Email,Financial Status,Paid at,Fulfillment Status,Currency,Total,Created at,Lineitem quantity,Lineitem name,Cancelled at,Refunded Amount\n";
    let cancelled = format!(
        "{shopify}#1,a@x.org,paid,2026-01-13 10:00:00 -0500,unfulfilled,USD,82.37,2026-01-13 10:00:00 -0500,1,Mug,2026-01-14 10:00:00 -0500,0.00\n"
    );
    let refunded = format!(
        "{shopify}#1,a@x.org,paid,2026-01-13 10:00:00 -0500,unfulfilled,USD,82.37,2026-01-13 10:00:00 -0500,1,Mug,,82.37\n"
    );
    all_ask(&[
        ("Shopify, cancelled", "sales", "filter", &cancelled),
        ("Shopify, refunded", "sales", "filter", &refunded),
        (
            "an amount that was paid back",
            "sales",
            "filter",
            "Date,Amount (EUR),Refunded Amount\n2026-01-13,10.00,10.00\n2026-01-14,20.00,\n",
        ),
        (
            "a column that says what was cancelled",
            "sales",
            "filter",
            "Date,Amount (EUR),Cancelled\n2026-01-13,10.00,Yes\n2026-01-14,20.00,No\n",
        ),
        (
            "a column that says what was paid back",
            "sales",
            "filter",
            "Date,Amount (EUR),Refunded\n2026-01-13,10.00,Yes\n2026-01-14,20.00,No\n",
        ),
        (
            "days on which rows were cancelled",
            "sales",
            "filter",
            "Date,Amount (EUR),Storniert am\n2026-01-13,10.00,2026-01-15\n2026-01-14,20.00,\n",
        ),
        (
            "an invoice that is not paid",
            "sales",
            "mapping",
            "Invoice Date,Customer,Total,Amount Paid,Amount Due,Currency\n2026-01-13,Ann,200.00,0.00,200.00,EUR\n",
        ),
        (
            "an invoice that is paid in part, without a column of what was paid",
            "sales",
            "filter",
            "Invoice Date,Customer,Total,Amount Due,Currency\n2026-01-13,Ann,200.00,50.00,EUR\n",
        ),
    ])
    .await;
    all_read(&[
        (
            "a second status",
            "sales",
            "EUR 1000",
            "Order Date,Amount (EUR),Order Status,Payment Status\n2026-01-13,10.00,Completed,Paid\n2026-01-14,20.00,Completed,Voided\n",
        ),
        (
        "nothing was cancelled",
        "sales",
        "EUR 3000",
        "Date,Amount (EUR),Cancelled,Refunded Amount\n2026-01-13,10.00,No,0.00\n2026-01-14,20.00,No,\n",
    ),])
    .await;
}

#[tokio::test]
async fn totals_and_balances_with_a_day_are_asked_about() {
    all_ask(&[
        (
            "a total with a day",
            "expenses",
            "filter",
            "Date,Vendor,Amount (EUR)\n2026-01-13,Hosting,120.00\n2026-01-14,Power,80.00\n2026-01-31,Total,200.00\n",
        ),
        (
            "totals of groups",
            "expenses",
            "filter",
            "Date,Vendor,Amount (EUR)\n2026-01-13,Bread,120.00\n2026-01-14,Milk,80.00\n2026-01-31,Food Total,200.00\n2026-01-31,Pen,5.00\n2026-01-31,Grand Total,205.00\n",
        ),
        (
            "a balance",
            "sales",
            "filter",
            "Date,Text,Amount (EUR)\n2026-01-01,Opening balance,5000.00\n2026-01-13,Mug,5.00\n2026-01-14,Cup,6.00\n",
        ),
        (
            "a sum without a word",
            "expenses",
            "filter",
            "Date,Vendor,Memo,Amount (EUR)\n2026-01-13,Hosting,x,120.00\n2026-01-14,Power,y,80.00\n2026-01-15,Rent,y,70.00\n2026-01-31,January,,270.00\n",
        ),
        (
            "a balance of a month in German",
            "expenses",
            "filter",
            "Datum;Text;Betrag (EUR)\n13.01.2026;Strom;120,00\n14.01.2026;Miete;90,00\n31.01.2026;Saldo Januar;310,00\n",
        ),
    ])
    .await;
}
