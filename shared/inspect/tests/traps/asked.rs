//! What could be read otherwise.

use super::*;

#[tokio::test]
async fn what_could_be_read_otherwise_is_asked() {
    for (what, dataset, field, file) in [
        (
            "two amounts",
            "sales",
            "mapping",
            "Order date,Amount (EUR),Amount\n2026-01-31,5.00,6.00\n",
        ),
        (
            "two days",
            "sales",
            "mapping",
            "Date,Date,Amount (EUR)\n2026-01-31,2026-02-01,5.00\n",
        ),
        (
            "a status that nobody knows",
            "sales",
            "filter",
            "Date,Status,Amount (EUR)\n2026-01-31,Paid,5.00\n2026-01-31,Refunded,6.00\n",
        ),
        (
            "kinds of rows",
            "sales",
            "filter",
            "Date,Type,Amount (EUR)\n2026-01-31,Sale,5.00\n2026-01-31,Payout,-5.00\n",
        ),
        (
            "what goods cost",
            "sales",
            "mapping",
            "Date,Item,Cost (EUR)\n2026-01-31,Mug,5.00\n",
        ),
        (
            "what goods brought in",
            "expenses",
            "mapping",
            "Date,Item,Revenue (EUR)\n2026-01-31,Mug,5.00\n",
        ),
        (
            "a currency beside some",
            "sales",
            "currency",
            "Date,Amount\n2026-01-31,5.00 EUR\n2026-01-31,6.00\n",
        ),
        ("no currency", "sales", "currency", "Date,Amount\n2026-01-31,5.00\n"),
        (
            "dollars of some country",
            "sales",
            "currency",
            "Date,Amount\n2026-01-31,$5.00\n",
        ),
        (
            "money in both directions",
            "expenses",
            "filter",
            "Date,Amount (EUR)\n2026-01-31,-5.00\n2026-01-31,7.00\n",
        ),
        (
            "negative sales",
            "sales",
            "negate",
            "Date,Amount (EUR)\n2026-01-31,-5.00\n",
        ),
        (
            "a balance with a day",
            "expenses",
            "skip_footer",
            "Text,Date,Amount (EUR)\nRent,2026-01-30,5.00\nClosing balance,2026-01-31,5.00\n",
        ),
        (
            "days that could be months",
            "sales",
            "date_format",
            "Date,Amount (EUR)\n01/02/2026,5.00\n",
        ),
        (
            "thousands or not",
            "sales",
            "decimal",
            "Date,Amount (EUR)\n2026-01-31,1.500\n",
        ),
        (
            "nothing or zero",
            "sales",
            "empty_values",
            "Date,Amount (EUR)\n2026-01-31,5.00\n2026-01-31,-\n",
        ),
        (
            "an order's total in each of its rows",
            "sales",
            "mapping",
            "Order ID,Order Date,Item,Line Total (EUR),Order Total (EUR)\n1,2026-01-31,Mug,5.00,11.00\n1,2026-01-31,Cup,6.00,11.00\n",
        ),
        (
            "an order's only amount in each of its rows",
            "sales",
            "mapping",
            "Order ID,Order Date,Item,Order Total (EUR)\n1,2026-01-31,Mug,11.00\n1,2026-01-31,Cup,11.00\n2,2026-01-31,Pot,3.00\n",
        ),
        (
            "rows before the header",
            "sales",
            "skip_rows",
            "2026-01-01,5.00,Mug\n2026-01-02,6.00,Cup\nDate,Amount (EUR),Product\n2026-01-03,7.00,Pot\n",
        ),
        (
            "a customer before the header",
            "customers",
            "skip_rows",
            "a@x.com,Ann,,\nEmail,Name,Phone,Country\nb@x.com,Bob,1,DE\n",
        ),
        (
            "a row without a day among headings",
            "expenses",
            "filter",
            "Group,Date,Vendor,Memo,Amount (EUR)\nHosting,,,,\n,2026-01-03,ACME,x,10.00\n,,ACME,y,20.00\n,2026-01-05,ACME,z,30.00\n",
        ),
        (
            "a row at the end that lacks its amount's decimals",
            "expenses",
            "skip_footer",
            "Date,Vendor,Category,Memo,Ref,Amount (EUR)\n2026-01-03,A,b,c,d,10.00\n2026-01-04,A,b,c,d,11.00\n2026-01-05,,,,,12.x\n",
        ),
        (
            "a country that a word could mean",
            "customers",
            "empty_values",
            "Email,Name,Country\na@x.com,Ann,NA\nb@x.com,Bob,DE\n",
        ),
        (
            "words of three letters in a header",
            "sales",
            "currency",
            "Date,Total (incl. all taxes)\n2026-01-31,5.00\n",
        ),
        (
            "a shop with a name of three letters",
            "sales",
            "currency",
            "Store: TOP Shop\nDate,Total,Item\n2026-01-31,5.00,Mug\n2026-01-30,5.00,Mug\n",
        ),
        (
            "a code in small letters",
            "sales",
            "currency",
            "Date,Total cup\n2026-01-31,5.00\n",
        ),
        (
            "rupees of some country",
            "sales",
            "currency",
            "Date,Amount (Rs.)\n2026-01-31,5.00\n",
        ),
        (
            "rupees beside amounts",
            "sales",
            "currency",
            "Date,Amount\n2026-01-31,Rs. 5.00\n",
        ),
        (
            "rows without a currency in a file that has a column of currencies",
            "sales",
            "currency",
            "Date,Amount,Currency\n2026-01-31,5.00,CHF\n2026-01-30,6.00,\n",
        ),
        (
            "a year of two digits before or after the month",
            "sales",
            "date_format",
            "Date,Amount (EUR)\n26.01.05,5.00\n26.01.06,6.00\n",
        ),
        (
            "points in a file that may be American",
            "sales",
            "date_format",
            "Date,Amount (USD)\n01.02.2026,5.00\n",
        ),
        (
            "spaces in a file that may be American",
            "sales",
            "date_format",
            "Date,Amount (USD)\n01 02 2026,5.00\n",
        ),
        (
            "numbers of documents that may begin again each year",
            "expenses",
            "mapping",
            "Buchungsdatum;Beleg-Nr.;Betrag (EUR)\n31.01.2026;1;5,00\n30.01.2026;2;6,00\n",
        ),
        (
            "a part that was paid back",
            "sales",
            "filter",
            "Date,Amount (EUR),Refunded Amount\n2026-01-31,5.00,1.00\n2026-01-31,6.00,0.00\n",
        ),
        (
            "an order without day and amount at the end",
            "sales",
            "skip_footer",
            "Order ID,Order Date,Product,Amount (EUR),Customer\n1,2026-01-31,Mug,5.00,Ann\n2,2026-01-31,Cup,6.00,Bob\n3,,Pot,,\n",
        ),
        (
            "an amount without a day among rows",
            "expenses",
            "filter",
            "Date,Vendor,Memo,Ref,Amount (EUR)\n2026-01-31,a,b,c,5.00\n,Acme,,,20.00\n2026-01-31,a,b,c,7.00\n",
        ),
        (
            "an email address without a name among rows",
            "customers",
            "filter",
            "Email,Name,Country,Member since\na@x.com,Ann,DE,2026-01-01\nc@x.com,,,\nd@x.com,Dan,DE,2026-01-01\n",
        ),
        (
            "Namibia only",
            "customers",
            "empty_values",
            "Email,Name,Country\na@x.com,Ann,NA\nb@x.com,Bob,NA\n",
        ),
        (
            "two currencies before the header",
            "sales",
            "currency",
            "Amounts in USD and CAD\nDate,Amount,Item\n2026-01-31,5.00,Mug\n",
        ),
        (
            "an email address in two rows",
            "customers",
            "mapping",
            "Email,Name\na@x.com,Ann\na@x.com,Anna\n",
        ),
    ] {
        let inspection = inspected(dataset, file).await;
        assert!(!inspection.certain, "{what}: {:?}", inspection.options);
        assert!(
            inspection.doubts.iter().any(|doubt| doubt.field == field),
            "{what}: {:?}",
            inspection.doubts
        );
    }
}
