//! [`Price`]: an amount that a client sends, exact from its text to the DECIMAL(10,2) column.

use std::fmt;
use std::str::FromStr;

/// 0.00 to 99999999.99, in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price(u64);

/// The most digits before the decimal point that the column can store.
const WHOLE_DIGITS: usize = 8;

/// The text is not a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a decimal number from 0.00 to 99999999.99 with at most two decimals, such as \"9.90\"")]
pub struct InvalidPrice;

impl FromStr for Price {
    type Err = InvalidPrice;

    fn from_str(text: &str) -> Result<Self, InvalidPrice> {
        let (whole, decimals) = parts(text)?;
        if decimals.len() > 2 { Err(InvalidPrice) } else { hundredths(whole, decimals).map(Self) }
    }
}

impl Price {
    /// Reads a number with any number of decimals and rounds it to hundredths, halves up. The database rounds numbers
    /// that old clients compute (`59.699999999999996`) in the same way.
    pub fn rounded(text: &str) -> Result<Self, InvalidPrice> {
        let (whole, decimals) = parts(text)?;
        let up = decimals.as_bytes().get(2).is_some_and(|digit| *digit >= b'5');
        let price = hundredths(whole, &decimals[..decimals.len().min(2)])? + u64::from(up);
        if price < 10_u64.pow(WHOLE_DIGITS as u32 + 2) { Ok(Self(price)) } else { Err(InvalidPrice) }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// The digits before and after the decimal point.
fn parts(text: &str) -> Result<(&str, &str), InvalidPrice> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('.') {
        None if digits(text) => Ok((text, "")),
        Some((whole, decimals)) if digits(whole) && digits(decimals) => Ok((whole, decimals)),
        _ => Err(InvalidPrice),
    }
}

fn hundredths(whole: &str, decimals: &str) -> Result<u64, InvalidPrice> {
    if whole.len() > WHOLE_DIGITS {
        return Err(InvalidPrice);
    }
    format!("{whole}{decimals:0<2}").parse().map_err(|_| InvalidPrice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_exact_or_refused() {
        for (text, price) in [
            ("0", "0.00"),
            ("0.00", "0.00"),
            ("0.07", "0.07"),
            ("9.9", "9.90"),
            ("00000009.90", "9.90"),
            ("99999999.99", "99999999.99"),
        ] {
            assert_eq!(text.parse::<Price>().map(|price| price.to_string()).as_deref(), Ok(price), "{text}");
        }
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1,0",
            "1e2",
            "0x1",
            "1.234",
            "1.2.3",
            "100000000",
            "١",
            "NaN",
        ] {
            assert_eq!(bad.parse::<Price>(), Err(InvalidPrice), "{bad:?}");
        }
    }

    #[test]
    fn a_price_is_rounded_as_the_database_rounds() {
        for (text, price) in [
            ("59.699999999999996", "59.70"),
            ("0.005", "0.01"),
            ("0.0049", "0.00"),
            ("1.995", "2.00"),
            ("19.9", "19.90"),
            ("7", "7.00"),
            ("99999999.994", "99999999.99"),
        ] {
            assert_eq!(Price::rounded(text).map(|price| price.to_string()).as_deref(), Ok(price), "{text}");
        }
        assert_eq!(Price::rounded("99999999.995"), Err(InvalidPrice));
    }
}
