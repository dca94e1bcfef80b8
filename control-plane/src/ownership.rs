//! Proof that a domain belongs to a tenant: a TXT record with a random value, which only the domain's owner can set.
//!
//! **Guarantees.** Where verification is required, a domain serves only after its record was seen. Three kinds of
//! domains need no proof: `TENANT_ID.BASE` for the tenant of this id and a base of [`Ownership::exempt`] (the
//! installation's own), the default tenant's domain from the settings, and a domain that its former tenant takes back
//! while it rests. A check asks DNS each time without a
//! cache, follows CNAMEs, and ends in time; it never happens inside a transaction.

use chrono::NaiveDateTime;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use kernel::crypto::tokens;
use kernel::domain::{DomainName, TenantId};
use kernel::process::config::{ConfigError, Settings, wrong};
use kernel::process::telemetry::names;
use kernel::store::{CommandError, UnitOfWork};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;
use utoipa::ToSchema;

/// Label of the record, below the domain.
const LABEL: &str = "_ai-shifu-challenge";

/// Values of a wrong record that are reported.
const SHOWN: usize = 5;

/// Decides which domains need a proof, and asks DNS for it.
pub struct Ownership {
    required: bool,
    exempt: Vec<DomainName>,
    /// Days until a challenge expires.
    pub days: u32,
    timeout: Duration,
    resolver: TokioResolver,
}

/// What DNS answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The record has the value.
    Proven,
    /// The domain has no such record.
    NoRecord,
    /// The record has other values.
    WrongValue(Vec<String>),
    /// DNS did not answer, or answered with a failure: nothing is known.
    Unanswered,
}

impl Verdict {
    /// The word for it in answers and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::NoRecord => "no_record",
            Self::WrongValue(_) => "wrong_value",
            Self::Unanswered => "unanswered",
        }
    }
}

impl Ownership {
    /// Reads the settings; names the first one that is wrong.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let required = match settings.get::<String>("DOMAIN_VERIFICATION")?.as_str() {
            "required" => true,
            "off" => false,
            _ => return Err(wrong("DOMAIN_VERIFICATION", "required or off")),
        };
        let exempt = settings.get::<String>("DOMAIN_VERIFICATION_EXEMPT")?;
        let exempt = exempt.split(',').map(str::trim).filter(|domain| !domain.is_empty()).map(str::parse);
        let exempt = exempt.collect::<Result<_, _>>().map_err(|error| wrong("DOMAIN_VERIFICATION_EXEMPT", error))?;
        let (days, timeout) = (settings.get("DOMAIN_CHALLENGE_DAYS")?, settings.seconds("DNS_TIMEOUT")?);
        let resolver = resolver(&settings.get::<String>("DNS_RESOLVER")?, timeout)?;
        Ok(Self { required, exempt, days, timeout, resolver })
    }

    /// Whether `tenant` has to prove `domain` before it serves. A domain of another tenant is refused here, before its
    /// owner sets a record in vain; whether the proof succeeds is decided when the record is seen.
    pub async fn is_needed(
        &self,
        unit: &mut UnitOfWork,
        tenant: &TenantId,
        domain: &DomainName,
    ) -> Result<bool, CommandError> {
        if !self.required || self.is_exempt(tenant, domain) {
            return Ok(false);
        }
        let holder: Option<(String, Option<NaiveDateTime>, NaiveDateTime)> = sqlx::query_as(
            "SELECT tenant_id, held_until, UTC_TIMESTAMP(6) FROM saas_reservations WHERE kind = 'domain' AND value = ?",
        )
        .bind(domain.as_str())
        .fetch_optional(unit.connection())
        .await?;
        let Some((holder, held_until, now)) = holder else { return Ok(true) };
        if held_until.is_some_and(|until| until <= now) {
            return Ok(true);
        }
        if holder == tenant.as_str() { Ok(false) } else { Err(CommandError::DomainTaken(domain.clone())) }
    }

    /// Only a tenant's own name below a base is exempt: any other one may be, or become, that of another tenant.
    fn is_exempt(&self, tenant: &TenantId, domain: &DomainName) -> bool {
        let own = |base: &DomainName| format!("{tenant}.{base}") == domain.as_str();
        self.exempt.iter().any(own)
    }

    /// Asks DNS for the record.
    pub async fn check(&self, domain: &DomainName, challenge: &str) -> Verdict {
        // The dot ends the name, so the resolver adds no search domain of this machine.
        let asking = self.resolver.txt_lookup(format!("{}.", record_name(domain)));
        let verdict = match tokio::time::timeout(self.timeout, asking).await {
            Ok(Ok(found)) => {
                let records = found.answers().iter().filter_map(|record| match &record.data {
                    RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).trim().to_owned()),
                    _ => None,
                });
                verdict(records.collect(), challenge)
            }
            Ok(Err(error)) if error.is_no_records_found() => Verdict::NoRecord,
            Ok(Err(error)) => unanswered(domain, &error),
            Err(_) => unanswered(domain, &NetError::Timeout),
        };
        metrics::counter!(names::DOMAIN_VERIFICATIONS, "verdict" => verdict.as_str()).increment(1);
        verdict
    }
}

