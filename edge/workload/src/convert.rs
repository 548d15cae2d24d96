//! Answers to messages and back. What is mandatory is checked in both directions.

use std::collections::BTreeMap;
use std::mem::take;

use prost_types::value::Kind;
use serde_json::{Map, Number, Value};
use spiffe::{SpiffeId, TrustDomain};

use crate::answer::{
    Bundles, JwtAnswer, Validated, WitAnswer, WitSvid, X509Answer, X509Bundles, X509Svid,
    first_of_each_hint, make_hints_unique,
};
use crate::secret::{SecretBytes, SecretText};
use crate::wire;

/// A mandatory field is empty, or is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message lacks a usable `{0}`")]
pub(crate) struct Lacks(pub(crate) &'static str);

/// Largest integer that a double, which is all that `Struct` has, tells from its neighbours.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// An answer and its message.
pub(crate) trait Message: Sized {
    type Wire;

    fn into_wire(self) -> Result<Self::Wire, Lacks>;
    fn from_wire(wire: Self::Wire) -> Result<Self, Lacks>;
}

impl Message for X509Answer {
    type Wire = wire::X509svidResponse;

    fn into_wire(mut self) -> Result<Self::Wire, Lacks> {
        make_hints_unique(&mut self.svids);
        let svids = filled("svids", self.svids)?.into_iter().map(X509Svid::into_wire);
        let svids = svids.collect::<Result<_, _>>()?;
        Ok(Self::Wire { svids, crl: self.crl, federated_bundles: by_id(self.federated) })
    }

    fn from_wire(wire: Self::Wire) -> Result<Self, Lacks> {
        let svids = filled("svids", wire.svids)?.into_iter().map(X509Svid::from_wire);
        let mut svids = svids.collect::<Result<_, _>>()?;
        first_of_each_hint(&mut svids);
        let federated = by_domain("federated_bundles", wire.federated_bundles)?;
        Ok(Self { svids, crl: wire.crl, federated })
    }
}

impl Message for X509Svid {
    type Wire = wire::X509svid;

    fn into_wire(self) -> Result<Self::Wire, Lacks> {
        Ok(Self::Wire {
            spiffe_id: self.spiffe_id.to_string(),
            x509_svid: filled("x509_svid", self.chain)?,
            x509_svid_key: filled("x509_svid_key", self.key.expose().to_vec())?,
            bundle: filled("bundle", self.bundle)?,
            hint: self.hint.unwrap_or_default(),
        })
    }

    fn from_wire(mut wire: Self::Wire) -> Result<Self, Lacks> {
        Ok(Self {
            spiffe_id: id(&wire.spiffe_id)?,
            chain: filled("x509_svid", take(&mut wire.x509_svid))?,
            key: SecretBytes::new(filled("x509_svid_key", take(&mut wire.x509_svid_key))?),
            bundle: filled("bundle", take(&mut wire.bundle))?,
            hint: hint(take(&mut wire.hint)),
        })
    }
}

impl Message for X509Bundles {
    type Wire = wire::X509BundlesResponse;

    fn into_wire(self) -> Result<Self::Wire, Lacks> {
        Ok(Self::Wire { crl: self.crl, bundles: by_id(filled("bundles", self.bundles)?) })
    }

    fn from_wire(wire: Self::Wire) -> Result<Self, Lacks> {
        let bundles = by_domain("bundles", filled("bundles", wire.bundles)?)?;
        Ok(Self { crl: wire.crl, bundles })
    }
}

impl Message for Vec<JwtAnswer> {
    type Wire = wire::JwtsvidResponse;

    fn into_wire(mut self) -> Result<Self::Wire, Lacks> {
        make_hints_unique(&mut self);
        let svid = |svid: JwtAnswer| {
            Ok(wire::Jwtsvid {
                spiffe_id: svid.spiffe_id.to_string(),
                svid: filled("svid", svid.token.expose().to_owned())?,
                hint: svid.hint.unwrap_or_default(),
            })
        };
        let svids = filled("svids", self)?.into_iter().map(svid);
        Ok(Self::Wire { svids: svids.collect::<Result<_, _>>()? })
    }

    fn from_wire(wire: Self::Wire) -> Result<Self, Lacks> {
        let svid = |mut svid: wire::Jwtsvid| {
            Ok(JwtAnswer {
                spiffe_id: id(&svid.spiffe_id)?,
                token: SecretText::new(filled("svid", take(&mut svid.svid))?),
                hint: hint(take(&mut svid.hint)),
            })
        };
        let svids = filled("svids", wire.svids)?;
        let mut svids = svids.into_iter().map(svid).collect::<Result<_, _>>()?;
        first_of_each_hint(&mut svids);
        Ok(svids)
    }
}

/// The JWK Sets of JWT keys, which are bytes.
pub(crate) fn jwt_bundles_into_wire(bundles: Bundles) -> Result<wire::JwtBundlesResponse, Lacks> {
    let bundles = by_id(filled("bundles", bundles)?).into_iter();
    Ok(wire::JwtBundlesResponse {
        bundles: bundles.map(|(id, set)| (id, set.into_bytes())).collect(),
    })
}

pub(crate) fn jwt_bundles_from_wire(wire: wire::JwtBundlesResponse) -> Result<Bundles, Lacks> {
    let set = |(domain, set)| Ok((domain, String::from_utf8(set).map_err(|_| Lacks("bundles"))?));
    by_domain("bundles", filled("bundles", wire.bundles)?)?.into_iter().map(set).collect()
}

/// The JWK Sets of WIT keys, which are text.
pub(crate) fn wit_bundles_into_wire(bundles: Bundles) -> Result<wire::WitBundlesResponse, Lacks> {
    Ok(wire::WitBundlesResponse { bundles: by_id(filled("bundles", bundles)?) })
}

pub(crate) fn wit_bundles_from_wire(wire: wire::WitBundlesResponse) -> Result<Bundles, Lacks> {
    by_domain("bundles", filled("bundles", wire.bundles)?)
}

impl Message for WitAnswer {
    type Wire = wire::WitsvidResponse;

    fn into_wire(mut self) -> Result<Self::Wire, Lacks> {
        make_hints_unique(&mut self.svids);
        let svid = |svid: WitSvid| {
            Ok(wire::Witsvid {
                spiffe_id: svid.spiffe_id.to_string(),
                wit_svid: filled("wit_svid", svid.token.expose().to_owned())?,
                wit_svid_key: filled("wit_svid_key", svid.key.expose().to_owned())?,
                hint: svid.hint.unwrap_or_default(),
            })
        };
        let svids = filled("svids", self.svids)?.into_iter().map(svid);
        Ok(Self::Wire { svids: svids.collect::<Result<_, _>>()? })
    }

    fn from_wire(wire: Self::Wire) -> Result<Self, Lacks> {
        let svid = |mut svid: wire::Witsvid| {
            Ok(WitSvid {
                spiffe_id: id(&svid.spiffe_id)?,
                token: SecretText::new(filled("wit_svid", take(&mut svid.wit_svid))?),
                key: SecretText::new(filled("wit_svid_key", take(&mut svid.wit_svid_key))?),
                hint: hint(take(&mut svid.hint)),
            })
        };
        let svids = filled("svids", wire.svids)?;
        let mut svids = svids.into_iter().map(svid).collect::<Result<_, _>>()?;
        first_of_each_hint(&mut svids);
        Ok(Self { svids })
    }
}

impl Message for Validated {
    type Wire = wire::ValidateJwtsvidResponse;

    fn into_wire(self) -> Result<Self::Wire, Lacks> {
        Ok(Self::Wire {
            spiffe_id: self.spiffe_id.to_string(),
            claims: Some(struct_of(filled("claims", self.claims)?)),
        })
    }

    fn from_wire(wire: Self::Wire) -> Result<Self, Lacks> {
        let claims = map_of(wire.claims.ok_or(Lacks("claims"))?);
        Ok(Self { spiffe_id: id(&wire.spiffe_id)?, claims: filled("claims", claims)? })
    }
}

/// Workload API §4.5: "Clients receiving a message in which a mandatory field has a default value
/// SHOULD report an error and discard the message."
pub(crate) fn filled<T: Filled>(field: &'static str, value: T) -> Result<T, Lacks> {
    if value.is_filled() { Ok(value) } else { Err(Lacks(field)) }
}

/// Whether a value is not the default of its field.
pub(crate) trait Filled {
    fn is_filled(&self) -> bool;
}

impl Filled for String {
    fn is_filled(&self) -> bool {
        !self.is_empty()
    }
}

impl<T> Filled for Vec<T> {
    fn is_filled(&self) -> bool {
        !self.is_empty()
    }
}

impl<K, V> Filled for BTreeMap<K, V> {
    fn is_filled(&self) -> bool {
        !self.is_empty()
    }
}

impl Filled for Map<String, Value> {
    fn is_filled(&self) -> bool {
        !self.is_empty()
    }
}

fn id(text: &str) -> Result<SpiffeId, Lacks> {
    SpiffeId::parse(text).map_err(|_| Lacks("spiffe_id"))
}

// identity §7.2: "Map keys are full SPIFFE IDs of trust domains (`spiffe://example.org`), not
// names."
fn by_id<T>(map: BTreeMap<TrustDomain, T>) -> BTreeMap<String, T> {
    map.into_iter().map(|(domain, value)| (domain.id().to_string(), value)).collect()
}

fn by_domain<T>(
    field: &'static str,
    map: BTreeMap<String, T>,
) -> Result<BTreeMap<TrustDomain, T>, Lacks> {
    let domain = |(text, value): (String, T)| {
        let id = SpiffeId::parse(&text).ok().filter(|id| id.path().is_empty());
        id.map(|id| (id.trust_domain().clone(), value)).ok_or(Lacks(field))
    };
    map.into_iter().map(domain).collect()
}

fn hint(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn struct_of(map: Map<String, Value>) -> prost_types::Struct {
    let fields = map.into_iter().map(|(name, value)| (name, proto_of(value)));
    prost_types::Struct { fields: fields.collect() }
}

/// JSON nests no deeper than its reader allowed, so this ends.
fn proto_of(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(values) => Kind::ListValue(prost_types::ListValue {
            values: values.into_iter().map(proto_of).collect(),
        }),
        Value::Object(map) => Kind::StructValue(struct_of(map)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// Messages nest no deeper than their reader allowed (100 levels), so this ends.
fn map_of(fields: prost_types::Struct) -> Map<String, Value> {
    fields.fields.into_iter().map(|(name, value)| (name, json_of(value))).collect()
}

fn json_of(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(value)) => number(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json_of).collect(),
        Some(Kind::StructValue(fields)) => Value::Object(map_of(fields)),
    }
}

/// Whole numbers come back whole: `exp` is one.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < INTEGER_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in the range of an i64")]
        return Value::Number(Number::from(value as i64));
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agent() -> SpiffeId {
        SpiffeId::parse("spiffe://example.org/a").unwrap()
    }

    fn x509() -> X509Svid {
        X509Svid {
            spiffe_id: agent(),
            chain: vec![1],
            key: SecretBytes::new(vec![2]),
            bundle: vec![3],
            hint: None,
        }
    }

    fn jwt() -> JwtAnswer {
        let token = SecretText::new("a.b.c".to_owned());
        JwtAnswer { spiffe_id: agent(), token, hint: None }
    }

    fn wit() -> WitSvid {
        let JwtAnswer { spiffe_id, token, hint } = jwt();
        WitSvid { spiffe_id, token, key: SecretText::new("{}".to_owned()), hint }
    }

    /// req: PROV-08 (part)
    #[test]
    fn workload_api_4_5_a_mandatory_field_is_not_empty() {
        let check = |svid: X509Svid, expect: Option<Lacks>| {
            let federated = BTreeMap::new();
            let answer = X509Answer { svids: vec![svid], crl: Vec::new(), federated };
            assert_eq!(answer.into_wire().err(), expect);
        };
        check(x509(), None);
        check(X509Svid { chain: Vec::new(), ..x509() }, Some(Lacks("x509_svid")));
        let key = SecretBytes::new(Vec::new());
        check(X509Svid { key, ..x509() }, Some(Lacks("x509_svid_key")));
        check(X509Svid { bundle: Vec::new(), ..x509() }, Some(Lacks("bundle")));

        let check = |svid: JwtAnswer, expect: Option<Lacks>| {
            assert_eq!(vec![svid].into_wire().err(), expect);
        };
        let empty = SecretText::new(String::new());
        check(jwt(), None);
        check(JwtAnswer { token: empty.clone(), ..jwt() }, Some(Lacks("svid")));

        let check = |svid: WitSvid, expect: Option<Lacks>| {
            assert_eq!(WitAnswer { svids: vec![svid] }.into_wire().err(), expect);
        };
        check(wit(), None);
        check(WitSvid { token: empty.clone(), ..wit() }, Some(Lacks("wit_svid")));
        check(WitSvid { key: empty, ..wit() }, Some(Lacks("wit_svid_key")));
    }

    #[test]
    fn workload_api_4_5_a_client_discards_what_lacks_a_mandatory_field() {
        fn check<M: Message>(wire: M::Wire, lacks: &'static str) {
            assert_eq!(M::from_wire(wire).err(), Some(Lacks(lacks)));
        }
        check::<X509Answer>(wire::X509svidResponse::default(), "svids");
        check::<X509Svid>(wire::X509svid::default(), "spiffe_id");
        let mut svid = x509().into_wire().unwrap();
        svid.x509_svid_key.clear();
        check::<X509Svid>(svid, "x509_svid_key");
        check::<X509Bundles>(wire::X509BundlesResponse::default(), "bundles");
        check::<Vec<JwtAnswer>>(wire::JwtsvidResponse::default(), "svids");
        let svids = vec![wire::Jwtsvid::default()];
        check::<Vec<JwtAnswer>>(wire::JwtsvidResponse { svids }, "spiffe_id");
        check::<WitAnswer>(wire::WitsvidResponse::default(), "svids");
        let svids = vec![wire::Witsvid::default()];
        check::<WitAnswer>(wire::WitsvidResponse { svids }, "spiffe_id");
        check::<Validated>(wire::ValidateJwtsvidResponse::default(), "claims");
        let bundles = BTreeMap::from([("spiffe://example.org".to_owned(), vec![0xff])]);
        let refused = jwt_bundles_from_wire(wire::JwtBundlesResponse { bundles });
        assert_eq!(refused.err(), Some(Lacks("bundles")));
        let check = |domain: &str, expect: Option<Lacks>| {
            let bundles = BTreeMap::from([(domain.to_owned(), "{}".to_owned())]);
            let found = wit_bundles_from_wire(wire::WitBundlesResponse { bundles });
            assert_eq!(found.err(), expect, "{domain}");
        };
        check("spiffe://example.org", None);
        check("example.org", Some(Lacks("bundles")));
        check("spiffe://example.org/a", Some(Lacks("bundles")));
        let refused = wit_bundles_from_wire(wire::WitBundlesResponse::default());
        assert_eq!(refused.err(), Some(Lacks("bundles")));
    }

    #[test]
    fn workload_api_6_2_3_claims_survive_the_way() {
        let claims = json!({
            "sub": "spiffe://example.org/a", "aud": ["x", "y"], "exp": 1_900_000_000_u64,
            "ratio": 0.5, "negative": -7, "none": null, "yes": true, "deep": {"list": [[1], {}]},
        });
        let Value::Object(claims) = claims else { panic!("an object") };
        let told = Validated { spiffe_id: agent(), claims };
        let heard = Validated::from_wire(told.clone().into_wire().unwrap()).unwrap();
        assert_eq!(heard, told);
    }

    #[test]
    fn no_message_shows_a_key_or_a_token() {
        let secret = || "secret".to_owned();
        let token = || SecretText::new(secret());
        let x509 = X509Svid { key: SecretBytes::new(secret().into_bytes()), ..x509() };
        let jwt = JwtAnswer { token: token(), ..jwt() };
        let wit = WitSvid { token: token(), key: token(), ..wit() };
        let asked = wire::ValidateJwtsvidRequest { audience: "me".to_owned(), svid: secret() };
        let shown = [
            format!("{x509:?} {:?}", x509.clone().into_wire().unwrap()),
            format!("{jwt:?} {:?}", vec![jwt.clone()].into_wire().unwrap()),
            format!("{wit:?} {:?}", WitAnswer { svids: vec![wit.clone()] }.into_wire().unwrap()),
            format!("{asked:?} me"),
        ];
        for shown in shown {
            assert!(shown.contains("spiffe://example.org/a") || shown.contains("me"), "{shown}");
            // As text, and as the numbers of its bytes.
            assert!(!shown.contains("secret") && !shown.contains("115, 101"), "{shown}");
        }
    }
}
