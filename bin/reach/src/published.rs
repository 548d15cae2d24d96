//! What the issuer of an installation shows anybody.

use serde_json::Value;
use spiffe::Bundle;

use crate::exit::Failure;
use crate::https::Https;
use crate::place::Place;

/// The SPIFFE bundle of the trust domain: what other domains, and agents of SPIRE, are given.
pub async fn bundle(place: &Place) -> Result<Value, Failure> {
    let url = format!("{}/bundle", place.issuer(None)?);
    let document = Https::trusting(&place.ca())?.get(&url).await?;
    read(&url, &document)
}

fn read(url: &str, document: &[u8]) -> Result<Value, Failure> {
    let refused = |error: &dyn std::fmt::Display| {
        let message = format!("what `{url}` answers is no SPIFFE bundle: {error}");
        Failure::refused("published::Bundle", message).of_others()
    };
    let text = str::from_utf8(document).map_err(|error| refused(&error))?;
    Bundle::parse(text).map_err(|error| refused(&error))?;
    serde_json::from_str(text).map_err(|error| refused(&error))
}
