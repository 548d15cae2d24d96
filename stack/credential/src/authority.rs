//! Our own signing keys over time: published before first use, kept until the last thing signed
//! with them is dead (docs/design.md §5; S1 §6, §8).

use jose::{Algorithm, Jwk, KeyId, NoKey, PublicKey};
use serde::{Deserialize, Serialize};
use time::{Span, UnixTime};

use crate::x509_intermediate::{Above, LIFE_MIN};

/// The most keys of one purpose at any time: a bound on published key sets.
pub const KEYS_MAX: usize = 32;

/// What a key of ours signs; each purpose has keys of its own (docs/design.md §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The X.509 authority of the trust domain.
    X509Authority,
    /// JWT-SVIDs.
    JwtSvid,
    /// Workload identity tokens.
    Wit,
    /// Access tokens.
    AccessToken,
    /// Transaction tokens.
    TxnToken,
    /// ID tokens, and what else is signed for clients: answers about users and tokens.
    IdToken,
    /// The same for clients that registered RS256.
    IdTokenRs256,
    /// The same for clients that registered PS256.
    IdTokenPs256,
    /// The same for clients that registered `EdDSA`.
    IdTokenEddsa,
    /// What this server proves itself by where it is a client.
    ClientAssertion,
    /// Attestation results: the verifier's own (RFC 9334 §4.1).
    AttestationResult,
    /// The authority of the HTTPS listeners' own certificates.
    WebAuthority,
    /// The key of an HTTPS listener.
    WebServer,
    /// The audit log's checkpoints (Ed25519).
    Log,
    /// The component's own identity towards the others (node, gateway, server).
    Component,
    /// A workload's key, made by its node and handed to it.
    Workload,
    /// A workload's key that its node keeps, and signs with in its place.
    Agent,
}

impl Purpose {
    /// Those whose keys others verify with, so that they are rotated by overlap.
    pub const ROTATED: [Self; 12] = [
        Self::X509Authority,
        Self::JwtSvid,
        Self::Wit,
        Self::AccessToken,
        Self::TxnToken,
        Self::IdToken,
        Self::IdTokenRs256,
        Self::IdTokenPs256,
        Self::IdTokenEddsa,
        Self::ClientAssertion,
        Self::AttestationResult,
        Self::WebAuthority,
    ];

    /// Those that sign for clients, each by an algorithm of its own. The first is for whoever
    /// registered none.
    pub const FOR_CLIENTS: [Self; 4] =
        [Self::IdToken, Self::IdTokenRs256, Self::IdTokenPs256, Self::IdTokenEddsa];

    /// The one that signs for clients by `algorithm`.
    pub fn for_clients(algorithm: Algorithm) -> Option<Self> {
        Self::FOR_CLIENTS.into_iter().find(|purpose| purpose.algorithm() == algorithm)
    }

    /// What its keys sign by.
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::IdTokenRs256 => Algorithm::Rs256,
            Self::IdTokenPs256 => Algorithm::Ps256,
            Self::IdTokenEddsa | Self::Log => Algorithm::EdDsa,
            _ => Algorithm::Es256,
        }
    }

    /// Whether its first key is made when somebody needs it, not at the first start.
    pub const fn is_on_demand(self) -> bool {
        matches!(self, Self::IdTokenRs256 | Self::IdTokenPs256 | Self::IdTokenEddsa)
    }

    /// The name in file names, rows and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X509Authority => "x509-authority",
            Self::JwtSvid => "jwt-svid",
            Self::Wit => "wit",
            Self::AccessToken => "access-token",
            Self::TxnToken => "txn-token",
            Self::IdToken => "id-token",
            Self::IdTokenRs256 => "id-token-rs256",
            Self::IdTokenPs256 => "id-token-ps256",
            Self::IdTokenEddsa => "id-token-eddsa",
            Self::ClientAssertion => "client-assertion",
            Self::AttestationResult => "attestation-result",
            Self::WebAuthority => "web-authority",
            Self::WebServer => "web-server",
            Self::Log => "log",
            Self::Component => "component",
            Self::Workload => "workload",
            Self::Agent => "agent",
        }
    }
}

