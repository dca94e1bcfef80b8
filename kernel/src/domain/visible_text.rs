//! [`VisibleText`]: a name that people read. It can be seen, and it does not change how the text around it is written.
//!
//! A name of invisible characters looks like another name, and a character that turns the writing direction shows the
//! rest of a line in another order than it has. Joiners and variation selectors stay allowed where scripts and emoji
//! need them, which is not after a letter that has an upper and a lower case. One name has one spelling: letters and
//! their accents are composed (NFC).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// A composed text without blanks at its ends, without control characters and without invisible ones. It may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibleText(String);

/// Why a text is not visible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvisibleText {
    /// A control character, an invisible one, or one that turns the writing direction.
    #[error("the character U+{:04X} cannot be seen", *.0 as u32)]
    Character(char),
    /// The text consists only of characters that add to others.
    #[error("nothing of it can be seen")]
    Nothing,
    /// The text is too short or too long.
    #[error("{} to {} characters", .0.start(), .0.end())]
    Length(RangeInclusive<usize>),
}

impl VisibleText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text without the blanks at its ends, if it has so many characters. A column of the database counts alike.
    ///
    /// # Errors
    /// Why it is not such a text.
    pub fn within(text: &str, length: RangeInclusive<usize>) -> Result<Self, InvisibleText> {
        let text: Self = text.parse()?;
        if length.contains(&text.0.chars().count()) { Ok(text) } else { Err(InvisibleText::Length(length)) }
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl FromStr for VisibleText {
    type Err = InvisibleText;

    fn from_str(text: &str) -> Result<Self, InvisibleText> {
        let text: String = text.trim().nfc().collect();
        let refused = text.chars().find(|c| is_refused(*c)).or_else(|| needless_joiner(&text));
        match refused {
            Some(refused) => Err(InvisibleText::Character(refused)),
            None if !text.is_empty() && text.chars().all(|c| is_addition(c) || is_blank(c)) => {
                Err(InvisibleText::Nothing)
            }
            None => Ok(Self(text)),
        }
    }
}

impl fmt::Display for VisibleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_refused(c: char) -> bool {
    match c {
        c if is_joiner(c) => false,
        // Signs that Unicode calls formats and that are drawn around the digits after them.
        '\u{600}'..='\u{605}'
        | '\u{6DD}'
        | '\u{70F}'
        | '\u{890}'..='\u{891}'
        | '\u{8E2}'
        | '\u{110BD}'
        | '\u{110CD}' => false,
        // Letters and marks that are drawn as nothing.
        '\u{34F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{3164}' | '\u{FFA0}' => true,
        c => matches!(
            c.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
        ),
    }
}

/// The first joiner or variation selector that has no effect on the character before it, so it can only make two equal
/// names differ. A digit may have a selector within the sign of a key (`1\u{FE0F}\u{20E3}`).
fn needless_joiner(text: &str) -> Option<char> {
    let mut before = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if is_joiner(c) || is_selector(c) {
            let is_of_key = c == '\u{FE0F}' && rest.peek() == Some(&'\u{20E3}');
            if before.is_some_and(is_never_joined) && !is_of_key {
                return Some(c);
            }
        } else if !is_addition(c) {
            before = Some(c);
        }
    }
    None
}

/// Whether a character is of ASCII, or a letter that has an upper and a lower case. The sign ℹ is such a letter by its
/// category, and an emoji with a selector.
fn is_never_joined(c: char) -> bool {
    use GeneralCategory::{LowercaseLetter, TitlecaseLetter, UppercaseLetter};
    let is_cased = matches!(c.general_category(), LowercaseLetter | TitlecaseLetter | UppercaseLetter);
    c.is_ascii() || (is_cased && c != 'ℹ')
}

/// The zero-width non-joiner and joiner.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

fn is_selector(c: char) -> bool {
    matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
}

/// Whether a character only adds to the one before it.
fn is_addition(c: char) -> bool {
    is_joiner(c) || matches!(c.general_category(), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark)
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{2800}'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, InvisibleText> {
        text.parse::<VisibleText>().map(VisibleText::into_string)
    }

    #[test]
    fn names_of_all_scripts_are_visible() {
        for name in [
            "Acme",
            "学校",
            "مدرسة",
            "می\u{200C}خواهم",
            "👩\u{200D}🏫",
            "❤\u{FE0F}",
            "🅰\u{FE0F} ℹ\u{FE0F}",
            "1\u{FE0F}\u{20E3}",
            "葛\u{E0100}城",
            "Zoé",
            "",
        ] {
            assert_eq!(parse(name).as_deref(), Ok(name));
            assert!(VisibleText::within(name, 0..=10).is_ok() && VisibleText::within(name, 11..=20).is_err());
        }
        assert_eq!(parse(" \u{3000}Acme School\t").as_deref(), Ok("Acme School"));
    }

    #[test]
    fn one_name_has_one_spelling() {
        assert_eq!(parse("Zoe\u{301}").as_deref(), Ok("Zoé"));
        for (name, hidden) in [
            ("a\u{200D}nn", '\u{200D}'),
            ("ann\u{FE0F}", '\u{FE0F}'),
            ("é\u{200C}", '\u{200C}'),
            ("x\u{301}\u{200D}", '\u{200D}'),
            ("я\u{E0100}", '\u{E0100}'),
            ("1\u{FE0F}", '\u{FE0F}'),
            ("a \u{200D}b", '\u{200D}'),
        ] {
            assert_eq!(parse(name), Err(InvisibleText::Character(hidden)), "{name:?}");
        }
    }

    #[test]
    fn a_hidden_character_is_refused_and_named() {
        for hidden in [
            '\u{200B}',
            '\u{202E}',
            '\u{2066}',
            '\u{FEFF}',
            '\u{AD}',
            '\u{200F}',
            '\u{3164}',
            '\u{E0041}',
            '\u{7}',
            '\u{2028}',
        ] {
            assert_eq!(parse(&format!("a{hidden}b")), Err(InvisibleText::Character(hidden)));
        }
        assert_eq!(InvisibleText::Character('\u{202E}').to_string(), "the character U+202E cannot be seen");
        for nothing in ["\u{200D}", "\u{2800}\u{2800}", "\u{301} \u{20DD}"] {
            assert_eq!(parse(nothing), Err(InvisibleText::Nothing), "{nothing:?}");
        }
    }
}
