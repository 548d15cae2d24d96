use jose::{
    Algorithm, Jwk, JwkError, KeyId, Malformed, NoKey, PublicKey, Refused, SigningInput, Unverified,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use spiffe::{Bundle, BundleKey, TrustDomain};
use time::{Span, UnixTime};
use wimse::{
    Bundles, Confirmation, HeaderError, Origin, TrustAnchors, Wit, WitClaims, WitError, WitPolicy,
    WitSvidError, WorkloadId, verify_wit,
};

use crate::fixture::{
    EXAMPLE_ISSUER, EXAMPLE_WIT, EXAMPLE_WIT_SVID, NOW, POLICY, Pair, anchors, ed25519, example,
    kid, p256, sign,
};

/// What becomes of a WIT after `edit` of header and claims, signed by the issuer.
fn judge(edit: impl FnOnce(&mut Value, &mut Value)) -> Option<WitError> {
    let pair = Pair::new(p256());
    let (mut header, mut claims) = (pair.header(), pair.claims());
    edit(&mut header, &mut claims);
    verify_wit(&sign(&header, &claims, &pair.issuer), &pair.anchors, POLICY, NOW).err()
}

/// req: CRED-04 (part)
#[test]
fn wimse_creds_5_1_the_published_wit_verifies() {
    let wit = example();
    assert_eq!(wit.workload_id().as_str(), "wimse://example.com/specific-workload");
    assert_eq!(wit.expires(), UnixTime::from_seconds(1_745_512_510));
    assert_eq!(wit.claims().jti.as_deref(), Some("x-_1CTL2cca3CSE4cwb_l"));
    assert_eq!(wit.confirmation_algorithm(), Algorithm::EdDsa);
    assert_eq!(wit.confirmation_key(), ed25519().public());
    assert_eq!(wit.token_hash().to_base64url(), "AaYUfC34D1di2FxQLpiIJJ7Sg8VZ6o8OCdwSf9IToLg");
    assert_eq!((wit.as_wit_svid(), wit.epoch()), (None, None));
}

#[test]
fn wit_svid_a_the_published_wit_svid_is_read() {
    let token = Unverified::<Wit>::parse(EXAMPLE_WIT_SVID).unwrap();
    assert_eq!(token.hint(), Origin::parse("spiffe://example.com").unwrap());
    let id = "lQSi3hZFnda2D-XJkj1zl7foJouiwI4nrAyhy4jZiJg";
    assert_eq!(token.header().kid().map(KeyId::as_str), Some(id));
    let anchors = anchors("spiffe://example.com", &[(id, p256().public())]);
    let judged = verify_wit(EXAMPLE_WIT_SVID, &anchors, POLICY, NOW);
    assert_eq!(judged.err(), Some(Refused::Signature.into()));
}

/// req: CRED-04 (part)
#[test]
fn wimse_creds_5_1_what_is_issued_is_verified() {
    let (issuer, workload) = (p256(), p256());
    let claims = WitClaims {
        sub: WorkloadId::parse("spiffe://ours.example/agent").unwrap(),
        exp: jose::NumericDate::from_seconds(NOW.seconds() + 60),
        iat: None,
        nbf: None,
        jti: Some("1".to_owned()),
        iss: None,
        cnf: Confirmation::new(workload.public()).unwrap(),
        aims_epoch: Some(4),
        aims_attributes: Some(spiffe::Attributes {
            owner: Some("owner".to_owned()),
            ..spiffe::Attributes::default()
        }),
        has_audience: false,
    };
    let input = SigningInput::<Wit>::new(Algorithm::Es256, Some(&kid("k")), &claims).unwrap();
    let signature = issuer.sign(input.bytes());
    let token = input.attach(signature);
    let anchors = anchors("spiffe://ours.example", &[("k", issuer.public())]);
    let wit = verify_wit(token.as_str(), &anchors, POLICY, NOW).unwrap();
    assert_eq!((wit.claims(), wit.epoch()), (&claims, Some(4)));
    assert_eq!(wit.confirmation_key(), workload.public());
    assert_eq!(wit.as_wit_svid().map(|id| id.as_str()), Some("spiffe://ours.example/agent"));
}

/// Published counterexamples: the same authority under another scheme, and another authority.
///
/// req: CRED-12 (part)
#[test]
fn wimse_creds_3_an_issuer_speaks_for_its_own_origin_alone() {
    let issuer = p256();
    let key = ("k", issuer.public());
    for (trusted, sub) in [
        ("spiffe://trust.example", "wimse://trust.example/service/payment"),
        ("wimse://dev.example", "wimse://prod.example/service/admin"),
        ("wimse://trust.example", "spiffe://trust.example/service/payment"),
    ] {
        let mut claims = Pair::new(p256()).claims();
        claims["sub"] = json!(sub);
        let header = json!({"alg": "ES256", "typ": "wit+jwt", "kid": "k"});
        let token = sign(&header, &claims, &issuer);
        // The other origin is trusted as well, with a key of its own.
        let mut both = anchors(trusted, &[key]);
        let unknown = WitError::Refused(Refused::NoKey(NoKey::UnknownIssuer));
        assert_eq!(verify_wit(&token, &both, POLICY, NOW).err(), Some(unknown), "{sub}");
        let origin = WorkloadId::parse(sub).unwrap().origin();
        let own = BundleKey { kid: kid("k"), key: p256().public().clone() };
        both.insert(origin, vec![own]);
        let judged = verify_wit(&token, &both, POLICY, NOW).err();
        assert_eq!(judged, Some(Refused::Signature.into()), "{sub}");
        let right = anchors(WorkloadId::parse(sub).unwrap().origin().as_str(), &[key]);
        assert_eq!(verify_wit(&token, &right, POLICY, NOW).err(), None, "{sub}");
    }
}

#[test]
fn wimse_creds_3_the_keys_of_bundles_are_anchors_of_their_domains() {
    let pair = Pair::new(p256());
    let key = |id: &str, key: &PublicKey| vec![BundleKey { kid: kid(id), key: key.clone() }];
    let hint = Span::from_seconds(60);
    let wit = Bundle::new(1, hint, vec![], vec![], key("wit-1", pair.issuer.public())).unwrap();
    let jwt = Bundle::new(1, hint, vec![], key("wit-1", pair.issuer.public()), vec![]).unwrap();
    let mut bundles = Bundles::new();
    bundles.insert(TrustDomain::parse("ours.example").unwrap(), wit);
    let judge = |anchors: &TrustAnchors| verify_wit(&pair.wit(), anchors, POLICY, NOW).err();
    let mut anchors = TrustAnchors::from(&bundles);
    assert_eq!(judge(&anchors), None);
    anchors.remove(&Origin::parse("spiffe://ours.example").unwrap());
    let no_key = |reason| Some(WitError::Refused(Refused::NoKey(reason)));
    assert_eq!(judge(&anchors), no_key(NoKey::UnknownIssuer));
    // WIT-SVID §6.2: keys of another use are not for WITs.
    bundles.insert(TrustDomain::parse("ours.example").unwrap(), jwt);
    let unknown = no_key(NoKey::UnknownKeyId { kid: kid("wit-1") });
    assert_eq!(judge(&TrustAnchors::from(&bundles)), unknown);
}

/// Past defects 1 to 4 and 28.
///
/// req: CRED-04 (part), CRED-05 (part)
#[test]
fn wimse_creds_5_1_each_rule_for_wits() {
    assert_eq!(judge(|_, _| {}), None);
    type Edit = Box<dyn FnOnce(&mut Value, &mut Value)>;
    let header = |name: &'static str, value: Value| -> Edit {
        Box::new(move |header, _| header[name] = value)
    };
    let claim = |name: &'static str, value: Value| -> Edit {
        Box::new(move |_, claims| claims[name] = value)
    };
    let wrong_type =
        |found: &str| Malformed::WrongType { found: found.to_owned(), expected: &["wit+jwt"] };
    let unknown = |alg: &str| Malformed::UnknownAlgorithm { alg: alg.to_owned() };
    let (now, seconds) = (NOW, NOW.seconds());
    let exp = UnixTime::from_seconds(seconds - 30);
    let nbf = UnixTime::from_seconds(seconds + 31);
    let no_key = |id: &str| Refused::NoKey(NoKey::UnknownKeyId { kid: kid(id) });
    let other = WorkloadId::parse("spiffe://ours.example").unwrap();
    let cases: Vec<(Edit, WitError)> = vec![
        (header("typ", json!("JWT")), wrong_type("JWT").into()),
        (header("typ", json!("wpt+jwt")), wrong_type("wpt+jwt").into()),
        (header("alg", json!("HS256")), unknown("HS256").into()),
        (header("alg", json!("none")), unknown("none").into()),
        (header("crit", json!(["x"])), Malformed::Critical.into()),
        (header("kid", json!("wit-2")), no_key("wit-2").into()),
        (
            header("alg", json!("ES384")),
            Refused::AlgorithmNotAccepted { algorithm: Algorithm::Es384 }.into(),
        ),
        (claim("exp", json!(seconds - 30)), Refused::Expired { exp, now }.into()),
        (claim("nbf", json!(seconds + 31)), Refused::NotYetValid { nbf, now }.into()),
        (claim("sub", json!("spiffe://ours.example")), WitError::NoPath(other)),
    ];
    for (edit, expect) in cases {
        assert_eq!(judge(edit), Some(expect));
    }
    // WIT-SVID §3.6: `iat` limits nothing.
    assert_eq!(judge(claim("iat", json!(seconds + 1000))), None);
    assert_eq!(judge(claim("exp", json!(seconds - 29))), None, "within the leeway");
}

