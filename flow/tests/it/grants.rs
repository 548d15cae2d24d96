//! What people granted: codes, refresh tokens, ID tokens, DPoP, and how it all ends.

use authorization::granted::GrantRecord;
use authorization::grants;
use env::World;
use flow::token::Refusal;
use jose::{Algorithm, Unverified};
use oauth::TokenType;
use oauth::token_request::{GrantType, TokenRequest};
use oauth::token_response::{TokenResponse, TokenUse};
use openid::id_token::IdToken;
use provisioning::Act;
use registry::{ClientRecord, ClientState, UserRecord};
use testkit::fixture::{
    ADA, Client, Domain, DpopKey, GATEWAY, ISSUER, VERIFIER, code_request, exchange, files_but,
    http_call, refresh_request, story, with_dpop,
};
use testkit::{Sim, boxed};
use time::Span;

const NOTICES: &str = "https://gateway.demo.example:8446/notices";
const TOKEN: (&str, &str) = ("POST", "https://aims.demo.example:8443/token");
const MANY: usize = 100;
const BOTH: &[GrantType] =
    &[GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::TokenExchange];

/// A domain with a person, and a client that she allowed to read notices.
pub(crate) struct House {
    pub(crate) domain: Domain,
    pub(crate) client: Client,
    pub(crate) grant: GrantRecord,
}

impl House {
    pub(crate) async fn open(sim: &Sim, public: bool) -> Self {
        let domain = Domain::start(sim).await;
        domain.person(ADA);
        let client = domain.client(BOTH, public);
        let of = ("grant-1", client.id.as_str(), ADA);
        let grant = domain.grant(of, NOTICES, "notices.read", "openid email");
        domain.sync().await;
        Self { domain, client, grant }
    }

    pub(crate) fn asks(&self, request: TokenRequest) -> flow::token::Call {
        self.client.asks(request, self.domain.now())
    }

    pub(crate) async fn redeem(&self) -> TokenResponse {
        let code = self.domain.code(&self.grant, |_| ());
        self.domain.ask(self.asks(code_request(&code))).await.unwrap()
    }

    pub(crate) async fn refresh(&self, token: &str) -> Result<TokenResponse, Refusal> {
        self.domain.ask(self.asks(refresh_request(token, NOTICES, ""))).await
    }

