//! The token endpoint: every way to be refused, each by its own check.

use authorization::grants;
use env::Keys;
use flow::clients::Terms;
use flow::token::{Call, ClientRefusal, End, Refusal, TargetRefusal};
use identifier::Kind;
use jose::{Algorithm, NumericDate, PrivateKey, SigningInput};
use oauth::access_token::AccessToken;
use oauth::client_assertion::AssertionType;
use oauth::token_request::{TokenRequest, TypedToken};
use oauth::{Resource, ScopeSet, TokenType};
use provisioning::Act;
use testkit::Sim;
use testkit::fixture::{
    DOMAIN, Domain, GATEWAY, ISSUER, Party, by_certificate, by_jwt_svid, by_key, by_wit,
    credentials, exchange, files_but, issued, registration, story, transaction,
};
use time::Span;

const CLERK: &str = "spiffe://demo.example/agent/clerk";
const TOOLS: &str = "https://gateway.demo.example:8446/invoices";

/// A domain with two agents, `clerk` and `other`, and the clerk's credentials.
struct Office {
    domain: Domain,
    clerk: Party,
    other: Party,
}

impl Office {
    async fn open(sim: &Sim) -> Self {
        let domain = Domain::start(sim).await;
        domain.register(registration("clerk", &["invoices"])).await;
        domain.register(registration("other", &["invoices"])).await;
        let (clerk, other) = (domain.party("/opt/clerk").await, domain.party("/opt/other").await);
        Self { domain, clerk, other }
    }

    fn clerk_asks(&self, request: TokenRequest) -> Call {
        by_wit(&self.clerk, request, self.domain.now())
    }

    fn other_asks(&self, request: TokenRequest) -> Call {
        by_wit(&self.other, request, self.domain.now())
    }

    /// A token of `other` for the clerk, to be exchanged.
    async fn task(&self, scope: &str) -> String {
        self.domain.token(self.other_asks(credentials(CLERK, scope))).await
    }

    /// The refusal, which must stand in the newest record under its name.
    async fn refused(&self, call: Call) -> Refusal {
        let before = self.domain.server.journal().len();
        let refusal = self.domain.ask(call).await.unwrap_err();
        let told = self.domain.server.journal().after(before);
        if let Refusal::Client(_) = refusal {
            assert_eq!(told.len(), 0, "strangers are counted, not recorded");
        } else {
            let why = told.last().unwrap().why.clone().unwrap();
            assert_eq!((told.len(), why.check.as_str()), (1, refusal.check()));
            assert_eq!(why.message, refusal.to_string());
        }
        refusal
    }

    async fn refused_grant(&self, call: Call) -> grants::Refusal {
        match self.refused(call).await {
            Refusal::Grant(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    /// Registers a client with a key of its own.
    async fn client(&self, grants: &[&str], scope: &str) -> (String, PrivateKey) {
        let made = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            &aws_lc_rs::rand::SystemRandom::new(),
        );
        let key = PrivateKey::from_pkcs8(made.unwrap().as_ref()).unwrap();
        let metadata = serde_json::json!({
            "token_endpoint_auth_method": "private_key_jwt",
            "grant_types": grants,
            "scope": scope,
            "jwks": { "keys": [key.public().to_jwk().to_value()] },
        });
        let (server, operator) = (self.domain.server.world(), self.domain.operator());
        let (metadata, terms) = (metadata.to_string(), Terms::default());
        let made = flow::clients::register(&*server, &operator, &metadata, &terms).await.unwrap();
        (made.into_value().unwrap().0.client_id, key)
    }
}

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

fn token(text: &str) -> oauth::TokenText {
    oauth::TokenText::parse(text).unwrap()
}

/// req: AUTHZ-07, AUTHZ-23 (part)
#[test]
fn s10_3_2_each_way_of_client_authentication_gets_a_token() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let (domain, asked) = (&office.domain, || credentials(TOOLS, "invoices.read"));
        let svid = domain.jwt_svid("/opt/clerk", ISSUER).await;
        for (call, method) in [
            (office.clerk_asks(asked()), "spiffe_wit"),
            (by_jwt_svid(CLERK, &svid, asked()), "spiffe_jwt"),
            (by_certificate(&office.clerk, asked()), "spiffe_x509"),
        ] {
            let (token, scope) = issued(&domain.ask(call).await.unwrap());
            let read = domain.read(&token).unwrap();
            assert_eq!(
                (read.client_id(), read.subject(), scope.as_str()),
                (CLERK, CLERK, "invoices.read")
            );
            let record = domain.server.journal().last().unwrap();
            assert_eq!(
                (record.proof.as_deref(), record.rules),
                (Some(method), vec!["tokens".to_owned()])
            );
        }
        let (id, key) = office.client(&["client_credentials"], "notices.read").await;
        let asked = credentials(&format!("{GATEWAY}/notices"), "notices.read");
        let token = domain.token(by_key(&id, &key, "a", asked, domain.now())).await;
        assert_eq!(domain.read(&token).unwrap().client_id(), id);
    });
}

