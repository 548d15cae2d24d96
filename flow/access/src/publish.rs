//! What anyone may read: metadata, keys, our bundle (RFC 8414, RFC 7517, SPIFFE bundle format).

use std::collections::BTreeSet;

use authentication::session::Acr;
use authentication::{Method, private_key_jwt};
use authorization::Audience;
use authorization::policy::Proof;
use authorization::presented::ALGORITHMS;
use credential::{KeyRing, Purpose};
use env::{Clock, Key, Store, Unavailable, World};
use jose::{Algorithm, KeySet};
use oauth::authorization_request::ResponseMode;
use oauth::metadata::{Endpoint, Metadata, MtlsEndpointAliases};
use oauth::protected_resource::ProtectedResource;
use oauth::token_request::GrantType;
use oauth::{Issuer, Resource};
use registry::RegistrationPolicy;
use registry::admission::{Documents, Dynamic};
use serde_json::Value;

use crate::discovery;
use crate::facts::{Basis, basis};
use crate::token::{DPOP_ALGORITHMS, Endpoint as At, GRANTS, gives_challenges};

/// What signed backchannel requests may be signed with (CIBA Core 1.0 §7.1.1).
pub const CIBA_ALGORITHMS: &[Algorithm] = &[Algorithm::Es256, Algorithm::Ps256, Algorithm::EdDsa];

/// The document of the authorization server (RFC 8414 §2).
pub async fn metadata<W: World>(world: &W) -> Result<Metadata, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let site = world.site();
    let issuer = issuer(world)?;
    let mut document = Metadata::new(issuer, endpoint(&site.issuer, "/token")?);
    document.jwks_uri = Some(endpoint(&site.issuer, "/jwks")?);
    document.extensions.aims_txn_token_jwks_uri = Some(endpoint(&site.issuer, TXN_TOKEN_KEYS)?);
    document.scopes_supported = facts.set().scopes().iter().cloned().collect();
    document.scopes_supported.extend(discovery::openid_scopes());
    // RFC 8414 §2: absent `grant_types_supported` means the code and implicit grants, so it is
    // always there.
    let deferred = facts.set().domain().approvals.deferred;
    let served = GRANTS.iter().filter(|grant| deferred || **grant != GrantType::Deferred);
    document.grant_types_supported = served.map(|grant| grant.as_str().to_owned()).collect();
    document.extensions.deferred_token_response_supported = deferred;
    let registration = &facts.set().domain().registration;
    let methods = methods(registration);
    // Who asks about tokens proves something; whoever has a token may take it back.
    document.extensions.introspection_endpoint_auth_methods_supported =
        methods.iter().filter(|one| *one != Method::None.name()).cloned().collect();
    document.extensions.revocation_endpoint_auth_methods_supported.clone_from(&methods);
    document.token_endpoint_auth_methods_supported = methods;
    if registration.dynamic != Dynamic::Off {
        document.registration_endpoint = Some(endpoint(&site.issuer, "/register")?);
    }
    document.extensions.client_id_metadata_document_supported =
        registration.documents != Documents::Off;
    let assertions = authentication::private_key_jwt::ALGORITHMS;
    let assertions: Vec<_> = assertions.iter().map(|one| one.as_str().to_owned()).collect();
    let more = &mut document.extensions;
    more.introspection_endpoint_auth_signing_alg_values_supported.clone_from(&assertions);
    more.revocation_endpoint_auth_signing_alg_values_supported.clone_from(&assertions);
    document.token_endpoint_auth_signing_alg_values_supported = assertions;
    // Of WITs, and of what the attesters of clients sign: those that count for both.
    let wit =
        wimse::WIT_SVID_ALGORITHMS.iter().filter(|one| private_key_jwt::ALGORITHMS.contains(one));
    let attestations: Vec<_> = wit.map(|one| one.as_str().to_owned()).collect();
    document.client_attestation_signing_alg_values_supported = attestations.clone();
    document.client_attestation_pop_signing_alg_values_supported = attestations;
    if gives_challenges(facts.set().domain()) {
        let path = crate::token::CHALLENGE;
        document.extensions.challenge_endpoint = Some(endpoint(&site.issuer, path)?);
    }
    document.introspection_endpoint = Some(endpoint(&site.issuer, "/introspect")?);
    document.revocation_endpoint = Some(endpoint(&site.issuer, "/revoke")?);
    let more = &mut document.extensions;
    more.device_authorization_endpoint = Some(endpoint(&site.issuer, "/device_authorization")?);
    more.backchannel_authentication_endpoint = Some(endpoint(&site.issuer, "/bc-authorize")?);
    more.backchannel_token_delivery_modes_supported =
        ["poll", "ping", "push"].map(str::to_owned).to_vec();
    more.backchannel_user_code_parameter_supported = true;
    more.backchannel_authentication_request_signing_alg_values_supported =
        CIBA_ALGORITHMS.iter().map(|one| one.as_str().to_owned()).collect();
    more.transaction_authorization_endpoint = Some(endpoint(&site.issuer, At::Transaction.path())?);
    document.dpop_signing_alg_values_supported =
        DPOP_ALGORITHMS.iter().map(|one| one.as_str().to_owned()).collect();
    document.extensions.introspection_signing_alg_values_supported = for_clients(world);
    let types = facts.set().resources().iter().flat_map(|one| &one.details);
    document.extensions.authorization_details_types_supported =
        types.map(|one| one.type_.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    document.extensions.authorization_signing_alg_values_supported = for_clients(world);
    of_browsers(&mut document, &facts, &site.issuer)?;
    document.tls_client_certificate_bound_access_tokens = true;
    document.mtls_endpoint_aliases = Some(aliases(&site.mtls_origin)?);
    for resource in facts.set().resources() {
        let parsed = Resource::parse(&resource.audience(&site.gateway));
        document.protected_resources.extend(parsed.ok());
    }
    Ok(document)
}

