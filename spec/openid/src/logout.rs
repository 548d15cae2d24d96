//! Ends of sessions: asked for by a client (RP-Initiated Logout 1.0), told to clients (Back-Channel
//! Logout 1.0).

use jose::{Audience, Kind, NumericDate, Verified, Window};
use oauth::form::Form;
use oauth::parameter::{Refused, bounded};
use oauth::{ClientId, Issuer, SubjectText, TokenId, TokenText};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use time::{Span, UnixTime};

/// The event that a logout token declares.
pub const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Where the parameters of a request are told.
const RULE: &str = "RP-Initiated Logout 1.0 §2";
/// Bytes of a parameter.
const MAX_BYTES: usize = 2_048;

/// A user leaves, by way of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutRequest {
    pub id_token_hint: Option<TokenText>,
    pub logout_hint: Option<String>,
    pub client_id: Option<ClientId>,
    /// As it was sent: to be the same text as one that the client registered.
    pub post_logout_redirect_uri: Option<String>,
    pub state: Option<String>,
    pub ui_locales: Vec<String>,
}

impl LogoutRequest {
    /// Reads the parameters.
    pub fn parse(form: &Form) -> Result<Self, Refused> {
        let text = |name| Ok(bounded(form, name, RULE, MAX_BYTES)?.map(str::to_owned));
        let hint = form.get("id_token_hint").map(TokenText::parse).transpose();
        let client_id = form.get("client_id").map(ClientId::parse).transpose();
        let request = Self {
            id_token_hint: hint.map_err(|why| Refused::form("id_token_hint", RULE, why))?,
            logout_hint: text("logout_hint")?,
            client_id: client_id.map_err(|why| Refused::form("client_id", RULE, why))?,
            post_logout_redirect_uri: text("post_logout_redirect_uri")?,
            state: text("state")?,
            ui_locales: text("ui_locales")?
                .map(|words| words.split(' ').map(str::to_owned).collect())
                .unwrap_or_default(),
        };
        // §3: a redirect is for a client that is known: by its hint or by its identifier.
        let known = request.id_token_hint.is_some() || request.client_id.is_some();
        if request.post_logout_redirect_uri.is_some() && !known {
            return Err(Refused::missing("id_token_hint", "RP-Initiated Logout 1.0 §3"));
        }
        Ok(request)
    }
}

/// The kind `logout+jwt`.
#[derive(Clone, Copy, Debug)]
pub struct LogoutToken;

/// Back-Channel Logout 1.0 §2.4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogoutClaims {
    pub iss: Issuer,
    pub aud: Audience,
    pub iat: NumericDate,
    pub exp: NumericDate,
    pub jti: TokenId,
    pub events: LogoutEvent,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<SubjectText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// §2.4: "A "nonce" Claim MUST NOT be present."
    #[serde(default, skip_serializing)]
    pub nonce: Option<Value>,
}

/// `events` with the one event of a logout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogoutEvent;

impl Serialize for LogoutEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({ EVENT: {} }).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LogoutEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // §2.4: "The corresponding member value MUST be a JSON object".
        let events = Map::<String, Value>::deserialize(deserializer)?;
        match events.get(EVENT) {
            Some(Value::Object(_)) => Ok(Self),
            _ => Err(D::Error::custom("`events` without the event of a logout")),
        }
    }
}

impl Kind for LogoutToken {
    // §2.4 recommends the type; older providers leave it out.
    const TYPES: &'static [&'static str] = &["logout+jwt", "JWT"];
    const TYPE_MAY_BE_ABSENT: bool = true;
    const HEADER_PARAMETERS: Option<&'static [&'static str]> = None;
    const EXP_REQUIRED: bool = true;
    type Claims = LogoutClaims;
    type Hint = Issuer;

    fn hint(claims: &LogoutClaims) -> Issuer {
        claims.iss.clone()
    }

    fn window(claims: &LogoutClaims) -> Window {
        Window { exp: Some(claims.exp), nbf: None, iat: Some(claims.iat) }
    }
}

/// Whose sessions end at one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// One session.
    Session(String),
    /// Each session of a user. §2.4: "If a "sid" Claim is not present, the intent is that all
    /// sessions at the RP for the End-User identified by the "iss" and "sub" Claims be logged out."
    User(SubjectText),
}

/// The claims of a logout token for a client.
pub fn claims(
    issuer: Issuer,
    client: &ClientId,
    ends: Ends,
    jti: TokenId,
    now: UnixTime,
    life: Span,
) -> LogoutClaims {
    let (sub, sid) = match ends {
        Ends::Session(sid) => (None, Some(sid)),
        Ends::User(sub) => (Some(sub), None),
    };
    LogoutClaims {
        iss: issuer,
        aud: Audience::one(client.as_str()),
        iat: NumericDate::from_time(now),
        exp: NumericDate::from_time(now.plus(life)),
        jti,
        events: LogoutEvent,
        sub,
        sid,
        nonce: None,
    }
}

/// Checks a token that was verified with a key of its provider (§2.6), and says whose sessions end.
pub fn check(
    token: &Verified<LogoutToken>,
    issuer: &Issuer,
    client: &ClientId,
) -> Result<Ends, LogoutRefused> {
    let claims = token.claims();
    // §2.6, 4: "Validate the "iss", "aud", "iat", and "exp" Claims in the same way they are
    // validated in ID Tokens."
    if claims.iss != *issuer {
        let (found, expected) = (claims.iss.clone(), issuer.clone());
        return Err(LogoutRefused::WrongIssuer { found, expected });
    }
    if claims.aud.sole() != Some(client.as_str()) {
        let (found, expected) = (claims.aud.clone(), client.clone());
        return Err(LogoutRefused::WrongAudience { found, expected });
    }
    // §2.6, 7: "Verify that the Logout Token does not contain a "nonce" Claim."
    if claims.nonce.is_some() {
        return Err(LogoutRefused::Nonce);
    }
    // §2.6, 5: "Verify that the Logout Token contains a "sub" Claim, a "sid" Claim, or both."
    match (&claims.sid, &claims.sub) {
        (Some(sid), _) => Ok(Ends::Session(sid.clone())),
        (None, Some(sub)) => Ok(Ends::User(sub.clone())),
        (None, None) => Err(LogoutRefused::Nobody),
    }
}

/// Why a verified logout token is refused (Back-Channel Logout 1.0 §2.6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogoutRefused {
    #[error("logout token of `{found}`, expected `{expected}` (§2.6, 4)")]
    WrongIssuer { found: Issuer, expected: Issuer },
    #[error("logout token for {found}, expected `{expected}` alone (§2.6, 4)")]
    WrongAudience { found: Audience, expected: ClientId },
    #[error("logout token without `sub` and `sid` (§2.6, 5)")]
    Nobody,
    #[error("logout token with `nonce` (§2.6, 7)")]
    Nonce,
}
