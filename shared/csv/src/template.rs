//! Templates: a header and one example line. The example line is marked, and rejected if it is imported.

use crate::dataset::Dataset;

/// A dataset's template. No cell of it needs quotes.
pub fn template(dataset: &Dataset) -> String {
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
            let text = template(dataset);
            let lines: Vec<&str> = text.split("\r\n").collect();
            assert_eq!(lines[0], header);
            assert!(lines[1].split(',').any(|cell| cell == EXAMPLE));
            assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
            assert_eq!(lines[2..], [""]);
            assert!(!text.contains('"'));
        }
    }
}
