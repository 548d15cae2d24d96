//! Credentials of each kind, as a node asks for them.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use env::{IssueKind, IssueOrder};
use flow::issue;
use jose::PrivateKey;
use wimse::WorkloadId;
use x509::{Name, RequestTemplate, SignatureAlgorithm};

use crate::compare::{REQUESTS, Subject, compare};
use crate::installation::Installation;
use crate::party::process;
use crate::signatures::Set;
use crate::table::Measurement;
use crate::{Failure, Measured};

/// One request of a workload's key, again and again, for each kind.
pub(crate) async fn measure(all: &Installation) -> Measured {
    let (made, bearer) = (Set { verified: 1, made: 1 }, Set { verified: 0, made: 1 });
    let kinds = [
        ("X.509-SVID from a certification request", made, IssueKind::X509 { request: request()? }),
        ("WIT from a certification request", made, IssueKind::Wit { request: request()? }),
        ("JWT-SVID", bearer, IssueKind::Jwt { audiences: vec!["https://a.example".to_owned()] }),
    ];
    let mut found = Vec::new();
    for (what, set, kind) in kinds {
        found.push(
            issued(all, Subject { what, set, least: Some(0.6), orientation: Some(8_000.0) }, kind)
                .await?,
        );
    }
    Ok(found)
}

async fn issued(
    all: &Installation,
    subject: Subject<'_>,
    kind: IssueKind,
) -> Result<Measurement, Failure> {
    let node = WorkloadId::parse(&all.up.node.id)?;
    let order = IssueOrder {
        agent: WorkloadId::parse(&all.clerk.id)?,
        process: process(all.clerk.name.as_str()),
        kind,
    };
    let prepare = || Ok(vec![order.clone(); REQUESTS]);
    let server = all.server();
    // What the node's own certificate says.
    let epoch = flow::facts::basis(&*server, Vec::new()).await?.epoch.0;
    let each = move |order| {
        let (server, node) = (Arc::clone(&server), node.clone());
        async move {
            let issued = issue::issue(&*server, &node, Some(epoch), order).await;
            let issued = issued.map_err(|error| error.to_string())?;
            issued.into_value().map(drop).map_err(|refusal| refusal.to_string())
        }
    };
    compare(&subject, prepare, each).await
}

/// A request that its key proves (RFC 2986).
pub(crate) fn request() -> Result<Vec<u8>, Failure> {
    let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| "no key")?;
    let key = PrivateKey::from_pkcs8(made.to_pkcs8v1().map_err(|_| "no key")?.as_ref())?;
    let template = RequestTemplate {
        subject: Name::empty(),
        spki_der: key.public().spki_der().to_vec(),
        uri_names: Vec::new(),
        dns_names: Vec::new(),
    };
    let unsigned = template.to_be_signed(SignatureAlgorithm::EcdsaP256Sha256)?;
    let der = x509::ecdsa_der_from_fixed(key.sign(unsigned.bytes()).as_bytes())?;
    Ok(unsigned.attach(&der))
}
