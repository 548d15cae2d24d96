//! The company's identity provider, from our side of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use authentication::session::{Acr, Session};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use credential::Purpose;
use env::rows::email_handle;
use env::{Asks, Clock, Entity, Index, Outbound, Outside, Replying, Store, Unavailable, World};
use jose::{Algorithm, Audience, Jwk, KeyId, KeySet, Kind, NumericDate, PrivateKey, SigningInput};
use monitoring::{Event, Outcome};
use oauth::form::Form;
use oauth::pkce::CodeVerifier;
use oauth::{ClientId, Issuer, SubjectText, TokenId};
use openid::id_token::{IdToken, IdTokenClaims, IdTokenRefused};
use openid::logout::{Ends, LogoutToken};
use people::browser::{Browser, Place};
use people::change::{self, Changes};
use people::end::End;
use people::passkeys::{self, FRESH};
use people::sessions;
use people::sign_in::SignedIn;
use people::standing::UserAct;
use people::upstream::{self, Came, Refusal};
use registry::UserRecord;
use serde_json::{Map, Value, json};
use testkit::fixture::{ISSUER, files, files_but, story};
use testkit::{Sim, boxed};
use time::{Span, UnixTime};

use crate::house::{House, browser, name};

const COMPANY: &str = "https://login.company.example";
const OTHER: &str = "https://evil.example";

/// The provider, and the endpoint of a client beside it.
pub(crate) struct Company {
    key: PrivateKey,
    pub(crate) inner: Mutex<Inner>,
}

/// What a provider says otherwise than it should.
pub(crate) type Edit = fn(&mut IdTokenClaims);

#[derive(Default)]
pub(crate) struct Inner {
    now: u64,
    /// Our keys, as the provider read them.
    ours: Option<KeySet>,
    codes: BTreeMap<String, Authorized>,
    userinfo: Option<Value>,
    /// Since when it knows people; now, if it does not say.
    pub(crate) since: Option<u64>,
    /// It tells nobody since when.
    pub(crate) is_silent: bool,
    edit: Option<Edit>,
    pub(crate) forms: Vec<(String, String)>,
    pub(crate) is_down: bool,
}

#[derive(Clone)]
pub(crate) struct Authorized {
    nonce: String,
    challenge: String,
    redirect_uri: String,
    subject: String,
    max_age: Option<u64>,
    more: Map<String, Value>,
}

fn kid() -> KeyId {
    KeyId::parse("company-1").unwrap()
}

fn company_issuer() -> Issuer {
    Issuer::parse(COMPANY).unwrap()
}

