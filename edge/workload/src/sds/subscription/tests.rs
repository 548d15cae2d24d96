use std::collections::BTreeMap;

use prost::Message as _;
use spiffe::{SpiffeId, TrustDomain};

use super::*;
use crate::answer::X509Svid;
use crate::sds::wire;
use crate::secret::SecretBytes;

const AGENT: &str = "spiffe://example.org/agent";
const DOMAIN: &str = "spiffe://example.org";
const OTHER: &str = "spiffe://example.com";
const SPIFFE_CONFIG: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

/// The X.509-SVID of turn `svid`, the bundle of turn `bundle`.
fn answer(svid: u8, bundle: u8) -> X509Answer {
    let svid = X509Svid {
        spiffe_id: SpiffeId::parse(AGENT).unwrap(),
        chain: vec![0x30, 1, svid],
        key: SecretBytes::new(vec![7, svid]),
        bundle: vec![0x30, 1, bundle],
        hint: None,
    };
    let federated = (TrustDomain::parse("example.com").unwrap(), vec![0x30, 1, 99]);
    X509Answer { svids: vec![svid], crl: Vec::new(), federated: BTreeMap::from([federated]) }
}

fn request(names: &[&str]) -> DiscoveryRequest {
    let resource_names = names.iter().map(|name| (*name).to_owned()).collect();
    DiscoveryRequest { resource_names, type_url: TYPE_URL.to_owned(), ..Default::default() }
}

/// The request that answers a response: an ACK unless it is changed.
fn ack(response: &DiscoveryResponse, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: response.version_info.clone(),
        response_nonce: response.nonce.clone(),
        ..request(names)
    }
}

fn nack(response: &DiscoveryResponse, version: &str, names: &[&str]) -> DiscoveryRequest {
    let error_detail = Some(wire::Status { code: 13, message: "bad key\nline".to_owned() });
    DiscoveryRequest { version_info: version.to_owned(), error_detail, ..ack(response, names) }
}

fn secrets(response: &DiscoveryResponse) -> Vec<wire::Secret> {
    assert_eq!(response.type_url, TYPE_URL);
    let read = |resource: &prost_types::Any| {
        assert_eq!(resource.type_url, TYPE_URL);
        wire::Secret::decode(resource.value.as_slice()).unwrap()
    };
    response.resources.iter().map(read).collect()
}

fn names(response: &DiscoveryResponse) -> Vec<String> {
    secrets(response).into_iter().map(|secret| secret.name).collect()
}

fn begun(names: &[&str]) -> (Subscription, DiscoveryResponse) {
    let mut stream = Subscription::default();
    assert!(stream.told(answer(1, 50)).unwrap().is_none(), "nothing was asked for yet");
    let response = stream.asked(request(names)).unwrap().unwrap();
    (stream, response)
}

/// req: PROV-08 (part)
#[test]
fn sds_each_name_stands_for_what_spire_has_under_it() {
    let check = |asked: &[&str], expect: &[&str]| {
        let (_, response) = begun(asked);
        assert_eq!(names(&response), expect, "{asked:?}");
    };
    check(&["default"], &["default"]);
    check(&["ROOTCA"], &["ROOTCA"]);
    check(&["ALL"], &["ALL"]);
    check(&[AGENT], &[AGENT]);
    check(&[OTHER], &[OTHER]);
    check(&["default", DOMAIN, "", "default"], &["default", DOMAIN]);
    check(&["default", "ROOTCA", "ALL"], &["ALL", "ROOTCA", "default"]);
    check(&[], &[OTHER, DOMAIN, AGENT]);
    check(&[""], &[OTHER, DOMAIN, AGENT]);
}

/// req: PROV-08 (part)
#[test]
fn sds_a_certificate_comes_with_its_key_and_trust_with_the_spiffe_validator() {
    let (_, response) = begun(&["default", "ROOTCA", "ALL"]);
    let [all, roots, own] = secrets(&response).try_into().unwrap();
    let own = own.tls_certificate.unwrap();
    let text = |source: &Option<wire::DataSource>| {
        String::from_utf8(source.as_ref().unwrap().inline_bytes.clone()).unwrap()
    };
    assert!(text(&own.certificate_chain).contains("CERTIFICATE-----\nMAEB\n"));
    assert!(text(&own.private_key).contains("PRIVATE KEY-----\nBwE=\n"));
    let domains = |secret: wire::Secret| {
        let context = secret.validation_context.unwrap();
        assert!(context.trusted_ca.is_none());
        let config = context.custom_validator_config.unwrap();
        assert_eq!(config.name, "envoy.tls.cert_validator.spiffe");
        let any = config.typed_config.unwrap();
        assert_eq!(any.type_url, SPIFFE_CONFIG);
        let config = wire::SpiffeCertValidatorConfig::decode(any.value.as_slice()).unwrap();
        let named = config.trust_domains.iter();
        named.map(|domain| (domain.name.clone(), text(&domain.trust_bundle))).collect::<Vec<_>>()
    };
    let pem =
        |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    let (own, other) = (("example.org", pem("MAEy")), ("example.com", pem("MAFj")));
    let expect = |pairs: &[&(&str, String)]| {
        pairs.iter().map(|(name, pem)| ((*name).to_owned(), pem.clone())).collect::<Vec<_>>()
    };
    assert_eq!(domains(roots), expect(&[&own]));
    assert_eq!(domains(all), expect(&[&other, &own]));
}

