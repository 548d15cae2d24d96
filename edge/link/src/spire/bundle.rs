//! Bundles, for anyone: a host that has just joined asks on the connection on which it had no
//! certificate yet. And the keys of servers below ours, which they add to it.

use env::{Purpose, SuperiorKey, World};
use flow::nested::Asker;
use spiffe::TrustDomain;
use tonic::{Request, Response, Status};
use x509::CERTIFICATE_BYTES_MAX;

use super::wire::bundle::bundle_server::Bundle;
use super::wire::bundle::{
    GetBundleRequest, GetFederatedBundleRequest, PublishJwtAuthorityRequest,
    PublishJwtAuthorityResponse, PublishWitAuthorityRequest, PublishWitAuthorityResponse,
};
use super::wire::types;
use super::{Spire, convert, status};
use crate::asked::{self, Malformed};
use crate::service::{malformed, unavailable};

/// The longest id of a key of a server below, in bytes.
const KEY_ID_BYTES_MAX: usize = 255;

#[tonic::async_trait]
impl<W: World> Bundle for Spire<W> {
    async fn get_bundle(
        &self,
        _: Request<GetBundleRequest>,
    ) -> Result<Response<types::Bundle>, Status> {
        self.bundle(None).await
    }

    async fn publish_jwt_authority(
        &self,
        request: Request<PublishJwtAuthorityRequest>,
    ) -> Result<Response<PublishJwtAuthorityResponse>, Status> {
        let key = request.into_inner().jwt_authority;
        let key = key.map(|key| (key.key_id, key.public_key, key.expires_at));
        let bundle = self.publish(key.map(|key| convert::key(Purpose::JwtSvid, key))).await?;
        let jwt_authorities = bundle.jwt_authorities;
        Ok(Response::new(PublishJwtAuthorityResponse { jwt_authorities }))
    }

    async fn publish_wit_authority(
        &self,
        request: Request<PublishWitAuthorityRequest>,
    ) -> Result<Response<PublishWitAuthorityResponse>, Status> {
        let key = request.into_inner().wit_authority;
        let key = key.map(|key| (key.key_id, key.public_key, key.expires_at));
        let bundle = self.publish(key.map(|key| convert::key(Purpose::Wit, key))).await?;
        let wit_authorities = bundle.wit_authorities;
        Ok(Response::new(PublishWitAuthorityResponse { wit_authorities }))
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
    /// Publishes a key of a server below ours; the bundle with it.
    async fn publish(&self, key: Option<SuperiorKey>) -> Result<types::Bundle, Status> {
        let caller = self.server().await?;
        let Some(key) = key else { return Err(malformed(Malformed::Missing("authority"))) };
        asked::text("key_id", &key.kid, KEY_ID_BYTES_MAX).map_err(malformed)?;
        asked::bytes("public_key", &key.spki_der, CERTIFICATE_BYTES_MAX).map_err(malformed)?;
        let asker = Asker { id: &caller.id, epoch: caller.epoch };
        let done = flow::nested::publish(&*self.shared.world, asker, key).await;
        let done = done.map_err(unavailable)?.into_value();
        done.map_err(|why| status::not_nested(&why))?;
        self.bundle(None).await.map(Response::into_inner)
    }

    async fn bundle(&self, domain: Option<TrustDomain>) -> Result<Response<types::Bundle>, Status> {
        let found = flow::spire::bundle(&*self.shared.world, domain).await.map_err(unavailable)?;
        let bundle = found.as_ref().and_then(convert::bundle);
        bundle.map(Response::new).ok_or_else(|| Status::not_found("no bundle of that trust domain"))
    }
}