    pub(crate) async fn refused(&self, request: TokenRequest) -> grants::Refusal {
        match self.domain.ask(self.asks(request)).await {
            Err(Refusal::Grant(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn held(&self) -> GrantRecord {
        let held = self.domain.server.world().store().single::<GrantRecord>("grant-1");
        (*held.unwrap()).clone()
    }

    /// What the gateway says to a plain call with this token.
    pub(crate) async fn call(&self, token: &str) -> Option<gateway::Refusal> {
        self.domain.sync().await;
        self.domain.refusal_of(http_call("GET", "/notices/today", token)).await
    }
}

/// req: AUTHZ-06 (part), AUTHZ-02 (part)
#[test]
fn s10_3_1_a_code_becomes_tokens_of_the_user_and_the_client() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let answer = house.redeem().await;
        let token = house.domain.read(&answer.access_token).unwrap();
        assert_eq!((token.subject(), token.client_id()), (ADA, house.client.id.as_str()));
        assert_eq!((token.root(), token.parent()), ("grant-1", None));
        assert_eq!(token.act().unwrap().current().sub.as_str(), house.client.id);
        assert_eq!(
            (token.audience(), token.scope().to_string().as_str()),
            (NOTICES, "notices.read")
        );
        assert_eq!(token.authenticated().unwrap().acr.as_str(), "phr");
        assert!(answer.refresh_token.is_some());
        assert_eq!(house.call(&answer.access_token).await, None, "the gateway takes it");
        let records = house.domain.server.journal().after(0);
        let of_it = |one: &&monitoring::Record| one.jti.as_deref() == Some(token.jti());
        let issued = records.iter().find(of_it).unwrap();
        assert_eq!(
            (issued.root.as_deref(), issued.subject.as_deref()),
            (Some("grant-1"), Some(ADA))
        );
    });
}

/// req: AUTHZ-11 (part)
#[test]
fn rfc8693_3_refresh_and_id_tokens_stand_for_their_grant_where_policy_says_so() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let tokens = house.redeem().await;
        let (refresh, id_token) = (tokens.refresh_token.unwrap(), tokens.id_token.unwrap());
        let ask = async |token: &str, kind: TokenType| {
            let TokenRequest::TokenExchange(mut request) = exchange(token, NOTICES, "") else {
                unreachable!()
            };
            request.subject.token_type = kind;
            house.domain.ask(house.asks(TokenRequest::TokenExchange(request))).await
        };
        let both = [(&refresh, TokenType::RefreshToken), (&id_token, TokenType::IdToken)];
        for (token, kind) in both {
            let refused = ask(token, kind).await.unwrap_err();
            assert_eq!(refused, Refusal::TokenType(kind));
        }
        let policy = "trust_domain = \"demo.example\"\n[delegation]\n\
                      subject_tokens = [\"refresh_token\", \"id_token\"]";
        let (world, operator) = (house.domain.server.world(), house.domain.operator());
        let files = files_but(&[("domain.toml", policy)]);
        let applied =
            flow::apply_policy::apply(&*world, &operator, files, "a story".to_owned(), None);
        applied.await.unwrap().into_value().unwrap();
        for (token, kind) in both {
            let answer = ask(token, kind).await.unwrap();
            let read = house.domain.read(&answer.access_token).unwrap();
            assert_eq!((read.subject(), read.client_id()), (ADA, house.client.id.as_str()));
            assert_eq!((read.root(), read.parent()), ("grant-1", Some("grant-1")));
            assert_eq!(read.scope().to_string(), "notices.read");
            assert_eq!((answer.refresh_token, answer.id_token), (None, None));
            // One of another kind, and one of another client, is none.
            let swapped = match kind {
                TokenType::IdToken => TokenType::RefreshToken,
                _ => TokenType::IdToken,
            };
            assert_eq!(ask(token, swapped).await.unwrap_err().check(), "token::Subject");
            let other = house.domain.client(&[GrantType::TokenExchange], false);
            let TokenRequest::TokenExchange(mut request) = exchange(token, NOTICES, "") else {
                unreachable!()
            };
            request.subject.token_type = kind;
            let call = other.asks(TokenRequest::TokenExchange(request), house.domain.now());
            assert_eq!(house.domain.ask(call).await.unwrap_err().check(), "token::Subject");
        }
        // An ID token is of its own grant: another one of the same user and client is not meant.
        let of = ("grant-2", house.client.id.as_str(), ADA);
        house.domain.grant(of, NOTICES, "notices.read", "openid");
        // What ends the grant ends what stands for it.
        let ending = flow::ends::Ending::by("user:ada", "done");
        flow::ends::end_grant(&*world, "grant-1", ending).await.unwrap();
        for (token, kind) in both {
            assert_eq!(ask(token, kind).await.unwrap_err().check(), "token::Subject");
        }
    });
}

/// req: AUTHZ-06 (part)
#[test]
fn openid_core_2_the_client_is_told_who_signed_in_and_how() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let answer = house.redeem().await;
        let read = |text: &str| {
            let ring = house.domain.ring(env::Purpose::IdToken);
            let (now, skew) = (house.domain.now(), Span::from_seconds(5));
            let token = Unverified::<IdToken>::parse(text).unwrap();
            token.verify(&ring.verifiers(now), &[jose::Algorithm::Es256], now, skew).unwrap()
        };
        let id = read(answer.id_token.as_deref().unwrap());
        let claims = id.claims();
        assert_eq!((claims.iss.as_str(), claims.sub.as_str()), (ISSUER, ADA));
        assert_eq!(claims.aud.sole(), Some(house.client.id.as_str()));
        assert_eq!(claims.nonce.as_deref(), Some("n-0S6_WzA2Mj"));
        assert_eq!((claims.acr.as_deref(), claims.auth_time.is_some()), (Some("phr"), true));
        let hash = openid::half_hash(jose::Algorithm::Es256, &answer.access_token);
        assert_eq!(claims.at_hash.as_deref(), Some(hash.as_str()));
        // Core 1.0 §12.2: of a refresh it has no nonce.
        let again = house.refresh(&answer.refresh_token.unwrap()).await.unwrap();
        assert_eq!(read(&again.id_token.unwrap()).claims().nonce, None);
    });
}

