//! The caller's own identity, as the Workload API gives it.

use std::pin::pin;
use std::time::Duration;

use spiffe::{EndpointAddress, SpiffeId};
use tokio_stream::{Stream, StreamExt as _};
use workload::client::{CallError, Client};
use workload::{JwtAnswer, WitSvid, X509Svid};

use crate::exit::Failure;

/// How long the first answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// A connection to the Workload API.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    client: Client,
    address: EndpointAddress,
}

impl Identity {
    /// Connects.
    pub(crate) async fn at(address: EndpointAddress) -> Result<Self, Failure> {
        let client = Client::connect(&address).await;
        let client = client.map_err(|error| failure(&address, &error))?;
        Ok(Self { client, address })
    }

    /// The X.509-SVID of `id`, or the default one.
    pub(crate) async fn x509(&self, id: Option<&SpiffeId>) -> Result<X509Svid, Failure> {
        let stream = self.client.x509().await.map_err(|error| self.failure(&error))?;
        let svids = self.first(stream).await?.svids;
        of(svids, id, |svid| &svid.spiffe_id)
    }

    /// The WIT-SVID of `id`, or the default one.
    pub(crate) async fn wit(&self, id: Option<&SpiffeId>) -> Result<WitSvid, Failure> {
        let stream = self.client.wit(id).await.map_err(|error| self.failure(&error))?;
        let svids = self.first(stream).await?.svids;
        of(svids, id, |svid| &svid.spiffe_id)
    }

    /// A JWT-SVID for these audiences, of `id` or of the default identity.
    pub(crate) async fn jwt(
        &self,
        audiences: &[&str],
        id: Option<&SpiffeId>,
    ) -> Result<JwtAnswer, Failure> {
        let svids = self.client.jwt(audiences, id).await.map_err(|error| self.failure(&error))?;
        of(svids, id, |svid| &svid.spiffe_id)
    }

    /// The connection itself, for what has no identity in it.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// The first item of a stream; what comes later replaces it, for those who stay.
    pub(crate) async fn first<T>(
        &self,
        stream: impl Stream<Item = Result<T, CallError>>,
    ) -> Result<T, Failure> {
        let mut stream = pin!(stream);
        match tokio::time::timeout(ANSWER_TIME_MAX, stream.next()).await {
            Ok(Some(item)) => item.map_err(|error| self.failure(&error)),
            Ok(None) => Err(self.silent("it ended without an answer")),
            Err(_) => Err(self.silent("no answer in time")),
        }
    }

    /// What a call's error means for the command.
    pub(crate) fn failure(&self, error: &CallError) -> Failure {
        failure(&self.address, error)
    }

    fn silent(&self, why: &str) -> Failure {
        failure(&self.address, &CallError::Unavailable { message: why.to_owned() })
    }
}

/// The certificates that stand one behind the other, each in DER.
pub(crate) fn certificates(concatenated: &[u8]) -> Result<Vec<&[u8]>, NotCertificates> {
    let mut rest = concatenated;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = der_length(rest).ok_or(NotCertificates { at: found.len() })?;
        let (one, after) =
            rest.split_at_checked(length).ok_or(NotCertificates { at: found.len() })?;
        found.push(one);
        rest = after;
    }
    Ok(found)
}

/// The certificates as PEM, in their order.
pub(crate) fn pem(concatenated: &[u8]) -> Result<String, Failure> {
    let refused = |error: &dyn std::fmt::Display| {
        Failure::refused("workload::Certificates", format!("what the Workload API sent: {error}"))
    };
    let mut text = String::new();
    for der in certificates(concatenated).map_err(|error| refused(&error))? {
        let certificate = x509::CertificateDer::from_der(der.to_vec());
        text.push_str(&certificate.map_err(|error| refused(&error))?.to_pem());
    }
    Ok(text)
}

/// Bytes that are no row of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificate {at} is no DER of the length that it says")]
pub(crate) struct NotCertificates {
    /// Counted from 0.
    at: usize,
}