fn signed<K: Kind>(key: &PrivateKey, claims: &K::Claims) -> String {
    let input = SigningInput::<K>::new(Algorithm::Es256, Some(&kid()), claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

impl Company {
    /// It lets a code be used again.
    fn again(&self, code: &str, authorized: &Authorized) {
        self.inner.lock().unwrap().codes.insert(code.to_owned(), authorized.clone());
    }

    fn token(&self, authorized: &Authorized) -> String {
        let inner = self.inner.lock().unwrap();
        let now = UnixTime::from_seconds(inner.now);
        let subject = SubjectText::parse(&authorized.subject).unwrap();
        let us = ClientId::parse("aims-console").unwrap();
        let life = Span::from_seconds(300);
        let mut claims = IdTokenClaims::new(company_issuer(), subject, &us, now, life);
        claims.nonce = Some(authorized.nonce.clone());
        claims.sid = Some(format!("sid-of-{}", authorized.subject));
        claims.amr = Some(vec!["hwk".to_owned()]);
        claims.more = authorized.more.clone();
        // It does as it is asked: people prove it again where that is too long ago.
        let since = inner
            .since
            .filter(|since| authorized.max_age.is_none_or(|most| inner.now <= since + most));
        let told = NumericDate::from_time(UnixTime::from_seconds(since.unwrap_or(inner.now)));
        claims.auth_time = authorized.max_age.filter(|_| !inner.is_silent).map(|_| told);
        if let Some(edit) = inner.edit {
            edit(&mut claims);
        }
        signed::<IdToken>(&self.key, &claims)
    }

    fn answer(&self, question: &Outbound) -> Result<String, String> {
        if self.inner.lock().unwrap().is_down {
            return Err("it does not answer".to_owned());
        }
        let path = question.url.strip_prefix(COMPANY).unwrap_or(&question.url);
        match (path, &question.what) {
            ("/.well-known/openid-configuration", Asks::Document { .. }) => Ok(json!({
                "issuer": COMPANY,
                "authorization_endpoint": format!("{COMPANY}/authorize?tenant=1"),
                "token_endpoint": format!("{COMPANY}/token"),
                "jwks_uri": format!("{COMPANY}/jwks"),
                "userinfo_endpoint": format!("{COMPANY}/me"),
                "authorization_response_iss_parameter_supported": true,
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            })
            .to_string()),
            ("/jwks", Asks::Document { .. }) => {
                let jwk: Jwk = self.key.public().to_jwk().with_kid(kid());
                Ok(serde_json::to_string(&KeySet::new(vec![jwk]).unwrap()).unwrap())
            }
            ("/me", Asks::Bearer(token)) if token == "access-1" => {
                self.inner.lock().unwrap().userinfo.clone().map(|u| u.to_string()).ok_or_default()
            }
            ("/token", Asks::Redeem { body, secret: None }) => self.redeem(body),
            (_, Asks::Form { body, .. }) => {
                let mut inner = self.inner.lock().unwrap();
                inner.forms.push((question.url.clone(), body.clone()));
                Ok(String::new())
            }
            _ => Err(format!("nothing at {path}")),
        }
    }

    fn redeem(&self, body: &str) -> Result<String, String> {
        let form = Form::parse(body.as_bytes()).map_err(|error| error.to_string())?;
        let get = |name: &str| form.get(name).unwrap_or_default().to_owned();
        let (authorized, ours, now) = {
            let mut inner = self.inner.lock().unwrap();
            let Some(authorized) = inner.codes.remove(&get("code")) else {
                return Ok(json!({ "error": "invalid_grant" }).to_string());
            };
            (authorized, inner.ours.clone().unwrap(), UnixTime::from_seconds(inner.now))
        };
        let verifier = CodeVerifier::parse(&get("code_verifier")).map_err(|e| e.to_string())?;
        assert_eq!(verifier.challenge().to_base64url(), authorized.challenge);
        assert_eq!(get("redirect_uri"), authorized.redirect_uri);
        let us = ClientId::parse("aims-console").unwrap();
        authentication::private_key_jwt::authenticate(
            &get("client_assertion"),
            Some(&us),
            &company_issuer(),
            &ours,
            now,
            Span::from_seconds(5),
        )
        .map_err(|error| error.to_string())?;
        let answer = json!({
            "access_token": "access-1", "token_type": "Bearer", "id_token": self.token(&authorized),
        });
        Ok(answer.to_string())
    }
}

trait OkOr {
    fn ok_or_default(self) -> Result<String, String>;
}

impl OkOr for Option<String> {
    fn ok_or_default(self) -> Result<String, String> {
        self.ok_or_else(|| "nobody".to_owned())
    }
}

impl Outside for Company {
    fn ask<'a>(&'a self, question: &'a Outbound) -> Replying<'a> {
        let answer = self.answer(question).map_err(|why| Unavailable::of("provider", why));
        Box::pin(async move { answer })
    }
}

fn tables(more: &str) -> String {
    format!(
        "[[sign_in.upstream]]\nname = \"company\"\nissuer = \"{COMPANY}\"\n\
         client_id = \"aims-console\"\n{more}"
    )
}

/// A house whose people sign in by their company.
pub(crate) struct Branch {
    pub(crate) house: House,
    pub(crate) company: Arc<Company>,
}

impl Branch {
    pub(crate) async fn open(sim: &Sim, more: &str) -> Self {
        let house = House::with_policy(sim, &tables(more)).await;
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let key = PrivateKey::from_pkcs8(made.unwrap().as_ref()).unwrap();
        let keys = house.domain.ring(Purpose::ClientAssertion);
        let keys = keys.keys.iter().map(|key| key.public.clone()).collect();
        let inner = Inner { ours: Some(KeySet::new(keys).unwrap()), ..Inner::default() };
        let company = Arc::new(Company { key, inner: Mutex::new(inner) });
        house.world().reach(Arc::clone(&company) as _);
        Self { house, company }
    }

    /// Somebody is sent to the company, signs in there, and comes back with this.
    pub(crate) async fn sent(
        &self,
        browser: &Browser<'_>,
        subject: &str,
        more: Value,
        signed: Option<&sessions::Signed>,
    ) -> String {
        self.sent_for(browser, subject, more, (None, signed)).await
    }

    /// The same for a page that wants a sign-in not older than that.
    async fn sent_for(
        &self,
        browser: &Browser<'_>,
        subject: &str,
        more: Value,
        (max_age, signed): (Option<Span>, Option<&sessions::Signed>),
    ) -> String {
        let place = Place::parse("/console").unwrap();
        let (world, ceremonies) = (self.house.world(), &self.house.ceremonies);
        let to = (&place, max_age);
        let url = upstream::begin(&*world, ceremonies, browser, "company", to, signed).await;
        let url = url.unwrap().unwrap();
        let (endpoint, query) = url.split_once('?').unwrap();
        assert_eq!(endpoint, format!("{COMPANY}/authorize"));
        let form = Form::parse(query.as_bytes()).unwrap();
        let get = |name: &str| form.get(name).unwrap().to_owned();
        assert_eq!((get("response_type"), get("tenant")), ("code".to_owned(), "1".to_owned()));
        assert_eq!(get("redirect_uri"), format!("{ISSUER}/sign-in/upstream/company"));
        assert_eq!((get("scope"), get("code_challenge_method")), {
            ("email openid profile".to_owned(), "S256".to_owned())
        });
        let authorized = Authorized {
            nonce: get("nonce"),
            challenge: get("code_challenge"),
            redirect_uri: get("redirect_uri"),
            subject: subject.to_owned(),
            max_age: form.get("max_age").map(|most| most.parse().unwrap()),
            more: more.as_object().cloned().unwrap_or_default(),
        };
        let mut inner = self.company.inner.lock().unwrap();
        inner.now = world.clock().now().seconds();
        let code = format!("code-{}", inner.codes.len() + inner.forms.len());
        inner.codes.insert(code.clone(), authorized);
        let iss = COMPANY.replace(':', "%3A").replace('/', "%2F");
        format!("code={code}&state={}&iss={iss}", get("state"))
    }

    pub(crate) async fn back(&self, browser: &Browser<'_>, query: &str) -> upstream::Ended {
        let form = Form::parse(query.as_bytes()).unwrap();
        let House { throttle, ceremonies, .. } = &self.house;
        let world = self.house.world();
        upstream::finish(&*world, throttle, ceremonies, browser, "company", &form).await
    }

    pub(crate) async fn sign_in(
        &self,
        browser: &Browser<'_>,
        subject: &str,
        more: Value,
    ) -> Result<SignedIn, Refusal> {
        self.sign_in_for(browser, subject, more, None).await
    }

    pub(crate) async fn sign_in_for(
        &self,
        browser: &Browser<'_>,
        subject: &str,
        more: Value,
        max_age: Option<Span>,
    ) -> Result<SignedIn, Refusal> {
        let query = self.sent_for(browser, subject, more, (max_age, None)).await;
        match self.back(browser, &query).await.unwrap().into_result()? {
            (Came::In(signed), place) => {
                assert_eq!(place.as_str(), "/console");
                Ok(*signed)
            }
            (Came::Linked(_), _) => panic!("linked"),
        }
    }

    /// Policy takes the company's word for addresses from now on.
    pub(crate) async fn trust_addresses(&self) {
        let domain = files().get("domain.toml").unwrap().to_owned();
        let tables = tables("create = true\nlink_by_email = true");
        let set = files_but(&[("domain.toml", &format!("{domain}\n{tables}"))]);
        let (world, operator) = (self.house.world(), self.house.domain.operator());
        let why = "a story".to_owned();
        let done = flow::apply_policy::apply(&*world, &operator, set, why, None).await;
        done.unwrap().into_value().unwrap();
    }

    pub(crate) fn edit(&self, edit: Edit) {
        self.company.inner.lock().unwrap().edit = Some(edit);
    }

    pub(crate) async fn user(&self, text: &str) -> UserRecord {
        people::orders::show(&*self.house.world(), &name(text)).await.unwrap().unwrap()
    }
}

pub(crate) fn known_as(text: &str) -> Value {
    json!({ "preferred_username": text, "name": "Ada Lovelace", "email": "ada@company.example",
        "email_verified": true })
}

/// req: AUTHN-11 (part)
#[test]
fn openid_3_1_somebody_signs_in_by_their_company_and_is_the_same_again() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "create = true").await;
        let here = browser("a", None);
        let first = branch.sign_in(&here, "s-1", known_as("ada")).await.unwrap();
        assert_eq!(first.session.user, "user:ada");
        assert_eq!(first.session.authenticated.acr, Acr::Federated);
        assert!(first.session.authenticated.amr.contains("hwk"));
        let kept = branch.user("ada").await;
        assert_eq!((kept.display_name.as_str(), kept.roles.len()), ("Ada Lovelace", 0));
        assert_eq!(kept.accounts[0].subject, "s-1");
        // Under another name there, the same here; and whoever takes the old name is another.
        let again = branch.sign_in(&here, "s-1", known_as("renamed")).await.unwrap();
        assert_eq!(again.session.user, "user:ada");
        let other = branch.sign_in(&browser("b", None), "s-2", known_as("ada")).await.unwrap();
        assert!(other.session.user.starts_with("user:u-"), "{}", other.session.user);
        let told = branch.house.domain.server.journal().of(Event::UserRegistered);
        assert_eq!(told.len(), 2);
    });
}

