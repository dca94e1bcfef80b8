//! Where a request carries its user's token.
//!
//! The tenants' API reads `Authorization: Bearer`, then the header `Token`, then the cookie `token`, then `?token=`.
//! The legacy API reads in the order of the legacy application: the cookie, then `?token=`, then the header `Token`,
//! then the field `token` of a JSON body, and at last `Authorization: Bearer`, which the legacy application does not
//! know. The first token found counts, even if it is invalid, because the client sent it on purpose.

use axum::extract::Query;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use serde::Deserialize;
use std::borrow::Cow;

const TOKEN: HeaderName = HeaderName::from_static("token");

/// The token of a request to the tenants' API.
pub fn in_request(parts: &Parts) -> Option<Cow<'_, str>> {
    let headers = &parts.headers;
    let in_headers = bearer(headers).or_else(|| own_header(headers)).or_else(|| cookie(headers));
    in_headers.map(Cow::Borrowed).or_else(|| query(parts)).filter(|token| !token.is_empty())
}

/// The token of a request to the legacy API.
pub fn in_legacy_request<'r>(parts: &'r Parts, body: &[u8]) -> Option<Cow<'r, str>> {
    let headers = &parts.headers;
    let given = |token: &&str| !token.is_empty();
    let borrowed = |token: Option<&'r str>| token.filter(given).map(Cow::Borrowed);
    borrowed(cookie(headers))
        .or_else(|| query(parts).filter(|token| !token.is_empty()))
        .or_else(|| borrowed(own_header(headers)))
        .or_else(|| in_body(body).filter(|token| !token.is_empty()))
        .or_else(|| borrowed(bearer(headers)))
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
    serde_json::from_slice::<Body>(body).ok().map(|body| body.token.into())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get_all(header::AUTHORIZATION).iter().find_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    })
}

fn own_header(headers: &HeaderMap) -> Option<&str> {
    headers.get(TOKEN)?.to_str().ok().map(str::trim)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers.get_all(header::COOKIE).iter().find_map(|value| {
        let pairs = value.to_str().ok()?.split(';');
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| name.trim() == "token")
            .map(|(_, token)| token.trim())
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
            ("?limit=1&token=d%2De&token=f", vec![], Some("d-e")),
            ("", vec![("authorization", "Basic dTpw"), ("token", "b")], Some("b")),
            ("", vec![("authorization", "Bearer")], None),
            ("", vec![("authorization", "Bearer ")], None),
            ("", vec![("token", "")], None),
            ("", vec![("cookie", "xtoken=abc; tokens=def")], None),
            ("", vec![("cookie", "token=")], None),
            ("", vec![("token", "tök")], None),
            ("?token=", vec![], None),
            ("?xtoken=a", vec![], None),
            ("", vec![], None),
        ] {
            assert_eq!(in_request(&parts(query, &headers)).as_deref(), expected, "{query} {headers:?}");
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
