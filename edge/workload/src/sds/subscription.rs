//! What one stream was asked and told: the xDS transport protocol, state of the world.

use std::collections::{BTreeMap, BTreeSet};

use super::secrets::{self, Refused, TYPE_URL, Validation, choose};
use super::wire::{DiscoveryRequest, DiscoveryResponse};
use crate::answer::X509Answer;

/// The most names of one request.
pub(crate) const NAMES_MAX: usize = 64;
/// The longest name, in bytes: that of a SPIFFE ID.
pub(crate) const NAME_BYTES_MAX: usize = 2_048;
/// How much of a client's complaint reaches the log, in characters.
const COMPLAINT_CHARS_MAX: usize = 256;

/// A stream. It is given requests and answers as they come, and says what to send.
#[derive(Debug, Default)]
pub(crate) struct Subscription {
    /// The names of the last request that counted.
    asked: Option<BTreeSet<String>>,
    validation: Validation,
    /// What there is now.
    held: Option<X509Answer>,
    sent: Option<Sent>,
}

/// The last response.
#[derive(Debug)]
struct Sent {
    count: u64,
    nonce: String,
    version: String,
    /// By name, what tells each secret from another.
    marks: BTreeMap<String, Vec<u8>>,
    /// Whether it was rejected, which is told once.
    is_rejected: bool,
}

impl Sent {
    /// Tells operators that a client does not take it.
    fn judged(&mut self, request: &DiscoveryRequest, names: &BTreeSet<String>) {
        let is_taken = request.error_detail.is_none() && request.version_info == self.version;
        if is_taken || self.is_rejected {
            return;
        }
        self.is_rejected = true;
        let why = request.error_detail.as_ref().map(|error| error.message.as_str());
        let why: String = why.unwrap_or_default().chars().take(COMPLAINT_CHARS_MAX).collect();
        let (first, count) = (names.first(), names.len());
        tracing::warn!(?first, count, ?why, "sds: a client rejected its secrets");
    }
}

impl Subscription {
    /// A request has come: the first one, an ACK, a NACK, or other names.
    pub(crate) fn asked(
        &mut self,
        request: DiscoveryRequest,
    ) -> Result<Option<DiscoveryResponse>, Wrong> {
        let names = read(&request)?;
        // xDS protocol, "ACK/NACK and resource type instance version": a request with the nonce of
        // an older response is stale, and is ignored.
        if let Some(sent) = &mut self.sent {
            if request.response_nonce != sent.nonce {
                tracing::debug!(names = names.len(), "sds: a stale request");
                return Ok(None);
            }
            sent.judged(&request, &names);
        }
        if let Some(node) = &request.node {
            self.validation = Validation::of(node);
        }
        let wants_more = match &self.asked {
            None => true,
            // No names are all names.
            Some(before) if before.is_empty() => false,
            Some(before) => names.is_empty() || !names.is_subset(before),
        };
        self.asked = Some(names);
        // Whoever accepts, rejects, or wants less has what there is: the same again would be
        // accepted or rejected again, at once and without end.
        if wants_more { self.respond(true) } else { Ok(None) }
    }

    /// There is something new.
    pub(crate) fn told(&mut self, answer: X509Answer) -> Result<Option<DiscoveryResponse>, Wrong> {
        self.held = Some(answer);
        self.respond(false)
    }

    /// The secrets that were asked for, if one of them is not what was sent, or in any case.
    fn respond(&mut self, in_any_case: bool) -> Result<Option<DiscoveryResponse>, Wrong> {
        let (Some(names), Some(answer)) = (&self.asked, &self.held) else { return Ok(None) };
        let chosen = choose(answer, names)?;
        let sent = self.sent.as_ref();
        let marks: BTreeMap<_, _> =
            chosen.iter().map(|secret| (secret.name.clone(), secret.mark())).collect();
        let is_sent = |(name, mark): (&String, &Vec<u8>)| {
            sent.is_some_and(|sent| sent.marks.get(name) == Some(mark))
        };
        if !in_any_case && marks.iter().all(is_sent) {
            return Ok(None);
        }
        let resources = chosen.iter().map(|secret| secret.secret(self.validation));
        let resources = resources.collect::<Result<_, _>>()?;
        let count = sent.map_or(0, |sent| sent.count).saturating_add(1);
        let (version, nonce) = (count.to_string(), format!("response-{count}"));
        self.sent = Some(Sent {
            count,
            nonce: nonce.clone(),
            version: version.clone(),
            marks,
            is_rejected: false,
        });
        let type_url = TYPE_URL.to_owned();
        Ok(Some(DiscoveryResponse { version_info: version, resources, type_url, nonce }))
    }
}

/// The answer to a request that opens no stream: without version or nonce.
pub(crate) fn once(
    request: &DiscoveryRequest,
    answer: &X509Answer,
) -> Result<DiscoveryResponse, Wrong> {
    let names = read(request)?;
    let validation = request.node.as_ref().map(Validation::of).unwrap_or_default();
    let resources = choose(answer, &names)?;
    let resources = resources.iter().map(|secret| secret.secret(validation));
    let resources = resources.collect::<Result<_, _>>()?;
    let type_url = TYPE_URL.to_owned();
    Ok(DiscoveryResponse { version_info: String::new(), resources, type_url, nonce: String::new() })
}

/// The names of a request, each once; empty ones stand for nothing.
fn read(request: &DiscoveryRequest) -> Result<BTreeSet<String>, Wrong> {
    // A client of this service alone may leave it out.
    if !request.type_url.is_empty() && request.type_url != TYPE_URL {
        return Err(Wrong::Type);
    }
    let names = &request.resource_names;
    if names.len() > NAMES_MAX {
        return Err(Wrong::ManyNames { names: names.len() });
    }
    if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
        return Err(Wrong::LongName);
    }
    Ok(names.iter().filter(|name| !name.is_empty()).cloned().collect())
}

/// Why a request gets no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("only secrets are served here, `{TYPE_URL}`")]
    Type,
    #[error("{names} names, at most {NAMES_MAX} are taken")]
    ManyNames { names: usize },
    #[error("a name is longer than {NAME_BYTES_MAX} bytes")]
    LongName,
    #[error("{0}")]
    Refused(#[from] secrets::Refused),
}

impl Wrong {
    /// Whether what there is to send is at fault, and not what was asked.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Refused(Refused::Malformed(_)))
    }
}

#[cfg(test)]
mod tests;
