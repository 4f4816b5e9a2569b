//! Upload fields that say what belongs to what in a file's table, besides the mapping: amounts in two columns, signs and names in columns of their
//! own, rows that are left out, and texts that stand for an empty cell.

use annals_domain::json;
use serde_json::Value;

use crate::amount::Amount;
use crate::number::DecimalMark;

/// Maximum number of conditions of a filter, of values of a condition, and of texts that stand for an empty cell.
const MAX_LISTED: usize = 100;

/// What belongs to what in a file's table. Columns are named by their headers.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TableOptions {
    /// The columns of amounts that were paid and received, if they are two.
    pub amount_columns: Option<AmountColumns>,
    /// The column that says whether an amount is negative.
    pub sign_column: Option<String>,
    /// The columns whose cells make up a name, in this order.
    pub name_columns: Vec<String>,
    /// Which rows are taken: those that meet all conditions.
    pub filter: Vec<Condition>,
    /// Texts of cells that are as good as empty.
    pub empty_values: Vec<String>,
    /// Texts of cells that mean the number zero.
    pub zero_values: Vec<String>,
}

/// The two columns of an amount: it is the credit minus the debit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmountColumns {
    /// What was paid out.
    pub debit: String,
    /// What came in.
    pub credit: String,
}

/// A condition on the rows that are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The column.
    pub column: String,
    /// What its cell must be.
    pub test: Test,
}

/// What a cell must be. Case and white space around the text do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// One of these texts.
    In(Vec<String>),
    /// None of these texts.
    NotIn(Vec<String>),
    /// A number below zero.
    Negative,
    /// A number of zero or more.
    Positive,
}

impl Test {
    /// Whether a cell passes.
    pub fn passes(&self, text: &str) -> bool {
        let text = text.trim();
        match self {
            Self::In(texts) => texts.iter().any(|known| is_same(known, text)),
            Self::NotIn(texts) => !texts.iter().any(|known| is_same(known, text)),
            // A text that is no number passes, so that its row is refused and not left out.
            Self::Negative => !text.is_empty() && sign_of(text) != Some(false),
            Self::Positive => !text.is_empty() && sign_of(text) != Some(true),
        }
    }
}

impl TableOptions {
    /// The fields whose values are JSON.
    pub const JSON_FIELDS: [&str; 5] = [
        "amount_columns",
        "name_columns",
        "filter",
        "empty_values",
        "zero_values",
    ];

    /// Sets a field; returns whether there is one of this name.
    ///
    /// # Errors
    /// What the value must be, as the end of a sentence.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "amount_columns" => self.amount_columns = Some(AmountColumns::parse(value)?),
            "sign_column" if value.trim().is_empty() => return Err("must be a header of the file".to_owned()),
            "sign_column" => self.sign_column = Some(value.to_owned()),
            "name_columns" => {
                self.name_columns = texts(&parse(value)?).filter(|names| !names.is_empty()).ok_or_else(|| {
                    "must be a JSON array of headers, such as [\"First Name\", \"Last Name\"]".to_owned()
                })?;
            }
            "filter" => self.filter = conditions(value)?,
            "empty_values" => self.empty_values = listed(value)?,
            "zero_values" => self.zero_values = listed(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The headers of columns that are read although no column of the dataset is mapped to them, each with the field that names it.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let amounts = self
            .amount_columns
            .iter()
            .flat_map(|columns| [&columns.debit, &columns.credit]);
        let amounts = amounts.map(|header| ("amount_columns", header.as_str()));
        let sign = self.sign_column.iter().map(|header| ("sign_column", header.as_str()));
        let names = self.name_columns.iter().map(|header| ("name_columns", header.as_str()));
        let filter = self
            .filter
            .iter()
            .map(|condition| ("filter", condition.column.as_str()));
        amounts.chain(sign).chain(names).chain(filter)
    }
}

impl AmountColumns {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "must be {\"debit\": header, \"credit\": header}, two columns of the file".to_owned();
        let Value::Object(mut members) = parse(text)? else {
            return Err(wrong());
        };
        let mut header = |name| members.remove(name).as_ref().and_then(filled);
        match (header("debit"), header("credit")) {
            (Some(debit), Some(credit)) if members.is_empty() => Ok(Self { debit, credit }),
            _ => Err(wrong()),
        }
    }
}

/// One condition, or an array of them.
fn conditions(text: &str) -> Result<Vec<Condition>, String> {
    let wrong = || {
        "must be {\"column\": header} with \"in\" or \"not_in\" and an array of texts, or with \"sign\" and negative or positive; or an array of \
         such conditions"
            .to_owned()
    };
    let conditions = match parse(text)? {
        Value::Array(conditions) => conditions,
        condition => vec![condition],
    };
    let condition = |condition: Value| {
        let Value::Object(mut members) = condition else {
            return None;
        };
        let column = members.remove("column").as_ref().and_then(filled)?;
        let (name, value) = members.into_iter().next()?;
        let test = match name.as_str() {
            "in" => Test::In(texts(&value)?),
            "not_in" => Test::NotIn(texts(&value)?),
            "sign" if value == "negative" => Test::Negative,
            "sign" if value == "positive" => Test::Positive,
            _ => return None,
        };
        Some(Condition { column, test })
    };
    if conditions.len() > MAX_LISTED {
        return Err(format!("must have at most {MAX_LISTED} conditions"));
    }
    let has_one_test = |condition: &Value| condition.as_object().is_some_and(|members| members.len() == 2);
    if !conditions.iter().all(has_one_test) {
        return Err(wrong());
    }
    conditions
        .into_iter()
        .map(condition)
        .collect::<Option<_>>()
        .ok_or_else(wrong)
}

