//! The column with the day, and how days are written.

use annals_csv::{Column, DateFormat, Kind};
use serde_json::{Value, json};

use super::Proposer;
use super::columns::is_number;
use crate::profile::Profile;

impl Proposer<'_> {
    pub(super) fn choose_day(&mut self) -> Option<usize> {
        let mut columns = self.table.dataset.columns.iter().copied();
        let column = columns.find(|column| column.kind() == Kind::Day)?;
        let place = match self.take_said(column) {
            Some(said) => said?,
            None => {
                let of_export = self.of_export(column.name());
                let has_rows = self.table.profiles.rows > 0;
                let has_days = |profile: &Profile| {
                    !has_rows || !profile.formats().is_empty() || !profile.contradicted_formats().is_empty()
                };
                let named = self.candidates(column, has_days);
                self.doubt_if_two(column, &named);
                self.doubt_better_day(column, &named);
                let serials = || self.candidates(column, has_serials).into_iter().next();
                let shaped = || self.only(|profile| !profile.formats().is_empty() && profile.day_strays.count == 0);
                let place = of_export
                    .or_else(|| named.first().copied())
                    .or_else(serials)
                    .or_else(shaped);
                let Some(place) = place else {
                    if self.table.dataset.requires(column) {
                        let message = format!("no column is known as {}", column.name());
                        self.out.doubt("mapping", message, Vec::new());
                    }
                    return None;
                };
                self.map(column, place, named.iter().copied().find(|other| *other != place));
                place
            }
        };
        if !self.is_declared("date_format") {
            self.decide_date_format(place);
            self.doubt_odd_days(place);
        }
        Some(place)
    }

    /// Asks whether a column with a better name is the day, if it has days and many other texts.
    fn doubt_better_day(&mut self, column: Column, named: &[usize]) {
        let Some(place) = named.first().copied().filter(|_| self.export.is_none()) else {
            return;
        };
        let rank = |place: usize| self.table.headers[place].rank_for(column);
        let odd = self.candidates(column, Profile::has_some_days);
        if let Some(better) = odd.into_iter().find(|other| rank(*other) <= rank(place)) {
            self.doubt_between(column, place, better);
        }
    }

    /// Asks about cells that are no days in a column of days. Their rows are refused.
    fn doubt_odd_days(&mut self, place: usize) {
        let strays = self.profile(place).filter(|profile| profile.days_read > 0);
        let strays = strays.map(|profile| &profile.day_strays);
        let Some((count, first)) = strays.and_then(|strays| Some((strays.count, strays.first.clone()?))) else {
            return;
        };
        let message = format!(
            "{count} cells of {} are no days, the first on line {}: {:?}. Their rows are refused",
            self.name(place),
            first.line,
            first.text
        );
        self.out.doubt("date_format", message, Vec::new());
    }

    fn decide_date_format(&mut self, place: usize) {
        let Some(profile) = self.profile(place) else { return };
        let formats = profile.formats().to_vec();
        let remembered = self.remembered("date_format");
        let remembered = remembered.as_ref().and_then(Value::as_str).map(str::to_owned);
        let remembered = remembered.as_deref().and_then(DateFormat::from_pattern);
        let decided = self.decided_format(profile);
        match (decided, remembered) {
            (Some((format, reason)), None) => self.set_format(&format, &reason),
            (Some((format, reason)), Some(before)) => {
                if !are_one(&format, &before) {
                    let message = format!(
                        "{before} was confirmed for a file with this header, and the days of {} are {format}",
                        self.name(place)
                    );
                    self.out
                        .doubt("date_format", message, choices(std::slice::from_ref(&format)));
                }
                self.set_format(&format, &reason);
            }
            (None, Some(before)) => match formats.iter().find(|format| are_one(format, &before)) {
                Some(format) => self.recall("date_format", Value::from(format.to_string())),
                None if formats.is_empty() => self.recall("date_format", Value::from(before.to_string())),
                None => self.doubt_format(place, &formats),
            },
            (None, None) => self.doubt_format(place, &formats),
        }
    }

    /// The only format that is possible, and why.
    fn decided_format(&self, profile: &Profile) -> Option<(DateFormat, String)> {
        match profile.formats() {
            [] => None,
            [DateFormat::Iso] => Some((
                DateFormat::Iso,
                format!("all {} days are YYYY-MM-DD", profile.days_read),
            )),
            [only] => Some((only.clone(), only_format(only, profile))),
            several => self.known_format(several).or_else(|| self.day_first(several)),
        }
    }

    /// The format that the export's system always uses.
    fn known_format(&self, formats: &[DateFormat]) -> Option<(DateFormat, String)> {
        let known = self.export?.date_format.and_then(DateFormat::from_pattern)?;
        let format = formats.iter().find(|format| writes_alike(format, &known))?;
        Some((format.clone(), "the system always writes days so".to_owned()))
    }

    /// Where points separate, the day comes first, unless the file is American (`01.31.2026`), Hungarian or Korean (`26.01.31`). So there must be a
    /// sign that it is none of these. Hungarians write numbers as Germans do, so for years of two digits only words tell.
    fn day_first(&self, formats: &[DateFormat]) -> Option<(DateFormat, String)> {
        let is_day_first = |format: &&DateFormat| format.to_string().starts_with("%d.%m.");
        let format = formats.iter().find(is_day_first)?;
        let has_short_years = format.to_string().contains("%y");
        let is_european = self.table.headers.iter().any(|header| header.is_day_first());
        let reason = match () {
            () if is_european => "the headers are in a language in which the day comes first",
            () if has_short_years => return None,
            () if self.table.delimiter == b';' => "semicolons separate fields, as where the day comes first",
            () if self.has_decimal_comma() => "numbers have a decimal comma, as where the day comes first",
            () if self.export.is_some() => "the system writes days with points where the day comes first",
            () => return None,
        };
        Some((format.clone(), reason.to_owned()))
    }

    fn has_decimal_comma(&self) -> bool {
        let numbers = self.table.profiles.columns.iter().filter_map(Profile::as_numbers);
        let (points, commas) = numbers.fold((0, 0), |(points, commas), numbers| {
            (points + numbers.points, commas + numbers.commas)
        });
        commas > 0 && points == 0
    }

    fn set_format(&mut self, format: &DateFormat, reason: &str) {
        match format {
            DateFormat::Iso => self.out.note("date_format", reason),
            other => self.out.set("date_format", other.to_string(), reason),
        }
    }

    fn doubt_format(&mut self, place: usize, formats: &[DateFormat]) {
        let Some(profile) = self.profile(place) else { return };
        let (message, choices) = match formats {
            [] if has_serials(profile) => (
                format!(
                    "the days of {} are numbers of a spreadsheet, counted from 1900 or from 1904",
                    self.name(place)
                ),
                vec![json!("excel")],
            ),
            [] if profile.filled == 0 => return,
            [] => (
                format!(
                    "no format reads all days of {}{}",
                    self.name(place),
                    contradiction(profile)
                ),
                choices(profile.contradicted_formats()),
            ),
            several => (
                format!(
                    "the days of {} can be read in {} ways, and no day decides",
                    self.name(place),
                    several.len()
                ),
                choices(several),
            ),
        };
        self.out.doubt("date_format", message, choices);
    }
}

