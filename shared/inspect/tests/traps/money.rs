//! Which currency, which direction, which of several amounts.

use super::*;

#[tokio::test]
async fn the_currency_in_the_header_of_the_amount_wins() {
    all_ask(&[
        (
            "the currency of what was paid abroad",
            "expenses",
            "currency",
            "Date,Vendor,Amount (EUR),Transaction Currency,Transaction Amount\n2026-01-13,Shop,-10.00,USD,-11.00\n2026-01-14,Shop,-5.00,GBP,-4.00\n",
        ),
        (
            "the same in German",
            "expenses",
            "currency",
            "Datum;Text;Betrag in EUR;Währung;Fremdbetrag\n13.01.2026;Shop;-10,00;USD;-11,00\n14.01.2026;Shop;-5,00;GBP;-4,00\n",
        ),
        (
            "two columns of currencies",
            "sales",
            "mapping",
            "Order ID,Order Date,Order Currency,Order Total,Payment Amount,Payment Currency\n1,2026-01-13,GBP,100.00,120.00,EUR\n",
        ),
        (
            "a blank currency",
            "sales",
            "currency",
            "Order ID,Order Date,Total,Currency\n1,2026-01-13,120.00,EUR\n2,2026-01-14,20.00,EUR\n3,2026-01-15,10.00,\n",
        ),
        (
            "two columns of currencies beside one amount",
            "sales",
            "mapping",
            "Order Date,Order Currency,Order Total,Payment Currency\n2026-01-13,GBP,100.00,EUR\n",
        ),
        (
            "a currency beside the amount",
            "sales",
            "currency",
            "Date,Amount (EUR)\n2026-01-13,10.00 USD\n",
        ),
        (
            "a currency before the header",
            "sales",
            "currency",
            "All amounts in USD\nDate,Amount (EUR),Text\n2026-01-13,10.00,x\n2026-01-14,10.00,x\n",
        ),
        (
            "a currency that another header names",
            "sales",
            "currency",
            "Date,Amount (EUR),Currency\n2026-01-13,10.00,EUR\n2026-01-14,10.00,USD\n",
        ),
    ])
    .await;
    all_read(&[
        (
            "a column that says what the header says",
            "sales",
            "EUR 2000",
            "Date,Amount (EUR),Currency\n2026-01-13,10.00,EUR\n2026-01-14,10.00,EUR\n",
        ),
        (
            "two columns that say the same",
            "sales",
            "EUR 2000",
            "Order Date,Order Total,Order Currency,Settlement Currency\n2026-01-13,10.00,EUR,EUR\n2026-01-14,10.00,EUR,EUR\n",
        ),
    ])
    .await;
}

#[tokio::test]
async fn the_answer_to_a_contradiction_is_kept() {
    let file = "Date,Amount (EUR),Currency\n2026-01-13,10.00,EUR\n2026-01-14,10.00,USD\n";
    let inspection = Known::declared(json!({"currency": "EUR"})).inspect("sales", file).await;
    assert_eq!(totals(&inspection), [("EUR".to_owned(), "2000".to_owned())]);
    assert!(inspection.certain, "{:?}", inspection.doubts);
}

#[tokio::test]
async fn a_declared_currency_does_not_hide_those_of_rows() {
    let file =
        "Datum;Text;Betrag;Währung\n13.01.2026;Shop;-10,00;USD\n14.01.2026;Shop;-5,00;EUR\n15.01.2026;Shop;-4,00;\n";
    let euros = json!({"currency": "EUR"});
    let inspection = Known::declared(euros.clone()).inspect("expenses", file).await;
    assert!(asks(&inspection, "mapping"), "{:?}", inspection.doubts);
    let mapped = Known::declared(json!({"currency": "EUR", "mapping": {"currency": "Währung"}}));
    let inspection = mapped.inspect("expenses", file).await;
    assert!(inspection.certain, "{:?}", inspection.doubts);
    let (euro, dollar) = (("EUR", "900"), ("USD", "1000"));
    let meant = [euro, dollar].map(|(code, cents)| (code.to_owned(), cents.to_owned()));
    assert_eq!(totals(&inspection), meant);
    let same = file.replace("USD", "EUR");
    assert!(Known::declared(euros).inspect("expenses", &same).await.certain);
}