/// RFC 6749 §2.3: "The client MUST NOT use more than one authentication method in each request."
/// req: AUTHZ-07 (part)
#[test]
fn s10_3_2_who_is_not_authenticated_is_a_stranger() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let (domain, asked) = (&office.domain, || credentials(TOOLS, ""));
        let nobody = Call { attestation: None, ..office.clerk_asks(asked()) };
        assert_eq!(office.refused(nobody.clone()).await, ClientRefusal::None.into());
        let svid = domain.jwt_svid("/opt/clerk", ISSUER).await;
        let mut both = by_jwt_svid(CLERK, &svid, asked());
        both.attestation = office.clerk_asks(asked()).attestation;
        assert_eq!(office.refused(both).await, ClientRefusal::Several.into());
        let (id, key) = office.client(&["client_credentials"], "notices.read").await;
        let unknown = by_key("client-x", &key, "a", asked(), domain.now());
        assert_eq!(office.refused(unknown).await, ClientRefusal::Unknown.into());
        let wrong = domain.jwt_svid("/opt/clerk", "https://elsewhere.example").await;
        let mut garbled = nobody;
        garbled.client.assertion = Some((AssertionType::Jwt, token("a.b.c")));
        let mut late = by_key(&id, &key, "a", asked(), domain.now());
        late.client.client_id = Some(oauth::ClientId::parse("client-y").unwrap());
        let mut theirs = office.clerk_asks(asked());
        theirs.client.client_id = Some(oauth::ClientId::parse(&office.other.id).unwrap());
        let mut unproved = by_certificate(&office.clerk, asked());
        unproved.client.client_id = None;
        for (call, check) in [
            (by_jwt_svid(CLERK, &wrong, asked()), "client::SpiffeJwt"),
            (garbled, "client::PrivateKeyJwt"),
            (late, "client::PrivateKeyJwt"),
            (theirs, "client::SpiffeWit"),
            (unproved, "client::SpiffeX509"),
        ] {
            assert_eq!(office.refused(call).await.check(), check);
        }
    });
}

/// req: AUTHN-05 (part)
#[test]
fn s9_2_3_a_clients_proof_is_taken_once_and_also_after_a_restart() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let (domain, asked) = (&office.domain, || credentials(TOOLS, ""));
        let (id, key) = office.client(&["client_credentials"], "notices.read").await;
        let notices = credentials(&format!("{GATEWAY}/notices"), "");
        let by_key = by_key(&id, &key, "once", notices, domain.now());
        let by_wit = office.clerk_asks(asked());
        for call in [&by_wit, &by_key] {
            domain.token(call.clone()).await;
            assert_eq!(office.refused(call.clone()).await, Refusal::Replayed);
        }
        domain.restart_server().await.unwrap();
        for call in [&by_wit, &by_key] {
            assert_eq!(office.refused(call.clone()).await, Refusal::Replayed);
        }
    });
}

