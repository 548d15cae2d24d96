//! What users and their answers cost: each grant of theirs, introspection, and the authorization
//! endpoint, with few or many grants in the store.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use approval::ticket::Kind;
use approval::{Approval, Ticket};
use approve::answer::{self, Said};
use approve::shares::Shares;
use approve::{ciba, device};
use consent::{Begun, Settled, Shown};
use env::{Change, Entropy, Expect, Key, Store, World, Write};
use flow::introspect::{self, Answer, Question};
use flow::token::asker::{self, Asker};
use flow::token::{Call, End};
use jose::{Algorithm, Audience, NumericDate, PrivateKey, SigningInput};
use monitoring::Event;
use oauth::client_assertion::{
    AssertionType, ClientAssertion, ClientAssertionClaims, PresentedClient,
};
use oauth::form::Form;
use oauth::introspection::IntrospectionRequest;
use oauth::jwt_grant::{JwtGrant, JwtGrantClaims};
use oauth::token_request::{Asked, Ciba, DeviceCode, GrantType, JwtBearer, TokenRequest};
use oauth::{ClientId, Resource, TokenId, TokenText};
use people::browser::Browser;
use people::orders::{self, NewUser};
use people::sign_in;
use people::throttle::Throttle;
use registry::UserName;
use testkit::fixture::{Client, client_row, code_request, code_row, grant_row, refresh_request};
use testkit::{Rng, Seed, SimEntropy};
use time::Span;
use wiring::server::ServerWorld;

use crate::compare::{REQUESTS, Subject, TASKS, compare};
use crate::installation::{Installation, now, operator};
use crate::load::{Load, ROUNDS, cores, count, deal, drive, median};
use crate::signatures::Set;
use crate::table::{Measurement, Row};
use crate::token::asking;
use crate::{Failure, Measured};

/// Grants in the store, unless many are asked for.
pub(crate) const FEW: usize = 1_000;
/// Many.
pub(crate) const MANY: usize = 1_000_000;

/// Requests of a measurement: those of its rounds, and of the one before them.
const ALL: usize = REQUESTS * (ROUNDS + 1);
/// People: so many that none has more grants than a person has.
const PEOPLE: usize = 1_024;
/// Rows that are put into the store in one commit.
const BATCH: usize = 1_000;
/// What is asked for.
const SCOPE: &str = "notices.read";
/// Where the client is answered, as it registered.
const BACK: &str = "https://app.example/cb";
/// RFC 7636 appendix B, S256 of the verifier that [`code_request`] shows.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// RFC 7515 appendix A.3: published, so good for nothing but this.
const PARTNER_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
const GRANTS: [GrantType; 6] = [
    GrantType::ClientCredentials,
    GrantType::AuthorizationCode,
    GrantType::RefreshToken,
    GrantType::DeviceCode,
    GrantType::Ciba,
    GrantType::JwtBearer,
];

/// Measures all of it beside `stored` grants.
pub(crate) async fn measure(all: &Installation, stored: usize) -> Measured {
    let desk = Desk::open(all, stored).await?;
    let mut found = vec![desk.authorization_endpoint().await?];
    found.push(desk.by_code().await?);
    found.extend(desk.by_refresh_token().await?);
    found.push(desk.by_device_code().await?);
    found.push(desk.by_auth_req_id().await?);
    found.push(desk.by_assertion().await?);
    for (form, verified) in [("notices", 3), ("vault", 2)] {
        found.push(desk.introspection(all, form, verified).await?);
    }
    Ok(found)
}

/// A person who is signed in.
struct Person {
    id: String,
    cookie: String,
}

/// A client with a key, a public one, people, and grants in the store.
struct Desk {
    server: Arc<ServerWorld>,
    issuer: String,
    keyed: Arc<Client>,
    public: Arc<Client>,
    people: Arc<Vec<Person>>,
    beside: String,
}

