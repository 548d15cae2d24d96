//! `spec/oauth`: forms, identifiers, registrations, header fields.

use oauth::client_assertion::PresentedClient;
use oauth::client_metadata::ClientMetadata;
use oauth::form::Form;
use oauth::token_request::TokenRequest;
use oauth::{Issuer, Resource, ScopeSet, bearer};

/// A form, and what the token endpoint makes of it.
pub(crate) fn form(data: &[u8]) {
    let Ok(form) = Form::parse(data) else { return };
    let _ = TokenRequest::parse(&form);
    let _ = PresentedClient::parse(&form);
    let _ = bearer::refuse_in_form(&form);
}

/// Texts with a syntax of their own: what is read is written the same.
pub(crate) fn text(data: &[u8]) {
    let _ = bearer::from_authorization([data]);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(issuer) = Issuer::parse(text) {
        assert_eq!(issuer.as_str(), text);
    }
    if let Ok(resource) = Resource::parse(text) {
        assert_eq!(resource.as_str(), text);
    }
    if let Ok(scopes) = ScopeSet::parse(text) {
        assert_eq!(ScopeSet::parse(&scopes.to_string()), Ok(scopes));
    }
}

/// A client's registration.
pub(crate) fn metadata(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = ClientMetadata::parse(text);
}
