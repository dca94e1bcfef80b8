//! The query parameter `limit`: how many rows a page of a list may have. Both APIs read it alike.

use super::ApiError;

/// The number of rows of a page: from 1 to `most`, and `usual` if the client sends none.
///
/// # Errors
/// 422 `invalid_limit` if it is anything else.
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