impl Desk {
    async fn open(all: &Installation, stored: usize) -> Result<Self, Failure> {
        let server = all.server();
        let entropy = SimEntropy::new(&Rng::new(Seed(now().millis())));
        let (keyed, keyed_row) = client_row(&GRANTS, false, &entropy, now());
        let (public, public_row) = client_row(&GRANTS, true, &entropy, now());
        let rows = [&keyed_row, &public_row].map(|row| Write::put(row, Expect::Any));
        put(&server, rows.to_vec()).await?;
        let people = people_of(&server).await?;
        let desk = Self {
            server,
            issuer: all.issuer().to_owned(),
            keyed: Arc::new(keyed),
            public: Arc::new(public),
            people: Arc::new(people),
            beside: format!("{stored} grants in the store"),
        };
        let begun = Instant::now();
        desk.store(stored).await?;
        eprintln!("{stored} grants stored in {:?}", begun.elapsed());
        Ok(desk)
    }

    fn audience(&self, resource: &str) -> String {
        format!("{}/{resource}", self.server.site.gateway)
    }

    /// Grants of people who are not there now.
    async fn store(&self, stored: usize) -> Result<(), Failure> {
        let (audience, begun) = (self.audience("notices"), now());
        for batch in (0..stored).collect::<Vec<_>>().chunks(BATCH) {
            let grants = batch.iter().map(|at| {
                let (id, user) = (format!("stored-{at}"), format!("user:away{}", at % 50_000));
                let of = (id.as_str(), self.keyed.id.as_str(), user.as_str());
                Write::put(&grant_row(of, &audience, SCOPE, "", begun), Expect::Any)
            });
            put(&self.server, grants.collect()).await?;
        }
        Ok(())
    }

    /// Grants with a code each, as the authorization endpoint leaves them.
    async fn codes(&self, client: &Client, kind: &str) -> Result<Vec<String>, Failure> {
        let (audience, mut codes) = (self.audience("notices"), Vec::with_capacity(ALL));
        for batch in (0..ALL).collect::<Vec<_>>().chunks(BATCH / 2) {
            let (mut writes, begun) = (Vec::new(), now());
            for at in batch {
                let person = self.people.get(at % PEOPLE).ok_or("nobody")?;
                let id = format!("{kind}-{at}-{}", begun.millis());
                let of = (id.as_str(), client.id.as_str(), person.id.as_str());
                let grant = grant_row(of, &audience, SCOPE, "", begun);
                let (text, mut code) = code_row(&grant, &self.server.entropy().secret(), begun);
                code.until = grant.until;
                writes.extend([
                    Write::put(&grant, Expect::Absent),
                    Write::put(&code, Expect::Absent),
                ]);
                codes.push(text);
            }
            put(&self.server, writes).await?;
        }
        Ok(codes)
    }

    /// The client, as it proves itself by its key.
    fn proved(&self) -> Result<PresentedClient, Failure> {
        let id = ClientId::parse(&self.keyed.id)?;
        let claims = ClientAssertionClaims {
            iss: id.clone(),
            sub: id,
            aud: Audience::one(self.issuer.as_str()),
            exp: NumericDate::from_time(now().plus(Span::from_seconds(60))),
            jti: TokenId::parse(&flow::record::public_id(&*self.server))?,
            iat: None,
            nbf: None,
        };
        let input = SigningInput::<ClientAssertion>::new(Algorithm::Es256, None, &claims)?;
        let signature = self.keyed.key().ok_or("a client without a key")?.sign(input.bytes());
        let text = TokenText::parse(&input.attach(signature).into_string())?;
        let assertion = Some((AssertionType::Jwt, text));
        Ok(PresentedClient { client_id: None, assertion, secret: None })
    }

    fn call(&self, request: TokenRequest) -> Result<Call, Failure> {
        Ok(Call {
            request,
            client: self.proved()?,
            attestation: None,
            dpop: Vec::new(),
            certificates: Vec::new(),
            source: "127.0.0.1".to_owned(),
        })
    }

    fn public_call(&self, request: TokenRequest) -> Result<Call, Failure> {
        let client_id = Some(ClientId::parse(&self.public.id)?);
        let client = PresentedClient { client_id, assertion: None, secret: None };
        Ok(Call { client, ..self.call(request)? })
    }

    /// A request that gets somebody asked.
    fn asking(&self, path: &str, body: &str) -> Result<approve::caller::Call, Failure> {
        Ok(approve::caller::Call {
            form: Form::parse(body.as_bytes()).map_err(|error| error.to_string())?,
            client: self.proved()?,
            attestation: None,
            dpop: Vec::new(),
            path: path.to_owned(),
            certificates: Vec::new(),
            source: "127.0.0.1".to_owned(),
        })
    }

