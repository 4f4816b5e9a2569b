//! Comparing version numbers of schemas: `1.10` comes after `1.9`.

/// Whether two versions have the same major number.
pub fn same_major(one: &str, other: &str) -> bool {
    major(one) == major(other)
}

/// Whether `version` comes after `other`: 1.10 comes after 1.9.
pub fn is_later(version: &str, other: &str) -> bool {
    key(version) > key(other)
}

fn key(version: &str) -> Vec<u16> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}

fn major(version: &str) -> Option<u16> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_numbers() {
        assert!(same_major("1.0", "1.10.2"));
        assert!(!same_major("1.0", "2.0"));
        assert!(is_later("1.10", "1.9") && is_later("2.0", "1.9") && is_later("1.0.1", "1.0"));
        assert!(!is_later("1.0", "1.0") && !is_later("1.9", "1.10"));
    }
}
