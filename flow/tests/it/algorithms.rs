//! What is signed for clients, by the algorithm that each registered.

use authorization::profile::Profile;
use credential::{KeyRing, Purpose};
use env::rows::Discarded;
use env::{Entity, Keys, World};
use flow::authorities::{self, Act};
use flow::clients::Terms;
use flow::discovery::{self, At};
use flow::{publish, rotate};
use jose::{Algorithm, KeySet, Unverified};
use oauth::TokenType;
use oauth::token_request::TokenRequest;
use openid::id_token::{IdToken, IdTokenClaims};
use registry::{ClientRecord, Signed};
use serde_json::{Value, json};
use testkit::boxed;
use testkit::fixture::{
    ADA, Domain, by_wit, code_request, exchange, files_but, registration, story,
};
use time::Span;

use crate::grants::House;

const OTHERS: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::EdDsa];
const TOOLS: &str = "https://gateway.demo.example:8446/invoices";
const NOTICES: &str = "https://gateway.demo.example:8446/notices";

/// Registers a client; what it is told, or the check that refused it.
async fn registered(domain: &Domain, members: Value, profile: &[Profile]) -> Result<Value, String> {
    let mut metadata = json!({
        "redirect_uris": ["https://app.example/cb"],
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks": { "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "a",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] },
    });
    for (name, value) in members.as_object().unwrap() {
        metadata[name] = value.clone();
    }
    let terms = Terms { profiles: profile.iter().copied().collect(), ..Terms::default() };
    let (world, operator) = (domain.server.world(), domain.operator());
    let done = flow::clients::register(&*world, &operator, &metadata.to_string(), &terms).await;
    let done = done.unwrap().into_value().map_err(|refusal| refusal.check().to_owned())?;
    Ok(Value::Object(done.1.registered.metadata))
}

fn by(algorithm: Algorithm) -> Value {
    json!({ Signed::IdToken.member(): algorithm })
}

/// The client of the house wants what is signed for it signed so.
fn wants(house: &House, algorithm: Algorithm, profiles: &[Profile]) {
    let world = house.domain.server.world();
    let found = world.store().single::<ClientRecord>(&house.client.id).unwrap();
    let metadata = found.metadata.with(Signed::IdToken.member(), json!(algorithm)).unwrap();
    let profiles = profiles.iter().copied().collect();
    world.store().put(&found.with_metadata(metadata).with_profiles(profiles));
}

/// Whether there is a ring, and how many keys it has.
fn keys(domain: &Domain, purpose: Purpose) -> Option<usize> {
    let ring = domain.server.world().store().single::<KeyRing>(purpose.name());
    ring.map(|ring| ring.keys.len())
}

async fn jwks(domain: &Domain) -> KeySet {
    publish::jwks(&*domain.server.world()).await.unwrap()
}

fn read(keys: &KeySet, text: &str, algorithm: Algorithm, domain: &Domain) -> IdTokenClaims {
    let token = Unverified::<IdToken>::parse(text).unwrap();
    assert!(token.header().kid().is_some());
    token.verify(keys, &[algorithm], domain.now(), Span::ZERO).unwrap().into_claims()
}

/// Core 1.0 §15.1: "Signing ID Tokens with RSA SHA-256". A key is there when the client is told so,
/// and not before somebody asks.
/// req: AUTHZ-22 (part), CRED-05 (part)
#[test]
fn registration_2_an_id_token_is_signed_by_what_its_client_registered() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let usual = registered(&house.domain, json!({}), &[]).await.unwrap();
        assert_eq!(usual["id_token_signed_response_alg"], "ES256", "RFC 7591 §3.2.1: it is told");
        let before = jwks(&house.domain).await.keys().len();
        for (more, algorithm) in OTHERS.into_iter().enumerate() {
            let purpose = Purpose::for_clients(algorithm).unwrap();
            assert_eq!(keys(&house.domain, purpose), None);
            let told = registered(&house.domain, by(algorithm), &[]).await.unwrap();
            assert_eq!(told["id_token_signed_response_alg"], json!(algorithm));
            let published = jwks(&house.domain).await;
            assert_eq!(published.keys().len(), before + more + 1);
            registered(&house.domain, by(algorithm), &[]).await.unwrap();
            assert_eq!(keys(&house.domain, purpose), Some(1), "one serves all");

            wants(&house, algorithm, &[]);
            let answer = house.redeem().await;
            let text = answer.id_token.unwrap();
            let claims = read(&published, &text, algorithm, &house.domain);
            let hash = openid::half_hash(algorithm, &answer.access_token);
            assert_eq!(claims.at_hash, Some(hash), "Core 1.0 §3.1.3.6");
            let (rest, _) = text.rsplit_once('.').unwrap();
            let signed_by_another = format!("{rest}.{}", "A".repeat(342));
            let forged = Unverified::<IdToken>::parse(&signed_by_another).unwrap();
            forged.verify(&published, &[algorithm], house.domain.now(), Span::ZERO).unwrap_err();
        }
    });
}