#[test]
fn wimse_creds_5_1_claims_that_are_absent_or_of_another_type() {
    let private = json!({"kty": "EC", "crv": "P-256", "d": "AAAA", "x": "A", "y": "A"});
    let symmetric = json!({"kty": "oct", "k": "AAAA", "alg": "HS256"});
    let mismatch = {
        let mut jwk = p256().public().to_jwk().to_value();
        jwk["alg"] = json!("ES384");
        jwk
    };
    for (name, value) in [
        ("sub", None),
        ("sub", Some(json!("https://ours.example/agent"))),
        ("sub", Some(json!("spiffe://ours.example/agent/"))),
        ("sub", Some(json!("spiffe://ours.example/%61gent"))),
        ("sub", Some(json!(["spiffe://ours.example/agent", "spiffe://ours.example/b"]))),
        ("exp", None),
        ("exp", Some(json!("1745512510"))),
        ("exp", Some(json!(null))),
        ("nbf", Some(json!("0"))),
        ("cnf", None),
        ("cnf", Some(json!({}))),
        ("cnf", Some(json!({"jkt": "x"}))),
        ("cnf", Some(json!({"jwk": private}))),
        ("cnf", Some(json!({"jwk": symmetric}))),
        ("cnf", Some(json!({"jwk": mismatch}))),
        ("aims_epoch", Some(json!("4"))),
        ("aims_attributes", Some(json!([]))),
    ] {
        let judged = judge(|_, claims| {
            let members = claims.as_object_mut().unwrap();
            match &value {
                Some(value) => members.insert(name.to_owned(), value.clone()),
                None => members.remove(name),
            };
        });
        let malformed = matches!(judged, Some(WitError::Malformed(Malformed::Json { .. })));
        assert!(malformed, "{name} {value:?} {judged:?}");
    }
    let absent = Malformed::TypeAbsent { expected: &["wit+jwt"] };
    let judged = judge(|header, _| drop(header.as_object_mut().unwrap().remove("typ")));
    assert_eq!(judged, Some(absent.into()));
}

