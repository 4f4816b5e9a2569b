use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<(String, Option<char>), NumberFault> {
    Amount::parse(text, DecimalMark::Point).map(|amount| {
        let symbol = match amount.written {
            Some(Written::Symbol(symbol)) => Some(symbol),
            _ => None,
        };
        (amount.number.to_string(), symbol)
    })
}

#[test]
fn amounts_are_read_with_what_stands_around_them() {
    for (text, number, symbol) in [
        ("1,234.50", "1234.5", None),
        (" 12 ", "12", None),
        ("-12.00", "-12", None),
        ("(12.00)", "-12", None),
        ("(0)", "0", None),
        ("$ 1,234.50", "1234.5", Some('$')),
        ("$1", "1", Some('$')),
        ("-$5", "-5", Some('$')),
        ("$-5", "-5", Some('$')),
        ("$ - 5", "-5", Some('$')),
        ("($5.25)", "-5.25", Some('$')),
        ("₹1,23,456.50", "123456.5", Some('₹')),
        ("Rs. 1,23,456", "123456", Some('₨')),
        ("5 Rs", "5", Some('₨')),
        ("12.5 €", "12.5", Some('€')),
        ("\u{A0}£7\u{A0}", "7", Some('£')),
    ] {
        assert_eq!(parse(text), Ok((number.to_owned(), symbol)), "{text}");
    }
    assert_eq!(
        Amount::parse("1.234,50 €", DecimalMark::Comma)
            .map(|a| a.number.to_string())
            .as_deref(),
        Ok("1234.5")
    );
}

#[test]
fn other_things_are_no_amounts() {
    for text in [
        "",
        "$",
        "()",
        "(-5)",
        "-(5)",
        "-$-5",
        "$5$",
        "USD",
        "5%",
        "1e309",
        "NaN",
        "٣",
        "(5",
        "5)",
        "- -5",
        "$ $5",
        "-12-",
        "12--",
        "5 Dr Cr",
        "-5 Cr",
        "(5) Dr",
        "EUR 5 €",
        "EUR",
        "5 euros",
        "5 XYZ",
        "5 kr",
        "5 E",
        "Dr",
    ] {
        assert_eq!(parse(text), Err(NumberFault::Form), "{text}");
    }
}

#[test]
fn signs_and_currencies_stand_before_or_after_the_number() {
    for (text, number, code) in [
        ("12.00-", "-12", None),
        ("12.00 \u{2212}", "-12", None),
        ("500.00 Dr", "-500", None),
        ("500.00CR.", "500", None),
        ("EUR 12.50", "12.5", Some(Currency::EUR)),
        ("12.50 eur", "12.5", Some(Currency::EUR)),
        ("CHF 1'234.50-", "-1234.5", Some(Currency::CHF)),
        ("-12.50 CHF", "-12.5", Some(Currency::CHF)),
        ("R$ 5", "5", Some(Currency::BRL)),
        ("(7.50) CAD", "-7.5", Some(Currency::CAD)),
        ("(US$ 7.50)", "-7.5", Some(Currency::USD)),
    ] {
        let amount = Amount::parse(text, DecimalMark::Point).expect(text);
        let written = code.map(Written::Code);
        assert_eq!(
            (amount.number.to_string().as_str(), amount.written),
            (number, written),
            "{text}"
        );
    }
    let euros = Amount::parse("EUR 5", DecimalMark::Point).expect("an amount");
    assert_eq!(euros.currency(None), Ok(Currency::EUR));
    assert_eq!(euros.currency(Some(Currency::EUR)), Ok(Currency::EUR));
    assert_eq!(euros.currency(Some(Currency::USD)), Err(Currency::USD));
}

#[test]
fn symbols_must_fit_the_currency() {
    let currency = |text: &str, declared| {
        Amount::parse(text, DecimalMark::Point)
            .expect("an amount")
            .currency(declared)
    };
    assert_eq!(currency("5", None), Ok(Currency::USD));
    assert_eq!(currency("Rs 5", None), Err(Currency::USD));
    assert_eq!(currency("Rs 5", Some(Currency::PKR)), Ok(Currency::PKR));
    assert_eq!(currency("Rs 5", Some(Currency::EUR)), Err(Currency::EUR));
    assert_eq!(currency("$5", None), Ok(Currency::USD));
    assert_eq!(currency("$5", Some(Currency::CAD)), Ok(Currency::CAD));
    assert_eq!(currency("¥5", Some(Currency::JPY)), Ok(Currency::JPY));
    assert_eq!(currency("€5", None), Ok(Currency::EUR));
    assert_eq!(currency("₹5", None), Ok(Currency::INR));
    assert_eq!(currency("₹5", Some(Currency::INR)), Ok(Currency::INR));
    assert_eq!(currency("€5", Some(Currency::USD)), Err(Currency::USD));
    assert_eq!(currency("£5", None), Err(Currency::USD));
}

