//! `domain.toml`: what holds for the whole trust domain.

use approval::Approvals;
use authentication::policy::{SessionBounds, SignIn};
use authorization::policy::{Consent, Decisions, Delegation, OpenId};
use credential::policy::{CREDENTIAL_SECONDS_MAX, Lifetimes, Nested};
use monitoring::policy::{KEEP_SECONDS_MIN, Retention};
use monitoring::trace::AFTERMATH;
use oauth::Issuer;
use provisioning::policy::Revocation;
use registry::RegistrationPolicy;
use serde::{Deserialize, Serialize};
use spiffe::TrustDomain;
use time::Span;
use wimse::{Origin, Scheme, WorkloadIdError};

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// The trust domain that this installation is the authority of.
    pub trust_domain: TrustDomain,
    /// The scheme of every identifier that it issues, its own components' among them.
    #[serde(default)]
    pub scheme: Scheme,
    /// How long things live.
    #[serde(default)]
    pub lifetimes: Lifetimes,
    /// How revocation reaches everyone.
    #[serde(default)]
    pub revocation: Revocation,
    /// How far rights travel.
    #[serde(default)]
    pub delegation: Delegation,
    /// What clients are told of users.
    #[serde(default)]
    pub openid: OpenId,
    /// Decisions that others ask for.
    #[serde(default)]
    pub decisions: Decisions,
    /// How long the audit logs are kept.
    #[serde(default)]
    pub audit: Retention,
    /// Tolerances.
    #[serde(default)]
    pub bounds: Bounds,
    /// What JWT-SVIDs say beside what they must.
    #[serde(default)]
    pub jwt_svid: JwtSvid,
    /// Authorities of other servers below ours.
    #[serde(default)]
    pub nested: Nested,
    /// How people sign in.
    #[serde(default)]
    pub sign_in: SignIn,
    /// How long they stay signed in.
    #[serde(default)]
    pub sessions: SessionBounds,
    /// Which human is asked.
    #[serde(default)]
    pub approvals: Approvals,
    /// What is asked of clients that bring users, and how long what these allow lasts.
    #[serde(default)]
    pub consent: Consent,
    /// Who may bring clients that are not agents.
    #[serde(default)]
    pub registration: RegistrationPolicy,
}

/// `[jwt_svid]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtSvid {
    /// Their `iss`, where relying parties of OpenID Connect are to verify them: the URL below which
    /// they find `/.well-known/openid-configuration`. Without it they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,
}

/// `[bounds]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// How far clocks may differ, in seconds.
    pub clock_skew: Span,
    /// The longest life of a proof token that is accepted, in seconds.
    pub proof_lifetime: Span,
    /// Whether a DPoP proof must repeat a nonce of ours (RFC 9449 §8), not only be young by the
    /// client's clock.
    pub dpop_nonces: bool,
}

/// The largest tolerated clock difference, in seconds.
pub(crate) const CLOCK_SKEW_SECONDS_MAX: u64 = 120;
/// The longest life of a proof that policy may allow, in seconds.
pub(crate) const PROOF_SECONDS_MAX: u64 = 300;

// What a trace shows of a credential is there for as long as it is asked for.
const _: () = assert!(KEEP_SECONDS_MIN >= CREDENTIAL_SECONDS_MAX + AFTERMATH.seconds());

impl Default for Bounds {
    fn default() -> Self {
        Self {
            clock_skew: Span::from_seconds(5),
            proof_lifetime: Span::from_seconds(120),
            dpop_nonces: false,
        }
    }
}

impl Domain {
    /// What its identifiers belong to, if the name is one under that scheme.
    pub(crate) fn origin(&self) -> Result<Origin, WorkloadIdError> {
        Origin::of(self.scheme, &self.trust_domain)
    }

    /// What is wrong with the values: the key and the reason.
    pub(crate) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.lifetimes.faults();
        faults.extend(self.revocation.faults());
        faults.extend(self.delegation.faults());
        faults.extend(self.audit.faults());
        if let Err(error) = self.origin() {
            faults.push(("trust_domain", error.to_string()));
        }
        faults.extend(self.nested.faults());
        faults.extend(self.sign_in.faults());
        faults.extend(self.sessions.faults());
        faults.extend(self.approvals.faults());
        faults.extend(self.consent.faults());
        faults.extend(self.registration.faults());
        let bounds = [
            ("clock_skew", self.bounds.clock_skew, 0, CLOCK_SKEW_SECONDS_MAX),
            ("proof_lifetime", self.bounds.proof_lifetime, 1, PROOF_SECONDS_MAX),
        ];
        for (name, span, min, max) in bounds {
            let seconds = span.seconds();
            if !(min..=max).contains(&seconds) {
                let message = format!("`{name}` is {seconds} seconds; allowed are {min} to {max}");
                faults.push((name, message));
            }
        }
        faults
    }
}