/// Accounts are issuer and `sub`: an address leads nowhere unless policy says so (§5.7).
/// req: AUTHN-11 (part)
#[test]
fn openid_5_7_an_address_is_nobody_unless_policy_says_so() {
    story(|sim| async move {
        for (more, verified, expect) in [
            ("", true, None),
            ("link_by_email = true", false, None),
            ("link_by_email = true", true, Some("user:ada")),
        ] {
            let branch = Branch::open(&sim, more).await;
            let (mut user, _) = branch.house.add("ada").await;
            user.email = Some("Ada@company.example".to_owned());
            branch.house.world().store().put(&user);
            let said = json!({ "email": "ada@company.example", "email_verified": verified });
            let came = branch.sign_in(&browser("a", None), "s-1", said).await;
            match expect {
                Some(expect) => {
                    assert_eq!(came.unwrap().session.user, expect);
                    assert_eq!(branch.user("ada").await.accounts.len(), 1);
                }
                None => {
                    let refusal = came.err().unwrap();
                    assert!(matches!(refusal, Refusal::NoAccount { .. }), "{more}: {refusal}");
                    let told = branch.house.domain.server.journal().last().unwrap();
                    assert_eq!((told.event, told.outcome), (Event::SignedIn, Outcome::Refused));
                }
            }
        }
    });
}

