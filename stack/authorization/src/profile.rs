//! Profiles: what a client must obey beside what everybody must, and whoever wants a token for a
//! resource that says so. One table: rows are demands,
//! columns are profiles, and each endpoint asks for the rows that are its own.
//!
//! [FAPI 2.0 Security Profile](https://openid.net/specs/fapi-security-profile-2_0-final.html),
//! [FAPI 2.0 Message Signing](https://openid.net/specs/fapi-message-signing-2_0.html),
//! [FAPI-CIBA](https://openid.net/specs/openid-financial-api-ciba.html), the authorization part of
//! MCP 2026-07-28. What they demand of everyone here already (PKCE with S256, `iss`, codes of 60
//! seconds, no implicit and no password grant, one audience a token) has no row.

use std::collections::BTreeSet;
use std::fmt;

use jose::Algorithm;
use oauth::redirect_uri::{RedirectKind, RedirectUri};
use oauth::registration::{ClientAuthMethod, DeliveryMode, Registration};
use serde::{Deserialize, Serialize};

use crate::client::Facet;

/// A profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// FAPI 2.0 Security Profile.
    Fapi2,
    /// FAPI 2.0 Message Signing, with all of the former.
    Fapi2MessageSigning,
    /// FAPI-CIBA.
    FapiCiba,
    /// What MCP says of its clients.
    Mcp,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fapi2, Self::Fapi2MessageSigning, Self::FapiCiba, Self::Mcp];

    /// The name in settings and orders.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fapi2 => "fapi2",
            Self::Fapi2MessageSigning => "fapi2-message-signing",
            Self::FapiCiba => "fapi-ciba",
            Self::Mcp => "mcp",
        }
    }

    /// The profile of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is demanded: one row a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Demand {
    /// The client proves a key of its own; no secret, no name alone.
    ProvesAKey,
    /// Its signatures are `PS256`, `ES256` or `EdDSA`.
    StrongAlgorithms,
    /// Every redirect leads to `https`.
    SecureRedirects,
    /// Access tokens are bound to a key of the client, by DPoP or mutual TLS.
    BoundTokens,
    /// Authorization requests are pushed.
    Pushed,
    /// A pushed request names its `redirect_uri`.
    NamesRedirect,
    /// Authorization requests are signed, for at most an hour.
    SignedRequests,
    /// Authorization responses are signed.
    SignedResponses,
    /// The client gives no push of tokens (CIBA).
    NoPush,
    /// Backchannel requests are signed, for at most an hour.
    SignedBackchannel,
    /// Backchannel requests carry a binding message, or details of what is asked.
    BindingMessage,
    /// `resource` is named.
    NamesResource,
}

const F: Profile = Profile::Fapi2;
const S: Profile = Profile::Fapi2MessageSigning;
const C: Profile = Profile::FapiCiba;
const M: Profile = Profile::Mcp;

/// The table.
pub const DEMANDS: &[(Demand, &[Profile])] = &[
    // FAPI 2.0 SP §5.3.2.1: "shall only support confidential clients as defined in [@!RFC6749]",
    // authenticated by mutual TLS or `private_key_jwt`; FAPI-CIBA §5.2.2: "shall only support
    // Confidential Clients for Client Initiated Backchannel Authentication flows".
    (Demand::ProvesAKey, &[F, S, C]),
    // FAPI 2.0 SP §5.4.1: "shall use `PS256`, `ES256`, or `EdDSA` (using the `Ed25519` variant)
    // algorithms".
    (Demand::StrongAlgorithms, &[F, S, C]),
    // §5.3.2.2: "shall not allow redirect URIs that use the "http" scheme except for native
    // clients"; here for those neither.
    (Demand::SecureRedirects, &[F, S]),
    // §5.3.2.1: "shall only issue sender-constrained access tokens".
    (Demand::BoundTokens, &[F, S, C]),
    // §5.3.2.2: "shall reject authorization requests sent without [@!RFC9126]".
    (Demand::Pushed, &[F, S]),
    // §5.3.2.2: "shall require the `redirect_uri` parameter in pushed authorization requests".
    (Demand::NamesRedirect, &[F, S]),
    // FAPI 2.0 MS §5.3.1: "shall support, require use of, and verify signed request objects".
    (Demand::SignedRequests, &[S]),
    // FAPI 2.0 MS §5.4.1: "shall support, require use of, and issue signed authorization
    // responses".
    (Demand::SignedResponses, &[S]),
    // FAPI-CIBA §5.2.2: "shall not support CIBA push mode".
    (Demand::NoPush, &[C]),
    // §5.2.2: "shall require Backchannel Authentication Endpoint requests to be signed".
    (Demand::SignedBackchannel, &[C]),
    // §5.2.2: "shall ensure unique authorization context exists in the authorization request or
    // require a binding_message in the authentication request".
    (Demand::BindingMessage, &[C]),
    // MCP 2026-07-28: "`resource` parameter [...] MUST be included in both authorization requests
    // and token requests."
    (Demand::NamesResource, &[M]),
];

