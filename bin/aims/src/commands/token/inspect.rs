//! `aims token inspect`: decodes a token, verifies it with the keys of its issuer or trust domain,
//! and explains it. What does not verify is shown too, and said to be worth nothing.

use std::path::PathBuf;

use clap::Args;
use jose::{Algorithm, KeySet, Unverified};
use oauth::Issuer;
use oauth::access_token::AccessToken;
use oauth::txn_token::TxnToken;
use serde::Serialize;
use serde_json::{Map, Value};
use spiffe::{Bundle, JWT_SVID_ALGORITHMS, JwtSvid};
use time::{Span, UnixTime};
use wimse::{Bundles, TrustAnchors, WIT_SVID_ALGORITHMS, WitPolicy, WorkloadId, verify_wit};

use crate::base64::decode_url;
use crate::commands::Context;
use crate::commands::token::IssuerArguments;
use crate::commands::token::ask::metadata;
use crate::commands::token::explain::{meaning, value};
use crate::exit::Failure;
use crate::files;
use crate::output::{lines, pairs, plain};
use wiring::world::SystemClock;

/// How far the clock here may differ from the issuer's.
const SKEW: Span = Span::from_seconds(5);
/// What the issuer's own tokens are signed with, at most.
const ALGORITHMS: &[Algorithm] =
    &[Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The token; `-` is stdin
    #[arg(value_name = "FILE", default_value = files::STDIN)]
    token: PathBuf,
    /// Whom it must be for; without it, the audience is only shown
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Keys of the issuer (a JWK Set), instead of asking it
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// A SPIFFE bundle of the token's trust domain, instead of asking the issuer
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    issuer: IssuerArguments,
}

/// What a token says it is, by its `typ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KindOf {
    Access,
    Transaction,
    Wit,
    JwtSvid,
    /// Proofs, and what nobody here knows.
    Other(&'static str),
}

impl KindOf {
    /// RFC 7515 §4.1.9: "application/" may stand before a media type or not.
    fn of(header: &Members) -> Self {
        let typ = header.get("typ").and_then(Value::as_str).map(str::to_ascii_lowercase);
        let typ = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
        match typ {
            Some("at+jwt") => Self::Access,
            Some("txntoken+jwt") => Self::Transaction,
            Some("wit+jwt") => Self::Wit,
            Some("jwt" | "jose") | None => Self::JwtSvid,
            Some("wpt+jwt") => Self::Other("a proof of possession (WPT)"),
            Some("oauth-client-attestation-pop+jwt") => Self::Other("a proof to a token endpoint"),
            Some(_) => Self::Other("an unknown kind of token"),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Access => "an access token (RFC 9068)",
            Self::Transaction => "a transaction token",
            Self::Wit => "a workload identity token (WIT)",
            Self::JwtSvid => "a JWT-SVID",
            Self::Other(name) => name,
        }
    }
}

/// What is shown.
#[derive(Serialize)]
struct Shown {
    kind: &'static str,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    keys: String,
    header: Members,
    claims: Members,
}

/// Does it.
pub(crate) async fn run(context: &Context, args: &Arguments) -> Result<(), Failure> {
    let text = zeroize::Zeroizing::new(files::read(&args.token)?);
    let text = text.trim();
    let (header, claims) = decode(text)?;
    let kind = KindOf::of(&header);
    let now = SystemClock::read();
    let (keys, verdict) = match kind {
        KindOf::Access | KindOf::Transaction => {
            let keys = issuer_keys(context, args).await?;
            let verdict = by_issuer(kind, text, &keys, now);
            (keys.from, verdict)
        }
        KindOf::Wit | KindOf::JwtSvid => {
            let bundle = bundle(context, args, &claims).await?;
            let verdict = by_bundle(kind, text, &bundle.set, now);
            (bundle.from, verdict)
        }
        KindOf::Other(_) => {
            let why = "it counts only with the request that it was made for".to_owned();
            (String::new(), Err(why))
        }
    };
    let verdict = verdict.and_then(|()| is_for(&claims, args.audience.as_deref()));
    let why = verdict.err();
    let shown = Shown { kind: kind.name(), verified: why.is_none(), why, keys, header, claims };
    context.output.show(&shown, || human(&shown, now))?;
    if shown.verified { Ok(()) } else { Err(Failure::shown("token::NotVerified")) }
}

/// A JSON object, as it came.
type Members = Map<String, Value>;

