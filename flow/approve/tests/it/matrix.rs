//! Who or what ended, and what is still given: every grant against every end, as one table
//! (docs/past-defects.md 5, 8, 9).

use approve::answer::{self, Said};
use approve::shares::Shares;
use approve::{challenge, ciba, deferred, device};
use authentication::session::Session;
use authorization::granted::GrantRecord;
use env::{World, rows};
use flow::call::End;
use flow::ends::{self, Ending};
use flow::token::{self, Endpoint};
use flow::{apply_policy, clients, nodes};
use jose::{Algorithm, Audience, NumericDate, SigningInput};
use monitoring::{Event, Outcome};
use oauth::form::Form;
use oauth::jwt_grant::{JwtGrant, JwtGrantClaims};
use oauth::token_request::{Asked, Deferred, GrantType, JwtBearer, TokenRequest};
use oauth::{Resource, TokenText, TokenType};
use people::sessions;
use people::standing::UserAct;
use people::throttle::Throttle;
use policy::Files;
use provisioning::{Act, NodeAct};
use registry::{ClientState, NodeRecord, UserRecord};
use serde_json::json;
use testkit::fixture::{
    ADA, Client, DOMAIN, ISSUER, Party, by_wit, client_row, code_request, credentials, exchange,
    files, files_but, refresh_request, registration, tool_call, transaction,
};
use testkit::{Seed, Sim, SimEntropy};
use time::Span;

use crate::house::{House, browser, ciba_request, device_request, yes};

const NOTICES: &str = "https://gateway.demo.example:8446/notices";
const TOOLS: &str = "https://gateway.demo.example:8446/invoices";
const LEDGER: &str = "https://gateway.demo.example:8446/ledger";
const PARTNER: &str = "https://partner.example";
const GRANTS: &[GrantType] = &[
    GrantType::ClientCredentials,
    GrantType::AuthorizationCode,
    GrantType::RefreshToken,
    GrantType::DeviceCode,
    GrantType::Ciba,
    GrantType::JwtBearer,
    GrantType::Deferred,
];
/// What Bob, who has the role, is asked about before there is a token.
const DEFERRED: &str = r#"
    name = "ledger"
    upstream = "http://127.0.0.1:9004"
    protocol = "http"
    proof = "bearer"
    [scopes]
    "ledger.read" = "read the ledger"
    [[action]]
    method = "GET"
    path = "/*"
    scope = "ledger.read"
"#;
const ACCESS: &str = r#"
    @id("all") permit(principal, action, resource)
    unless { resource has name && resource.name == "ledger" };
    @id("duty") @obligations("approval")
    permit(principal, action == Aims::Action::"token.issue", resource)
    when { resource has name && resource.name == "ledger" };
    @id("ask") @obligations("approval")
    permit(principal, action == Aims::Action::"tool.call", resource)
    when { resource.name == "pay_invoice" };
"#;

/// Nobody gets a token any more.
const CLOSED: &str = r#"
    @id("closed") forbid(
        principal,
        action in [Aims::Action::"token.issue", Aims::Action::"token.exchange"],
        resource
    );
"#;

/// What ends. Ada is the user, `clerk` the agent, and there is a registered client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Nothing,
    AgentSuspended,
    /// Suspended and resumed: what it held before is dead, what it proves anew is not.
    AgentBack,
    AgentRevoked,
    NodeRevoked,
    ClientDisabled,
    /// Disabled and enabled: what it was granted before is over.
    ClientBack,
    UserDisabled,
    UserBack,
    UserRemoved,
    /// What was granted in it ends with it; what a device or a backchannel request was given lasts
    /// longer than the page where it was answered.
    Session,
    Grants,
    /// Whose agent it is, and who approved its call. Rights are the agent's and the user's: of an
    /// owner who is gone no approval counts.
    OwnerDisabled,
    /// Another policy is in force, by which nobody gets a token.
    PolicyChanged,
}

impl Ends {
    const ALL: [Self; 14] = [
        Self::Nothing,
        Self::AgentSuspended,
        Self::AgentBack,
        Self::AgentRevoked,
        Self::NodeRevoked,
        Self::ClientDisabled,
        Self::ClientBack,
        Self::UserDisabled,
        Self::UserBack,
        Self::UserRemoved,
        Self::Session,
        Self::Grants,
        Self::OwnerDisabled,
        Self::PolicyChanged,
    ];
}