/// The signatures that count where they must be strong.
pub const STRONG: &[Algorithm] = &[Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa];

/// What these profiles demand together.
pub fn demands<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> BTreeSet<Demand> {
    let profiles: BTreeSet<Profile> = profiles.into_iter().copied().collect();
    let of = |(demand, of): &(Demand, &[Profile])| {
        of.iter().any(|profile| profiles.contains(profile)).then_some(*demand)
    };
    DEMANDS.iter().filter_map(of).collect()
}

/// What a registration must be under these demands.
pub fn of_registration(demands: &BTreeSet<Demand>, read: &Registration) -> Result<(), Unmet> {
    use ClientAuthMethod as Method;
    let method = read.token_endpoint_auth_method;
    let proves = !method.is_symmetric() && method != Method::None;
    let wants = |demand| demands.contains(&demand);
    if wants(Demand::ProvesAKey) && !proves {
        return Err(Unmet(Demand::ProvesAKey));
    }
    let plain = |uri: &RedirectUri| uri.kind() != RedirectKind::Https;
    if wants(Demand::SecureRedirects) && read.redirect_uris.iter().any(plain) {
        return Err(Unmet(Demand::SecureRedirects));
    }
    let named = [
        read.request_object_signing_alg,
        read.authorization_signed_response_alg,
        read.id_token_signed_response_alg,
        read.userinfo_signed_response_alg,
        read.introspection_signed_response_alg,
        read.token_endpoint_auth_signing_alg,
        read.backchannel_authentication_request_signing_alg,
    ];
    let weak = named.iter().flatten().any(|algorithm| !STRONG.contains(algorithm));
    if wants(Demand::StrongAlgorithms) && weak {
        return Err(Unmet(Demand::StrongAlgorithms));
    }
    if wants(Demand::NoPush) && read.backchannel_token_delivery_mode == Some(DeliveryMode::Push) {
        return Err(Unmet(Demand::NoPush));
    }
    Ok(())
}

/// Which of all demands such a registration does not meet.
pub fn unmet_by(read: &Registration) -> BTreeSet<Demand> {
    let alone = |(demand, _): &(Demand, &[Profile])| {
        of_registration(&BTreeSet::from([*demand]), read).err().map(|unmet| unmet.0)
    };
    DEMANDS.iter().filter_map(alone).collect()
}

/// The same of an agent, by its record.
pub fn unmet_by_agent(facet: &Facet) -> BTreeSet<Demand> {
    let weak = facet.id_token_signed_response_alg.is_some_and(|one| !STRONG.contains(&one));
    let uris = facet.redirects.iter().flat_map(|redirects| &redirects.redirect_uris);
    let plain = uris.into_iter().any(|uri| uri.kind() != RedirectKind::Https);
    let unmet = [(Demand::StrongAlgorithms, weak), (Demand::SecureRedirects, plain)];
    unmet.into_iter().filter_map(|(demand, unmet)| unmet.then_some(demand)).collect()
}

/// Refuses who `lacks` something of what is demanded.
pub fn of_asker(demands: &BTreeSet<Demand>, lacks: &BTreeSet<Demand>) -> Result<(), Unmet> {
    demands.intersection(lacks).next().map_or(Ok(()), |demand| Err(Unmet(*demand)))
}

/// What a request to the token endpoint shows.
#[derive(Clone, Copy, Debug)]
pub struct AtToken {
    /// Whether the client proved a key.
    pub proved: bool,
    /// What its assertion was signed with, if it was one.
    pub algorithm: Option<Algorithm>,
    /// What its DPoP proof was signed with, if there was one.
    pub dpop: Option<Algorithm>,
    /// Whether what is issued will be bound to a key.
    pub bound: bool,
    /// Whether `resource` or `audience` is named.
    pub resource: bool,
}