/// Keys are made where the settings say, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this server's key store (`{store}`) makes no {algorithm} keys")]
pub struct CannotMake {
    /// `store` of `[keys]` in the settings.
    pub store: &'static str,
    /// For what.
    pub algorithm: Algorithm,
}

/// One signing key, its public half, and its windows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityKey {
    /// Its id: for tokens the `kid`.
    pub kid: KeyId,
    /// The public half.
    pub public: Jwk,
    /// The authority's certificate in DER, for the two X.509 purposes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Vec<u8>>,
    /// What stands above it, where that certificate is not signed by the key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Above>,
    /// Since when it is published.
    pub published: UnixTime,
    /// From when it signs.
    pub signs_from: UnixTime,
    /// Until when it signs.
    pub signs_until: UnixTime,
    /// Until when it is published.
    pub kept_until: UnixTime,
    /// The component that holds the private half, where that is not the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Since when an operator mistrusts it: it signs no longer, and is published until it is
    /// revoked or ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tainted: Option<UnixTime>,
}

impl AuthorityKey {
    /// Whether it is ours to sign with at `now`.
    fn signs(&self, now: UnixTime) -> bool {
        self.is_ours() && self.signs_from <= now && now < self.signs_until
    }

    /// Whether we hold its private half, and nobody mistrusts it.
    const fn is_ours(&self) -> bool {
        self.holder.is_none() && self.tainted.is_none()
    }
}

/// How long keys of a purpose live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How long before its first use a key is published: longer than peers cache key sets.
    pub ahead: Span,
    /// How long it signs.
    pub signs: Span,
    /// The longest life of what it signs: so long it stays published after its last use.
    pub signed_life: Span,
}

/// The keys of one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRing {
    /// The purpose.
    pub purpose: Purpose,
    /// Its keys, oldest first.
    pub keys: Vec<AuthorityKey>,
}

/// What a ring needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this instant.
    Wait(UnixTime),
    /// A new key that signs from this instant on.
    Make {
        /// When it begins to sign.
        signs_from: UnixTime,
    },
}

impl KeyRing {
    /// A ring without a key.
    pub const fn empty(purpose: Purpose) -> Self {
        Self { purpose, keys: Vec::new() }
    }

    /// The key that signs now: of those whose window is open, the newest. Keys held by others
    /// (a gateway's delegated key) are not ours to sign with.
    pub fn signer(&self, now: UnixTime) -> Option<&AuthorityKey> {
        self.keys.iter().filter(|key| key.signs(now)).max_by_key(|key| key.signs_from)
    }

    /// The keys that others must know now.
    pub fn published(&self, now: UnixTime) -> impl Iterator<Item = &AuthorityKey> {
        self.keys.iter().filter(move |key| now < key.kept_until)
    }

    /// What to do next, by `schedule`.
    pub fn next(&self, schedule: &Schedule, now: UnixTime) -> Step {
        let Some(last) = self.last(now) else { return Step::Make { signs_from: now } };
        let make_at = last.signs_until.minus(Self::ahead(last, schedule));
        if make_at <= now {
            Step::Make { signs_from: last.signs_until }
        } else {
            Step::Wait(make_at)
        }
    }

    /// When the next key is to be made, by `schedule`: before the last one signs no longer.
    pub fn make_at(&self, schedule: &Schedule, now: UnixTime) -> UnixTime {
        let last = self.last(now);
        last.map_or(now, |last| last.signs_until.minus(Self::ahead(last, schedule)))
    }

    /// The last of those that sign one after the other from `now` on; none where none signs now. A
    /// key that was made under a clock that was ahead may stand alone in the future: nothing is
    /// signed with it before, and what ends before it begins needs a key of its own.
    fn last(&self, now: UnixTime) -> Option<&AuthorityKey> {
        let latest = |until: UnixTime, from: UnixTime| {
            let keys = self.keys.iter().filter(|key| key.is_ours() && until < key.signs_until);
            keys.filter(|key| key.signs_from <= from).max_by_key(|key| key.signs_until)
        };
        let mut last = latest(now, now)?;
        while let Some(next) = latest(last.signs_until, last.signs_until) {
            last = next;
        }
        Some(last)
    }

