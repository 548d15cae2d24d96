//! What policy lets clients do that they need not, and what it keeps from them.

use oauth::Issuer;
use policy::Domain;
use registry::admission::{Documents, Dynamic, OnChange};

use crate::commands::doctor::Finding;

const CHECK: &str = "clients";

/// What of `domain` is weak, at a server that is `issuer`.
pub(crate) fn of_policy(domain: &Domain, issuer: &str) -> Vec<Finding> {
    let registration = &domain.registration;
    let mut findings = Vec::new();
    let mut note = |is_so: bool, found: &str, todo: String| {
        if is_so {
            findings.push(Finding::note(CHECK, found, todo));
        }
    };
    note(
        registration.client_secrets_that_can_be_stolen,
        "clients may have secrets, which everyone who sees one can use",
        "have them bring keys (`private_key_jwt`), then drop `client_secrets_that_can_be_stolen`"
            .to_owned(),
    );
    note(
        registration.dynamic == Dynamic::Open,
        "anyone may register clients at `/register`",
        "set `dynamic = \"token\"` under `[registration]`, and give tokens by `aims client token`"
            .to_owned(),
    );
    note(
        registration.documents == Documents::Open,
        "anyone on the Internet is a client by a document about itself",
        "set `documents = \"listed\"` under `[registration]`, and list `hosts`".to_owned(),
    );
    note(
        registration.on_change == OnChange::KeepGrants,
        "a client that changed its keys keeps what users granted it",
        "set `on_change = \"end_grants\"` under `[registration]`".to_owned(),
    );
    let svids = domain.jwt_svid.issuer.as_ref().map(Issuer::as_str);
    note(
        svids.map(|one| one.trim_end_matches('/')) == Some(issuer),
        "JWT-SVIDs have the issuer of the authorization server: clients of OpenID Connect find no \
         provider at its URL",
        format!("give JWT-SVIDs one of their own: `[jwt_svid] issuer = \"{issuer}/svid\"`"),
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_weak_is_told_with_what_to_do() {
        let found = |more: &str| {
            let text = format!("trust_domain = \"demo.example\"\n{more}");
            let domain: Domain = toml::from_str(&text).unwrap();
            let findings = of_policy(&domain, "https://localhost:8443");
            findings.into_iter().map(|one| one.found).collect::<Vec<_>>()
        };
        assert!(found("").is_empty());
        assert!(found("[jwt_svid]\nissuer = \"https://localhost:8443/svid\"").is_empty());
        for (policy, says) in [
            ("[registration]\nclient_secrets_that_can_be_stolen = true", "secrets"),
            ("[registration]\ndynamic = \"open\"", "/register"),
            ("[registration]\ndocuments = \"open\"", "document"),
            ("[registration]\non_change = \"keep_grants\"", "keeps"),
            ("[jwt_svid]\nissuer = \"https://localhost:8443\"", "no provider"),
        ] {
            let found = found(policy);
            assert!(found.len() == 1 && found[0].contains(says), "{policy}: {found:?}");
        }
    }
}