fn verdict(mut values: Vec<String>, challenge: &str) -> Verdict {
    if values.iter().any(|value| value == challenge) {
        return Verdict::Proven;
    }
    if values.is_empty() {
        return Verdict::NoRecord;
    }
    values.truncate(SHOWN);
    Verdict::WrongValue(values)
}

fn unanswered(domain: &DomainName, error: &NetError) -> Verdict {
    tracing::info!(%domain, %error, "DNS did not answer");
    Verdict::Unanswered
}

/// A new value for a record: 128 random bits. It is no secret, but no record can have it before it is requested.
pub fn new_challenge() -> String {
    hex::encode(tokens::random::<16>())
}

/// The record to set.
#[derive(Serialize, ToSchema)]
#[schema(as = DnsRecord)]
pub struct Record {
    /// Always `TXT`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The record's name, below the domain.
    name: String,
    /// The value that it must have.
    value: String,
}

impl Record {
    /// The record that proves a requested domain.
    pub fn of(domain: &DomainName, challenge: &str) -> Self {
        Self { kind: "TXT", name: record_name(domain), value: challenge.to_owned() }
    }
}

fn record_name(domain: &DomainName) -> String {
    format!("{LABEL}.{domain}")
}

/// A resolver at `address`, or the system's if that is empty.
fn resolver(address: &str, timeout: Duration) -> Result<TokioResolver, ConfigError> {
    let failed = |error: NetError| wrong("DNS_RESOLVER", format!("the system's resolver cannot be used: {error}"));
    let mut builder = match address.trim() {
        "" => TokioResolver::builder_tokio().map_err(failed)?,
        given => {
            let server = address_of(given)?;
            let mut udp = ConnectionConfig::udp();
            let mut tcp = ConnectionConfig::tcp();
            (udp.port, tcp.port) = (server.port(), server.port());
            let servers = vec![NameServerConfig::new(server.ip(), true, vec![udp, tcp])];
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    // One try, and a second one for a lost packet, fit into the whole time.
    (options.timeout, options.attempts) = (timeout / 3, 1);
    // The tenant may just have set the record, so an older answer must not count.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(failed)
}

/// `host:port`, or a host with the port of DNS.
fn address_of(given: &str) -> Result<SocketAddr, ConfigError> {
    if let Ok(address) = given.parse() {
        return Ok(address);
    }
    if let Ok(ip) = given.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, 53));
    }
    let found = if given.contains(':') { given.to_socket_addrs() } else { (given, 53).to_socket_addrs() };
    let found = found.ok().and_then(|mut found| found.next());
    found.ok_or_else(|| wrong("DNS_RESOLVER", "host:port of a resolver that can be found, or empty"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership(pairs: &[(&str, &str)]) -> Result<Ownership, String> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let resolver = ("DNS_RESOLVER".to_owned(), "127.0.0.1:9".to_owned());
        let settings = Settings::from_pairs(std::iter::once(resolver).chain(pairs));
        Ownership::from_settings(&settings).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_wrong_setting_is_named() {
        for (name, value) in [
            ("DOMAIN_VERIFICATION", "maybe"),
            ("DOMAIN_VERIFICATION_EXEMPT", "saas.example,localhost"),
            ("DOMAIN_CHALLENGE_DAYS", "0"),
            ("DNS_TIMEOUT", "60"),
            ("DNS_RESOLVER", "no.such.host.invalid:53x"),
        ] {
            let error = ownership(&[(name, value)]).err();
            assert!(error.as_ref().is_some_and(|error| error.contains(name)), "{name}: {error:?}");
        }
        assert!(ownership(&[]).unwrap().required, "unless it is switched off");
    }

    #[tokio::test]
    async fn only_the_tenants_own_name_below_a_base_is_exempt() {
        let ownership = ownership(&[("DOMAIN_VERIFICATION_EXEMPT", "Saas.Example, ")]).unwrap();
        let acme: TenantId = "acme".parse().unwrap();
        let exempt = |domain: &str| ownership.is_exempt(&acme, &domain.parse().unwrap());
        assert!(exempt("acme.saas.example"));
        assert!(!exempt("beta.saas.example") && !exempt("beta.acme.saas.example") && !exempt("acme.beta.saas.example"));
        assert!(!exempt("saas.example") && !exempt("evilsaas.example") && !exempt("saas.example.evil.com"));
    }

    #[test]
    fn one_record_with_the_value_proves_the_domain() {
        let of = |values: &[&str]| verdict(values.iter().map(|value| (*value).to_owned()).collect(), "abc");
        assert_eq!(of(&["other", "abc"]), Verdict::Proven);
        assert_eq!(of(&[]), Verdict::NoRecord);
        assert_eq!(
            of(&["ABC", "abcd", "\"abc\""]),
            Verdict::WrongValue(vec!["ABC".into(), "abcd".into(), "\"abc\"".into()])
        );
    }

    #[test]
    fn a_resolver_without_a_port_has_port_53() {
        assert_eq!(address_of("127.0.0.1:5353").unwrap().port(), 5353);
        assert_eq!(address_of("::1").unwrap(), "[::1]:53".parse().unwrap());
        assert_eq!(address_of("localhost").unwrap().port(), 53);
    }
}