    /// How long before the last key ends the next one is made. For an intermediate that is half of
    /// its own time, so that the authority above may be away for as long; nobody has to know it
    /// ahead, as it stands in each chain.
    fn ahead(last: &AuthorityKey, schedule: &Schedule) -> Span {
        match last.above {
            Some(_) => Span::from_millis(last.signs_until.since(last.signs_from).millis() / 2),
            None => schedule.ahead,
        }
    }

    /// Whether the newest key of ours has an authority above it; `None` without a key.
    pub fn has_superior(&self) -> Option<bool> {
        let ours = self.keys.iter().filter(|key| key.is_ours());
        ours.max_by_key(|key| key.signs_until).map(|key| key.above.is_some())
    }

    /// The windows of an intermediate that is valid until `until` and would sign from `signs_from`
    /// on: from when and until when it signs, and until when it is kept. What it signs has its
    /// whole life, or half of what is left where that is less.
    pub fn windows_within(
        schedule: &Schedule,
        (now, signs_from): (UnixTime, UnixTime),
        until: UnixTime,
    ) -> (UnixTime, UnixTime, UnixTime) {
        // One that ends before the last one does begins at once.
        let signs_from = if until < signs_from.plus(LIFE_MIN) { now } else { signs_from };
        let half = Span::from_millis(until.since(signs_from).millis() / 2);
        let last = until.minus(schedule.signed_life.min(half));
        let (signs_until, kept_until) = Self::windows(schedule, signs_from);
        (signs_from, signs_until.min(last), kept_until.min(until))
    }

    /// The windows of a key that is made now and signs from `signs_from` on.
    pub fn windows(schedule: &Schedule, signs_from: UnixTime) -> (UnixTime, UnixTime) {
        let signs_until = signs_from.plus(schedule.signs);
        (signs_until, signs_until.plus(schedule.signed_life))
    }

    /// The ring with one key more, and without those that nobody needs any longer. Over
    /// [`KEYS_MAX`] the oldest goes: of the same delegate first, then of any, and our own last, so
    /// that no component can push out the keys of another by asking again and again.
    #[must_use]
    pub fn with(&self, key: AuthorityKey, now: UnixTime) -> Self {
        let mut keys: Vec<_> = self.published(now).cloned().collect();
        while keys.len() >= KEYS_MAX {
            let of_the_same = |old: &AuthorityKey| old.holder.is_some() && old.holder == key.holder;
            let oldest = keys
                .iter()
                .position(of_the_same)
                .or_else(|| keys.iter().position(|old| old.holder.is_some()))
                .unwrap_or_default();
            keys.remove(oldest);
        }
        keys.push(key);
        Self { purpose: self.purpose, keys }
    }
}

impl KeyRing {
    /// The ring in which the key `kid` signs no longer. Another must be able to sign in its place,
    /// unless this is `urgent`: then the next one begins at once, or is to be made.
    pub fn taint(&self, kid: &KeyId, urgent: bool, now: UnixTime) -> Result<Self, RingRefusal> {
        let mut ring = self.clone();
        let tainted = ring.keys.iter_mut().find(|key| key.kid == *kid);
        let key = tainted.ok_or_else(|| RingRefusal::Unknown { kid: kid.clone() })?;
        if key.holder.is_some() {
            return Err(RingRefusal::Delegated { kid: kid.clone() });
        }
        if let Some(since) = key.tainted {
            return Err(RingRefusal::Tainted { kid: kid.clone(), since });
        }
        key.tainted = Some(now);
        if ring.signer(now).is_some() {
            return Ok(ring);
        }
        if !urgent {
            return Err(RingRefusal::NoOther { kid: kid.clone() });
        }
        let next = ring.keys.iter_mut().filter(|key| key.is_ours() && now < key.signs_until);
        if let Some(next) = next.min_by_key(|key| key.signs_from) {
            next.signs_from = now;
        }
        Ok(ring)
    }

    /// The ring without the key `kid`: what it signed verifies no longer.
    pub fn revoke(&self, kid: &KeyId) -> Result<Self, RingRefusal> {
        let found = self.keys.iter().find(|key| key.kid == *kid);
        let key = found.ok_or_else(|| RingRefusal::Unknown { kid: kid.clone() })?;
        if key.tainted.is_none() && key.holder.is_none() {
            return Err(RingRefusal::NotTainted { kid: kid.clone() });
        }
        let keys = self.keys.iter().filter(|key| key.kid != *kid).cloned().collect();
        Ok(Self { purpose: self.purpose, keys })
    }