/// What a request to the token endpoint must be under these demands.
pub fn of_token_request(demands: &BTreeSet<Demand>, at: AtToken) -> Result<(), Unmet> {
    // FAPI 2.0 SP §5.4.1 is about all JWTs: the proof is one, too.
    let mut algorithms = [at.algorithm, at.dpop].into_iter().flatten();
    let strong = algorithms.all(|algorithm| STRONG.contains(&algorithm));
    first(
        demands,
        &[
            (Demand::ProvesAKey, at.proved),
            (Demand::StrongAlgorithms, strong),
            (Demand::BoundTokens, at.bound),
            (Demand::NamesResource, at.resource),
        ],
    )
}

/// What an authorization request shows.
#[expect(clippy::struct_excessive_bools, reason = "one a row of the table")]
#[derive(Clone, Copy, Debug)]
pub struct AtAuthorization {
    /// It came by its reference, pushed by an authenticated client.
    pub pushed: bool,
    /// It names `redirect_uri`.
    pub redirect: bool,
    /// It was a signed request object, `exp` at most an hour after `nbf`.
    pub signed: bool,
    /// It asks for a signed response.
    pub signed_response: bool,
    /// It names `resource`.
    pub resource: bool,
}

/// What an authorization request must be under these demands.
pub fn of_authorization(demands: &BTreeSet<Demand>, at: AtAuthorization) -> Result<(), Unmet> {
    first(
        demands,
        &[
            (Demand::Pushed, at.pushed),
            (Demand::NamesRedirect, at.redirect),
            (Demand::SignedRequests, at.signed),
            (Demand::SignedResponses, at.signed_response),
            (Demand::NamesResource, at.resource),
        ],
    )
}

/// What a backchannel authentication request must be under these demands.
pub fn of_backchannel(
    demands: &BTreeSet<Demand>,
    signed: bool,
    binding_message_or_details: bool,
) -> Result<(), Unmet> {
    first(
        demands,
        &[
            (Demand::SignedBackchannel, signed),
            (Demand::BindingMessage, binding_message_or_details),
        ],
    )
}

fn first(demands: &BTreeSet<Demand>, met: &[(Demand, bool)]) -> Result<(), Unmet> {
    let unmet = met.iter().find(|(demand, met)| !met && demands.contains(demand));
    unmet.map_or(Ok(()), |(demand, _)| Err(Unmet(*demand)))
}

/// A demand of a profile that was not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Unmet(pub Demand);

