//! Ways to name a tenant in a request, or to pretend to, and the tenant that each means.
//!
//! `t1` has the domains `t1.example.com` and `bücher.example`, `t2` has `t2.example.com` and `bucher.example`.

/// The tenant that a form means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Tenant(&'static str),
    /// No tenant has this host. The default tenant answers, or 404, as `routing.unknown_host` says.
    Nobody,
    /// The form names a tenant that does not exist.
    Missing,
    /// The request is refused with this status and code for every caller.
    Refused(u16, &'static str),
    /// The bytes are no HTTP. The HTTP library refuses them before our code sees them.
    Broken,
}

/// One form. [`Form::request`] adds the method, the path and the token.
#[derive(Clone)]
pub struct Form {
    pub name: String,
    pub means: Means,
    /// The request goes to the node that trusts forwarded headers of this machine.
    pub by_proxy: bool,
    /// The text before the path: `http://host` in an absolute target.
    origin: String,
    query: &'static str,
    version: &'static str,
    lines: Vec<Vec<u8>>,
    body: &'static str,
}

impl Form {
    fn new(name: impl Into<String>, lines: Vec<Vec<u8>>, means: Means) -> Self {
        let (origin, query, version, body) = (String::new(), "", "HTTP/1.1", "");
        Self { name: name.into(), means, by_proxy: false, origin, query, version, lines, body }
    }

    /// The request, byte for byte.
    pub fn request(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
        let Self { origin, query, version, .. } = self;
        let mut bytes = format!("{method} {origin}{path}{query} {version}\r\n").into_bytes();
        for line in &self.lines {
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
        }
        if let Some(token) = token {
            bytes.extend_from_slice(format!("Authorization: Bearer {token}\r\n").as_bytes());
        }
        let body = if body.is_empty() { self.body } else { body };
        if !body.is_empty() {
            bytes.extend_from_slice(
                format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()).as_bytes(),
            );
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body.as_bytes());
        bytes
    }
}

const T1: Means = Means::Tenant("t1");
const T2: Means = Means::Tenant("t2");
const BAD_HOST: Means = Means::Refused(400, "invalid_host");
const BAD_ID: Means = Means::Refused(422, "invalid_tenant_id");
const CONTRADICTION: Means = Means::Refused(400, "bad_request");

/// All forms.
pub fn forms() -> Vec<Form> {
    let mut forms: Vec<Form> = hosts();
    forms.extend(lines());
    forms.extend(targets());
    forms
}

/// One `Host` header in many spellings.
fn hosts() -> Vec<Form> {
    let texts: &[(&str, Means)] = &[
        ("t1.example.com", T1),
        ("T1.EXAMPLE.COM", T1),
        ("t1.Example.Com:80", T1),
        ("t1.example.com:8443", T1),
        ("t1.example.com:", T1),
        ("t1.example.com.", T1),
        ("t1.example.com.:443", T1),
        ("  t1.example.com  ", T1),
        // Spellings with the same normal form in IDNA: full width, ideographic stops, soft hyphens, case, composition.
        ("ｔ１.example.com", T1),
        ("t1。example。com", T1),
        ("t\u{ad}1.example.com", T1),
        ("bücher.example", T1),
        ("BÜCHER.example", T1),
        ("bu\u{308}cher.example", T1),
        ("xn--bcher-kva.example", T1),
        ("XN--BCHER-KVA.example.", T1),
        ("bucher.example", T2),
        ("t1\u{200d}.example.com", BAD_HOST),
        ("xn--a.example.com", BAD_HOST),
        // The first of three or more labels names a tenant on any domain.
        ("t2.t1.example.com", T2),
        ("t1.t2.example.com", T1),
        ("t1.example.com.evil.org", T1),
        ("T2.evil.org", T2),
        ("default.example.com", Means::Tenant("default")),
        ("t1.org", Means::Nobody),
        ("t1example.com", Means::Nobody),
        ("xt1.example.com", Means::Nobody),
        ("t1-.example.com", BAD_HOST),
        ("evil.t1example.com", Means::Nobody),
        ("example.com", Means::Nobody),
        ("www.example.com", Means::Nobody),
        ("api.example.com", Means::Nobody),
        ("admin.example.com", Means::Nobody),
        ("cdn.example.com", Means::Nobody),
        ("static.example.com", Means::Nobody),
        ("WWW.t1.example.com", Means::Nobody),
        // No tenant has an address or a single label.
        ("127.0.0.1", Means::Nobody),
        ("127.0.0.1:8082", Means::Nobody),
        ("127.1", Means::Nobody),
        ("0x7f.1", Means::Nobody),
        ("2130706433", Means::Nobody),
        ("[::1]", Means::Nobody),
        ("[::1]:8082", Means::Nobody),
        ("localhost", Means::Nobody),
        ("t1", Means::Nobody),
        // These are no hosts.
        ("", BAD_HOST),
        (":80", BAD_HOST),
        (".", BAD_HOST),
        ("t1.example.com..", BAD_HOST),
        (".t1.example.com", BAD_HOST),
        ("t1..example.com", BAD_HOST),
        ("-t1.example.com", BAD_HOST),
        ("t1_.example.com", BAD_HOST),
        ("*.example.com", BAD_HOST),
        ("t1.example.com, t2.example.com", BAD_HOST),
        ("t1.example.com t2.example.com", BAD_HOST),
        ("t1.example.com\tt2.example.com", BAD_HOST),
        ("t1.example.com:t2", BAD_HOST),
        ("t1.example.com:99999", BAD_HOST),
        ("t1.example.com:80:80", BAD_HOST),
        ("user@t1.example.com", BAD_HOST),
        ("t1.example.com@t2.example.com", BAD_HOST),
        ("t1.example.com/../t2", BAD_HOST),
        ("t1.example.com#t2.example.com", BAD_HOST),
        ("t1.example.com?t2.example.com", BAD_HOST),
        ("t1.example.com%2et2", BAD_HOST),
        ("t1.example.com'--", BAD_HOST),
        ("[zz]", BAD_HOST),
    ];
    let host = |text: &[u8]| [b"Host: ", text].concat();
    let mut forms: Vec<Form> = texts
        .iter()
        .map(|(text, means)| Form::new(format!("Host: {text}"), vec![host(text.as_bytes())], *means))
        .collect();
    forms.push(Form::new("a host in Latin-1", vec![host(b"b\xfccher.example")], BAD_HOST));
    forms.push(Form::new("a host with NUL", vec![host(b"t1.example.com\0.t2.example.com")], Means::Broken));
    forms.push(Form::new("a very long host", vec![host(format!("{}.com", "a".repeat(300)).as_bytes())], BAD_HOST));
    forms
}