/// req: AUTHZ-01 (part), AUTHZ-09 (part)
#[test]
fn s10_1_a_caller_that_is_not_in_force_gets_nothing() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let (domain, asked) = (&office.domain, || credentials(TOOLS, ""));
        let node = domain.node.link().shown().0;
        let mut component = by_certificate(&office.clerk, asked());
        let id = "spiffe://demo.example/aims/node/join_token/host-1";
        component.client.client_id = Some(oauth::ClientId::parse(id).unwrap());
        component.certificates = node;
        let unknown = grants::Refusal::CallerUnknown(id.to_owned());
        assert_eq!(office.refused_grant(component).await, unknown);
        let (id, key) = office.client(&["client_credentials"], "notices.read").await;
        let (server, operator) = (domain.server.world(), domain.operator());
        let disable = |id: String| {
            let (server, operator) = (server.clone(), operator.clone());
            async move {
                let to = registry::ClientState::Disabled;
                flow::clients::set_state(&*server, &operator, &id, to).await.unwrap().into_value()
            }
        };
        disable(id.clone()).await.unwrap();
        let disabled = by_key(&id, &key, "a", asked(), domain.now());
        assert_eq!(office.refused_grant(disabled).await.check(), "grants::CallerDisabled");
        let none = disable("client-x".to_owned()).await.unwrap_err();
        assert_eq!(none, flow::clients::Refusal::Unknown("client-x".to_owned()));
        domain.act("clerk", Act::Revoke).await;
        let svid = office.clerk_asks(asked());
        assert_eq!(office.refused_grant(svid).await.check(), "grants::CallerNotInForce");
    });
}

/// RFC 8707 §2: what is unknown is `invalid_target`; RFC 9700 §2.3: a token is for one server.
/// req: AUTHZ-09 (part)
#[test]
fn s10_3_4_a_token_is_for_one_known_target_in_force() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let several = |resources: &[&str]| {
            let TokenRequest::ClientCredentials(mut request) = credentials(TOOLS, "") else {
                unreachable!()
            };
            request.resources = resources.iter().map(|one| Resource::parse(one).unwrap()).collect();
            TokenRequest::ClientCredentials(request)
        };
        let none = office.refused(office.clerk_asks(several(&[]))).await;
        assert_eq!(none, TargetRefusal::None.into());
        let two = office.refused(office.clerk_asks(several(&[TOOLS, CLERK]))).await;
        assert_eq!(two, TargetRefusal::Several.into());
        for unknown in ["https://elsewhere.example", "spiffe://demo.example/agent/nobody"] {
            let refusal = office.refused_grant(office.clerk_asks(credentials(unknown, ""))).await;
            assert_eq!(refusal, grants::Refusal::UnknownTarget);
        }
        let mut closed = registration("closed", &[]);
        closed.client.callable = false;
        office.domain.register(closed).await;
        let asked = credentials("spiffe://demo.example/agent/closed", "");
        let refusal = office.refused_grant(office.clerk_asks(asked)).await;
        assert_eq!(refusal, grants::Refusal::UnknownTarget);
        office.domain.act("other", Act::Suspend).await;
        let refusal =
            office.refused_grant(office.clerk_asks(credentials(&office.other.id, ""))).await;
        assert_eq!(refusal.check(), "grants::TargetNotInForce");
    });
}

/// req: AUTHZ-11 (part), AUTHZ-21 (part)
#[test]
fn s10_2_2_rights_only_shrink() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let mut narrow = registration("narrow", &[]);
        narrow.client.scope_max = Some(scopes("invoices.read"));
        office.domain.register(narrow).await;
        let narrow = office.domain.party("/opt/narrow").await;
        let asks = |request| by_wit(&narrow, request, office.domain.now());
        let unknown =
            office.refused_grant(office.clerk_asks(credentials(TOOLS, "notices.read"))).await;
        let known = scopes("invoices.pay invoices.read");
        let asked = scopes("notices.read");
        assert_eq!(unknown, grants::Refusal::ScopeUnknown { asked, known });
        let (asked, allowed) = (scopes("invoices.pay"), scopes("invoices.read"));
        let wide = office.refused_grant(asks(credentials(TOOLS, "invoices.pay"))).await;
        assert_eq!(wide, grants::Refusal::ScopeOfClient { asked: asked.clone(), allowed });
        // RFC 6749 §3.3: without a scope, what the client may have of what the target knows.
        let (_, given) = issued(&office.domain.ask(asks(credentials(TOOLS, ""))).await.unwrap());
        assert_eq!(given, "invoices.read");
        let task = office.task("invoices.read").await;
        let wider = office.refused_grant(office.clerk_asks(exchange(&task, TOOLS, "invoices.pay")));
        let held = scopes("invoices.read");
        assert_eq!(wider.await, grants::Refusal::ScopeOfSubject { asked, held });
    });
}