#[test]
fn sds_an_envoy_without_the_spiffe_validator_gets_ca_certificates() {
    use prost_types::value::Kind;
    let node = |version: Option<(u32, u32)>, plain: Option<Kind>| {
        let version = version.map(|(major_number, minor_number)| wire::SemanticVersion {
            major_number,
            minor_number,
        });
        let build = version.map(|version| wire::BuildVersion { version: Some(version) });
        let fields = plain.map(|kind| {
            let value = prost_types::Value { kind: Some(kind) };
            ("disable_spiffe_cert_validation".to_owned(), value)
        });
        let metadata = prost_types::Struct { fields: fields.into_iter().collect() };
        wire::Node { metadata: Some(metadata), user_agent_build_version: build }
    };
    let check = |node: wire::Node, is_plain: bool| {
        let mut stream = Subscription::default();
        stream.told(answer(1, 50)).unwrap();
        let asked = DiscoveryRequest { node: Some(node.clone()), ..request(&["ROOTCA"]) };
        let response = stream.asked(asked).unwrap().unwrap();
        let context = secrets(&response).remove(0).validation_context.unwrap();
        assert_eq!(context.trusted_ca.is_some(), is_plain);
        assert_eq!(context.custom_validator_config.is_none(), is_plain);
        // What was said of the client counts for the rest of the stream.
        let response = stream.told(answer(1, 51)).unwrap().unwrap();
        let context = secrets(&response).remove(0).validation_context.unwrap();
        assert_eq!(context.trusted_ca.is_some(), is_plain);
        let asked = DiscoveryRequest { node: Some(node), ..request(&["ALL"]) };
        let refused = once(&asked, &answer(1, 50)).err();
        assert_eq!(refused, is_plain.then_some(Wrong::Refused(Refused::NeedsValidator)));
    };
    let text = |text: &str| Some(Kind::StringValue(text.to_owned()));
    check(node(None, None), false);
    check(node(Some((1, 18)), None), false);
    check(node(Some((2, 0)), None), false);
    check(node(Some((1, 17)), None), true);
    check(node(Some((1, 40)), Some(Kind::BoolValue(true))), true);
    check(node(Some((1, 40)), text("true")), true);
    check(node(Some((1, 40)), text("no")), false);
    check(node(Some((1, 17)), Some(Kind::BoolValue(false))), true);
}

/// req: PROV-08 (part)
#[test]
fn xds_a_rotation_is_sent_with_a_new_version_and_nonce() {
    let (mut stream, first) = begun(&["default"]);
    assert!(stream.asked(ack(&first, &["default"])).unwrap().is_none(), "an ACK ends the exchange");
    let second = stream.told(answer(2, 50)).unwrap().unwrap();
    assert_ne!(second.version_info, first.version_info);
    assert_ne!(second.nonce, first.nonce);
    assert_ne!(second.resources[0].value, first.resources[0].value);
    assert!(stream.asked(ack(&second, &["default"])).unwrap().is_none());
}

#[test]
fn xds_what_was_not_asked_for_is_not_sent() {
    let (mut stream, first) = begun(&["ROOTCA"]);
    stream.asked(ack(&first, &["ROOTCA"])).unwrap();
    assert!(stream.told(answer(2, 50)).unwrap().is_none(), "another certificate, the same bundle");
    let second = stream.told(answer(2, 51)).unwrap().unwrap();
    assert_eq!(names(&second), ["ROOTCA"]);
}

#[test]
fn xds_the_first_request_waits_for_an_identity() {
    let mut stream = Subscription::default();
    assert!(stream.asked(request(&["default"])).unwrap().is_none());
    assert_eq!(names(&stream.told(answer(1, 50)).unwrap().unwrap()), ["default"]);
}

/// req: PROV-08 (part)
#[test]
fn xds_a_nack_is_not_answered_by_the_same_again() {
    let (mut stream, first) = begun(&["default"]);
    stream.asked(ack(&first, &["default"])).unwrap();
    let second = stream.told(answer(2, 50)).unwrap().unwrap();
    let rejected = nack(&second, &first.version_info, &["default"]);
    assert!(stream.asked(rejected.clone()).unwrap().is_none());
    assert!(stream.asked(rejected.clone()).unwrap().is_none());
    assert!(stream.told(answer(2, 50)).unwrap().is_none(), "it would be rejected again");
    let third = stream.told(answer(3, 50)).unwrap().unwrap();
    assert!(![&first.version_info, &second.version_info].contains(&&third.version_info));
    // A rejection of the first response of all, without a version to stay with.
    let (mut stream, first) = begun(&["default"]);
    assert!(stream.asked(nack(&first, "", &["default"])).unwrap().is_none());
    // It may ask for something else in the same breath.
    let more = stream.asked(nack(&first, "", &["default", "ROOTCA"])).unwrap().unwrap();
    assert_eq!(names(&more), ["ROOTCA", "default"]);
}