/// RFC 6749 §4.1.2: "The client MUST NOT use the authorization code more than once."
/// req: AUTHZ-06 (part), AUTHZ-09 (part)
#[test]
fn rfc6749_4_1_2_a_second_use_of_a_code_ends_the_grant_and_its_tokens() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let code = house.domain.code(&house.grant, |_| ());
        let first = house.domain.ask(house.asks(code_request(&code))).await.unwrap();
        assert_eq!(house.call(&first.access_token).await, None);
        let second = house.refused(code_request(&code)).await;
        assert_eq!(second.check(), "grants::CodeUsed");
        assert_eq!(house.held().ended.unwrap().by, "grants::CodeUsed");
        let ended = house.call(&first.access_token).await.unwrap();
        assert_eq!(ended.check(), "gateway::Ended");
        let refused = house.refused(refresh_request(&first.refresh_token.unwrap(), NOTICES, ""));
        assert!(["grants::Refresh", "grants::NotHeld"].contains(&refused.await.check()));
    });
}

/// Each way in which a code does not fit; none of them uses it up.
/// req: AUTHZ-06 (part), AUTHZ-10 (part)
#[test]
fn rfc6749_4_1_3_what_does_not_fit_the_code_gets_nothing() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let code = house.domain.code(&house.grant, |_| ());
        let edited = |edit: &dyn Fn(&mut oauth::token_request::AuthorizationCode)| {
            let TokenRequest::AuthorizationCode(mut request) = code_request(&code) else {
                unreachable!()
            };
            edit(&mut request);
            TokenRequest::AuthorizationCode(request)
        };
        let verifier = |text: &str| oauth::pkce::CodeVerifier::parse(text).ok();
        for (request, check) in [
            (edited(&|one| one.code_verifier = None), "grants::Verifier"),
            (
                edited(&|one| one.code_verifier = verifier(&VERIFIER.replace('d', "e"))),
                "grants::Verifier",
            ),
            (edited(&|one| one.redirect_uri = None), "grants::OtherRedirectUri"),
            (
                edited(&|one| one.redirect_uri = Some("https://client.example/callback/".into())),
                "grants::OtherRedirectUri",
            ),
            (
                edited(&|one| one.asked.resources = vec![oauth::Resource::parse(ISSUER).unwrap()]),
                "grants::UnknownTarget",
            ),
            (
                edited(&|one| {
                    let other = format!("{GATEWAY}/reports");
                    one.asked.resources = vec![oauth::Resource::parse(&other).unwrap()];
                }),
                "grants::TargetNotGranted",
            ),
        ] {
            assert_eq!(house.refused(request).await.check(), check);
        }
        // docs/past-defects.md 7: what is of another kind is found nowhere.
        for other in ["aims_ac_x", "a.b.c", "aims_rt_grant-1.1.a.b"] {
            assert_eq!(house.refused(code_request(other)).await.check(), "grants::NotHeld");
        }
        let thief = house.domain.client(BOTH, false);
        let stolen = house.domain.ask(thief.asks(code_request(&code), house.domain.now())).await;
        assert_eq!(stolen.unwrap_err().check(), "grants::GrantOfOther");
        sim.sleep(Span::from_seconds(1)).await;
        house.domain.token(house.asks(code_request(&code))).await;
        let late = house.domain.code(&house.grant, |_| ());
        sim.sleep(Span::from_seconds(61)).await;
        assert_eq!(house.refused(code_request(&late)).await.check(), "grants::CodeExpired");
        assert_eq!(house.held().ended, None);
    });
}

/// req: AUTHZ-06 (part), AUTHZ-09 (part)
#[test]
fn rfc6749_4_1_2_of_many_uses_of_one_code_one_is_served() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let code = house.domain.code(&house.grant, |_| ());
        let calls: Vec<_> = (0..MANY).map(|_| house.asks(code_request(&code))).collect();
        let asks = calls.into_iter().map(|call| boxed(house.domain.ask(call))).collect();
        let ends = sim.all(asks).await;
        let (given, refused): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
        assert_eq!((given.len(), refused.len()), (1, MANY - 1));
        for end in refused {
            // Of one that read the code before the others used it, and the grant after they ended it.
            let check = end.unwrap_err().check();
            assert!(["grants::CodeUsed", "grants::Over"].contains(&check), "{check}");
        }
        assert!(house.held().ended.is_some());
    });
}

