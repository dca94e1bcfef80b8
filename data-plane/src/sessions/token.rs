//! Where a request carries its user's token.
//!
//! The tenants' API reads `Authorization: Bearer`, then the header `Token`, then the cookie `token`. It never reads
//! `?token=`, because addresses end up in logs and histories. The legacy API reads in the order of the legacy
//! application: the cookie, then `?token=`, then the header `Token`, then the field `token` of a JSON body, and at last
//! `Authorization: Bearer`, which the legacy application does not know. The first token found counts, even if it is
//! invalid, because the client sent it on purpose.

use axum::extract::Query;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use kernel::http::without_mark;
use serde::Deserialize;
use std::borrow::Cow;

const TOKEN: HeaderName = HeaderName::from_static("token");

/// The token of a request to the tenants' API.
pub fn in_request(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    bearer(headers).or_else(|| own_header(headers)).or_else(|| cookie(headers)).filter(|token| !token.is_empty())
}

/// The token of a request to the legacy API.
pub fn in_legacy_request<'r>(parts: &'r Parts, body: &[u8]) -> Option<Cow<'r, str>> {
    let headers = &parts.headers;
    let given = |token: &Cow<'_, str>| !token.is_empty();
    cookie(headers)
        .filter(given)
        .or_else(|| query(parts).filter(given))
        .or_else(|| own_header(headers).filter(given))
        .or_else(|| in_body(body).filter(given))
        .or_else(|| bearer(headers).filter(given))
}

fn query(parts: &Parts) -> Option<Cow<'static, str>> {
    parts.uri.query().filter(|query| query.contains("token="))?;
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).ok()?;
    pairs.into_iter().find(|(name, _)| name == "token").map(|(_, token)| token.into())
}

#[derive(Deserialize)]
struct Body {
    token: String,
}

fn in_body<'r>(body: &[u8]) -> Option<Cow<'r, str>> {
    serde_json::from_slice::<Body>(without_mark(body)).ok().map(|body| body.token.into())
}

// A value that is not ASCII is still the one that the client sent, so it counts, and belongs to no session.

fn bearer(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    headers.get_all(header::AUTHORIZATION).iter().find_map(|value| {
        let value = String::from_utf8_lossy(value.as_bytes());
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned().into())
    })
}

fn own_header(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    Some(String::from_utf8_lossy(headers.get(TOKEN)?.as_bytes().trim_ascii()))
}

/// The cookie `token`, with or without the quotes that RFC 6265 allows. What other cookies contain does not matter.
fn cookie(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let lines = headers.get_all(header::COOKIE).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        (name == b"token").then(|| String::from_utf8_lossy(bare))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderValue, Request};

    fn parts(query: &str, headers: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::builder().uri(format!("/api/orders{query}")).body(()).unwrap();
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request.headers_mut().append(HeaderName::from_static(name), value);
        }
        request.into_parts().0
    }

    #[test]
    fn the_first_token_found_counts() {
        for (query, headers, expected) in [
            ("", vec![("authorization", "Bearer abc")], Some("abc")),
            ("", vec![("authorization", "bearer abc")], Some("abc")),
            ("", vec![("authorization", "BEARER  abc ")], Some("abc")),
            ("", vec![("token", "abc")], Some("abc")),
            ("", vec![("cookie", "token=abc")], Some("abc")),
            ("", vec![("cookie", "a=b; token=abc; c=d")], Some("abc")),
            ("", vec![("cookie", "a=b"), ("cookie", "token=abc")], Some("abc")),
            ("", vec![("cookie", "token=a=b")], Some("a=b")),
            ("", vec![("cookie", "token=c"), ("token", "b"), ("authorization", "Bearer a")], Some("a")),
            ("?token=d", vec![("cookie", "token=c"), ("token", "b")], Some("b")),
            ("?token=d", vec![("cookie", "token=c")], Some("c")),
            ("?token=d", vec![], None),
            ("", vec![("authorization", "Basic dTpw"), ("token", "b")], Some("b")),
            ("", vec![("authorization", "Bearer")], None),
            ("", vec![("authorization", "Bearer ")], None),
            ("", vec![("token", "")], None),
            ("", vec![("cookie", "xtoken=abc; tokens=def")], None),
            ("", vec![("cookie", "token=")], None),
            ("", vec![("token", "tök")], Some("tök")),
            ("", vec![("authorization", "Bearer tök"), ("cookie", "token=abc")], Some("tök")),
            ("", vec![("cookie", "name=Zoë; token=abc")], Some("abc")),
            ("", vec![("cookie", "odd; token=\"abc\"")], Some("abc")),
            ("", vec![], None),
        ] {
            assert_eq!(in_request(&parts(query, &headers).headers).as_deref(), expected, "{query} {headers:?}");
        }
    }

    #[test]
    fn legacy_requests_are_read_in_the_legacy_order() {
        let body = br#"{"shifu_id": "s", "token": "d"}"#;
        for (query, headers, body, expected) in [
            (
                "?token=b",
                vec![("cookie", "token=a"), ("token", "c"), ("authorization", "Bearer e")],
                &body[..],
                Some("a"),
            ),
            ("?token=b", vec![("token", "c")], body, Some("b")),
            ("?limit=1&token=d%2De&token=f", vec![], b"", Some("d-e")),
            ("?xtoken=a", vec![], b"", None),
            ("", vec![("token", "c")], body, Some("c")),
            ("", vec![("authorization", "Bearer e")], body, Some("d")),
            ("", vec![("authorization", "Bearer e")], b"", Some("e")),
            // An empty token counts as none, as in the legacy application.
            ("?token=", vec![("cookie", "token="), ("token", "c")], b"", Some("c")),
            ("", vec![], br#"{"token": 7}"#, None),
            ("", vec![], b"[", None),
        ] {
            let parts = parts(query, &headers);
            assert_eq!(in_legacy_request(&parts, body).as_deref(), expected, "{query} {headers:?}");
        }
    }
}
