//! The authentication box's own policy: how people sign in, and for how long.

use std::collections::BTreeSet;

use oauth::Issuer;
use serde::{Deserialize, Serialize};
use time::Span;

/// Other identity providers that people may sign in by.
pub const UPSTREAMS_MAX: usize = 16;
/// Characters of the name of one: it stands in its `redirect_uri`.
const NAME_CHARS_MAX: usize = 63;
/// Bytes of any other text about one.
const TEXT_BYTES_MAX: usize = 512;
/// Scopes that one is asked for.
const SCOPES_MAX: usize = 16;
/// The longest that a session may go unseen, in seconds.
pub const IDLE_SECONDS_MAX: u64 = 7 * 86_400;
/// The longest that a session may last, in seconds.
pub const ABSOLUTE_SECONDS_MAX: u64 = 30 * 86_400;

/// `[sessions]`: how long somebody stays signed in, in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionBounds {
    /// A session that is not seen for so long ends.
    pub idle: Span,
    /// It ends then in any case.
    pub absolute: Span,
}

impl Default for SessionBounds {
    fn default() -> Self {
        Self { idle: Span::from_seconds(3_600), absolute: Span::from_seconds(43_200) }
    }
}

impl SessionBounds {
    /// What is wrong with the settings.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let bounds = [
            ("sessions.idle", self.idle, IDLE_SECONDS_MAX),
            ("sessions.absolute", self.absolute, ABSOLUTE_SECONDS_MAX),
        ];
        let outside = |span: Span, max| span.seconds() == 0 || span.seconds() > max;
        let mut faults: Vec<_> = bounds
            .into_iter()
            .filter(|(_, span, max)| outside(*span, *max))
            .map(|(name, span, max)| {
                (name, format!("`{name}` is {} seconds; allowed are 1 to {max}", span.seconds()))
            })
            .collect();
        if self.idle > self.absolute {
            let message = "`idle` must not be longer than `absolute`".to_owned();
            faults.push(("sessions.idle", message));
        }
        faults
    }
}

/// `[sign_in]`: the ways in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignIn {
    /// Whether a user name and a code that an operator gave let somebody in.
    pub codes: bool,
    /// The company's identity providers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<Upstream>,
}

impl Default for SignIn {
    fn default() -> Self {
        Self { codes: true, upstream: Vec::new() }
    }
}

impl SignIn {
    /// The provider of that name.
    pub fn named(&self, name: &str) -> Option<&Upstream> {
        self.upstream.iter().find(|one| one.name == name)
    }

    /// The providers with that issuer.
    pub fn issued_by<'a>(&'a self, issuer: &'a str) -> impl Iterator<Item = &'a Upstream> {
        self.upstream.iter().filter(move |one| one.issuer.as_str() == issuer)
    }

    /// What is wrong with the settings.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults: Vec<_> = self.upstream.iter().flat_map(Upstream::faults).collect();
        if self.upstream.len() > UPSTREAMS_MAX {
            let message = format!("more than {UPSTREAMS_MAX} identity providers");
            faults.push(("sign_in.upstream", message));
        }
        let mut seen = BTreeSet::new();
        for one in &self.upstream {
            if !seen.insert(&one.name) {
                let message = format!("the identity provider `{}` is named twice", one.name);
                faults.push(("sign_in.upstream.name", message));
            }
        }
        faults
    }
}

/// `[[sign_in.upstream]]`: an identity provider that people sign in by (OpenID Connect Core 1.0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its name here: what stands in the `redirect_uri`.
    pub name: String,
    /// What the button says; the name unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its issuer identifier.
    pub issuer: Issuer,
    /// Who we are there.
    pub client_id: String,
    /// How we prove it.
    #[serde(default)]
    pub authenticate: Proof,
    /// What is asked for besides `openid`.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// Whether somebody whom nobody added becomes a user at their first sign-in.
    #[serde(default)]
    pub create: bool,
    /// Whether a first sign-in leads to the user with that verified address. Who can set addresses
    /// there can then be anybody here.
    #[serde(default)]
    pub link_by_email: bool,
    /// The authorities that its certificates are of, PEM; those of the Web PKI unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Private addresses where it may be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

fn scopes() -> Vec<String> {
    vec!["profile".to_owned(), "email".to_owned()]
}