/// What a provider says whose word policy does not take for addresses leads to nobody: neither
/// there, nor where another is taken at its word later, nor is it anybody's whom an operator knows.
/// req: AUTHN-11 (part)
#[test]
fn openid_5_7_an_address_of_an_untrusted_provider_is_hearsay() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "create = true").await;
        let said = |called: &str, email: &str, verified: bool| json!({ "preferred_username": called, "email": email, "email_verified": verified });
        let ceo = "ceo@example.com";
        let here = browser("a", None);
        branch.sign_in(&here, "s-m", said("mallory2", ceo, true)).await.unwrap();
        let mallory = branch.user("mallory2").await;
        assert_eq!(mallory.email.as_deref(), Some(ceo));
        assert_eq!(mallory.email_said_by.as_deref(), Some(COMPANY));
        // From now on policy takes that provider's word: the address is nobody's still.
        branch.trust_addresses().await;
        let came = branch.sign_in(&here, "s-ceo", said("ceo", ceo, true)).await.unwrap();
        assert_eq!(came.session.user, "user:ceo");
        let by_email = |email: &str| {
            let (handle, world) = (email_handle(email), branch.house.world());
            async move {
                let store = world.store();
                let found = store.scan(UserRecord::TABLE, Index::Handle, &handle, None, 9).await;
                found.unwrap().rows.iter().map(|row| row.key.id.clone()).collect::<Vec<_>>()
            }
        };
        assert_eq!(by_email(ceo).await, ["user:ceo"]);
        // An address that nobody verified names nobody either.
        let unnamed = json!({ "email": "frank@example.com", "email_verified": false });
        let came = branch.sign_in(&here, "s-8", unnamed).await.unwrap();
        assert!(came.session.user.starts_with("user:u-"), "{}", came.session.user);
        // What an operator writes there is more than hearsay.
        let changes = Changes { email: Some("m@example.com".to_owned()), ..Changes::default() };
        let (world, operator) = (branch.house.world(), branch.house.domain.operator());
        let done = change::change(&*world, &operator, &name("mallory2"), &changes, "a story").await;
        assert_eq!(done.unwrap().into_value().unwrap().known_email(), Some("m@example.com"));
    });
}

