//! `spec/openid`: requests, documents, status lists.

use oauth::Issuer;
use oauth::form::Form;
use oauth::registration::DeliveryMode;
use openid::ciba::{BackchannelRequest, Registered, signed};
use openid::discovery::Discovery;
use openid::logout::LogoutRequest;
use openid::status_list::StatusList;

/// A form, as the endpoints read it, and a document.
pub(crate) fn request(data: &[u8]) {
    if let (Ok(text), Ok(issuer)) =
        (std::str::from_utf8(data), Issuer::parse("https://server.example.com"))
    {
        let _ = Discovery::parse(text, &issuer);
    }
    let Ok(form) = Form::parse(data) else { return };
    let client = Registered { mode: DeliveryMode::Ping, user_code_parameter: true };
    let _ = BackchannelRequest::parse(&form, client);
    let _ = signed(&form);
    let _ = LogoutRequest::parse(&form);
}

/// A list: what is read and written is read as the same.
pub(crate) fn status_list(data: &[u8]) {
    let Ok(list) = serde_json::from_slice::<StatusList>(data) else { return };
    assert!(list.status(list.len()).is_err());
    let Ok(text) = serde_json::to_vec(&list) else { return };
    assert_eq!(serde_json::from_slice::<StatusList>(&text).ok(), Some(list));
}