/// How this server proves at an identity provider who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// RFC 7523, with a key of ours that is in our key set.
    #[default]
    PrivateKeyJwt,
    /// RFC 6749 §2.3.1, with a secret that lies in a file of the server.
    ClientSecretBasic,
    /// The same, in the body: for providers that know no better.
    ClientSecretPost,
}

impl Proof {
    /// Its name in discovery documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }
}

impl Upstream {
    /// What the button says.
    pub fn title(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }

    /// RFC 6749 §3.3, with `openid` first: OpenID Connect Core 1.0 §3.1.2.1, "OpenID Connect
    /// requests MUST contain the openid scope value."
    pub fn scope(&self) -> String {
        let others = self.scopes.iter().map(String::as_str).filter(|one| *one != "openid");
        ["openid"].into_iter().chain(others).collect::<Vec<_>>().join(" ")
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let name = self.name.as_bytes();
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.iter().all(|one| inner(*one)) {
            let message = format!(
                "`name` of an identity provider must be 1 to {NAME_CHARS_MAX} of a to z, 0 to 9 \
                 and `-`"
            );
            faults.push(("sign_in.upstream.name", message));
        }
        let is_text = |text: &str| {
            !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
        };
        if !is_text(&self.client_id) {
            let message = format!("`client_id` must be 1 to {TEXT_BYTES_MAX} bytes of text");
            faults.push(("sign_in.upstream.client_id", message));
        }
        if !self.title.as_deref().is_none_or(is_text) {
            let message = format!("`title` must be 1 to {TEXT_BYTES_MAX} bytes of text");
            faults.push(("sign_in.upstream.title", message));
        }
        // RFC 6749 §3.3: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
        let is_scope = |text: &String| {
            let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
            is_text(text) && text.bytes().all(fits)
        };
        if self.scopes.len() > SCOPES_MAX || !self.scopes.iter().all(is_scope) {
            let message = format!("`scopes` must be at most {SCOPES_MAX}, each a scope");
            faults.push(("sign_in.upstream.scopes", message));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream() -> Upstream {
        Upstream {
            name: "company".to_owned(),
            title: None,
            issuer: Issuer::parse("https://login.example").unwrap(),
            client_id: "aims".to_owned(),
            authenticate: Proof::PrivateKeyJwt,
            scopes: scopes(),
            create: false,
            link_by_email: false,
            ca: None,
            addresses: Vec::new(),
        }
    }

    /// req: AUTHN-11 (part)
    #[test]
    fn s9_a_way_in_that_cannot_stand_is_told_by_key() {
        let check = |edit: &dyn Fn(&mut Upstream), expect: &[&str]| {
            let mut one = upstream();
            edit(&mut one);
            let sign_in = SignIn { codes: true, upstream: vec![one] };
            let keys: Vec<_> = sign_in.faults().into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys, expect);
        };
        check(&|_| {}, &[]);
        for name in ["", "Company", "a/b", "..", "a b", &"a".repeat(64)] {
            check(&|one| name.clone_into(&mut one.name), &["sign_in.upstream.name"]);
        }
        check(&|one| one.client_id.clear(), &["sign_in.upstream.client_id"]);
        check(&|one| one.title = Some("a\nb".to_owned()), &["sign_in.upstream.title"]);
        check(&|one| one.scopes = vec!["a b".to_owned()], &["sign_in.upstream.scopes"]);
        let twice = SignIn { codes: true, upstream: vec![upstream(), upstream()] };
        assert_eq!(twice.faults().first().map(|fault| fault.0), Some("sign_in.upstream.name"));
    }

    #[test]
    fn openid_3_1_2_1_the_scope_openid_is_always_asked_for_once() {
        let mut one = upstream();
        assert_eq!(one.scope(), "openid profile email");
        one.scopes = vec!["email".to_owned(), "openid".to_owned()];
        assert_eq!(one.scope(), "openid email");
    }

    #[test]
    fn s9_a_session_is_bounded() {
        assert_eq!(SessionBounds::default().faults(), []);
        let of = |idle, absolute| SessionBounds {
            idle: Span::from_seconds(idle),
            absolute: Span::from_seconds(absolute),
        };
        for (idle, absolute, key) in [
            (0, 60, "sessions.idle"),
            (60, 30, "sessions.idle"),
            (60, ABSOLUTE_SECONDS_MAX + 1, "sessions.absolute"),
        ] {
            assert_eq!(of(idle, absolute).faults().first().map(|fault| fault.0), Some(key));
        }
    }
}
