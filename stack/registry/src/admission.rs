//! `[registration]` of `domain.toml`, and what a registration must keep to be taken (RFC 7591 §5;
//! CRED-10, AUTHZ-22): who may bring clients, and how they may prove themselves.

use std::collections::BTreeSet;

use authentication::private_key_jwt;
use credential::{CannotMake, Purpose};
use jose::{Algorithm, KeySet};
use oauth::ScopeSet;
use oauth::redirect_uri::{RedirectKind, RedirectUri};
use oauth::registration::{ApplicationType, ClientAuthMethod, Registration, SubjectType};
use oauth::token_request::GrantType;
use serde::{Deserialize, Serialize};
use time::Span;

use crate::client::{Origin, Signed};

/// Hosts, issuers, attesters and authorities that may be listed.
const LISTED_MAX: usize = 64;
/// The longest that a client stays that nobody vouched for, in seconds.
const STRANGER_SECONDS_MAX: u64 = 366 * 86_400;

/// Who may register a client at the endpoint (RFC 7591 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dynamic {
    /// Nobody.
    #[default]
    Off,
    /// Who has an initial access token.
    Token,
    /// Anyone.
    Open,
}

/// Whose documents are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Documents {
    /// Nobody's.
    #[default]
    Off,
    /// Those of `hosts`.
    Listed,
    /// Anyone's on the public Internet.
    Open,
}

/// What happens to a client's grants when it changed who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// They end.
    #[default]
    EndGrants,
    /// They stay; the change is recorded.
    KeepGrants,
}

/// Whose signature counts: an issuer of software statements, or an attester of instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voucher {
    /// Its name: records say by which rule it was.
    pub name: String,
    /// `iss`.
    pub issuer: String,
    /// Its keys: a JWK set.
    pub jwks: KeySet,
    /// The clients that it may speak of; any, where none is listed.
    #[serde(default)]
    pub clients: BTreeSet<String>,
}

/// `[registration]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrationPolicy {
    /// Who may register at the endpoint.
    pub dynamic: Dynamic,
    /// Whose documents are read.
    pub documents: Documents,
    /// The hosts of these documents, with the port where it is not 443.
    pub hosts: BTreeSet<String>,
    /// What a change of keys, redirect URIs or method means.
    pub on_change: OnChange,
    /// How clients that no operator brought may prove themselves.
    pub methods: BTreeSet<String>,
    /// Which grants they may use.
    pub grants: BTreeSet<String>,
    /// The widest scope that they may ask for; none given: policy alone decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope_max: Option<ScopeSet>,
    /// How long the registration of a stranger stays unless it is written again, in seconds.
    pub stranger_life: Span,
    /// Whether a registration needs a software statement of one of these issuers.
    pub require_statement: bool,
    /// Issuers of software statements (RFC 7591 §2.3).
    #[serde(rename = "statement", skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<Voucher>,
    /// Attesters of instances of clients (draft-ietf-oauth-attestation-based-client-auth).
    #[serde(rename = "attester", skip_serializing_if = "Vec::is_empty")]
    pub attesters: Vec<Voucher>,
    /// PEM of the authorities whose certificates `tls_client_auth` takes (RFC 8705 §2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_authorities: Option<String>,
    /// PEM of the authorities by which hosts of documents and keys are known; those of the Web PKI
    /// where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Private addresses that such hosts may have; beside these only public ones.
    pub addresses: Vec<String>,
    /// Whether clients may have a shared secret, which everyone who sees it can use: for
    /// conformance suites and software that cannot do better. Never an agent (CRED-10).
    pub client_secrets_that_can_be_stolen: bool,
}

impl Default for RegistrationPolicy {
    fn default() -> Self {
        let names = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        Self {
            dynamic: Dynamic::Off,
            documents: Documents::Off,
            hosts: BTreeSet::new(),
            on_change: OnChange::EndGrants,
            methods: names(&["none", "private_key_jwt", "self_signed_tls_client_auth"]),
            grants: names(&[
                GrantType::AuthorizationCode.as_str(),
                GrantType::RefreshToken.as_str(),
                GrantType::DeviceCode.as_str(),
            ]),
            scope_max: None,
            stranger_life: Span::from_seconds(90 * 86_400),
            require_statement: false,
            statements: Vec::new(),
            attesters: Vec::new(),
            tls_client_authorities: None,
            ca: None,
            addresses: Vec::new(),
            client_secrets_that_can_be_stolen: false,
        }
    }
}