/// The order of §3.1.3.7, and what comes before it, each failure by itself.
#[test]
fn openid_3_1_3_7_a_token_that_fails_a_step_lets_nobody_in() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "create = true").await;
        let edits: &[(Edit, &str)] = &[
            (|claims| claims.iss = Issuer::parse(OTHER).unwrap(), "§3.1.3.7, 2"),
            (|claims| claims.aud = Audience::one("somebody-else"), "§3.1.3.7, 3"),
            (|claims| claims.azp = ClientId::parse("somebody-else").ok(), "§3.1.3.7, 5"),
            (|claims| claims.nonce = Some("another".to_owned()), "§3.1.3.7, 11"),
            (|claims| claims.nonce = None, "§3.1.3.7, 11"),
            (|claims| claims.exp = NumericDate::from_time(UnixTime::from_seconds(9)), "expired"),
            (|claims| claims.at_hash = Some("another".to_owned()), "§3.1.3.8"),
        ];
        for (edit, expect) in edits {
            branch.edit(*edit);
            let came = branch.sign_in(&browser("a", None), "s-1", known_as("ada")).await;
            let refusal = came.err().unwrap().to_string();
            assert!(refusal.contains(expect), "{expect}: {refusal}");
        }
        assert!(branch.house.world().store().every::<Session>().is_empty());
    });
}

/// What one browser began, no other ends; a mix-up is seen by `iss` (docs/past-defects.md 18).
/// req: AUTHN-11 (part)
#[test]
fn rfc9700_4_4_an_answer_counts_in_the_browser_that_began_and_of_the_provider_meant() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "create = true").await;
        let (here, there) = (browser("here", None), browser("there", None));
        let refusal = |ended: upstream::Ended| match ended.unwrap() {
            End::Stranger(refusal) => refusal.to_string(),
            End::Decided(recorded) => panic!("{:?}", recorded.into_value()),
        };
        let query = branch.sent(&here, "s-1", known_as("ada"), None).await;
        let other = refusal(branch.back(&there, &query).await);
        assert!(other.contains("not begun in this browser"), "{other}");
        let iss = query.replace("company", "evil");
        assert!(refusal(branch.back(&here, &iss).await).contains("RFC 9207"));
        let none = query.split("&iss=").next().unwrap().to_owned();
        assert!(refusal(branch.back(&here, &none).await).contains("without `iss`"));
        let state = format!("state=x&{}", query.split_once("&state=").unwrap().0);
        assert!(refusal(branch.back(&here, &state).await).contains("not begun"));
        let denied = query.replace("code=", "error=access_denied&x=");
        assert!(refusal(branch.back(&here, &denied).await).contains("access_denied"));
        branch.house.domain.server.clock().forth(Span::from_seconds(600));
        assert!(refusal(branch.back(&here, &query).await).contains("too long ago"));
    });
}