#[test]
fn wimse_creds_5_1_the_bound_key_says_its_algorithm() {
    let without = |member: &'static str| {
        move |_: &mut Value, claims: &mut Value| {
            drop(claims["cnf"]["jwk"].as_object_mut().unwrap().remove(member));
        }
    };
    assert_eq!(judge(without("alg")), Some(WitError::NoConfirmationAlgorithm));
    let encryption = judge(|_, claims| claims["cnf"]["jwk"]["use"] = json!("enc"));
    assert_eq!(encryption, Some(WitError::ConfirmationKey(JwkError::NotForSignatures)));
    let pair = Pair::new(p256());
    let policy = WitPolicy { confirmation_algorithms: &[Algorithm::Es384], ..POLICY };
    let judged = verify_wit(&pair.wit(), &pair.anchors, policy, NOW).err();
    let refused = WitError::ConfirmationAlgorithm { algorithm: Algorithm::Es256 };
    assert_eq!(judged, Some(refused));
}

/// req: CRED-04 (part)
#[test]
fn wit_svid_2_3_each_rule_beyond_wits() {
    let algorithm = Algorithm::EdDsa;
    let no_kid = judge(|header, _| drop(header.as_object_mut().unwrap().remove("kid")));
    assert_eq!(no_kid, Some(WitSvidError::NoKeyId.into()));
    for aud in [json!("a"), json!([]), json!(null), json!(0)] {
        let judged = judge(|_, claims| claims["aud"] = aud);
        assert_eq!(judged, Some(WitSvidError::Audience.into()));
    }
    let bound = Pair::new(ed25519());
    let judged = verify_wit(&bound.wit(), &bound.anchors, POLICY, NOW).err();
    assert_eq!(judged, Some(WitSvidError::ConfirmationAlgorithm { algorithm }.into()));
    let header = json!({"alg": "EdDSA", "typ": "wit+jwt", "kid": "k"});
    let signed = sign(&header, &Pair::new(p256()).claims(), &ed25519());
    let trusted = anchors("spiffe://ours.example", &[("k", ed25519().public())]);
    let judged = verify_wit(&signed, &trusted, POLICY, NOW).err();
    assert_eq!(judged, Some(WitSvidError::Algorithm { algorithm }.into()));
    // None of these is a rule for other WITs.
    let (issuer, mut claims) = (ed25519(), bound.claims());
    claims["sub"] = json!("wimse://ours.example/agent");
    claims["aud"] = json!("a");
    let token = sign(&json!({"alg": "EdDSA", "typ": "wit+jwt"}), &claims, &issuer);
    let trusted = anchors("wimse://ours.example", &[("k", issuer.public())]);
    assert_eq!(verify_wit(&token, &trusted, POLICY, NOW).err(), None);
    // Without `kid` the choice must be clear.
    let two = [("k", issuer.public()), ("l", issuer.public())];
    let judged = verify_wit(&token, &anchors("wimse://ours.example", &two), POLICY, NOW).err();
    assert_eq!(judged, Some(Refused::NoKey(NoKey::KeyIdRequired).into()));
}

