//! What holds for any input.

use oauth::bearer;
use oauth::challenge::Challenge;
use oauth::client_assertion::PresentedClient;
use oauth::client_metadata::ClientMetadata;
use oauth::error::{Description, ErrorCode};
use oauth::form::Form;
use oauth::metadata::{Endpoint, Metadata};
use oauth::protected_resource::ProtectedResource;
use oauth::token_request::TokenRequest;
use oauth::{Issuer, Resource, ScopeSet, TokenText};
use proptest::prelude::*;

proptest! {
    #[test]
    fn parsers_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in ".{0,100}",
    ) {
        if let Ok(form) = Form::parse(&bytes) {
            let _ = TokenRequest::parse(&form);
            let _ = PresentedClient::parse(&form);
        }
        let _ = bearer::from_authorization([bytes.as_slice()]);
        let _ = TokenText::of_field([bytes.as_slice()]);
        let _ = bearer::refuse_in_query(&text);
        let _ = ClientMetadata::parse(&text);
        let issuer = Issuer::parse("https://a.example").unwrap();
        let _ = Metadata::parse(&text, &issuer);
        let _ = ProtectedResource::parse(&text, &Resource::parse("https://a.example").unwrap());
    }

    /// Another decoder reads the same from what it wrote, and so do we.
    #[test]
    fn forms_are_read_as_others_write_them(
        values in prop::collection::btree_map("[a-z]{1,8}", ".{0,20}", 0..10)
    ) {
        let mut writer = form_urlencoded::Serializer::new(String::new());
        writer.extend_pairs(&values);
        let body = writer.finish();
        let form = Form::parse(body.as_bytes()).unwrap();
        for (name, value) in &values {
            let expected = Some(value.as_str()).filter(|value| !value.is_empty());
            prop_assert_eq!(form.get(name), expected);
        }
    }

    /// Where both read a body, they read the same: there is no second meaning.
    #[test]
    fn forms_have_one_meaning(body in "[a-c=&+%0-9A-F]{0,30}") {
        let Ok(form) = Form::parse(body.as_bytes()) else { return Ok(()) };
        for (name, value) in form_urlencoded::parse(body.as_bytes()) {
            let expected = Some(value.as_ref()).filter(|value| !value.is_empty());
            prop_assert_eq!(form.get(&name), expected, "{}", name);
        }
    }

    #[test]
    fn identifiers_are_read_back_as_they_were(text in "https://[a-zA-Z0-9.:/?#@%-]{0,30}") {
        if let Ok(issuer) = Issuer::parse(&text) {
            prop_assert_eq!(issuer.as_str(), &text);
            let well_known = issuer.well_known_url("x");
            let prefix = format!("{}/.well-known/x", issuer.origin());
            prop_assert!(well_known.starts_with(&prefix));
            prop_assert!(Endpoint::parse(&well_known).is_ok());
        }
        if let Ok(resource) = Resource::parse(&text) {
            prop_assert_eq!(resource.as_str(), &text);
            prop_assert!(resource.well_known_url().starts_with("https://"));
        }
    }

    #[test]
    fn scope_sets_are_read_back(text in "[a-z!#-\\[\\]-~]{1,5}( [a-z]{1,5}){0,6}") {
        let set = ScopeSet::parse(&text).unwrap();
        prop_assert_eq!(ScopeSet::parse(&set.to_string()).unwrap(), set);
    }

    /// A challenge is one line of ASCII whose quotes are balanced, whatever it is made of.
    #[test]
    fn challenges_stay_on_one_line(realm in ".{0,40}", words in ".{0,40}", url in ".{0,40}") {
        let value = Challenge::bearer()
            .realm(&realm)
            .error(ErrorCode::InvalidToken)
            .description(&words)
            .resource_metadata(&url)
            .to_string();
        prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let bare = value.replace("\\\\", "").replace("\\\"", "");
        prop_assert_eq!(bare.matches('"').count(), 8);
        prop_assert!(!Description::of(&words).as_str().contains(['"', '\\']));
    }
}
