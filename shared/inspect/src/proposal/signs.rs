//! Whether money went out or came in, and which of it the dataset is about.

use std::collections::HashSet;

use annals_csv::{Column, is_negative_sign};
use serde_json::{Value, json};

use super::{Money, Proposer};
use crate::check::Check;
use crate::lookup::Header;
use crate::names::Role;
use crate::profile::Profile;

/// The directions of a file's money.
struct Directions {
    /// Rows with money going out.
    paid: u64,
    /// Rows with money coming in.
    received: u64,
    /// Whether columns or words tell the direction, and not just a minus sign.
    are_told: bool,
}

impl Proposer<'_> {
    /// Takes over the column that the caller names, or that was confirmed for this header.
    pub(super) fn take_sign_column(&mut self) {
        let said = self.said("sign_column");
        self.sign = said.and_then(|name| self.place_named(name.as_str()?));
        self.used.extend(self.sign);
        if let Some(value) = self.remembered("sign_column") {
            self.recall("sign_column", value);
        }
    }

    /// Finds the column that says whether an amount is negative, after those that tell which rows count.
    pub(super) fn choose_sign_column(&mut self, money: Money) {
        let Money::One(amount) = money else { return };
        if self.said("sign_column").is_some() {
            return;
        }
        self.sign = self.sign_column(amount);
        if let Some(sign) = self.sign {
            self.used.insert(sign);
            let reason = "its header, and its words are those of debits and credits";
            self.out.set("sign_column", self.name(sign), reason);
        }
    }

    fn sign_column(&self, amount: usize) -> Option<usize> {
        let says_signs = |place: usize| {
            let words = self.profile(place).and_then(|profile| profile.words.as_ref());
            words.is_some_and(|words| !words.is_empty() && words.keys().all(|word| is_negative_sign(word).is_some()))
        };
        let headers = self.table.headers.iter().enumerate();
        let named =
            headers.filter(|(place, header)| !self.used.contains(place) && header.is(Role::Sign) && says_signs(*place));
        // If there are several, the one after the amount is the amount's. Amounts with a minus sign need none.
        let numbers = self.profile(amount).and_then(Profile::as_numbers);
        let has_signs = numbers.is_some_and(|numbers| numbers.negative > 0);
        let nearest = named.map(|(place, _)| place).min_by_key(|place| after(amount, *place));
        self.of_export("sign").or(nearest.filter(|_| !has_signs))
    }

    fn directions(&self, money: Money) -> Option<Directions> {
        let found = match (money, self.sign) {
            (Money::Product(..), _) => return None,
            (Money::Two(debit, credit), _) => (self.nonzero(debit), self.nonzero(credit), true),
            (Money::One(_), Some(sign)) => (self.words_of(sign, true), self.words_of(sign, false), true),
            (Money::One(amount), None) => {
                let numbers = self.profile(amount).and_then(Profile::as_numbers);
                let numbers = numbers.map(|numbers| (numbers.negative, numbers.positive));
                let (paid, received) = numbers.unwrap_or_default();
                (paid, received, false)
            }
        };
        let (mut paid, mut received, are_told) = found;
        match self.filtered_direction(money) {
            Some(true) => received = 0,
            Some(false) => paid = 0,
            None => {}
        }
        Some(Directions {
            paid,
            received,
            are_told,
        })
    }

    pub(super) fn decide_signs(&mut self, money: Money) {
        if self.is_declared("negate") {
            return;
        }
        let Some(directions) = self.directions(money) else {
            if let Some(value) = self.remembered("negate") {
                self.recall("negate", value);
            }
            return;
        };
        let before = self
            .remembered("negate")
            .map(|value| value == json!(true) || value == json!("true"));
        match self.table.dataset.name {
            "expenses" => self.decide_expense_signs(money, &directions, before),
            _ => self.decide_sale_signs(money, &directions, before),
        }
    }

    fn takes_back(&self, directions: &Directions) -> bool {
        self.export.is_some_and(|export| export.takes_back) && directions.are_told
    }

    fn decide_expense_signs(&mut self, money: Money, directions: &Directions, before: Option<bool>) {
        let is_known = self.takes_back(directions);
        match (directions.paid, directions.received) {
            (0, 0) => {}
            (_, 0) if !directions.are_told && self.is_paid_below_zero() == Some(false) => {
                let message = "all amounts are below zero, and this system writes what was paid above zero: these are payments of \
                               the bill, or refunds";
                self.doubt_direction(message);
            }
            (_, 0) => {
                let reason = "all amounts were paid, so they have a minus sign or stand for money that left";
                self.settle_negate(true, before, reason);
            }
            (0, _) if directions.are_told && !is_known => {
                let message = "all amounts are credits: money that came in is no expense";
                self.doubt_direction(message);
            }
            (0, _) if !directions.are_told && self.is_paid_below_zero() == Some(true) => {
                let message = "all amounts are above zero, and accounts have what was paid below zero: money that came in is no expense";
                self.doubt_direction(message);
            }
            (0, _) => self.settle_negate(false, before, ""),
            _ if is_known => self.settle_negate(true, before, "a debit is an expense, and a credit takes one back"),
            (paid, received) => {
                let message = format!(
                    "{paid} rows have money going out and {received} have money coming in: say which rows are expenses"
                );
                let outgoing = self.outgoing(money);
                self.doubt_directions(message, vec![outgoing], before);
            }
        }
    }

    /// Whether what was paid is below zero: in the export, or because the file is a statement of an account. `None`: not known.
    fn is_paid_below_zero(&self) -> Option<bool> {
        let is_account = || self.table.headers.iter().any(Header::is_of_accounts);
        match self.export {
            Some(export) => export.is_paid_below_zero,
            None => is_account().then_some(true),
        }
    }

    /// The upload fields that take only what was paid.
    fn outgoing(&self, money: Money) -> Value {
        let column = match money {
            Money::One(place) | Money::Two(place, _) | Money::Product(place) => self.name(place),
        };
        match (money, self.sign.and_then(|sign| Some((sign, self.words(sign)?)))) {
            (Money::Two(..), _) => {
                json!({"filter": {"column": column, "not_in": ["", "0", "0.00", "0,00"]}, "negate": true})
            }
            (_, Some((sign, words))) => {
                let out = words.into_iter().filter(|word| is_negative_sign(word) == Some(true));
                let out: Vec<String> = out.collect();
                json!({"filter": {"column": self.name(sign), "in": out}, "negate": true})
            }
            _ => json!({"filter": {"column": column, "sign": "negative"}, "negate": true}),
        }
    }

    fn decide_sale_signs(&mut self, money: Money, directions: &Directions, before: Option<bool>) {
        let is_known = self.takes_back(directions);
        match (directions.paid, directions.received) {
            (0, 0) => {}
            (_, 0) if !is_known => {
                self.doubt_negate("all amounts are negative or debits: sales are what came in", before)
            }
            (paid @ 1.., received @ 1..) if directions.are_told && !is_known => {
                let message = format!("{paid} rows are debits and {received} are credits: say which rows are sales");
                self.doubt_directions(message, Vec::new(), before);
            }
            (paid @ 1.., 1..) if !is_known && before.is_none() && !self.is_list_of_sales() => {
                let message = format!(
                    "{paid} rows have an amount below zero: they take sales back, or are what was paid and no sales"
                );
                let column = money.places().first().map(|place| self.name(*place));
                let choices = vec![
                    json!({"filter": {"column": column, "sign": "positive"}}),
                    json!({"negate": false}),
                ];
                self.doubt_directions(message, choices, before);
            }
            _ => self.settle_negate(false, before, ""),
        }
    }

    /// Whether the columns are those of orders or invoices, and not those of an account. Amounts below zero take sales back there.
    fn is_list_of_sales(&self) -> bool {
        let headers = &self.table.headers;
        let is_account = headers.iter().any(Header::is_of_accounts);
        let is_of_sales = |header: &Header| header.rank_for(Column::SaleId).is_some() && header.is_of_sales();
        let is_listed = self.place_of(Column::Quantity).is_some() || headers.iter().any(is_of_sales);
        self.export.is_some() || (is_listed && !is_account)
    }

    /// Asks which direction counts. If the caller has said which rows count, or it was confirmed for this header, it is asked only if those rows
    /// have money in both directions, too.
    fn doubt_directions(&mut self, message: String, choices: Vec<Value>, before: Option<bool>) {
        if let Some(before) = before {
            self.recall("negate", json!(before));
        }
        match self.said("filter") {
            Some(_) => self.checks.push(Check::Directions { message, choices }),
            None => self.out.doubt("filter", message, choices),
        }
    }

    /// The only direction of the rows that the filter takes: whether it is money going out. `None` if the filter does not say.
    fn filtered_direction(&self, money: Money) -> Option<bool> {
        let declared = self.table.declared.get("filter").and_then(super::parsed);
        let declared = declared.as_ref().map(super::conditions).unwrap_or_default();
        let mut conditions = declared.iter().chain(&self.filter);
        conditions.find_map(|condition| self.direction_of(condition, money))
    }

    fn direction_of(&self, condition: &Value, money: Money) -> Option<bool> {
        let place = self.place_named(condition["column"].as_str()?)?;
        let is_negative = || Some(condition["sign"].as_str()? == "negative");
        let words = |list: &str| -> Vec<String> {
            let texts = condition[list].as_array().into_iter().flatten();
            texts
                .filter_map(Value::as_str)
                .map(|text| text.trim().to_lowercase())
                .collect()
        };
        match money {
            Money::One(amount) if amount == place && self.sign.is_none() => is_negative(),
            Money::Two(debit, credit) if [debit, credit].contains(&place) => {
                let is_filled = words("not_in").contains(&String::new()) || is_negative() == Some(true);
                is_filled.then_some(place == debit)
            }
            _ if self.sign == Some(place) => {
                let signs: Option<HashSet<bool>> = words("in").iter().map(|word| is_negative_sign(word)).collect();
                let signs = signs.filter(|signs| signs.len() == 1)?;
                signs.into_iter().next()
            }
            _ => None,
        }
    }

    /// Takes over what the file says of the sign, and asks if something else was confirmed for another file.
    fn settle_negate(&mut self, negate: bool, before: Option<bool>, reason: &str) {
        if before.is_some_and(|before| before != negate) {
            let message = "the amounts of a file with this header had the other sign";
            self.out.doubt("negate", message, vec![json!(negate), json!(!negate)]);
        }
        if negate {
            self.out.set("negate", true, reason);
        }
    }

    /// Asks about money in the direction that the dataset is not about. What was confirmed for a file with the other direction says nothing of it.
    fn doubt_direction(&mut self, message: &str) {
        self.out.doubt("negate", message, vec![json!(true), json!(false)]);
    }

    /// Asks about the sign, unless it was confirmed for another file that the amounts are turned round.
    fn doubt_negate(&mut self, message: &str, before: Option<bool>) {
        match before {
            Some(true) => self.recall("negate", json!(true)),
            _ => self.out.doubt("negate", message, vec![json!(true), json!(false)]),
        }
    }

    fn nonzero(&self, place: usize) -> u64 {
        let numbers = self.profile(place).and_then(Profile::as_numbers);
        numbers.map_or(0, |numbers| numbers.negative + numbers.positive)
    }

    /// How many cells of a column of signs say that the amount is negative, or that it is not.
    fn words_of(&self, sign: usize, is_negative: bool) -> u64 {
        let words = self.profile(sign).and_then(|profile| profile.words.as_ref());
        let alike = words.into_iter().flatten();
        let alike = alike.filter(|(word, _)| is_negative_sign(word) == Some(is_negative));
        alike.map(|(_, count)| count).sum()
    }
}

/// How far a column is after another one. Those before it are farther than all after it.
pub(super) fn after(place: usize, other: usize) -> usize {
    match other > place {
        true => other - place,
        false => usize::MAX - other,
    }
}