/// What is signed for clients by what they register.
pub(crate) fn for_clients<W: World>(world: &W) -> Vec<String> {
    crate::for_clients::offered(world).map(|one| one.as_str().to_owned()).collect()
}

/// RFC 8705 §5: what a client may ask with a certificate.
fn aliases(origin: &str) -> Result<MtlsEndpointAliases, Unavailable> {
    let at = |path: &str| endpoint(origin, path).map(Some);
    Ok(MtlsEndpointAliases {
        token_endpoint: at("/token")?,
        pushed_authorization_request_endpoint: at("/par")?,
        introspection_endpoint: at("/introspect")?,
        revocation_endpoint: at("/revoke")?,
        device_authorization_endpoint: at("/device_authorization")?,
        backchannel_authentication_endpoint: at("/bc-authorize")?,
        userinfo_endpoint: at("/userinfo")?,
        registration_endpoint: None,
    })
}

/// What clients may authenticate by, as policy says.
fn methods(policy: &RegistrationPolicy) -> Vec<String> {
    let mut methods = Method::TOKEN_ENDPOINT.to_vec();
    if policy.tls_client_authorities.is_none() {
        methods.retain(|method| *method != Method::TlsClientAuth);
    }
    if !policy.attesters.is_empty() {
        methods.extend([Method::Attestation, Method::AttestationDpop]);
    }
    if policy.client_secrets_that_can_be_stolen {
        methods.extend([Method::SecretBasic, Method::SecretPost]);
    }
    methods.into_iter().map(|method| method.name().to_owned()).collect()
}