/// S4 §10.3.3: who was not given a token may not exchange it.
/// req: AUTHZ-08 (part), OBS-10 (part)
#[test]
fn s10_3_3_a_subject_token_is_the_callers_and_in_force() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let task = office.task("invoices.read").await;
        let theirs = office.refused_grant(office.other_asks(exchange(&task, TOOLS, ""))).await;
        let (audience, client) = (CLERK.to_owned(), office.other.id.clone());
        assert_eq!(theirs, grants::Refusal::SubjectForOther { audience, client });
        let refused = office.refused(office.clerk_asks(exchange("a.b.c", TOOLS, ""))).await;
        assert_eq!(refused.check(), "token::Subject");
        let mut typed = exchange(&task, TOOLS, "");
        edit(&mut typed, |one| one.subject.token_type = TokenType::IdToken);
        let refused = office.refused(office.clerk_asks(typed)).await;
        assert_eq!(refused, Refusal::TokenType(TokenType::IdToken));
        let mut typed = exchange(&task, TOOLS, "");
        edit(&mut typed, |one| one.requested_token_type = Some(TokenType::IdToken));
        let refused = office.refused(office.clerk_asks(typed)).await;
        assert_eq!(refused, Refusal::TokenType(TokenType::IdToken));
        let grants = ["client_credentials"];
        let (id, key) = office.client(&grants, "notices.read").await;
        let call = by_key(&id, &key, "a", exchange(&task, TOOLS, ""), office.domain.now());
        let refused = office.refused_grant(call).await;
        assert_eq!(refused.check(), "grants::GrantNotAllowed");
        office.domain.act("other", Act::Suspend).await;
        let refused = office.refused_grant(office.clerk_asks(exchange(&task, TOOLS, ""))).await;
        assert_eq!(refused.check(), "grants::SubjectNotInForce");
        office.domain.act("other", Act::Resume).await;
        let refused = office.refused_grant(office.clerk_asks(exchange(&task, TOOLS, ""))).await;
        assert_eq!(refused.check(), "grants::SubjectNotInForce");
    });
}

fn edit(request: &mut TokenRequest, change: impl FnOnce(&mut oauth::token_request::TokenExchange)) {
    match request {
        TokenRequest::TokenExchange(one) => change(one),
        _ => unreachable!(),
    }
}

/// docs/past-defects.md 34: `may_act` present but not enforced.
/// req: AUTHZ-11 (part)
#[test]
fn s10_2_2_actor_and_may_act_are_obeyed() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let task = office.task("invoices.read").await;
        let with_actor = |actor: &str| {
            let mut request = exchange(&task, TOOLS, "");
            let actor = TypedToken { token: token(actor), token_type: TokenType::AccessToken };
            edit(&mut request, |one| one.actor = Some(actor));
            request
        };
        let own = office.domain.token(office.clerk_asks(credentials(TOOLS, ""))).await;
        office.domain.token(office.clerk_asks(with_actor(&own))).await;
        let theirs = office.domain.token(office.other_asks(credentials(TOOLS, ""))).await;
        let refused = office.refused_grant(office.clerk_asks(with_actor(&theirs))).await;
        let (actor, client) = (office.other.id.clone(), CLERK.to_owned());
        assert_eq!(refused, grants::Refusal::ActorIsOther { actor, client });
        let refused = office.refused(office.clerk_asks(with_actor("a.b.c"))).await;
        assert_eq!(refused.check(), "token::Actor");
        for (named, allowed) in [(office.other.id.as_str(), false), (CLERK, true)] {
            let bound = resigned(&office, &task, |claims| {
                claims["may_act"] = serde_json::json!({ "sub": named });
            })
            .await;
            let end = office.domain.ask(office.clerk_asks(exchange(&bound, TOOLS, ""))).await;
            let allowed_only = grants::Refusal::MayNotAct { allowed: named.to_owned() };
            assert_eq!(end.map(|_| ()), if allowed { Ok(()) } else { Err(allowed_only.into()) });
        }
    });
}

/// A token of the server's own key with other claims, as another version could have issued it.
async fn resigned(office: &Office, token: &str, change: impl Fn(&mut serde_json::Value)) -> String {
    let payload = token.split('.').nth(1).unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&decoded(payload)).unwrap();
    change(&mut value);
    let claims = serde_json::from_value(value).unwrap();
    let ring = office.domain.ring(env::Purpose::AccessToken);
    let key = ring.signer(office.domain.now()).unwrap();
    let input =
        SigningInput::<AccessToken>::new(Algorithm::Es256, Some(&key.kid), &claims).unwrap();
    let handle = flow::sign::handle(env::Purpose::AccessToken, key);
    let signature = office.domain.server.keys().sign(&handle, input.bytes()).await;
    input.attach(signature.unwrap()).into_string()
}

