//! Templates: a header and one example line, which is marked as such and refused as data.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::dataset::Dataset;

/// A dataset's template, to be saved as a file.
pub(crate) fn respond(dataset: &Dataset) -> Response {
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
    use crate::dataset::{EXAMPLE, SALES};

    #[test]
    fn templates_have_a_header_and_a_marked_example() {
        let text = text(&SALES);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(
            lines[0],
            "sale_date,amount,sale_id,customer_id,product,quantity,category,currency,notes"
        );
        assert_eq!(lines[1].split(',').next_back(), Some(EXAMPLE));
        assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
        assert_eq!(lines[2..], [""]);
        assert!(!text.contains('"'));
    }
}