/// The header and the claims of a compact token, unproven.
fn decode(text: &str) -> Result<(Members, Members), Failure> {
    let misused = |why: &str| {
        Failure::misused(format!("not a token: {why}")).hint(
            "give a JWT in the compact form (three parts with dots between), in a file or on stdin",
        )
    };
    if text.len() > jose::MAX_TOKEN_BYTES {
        return Err(misused("it is too long"));
    }
    let parts: Vec<_> = text.split('.').collect();
    let [header, claims, _] = parts.as_slice() else {
        return Err(misused(&format!("{} parts, not three", parts.len())));
    };
    let object = |name: &str, part: &str| {
        let bytes = decode_url(part).ok_or_else(|| misused(&format!("{name} is not base64url")))?;
        jose::json::parse_bytes(&bytes).map_err(|error| misused(&format!("{name}: {error}")))
    };
    Ok((object("the header", header)?, object("the payload", claims)?))
}

/// Keys and where they came from.
struct IssuerKeys {
    set: KeySet,
    issuer: Option<Issuer>,
    from: String,
}

async fn issuer_keys(context: &Context, args: &Arguments) -> Result<IssuerKeys, Failure> {
    if let Some(file) = &args.jwks {
        let set = KeySet::parse(&files::read(file)?);
        let set = set.map_err(|error| Failure::file(file, error))?;
        let issuer = args.issuer.issuer.as_ref();
        let issuer = issuer.map(|text| context.place.issuer(Some(text))).transpose()?;
        return Ok(IssuerKeys { set, issuer, from: file.display().to_string() });
    }
    let issuer = context.place.issuer(args.issuer.issuer.as_deref())?;
    let https = args.issuer.https(context)?;
    let metadata = metadata(&https, &issuer).await?;
    let url = metadata.jwks_uri.ok_or_else(|| {
        Failure::unavailable(format!("the metadata of `{}` names no keys", issuer.as_str()))
    })?;
    let document = https.get(url.as_str()).await?;
    let set = KeySet::parse(&String::from_utf8_lossy(&document));
    let set = set.map_err(|error| Failure::unavailable(format!("`{}`: {error}", url.as_str())))?;
    Ok(IssuerKeys { set, issuer: Some(issuer), from: url.as_str().to_owned() })
}

fn by_issuer(kind: KindOf, text: &str, keys: &IssuerKeys, now: UnixTime) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let issuer = match kind {
        KindOf::Access => {
            let token = Unverified::<AccessToken>::parse(text).map_err(|error| said(&error))?;
            let token = token.verify(&keys.set, ALGORITHMS, now, SKEW);
            Some(token.map_err(|error| said(&error))?.into_claims().iss)
        }
        _ => {
            let token = Unverified::<TxnToken>::parse(text).map_err(|error| said(&error))?;
            let token = token.verify(&keys.set, ALGORITHMS, now, SKEW);
            token.map_err(|error| said(&error))?.into_claims().iss
        }
    };
    // RFC 9068 §4: "The issuer identifier for the authorization server [...] MUST exactly match
    // the value of the "iss" claim."
    match (issuer, &keys.issuer) {
        (Some(found), Some(expected)) if found != *expected => {
            Err(format!("it is of `{}`, not of `{}`", found.as_str(), expected.as_str()))
        }
        _ => Ok(()),
    }
}

/// The bundle of one trust domain, and where it came from.
struct DomainKeys {
    set: Bundles,
    from: String,
}

async fn bundle(
    context: &Context,
    args: &Arguments,
    claims: &Members,
) -> Result<DomainKeys, Failure> {
    let (text, from) = match &args.bundle {
        Some(file) => (files::read(file)?, file.display().to_string()),
        None => {
            let issuer = context.place.issuer(args.issuer.issuer.as_deref())?;
            let url = format!("{}/bundle", issuer.as_str());
            let document = args.issuer.https(context)?.get(&url).await?;
            (String::from_utf8_lossy(&document).into_owned(), url)
        }
    };
    let bundle = Bundle::parse(&text);
    let bundle = bundle.map_err(|error| Failure::misused(format!("`{from}`: {error}")))?;
    let mut set = Bundles::new();
    // A bundle does not say whose it is: the caller does, by where it is taken from.
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    if let Ok(id) = WorkloadId::parse(subject) {
        set.insert(id.origin(), bundle);
    }
    Ok(DomainKeys { set, from })
}

