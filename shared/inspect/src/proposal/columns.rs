//! Which column is which of ours, apart from days and money.

use annals_csv::{Column, Dataset, Kind};
use serde_json::{Map, Value, json};

use super::Proposer;
use crate::check::Check;
use crate::choice::ColumnChoice;
use crate::lookup::Header;
use crate::names::Role;
use crate::profile::Profile;

impl Proposer<'_> {
    /// What the caller has mapped, or what was mapped in another file with this header. The caller's own mapping counts more.
    pub(super) fn said_mapping(&self) -> Map<String, Value> {
        let object = |value: Option<Value>| match value {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        let of = |fields: &Map<String, Value>| object(fields.get("mapping").and_then(super::parsed));
        let mut members = of(self.table.remembered);
        members.extend(of(self.table.declared));
        members
    }

    /// The header that a column of ours is mapped to by the caller or in another file; `Null` if it is not to be read.
    pub(super) fn said_source(&self, column: Column) -> Option<Value> {
        self.said_mapping().remove(column.name())
    }

    /// Takes over what is mapped already; `None` if the column is not.
    pub(super) fn take_said(&mut self, column: Column) -> Option<Option<usize>> {
        let source = self.said_source(column)?;
        let place = source.as_str().and_then(|source| self.place_named(source));
        self.used.extend(place);
        Some(place)
    }

    /// Columns whose header means this column of ours, the best first, of those that are acceptable.
    pub(super) fn candidates(&self, column: Column, is_acceptable: impl Fn(&Profile) -> bool) -> Vec<usize> {
        let headers = self.table.headers.iter().enumerate();
        let is_meant = |header: &Header| column != Column::Amount || !is_of_others(self.table.dataset, header);
        let headers = headers.filter(|(_, header)| is_meant(header));
        let ranked = headers.filter_map(|(place, header)| Some((header.rank_for(column)?, place)));
        let free =
            ranked.filter(|(_, place)| !self.used.contains(place) && self.profile(*place).is_some_and(&is_acceptable));
        let mut found: Vec<(usize, usize)> = free.collect();
        found.sort_unstable();
        found.into_iter().map(|(_, place)| place).collect()
    }

    /// Notes a doubt if two columns have the same name, in the dictionary's terms, and the export is not known.
    pub(super) fn doubt_if_two(&mut self, column: Column, named: &[usize]) {
        let name = |place: &usize| self.table.headers[*place].name.as_str();
        if let ([first, second, ..], None) = (named, self.of_export(column.name()))
            && name(first) == name(second)
        {
            self.doubt_between(column, *first, *second);
        }
    }

    /// Notes a doubt of which of two columns is ours.
    pub(super) fn doubt_between(&mut self, column: Column, first: usize, second: usize) {
        let names = [first, second].map(|place| self.name(place));
        let choices = names.iter().map(|name| json!({column.name(): name})).collect();
        let message = format!("{} and {} could both be {}", names[0], names[1], column.name());
        self.out.doubt("mapping", message, choices);
    }

    pub(super) fn map(&mut self, column: Column, place: usize, runner_up: Option<usize>) {
        self.used.insert(place);
        self.mapping
            .insert(column.name().to_owned(), Value::from(self.name(place)));
        let reason = match (self.of_export(column.name()) == Some(place), self.table.has_header) {
            (true, _) => format!("its header in {}", self.export.map_or("", |export| export.name)),
            (false, true) => "its header".to_owned(),
            (false, false) => "its values: no other column has such".to_owned(),
        };
        let choice = ColumnChoice {
            column: column.name(),
            source: self.name(place),
            reason,
            runner_up: runner_up.map(|place| self.name(place)),
        };
        self.out.columns.push(choice);
    }

    /// The only free column with such values, in a file without a header.
    pub(super) fn only(&self, has: impl Fn(&Profile) -> bool) -> Option<usize> {
        if self.table.has_header {
            return None;
        }
        let profiles = self.table.profiles.columns.iter().enumerate();
        let mut found =
            profiles.filter(|(place, profile)| !self.used.contains(place) && profile.filled > 0 && has(profile));
        let (place, _) = found.next()?;
        found.next().is_none().then_some(place)
    }

    pub(super) fn choose_id(&mut self) {
        let id = self.table.dataset.id;
        if self.take_said(id).is_some() {
            return;
        }
        if let Some(place) = self.of_export(id.name()) {
            self.map(id, place, None);
            return;
        }
        self.mapping.insert(id.name().to_owned(), Value::Null);
        if self.export.is_some() {
            return;
        }
        let named = self.ids();
        let is_unique = |place: &usize| self.profile(*place).is_some_and(|profile| profile.is_unique);
        if let Some(place) = named.iter().copied().find(is_unique) {
            self.map(id, place, None);
            self.doubt_counter(id, place);
        } else if let Some(place) = named.first() {
            let reason = format!(
                "{} is no id: it has the same value in several rows, so rows are known by their content",
                self.name(*place)
            );
            self.out.note("mapping", reason);
        }
    }

    /// Asks about numbers of documents that may begin again: next year's rows would replace this year's.
    fn doubt_counter(&mut self, id: Column, place: usize) {
        let is_counter = self.profile(place).is_some_and(|profile| profile.is_counter);
        if is_counter && self.table.headers[place].is_of_documents() {
            let name = self.name(place);
            let message = format!("the numbers of {name} may begin again each year, and would then be no ids");
            let choices = vec![json!({id.name(): name}), json!({id.name(): null})];
            self.out.doubt("mapping", message, choices);
        }
    }

    /// Columns that are called like ids and have a value in every row.
    fn ids(&self) -> Vec<usize> {
        let rows = self.table.profiles.rows;
        self.candidates(self.table.dataset.id, |profile| profile.filled == rows)
    }

    /// Lets rows be watched that may not count, because they were cancelled, or whose amount may not be what was paid: it is that of an order that has
    /// a row for each of its items, or a part of it was paid back or is not paid yet.
    pub(super) fn watch_amounts(&mut self) {
        let free = |is_it: fn(&Header) -> bool| -> Vec<usize> {
            let headers = self.table.headers.iter().enumerate();
            let named = headers.filter(|(place, header)| !self.used.contains(place) && is_it(header));
            named.map(|(place, _)| place).collect()
        };
        let cancelled = free(Header::is_of_cancellations);
        let (refunds, dues) = (free(Header::is_of_refunds), free(Header::is_of_dues));
        let is_amount = |place: &usize| self.profile(*place).is_some_and(is_nearly_number);
        let mut checks: Vec<Check> = cancelled.into_iter().map(Check::Cancelled).collect();
        if self.export.is_none() {
            let told = refunds.iter().filter(|place| !is_amount(place));
            checks.extend(told.copied().map(Check::Cancelled));
            let reduced = refunds.into_iter().chain(dues).filter(is_amount);
            checks.extend(reduced.map(Check::Subtracted));
            let is_repeated = |place: &usize| self.profile(*place).is_some_and(|profile| !profile.is_unique);
            let orders = self.ids().into_iter().find(is_repeated);
            let orders = orders.filter(|_| self.place_of(Column::Amount).is_some());
            checks.extend(orders.map(|place| Check::Repeats(vec![place])));
        }
        self.checks.extend(checks);
    }

    pub(super) fn choose_names(&mut self) {
        if !self.table.dataset.columns.contains(&Column::Name) || self.take_said(Column::Name).is_some() {
            return;
        }
        if let Some(names) = self.said("name_columns") {
            let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
            let places: Vec<usize> = names.filter_map(|name| self.place_named(name)).collect();
            self.used.extend(places);
            if let Some(value) = self.remembered("name_columns") {
                self.recall("name_columns", value);
            }
            return;
        }
        let of = |role, name: &str| {
            self.of_export(name)
                .or_else(|| self.table.headers.iter().position(|header| header.is(role)))
        };
        let parts = (of(Role::FirstName, "first_name"), of(Role::LastName, "last_name"));
        let named = self.candidates(Column::Name, |profile| profile.filled > 0);
        match (parts, named.first().copied()) {
            ((Some(first), Some(last)), _) => {
                self.used.extend([first, last]);
                let names = json!([self.name(first), self.name(last)]);
                self.out.set("name_columns", names, "their headers");
            }
            (_, Some(place)) => self.map(Column::Name, place, None),
            _ => self.out.doubt("mapping", "no column is known as name", Vec::new()),
        }
    }

    pub(super) fn choose_others(&mut self) {
        let dataset = self.table.dataset;
        for column in dataset.columns.iter().copied() {
            let is_done = matches!(column.kind(), Kind::Day | Kind::Amount | Kind::Currency)
                || [dataset.id, Column::Name].contains(&column);
            if is_done || self.mapping.contains_key(column.name()) || self.take_said(column).is_some() {
                continue;
            }
            let fits = |profile: &Profile| match column.kind() {
                Kind::Quantity | Kind::Price => is_nearly_number(profile) && has_one_mark(profile),
                Kind::Email => profile.has_addresses(),
                // A column of nothing but `NA` may be one of countries.
                _ => profile.filled > 0 || !profile.nothing.is_empty(),
            };
            let named = self.candidates(column, fits);
            let of_export = self.of_export(column.name());
            if let Some(place) = of_export.or_else(|| named.first().copied()) {
                self.map(column, place, named.into_iter().find(|other| *other != place));
            }
        }
        self.choose_text();
    }

    /// The only column with text, in a file without a header.
    fn choose_text(&mut self) {
        let text = match self.table.dataset.name {
            "sales" => Column::Notes,
            _ => Column::Description,
        };
        let is_free = self.table.dataset.columns.contains(&text) && !self.mapping.contains_key(text.name());
        let is_text = |profile: &Profile| !is_number(profile) && profile.formats().is_empty();
        if let Some(place) = self.only(is_text).filter(|_| is_free) {
            self.map(text, place, None);
        }
    }
}