/// Several header lines: two hosts, tenant headers, forwarded hosts.
fn lines() -> Vec<Form> {
    const HOST: &str = "Host: t1.example.com";
    let cases: &[(&[&str], Means)] = &[
        (&[], Means::Nobody),
        (&[HOST, "Host: t2.example.com"], BAD_HOST),
        (&["Host: t2.example.com", HOST], BAD_HOST),
        (&[HOST, HOST], BAD_HOST),
        (&["Host:", HOST], BAD_HOST),
        (&["host: t2.example.com", HOST], BAD_HOST),
        (&["Host: t1.example.com\r\n t2.example.com"], Means::Broken),
        (&["Host : t2.example.com", HOST], Means::Broken),
        // A tenant id takes precedence over the host.
        (&["X-Tenant-ID: t1", "Host: t2.example.com"], T1),
        (&["X-Tenant-ID: t2", HOST], T2),
        (&["x-tenant-id: t2", HOST], T2),
        (&["Tenant-ID: t2", HOST], T2),
        (&["X-Tenant-ID: t2", "Tenant-ID: t2", HOST], T2),
        (&["X-Tenant-ID: t2", "X-Tenant-ID: t2", HOST], T2),
        (&["X-Tenant-ID: t1  ", "Host: t2.example.com"], T1),
        (&["X-Tenant-ID: t1", "Host: *"], T1),
        (&["X-Tenant-ID: t1"], T1),
        (&["X-Tenant-ID: default", HOST], Means::Tenant("default")),
        (&["X-Tenant-ID: t9", HOST], Means::Missing),
        (&["X-Tenant-ID: t1", "Tenant-ID: t2", HOST], CONTRADICTION),
        (&["Tenant-ID: t2", "X-Tenant-ID: t1", HOST], CONTRADICTION),
        (&["X-Tenant-ID: t1", "X-Tenant-ID: t2", HOST], CONTRADICTION),
        (&["X-Tenant-ID: t1", "X-Tenant-ID:", HOST], CONTRADICTION),
        (&["X-Tenant-ID:", HOST], BAD_ID),
        (&["X-Tenant-ID: T2", HOST], BAD_ID),
        (&["X-Tenant-ID: t1,t2", HOST], BAD_ID),
        (&["X-Tenant-ID: t1 t2", HOST], BAD_ID),
        (&["X-Tenant-ID: ../t2", HOST], BAD_ID),
        (&["X-Tenant-ID: t2%00", HOST], BAD_ID),
        (&["X-Tenant-ID: t2' OR '1'='1", HOST], BAD_ID),
        (&["X-Tenant-ID: t2`", HOST], BAD_ID),
        (&["X-Tenant-ID: ｔ2", HOST], BAD_ID),
        (&["X-Tenant-ID: admin", HOST], BAD_ID),
        (&["X-Tenant-ID: *", HOST], BAD_ID),
        // The node ignores these headers.
        (&["X_Tenant_ID: t2", HOST], T1),
        (&["X-Tenant: t2", HOST], T1),
        (&["X-Forwarded-Host: t2.example.com", HOST], T1),
        (&["X-Forwarded-Host: t2.example.com", "X-Forwarded-Host: *", HOST], T1),
        (&["Forwarded: for=127.0.0.1;host=t2.example.com", HOST], T1),
        (&["X-Forwarded-For: 10.0.0.1", "X-Forwarded-Host: t2.example.com", HOST], T1),
        (&["X-Host: t2.example.com", HOST], T1),
        (&["X-Original-Host: t2.example.com", HOST], T1),
        (&["X-Forwarded-Server: t2.example.com", HOST], T1),
        (&["X-HTTP-Host-Override: t2.example.com", HOST], T1),
        (&["X-Original-URL: http://t2.example.com/api/orders", HOST], T1),
        (&["X-Rewrite-URL: /api/orders?tenant_id=t2", HOST], T1),
        (&["X-HTTP-Method-Override: DELETE", HOST], T1),
        (&["Cookie: tenant_id=t2; X-Tenant-ID=t2", HOST], T1),
        (&["Origin: http://t2.example.com", "Referer: http://t2.example.com/", HOST], T1),
    ];
    let bytes = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    let mut forms: Vec<Form> =
        cases.iter().map(|(lines, means)| Form::new(lines.join(" | "), bytes(lines), *means)).collect();
    // The same machine is a trusted proxy for the other node.
    for (lines, means) in [
        (vec!["X-Forwarded-Host: t2.example.com", HOST], T2),
        (vec!["X-Forwarded-Host: T2.Example.com:443", HOST], T2),
        (vec!["X-Forwarded-Host: t2.example.com, t1.example.com", HOST], BAD_HOST),
        (vec!["X-Forwarded-Host: t2.example.com", "X-Forwarded-Host: t1.example.com", HOST], BAD_HOST),
        (vec!["X-Forwarded-Host: unknown.org", HOST], Means::Nobody),
        (vec!["Forwarded: host=t2.example.com", HOST], T1),
        (vec!["X-Tenant-ID: t1", "X-Forwarded-Host: t2.example.com", HOST], T1),
        (vec![HOST], T1),
    ] {
        let name = format!("by a proxy: {}", lines.join(" | "));
        forms.push(Form { by_proxy: true, ..Form::new(name, bytes(&lines), means) });
    }
    forms
}

