//! Headings and lines of totals between the rows, which are left out.

use annals_csv::{Column, DateFormat};
use serde_json::{Value, json};

use super::{MAX_SHOWN, Money, Proposer};
use crate::profile::Profile;

/// Most texts by which headings are left out.
const MAX_TEXTS: usize = 4 * MAX_SHOWN;

impl Proposer<'_> {
    /// Leaves out headings and lines of totals by what they have in the column of days, if no row has that.
    pub(super) fn leave_out_headings(&mut self, day: Option<usize>, money: Option<Money>) {
        let lines = self.table.profiles.headings;
        let Some((place, profile)) = day
            .filter(|_| lines > 0)
            .and_then(|day| Some((day, self.profile(day)?)))
        else {
            return;
        };
        let texts: Vec<String> = profile.in_headings.keys().cloned().collect();
        let is_day = |text: &String| !DateFormat::candidates(text).is_empty();
        if texts.len() > MAX_TEXTS || texts.iter().any(is_day) {
            let message = "some lines look like headings or totals, and have a day";
            self.out.doubt("filter", message, Vec::new());
            return;
        }
        if let Some(text) = texts.iter().find(|text| is_in_rows(profile, text)) {
            let message = format!(
                "{lines} lines look like headings or totals, and have {text:?} in {}, as some other rows have: they would be left out together",
                self.name(place)
            );
            self.out.doubt("filter", message, Vec::new());
            return;
        }
        self.doubt_headings(money);
        self.out.note("filter", format!("{lines} lines are headings or totals"));
        self.leave_out(place, texts);
    }

    /// Asks about headings that are not called totals and have an amount or an id: they may be rows.
    fn doubt_headings(&mut self, money: Option<Money>) {
        let ids = [self.table.dataset.id, Column::Email].map(|column| self.place_of(column));
        let amounts = money.map(Money::places).unwrap_or_default();
        let mut places = ids.into_iter().flatten().chain(amounts);
        let doubtful = places.find_map(|place| {
            let lines = self.profile(place)?.doubtful_headings;
            (lines > 0).then_some((place, lines))
        });
        if let Some((place, lines)) = doubtful {
            let message = format!(
                "{lines} lines look like headings, but have a value in {}: they may be rows that lack other cells",
                self.name(place)
            );
            self.out.doubt("filter", message, Vec::new());
        }
    }

    /// Adds texts to the condition that a column has already, or adds a condition.
    fn leave_out(&mut self, place: usize, texts: Vec<String>) {
        let column = self.name(place);
        let is_its = |condition: &&mut Value| condition["column"] == column.as_str() && condition["not_in"].is_array();
        let known = self.filter.iter_mut().find(is_its);
        let Some(Value::Array(known)) = known.map(|condition| &mut condition["not_in"]) else {
            self.filter.push(json!({"column": column, "not_in": texts}));
            return;
        };
        for text in texts.into_iter().map(Value::from) {
            if !known.contains(&text) {
                known.push(text);
            }
        }
    }
}

/// Whether a row that is no heading has a text in its column.
fn is_in_rows(profile: &Profile, text: &str) -> bool {
    let words = profile.words.as_ref();
    match text {
        "" => profile.blank > 0,
        text => {
            profile.nothing.contains_key(text) || words.is_some_and(|words| words.contains_key(&text.to_lowercase()))
        }
    }
}
