//! What anyone may read: metadata, keys, our bundle (RFC 8414, RFC 7517, SPIFFE bundle format).

use std::collections::BTreeSet;

use authentication::Method;
use authorization::policy::Proof;
use authorization::presented::ALGORITHMS;
use credential::{KeyRing, Purpose};
use env::{Clock, Key, Store, Unavailable, World};
use jose::KeySet;
use oauth::metadata::{Endpoint, Metadata, MtlsEndpointAliases};
use oauth::protected_resource::ProtectedResource;
use oauth::{Issuer, Resource};
use registry::RegistrationPolicy;
use registry::admission::{Documents, Dynamic};
use serde_json::{Value, json};

use crate::facts::basis;
use crate::sign::ALGORITHM;
use crate::token::{DPOP_ALGORITHMS, GRANTS};

/// The document of the authorization server (RFC 8414 §2).
pub async fn metadata<W: World>(world: &W) -> Result<Metadata, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let site = world.site();
    let issuer = issuer(world)?;
    let mut document = Metadata::new(issuer, endpoint(&site.issuer, "/token")?);
    document.jwks_uri = Some(endpoint(&site.issuer, "/jwks")?);
    document.scopes_supported = facts.set().scopes().iter().cloned().collect();
    // RFC 8414 §2: absent `grant_types_supported` means the code and implicit grants, so it is
    // always there.
    document.grant_types_supported = GRANTS.iter().map(|grant| grant.as_str().to_owned()).collect();
    let registration = &facts.set().domain().registration;
    document.token_endpoint_auth_methods_supported = methods(registration);
    if registration.dynamic != Dynamic::Off {
        document.registration_endpoint = Some(endpoint(&site.issuer, "/register")?);
    }
    document.extensions.client_id_metadata_document_supported =
        registration.documents != Documents::Off;
    let assertions = authentication::private_key_jwt::ALGORITHMS;
    document.token_endpoint_auth_signing_alg_values_supported =
        assertions.iter().map(|one| one.as_str().to_owned()).collect();
    let wit = wimse::WIT_SVID_ALGORITHMS;
    document.client_attestation_signing_alg_values_supported =
        wit.iter().map(|one| one.as_str().to_owned()).collect();
    document.client_attestation_pop_signing_alg_values_supported =
        wit.iter().map(|one| one.as_str().to_owned()).collect();
    document.introspection_endpoint = Some(endpoint(&site.issuer, "/introspect")?);
    document.revocation_endpoint = Some(endpoint(&site.issuer, "/revoke")?);
    document.dpop_signing_alg_values_supported =
        DPOP_ALGORITHMS.iter().map(|one| one.as_str().to_owned()).collect();
    document.extensions.introspection_signing_alg_values_supported =
        vec![ALGORITHM.as_str().to_owned()];
    let types = facts.set().resources().iter().flat_map(|one| &one.details);
    document.extensions.authorization_details_types_supported =
        types.map(|one| one.type_.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    document.tls_client_certificate_bound_access_tokens = true;
    document.mtls_endpoint_aliases = Some(MtlsEndpointAliases {
        token_endpoint: Some(endpoint(&site.mtls_origin, "/token")?),
        introspection_endpoint: Some(endpoint(&site.mtls_origin, "/introspect")?),
        revocation_endpoint: Some(endpoint(&site.mtls_origin, "/revoke")?),
        ..MtlsEndpointAliases::default()
    });
    for resource in facts.set().resources() {
        let parsed = Resource::parse(&resource.audience(&site.gateway));
        document.protected_resources.extend(parsed.ok());
    }
    Ok(document)
}

/// What clients may authenticate by, as policy says.
fn methods(policy: &RegistrationPolicy) -> Vec<String> {
    let mut methods = Method::TOKEN_ENDPOINT.to_vec();
    if policy.tls_client_authorities.is_none() {
        methods.retain(|method| *method != Method::TlsClientAuth);
    }
    if !policy.attesters.is_empty() {
        methods.push(Method::Attestation);
    }
    if policy.client_secrets_that_can_be_stolen {
        methods.extend([Method::SecretBasic, Method::SecretPost]);
    }
    methods.into_iter().map(|method| method.name().to_owned()).collect()
}

