//! Ceremonies over an authenticator in software, the specification's own examples, and each with
//! one thing wrong.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod authentication;
mod options;
mod published;
mod readers;
mod registration;

use serde_json::Value;
use testkit::passkeys::{Made, Passkey, Signs};
use webauthn::{
    Algorithm, AttestationPolicy, Challenge, CreationOptions, CredentialRecord, Origin, Reason,
    Refusal, Registered, Registration, RegistrationResponse, RelyingParty, RpId, User, UserHandle,
};

const ORIGIN: &str = "https://login.example.org:8443";

/// A relying party and a user, with a challenge for each ceremony.
struct Site {
    relying_party: RelyingParty,
    user: User,
    challenge: Challenge,
}

impl Site {
    fn new() -> Self {
        let (id, origin) = (RpId::parse("example.org"), Origin::parse(ORIGIN));
        let relying_party = RelyingParty::new(id.unwrap(), "AIMS", origin.unwrap()).unwrap();
        let handle = UserHandle::of(b"user 1 of the tests").unwrap();
        let user = User::new(handle, "ada@example.org", "Ada").unwrap();
        Self { relying_party, user, challenge: Challenge::of([7; 32]) }
    }

    fn creation_options(&self) -> Value {
        let options = CreationOptions {
            relying_party: &self.relying_party,
            user: &self.user,
            challenge: &self.challenge,
            algorithms: &Algorithm::ALL,
            exclude: &[],
            hints: &[],
        };
        options.to_json()
    }

    fn make(&self, signs: Signs) -> (Passkey, Made) {
        Passkey::create(&self.creation_options(), ORIGIN, signs)
    }

    fn registration(&self) -> Registration<'_> {
        Registration {
            relying_party: &self.relying_party,
            challenge: &self.challenge,
            user: self.user.handle(),
            algorithms: &Algorithm::ALL,
            attestation: AttestationPolicy::NoneOrSelf,
        }
    }

    fn register(&self, passkey: &Passkey, made: &Made) -> Result<Registered, Refusal> {
        let response = registration_response(&made.response(passkey));
        self.registration().verify(&response, |_| false)
    }

    fn registered(&self, signs: Signs) -> (Passkey, CredentialRecord) {
        let (passkey, made) = self.make(signs);
        let record = self.register(&passkey, &made).unwrap().into_record();
        (passkey, record)
    }
}

fn registration_response(json: &Value) -> RegistrationResponse {
    RegistrationResponse::parse(json.to_string().as_bytes()).unwrap()
}

/// The reason and its step, of which the message names both.
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> (u8, Reason) {
    let refusal = result.unwrap_err();
    let (section, step) = refusal.step();
    let head = format!("WebAuthn §{section} step {step}: ");
    assert!(refusal.to_string().starts_with(&head), "{refusal}");
    (step, refusal.reason)
}