/// Targets, versions, queries and bodies.
fn targets() -> Vec<Form> {
    let host = |host: &str| vec![format!("Host: {host}").into_bytes()];
    let plain = |name: &str, means| Form::new(name, host("t1.example.com"), means);
    let absolute = |origin: &str, lines: Vec<Vec<u8>>, means| Form {
        origin: origin.to_owned(),
        ..Form::new(format!("{origin} with {} Host", lines.len()), lines, means)
    };
    vec![
        absolute("http://t1.example.com", host("t1.example.com"), T1),
        absolute("http://T1.example.com", host("t1.EXAMPLE.com"), T1),
        absolute("https://t1.example.com", host("t1.example.com"), T1),
        absolute("http://t2.example.com", vec![], T2),
        absolute("http://t2.example.com:8082", vec![], T2),
        absolute("http://unknown.org", vec![], Means::Nobody),
        absolute("http://t2.example.com", host("t1.example.com"), BAD_HOST),
        absolute("http://t1.example.com:80", host("t1.example.com"), BAD_HOST),
        absolute("http://t2@t1.example.com", vec![], BAD_HOST),
        Form { version: "HTTP/1.0", ..Form::new("HTTP/1.0 without Host", vec![], Means::Nobody) },
        Form { version: "HTTP/1.0", ..plain("HTTP/1.0 with Host", T1) },
        Form { query: "?tenant_id=t2&tenant=t2", ..plain("a tenant in the query", T1) },
        Form { query: "?X-Tenant-ID=t2", ..plain("a header in the query", T1) },
        Form { query: "?host=t2.example.com", ..plain("a host in the query", T1) },
        Form { body: r#"{"tenant_id":"t2","X-Tenant-ID":"t2"}"#, ..plain("a tenant in the body", T1) },
    ]
}
