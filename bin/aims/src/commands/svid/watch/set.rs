//! The files of one version.

use std::collections::BTreeMap;

use jose::TokenHash;
use reach::folder::Entry;
use serde_json::Value;
use spiffe::TrustDomain;
use time::UnixTime;
use workload::pem::private_key;
use workload::{JwtAnswer, SecretText, WitSvid, X509Svid};
use x509::{Certificate, CertificateDer};

use super::Format;
use crate::base64::decode_url;
use crate::exit::Failure;
use crate::files::PUBLIC;
use crate::identity::pem;

/// All of them; secrets are wiped with it.
pub(super) struct Set {
    pub(super) spiffe_id: String,
    pub(super) serial: String,
    pub(super) life: (UnixTime, UnixTime),
    files: Vec<File>,
}

struct File {
    name: String,
    contents: SecretText,
    is_secret: bool,
}

impl Set {
    /// What came, as files: the one first that whoever waits for all of them may wait for.
    pub(super) fn of(
        svid: &X509Svid,
        federated: &BTreeMap<TrustDomain, Vec<u8>>,
        jwt: Option<&JwtAnswer>,
        wit: Option<&WitSvid>,
        format: Format,
    ) -> Result<Self, Failure> {
        let refused = |error: &dyn std::fmt::Display| {
            Failure::refused("workload::X509Svid", format!("what the Workload API sent: {error}"))
        };
        let leaf = workload::pem::split(&svid.chain).map_err(|error| refused(&error))?;
        let leaf = leaf.first().ok_or_else(|| refused(&"no certificate"))?;
        let leaf = Certificate::parse(leaf).map_err(|error| refused(&error))?;
        let (chain, key) = (pem(&svid.chain)?, private_key(&svid.key));
        let mut files = match format {
            Format::Pem => {
                vec![public("svid.pem", chain), secret("key.pem", key.expose().to_owned())]
            }
            Format::Combined => {
                let name = Self::certificate_name(format);
                vec![secret(name, [key.expose(), &chain].concat())]
            }
        };
        files.push(public("bundle.pem", pem(&svid.bundle)?));
        // One without X.509 authorities has nothing for those who read these files.
        for (domain, bundle) in federated.iter().filter(|(_, bundle)| !bundle.is_empty()) {
            files.push(public(&format!("federated/{domain}.pem"), pem(bundle)?));
        }
        if let Some(jwt) = jwt {
            files.push(secret("jwt_svid.token", jwt.token.expose().to_owned()));
        }
        if let Some(wit) = wit {
            files.push(secret("wit.jwt", wit.token.expose().to_owned()));
            files.push(secret("wit_key.jwk", wit.key.expose().to_owned()));
        }
        let (spiffe_id, serial) = (svid.spiffe_id.to_string(), leaf.serial().to_string());
        Ok(Self { spiffe_id, serial, life: (leaf.not_before(), leaf.not_after()), files })
    }

    /// The file that the certificate is in.
    pub(super) const fn certificate_name(format: Format) -> &'static str {
        match format {
            Format::Pem => "svid.pem",
            Format::Combined => "identity.pem",
        }
    }

    /// From when to when the first certificate of such a file counts.
    pub(super) fn life(text: &str) -> Option<(UnixTime, UnixTime)> {
        let all = CertificateDer::from_pem_many(text).ok()?;
        let leaf = Certificate::parse(&all.into_iter().next()?.into_bytes()).ok()?;
        Some((leaf.not_before(), leaf.not_after()))
    }

    /// Whether the same files would be written again.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let marks = |set: &Self| -> Vec<(String, String)> {
            let mark = |file: &File| TokenHash::of(file.contents.expose()).to_base64url();
            set.files.iter().map(|file| (file.name.clone(), mark(file))).collect()
        };
        marks(self) == marks(other)
    }

    /// What to write, with this mode for secrets.
    pub(super) fn entries(&self, secret_mode: u32) -> Vec<Entry<'_>> {
        let entry = |file: &'_ File| {
            let mode = if file.is_secret { secret_mode } else { PUBLIC };
            (file.name.clone(), mode)
        };
        let entries = self.files.iter().map(|file| {
            let (name, mode) = entry(file);
            Entry { name, contents: file.contents.expose().as_bytes(), mode }
        });
        entries.collect()
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<&str> {
        self.files.iter().map(|file| file.name.as_str()).collect()
    }
}

/// When a token says that it ends. It is ours and fresh; nothing else depends on it.
pub(super) fn expiry(token: &str) -> Option<UnixTime> {
    let claims = decode_url(token.split('.').nth(1)?)?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp").and_then(Value::as_u64).map(UnixTime::from_seconds)
}

fn public(name: &str, contents: String) -> File {
    File { name: name.to_owned(), contents: SecretText::new(contents), is_secret: false }
}

fn secret(name: &str, contents: String) -> File {
    File { is_secret: true, ..public(name, contents) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_when_it_ends() {
        // {"exp":1900000000}
        assert_eq!(
            expiry("e30.eyJleHAiOjE5MDAwMDAwMDB9.x"),
            Some(UnixTime::from_seconds(1_900_000_000))
        );
        for text in ["", "a.b.c", "e30.e30.x", "e30"] {
            assert_eq!(expiry(text), None, "{text}");
        }
    }
}
