//! Signing what a checker let pass, with the key that signs now.

use credential::{AuthorityKey, Checked, KeyRing, Purpose, TokenText};
use env::{Handle, Keys, Unavailable, World};
use jose::{Algorithm, Kind, SigningInput};
use time::{Span, UnixTime};
use x509::{Certificate, CertificateDer, SignatureAlgorithm, ToBeSigned, ecdsa_der_from_fixed};

/// What our own keys sign with, unless a profile needs another (docs/design.md §5).
pub const ALGORITHM: Algorithm = Algorithm::Es256;
/// The same for certificates.
pub const CERTIFICATE_ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP256Sha256;

/// The key of `ring` that signs now.
pub fn signer(ring: &KeyRing, now: UnixTime) -> Result<&AuthorityKey, Unavailable> {
    let missing =
        || Unavailable::of("keys", format!("no {} key may sign at {now}", ring.purpose.name()));
    ring.signer(now).ok_or_else(missing)
}

/// The handle of a ring's key.
pub fn handle(purpose: Purpose, key: &AuthorityKey) -> Handle {
    Handle { purpose, id: key.kid.as_str().to_owned() }
}

/// Signs a token.
pub async fn token<W: World, K: Kind>(
    world: &W,
    handle: &Handle,
    checked: Checked<SigningInput<K>>,
) -> Result<TokenText, Unavailable> {
    let input = checked.into_inner();
    let signature = world.keys().sign(handle, input.bytes()).await?;
    Ok(TokenText::new(input.attach(signature).into_string()))
}

/// Signs a certificate.
pub async fn certificate<W: World>(
    world: &W,
    handle: &Handle,
    checked: Checked<ToBeSigned>,
) -> Result<CertificateDer, Unavailable> {
    let unsigned = checked.into_inner();
    let signature = world.keys().sign(handle, unsigned.bytes()).await?;
    let der = ecdsa_der_from_fixed(signature.as_bytes())
        .map_err(|error| Unavailable::of("keys", error))?;
    Ok(unsigned.attach(&der))
}

/// What stands between a leaf that this key signs and a root, the nearest first: nothing if the key
/// is its own authority.
pub fn issuers(key: &AuthorityKey) -> impl Iterator<Item = Vec<u8>> {
    let above = key.above.iter();
    above.flat_map(|above| key.certificate.iter().chain(&above.issuers)).cloned()
}

/// What verifiers begin with: the roots above this key, or the key's own certificate.
pub fn roots(key: &AuthorityKey) -> Result<Vec<Certificate>, Unavailable> {
    let Some(above) = &key.above else { return Ok(vec![authority(key)?]) };
    let parse = |der: &Vec<u8>| Certificate::parse(der);
    let roots = above.roots.iter().map(parse).collect::<Result<_, _>>();
    roots.map_err(|error| Unavailable::of("store", error))
}

/// How long what this key signs may live: no longer than it and all that stands above it.
pub fn life(key: &AuthorityKey, wanted: Span, now: UnixTime) -> Span {
    wanted.min(key.kept_until.since(now))
}

/// The certificate of an X.509 authority's key.
pub fn authority(key: &AuthorityKey) -> Result<Certificate, Unavailable> {
    let missing = || Unavailable::of("store", "an X.509 authority without its certificate");
    let der = key.certificate.as_ref().ok_or_else(missing)?;
    Certificate::parse(der).map_err(|error| Unavailable::of("store", error))
}
