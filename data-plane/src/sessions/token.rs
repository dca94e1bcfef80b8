//! Where a request carries its user's token: `Authorization: Bearer`, then the header `Token`, then the cookie `token`.
//!
//! The first one found counts, also when it is no good: whoever sends a token means it.

use axum::http::{HeaderMap, HeaderName, header};

const TOKEN: HeaderName = HeaderName::from_static("token");

/// The token of a request, if it carries one.
pub fn of(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).or_else(|| own_header(headers)).or_else(|| cookie(headers)).filter(|token| !token.is_empty())
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
    use axum::http::HeaderValue;

    fn token(headers: &[(&'static str, &str)]) -> Option<String> {
        let pairs = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap()));
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value);
        }
        of(&map).map(str::to_owned)
    }

    #[test]
    fn the_first_place_that_has_one_counts() {
        for (headers, expected) in [
            (vec![("authorization", "Bearer abc")], Some("abc")),
            (vec![("authorization", "bearer abc")], Some("abc")),
            (vec![("authorization", "BEARER  abc ")], Some("abc")),
            (vec![("token", "abc")], Some("abc")),
            (vec![("cookie", "token=abc")], Some("abc")),
            (vec![("cookie", "a=b; token=abc; c=d")], Some("abc")),
            (vec![("cookie", "a=b"), ("cookie", "token=abc")], Some("abc")),
            (vec![("cookie", "token=a=b")], Some("a=b")),
            (vec![("cookie", "token=c"), ("token", "b"), ("authorization", "Bearer a")], Some("a")),
            (vec![("cookie", "token=c"), ("token", "b")], Some("b")),
            (vec![("authorization", "Basic dTpw"), ("token", "b")], Some("b")),
            (vec![("authorization", "Bearer")], None),
            (vec![("authorization", "Bearer ")], None),
            (vec![("token", "")], None),
            (vec![("cookie", "xtoken=abc; tokens=def")], None),
            (vec![("cookie", "token=")], None),
            (vec![("token", "tök")], None),
            (vec![], None),
        ] {
            assert_eq!(token(&headers).as_deref(), expected, "{headers:?}");
        }
    }
}
