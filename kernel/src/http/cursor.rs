//! Cursors: where the next page of a list begins. Clients treat a cursor as opaque; it is base64url of the place of the
//! last row.
//!
//! **Guarantee.** [`decode`] is the only decoder of both APIs. It accepts exactly the texts that [`encode`] makes, so
//! nothing reaches a database that no list has issued.
//!
//! A cursor is a place in the order of the list and not a number of rows to skip. So rows that are added or removed
//! between two pages neither repeat nor hide others. A cursor grants nothing, because the same checks apply to every
//! page.

use super::ApiError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt::Display;

/// The cursor of a place, which is its text.
pub fn encode(place: &impl Display) -> String {
    URL_SAFE_NO_PAD.encode(place.to_string())
}

/// The place in a cursor. `parse` reads its text.
///
/// # Errors
/// 422 `invalid_cursor` if `parse` finds no place, or the cursor is not the one of that place.
pub fn decode<P: Display>(cursor: &str, parse: impl FnOnce(&str) -> Option<P>) -> Result<P, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let place = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| parse(&text));
    place
        .filter(|place| encode(place) == cursor)
        .ok_or_else(|| ApiError::invalid("cursor", "cursor", "not a next_cursor of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cursor_that_was_issued_is_decoded() {
        let number = |text: &str| text.parse::<u64>().ok();
        assert_eq!(decode(&encode(&7_u64), number).unwrap(), 7);
        for bad in ["", "7", "!!", "Nw==", &encode(&"+7"), &encode(&"07"), &encode(&" 7"), &encode(&"x")] {
            let error = decode(bad, number).unwrap_err();
            assert_eq!(error.code().name(), "invalid_cursor", "{bad}");
        }
    }
}