impl Unmet {
    /// Which check.
    pub const fn check(self) -> &'static str {
        match self.0 {
            Demand::ProvesAKey => "profile::ProvesAKey",
            Demand::StrongAlgorithms => "profile::StrongAlgorithms",
            Demand::SecureRedirects => "profile::SecureRedirects",
            Demand::BoundTokens => "profile::BoundTokens",
            Demand::Pushed => "profile::Pushed",
            Demand::NamesRedirect => "profile::NamesRedirect",
            Demand::SignedRequests => "profile::SignedRequests",
            Demand::SignedResponses => "profile::SignedResponses",
            Demand::NoPush => "profile::NoPush",
            Demand::SignedBackchannel => "profile::SignedBackchannel",
            Demand::BindingMessage => "profile::BindingMessage",
            Demand::NamesResource => "profile::NamesResource",
        }
    }

    const fn text(self) -> &'static str {
        match self.0 {
            Demand::ProvesAKey => "the profile wants a client that proves a key of its own",
            Demand::StrongAlgorithms => "the profile wants signatures by PS256, ES256 or EdDSA",
            Demand::SecureRedirects => "the profile wants `https` in each of `redirect_uris`",
            Demand::BoundTokens => "the profile wants tokens bound to a key: by DPoP or mutual TLS",
            Demand::Pushed => "the profile wants authorization requests that are pushed",
            Demand::NamesRedirect => "the profile wants `redirect_uri` in pushed requests",
            Demand::SignedRequests => {
                "the profile wants signed request objects that live an hour at most"
            }
            Demand::SignedResponses => "the profile wants `response_mode` `jwt`",
            Demand::NoPush => "the profile wants no `backchannel_token_delivery_mode` `push`",
            Demand::SignedBackchannel => {
                "the profile wants signed backchannel requests that live an hour at most"
            }
            Demand::BindingMessage => {
                "the profile wants `binding_message` or `authorization_details`"
            }
            Demand::NamesResource => "the profile wants `resource`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: Result<(), Unmet>) -> Option<Demand> {
        found.err().map(|unmet| unmet.0)
    }

    /// Every row: what meets all is taken, and each row alone refuses, where its profile is on.
    #[test]
    fn fapi2_5_3_2_each_row_refuses_alone() {
        use Demand as D;
        let good = AtToken {
            proved: true,
            algorithm: Some(Algorithm::Es256),
            dpop: Some(Algorithm::EdDsa),
            bound: true,
            resource: true,
        };
        let tokens = [
            (AtToken { proved: false, ..good }, D::ProvesAKey),
            (AtToken { algorithm: Some(Algorithm::Rs256), ..good }, D::StrongAlgorithms),
            (AtToken { dpop: Some(Algorithm::Rs256), ..good }, D::StrongAlgorithms),
            (AtToken { bound: false, ..good }, D::BoundTokens),
            (AtToken { resource: false, ..good }, D::NamesResource),
        ];
        let asks = AtAuthorization {
            pushed: true,
            redirect: true,
            signed: true,
            signed_response: true,
            resource: true,
        };
        let requests = [
            (AtAuthorization { pushed: false, ..asks }, D::Pushed),
            (AtAuthorization { redirect: false, ..asks }, D::NamesRedirect),
            (AtAuthorization { signed: false, ..asks }, D::SignedRequests),
            (AtAuthorization { signed_response: false, ..asks }, D::SignedResponses),
            (AtAuthorization { resource: false, ..asks }, D::NamesResource),
        ];
        let backs = [((false, true), D::SignedBackchannel), ((true, false), D::BindingMessage)];
        for profile in Profile::ALL {
            let wants = demands(&[profile]);
            let expect = |row: D| wants.contains(&row).then_some(row);
            assert_eq!(check(of_token_request(&wants, good)), None);
            for (at, row) in tokens {
                assert_eq!(check(of_token_request(&wants, at)), expect(row), "{profile}");
            }
            assert_eq!(check(of_authorization(&wants, asks)), None);
            for (at, row) in requests {
                assert_eq!(check(of_authorization(&wants, at)), expect(row), "{profile}");
            }
            assert_eq!(check(of_backchannel(&wants, true, true)), None);
            for ((signed, bound), row) in backs {
                assert_eq!(check(of_backchannel(&wants, signed, bound)), expect(row), "{profile}");
            }
        }
        assert!(demands(&[]).is_empty());
    }

    #[test]
    fn fapi2_5_3_2_each_row_refuses_a_registration() {
        use Demand as D;
        let text = r#"{"redirect_uris":["https://a.example/cb"],
            "grant_types":["authorization_code","urn:openid:params:grant-type:ciba"],
            "backchannel_token_delivery_mode":"poll",
            "backchannel_client_notification_endpoint":"https://a.example/n",
            "token_endpoint_auth_method":"tls_client_auth","tls_client_auth_san_dns":"a.example"}"#;
        let method = text.replace("\"tls_client_auth\"", "\"none\"");
        let http = text.replace("https://a.example/cb", "http://127.0.0.1/cb");
        let alg = text.replacen('{', r#"{"id_token_signed_response_alg":"RS256","#, 1);
        let push = text.replace("\"poll\"", "\"push\"");
        for profile in Profile::ALL {
            let wants = demands(&[profile]);
            let of =
                |text: &str| check(of_registration(&wants, &Registration::parse(text).unwrap()));
            assert_eq!(of(text), None);
            for (text, row) in [
                (&method, D::ProvesAKey),
                (&http, D::SecureRedirects),
                (&alg, D::StrongAlgorithms),
                (&push, D::NoPush),
            ] {
                assert_eq!(of(text), wants.contains(&row).then_some(row), "{profile}");
            }
        }
    }

    #[test]
    fn a_profile_has_one_name_everywhere() {
        for profile in Profile::ALL {
            assert_eq!(Profile::parse(profile.name()), Some(profile));
            assert_eq!(serde_json::to_value(profile).unwrap(), profile.name());
        }
    }
}
