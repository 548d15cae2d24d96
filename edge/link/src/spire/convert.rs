//! Values of the flows as SPIRE's messages.

use env::{Purpose, SuperiorKey};
use flow::spire::{Entry, Trusted};
use spiffe::SpiffeId;
use time::{Span, UnixTime};
use wimse::WorkloadId;
use x509::Certificate;

use super::wire::types;
use super::wire::types::entry::AdditionalAttributes;

pub(super) fn id(id: &SpiffeId) -> types::Spiffeid {
    types::Spiffeid {
        trust_domain: id.trust_domain().as_str().to_owned(),
        path: id.path().to_owned(),
    }
}

/// An identifier of ours, which all are SPIFFE IDs.
pub(super) fn workload(of: &WorkloadId) -> Option<types::Spiffeid> {
    match of {
        WorkloadId::Spiffe(spiffe) => Some(id(spiffe)),
        _ => None,
    }
}

/// Seconds since the epoch.
pub(super) fn seconds(at: UnixTime) -> i64 {
    i64::try_from(at.seconds()).unwrap_or(i64::MAX)
}

fn length(span: Option<Span>) -> i32 {
    span.map_or(0, |span| i32::try_from(span.seconds()).unwrap_or(i32::MAX))
}

/// A chain, and when its leaf ends.
pub(super) fn svid(chain: &[Vec<u8>], of: Option<types::Spiffeid>) -> types::X509svid {
    let leaf = chain.first().and_then(|der| Certificate::parse(der).ok());
    let expires_at = leaf.map_or(0, |leaf| seconds(leaf.not_after()));
    types::X509svid { cert_chain: chain.to_vec(), id: of, expires_at, hint: String::new() }
}

/// An entry, whole: agents ask for nearly all of it, and drop the rest.
pub(super) fn entry(entry: &Entry, parent: &WorkloadId) -> types::Entry {
    let selectors = entry.selectors.iter().filter_map(|selector| {
        let (kind, value) = selector.as_str().split_once(':')?;
        Some(types::Selector { r#type: kind.to_owned(), value: value.to_owned() })
    });
    let domains = entry.federates_with.iter().map(|domain| domain.as_str().to_owned());
    // Without one to be had, the agent need not ask for it ahead.
    let no_x509 = entry.x509_life.is_none();
    types::Entry {
        id: entry.id.clone(),
        spiffe_id: Some(id(&entry.spiffe_id)),
        parent_id: workload(parent),
        selectors: selectors.collect(),
        x509_svid_ttl: length(entry.x509_life),
        federates_with: domains.collect(),
        downstream: entry.downstream,
        revision_number: revision(entry),
        jwt_svid_ttl: length(entry.jwt_life),
        created_at: seconds(entry.created),
        additional_attributes: no_x509
            .then_some(AdditionalAttributes { disable_x509_svid_prefetch: true }),
        ..types::Entry::default()
    }
}

pub(super) fn revision(entry: &Entry) -> i64 {
    i64::try_from(entry.revision).unwrap_or(i64::MAX)
}

/// A key: its id, SubjectPublicKeyInfo in DER, and when it ends, in seconds, if that is said.
pub(super) fn key(
    purpose: Purpose,
    (kid, spki_der, expires): (String, Vec<u8>, i64),
) -> SuperiorKey {
    let until = u64::try_from(expires).ok().filter(|seconds| *seconds > 0);
    SuperiorKey { purpose, kid, spki_der, until: until.map(UnixTime::from_seconds) }
}

/// A bundle; keys of ours that sign no longer are marked, and agents replace what they signed.
pub(super) fn bundle(trusted: &Trusted) -> Option<types::Bundle> {
    let bundle = trusted.bundle()?;
    let tainted = |key: &str| trusted.taints.has(key);
    let ends = |kid: &str| trusted.ends.get(kid).map_or(0, |end| seconds(*end));
    let x509_authorities = bundle.x509_authorities().iter().map(|authority| {
        let key = authority.subject_key_id().map(hex).unwrap_or_default();
        types::X509Certificate { asn1: authority.der().to_vec(), tainted: tainted(&key) }
    });
    let jwt_authorities = bundle.jwt_keys().iter().map(|key| types::JwtKey {
        public_key: key.key.spki_der().to_vec(),
        key_id: key.kid.as_str().to_owned(),
        expires_at: ends(key.kid.as_str()),
        tainted: tainted(key.kid.as_str()),
    });
    let wit_authorities = bundle.wit_keys().iter().map(|key| types::WitKey {
        public_key: key.key.spki_der().to_vec(),
        key_id: key.kid.as_str().to_owned(),
        expires_at: ends(key.kid.as_str()),
        tainted: tainted(key.kid.as_str()),
    });
    Some(types::Bundle {
        trust_domain: trusted.domain.as_str().to_owned(),
        x509_authorities: x509_authorities.collect(),
        jwt_authorities: jwt_authorities.collect(),
        refresh_hint: i64::try_from(bundle.refresh_hint().seconds()).unwrap_or(i64::MAX),
        sequence_number: bundle.sequence().unwrap_or_default(),
        wit_authorities: wit_authorities.collect(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
