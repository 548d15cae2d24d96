//! What anyone may read, and the keys behind it.

use env::{Purpose, World};
use flow::{boot, publish, rotate, web};
use testkit::fixture::{
    Domain, GATEWAY, ISSUER, by_wit, credentials, files_but, registration, story, tool_call,
};
use time::Span;

/// RFC 8414 §2, RFC 9728 §2.
/// req: AUTHZ-22 (part), AUTHZ-23 (part)
#[test]
fn s10_9_the_documents_name_what_there_is() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let server = domain.server.world();
        let metadata = publish::metadata(&*server).await.unwrap();
        let told = serde_json::to_value(&metadata).unwrap();
        assert_eq!(told["issuer"], ISSUER);
        assert_eq!(told["token_endpoint"], format!("{ISSUER}/token"));
        let methods = [
            "spiffe_jwt",
            "spiffe_x509",
            "spiffe_wit",
            "private_key_jwt",
            "self_signed_tls_client_auth",
            "none",
        ];
        assert_eq!(told["token_endpoint_auth_methods_supported"], serde_json::json!(methods));
        let resource = publish::protected_resource(&*server, "reports").await.unwrap().unwrap();
        let resource = serde_json::to_value(&resource).unwrap();
        assert_eq!(resource["resource"], format!("{GATEWAY}/reports"));
        assert_eq!(resource["tls_client_certificate_bound_access_tokens"], true);
        assert!(publish::protected_resource(&*server, "nothing").await.unwrap().is_none());
        let keys = publish::jwks(&*server).await.unwrap();
        // One for access tokens, ID tokens and client assertions each. Of transaction tokens the
        // server's and the gateway's, elsewhere: who reads ID tokens believes no gateway.
        let txn = publish::txn_token_jwks(&*server).await.unwrap();
        assert_eq!((keys.keys().len(), txn.keys().len()), (3, 2));
        assert!(txn.keys().iter().all(|one| keys.keys().iter().all(|key| key.kid() != one.kid())));
        let bundle = publish::bundle(&*server, true).await.unwrap();
        let uses: Vec<_> =
            bundle["keys"].as_array().unwrap().iter().map(|key| key["use"].clone()).collect();
        assert_eq!(uses, ["x509-svid", "jwt-svid", "wit-svid"]);
    });
}

/// Published before first use, kept until the last thing signed is dead (docs/design.md §5).
/// req: CRED-05 (part), PROV-02 (part)
#[test]
fn s8_keys_rotate_without_a_gap() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &["invoices"])).await;
        let web = ["localhost".to_owned()];
        let (mut signers, mut lengths) = (Vec::new(), Vec::new());
        for _ in 0..30 {
            let again = rotate::step(&*domain.server.world(), &web).await.unwrap();
            assert!(again > domain.now() && again <= domain.now().plus(Span::from_seconds(600)));
            for host in [&domain.node, &domain.gateway] {
                domain.renew(host).await.unwrap();
            }
            domain.sync().await;
            let ring = domain.ring(Purpose::AccessToken);
            let signer = ring.signer(domain.now()).unwrap();
            assert!(signer.published <= signer.signs_from);
            signers.push(signer.kid.as_str().to_owned());
            lengths.push(ring.published(domain.now()).count());
            let clerk = domain.party("/opt/clerk").await;
            let (resource, now) = (format!("{GATEWAY}/invoices"), domain.now());
            let asked = credentials(&resource, "invoices.read");
            let token = domain.token(by_wit(&clerk, asked, now)).await;
            let call = tool_call(&clerk, &token, "invoices", "list_invoices", now);
            assert_eq!(domain.refusal_of(call).await, None);
            sim.sleep(Span::from_seconds(3_000)).await;
        }
        signers.dedup();
        assert_eq!(signers.len(), 2, "a new signer in a day: {signers:?}");
        assert!(lengths.contains(&2) && lengths.iter().all(|count| (1..=2).contains(count)));
    });
}

/// req: AUTHN-01 (part)
#[test]
fn s9_1_the_server_has_identities_of_its_own() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let server = domain.server.world();
        let names = ["localhost".to_owned()];
        let own = boot::server_identity(&*server, &names, &[]).await.unwrap();
        let leaf = own.chain[0].parse().unwrap();
        assert_eq!(leaf.uri_names(), ["spiffe://demo.example/aims/server"]);
        assert!(own.renew > domain.now() && own.renew < leaf.not_after());
        let web = web::identity(&*server, &names, &[]).await.unwrap();
        assert_eq!(web.identity.chain[0].parse().unwrap().dns_names(), names);
        let [authority] = web.standing.authorities.as_slice() else { panic!("{web:?}") };
        assert!(authority.parse().unwrap().is_ca());
        assert_eq!(server.component().0, "server");
    });
}

/// `ca.pem` is in browsers and files of others: it changes rarely, with a time in which old and new
/// stand beside each other. What listeners show is short-lived, and never older than that.
/// req: CRED-05 (part)
#[test]
fn s8_the_authority_of_the_listeners_outlives_what_they_show() {
    const DAY: Span = Span::from_seconds(86_400);
    story(|sim| async move {
        // The shortest that is allowed: a month, of which the next one stands there for a week.
        let lifetimes = "trust_domain = \"demo.example\"\n[lifetimes]\nweb_authority = 2592000\n";
        let domain = Domain::start_with(&sim, files_but(&[("domain.toml", lifetimes)])).await;
        let world = domain.server.world();
        let names = ["localhost".to_owned()];
        let mut shown = web::identity(&*world, &names, &[]).await.unwrap();
        let first = shown.standing.authorities.clone();
        let (mut renewed, mut beside, mut last) = (0, 0, first.clone());
        for day in 1..=60 {
            sim.sleep(DAY).await;
            rotate::step(&*world, &names).await.unwrap();
            let standing = web::standing(&*world).await.unwrap();
            let ends = shown.identity.chain[0].parse().unwrap().not_after();
            assert!(ends.since(domain.now()) > DAY, "day {day}: what is shown ends at {ends}");
            if shown.is_due(&standing, domain.now()) {
                shown = web::identity(&*world, &names, &[]).await.unwrap();
                renewed += 1;
            }
            // Who took `ca.pem` yesterday believes what is shown today.
            let issuer = shown.identity.chain[0].parse().unwrap().issuer().clone();
            let believed = |one: &x509::CertificateDer| *one.parse().unwrap().subject() == issuer;
            assert!(last.iter().any(believed), "day {day}");
            beside += usize::from(standing.authorities.len() == 2);
            assert!((1..=2).contains(&standing.authorities.len()), "day {day}");
            last = standing.authorities;
        }
        assert!((12..=20).contains(&renewed), "{renewed} times in 60 days");
        assert!((12..=30).contains(&beside), "two of them on {beside} days");
        assert_ne!(first, last);
    });
}
