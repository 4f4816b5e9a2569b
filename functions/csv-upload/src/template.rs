//! Templates: a header and one example line, which is marked as such and refused as data; or the dataset's data dictionary.

use annals::http::{ApiError, Authenticated, Params, Path};
use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::dataset::Dataset;
use crate::dictionary::Dictionary;

/// `GET /data/upload-template/{dataset}`
pub(crate) async fn download(
    _: Authenticated,
    Path(name): Path<String>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let wants_json = params.read("format", "must be csv or json", |value| {
        ["csv", "json"].contains(&value).then(|| value == "json")
    })?;
    params.end()?;
    let dataset = Dataset::named(&name)
        .ok_or_else(|| ApiError::not_found("there is no such dataset: use sales, customers or expenses"))?;
    if wants_json == Some(true) {
        return Ok(Json(Dictionary::of(dataset)).into_response());
    }
    Ok(file(dataset))
}

/// A dataset's template, to be saved as a file.
fn file(dataset: &Dataset) -> Response {
    let disposition = format!("attachment; filename=\"{}-template.csv\"", dataset.name);
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    (headers, text(dataset)).into_response()
}

/// Nothing in a template needs quotes.
fn text(dataset: &Dataset) -> String {
    let names: Vec<&str> = dataset.template.iter().map(|(column, _)| column.name()).collect();
    let examples: Vec<&str> = dataset.template.iter().map(|(_, example)| *example).collect();
    format!("{}\r\n{}\r\n", names.join(","), examples.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::EXAMPLE;

    #[test]
    fn templates_have_a_header_and_a_marked_example() {
        let headers = [
            "sale_date,amount,sale_id,customer_id,product,quantity,category,currency,notes",
            "customer_id,name,email,phone,segment,country,created_date",
            "expense_id,expense_date,amount,currency,category,vendor,description",
        ];
        for (dataset, header) in Dataset::ALL.into_iter().zip(headers) {
            let text = text(dataset);
            let lines: Vec<&str> = text.split("\r\n").collect();
            assert_eq!(lines[0], header);
            assert!(lines[1].split(',').any(|cell| cell == EXAMPLE));
            assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
            assert_eq!(lines[2..], [""]);
            assert!(!text.contains('"'));
        }
    }
}
