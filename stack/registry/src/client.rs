//! OAuth clients that are not agents: registered by an operator, by themselves (RFC 7591), or known
//! by a document that they publish (draft-ietf-oauth-client-id-metadata-document).

use std::collections::BTreeSet;
use std::ops::Deref;

use authentication::session::hash_of;
use authorization::client::Redirects;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use credential::Purpose;
use jose::{Algorithm, KeySet};
use oauth::client_metadata::ClientMetadataError;
use oauth::registration::{ApplicationType, ClientAuthMethod, Keys, Registration};
use provisioning::{Epoch, NotInForce};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use time::UnixTime;

use authorization::profile::{Demand, Profile, STRONG, demands};

/// Members that are kept of a registration: those that mean something here. RFC 7591 §2: "The
/// authorization server MUST ignore any client metadata sent by the client that it does not
/// understand".
const KEPT: &[&str] = &[
    "application_type",
    "authorization_details_types",
    "authorization_signed_response_alg",
    "backchannel_authentication_request_signing_alg",
    "backchannel_client_notification_endpoint",
    "backchannel_logout_session_required",
    "backchannel_logout_uri",
    "backchannel_token_delivery_mode",
    "backchannel_user_code_parameter",
    "client_name",
    "client_uri",
    "contacts",
    "default_acr_values",
    "default_max_age",
    "dpop_bound_access_tokens",
    "id_token_signed_response_alg",
    "introspection_signed_response_alg",
    "jwks",
    "jwks_uri",
    "logo_uri",
    "policy_uri",
    "post_logout_redirect_uris",
    "redirect_uris",
    "request_object_signing_alg",
    "require_pushed_authorization_requests",
    "require_signed_request_object",
    "response_types",
    "scope",
    "software_id",
    "software_version",
    "spiffe_id",
    "subject_type",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_email",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_uri",
    "tls_client_auth_subject_dn",
    "tls_client_certificate_bound_access_tokens",
    "token_endpoint_auth_signing_alg",
    "tos_uri",
    "userinfo_signed_response_alg",
];

/// Whether a client gets tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientState {
    /// It does.
    Enabled,
    /// It does not.
    Disabled,
}

/// Who brought a client here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// An operator.
    #[default]
    Operator,
    /// Itself, with an initial access token that an operator gave (RFC 7591 §3).
    Invited,
    /// Itself, where registration is open to anyone.
    Open,
    /// It published a document about itself, whose URL is its id.
    Document,
}

/// What the `aud` of a client's assertions may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionAudience {
    /// Our issuer identifier, alone (draft-ietf-oauth-rfc7523bis §4).
    #[default]
    Issuer,
    /// Any of our endpoints too, or several values: whoever the client shows such an assertion to
    /// can use it here. For software that cannot do better.
    AnyOfOursAndReplayableElsewhere,
}

/// What is signed for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// ID tokens. Logout tokens are as these (OpenID Connect Back-Channel Logout 1.0 §2.4).
    IdToken,
    /// Answers of the authorization endpoint (JARM).
    AuthorizationResponse,
    /// Answers about tokens (RFC 9701).
    Introspection,
}

impl Signed {
    /// All of it.
    pub const ALL: [Self; 3] = [Self::IdToken, Self::AuthorizationResponse, Self::Introspection];

    /// The member that says by which algorithm.
    pub const fn member(self) -> &'static str {
        match self {
            Self::IdToken => "id_token_signed_response_alg",
            Self::AuthorizationResponse => "authorization_signed_response_alg",
            Self::Introspection => "introspection_signed_response_alg",
        }
    }

    /// What a client registered for it.
    pub const fn registered(self, read: &Registration) -> Option<Algorithm> {
        match self {
            Self::IdToken => read.id_token_signed_response_alg,
            Self::AuthorizationResponse => read.authorization_signed_response_alg,
            Self::Introspection => read.introspection_signed_response_alg,
        }
    }
}

/// What a client registered: the members, and what they mean.
#[derive(Clone, Debug)]
pub struct Metadata {
    members: Map<String, Value>,
    read: Box<Registration>,
}

impl Metadata {
    /// Reads members; what is not understood is dropped, defaults are written down. RFC 7591
    /// §3.2.1: "Additionally, the authorization server MUST return all registered metadata about
    /// this client, including any fields provisioned by the authorization server itself."
    pub fn new(members: &Map<String, Value>) -> Result<Self, ClientMetadataError> {
        let read = Box::new(Registration::of_members(members)?);
        let known = |(name, value): &(&String, &Value)| {
            KEPT.binary_search(&name.as_str()).is_ok() && !value.is_null()
        };
        let mut kept: Map<_, _> = members
            .iter()
            .filter(known)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let method = read.token_endpoint_auth_method.as_str();
        kept.insert("token_endpoint_auth_method".to_owned(), method.into());
        let grants: Vec<_> = read.grant_types.iter().map(|grant| grant.as_str()).collect();
        kept.insert("grant_types".to_owned(), grants.into());
        Ok(Self { members: kept, read })
    }

