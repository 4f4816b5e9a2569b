//! The lines of a bench, as a table and as JSON.

#![expect(
    clippy::float_arithmetic,
    clippy::print_stdout,
    reason = "a bench prints what it finds, and ratios"
)]

use std::path::Path;

use serde_json::{Value, json};

use crate::measure::Figure;
use crate::target::Target;

/// A line: a piece of work, what Annals reached, and its ceiling.
#[derive(Debug, Clone)]
pub struct Line {
    work: String,
    unit: &'static str,
    better: Better,
    ceiling: Option<Figure>,
    annals: Figure,
    target: Option<Target>,
}

/// Which figures are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    /// Rates.
    Larger,
    /// Times and sizes.
    Smaller,
}

impl Line {
    /// A rate, in a unit like `events/s`.
    pub fn rate(work: impl Into<String>, unit: &'static str, ceiling: Figure, annals: Figure) -> Self {
        Self {
            work: work.into(),
            unit,
            better: Better::Larger,
            ceiling: Some(ceiling),
            annals,
            target: None,
        }
    }

    /// A time or a size, in a unit like `ms`: less is better.
    pub fn cost(work: impl Into<String>, unit: &'static str, ceiling: Figure, annals: Figure) -> Self {
        Self {
            better: Better::Smaller,
            ..Self::rate(work, unit, ceiling, annals)
        }
    }

    /// A rate without a ceiling.
    pub fn alone(work: impl Into<String>, unit: &'static str, annals: Figure) -> Self {
        Self {
            ceiling: None,
            ..Self::rate(work, unit, Figure::default(), annals)
        }
    }

    /// The same line with the ratios that it should reach.
    pub fn with_target(self, target: impl Into<Option<Target>>) -> Self {
        Self {
            target: target.into(),
            ..self
        }
    }

    /// Annals compared with the ceiling; larger is always better.
    fn ratio(&self) -> Option<f64> {
        let ceiling = self.ceiling?.rate;
        let ratio = match self.better {
            Better::Larger => self.annals.rate / ceiling,
            Better::Smaller => ceiling / self.annals.rate,
        };
        Some(ratio).filter(|ratio| ratio.is_finite())
    }

    /// Prints the line's rate and ratio at once, so that a long run shows something and a run that is ended early has shown something.
    pub fn shown(self) -> Self {
        let [work, unit, ceiling, annals, ratio, ..] = self.cells();
        println!("  {work}: {annals} {unit}, ceiling {ceiling}, ratio {ratio}");
        self
    }

    fn to_json(&self) -> Value {
        json!({
            "work": self.work,
            "unit": self.unit,
            "ceiling": self.ceiling.map(|ceiling| rounded(ceiling.rate)),
            "rate": rounded(self.annals.rate),
            "ratio": self.ratio().map(rounded),
            "floor": self.target.map(|target| rounded(target.floor)),
            "server_us": self.annals.server_us.map(rounded),
            "client_us": self.annals.client_us.map(rounded),
        })
    }

    fn cells(&self) -> [String; HEAD.len()] {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let microseconds = |time: Option<f64>| or_dash(time.map(|us| format!("{us:.0}")));
        let pair = |of: fn(&Figure) -> Option<f64>| match &self.ceiling {
            Some(ceiling) => format!("{} / {}", microseconds(of(&self.annals)), microseconds(of(ceiling))),
            None => microseconds(of(&self.annals)),
        };
        let ratio = |ratio: Option<f64>| or_dash(ratio.map(|ratio| format!("{ratio:.2}")));
        [
            self.work.clone(),
            self.unit.to_owned(),
            or_dash(self.ceiling.map(|ceiling| amount(ceiling.rate))),
            amount(self.annals.rate),
            ratio(self.ratio()),
            ratio(self.target.map(|target| target.floor)),
            ratio(self.target.map(|target| target.goal)),
            pair(|figure| figure.server_us),
            pair(|figure| figure.client_us),
        ]
    }
}

const HEAD: [&str; 9] = [
    "work",
    "unit",
    "ceiling",
    "annals",
    "ratio",
    "floor",
    "goal",
    "server µs",
    "client µs",
];

/// Three decimals, so that ratios in JSON are readable.
fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

/// Small amounts, such as milliseconds, are shown with a decimal.
fn amount(figure: f64) -> String {
    if figure < 100.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.0}")
    }
}

/// Prints the lines as a table.
pub fn print_lines(lines: &[Line]) {
    let head = HEAD.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(lines.iter().map(Line::cells)).collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    println!();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 | 1 => format!("{cell:<width$}", width = width(column)),
            _ => format!("{cell:>width$}", width = width(column)),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  "));
    }
    println!("\nratio, floor, goal: compared with the ceiling, larger is better");
    println!(
        "server µs, client µs: processor time of each operation, annals / ceiling; with other load on the machine they say more than rates"
    );
}

/// Writes the lines to a file: `{"lines": [{"work", "unit", "ceiling", "rate", "ratio", "floor", "server_us", "client_us"}]}`. What a line
/// does not have is null.
pub fn write_json(path: &Path, lines: &[Line]) -> std::io::Result<()> {
    let lines: Vec<Value> = lines.iter().map(Line::to_json).collect();
    std::fs::write(path, format!("{}\n", json!({"lines": lines})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(rate: f64) -> Figure {
        Figure {
            rate,
            server_us: Some(129.0),
            client_us: None,
        }
    }

    #[test]
    fn a_larger_ratio_is_better_for_rates_and_for_times() {
        assert_eq!(
            Line::rate("append", "events/s", figure(200.0), figure(100.0)).ratio(),
            Some(0.5)
        );
        assert_eq!(
            Line::cost("start", "ms", figure(100.0), figure(200.0)).ratio(),
            Some(0.5)
        );
    }

    #[test]
    fn a_line_without_a_ceiling_has_no_ratio() {
        assert_eq!(Line::alone("read", "pages/s", figure(1.0)).ratio(), None);
        assert_eq!(Line::cost("start", "ms", figure(1.0), figure(0.0)).ratio(), None);
    }

    #[test]
    fn the_json_has_every_member_of_a_line() {
        let line = Line::rate("append", "events/s", figure(3.0), figure(2.0)).with_target(Target::APPEND);
        let expected = json!({
            "work": "append", "unit": "events/s", "ceiling": 3.0, "rate": 2.0, "ratio": 0.667, "floor": 0.65, "server_us": 129.0,
            "client_us": null,
        });
        assert_eq!(line.to_json(), expected);
    }
}
