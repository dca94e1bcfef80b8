//! The language of messages: English, unless the caller prefers Chinese.

use super::list::entries;
use axum::http::{HeaderMap, header};

/// A language that messages exist in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// The supported language with the highest weight in `Accept-Language`.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut best = (0.0, Self::English);
        for entry in entries(headers, header::ACCEPT_LANGUAGE) {
            let language = match entry.value.split('-').next() {
                Some(tag) if tag.eq_ignore_ascii_case("zh") => Self::Chinese,
                Some(tag) if tag.eq_ignore_ascii_case("en") || tag == "*" => Self::English,
                _ => continue,
            };
            if entry.weight > best.0 {
                best = (entry.weight, language);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_weight_wins() {
        let of = |text: &str| Language::of(&HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, text.parse().unwrap())]));
        assert_eq!(of("zh-CN,zh;q=0.9,en;q=0.8"), Language::Chinese);
        assert_eq!(of("en-US,en;q=0.9,zh;q=0.8"), Language::English);
        assert_eq!(of("de, zh;q=0.3"), Language::Chinese);
        assert_eq!(of("fr;q=x, zh"), Language::Chinese);
        assert_eq!(of("en;q=0.5, zh;q=NaN, zh;q=2"), Language::English);
        assert_eq!(Language::of(&HeaderMap::new()), Language::English);
    }
}