/// Any page can make its visitors' browsers bring answers that nobody began: nobody is kept out by
/// that. What was begun here and fails counts, for it costs us requests to the provider.
#[test]
fn rfc9700_4_7_answers_that_nobody_began_lock_nobody_out() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "create = true").await;
        let (here, image) = (browser("here", None), browser("image", None));
        let begun = branch.sent(&here, "s-1", known_as("ada"), None).await;
        for query in ["state=x", "", "error=access_denied&state=x", &begun] {
            for _ in 0..35 {
                let refusal = branch.back(&image, query).await.unwrap().into_result().err();
                assert!(matches!(refusal, Some(Refusal::NotOurs(_))), "{refusal:?}");
            }
        }
        branch.house.add("bob").await;
        branch.house.signed(&browser("b", None), "bob").await;
        branch.sign_in(&here, "s-1", known_as("ada")).await.unwrap();
        let denied = begun.replace("code=", "error=access_denied&x=");
        let mut ends = Vec::new();
        for _ in 0..31 {
            ends.push(branch.back(&here, &denied).await.unwrap().into_result().err().unwrap());
        }
        assert_eq!(ends[29], Refusal::Denied("access_denied".to_owned()));
        assert!(matches!(ends[30], Refusal::TooMany(_)), "{}", ends[30]);
    });
}

#[test]
fn openid_3_1_of_many_answers_one_counts() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "create = true").await;
        let here = browser("here", None);
        let query = branch.sent(&here, "s-1", known_as("ada"), None).await;
        // A provider that lets a code be used again: our own single use must hold all the same.
        let authorized = branch.company.inner.lock().unwrap().codes.values().next().cloned();
        let many = authorized.unwrap();
        let code = query.split('&').next().unwrap().replace("code=", "");
        let tries = (0..100).map(|_| {
            let (branch, many, code, query, here) = (&branch, &many, &code, &query, &here);
            boxed(async move {
                branch.company.again(code, many);
                branch.back(here, query).await
            })
        });
        let ends = sim.all(tries.collect()).await;
        let entered = ends
            .into_iter()
            .filter(|end| matches!(end, Ok(End::Decided(recorded)) if recorded.value().is_ok()));
        assert_eq!(entered.count(), 1);
        assert_eq!(branch.house.world().store().every::<UserRecord>().len(), 1);
    });
}

/// The back button brings the same answer again: the provider refuses its code, which is told as a
/// refusal, not as if it were away.
#[test]
fn rfc6749_5_2_a_code_that_the_provider_refuses_lets_nobody_in() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "create = true").await;
        let here = browser("here", None);
        let query = branch.sent(&here, "s-1", known_as("ada"), None).await;
        branch.back(&here, &query).await.unwrap().into_result().unwrap();
        let again = branch.back(&here, &query).await.unwrap().into_result().err().unwrap();
        assert_eq!(again, Refusal::Denied("invalid_grant".to_owned()));
    });
}

/// docs/past-defects.md 8.
#[test]
fn s9_who_is_disabled_is_not_let_in_by_their_company() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "create = true").await;
        branch.sign_in(&browser("a", None), "s-1", known_as("ada")).await.unwrap();
        branch.house.act("ada", UserAct::Disable).await;
        let came = branch.sign_in(&browser("a", None), "s-1", known_as("ada")).await;
        assert!(matches!(came.err(), Some(Refusal::Standing(_))));
        // Who was removed has no account any more: they would be somebody new, under another name.
        branch.house.act("ada", UserAct::Remove).await;
        let came = branch.sign_in(&browser("a", None), "s-1", known_as("ada")).await.unwrap();
        assert_ne!(came.session.user, "user:ada");
    });
}

