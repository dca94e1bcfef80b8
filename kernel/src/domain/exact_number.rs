//! Numbers in JSON texts that would not come back as they were sent.
//!
//! A JSON number may have any number of digits. What we store of a value of free form is a 64-bit integer or a double,
//! and a number that is neither would silently become another one. Such a number is refused.

/// The first number of a JSON text that would be stored as another one. The text must be valid JSON.
pub fn inexact_number(json: &str) -> Option<&str> {
    let (bytes, mut at, mut in_text) = (json.as_bytes(), 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => in_text = !in_text,
            b'\\' if in_text => at += 1,
            b'-' | b'0'..=b'9' if !in_text => {
                let end = bytes[at..].iter().position(|b| !is_part_of_number(*b)).map_or(bytes.len(), |end| at + end);
                let number = &json[at..end];
                if !is_exact(number) {
                    return Some(number);
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn is_part_of_number(b: u8) -> bool {
    b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E')
}

/// Whether the number that is stored for this text has the same value.
fn is_exact(text: &str) -> bool {
    let stored: Option<serde_json::Number> = serde_json::from_str(text).ok();
    stored.is_some_and(|stored| value(&stored.to_string()) == value(text))
}

/// The value of a number: its sign, its digits without zeros at either end, and the power of ten of the last digit.
fn value(text: &str) -> Option<(bool, String, i64)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - significant.len()).ok()?;
    let fraction = i64::try_from(fraction.len()).ok()?;
    let power = exponent.parse::<i64>().ok()?.checked_sub(fraction)?.checked_add(dropped)?;
    match significant.trim_start_matches('0') {
        "" => Some((negative, String::new(), 0)),
        significant => Some((negative, significant.to_owned(), power)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_would_change_is_found() {
        for json in [
            "12345678901234567890123",
            "0.1000000000000000055",
            "1e400",
            "-9223372036854775809",
            "1e99999999999999999999",
            "1.5e-9223372036854775808",
            "10e9223372036854775807",
            "1234567890.12345678901",
        ] {
            assert_eq!(inexact_number(json), Some(json));
            assert_eq!(inexact_number(&format!(r#"{{"a": ["\"7", 1, {{"b":{json}}}]}}"#)), Some(json));
        }
    }

    #[test]
    fn numbers_that_come_back_are_exact() {
        for json in [
            "0",
            "-0.0",
            "1.50",
            "1e2",
            "100",
            "0.1",
            "-12.5e-3",
            "18446744073709551615",
            "-9223372036854775808",
            "5e-324",
            "1.7976931348623157e308",
            r#"{"id": "12345678901234567890123", "n": [1, 2.5]}"#,
        ] {
            assert_eq!(inexact_number(json), None, "{json}");
        }
    }
}
