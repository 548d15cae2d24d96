//! Certificates of a host and who vouches for them: what the mechanisms that show a chain share.

use x509::{Certificate, CertificateDer, Purpose};

use time::UnixTime;

/// The chain, read and checked to the PEM anchors of policy. The text says why not.
pub(crate) fn trusted<B: AsRef<[u8]>>(
    chain: &[B],
    anchors: &str,
    purpose: Purpose,
    now: UnixTime,
) -> Result<Vec<Certificate>, String> {
    let chain = chain
        .iter()
        .map(|der| Certificate::parse(der.as_ref()).map_err(|error| error.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    let anchors = self::anchors(anchors)?;
    x509::verify_chain(&chain, &anchors, purpose, now).map_err(|error| error.to_string())?;
    Ok(chain)
}

/// The anchors of policy.
pub(crate) fn anchors(pem: &str) -> Result<Vec<Certificate>, String> {
    let fault = |error: &dyn std::fmt::Display| format!("anchors in policy: {error}");
    CertificateDer::from_pem_many(pem)
        .map_err(|error| fault(&error))?
        .iter()
        .map(|der| Certificate::parse(der.as_bytes()).map_err(|error| fault(&error)))
        .collect()
}

/// Those of a chain that stand above its leaf: a host may send others besides, which vouch for
/// nothing and must give no selector.
pub(crate) fn issuers(chain: &[Certificate], purpose: Purpose, now: UnixTime) -> Vec<&Certificate> {
    let above = chain.iter().enumerate().skip(1);
    let vouching = above.filter(|(at, issuer)| {
        let below = chain.get(..*at).unwrap_or_default();
        x509::verify_chain(below, std::slice::from_ref(*issuer), purpose, now).is_ok()
    });
    vouching.map(|(_, issuer)| issuer).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
