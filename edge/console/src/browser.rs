//! The browser that asks: its two cookies, and the values that bind a form to it.
//!
//! `__Host-aims-browser` names the browser: interactions and forms are bound to it.
//! `__Host-aims-session` is the session, and new at each sign-in. Both are sent to this origin
//! alone, over TLS alone, and no script can read them (RFC 6265bis §4.1.3.2, "`__Host-`").

use aws_lc_rs::{constant_time, hmac};
use env::{Entropy, World};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use jose::TokenHash;
use zeroize::Zeroizing;

/// The cookie that names a browser.
pub const BROWSER: &str = "__Host-aims-browser";
/// The cookie that is a session.
pub const SESSION: &str = "__Host-aims-session";
/// The field of a form that shows that it is ours, and whose.
pub const FORM_FIELD: &str = "form";
/// Characters of a cookie of ours: 32 bytes as base64url.
const LENGTH: usize = 43;

/// A browser. What it is called is known to it and to us alone.
pub struct Browser {
    secret: Zeroizing<String>,
    is_new: bool,
    session: Option<Zeroizing<String>>,
    /// Who is signed in there; empty where nobody is.
    whom: String,
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (is_new, signed_in) = (self.is_new, self.session.is_some());
        write!(f, "Browser(new: {is_new}, with a session cookie: {signed_in})")
    }
}

impl Browser {
    /// The browser that sent this request; a new one where it has no cookie of ours.
    pub fn of<W: World>(world: &W, headers: &HeaderMap) -> Self {
        let session = cookie(headers, SESSION);
        match cookie(headers, BROWSER) {
            Some(secret) => Self { secret, is_new: false, session, whom: String::new() },
            None => {
                let made = TokenHash::from_bytes(world.entropy().secret()).to_base64url();
                // A session cookie without its browser's is not believed.
                let secret = Zeroizing::new(made);
                Self { secret, is_new: true, session: None, whom: String::new() }
            }
        }
    }

    /// What rows know the browser by: a hash.
    pub fn hash(&self) -> String {
        TokenHash::of(&self.secret).to_base64url()
    }

    /// The session cookie, where there is one. It may be of no session.
    pub fn session(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.as_str())
    }

    /// Whether it had no cookie of ours: then it gets one with the answer.
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Says who is signed in there.
    pub fn is_of(&mut self, user: &str) {
        user.clone_into(&mut self.whom);
    }

    /// The value of [`FORM_FIELD`] for the form that is sent to `action`: for this browser, and for
    /// who is signed in there.
    pub fn form_value(&self, action: &str) -> String {
        format!("{}{}", self.tag(action, ""), self.tag(action, self.whom_of(action)))
    }

    /// Whom a form is shown to. Whoever signs in may be anybody; what a client asks is shown anew
    /// to who did not see it (`consent::Settled::Changed`), which is better than a refusal.
    fn whom_of(&self, action: &str) -> &str {
        let anybody = ["/sign-in", "/interaction/"].iter().any(|one| action.starts_with(one));
        if anybody { "" } else { &self.whom }
    }

    fn tag(&self, action: &str, whom: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let tag = hmac::sign(&key, format!("form\0{action}\0{whom}").as_bytes());
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        TokenHash::from_bytes(bytes).to_base64url()
    }

    /// Whether a form that was sent to `action` was shown to this browser, and to whom it is for.
    /// Where nobody is signed in any more, nobody acts by it either: they sign in, and see it anew.
    pub fn was_shown(&self, action: &str, value: &str) -> bool {
        let Some((browser, whom)) = value.split_at_checked(LENGTH) else { return false };
        let is = |wanted: String, value: &str| {
            constant_time::verify_slices_are_equal(wanted.as_bytes(), value.as_bytes()).is_ok()
        };
        let for_whom = self.whom_of(action);
        !self.is_new
            && is(self.tag(action, ""), browser)
            && (for_whom.is_empty() || is(self.tag(action, for_whom), whom))
    }

    /// `Set-Cookie` that names this browser. RFC 6265bis: `Lax`, so that a client's redirect to us
    /// brings it along.
    pub fn set_cookie(&self) -> Option<HeaderValue> {
        set(BROWSER, &self.secret, None)
    }
}