fn listed(text: &str) -> Result<Vec<String>, String> {
    let wrong = || "must be a JSON array of texts, such as [\"-\", \"N/A\"]".to_owned();
    texts(&parse(text)?).ok_or_else(wrong)
}

fn parse(text: &str) -> Result<Value, String> {
    json::parse(text.as_bytes()).map_err(|_| "must be JSON".to_owned())
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let texts = value.as_array().filter(|texts| texts.len() <= MAX_LISTED)?;
    texts.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

fn filled(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.trim().is_empty())?;
    Some(text.to_owned())
}

/// Whether two texts are the same but for case and the white space around them.
pub fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim(), other.trim());
    one == other || (one.len() <= 200 && one.to_lowercase() == other.to_lowercase())
}

/// Whether a text is a negative number; `None` if it is no number.
fn sign_of(text: &str) -> Option<bool> {
    let marks = [DecimalMark::Point, DecimalMark::Comma];
    let amount = marks.into_iter().find_map(|mark| Amount::parse(text, mark).ok())?;
    Some(amount.number.is_sign_negative())
}

/// What a cell of a sign column says of the amount beside it: whether it is negative. `None`: it is not known.
pub fn is_negative_sign(text: &str) -> Option<bool> {
    const NEGATIVE: [&str; 39] = [
        "-",
        "d",
        "dr",
        "db",
        "debit",
        "s",
        "soll",
        "belastung",
        "lastschrift",
        "af",
        "expense",
        "ausgabe",
        "withdrawal",
        "débit",
        "debito",
        "débito",
        "cargo",
        "dare",
        "addebito",
        "dépense",
        "gasto",
        "despesa",
        "saída",
        "out",
        "uitgave",
        "deb",
        "debited",
        "outgoing",
        "paid out",
        "ausgang",
        "abgang",
        "sortie",
        "debe",
        "salida",
        "uscita",
        "debet",
        "uit",
        "nikasi",
        "naam",
    ];
    const POSITIVE: [&str; 35] = [
        "+",
        "c",
        "cr",
        "credit",
        "h",
        "haben",
        "gutschrift",
        "bij",
        "income",
        "einnahme",
        "deposit",
        "crédit",
        "credito",
        "crédito",
        "abono",
        "avere",
        "accredito",
        "recette",
        "ingreso",
        "receita",
        "entrada",
        "in",
        "inkomsten",
        "k",
        "kredit",
        "cred",
        "credited",
        "incoming",
        "paid in",
        "eingang",
        "zugang",
        "entrée",
        "haber",
        "entrata",
        "jama",
    ];
    let text = text.trim().to_lowercase();
    let word = text.trim_end_matches('.');
    match () {
        () if NEGATIVE.contains(&word) => Some(true),
        () if POSITIVE.contains(&word) => Some(false),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<TableOptions, String> {
        let mut options = TableOptions::default();
        options.set(name, value).map(|is_known| {
            assert!(is_known);
            options
        })
    }

    #[test]
    fn fields_are_read() {
        let columns = set("amount_columns", r#"{"debit": "Soll", "credit": "Haben"}"#).expect("columns");
        assert_eq!(
            columns.headers().collect::<Vec<_>>(),
            [("amount_columns", "Soll"), ("amount_columns", "Haben")]
        );
        let one = set("filter", r#"{"column": "Status", "in": ["Paid", "Completed"]}"#).expect("a filter");
        assert!(one.filter[0].test.passes(" paid ") && !one.filter[0].test.passes("open"));
        let several = set(
            "filter",
            r#"[{"column": "S", "not_in": ["void"]}, {"column": "A", "sign": "negative"}]"#,
        )
        .expect("a filter");
        assert!(several.filter[0].test.passes("") && !several.filter[0].test.passes("VOID"));
        for (text, is_negative) in [
            ("-1,50", true),
            ("1.50-", true),
            ("(2)", true),
            ("2", false),
            // It is no number, so its row is refused and not left out.
            ("x", true),
            ("", false),
        ] {
            assert_eq!(several.filter[1].test.passes(text), is_negative, "{text}");
        }
        assert_eq!(
            set("empty_values", r#"["-", "N/A"]"#).map(|options| options.empty_values.len()),
            Ok(2)
        );
        assert_eq!(TableOptions::default().set("colour", "red"), Ok(false));
    }

    #[test]
    fn other_values_are_refused() {
        for (name, value) in [
            ("amount_columns", "{}"),
            ("amount_columns", r#"{"debit": "a", "credit": ""}"#),
            ("amount_columns", r#"{"debit": "a", "credit": "b", "c": "d"}"#),
            ("sign_column", " "),
            ("name_columns", "[]"),
            ("name_columns", "First"),
            ("filter", "5"),
            ("filter", r#"{"column": "a"}"#),
            ("filter", r#"{"column": "a", "in": "b"}"#),
            ("filter", r#"{"column": "a", "in": [], "sign": "negative"}"#),
            ("filter", r#"{"column": "a", "sign": "odd"}"#),
            ("empty_values", "{}"),
            ("zero_values", "[1]"),
        ] {
            assert!(set(name, value).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn signs_in_a_column_are_known_in_several_languages() {
        for (text, is_negative) in [
            ("S", Some(true)),
            ("H", Some(false)),
            ("Dr.", Some(true)),
            ("CR", Some(false)),
            ("Af", Some(true)),
            ("x", None),
        ] {
            assert_eq!(is_negative_sign(text), is_negative, "{text}");
        }
    }
}
