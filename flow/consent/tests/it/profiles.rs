//! What profiles demand of authorization requests: row by row, at both endpoints.

use authorization::Profile;
use authorization::profile::{Demand, Unmet, demands};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use consent::Begun;
use consent::push::End;
use env::World;
use jose::{Algorithm, PrivateKey, SigningInput};
use oauth::request_object::{RequestObject, RequestObjectClaims};
use registry::{ClientRecord, Metadata};
use serde_json::{Map, Value, json};
use testkit::fixture::{DpopKey, GATEWAY, ISSUER, files, files_but, story};

use crate::house::{BACK, CHALLENGE, CLIENT, House, browser, query, told};
use crate::pushes::{by_reference, key, push, push_with, with_key};

/// A request, with or without what a row wants.
#[derive(Clone, Copy)]
struct Asked {
    pushed: bool,
    redirect: bool,
    signed: bool,
    signed_response: bool,
    resource: bool,
}

const ALL: Asked =
    Asked { pushed: true, redirect: true, signed: true, signed_response: true, resource: true };

/// Each row, and a request that lacks what it wants and nothing else.
const ROWS: &[(Demand, Asked)] = &[
    (Demand::Pushed, Asked { pushed: false, ..ALL }),
    (Demand::NamesRedirect, Asked { redirect: false, ..ALL }),
    (Demand::SignedRequests, Asked { signed: false, ..ALL }),
    (Demand::SignedResponses, Asked { signed_response: false, ..ALL }),
    (Demand::NamesResource, Asked { resource: false, ..ALL }),
];

impl Asked {
    fn parameters(self) -> Map<String, Value> {
        let mut all = json!({
            "client_id": CLIENT, "response_type": "code", "state": "s1", "scope": "invoices.read",
            "code_challenge": CHALLENGE, "code_challenge_method": "S256",
        });
        for (there, name, value) in [
            (self.redirect, "redirect_uri", BACK.to_owned()),
            (self.signed_response, "response_mode", "jwt".to_owned()),
            (self.resource, "resource", format!("{GATEWAY}/invoices")),
        ] {
            if there {
                all[name] = value.into();
            }
        }
        all.as_object().unwrap().clone()
    }

    fn body(self, house: &House, key: &PrivateKey) -> String {
        let parameters = self.parameters();
        if self.signed {
            let object = object(house, (key, Algorithm::Es256, None), parameters, 60);
            return format!("client_id={CLIENT}&request={object}");
        }
        let pair = |(name, value): (&String, &Value)| {
            let value = value.as_str().unwrap();
            let value: String = url_encoded(value);
            format!("{name}={value}")
        };
        parameters.iter().map(pair).collect::<Vec<_>>().join("&")
    }
}