    /// The same with another value of one member; it is read anew, whole.
    pub fn with(&self, name: &str, value: Value) -> Result<Self, ClientMetadataError> {
        let mut members = self.members.clone();
        members.insert(name.to_owned(), value);
        Self::new(&members)
    }

    /// As it is stored and shown.
    pub const fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// The keys that it brought; `None` where it has none, or publishes them at a URL.
    pub fn jwks(&self) -> Option<&KeySet> {
        match &self.read.keys {
            Some(Keys::Here(set)) => Some(set),
            Some(Keys::At(_)) | None => None,
        }
    }

    /// Where it publishes its keys.
    pub fn jwks_uri(&self) -> Option<&str> {
        match &self.read.keys {
            Some(Keys::At(uri)) => Some(uri.as_str()),
            Some(Keys::Here(_)) | None => None,
        }
    }

    /// The members that say who it is, in which `other` differs: a client that changed one of them
    /// may be somebody else's.
    pub fn changed_identity(&self, other: &Self) -> Vec<&'static str> {
        const IDENTITY: &[&str] =
            &["jwks", "jwks_uri", "redirect_uris", "spiffe_id", "token_endpoint_auth_method"];
        let differs = |name: &&&str| self.members.get(**name) != other.members.get(**name);
        IDENTITY.iter().filter(differs).copied().collect()
    }
}

impl Deref for Metadata {
    type Target = Registration;

    fn deref(&self) -> &Registration {
        &self.read
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl Eq for Metadata {}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.members.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&Map::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// Its id: `client-…`, or the URL of its document. Never that of an agent or a user (RFC 9700
    /// §4.15).
    pub client_id: String,
    /// What it registered.
    pub metadata: Metadata,
    /// Whether it is a public client: one that proves nothing but its name (RFC 6749 §2.1).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
    /// What it registered for users in browsers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirects: Option<Redirects>,
    /// How it takes part in signing out.
    #[serde(default)]
    pub logout: ClientLogout,
    /// Who brought it.
    #[serde(default)]
    pub origin: Origin,
    /// When.
    pub registered: UnixTime,
    /// Whether it gets tokens.
    pub state: ClientState,
    /// Since when.
    pub since: UnixTime,
    /// The hash of its registration access token, where it may manage itself (RFC 7592).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// The hash of its secret, where policy lets clients have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// What its assertions may be for.
    #[serde(default)]
    pub audience: AssertionAudience,
    /// What it must obey beside what everybody must.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub profiles: BTreeSet<Profile>,
    /// From then on the record is swept: of strangers nothing is kept for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixTime>,
    /// What was issued under a lower number is dead: enabling brings back the client, not that.
    #[serde(default)]
    pub dead_before: Epoch,
}

/// How a client takes part in signing out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientLogout {
    /// `backchannel_logout_uri` (OpenID Connect Back-Channel Logout 1.0 §2.2): where it is told
    /// that a session ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel: Option<String>,
    /// `post_logout_redirect_uris` (RP-Initiated Logout 1.0 §3.1): where browsers may go on. They
    /// are compared as texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
}

impl ClientRecord {
    /// A client that an operator brings, enabled.
    pub fn new(client_id: String, metadata: Metadata, now: UnixTime) -> Self {
        let record = Self {
            client_id,
            metadata,
            public: false,
            redirects: None,
            logout: ClientLogout::default(),
            origin: Origin::Operator,
            registered: now,
            state: ClientState::Enabled,
            since: now,
            manager: None,
            secret: None,
            audience: AssertionAudience::Issuer,
            profiles: BTreeSet::new(),
            until: None,
            dead_before: Epoch::default(),
        };
        record.with_what_it_means()
    }

    /// The same with other metadata. Whether it gets tokens does not change by that: a client that
    /// was disabled cannot enable itself (docs/past-defects.md 8).
    #[must_use]
    pub fn with_metadata(&self, metadata: Metadata) -> Self {
        Self { metadata, ..self.clone() }.with_what_it_means()
    }

    /// The same under these profiles.
    #[must_use]
    pub fn with_profiles(&self, profiles: BTreeSet<Profile>) -> Self {
        Self { profiles, ..self.clone() }.with_what_it_means()
    }