fn decoded(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// req: AUTHZ-11 (part)
#[test]
fn s10_2_2_a_chain_has_an_end() {
    story(|sim| async move {
        let domain = "trust_domain = \"demo.example\"\n[delegation]\ndepth_max = 2\n";
        let domain = Domain::start_with(&sim, files_but(&[("domain.toml", domain)])).await;
        let names = ["a", "b", "c", "d"];
        let mut parties = Vec::new();
        for name in names {
            domain.register(registration(name, &[])).await;
            parties.push(domain.party(&format!("/opt/{name}")).await);
        }
        let id = |at: usize| parties[at].id.as_str();
        let first = by_wit(&parties[0], credentials(id(1), "invoices.read"), domain.now());
        let mut token = domain.token(first).await;
        for (at, next) in [(1, 2), (2, 3)] {
            let call = by_wit(&parties[at], exchange(&token, id(next), ""), domain.now());
            token = domain.token(call).await;
        }
        let read = domain.read(&token).unwrap();
        assert_eq!(read.act().unwrap().iter().collect::<Vec<_>>(), [id(2), id(1)]);
        let call = by_wit(&parties[3], exchange(&token, TOOLS, ""), domain.now());
        let refused = domain.ask(call).await.unwrap_err();
        assert_eq!(refused, grants::Refusal::TooDeep { depth: 3, allowed: 2 }.into());
    });
}

/// RFC 8705 §3.1 and docs/design.md §5: what a token must come with is the resource's to say.
/// req: AUTHZ-10 (part)
#[test]
fn s10_1_1_a_token_is_bound_as_its_resource_demands() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let reports = format!("{GATEWAY}/reports");
        let asked = || credentials(&reports, "reports.read");
        let bare = office.refused_grant(office.clerk_asks(asked())).await;
        assert_eq!(bare, grants::Refusal::NoCertificate);
        let bound = office.domain.token(by_certificate(&office.clerk, asked())).await;
        let leaf = x509::Certificate::parse(&office.clerk.chain[0]).unwrap();
        let certificate = office.domain.read(&bound).unwrap().certificate();
        assert_eq!(certificate, Some(leaf.fingerprint_sha256()));
        let (id, key) = office.client(&["client_credentials"], "notices.read").await;
        let call = by_key(&id, &key, "a", credentials(TOOLS, ""), office.domain.now());
        assert_eq!(office.refused_grant(call).await, grants::Refusal::NoWorkload);
    });
}

/// draft-ietf-oauth-transaction-tokens §9: the purpose is there, the transaction and its subject
/// stay the same, the life is short.
/// req: AUTHZ-12 (part)
#[test]
fn s10_4_transaction_tokens_are_narrowed_along_the_chain() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let task = office.task("invoices.read invoices.pay").await;
        let both = "invoices.read invoices.pay";
        let asked = transaction(&task, TokenType::AccessToken, DOMAIN, both);
        let first = office.domain.token(office.clerk_asks(asked)).await;
        let read = office.domain.read_transaction(&first).unwrap();
        assert_eq!((read.subject(), read.audience()), (office.other.id.as_str(), DOMAIN));
        assert!(read.expires() <= office.domain.now().plus(Span::from_seconds(60)));
        let narrower = transaction(&first, TokenType::TxnToken, DOMAIN, "invoices.read");
        let second = office.domain.token(office.other_asks(narrower)).await;
        let next = office.domain.read_transaction(&second).unwrap();
        assert_eq!((next.txn(), next.root()), (read.txn(), read.root()));
        assert_eq!(next.subject(), read.subject());
        assert!(next.scope().is_within(read.scope()) && next.expires() <= read.expires());
        let wider = transaction(&second, TokenType::TxnToken, DOMAIN, "invoices.pay");
        let refused = office.refused_grant(office.clerk_asks(wider)).await;
        assert_eq!(refused.check(), "grants::ScopeOfSubject");
        let mut silent = transaction(&task, TokenType::AccessToken, DOMAIN, "invoices.read");
        edit(&mut silent, |one| one.scope = None);
        let refused = office.refused_grant(office.clerk_asks(silent)).await;
        assert_eq!(refused, grants::Refusal::NoScope);
        // It is no access token.
        let refused = office.refused(office.clerk_asks(exchange(&first, TOOLS, ""))).await;
        assert_eq!(refused.check(), "token::Subject");
    });
}

