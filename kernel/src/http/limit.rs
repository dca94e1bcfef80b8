//! `limit`: how many rows a page of a list may have, the same in both APIs.

use super::ApiError;

/// A page's rows as asked: from 1 to `most`, `usual` when nothing is said. 422 `invalid_limit` otherwise.
pub fn parse_limit(text: Option<&str>, usual: u32, most: u32) -> Result<u32, ApiError> {
    match text.map(str::parse::<u32>) {
        None => Ok(usual),
        Some(Ok(limit)) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => Err(ApiError::invalid("limit", "limit", format!("a number from 1 to {most}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_bounded() {
        assert_eq!(parse_limit(None, 50, 500).unwrap(), 50);
        assert_eq!(parse_limit(Some("500"), 50, 500).unwrap(), 500);
        for bad in ["0", "501", "-1", "", "ten"] {
            assert!(parse_limit(Some(bad), 50, 500).is_err(), "{bad}");
        }
    }
}
