//! The table of results.

use crate::measure::Figure;

/// A line of the table.
pub struct Line {
    work: &'static str,
    ceiling: Option<Figure>,
    annals: Figure,
    floor: Option<u32>,
}

impl Line {
    /// Annals and its ceiling, with the floor in percent.
    pub fn compared(work: &'static str, ceiling: Figure, annals: Figure, floor: Option<u32>) -> Self {
        Self {
            work,
            ceiling: Some(ceiling),
            annals,
            floor,
        }
    }

    /// A figure without a ceiling.
    pub fn alone(work: &'static str, annals: Figure) -> Self {
        Self {
            work,
            ceiling: None,
            annals,
            floor: None,
        }
    }

    fn cells(&self) -> [String; 7] {
        let microseconds = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |us| format!("{us:.0}"));
        let pair = |of: fn(&Figure) -> Option<f64>| match &self.ceiling {
            Some(ceiling) => format!("{} / {}", microseconds(of(&self.annals)), microseconds(of(ceiling))),
            None => microseconds(of(&self.annals)),
        };
        let ceiling = self
            .ceiling
            .map_or_else(|| "-".to_owned(), |c| format!("{:.0}", c.rate));
        let ratio = self.ceiling.map_or_else(
            || "-".to_owned(),
            |c| format!("{:.0} %", 100.0 * self.annals.rate / c.rate),
        );
        [
            self.work.to_owned(),
            ceiling,
            format!("{:.0}", self.annals.rate),
            ratio,
            self.floor.map_or_else(|| "-".to_owned(), |floor| format!("{floor} %")),
            pair(|figure| figure.server_us),
            pair(|figure| figure.client_us),
        ]
    }
}

/// Prints the table: rates per second, of events where they are written and of answers where they are read.
pub fn print(lines: &[Line]) {
    let head = [
        "work",
        "ceiling/s",
        "annals/s",
        "ratio",
        "floor",
        "server µs",
        "client µs",
    ]
    .map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(lines.iter().map(Line::cells)).collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    println!();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = width(0)),
            _ => format!("{cell:>width$}", width = width(column)),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  "));
    }
    println!(
        "\nserver µs, client µs: processor time each, annals / ceiling; with other load on the machine they say more than rates"
    );
}