/// Why a format is the only one that is possible.
fn only_format(format: &DateFormat, profile: &Profile) -> String {
    let century = match format.to_string().contains("%y") {
        true => ", with years from 1970 to 2069",
        false => "",
    };
    let evidence = match (format.swapped().is_some(), profile.late_days) {
        (true, rows @ 1..) => format!(": {rows} rows decide it, because their day is above 12"),
        _ => String::new(),
    };
    let days = profile.days_read;
    format!("no other order of day and month reads all {days} days{century}{evidence}")
}

/// The cell that the formats of those before do not read.
fn contradiction(profile: &Profile) -> String {
    let cell = profile.contradiction.as_ref();
    cell.map(|cell| format!(": {:?} on line {} is not written as those before", cell.text, cell.line))
        .unwrap_or_default()
}

fn choices(formats: &[DateFormat]) -> Vec<Value> {
    formats.iter().map(|format| Value::from(format.to_string())).collect()
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

/// Whether two formats are the same but for a time and for how months are named: `known` is the shorter one.
fn writes_alike(format: &DateFormat, known: &DateFormat) -> bool {
    plain(format).starts_with(&plain(known))
}

/// Whether one of two formats is the other, perhaps with a time.
fn are_one(one: &DateFormat, other: &DateFormat) -> bool {
    writes_alike(one, other) || writes_alike(other, one)
}

fn plain(format: &DateFormat) -> String {
    format
        .to_string()
        .replace("%b", "%B")
        .replace("%e", "%d")
        .replace("%-", "%")
}
