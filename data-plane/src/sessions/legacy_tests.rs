use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

const SECRET: &str = "the installation's secret";

/// Legacy sessions whose Redis never answers, so every answer comes from the cache.
fn sessions() -> LegacySessions {
    LegacySessions::new(Some(&SECRET.into()), Some(&"redis://127.0.0.1:9/0".into())).unwrap().unwrap()
}

fn token(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn by_hand(header: &str, claims: &str, signature: &str) -> String {
    format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

#[tokio::test]
async fn only_a_token_signed_by_the_installation_names_a_user() {
    let sessions = sessions();
    let claims = json!({"user_id": "u1", "time_stamp": 1_700_000_000.5});
    let good = token(Algorithm::HS256, SECRET, &claims);
    assert_eq!(sessions.signed(&good).unwrap().as_str(), "u1");
    // PyJWT writes the members of the header in another order.
    let pyjwt = jsonwebtoken::crypto::sign(
        by_hand(r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"user_id":"u1","time_stamp":1.5}"#, "")
            .trim_end_matches('.')
            .as_bytes(),
        &EncodingKey::from_secret(SECRET.as_bytes()),
        Algorithm::HS256,
    )
    .unwrap();
    let pyjwt = by_hand(r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"user_id":"u1","time_stamp":1.5}"#, &pyjwt);
    assert_eq!(sessions.signed(&pyjwt).unwrap().as_str(), "u1");

    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let other_body = URL_SAFE_NO_PAD.encode(r#"{"user_id":"u2","time_stamp":1}"#);
    let plain = r#"{"user_id":"u1","time_stamp":1}"#;
    for forged in [
        token(Algorithm::HS256, "another secret", &claims),
        token(Algorithm::HS256, "", &claims),
        token(Algorithm::HS384, SECRET, &claims),
        token(Algorithm::HS512, SECRET, &claims),
        by_hand(r#"{"alg":"none","typ":"JWT"}"#, plain, ""),
        by_hand(r#"{"alg":"None"}"#, plain, signature),
        // The header claims an RSA signature, for which the secret would be taken as the public key.
        by_hand(r#"{"alg":"RS256","typ":"JWT"}"#, plain, signature),
        by_hand(r#"{"alg":"ES256","typ":"JWT"}"#, plain, signature),
        by_hand(r#"{"typ":"JWT"}"#, plain, signature),
        format!("{head}.{other_body}.{signature}"),
        format!("{head}.{body}."),
        format!("{head}.{body}.{}", signature.to_ascii_lowercase()),
        token(Algorithm::HS256, SECRET, &json!({"time_stamp": 1})),
        token(Algorithm::HS256, SECRET, &json!({"user_id": 7})),
        token(Algorithm::HS256, SECRET, &json!({"user_id": ""})),
        token(Algorithm::HS256, SECRET, &json!({"user_id": "u 1"})),
        token(Algorithm::HS256, SECRET, &json!({"user_id": "u1", "nbf": 4_000_000_000_u64})),
        "..".into(),
        "a.b.c".into(),
    ] {
        assert!(matches!(sessions.signed(&forged), Err(NoSession::Unrecognised)), "{forged}");
        assert!(matches!(sessions.user(&forged).await, Err(NoSession::Unrecognised)), "{forged}");
    }
    let over = token(Algorithm::HS256, SECRET, &json!({"user_id": "u1", "exp": 1}));
    assert!(matches!(sessions.signed(&over), Err(NoSession::Ended)));
}

#[tokio::test]
async fn without_redis_only_recently_seen_sessions_count() {
    let sessions = sessions();
    let good = token(Algorithm::HS256, SECRET, &json!({"user_id": "u1", "time_stamp": 1}));
    assert!(matches!(sessions.user(&good).await, Err(NoSession::Unavailable(_))), "the session was never seen");
    let user_id: Arc<UserId> = Arc::new("u1".parse().unwrap());
    let seen = |ago| Known { user_id: Arc::clone(&user_id), asked: Instant::now().checked_sub(ago).unwrap() };
    sessions.known.insert(tokens::digest(&good), seen(FRESH * 2));
    assert_eq!(sessions.user(&good).await.ok(), Some(Arc::clone(&user_id)));
    sessions.known.insert(tokens::digest(&good), seen(OUTAGE_GRACE));
    assert!(matches!(sessions.user(&good).await, Err(NoSession::Unavailable(_))), "the session was seen too long ago");
}

#[test]
fn legacy_sessions_need_a_secret_and_a_redis() {
    let redis: SecretString = "redis://127.0.0.1:9/0".into();
    assert!(LegacySessions::new(None, Some(&redis)).unwrap().is_none());
    let error = LegacySessions::new(Some(&SECRET.into()), None).err().unwrap().to_string();
    assert!(error.contains("LEGACY_SECRET_KEY") && error.contains("REDIS_URL"), "{error}");
    let wrong = LegacySessions::new(Some(&SECRET.into()), Some(&"http://u:secret@h".into())).err().unwrap().to_string();
    assert!(wrong.contains("REDIS_URL") && !wrong.contains("secret@"), "{wrong}");
}

#[test]
fn tokens_of_the_system_database_are_no_legacy_tokens() {
    assert!(LegacySessions::has_legacy_form("a.b.c"));
    assert!(!LegacySessions::has_legacy_form("usr_abc-_"));
    assert!(!LegacySessions::has_legacy_form("a.b"));
    assert!(!LegacySessions::has_legacy_form("a.b.c.d"));
}
