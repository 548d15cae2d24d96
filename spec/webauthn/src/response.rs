//! What a browser gives back, as `PublicKeyCredential.toJSON()` writes it (§5.1).

use json::{Bounds, Unreadable};
use serde_json::{Map, Value};

use crate::base64url;
use crate::credential::{
    CredentialId, NotACredentialId, NotAUserHandle, UserHandle, are_transports,
};
use crate::{RESPONSE_BYTES_MAX, SIGNATURE_BYTES_MAX, TRANSPORTS_MAX};

/// Outputs of extensions may be nested.
const DEPTH_MAX: usize = 8;

/// `RegistrationResponseJSON`: read, and not believed in anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationResponse {
    id: CredentialId,
    client_data_json: Vec<u8>,
    attestation_object: Vec<u8>,
    transports: Vec<String>,
}

impl RegistrationResponse {
    /// Reads all of `bytes`. The copies of fields (`authenticatorData`, `publicKey`,
    /// `publicKeyAlgorithm`) are not looked at: nothing signs them.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResponseError> {
        let credential = Credential::parse(bytes)?;
        let response = &credential.response;
        Ok(Self {
            client_data_json: octets(response, "clientDataJSON")?,
            attestation_object: octets(response, "attestationObject")?,
            transports: transports(response)?,
            id: credential.id,
        })
    }

    /// The credential that was made, as the browser says.
    pub const fn id(&self) -> &CredentialId {
        &self.id
    }

    pub(crate) fn client_data_json(&self) -> &[u8] {
        &self.client_data_json
    }

    pub(crate) fn attestation_object(&self) -> &[u8] {
        &self.attestation_object
    }

    pub(crate) fn transports(&self) -> &[String] {
        &self.transports
    }
}

/// `AuthenticationResponseJSON`: read, and not believed in anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationResponse {
    id: CredentialId,
    client_data_json: Vec<u8>,
    authenticator_data: Vec<u8>,
    signature: Vec<u8>,
    user_handle: Option<UserHandle>,
}

impl AuthenticationResponse {
    /// Reads all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResponseError> {
        let credential = Credential::parse(bytes)?;
        let response = &credential.response;
        let signature = octets(response, "signature")?;
        if signature.len() > SIGNATURE_BYTES_MAX {
            return Err(ResponseError::SignatureTooLong { bytes: signature.len() });
        }
        let user_handle = match response.get("userHandle") {
            // `toJSON()` leaves out what is absent; older scripts write null.
            None | Some(Value::Null) => None,
            Some(_) => Some(UserHandle::of(&octets(response, "userHandle")?)?),
        };
        Ok(Self {
            client_data_json: octets(response, "clientDataJSON")?,
            authenticator_data: octets(response, "authenticatorData")?,
            signature,
            user_handle,
            id: credential.id,
        })
    }

    /// The credential that was used, as the browser says: what is kept of it is looked up by this.
    pub const fn id(&self) -> &CredentialId {
        &self.id
    }

    /// The user, as the authenticator says.
    pub const fn user_handle(&self) -> Option<&UserHandle> {
        self.user_handle.as_ref()
    }

    pub(crate) fn client_data_json(&self) -> &[u8] {
        &self.client_data_json
    }

    pub(crate) fn authenticator_data(&self) -> &[u8] {
        &self.authenticator_data
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// What both have.
struct Credential {
    id: CredentialId,
    response: Map<String, Value>,
}

impl Credential {
    fn parse(bytes: &[u8]) -> Result<Self, ResponseError> {
        let bounds = Bounds { bytes_max: RESPONSE_BYTES_MAX, depth_max: DEPTH_MAX };
        let mut members = json::object(bytes, bounds)?;
        // §5.1: "The PublicKeyCredential interface object's [[type]] internal slot's value is the
        // string "public-key"."
        if members.get("type").and_then(Value::as_str) != Some("public-key") {
            return Err(ResponseError::Member { name: "type" });
        }
        // §5.1: "required AuthenticationExtensionsClientOutputsJSON clientExtensionResults": its
        // members are ignored, as §7.1 step 28 lets us.
        if !members.get("clientExtensionResults").is_some_and(Value::is_object) {
            return Err(ResponseError::Member { name: "clientExtensionResults" });
        }
        let raw = octets(&members, "rawId")?;
        // §5.1: `id` is got by "returning the base64url encoding of the data contained in the
        // object's [[identifier]] internal slot", of which `rawId` is the bytes: in JSON both are
        // one text.
        if octets(&members, "id")? != raw {
            return Err(ResponseError::IdsDiffer);
        }
        let Some(Value::Object(response)) = members.remove("response") else {
            return Err(ResponseError::Member { name: "response" });
        };
        Ok(Self { id: CredentialId::of(&raw)?, response })
    }
}

fn octets(members: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, ResponseError> {
    let text = members.get(name).and_then(Value::as_str);
    text.and_then(base64url::decode).ok_or(ResponseError::Member { name })
}

fn transports(response: &Map<String, Value>) -> Result<Vec<String>, ResponseError> {
    let wrong = ResponseError::Member { name: "transports" };
    let Some(Value::Array(texts)) = response.get("transports") else { return Err(wrong) };
    if texts.len() > TRANSPORTS_MAX {
        return Err(wrong);
    }
    let texts: Option<Vec<String>> =
        texts.iter().map(|text| text.as_str().map(str::to_owned)).collect();
    texts.filter(|texts| are_transports(texts)).ok_or(wrong)
}

/// Why a text is no response of a browser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("`{name}` of the response is absent, of the wrong kind or not base64url")]
    Member { name: &'static str },
    #[error("`id` and `rawId` differ")]
    IdsDiffer,
    #[error(transparent)]
    CredentialId(#[from] NotACredentialId),
    #[error(transparent)]
    UserHandle(#[from] NotAUserHandle),
    #[error("a signature of {bytes} bytes; at most {SIGNATURE_BYTES_MAX} are read")]
    SignatureTooLong { bytes: usize },
}