    /// Compares requests that are made of what lies in a pool, each once.
    async fn redeem(
        &self,
        what: &str,
        set: Set,
        texts: Vec<String>,
        request: fn(&str) -> Result<TokenRequest, Failure>,
    ) -> Result<Measurement, Failure> {
        let what = format!("{what}, {}", self.beside);
        let subject = Subject { what: &what, set, least: None, orientation: None };
        let pool = Mutex::new(texts);
        let prepare = || {
            let texts = taken(&pool, REQUESTS);
            texts.iter().map(|text| self.call(request(text)?)).collect()
        };
        compare(&subject, prepare, asking(&self.server)).await
    }

    async fn by_code(&self) -> Result<Measurement, Failure> {
        let codes = self.codes(&self.keyed, "code").await?;
        let set = Set { verified: 1, made: 1 };
        self.redeem("authorization code", set, codes, |code| Ok(code_request(code))).await
    }

    /// One that a key binds, which stays; and those of public clients, which are rotated.
    async fn by_refresh_token(&self) -> Result<Vec<Measurement>, Failure> {
        let audience = self.audience("notices");
        let codes = self.codes(&self.keyed, "kept").await?;
        let code = codes.first().ok_or("no code")?;
        let kept = refreshed(&self.server, self.call(code_request(code))?).await?;
        let what = format!("refresh token of a client with a key, {}", self.beside);
        let set = Set { verified: 1, made: 1 };
        let subject = Subject { what: &what, set, least: None, orientation: None };
        let prepare = || {
            let ask = || self.call(refresh_request(&kept, &audience, ""));
            (0..REQUESTS).map(|_| ask()).collect()
        };
        let bound = compare(&subject, prepare, asking(&self.server)).await?;

        let codes = self.codes(&self.public, "rotated").await?;
        let pool = Arc::new(Mutex::new(Vec::new()));
        let calls: Vec<_> = codes.iter().take(REQUESTS).map(|code| code_request(code)).collect();
        let calls = calls.into_iter().map(|one| self.public_call(one));
        drive(deal(calls.collect::<Result<_, _>>()?, TASKS), self.keeping(&pool)).await?;
        let what = format!("refresh token that is rotated, {}", self.beside);
        let set = Set { verified: 0, made: 1 };
        let subject = Subject { what: &what, set, least: None, orientation: None };
        let prepare = || {
            let tokens = taken(&pool, REQUESTS);
            let ask = |token: &String| self.public_call(refresh_request(token, &audience, ""));
            tokens.iter().map(ask).collect()
        };
        let rotated = compare(&subject, prepare, self.keeping(&pool)).await?;
        Ok(vec![bound, rotated])
    }

