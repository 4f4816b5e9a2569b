//! Quantities, prices of one piece and discounts: which of several readings of a row's money is meant.

use annals_csv::Column;
use serde_json::json;

use super::columns::is_nearly_number;
use super::{Money, Proposer};
use crate::check::Check;

/// Headers of prices that may be those of one piece, or of all pieces together.
const OF_ONE_OR_ALL: [&str; 8] = ["price", "preis", "prix", "precio", "prezzo", "preço", "prijs", "keemat"];

/// Headers of amounts of money, or of numbers of pieces.
const OF_MONEY_OR_PIECES: [&str; 2] = ["amount", "amt"];

impl Proposer<'_> {
    /// Asks about money that may have to be multiplied by a quantity, or reduced by a discount, or that may be no money.
    pub(super) fn doubt_pieces(&mut self, money: Money) {
        if self.export.is_some() || !self.table.dataset.columns.contains(&Column::UnitPrice) {
            return;
        }
        match money {
            Money::One(place) => {
                self.doubt_price(place);
                self.doubt_count(place);
            }
            Money::Product(price) => {
                self.doubt_price(price);
                self.watch_discounts();
            }
            Money::Two(..) => {}
        }
    }

    /// Asks whether a price beside a quantity is that of one piece.
    fn doubt_price(&mut self, price: usize) {
        let header = &self.table.headers[price];
        let is_open = OF_ONE_OR_ALL.contains(&header.name.as_str());
        let Some(quantity) = self.quantity().filter(|_| is_open) else {
            return;
        };
        let (price, quantity) = (self.name(price), self.name(quantity));
        let message =
            format!("{price} may be the price of one piece, to be multiplied by {quantity}, or the price of all");
        let choices = vec![
            json!({"unit_price": price, "quantity": quantity}),
            json!({"amount": price}),
        ];
        self.out.doubt("mapping", message, choices);
    }

    /// The column with quantities, of which not all are 1.
    fn quantity(&self) -> Option<usize> {
        let free = || self.candidates(Column::Quantity, is_nearly_number).into_iter().next();
        let place = self.place_of(Column::Quantity).or_else(free)?;
        let words = self.words(place).unwrap_or_default();
        (words != ["1"]).then_some(place)
    }

    /// Asks whether a column called amount, beside a price and without a quantity, has numbers of pieces.
    fn doubt_count(&mut self, amount: usize) {
        let header = &self.table.headers[amount];
        let is_money = header.currency.is_some()
            || header.names_rupees
            || !OF_MONEY_OR_PIECES.contains(&header.name.as_str())
            || self
                .profile(amount)
                .and_then(|profile| profile.as_numbers())
                .is_some_and(|numbers| numbers.with_currency > 0);
        let has_quantity = self.place_of(Column::Quantity).is_some()
            || !self.candidates(Column::Quantity, is_nearly_number).is_empty();
        let price = self.candidates(Column::UnitPrice, is_nearly_number).into_iter().next();
        let Some(price) = price.filter(|_| !is_money && !has_quantity) else {
            return;
        };
        let (amount, price) = (self.name(amount), self.name(price));
        let message = format!("{amount} may be the number of pieces, each of which costs {price}, or the price of all");
        let choices = vec![
            json!({"unit_price": price, "quantity": amount}),
            json!({"amount": amount}),
        ];
        self.out.doubt("mapping", message, choices);
    }

    /// Lets rows be watched that have a discount, of which a price of one piece times a quantity knows nothing.
    pub(super) fn watch_discounts(&mut self) {
        let headers = self.table.headers.iter().enumerate();
        let discounts = headers.filter(|(place, header)| !self.used.contains(place) && header.is_of_discounts());
        let checks: Vec<Check> = discounts.map(|(place, _)| Check::Subtracted(place)).collect();
        self.checks.extend(checks);
    }
}