    /// The ring without the keys that a component holds, and their ids; `None` where it holds none.
    pub fn without_holder(&self, holder: &str) -> Option<(Self, Vec<KeyId>)> {
        let (held, keys): (Vec<_>, Vec<_>) =
            self.keys.iter().cloned().partition(|key| key.holder.as_deref() == Some(holder));
        let gone: Vec<_> = held.into_iter().map(|key| key.kid).collect();
        (!gone.is_empty()).then_some((Self { purpose: self.purpose, keys }, gone))
    }
}

/// Why a key stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingRefusal {
    /// No ring has it.
    #[error("no signing key `{}`", .kid.as_str())]
    Unknown {
        /// What was named.
        kid: KeyId,
    },
    /// A gateway or a nested server signs with it: it ends by itself, or when it is revoked.
    #[error("`{}` is held by a gateway or a nested server; it can only be revoked", .kid.as_str())]
    Delegated {
        /// The key.
        kid: KeyId,
    },
    /// It is tainted already.
    #[error("`{}` is tainted since {since}", .kid.as_str())]
    Tainted {
        /// The key.
        kid: KeyId,
        /// Since when.
        since: UnixTime,
    },
    /// Nothing could be signed any longer.
    #[error("no other key signs in place of `{}` yet", .kid.as_str())]
    NoOther {
        /// The key.
        kid: KeyId,
    },
    /// What it signed is in use.
    #[error("`{}` signs still, or what it signed was not replaced: taint it first", .kid.as_str())]
    NotTainted {
        /// The key.
        kid: KeyId,
    },
}

/// The published keys of a ring as where the keys of tokens come from.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    ring: &'a KeyRing,
    now: UnixTime,
}

impl KeyRing {
    /// The keys that tokens are verified with now.
    pub const fn verifiers(&self, now: UnixTime) -> Published<'_> {
        Published { ring: self, now }
    }
}