/// Whether a header names amounts of other entities than those of the dataset: what sales cost, or what they brought in.
pub(super) fn is_of_others(dataset: &Dataset, header: &Header) -> bool {
    const COSTS: [&str; 24] = [
        "cost",
        "total cost",
        "spend",
        "amount spent",
        "expense",
        "expense amount",
        "ausgabe",
        "ausgaben",
        "kosten",
        "dépense",
        "coût",
        "gasto",
        "coste",
        "costo",
        "spesa",
        "costo totale",
        "despesa",
        "custo",
        "uitgave",
        "kharcha",
        "kharch",
        "charge",
        "fee",
        "fees",
    ];
    const REVENUES: [&str; 16] = [
        "sales",
        "revenue",
        "sale amount",
        "sales amount",
        "total sale",
        "gross sales",
        "product sales",
        "umsatz",
        "erlös",
        "verkaufsbetrag",
        "chiffre d'affaires",
        "ventes",
        "ventas",
        "vendite",
        "vendas",
        "omzet",
    ];
    match dataset.name {
        "sales" => COSTS.contains(&header.name.as_str()),
        "expenses" => REVENUES.contains(&header.name.as_str()),
        _ => false,
    }
}

pub(super) fn is_number(profile: &Profile) -> bool {
    profile.is_number()
}

/// Whether nearly all of its cells are numbers. The others are asked about.
pub(super) fn is_nearly_number(profile: &Profile) -> bool {
    profile.as_numbers().is_some()
}

/// Whether its numbers do not contradict each other.
fn has_one_mark(profile: &Profile) -> bool {
    profile
        .as_numbers()
        .is_some_and(|numbers| numbers.points == 0 || numbers.commas == 0)
}
