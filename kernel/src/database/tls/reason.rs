//! The reason of a failed TLS handshake, in the words of an operator.

use rustls::CertificateError;
use std::error::Error;
use std::io;
use std::sync::Arc;

/// Why no encrypted connection could be opened, if an error in the chain of `error` says so. Each library wraps that
/// error in another way.
pub fn reason(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(words(error));
        }
        // The source of an I/O error is the source of the error that it wraps, so the wrapped error itself would be
        // skipped.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .or_else(|| error.downcast_ref::<Arc<io::Error>>().map(Arc::as_ref))
            .and_then(io::Error::get_ref);
        if let Some(wrapped) = wrapped {
            next = Some(wrapped);
        } else if let Some(wrapped) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            next = Some(wrapped.as_ref());
        } else if error.to_string() == NO_TLS {
            return Some("it offers no TLS");
        } else {
            next = error.source();
        }
    }
    None
}

/// SQLx's message. There is no error type for it.
const NO_TLS: &str = "server does not support TLS";

fn words(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is signed by no authority that is trusted here (TLS_CA)"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another host than the one in the URL"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; check the clocks"
            }
            _ => "its certificate is not acceptable",
        },
        rustls::Error::InvalidMessage(_) => "it does not speak TLS on this port",
        rustls::Error::AlertReceived(_) => "it broke off the TLS handshake",
        _ => "no TLS connection could be opened",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_however_it_is_wrapped() {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let io = || io::Error::new(io::ErrorKind::InvalidData, unknown());
        let of_sqlx: [sqlx::Error; 2] = [sqlx::Error::Io(io()), sqlx::Error::Tls(Box::new(unknown()))];
        for error in of_sqlx {
            assert!(reason(&error).unwrap().contains("TLS_CA"), "{error}");
        }
        let of_lapin = lapin::Error::from(io());
        assert!(reason(&of_lapin).unwrap().contains("TLS_CA"), "{of_lapin}");
        let of_redis = redis::RedisError::from(io());
        assert!(reason(&of_redis).unwrap().contains("TLS_CA"), "{of_redis}");
        assert_eq!(reason(&sqlx::Error::Tls(NO_TLS.into())), Some("it offers no TLS"));
        assert_eq!(reason(&sqlx::Error::PoolTimedOut), None);
        assert_eq!(reason(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
    }
}
