//! Any table of days and amounts, written in any of the supported styles, is proposed as it was written, or there is a doubt.

#![expect(clippy::expect_used, reason = "a test: what fails ends it")]

use annals_csv::{Dataset, EXPENSES, ReadOptions, Reader, Row, SALES, facts, field_text};
use annals_inspect::{Beginning, Extent, Inspection, inspect};
use bytes::Bytes;
use chrono::{Days, NaiveDate};
use futures_util::stream;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// How a table is written.
#[derive(Debug, Clone)]
struct Style {
    dataset: Name,
    day: &'static str,
    number: Number,
    sign: Sign,
    currency: Currency,
    delimiter: char,
    line_end: &'static str,
    has_title: bool,
    has_total: bool,
    has_header: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Name {
    Sales,
    Expenses,
}

#[derive(Debug, Clone, Copy)]
struct Number {
    decimal: char,
    group: Option<char>,
    /// Whether all groups but the last have two digits.
    is_indian: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sign {
    Before,
    After,
    Parentheses,
    /// `5.00 Dr`, `5.00 Cr`
    DrCr,
    /// A column with `D` or `C`.
    Column,
    /// A column of debits and one of credits.
    TwoColumns,
}

/// All of them.
const SIGNS: [Sign; 6] = [
    Sign::Before,
    Sign::After,
    Sign::Parentheses,
    Sign::DrCr,
    Sign::Column,
    Sign::TwoColumns,
];

#[derive(Debug, Clone, Copy)]
enum Currency {
    Column,
    Header,
    Before,
    After,
}

fn number() -> impl Strategy<Value = Number> {
    let plain = |decimal, group| Number {
        decimal,
        group,
        is_indian: false,
    };
    let indian = Number {
        decimal: '.',
        group: Some(','),
        is_indian: true,
    };
    prop::sample::select(vec![
        plain('.', None),
        plain('.', Some(',')),
        plain('.', Some('\'')),
        plain('.', Some(' ')),
        plain(',', None),
        plain(',', Some('.')),
        plain(',', Some('\u{A0}')),
        plain(',', Some('\u{202F}')),
        indian,
    ])
}

fn style() -> impl Strategy<Value = Style> {
    let days = prop::sample::select(vec![
        "%Y-%m-%d",
        "%d.%m.%Y",
        "%m.%d.%Y",
        "%y.%m.%d",
        "%d %m %Y",
        "%m %d %Y",
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
    let signs = prop::sample::select(SIGNS.to_vec());
    let currencies = prop::sample::select(vec![
        Currency::Column,
        Currency::Header,
        Currency::Before,
        Currency::After,
    ]);
    let delimiters = prop::sample::select(vec![',', ';', '\t', '|']);
    let ends = prop::sample::select(vec!["\n", "\r\n"]);
    let names = prop::sample::select(vec![Name::Sales, Name::Expenses]);
    let written = (days, number(), signs, currencies);
    (names, written, delimiters, ends, any::<[bool; 3]>()).prop_map(
        |(dataset, (day, number, sign, currency), delimiter, line_end, [has_title, has_total, has_header])| Style {
            dataset,
            // Files with the month first have no decimal commas or semicolons.
            day: match day {
                "%m.%d.%Y" if number.decimal == ',' || delimiter == ';' => "%m/%d/%Y",
                other => other,
            },
            number,
            sign,
            currency,
            delimiter,
            line_end,
            has_title,
            has_total,
            has_header: has_header
                || matches!(currency, Currency::Header)
                || matches!(sign, Sign::Column | Sign::TwoColumns),
        },
    )
}

impl Style {
    fn dataset(&self) -> &'static Dataset {
        match self.dataset {
            Name::Sales => &SALES,
            Name::Expenses => &EXPENSES,
        }
    }

    fn number(&self, cents: i64) -> String {
        let (whole, fraction) = (cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
        let digits = whole.to_string();
        let mut grouped = String::new();
        for (place, digit) in digits.chars().enumerate() {
            let rest = digits.len() - place;
            let is_begin = match self.number.is_indian {
                true => rest == 3 || (rest > 3 && (rest - 3).is_multiple_of(2)),
                false => rest.is_multiple_of(3),
            };
            if place > 0 && is_begin {
                grouped.extend(self.number.group);
            }
            grouped.push(digit);
        }
        let number = format!("{grouped}{}{fraction:02}", self.number.decimal);
        match self.currency {
            Currency::Before => format!("CHF {number}"),
            Currency::After => format!("{number} CHF"),
            Currency::Column | Currency::Header => number,
        }
    }

    /// The cells of an amount.
    fn amount(&self, cents: i64) -> Vec<String> {
        let (number, is_negative) = (self.number(cents), cents < 0);
        match (self.sign, is_negative) {
            (Sign::Column, _) => vec![number, if is_negative { "D" } else { "C" }.to_owned()],
            (Sign::TwoColumns, true) => vec![number, String::new()],
            (Sign::TwoColumns, false) => vec![String::new(), number],
            (Sign::DrCr, true) => vec![format!("{number} Dr")],
            (Sign::DrCr, false) => vec![format!("{number} Cr")],
            (_, false) => vec![number],
            (Sign::Before, true) => vec![format!("-{number}")],
            (Sign::After, true) => vec![format!("{number}-")],
            (Sign::Parentheses, true) => vec![format!("({number})")],
        }
    }

    fn headers(&self) -> Vec<String> {
        let unit = match self.currency {
            Currency::Header => " (CHF)",
            _ => "",
        };
        let amounts = match self.sign {
            Sign::Column => vec![format!("Amount{unit}"), "Debit/Credit".to_owned()],
            Sign::TwoColumns => vec![format!("Debit{unit}"), format!("Credit{unit}")],
            _ => vec![format!("Amount{unit}")],
        };
        let day = ["Item".to_owned(), "Transaction date".to_owned()];
        day.into_iter().chain(amounts).collect()
    }

    fn line(&self, mut cells: Vec<String>, currency: &str) -> String {
        if matches!(self.currency, Currency::Column) {
            cells.push(currency.to_owned());
        }
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
        if self.has_header {
            file.push_str(&self.line(self.headers(), "Currency"));
        }
        for (day, cents) in rows {
            let day = day.and_hms_opt(9, 5, 0).expect("a time").format(self.day).to_string();
            let text = ["Mug, \"blue\"".to_owned(), day];
            file.push_str(&self.line(text.into_iter().chain(self.amount(*cents)).collect(), "CHF"));
        }
        if self.has_total {
            let total: i64 = rows.iter().map(|(_, cents)| cents).sum();
            let text = ["Total".to_owned(), String::new()];
            file.push_str(&self.line(text.into_iter().chain(self.amount(total)).collect(), ""));
        }
        file
    }

    /// What the rows are as entities. Expenses are what was paid, so all directions are turned round if there is only one.
    fn meant(&self, rows: &[(NaiveDate, i64)]) -> Vec<(String, i64)> {
        let is_paid = self.dataset == Name::Expenses && rows.iter().all(|(_, cents)| *cents <= 0);
        let of = |cents: i64| if is_paid { -cents } else { cents };
        rows.iter().map(|(day, cents)| (day.to_string(), of(*cents))).collect()
    }
}

/// Days and amounts: of any sign, or all below zero, as of an account of expenses.
fn rows() -> impl Strategy<Value = Vec<(NaiveDate, i64)>> {
    let first = NaiveDate::from_ymd_opt(2001, 1, 1).expect("a day");
    let amounts = prop_oneof![
        -99_999_i64..99_999,
        -99_999_999_i64..99_999_999,
        Just(100_000),
        Just(-150_000)
    ];
    let day = (0_u64..9_000).prop_map(move |days| first + Days::new(days));
    let signs = prop::sample::select(vec![None, Some(-1), Some(1)]);
    (prop::collection::vec((day, amounts), 2..12), signs).prop_map(|(mut rows, sign)| {
        for (_, cents) in &mut rows {
            *cents = match sign {
                Some(sign) => sign * cents.abs().max(1),
                None => *cents,
            };
        }
        rows
    })
}

/// Days, amounts and currencies of rows.
type Uploaded = Vec<(String, i64, String)>;

/// The rows as an upload with these options reads them.
async fn uploaded(file: &Bytes, dataset: &Dataset, inspection: &Inspection) -> Uploaded {
    let mut options = ReadOptions::default();
    for (name, value) in &inspection.options {
        assert_eq!(options.set(name, &field_text(value), dataset), Ok(true), "{name}");
    }
    let mut reader = Reader::new(stream::iter([Ok(file.clone())]), options.format);
    let (layout, _) = reader.header(dataset, &options).await.expect("a header");
    let mut records = Vec::new();
    while let Some(record) = reader.next().await.expect("a record") {
        records.push(record.copy());
    }
    let footer = usize::try_from(options.format.skip_footer).expect("a number");
    records.truncate(records.len() - footer);
    let taken = records.iter().filter(|record| layout.takes(record));
    let read = taken.map(|record| {
        let layout = &layout;
        let facts = facts::read(dataset, &Row { record, layout }, &options.values).expect("a row");
        let text = |field: &str| facts.data[field].as_str().map(str::to_owned).expect("a text");
        let cents = facts.data["amount_cents"].as_i64().expect("a number");
        (facts.day.expect("a day").to_string(), cents, text("currency"))
    });
    read.collect()
}

fn inspected(style: &Style, file: &Bytes) -> Option<(Inspection, Uploaded)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (open, dataset) = (|| stream::iter([Ok(file.clone())]), style.dataset());
        let none = Map::<String, Value>::new();
        let beginning = Beginning::read(open(), &none, dataset, Extent::Whole)
            .await
            .expect("a file");
        let inspection = inspect(open, dataset, beginning, &none, &none).await.expect("a file");
        let is_certain = inspection.certain;
        let rows = if is_certain {
            uploaded(file, dataset, &inspection).await
        } else {
            Vec::new()
        };
        is_certain.then_some((inspection, rows))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]
    #[test]
    fn what_is_certain_is_what_was_written(style in style(), rows in rows()) {
        let file = Bytes::from(style.file(&rows));
        if let Some((inspection, uploaded)) = inspected(&style, &file) {
            let trial = inspection.trial.expect("a trial");
            let text = String::from_utf8_lossy(&file);
            let meant = style.meant(&rows);
            prop_assert_eq!(trial.rows_accepted, rows.len() as u64, "{}", text);
            let total: i64 = meant.iter().map(|(_, cents)| cents).sum();
            let totals: Vec<_> = trial.totals.iter().map(|total| (total.currency.as_str(), total.amount_cents.to_string())).collect();
            prop_assert_eq!(totals, vec![("CHF", total.to_string())], "{}", text);
            let meant: Vec<_> = meant.into_iter().map(|(day, cents)| (day, cents, "CHF".to_owned())).collect();
            prop_assert_eq!(uploaded, meant, "{}", text);
        }
    }
}

/// The property holds for tables that are never certain, too. These are.
#[test]
fn usual_styles_are_certain() {
    let day = |day: u32| NaiveDate::from_ymd_opt(2026, 1, day).expect("a day");
    let number = Number {
        decimal: '.',
        group: Some(','),
        is_indian: true,
    };
    let style = Style {
        dataset: Name::Expenses,
        day: "%Y-%m-%d",
        number,
        sign: Sign::Before,
        currency: Currency::Header,
        delimiter: ',',
        line_end: "\n",
        has_title: true,
        has_total: true,
        has_header: true,
    };
    let paid = [(day(1), -12_345_678), (day(31), -500)];
    let earned = paid.map(|(day, cents)| (day, -cents));
    for sign in SIGNS {
        for (dataset, rows) in [(Name::Expenses, paid), (Name::Sales, earned)] {
            let style = Style {
                sign,
                dataset,
                ..style.clone()
            };
            let file = Bytes::from(style.file(&rows));
            assert!(inspected(&style, &file).is_some(), "{style:?}");
        }
    }
}
