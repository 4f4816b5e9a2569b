//! From what a file has to the upload fields that read it.

use std::collections::HashSet;

use annals_csv::{Column, Dataset, DateFormat, Kind, is_negative_sign};
use serde_json::{Map, Value, json};

use crate::choice::{ColumnChoice, Proposal};
use crate::exports::{EXPORTS, Export};
use crate::lookup::{Header, means};
use crate::names::{Role, Word};
use crate::profile::{Profile, Profiles};

/// Most values of a column that a message lists.
const MAX_SHOWN: usize = 5;

/// A file whose columns are known.
pub struct Table<'a> {
    /// What its rows become.
    pub dataset: &'static Dataset,
    /// Its headers; numbers if it has none.
    pub headers: Vec<Header>,
    /// Whether it has a header.
    pub has_header: bool,
    /// What its columns have.
    pub profiles: &'a Profiles,
    /// Code of the currency that the lines before the header name.
    pub named_before: Option<String>,
    /// Upload fields that the caller has declared.
    pub declared: &'a Map<String, Value>,
}

/// How money is written in a table.
#[derive(Clone, Copy)]
enum Money {
    /// In one column.
    One(usize),
    /// What was paid and what came in.
    Two(usize, usize),
    /// A price and a quantity.
    Product(usize, usize),
}

/// Proposes the upload fields of a table.
pub fn propose(table: &Table<'_>) -> Proposal {
    let mut proposer = Proposer {
        table,
        export: None,
        used: HashSet::new(),
        mapping: Map::new(),
        filter: Vec::new(),
        empty: Vec::new(),
        out: Proposal::default(),
    };
    proposer.run();
    proposer.out
}

struct Proposer<'a> {
    table: &'a Table<'a>,
    export: Option<&'static Export>,
    used: HashSet<usize>,
    mapping: Map<String, Value>,
    filter: Vec<Value>,
    empty: Vec<String>,
    out: Proposal,
}

