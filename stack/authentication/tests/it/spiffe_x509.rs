//! oauth-spiffe-client-auth §3.2: the X.509-SVID of the channel.

use authentication::spiffe_x509::{Refusal, authenticate, channel};
use authentication::{Caller, Method, Who};
use oauth::ClientId;
use provisioning::Epoch;
use spiffe::SvidError;
use time::UnixTime;
use x509::{ChainError, Purpose};

use crate::parties::{
    AGENT, HOUR, NOW, SECOND, agent, agent_id, authority, bundles, client, stranger, svid, workload,
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
        assert_eq!(svid.spiffe_id(), &agent());
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
    check(&[], NOW, Refusal::Svid(SvidError::NoCertificate));
    check(&[b"noise".to_vec()], NOW, Refusal::Malformed(x509::Malformed::Encoding));
    let late = NOW.plus(HOUR).plus(SECOND);
    let expired = ChainError::Expired { not_after: NOW.plus(HOUR), now: late };
    check(&chain, late, Refusal::Svid(SvidError::Chain(expired)));
    // The authority of `other.example`, which we know, signs for `demo.example`.
    let forged = svid(AGENT, &stranger());
    check(&forged, NOW, Refusal::Svid(SvidError::Chain(ChainError::BadSignature)));
    let foreign = svid("spiffe://unknown.example/agent/a", &authority());
    let unknown = spiffe::TrustDomain::parse("unknown.example").unwrap();
    check(&foreign, NOW, Refusal::Svid(SvidError::UnknownTrustDomain(unknown)));
    // A leaf of ours that names a workload of the other domain is checked with that domain's roots.
    let crossed = svid("spiffe://other.example/agent/a", &authority());
    check(&crossed, NOW, Refusal::Svid(SvidError::Chain(ChainError::UnknownIssuer)));
}
