//! Relations to other trust domains (SPIFFE Federation §5, §6; CRED-12): what was agreed on, what
//! was fetched, and when to ask again.
//!
//! In scope: the terms of a relation, and what an answer of its endpoint does to it. Not here: the
//! fetch itself (`edge/fetch`), and where the bundles lie, by trust domain and never in one pool
//! (`spiffe::BundleSet`).

use serde::{Deserialize, Serialize};
use spiffe::federation::{EndpointUrl, GivenBundle, Profile, poll_after, retry_after};
use spiffe::{Bundle, BundleError, BundleSet, SpiffeId, TrustDomain};
use time::{Span, UnixTime};
use wimse::Origin;

/// The most relations of one trust domain.
pub const RELATIONS_MAX: usize = 32;
/// The longest message of a fault that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 512;
/// How long to wait after a failure before any bundle was fetched.
const FIRST_RETRY: Span = Span::from_seconds(60);

/// What an operator or policy says of a relation. Nothing is inferred from anything else
/// (SPIFFE Federation §7.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The trust domain whose bundle it is.
    pub trust_domain: TrustDomain,
    /// How the endpoint is authenticated.
    pub profile: Profile,
    /// Where its bundle is.
    pub url: EndpointUrl,
    /// With `https_spiffe`: who answers there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<SpiffeId>,
    /// With `https_spiffe`, where the endpoint is of the trust domain itself: what its first
    /// answer is checked by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<GivenBundle>,
    /// Whether its WITs are believed.
    #[serde(default = "yes")]
    pub wit: bool,
}

const fn yes() -> bool {
    true
}

impl Terms {
    /// Whether they make sense for the trust domain `own`.
    pub fn check(&self, own: &Origin) -> Result<(), TermsFault> {
        // Whoever answers at the URL would replace our own keys.
        if Origin::from(&self.trust_domain) == *own {
            return Err(TermsFault::Own { own: own.clone() });
        }
        let Some(id) = &self.endpoint_id else {
            // SPIFFE Federation §5.2.1.2: "The `https_web` profile MUST NOT require any additional
            // parameters": who gives some means the other profile.
            return match (self.profile, &self.bundle) {
                (Profile::HttpsWeb, None) => Ok(()),
                (Profile::HttpsWeb, Some(_)) => Err(TermsFault::NotOfWeb { what: "bundle" }),
                (Profile::HttpsSpiffe, _) => Err(TermsFault::NoEndpointId),
            };
        };
        if self.profile == Profile::HttpsWeb {
            return Err(TermsFault::NotOfWeb { what: "endpoint_id" });
        }
        // SPIFFE Federation §5.2.2.2: "If the endpoint is self-serving, clients need to be
        // configured with a single up-to-date bundle in order to bootstrap".
        match (&self.bundle, *id.trust_domain() == self.trust_domain) {
            (None, true) => Err(TermsFault::NoBundle),
            (Some(_), false) => Err(TermsFault::NotSelfServing { id: id.clone() }),
            (Some(given), true) if given.bundle().x509_authorities().is_empty() => {
                Err(TermsFault::NoAuthority)
            }
            (Some(_), true) | (None, false) => Ok(()),
        }
    }
}

/// Why terms make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsFault {
    /// It is our own trust domain.
    #[error("`{}` is our own trust domain", .own.name())]
    Own {
        /// It.
        own: Origin,
    },
    /// A parameter that the Web PKI has no use for.
    #[error("`{what}` belongs to the profile `https_spiffe`")]
    NotOfWeb {
        /// Which.
        what: &'static str,
    },
    /// Nobody is expected there.
    #[error("the profile `https_spiffe` needs `endpoint_id`, the SPIFFE ID of the endpoint")]
    NoEndpointId,
    /// Nothing to check the first answer by.
    #[error("an endpoint that serves its own trust domain needs `bundle`, a first bundle")]
    NoBundle,
    /// A first bundle for somebody else.
    #[error(
        "`{id}` is of another trust domain: federate with that one first, without `bundle` here"
    )]
    NotSelfServing {
        /// The endpoint.
        id: SpiffeId,
    },
    /// A first bundle that can check nothing.
    #[error("`bundle` has no authority of X.509-SVIDs")]
    NoAuthority,
}

impl TermsFault {
    /// The key of the terms that is wrong.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Own { .. } => "trust_domain",
            Self::NotOfWeb { what } => what,
            Self::NoEndpointId => "profile",
            Self::NoBundle | Self::NotSelfServing { .. } => "endpoint_id",
            Self::NoAuthority => "bundle",
        }
    }
}

