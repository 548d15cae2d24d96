//! Requests: what a component asks, in the types of the flows, to the wire and back. Everything is
//! bounded and read once, here.

use attestation::mechanism::{ANSWER_BYTES_MAX, EVIDENCE_BYTES_MAX, Role};
use attestation::selector::{Selector, SelectorError, Selectors};
use attestation::unix::{PLATFORMS, PeerProof, Process, Script};
use credential::TokenText;
use credential::jwt_svid::{AUDIENCE_BYTES_MAX, AUDIENCES_MAX};
use env::{IssueKind, IssueOrder, RenewOrder};
use flow::join::Attempt;
use jose::{Jwk, JwkError};
use provisioning::renewal::{TROUBLES_MAX, Trouble, WHY_BYTES_MAX};
use time::UnixTime;
use wimse::{WorkloadId, WorkloadIdError};
use x509::CERTIFICATE_BYTES_MAX;

use crate::wire;

/// The longest name of an attestation mechanism, in bytes.
pub(crate) const MECHANISM_BYTES_MAX: usize = 64;
/// The longest name of a user or group, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The longest path of an executable, in bytes: `PATH_MAX` of Linux.
const PATH_BYTES_MAX: usize = 4_096;
/// SHA-256 in hex, in bytes.
const SHA256_BYTES: usize = 64;
/// The most supplementary groups of a process that are sent.
pub(crate) const SUPPLEMENTARY_MAX: usize = 1_024;
/// The longest identifier in a report, in bytes: SPIFFE-ID §2.3.
const SUBJECT_BYTES_MAX: usize = 2_048;
/// The most selectors of a platform that are sent: those of a rule, and a few that name a workload.
const PLATFORM_MAX: usize = 512;
/// The most of them, in bytes together: half of what a request may have.
const PLATFORM_BYTES_MAX: usize = 64 * 1024;
/// The longest public key, in bytes.
const JWK_BYTES_MAX: usize = 4 * 1024;
/// The most parameters of a request to the token endpoint.
const FORM_PAIRS_MAX: usize = 64;
/// The longest form, names and values together, in bytes.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// The longest value of a header, in bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// A part of a request is missing, too long, or not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("no `{0}`")]
    Missing(&'static str),
    #[error("`{field}` has {bytes} bytes, at most {max} are read")]
    TooLong { field: &'static str, bytes: usize, max: usize },
    #[error("{count} `{field}`, at most {max} are read")]
    TooMany { field: &'static str, count: usize, max: usize },
    #[error("`agent`: {0}")]
    Agent(#[from] WorkloadIdError),
    #[error("`sha256` is not 64 digits of lower case hex")]
    Sha256,
    #[error("`platform`: {0}")]
    Platform(#[from] SelectorError),
    #[error("`platform`: `{kind}` is not what a platform says")]
    PlatformKind { kind: String },
    #[error("`jwk`: {0}")]
    Jwk(#[from] JwkError),
    #[error("the header `{0}` is not one that authenticates an agent")]
    Header(String),
    #[error("the header `{0}` stands twice")]
    HeaderTwice(&'static str),
    #[error("`{0}` is not said now")]
    OutOfTurn(&'static str),
}

/// Reads an attempt to join; `source` is where it comes from.
pub(crate) fn attempt(mut sent: wire::Attempt, source: String) -> Result<Attempt, Malformed> {
    text("mechanism", &sent.mechanism, MECHANISM_BYTES_MAX)?;
    bytes("evidence", &sent.evidence, EVIDENCE_BYTES_MAX)?;
    let role = match sent.role() {
        wire::Role::Node => Role::Node,
        wire::Role::Gateway => Role::Gateway,
        wire::Role::Unspecified => return Err(Malformed::Missing("role")),
    };
    Ok(Attempt {
        mechanism: std::mem::take(&mut sent.mechanism),
        role,
        evidence: std::mem::take(&mut sent.evidence),
        request: csr("csr", std::mem::take(&mut sent.csr))?,
        source,
    })
}

pub(crate) const fn role(role: Role) -> wire::Role {
    match role {
        Role::Node => wire::Role::Node,
        Role::Gateway => wire::Role::Gateway,
        // It speaks another API; a server refuses this.
        Role::SpireAgent => wire::Role::Unspecified,
    }
}

/// Reads the answer to a challenge.
pub(crate) fn response(sent: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    bytes("response", &sent, ANSWER_BYTES_MAX)?;
    Ok(sent)
}

pub(crate) fn renew(sent: wire::RenewRequest) -> Result<RenewOrder, Malformed> {
    Ok(RenewOrder { request: csr("csr", sent.csr)? })
}

pub(crate) fn issue(sent: wire::IssueRequest) -> Result<IssueOrder, Malformed> {
    let agent = WorkloadId::parse(&sent.agent)?;
    let process = process(sent.process.ok_or(Malformed::Missing("process"))?)?;
    let kind = match sent.kind.ok_or(Malformed::Missing("kind"))? {
        wire::issue_request::Kind::X509Csr(request) => {
            IssueKind::X509 { request: csr("x509_csr", request)? }
        }
        wire::issue_request::Kind::WitCsr(request) => {
            IssueKind::Wit { request: csr("wit_csr", request)? }
        }
        wire::issue_request::Kind::Jwt(jwt) => {
            many("audiences", jwt.audiences.len(), AUDIENCES_MAX)?;
            if jwt.audiences.is_empty() {
                return Err(Malformed::Missing("audiences"));
            }
            for audience in &jwt.audiences {
                text("audiences", audience, AUDIENCE_BYTES_MAX)?;
            }
            IssueKind::Jwt { audiences: jwt.audiences }
        }
    };
    Ok(IssueOrder { agent, process, kind })
}

pub(crate) fn issue_to_wire(order: IssueOrder) -> wire::IssueRequest {
    let kind = match order.kind {
        IssueKind::X509 { request } => wire::issue_request::Kind::X509Csr(request),
        IssueKind::Wit { request } => wire::issue_request::Kind::WitCsr(request),
        IssueKind::Jwt { audiences } => {
            wire::issue_request::Kind::Jwt(wire::Audiences { audiences })
        }
    };
    let process = order.process;
    let peer = match process.peer {
        PeerProof::Pidfd => wire::PeerProof::Pidfd,
        PeerProof::Cred => wire::PeerProof::Cred,
    };
    wire::IssueRequest {
        agent: order.agent.to_string(),
        process: Some(wire::Process {
            pid: process.pid,
            uid: process.uid,
            gid: process.gid,
            user: process.user,
            group: process.group,
            supplementary: process.supplementary,
            path: process.path,
            sha256: process.sha256,
            peer: peer.into(),
            supplementary_names: process.supplementary_names,
            script: process.script.map(|Script { path, sha256 }| wire::Script { path, sha256 }),
            platform: process.platform.iter().map(ToString::to_string).collect(),
        }),
        kind: Some(kind),
    }
}

pub(crate) fn delegate(sent: &wire::DelegateRequest) -> Result<Jwk, Malformed> {
    text("jwk", &sent.jwk, JWK_BYTES_MAX)?;
    Ok(Jwk::parse(&sent.jwk)?)
}

pub(crate) fn report(sent: wire::ReportRequest) -> Result<Vec<Trouble>, Malformed> {
    many("troubles", sent.troubles.len(), TROUBLES_MAX)?;
    let read = |one: wire::Trouble| {
        text("subject", &one.subject, SUBJECT_BYTES_MAX)?;
        text("why", &one.why, WHY_BYTES_MAX)?;
        let (since, until) = (UnixTime::from_millis(one.since), UnixTime::from_millis(one.until));
        Ok(Trouble { subject: one.subject, since, until, why: one.why })
    };
    sent.troubles.into_iter().map(read).collect()
}

pub(crate) fn report_to_wire(troubles: Vec<Trouble>) -> wire::ReportRequest {
    let sent = |one: Trouble| wire::Trouble {
        subject: one.subject,
        since: one.since.millis(),
        until: one.until.millis(),
        why: one.why,
    };
    wire::ReportRequest { troubles: troubles.into_iter().take(TROUBLES_MAX).map(sent).collect() }
}

/// The parameters of a form, in order, and the headers beside it.
pub(crate) type TokenParts = (Vec<(String, String)>, Vec<(&'static str, TokenText)>);

/// Reads a request to the token endpoint; `names` are the headers that it may have, each once.
pub(crate) fn token(
    sent: wire::TokenRequest,
    names: &[&'static str],
) -> Result<TokenParts, Malformed> {
    many("form", sent.form.len(), FORM_PAIRS_MAX)?;
    let size = sent.form.iter().map(|pair| pair.name.len().saturating_add(pair.value.len())).sum();
    if size > FORM_BYTES_MAX {
        return Err(Malformed::TooLong { field: "form", bytes: size, max: FORM_BYTES_MAX });
    }
    many("headers", sent.headers.len(), names.len())?;
    let form = sent.form.into_iter().map(take).collect();
    let mut headers: Vec<(&'static str, TokenText)> = Vec::with_capacity(sent.headers.len());
    for pair in sent.headers {
        text("headers", &pair.value, HEADER_BYTES_MAX)?;
        // RFC 9110 §5.1: "Field names are case-insensitive"
        let known = names.iter().find(|name| name.eq_ignore_ascii_case(&pair.name));
        let (name, value) = take(pair);
        let known = *known.ok_or(Malformed::Header(name))?;
        if headers.iter().any(|(before, _)| *before == known) {
            return Err(Malformed::HeaderTwice(known));
        }
        headers.push((known, TokenText::new(value)));
    }
    Ok((form, headers))
}

pub(crate) fn token_to_wire(
    form: Vec<(String, String)>,
    headers: &[(&'static str, TokenText)],
) -> wire::TokenRequest {
    let form = form.into_iter().map(|(name, value)| wire::Pair { name, value }).collect();
    let headers = headers.iter().map(|(name, value)| wire::Pair {
        name: (*name).to_owned(),
        value: value.expose().to_owned(),
    });
    wire::TokenRequest { form, headers: headers.collect() }
}

fn take(mut pair: wire::Pair) -> (String, String) {
    (std::mem::take(&mut pair.name), std::mem::take(&mut pair.value))
}

fn process(sent: wire::Process) -> Result<Process, Malformed> {
    let peer = match sent.peer() {
        wire::PeerProof::Pidfd => PeerProof::Pidfd,
        wire::PeerProof::Cred => PeerProof::Cred,
        wire::PeerProof::Unspecified => return Err(Malformed::Missing("peer")),
    };
    many("supplementary", sent.supplementary.len(), SUPPLEMENTARY_MAX)?;
    for (field, value, max) in [
        ("user", &sent.user, NAME_BYTES_MAX),
        ("group", &sent.group, NAME_BYTES_MAX),
        ("path", &sent.path, PATH_BYTES_MAX),
    ] {
        if let Some(value) = value {
            text(field, value, max)?;
        }
    }
    many("supplementary_names", sent.supplementary_names.len(), SUPPLEMENTARY_MAX)?;
    for name in &sent.supplementary_names {
        text("supplementary_names", name, NAME_BYTES_MAX)?;
    }
    if !sent.sha256.as_ref().is_none_or(|hex| is_sha256(hex)) {
        return Err(Malformed::Sha256);
    }
    let platform = platform(sent.platform)?;
    let script = sent.script.map(script).transpose()?;
    Ok(Process {
        pid: sent.pid,
        uid: sent.uid,
        gid: sent.gid,
        user: sent.user,
        group: sent.group,
        supplementary: sent.supplementary,
        path: sent.path,
        sha256: sent.sha256,
        supplementary_names: sent.supplementary_names,
        script,
        platform,
        peer,
    })
}

fn is_sha256(hex: &str) -> bool {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    hex.len() == SHA256_BYTES && hex.bytes().all(is_hex)
}

fn script(sent: wire::Script) -> Result<Script, Malformed> {
    if let Some(path) = &sent.path {
        text("script", path, PATH_BYTES_MAX)?;
    }
    if !is_sha256(&sent.sha256) {
        return Err(Malformed::Sha256);
    }
    Ok(Script { path: sent.path, sha256: sent.sha256 })
}

/// What a platform says, and nothing that only the kernel can say.
fn platform(sent: Vec<String>) -> Result<Selectors, Malformed> {
    many("platform", sent.len(), PLATFORM_MAX)?;
    let size = sent.iter().map(String::len).sum();
    if size > PLATFORM_BYTES_MAX {
        return Err(Malformed::TooLong { field: "platform", bytes: size, max: PLATFORM_BYTES_MAX });
    }
    let mut all = Vec::with_capacity(sent.len());
    for one in sent {
        let selector = Selector::parse(&one)?;
        if !PLATFORMS.contains(&selector.kind()) {
            return Err(Malformed::PlatformKind { kind: selector.kind().to_owned() });
        }
        all.push(selector);
    }
    Ok(Selectors::new(all)?)
}

pub(crate) fn csr(field: &'static str, sent: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    bytes(field, &sent, CERTIFICATE_BYTES_MAX)?;
    if sent.is_empty() { Err(Malformed::Missing(field)) } else { Ok(sent) }
}

pub(crate) fn text(field: &'static str, value: &str, max: usize) -> Result<(), Malformed> {
    bytes(field, value.as_bytes(), max)?;
    if value.is_empty() { Err(Malformed::Missing(field)) } else { Ok(()) }
}

pub(crate) fn bytes(field: &'static str, value: &[u8], max: usize) -> Result<(), Malformed> {
    let bytes = value.len();
    if bytes > max { Err(Malformed::TooLong { field, bytes, max }) } else { Ok(()) }
}

pub(crate) fn many(field: &'static str, count: usize, max: usize) -> Result<(), Malformed> {
    if count > max { Err(Malformed::TooMany { field, count, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use wire::issue_request::Kind;

    use super::*;

    const NAMES: &[&str] = &["Workload-Identity-Token", "Workload-Proof-Token"];

    fn order(change: impl Fn(&mut wire::IssueRequest, &mut wire::Process)) -> wire::IssueRequest {
        let mut process = wire::Process {
            pid: 7,
            uid: 1000,
            gid: 100,
            user: Some("ada".to_owned()),
            path: Some("/opt/agent".to_owned()),
            sha256: Some("ab".repeat(32)),
            peer: wire::PeerProof::Pidfd.into(),
            ..wire::Process::default()
        };
        let mut order = wire::IssueRequest {
            agent: "spiffe://td/agent/a".to_owned(),
            process: None,
            kind: Some(Kind::X509Csr(vec![1])),
        };
        change(&mut order, &mut process);
        order.process = order.process.take().or(Some(process));
        order
    }

    #[test]
    fn an_order_survives_the_wire() {
        for kind in [
            Kind::X509Csr(vec![1]),
            Kind::WitCsr(vec![2]),
            Kind::Jwt(wire::Audiences { audiences: vec!["a".to_owned()] }),
        ] {
            let sent = order(|order, process| {
                order.kind = Some(kind.clone());
                process.supplementary = vec![4, 20];
                process.supplementary_names = vec!["adm".to_owned()];
                let path = Some("/opt/a.py".to_owned());
                process.script = Some(wire::Script { path, sha256: "cd".repeat(32) });
                process.platform =
                    ["docker:label:a:b", "k8s:ns:c", "systemd:id:d"].map(str::to_owned).to_vec();
            });
            assert_eq!(issue_to_wire(issue(sent.clone()).unwrap()), sent);
        }
    }

    #[test]
    fn each_part_of_an_order_is_bounded_and_read() {
        let check = |change: fn(&mut wire::IssueRequest, &mut wire::Process), expect: Malformed| {
            assert_eq!(issue(order(change)).unwrap_err(), expect);
        };
        let long = |field, bytes, max| Malformed::TooLong { field, bytes, max };
        check(
            |order, _| order.agent = "a".to_owned(),
            Malformed::Agent(WorkloadIdError::UnknownScheme),
        );
        check(|_, process| process.peer = 0, Malformed::Missing("peer"));
        check(|_, process| process.peer = 99, Malformed::Missing("peer"));
        check(
            |_, process| process.supplementary = vec![0; SUPPLEMENTARY_MAX + 1],
            Malformed::TooMany {
                field: "supplementary",
                count: SUPPLEMENTARY_MAX + 1,
                max: SUPPLEMENTARY_MAX,
            },
        );
        check(|_, process| process.user = Some("u".repeat(257)), long("user", 257, 256));
        check(|_, process| process.group = Some("g".repeat(257)), long("group", 257, 256));
        check(|_, process| process.path = Some("/".repeat(4_097)), long("path", 4_097, 4_096));
        check(|_, process| process.path = Some(String::new()), Malformed::Missing("path"));
        check(|_, process| process.sha256 = Some("AB".repeat(32)), Malformed::Sha256);
        check(|_, process| process.sha256 = Some("ab".repeat(31)), Malformed::Sha256);
        check(|order, _| order.kind = None, Malformed::Missing("kind"));
        check(|order, _| order.kind = Some(Kind::WitCsr(vec![])), Malformed::Missing("wit_csr"));
        check(
            |order, _| order.kind = Some(Kind::X509Csr(vec![0; CERTIFICATE_BYTES_MAX + 1])),
            long("x509_csr", CERTIFICATE_BYTES_MAX + 1, CERTIFICATE_BYTES_MAX),
        );
        check(
            |order, _| order.kind = Some(Kind::Jwt(wire::Audiences::default())),
            Malformed::Missing("audiences"),
        );
        check(
            |order, _| {
                let audiences = vec!["a".to_owned(); AUDIENCES_MAX + 1];
                order.kind = Some(Kind::Jwt(wire::Audiences { audiences }));
            },
            Malformed::TooMany { field: "audiences", count: AUDIENCES_MAX + 1, max: AUDIENCES_MAX },
        );
        let no_process = wire::IssueRequest { process: None, ..order(|_, _| {}) };
        assert_eq!(issue(no_process).unwrap_err(), Malformed::Missing("process"));
    }

    #[test]
    fn each_part_of_what_was_measured_is_bounded_and_read() {
        let check = |change: fn(&mut wire::IssueRequest, &mut wire::Process), expect: Malformed| {
            assert_eq!(issue(order(change)).unwrap_err(), expect);
        };
        let long = |field, bytes, max| Malformed::TooLong { field, bytes, max };
        check(
            |_, process| process.supplementary_names = vec!["g".repeat(257)],
            long("supplementary_names", 257, 256),
        );
        check(
            |_, process| {
                let path = Some("/".repeat(4_097));
                process.script = Some(wire::Script { path, sha256: "cd".repeat(32) });
            },
            long("script", 4_097, 4_096),
        );
        check(|_, process| process.script = Some(wire::Script::default()), Malformed::Sha256);
        check(
            |_, process| process.platform = vec!["unix:uid:0".to_owned()],
            Malformed::PlatformKind { kind: "unix".to_owned() },
        );
        check(
            |_, process| process.platform = vec!["docker:".to_owned()],
            Malformed::Platform(SelectorError::NoValue { kind: "docker".to_owned() }),
        );
        check(
            |_, process| process.platform = vec!["k8s:ns:a".to_owned(); PLATFORM_MAX + 1],
            Malformed::TooMany { field: "platform", count: PLATFORM_MAX + 1, max: PLATFORM_MAX },
        );
        check(
            |_, process| process.platform = vec![format!("k8s:{}", "a".repeat(4_000)); 33],
            long("platform", 33 * 4_004, PLATFORM_BYTES_MAX),
        );
    }

    #[test]
    fn each_part_of_an_attempt_is_bounded_and_read() {
        let sent = |change: fn(&mut wire::Attempt)| {
            let mut sent = wire::Attempt {
                mechanism: "join_token".to_owned(),
                role: wire::Role::Node.into(),
                evidence: b"e".to_vec(),
                csr: vec![1],
            };
            change(&mut sent);
            attempt(sent, "192.0.2.1".to_owned())
        };
        let read = sent(|_| {}).unwrap();
        assert_eq!(
            (read.role, read.evidence, read.source.as_str()),
            (Role::Node, b"e".to_vec(), "192.0.2.1")
        );
        let long = |field, bytes, max| Malformed::TooLong { field, bytes, max };
        let check = |change: fn(&mut wire::Attempt), expect: Malformed| {
            assert_eq!(sent(change).unwrap_err(), expect);
        };
        check(|sent| sent.role = 0, Malformed::Missing("role"));
        check(|sent| sent.mechanism.clear(), Malformed::Missing("mechanism"));
        check(|sent| sent.mechanism = "m".repeat(65), long("mechanism", 65, 64));
        check(|sent| sent.csr.clear(), Malformed::Missing("csr"));
        check(
            |sent| sent.evidence = vec![0; EVIDENCE_BYTES_MAX + 1],
            long("evidence", EVIDENCE_BYTES_MAX + 1, EVIDENCE_BYTES_MAX),
        );
        // Azure's answer is a signed document, as large as evidence may be.
        response(vec![0; ANSWER_BYTES_MAX]).unwrap();
        const { assert!(ANSWER_BYTES_MAX >= 64 * 1024 && ANSWER_BYTES_MAX < crate::REQUEST_BYTES_MAX) };
        assert_eq!(
            response(vec![0; ANSWER_BYTES_MAX + 1]).unwrap_err(),
            long("response", ANSWER_BYTES_MAX + 1, ANSWER_BYTES_MAX)
        );
    }

    #[test]
    fn a_token_request_has_known_headers_once() {
        let pair =
            |name: &str, value: &str| wire::Pair { name: name.to_owned(), value: value.to_owned() };
        let check = |form, headers, expect| {
            let read = token(wire::TokenRequest { form, headers }, NAMES);
            assert_eq!(read.map(|(form, headers)| (form.len(), headers.len())), expect);
        };
        let wit = || pair("workload-identity-token", "t");
        check(vec![pair("grant_type", "x")], vec![wit()], Ok((1, 1)));
        check(vec![], vec![pair("Cookie", "x")], Err(Malformed::Header("Cookie".to_owned())));
        check(vec![], vec![wit(), wit()], Err(Malformed::HeaderTwice(NAMES[0])));
        check(vec![], vec![pair(NAMES[0], "")], Err(Malformed::Missing("headers")));
        let many = |field, count, max| Err(Malformed::TooMany { field, count, max });
        check(vec![], vec![wit(), wit(), wit()], many("headers", 3, 2));
        check(vec![pair("a", "b"); FORM_PAIRS_MAX + 1], vec![], many("form", 65, FORM_PAIRS_MAX));
        let (bytes, max) = (FORM_BYTES_MAX + 1, FORM_BYTES_MAX);
        let long = pair("a", &"b".repeat(FORM_BYTES_MAX));
        check(vec![long], vec![], Err(Malformed::TooLong { field: "form", bytes, max }));
    }

    #[test]
    fn a_key_is_one_public_jwk() {
        let read = |jwk: &str| delegate(&wire::DelegateRequest { jwk: jwk.to_owned() });
        let key =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert!(read(key).is_ok());
        assert!(matches!(read("{}"), Err(Malformed::Jwk(_))));
        assert_eq!(read(""), Err(Malformed::Missing("jwk")));
        let bytes = JWK_BYTES_MAX + 1;
        let long = Malformed::TooLong { field: "jwk", bytes, max: JWK_BYTES_MAX };
        assert_eq!(read(&" ".repeat(bytes)), Err(long));
    }
}