#[test]
fn xds_a_stale_request_is_ignored() {
    let (mut stream, first) = begun(&["default"]);
    let second = stream.told(answer(2, 50)).unwrap().unwrap();
    assert!(stream.asked(ack(&first, &["ROOTCA"])).unwrap().is_none());
    assert!(stream.asked(request(&["ROOTCA"])).unwrap().is_none(), "without a nonce");
    let third = stream.told(answer(3, 50)).unwrap().unwrap();
    assert_eq!(names(&third), ["default"], "the names are those of before");
    assert_ne!(third.nonce, second.nonce);
}

#[test]
fn xds_other_names_are_answered_and_fewer_are_not() {
    let (mut stream, first) = begun(&["default"]);
    let second = stream.asked(ack(&first, &["default", "ROOTCA"])).unwrap().unwrap();
    assert_eq!(names(&second), ["ROOTCA", "default"]);
    assert!(stream.asked(ack(&second, &["ROOTCA"])).unwrap().is_none());
    assert!(stream.told(answer(2, 50)).unwrap().is_none(), "it has unsubscribed from the SVID");
    let third = stream.asked(ack(&second, &["default"])).unwrap().unwrap();
    assert!(secrets(&third)[0].tls_certificate.is_some());
    let all = stream.asked(ack(&third, &[])).unwrap().unwrap();
    assert_eq!(names(&all), [OTHER, DOMAIN, AGENT]);
    assert!(stream.asked(ack(&all, &["default"])).unwrap().is_none(), "it has that");
    // A client that comes back says which version it has, and has it confirmed.
    let mut again = Subscription::default();
    again.told(answer(2, 50)).unwrap();
    let back = DiscoveryRequest { version_info: "7".to_owned(), ..request(&["default"]) };
    assert!(again.asked(back).unwrap().is_some());
}

#[test]
fn sds_what_is_not_its_own_is_refused_each_for_its_reason() {
    let check = |asked: DiscoveryRequest, expect: Wrong| {
        let mut stream = Subscription::default();
        stream.told(answer(1, 50)).unwrap();
        assert_eq!(stream.asked(asked.clone()).err(), Some(expect.clone()));
        assert_eq!(once(&asked, &answer(1, 50)).err(), Some(expect));
    };
    let unknown = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Wrong::Refused(Refused::NotItsOwn(names))
    };
    let stranger = "spiffe://example.org/other";
    check(request(&[stranger]), unknown(&[stranger]));
    check(request(&["default", "x", "spiffe://a.example"]), unknown(&["spiffe://a.example", "x"]));
    check(DiscoveryRequest { type_url: "other".to_owned(), ..request(&[]) }, Wrong::Type);
    let many = vec!["default"; NAMES_MAX + 1];
    check(request(&many), Wrong::ManyNames { names: NAMES_MAX + 1 });
    check(request(&["x".repeat(NAME_BYTES_MAX + 1).as_str()]), Wrong::LongName);
    assert!(begun(&many[1..]).1.resources.len() == 1);
}

#[test]
fn sds_a_trust_domain_that_is_gone_ends_the_stream() {
    let (mut stream, first) = begun(&[OTHER]);
    stream.asked(ack(&first, &[OTHER])).unwrap();
    let gone = X509Answer { federated: BTreeMap::new(), ..answer(1, 50) };
    let expect = Wrong::Refused(Refused::NotItsOwn(vec![OTHER.to_owned()]));
    assert_eq!(stream.told(gone).err(), Some(expect));
}

#[test]
fn sds_a_trust_domain_without_authorities_spoils_nothing() {
    let mut stream = Subscription::default();
    let mut answer = answer(1, 50);
    answer.federated.insert(TrustDomain::parse("empty.example").unwrap(), Vec::new());
    stream.told(answer).unwrap();
    let response = stream.asked(request(&[])).unwrap().unwrap();
    assert_eq!(names(&response), [OTHER, DOMAIN, AGENT]);
}

#[test]
fn sds_what_is_malformed_here_is_not_the_clients_fault() {
    let (mut stream, _) = begun(&["default"]);
    let mut malformed = answer(1, 50);
    malformed.svids[0].chain = vec![1];
    assert!(stream.told(malformed).unwrap_err().is_ours());
    assert!(!Wrong::Type.is_ours());
}

#[test]
fn no_response_shows_a_key() {
    let (_, response) = begun(&["default"]);
    let secret = secrets(&response).remove(0);
    let shown = format!("{response:?} {secret:?}");
    assert!(shown.contains("default") && !shown.contains("PRIVATE"), "{shown}");
    // Nor as the numbers of the bytes of "-----BEGIN".
    assert!(!shown.contains("45, 45"), "{shown}");
}