/// Who keeps a relation, and so who may end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeper {
    /// An operator, by command.
    Operator,
    /// The policy set.
    Policy,
}

/// A relation: its terms, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// What was agreed on.
    pub terms: Terms,
    /// Who keeps it.
    pub keeper: Keeper,
    /// Since when these terms hold.
    pub since: UnixTime,
    /// The last good answer, if there ever was one.
    #[serde(default)]
    pub fetched: Option<Fetched>,
    /// The highest sequence number that was seen: what is lower is old.
    #[serde(default)]
    pub sequence_min: Option<u64>,
    /// Failures since the last good answer.
    #[serde(default)]
    pub failures: u32,
    /// The last of them.
    #[serde(default)]
    pub fault: Option<LastFault>,
    /// When to ask next.
    pub next: UnixTime,
}

/// A good answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// When it came.
    pub at: UnixTime,
    /// Its sequence number.
    pub sequence: Option<u64>,
    /// How long it may be kept, as it says.
    pub refresh_hint: Span,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFault {
    /// When.
    pub at: UnixTime,
    /// The check that fired.
    pub check: String,
    /// In words.
    pub message: String,
}

/// How a relation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing was fetched yet.
    Waiting,
    /// The last fetch was good.
    Good,
    /// The last fetch failed; an earlier bundle is used, if there is one.
    Failing,
}

impl Standing {
    /// The name in answers and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Good => "good",
            Self::Failing => "failing",
        }
    }
}

impl Relation {
    /// A relation that begins now. Terms that change begin it anew: what was fetched elsewhere, or
    /// checked otherwise, says nothing about it.
    pub fn begin(terms: Terms, keeper: Keeper, now: UnixTime) -> Self {
        let (fetched, sequence_min, failures, fault) = (None, None, 0, None);
        Self { terms, keeper, since: now, fetched, sequence_min, failures, fault, next: now }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        match (&self.fault, &self.fetched) {
            (Some(_), _) => Standing::Failing,
            (None, Some(_)) => Standing::Good,
            (None, None) => Standing::Waiting,
        }
    }

    /// What its endpoint is authenticated by, with what is `trusted` now; nothing for the Web PKI.
    ///
    /// SPIFFE Federation §5.2.2.4: "Upon the first connection to a self-serving bundle endpoint,
    /// clients use the operator-supplied SPIFFE bundle [...] The latest available bundle MUST be
    /// used to validate any subsequent connections."
    pub fn endpoint(&self, trusted: &BundleSet) -> Option<(SpiffeId, BundleSet)> {
        let id = self.terms.endpoint_id.clone()?;
        let domain = id.trust_domain().clone();
        let given = self.terms.bundle.as_ref().map(GivenBundle::bundle);
        let known = trusted.get(&domain).or(given).cloned();
        let mut trust = BundleSet::new();
        if let Some(bundle) = known {
            trust.insert(domain, bundle);
        }
        Some((id, trust))
    }

    /// What an answer makes of it: the relation as it stands then, and the bundle to use. `random`
    /// spreads the time of the next look, so that peers do not all come at once.
    pub fn take(
        &self,
        text: &str,
        random: [u8; 16],
        now: UnixTime,
    ) -> Result<(Self, Bundle), Refusal> {
        let bundle = Bundle::parse(text)?;
        // SPIFFE Federation §4.2: "The sequence number field of the trust bundle SHOULD be used
        // when comparing the freshness or ordering of two trust bundles. If the trust bundle omits
        // the sequence number, operators SHOULD consider the most recently retrieved bundle to be
        // up-to-date."
        if let (Some(found), Some(known)) = (bundle.sequence(), self.sequence_min)
            && found < known
        {
            return Err(Refusal::Older { found, known });
        }
        let refresh_hint = bundle.refresh_hint();
        let relation = Self {
            fetched: Some(Fetched { at: now, sequence: bundle.sequence(), refresh_hint }),
            sequence_min: self.sequence_min.max(bundle.sequence()),
            failures: 0,
            fault: None,
            next: now.plus(spread(poll_after(refresh_hint), random)),
            ..self.clone()
        };
        let bundle = if self.terms.wit { bundle } else { bundle.without_wit() };
        Ok((relation, bundle))
    }

