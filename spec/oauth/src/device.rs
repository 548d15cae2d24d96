//! Device authorization (RFC 8628): a device without a browser shows a code, and its user enters it
//! where there is one.
//!
//! In scope: request, answer and codes. Not here: how often a device or a user may try.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};

use crate::authorization_details::AuthorizationDetails;
use crate::error::ErrorCode;
use crate::form::Form;
use crate::parameter::Refused;
use crate::resource::Resource;
use crate::scope::ScopeSet;

/// RFC 8628 §6.1: "the base 20 character set "BCDFGHJKLMNPQRSTVWXZ"".
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Characters of a code, less its dash: RFC 8628 §6.1 counts 34.5 bits for eight.
const LENGTH: usize = 8;
/// Octets that fall on the alphabet evenly.
const EVEN: u8 = 240;
/// Values of `resource`.
const MAX_RESOURCES: usize = 8;
/// RFC 8628 §3.5: "the interval MUST be increased by 5 seconds for this and all subsequent
/// requests."
pub const SLOW_DOWN_SECONDS: u64 = 5;
/// Seconds between two polls. RFC 8628 §3.2: "If no value is provided, clients MUST use 5 as the
/// default."
pub const DEFAULT_INTERVAL_SECONDS: u64 = 5;

/// What a device asks for; which client it is, is settled before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    pub scope: Option<ScopeSet>,
    pub resources: Vec<Resource>,
    pub authorization_details: Option<AuthorizationDetails>,
}

impl DeviceRequest {
    /// Reads the parameters of RFC 8628 §3.1.
    pub fn parse(form: &Form) -> Result<Self, (ErrorCode, Refused)> {
        let scope = form.get("scope").map(ScopeSet::parse).transpose();
        let scope = scope.map_err(|why| {
            (ErrorCode::InvalidScope, Refused::form("scope", "RFC 8628 §3.1", why))
        })?;
        let target =
            |why: String| (ErrorCode::InvalidTarget, Refused::form("resource", "RFC 8707 §2", why));
        if form.all("resource").count() > MAX_RESOURCES {
            return Err(target(format!("more than {MAX_RESOURCES} values")));
        }
        let resources = form.all("resource").map(Resource::parse).collect::<Result<_, _>>();
        let resources = resources.map_err(|why| target(why.to_string()))?;
        let details = form.get("authorization_details").map(AuthorizationDetails::parse);
        let error = ErrorCode::InvalidAuthorizationDetails;
        let authorization_details = details.transpose().map_err(|why| (error, why))?;
        Ok(Self { scope, resources, authorization_details })
    }
}

/// The answer (RFC 8628 §3.2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceResponse {
    pub device_code: String,
    pub user_code: String,
    pub verification_uri: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_uri_complete: Option<String>,
    /// Seconds.
    pub expires_in: u64,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
}

impl fmt::Debug for DeviceResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceResponse")
            .field("verification_uri", &self.verification_uri)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// `user_code`, as it is compared: eight letters. Whoever knows it can take the user's place.
#[derive(Clone)]
pub struct UserCode([u8; LENGTH]);

impl UserCode {
    /// A code of random octets; `None` if too few of them fall on the alphabet evenly: sixteen are
    /// enough but for once in a hundred million times.
    pub fn of_random(octets: &[u8]) -> Option<Self> {
        let even = octets.iter().filter(|octet| **octet < EVEN);
        let mut letters = even.filter_map(|octet| ALPHABET.get(usize::from(octet % 20)).copied());
        let mut code = [0; LENGTH];
        for place in &mut code {
            *place = letters.next()?;
        }
        Some(Self(code))
    }

    /// Reads what a user typed.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        const MAX_BYTES: usize = 64;
        // RFC 8628 §6.1: "the user's input should be uppercased before a comparison"; "Further
        // stripping of all characters outside the chosen character set is recommended to reduce
        // instances where an errantly typed character (like a space character) invalidates
        // otherwise valid input."
        let upper = text.bytes().take(MAX_BYTES).map(|byte| byte.to_ascii_uppercase());
        let letters: Vec<u8> = upper.filter(|byte| ALPHABET.contains(byte)).collect();
        let code = letters.try_into().map_err(|_| {
            Refused::form("user_code", "RFC 8628 §6.1", "not eight letters of its alphabet")
        });
        Ok(Self(code?))
    }

    /// The eight letters, as they are stored.
    pub fn as_letters(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// As it is shown: `WDJB-MJHT`.
    pub fn expose(&self) -> String {
        let (left, right) = self.as_letters().split_at(LENGTH / 2);
        format!("{left}-{right}")
    }
}

impl PartialEq for UserCode {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for UserCode {}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8628 §3.2, §6.1.
    /// req: AUTHZ-19 (part)
    #[test]
    fn rfc8628_6_1_user_codes_are_read_as_people_type() {
        let code = UserCode::parse("WDJB-MJHT").unwrap();
        assert_eq!((code.as_letters(), code.expose().as_str()), ("WDJBMJHT", "WDJB-MJHT"));
        for typed in ["wdjbmjht", " WDJB mjht ", "W.D.J.B-M.J.H.T", "WDJB–MJHT", "WDJ8B-MJHTA"] {
            assert_eq!(UserCode::parse(typed).unwrap(), code, "{typed}");
        }
        for typed in ["", "WDJB-MJH", "WDJB-MJHTB", "12345678", &"B".repeat(1_000)] {
            assert_eq!(UserCode::parse(typed).unwrap_err().name, "user_code", "{typed}");
        }
        assert_eq!(format!("{code:?}"), "UserCode(…)");
    }

    #[test]
    fn rfc8628_6_1_user_codes_fall_evenly() {
        let octets: Vec<u8> = (0..=255).collect();
        let code = UserCode::of_random(&octets).unwrap();
        assert_eq!(code.expose(), "BCDF-GHJK");
        // Octets that would favour some letters are left out.
        assert_eq!(
            UserCode::of_random(&[240, 255, 250, 0, 1, 2, 3, 4, 5, 6, 239]).unwrap(),
            UserCode::parse("BCDFGHJZ").unwrap()
        );
        assert!(UserCode::of_random(&[0; 7]).is_none());
        assert!(UserCode::of_random(&[255; 64]).is_none());
    }

    #[test]
    fn rfc8628_3_messages() {
        let text = r#"{"device_code":"GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS","user_code":"WDJB-MJHT","verification_uri":"https://example.com/device","verification_uri_complete":"https://example.com/device?user_code=WDJB-MJHT","expires_in":1800,"interval":5}"#;
        let answer: DeviceResponse = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        assert!(!format!("{answer:?}").contains("WDJB") && !format!("{answer:?}").contains("GmRh"));
        let read = |body: &str| DeviceRequest::parse(&Form::parse(body.as_bytes()).unwrap());
        let request = read("client_id=1406020730&scope=example_scope").unwrap();
        assert_eq!(request.scope.unwrap().to_string(), "example_scope");
        for (body, error) in [
            ("scope=a++b", ErrorCode::InvalidScope),
            ("resource=x", ErrorCode::InvalidTarget),
            (&"resource=urn:x&".repeat(9), ErrorCode::InvalidTarget),
            ("authorization_details=%5B%5D", ErrorCode::InvalidAuthorizationDetails),
        ] {
            assert_eq!(read(body).unwrap_err().0, error, "{body}");
        }
    }
}
