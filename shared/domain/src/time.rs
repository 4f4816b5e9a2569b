//! Instants in UTC with microseconds, as PostgreSQL stores them.

use std::fmt;

use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};
use serde::{Serialize, Serializer};

/// An instant in UTC with a resolution of one microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(DateTime<Utc>);

/// The text is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 date and time with an offset, between the years 0001 and 9999")]
pub struct NotATimestamp;

impl Timestamp {
    /// The present time by this machine's clock. Recorded time never comes from here: it comes from the database's clock.
    pub fn now() -> Self {
        Self::from(Utc::now())
    }

    /// Reads RFC 3339 text. Fractions finer than a microsecond are cut. Second 60 of any minute becomes the first second of the
    /// next minute. The SQL function `annals.instant` reads the same way.
    ///
    /// # Errors
    /// Any other text, and years that PostgreSQL or RFC 3339 cannot write.
    pub fn parse(text: &str) -> Result<Self, NotATimestamp> {
        // chrono also accepts a minus sign outside of ASCII.
        if !text.is_ascii() {
            return Err(NotATimestamp);
        }
        let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| NotATimestamp)?;
        let instant = Self::from(parsed.with_timezone(&Utc));
        // The second check is needed because second 60 becomes the next minute, which may be in the next year.
        let years = [parsed.year(), instant.0.year()];
        match years.iter().all(|year| (1..=9999).contains(year)) {
            true => Ok(instant),
            false => Err(NotATimestamp),
        }
    }

    /// The instant as chrono's type, for the database driver.
    pub fn as_datetime(&self) -> DateTime<Utc> {
        self.0
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(instant: DateTime<Utc>) -> Self {
        Self(DateTime::from_timestamp_micros(instant.timestamp_micros()).unwrap_or(instant))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand: chrono's formatting takes ten times as long, and each event has two times.
        let (time, micros) = (self.0.naive_utc(), self.0.timestamp_subsec_micros());
        let (date, clock) = (time.date(), [time.hour(), time.minute(), time.second()]);
        if !(0..=9999).contains(&date.year()) || micros > 999_999 {
            return f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true));
        }
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let parts = [
            (0..4, date.year().unsigned_abs()),
            (5..7, date.month()),
            (8..10, date.day()),
            (11..13, clock[0]),
            (14..16, clock[1]),
            (17..19, clock[2]),
            (20..26, micros),
        ];
        for (place, mut number) in parts {
            for digit in text[place].iter_mut().rev() {
                // The remainder has one digit.
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_offsets_and_writes_utc_with_microseconds() {
        let parsed = Timestamp::parse("2026-01-01T05:30:00.1234567+05:30").map(|t| t.to_string());
        assert_eq!(parsed.as_deref(), Ok("2026-01-01T00:00:00.123456Z"));
    }

    #[test]
    fn writes_what_chrono_writes() {
        for micros in [
            0,
            1,
            -1,
            999_999,
            1_767_225_599_999_999,
            951_782_400_000_001,
            -62_135_596_800_000_000,
            253_402_300_799_999_999,
            -62_167_219_200_000_001,
            253_402_300_800_000_000,
        ] {
            let instant = DateTime::from_timestamp_micros(micros).expect("an instant");
            let expected = instant.to_rfc3339_opts(SecondsFormat::Micros, true);
            assert_eq!(Timestamp::from(instant).to_string(), expected);
        }
    }

    #[test]
    fn refuses_what_postgresql_or_rfc_3339_cannot_write() {
        for bad in [
            "",
            "yesterday",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "294277-01-01T00:00:00Z",
            "0000-12-31T23:59:59Z",
            "9999-12-31T23:59:59-01:00",
            "2026-02-30T00:00:00Z",
        ] {
            assert!(Timestamp::parse(bad).is_err(), "{bad}");
        }
    }
}