    /// Asks, and keeps the refresh token that comes of it.
    fn keeping(
        &self,
        pool: &Arc<Mutex<Vec<String>>>,
    ) -> impl Fn(Call) -> Done + Clone + Send + 'static + use<> {
        let (server, pool) = (Arc::clone(&self.server), Arc::clone(pool));
        move |call| {
            let (server, pool) = (Arc::clone(&server), Arc::clone(&pool));
            Box::pin(async move {
                let token = refreshed(&server, call).await.map_err(|error| error.to_string())?;
                pool.lock().unwrap_or_else(PoisonError::into_inner).push(token);
                Ok(())
            })
        }
    }

    async fn by_device_code(&self) -> Result<Measurement, Failure> {
        let body = format!("scope={SCOPE}&resource={}", self.audience("notices"));
        let pool = Arc::new(Mutex::new(Vec::new()));
        let throttle = Arc::new(Throttle::default());
        let (server, people) = (Arc::clone(&self.server), Arc::clone(&self.people));
        let answered = Arc::clone(&pool);
        let each = move |(call, at): (approve::caller::Call, usize)| {
            let (server, people) = (Arc::clone(&server), Arc::clone(&people));
            let (pool, throttle) = (Arc::clone(&answered), Arc::clone(&throttle));
            async move {
                let asked =
                    device::authorize(&*server, &Shares::default(), &call).await.map_err(text)?;
                let asked = asked.into_result().map_err(text)?;
                let person = people.get(at % PEOPLE).ok_or("nobody")?;
                let here = browser(&person.cookie);
                let code = asked.user_code.as_str();
                let shown = device::find(&*server, &throttle, &here, code).await.map_err(text)?;
                say(&server, person, &shown.map_err(text)?, Some(code)).await?;
                pool.lock().unwrap_or_else(PoisonError::into_inner).push(asked.device_code);
                Ok(())
            }
        };
        self.ask_all(("/device_authorization", &body), |_| String::new(), each).await?;
        let codes = taken(&pool, ALL);
        let request = |code: &str| {
            let device_code = TokenText::parse(code)?;
            Ok(TokenRequest::DeviceCode(DeviceCode { device_code, resources: Vec::new() }))
        };
        self.redeem("device code", Set { verified: 1, made: 1 }, codes, request).await
    }

    async fn by_auth_req_id(&self) -> Result<Measurement, Failure> {
        let body = format!("scope=openid+{SCOPE}&resource={}", self.audience("notices"));
        let pool = Arc::new(Mutex::new(Vec::new()));
        let (server, people) = (Arc::clone(&self.server), Arc::clone(&self.people));
        let answered = Arc::clone(&pool);
        let each = move |(call, at): (approve::caller::Call, usize)| {
            let (server, people) = (Arc::clone(&server), Arc::clone(&people));
            let pool = Arc::clone(&answered);
            async move {
                let asked =
                    ciba::authorize(&*server, &Throttle::default(), &call).await.map_err(text)?;
                let id = asked.into_result().map_err(text)?.auth_req_id;
                let person = people.get(at % PEOPLE).ok_or("nobody")?;
                say(&server, person, &question(&server, &id).await?, None).await?;
                pool.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                Ok(())
            }
        };
        let hint = |at: usize| {
            let person = self.people.get(at % PEOPLE);
            person.map_or_else(String::new, |person| format!("&login_hint={}", person.id))
        };
        self.ask_all(("/bc-authorize", &body), hint, each).await?;
        let ids = taken(&pool, ALL);
        let request = |id: &str| {
            let auth_req_id = TokenText::parse(id)?;
            Ok(TokenRequest::Ciba(Ciba { auth_req_id, resources: Vec::new() }))
        };
        self.redeem("CIBA, with an ID token", Set { verified: 1, made: 2 }, ids, request).await
    }

    /// Lets as many be asked and answered as are redeemed afterwards: not measured.
    async fn ask_all<F, R>(
        &self,
        (path, body): (&str, &str),
        more: impl Fn(usize) -> String,
        each: F,
    ) -> Result<(), Failure>
    where
        F: Fn((approve::caller::Call, usize)) -> R + Clone + Send + 'static,
        R: Future<Output = Result<(), String>> + Send,
    {
        for round in 0..=ROUNDS {
            let jobs = (0..REQUESTS).map(|at| {
                let at = round * REQUESTS + at;
                Ok::<_, Failure>((self.asking(path, &format!("{body}{}", more(at)))?, at))
            });
            drive(deal(jobs.collect::<Result<_, _>>()?, TASKS), each.clone()).await?;
        }
        Ok(())
    }

    async fn by_assertion(&self) -> Result<Measurement, Failure> {
        let key = PrivateKey::from_jwk_private_text(PARTNER_KEY)?;
        let kid = jose::KeyId::parse("key-1")?;
        let what = format!("JWT bearer, {}", self.beside);
        let set = Set { verified: 2, made: 1 };
        let subject = Subject { what: &what, set, least: None, orientation: None };
        let ask = || {
            let claims = JwtGrantClaims {
                iss: "https://partner.example".to_owned(),
                sub: "ada".to_owned(),
                aud: Audience::one(self.issuer.as_str()),
                exp: NumericDate::from_time(now().plus(Span::from_seconds(200))),
                nbf: None,
                iat: Some(NumericDate::from_time(now())),
                jti: Some(flow::record::public_id(&*self.server)),
                more: serde_json::Map::new(),
            };
            let input = SigningInput::<JwtGrant>::new(Algorithm::Es256, Some(&kid), &claims)?;
            let signature = key.sign(input.bytes());
            let assertion = TokenText::parse(&input.attach(signature).into_string())?;
            let resources = vec![Resource::parse(&self.audience("notices"))?];
            let asked = Asked { scope: None, resources, authorization_details: None };
            self.call(TokenRequest::JwtBearer(Box::new(JwtBearer { assertion, asked })))
        };
        let prepare = || (0..REQUESTS).map(|_| ask()).collect();
        compare(&subject, prepare, asking(&self.server)).await
    }

    /// By an agent that is the token's resource server, with its WIT and a proof.
    async fn introspection(
        &self,
        all: &Installation,
        resource: &str,
        verified: usize,
    ) -> Result<Measurement, Failure> {
        let scope = format!("{resource}.read");
        let asked = crate::party::credentials(&self.audience(resource), &scope)?;
        let answer = flow::token::answer(&*self.server, self.call(asked)?).await?;
        let End::Decided(recorded) = answer else { return Err("nobody".into()) };
        let token = recorded.into_value()?.access_token;
        let form = if token.contains('.') { "a JWT" } else { "an opaque token" };
        let what = format!("introspection of {form} by WIT and proof, {}", self.beside);
        let set = Set { verified, made: 0 };
        let subject = Subject { what: &what, set, least: None, orientation: None };
        let prepare = || {
            let ask = || -> Result<Question, Failure> {
                let of = code_request("none");
                let call = all.clerk.by_wit(of, all.issuer(), now())?;
                let Call { client, attestation, certificates, source, .. } = call;
                let (dpop, path) = (Vec::new(), "/introspect".to_owned());
                let asker = Asker { client, attestation, dpop, path, certificates, source };
                let request = IntrospectionRequest { token: TokenText::parse(&token)?, hint: None };
                Ok(Question { asker, request, signed: false })
            };
            (0..REQUESTS).map(|_| ask()).collect()
        };
        let server = Arc::clone(&self.server);
        let each = move |question: Question| {
            let server = Arc::clone(&server);
            async move {
                match introspect::answer(&*server, question).await.map_err(text)? {
                    asker::End::Stranger(refusal) => Err(refusal.to_string()),
                    asker::End::Decided(recorded) => match recorded.into_value() {
                        Ok(Answer::Plain(told)) if told.active => Ok(()),
                        other => Err(format!("{other:?}")),
                    },
                }
            }
        };
        compare(&subject, prepare, each).await
    }

    /// From the request of a client to the code: begun, shown, and allowed. It signs nothing.
    async fn authorization_endpoint(&self) -> Result<Measurement, Failure> {
        let query = Arc::new(format!(
            "response_type=code&client_id={}&redirect_uri={BACK}&state=s&scope={SCOPE}\
             &resource={}&prompt=consent&code_challenge={CHALLENGE}&code_challenge_method=S256",
            self.keyed.id,
            self.audience("notices"),
        ));
        let (server, people) = (Arc::clone(&self.server), Arc::clone(&self.people));
        let each = move |at: usize| {
            let (server, people) = (Arc::clone(&server), Arc::clone(&people));
            let query = Arc::clone(&query);
            async move {
                let person = people.get(at % PEOPLE).ok_or("nobody")?;
                consented(&server, &query, &browser(&person.cookie)).await
            }
        };
        drive(deal((0..REQUESTS).collect(), TASKS), each.clone()).await?;
        let mut loads = Vec::new();
        for _ in 0..ROUNDS {
            loads.push(drive(deal((0..REQUESTS).collect(), TASKS), each.clone()).await?);
        }
        let of = |one: &dyn Fn(&Load) -> f64| median(loads.iter().map(one).collect());
        let how = format!(
            "begun, shown and allowed by somebody who is signed in, {REQUESTS} by {TASKS} tasks on \
             {} cores, {PEOPLE} people, durable, in process, without pages; median of {ROUNDS} \
             rounds",
            cores()
        );
        let rows = vec![
            Row::of("a second and core", of(&Load::rate) / count(cores()), "/s"),
            Row::of("processor time each", of(&Load::cpu_each), "us"),
            Row::of("time each under that load, p50", of(&|load| load.at(50)) / 1_000.0, "ms"),
            Row::of("time each under that load, p99", of(&|load| load.at(99)) / 1_000.0, "ms"),
            Row::of("cores that others kept busy meanwhile", of(&Load::others), ""),
        ];
        let what = format!("authorization endpoint, {}", self.beside);
        Ok(Measurement { what, how, rows })
    }
}