/// What came back is known for ours, whichever ring signed it.
/// req: AUTHZ-11 (part)
#[test]
fn rfc8693_3_an_id_token_by_rs256_stands_for_its_grant() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let policy = "trust_domain = \"demo.example\"\n[delegation]\n\
                      subject_tokens = [\"id_token\"]";
        let (world, operator) = (house.domain.server.world(), house.domain.operator());
        let files = files_but(&[("domain.toml", policy)]);
        let why = "a story".to_owned();
        let applied = flow::apply_policy::apply(&*world, &operator, files, why, None).await;
        applied.unwrap().into_value().unwrap();
        // It never registered: the key is made as it is needed, and published before it is used.
        wants(&house, Algorithm::Rs256, &[]);
        let text = house.redeem().await.id_token.unwrap();
        assert_eq!(keys(&house.domain, Purpose::IdTokenRs256), Some(1));
        let ask = async |text: &str| {
            let TokenRequest::TokenExchange(mut request) = exchange(text, NOTICES, "") else {
                unreachable!()
            };
            request.subject.token_type = TokenType::IdToken;
            house.domain.ask(house.asks(TokenRequest::TokenExchange(request))).await
        };
        ask(&text).await.unwrap();
        let (rest, _) = text.rsplit_once('.').unwrap();
        let forged = format!("{rest}.{}", "A".repeat(342));
        assert_eq!(ask(&forged).await.unwrap_err().check(), "token::Subject");
    });
}

/// An agent's record is its client.
/// req: AUTHZ-23 (part)
#[test]
fn s10_2_an_agent_gets_id_tokens_as_its_record_says() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.person(ADA);
        let world = domain.server.world();
        let entry = |by| {
            let mut entry = registration("clerk", &["invoices"]);
            entry.client.id_token_signed_response_alg = Some(by);
            entry
        };
        let operator = domain.operator();
        let order = async |entry| {
            let done = flow::agents::register(&*world, &operator, entry).await;
            done.unwrap().into_value()
        };
        let refused = order(entry(Algorithm::Es384)).await.unwrap_err();
        assert_eq!(refused.check(), "registry::Registration");
        world.keys().set_unmakeable(&[Algorithm::Rs256]);
        let refused = order(entry(Algorithm::Rs256)).await.unwrap_err();
        assert_eq!(refused.check(), "registry::KeyStore");
        let kept = "name = \"keeper\"\nkind = \"agent\"\nowner = \"ops\"\n\
                    client = { id_token_signed_response_alg = \"RS256\" }\n\
                    [rule]\nselectors = [\"unix:path:/opt/keeper\"]\n";
        let files = files_but(&[("agents/keeper.toml", kept)]);
        let apply = async |files| {
            let why = "a story".to_owned();
            let done = flow::apply_policy::apply(&*world, &operator, files, why, None).await;
            done.unwrap().into_value()
        };
        assert_eq!(apply(files.clone()).await.unwrap_err().check(), "policy::Agent");
        world.keys().set_unmakeable(&[]);
        apply(files).await.unwrap();
        order(entry(Algorithm::Rs256)).await.unwrap();
        assert_eq!(keys(&domain, Purpose::IdTokenRs256), None, "nobody signed in yet");

        domain.sync().await;
        let clerk = domain.party("/opt/clerk").await;
        let of = ("grant-1", "spiffe://demo.example/agent/clerk", ADA);
        let grant = domain.grant(of, TOOLS, "invoices.read", "openid");
        let code = domain.code(&grant, |_| ());
        let call = by_wit(&clerk, code_request(&code), domain.now());
        let text = domain.ask(call).await.unwrap().id_token.unwrap();
        read(&jwks(&domain).await, &text, Algorithm::Rs256, &domain);
    });
}

/// RSA keys cost time: of all that ask at once, one makes the key.
#[test]
fn s8_of_many_first_clients_one_makes_the_key() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let asks = (0..20).map(|_| boxed(registered(&domain, by(Algorithm::Rs256), &[])));
        for told in sim.all(asks.collect()).await {
            told.unwrap();
        }
        let of_it = |handle: &env::Handle| handle.purpose == Purpose::IdTokenRs256;
        let made = domain.server.world().keys().handles().into_iter().filter(of_it).count();
        assert_eq!((made, keys(&domain, Purpose::IdTokenRs256)), (1, Some(1)));
    });
}

