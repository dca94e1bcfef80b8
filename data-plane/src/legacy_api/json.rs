//! JSON exactly as the legacy application wrote it (Python's `json.dumps`, called by Flask's `jsonify`): ASCII only, no
//! blanks, and a line feed at the end. Members keep the order of the types, which is alphabetical.

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use std::io::{self, Write};

pub fn text(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(1024);
    value.serialize(&mut Serializer::with_formatter(&mut text, Ascii))?;
    text.push(b'\n');
    Ok(text)
}

struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut units = [0; 2];
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| !(' '..='~').contains(&c)) {
            let (plain, from) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let Some(c) = from.chars().next() else { break };
            for unit in c.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &from[c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_equals_that_of_python() {
        // The expected texts come from `json.dumps(value, separators=(",", ":"))` in Python 3.11.
        for (value, expected) in [
            (json!("Zoë 李 😀"), r#""Zo\u00eb \u674e \ud83d\ude00""#),
            (json!("a\"\\/\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}\u{80}"), r#""a\"\\/\n\r\t\b\f\u0001\u001f\u007f\u0080""#),
            (json!([1.0, 0.1, 99_999_999.99, 0.01, -5.0, 100.5]), "[1.0,0.1,99999999.99,0.01,-5.0,100.5]"),
            (json!({"a": null, "b": [true, 502]}), r#"{"a":null,"b":[true,502]}"#),
            (json!(""), r#""""#),
        ] {
            assert_eq!(String::from_utf8(text(&value).unwrap()).unwrap(), format!("{expected}\n"));
        }
    }
}