fn url_encoded(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

/// The parameters as a request object that lives for so long.
fn object(
    house: &House,
    (key, algorithm, kid): (&PrivateKey, Algorithm, Option<&str>),
    mut claims: Map<String, Value>,
    seconds: u64,
) -> String {
    let now = house.domain.now().seconds();
    let more = json!({ "iss": CLIENT, "aud": ISSUER, "nbf": now, "exp": now + seconds });
    claims.extend(more.as_object().unwrap().clone());
    let claims: RequestObjectClaims = serde_json::from_value(claims.into()).unwrap();
    let kid = kid.map(|kid| jose::KeyId::parse(kid).unwrap());
    let input = SigningInput::<RequestObject>::new(algorithm, kid.as_ref(), &claims).unwrap();
    let signature = key.sign(input.bytes());
    input.attach(signature).into_string()
}

/// A house whose client has this key, and obeys this profile.
async fn open(sim: &testkit::Sim, key: &PrivateKey, profile: Profile) -> House {
    let house = House::open(sim).await;
    house.client(|client| {
        with_key(client, key);
        *client = client.with_profiles([profile].into());
    });
    house
}

/// The check that refuses, at the endpoint where the request arrives, or at the other one later.
async fn refusal(house: &House, key: &PrivateKey, jti: &str, asked: Asked) -> Option<String> {
    let here = browser("a", None);
    let body = asked.body(house, key);
    let query = match asked.pushed {
        false => body,
        true => match push(house, key, jti, &body).await {
            End::Stranger(refusal) => panic!("{refusal}"),
            End::Unproved(decided) => match decided {
                Ok(pushed) => by_reference(&pushed),
                Err(refusal) => return Some(refusal.check().to_owned()),
            },
            End::Decided(recorded) => match recorded.into_value() {
                Ok(pushed) => by_reference(&pushed),
                Err(refusal) => return Some(refusal.check().to_owned()),
            },
        },
    };
    match house.begin(&here, &query).await {
        Begun::Interaction(_) => None,
        Begun::Page(fault) => Some(fault.check().to_owned()),
        refused => told(refused).1.map(str::to_owned),
    }
}

/// What meets all is taken under every profile; what lacks one thing is refused by its row, and only
/// where the profile has that row.
///
/// req: AUTHZ-10 (part)
#[test]
fn fapi2_5_3_2_each_row_refuses_alone_at_both_endpoints() {
    story(|sim| async move {
        let key = key();
        for profile in Profile::ALL {
            let house = open(&sim, &key, profile).await;
            assert_eq!(refusal(&house, &key, "all", ALL).await, None, "{profile}");
            for (at, (row, asked)) in ROWS.iter().enumerate() {
                let expect = demands(&[profile]).contains(row).then(|| Unmet(*row).check());
                let found = refusal(&house, &key, &format!("j{at}"), *asked).await;
                assert_eq!(found.as_deref(), expect, "{profile}");
            }
        }
    });
}

/// The same of a resource that has the profile, for a client that has none: whoever asks for it is
/// held to it, and asks for anything else as before.
///
/// req: AUTHZ-10 (part)
#[test]
fn fapi2_5_3_2_a_resource_demands_each_row_of_every_client() {
    story(|sim| async move {
        let key = key();
        for profile in Profile::ALL {
            let house = House::with(&sim, files_but(&[("resources/invoices.toml", &of(profile))]));
            let house = house.await;
            house.client(|client| with_key(client, &key));
            assert_eq!(refusal(&house, &key, "all", ALL).await, None, "{profile}");
            for (at, (row, asked)) in ROWS.iter().enumerate() {
                let expect = demands(&[profile]).contains(row).then(|| Unmet(*row).check());
                let found = refusal(&house, &key, &format!("j{at}"), *asked).await;
                assert_eq!(found.as_deref(), expect, "{profile}");
            }
            let plain = query(&format!("&resource={GATEWAY}/notices"));
            assert!(matches!(
                house.begin(&browser("a", None), &plain).await,
                Begun::Interaction(_)
            ));
        }
    });
}

/// What a client registered counts where a resource demands it, and so does what it signs by.
#[test]
fn fapi2_5_3_2_a_resource_looks_at_what_the_client_registered() {
    story(|sim| async move {
        let (weak, strong) = (es384(), key());
        let files = files_but(&[("resources/invoices.toml", &of(Profile::Fapi2))]);
        let house = House::with(&sim, files).await;
        let here = browser("a", None);
        let begins = async |edit: &[(&str, Value)], query: &str| {
            house.client(|client| {
                with_key(client, &strong);
                let mut members = client.metadata.members().clone();
                for (name, value) in edit {
                    members.insert((*name).to_owned(), value.clone());
                }
                *client = client.with_metadata(Metadata::new(&members).unwrap());
            });
            match house.begin(&here, query).await {
                Begun::Interaction(_) => None,
                Begun::Page(fault) => Some(fault.check().to_owned()),
                refused => told(refused).1.map(str::to_owned),
            }
        };
        let plain = Asked { pushed: false, signed: false, ..ALL }.body(&house, &strong);
        let unmet = |demand| Some(Unmet(demand).check().to_owned());
        let public = [("token_endpoint_auth_method", "none".into()), ("jwks", Value::Null)];
        assert_eq!(begins(&public, &plain).await, unmet(Demand::ProvesAKey));
        let http = [("redirect_uris", json!([BACK, "http://127.0.0.1/cb"]))];
        assert_eq!(begins(&http, &plain).await, unmet(Demand::SecureRedirects));
        assert_eq!(begins(&[], &plain).await, unmet(Demand::Pushed));
        // One that was signed by something weaker is refused before anything else of it counts.
        let named = |key: &PrivateKey, kid: &str| {
            let kid = jose::KeyId::parse(kid).unwrap();
            key.public().to_jwk().with_kid(kid).to_value()
        };
        let both = [("jwks", json!({ "keys": [named(&weak, "weak"), named(&strong, "strong")] }))];
        for (by, check) in [
            ((&weak, Algorithm::Es384, Some("weak")), Some("authorize::Object".to_owned())),
            ((&strong, Algorithm::Es256, Some("strong")), unmet(Demand::Pushed)),
        ] {
            let object = object(&house, by, ALL.parameters(), 60);
            let query = format!("client_id={CLIENT}&request={object}");
            assert_eq!(begins(&both, &query).await, check);
        }
    });
}

/// The resource for invoices, under that profile.
fn of(profile: Profile) -> String {
    let all = files();
    let text = all.get("resources/invoices.toml").unwrap();
    let (top, scopes) = text.split_once("[scopes]").unwrap();
    format!("{top}\nproof = \"dpop\"\nprofiles = [\"{profile}\"]\n[scopes]{scopes}")
}

/// What was asked before the profile held is looked at again when it is answered.
#[test]
fn fapi2_5_3_2_a_profile_holds_for_what_is_open_already() {
    story(|sim| async move {
        let key = key();
        let house = House::open(&sim).await;
        house.client(|client| with_key(client, &key));
        let here = browser("a", None);
        let body = Asked { pushed: false, signed: false, ..ALL }.body(&house, &key);
        let name = house.begun(&here, &body).await;
        house.client(|client| {
            with_key(client, &key);
            *client = client.with_profiles([Profile::Fapi2].into());
        });
        let shown = house.show(&here, &name).await;
        let consent::Shown::Reply(_) = shown else { panic!("{shown:?}") };
    });
}

/// FAPI 2.0 SP §5.4.1: "shall use `PS256`, `ES256`, or `EdDSA`"; and by what a client registered it
/// signs, whatever its profile.
#[test]
fn fapi2_5_4_1_request_objects_are_signed_by_what_may_sign_them() {
    story(|sim| async move {
        let (weak, strong) = (es384(), key());
        let publish = |client: &mut ClientRecord, alg: Option<&str>| {
            let mut members = client.metadata.members().clone();
            let named = |key: &PrivateKey, kid: &str| {
                let kid = jose::KeyId::parse(kid).unwrap();
                key.public().to_jwk().with_kid(kid).to_value()
            };
            let jwks = json!({ "keys": [named(&weak, "weak"), named(&strong, "strong")] });
            members.insert("jwks".to_owned(), jwks);
            if let Some(alg) = alg {
                members.insert("request_object_signing_alg".to_owned(), alg.into());
            }
            *client = client.with_metadata(Metadata::new(&members).unwrap());
        };
        let here = browser("a", None);
        let begins = async |house: &House, by: (&PrivateKey, Algorithm, Option<&str>)| {
            let object = object(house, by, ALL.parameters(), 60);
            let query = format!("client_id={CLIENT}&request={object}");
            match house.begin(&here, &query).await {
                Begun::Page(fault) => Err(fault.check()),
                _ => Ok(()),
            }
        };
        let (by_weak, by_strong) =
            ((&weak, Algorithm::Es384, Some("weak")), (&strong, Algorithm::Es256, Some("strong")));
        for profile in Profile::ALL {
            let house = open(&sim, &strong, profile).await;
            house.client(|client| {
                with_key(client, &strong);
                publish(client, None);
                *client = client.with_profiles([profile].into());
            });
            let demanded = demands(&[profile]).contains(&Demand::StrongAlgorithms);
            let expect = if demanded { Err("authorize::Object") } else { Ok(()) };
            assert_eq!(begins(&house, by_weak).await, expect, "{profile}");
            assert_eq!(begins(&house, by_strong).await, Ok(()), "{profile}");
        }
        let house = House::open(&sim).await;
        house.client(|client| {
            with_key(client, &strong);
            publish(client, Some("ES384"));
        });
        assert_eq!(begins(&house, by_weak).await, Ok(()));
        assert_eq!(begins(&house, by_strong).await, Err("authorize::Object"));
    });
}

/// FAPI 2.0 SP §5.4.1 is about all JWTs: a proof beside a pushed request is one, too.
#[test]
fn fapi2_5_4_1_a_proof_beside_a_pushed_request_is_strong() {
    story(|sim| async move {
        let key = key();
        for profile in Profile::ALL {
            // What the client is under, and what the resource is that it asks for.
            for (of_client, of_resource) in [(true, false), (false, true), (false, false)] {
                let under = files_but(&[("resources/invoices.toml", &of(profile))]);
                let house = House::with(&sim, if of_resource { under } else { files() }).await;
                house.client(|client| {
                    with_key(client, &key);
                    if of_client {
                        *client = client.with_profiles([profile].into());
                    }
                });
                let held = of_client || of_resource;
                let demanded = held && demands(&[profile]).contains(&Demand::StrongAlgorithms);
                let weak = demanded.then_some("profile::StrongAlgorithms");
                for (algorithm, expect) in [(Algorithm::Rs256, weak), (Algorithm::Es256, None)] {
                    let entropy = house.world().entropy().clone();
                    let dpop = DpopKey::by(&entropy, algorithm);
                    let at = ("POST", format!("{ISSUER}/par"));
                    let proof = dpop.proof((at.0, &at.1), None, None, house.domain.now());
                    let (jti, body) = (algorithm.as_str(), ALL.body(&house, &key));
                    let end = push_with(&house, &key, jti, &body, proof).await;
                    let End::Decided(recorded) = end else { panic!("{end:?}") };
                    let found = recorded.into_value().err().map(|refusal| refusal.check());
                    assert_eq!(found, expect, "{profile}, {algorithm}, {of_client} {of_resource}");
                }
            }
        }
    });
}

/// FAPI 2.0 MS §5.3.1: "shall require the request object to contain an `exp` claim that has a
/// lifetime of no longer than 60 minutes after the `nbf` claim".
#[test]
fn fapi2_ms_5_3_1_request_objects_live_an_hour_at_most() {
    story(|sim| async move {
        let key = key();
        for (profile, seconds, check) in [
            (Profile::Fapi2MessageSigning, 3_600, None),
            (Profile::Fapi2MessageSigning, 3_601, Some("authorize::Object")),
            (Profile::Fapi2, 3_601, None),
        ] {
            let house = open(&sim, &key, profile).await;
            let object = object(&house, (&key, Algorithm::Es256, None), ALL.parameters(), seconds);
            let end = push(&house, &key, "j1", &format!("request={object}")).await;
            let End::Decided(recorded) = end else { panic!("{end:?}") };
            let found = recorded.into_value().err().map(|refusal| refusal.check());
            assert_eq!(found, check, "{profile}, {seconds} seconds");
        }
    });
}

fn es384() -> PrivateKey {
    let random = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random);
    PrivateKey::from_pkcs8(made.unwrap().as_ref()).unwrap()
}
