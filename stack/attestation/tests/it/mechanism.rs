//! What holds for every mechanism, known or to come.

use std::collections::BTreeSet;

use attestation::mechanism::{ALL, Facts, Role, by_name};
use attestation::policy::NodeRule;
use attestation::{Mechanism, Refusal};
use time::UnixTime;

/// req: ATT-12 (part)
#[test]
fn s7_every_mechanism_has_one_name_that_fits_a_path_and_is_found_by_it() {
    let names: BTreeSet<_> = ALL.iter().map(|mechanism| mechanism.name()).collect();
    assert_eq!(names.len(), ALL.len(), "each name is there once");
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        [
            "aws_iid",
            "azure_imds",
            "ear",
            "gcp_iit",
            "github_actions",
            "gitlab_ci",
            "http_challenge",
            "idevid",
            "join_token",
            "k8s_psat",
            "snp",
            "sshpop",
            "tdx",
            "tpm_devid",
            "x509pop",
        ]
    );
    for mechanism in ALL {
        let name = mechanism.name();
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        );
        assert_eq!(by_name(name).map(Mechanism::name), Some(name));
    }
    for unknown in ["", "JOIN_TOKEN", "join_token ", "tpm"] {
        assert!(by_name(unknown).is_none(), "{unknown}");
    }
}

/// Nothing at all, noise, and a document that means nothing: no mechanism finds a fact in it.
/// req: ATT-01 (part), ATT-12 (part)
#[test]
fn s7_no_mechanism_makes_something_of_nothing() {
    let rule = NodeRule::default();
    let now = UnixTime::from_seconds(1_700_000_000);
    for mechanism in ALL {
        for role in [Role::Node, Role::Gateway] {
            let facts = Facts::new(role, &rule, &[0; 32], now);
            for evidence in [&b""[..], b"{}", b"null", b"\xff\xfe", &[b'['; 70_000]] {
                for response in [None, Some(&b""[..]), Some(b"{}"), Some(&[b'['; 70_000])] {
                    let found: Result<_, Refusal> = mechanism.appraise(evidence, response, &facts);
                    assert!(found.is_err(), "{} of {evidence:?}", mechanism.name());
                }
            }
        }
    }
}