fn by_bundle(kind: KindOf, text: &str, set: &Bundles, now: UnixTime) -> Result<(), String> {
    if kind == KindOf::Wit {
        let policy = WitPolicy {
            algorithms: WIT_SVID_ALGORITHMS,
            confirmation_algorithms: WIT_SVID_ALGORITHMS,
            issuers: None,
            skew: SKEW,
        };
        let verified = verify_wit(text, &TrustAnchors::from(set), policy, now);
        return verified.map(|_| ()).map_err(|error| error.to_string());
    }
    let token = Unverified::<JwtSvid>::parse(text).map_err(|error| error.to_string())?;
    let verified = token.verify(set.spiffe(), JWT_SVID_ALGORITHMS, now, SKEW);
    verified.map(|_| ()).map_err(|error| error.to_string())
}

/// RFC 7519 §4.1.3: "If the principal processing the claim does not identify itself with a value in
/// the "aud" claim when this claim is present, then the JWT MUST be rejected."
fn is_for(claims: &Members, audience: Option<&str>) -> Result<(), String> {
    let Some(audience) = audience else { return Ok(()) };
    let found = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(|one| one == audience),
        Some(one) => one == audience,
        None => false,
    };
    if found { Ok(()) } else { Err(format!("it is not for `{audience}`")) }
}

fn human(shown: &Shown, now: UnixTime) -> String {
    let verified = match &shown.why {
        None => format!("yes, with the keys of {}", plain(&shown.keys)),
        Some(why) => format!("NO, so nothing below can be relied on: {}", lines(why)),
    };
    let mut text = pairs([("this is", shown.kind.to_owned()), ("verified", verified)]);
    for (title, members) in [("header", &shown.header), ("claims", &shown.claims)] {
        text.push_str(&format!("\n{title}\n"));
        let rows = members.iter().map(|(name, found)| {
            let (shown, meaning) = (value(name, found, now), meaning(name));
            let name = format!("  {}", plain(name));
            let value = plain(&shown);
            (name, if meaning.is_empty() { value } else { format!("{value}\n— {meaning}") })
        });
        let rows: Vec<_> = rows.collect();
        text.push_str(&pairs(rows.iter().map(|(name, value)| (name.as_str(), value.clone()))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: Value) -> Members {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn kinds_are_told_by_their_type() {
        for (header, kind) in [
            (serde_json::json!({ "typ": "at+jwt" }), KindOf::Access),
            (serde_json::json!({ "typ": "application/at+JWT" }), KindOf::Access),
            (serde_json::json!({ "typ": "txntoken+jwt" }), KindOf::Transaction),
            (serde_json::json!({ "typ": "wit+jwt" }), KindOf::Wit),
            (serde_json::json!({ "typ": "JWT" }), KindOf::JwtSvid),
            (serde_json::json!({}), KindOf::JwtSvid),
            (serde_json::json!({ "typ": "wpt+jwt" }), KindOf::Other("a proof of possession (WPT)")),
            (
                serde_json::json!({ "typ": "secevent+jwt" }),
                KindOf::Other("an unknown kind of token"),
            ),
        ] {
            assert_eq!(KindOf::of(&members(header)), kind);
        }
    }

    #[test]
    fn the_audience_is_compared_where_one_is_expected() {
        let one = members(serde_json::json!({ "aud": "a" }));
        let two = members(serde_json::json!({ "aud": ["a", "b"] }));
        let none = members(serde_json::json!({}));
        for (claims, audience, fits) in [
            (&one, None, true),
            (&one, Some("a"), true),
            (&one, Some("b"), false),
            (&two, Some("b"), true),
            (&two, Some("c"), false),
            (&none, Some("a"), false),
            (&none, None, true),
        ] {
            assert_eq!(is_for(claims, audience).is_ok(), fits, "{audience:?}");
        }
    }

    #[test]
    fn what_is_no_token_is_misuse() {
        for text in ["", "a.b", "e30.e30", "e30.e30.e30.e30", "!.e30.", "e30.W10.", "e30..x"] {
            assert_eq!(decode(text).unwrap_err().problem().outcome.exit_code(), 2, "{text}");
        }
        assert!(decode("e30.eyJhIjoxfQ.").is_ok());
        let long = format!("e30.{}.", "A".repeat(jose::MAX_TOKEN_BYTES));
        assert!(decode(&long).unwrap_err().to_string().contains("too long"));
    }
}