type Done = std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

const fn browser(cookie: &str) -> Browser<'_> {
    Browser { name: "b", session: Some(cookie), source: "127.0.0.1", agent: "bench" }
}

/// Takes so many out of the pool.
fn taken(pool: &Mutex<Vec<String>>, number: usize) -> Vec<String> {
    let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
    let from = pool.len().saturating_sub(number);
    pool.split_off(from)
}

async fn put(server: &Arc<ServerWorld>, writes: Vec<Write>) -> Result<(), Failure> {
    let records = vec![flow::record::begin(&**server, Event::Started)];
    let change = Change { writes, uses: Vec::new(), records };
    server.store().commit(change).await.map_err(text)?;
    Ok(())
}

/// Adds people, and signs them in by a code.
async fn people_of(server: &Arc<ServerWorld>) -> Result<Vec<Person>, Failure> {
    let (throttle, mut people) = (Throttle::default(), Vec::with_capacity(PEOPLE));
    for at in 0..PEOPLE {
        let name = UserName::parse(&format!("person{at}"))?;
        let new =
            NewUser { name: name.clone(), display_name: None, email: None, roles: BTreeSet::new() };
        // Those of a measurement before are there.
        orders::add(&**server, &operator(), &new).await?.into_value().ok();
        let code = orders::code(&**server, &operator(), &name, 1, orders::CODE_LIFE).await?;
        let code = code.into_value().map_err(text)?.text.expose().to_owned();
        let source = format!("127.0.{}.{}", at / 256, at % 256);
        let here = Browser { name: "b", session: None, source: &source, agent: "bench" };
        let done = sign_in::by_code(&**server, &throttle, &here, name.as_str(), &code).await?;
        let cookie = done.into_result().map_err(text)?.cookie.expose().to_owned();
        people.push(Person { id: name.id(), cookie });
    }
    Ok(people)
}