/// RFC 9700 §4.14.2: rotation for public clients; what was used before ends the whole family.
/// req: AUTHZ-09 (part)
#[test]
fn rfc9700_4_14_2_a_public_clients_refresh_token_is_rotated_and_its_reuse_ends_the_family() {
    story(|sim| async move {
        let house = House::open(&sim, true).await;
        let first = house.redeem().await;
        let one = first.refresh_token.unwrap();
        let second = house.refresh(&one).await.unwrap();
        let two = second.refresh_token.clone().unwrap();
        assert_ne!(one, two);
        // An answer that was lost: the same client gets the same one again, for ten seconds.
        sim.sleep(Span::from_seconds(9)).await;
        let again = house.refresh(&one).await.unwrap();
        assert_eq!(again.refresh_token.as_deref(), Some(two.as_str()));
        sim.sleep(Span::from_seconds(2)).await;
        let reused = house.refused(refresh_request(&one, NOTICES, "")).await;
        assert_eq!(reused.check(), "grants::RefreshReused");
        let dead = house.refused(refresh_request(&two, NOTICES, "")).await;
        assert_eq!(dead.check(), "grants::NotHeld");
        let cut = house.call(&second.access_token).await.unwrap();
        assert_eq!(cut.check(), "gateway::Ended");
    });
}

/// Keycloak's race of refresh tokens (docs/past-defects.md 5).
/// req: AUTHZ-09 (part)
#[test]
fn rfc9700_4_14_2_of_many_uses_of_one_refresh_token_one_successor_is_made() {
    story(|sim| async move {
        let house = House::open(&sim, true).await;
        let one = house.redeem().await.refresh_token.unwrap();
        let asks = (0..MANY).map(|_| boxed(house.refresh(&one))).collect();
        let ends = sim.all(asks).await;
        let successors: std::collections::BTreeSet<_> =
            ends.into_iter().map(|end| end.unwrap().refresh_token.unwrap()).collect();
        assert_eq!(successors.len(), 1);
        assert_eq!(house.held().refresh.unwrap().generation, 2);
        assert_eq!(house.held().ended, None);
    });
}

/// FAPI 2.0 §5.3.2.1: that of a client which proves its key stays.
/// req: AUTHZ-09 (part)
#[test]
fn fapi2_5_3_2_1_a_refresh_token_that_something_binds_stays() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let one = house.redeem().await.refresh_token.unwrap();
        for _ in 0..3 {
            sim.sleep(Span::from_seconds(60)).await;
            let answer = house.refresh(&one).await.unwrap();
            assert_eq!(answer.refresh_token, None, "the one that it has goes on");
        }
        let thief = house.domain.client(BOTH, false);
        let call = thief.asks(refresh_request(&one, NOTICES, ""), house.domain.now());
        assert_eq!(house.domain.ask(call).await.unwrap_err().check(), "grants::GrantOfOther");
        let wide = house.refused(refresh_request(&one, NOTICES, "notices.read notices.write"));
        assert_eq!(wide.await.check(), "grants::ScopeUnknown");
    });
}

/// Whoever is disabled gets nothing through any grant (docs/past-defects.md 5, 8).
/// req: AUTHZ-09 (part), OBS-10 (part)
#[test]
fn s10_1_disabled_users_and_clients_get_nothing_through_any_grant() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let answer = house.redeem().await;
        let (code, refresh) =
            (house.domain.code(&house.grant, |_| ()), answer.refresh_token.unwrap());
        let world = house.domain.server.world();
        let user = (*world.store().single::<UserRecord>(ADA).unwrap()).clone();
        let epoch = provisioning::Epoch(2);
        let now = house.domain.now();
        let suspended = user.lifecycle.after(Act::Suspend, epoch, String::new(), now).unwrap();
        let back = suspended.after(Act::Resume, epoch, String::new(), now).unwrap();
        for lifecycle in [suspended, back] {
            world.store().put(&UserRecord { lifecycle, ..user.clone() });
            for request in [code_request(&code), refresh_request(&refresh, NOTICES, "")] {
                let refused = house.refused(request).await;
                assert_eq!(refused.check(), "grants::SubjectNotInForce");
            }
            let refused = house.call(&answer.access_token).await.unwrap();
            assert_eq!(refused.check(), "gateway::NotInForce");
        }
        world.store().put(&user);
        assert_eq!(house.call(&answer.access_token).await, None);
        let client = (*world.store().single::<ClientRecord>(&house.client.id).unwrap()).clone();
        world.store().put(&ClientRecord { state: ClientState::Disabled, ..client });
        for request in [code_request(&code), refresh_request(&refresh, NOTICES, "")] {
            assert_eq!(house.refused(request).await.check(), "grants::CallerDisabled");
        }
        let refused = house.call(&answer.access_token).await.unwrap();
        assert_eq!(refused.check(), "gateway::Disabled");
    });
}