/// `auth_time` is when they proved it there: an old session there is no new proof here, and what is
/// not said is not known (§2, §3.1.2.1).
/// req: AUTHN-11 (part)
#[test]
fn openid_3_1_2_1_who_signed_in_there_long_ago_did_so_here() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "create = true").await;
        let (house, here) = (&branch.house, browser("a", None));
        let world = house.world();
        let now = || world.clock().now();
        let may_add = async |came: &SignedIn| {
            let signed = sessions::of_cookie(&*world, came.cookie.expose()).await.unwrap().unwrap();
            let asked = passkeys::begin(&*world, &house.ceremonies, &here, &signed).await.unwrap();
            asked.err()
        };
        let month = now().minus(Span::from_seconds(30 * 86_400));
        branch.company.inner.lock().unwrap().since = Some(month.seconds());
        let old = branch.sign_in(&here, "s-1", known_as("ada")).await.unwrap();
        let at = old.session.authenticated.at;
        assert_eq!((at.seconds(), old.session.entered), (month.seconds(), Some(now())));
        assert_eq!(may_add(&old).await, Some(passkeys::Refusal::NotFresh));
        assert!(!old.session.proved_since(now()) && old.session.entered_since(now()));
        // Where it matters they are made to prove it there anew.
        for most in [Span::ZERO, Span::from_seconds(60)] {
            let began = now();
            let new = branch.sign_in_for(&here, "s-1", known_as("ada"), Some(most)).await.unwrap();
            assert!(new.session.proved_since(began) && new.session.proved_within(most, now()));
            assert_eq!(may_add(&new).await, None);
        }
        // A provider that does not do it is not believed.
        branch.edit(|claims| {
            let then = claims.iat.time().minus(Span::from_seconds(3_600));
            claims.auth_time = Some(NumericDate::from_time(then));
        });
        let refused = branch.sign_in_for(&here, "s-1", known_as("ada"), Some(Span::ZERO)).await;
        let refused = refused.err().unwrap();
        let is_old = matches!(refused, Refusal::IdToken(IdTokenRefused::SignedInLongAgo { .. }));
        assert!(is_old, "{refused}");
        branch.edit(|_| {});
        // Nor is one that does not say when: they are in, and that is all.
        branch.company.inner.lock().unwrap().is_silent = true;
        let dumb = branch.sign_in(&here, "s-1", known_as("ada")).await.unwrap();
        assert_eq!((dumb.session.undated, may_add(&dumb).await), {
            (true, Some(passkeys::Refusal::NotFresh))
        });
        let refused = branch.sign_in_for(&here, "s-1", known_as("ada"), Some(Span::ZERO)).await;
        assert_eq!(refused.err(), Some(Refusal::IdToken(IdTokenRefused::NoAuthTime)));
    });
}

/// Claims that only the userinfo endpoint tells, and of the same `sub` alone (§5.3.2).
#[test]
fn openid_5_3_2_userinfo_counts_for_its_own_subject() {
    story(|sim| async move {
        for (subject, is_taken) in [("s-1", true), ("s-2", false)] {
            let branch = Branch::open(&sim, "create = true").await;
            let mut said = known_as("ada");
            said["sub"] = json!(subject);
            branch.company.inner.lock().unwrap().userinfo = Some(said);
            let came = branch.sign_in(&browser("a", None), "s-1", json!({})).await;
            assert_eq!(came.is_ok(), is_taken, "{:?}", came.map(|came| came.session.user));
        }
    });
}

