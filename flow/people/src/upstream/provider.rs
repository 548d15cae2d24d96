//! An identity provider as its client: what is asked of it, and what is believed of the answer.

use authentication::own_assertion;
use authentication::policy::{Proof, Upstream};
use credential::{KeyRing, Purpose};
use env::{Asks, Outbound, Reach, SharedSecret, Unavailable, World};
use jose::{Algorithm, KeySet, Kind, Refused as TokenRefused, Unverified, Verified, json};
use oauth::client_assertion::AssertionType;
use oauth::error::TokenError;
use oauth::metadata::{Endpoint, WELL_KNOWN_OPENID};
use oauth::pkce::CodeVerifier;
use oauth::redirect_uri::RedirectUri;
use oauth::token_response::TokenResponse;
use oauth::{ClientId, TokenId, TokenText};
use openid::discovery::Discovery;
use openid::id_token::CheckedIdToken;
use openid::relying_party;
use openid::userinfo::Userinfo;
use serde_json::{Map, Value};
use time::{Span, UnixTime};

use super::Refusal;
use crate::facts::one;
use crate::record::public_id;
use crate::sign::{self, ALGORITHM};

/// What providers may sign with. No HMAC: a secret that two know proves nothing of either.
const ALGORITHMS: &[Algorithm] =
    &[Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256];

/// A provider of policy, and what it says of itself.
pub(crate) struct Provider<'a, W> {
    world: &'a W,
    policy: &'a Upstream,
    pub(crate) client_id: ClientId,
    pub(crate) discovery: Discovery,
}

impl<'a, W: World> Provider<'a, W> {
    /// Reads its discovery document (OpenID Connect Discovery 1.0 §4).
    pub(crate) async fn find(
        world: &'a W,
        policy: &'a Upstream,
    ) -> Result<Result<Self, Refusal>, Unavailable> {
        let base = policy.issuer.as_str().trim_end_matches('/');
        let url = format!("{base}/.well-known/{WELL_KNOWN_OPENID}");
        let text = ask(world, policy, url, Asks::Document { fresh: false }).await?;
        let client_id = ClientId::parse(&policy.client_id);
        let client_id = client_id.map_err(|error| Unavailable::of("policy", error))?;
        let read = Discovery::parse(&text, &policy.issuer).map_err(Refusal::Discovery);
        Ok(read.map(|discovery| Self { world, policy, client_id, discovery }))
    }

    /// Where browsers are sent.
    pub(crate) fn authorization_endpoint(&self) -> Result<&Endpoint, Refusal> {
        let endpoint = self.discovery.metadata.authorization_endpoint.as_ref();
        endpoint.ok_or(Refusal::Lacks("authorization_endpoint"))
    }

    /// Redeems a code (OpenID Connect Core 1.0 §3.1.3.1).
    pub(crate) async fn redeem(
        &self,
        code: &TokenText,
        redirect_uri: &RedirectUri,
        verifier: &CodeVerifier,
        now: UnixTime,
    ) -> Result<Result<TokenResponse, Refusal>, Unavailable> {
        let mut body = relying_party::redeem(code, redirect_uri, verifier);
        let secret = match self.policy.authenticate {
            Proof::PrivateKeyJwt => {
                let assertion = self.assertion(now).await?;
                let kind = AssertionType::Jwt.as_str();
                for (name, value) in
                    [("client_assertion_type", kind), ("client_assertion", assertion.as_str())]
                {
                    body.push('&');
                    body.push_str(name);
                    body.push('=');
                    body.push_str(&value.replace(':', "%3A"));
                }
                None
            }
            how => Some(SharedSecret {
                provider: self.policy.name.clone(),
                client_id: self.policy.client_id.clone(),
                how,
            }),
        };
        let url = self.discovery.metadata.token_endpoint.as_str().to_owned();
        let text = ask(self.world, self.policy, url, Asks::Redeem { body, secret }).await?;
        // RFC 6749 §5.2: a code that was used before, or too late, is refused so.
        if let Ok(refused) = json::parse::<TokenError>(&text) {
            return Ok(Err(Refusal::Denied(refused.error.to_string())));
        }
        Ok(json::parse::<TokenResponse>(&text).map_err(|error| Refusal::Answer(error.to_string())))
    }

