//! Our signing keys by order: handed over, mistrusted, gone.

use credential::{KeyRing, Purpose};
use env::rows::{Taints, TrustRow};
use env::{Handle, Keys, World};
use flow::authorities::{Act, Refusal, act, is_mistrusted, rotate};
use flow::workload::{wit, x509};
use jose::KeyId;
use monitoring::{Event, Outcome};
use testkit::boxed;
use testkit::fixture::{Domain, by_wit, credentials, process, registration, story};
use time::Span;

const CLERK: &str = "spiffe://demo.example/agent/clerk";

async fn rotated(domain: &Domain, purpose: Purpose, lead: u64) -> KeyRing {
    let (server, operator) = (domain.server.world(), domain.operator());
    let lead = Some(Span::from_seconds(lead));
    let end = rotate(&*server, &operator, purpose, lead, "a story".to_owned()).await.unwrap();
    let record = domain.server.journal().find(end.audit_id().unwrap()).unwrap();
    assert_eq!((record.event, record.action.as_str()), (Event::KeyRotated, "authority.rotate"));
    assert_eq!(record.operator.as_deref(), Some("uid:1000"));
    domain.sync().await;
    end.into_value().unwrap()
}

async fn acted(domain: &Domain, kid: &KeyId, what: Act) -> Result<KeyRing, Refusal> {
    let (server, operator) = (domain.server.world(), domain.operator());
    let end = act(&*server, &operator, kid, what, "a story".to_owned()).await.unwrap();
    let record = domain.server.journal().find(end.audit_id().unwrap()).unwrap();
    let refusal = end.value().as_ref().err();
    assert_eq!(record.outcome == Outcome::Refused, refusal.is_some());
    assert_eq!(record.why.map(|why| why.check), refusal.map(|why| why.check().to_owned()));
    domain.sync().await;
    end.into_value()
}

fn signer(domain: &Domain, purpose: Purpose) -> KeyId {
    domain.ring(purpose).signer(domain.now()).unwrap().kid.clone()
}

/// Every agent moves from a mistrusted key to the next one, and none is without a credential that
/// verifies at any moment.
///
/// req: PROV-02 (part), CRED-11 (part), PROV-06 (part)
#[test]
fn s8_agents_move_from_a_tainted_key_before_it_goes() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let node = domain.node.world();
        let attested = domain.attest(process("/opt/clerk"), true).await.unwrap().into_value();
        let attested = attested.unwrap();
        let first = x509(&*node, &attested).await.unwrap().unwrap().chain;
        let old = domain.party("/opt/clerk").await;
        let asks = |party| by_wit(party, credentials(CLERK, ""), domain.now());
        for purpose in [Purpose::X509Authority, Purpose::Wit] {
            let mistrusted = signer(&domain, purpose);
            rotated(&domain, purpose, 5).await;
            let early = acted(&domain, &mistrusted, Act::Taint { urgent: false }).await;
            assert_eq!(early.unwrap_err().check(), "authority::NoOther", "it does not sign yet");
            let early = acted(&domain, &mistrusted, Act::Revoke).await;
            assert_eq!(early.unwrap_err().check(), "authority::NotTainted");
            sim.sleep(Span::from_seconds(6)).await;
            acted(&domain, &mistrusted, Act::Taint { urgent: false }).await.unwrap();
            assert_ne!(signer(&domain, purpose), mistrusted);
        }
        // What was issued verifies on, and the node replaces it at once.
        domain.token(asks(&old)).await;
        let next = x509(&*node, &attested).await.unwrap().unwrap().chain;
        assert_ne!(first, next);
        let moved = wit(&*node, &attested).await.unwrap().unwrap();
        assert_ne!(moved.token.expose(), old.wit.expose());
        let new = domain.party("/opt/clerk").await;
        domain.token(asks(&new)).await;
        assert_eq!(new.wit.expose(), moved.token.expose(), "once is enough");
        let tainted = domain.server.world().store().single::<Taints>(Taints::ID).unwrap();
        assert_eq!(tainted.keys.len(), 2);
        // As do the components themselves.
        for host in [&domain.node, &domain.gateway] {
            let shown = host.link().shown().0;
            assert!(is_mistrusted(&*host.world(), &shown).await);
            domain.renew(host).await.unwrap();
            let shown = host.link().shown().0;
            assert!(!is_mistrusted(&*host.world(), &shown).await);
        }
        // Then they go: what they signed is dead, and all have what the new ones signed.
        for purpose in [Purpose::X509Authority, Purpose::Wit] {
            let ring = domain.ring(purpose);
            let gone = ring.keys.iter().find(|key| key.tainted.is_some()).unwrap().kid.clone();
            acted(&domain, &gone, Act::Revoke).await.unwrap();
            assert!(domain.ring(purpose).keys.iter().all(|key| key.kid != gone));
        }
        domain.ask(asks(&old)).await.unwrap_err();
        domain.token(asks(&new)).await;
        // A node that was away all the time still learns what it has to replace.
        let tainted = domain.server.world().store().single::<Taints>(Taints::ID).unwrap();
        assert_eq!(tainted.keys.len(), 2);
    });
}