    /// The relation after a fetch that failed: what was good before stays.
    pub fn failed(&self, check: &str, message: &str, random: [u8; 16], now: UnixTime) -> Self {
        let failures = self.failures.saturating_add(1);
        let interval = self.fetched.as_ref().map_or(FIRST_RETRY, |last| last.refresh_hint);
        let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
        Self {
            failures,
            fault: Some(LastFault { at: now, check: check.to_owned(), message }),
            next: now.plus(spread(retry_after(interval, failures), random)),
            ..self.clone()
        }
    }
}

/// Up to a tenth earlier than `pause`: never later, for a bundle says how long it may be kept.
fn spread(pause: Span, random: [u8; 16]) -> Span {
    let [first, second, ..] = random;
    let share = u64::from(u16::from_be_bytes([first, second]));
    let most = pause.millis() / 10;
    Span::from_millis(pause.millis() - most.saturating_mul(share) / u64::from(u16::MAX))
}

/// Why an answer is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not read.
    #[error("the answer is no bundle: {0}")]
    NotABundle(#[from] BundleError),
    /// It is older than what is known.
    #[error("the sequence {found} is older than {known}, which was seen before")]
    Older {
        /// Its number.
        found: u64,
        /// The highest that was seen.
        known: u64,
    },
}

impl Refusal {
    /// The variant's name: what records call the check.
    pub const fn check(&self) -> &'static str {
        match self {
            Self::NotABundle(_) => "federation::NotABundle",
            Self::Older { .. } => "federation::Older",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_000_000);
    /// Not a millisecond early.
    const LATEST: [u8; 16] = [0; 16];
    /// As early as it gets.
    const EARLIEST: [u8; 16] = [0xff; 16];

    fn domain(name: &str) -> TrustDomain {
        TrustDomain::parse(name).unwrap()
    }

    fn web() -> Terms {
        Terms {
            trust_domain: domain("other.example"),
            profile: Profile::HttpsWeb,
            url: EndpointUrl::parse("https://bundles.example/other").unwrap(),
            endpoint_id: None,
            bundle: None,
            wit: true,
        }
    }