/// The whole length of the sequence at the beginning (X.690 §8.1.3: short form, or 1 to 3 octets).
fn der_length(bytes: &[u8]) -> Option<usize> {
    let [0x30, first, rest @ ..] = bytes else { return None };
    let octets = match first {
        0..=0x7f => return Some(2 + usize::from(*first)),
        0x81..=0x83 => usize::from(first & 0x7f),
        _ => return None,
    };
    let length =
        rest.get(..octets)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    Some(2 + octets + length)
}

fn of<T>(svids: Vec<T>, id: Option<&SpiffeId>, of: impl Fn(&T) -> &SpiffeId) -> Result<T, Failure> {
    let others: Vec<_> = svids.iter().map(|svid| of(svid).to_string()).collect();
    // Workload API §4.4: "the first in the list" is the default identity.
    let mut wanted = svids.into_iter().filter(|svid| id.is_none_or(|id| of(svid) == id));
    wanted.next().ok_or_else(|| {
        let id = id.map(ToString::to_string).unwrap_or_default();
        let message = format!("this process is not `{id}`");
        Failure::refused("workload::OtherIdentity", message)
            .hint(format!("it is {}", others.join(", ")))
    })
}

fn failure(address: &EndpointAddress, error: &CallError) -> Failure {
    match error {
        CallError::Denied { .. } => Failure::refused("workload::Denied", error).hint(
            "only registered and active agents and services have an identity: \
             `aims agent list` shows them, `aims agent register --exec PATH …` makes one, \
             `aims audit tail --log node` shows what was measured of this program",
        ),
        CallError::Invalid { .. } => Failure::misused(error),
        CallError::Unimplemented { .. } => Failure::refused("workload::Unimplemented", error)
            .hint("this server of the Workload API has no such profile"),
        CallError::Unavailable { .. } => {
            Failure::unavailable(format!("the Workload API at `{address}`: {error}")).hint(
                "start it with `aims up` or `aims node`, or name it: `--socket ADDRESS`, \
                 `--dir DIR`",
            )
        }
        CallError::Incomplete { .. } | CallError::Failed { .. } => Failure::unavailable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_told_apart_by_their_lengths() {
        let long: Vec<u8> = [0x30, 0x82, 0x01, 0x00].into_iter().chain([7; 256]).collect();
        let check = |bytes: &[u8], expect: Result<Vec<usize>, usize>| {
            let found = certificates(bytes).map(|all| all.iter().map(|one| one.len()).collect());
            assert_eq!(found.map_err(|error| error.at), expect, "{bytes:?}");
        };
        check(&[], Ok(vec![]));
        check(&[0x30, 1, 5], Ok(vec![3]));
        check(&[&[0x30, 1, 5], long.as_slice()].concat(), Ok(vec![3, 260]));
        check(&[0x30, 0x81, 2, 0, 0], Ok(vec![5]));
        check(&[0x30, 1, 5, 0x31, 0], Err(1));
        check(&[0x30, 2, 5], Err(0));
        check(&[0x30], Err(0));
        check(&[0x30, 0x80, 0, 0], Err(0));
        check(&[0x30, 0x84, 0, 0, 0, 0], Err(0));
    }

    #[test]
    fn the_wanted_identity_is_chosen_or_named_as_missing() {
        let ids =
            ["spiffe://a.example/x", "spiffe://a.example/y"].map(|id| SpiffeId::parse(id).unwrap());
        let [x, y] = ids.clone();
        let choose = |id| of(ids.to_vec(), id, |id| id);
        assert_eq!(choose(None).unwrap(), x);
        assert_eq!(choose(Some(&y)).unwrap(), y);
        let other = SpiffeId::parse("spiffe://a.example/z").unwrap();
        let refused = choose(Some(&other)).unwrap_err();
        assert_eq!(
            refused.problem().hint.clone().unwrap(),
            "it is spiffe://a.example/x, spiffe://a.example/y"
        );
    }
}
