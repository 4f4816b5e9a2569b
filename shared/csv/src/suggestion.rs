//! What a message says of a file's headers: which there are, and which are closest to the name that is missing.

use annals_domain::weight::shortened;

/// Maximum number of headers that a message lists.
const MAX_HEADERS: usize = 20;
/// Maximum number of characters of a header in a message.
const MAX_HEADER: usize = 40;
/// Maximum number of headers and names that are compared.
const MAX_COMPARED: usize = 200;

/// "its headers are …, and the closest is …".
pub fn headers(headers: &[String], wanted: &[&str]) -> String {
    let shown = |header: &String| format!("{:?}", shortened(header, MAX_HEADER));
    let listed: Vec<String> = headers.iter().take(MAX_HEADERS).map(shown).collect();
    let more = match headers.len().saturating_sub(MAX_HEADERS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let pairs = headers
        .iter()
        .take(MAX_COMPARED)
        .flat_map(|header| wanted.iter().map(move |name| (header, name)));
    let closest = pairs
        .map(|(header, name)| (strsim::jaro_winkler(&plain(header), &plain(name)), header, name))
        .filter(|(likeness, ..)| *likeness > 0.8)
        .max_by(|(one, ..), (other, ..)| one.total_cmp(other));
    let closest = closest.map(|(_, header, name)| format!("; the closest to {name} is {}", shown(header)));
    format!(
        "its headers are {}{more}{}",
        listed.join(", "),
        closest.unwrap_or_default()
    )
}

fn plain(name: &str) -> String {
    let letters = name.chars().take(MAX_HEADER).filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_header_is_named() {
        let of = |names: &[&str], wanted: &[&str]| {
            headers(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(), wanted)
        };
        assert_eq!(
            of(&["Sale-Dates", "Total"], &["sale_date", "amount"]),
            "its headers are \"Sale-Dates\", \"Total\"; the closest to sale_date is \"Sale-Dates\""
        );
        assert_eq!(of(&["x"], &["amount"]), "its headers are \"x\"");
        let many: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        assert!(headers(&many, &["a"]).ends_with("\"19\" and 10 more"));
    }
}