/// A token of ours names its key: without a `kid` none is tried.
impl<K: jose::Kind> jose::KeySource<K> for Published<'_> {
    fn key(&self, _: &K::Hint, kid: Option<&KeyId>) -> Result<&PublicKey, NoKey> {
        let kid = kid.ok_or(NoKey::KeyIdRequired)?;
        let key = self.ring.published(self.now).find(|key| &key.kid == kid);
        let unknown = || NoKey::UnknownKeyId { kid: kid.clone() };
        key.and_then(|key| key.public.verification_key().ok()).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        ahead: Span::from_seconds(10),
        signs: Span::from_seconds(100),
        signed_life: Span::from_seconds(30),
    };

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    fn key(kid: &str, published: u64, from: u64) -> AuthorityKey {
        let public =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let (signs_until, kept_until) = KeyRing::windows(&SCHEDULE, at(from));
        AuthorityKey {
            kid: KeyId::parse(kid).unwrap(),
            public: Jwk::parse(public).unwrap(),
            certificate: None,
            above: None,
            published: at(published),
            signs_from: at(from),
            signs_until,
            kept_until,
            holder: None,
            tainted: None,
        }
    }

    /// A key that is mistrusted hands over first, is published on, and goes when it is revoked.
    /// req: PROV-02 (part), CRED-11 (part)
    #[test]
    fn s8_a_tainted_key_signs_no_longer_and_verifies_until_it_is_revoked() {
        let kid = |text: &str| KeyId::parse(text).unwrap();
        let ring = KeyRing::empty(Purpose::Wit).with(key("a", 0, 0), at(0));
        assert_eq!(
            ring.taint(&kid("a"), false, at(5)),
            Err(RingRefusal::NoOther { kid: kid("a") })
        );
        assert_eq!(ring.revoke(&kid("a")), Err(RingRefusal::NotTainted { kid: kid("a") }));
        let ring = ring.with(key("b", 5, 10), at(5));
        let signer =
            |ring: &KeyRing, now| ring.signer(at(now)).map(|key| key.kid.as_str().to_owned());
        assert_eq!(
            ring.taint(&kid("a"), false, at(9)),
            Err(RingRefusal::NoOther { kid: kid("a") })
        );
        let handed = ring.taint(&kid("a"), false, at(10)).unwrap();
        assert_eq!(signer(&handed, 10).as_deref(), Some("b"));
        assert_eq!(handed.published(at(10)).count(), 2);
        let again = RingRefusal::Tainted { kid: kid("a"), since: at(10) };
        assert_eq!(handed.taint(&kid("a"), true, at(11)), Err(again));
        let gone = handed.revoke(&kid("a")).unwrap();
        assert_eq!(gone.published(at(11)).count(), 1);
        assert_eq!(gone.revoke(&kid("a")), Err(RingRefusal::Unknown { kid: kid("a") }));
        // In an emergency the next one begins early, or is made.
        let early = ring.taint(&kid("a"), true, at(6)).unwrap();
        assert_eq!(signer(&early, 6).as_deref(), Some("b"));
        let alone = KeyRing::empty(Purpose::Wit).with(key("a", 0, 0), at(0));
        let alone = alone.taint(&kid("a"), true, at(6)).unwrap();
        assert_eq!(alone.next(&SCHEDULE, at(6)), Step::Make { signs_from: at(6) });
    }

    /// req: PROV-02 (part)
    #[test]
    fn s8_keys_rotate_by_overlap() {
        let ring = KeyRing::empty(Purpose::Wit);
        assert_eq!(ring.next(&SCHEDULE, at(0)), Step::Make { signs_from: at(0) });
        let ring = ring.with(key("a", 0, 0), at(0));
        assert_eq!(ring.next(&SCHEDULE, at(50)), Step::Wait(at(90)));
        assert_eq!(ring.next(&SCHEDULE, at(90)), Step::Make { signs_from: at(100) });
        let ring = ring.with(key("b", 90, 100), at(90));
        let signer = |now| ring.signer(at(now)).map(|key| key.kid.as_str().to_owned());
        assert_eq!(signer(99).as_deref(), Some("a"));
        assert_eq!(signer(100).as_deref(), Some("b"));
        let published = |now| ring.published(at(now)).count();
        // `b` is known ten seconds before its first use, `a` until the last it signed is dead.
        assert_eq!([published(90), published(129), published(130)], [2, 2, 1]);
    }

    #[test]
    fn s8_after_a_long_stop_a_key_is_made_at_once() {
        let ring = KeyRing::empty(Purpose::Wit).with(key("a", 0, 0), at(0));
        assert!(ring.signer(at(500)).is_none());
        assert_eq!(ring.next(&SCHEDULE, at(500)), Step::Make { signs_from: at(500) });
        assert_eq!(ring.with(key("b", 500, 500), at(500)).keys.len(), 1);
    }

    /// Keys of a clock that was ahead sign when their time has come, and a key made now until then.
    #[test]
    fn s8_a_key_that_may_sign_only_later_leaves_no_gap_before_it() {
        let ring = KeyRing::empty(Purpose::Wit).with(key("ahead", 500, 500), at(500));
        assert_eq!(ring.next(&SCHEDULE, at(0)), Step::Make { signs_from: at(0) });
        let ring = ring.with(key("a", 0, 0), at(0));
        assert_eq!(ring.next(&SCHEDULE, at(50)), Step::Wait(at(90)));
        assert_eq!(ring.make_at(&SCHEDULE, at(50)), at(90));
        let step = ring.next(&SCHEDULE, at(90));
        assert_eq!(step, Step::Make { signs_from: at(100) }, "published before its first use");
        // Where the two meet it goes on behind the later one.
        let ring = ring.with(key("b", 390, 400), at(390));
        assert_eq!(ring.next(&SCHEDULE, at(490)), Step::Wait(at(590)));
        let signer = |now| ring.signer(at(now)).map(|key| key.kid.as_str().to_owned());
        assert_eq!(signer(499).as_deref(), Some("b"));
        assert_eq!(signer(500).as_deref(), Some("ahead"));
    }

    /// A gateway that asks again and again replaces its own keys, not those of others.
    #[test]
    fn s8_no_delegate_can_push_out_the_keys_of_others() {
        let held = |kid: &str, holder: &str| AuthorityKey {
            holder: Some(holder.to_owned()),
            ..key(kid, 0, 0)
        };
        let mut ring = KeyRing::empty(Purpose::TxnToken).with(key("own", 0, 0), at(0));
        ring = ring.with(held("other", "gateway-b"), at(0));
        for asked in 0..3 * KEYS_MAX {
            ring = ring.with(held(&format!("a-{asked}"), "gateway-a"), at(0));
        }
        let kids: Vec<_> = ring.keys.iter().map(|key| key.kid.as_str()).collect();
        assert_eq!(kids.len(), KEYS_MAX);
        assert_eq!((kids[0], kids[1]), ("own", "other"));
        assert_eq!(kids.last(), Some(&"a-95"), "the newest is there");
        // Many gateways: ours still signs.
        for gateway in 0..3 * KEYS_MAX {
            ring = ring.with(held(&format!("g-{gateway}"), &format!("gateway-{gateway}")), at(0));
        }
        assert_eq!(ring.signer(at(1)).map(|key| key.kid.as_str()), Some("own"));
        assert_eq!(ring.keys.len(), KEYS_MAX);
    }

    /// A delegated key verifies, and never signs for us.
    #[test]
    fn s8_we_sign_with_our_own_keys_alone() {
        let delegated =
            AuthorityKey { holder: Some("gateway-a".to_owned()), ..key("theirs", 0, 50) };
        let ring = KeyRing::empty(Purpose::TxnToken).with(delegated, at(50));
        assert!(ring.signer(at(60)).is_none());
        assert_eq!(ring.next(&SCHEDULE, at(60)), Step::Make { signs_from: at(60) });
        let ring = ring.with(key("own", 40, 40), at(50));
        assert_eq!(ring.signer(at(60)).map(|key| key.kid.as_str()), Some("own"));
        assert_eq!(ring.published(at(60)).count(), 2);
    }

    /// req: PROV-02 (part), CRED-11 (part)
    #[test]
    fn s8_a_token_is_verified_by_the_key_it_names_while_that_is_published() {
        let ring = KeyRing::empty(Purpose::Wit).with(key("a", 0, 0), at(0));
        let find = |kid: Option<&str>, now: u64| {
            let kid = kid.map(|kid| KeyId::parse(kid).unwrap());
            let source = ring.verifiers(at(now));
            let found = jose::KeySource::<spiffe::JwtSvid>::key(&source, &domain(), kid.as_ref());
            found.map(|_| ())
        };
        let unknown = |kid: &str| Err(NoKey::UnknownKeyId { kid: KeyId::parse(kid).unwrap() });
        assert_eq!(find(Some("a"), 0), Ok(()));
        assert_eq!(find(Some("a"), 129), Ok(()), "it signs no longer, what it signed lives on");
        assert_eq!(find(Some("a"), 130), unknown("a"));
        assert_eq!(find(Some("b"), 0), unknown("b"));
        assert_eq!(find(None, 0), Err(NoKey::KeyIdRequired));
    }

    fn domain() -> spiffe::TrustDomain {
        spiffe::TrustDomain::parse("demo.example").unwrap()
    }

    /// No key is dropped while something that it signed still lives.
    /// req: PROV-02 (part)
    #[test]
    fn s8_keys_outlive_what_they_sign() {
        let lifetimes = crate::policy::Lifetimes::default();
        for (purpose, life) in [
            (Purpose::X509Authority, lifetimes.x509_svid),
            (Purpose::X509Authority, lifetimes.component),
            (Purpose::JwtSvid, lifetimes.jwt_svid),
            (Purpose::Wit, lifetimes.wit),
            (Purpose::AccessToken, lifetimes.access_token),
            (Purpose::TxnToken, lifetimes.txn_token),
        ] {
            let schedule = lifetimes.schedule(purpose);
            let (signs_until, kept_until) = KeyRing::windows(&schedule, at(1_000));
            assert!(kept_until >= signs_until.plus(life), "{purpose:?}");
            assert!(schedule.ahead < schedule.signs, "{purpose:?}");
        }
    }
}