impl RegistrationPolicy {
    /// What is wrong with the values: the key and the reason.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        for method in &self.methods {
            if ClientAuthMethod::parse(method).is_none() {
                faults.push(("methods", format!("`{method}` is no method of authentication")));
            }
        }
        for grant in &self.grants {
            if GrantType::parse(grant).is_none() {
                faults.push(("grants", format!("`{grant}` is no grant")));
            }
        }
        let life = self.stranger_life.seconds();
        if life == 0 || life > STRANGER_SECONDS_MAX {
            let bound =
                format!("`stranger_life` is {life} seconds, not 1 to {STRANGER_SECONDS_MAX}");
            faults.push(("stranger_life", bound));
        }
        let counts = [
            ("hosts", self.hosts.len()),
            ("statement", self.statements.len()),
            ("attester", self.attesters.len()),
            ("addresses", self.addresses.len()),
        ];
        for (name, count) in counts {
            if count > LISTED_MAX {
                faults.push((name, format!("{count} are listed, more than {LISTED_MAX}")));
            }
        }
        if self.documents == Documents::Listed && self.hosts.is_empty() {
            faults.push(("hosts", "`documents` is `listed`, and no host is".to_owned()));
        }
        if self.require_statement && self.statements.is_empty() {
            let why = "a software statement is required, and no issuer of one is trusted";
            faults.push(("statement", why.to_owned()));
        }
        if let Err(why) = self.authorities() {
            faults.push(("tls_client_authorities", why));
        }
        faults
    }

    /// The authorities of `tls_client_auth`.
    pub fn authorities(&self) -> Result<Vec<x509::Certificate>, String> {
        let Some(pem) = &self.tls_client_authorities else { return Ok(Vec::new()) };
        let all = x509::CertificateDer::from_pem_many(pem).map_err(|error| error.to_string())?;
        all.iter().map(|der| der.parse().map_err(|error| error.to_string())).collect()
    }

    /// Whether the document of this host may be read.
    pub fn reads(&self, host: &str) -> bool {
        match self.documents {
            Documents::Off => false,
            Documents::Listed => self.hosts.contains(host),
            Documents::Open => true,
        }
    }
}

/// Whether a registration is taken. What an operator brings is bound by less: they answer for it.
pub fn admit(
    read: &Registration,
    origin: Origin,
    policy: &RegistrationPolicy,
) -> Result<(), Unadmitted> {
    let method = read.token_endpoint_auth_method;
    the_method_can_be_served(read, policy)?;
    // OpenID Connect Registration 1.0 §2: "JWS alg algorithm REQUIRED for signing the ID Token
    // issued to this Client." Who names another than ours would refuse what it gets.
    for signed in Signed::ALL {
        if let Some(named) = signed.registered(read).filter(|one| is_none_of_ours(*one)) {
            return Err(Unadmitted::Algorithm { member: signed.member(), named });
        }
    }
    // OpenID Connect Registration 1.0 §2: with it "the response will be JWT serialized, and signed
    // using JWS", which ours never are.
    if read.userinfo_signed_response_alg.is_some() {
        return Err(Unadmitted::UserinfoSigned);
    }
    // Pairwise identifiers are policy's to give (`[openid] pairwise`): a client that asked for them
    // would take others for them.
    if read.subject_type == SubjectType::Pairwise {
        return Err(Unadmitted::Pairwise);
    }
    // OpenID Connect Registration 1.0 §2: what is registered must be what can be verified.
    let by = read.token_endpoint_auth_signing_alg;
    if let Some(named) = by.filter(|one| !private_key_jwt::ALGORITHMS.contains(one)) {
        let member = "token_endpoint_auth_signing_alg";
        return Err(Unadmitted::Unverified { member, named });
    }
    // RFC 6749 §4.4: "The client credentials grant type MUST only be used by confidential clients."
    let needs_user = |grant: &&GrantType| {
        matches!(
            grant,
            GrantType::AuthorizationCode | GrantType::RefreshToken | GrantType::DeviceCode
        )
    };
    if method == ClientAuthMethod::None
        && let Some(grant) = read.grant_types.iter().find(|grant| !needs_user(grant))
    {
        return Err(Unadmitted::PublicGrant(grant.as_str()));
    }
    let native = read.application_type == ApplicationType::Native;
    let private = |uri: &&RedirectUri| uri.kind() == RedirectKind::PrivateUse;
    // OpenID Connect Registration 1.0 §2: "Web Clients using the OAuth Implicit Grant Type MUST
    // only register URLs using the https scheme"; a scheme of its own is one of a device.
    if let Some(uri) = read.redirect_uris.iter().find(private).filter(|_| !native) {
        return Err(Unadmitted::NotNative(uri.as_str().to_owned()));
    }
    if origin == Origin::Operator {
        return Ok(());
    }
    // Whoever has the identity in `spiffe_id` says so by an operator: a stranger could name anyone.
    if read.spiffe_id.is_some() {
        return Err(Unadmitted::SpiffeId);
    }
    if !policy.methods.contains(method.as_str()) {
        return Err(Unadmitted::Method(method));
    }
    if let Some(grant) =
        read.grant_types.iter().find(|grant| !policy.grants.contains(grant.as_str()))
    {
        return Err(Unadmitted::Grant(grant.as_str()));
    }
    match &policy.scope_max {
        Some(allowed) if !read.scope.is_within(allowed) => {
            Err(Unadmitted::Scope { asked: read.scope.clone(), allowed: allowed.clone() })
        }
        _ => Ok(()),
    }
}