/// req: AUTHZ-10 (part)
#[test]
fn rfc9449_5_a_public_clients_tokens_are_bound_to_the_key_that_it_shows() {
    story(|sim| async move {
        let house = House::open(&sim, true).await;
        let (key, now) = (DpopKey::new(&house.domain), || house.domain.now());
        let other = DpopKey::new(&house.domain);
        let jkt = key.thumbprint();
        let code = house.domain.code(&house.grant, |code| code.dpop_jkt = Some(jkt.clone()));
        let with = |request, key: &DpopKey| {
            with_dpop(house.asks(request), key.proof(TOKEN, None, None, now()))
        };
        for call in [house.asks(code_request(&code)), with(code_request(&code), &other)] {
            let refused = house.domain.ask(call).await.unwrap_err();
            assert_eq!(refused.check(), "grants::OtherKey");
        }
        let answer = house.domain.ask(with(code_request(&code), &key)).await.unwrap();
        assert_eq!(answer.token_type, TokenUse::Dpop);
        let token = answer.access_token;
        let bound = house.domain.read(&token).unwrap().key().unwrap();
        assert_eq!(bound.to_base64url(), jkt);
        // RFC 9449 §5: so is the refresh token, which is then not rotated.
        let refresh = answer.refresh_token.unwrap();
        let request = || refresh_request(&refresh, NOTICES, "");
        for call in [house.asks(request()), with(request(), &other)] {
            let refused = house.domain.ask(call).await.unwrap_err();
            assert_eq!(refused.check(), "grants::OtherKey");
        }
        let again = house.domain.ask(with(request(), &key)).await.unwrap();
        assert_eq!((again.token_type, again.refresh_token), (TokenUse::Dpop, None));
        // One proof is for one request.
        let once = with(request(), &key);
        house.domain.ask(once.clone()).await.unwrap();
        assert_eq!(house.domain.ask(once).await.unwrap_err(), Refusal::DpopReplayed);
        // At the gateway it is taken with a proof of its key, and in no other way.
        house.domain.sync().await;
        let target = ("GET", "https://gateway.demo.example:8446/notices/today");
        let call = |scheme: &str, proof: Option<Vec<u8>>| {
            let mut call = http_call("GET", "/notices/today", &token);
            call.headers = vec![("authorization".into(), format!("{scheme} {token}").into_bytes())];
            call.headers.extend(proof.map(|proof| ("dpop".to_owned(), proof)));
            call
        };
        let proof = || Some(key.proof(target, Some(&token), None, now()));
        let elsewhere = ("GET", "https://gateway.demo.example:8446/notices/other");
        for (call, expect) in [
            (call("DPoP", proof()), None),
            (call("Bearer", proof()), Some("gateway::Scheme")),
            (call("Bearer", None), Some("gateway::Scheme")),
            (call("DPoP", None), Some("gateway::Dpop")),
            (call("DPoP", Some(key.proof(target, None, None, now()))), Some("gateway::Dpop")),
            (call("DPoP", Some(key.proof(target, Some("x"), None, now()))), Some("gateway::Dpop")),
            (
                call("DPoP", Some(other.proof(target, Some(&token), None, now()))),
                Some("gateway::Dpop"),
            ),
            (
                call("DPoP", Some(key.proof(elsewhere, Some(&token), None, now()))),
                Some("gateway::Dpop"),
            ),
        ] {
            let found = house.domain.refusal_of(call).await;
            assert_eq!(found.as_ref().map(gateway::Refusal::check), expect);
        }
        let replayed = call("DPoP", proof());
        assert_eq!(house.domain.refusal_of(replayed.clone()).await, None);
        let again = house.domain.refusal_of(replayed).await;
        assert_eq!(again, Some(gateway::Refusal::DpopReplayed));
    });
}

