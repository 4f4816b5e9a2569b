//! The currency of the amounts.

use annals_csv::Column;
use serde_json::{Value, json};

use super::signs::after;
use super::{Money, Proposer};
use crate::profile::Numbers;

/// Exports of India.
const INDIAN: [&str; 6] = [
    "HDFC Bank",
    "ICICI Bank",
    "Kotak Mahindra Bank",
    "Axis Bank",
    "Tally day book",
    "Tally sales register",
];

/// What the file says of the currency.
enum Named {
    /// A column has it, in every row or not.
    Column(usize),
    /// Every amount has it beside itself.
    Beside,
    /// One currency, and what names it.
    One(String, &'static str),
    /// Nothing certain: a question, and the likely currencies.
    Nothing(String, Vec<Value>),
}

impl Proposer<'_> {
    pub(super) fn choose_currency(&mut self, money: Money) {
        if self.take_said(Column::Currency).flatten().is_some() {
            return self.recall_currency();
        }
        if self.is_declared("currency") {
            self.leave_out_other_currencies(money);
            return self.take_column_beside_declared(money);
        }
        let before = self.remembered("currency");
        let before = before.as_ref().and_then(Value::as_str).map(str::to_uppercase);
        match (self.named_currency(money), before) {
            (Named::Column(place), before) => {
                self.map(Column::Currency, place, None);
                self.doubt_two_currencies(place);
                self.doubt_other_currency(&self.codes(place), before.as_deref());
            }
            (Named::Beside, before) => {
                self.out.note("currency", "every amount has its currency beside it");
                self.doubt_other_currency(&self.codes_beside(money), before.as_deref());
            }
            (Named::One(code, reason), before) => {
                self.out.set("currency", code.clone(), reason);
                self.doubt_other_currency(&[code], before.as_deref());
            }
            (Named::Nothing(..), Some(before)) => {
                let beside = self.codes_beside(money);
                self.recall("currency", Value::from(before.clone()));
                self.doubt_other_currency(&beside, Some(&before));
            }
            (Named::Nothing(message, choices), None) => self.out.doubt("currency", message, choices),
        }
        self.doubt_contradictions(money);
        self.leave_out_other_currencies(money);
    }

    /// Takes the column of currencies, if it has others than the declared one. A row's own currency counts, as in a column called `currency`.
    fn take_column_beside_declared(&mut self, money: Money) {
        let declared = self.table.declared.get("currency").and_then(Value::as_str);
        let Some(declared) = declared.map(str::to_uppercase) else {
            return;
        };
        let is_decided = self.mapping.contains_key(Column::Currency.name());
        let Some(place) = self.currency_column(money).filter(|_| !is_decided) else {
            return;
        };
        let Some(other) = self.codes(place).into_iter().find(|code| *code != declared) else {
            return;
        };
        self.map(Column::Currency, place, None);
        // Such a column is read whatever is declared, so the caller knows.
        if self.table.headers[place].name == Column::Currency.name() {
            return;
        }
        let name = self.name(place);
        let message = format!("{declared} is declared as currency, and {name} has {other}");
        self.out.doubt(
            "mapping",
            message,
            vec![json!({"currency": name}), json!({"currency": null})],
        );
    }

    /// The column of currencies that is nearest to the amount.
    fn currency_column(&self, money: Money) -> Option<usize> {
        let amount = money.places().first().copied().unwrap_or_default();
        let mut named = self.candidates(Column::Currency, |profile| profile.is_currency && profile.filled > 0);
        named.sort_by_key(|place| after(amount, *place));
        self.of_export("currency").or_else(|| named.first().copied())
    }