impl Proposer<'_> {
    fn run(&mut self) {
        self.find_export();
        let day = self.choose_day();
        let money = self.table.dataset.has_money().then(|| self.choose_money()).flatten();
        self.choose_id();
        if money.is_some() {
            self.choose_currency(money);
        }
        self.choose_names();
        self.choose_others();
        self.leave_out_headings(day);
        self.filter_rows();
        if let Some(money) = money {
            self.decide_signs(money);
        }
        self.decide_decimal(money);
        self.finish();
    }

    // What the caller has declared.

    fn is_declared(&self, field: &str) -> bool {
        self.table.declared.contains_key(field)
    }

    /// The caller's own mapping.
    fn declared_mapping(&self) -> Option<Value> {
        match self.table.declared.get("mapping")? {
            Value::String(text) => annals_domain::json::parse(text.as_bytes()).ok(),
            other => Some(other.clone()),
        }
    }

    /// The caller's own mapping of a column; `Some(Null)` if it is not to be read.
    fn declared_source(&self, column: Column) -> Option<Value> {
        self.declared_mapping()?.get(column.name()).cloned()
    }

    // Columns.

    fn profile(&self, place: usize) -> Option<&Profile> {
        self.table.profiles.columns.get(place)
    }

    /// How upload fields name a column.
    fn name(&self, place: usize) -> String {
        let headers = &self.table.headers;
        let is_same = |other: &&Header| other.text.to_lowercase() == headers[place].text.to_lowercase();
        match headers.iter().filter(is_same).count() {
            1 => headers[place].text.clone(),
            _ => format!("#{}", place + 1),
        }
    }

    /// The place that a column of ours is mapped to so far.
    fn place_of(&self, column: Column) -> Option<usize> {
        let source = self.mapping.get(column.name())?.as_str()?;
        (0..self.table.headers.len()).find(|place| self.name(*place) == source)
    }

    /// Notes the texts by which a column says that there is nothing.
    fn note_nothing(&mut self, place: usize) {
        let profile = self.table.profiles.columns.get(place);
        self.empty
            .extend(profile.into_iter().flat_map(|profile| profile.nothing.keys().cloned()));
    }

    fn place_called(&self, name: &str) -> Option<usize> {
        self.table.headers.iter().position(|header| header.name == name)
    }

    fn find_export(&mut self) {
        let has = |export: &&Export| export.signature.iter().all(|name| self.place_called(name).is_some());
        // The one with the most headers, if several fit.
        let found = EXPORTS.iter().filter(has).max_by_key(|export| export.signature.len());
        let Some(export) = found else { return };
        if export.dataset == self.table.dataset.name {
            self.export = Some(export);
            self.out.note(
                "mapping",
                format!("the headers are those of {}. {}", export.name, export.note),
            );
        } else {
            let message = format!(
                "the headers are those of {}, which are {}: say which column is what",
                export.name, export.dataset
            );
            self.out.doubt("mapping", message, Vec::new());
        }
    }

    fn of_export(&self, column: &str) -> Option<usize> {
        let (_, name) = self.export?.columns.iter().find(|(of, _)| *of == column)?;
        self.place_called(name)
    }

    /// Columns whose header means this column of ours, the best first, of those that are acceptable.
    fn candidates(&self, column: Column, is_acceptable: impl Fn(&Profile) -> bool) -> Vec<usize> {
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
    fn doubt_if_two(&mut self, column: Column, named: &[usize]) {
        let name = |place: &usize| self.table.headers[*place].name.as_str();
        if let ([first, second, ..], None) = (named, self.of_export(column.name()))
            && name(first) == name(second)
        {
            let names = [self.name(*first), self.name(*second)];
            let choices = names.iter().map(|name| json!({column.name(): name})).collect();
            let message = format!("{} and {} could both be {}", names[0], names[1], column.name());
            self.out.doubt("mapping", message, choices);
        }
    }

    fn map(&mut self, column: Column, place: usize, runner_up: Option<usize>) {
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

    /// Takes over what the caller has mapped; `None` if the caller has not mapped the column.
    fn take_declared(&mut self, column: Column) -> Option<Option<usize>> {
        let source = self.declared_source(column)?;
        let place = source.as_str().and_then(|source| {
            let source = source.trim();
            let number = || source.strip_prefix('#')?.parse::<usize>().ok()?.checked_sub(1);
            let by_name = self
                .table
                .headers
                .iter()
                .position(|header| header.text.eq_ignore_ascii_case(source));
            by_name.or_else(number)
        });
        self.used.extend(place);
        Some(place)
    }

    fn choose_day(&mut self) -> Option<usize> {
        let column = self
            .table
            .dataset
            .columns
            .iter()
            .copied()
            .find(|column| column.kind() == Kind::Day)?;
        let place = match self.take_declared(column) {
            Some(declared) => declared?,
            None => {
                let of_export = self.of_export(column.name());
                let has_days =
                    |profile: &Profile| !profile.formats().is_empty() || !profile.contradicted_formats().is_empty();
                let named = self.candidates(column, has_days);
                self.doubt_if_two(column, &named);
                let serials = || self.candidates(column, has_serials).into_iter().next();
                let shaped = || self.only(|profile| !profile.formats().is_empty());
                let place = of_export
                    .or_else(|| named.first().copied())
                    .or_else(serials)
                    .or_else(shaped);
                let Some(place) = place else {
                    if self.table.dataset.requires(column) {
                        self.out.doubt(
                            "mapping",
                            format!("no column is known as {}", column.name()),
                            Vec::new(),
                        );
                    }
                    return None;
                };
                self.map(column, place, named.iter().copied().find(|other| *other != place));
                place
            }
        };
        self.decide_date_format(place);
        Some(place)
    }

    /// The only free column with such values, in a file without a header.
    fn only(&self, has: impl Fn(&Profile) -> bool) -> Option<usize> {
        if self.table.has_header {
            return None;
        }
        let profiles = self.table.profiles.columns.iter().enumerate();
        let mut found =
            profiles.filter(|(place, profile)| !self.used.contains(place) && profile.filled > 0 && has(profile));
        let (place, _) = found.next()?;
        found.next().is_none().then_some(place)
    }

    fn decide_date_format(&mut self, place: usize) {
        if self.is_declared("date_format") {
            return;
        }
        let Some(profile) = self.profile(place) else { return };
        let (formats, rows) = (profile.formats().to_vec(), profile.filled);
        let known = self
            .export
            .and_then(|export| export.date_format)
            .and_then(DateFormat::from_pattern);
        let known = known.filter(|known| formats.iter().any(|format| writes_alike(format, known)));
        let choices = |formats: &[DateFormat]| formats.iter().map(|format| Value::from(format.to_string())).collect();
        match (formats.as_slice(), known) {
            ([], _) if has_serials(profile) => {
                let message = format!(
                    "the days of {} are numbers of a spreadsheet, counted from 1900 or from 1904",
                    self.name(place)
                );
                self.out.doubt("date_format", message, vec![json!("excel")]);
            }
            ([], _) => {
                let contradicted = choices(profile.contradicted_formats());
                self.out.doubt(
                    "date_format",
                    format!("no format reads all days of {}", self.name(place)),
                    contradicted,
                );
            }
            ([DateFormat::Iso], _) => self.out.note("date_format", format!("all {rows} days are YYYY-MM-DD")),
            ([only], _) => {
                let century = if only.to_string().contains("%y") {
                    ", with years from 1969 to 2068"
                } else {
                    ""
                };
                self.out.set(
                    "date_format",
                    only.to_string(),
                    format!("no other order of day and month reads all {rows} days{century}"),
                );
            }
            (several, Some(known)) => {
                let format = several
                    .iter()
                    .find(|format| writes_alike(format, &known))
                    .unwrap_or(&known)
                    .to_string();
                self.out.set("date_format", format, "the system always writes days so");
            }
            (several, None) => {
                let message = format!(
                    "the days of {} can be read in {} ways, and no day decides",
                    self.name(place),
                    several.len()
                );
                self.out.doubt("date_format", message, choices(several));
            }
        }
    }

    // Money.

    fn choose_money(&mut self) -> Option<Money> {
        if let Some(declared) = self.take_declared(Column::Amount) {
            return declared.map(Money::One);
        }
        if self.is_declared("amount_columns") {
            return None;
        }
        if let (Some(debit), Some(credit)) = (self.of_export("debit"), self.of_export("credit")) {
            return Some(self.take_two(debit, credit));
        }
        let named = self.candidates(Column::Amount, is_number);
        self.doubt_if_two(Column::Amount, &named);
        if let Some(place) = self.of_export("amount").or_else(|| named.first().copied()) {
            let two = self.two_columns();
            if let (None, Some((debit, credit))) = (self.export, two) {
                if [debit, credit].contains(&place) {
                    return Some(self.take_two(debit, credit));
                }
                let message = format!(
                    "{} could be the amount, or {} and {}",
                    self.name(place),
                    self.name(debit),
                    self.name(credit)
                );
                self.out.doubt("mapping", message, Vec::new());
            }
            self.map(Column::Amount, place, named.into_iter().find(|other| *other != place));
            return Some(Money::One(place));
        }
        if let Some((debit, credit)) = self.two_columns() {
            return Some(self.take_two(debit, credit));
        }
        let price = self.candidates(Column::UnitPrice, is_number).into_iter().next();
        let quantity = self.candidates(Column::Quantity, is_number).into_iter().next();
        if let (Some(price), Some(quantity)) = (price, quantity)
            && self.table.dataset.columns.contains(&Column::UnitPrice)
        {
            self.map(Column::UnitPrice, price, None);
            self.map(Column::Quantity, quantity, None);
            return Some(Money::Product(price, quantity));
        }
        if let Some(place) = self.only(is_number) {
            self.map(Column::Amount, place, None);
            return Some(Money::One(place));
        }
        let numbers = self
            .table
            .profiles
            .columns
            .iter()
            .enumerate()
            .filter(|(place, profile)| !self.used.contains(place) && is_number(profile));
        let choices = numbers
            .map(|(place, _)| json!({"amount": self.name(place)}))
            .take(MAX_SHOWN)
            .collect();
        self.out.doubt("mapping", "no column is known as amount", choices);
        None
    }

    /// The columns of what was paid and of what came in, by their headers.
    fn two_columns(&self) -> Option<(usize, usize)> {
        let of = |role| {
            let headers = self.table.headers.iter().enumerate();
            let fits = |place: usize| {
                self.profile(place)
                    .is_some_and(|profile| profile.filled == 0 || is_number(profile))
            };
            headers
                .filter(|(place, header)| header.is(role) && fits(*place))
                .map(|(place, _)| place)
                .next()
        };
        let (debit, credit) = (of(Role::Debit)?, of(Role::Credit)?);
        (debit != credit).then_some((debit, credit))
    }

    fn take_two(&mut self, debit: usize, credit: usize) -> Money {
        self.used.extend([debit, credit]);
        let columns = json!({"debit": self.name(debit), "credit": self.name(credit)});
        self.out.set("amount_columns", columns, "their headers");
        for place in [debit, credit] {
            self.note_nothing(place);
        }
        Money::Two(debit, credit)
    }

    fn sign_column(&self, amount: usize) -> Option<usize> {
        let says_signs = |place: usize| {
            let words = self.profile(place).and_then(|profile| profile.words.as_ref());
            words.is_some_and(|words| !words.is_empty() && words.keys().all(|word| is_negative_sign(word).is_some()))
        };
        let headers = self.table.headers.iter().enumerate();
        let named =
            headers.filter(|(place, header)| !self.used.contains(place) && header.is(Role::Sign) && says_signs(*place));
        // If there are several, the one after the amount is the amount's.
        let distance = |place: usize| {
            if place > amount {
                place - amount
            } else {
                usize::MAX - place
            }
        };
        self.of_export("sign")
            .or_else(|| named.map(|(place, _)| place).min_by_key(|place| distance(*place)))
    }

    fn decide_signs(&mut self, money: Money) {
        let is_expense = self.table.dataset.name == "expenses";
        let (paid, received, are_told) = match money {
            Money::Two(debit, credit) => (self.nonzero(debit), self.nonzero(credit), true),
            Money::Product(..) => return,
            Money::One(amount) => match self.sign_column(amount).filter(|_| !self.is_declared("sign_column")) {
                None => {
                    let numbers = self
                        .profile(amount)
                        .and_then(Profile::as_numbers)
                        .cloned()
                        .unwrap_or_default();
                    (numbers.negative, numbers.positive, false)
                }
                Some(sign) => {
                    self.used.insert(sign);
                    self.out.set(
                        "sign_column",
                        self.name(sign),
                        "its header, and its words are those of debits and credits",
                    );
                    let words = self
                        .profile(sign)
                        .and_then(|profile| profile.words.clone())
                        .unwrap_or_default();
                    let of = |negative| {
                        let alike = words
                            .iter()
                            .filter(|(word, _)| is_negative_sign(word) == Some(negative));
                        alike.map(|(_, count)| count).sum::<u64>()
                    };
                    (of(true), of(false), true)
                }
            },
        };
        if self.is_declared("negate") {
            return;
        }
        let is_known = self.export.is_some_and(|export| export.takes_back) && are_told;
        match (is_expense, paid, received) {
            (_, 0, 0) => {}
            (true, _, 0) => self.out.set(
                "negate",
                true,
                "all amounts were paid, so they have a minus sign or stand for money that left",
            ),
            (true, 0, _) if are_told && !is_known => {
                self.out.doubt(
                    "negate",
                    "all amounts are credits: money that came in is no expense",
                    vec![json!(true), json!(false)],
                );
            }
            (true, 0, _) => {}
            (true, ..) if is_known => {
                self.out
                    .set("negate", true, "a debit is an expense, and a credit takes one back")
            }
            (true, ..) => {
                let message = format!(
                    "{paid} rows have money going out and {received} have money coming in: say which rows are expenses"
                );
                let column = match money {
                    Money::One(place) => self.name(place),
                    Money::Two(debit, _) | Money::Product(debit, _) => self.name(debit),
                };
                let outgoing = json!({"filter": {"column": column, "sign": "negative"}, "negate": true});
                self.out.doubt("filter", message, vec![outgoing]);
            }
            (false, _, 0) if !is_known => {
                self.out.doubt(
                    "negate",
                    "all amounts are negative or debits: sales are what came in",
                    vec![json!(true), json!(false)],
                );
            }
            (false, 1.., 1..) if are_told && !is_known => {
                let message = format!("{paid} rows are debits and {received} are credits: say which rows are sales");
                self.out.doubt("filter", message, Vec::new());
            }
            (false, ..) => {}
        }
    }

    fn nonzero(&self, place: usize) -> u64 {
        let numbers = self.profile(place).and_then(Profile::as_numbers);
        numbers.map_or(0, |numbers| numbers.negative + numbers.positive)
    }

    fn choose_currency(&mut self, money: Option<Money>) {
        if self.take_declared(Column::Currency).is_some() || self.is_declared("currency") {
            return;
        }
        let places: Vec<usize> = match money {
            Some(Money::One(place)) => vec![place],
            Some(Money::Two(debit, credit)) => vec![debit, credit],
            Some(Money::Product(price, _)) => vec![price],
            None => Vec::new(),
        };
        let amount = places.first().copied().unwrap_or_default();
        let mut named = self.candidates(Column::Currency, |profile| profile.is_currency && profile.filled > 0);
        named.sort_by_key(|place| {
            if *place > amount {
                place - amount
            } else {
                usize::MAX - place
            }
        });
        if let Some(place) = self.of_export("currency").or_else(|| named.first().copied()) {
            self.map(Column::Currency, place, None);
            return;
        }
        let numbers: Vec<_> = places
            .iter()
            .filter_map(|place| self.profile(*place)?.as_numbers().map(|numbers| (numbers, place)))
            .collect();
        let (total, with): (u64, u64) = numbers.iter().fold((0, 0), |(total, with), (numbers, _)| {
            (
                total + numbers.negative + numbers.positive + numbers.zero,
                with + numbers.with_currency,
            )
        });
        if total > 0 && with == total {
            self.out.note("currency", "every amount has its currency beside it");
            return;
        }
        let in_header = places.iter().find_map(|place| self.table.headers.get(*place)?.currency);
        if let (Some(currency), 0) = (in_header, with) {
            self.out
                .set("currency", currency.code(), "the header of the amount names it");
            return;
        }
        if let (Some(code), 0) = (self.table.named_before.as_deref(), with) {
            self.out.set("currency", code, "a line before the header names it");
            return;
        }
        let mut codes: Vec<&str> = numbers
            .iter()
            .flat_map(|(numbers, _)| numbers.currencies.keys().copied())
            .collect();
        codes.dedup();
        if let ([code], true) = (codes.as_slice(), with > 0) {
            let message = format!("{code} is beside {with} of {total} amounts, and nothing is beside the others");
            self.out.doubt("currency", message, vec![json!(code)]);
            return;
        }
        let symbols = numbers.iter().flat_map(|(numbers, _)| numbers.symbols.keys());
        let likely = symbols.filter_map(|symbol| match symbol {
            '$' => Some("USD"),
            '£' => Some("GBP"),
            '¥' => Some("JPY"),
            _ => None,
        });
        let choices = likely.map(Value::from).collect();
        self.out.doubt(
            "currency",
            "the file does not say which currency its amounts are in",
            choices,
        );
    }

    // Other columns.

    fn choose_id(&mut self) {
        let id = self.table.dataset.id;
        if self.take_declared(id).is_some() {
            return;
        }
        if let Some(place) = self.of_export(id.name()) {
            self.map(id, place, None);
            return;
        }
        if self.export.is_some() {
            self.mapping.insert(id.name().to_owned(), Value::Null);
            return;
        }
        let rows = self.table.profiles.rows;
        let is_whole = |profile: &Profile| profile.filled == rows;
        let named = self.candidates(id, is_whole);
        match named
            .iter()
            .copied()
            .find(|place| self.profile(*place).is_some_and(|profile| profile.is_unique))
        {
            Some(place) => self.map(id, place, None),
            None => {
                if let Some(place) = named.first() {
                    let reason = format!(
                        "{} is no id: it has the same value in several rows, so rows are known by their content",
                        self.name(*place)
                    );
                    self.out.note("mapping", reason);
                }
                self.mapping.insert(id.name().to_owned(), Value::Null);
            }
        }
    }

    fn choose_names(&mut self) {
        if !self.table.dataset.columns.contains(&Column::Name)
            || self.take_declared(Column::Name).is_some()
            || self.is_declared("name_columns")
        {
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
                self.out.set(
                    "name_columns",
                    json!([self.name(first), self.name(last)]),
                    "their headers",
                );
            }
            (_, Some(place)) => self.map(Column::Name, place, None),
            _ => self.out.doubt("mapping", "no column is known as name", Vec::new()),
        }
    }

    fn choose_others(&mut self) {
        let dataset = self.table.dataset;
        let chosen = |column: &Column, mapping: &Map<String, Value>| mapping.contains_key(column.name());
        for column in dataset.columns.iter().copied() {
            let is_done = matches!(column.kind(), Kind::Day | Kind::Amount | Kind::Currency)
                || [dataset.id, Column::Name].contains(&column);
            if is_done || chosen(&column, &self.mapping) || self.take_declared(column).is_some() {
                continue;
            }
            let fits = |profile: &Profile| match column.kind() {
                Kind::Quantity | Kind::Price => is_number(profile) && has_one_mark(profile),
                Kind::Email => profile.is_email && profile.filled > 0,
                _ => profile.filled > 0,
            };
            let named = self.candidates(column, fits);
            let of_export = self.of_export(column.name());
            if let Some(place) = of_export.or_else(|| named.first().copied()) {
                self.map(column, place, named.into_iter().find(|other| *other != place));
                self.note_nothing(place);
            }
        }
        let text = match dataset.name {
            "sales" => Column::Notes,
            _ => Column::Description,
        };
        let is_text = |profile: &Profile| profile.numbers.is_none() && profile.formats().is_empty();
        if let Some(place) = self
            .only(is_text)
            .filter(|_| dataset.columns.contains(&text) && !chosen(&text, &self.mapping))
        {
            self.map(text, place, None);
        }
    }

    // Rows.

    /// Leaves out headings and lines of totals between the rows.
    fn leave_out_headings(&mut self, day: Option<usize>) {
        let Some(day) = day.filter(|_| self.table.profiles.headings > 0) else {
            return;
        };
        let texts: Vec<String> = self
            .profile(day)
            .iter()
            .flat_map(|profile| profile.in_headings.keys().cloned())
            .collect();
        if texts.len() > MAX_SHOWN * 4 || texts.iter().any(|text| !DateFormat::candidates(text).is_empty()) {
            self.out.doubt(
                "filter",
                "some lines look like headings or totals, and have a day",
                Vec::new(),
            );
            return;
        }
        let lines = self.table.profiles.headings;
        self.out.note("filter", format!("{lines} lines are headings or totals"));
        self.filter.push(json!({"column": self.name(day), "not_in": texts}));
    }

    fn filter_rows(&mut self) {
        if self.is_declared("filter") {
            return;
        }
        match self.export {
            Some(export) => self.filter_by_export(export),
            None => {
                self.filter_by_status();
                self.filter_by_kind();
            }
        }
    }

    fn filter_by_export(&mut self, export: &'static Export) {
        let mut done = Vec::new();
        for (name, ..) in export.filter {
            if done.contains(name) {
                continue;
            }
            done.push(name);
            let Some(place) = self.place_called(name) else { continue };
            let list = |is_taken| {
                export
                    .filter
                    .iter()
                    .find(|(of, taken, _)| of == name && *taken == is_taken)
                    .map(|(.., values)| *values)
            };
            let (taken, left) = (list(true), list(false));
            let Some(words) = self.words(place) else {
                self.out.doubt(
                    "filter",
                    format!("{} has too many different values", self.name(place)),
                    Vec::new(),
                );
                continue;
            };
            let is_known = |word: &String| match (taken, left) {
                (Some(taken), Some(left)) => taken.contains(&word.as_str()) || left.contains(&word.as_str()),
                _ => true,
            };
            let unknown: Vec<&String> = words.iter().filter(|word| !is_known(word)).take(MAX_SHOWN).collect();
            self.doubt_values(place, &unknown);
            let (test, values) = match (taken, left) {
                (Some(taken), _) => ("in", taken),
                (None, left) => ("not_in", left.unwrap_or_default()),
            };
            self.used.insert(place);
            self.filter.push(json!({"column": self.name(place), test: values}));
            self.out.note(
                "filter",
                format!("rows of {} count by {}", export.name, self.name(place)),
            );
        }
    }

    /// The different words of a column in lower case, with an empty one if it has empty cells.
    fn words(&self, place: usize) -> Option<Vec<String>> {
        let profile = self.profile(place)?;
        let words = profile.words.as_ref()?.keys().cloned();
        Some(words.chain((profile.blank > 0).then(String::new)).collect())
    }

    fn of_role(&self, role: Role) -> Option<usize> {
        self.table
            .headers
            .iter()
            .enumerate()
            .position(|(place, header)| header.is(role) && !self.used.contains(&place))
    }

    /// Leaves out what is pending or was voided.
    fn filter_by_status(&mut self) {
        let Some(place) = self.of_role(Role::Status) else {
            return;
        };
        let Some(words) = self.words(place) else { return };
        let of = |kinds: &[Word]| -> Vec<String> {
            words
                .iter()
                .filter(|word| kinds.iter().any(|kind| means(word, *kind)))
                .cloned()
                .collect()
        };
        let (out, counted) = (of(&[Word::Pending, Word::Voided]), of(&[Word::Completed]));
        // Customers have statuses that say nothing of whether they are any.
        if out.is_empty() && (counted.len() == words.len() || !self.table.dataset.has_money()) {
            return;
        }
        let unknown: Vec<&String> = words
            .iter()
            .filter(|word| !out.contains(word) && !counted.contains(word) && !word.is_empty())
            .collect();
        self.doubt_values(place, &unknown);
        if out.is_empty() {
            return;
        }
        self.used.insert(place);
        self.out.note(
            "filter",
            format!("rows with {out:?} in {} are pending or void", self.name(place)),
        );
        self.filter.push(json!({"column": self.name(place), "not_in": out}));
    }

    /// Of income and expenses in one table, takes those that the dataset is about.
    fn filter_by_kind(&mut self) {
        let wanted = match self.table.dataset.name {
            "sales" => Word::Income,
            "expenses" => Word::Expense,
            _ => return,
        };
        let headers = self.table.headers.iter().enumerate();
        let roles = headers
            .filter(|(place, header)| !self.used.contains(place) && (header.is(Role::Kind) || header.is(Role::Sign)));
        let places: Vec<usize> = roles.map(|(place, _)| place).collect();
        for place in places {
            let Some(words) = self.words(place) else { continue };
            let of = |kind: Word| -> Vec<String> { words.iter().filter(|word| means(word, kind)).cloned().collect() };
            let (income, expenses) = (of(Word::Income), of(Word::Expense));
            let (taken, other) = if wanted == Word::Income {
                (income, expenses)
            } else {
                (expenses, income)
            };
            if other.is_empty() {
                self.doubt_kinds(place, &words, &taken);
                continue;
            }
            let unknown: Vec<&String> = words
                .iter()
                .filter(|word| !taken.contains(word) && !other.contains(word))
                .collect();
            if !unknown.is_empty() || taken.is_empty() {
                let message = format!(
                    "{} tells income from expenses, and has other values: {unknown:?}",
                    self.name(place)
                );
                self.out.doubt("filter", message, Vec::new());
            }
            self.used.insert(place);
            self.out
                .note("filter", format!("{} tells income from expenses", self.name(place)));
            self.filter.push(json!({"column": self.name(place), "in": taken}));
        }
    }

    /// Notes a doubt if a column of kinds has some that may not be those that the dataset is about, such as `Refund` and `Payout`.
    fn doubt_kinds(&mut self, place: usize, words: &[String], taken: &[String]) {
        let is_known = |word: &String| taken.contains(word) || is_negative_sign(word).is_some();
        let unknown: Vec<&String> = words.iter().filter(|word| !is_known(word)).take(MAX_SHOWN).collect();
        if words.len() > 1 && self.table.headers[place].is(Role::Kind) {
            self.doubt_values(place, &unknown);
        }
    }

    /// Notes a doubt if a column has values of which it is not known whether their rows count.
    fn doubt_values(&mut self, place: usize, unknown: &[&String]) {
        if !unknown.is_empty() {
            let message = format!(
                "it is not known whether rows with {unknown:?} in {} count",
                self.name(place)
            );
            self.out.doubt("filter", message, Vec::new());
        }
    }

    // Numbers and cells.

    fn decide_decimal(&mut self, money: Option<Money>) {
        if self.is_declared("decimal") {
            return;
        }
        let of_money = match money {
            Some(Money::One(place)) => vec![place],
            Some(Money::Two(one, other) | Money::Product(one, other)) => vec![one, other],
            None => Vec::new(),
        };
        let of_others = self
            .table
            .dataset
            .columns
            .iter()
            .filter(|column| matches!(column.kind(), Kind::Quantity | Kind::Price));
        let of_others = of_others.filter_map(|column| self.place_of(*column));
        let places: HashSet<usize> = of_money.into_iter().chain(of_others).collect();
        let (mut points, mut commas, mut ambiguous, mut example) = (0, 0, 0, None);
        for numbers in places.iter().filter_map(|place| self.profile(*place)?.as_numbers()) {
            points += numbers.points;
            commas += numbers.commas;
            ambiguous += numbers.ambiguous;
            example = example.or_else(|| numbers.example.clone());
        }
        let evidence = |count: u64| {
            format!(
                "{count} numbers, such as {}, can be read with it only",
                example.clone().unwrap_or_default()
            )
        };
        match (points, commas, ambiguous) {
            (0, 0, 0) => {}
            (0, 0, _) => {
                let message = format!(
                    "{ambiguous} numbers could be thousands or have decimals, and no number of the file decides"
                );
                self.out.doubt("decimal", message, vec![json!("."), json!(",")]);
            }
            (_, 0, _) => self.out.set("decimal", ".", evidence(points)),
            (0, ..) => self.out.set("decimal", ",", evidence(commas)),
            _ => {
                let message = format!("{points} numbers have a decimal point and {commas} a decimal comma");
                self.out.doubt("decimal", message, vec![json!("."), json!(",")]);
            }
        }
    }

    fn finish(&mut self) {
        for column in self.table.dataset.columns {
            let is_needed = self.table.dataset.requires(*column)
                || column.kind() == Kind::Amount
                || *column == self.table.dataset.id;
            let place = self.place_of(*column).filter(|_| is_needed);
            let Some((place, profile)) = place.and_then(|place| Some((place, self.profile(place)?))) else {
                continue;
            };
            if let Some((text, count)) = profile.nothing.iter().next() {
                let message = format!(
                    "{count} cells of {} are {text:?}: nothing, so that the rows are refused, or zero",
                    self.name(place)
                );
                let text = text.clone();
                self.out.doubt(
                    "empty_values",
                    message,
                    vec![json!({"empty_values": [text]}), json!({"zero_values": [text]})],
                );
            }
        }
        // A column that is called as ours is found without a mapping, so it needs one only if it is another, or not to be read.
        let is_ours = |header: &str, name: &str| header.to_lowercase().replace(' ', "_") == name;
        let headers = &self.table.headers;
        self.mapping.retain(|name, source| match source.as_str() {
            Some(source) => !is_ours(source, name),
            None => headers.iter().any(|header| is_ours(&header.text, name)),
        });
        if let Some(Value::Object(members)) = self.declared_mapping() {
            self.mapping.extend(members);
        }
        if !self.mapping.is_empty() {
            self.out
                .fields
                .insert("mapping".to_owned(), Value::Object(std::mem::take(&mut self.mapping)));
        }
        match self.filter.as_slice() {
            [] => {}
            [one] => drop(self.out.fields.insert("filter".to_owned(), one.clone())),
            several => drop(self.out.fields.insert("filter".to_owned(), json!(several))),
        }
        self.empty.sort_unstable();
        self.empty.dedup();
        if !self.empty.is_empty() && !self.is_declared("empty_values") {
            self.out.set(
                "empty_values",
                json!(self.empty),
                "cells with these texts have no value",
            );
        }
    }
}