#[test]
fn wimse_creds_9_1_issuers_are_listed_where_policy_uses_them() {
    let pair = Pair::new(p256());
    let policy = WitPolicy { issuers: Some(&["https://issuer.example"]), ..POLICY };
    let judge = |iss: Option<&str>| {
        let mut claims = pair.claims();
        if let Some(iss) = iss {
            claims["iss"] = json!(iss);
        }
        verify_wit(&sign(&pair.header(), &claims, &pair.issuer), &pair.anchors, policy, NOW).err()
    };
    assert_eq!(judge(Some("https://issuer.example")), None);
    for iss in [None, Some("https://issuer.example/"), Some("https://other.example")] {
        let found = iss.map(str::to_owned);
        assert_eq!(judge(iss), Some(WitError::Issuer { found }));
    }
}

#[test]
fn wimse_creds_5_1_1_the_field_is_one_token() {
    let pair = Pair::new(p256());
    let twice = format!("{0}, {0}", pair.wit());
    for text in ["", "Bearer a.b.c", &twice] {
        let judged = verify_wit(text, &pair.anchors, POLICY, NOW).err();
        assert_eq!(judged, Some(HeaderError::Syntax.into()));
    }
    assert!(!format!("{:?}", pair.verified()).contains(&pair.wit()[..20]));
}

proptest! {
    #[test]
    fn wimse_creds_5_1_changed_tokens_are_refused(at in 0_usize..400, with in "[A-Za-z0-9_.-]") {
        let mut text = EXAMPLE_WIT.to_owned();
        let at = at % text.len();
        text.replace_range(at..=at, &with);
        let issuer = PublicKey::from_jwk(&Jwk::parse(EXAMPLE_ISSUER).unwrap()).unwrap();
        let anchors = anchors("wimse://example.com", &[("June 5", &issuer)]);
        let judged = verify_wit(&text, &anchors, POLICY, NOW);
        prop_assert_eq!(judged.is_ok(), text == EXAMPLE_WIT);
    }
}