/// A key that leaked signs no longer from this moment, ready or not.
#[test]
fn s8_in_an_emergency_the_next_key_is_made_at_once() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        domain.register(registration("clerk", &[])).await;
        let clerk = domain.party("/opt/clerk").await;
        let leaked = signer(&domain, Purpose::AccessToken);
        acted(&domain, &leaked, Act::Taint { urgent: true }).await.unwrap();
        assert_ne!(signer(&domain, Purpose::AccessToken), leaked);
        domain.token(by_wit(&clerk, credentials(CLERK, ""), domain.now())).await;
        let again = acted(&domain, &leaked, Act::Taint { urgent: true }).await;
        assert_eq!(again.unwrap_err().check(), "authority::Tainted");
        let handle = Handle { purpose: Purpose::AccessToken, id: leaked.as_str().to_owned() };
        let keys = domain.server.world().keys().clone();
        keys.sign(&handle, b"still").await.unwrap();
        acted(&domain, &leaked, Act::Revoke).await.unwrap();
        keys.sign(&handle, b"no longer").await.unwrap_err();
        let unknown = acted(&domain, &leaked, Act::Revoke).await;
        assert_eq!(unknown.unwrap_err().check(), "authority::Unknown");
        let (server, operator) = (domain.server.world(), domain.operator());
        let far = Some(Span::from_seconds(86_400));
        let far = rotate(&*server, &operator, Purpose::Wit, far, "far".to_owned()).await.unwrap();
        assert_eq!(far.into_value().unwrap_err().check(), "authority::TooFar");
    });
}

/// The authority of the listeners lives for years: one that leaked leaves `ca.pem` by an order, and
/// what it vouched for is shown no longer.
/// req: PROV-06 (part)
#[test]
fn s8_a_leaked_authority_of_the_listeners_goes_from_what_is_believed() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let (server, operator) = (domain.server.world(), domain.operator());
        let purpose = Purpose::WebAuthority;
        let shown = flow::web::identity(&*server, &["localhost".to_owned()], &[]).await.unwrap();
        let leaked = signer(&domain, purpose);
        let alone = acted(&domain, &leaked, Act::Taint { urgent: false }).await;
        assert_eq!(alone.unwrap_err().check(), "authority::NoOther");
        let (lead, why) = (Some(Span::from_seconds(1)), "leaked".to_owned());
        let made = rotate(&*server, &operator, purpose, lead, why).await.unwrap();
        made.into_value().unwrap();
        sim.sleep(Span::from_seconds(2)).await;
        assert_eq!(flow::web::standing(&*server).await.unwrap().authorities.len(), 2);
        acted(&domain, &leaked, Act::Taint { urgent: false }).await.unwrap();
        acted(&domain, &leaked, Act::Revoke).await.unwrap();
        let standing = flow::web::standing(&*server).await.unwrap();
        assert_eq!(standing.authorities.len(), 1);
        assert_ne!(standing.authorities, shown.standing.authorities);
        assert!(shown.is_due(&standing, domain.now()));
    });
}

/// A key device that fails costs the order nothing, and no private half is left when it works again.
/// req: PROV-06 (part), CRED-08 (part)
#[test]
fn s8_what_a_key_device_keeps_for_now_is_destroyed_later() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let (world, purpose) = (domain.server.world(), Purpose::Wit);
        let leaked = signer(&domain, purpose);
        let handle = Handle { purpose, id: leaked.as_str().to_owned() };
        acted(&domain, &leaked, Act::Taint { urgent: true }).await.unwrap();
        world.keys().set_stuck(true);
        // Done, recorded, and published: nobody believes the key any longer.
        acted(&domain, &leaked, Act::Revoke).await.unwrap();
        let trust = world.store().single::<TrustRow>(TrustRow::ID).unwrap();
        let bundle = trust.bundles.get(&trust.own).unwrap();
        assert!(!bundle.to_wit_key_set().to_string().contains(leaked.as_str()));
        assert!(world.keys().handles().contains(&handle), "the device keeps it");
        flow::rotate::forget(&*world).await.unwrap_err();
        // Neither a restart nor a second failure loses it.
        domain.restart_server().await.unwrap();
        let world = domain.server.world();
        flow::rotate::forget(&*world).await.unwrap_err();
        world.keys().set_stuck(false);
        flow::rotate::forget(&*world).await.unwrap();
        assert!(!world.keys().handles().contains(&handle));
        flow::rotate::forget(&*world).await.unwrap();
        assert!(world.store().single::<env::rows::Discarded>(env::rows::Discarded::ID).is_none());
    });
}

/// The server learns by the news itself that its own certificate is signed by a mistrusted key.
#[test]
fn s8_a_mistrusted_signer_is_heard_of_at_once() {
    story(|sim| async move {
        let domain = Domain::start(&sim).await;
        let world = domain.server.world();
        let own = flow::boot::server_identity(&*world, &[], &[]).await.unwrap();
        let chain: Vec<_> = own.chain.iter().map(|one| one.as_bytes().to_vec()).collect();
        let heard = std::sync::Mutex::new(None);
        let waiting = async {
            flow::authorities::until_mistrusted(&*world, &chain).await;
            *heard.lock().unwrap() = Some(domain.now());
        };
        let tainting = async {
            sim.sleep(Span::from_seconds(600)).await;
            // Another key, and things that are no news for it.
            let other = signer(&domain, Purpose::Wit);
            acted(&domain, &other, Act::Taint { urgent: true }).await.unwrap();
            sim.sleep(Span::from_seconds(100)).await;
            assert_eq!(*heard.lock().unwrap(), None);
            let signer = signer(&domain, Purpose::X509Authority);
            acted(&domain, &signer, Act::Taint { urgent: true }).await.unwrap();
        };
        sim.all(vec![boxed(waiting), boxed(tainting)]).await;
        let tainted = domain.now().since(heard.lock().unwrap().unwrap());
        assert!(tainted <= Span::from_seconds(1), "{tainted:?}");
    });
}