enum By {
    Agent,
    Client,
}

/// A request that would be served if nothing ended.
struct Prepared {
    name: &'static str,
    by: By,
    endpoint: Endpoint,
    request: TokenRequest,
}

struct Office {
    house: House,
    clerk: Party,
    files: Files,
    prepared: Vec<Prepared>,
}

impl Office {
    async fn open(sim: &Sim) -> Self {
        let entropy = SimEntropy::new(sim.rng());
        let (partner, _) = client_row(GRANTS, false, &entropy, time::UnixTime::EPOCH);
        let files = policy(&partner, ACCESS);
        let house = House::with(sim, files).await;
        let client = house.domain.client(GRANTS, false);
        let mut office = {
            let house = House { client, ..house };
            let owned = registration("clerk", &["invoices"]);
            let owned = registry::Registration { owner: "user:bob".to_owned(), ..owned };
            house.domain.register(owned).await;
            let clerk = house.domain.party("/opt/clerk").await;
            let files = policy(&partner, &format!("{ACCESS}\n{CLOSED}"));
            Self { house, clerk, files, prepared: Vec::new() }
        };
        let roles = ["finance".to_owned()].into();
        let bob = office.house.world().store().single::<UserRecord>("user:bob").unwrap();
        office.house.world().store().put(&UserRecord { roles, ..(*bob).clone() });
        let cookie = office.house.sign_in("ada").await;
        office.own_rights();
        office.of_codes().await;
        office.of_answers(&cookie).await;
        office.of_tokens().await;
        office.of_an_approval().await;
        office.of_deferrals().await;
        office.of_an_assertion(&partner);
        office
    }

    fn add(&mut self, name: &'static str, by: By, request: TokenRequest) {
        self.prepared.push(Prepared { name, by, endpoint: Endpoint::Token, request });
    }

    fn own_rights(&mut self) {
        self.add("client_credentials, agent", By::Agent, credentials(NOTICES, "notices.read"));
        self.add("client_credentials, client", By::Client, credentials(NOTICES, "notices.read"));
    }

    /// A grant of Ada that is over with her session, as the authorization endpoint leaves it.
    fn granted(&self, id: &str, client: &str, audience: &str) -> GrantRecord {
        let of = (id, client, ADA);
        let grant = self.house.domain.grant(of, audience, "notices.read", "openid");
        let world = self.house.world();
        let session = world.store().every::<Session>().first().unwrap().id.clone();
        let grant = GrantRecord { session: Some(session), ..grant };
        world.store().put(&grant);
        grant
    }

    async fn of_codes(&mut self) {
        let (agent, client) = (self.clerk.id.clone(), self.house.client.id.clone());
        let code = |id: &str, of: &str| {
            let grant = self.granted(id, of, NOTICES);
            self.house.domain.code(&grant, |_| ())
        };
        let (by_agent, by_client) = (code("g1", &agent), code("g2", &client));
        // An agent gets a refresh token where its user lets it go on while they are away: it lasts
        // longer than their session.
        let domain = &self.house.domain;
        let away = domain.grant(("g5", &agent, ADA), NOTICES, "notices.read", "offline_access");
        let away = domain.code(&away, |_| ());
        let redeemed = [(By::Agent, away), (By::Client, code("g3", &client))];
        let mut refreshes = Vec::new();
        for (by, redeemed) in redeemed {
            let call = self.call(&by, code_request(&redeemed));
            let given = self.house.domain.ask(call).await.unwrap();
            let refresh = given.refresh_token.unwrap();
            refreshes.push(refresh_request(&refresh, NOTICES, ""));
        }
        let [agents, clients] = <[_; 2]>::try_from(refreshes).unwrap();
        self.add("authorization_code, agent", By::Agent, code_request(&by_agent));
        self.add("authorization_code, client", By::Client, code_request(&by_client));
        self.add("refresh_token, agent", By::Agent, agents);
        self.add("refresh_token, client", By::Client, clients);
    }

