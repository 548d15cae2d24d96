//! `aims svid bundle`: the Workload API's three kinds of bundles as SPIFFE bundles.

use std::collections::BTreeMap;
use std::path::Path;

use jose::KeySet;
use serde_json::{Map, Value};
use spiffe::{Bundle, BundleKey, TrustDomain};
use time::Span;
use workload::client::CallError;

use crate::commands::Context;
use crate::commands::svid::{Socket, listed, write_all};
use crate::exit::Failure;
use crate::files::PUBLIC;
use crate::identity::{self, Identity};
use crate::output::{Table, json};

/// What a bundle is made of, as the Workload API gives it.
#[derive(Debug, Default)]
struct Parts {
    x509: Vec<u8>,
    jwt: Option<String>,
    wit: Option<String>,
}

/// Shows the bundles, or writes them.
pub(crate) async fn run(
    context: &Context,
    socket: &Socket,
    write: Option<&Path>,
) -> Result<(), Failure> {
    let parts = gather(&socket.connect(context).await?).await?;
    let mut bundles = BTreeMap::new();
    for (domain, parts) in &parts {
        bundles.insert(domain.clone(), bundle(domain, parts)?);
    }
    let mut written = Vec::new();
    if let Some(folder) = write {
        for (domain, parts) in &parts {
            let pem = identity::pem(&parts.x509)?;
            let document = bundles.get(domain).map(document).unwrap_or_default();
            let (pem_name, json_name) = (format!("{domain}.pem"), format!("{domain}.json"));
            let files = [
                (pem_name.as_str(), pem.as_bytes(), PUBLIC),
                (json_name.as_str(), document.as_bytes(), PUBLIC),
            ];
            written.extend(write_all(folder, &files)?);
        }
    }
    // SPIFFE Bundle §5.1.1: the bundle map.
    let domains: Map<String, Value> =
        bundles.iter().map(|(name, bundle)| (name.to_string(), value(bundle))).collect();
    context.output.show(&serde_json::json!({ "trust_domains": domains }), || {
        let mut table = Table::new(&["TRUST DOMAIN", "X.509", "JWT-SVID", "WIT"]);
        for (domain, bundle) in &bundles {
            let counts = [bundle.x509_authorities().len(), bundle.jwt_keys().len()];
            let counts = counts.into_iter().chain([bundle.wit_keys().len()]);
            table.row([domain.to_string()].into_iter().chain(counts.map(|n| n.to_string())));
        }
        format!("{}written: {}\n", table.render(context.output), listed(&written))
    })
}

async fn gather(identity: &Identity) -> Result<BTreeMap<TrustDomain, Parts>, Failure> {
    let client = identity.client();
    let mut parts: BTreeMap<TrustDomain, Parts> = BTreeMap::new();
    let stream = client.x509_bundles().await.map_err(|error| identity.failure(&error))?;
    for (domain, certificates) in identity.first(stream).await?.bundles {
        parts.entry(domain).or_default().x509 = certificates;
    }
    let stream = client.jwt_bundles().await.map_err(|error| identity.failure(&error))?;
    for (domain, keys) in identity.first(stream).await? {
        parts.entry(domain).or_default().jwt = Some(keys);
    }
    match client.wit_bundles().await {
        // Other implementations do not have this profile.
        Err(CallError::Unimplemented { .. }) => {}
        Err(error) => return Err(identity.failure(&error)),
        Ok(stream) => {
            for (domain, keys) in identity.first(stream).await? {
                parts.entry(domain).or_default().wit = Some(keys);
            }
        }
    }
    Ok(parts)
}

fn bundle(domain: &TrustDomain, parts: &Parts) -> Result<Bundle, Failure> {
    let refused = |error: &dyn std::fmt::Display| {
        Failure::refused("workload::Bundle", format!("the bundle of `{domain}`: {error}"))
    };
    let certificates = workload::pem::split(&parts.x509).map_err(|error| refused(&error))?;
    let certificates = certificates.into_iter().map(x509::Certificate::parse);
    let certificates = certificates.collect::<Result<_, _>>().map_err(|error| refused(&error))?;
    let keys = |text: &Option<String>| -> Result<Vec<BundleKey>, Failure> {
        let Some(text) = text else { return Ok(Vec::new()) };
        let set = KeySet::parse(text).map_err(|error| refused(&error))?;
        let usable = set.keys().iter().filter_map(|jwk| {
            let key = jwk.verification_key().ok()?;
            Some(BundleKey { kid: jwk.kid()?.clone(), key: key.clone() })
        });
        Ok(usable.collect())
    };
    let (jwt, wit) = (keys(&parts.jwt)?, keys(&parts.wit)?);
    Bundle::new(0, Span::ZERO, certificates, jwt, wit).map_err(|error| refused(&error))
}

/// A SPIFFE bundle without a sequence number or a refresh hint: the Workload API tells neither.
fn value(bundle: &Bundle) -> Value {
    let mut value = bundle.to_value();
    if let Some(members) = value.as_object_mut() {
        members.remove("spiffe_sequence");
        members.remove("spiffe_refresh_hint");
    }
    value
}

fn document(bundle: &Bundle) -> String {
    format!("{}\n", json(&value(bundle)))
}