/// Whether a header names amounts of other entities than those of the dataset: what sales cost, or what they brought in.
fn is_of_others(dataset: &Dataset, header: &Header) -> bool {
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

fn is_number(profile: &Profile) -> bool {
    profile.as_numbers().is_some()
}

/// Whether its numbers do not contradict each other.
fn has_one_mark(profile: &Profile) -> bool {
    profile
        .as_numbers()
        .is_some_and(|numbers| numbers.points == 0 || numbers.commas == 0)
}

/// Whether its numbers could be days of a spreadsheet.
fn has_serials(profile: &Profile) -> bool {
    let words = profile.words.iter().flat_map(|words| words.keys());
    let is_serial = |text: &String| {
        let whole = text.split('.').next().unwrap_or_default();
        whole.len() == 5 && whole.parse::<u32>().is_ok_and(|day| (20_000..80_000).contains(&day))
    };
    is_number(profile) && profile.words.is_some() && words.into_iter().all(is_serial)
}

/// Whether two formats are the same, but for a time and for how months are named.
fn writes_alike(format: &DateFormat, known: &DateFormat) -> bool {
    let plain = |format: &DateFormat| {
        format
            .to_string()
            .replace("%b", "%B")
            .replace("%e", "%d")
            .replace("%-", "%")
    };
    plain(format).starts_with(&plain(known))
}
