//! Bundles, for anyone: a host that has just joined asks on the connection on which it had no
//! certificate yet.

use env::World;
use spiffe::TrustDomain;
use tonic::{Request, Response, Status};

use super::wire::bundle::bundle_server::Bundle;
use super::wire::bundle::{GetBundleRequest, GetFederatedBundleRequest};
use super::wire::types;
use super::{Spire, convert};
use crate::service::unavailable;

#[tonic::async_trait]
impl<W: World> Bundle for Spire<W> {
    async fn get_bundle(
        &self,
        _: Request<GetBundleRequest>,
    ) -> Result<Response<types::Bundle>, Status> {
        self.bundle(None).await
    }

    async fn get_federated_bundle(
        &self,
        request: Request<GetFederatedBundleRequest>,
    ) -> Result<Response<types::Bundle>, Status> {
        // With whom we federate is told to agents of ours.
        self.standing().await?;
        let domain = TrustDomain::parse(&request.into_inner().trust_domain)
            .map_err(|error| Status::invalid_argument(format!("`trust_domain`: {error}")))?;
        self.bundle(Some(domain)).await
    }
}

impl<W: World> Spire<W> {
    async fn bundle(&self, domain: Option<TrustDomain>) -> Result<Response<types::Bundle>, Status> {
        let found = flow::spire::bundle(&*self.shared.world, domain).await.map_err(unavailable)?;
        let bundle = found.as_ref().and_then(convert::bundle);
        bundle.map(Response::new).ok_or_else(|| Status::not_found("no bundle of that trust domain"))
    }
}
