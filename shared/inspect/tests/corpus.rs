//! Files as people export them (tests/fixtures/exports): each is read as its author meant it, or asked about, and never read otherwise.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test: what fails ends it, and it tells what it found"
)]

use std::fs;
use std::path::{Path, PathBuf};

use annals_csv::Dataset;
use annals_inspect::{Beginning, Extent, Inspection, inspect};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Map, Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/exports")
}

/// What an inspection says of the rows, in the terms of `cases.json`.
fn outcome(inspection: &Inspection) -> Value {
    let Some(trial) = &inspection.trial else {
        return json!(null);
    };
    let total = |total: &annals_inspect::Total| {
        let exponent = annals_domain::money::currency(&total.currency)
            .and_then(|currency| currency.exponent())
            .unwrap_or(0);
        let units: i64 = total.amount_cents.to_string().parse().expect("a number");
        let factor = 10_i64.pow(exponent.into());
        let sign = if units < 0 { "-" } else { "" };
        let (whole, fraction) = (units.abs() / factor, units.abs() % factor);
        (
            total.currency.clone(),
            json!(format!(
                "{sign}{whole}.{fraction:0width$}",
                width = usize::from(exponent)
            )),
        )
    };
    let ids: Vec<_> = trial
        .first_rows
        .iter()
        .take(3)
        .filter_map(|row| row.id.clone())
        .filter(|id| !id.starts_with("email-"))
        .collect();
    json!({
        "rows": trial.rows_accepted, "refused": trial.rows_refused, "totals": trial.totals.iter().map(total).collect::<Map<_, _>>(),
        "first_day": trial.first_day, "last_day": trial.last_day, "ids": if ids.is_empty() { json!(null) } else { json!(ids) },
    })
}

#[tokio::test]
async fn every_file_is_read_as_meant_or_asked_about() {
    let cases = fs::read(folder().join("cases.json")).expect("cases");
    let cases: Vec<Value> = serde_json::from_slice(&cases).expect("a list");
    assert!(cases.len() >= 40);
    let (mut right, mut asked, mut certain_cases, mut wrong) = (0, Vec::new(), 0, Vec::new());
    for case in &cases {
        let name = case["file"].as_str().expect("a name");
        let file = Bytes::from(fs::read(folder().join(name)).expect("a file"));
        let dataset = Dataset::named(case["dataset"].as_str().expect("a dataset")).expect("a dataset");
        let mut declared = Map::new();
        if let Some(currency) = case["currency_given"].as_str() {
            declared.insert("currency".to_owned(), json!(currency));
        }
        let open = || stream::iter([Ok(file.clone())]);
        let beginning = Beginning::read(open(), &declared, dataset, Extent::Whole)
            .await
            .expect(name);
        let inspection = inspect(open, dataset, beginning, &declared, &Map::new())
            .await
            .expect(name);
        let mut expected = case.clone();
        for other in [
            "file",
            "system",
            "dataset",
            "auto",
            "asked",
            "currency_given",
            "left_out",
        ] {
            expected.as_object_mut().expect("an object").remove(other);
        }
        expected["refused"] = json!(0);
        let found = outcome(&inspection);
        // Remarks at the end are records that are left out, too, but no rows.
        let left_out = inspection.trial.as_ref().map_or(0, |trial| trial.rows_left_out);
        let rows_left_out = case["left_out"].as_u64().expect("a number");
        let is_whole = (rows_left_out..=rows_left_out + inspection.after.len() as u64).contains(&left_out);
        let is_certain_case = case["auto"] == json!(true);
        certain_cases += usize::from(is_certain_case);
        match inspection.certain {
            true if is_certain_case && found == expected && is_whole => right += 1,
            true => wrong.push(format!(
                "{name} as {}: {found}\n  meant {expected}\n  by {}",
                dataset.name,
                json!(inspection.options)
            )),
            false if is_certain_case => asked.push(format!(
                "{name} as {}: {}\n  {}\n  {}",
                dataset.name,
                json!(inspection.doubts),
                json!(inspection.options),
                json!(inspection.trial.as_ref().map(|trial| &trial.refusals))
            )),
            false => {}
        }
    }
    println!("{right} of {certain_cases} files that decide are read as meant");
    asked.iter().for_each(|case| println!("asked: {case}"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(right * 10 >= certain_cases * 9, "{right} of {certain_cases}");
}
