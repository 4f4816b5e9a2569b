//! The columns with money, and which sign is the decimal mark.

use std::collections::HashSet;

use annals_csv::{Column, Kind};
use serde_json::json;

use super::columns::{is_nearly_number, is_number};
use super::{MAX_SHOWN, Money, Proposer};
use crate::names::Role;
use crate::profile::{Numbers, Profile};

impl Proposer<'_> {
    pub(super) fn choose_money(&mut self) -> Option<Money> {
        let said = self.said_money();
        // Columns that the file does not have are refused by the trial, and no others are proposed instead.
        if said.is_some() || self.is_declared("amount_columns") {
            // A discount may be new in this file.
            if matches!(said, Some(Money::Product(_))) && !self.is_declared("mapping") {
                self.watch_discounts();
            }
            return said;
        }
        let found = self.find_money();
        if let Some(money) = found {
            self.doubt_odd_numbers(money);
            self.doubt_pieces(money);
        }
        found
    }

    /// What columns of numbers are like. In a file without rows, all are.
    fn fits_money(&self) -> impl Fn(&Profile) -> bool + use<> {
        let has_rows = self.table.profiles.rows > 0;
        move |profile| !has_rows || is_nearly_number(profile)
    }

    /// Asks about cells that are no numbers in a column of numbers. Their rows are refused.
    fn doubt_odd_numbers(&mut self, money: Money) {
        let mut places = money.places();
        if let Money::Product(_) = money {
            places.extend(self.place_of(Column::Quantity));
        }
        for place in places {
            let strays = self.profile(place).map(|profile| &profile.number_strays);
            let Some((count, first)) = strays.and_then(|strays| Some((strays.count, strays.first.clone()?))) else {
                continue;
            };
            let name = self.name(place);
            let message = format!(
                "{count} cells of {name} are no numbers, the first on line {}: {:?}. Their rows are refused",
                first.line, first.text
            );
            let choices = match money {
                Money::One(_) => vec![json!({"amount": name})],
                Money::Two(..) | Money::Product(_) => Vec::new(),
            };
            self.out.doubt("mapping", message, choices);
        }
    }

    /// The columns that the caller names, or that were confirmed for this header. How their amounts are signed and in which currency they are is
    /// decided as for columns that were found.
    fn said_money(&mut self) -> Option<Money> {
        if !self.is_declared("amount_columns")
            && let Some(Some(place)) = self.take_said(Column::Amount)
        {
            return Some(Money::One(place));
        }
        if let Some(columns) = self.said("amount_columns") {
            let place = |name: &str| self.place_named(columns.get(name)?.as_str()?);
            let (debit, credit) = (place("debit")?, place("credit")?);
            self.used.extend([debit, credit]);
            if let Some(value) = self.remembered("amount_columns") {
                self.recall("amount_columns", value);
            }
            return Some(Money::Two(debit, credit));
        }
        let is_sold_by_piece = self.table.dataset.columns.contains(&Column::UnitPrice);
        let price = is_sold_by_piece
            .then(|| self.said_source(Column::UnitPrice))
            .flatten()?;
        let quantity = self.said_source(Column::Quantity)?;
        let (price, quantity) = (
            self.place_named(price.as_str()?)?,
            self.place_named(quantity.as_str()?)?,
        );
        let is_total_known = self.of_export("amount").is_some()
            || !self.candidates(Column::Amount, is_number).is_empty()
            || self.two_columns().is_some();
        (!is_total_known || self.said_source(Column::Amount).is_some()).then(|| {
            self.used.extend([price, quantity]);
            Money::Product(price)
        })
    }

    fn find_money(&mut self) -> Option<Money> {
        if let (Some(debit), Some(credit)) = (self.of_export("debit"), self.of_export("credit")) {
            return Some(self.take_two(debit, credit));
        }
        let named = self.candidates(Column::Amount, self.fits_money());
        if let Some(place) = self.of_export("amount").or_else(|| named.first().copied()) {
            return Some(self.take_one(place, &named));
        }
        if let Some((debit, credit)) = self.two_columns() {
            return Some(self.take_two(debit, credit));
        }
        let price = self.candidates(Column::UnitPrice, self.fits_money()).into_iter().next();
        let quantity = self.candidates(Column::Quantity, self.fits_money()).into_iter().next();
        if let (Some(price), Some(quantity)) = (price, quantity)
            && self.table.dataset.columns.contains(&Column::UnitPrice)
        {
            self.map(Column::UnitPrice, price, None);
            self.map(Column::Quantity, quantity, None);
            return Some(Money::Product(price));
        }
        if let Some(place) = self.only(is_number) {
            self.map(Column::Amount, place, None);
            return Some(Money::One(place));
        }
        self.doubt_amount();
        None
    }

    fn take_one(&mut self, place: usize, named: &[usize]) -> Money {
        if let (None, Some((debit, credit))) = (self.export, self.two_columns()) {
            if [debit, credit].contains(&place) {
                return self.take_two(debit, credit);
            }
            let names = [place, debit, credit].map(|place| self.name(place));
            let message = format!("{} could be the amount, or {} and {}", names[0], names[1], names[2]);
            self.out.doubt("mapping", message, Vec::new());
        }
        let other = named.iter().copied().find(|other| *other != place);
        self.doubt_better_amount(place);
        self.map(Column::Amount, place, other);
        if self.export.is_none()
            && let Some(other) = named.iter().copied().find(|other| self.is_other_amount(place, *other))
        {
            self.doubt_between(Column::Amount, place, other);
        }
        Money::One(place)
    }

    /// Asks whether a column with a better name is the amount, if it has numbers and many other texts.
    fn doubt_better_amount(&mut self, place: usize) {
        let rank = |place: usize| self.table.headers[place].rank_for(Column::Amount);
        let odd = self.candidates(Column::Amount, Profile::has_some_numbers);
        let better = odd.into_iter().find(|other| rank(*other) <= rank(place));
        if let Some(better) = better.filter(|_| self.export.is_none()) {
            self.doubt_between(Column::Amount, place, better);
        }
    }

    /// Whether another column has amounts of its own: `Line Total` beside `Order Total`.
    fn is_other_amount(&self, place: usize, other: usize) -> bool {
        let hash = |place: usize| self.profile(place).map(|profile| profile.amounts_hash);
        let header = &self.table.headers[other];
        let is_price =
            || header.rank_for(Column::UnitPrice).is_some() && !self.candidates(Column::Quantity, is_number).is_empty();
        let is_net_or_tax = [Role::Net, Role::Tax, Role::Fee, Role::Balance]
            .iter()
            .any(|role| header.is(*role));
        place != other && !is_net_or_tax && hash(place) != hash(other) && !is_price()
    }

    fn doubt_amount(&mut self) {
        let named = self.candidates(Column::Amount, |profile| profile.number_strays.count > 0);
        let stray = named.first().and_then(|place| {
            let stray = self.profile(*place)?.number_strays.first.clone()?;
            Some((self.name(*place), stray))
        });
        let message = match stray {
            Some((name, stray)) => format!(
                "no column is known as amount: {name} is called so, but has cells that are no numbers, the first on line {}: {:?}",
                stray.line, stray.text
            ),
            None => "no column is known as amount".to_owned(),
        };
        let profiles = self.table.profiles.columns.iter().enumerate();
        let numbers = profiles.filter(|(place, profile)| !self.used.contains(place) && is_number(profile));
        let places = named.into_iter().chain(numbers.map(|(place, _)| place));
        let choices = places
            .map(|place| json!({"amount": self.name(place)}))
            .take(MAX_SHOWN)
            .collect();
        self.out.doubt("mapping", message, choices);
    }

    /// The columns of what was paid and of what came in, by their headers.
    fn two_columns(&self) -> Option<(usize, usize)> {
        let fits = |place: usize| {
            let profile = self.profile(place);
            profile.is_some_and(|profile| profile.filled == 0 || is_nearly_number(profile))
        };
        let of = |role| {
            let mut headers = self.table.headers.iter().enumerate();
            let found = headers.find(|(place, header)| header.is(role) && fits(*place));
            found.map(|(place, _)| place)
        };
        let (debit, credit) = (of(Role::Debit)?, of(Role::Credit)?);
        (debit != credit).then_some((debit, credit))
    }

    fn take_two(&mut self, debit: usize, credit: usize) -> Money {
        self.used.extend([debit, credit]);
        let columns = json!({"debit": self.name(debit), "credit": self.name(credit)});
        self.out.set("amount_columns", columns, "their headers");
        Money::Two(debit, credit)
    }

    pub(super) fn decide_decimal(&mut self, money: Option<Money>) {
        if self.is_declared("decimal") {
            return;
        }
        let columns = self.table.dataset.columns.iter();
        let of_others = columns.filter(|column| matches!(column.kind(), Kind::Quantity | Kind::Price));
        let of_others = of_others.filter_map(|column| self.place_of(*column));
        let of_money = money.map(Money::places).unwrap_or_default();
        let places: HashSet<usize> = of_money.into_iter().chain(of_others).collect();
        let mut all = Numbers::default();
        for numbers in places.iter().filter_map(|place| self.profile(*place)?.as_numbers()) {
            all.points += numbers.points;
            all.commas += numbers.commas;
            all.ambiguous += numbers.ambiguous;
            all.example = all.example.or_else(|| numbers.example.clone());
        }
        self.decide_mark(&all);
    }

    fn decide_mark(&mut self, numbers: &Numbers) {
        let (points, commas, ambiguous) = (numbers.points, numbers.commas, numbers.ambiguous);
        let marks = || vec![json!("."), json!(",")];
        let before = self.remembered("decimal");
        let (mark, count) = match (points, commas, ambiguous) {
            (0, 0, 0) => return,
            (0, 0, _) => {
                if let Some(before) = before {
                    return self.recall("decimal", before);
                }
                let message = format!(
                    "{ambiguous} numbers could be thousands or have decimals, and no number of the file decides"
                );
                return self.out.doubt("decimal", message, marks());
            }
            (1.., 1.., _) => {
                let message = format!("{points} numbers have a decimal point and {commas} a decimal comma");
                return self.out.doubt("decimal", message, marks());
            }
            (_, 0, _) => (".", points),
            _ => (",", commas),
        };
        let example = numbers.example.clone().unwrap_or_default();
        if before.is_some_and(|before| before != mark) {
            let message = format!(
                "another decimal mark was confirmed for a file with this header, but {count} numbers, such as {example}, have {mark:?}"
            );
            self.out.doubt("decimal", message, marks());
        }
        let reason = format!("{count} numbers, such as {example}, can be read with it only");
        self.out.set("decimal", mark, reason);
    }
}
