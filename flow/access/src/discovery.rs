//! `/.well-known/openid-configuration` (OpenID Connect Discovery 1.0): two issuers are found by
//! that name. One is this authorization server, at which users sign in; the other, where policy
//! names it, is the issuer of JWT-SVIDs, which relying parties take as ID tokens of workloads.
//! Their keys are apart, and so are their documents: who asks at the host or path of one of them
//! is told of that one alone.

use authorization::asked::OPENID;
use env::{Unavailable, World};
use oauth::metadata::{Metadata, WELL_KNOWN_OPENID};
use oauth::{Issuer, Scope};
use openid::discovery::Discovery;
use serde_json::{Value, json};

use crate::facts::{Basis, basis};
use crate::publish::{self, endpoint};
use crate::sign::ALGORITHM;

/// What the userinfo endpoint and ID tokens may say.
const CLAIMS: &[&str] = &[
    "sub",
    "name",
    "preferred_username",
    "email",
    "email_verified",
    "iss",
    "aud",
    "exp",
    "iat",
    "auth_time",
    "nonce",
    "acr",
    "amr",
    "sid",
];
/// Values of `prompt` that are obeyed (OpenID Connect Core 1.0 §3.1.2.1).
const PROMPTS: &[&str] = &["none", "login", "consent", "select_account"];

/// Where a document was asked for.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The host that the request names, with its port.
    pub host: Option<&'a str>,
    /// The path.
    pub path: &'a str,
}

/// Whose document is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// That of this authorization server.
    Ours,
    /// That of the issuer of JWT-SVIDs.
    Svids,
}

/// The document of the issuer that is meant; `None` where there is none.
pub async fn openid_configuration<W: World>(
    world: &W,
    at: At<'_>,
) -> Result<Option<Value>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let ours = publish::issuer(world)?;
    let svids = facts.set().domain().jwt_svid.issuer.as_ref();
    match (whose(at, WELL_KNOWN_OPENID, &ours, svids), svids) {
        (Some(Whose::Svids), Some(svids)) => Ok(Some(of_svids(svids))),
        (Some(Whose::Ours), _) => {
            let document = provider(world, &facts).await?;
            serde_json::to_value(document)
                .map(Some)
                .map_err(|error| Unavailable::of("settings", error))
        }
        _ => Ok(None),
    }
}

/// Host and path say it; behind a proxy that gives us another host, the path alone, and then the
/// issuer of JWT-SVIDs comes first: ours is reached by its own name.
fn whose(at: At<'_>, name: &str, ours: &Issuer, svids: Option<&Issuer>) -> Option<Whose> {
    let known = [svids.map(|svids| (svids, Whose::Svids)), Some((ours, Whose::Ours))];
    let fits: Vec<_> =
        known.into_iter().flatten().filter(|(issuer, _)| is_at(issuer, at.path, name)).collect();
    let named = fits.iter().find(|(issuer, _)| at.host.is_some_and(|host| is_host(issuer, host)));
    named.or(fits.first()).map(|(_, whose)| *whose)
}

/// OpenID Connect Discovery 1.0 §4: "concatenating the string /.well-known/openid-configuration to
/// the Issuer"; RFC 8414 §5 has clients that insert it "between the host component and the path
/// component" instead.
fn is_at(issuer: &Issuer, path: &str, name: &str) -> bool {
    path == issuer.well_known_path(name) || path == format!("{}/.well-known/{name}", base(issuer))
}

/// The path of an issuer, without a slash at its end.
fn base(issuer: &Issuer) -> &str {
    let path = issuer.as_str().strip_prefix(issuer.origin()).unwrap_or_default();
    path.strip_suffix('/').unwrap_or(path)
}

fn is_host(issuer: &Issuer, host: &str) -> bool {
    let authority = issuer.origin().strip_prefix("https://").unwrap_or_default();
    host.strip_suffix(":443").unwrap_or(host).eq_ignore_ascii_case(authority)
}

/// What clients read that sign users in here: all that the authorization server says, and what is
/// OpenID Connect's.
async fn provider<W: World>(world: &W, facts: &Basis) -> Result<Discovery, Unavailable> {
    let metadata: Metadata = publish::metadata(world).await?;
    let site = world.site();
    let mut document = Discovery::new(metadata, publish::for_clients(world));
    // OpenID Connect Core 1.0 §8.
    if !facts.set().domain().openid.pairwise.is_empty() {
        document.subject_types_supported.push("pairwise".to_owned());
    }
    document.userinfo_endpoint = Some(endpoint(&site.issuer, "/userinfo")?);
    document.claims_supported = CLAIMS.iter().map(|one| (*one).to_owned()).collect();
    document.claim_types_supported = vec!["normal".to_owned()];
    document.prompt_values_supported = PROMPTS.iter().map(|one| (*one).to_owned()).collect();
    // OpenID Connect RP-Initiated Logout 1.0 §2.1.
    document.end_session_endpoint = Some(endpoint(&site.issuer, "/end-session")?);
    // OpenID Connect Back-Channel Logout 1.0 §2.1.
    document.backchannel_logout_supported = true;
    document.backchannel_logout_session_supported = true;
    Ok(document)
}