#[tokio::test]
async fn money_that_came_in_is_no_expense() {
    let ing = "Buchung;Wertstellungsdatum;Auftraggeber/Empfänger;Buchungstext;Verwendungszweck;Saldo;Währung;Betrag;Währung\n13.01.2026;13.01.2026;Arbeitgeber;Gehalt;Gehalt;3000,00;EUR;2500,00;EUR\n";
    let sparkasse = "Auftragskonto;Buchungstag;Valutadatum;Buchungstext;Verwendungszweck;Glaeubiger ID;Beguenstigter/Zahlungspflichtiger;Betrag;Waehrung;Info\nDE02;13.01.26;13.01.26;LOHN GEHALT;Gehalt;;Firma;2500,00;EUR;Umsatz gebucht\n";
    let plain = "Date,Text,Amount (EUR),Balance\n2026-01-31,Salary,2500.00,3000.00\n";
    all_ask(&[
        ("ING", "expenses", "negate", ing),
        ("Sparkasse", "expenses", "negate", sparkasse),
        ("an account with a balance", "expenses", "negate", plain),
        (
            "an account without a balance",
            "expenses",
            "negate",
            "Buchungstag;Verwendungszweck;Betrag;Währung\n13.01.2026;Gehalt;2500,00;EUR\n",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_payment_of_a_card_is_no_expense() {
    let amex = "Date,Description,Card Member,Account #,Amount,Extended Details,Appears On Your Statement As,Address,Reference,Category\n1/28/2026,ONLINE PAYMENT - THANK YOU,MARA,-71003,-500.00,,ONLINE PAYMENT,,'3201',\n";
    let usd = Known::declared(json!({"currency": "USD"}));
    let inspection = usd.inspect("expenses", amex).await;
    assert!(asks(&inspection, "negate"), "{:?}", inspection.options);
}

#[tokio::test]
async fn rows_that_take_back_are_asked_about() {
    all_ask(&[
        (
            "rent among sales",
            "sales",
            "filter",
            "Datum;Betrag (EUR);Empfänger\n13.01.2026;-900,00;Miete\n14.01.2026;120,50;Kunde\n",
        ),
        (
            "refunds only",
            "sales",
            "filter",
            "Date,Type,Amount (EUR)\n2026-01-13,Refund,12.00\n2026-01-14,Refund,15.00\n",
        ),
        (
            "refunds only, of expenses",
            "expenses",
            "filter",
            "Date,Type,Amount (EUR)\n2026-01-13,Refund,12.00\n2026-01-14,Refund,15.00\n",
        ),
    ])
    .await;
}

#[tokio::test]
async fn orders_may_have_refunds_below_zero() {
    all_read(&[(
        "a refund",
        "sales",
        "EUR 500",
        "Order ID,Order Date,Total (EUR)\nA1,2026-01-13,10.00\nA2,2026-01-14,-5.00\n",
    )])
    .await;
    let file = "Datum;Betrag (EUR);Empfänger\n13.01.2026;-900,00;Miete\n14.01.2026;120,50;Kunde\n";
    for (declared, sum) in [
        (json!({"negate": "false"}), "-77950"),
        (
            json!({"filter": {"column": "Betrag (EUR)", "sign": "positive"}}),
            "12050",
        ),
    ] {
        let inspection = Known::declared(declared).inspect("sales", file).await;
        assert!(inspection.certain, "{:?}", inspection.doubts);
        assert_eq!(totals(&inspection), [("EUR".to_owned(), sum.to_owned())]);
    }
}

#[tokio::test]
async fn a_price_is_no_amount_and_a_quantity_neither() {
    all_ask(&[
        (
            "the price alone in a column that may be an amount",
            "sales",
            "mapping",
            "Datum;Artikel;Menge;Preis;Währung\n13.01.2026;Schraube M8;100;0,15;EUR\n",
        ),
        (
            "a discount",
            "sales",
            "filter",
            "Date,Product,Quantity,Unit Price,Discount,Currency\n2026-01-13,Mug,10,18.00,0.25,EUR\n",
        ),
        (
            "an amount that is a number of things",
            "sales",
            "mapping",
            "Date,Product,Amount,Price,Currency\n2026-01-13,Mug,3,9.99,EUR\n",
        ),
        (
            "a price of one or of all",
            "sales",
            "mapping",
            "Date,Product,Quantity,Price,Currency\n2026-01-13,Mug,3,9.99,EUR\n",
        ),
        (
            "an amount that is a number of things, beside a price of one",
            "sales",
            "mapping",
            "Date,Product,Amount,Unit Price,Currency\n2026-01-13,Mug,3,9.99,EUR\n",
        ),
    ])
    .await;
    all_read(&[
        (
            "a discount of nothing",
            "sales",
            "EUR 18000",
            "Date,Product,Quantity,Unit Price,Discount,Currency\n2026-01-13,Mug,10,18.00,0,EUR\n",
        ),
        (
            "quantity and price of one",
            "sales",
            "EUR 1500",
            "Datum;Artikel;Menge;Einzelpreis;Währung\n13.01.2026;Schraube M8;100;0,15;EUR\n",
        ),
    ])
    .await;
}
