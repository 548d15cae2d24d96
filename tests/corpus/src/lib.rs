//! What each fuzz target does with its bytes, as plain functions: `fuzz/` calls them with whatever
//! its fuzzer makes up, and the test of this crate with every file of `fuzz/corpus`.
//!
//! In scope: one function a target, and what must hold of whatever the parser takes: reading is
//! total, and what was read and written again is read as the same. Not here: the fuzzer
//! (`fuzz/`, which needs nightly and a C++ compiler), what a parser must refuse (tests of its
//! crate).

mod agentic;
mod attestation;
mod authentication;
mod authzen;
mod bom;
mod enrolment;
mod jose;
mod json;
mod letters;
mod oauth;
mod openid;
mod platform;
mod provenance;
mod rats;
mod spiffe;
mod ssh;
mod tee;
mod time;
mod tlog;
mod tpm;
mod verification;
mod webauthn;
mod wimse;
mod workload;
mod x509;

use serde_json::Value;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All targets by name: each has a file in `fuzz/fuzz_targets` and a folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("agentic_headers", agentic::headers),
    ("agentic_message", agentic::message),
    ("attestation_discovery", attestation::discovery),
    ("authentication_basic", authentication::basic),
    ("authzen_access_request", authzen::access_request),
    ("authzen_evaluations", authzen::evaluations),
    ("authzen_response", authzen::response),
    ("bom_advisories", bom::advisories),
    ("bom_bill", bom::bill),
    ("bom_text", bom::text),
    ("enrolment_request", enrolment::request),
    ("jose_json", jose::json),
    ("jose_jws", jose::jws),
    ("jose_key_set", jose::key_set),
    ("json_canonical", json::canonical),
    ("json_text", json::text),
    ("letters_name", letters::name),
    ("oauth_authorization", oauth::authorization),
    ("oauth_details", oauth::details),
    ("oauth_discovery", oauth::discovery),
    ("oauth_form", oauth::form),
    ("oauth_metadata", oauth::metadata),
    ("oauth_proof", oauth::proof),
    ("oauth_text", oauth::text),
    ("openid_request", openid::request),
    ("openid_status_list", openid::status_list),
    ("platform_cgroups", platform::cgroups),
    ("platform_dbus", platform::dbus_message),
    ("platform_docker", platform::docker_answer),
    ("platform_kubernetes", platform::pods),
    ("platform_script", platform::script),
    ("provenance_bundle", provenance::bundle),
    ("provenance_envelope", provenance::envelope),
    ("rats_cmw", rats::cmw),
    ("rats_ear", rats::ear),
    ("spiffe_bundle", spiffe::bundle),
    ("spiffe_id", spiffe::id),
    ("spiffe_jwt_svid", spiffe::jwt_svid),
    ("spiffe_x509_svid", spiffe::x509_svid),
    ("ssh_certificate", ssh::certificate),
    ("ssh_key", ssh::key),
    ("tee_collateral", tee::collateral),
    ("tee_quote", tee::quote),
    ("tee_report", tee::report),
    ("time_instant", time::instant),
    ("time_text", time::text),
    ("tlog_bundle", tlog::bundle),
    ("tlog_note", tlog::note),
    ("tlog_path", tlog::path),
    ("tlog_proof", tlog::proof),
    ("tpm_structure", tpm::structure),
    ("webauthn_attestation_object", webauthn::attestation_object),
    ("webauthn_authentication", webauthn::authentication),
    ("webauthn_authenticator_data", webauthn::authenticator_data),
    ("webauthn_client_data", webauthn::client_data),
    ("webauthn_key", webauthn::key),
    ("webauthn_registration", webauthn::registration),
    ("verification_submission", verification::submission),
    ("wimse_id", wimse::id),
    ("wimse_token", wimse::token),
    ("workload_authority", workload::authority),
    ("workload_certificates", workload::certificates),
    ("x509_certificate", x509::certificate),
    ("x509_pem", x509::pem),
    ("x509_request", x509::request),
    ("x509_revocation", x509::revocation),
    ("x509_signed", x509::signed),
    ("x509_timestamp", x509::timestamp),
];

/// Runs the target `name`; a name that does not exist is reported by `false`.
pub fn run(name: &str, data: &[u8]) -> bool {
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    found.inspect(|(_, target)| target(data)).is_some()
}

/// Whether a number with a fraction or an exponent is in `value`: serde_json reads one to within a
/// double or so, so that it may move when it is written and read again.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}