/// Somebody who is signed in adds their account; nobody adds that of another.
#[test]
fn s9_an_account_is_added_by_its_owner_in_their_session() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "").await;
        let world = branch.house.world();
        for who in ["ada", "bob"] {
            branch.house.add(who).await;
        }
        let ada = branch.house.signed(&browser("a", None), "ada").await;
        let here = browser("a", Some(ada.cookie.expose()));
        let signed = sessions::of_cookie(&*world, ada.cookie.expose()).await.unwrap().unwrap();
        let query = branch.sent(&here, "s-1", known_as("ada"), Some(&signed)).await;
        let came = branch.back(&here, &query).await.unwrap().into_result().unwrap();
        assert!(matches!(came.0, Came::Linked(_)));
        let came = branch.sign_in(&browser("c", None), "s-1", known_as("x")).await.unwrap();
        assert_eq!(came.session.user, "user:ada");
        // Bob cannot have it too, and not in a browser where nobody is signed in.
        let bob = branch.house.signed(&browser("b", None), "bob").await;
        let there = browser("b", Some(bob.cookie.expose()));
        let signed = sessions::of_cookie(&*world, bob.cookie.expose()).await.unwrap().unwrap();
        let query = branch.sent(&there, "s-1", known_as("ada"), Some(&signed)).await;
        let taken = branch.back(&there, &query).await.unwrap().into_result();
        assert_eq!(taken.err(), Some(Refusal::Taken));
        let query = branch.sent(&there, "s-9", known_as("ada"), Some(&signed)).await;
        let out = branch.back(&browser("b", None), &query).await.unwrap().into_result();
        assert_eq!(out.err(), Some(Refusal::NotSigned));
        // Nor by whoever sits at a browser that was left open.
        let late = Span::from_seconds(FRESH.seconds() + 1);
        branch.house.domain.server.clock().forth(late);
        let (place, ceremonies) = (Place::parse("/console").unwrap(), &branch.house.ceremonies);
        let to = (&place, None);
        let late = upstream::begin(&*world, ceremonies, &there, "company", to, Some(&signed));
        assert_eq!(late.await.unwrap().err(), Some(Refusal::NotFresh));
    });
}

/// Back-Channel Logout 1.0 §2.6, as the client of a provider.
#[test]
fn backchannel_2_6_who_leaves_there_leaves_here() {
    story(|sim| async move {
        let branch = Branch::open(&sim, "create = true").await;
        let world = branch.house.world();
        let (key, now) = (&branch.company.key, world.clock().now());
        let token = |ends, jti: &str, client: &str| {
            let client = ClientId::parse(client).unwrap();
            let jti = TokenId::parse(jti).unwrap();
            let life = Span::from_seconds(60);
            let claims = openid::logout::claims(company_issuer(), &client, ends, jti, now, life);
            signed::<LogoutToken>(key, &claims)
        };
        let one = branch.sign_in(&browser("a", None), "s-1", known_as("ada")).await.unwrap();
        let local = branch.house.signed(&browser("b", None), "ada").await;
        let sid = || Ends::Session("sid-of-s-1".to_owned());
        let left = |text: String| {
            let world = branch.house.world();
            async move { upstream::left(&*world, "company", &text).await.unwrap() }
        };
        let wrong = left(token(sid(), "j-0", "somebody-else")).await;
        assert!(matches!(wrong, End::Stranger(Refusal::Logout(_))));
        let good = token(sid(), "j-1", "aims-console");
        let count = left(good.clone()).await.into_result().unwrap();
        assert_eq!(count.sessions, 1);
        let of = |signed: &SignedIn| signed.cookie.expose().to_owned();
        assert!(sessions::of_cookie(&*world, &of(&one)).await.unwrap().is_err());
        assert!(sessions::of_cookie(&*world, &of(&local)).await.unwrap().is_ok());
        assert_eq!(left(good).await.into_result(), Err(Refusal::Used));
        let again = branch.sign_in(&browser("a", None), "s-1", known_as("ada")).await.unwrap();
        let all = Ends::User(SubjectText::parse("s-1").unwrap());
        let count = left(token(all, "j-2", "aims-console")).await.into_result().unwrap();
        assert_eq!(count.sessions, 1);
        assert!(sessions::of_cookie(&*world, &of(&again)).await.unwrap().is_err());
    });
}
