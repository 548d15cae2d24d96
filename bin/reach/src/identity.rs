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
pub struct Identity {
    client: Client,
    address: EndpointAddress,
}

impl Identity {
    /// Connects.
    pub async fn at(address: EndpointAddress) -> Result<Self, Failure> {
        let client = Client::connect(&address).await;
        let client = client.map_err(|error| failure(&address, &error))?;
        Ok(Self { client, address })
    }

    /// The X.509-SVID of `id`, or the default one.
    pub async fn x509(&self, id: Option<&SpiffeId>) -> Result<X509Svid, Failure> {
        let stream = self.client.x509().await.map_err(|error| self.failure(&error))?;
        let svids = self.first(stream).await?.svids;
        of(svids, id, |svid| &svid.spiffe_id)
    }

    /// The WIT-SVID of `id`, or the default one.
    pub async fn wit(&self, id: Option<&SpiffeId>) -> Result<WitSvid, Failure> {
        let stream = self.client.wit(id).await.map_err(|error| self.failure(&error))?;
        let svids = self.first(stream).await?.svids;
        of(svids, id, |svid| &svid.spiffe_id)
    }

    /// A JWT-SVID for these audiences, of `id` or of the default identity.
    pub async fn jwt(
        &self,
        audiences: &[&str],
        id: Option<&SpiffeId>,
    ) -> Result<JwtAnswer, Failure> {
        let svids = self.client.jwt(audiences, id).await.map_err(|error| self.failure(&error))?;
        of(svids, id, |svid| &svid.spiffe_id)
    }

    /// The connection itself, for what has no identity in it.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The first item of a stream; what comes later replaces it, for those who stay.
    pub async fn first<T>(
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
    pub fn failure(&self, error: &CallError) -> Failure {
        failure(&self.address, error)
    }

    fn silent(&self, why: &str) -> Failure {
        failure(&self.address, &CallError::Unavailable { message: why.to_owned() })
    }
}

/// The certificates as PEM, in their order.
pub fn pem(concatenated: &[u8]) -> Result<String, Failure> {
    workload::pem::certificates(concatenated).map_err(|error| {
        Failure::refused("workload::Certificates", format!("what the Workload API sent: {error}"))
    })
}

/// The one of `id`, or the default one.
pub fn of<T>(
    svids: Vec<T>,
    id: Option<&SpiffeId>,
    of: impl Fn(&T) -> &SpiffeId,
) -> Result<T, Failure> {
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