    /// What Ada allowed to a device, and out of band.
    async fn of_answers(&mut self, cookie: &str) {
        for by in [By::Agent, By::Client] {
            let world = self.house.world();
            let scope = format!("scope=openid+notices.read&resource={NOTICES}");
            let call = self.asking(&by, "/device_authorization", &scope);
            let asked = device::authorize(&*world, &Box::<Shares>::default(), &call)
                .await
                .unwrap()
                .into_result()
                .unwrap();
            let shown = self.house.find(&asked.user_code).await.unwrap();
            self.house.say(cookie, yes(&shown, Some(&asked.user_code))).await.unwrap();
            let call = self.asking(&by, "/bc-authorize", &format!("{scope}&login_hint=ada"));
            let waits = ciba::authorize(&*world, &Throttle::default(), &call)
                .await
                .unwrap()
                .into_result()
                .unwrap();
            let approvals = self.house.approvals();
            let shown = approvals.iter().find(|one| one.state == approval::State::Pending);
            self.house.say(cookie, yes(shown.unwrap(), None)).await.unwrap();
            let requests = [device_request(&asked.device_code), ciba_request(&waits.auth_req_id)];
            let names = match by {
                By::Agent => ["device_code, agent", "ciba, agent"],
                By::Client => ["device_code, client", "ciba, client"],
            };
            for (name, request) in names.into_iter().zip(requests) {
                let by = if name.ends_with("agent") { By::Agent } else { By::Client };
                self.add(name, by, request);
            }
        }
    }

    /// A request of the agent or the client that gets somebody asked.
    fn asking(&self, by: &By, path: &str, body: &str) -> approve::caller::Call {
        let proved = self.call(by, device_request("none"));
        approve::caller::Call {
            form: Form::parse(body.as_bytes()).unwrap(),
            client: proved.client,
            attestation: proved.attestation,
            dpop: Vec::new(),
            path: path.to_owned(),
            certificates: Vec::new(),
            source: "192.0.2.7".to_owned(),
        }
    }

    /// What Ada granted another agent for this one, which exchanges it.
    async fn of_tokens(&mut self) {
        let domain = &self.house.domain;
        domain.register(registration("other", &[])).await;
        let other = domain.party("/opt/other").await;
        let grant = self.granted("g4", &other.id, &self.clerk.id);
        let request = code_request(&domain.code(&grant, |_| ()));
        let token = domain.token(by_wit(&other, request, domain.now())).await;
        self.add("token_exchange, agent", By::Agent, exchange(&token, NOTICES, "notices.read"));
        let txn = transaction(&token, TokenType::AccessToken, DOMAIN, "notices.read");
        self.add("txn_token, agent", By::Agent, txn);
    }

    /// A call that its owner approved.
    async fn of_an_approval(&mut self) {
        let domain = &self.house.domain;
        let asked = by_wit(&self.clerk, credentials(TOOLS, "invoices.pay"), domain.now());
        let token = domain.token(asked).await;
        let mut call = tool_call(&self.clerk, &token, "invoices", "pay_invoice", domain.now());
        call.headers.push(("accept-txn-challenge".to_owned(), b"?1".to_vec()));
        let End::Refused(refused) = domain.call(call).await.unwrap() else { panic!("let through") };
        let signed = refused.into_value().transaction.unwrap();
        let world = self.house.world();
        let path = Endpoint::Transaction.path();
        let call = self.asking(&By::Agent, path, &format!("transaction_challenge={signed}"));
        let waits = challenge::authorize(&*world, &call).await.unwrap().into_result().unwrap();
        let approvals = self.house.approvals();
        let shown = approvals.iter().find(|one| one.state == approval::State::Pending).unwrap();
        let bob = self.house.sign_in("bob").await;
        let said = Said { id: &shown.id, allow: true, shown: &shown.hash, user_code: None };
        let done = answer::answer(&*world, &browser("b", Some(&bob)), said).await.unwrap();
        done.into_result().unwrap();
        let id = TokenText::parse(&waits.transaction_authorization_id).unwrap();
        let request = TokenRequest::Deferred(Deferred { deferral_code: id });
        let (name, endpoint) = ("challenge, agent", Endpoint::Transaction);
        self.prepared.push(Prepared { name, by: By::Agent, endpoint, request });
    }

