//! `spec/oauth`: forms, identifiers, registrations, header fields, proofs.

use jose::Algorithm;
use oauth::authorization_details::AuthorizationDetails;
use oauth::authorization_request::{Arrived, AuthorizationRequest, ClaimsRequest, ReplyTo};
use oauth::authorization_response::receive;
use oauth::client_assertion::PresentedClient;
use oauth::client_metadata::ClientMetadata;
use oauth::device::{DeviceRequest, UserCode};
use oauth::discovery::{FoundResource, FoundServer, WebUrl};
use oauth::dpop::{Proof, target};
use oauth::form::Form;
use oauth::introspection::IntrospectionRequest;
use oauth::metadata_document::ClientIdUrl;
use oauth::pushed::{Pushed, RequestUri};
use oauth::received_challenge::ReceivedChallenge;
use oauth::redirect_uri::RedirectUri;
use oauth::registration::Registration;
use oauth::revocation::RevocationRequest;
use oauth::token_request::TokenRequest;
use oauth::{ClientId, Issuer, Resource, ScopeSet, bearer};

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
    if let Ok(uri) = RedirectUri::parse(text) {
        assert_eq!(uri.as_str(), text);
        assert!(uri.matches(text));
    }
    if let Ok(url) = ClientIdUrl::parse(text) {
        assert_eq!(url.as_str(), text);
        assert!(!url.host().is_empty());
    }
    if let Ok(code) = UserCode::parse(text) {
        assert_eq!(UserCode::parse(&code.expose()), Ok(code));
    }
    if let Ok(uri) = RequestUri::parse(text) {
        assert_eq!(uri.as_str(), text);
    }
}

/// A client's registration.
pub(crate) fn metadata(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = ClientMetadata::parse(text);
    let _ = Registration::parse(text);
    if let Ok(client) = ClientId::parse("s6BhdRkqt3") {
        let _ = Registration::parse_update(text, &client);
    }
    if let Ok(url) = ClientIdUrl::parse("https://client.example.com/client.json") {
        let _ = ClientIdUrl::document(&url, text);
    }
}

/// A form, and what the other endpoints make of it; an answer of another server among it.
pub(crate) fn authorization(data: &[u8]) {
    let Ok(form) = Form::parse(data) else { return };
    let _ = Arrived::read(&form);
    let _ = ReplyTo::read(&form);
    let _ = AuthorizationRequest::parse(&form);
    let _ = Pushed::read(&form);
    let _ = IntrospectionRequest::parse(&form);
    let _ = RevocationRequest::parse(&form);
    let _ = DeviceRequest::parse(&form);
    let _ = receive(&form, "s", "https://server.example.com", true);
}

/// JSON in parameters: what is read and written is read as the same, and within itself.
pub(crate) fn details(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = ClaimsRequest::parse(text);
    let Ok(details) = AuthorizationDetails::parse(text) else { return };
    let Ok(value) = serde_json::to_value(&details) else { return };
    if !crate::has_fraction(&value) {
        assert_eq!(AuthorizationDetails::of_value(&value), Ok(details));
    }
}

/// The field of a proof, and the one spelling of a URI, which is its own.
pub(crate) fn proof(data: &[u8]) {
    let _ = Proof::of_field([data], Algorithm::ALL);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(uri) = target(text) {
        assert_eq!(target(&uri), Some(uri.clone()));
    }
}

/// A field of challenges, of which each name stands once; and the documents that it leads to, of
/// which a client is told that they are of what it asked for.
pub(crate) fn discovery(data: &[u8]) {
    if let Ok(challenges) = ReceivedChallenge::read([data]) {
        let _ = ReceivedChallenge::of_access_tokens(&challenges);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(url) = WebUrl::parse(text) {
        assert_eq!(url.as_str(), text);
        let (resource, server) = (url.resource_metadata_urls(), url.server_metadata_urls());
        assert!(resource.iter().chain(&server).all(|url| url.contains("/.well-known/")));
    }
    let Ok(url) = WebUrl::parse("https://server.example.com/a") else { return };
    if let Ok(found) = FoundServer::parse(text, &url) {
        assert_eq!(found.issuer, url);
    }
    let from = "https://server.example.com/.well-known/oauth-protected-resource";
    let _ = FoundResource::parse(text, &url, from);
}