/// The keys that our tokens are verified with: those of access, transaction and ID tokens, and
/// those that this server proves itself by as a client.
pub async fn jwks<W: World>(world: &W) -> Result<KeySet, Unavailable> {
    let purposes =
        [Purpose::AccessToken, Purpose::TxnToken, Purpose::IdToken, Purpose::ClientAssertion];
    let keys: Vec<_> = purposes.iter().map(|one| Key::of::<KeyRing>(one.name())).collect();
    let rows = world.store().snapshot(&keys).await?;
    let now = world.clock().now();
    let mut published = Vec::new();
    for purpose in purposes {
        if let Some(ring) = rows.get::<KeyRing>(purpose.name())? {
            published.extend(ring.published(now).map(|key| key.public.clone().with_use("sig")));
        }
    }
    KeySet::new(published).map_err(|error| Unavailable::of("store", error))
}

/// The bundle of our trust domain, as its endpoint serves it (SPIFFE Trust Domain and Bundle §4).
/// Without the keys of WITs for peers that refuse a bundle with a `use` they do not know.
pub async fn bundle<W: World>(world: &W, with_wit: bool) -> Result<Value, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let missing = || Unavailable::of("store", "no bundle of our own yet");
    let own = facts.trust.bundles.get(&facts.trust.own).ok_or_else(missing)?;
    Ok(if with_wit { own.to_value() } else { own.without_wit().to_value() })
}

/// What relying parties of OpenID Connect read to verify our JWT-SVIDs (OpenID Connect Discovery
/// 1.0 §3, as SPIRE's provider has it); `None` where policy names no issuer of JWT-SVIDs.
pub async fn oidc_discovery<W: World>(world: &W) -> Result<Option<Value>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let Some(issuer) = facts.set().domain().jwt_svid.issuer.as_ref() else { return Ok(None) };
    let base = issuer.as_str().trim_end_matches('/');
    Ok(Some(json!({
        // OpenID Connect Discovery 1.0 §4.3: "The issuer value returned MUST be identical to [...]
        // the iss Claim value".
        "issuer": issuer.as_str(),
        "jwks_uri": format!("{base}/keys"),
        // Required by §3, and there is none: nobody signs in here.
        "authorization_endpoint": "",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM.as_str()],
    })))
}

/// The keys of JWT-SVIDs alone, for relying parties; `None` where policy names no issuer of them.
pub async fn oidc_keys<W: World>(world: &W) -> Result<Option<Value>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    if facts.set().domain().jwt_svid.issuer.is_none() {
        return Ok(None);
    }
    let missing = || Unavailable::of("store", "no bundle of our own yet");
    let own = facts.trust.bundles.get(&facts.trust.own).ok_or_else(missing)?;
    let mut set = own.to_jwt_key_set();
    for key in set.get_mut("keys").and_then(Value::as_array_mut).into_iter().flatten() {
        // RFC 7517 §4.2: what a relying party knows.
        if let Some(members) = key.as_object_mut() {
            members.insert("use".to_owned(), json!("sig"));
        }
    }
    Ok(Some(set))
}

/// The document of a protected resource at the gateway (RFC 9728 §2); `None` for a name that is
/// none.
pub async fn protected_resource<W: World>(
    world: &W,
    name: &str,
) -> Result<Option<ProtectedResource>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let Some(resource) = facts.set().resource_named(name) else { return Ok(None) };
    let id = Resource::parse(&resource.audience(&world.site().gateway))
        .map_err(|error| Unavailable::of("settings", error))?;
    let mut document = ProtectedResource::new(id, issuer(world)?);
    document.scopes_supported = resource.scopes.keys().cloned().collect();
    document.resource_name = Some(resource.title.clone().unwrap_or_else(|| resource.name.clone()));
    document.tls_client_certificate_bound_access_tokens = resource.proof == Proof::Mtls;
    Ok(Some(document))
}

/// What our own tokens are signed with, for consumers that pin it.
pub fn algorithms() -> impl Iterator<Item = &'static str> {
    ALGORITHMS.iter().map(|one| one.as_str())
}

fn issuer<W: World>(world: &W) -> Result<Issuer, Unavailable> {
    Issuer::parse(&world.site().issuer).map_err(|error| Unavailable::of("settings", error))
}

fn endpoint(origin: &str, path: &str) -> Result<Endpoint, Unavailable> {
    Endpoint::parse(&format!("{origin}{path}")).map_err(|error| Unavailable::of("settings", error))
}