#[test]
fn minor_units_are_exact_or_refused() {
    let units = |text: &str, code: &str| {
        let number = number::parse(text, DecimalMark::Point).expect("a number");
        minor_units(number, money::currency(code).expect("a currency")).map(|m| (m.units, m.rounded))
    };
    assert_eq!(units("957.5775", "USD"), Ok((95758, true)));
    assert_eq!(units("-0.005", "USD"), Ok((-1, true)));
    assert_eq!(units("12", "JPY"), Ok((12, false)));
    assert_eq!(units("1.234", "KWD"), Ok((1234, false)));
    assert_eq!(units("79.004999999999999999999999999", "USD"), Err(UnitsFault::Digits));
    assert_eq!(units("9.0049999999999999999999999", "USD"), Ok((900, true)));
    assert_eq!(units("92233720368547758.07", "USD"), Ok((i64::MAX, false)));
    assert_eq!(units("-92233720368547758.08", "USD"), Ok((i64::MIN, false)));
    assert_eq!(units("92233720368547758.08", "USD"), Err(UnitsFault::Range));
    assert_eq!(units("79228162514264337593543950335", "USD"), Err(UnitsFault::Range));
}

/// A notation of amounts.
#[derive(Debug, Clone)]
struct Hand {
    mark: DecimalMark,
    /// The separator of groups of digits; `None` without groups.
    separator: Option<char>,
    /// Groups as in India: the last has three digits, the others two.
    indian: bool,
    /// Texts before and after the digits.
    frame: &'static str,
    /// Texts before and after all of it.
    blank: &'static str,
}

impl Hand {
    fn write(&self, minor: i64, exponent: usize) -> String {
        let digits = format!("{:0width$}", minor.unsigned_abs(), width = exponent + 1);
        let (whole, fraction) = digits.split_at(digits.len() - exponent);
        let mut written = self.group(whole);
        if exponent > 0 {
            written.push(if self.mark == DecimalMark::Point { '.' } else { ',' });
            written.push_str(fraction);
        }
        let frame = match (minor < 0, self.frame) {
            (false, frame) => frame.replace(['-', '\u{2212}', '(', ')'], ""),
            (true, frame) if frame.contains(['-', '\u{2212}', '(']) => frame.to_owned(),
            (true, frame) => format!("-{frame}"),
        };
        format!("{0}{1}{0}", self.blank, frame.replace('#', &written))
    }

    fn group(&self, whole: &str) -> String {
        let Some(separator) = self.separator else {
            return whole.to_owned();
        };
        let mut written = String::new();
        for (place, digit) in whole.chars().enumerate() {
            let left = whole.len() - place;
            let ends = if self.indian && left > 3 {
                (left - 3).is_multiple_of(2)
            } else {
                left.is_multiple_of(3)
            };
            if place > 0 && ends {
                written.push(separator);
            }
            written.push(digit);
        }
        written
    }
}

fn hand() -> impl Strategy<Value = Hand> {
    let marks = prop::sample::select(vec![
        (
            DecimalMark::Point,
            vec![None, Some(','), Some(' '), Some('\''), Some('\u{A0}')],
        ),
        (DecimalMark::Comma, vec![None, Some('.'), Some(' '), Some('\u{202F}')]),
    ]);
    let marks = marks.prop_flat_map(|(mark, separators)| (Just(mark), prop::sample::select(separators)));
    let frames = prop::sample::select(vec![
        "#",
        "-#",
        "\u{2212}#",
        "(#)",
        "$ #",
        "-$#",
        "$-#",
        "(€ #)",
        "# €",
        "₹#",
        "( # )",
    ]);
    let blanks = prop::sample::select(vec!["", " ", "\u{A0}"]);
    (marks, any::<bool>(), frames, blanks).prop_map(|((mark, separator), indian, frame, blank)| Hand {
        mark,
        separator,
        indian,
        frame,
        blank,
    })
}

proptest! {
    #[test]
    fn amounts_come_to_the_same_minor_units_by_whatever_hand(
        minor in prop_oneof![any::<i64>(), -2_000_000_i64..2_000_000],
        hand in hand(),
        (code, exponent) in prop::sample::select(vec![("USD", 2), ("JPY", 0), ("KWD", 3)]),
    ) {
        let text = hand.write(minor, exponent);
        let amount = Amount::parse(&text, hand.mark);
        let units = amount.map(|amount| minor_units(amount.number, money::currency(code).expect("a currency")));
        prop_assert_eq!(units.map(|units| units.map(|u| (u.units, u.rounded))), Ok(Ok((minor, false))), "{}", text);
    }

    /// An amount is read exactly or refused. It is never read as another number.
    #[test]
    fn digits_are_never_dropped_nor_added(text in "[-+(]?[$€]?[0-9., ]{1,12}[)]?") {
        for mark in [DecimalMark::Point, DecimalMark::Comma] {
            if let Ok(amount) = Amount::parse(&text, mark) {
                let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
                let (read, written) = (digits(&amount.number.to_string()), digits(&text));
                prop_assert_eq!(read.trim_matches('0'), written.trim_matches('0'), "{}", text);
            }
        }
    }
}
