//! Lists in headers, such as `text/html;q=0.5, */*`: RFC 9110, 5.6.1 and 12.4.2. A list may stand in several lines of
//! one header. An entry that is malformed is passed over and spoils no other one.

use axum::http::{HeaderMap, HeaderName, header};

/// An entry of a list.
pub(super) struct Entry<'h> {
    pub value: &'h str,
    /// How much the client prefers it, from 0 (not at all) to 1.
    pub weight: f32,
}

/// The entries of a list whose entries may have a weight.
pub(super) fn entries(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = Entry<'_>> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).filter_map(entry)
}

fn entry(text: &[u8]) -> Option<Entry<'_>> {
    let mut parts = std::str::from_utf8(text).ok()?.split(';').map(str::trim);
    let value = parts.next().filter(|value| !value.is_empty())?;
    let weight = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('='));
    Some(Entry { value, weight: weight.map_or(Some(1.0), parse_weight)? })
}

/// A weight: a number from 0 to 1 with at most three digits after the point.
fn parse_weight(text: &str) -> Option<f32> {
    let text = text.trim();
    let formed = (1..=5).contains(&text.len())
        && text.starts_with(['0', '1'])
        && text
            .bytes()
            .skip(1)
            .enumerate()
            .all(|(at, byte)| if at == 0 { byte == b'.' } else { byte.is_ascii_digit() });
    text.parse().ok().filter(|weight| formed && *weight <= 1.0)
}

/// Whether the client asks for this media type by its name.
pub fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    entries(headers, header::ACCEPT).any(|entry| entry.value.eq_ignore_ascii_case(media_type) && entry.weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn asks(lines: &[&[u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT, HeaderValue::from_bytes(line).unwrap());
        }
        accepts(&headers, "text/event-stream")
    }

    #[test]
    fn a_media_type_is_accepted_by_its_whole_name() {
        for lines in [
            &[&b"text/event-stream"[..]][..],
            &[b"application/json, Text/Event-Stream;q=0.5"],
            &[b"application/json", b"text/event-stream"],
            &[b"\xff\xfe, text/event-stream"],
            &[b"text/event-stream; charset=utf-8; q=0.001"],
        ] {
            assert!(asks(lines), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[&b"*/*"[..]][..],
            &[b"text/event-streams"],
            &[b"application/json;x=text/event-stream"],
            &[b"text/event-stream;q=0"],
            &[b"text/event-stream;q=0.000"],
            &[b"text/event-stream;q=+1"],
            &[b"text/event-stream;q=inf"],
            &[b"text/event-stream;q=1.001"],
        ] {
            assert!(!asks(lines), "{lines:?}");
        }
    }
}
