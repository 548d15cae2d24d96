//! Whether a log vouches for an entry: by its promise, and by a proof up to a signed checkpoint.

use jose::{Algorithm, PublicKey};
use time::UnixTime;
use tlog::note::{KeyKind, VerifierKey};
use tlog::{Checkpoint, hash_leaf, verify_inclusion};

use super::body;
use super::bundle::{Bundle, Entry, Proof};
use super::trusted_root::{Log, LogKind, TrustedRoot};
use super::verify::Refused;

/// Bytes of the contents of an Ed25519 key at the end of its `SubjectPublicKeyInfo`.
const ED25519_BYTES: usize = 32;
/// Length of the `SubjectPublicKeyInfo` of an Ed25519 key.
const ED25519_SPKI_BYTES: usize = 44;

/// An entry that its log vouches for.
pub(super) struct Logged<'a> {
    pub(super) log: &'a Log,
    /// When the log took it, where the log has proved that it says so.
    pub(super) time: Option<UnixTime>,
}

/// Checks an entry of a bundle.
pub(super) fn check<'a>(
    entry: &Entry,
    bundle: &Bundle,
    root: &'a TrustedRoot,
) -> Result<Logged<'a>, Refused> {
    body::check(entry, bundle)?;
    let log = root.logs.iter().find(|log| log.id == entry.log_id).ok_or(Refused::UnknownLog)?;
    // Bundles v0.3 have the inclusion proof with its checkpoint; the promise alone is what a log
    // can take back.
    let proof = entry.proof.as_ref().ok_or(Refused::NoProof)?;
    check_proof(entry, proof, log)?;
    let time = match (log.kind, &entry.promise) {
        // Rekor v2 has neither promise nor time: its signature on the checkpoint is all.
        (LogKind::Ed25519, _) => None,
        (LogKind::Ecdsa, None) => None,
        (LogKind::Ecdsa, Some(promise)) => Some(check_promise(entry, promise, log)?),
    };
    Ok(Logged { log, time })
}

/// The promise of Rekor v1 to log an entry at a time.
fn check_promise(entry: &Entry, promise: &[u8], log: &Log) -> Result<UnixTime, Refused> {
    let integrated = entry.integrated.ok_or(Refused::Promise)?;
    let key = PublicKey::from_spki_der(&log.spki).map_err(|_| Refused::LogKey)?;
    let signature = x509::ecdsa_fixed_from_der(promise, 32).map_err(|_| Refused::Promise)?;
    let message = body::promised(entry, integrated);
    key.verify(Algorithm::Es256, message.as_bytes(), &signature).map_err(|_| Refused::Promise)?;
    Ok(UnixTime::from_seconds(integrated))
}

/// The proof that the entry is in the tree that the log signed.
fn check_proof(entry: &Entry, proof: &Proof, log: &Log) -> Result<(), Refused> {
    let origin = proof.checkpoint.lines().next().unwrap_or_default();
    let key = verifier_key(log, origin)?;
    let opened = Checkpoint::open(proof.checkpoint.as_bytes(), origin, &[key], &[])?;
    let checkpoint = opened.checkpoint();
    if (checkpoint.size(), checkpoint.root()) != (proof.size, proof.root) {
        return Err(Refused::ProofOther);
    }
    let leaf = hash_leaf(&entry.body);
    verify_inclusion(&leaf, proof.index, checkpoint.size(), &checkpoint.root(), &proof.hashes)?;
    Ok(())
}

/// The log's key, under the name that its checkpoints have it.
fn verifier_key(log: &Log, origin: &str) -> Result<VerifierKey, Refused> {
    match log.kind {
        // Rekor v1 writes `<name> - <tree id>` as origin and `<name>` at its signature; the name is
        // another than the address, and the id of the key does not hang on it.
        LogKind::Ecdsa => {
            let name = origin.split(' ').next().unwrap_or_default();
            VerifierKey::ecdsa(name, &log.spki).map_err(|_| Refused::LogKey)
        }
        // Rekor v2: "origin" and key name are the host of the log.
        LogKind::Ed25519 => {
            if origin != log.host {
                let (found, expected) = (origin.to_owned(), log.host.clone());
                return Err(Refused::Origin { found, expected });
            }
            let at = log.spki.len().checked_sub(ED25519_BYTES).ok_or(Refused::LogKey)?;
            let key = log.spki.get(at..).filter(|_| log.spki.len() == ED25519_SPKI_BYTES);
            let key = key.and_then(|key| <[u8; ED25519_BYTES]>::try_from(key).ok());
            let key = key.ok_or(Refused::LogKey)?;
            VerifierKey::new(&log.host, KeyKind::Ed25519, key).map_err(|_| Refused::LogKey)
        }
    }
}