/// Whoever began it may have ended in the middle: after a restart nobody waits for it.
#[test]
fn s8_a_key_that_a_server_which_ended_was_making_is_made_at_once() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let begun = KeyRing::empty(Purpose::IdTokenRs256);
        domain.server.world().store().put(&begun);
        domain.restart_server().await.unwrap();
        assert_eq!(keys(&domain, Purpose::IdTokenRs256), None);
        let before = domain.now();
        registered(&domain, by(Algorithm::Rs256), &[]).await.unwrap();
        let waited = domain.now().since(before);
        assert!(waited < Span::from_seconds(1), "{waited:?}");
    });
}

/// Another server may have ended while this one serves.
#[test]
fn s8_a_key_that_somebody_began_to_make_is_made_after_a_while() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let begun = KeyRing::empty(Purpose::IdTokenRs256);
        domain.server.world().store().put(&begun);
        registered(&domain, by(Algorithm::Rs256), &[]).await.unwrap();
        assert_eq!(keys(&domain, Purpose::IdTokenRs256), Some(1));
    });
}

/// A device that makes no such keys: nobody is promised any.
/// req: CRED-08 (part)
#[test]
fn s6_what_the_key_store_cannot_make_is_not_offered() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let world = domain.server.world();
        let offered = async || {
            let metadata = publish::metadata(&*world).await.unwrap();
            metadata.extensions.authorization_signing_alg_values_supported
        };
        assert_eq!(offered().await, ["ES256", "RS256", "PS256", "EdDSA"]);
        // Discovery 1.0 §3: "The algorithm RS256 MUST be included."
        let at = At { host: None, path: "/.well-known/openid-configuration" };
        let document = discovery::openid_configuration(&*world, at).await.unwrap().unwrap();
        let offer = &document["id_token_signing_alg_values_supported"];
        assert_eq!(*offer, json!(["ES256", "RS256", "PS256", "EdDSA"]));
        world.keys().set_unmakeable(&[Algorithm::Rs256, Algorithm::Ps256]);
        assert_eq!(offered().await, ["ES256", "EdDSA"]);
        for member in Signed::ALL.map(Signed::member) {
            let refused = registered(&domain, json!({ member: "RS256" }), &[]).await;
            assert_eq!(refused, Err("registration::KeyStore".to_owned()), "{member}");
        }
        registered(&domain, by(Algorithm::EdDsa), &[]).await.unwrap();
        assert_eq!(keys(&domain, Purpose::IdTokenRs256), None);
        // A ring of before goes on until its keys end, and keeps nothing else from being rotated.
        world.keys().set_unmakeable(&[]);
        registered(&domain, by(Algorithm::Rs256), &[]).await.unwrap();
        world.keys().set_unmakeable(&[Algorithm::Rs256]);
        sim.sleep(Span::from_seconds(2 * 86_400)).await;
        rotate::step(&*world, &[]).await.unwrap();
        assert!(domain.ring(Purpose::IdTokenRs256).signer(domain.now()).is_none());
        assert!(domain.ring(Purpose::IdTokenEddsa).signer(domain.now()).is_some());
    });
}

/// FAPI 2.0 SP §5.4.1: "shall use `PS256`, `ES256`, or `EdDSA`".
#[test]
fn fapi2_5_4_1_a_client_under_fapi_gets_nothing_by_rs256() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        for profile in [Profile::Fapi2, Profile::Fapi2MessageSigning, Profile::FapiCiba] {
            let refused = registered(&house.domain, by(Algorithm::Rs256), &[profile]).await;
            assert_eq!(refused, Err("profile::StrongAlgorithms".to_owned()), "{profile}");
            registered(&house.domain, by(Algorithm::Ps256), &[profile]).await.unwrap();
        }
        assert_eq!(keys(&house.domain, Purpose::IdTokenRs256), None);
        // Neither one that came to be under it later.
        let world = house.domain.server.world();
        wants(&house, Algorithm::Rs256, &[Profile::Fapi2]);
        let client = world.store().single::<ClientRecord>(&house.client.id).unwrap();
        assert_eq!(client.signed_by(Signed::IdToken), Algorithm::Es256);
        wants(&house, Algorithm::Rs256, &[Profile::Mcp]);
        let client = world.store().single::<ClientRecord>(&house.client.id).unwrap();
        assert_eq!(client.signed_by(Signed::IdToken), Algorithm::Rs256);
    });
}

