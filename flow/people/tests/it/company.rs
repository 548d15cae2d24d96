//! The company's identity provider, and a house whose people sign in by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use credential::Purpose;
use env::{Asks, Clock, Outbound, Outside, Replying, Unavailable, World};
use jose::{Algorithm, Jwk, KeyId, KeySet, Kind, NumericDate, PrivateKey, SigningInput};
use oauth::form::Form;
use oauth::pkce::CodeVerifier;
use oauth::{ClientId, Issuer, SubjectText};
use openid::id_token::{IdToken, IdTokenClaims};
use people::browser::{Browser, Place};
use people::sign_in::SignedIn;
use people::upstream::{Came, Refusal};
use people::{sessions, upstream};
use registry::UserRecord;
use serde_json::{Map, Value, json};
use testkit::Sim;
use testkit::fixture::{ISSUER, files, files_but};
use time::{Span, UnixTime};

use crate::house::{House, name};

pub(crate) const COMPANY: &str = "https://login.company.example";

/// The provider, and the endpoint of a client beside it.
pub(crate) struct Company {
    pub(crate) key: PrivateKey,
    pub(crate) inner: Mutex<Inner>,
}

/// What a provider says otherwise than it should.
pub(crate) type Edit = fn(&mut IdTokenClaims);

#[derive(Default)]
pub(crate) struct Inner {
    now: u64,
    /// Our keys, as the provider read them.
    ours: Option<KeySet>,
    pub(crate) codes: BTreeMap<String, Authorized>,
    pub(crate) userinfo: Option<Value>,
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

pub(crate) fn company_issuer() -> Issuer {
    Issuer::parse(COMPANY).unwrap()
}

pub(crate) fn signed<K: Kind>(key: &PrivateKey, claims: &K::Claims) -> String {
    let input = SigningInput::<K>::new(Algorithm::Es256, Some(&kid()), claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

impl Company {
    /// It lets a code be used again.
    pub(crate) fn again(&self, code: &str, authorized: &Authorized) {
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

pub(crate) fn tables(more: &str) -> String {
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
    pub(crate) async fn sent_for(
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