/// A transaction token is for our trust domain, and for nothing else that has a name.
/// req: AUTHZ-12 (part)
#[test]
fn s10_4_a_transaction_token_is_for_the_trust_domain() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let task = office.task("invoices.read").await;
        for audience in [TOOLS, office.other.id.as_str()] {
            let asked = transaction(&task, TokenType::AccessToken, audience, "invoices.read");
            let refused = office.refused_grant(office.clerk_asks(asked)).await;
            assert_eq!(refused, grants::Refusal::UnknownTarget, "{audience}");
        }
        // And no access token is for the trust domain as a whole.
        let refused = office.refused_grant(office.clerk_asks({
            let mut request = exchange(&task, TOOLS, "");
            edit(&mut request, |one| {
                one.resources.clear();
                one.audiences = vec![oauth::AudienceName::parse(DOMAIN).unwrap()];
            });
            request
        }));
        assert_eq!(refused.await, grants::Refusal::UnknownTarget);
    });
}

/// req: AUTHZ-24 (part), POL-02 (part)
#[test]
fn s10_1_3_policy_has_the_last_word_on_every_grant() {
    story(|sim| async move {
        let access = r#"
            @id("tokens") @needs("the capability `trusted`")
            permit(principal, action, resource)
            when { principal.capabilities.contains("trusted") };
            @id("approved") @obligations("approval")
            permit(principal, action, resource) when { principal.name == "asks" };
        "#;
        let domain = Domain::start_with(&sim, files_but(&[("access/main.cedar", access)])).await;
        for (name, needs) in [("plain", "the capability `trusted`"), ("asks", "`approval`")] {
            domain.register(registration(name, &[])).await;
            let party = domain.party(&format!("/opt/{name}")).await;
            let call = by_wit(&party, credentials(TOOLS, ""), domain.now());
            let denial = match domain.ask(call).await.unwrap_err() {
                Refusal::Denied(denial) => *denial,
                // What an approval alone is wanting for can be put off.
                Refusal::Unapproved(wanting) => wanting.denial,
                other => panic!("{other}"),
            };
            assert_eq!(denial.needs, [needs]);
            let why = domain.server.journal().last().unwrap().why.unwrap();
            assert_eq!(why.needs.as_deref(), Some(needs));
        }
        domain.register(registration("trusted", &["trusted"])).await;
        let party = domain.party("/opt/trusted").await;
        domain.token(by_wit(&party, credentials(TOOLS, ""), domain.now())).await;
    });
}

/// A token that is accepted only because clocks may differ gives no other that would be dead.
#[test]
fn s10_2_a_token_that_would_be_born_dead_is_not_made() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let task = office.task("invoices.read").await;
        sim.sleep(Span::from_seconds(302)).await;
        let refused = office.refused(office.clerk_asks(exchange(&task, TOOLS, ""))).await;
        assert_eq!(refused.check(), "token::Unmakeable");
        sim.sleep(Span::from_seconds(10)).await;
        let refused = office.refused(office.clerk_asks(exchange(&task, TOOLS, ""))).await;
        assert_eq!(refused.check(), "token::Subject");
    });
}

/// req: CRED-10 (part)
#[test]
fn s6_a_service_is_called_without_saying_that_it_may_be() {
    story(|sim| async move {
        let office = Office::open(&sim).await;
        let mut store = registration("store", &[]);
        (store.kind, store.client.callable) = (Kind::Service, false);
        let id = office.domain.register(store).await.id.to_string();
        let token = office.domain.token(office.clerk_asks(credentials(&id, ""))).await;
        assert_eq!(office.domain.read(&token).unwrap().audience(), id);
        let exp = NumericDate::from_time(office.domain.read(&token).unwrap().expires());
        assert!(exp.seconds() > office.domain.now().seconds());
        let End::Decided(end) = flow::token::answer(
            &*office.domain.server.world(),
            office.clerk_asks(credentials(&id, "")),
        )
        .await
        .unwrap() else {
            panic!("a stranger")
        };
        assert!(office.domain.server.journal().find(end.audit_id().unwrap()).is_some());
    });
}