    /// What was put off until Bob, by his role, approved it.
    async fn of_deferrals(&mut self) {
        let world = self.house.world();
        let bob = self.house.sign_in("bob").await;
        for (name, by) in [("deferred, agent", By::Agent), ("deferred, client", By::Client)] {
            let call = self.call(&by, credentials(LEDGER, "ledger.read"));
            let wanting = match self.house.domain.ask(call).await {
                Err(token::Refusal::Unapproved(wanting)) => *wanting,
                other => panic!("{name}: {other:?}"),
            };
            let deferral = deferred::defer(&*world, wanting).await.unwrap().into_value().unwrap();
            let approvals = self.house.approvals();
            let shown = approvals.iter().find(|one| one.state == approval::State::Pending);
            self.house.say(&bob, yes(shown.unwrap(), None)).await.unwrap();
            let deferral_code = TokenText::parse(&deferral.deferral_code).unwrap();
            self.add(name, by, TokenRequest::Deferred(Deferred { deferral_code }));
        }
    }

    fn of_an_assertion(&mut self, partner: &Client) {
        let now = self.house.domain.now();
        let claims = JwtGrantClaims {
            iss: PARTNER.to_owned(),
            sub: "ada@partner".to_owned(),
            aud: Audience::one(ISSUER),
            exp: NumericDate::from_time(now.plus(Span::from_seconds(200))),
            nbf: None,
            iat: Some(NumericDate::from_time(now)),
            jti: Some("one".to_owned()),
            more: serde_json::Map::new(),
        };
        let kid = jose::KeyId::parse("key-1").unwrap();
        let input = SigningInput::<JwtGrant>::new(Algorithm::Es256, Some(&kid), &claims).unwrap();
        let signature = partner.key().unwrap().sign(input.bytes());
        let assertion = TokenText::parse(&input.attach(signature).into_string()).unwrap();
        let resources = vec![Resource::parse(NOTICES).unwrap()];
        let asked = Asked { scope: None, resources, authorization_details: None };
        let request = TokenRequest::JwtBearer(Box::new(JwtBearer { assertion, asked }));
        self.add("jwt_bearer, client", By::Client, request);
    }

    fn call(&self, by: &By, request: TokenRequest) -> token::Call {
        let now = self.house.domain.now();
        match by {
            By::Agent => by_wit(&self.clerk, request, now),
            By::Client => self.house.client.asks(request, now),
        }
    }

    async fn end(&mut self, ends: Ends) {
        let (world, operator) = (self.house.world(), self.house.domain.operator());
        let domain = &self.house.domain;
        let state = async |state| {
            let id = &self.house.client.id;
            clients::set_state(&*world, &operator, id, state).await.unwrap().into_value().unwrap();
        };
        let ending = Ending::by(ADA, "enough");
        match ends {
            Ends::Nothing => {}
            Ends::AgentSuspended => drop(domain.act("clerk", Act::Suspend).await),
            Ends::AgentBack => {
                domain.act("clerk", Act::Suspend).await;
                domain.act("clerk", Act::Resume).await;
                self.clerk = domain.party("/opt/clerk").await;
            }
            Ends::AgentRevoked => drop(domain.act("clerk", Act::Revoke).await),
            Ends::NodeRevoked => {
                let all = world.store().every::<NodeRecord>();
                let node = all.iter().find(|one| one.id.to_string().ends_with("/host-1")).unwrap();
                assert_eq!(world.store().every::<rows::Hosted>().len(), 2);
                let why = "stolen".to_owned();
                let act = NodeAct::Revoke;
                let done = nodes::act(&*world, &operator, &node.id, act, why).await.unwrap();
                done.into_value().unwrap();
            }
            Ends::ClientDisabled => state(ClientState::Disabled).await,
            Ends::ClientBack => {
                state(ClientState::Disabled).await;
                state(ClientState::Enabled).await;
            }
            Ends::UserDisabled => self.house.act("ada", UserAct::Disable).await,
            Ends::UserBack => {
                self.house.act("ada", UserAct::Disable).await;
                self.house.act("ada", UserAct::Enable).await;
            }
            Ends::UserRemoved => self.house.act("ada", UserAct::Remove).await,
            Ends::PolicyChanged => {
                let (files, why) = (self.files.clone(), "enough".to_owned());
                let done = apply_policy::apply(&*world, &operator, files, why, None).await;
                done.unwrap().into_value().unwrap();
            }
            Ends::OwnerDisabled => self.house.act("bob", UserAct::Disable).await,
            Ends::Session => {
                let all = world.store().every::<Session>();
                for session in all.iter().filter(|one| one.user == ADA) {
                    let by = sessions::By::Owner(ADA);
                    let ended = sessions::end(&*world, by, &session.id, "enough").await.unwrap();
                    ended.into_value().unwrap();
                }
            }
            Ends::Grants => {
                for grant in world.store().every::<GrantRecord>() {
                    ends::end_grant(&*world, &grant.id, ending).await.unwrap();
                }
            }
        }
    }

