//! [`Money`] and [`Moment`]: values that pass from a database into an answer without loss.

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Utc};
use serde::{Serialize, Serializer};
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlTypeInfo, MySqlValueRef};
use sqlx::{Decode, MySql, Type, TypeInfo, ValueRef};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type as JsonType};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

/// An amount of money, as the digits of its DECIMAL column: a float would change some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(pattern = r"^-?[0-9]+\.[0-9]{2}$", example = "99.90")]
pub struct Money<'r>(&'r str);

impl Money<'_> {
    /// The digits of the column.
    pub fn digits(&self) -> &str {
        self.0
    }

    /// The amount in hundredths, exactly; `None` if it does not have two decimals.
    pub fn hundredths(self) -> Option<i64> {
        let (whole, rest) = self.0.split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        if rest.len() != 2 || !digits(rest) || !digits(whole.strip_prefix('-').unwrap_or(whole)) {
            return None;
        }
        format!("{whole}{rest}").parse().ok()
    }
}

impl std::fmt::Display for Money<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl Type<MySql> for Money<'_> {
    fn type_info() -> MySqlTypeInfo {
        <str as Type<MySql>>::type_info()
    }

    fn compatible(column: &MySqlTypeInfo) -> bool {
        column.name() == "DECIMAL"
    }
}

impl<'r> Decode<'r, MySql> for Money<'r> {
    fn decode(value: MySqlValueRef<'r>) -> Result<Self, BoxDynError> {
        <&str as Decode<MySql>>::decode(value).map(Self)
    }
}

/// A moment in UTC, RFC 3339 in answers: `2025-01-01T00:00:00Z`, with six decimals if the column has a fraction. A zero
/// date, which old databases hold for "never", is null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub Option<NaiveDateTime>);

impl Moment {
    /// Writes the text of an answer into the buffer and returns its length. Chrono's formatter is slower, and an answer
    /// often has twenty moments and more.
    fn text(time: &NaiveDateTime, buffer: &mut [u8; 27]) -> usize {
        let mut put = |at: usize, digits: usize, mut number: u32| {
            for place in (at..at + digits).rev() {
                buffer[place] = b'0' + u8::try_from(number % 10).unwrap_or_default();
                number /= 10;
            }
        };
        put(0, 4, u32::try_from(time.year()).unwrap_or_default());
        put(5, 2, time.month());
        put(8, 2, time.day());
        put(11, 2, time.hour());
        put(14, 2, time.minute());
        put(17, 2, time.second());
        let micros = time.nanosecond() / 1000;
        put(20, 6, micros);
        for (at, sign) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.')] {
            buffer[at] = sign;
        }
        let length = if micros == 0 { 19 } else { 26 };
        buffer[length] = b'Z';
        length + 1
    }
}

impl Type<MySql> for Moment {
    fn type_info() -> MySqlTypeInfo {
        <NaiveDateTime as Type<MySql>>::type_info()
    }

    fn compatible(column: &MySqlTypeInfo) -> bool {
        <NaiveDateTime as Type<MySql>>::compatible(column) || <DateTime<Utc> as Type<MySql>>::compatible(column)
    }
}

impl<'r> Decode<'r, MySql> for Moment {
    fn decode(value: MySqlValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.is_null() {
            Ok(Self(None))
        } else {
            <NaiveDateTime as Decode<MySql>>::decode(value).map(Some).map(Self)
        }
    }
}

impl ToSchema for Moment {}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([JsonType::String, JsonType::Null]))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(time) = &self.0 else { return serializer.serialize_none() };
        let mut buffer = [0; 27];
        let length = Self::text(time, &mut buffer);
        serializer.serialize_str(std::str::from_utf8(&buffer[..length]).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(moment: &str) -> String {
        serde_json::to_string(&Moment(Some(moment.parse().unwrap()))).unwrap()
    }

    #[test]
    fn a_moment_is_rfc_3339_in_utc() {
        assert_eq!(json("2025-01-01T00:00:00"), r#""2025-01-01T00:00:00Z""#);
        assert_eq!(json("1999-12-31T23:59:59.000001"), r#""1999-12-31T23:59:59.000001Z""#);
        assert_eq!(json("9999-12-31T23:59:59.999999"), r#""9999-12-31T23:59:59.999999Z""#);
        assert_eq!(serde_json::to_string(&Moment(None)).unwrap(), "null");
    }

    #[test]
    fn a_moment_survives_a_round_trip_through_json() {
        for text in ["2025-01-01T00:00:00", "2024-02-29T12:34:56.789012"] {
            let back: DateTime<Utc> = serde_json::from_str(&json(text)).unwrap();
            assert_eq!(back.naive_utc(), text.parse::<NaiveDateTime>().unwrap());
        }
    }

    #[test]
    fn money_is_added_up_exactly_or_not_at_all() {
        for (text, hundredths) in [
            ("0.00", Some(0)),
            ("12.30", Some(1230)),
            ("-0.05", Some(-5)),
            ("99999999.99", Some(9_999_999_999)),
            ("1", None),
            ("1.5", None),
            ("1.500", None),
            (".50", None),
            ("1.-5", None),
            ("99999999999999999999.00", None),
        ] {
            assert_eq!(Money(text).hundredths(), hundredths, "{text}");
        }
    }

    #[test]
    fn money_is_a_string_of_its_digits() {
        assert_eq!(serde_json::to_string(&Money("99999999.90")).unwrap(), r#""99999999.90""#);
    }
}