/// The refresh token that a request gives.
async fn refreshed(server: &Arc<ServerWorld>, call: Call) -> Result<String, Failure> {
    match flow::token::answer(&**server, call).await? {
        End::Stranger(refusal) => Err(refusal.to_string().into()),
        End::Unproved(refusal) => Err(refusal.to_string().into()),
        End::Decided(recorded) => {
            let response = recorded.into_value().map_err(text)?;
            Ok(response.refresh_token.ok_or("no refresh token")?)
        }
    }
}

/// What is asked by an `auth_req_id`.
async fn question(server: &Arc<ServerWorld>, id: &str) -> Result<Approval, String> {
    let hash = Kind::Ciba.hash_of(id).ok_or("no id")?;
    let rows = server.store().snapshot(&[Key::of::<Ticket>(&hash)]).await.map_err(text)?;
    let ticket = rows.get::<Ticket>(&hash).map_err(text)?.ok_or("no ticket")?;
    let key = Key::of::<Approval>(&ticket.approval);
    let rows = server.store().snapshot(&[key]).await.map_err(text)?;
    let found = rows.get::<Approval>(&ticket.approval).map_err(text)?.ok_or("no question")?;
    Ok((*found.value).clone())
}

async fn say(
    server: &Arc<ServerWorld>,
    person: &Person,
    shown: &Approval,
    user_code: Option<&str>,
) -> Result<(), String> {
    let said = Said { id: &shown.id, allow: true, shown: &shown.hash, user_code };
    let ended = answer::answer(&**server, &browser(&person.cookie), said).await.map_err(text)?;
    ended.into_result().map(drop).map_err(text)
}

async fn consented(
    server: &Arc<ServerWorld>,
    query: &str,
    here: &Browser<'_>,
) -> Result<(), String> {
    let begun = consent::begin(&**server, &Shares::default(), here, query.as_bytes())
        .await
        .map_err(text)?;
    let Begun::Interaction(name) = begun else { return Err(format!("{begun:?}")) };
    let shown = consent::show(&**server, here, &name).await.map_err(text)?;
    let Shown::Ask(asking, _) = shown else { return Err(format!("{shown:?}")) };
    let said = consent::Answer { allow: Some(asking.whole()), seen: asking.seen() };
    match consent::answer(&**server, here, &name, &said).await.map_err(text)? {
        Settled::Reply(_) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}