    /// Asks about what contradicts the header of the amounts: a column of currencies, codes beside the amounts, or a line before the header.
    fn doubt_contradictions(&mut self, money: Money) {
        let Some(code) = self.code_of_headers(money) else {
            return;
        };
        let columns = self
            .currency_columns()
            .into_iter()
            .map(|place| (self.name(place), self.codes(place)));
        let beside = ("the cells of the amounts".to_owned(), self.codes_beside(money));
        let preamble = self.table.preamble.currencies.clone();
        let sources = columns.chain([beside, ("a line before the header".to_owned(), preamble)]);
        let other = sources
            .flat_map(|(source, codes)| codes.into_iter().map(move |code| (source.clone(), code)))
            .find(|(_, other)| *other != code);
        if let Some((source, other)) = other {
            let message = format!("the header of the amount names {code}, and {source} has {other}");
            self.out.doubt("currency", message, vec![json!(code)]);
        }
    }

    /// A column called `currency` is read without a mapping, so it is mapped to nothing if the header of the amounts names another currency.
    fn leave_out_other_currencies(&mut self, money: Money) {
        let declared = self.table.declared.get("currency").and_then(Value::as_str);
        let declared = declared.map(str::to_uppercase);
        let code = self.code_of_headers(money);
        let Some(code) = code.filter(|code| declared.as_ref().is_none_or(|declared| declared == code)) else {
            return;
        };
        let columns = self.currency_columns();
        if columns
            .iter()
            .any(|place| self.codes(*place).iter().any(|other| *other != code))
        {
            self.mapping.insert(Column::Currency.name().to_owned(), Value::Null);
        }
    }

    /// The only currency that the headers of the amounts name, unless the export is known.
    fn code_of_headers(&self, money: Money) -> Option<String> {
        match self.currency_of_headers(&money.places()) {
            Some(Named::One(code, _)) if self.export.is_none() => Some(code),
            _ => None,
        }
    }

    /// Columns of currencies, by their headers.
    fn currency_columns(&self) -> Vec<usize> {
        let headers = self.table.headers.iter().enumerate();
        let named = headers.filter(|(_, header)| header.is_of_currencies());
        let has_codes = |place: &usize| {
            self.profile(*place)
                .is_some_and(|profile| profile.is_currency && profile.filled > 0)
        };
        named.map(|(place, _)| place).filter(has_codes).collect()
    }

    /// Asks which of two columns has the currency of the amounts, unless both have the same one in all rows.
    fn doubt_two_currencies(&mut self, place: usize) {
        if self.export.is_some() {
            return;
        }
        let codes = self.codes(place);
        let is_blank = |place: usize| self.profile(place).is_none_or(|profile| profile.blank > 0);
        let mut others = self.currency_columns().into_iter().filter(|other| *other != place);
        let other = others.find(|other| codes.len() != 1 || self.codes(*other) != codes || is_blank(*other));
        if let Some(other) = other {
            self.doubt_between(Column::Currency, place, other);
        }
    }

    /// The currency of rows whose own cell is empty, as in another file with this header.
    fn recall_currency(&mut self) {
        if let Some(before) = self.remembered("currency") {
            self.recall("currency", before);
        }
    }

    /// Asks if the file names another currency than the one that was confirmed for its header.
    fn doubt_other_currency(&mut self, named: &[String], before: Option<&str>) {
        let Some(before) = before else { return };
        if let Some(other) = named.iter().find(|code| *code != before) {
            let message = format!("{before} was confirmed for a file with this header, and this one names {other}");
            self.out.doubt("currency", message, vec![json!(other), json!(before)]);
        }
    }