/// The scopes of OpenID Connect that are served.
pub(crate) fn openid_scopes() -> impl Iterator<Item = Scope> {
    OPENID.iter().filter_map(|(name, _)| Scope::parse(name).ok())
}

/// What relying parties of OpenID Connect read to verify our JWT-SVIDs (OpenID Connect Discovery
/// 1.0 §3, as SPIRE's provider has it).
fn of_svids(issuer: &Issuer) -> Value {
    let base = issuer.as_str().trim_end_matches('/');
    json!({
        // OpenID Connect Discovery 1.0 §4.3: "The issuer value returned MUST be identical to [...]
        // the iss Claim value".
        "issuer": issuer.as_str(),
        "jwks_uri": format!("{base}/keys"),
        // Required by §3, and there is none: nobody signs in here.
        "authorization_endpoint": "",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM.as_str()],
    })
}

/// The keys of JWT-SVIDs alone, for relying parties; `None` where policy names no issuer of them,
/// or one that has its keys elsewhere.
pub async fn svid_keys<W: World>(world: &W, path: &str) -> Result<Option<Value>, Unavailable> {
    let facts = basis(world, Vec::new()).await?;
    let Some(issuer) = facts.set().domain().jwt_svid.issuer.as_ref() else { return Ok(None) };
    // A proxy may have taken the path of the issuer away.
    if path != "/keys" && path != format!("{}/keys", base(issuer)) {
        return Ok(None);
    }
    let missing = || Unavailable::of("store", "no bundle of our own yet");
    let own = facts.trust.bundles.get(&facts.trust.own).ok_or_else(missing)?;
    let mut set = own.to_jwt_key_set();
    for key in set.get_mut("keys").and_then(Value::as_array_mut).into_iter().flatten() {
        // RFC 7517 §4.2: what a relying party knows.
        if let Some(members) = key.as_object_mut() {
            members.insert("use".to_owned(), json!("sig"));
        }
    }
    Ok(Some(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(text: &str) -> Issuer {
        Issuer::parse(text).unwrap()
    }

    /// req: AUTHZ-22 (part)
    #[test]
    fn openid_discovery_4_host_and_path_say_whose_document_is_meant() {
        use Whose::{Ours, Svids};
        let ours = "https://aims.example:8443";
        let root = "/.well-known/openid-configuration";
        let appended = "/svid/.well-known/openid-configuration";
        let inserted = "/.well-known/openid-configuration/svid";
        let (elsewhere, below) = ("https://oidc.example", "https://aims.example:8443/svid");
        let cases: &[(Option<&str>, &str, &str, Option<Whose>)] = &[
            (None, "aims.example:8443", root, Some(Ours)),
            (None, "10.0.0.1", root, Some(Ours)),
            (None, "aims.example:8443", appended, None),
            (Some(elsewhere), "aims.example:8443", root, Some(Ours)),
            (Some(elsewhere), "AIMS.example:8443", root, Some(Ours)),
            (Some(elsewhere), "oidc.example", root, Some(Svids)),
            (Some(elsewhere), "oidc.example:443", root, Some(Svids)),
            (Some(elsewhere), "10.0.0.1", root, Some(Svids)),
            (Some(below), "aims.example:8443", root, Some(Ours)),
            (Some(below), "aims.example:8443", appended, Some(Svids)),
            (Some(below), "aims.example:8443", inserted, Some(Svids)),
            (Some(below), "aims.example:8443", "/other/.well-known/openid-configuration", None),
            // One document for one URL: the clients that verify JWT-SVIDs there were there first.
            (Some(ours), "aims.example:8443", root, Some(Svids)),
        ];
        for (svids, host, path, expect) in cases {
            let svids = svids.map(issuer);
            let at = At { host: Some(host), path };
            let found = whose(at, WELL_KNOWN_OPENID, &issuer(ours), svids.as_ref());
            assert_eq!(found, *expect, "{svids:?}, {host}, {path}");
        }
        let at = At { host: None, path: root };
        let found = whose(at, WELL_KNOWN_OPENID, &issuer(ours), Some(&issuer(elsewhere)));
        assert_eq!(found, Some(Svids));
    }
}