    fn text(sequence: u64, hint: u64) -> String {
        // RFC 7517 appendix A.1.
        let key = |kid: &str, usage: &str| {
            serde_json::json!({
                "kty": "EC", "crv": "P-256", "kid": kid, "use": usage,
                "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            })
        };
        let keys = [key("jwt", "jwt-svid"), key("wit", "wit-svid")];
        let bundle = serde_json::json!({
            "spiffe_sequence": sequence, "spiffe_refresh_hint": hint, "keys": keys,
        });
        bundle.to_string()
    }

    #[test]
    fn s5_terms_name_what_their_profile_needs_and_no_more() {
        let own = domain("own.example");
        let id = |name: &str| SpiffeId::parse(&format!("spiffe://{name}/bundle")).ok();
        let empty = || Some(GivenBundle::try_from("{\"keys\":[]}".to_owned()).unwrap());
        let spiffe = || Terms { profile: Profile::HttpsSpiffe, ..web() };
        let ours = Terms { trust_domain: own.clone(), ..web() };
        let own = Origin::from(own);
        let check = |terms: Terms, expect| assert_eq!(terms.check(&own), expect, "{terms:?}");
        check(web(), Ok(()));
        // The same name under another scheme is another trust domain.
        assert_eq!(ours.check(&Origin::parse("wimse://own.example").unwrap()), Ok(()));
        check(ours, Err(TermsFault::Own { own: own.clone() }));
        let what = "bundle";
        check(Terms { bundle: empty(), ..web() }, Err(TermsFault::NotOfWeb { what }));
        let (endpoint_id, what) = (id("other.example"), "endpoint_id");
        check(Terms { endpoint_id, ..web() }, Err(TermsFault::NotOfWeb { what }));
        check(spiffe(), Err(TermsFault::NoEndpointId));
        check(Terms { endpoint_id: id("third.example"), ..spiffe() }, Ok(()));
        let endpoint_id = id("other.example");
        check(Terms { endpoint_id, ..spiffe() }, Err(TermsFault::NoBundle));
        let given = Terms { endpoint_id: id("other.example"), bundle: empty(), ..spiffe() };
        check(given, Err(TermsFault::NoAuthority));
        let endpoint_id = id("third.example");
        let other = TermsFault::NotSelfServing { id: endpoint_id.clone().unwrap() };
        check(Terms { endpoint_id, bundle: empty(), ..spiffe() }, Err(other));
    }

    /// req: CRED-12 (part)
    #[test]
    fn s4_2_an_older_sequence_is_refused_and_what_was_good_stays() {
        let begun = Relation::begin(web(), Keeper::Operator, NOW);
        assert_eq!((begun.standing(), begun.next), (Standing::Waiting, NOW));
        let (relation, bundle) = begun.take(&text(7, 300), LATEST, NOW).unwrap();
        assert_eq!(bundle.sequence(), Some(7));
        assert_eq!(relation.standing(), Standing::Good);
        // The same again, and a newer one.
        relation.take(&text(7, 300), LATEST, NOW).unwrap();
        let (newer, _) = relation.take(&text(9, 300), LATEST, NOW).unwrap();
        for found in [0, 7, 8] {
            let refused = newer.take(&text(found, 300), LATEST, NOW);
            assert_eq!(refused, Err(Refusal::Older { found, known: 9 }));
        }
        // One without a number cannot be ordered; but what came before is still known.
        let (without, _) = newer.take("{\"keys\":[]}", LATEST, NOW).unwrap();
        let refused = without.take(&text(8, 300), LATEST, NOW);
        assert_eq!(refused, Err(Refusal::Older { found: 8, known: 9 }));
        assert!(matches!(newer.take("[]", LATEST, NOW), Err(Refusal::NotABundle(_))));
        let failing = newer.failed("fetch::Status", "500", LATEST, NOW);
        assert_eq!(failing.standing(), Standing::Failing);
        assert_eq!((failing.fetched, failing.sequence_min), (newer.fetched, Some(9)));
    }

    /// req: CRED-12 (part)
    #[test]
    fn s4_1_it_asks_again_when_the_bundle_says_and_never_later() {
        let begun = Relation::begin(web(), Keeper::Policy, NOW);
        let next = |hint, random| {
            begun.take(&text(1, hint), random, NOW).unwrap().0.next.since(NOW).seconds()
        };
        assert_eq!((next(300, LATEST), next(300, EARLIEST)), (300, 270));
        assert_eq!((next(1, LATEST), next(1, EARLIEST)), (60, 54));
        assert_eq!(next(u64::from(u32::MAX), LATEST), 86_400);
        let (good, _) = begun.take(&text(1, 300), LATEST, NOW).unwrap();
        let (mut failing, mut first) = (good, begun);
        for (after_good, after_none) in [(300, 60), (600, 120), (1_200, 240), (2_400, 480)] {
            failing = failing.failed("fetch::Status", "500", LATEST, NOW);
            first = first.failed("fetch::Status", "500", LATEST, NOW);
            assert_eq!(failing.next.since(NOW).seconds(), after_good);
            assert_eq!(first.next.since(NOW).seconds(), after_none);
        }
        let long = first.failed("x", &"ü".repeat(10_000), LATEST, NOW).fault.unwrap();
        assert_eq!(long.message.chars().count(), MESSAGE_CHARS_MAX);
    }

    #[test]
    fn wits_are_believed_only_where_the_terms_say_so() {
        for wit in [true, false] {
            let relation = Relation::begin(Terms { wit, ..web() }, Keeper::Operator, NOW);
            let (_, bundle) = relation.take(&text(1, 300), LATEST, NOW).unwrap();
            assert_eq!((bundle.wit_keys().len(), bundle.jwt_keys().len()), (usize::from(wit), 1));
        }
    }

    #[test]
    fn s5_2_2_4_the_newest_bundle_of_the_endpoints_own_trust_domain_counts() {
        let given = || Bundle::parse(&text(1, 300)).unwrap();
        let newer = Bundle::parse(&text(5, 300)).unwrap();
        let terms = Terms {
            profile: Profile::HttpsSpiffe,
            endpoint_id: SpiffeId::parse("spiffe://other.example/bundle").ok(),
            bundle: Some(GivenBundle::from(given())),
            ..web()
        };
        let relation = Relation::begin(terms, Keeper::Operator, NOW);
        let sequence = |trusted: &BundleSet| {
            let (_, trust) = relation.endpoint(trusted).unwrap();
            assert_eq!(trust.iter().count(), 1);
            trust.get(&domain("other.example")).unwrap().sequence()
        };
        let mut trusted = BundleSet::new();
        trusted.insert(domain("own.example"), given());
        assert_eq!(sequence(&trusted), Some(1));
        trusted.insert(domain("other.example"), newer);
        assert_eq!(sequence(&trusted), Some(5));
        let web = Relation::begin(web(), Keeper::Operator, NOW);
        assert_eq!(web.endpoint(&trusted), None);
    }
}