/// What clients are told that bring users: the authorization endpoint, and what it takes.
fn of_browsers(document: &mut Metadata, facts: &Basis, issuer: &str) -> Result<(), Unavailable> {
    document.authorization_endpoint = Some(endpoint(issuer, "/authorize")?);
    // RFC 9700 §2.1.2 leaves no other.
    document.response_types_supported = vec!["code".to_owned()];
    document.code_challenge_methods_supported = vec![oauth::pkce::METHOD.to_owned()];
    // RFC 9207 §3.
    document.authorization_response_iss_parameter_supported = true;
    let more = &mut document.extensions;
    more.response_modes_supported =
        ResponseMode::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    more.pushed_authorization_request_endpoint = Some(endpoint(issuer, "/par")?);
    more.require_pushed_authorization_requests = facts.set().domain().consent.require_pushed;
    more.require_signed_request_object = facts.set().domain().consent.require_signed;
    more.request_parameter_supported = true;
    more.request_object_signing_alg_values_supported =
        REQUEST_OBJECTS.iter().map(|one| one.as_str().to_owned()).collect();
    more.acr_values_supported = Acr::ALL.iter().map(|one| one.as_str().to_owned()).collect();
    Ok(())
}

/// What request objects may be signed with (RFC 9101 §6.2).
pub const REQUEST_OBJECTS: &[Algorithm] =
    &[Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256];

/// Where the keys of transaction tokens are.
pub const TXN_TOKEN_KEYS: &str = "/txn-token/jwks";

/// The keys that tokens of ours are verified with that say who somebody is: those of access and ID
/// tokens, the latter of each algorithm that somebody asked for, and those that this server proves
/// itself by as a client. All of them are this server's own: who reads tokens by this set takes the
/// word of each of its keys for any of them.
pub async fn jwks<W: World>(world: &W) -> Result<KeySet, Unavailable> {
    let ours = [Purpose::AccessToken, Purpose::ClientAssertion];
    keys_of(world, &[ours.as_slice(), &Purpose::FOR_CLIENTS].concat()).await
}

/// The keys that transaction tokens and challenges are verified with: of this server, and of the
/// gateways that it delegated some to.
pub async fn txn_token_jwks<W: World>(world: &W) -> Result<KeySet, Unavailable> {
    keys_of(world, &[Purpose::TxnToken]).await
}

async fn keys_of<W: World>(world: &W, purposes: &[Purpose]) -> Result<KeySet, Unavailable> {
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
    document.authorization_details_types_supported =
        resource.details.iter().map(|one| one.type_.clone()).collect();
    document.resource_name = Some(resource.title.clone().unwrap_or_else(|| resource.name.clone()));
    document.tls_client_certificate_bound_access_tokens = resource.proof == Proof::Mtls;
    // RFC 9728 §2: "dpop_bound_access_tokens_required".
    document.dpop_bound_access_tokens_required = resource.proof == Proof::Dpop;
    // draft-rosomakho-oauth-txn-challenge §4.3: "txn_challenge_jwks_uri".
    document.txn_challenge_jwks_uri = Some(endpoint(&world.site().issuer, TXN_TOKEN_KEYS)?);
    document.aims_profiles = resource.profiles.iter().map(ToString::to_string).collect();
    if resource.proof == Proof::Dpop {
        let audience = Audience::of_resource(resource, &world.site().gateway);
        let algorithms = audience.proof_algorithms(DPOP_ALGORITHMS);
        document.dpop_signing_alg_values_supported =
            algorithms.iter().map(|one| one.as_str().to_owned()).collect();
    }
    Ok(Some(document))
}

/// What our own tokens are signed with, for consumers that pin it.
pub fn algorithms() -> impl Iterator<Item = &'static str> {
    ALGORITHMS.iter().map(|one| one.as_str())
}

pub(crate) fn issuer<W: World>(world: &W) -> Result<Issuer, Unavailable> {
    Issuer::parse(&world.site().issuer).map_err(|error| Unavailable::of("settings", error))
}

pub(crate) fn endpoint(origin: &str, path: &str) -> Result<Endpoint, Unavailable> {
    Endpoint::parse(&format!("{origin}{path}")).map_err(|error| Unavailable::of("settings", error))
}
