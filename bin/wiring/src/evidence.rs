//! What a component joins with, by its settings.

use std::path::{Path, PathBuf};

use attestors::{join_token, sshpop, x509pop};
use env::{Entropy, Unavailable};

use super::layout::Settings;
use super::world::SystemEntropy;

/// What a component joins with.
pub enum Evidence {
    /// A join token.
    Token(String),
    /// A certificate and its key.
    Certificate(x509pop::Credential),
    /// An SSH host certificate and its key.
    Ssh(sshpop::Credential),
}

impl Evidence {
    /// What the settings name: `attest`, or the one mechanism whose files are named.
    pub fn read(settings: &Settings, dir: &Path) -> Result<Self, String> {
        let at = |path: &Path| dir.join(path);
        let named = settings.attest.as_deref();
        let mechanism = match (named, &settings.join_token, &settings.join_certificates) {
            (Some(named), ..) => named,
            (None, Some(_), _) => "join_token",
            (None, None, Some(_)) => "x509pop",
            (None, None, None) => return Err(missing("attest` or `join_token")),
        };
        match mechanism {
            "join_token" => {
                let path = settings.join_token.as_deref().ok_or_else(|| missing("join_token"))?;
                let token = join_token::JoinToken::read(&at(path)).map_err(text)?;
                Ok(Self::Token(token.expose().to_owned()))
            }
            "x509pop" => {
                let (Some(certificates), Some(key)) =
                    (&settings.join_certificates, &settings.join_key)
                else {
                    return Err(missing("join_certificates` and `join_key"));
                };
                let read = x509pop::Credential::read(&at(certificates), &at(key));
                read.map(Self::Certificate).map_err(text)
            }
            "sshpop" => {
                let (certificate, key) = ssh_files(settings);
                let read = sshpop::Credential::read(&at(&certificate), &at(&key));
                read.map(Self::Ssh).map_err(text)
            }
            other => Err(format!("`attest = \"{other}\"` is no mechanism that a host has here")),
        }
    }

    /// The mechanism's name.
    pub const fn mechanism(&self) -> &'static str {
        match self {
            Self::Token(_) => "join_token",
            Self::Certificate(_) => "x509pop",
            Self::Ssh(_) => "sshpop",
        }
    }

    /// What is sent first.
    pub async fn show(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Token(token) => Ok(token.clone().into_bytes()),
            Self::Certificate(credential) => credential.evidence().map_err(text),
            Self::Ssh(credential) => credential.evidence().map_err(text),
        }
    }

    /// What is answered to a challenge.
    pub async fn answer(&self, challenge: Vec<u8>) -> Result<Vec<u8>, Unavailable> {
        let nonce = SystemEntropy::default().secret();
        let answered = match self {
            Self::Certificate(credential) => credential.answer(&challenge, nonce),
            Self::Ssh(credential) => credential.answer(&challenge, nonce),
            Self::Token(_) => {
                let what = format!("a challenge to `{}`", self.mechanism());
                return Err(Unavailable::of("server", what));
            }
        };
        answered.map_err(|error| Unavailable::of("attestor", error))
    }
}

/// The certificate and the key of a host: those named, or where `sshd` has them.
fn ssh_files(settings: &Settings) -> (PathBuf, PathBuf) {
    let usual = sshpop::USUAL_KEYS.map(PathBuf::from);
    let certificate = |key: &Path| PathBuf::from(format!("{}-cert.pub", key.display()));
    let first = usual.iter().find(|key| certificate(key).exists()).or(usual.first());
    let key = settings.join_key.clone().or_else(|| first.cloned()).unwrap_or_default();
    let named = settings.join_certificates.clone();
    (named.unwrap_or_else(|| certificate(&key)), key)
}

fn missing(name: &str) -> String {
    format!("`{name}` is missing in aims.toml: a component joins by something")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
