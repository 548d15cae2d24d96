//! Whether a log of certificates promised to publish one ([RFC 6962](https://www.rfc-editor.org/rfc/rfc6962)
//! §3.2, §3.3): the promises lie in the certificate, over what it was before they were put in.

use aws_lc_rs::digest::{SHA256, digest};
use jose::{Algorithm, PublicKey};
use time::UnixTime;
use x509::{Certificate, Oid};

use super::trusted_root::{Log, LogKind};
use super::verify::Refused;

/// The extension of the promises.
const PROMISES: &str = "1.3.6.1.4.1.11129.2.4.2";
/// The same as DER.
const PROMISES_DER: &[u8] =
    &[0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02];
/// Most promises that are looked at.
const PROMISES_MAX: usize = 8;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
/// `[3] EXPLICIT`, the extensions of a `TBSCertificate`.
const EXTENSIONS: u8 = 0xa3;
/// RFC 6962 §3.2: `v1(0)`, `certificate_timestamp(0)`.
const V1: u8 = 0;
const CERTIFICATE_TIMESTAMP: u8 = 0;
/// §3.1: `precert_entry(1)`.
const PRECERT_ENTRY: [u8; 2] = [0, 1];
/// RFC 5246 §7.4.1.4.1: sha256(4), ecdsa(3).
const SHA256_ECDSA: [u8; 2] = [4, 3];

/// A signed certificate timestamp.
struct Promise<'a> {
    log: &'a [u8],
    millis: u64,
    extensions: &'a [u8],
    signature: &'a [u8],
}

/// Whether one of `logs` promised to publish `leaf`, which the holder of `issuer` issued.
pub(super) fn check(leaf: &Certificate, issuer: &Certificate, logs: &[Log]) -> Result<(), Refused> {
    let list = Oid::parse(PROMISES).and_then(|oid| leaf.extension(&oid)).ok_or(Refused::NoSct)?;
    let promises = promises(list).ok_or(Refused::SctForm)?;
    let before = without_promises(leaf.der()).ok_or(Refused::SctForm)?;
    let key_hash = digest(&SHA256, issuer.spki_der());
    let mut last = Refused::UnknownCtLog;
    for promise in &promises {
        let known = |log: &&Log| log.id == promise.log && log.kind == LogKind::Ecdsa;
        let Some(log) = logs.iter().find(known) else { continue };
        let time = UnixTime::from_millis(promise.millis);
        if !log.valid.contains(time) {
            last = Refused::CtLogNotValid { time };
        } else if is_by(promise, log, key_hash.as_ref(), &before) {
            return Ok(());
        } else {
            last = Refused::Sct;
        }
    }
    Err(last)
}

fn is_by(promise: &Promise<'_>, log: &Log, key_hash: &[u8], before: &[u8]) -> bool {
    let Ok(key) = PublicKey::from_spki_der(&log.spki) else { return false };
    let Ok(signature) = x509::ecdsa_fixed_from_der(promise.signature, 32) else { return false };
    let (Ok(length), Ok(extra)) =
        (u32::try_from(before.len()), u16::try_from(promise.extensions.len()))
    else {
        return false;
    };
    // RFC 6962 §3.2: "digitally-signed struct { Version sct_version; SignatureType signature_type =
    // certificate_timestamp; uint64 timestamp; LogEntryType entry_type; select(entry_type) { [...]
    // case precert_entry: PreCert; } signed_entry; CtExtensions extensions; }"
    let mut message = vec![V1, CERTIFICATE_TIMESTAMP];
    message.extend(promise.millis.to_be_bytes());
    message.extend(PRECERT_ENTRY);
    // "struct { opaque issuer_key_hash[32]; TBSCertificate tbs_certificate; } PreCert;", of which
    // "opaque TBSCertificate<1..2^24-1>".
    message.extend(key_hash);
    message.extend(length.to_be_bytes().into_iter().skip(1));
    message.extend(before);
    message.extend(extra.to_be_bytes());
    message.extend(promise.extensions);
    key.verify(Algorithm::Es256, &message, &signature).is_ok()
}

/// The promises of the extension's value. Those of another version, or by another kind of key, are
/// passed over.
fn promises(value: &[u8]) -> Option<Vec<Promise<'_>>> {
    // RFC 6962 §3.3: "SignedCertificateTimestampList ::= OCTET STRING".
    let (tag, list, rest) = element(value)?;
    let (list, after) = sized(list)?;
    if tag != OCTET_STRING || !rest.is_empty() || !after.is_empty() {
        return None;
    }
    let (mut list, mut found) = (list, Vec::new());
    while !list.is_empty() && found.len() < PROMISES_MAX {
        let (one, rest) = sized(list)?;
        list = rest;
        found.extend(promise(one)?);
    }
    Some(found)
}

fn promise(one: &[u8]) -> Option<Option<Promise<'_>>> {
    let (version, rest) = one.split_first()?;
    if *version != V1 {
        return Some(None);
    }
    let (log, rest) = rest.split_at_checked(32)?;
    let (millis, rest) = rest.split_first_chunk()?;
    let (extensions, rest) = sized(rest)?;
    let (algorithm, rest) = rest.split_first_chunk::<2>()?;
    let (signature, rest) = sized(rest)?;
    let promise = Promise { log, millis: u64::from_be_bytes(*millis), extensions, signature };
    rest.is_empty().then_some((*algorithm == SHA256_ECDSA).then_some(promise))
}

/// Bytes behind their length in two bytes, and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// The `TBSCertificate` as it was logged: RFC 6962 §3.2: "the TBSCertificate [...] without the
/// poison extension"; of the certificate that was issued of it, without the promises.
fn without_promises(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate, _) = element(certificate)?;
    let (_, fields, _) = element(certificate)?;
    let (mut rest, mut before) = (fields, fields);
    while !rest.is_empty() {
        let at = rest;
        let (tag, contents, next) = element(rest)?;
        if tag == EXTENSIONS {
            before = fields.get(..fields.len() - at.len())?;
            let (_, mut list, _) = element(contents)?;
            let mut kept = Vec::new();
            while !list.is_empty() {
                let (_, extension, next) = element(list)?;
                if !extension.starts_with(PROMISES_DER) {
                    kept.extend(list.get(..list.len() - next.len())?);
                }
                list = next;
            }
            let extensions = wrapped(EXTENSIONS, &wrapped(SEQUENCE, &kept)?)?;
            return wrapped(SEQUENCE, &[before, &extensions, next].concat());
        }
        rest = next;
    }
    wrapped(SEQUENCE, before)
}

/// The first element of DER: its tag, its contents, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ ..=0x7f => (usize::from(short), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}

/// DER around contents, in as few bytes as its length takes.
fn wrapped(tag: u8, contents: &[u8]) -> Option<Vec<u8>> {
    let [high, low] = u16::try_from(contents.len()).ok()?.to_be_bytes();
    let mut out = match (high, low) {
        (0, ..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    out.extend(contents);
    Some(out)
}
