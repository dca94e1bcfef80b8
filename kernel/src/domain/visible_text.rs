//! [`VisibleText`]: a name that people read. It can be seen, and it does not change how the text around it is written.
//!
//! A name of invisible characters looks like another name, and a character that turns the writing direction shows the
//! rest of a line in another order than it has. Joiners and variation selectors stay allowed, because scripts and emoji
//! need them within a word.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// A text without blanks at its ends, without control characters and without invisible ones, which may be empty.
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
        let text = text.trim();
        match text.chars().find(|c| is_refused(*c)) {
            Some(refused) => Err(InvisibleText::Character(refused)),
            None if !text.is_empty() && text.chars().all(|c| is_addition(c) || is_blank(c)) => {
                Err(InvisibleText::Nothing)
            }
            None => Ok(Self(text.to_owned())),
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
        // Zero-width joiner and non-joiner.
        '\u{200C}' | '\u{200D}' => false,
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

/// Whether a character only adds to the one before it.
fn is_addition(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
        || matches!(c.general_category(), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark)
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
        for name in ["Acme", "学校", "مدرسة", "می‌خواهم", "👩\u{200D}🏫", "❤\u{FE0F}", "葛\u{E0100}城", "Zoe\u{301}", ""]
        {
            assert_eq!(parse(name).as_deref(), Ok(name));
            assert!(VisibleText::within(name, 0..=10).is_ok() && VisibleText::within(name, 11..=20).is_err());
        }
        assert_eq!(parse(" \u{3000}Acme School\t").as_deref(), Ok("Acme School"));
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
        for nothing in ["\u{200D}", "\u{2800}\u{2800}", "\u{301} \u{FE0F}"] {
            assert_eq!(parse(nothing), Err(InvisibleText::Nothing), "{nothing:?}");
        }
    }
}