    fn named_currency(&self, money: Money) -> Named {
        let places = money.places();
        // The header of the amount is nearer to it than any column.
        if let (None, Some(named)) = (self.export, self.currency_of_headers(&places)) {
            return named;
        }
        if let Some(place) = self.currency_column(money) {
            return Named::Column(place);
        }
        let numbers: Vec<&Numbers> = places
            .iter()
            .filter_map(|place| self.profile(*place)?.as_numbers())
            .collect();
        let total: u64 = numbers.iter().map(|numbers| numbers.count()).sum();
        let with: u64 = numbers.iter().map(|numbers| numbers.with_currency).sum();
        if total > 0 && with == total {
            return Named::Beside;
        }
        if with > 0 {
            let codes = self.codes_beside(money);
            let message = format!(
                "{} is beside {with} of {total} amounts, and nothing is beside the others",
                codes.join(" or ")
            );
            return Named::Nothing(message, codes.into_iter().map(Value::from).collect());
        }
        self.currency_of_headers(&places)
            .or_else(|| self.currency_of_preamble())
            .unwrap_or_else(|| self.currency_of_symbols(&numbers))
    }

    fn currency_of_headers(&self, places: &[usize]) -> Option<Named> {
        let headers = places.iter().filter_map(|place| self.table.headers.get(*place));
        let mut codes: Vec<&str> = headers
            .filter_map(|header| header.currency)
            .map(|currency| currency.code())
            .collect();
        codes.dedup();
        match codes.as_slice() {
            [] => None,
            [code] => Some(Named::One((*code).to_owned(), "the header of the amount names it")),
            several => {
                let message = format!("the headers of the amounts name {}", several.join(" and "));
                Some(Named::Nothing(
                    message,
                    several.iter().map(|code| json!(code)).collect(),
                ))
            }
        }
    }

    fn currency_of_preamble(&self) -> Option<Named> {
        match self.table.preamble.currencies.as_slice() {
            [] => None,
            [code] => Some(Named::One(code.clone(), "a line before the header names it")),
            several => {
                let message = format!("the lines before the header name {}", several.join(" and "));
                Some(Named::Nothing(
                    message,
                    several.iter().map(|code| json!(code)).collect(),
                ))
            }
        }
    }

    /// Signs that several countries use do not decide. Rupees are those of India if thousands are grouped as only there.
    fn currency_of_symbols(&self, numbers: &[&Numbers]) -> Named {
        let mut symbols: Vec<char> = numbers
            .iter()
            .flat_map(|numbers| numbers.symbols.keys().copied())
            .collect();
        symbols.sort_unstable();
        symbols.dedup();
        let names_rupees = self.table.headers.iter().any(|header| header.names_rupees);
        let are_rupees = symbols == ['₨'] || (symbols.is_empty() && names_rupees);
        let is_of_india = self.export.is_some_and(|export| INDIAN.contains(&export.name));
        if are_rupees && (is_of_india || numbers.iter().any(|numbers| numbers.indian > 0)) {
            let reason = "rupees, in an export of India or in numbers that are grouped as there";
            return Named::One("INR".to_owned(), reason);
        }
        let likely = symbols.iter().flat_map(|symbol| match symbol {
            '$' => &["USD"][..],
            '£' => &["GBP"],
            '¥' => &["JPY", "CNY"],
            '₨' => &["INR", "PKR", "LKR", "NPR"],
            _ => &[],
        });
        let mut choices: Vec<Value> = likely.map(|code| json!(code)).collect();
        if symbols.is_empty() && names_rupees {
            choices = ["INR", "PKR", "LKR", "NPR"].map(Value::from).to_vec();
        }
        Named::Nothing(
            "the file does not say which currency its amounts are in".to_owned(),
            choices,
        )
    }

    /// The codes of a column of currencies.
    fn codes(&self, place: usize) -> Vec<String> {
        let words = self.words(place).unwrap_or_default();
        let filled = words.into_iter().filter(|word| !word.is_empty());
        filled.map(|word| word.to_uppercase()).collect()
    }

    /// The codes beside amounts.
    fn codes_beside(&self, money: Money) -> Vec<String> {
        let places = money.places();
        let numbers = places.iter().filter_map(|place| self.profile(*place)?.as_numbers());
        let mut codes: Vec<String> = numbers
            .flat_map(|numbers| numbers.currencies.keys().map(|code| (*code).to_owned()))
            .collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}