    /// RFC 7523 §3, with a key of ours that is in our key set.
    async fn assertion(&self, now: UnixTime) -> Result<String, Unavailable> {
        let purpose = Purpose::ClientAssertion;
        let ring = one::<W, KeyRing>(self.world, purpose.name()).await?;
        let ring = ring.ok_or_else(|| Unavailable::of("keys", "no key to prove ourselves by"))?;
        let key = sign::signer(&ring, now)?;
        let fault = |error: &dyn std::fmt::Display| Unavailable::of("keys", error);
        let order = own_assertion::Order {
            client_id: &self.client_id,
            issuer: &self.policy.issuer,
            jti: TokenId::parse(&public_id(self.world)).map_err(|error| fault(&error))?,
            now,
            kid: &key.kid,
            algorithm: ALGORITHM,
        };
        let checked = own_assertion::build(&order).map_err(|error| fault(&error))?;
        let token = sign::token(self.world, &sign::handle(purpose, key), checked).await?;
        Ok(token.expose().to_owned())
    }

    /// Verifies a token that the provider signed. Where no key fits, its keys are read again: they
    /// may have been rotated (OpenID Connect Core 1.0 §10.1.1).
    pub(crate) async fn verify<K: Kind>(
        &self,
        text: &str,
        now: UnixTime,
        skew: Span,
    ) -> Result<Result<Verified<K>, Refusal>, Unavailable> {
        let Some(url) = &self.discovery.metadata.jwks_uri else {
            return Ok(Err(Refusal::Lacks("jwks_uri")));
        };
        for fresh in [false, true] {
            let asks = Asks::Document { fresh };
            let keys = ask(self.world, self.policy, url.as_str().to_owned(), asks).await?;
            let keys = match KeySet::parse(&keys) {
                Ok(keys) => keys,
                Err(error) => return Ok(Err(Refusal::Answer(error.to_string()))),
            };
            let token = match Unverified::<K>::parse(text) {
                Ok(token) => token,
                Err(error) => return Ok(Err(Refusal::Malformed(error))),
            };
            match token.verify(&keys, ALGORITHMS, now, skew) {
                Err(TokenRefused::NoKey(_)) if !fresh => {}
                verified => return Ok(verified.map_err(Refusal::Token)),
            }
        }
        Ok(Err(Refusal::Lacks("a key")))
    }

    /// What it says of the user: in the ID token, or where that says little at its userinfo
    /// endpoint (OpenID Connect Core 1.0 §5.4).
    pub(crate) async fn claims(
        &self,
        token: &CheckedIdToken,
        access_token: &str,
    ) -> Result<Result<Map<String, Value>, Refusal>, Unavailable> {
        let said = token.claims().more.clone();
        let says = |name: &str| said.contains_key(name);
        let Some(endpoint) = &self.discovery.userinfo_endpoint else { return Ok(Ok(said)) };
        if says("email") || says("preferred_username") || says("name") {
            return Ok(Ok(said));
        }
        let asks = Asks::Bearer(access_token.to_owned());
        let text = ask(self.world, self.policy, endpoint.as_str().to_owned(), asks).await?;
        let read = json::parse::<Userinfo>(&text);
        let read = read.map_err(|error| Refusal::Answer(error.to_string()));
        Ok(read.and_then(|read| Ok(read.of(token)?)))
    }
}

async fn ask<W: World>(
    world: &W,
    policy: &Upstream,
    url: String,
    what: Asks,
) -> Result<String, Unavailable> {
    let outside = world.outside();
    let outside =
        outside.ok_or_else(|| Unavailable::of("provider", "there is no client for that here"))?;
    let reach = Reach { ca: policy.ca.clone(), addresses: policy.addresses.clone() };
    outside.ask(&Outbound { url, reach, what }).await
}
