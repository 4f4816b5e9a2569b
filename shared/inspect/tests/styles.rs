//! Any table of days and amounts, written in any of the supported styles, is proposed as it was written, or there is a doubt.

#![expect(clippy::expect_used, reason = "a test: what fails ends it")]

use annals_csv::SALES;
use annals_inspect::{Beginning, inspect};
use bytes::Bytes;
use chrono::{Days, NaiveDate};
use futures_util::stream;
use proptest::prelude::*;
use serde_json::Map;

/// How a table is written.
#[derive(Debug, Clone)]
struct Style {
    day: &'static str,
    decimal: char,
    group: Option<char>,
    sign: Sign,
    currency: Currency,
    delimiter: char,
    line_end: &'static str,
    has_title: bool,
    has_total: bool,
    has_header: bool,
}

#[derive(Debug, Clone, Copy)]
enum Sign {
    Before,
    After,
    Parentheses,
}

#[derive(Debug, Clone, Copy)]
enum Currency {
    Column,
    Header,
    Before,
    After,
}

fn style() -> impl Strategy<Value = Style> {
    let days = prop::sample::select(vec![
        "%Y-%m-%d",
        "%d.%m.%Y",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d-%m-%Y",
        "%d/%m/%y",
        "%m/%d/%y",
        "%Y%m%d",
        "%B %d, %Y",
        "%d-%B-%y",
        "%Y-%m-%dT%H:%M:%S",
        "%d.%m.%Y %H:%M",
    ]);
    let numbers = prop::sample::select(vec![
        ('.', None),
        ('.', Some(',')),
        ('.', Some('\'')),
        ('.', Some(' ')),
        (',', None),
        (',', Some('.')),
        (',', Some('\u{A0}')),
        (',', Some('\u{202F}')),
    ]);
    let signs = prop::sample::select(vec![Sign::Before, Sign::After, Sign::Parentheses]);
    let currencies = prop::sample::select(vec![
        Currency::Column,
        Currency::Header,
        Currency::Before,
        Currency::After,
    ]);
    let delimiters = prop::sample::select(vec![',', ';', '\t', '|']);
    let ends = prop::sample::select(vec!["\n", "\r\n"]);
    (days, numbers, signs, currencies, delimiters, ends, any::<[bool; 3]>()).prop_map(
        |(day, (decimal, group), sign, currency, delimiter, line_end, [has_title, has_total, has_header])| Style {
            day,
            decimal,
            group,
            sign,
            currency,
            delimiter,
            line_end,
            has_title,
            has_total,
            has_header: has_header || matches!(currency, Currency::Header),
        },
    )
}

impl Style {
    fn amount(&self, cents: i64) -> String {
        let (whole, fraction) = (cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
        let digits = whole.to_string();
        let mut grouped = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                grouped.extend(self.group);
            }
            grouped.push(digit);
        }
        let number = format!("{grouped}{}{fraction:02}", self.decimal);
        let number = match (self.sign, cents < 0) {
            (_, false) => number,
            (Sign::Before, true) => format!("-{number}"),
            (Sign::After, true) => format!("{number}-"),
            (Sign::Parentheses, true) => format!("({number})"),
        };
        match self.currency {
            Currency::Before => format!("CHF {number}"),
            Currency::After => format!("{number} CHF"),
            Currency::Column | Currency::Header => number,
        }
    }

    fn line(&self, cells: &[String]) -> String {
        let quoted = cells.iter().map(|cell| match cell.contains([self.delimiter, '"']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.clone(),
        });
        quoted.collect::<Vec<_>>().join(&self.delimiter.to_string()) + self.line_end
    }

    fn file(&self, rows: &[(NaiveDate, i64)]) -> String {
        let mut file = String::new();
        if self.has_title {
            file.push_str(&format!("Sales of the shop{end}{end}", end = self.line_end));
        }
        let has_column = matches!(self.currency, Currency::Column);
        let amount = if matches!(self.currency, Currency::Header) {
            "Order total (CHF)"
        } else {
            "Order total"
        };
        let with_currency = |mut cells: Vec<String>, currency: &str| {
            if has_column {
                cells.push(currency.to_owned());
            }
            self.line(&cells)
        };
        if self.has_header {
            file.push_str(&with_currency(
                vec!["Product".to_owned(), "Order date".to_owned(), amount.to_owned()],
                "Currency",
            ));
        }
        for (day, cents) in rows {
            let day = day.and_hms_opt(9, 5, 0).expect("a time").format(self.day).to_string();
            file.push_str(&with_currency(
                vec!["Mug, \"blue\"".to_owned(), day, self.amount(*cents)],
                "CHF",
            ));
        }
        if self.has_total {
            let total: i64 = rows.iter().map(|(_, cents)| cents).sum();
            file.push_str(&with_currency(
                vec!["Total".to_owned(), String::new(), self.amount(total)],
                "",
            ));
        }
        file
    }
}

fn rows() -> impl Strategy<Value = Vec<(NaiveDate, i64)>> {
    let first = NaiveDate::from_ymd_opt(2001, 1, 1).expect("a day");
    let amounts = prop_oneof![
        -99_999_i64..99_999,
        -99_999_999_i64..99_999_999,
        Just(100_000),
        Just(-150_000)
    ];
    prop::collection::vec(
        ((0_u64..15_000).prop_map(move |days| first + Days::new(days)), amounts),
        2..12,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn what_is_certain_is_what_was_written(style in style(), rows in rows()) {
        let file = Bytes::from(style.file(&rows));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let inspection = runtime.block_on(async {
            let open = || stream::iter([Ok(file.clone())]);
            let beginning = Beginning::read(open(), &Map::new(), &SALES).await.expect("a file");
            inspect(open, &SALES, beginning, &Map::new(), &Map::new()).await.expect("a file")
        });
        if inspection.certain {
            let trial = inspection.trial.expect("a trial");
            let text = String::from_utf8_lossy(&file);
            prop_assert_eq!(trial.rows_accepted, rows.len() as u64, "{}", text);
            let total: i64 = rows.iter().map(|(_, cents)| cents).sum();
            let totals: Vec<_> = trial.totals.iter().map(|total| (total.currency.as_str(), total.amount_cents.to_string())).collect();
            prop_assert_eq!(totals, vec![("CHF", total.to_string())], "{}", text);
            for (row, (day, cents)) in trial.first_rows.iter().zip(&rows) {
                let day = day.to_string();
                prop_assert_eq!(row.data["sale_date"].as_str(), Some(day.as_str()), "{}", text);
                prop_assert_eq!(row.data["amount_cents"].as_i64(), Some(*cents), "{}", text);
            }
        }
    }
}