    /// What follows from metadata and profiles, written down for those who ask.
    fn with_what_it_means(mut self) -> Self {
        let (read, demands) = (&self.metadata, demands(&self.profiles));
        let texts = |all: &[oauth::redirect_uri::RedirectUri]| {
            all.iter().map(|uri| uri.as_str().to_owned()).collect()
        };
        self.public = read.token_endpoint_auth_method == ClientAuthMethod::None;
        self.redirects = (!read.redirect_uris.is_empty()).then(|| Redirects {
            redirect_uris: read.redirect_uris.clone(),
            native: read.application_type == ApplicationType::Native,
            require_pushed: read.require_pushed_authorization_requests
                || demands.contains(&Demand::Pushed),
            require_signed: read.require_signed_request_object
                || demands.contains(&Demand::SignedRequests),
        });
        self.logout = ClientLogout {
            backchannel: read.backchannel_logout_uri.as_ref().map(|uri| uri.as_str().to_owned()),
            redirect_uris: texts(&read.post_logout_redirect_uris),
        };
        self
    }

    /// Refuses a disabled client: through any grant (docs/past-defects.md 8).
    pub fn is_enabled(&self) -> Result<(), ClientRefusal> {
        match self.state {
            ClientState::Enabled => Ok(()),
            ClientState::Disabled => Err(ClientRefusal::Disabled { since: self.since }),
        }
    }

    /// Refuses what was issued under `issued`, where it was disabled since.
    pub const fn admits(&self, issued: Epoch) -> Result<(), NotInForce> {
        let dead_before = self.dead_before;
        if issued.0 < dead_before.0 {
            return Err(NotInForce::Epoch { issued, dead_before });
        }
        Ok(())
    }

    /// What `signed` is signed by for it. RFC 7591 §2 lets us have defaults of our own: whoever
    /// named none gets ES256.
    pub fn signed_by(&self, signed: Signed) -> Algorithm {
        let strong = demands(&self.profiles).contains(&Demand::StrongAlgorithms);
        let is_served = |one: &Algorithm| {
            // FAPI 2.0 SP §5.4.1: no RS256, also for a client that registered before its profile.
            Purpose::for_clients(*one).is_some() && (!strong || STRONG.contains(one))
        };
        let registered = signed.registered(&self.metadata).filter(is_served);
        registered.unwrap_or(Purpose::IdToken.algorithm())
    }

    /// Whether `token` is its registration access token.
    pub fn is_managed_by(&self, token: &str) -> bool {
        matches_hash(self.manager.as_deref(), token)
    }
}

/// An initial access token (RFC 7591 §3): who has it may register clients, so often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The hash of the token.
    pub hash: String,
    /// What records call it: no secret.
    pub id: String,
    /// How often it may still be used.
    pub uses: u32,
    /// Until when.
    pub until: UnixTime,
    /// Who gave it.
    pub by: String,
}

/// Whether `secret` is the one of this hash; not told by how long it takes.
pub fn matches_hash(hash: Option<&str>, secret: &str) -> bool {
    let shown = hash_of(secret);
    hash.is_some_and(|hash| verify_slices_are_equal(hash.as_bytes(), shown.as_bytes()).is_ok())
}

/// Why a client gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefusal {
    /// An operator disabled it.
    #[error("the client is disabled since {since}")]
    Disabled {
        /// Since when.
        since: UnixTime,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7591_2_the_list_of_what_is_kept_is_in_order() {
        assert!(KEPT.is_sorted());
    }

    #[test]
    fn rfc7591_3_2_1_what_is_kept_reads_again() {
        let text = r#"{"redirect_uris":["https://app.example/cb"],"x":1,"client_name":null,
            "token_endpoint_auth_method":"none","scope":"a b"}"#;
        let metadata = Metadata::new(&serde_json::from_str(text).unwrap()).unwrap();
        let stored = serde_json::to_string(&metadata).unwrap();
        assert_eq!(
            stored,
            "{\"redirect_uris\":[\"https://app.example/cb\"],\"scope\":\"a b\",\
             \"token_endpoint_auth_method\":\"none\",\
             \"grant_types\":[\"authorization_code\"]}"
        );
        assert_eq!(serde_json::from_str::<Metadata>(&stored).unwrap(), metadata);
    }

    #[test]
    fn cimd_4_a_change_of_who_it_is_is_named() {
        let of = |text: &str| Metadata::new(&serde_json::from_str(text).unwrap()).unwrap();
        let before = of(r#"{"redirect_uris":["https://a.example/"],
            "token_endpoint_auth_method":"none"}"#);
        let renamed = of(r#"{"redirect_uris":["https://a.example/"],"client_name":"B",
            "token_endpoint_auth_method":"none"}"#);
        let moved = of(r#"{"redirect_uris":["https://b.example/"],
            "token_endpoint_auth_method":"none"}"#);
        assert!(before.changed_identity(&renamed).is_empty());
        assert_eq!(before.changed_identity(&moved), ["redirect_uris"]);
    }
}