/// FAPI 2.0 SP §5.4.1 is about all JWTs: the proof of a call is one, and the resource says so.
/// req: AUTHZ-10 (part)
#[test]
fn fapi2_5_4_1_proofs_for_a_resource_under_fapi_are_strong() {
    story(|sim| async move {
        let house = House::open(&sim, true).await;
        let world = house.domain.server.world();
        let mut held = Vec::new();
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            let key = DpopKey::by(world.entropy(), algorithm);
            let jkt = key.thumbprint();
            let of = (algorithm.as_str(), house.client.id.as_str(), ADA);
            let grant = house.domain.grant(of, NOTICES, "notices.read", "");
            let code = house.domain.code(&grant, |code| code.dpop_jkt = Some(jkt));
            let proof = key.proof(TOKEN, None, None, house.domain.now());
            let call = with_dpop(house.asks(code_request(&code)), proof);
            held.push((algorithm, key, house.domain.ask(call).await.unwrap().access_token));
        }
        for profiles in ["", "profiles = [\"mcp\"]", "profiles = [\"fapi2\"]"] {
            let plain = files_but(&[]);
            let notices = plain.get("resources/notices.toml").unwrap();
            let notices = notices.replace("\"bearer\"", &format!("\"dpop\"\n{profiles}"));
            let files = files_but(&[("resources/notices.toml", &notices)]);
            let (operator, why) = (house.domain.operator(), "a story".to_owned());
            let done = flow::apply_policy::apply(&*world, &operator, files, why, None).await;
            done.unwrap().into_value().unwrap();
            house.domain.sync().await;
            let is_fapi = profiles.contains("fapi2");
            let told = flow::publish::protected_resource(&*world, "notices").await;
            let offered = told.unwrap().unwrap().dpop_signing_alg_values_supported;
            assert_eq!(offered.contains(&"RS256".to_owned()), !is_fapi, "{offered:?}");
            assert!(offered.contains(&"ES256".to_owned()), "{offered:?}");
            for (algorithm, key, token) in &held {
                let target = ("GET", "https://gateway.demo.example:8446/notices/today");
                let proof = key.proof(target, Some(token), None, house.domain.now());
                let mut call = http_call("GET", "/notices/today", token);
                call.headers = vec![
                    ("authorization".into(), format!("DPoP {token}").into_bytes()),
                    ("dpop".to_owned(), proof),
                ];
                let found = house.domain.refusal_of(call).await;
                let weak = is_fapi && *algorithm == Algorithm::Rs256;
                let expect = weak.then_some("gateway::Dpop");
                let found = found.as_ref().map(gateway::Refusal::check);
                assert_eq!(found, expect, "{profiles}, {algorithm}");
            }
        }
    });
}

/// RFC 9449 §8: a nonce of ours, where policy asks for one.
/// req: AUTHZ-10 (part)
#[test]
fn rfc9449_8_a_proof_repeats_a_nonce_of_ours_where_policy_says_so() {
    story(|sim| async move {
        let domain_toml = "trust_domain = \"demo.example\"\n[bounds]\ndpop_nonces = true\n";
        let files = files_but(&[("domain.toml", domain_toml)]);
        let domain = Domain::start_with(&sim, files).await;
        domain.person(ADA);
        let client = domain.client(BOTH, true);
        let grant = domain.grant(("grant-1", &client.id, ADA), NOTICES, "notices.read", "");
        let code = domain.code(&grant, |_| ());
        let key = DpopKey::new(&domain);
        let ask = async |nonce: Option<&str>| {
            let proof = key.proof(TOKEN, None, nonce, domain.now());
            let call = client.asks(code_request(&code), domain.now());
            domain.ask(with_dpop(call, proof)).await
        };
        assert_eq!(ask(None).await.unwrap_err().check(), "token::DpopNonce");
        let world = domain.server.world();
        let nonce = flow::token::nonce(&*world).await.unwrap().unwrap();
        sim.sleep(Span::from_seconds(121)).await;
        assert_eq!(ask(Some(&nonce)).await.unwrap_err().check(), "token::DpopNonce");
        let nonce = flow::token::nonce(&*world).await.unwrap().unwrap();
        assert_eq!(ask(Some("made-up")).await.unwrap_err().check(), "token::DpopNonce");
        let fresh = domain.code(&grant, |_| ());
        let proof = key.proof(TOKEN, None, Some(&nonce), domain.now());
        let call = client.asks(code_request(&fresh), domain.now());
        assert_eq!(domain.ask(with_dpop(call, proof)).await.unwrap().token_type, TokenUse::Dpop);
    });
}