    /// What each request comes to: `served`, or the check that refuses it, which is recorded.
    async fn ask_all(&self) -> Vec<String> {
        let mut ends = Vec::new();
        for Prepared { name, by, endpoint, request } in &self.prepared {
            let journal = self.house.domain.server.journal();
            let before = journal.len();
            let call = self.call(by, request.clone());
            let end = token::answer_at(&*self.house.world(), *endpoint, call).await.unwrap();
            let token::End::Decided(recorded) = end else { panic!("{name}: a stranger: {end:?}") };
            let id = recorded.audit_id().unwrap();
            let new = journal.after(before);
            let record = new.iter().find(|one| one.id == id).unwrap();
            assert_eq!(record.event, Event::TokenIssued, "{name}");
            let check = recorded.value().as_ref().err().map(token::Refusal::check);
            let refused = record.why.as_ref().map(|why| why.check.as_str());
            assert_eq!(refused, check, "{name}: what is recorded");
            assert_eq!(record.outcome == Outcome::Permitted, check.is_none(), "{name}");
            ends.push(check.unwrap_or("served").trim_start_matches("grants::").to_owned());
        }
        ends
    }
}

/// The usual policy, with a partner whose assertions are taken, and owners who are asked.
fn policy(partner: &Client, access: &str) -> Files {
    let kid = jose::KeyId::parse("key-1").unwrap();
    let key = partner.key().unwrap().public().to_jwk().with_kid(kid).to_value();
    let domain = files().get("domain.toml").unwrap().to_owned();
    let mut domain = format!(
        "{domain}\n[approvals]\nask = \"owner\"\ndeferred = true\n\
         [[approvals.resource]]\nname = \"ledger\"\nask = \"role:finance\"\n[[delegation.issuer]]\nname = \"partner\"\n\
         issuer = \"{PARTNER}\"\nscope = \"notices.read\"\n\
         subjects = {{ \"ada@partner\" = \"{ADA}\" }}\n[[delegation.issuer.jwks.keys]]\n"
    );
    for member in ["kty", "crv", "kid", "x", "y"] {
        domain.push_str(&format!("{member} = {}\n", key.get(member).unwrap_or(&json!(""))));
    }
    let ledger = ("resources/ledger.toml", DEFERRED);
    files_but(&[("domain.toml", &domain), ("access/main.cedar", access), ledger])
}

/// Disabled agents, users and clients get nothing through any grant, and neither does what ended
/// with a session, a grant or a host. Each cell is recorded as it is told. A new grant has no row
/// here until its client can ask for it: then it is one more line.
/// req: AUTHZ-09 (part), OBS-10 (part), AUTHN-12 (part)
#[test]
fn past_defect_08_who_or_what_ended_gets_nothing_through_any_grant() {
    let mut columns = Vec::new();
    for ends in Ends::ALL {
        let sim = Sim::new(Seed(11));
        columns.push(sim.run(async {
            let mut office = Office::open(&sim).await;
            office.end(ends).await;
            let names: Vec<_> = office.prepared.iter().map(|one| one.name).collect();
            (names, office.ask_all().await)
        }));
    }
    let mut table = String::new();
    for (at, name) in columns[0].0.iter().enumerate() {
        table.push_str(&format!("{name}\n"));
        for (ends, (_, answers)) in Ends::ALL.iter().zip(&columns) {
            table.push_str(&format!("  {:15} {}\n", format!("{ends:?}"), answers[at]));
        }
    }
    assert_eq!(table, include_str!("matrix.txt"));
}