fn is_none_of_ours(algorithm: Algorithm) -> bool {
    Purpose::for_clients(algorithm).is_none()
}

fn the_method_can_be_served(
    read: &Registration,
    policy: &RegistrationPolicy,
) -> Result<(), Unadmitted> {
    let method = read.token_endpoint_auth_method;
    match method {
        // Its key is the secret itself, and here only hashes of secrets are kept.
        ClientAuthMethod::SecretJwt => Err(Unadmitted::Method(method)),
        ClientAuthMethod::SecretBasic | ClientAuthMethod::SecretPost
            if !policy.client_secrets_that_can_be_stolen =>
        {
            Err(Unadmitted::Secret)
        }
        ClientAuthMethod::TlsClientAuth if policy.tls_client_authorities.is_none() => {
            Err(Unadmitted::NoAuthority)
        }
        ClientAuthMethod::Attestation | ClientAuthMethod::AttestationDpop
            if policy.attesters.is_empty() =>
        {
            Err(Unadmitted::NoAttester)
        }
        _ => Ok(()),
    }
}

/// Why a registration is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unadmitted {
    /// A shared secret.
    #[error("`token_endpoint_auth_method`: no client has a secret here; bring a key in `jwks`")]
    Secret,
    /// A method that is not open to it.
    #[error("`token_endpoint_auth_method`: `{0}` is not open to clients that register themselves")]
    Method(ClientAuthMethod),
    /// An identity, which anybody could name.
    #[error("`spiffe_id`: an operator gives it, and no client itself")]
    SpiffeId,
    /// Nobody vouches for names in certificates.
    #[error("`tls_client_auth`: policy names no `tls_client_authorities`")]
    NoAuthority,
    /// Nobody vouches for instances.
    #[error("`attest_jwt_client_auth`: policy names no attester")]
    NoAttester,
    /// A grant that a client without a proof cannot have.
    #[error("`grant_types`: `{0}` is not for public clients")]
    PublicGrant(&'static str),
    /// A grant that is not open to it.
    #[error("`grant_types`: `{0}` is not open to clients that register themselves")]
    Grant(&'static str),
    /// Something signed by an algorithm that is none of ours.
    #[error("`{member}`: what we sign is signed by ES256, RS256, PS256 or EdDSA, not by `{named}`")]
    Algorithm {
        /// The member.
        member: &'static str,
        /// What it says.
        named: Algorithm,
    },
    /// Identifiers of people that are its own.
    #[error("`subject_type`: `pairwise` is given by an operator, in `[openid] pairwise` of policy")]
    Pairwise,
    /// Something that it would sign by an algorithm that is not verified.
    #[error("`{member}`: what clients sign is not verified by `{named}`")]
    Unverified {
        /// The member.
        member: &'static str,
        /// What it says.
        named: Algorithm,
    },
    /// What `/userinfo` tells, signed.
    #[error("`userinfo_signed_response_alg`: what `/userinfo` tells is JSON, and not signed")]
    UserinfoSigned,
    /// Something signed by keys that cannot be had.
    #[error(transparent)]
    KeyStore(#[from] CannotMake),
    /// A scheme of its own, in a client that is no app.
    #[error("`redirect_uris`: `{0}` is for `application_type` `native` alone")]
    NotNative(String),
    /// More than clients of this kind may ask for.
    #[error("`scope`: `{asked}` is wider than `{allowed}`")]
    Scope {
        /// What it registered.
        asked: ScopeSet,
        /// What policy allows.
        allowed: ScopeSet,
    },
}

impl Unadmitted {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Secret => "registration::Secret",
            Self::Method(_) => "registration::Method",
            Self::SpiffeId => "registration::SpiffeId",
            Self::NoAuthority => "registration::NoAuthority",
            Self::NoAttester => "registration::NoAttester",
            Self::PublicGrant(_) => "registration::PublicGrant",
            Self::Grant(_) => "registration::Grant",
            Self::Algorithm { .. } => "registration::Algorithm",
            Self::Pairwise => "registration::Pairwise",
            Self::Unverified { .. } => "registration::Unverified",
            Self::UserinfoSigned => "registration::UserinfoSigned",
            Self::KeyStore(_) => "registration::KeyStore",
            Self::NotNative(_) => "registration::NotNative",
            Self::Scope { .. } => "registration::Scope",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Registration {
        Registration::parse(text).unwrap()
    }

    /// req: CRED-10 (part)
    #[test]
    fn rfc7591_5_what_is_taken_from_whom() {
        use Origin::{Open, Operator};
        let public = r#"{"redirect_uris":["https://a.example/cb"],
            "token_endpoint_auth_method":"none"}"#;
        let with = |more: &str| public.replacen('{', &format!("{{{more},"), 1);
        let signed =
            |what: &str, alg: &str| with(&format!(r#""{what}_signed_response_alg":"{alg}""#));
        let alg = "registration::Algorithm";
        let policy = RegistrationPolicy::default();
        let narrow = RegistrationPolicy {
            scope_max: Some(ScopeSet::parse("read").unwrap()),
            client_secrets_that_can_be_stolen: true,
            ..RegistrationPolicy::default()
        };
        let secret = r#"{"redirect_uris":["https://a.example/cb"]}"#.to_owned();
        let hmac = secret.replacen('{', r#"{"token_endpoint_auth_method":"client_secret_jwt","#, 1);
        let spiffe = r#"{"grant_types":["client_credentials"],"spiffe_id":"spiffe://a.example/b",
            "token_endpoint_auth_method":"spiffe_jwt"}"#;
        let bare = with(r#""spiffe_id":"spiffe://a.example/b""#);
        let machine = with(r#""grant_types":["authorization_code","client_credentials"]"#);
        let app = public.replace("https://a.example/cb", "com.example.app:/cb");
        let native = app.replacen('{', r#"{"application_type":"native","#, 1);
        let cases: &[(&str, &str, Origin, &RegistrationPolicy, Option<&str>)] = &[
            ("public", public, Open, &policy, None),
            ("secret", &secret, Operator, &policy, Some("registration::Secret")),
            ("secret, open", &secret, Open, &narrow, Some("registration::Method")),
            ("secret, by policy", &secret, Operator, &narrow, None),
            ("hmac", &hmac, Operator, &narrow, Some("registration::Method")),
            ("spiffe of a stranger", spiffe, Open, &policy, Some("registration::SpiffeId")),
            ("spiffe beside nothing", &bare, Open, &policy, Some("registration::SpiffeId")),
            ("spiffe", spiffe, Operator, &policy, None),
            ("machine", &machine, Operator, &policy, Some("registration::PublicGrant")),
            ("app", &app, Operator, &policy, Some("registration::NotNative")),
            ("native app", &native, Open, &policy, None),
            ("scope", &with(r#""scope":"write""#), Open, &narrow, Some("registration::Scope")),
            ("scope within", &with(r#""scope":"read""#), Open, &narrow, None),
            ("ID tokens by ES384", &signed("id_token", "ES384"), Operator, &policy, Some(alg)),
            ("JARM by RS512", &signed("authorization", "RS512"), Operator, &policy, Some(alg)),
            ("answers by PS384", &signed("introspection", "PS384"), Operator, &policy, Some(alg)),
            (
                "what /userinfo tells by ES256",
                &signed("userinfo", "ES256"),
                Operator,
                &policy,
                Some("registration::UserinfoSigned"),
            ),
            (
                "pairwise",
                &with(r#""subject_type":"pairwise""#),
                Operator,
                &policy,
                Some("registration::Pairwise"),
            ),
            (
                "assertions by RS512",
                &with(r#""token_endpoint_auth_signing_alg":"RS512""#),
                Operator,
                &policy,
                Some("registration::Unverified"),
            ),
            ("ID tokens by ES256", &signed("id_token", "ES256"), Open, &policy, None),
            ("ID tokens by RS256", &signed("id_token", "RS256"), Open, &policy, None),
            ("JARM by PS256", &signed("authorization", "PS256"), Open, &policy, None),
            ("answers by EdDSA", &signed("introspection", "EdDSA"), Open, &policy, None),
        ];
        for (name, text, origin, policy, expect) in cases {
            let admitted = admit(&read(text), *origin, policy);
            let found = admitted.as_ref().err().map(Unadmitted::check);
            assert_eq!(found, *expect, "{name}: {admitted:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_settings_is_said() {
        let of = |text: &str| {
            let policy: RegistrationPolicy = serde_json::from_str(text).unwrap();
            policy.faults().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert!(of("{}").is_empty());
        assert_eq!(of(r#"{"documents":"listed"}"#), ["hosts"]);
        assert_eq!(of(r#"{"methods":["password"]}"#), ["methods"]);
        assert_eq!(of(r#"{"grants":["implicit"]}"#), ["grants"]);
        assert_eq!(of(r#"{"stranger_life":0}"#), ["stranger_life"]);
        assert_eq!(of(r#"{"require_statement":true}"#), ["statement"]);
        assert_eq!(of(r#"{"tls_client_authorities":"x"}"#), ["tls_client_authorities"]);
    }
}