/// `Set-Cookie` of a new session.
pub fn set_session(secret: &str) -> Option<HeaderValue> {
    set(SESSION, secret, None)
}

/// `Set-Cookie` that makes the browser forget its session.
pub fn forget_session() -> Option<HeaderValue> {
    set(SESSION, "", Some(0))
}

fn set(name: &str, value: &str, max_age: Option<u32>) -> Option<HeaderValue> {
    let age = max_age.map(|age| format!("; Max-Age={age}")).unwrap_or_default();
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A cookie of ours. One that comes twice counts for nothing: another origin of this host may have
/// set the second.
fn cookie(headers: &HeaderMap, name: &str) -> Option<Zeroizing<String>> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(value), None) if fits(value) => Some(Zeroizing::new(value.to_owned())),
        _ => None,
    }
}

fn fits(value: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    value.len() == LENGTH && value.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn headers(cookies: &str) -> HeaderMap {
        [(COOKIE, HeaderValue::try_from(cookies).unwrap())].into_iter().collect()
    }

    fn browser(secret: &str, is_new: bool) -> Browser {
        let (secret, whom) = (Zeroizing::new(secret.to_owned()), String::new());
        Browser { secret, is_new, session: None, whom }
    }

    #[test]
    fn a_cookie_counts_once_and_in_its_form() {
        let of = |cookies: &str| cookie(&headers(cookies), BROWSER).is_some();
        assert!(of(&format!("{BROWSER}={SECRET}")));
        assert!(of(&format!("a=b; {BROWSER}={SECRET}; c=d")));
        assert!(!of(&format!("{BROWSER}={SECRET}; {BROWSER}={SECRET}")));
        assert!(!of(&format!("{BROWSER}=short")));
        assert!(!of(&format!("aims-browser={SECRET}")));
        assert!(!of(&format!("{BROWSER}={}", SECRET.replace('A', "!"))));
    }

    #[test]
    fn a_form_is_bound_to_its_browser_and_its_action() {
        let ours = browser(SECRET, false);
        let value = ours.form_value("/sign-in");
        assert!(ours.was_shown("/sign-in", &value));
        assert!(!ours.was_shown("/console/sign-out", &value));
        assert!(!ours.was_shown("/sign-in", ""));
        assert!(!browser(&SECRET.replace('A', "B"), false).was_shown("/sign-in", &value));
        // A browser that shows no cookie has seen no form of ours.
        assert!(!browser(SECRET, true).was_shown("/sign-in", &value));
    }

    /// Defect: a page that one user saw was answered as another who signed in since.
    #[test]
    fn a_form_is_bound_to_who_is_signed_in() {
        let of = |user: &str| {
            let mut browser = browser(SECRET, false);
            browser.is_of(user);
            browser
        };
        let seen = of("user:ada").form_value("/device");
        assert!(of("user:ada").was_shown("/device", &seen));
        assert!(!of("user:bob").was_shown("/device", &seen));
        // Nobody answers it: they are sent to sign in.
        assert!(of("").was_shown("/device", &seen));
        assert!(!of("user:ada").was_shown("/device", &of("").form_value("/device")));
        // Who signs in may have been signed in as somebody else meanwhile.
        assert!(of("user:bob").was_shown("/sign-in", &of("user:ada").form_value("/sign-in")));
    }

    #[test]
    fn cookies_go_to_this_origin_alone() {
        let set = browser(SECRET, true).set_cookie().unwrap();
        assert!(set.is_sensitive());
        let text = set.to_str().unwrap();
        let wanted = format!("{BROWSER}={SECRET}; Path=/; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(text, wanted);
    }
}