/// Published before first use, kept until the last thing signed is dead; after a long stop a start
/// does not wait for a key.
/// req: CRED-05 (part), PROV-02 (part)
#[test]
fn s8_keys_of_rs256_rotate_without_a_gap() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let (domain, purpose) = (&house.domain, Purpose::IdTokenRs256);
        wants(&house, Algorithm::Rs256, &[]);
        let (mut signers, mut last) = (Vec::new(), None::<(KeySet, String)>);
        for _ in 0..20 {
            rotate::step(&*domain.server.world(), &[]).await.unwrap();
            let text = house.redeem().await.id_token.unwrap();
            // A relying party that read the keys a moment before the last rotation knows this one.
            if let Some((before, _)) = &last {
                read(before, &text, Algorithm::Rs256, domain);
            }
            let published = jwks(domain).await;
            if let Some((_, former)) = &last {
                read(&published, former, Algorithm::Rs256, domain);
            }
            let ring = domain.ring(purpose);
            signers.push(ring.signer(domain.now()).unwrap().kid.to_string());
            assert!((1..=2).contains(&ring.published(domain.now()).count()));
            last = Some((published, text));
            sim.sleep(Span::from_seconds(290)).await;
            if signers.len() % 4 == 0 {
                sim.sleep(Span::from_seconds(24_000)).await;
                last = None;
            }
        }
        signers.dedup();
        assert!((2..=3).contains(&signers.len()), "a new signer each day: {signers:?}");

        sim.sleep(Span::from_seconds(3 * 86_400)).await;
        domain.restart_server().await.unwrap();
        let ring = domain.ring(purpose);
        assert!(ring.signer(domain.now()).is_none(), "it is made once it serves");
        rotate::step(&*domain.server.world(), &[]).await.unwrap();
        assert!(domain.ring(purpose).signer(domain.now()).is_some());
    });
}

/// A leaked key of a ring on demand: replaced at once, gone, and what is destroyed later stands
/// where a server of the version before does not stumble over it.
/// req: PROV-06 (part)
#[test]
fn s8_a_ring_on_demand_obeys_operators() {
    story(|sim| async move {
        let house = House::open(&sim, false).await;
        let (domain, purpose) = (&house.domain, Purpose::IdTokenRs256);
        let (world, operator) = (domain.server.world(), domain.operator());
        wants(&house, Algorithm::Rs256, &[]);
        let leaked_token = house.redeem().await.id_token.unwrap();
        let leaked = domain.ring(purpose).signer(domain.now()).unwrap().kid.clone();
        let order = async |kid: &jose::KeyId, what| {
            let end = authorities::act(&*world, &operator, kid, what, "a story".to_owned()).await;
            end.unwrap().into_value().unwrap()
        };
        order(&leaked, Act::Taint { urgent: true }).await;
        let next = domain.ring(purpose).signer(domain.now()).unwrap().kid.clone();
        assert_ne!(next, leaked);
        world.keys().set_stuck(true);
        order(&leaked, Act::Revoke).await;
        let token = Unverified::<IdToken>::parse(&leaked_token).unwrap();
        let published = jwks(domain).await;
        token.verify(&published, &[Algorithm::Rs256], domain.now(), Span::ZERO).unwrap_err();
        assert!(world.store().single::<Discarded>(Discarded::ID).is_none());
        assert!(world.store().single::<Discarded>(Discarded::ON_DEMAND).is_some());
        let handle = env::Handle { purpose, id: leaked.to_string() };
        world.keys().sign(&handle, b"still there").await.unwrap();
        world.keys().set_stuck(false);
        rotate::forget(&*world).await.unwrap();
        world.keys().sign(&handle, b"no longer").await.unwrap_err();
        assert!(world.store().single::<Discarded>(Discarded::ON_DEMAND).is_none());
        // The last one goes: the next client that needs one gets one.
        order(&next, Act::Taint { urgent: true }).await;
        let third = domain.ring(purpose).signer(domain.now()).unwrap().kid.clone();
        order(&next, Act::Revoke).await;
        order(&third, Act::Taint { urgent: true }).await;
        let fourth = domain.ring(purpose).signer(domain.now()).unwrap().kid.clone();
        assert_ne!(fourth, third);
        house.redeem().await.id_token.unwrap();
        assert!(Discarded { keys: vec![handle] }.id() != Discarded::ID);
    });
}
