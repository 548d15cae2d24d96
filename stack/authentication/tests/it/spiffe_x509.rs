//! oauth-spiffe-client-auth §3.2: the X.509-SVID of the channel.

use authentication::spiffe_x509::{Refusal, authenticate, channel};
use authentication::{Caller, Method, Who};
use oauth::ClientId;
use provisioning::Epoch;
use spiffe::SvidError;
use time::UnixTime;
use wimse::{Origin, WicError, WorkloadId};
use x509::{ChainError, Purpose};

use crate::parties::{
    AGENT, HOUR, NOW, SECOND, agent_id, authority, bundles, client, stranger, svid, workload,
};

fn present(
    chain: &[Vec<u8>],
    client_id: Option<&ClientId>,
    now: UnixTime,
) -> Result<Caller, Refusal> {
    authenticate(chain, client_id, &bundles(), now)
}

/// req: AUTHN-01 (part), AUTHN-13 (part), AUTHZ-23 (part)
#[test]
fn s9_1_a_channel_authenticates_the_workload_of_its_certificate() {
    let chain = svid(AGENT, &authority());
    let caller = present(&chain, Some(&client(AGENT)), NOW).unwrap();
    assert_eq!(caller.who(), &Who::Workload(agent_id()));
    assert_eq!((caller.client_id(), caller.method()), (AGENT, Method::SpiffeX509));
    assert_eq!((caller.issued(), caller.expires()), (Some(Epoch(7)), NOW.plus(HOUR)));
    assert_eq!(caller.key(), Some(&workload().public().thumbprint()));
    assert_eq!(caller.transport(), Some(&agent_id()));
    for purpose in [Purpose::Client, Purpose::Server] {
        let svid = channel(&chain, &bundles(), purpose, NOW).unwrap();
        assert_eq!(svid.workload_id(), &agent_id());
    }
}

/// The identity of the channel and that of the caller are two things.
/// req: AUTHN-13 (part)
#[test]
fn s9_2_the_transport_is_recorded_apart_from_the_caller() {
    let caller = present(&svid(AGENT, &authority()), Some(&client(AGENT)), NOW).unwrap();
    let proxy = wimse::WorkloadId::parse("spiffe://demo.example/service/proxy").unwrap();
    let relayed = caller.on_channel_of(Some(proxy.clone()));
    assert_eq!((relayed.client_id(), relayed.transport()), (AGENT, Some(&proxy)));
}

/// req: AUTHN-01 (part), CRED-05 (part)
#[test]
fn s9_1_a_channel_that_proves_nothing_is_refused() {
    let chain = svid(AGENT, &authority());
    let check = |chain: &[Vec<u8>], now, expect: Refusal| {
        assert_eq!(present(chain, Some(&client(AGENT)), now).err(), Some(expect));
    };
    assert_eq!(present(&chain, None, NOW).err(), Some(Refusal::NoClientId));
    let (client_id, id) = ("spiffe://demo.example/agent/b".to_owned(), agent_id());
    let refused = present(&chain, Some(&client(&client_id)), NOW).err();
    assert_eq!(refused, Some(Refusal::OtherClient { client_id, id }));
    check(&[], NOW, Refusal::Certificate(SvidError::NoCertificate.into()));
    check(&[b"noise".to_vec()], NOW, Refusal::Malformed(x509::Malformed::Encoding));
    let late = NOW.plus(HOUR).plus(SECOND);
    let expired = ChainError::Expired { not_after: NOW.plus(HOUR), now: late };
    check(&chain, late, Refusal::Certificate(SvidError::Chain(expired).into()));
    // The authority of `other.example`, which we know, signs for `demo.example`.
    let forged = svid(AGENT, &stranger());
    let bad = SvidError::Chain(ChainError::BadSignature);
    check(&forged, NOW, Refusal::Certificate(bad.into()));
    let foreign = svid("spiffe://unknown.example/agent/a", &authority());
    let unknown = spiffe::TrustDomain::parse("unknown.example").unwrap();
    check(&foreign, NOW, Refusal::Certificate(SvidError::UnknownTrustDomain(unknown).into()));
    // A leaf of ours that names a workload of the other domain is checked with that domain's roots.
    let crossed = svid("spiffe://other.example/agent/a", &authority());
    let issuer = SvidError::Chain(ChainError::UnknownIssuer);
    check(&crossed, NOW, Refusal::Certificate(issuer.into()));
}

/// Certificates of the scheme `wimse` are verified by the anchors of their origin, scheme and
/// authority together: the counterexamples to binding an issuer to its origin.
/// req: AUTHN-01 (part), CRED-02 (part)
#[test]
fn wimse_mutual_tls_3_2_a_channel_is_judged_by_the_anchors_of_its_own_origin() {
    let id = "wimse://demo.example/agent/a";
    let caller = present(&svid(id, &stranger()), Some(&client(id)), NOW).unwrap();
    assert_eq!((caller.client_id(), caller.who().to_string()), (id, id.to_owned()));
    let check = |id: &str, signer, expect: WicError| {
        let refused = present(&svid(id, signer), Some(&client(id)), NOW).err();
        assert_eq!(refused, Some(Refusal::Certificate(expect)), "{id}");
    };
    let bad = ChainError::BadSignature;
    // The same authority, another scheme; and the other way about.
    let (ours, theirs) = (authority(), stranger());
    check(id, &ours, bad.clone().into());
    check(AGENT, &theirs, SvidError::Chain(bad).into());
    // The same scheme, another authority.
    let other = Origin::parse("wimse://other.example").unwrap();
    check("wimse://other.example/agent/a", &theirs, WicError::UnknownOrigin(other));
    // Who proved the one is not the other of the same name.
    let (client_id, shown) = (AGENT.to_owned(), WorkloadId::parse(id).unwrap());
    let refused = present(&svid(id, &stranger()), Some(&client(AGENT)), NOW).err();
    assert_eq!(refused, Some(Refusal::OtherClient { client_id, id: shown }));
}
