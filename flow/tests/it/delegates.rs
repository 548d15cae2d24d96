//! A gateway that was taken over: what it can say with the key that was delegated to it.

use authorization::presented;
use credential::Purpose;
use env::{Handle, Keys, World};
use flow::token::Refusal;
use jose::{Algorithm, KeyId, SigningInput};
use oauth::TokenType;
use oauth::token_request::TokenRequest;
use oauth::txn_token::{TxnToken, TxnTokenClaims};
use serde_json::{Value, json};
use testkit::fixture::{
    ADA, DOMAIN, Domain, ISSUER, Party, by_wit, exchange, registration, story, transaction,
};

const NOTICES: &str = "https://gateway.demo.example:8446/notices";
const CLERK: &str = "spiffe://demo.example/agent/clerk";

/// A domain whose gateway signs what it likes, and a service that brings it.
struct Taken {
    domain: Domain,
    service: Party,
    kid: KeyId,
}

impl Taken {
    async fn open(sim: &testkit::Sim) -> Self {
        let domain = Domain::start(sim).await;
        domain.person(ADA);
        for name in ["clerk", "desk"] {
            domain.register(registration(name, &["invoices"])).await;
        }
        let service = domain.party("/opt/desk").await;
        let ring = domain.ring(Purpose::TxnToken);
        let delegated = ring.keys.iter().find(|key| key.holder.is_some()).unwrap();
        let kid = delegated.kid.clone();
        Self { domain, service, kid }
    }

    /// What the gateway says of a transaction.
    async fn says(&self, edit: Value) -> String {
        let now = self.domain.now().seconds();
        let mut claims = json!({
            "iss": ISSUER, "iat": now, "exp": now + 60, "aud": DOMAIN, "txn": "t-1", "sub": CLERK,
            "scope": "notices.read", "req_wl": CLERK, "jti": "j-1", "aims_root": "r-1",
            "aims_epoch": 1,
        });
        for (name, value) in edit.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let claims: TxnTokenClaims = serde_json::from_value(claims).unwrap();
        let input =
            SigningInput::<TxnToken>::new(Algorithm::Es256, Some(&self.kid), &claims).unwrap();
        let world = self.domain.gateway.world();
        let of_it = |handle: &Handle| {
            let public = world.keys().public(handle).unwrap();
            public.thumbprint().to_base64url() == self.kid.as_str()
        };
        let handle = world.keys().handles().into_iter().find(of_it).unwrap();
        let signature = world.keys().sign(&handle, input.bytes()).await.unwrap();
        input.attach(signature).into_string()
    }

    /// What the service gets for it, as an access token and as another transaction token.
    async fn brings(&self, token: &str) -> [Result<String, Refusal>; 2] {
        let TokenRequest::TokenExchange(mut access) = exchange(token, NOTICES, "notices.read")
        else {
            unreachable!()
        };
        access.subject.token_type = TokenType::TxnToken;
        let access = TokenRequest::TokenExchange(access);
        let again = transaction(token, TokenType::TxnToken, DOMAIN, "notices.read");
        let ask = async |request| {
            let call = by_wit(&self.service, request, self.domain.now());
            self.domain.ask(call).await.map(|answer| answer.access_token)
        };
        [ask(access).await, ask(again).await]
    }
}

/// A person is in a transaction by what the person granted, whatever a gateway says.
/// req: AUTHZ-12 (part), AUTHZ-13 (part)
#[test]
fn s10_4_a_gateway_makes_nobody_grant_anything() {
    story(|sim| async move {
        let taken = Taken::open(&sim).await;
        let domain = &taken.domain;
        domain.grant(("grant-1", CLERK, ADA), NOTICES, "notices.read", "");
        domain.grant(("grant-2", CLERK, ADA), NOTICES, "", "");
        for (what, edit) in [
            ("a person who granted nothing", json!({ "sub": ADA })),
            ("a person whom nobody knows", json!({ "sub": "user:bob" })),
            ("somebody of elsewhere", json!({ "sub": "partner:bob" })),
            ("an agent that there is not", json!({ "sub": "spiffe://demo.example/agent/x" })),
            ("another person's grant", json!({ "sub": "user:bob", "aims_root": "grant-1" })),
            ("an agent by a person's grant", json!({ "aims_root": "grant-1" })),
            ("more than was granted", json!({ "sub": ADA, "aims_root": "grant-2" })),
        ] {
            for got in taken.brings(&taken.says(edit).await).await {
                let refusal = got.unwrap_err();
                let unvouched =
                    matches!(&refusal, Refusal::Subject(presented::Refusal::Unvouched(_)));
                assert!(unvouched, "{what}: {refusal}");
            }
        }
        // What holds at the server holds, whoever of us signed it.
        let told = taken.says(json!({ "sub": ADA, "aims_root": "grant-1" })).await;
        for got in taken.brings(&told).await {
            got.unwrap();
        }
        for got in taken.brings(&taken.says(json!({})).await).await {
            got.unwrap();
        }
        let ending = flow::ends::Ending::by(ADA, "enough");
        flow::ends::end_grant(&*domain.server.world(), "grant-1", ending).await.unwrap();
        for got in taken.brings(&told).await {
            assert!(got.is_err(), "its grant ended");
        }
    });
}

/// Who reads who somebody is by our key set takes no gateway's word for it.
/// req: AUTHZ-12 (part)
#[test]
fn s10_9_the_key_set_has_no_key_of_a_gateway() {
    story(|sim| async move {
        let taken = Taken::open(&sim).await;
        let world = taken.domain.server.world();
        let jwks = flow::publish::jwks(&*world).await.unwrap();
        assert!(jwks.keys().iter().all(|key| key.kid() != Some(&taken.kid)));
        let txn = flow::publish::txn_token_jwks(&*world).await.unwrap();
        assert!(txn.keys().iter().any(|key| key.kid() == Some(&taken.kid)));
        let metadata = flow::publish::metadata(&*world).await.unwrap();
        let named = metadata.extensions.aims_txn_token_jwks_uri.unwrap();
        assert_eq!(named.as_str(), format!("{ISSUER}/txn-token/jwks"));
        assert_ne!(metadata.jwks_uri.unwrap().as_str(), named.as_str());
    });
}
