//! OAuth 2.0 as messages: the framework ([RFC 6749](https://www.rfc-editor.org/rfc/rfc6749),
//! [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)), its metadata
//! ([RFC 8414](https://www.rfc-editor.org/rfc/rfc8414),
//! [RFC 9728](https://www.rfc-editor.org/rfc/rfc9728)) and that of clients
//! ([RFC 7591](https://www.rfc-editor.org/rfc/rfc7591),
//! draft-ietf-oauth-client-id-metadata-document), token exchange
//! ([RFC 8693](https://www.rfc-editor.org/rfc/rfc8693)), resource indicators
//! ([RFC 8707](https://www.rfc-editor.org/rfc/rfc8707)), JWT access tokens
//! ([RFC 9068](https://www.rfc-editor.org/rfc/rfc9068)), transaction tokens
//! (draft-ietf-oauth-transaction-tokens), ID tokens as platforms sign them, and client
//! authentication by assertion ([RFC 7523](https://www.rfc-editor.org/rfc/rfc7523),
//! draft-ietf-oauth-rfc7523bis) and by attestation
//! (draft-ietf-oauth-attestation-based-client-auth).
//!
//! The code flow and what belongs to it: authorization requests in the open, pushed
//! ([RFC 9126](https://www.rfc-editor.org/rfc/rfc9126)) and signed
//! ([RFC 9101](https://www.rfc-editor.org/rfc/rfc9101)), their answers
//! ([RFC 9207](https://www.rfc-editor.org/rfc/rfc9207), JARM), redirect URIs
//! ([RFC 8252](https://www.rfc-editor.org/rfc/rfc8252)), PKCE
//! ([RFC 7636](https://www.rfc-editor.org/rfc/rfc7636)), rich authorization requests
//! ([RFC 9396](https://www.rfc-editor.org/rfc/rfc9396)), DPoP
//! ([RFC 9449](https://www.rfc-editor.org/rfc/rfc9449)), devices
//! ([RFC 8628](https://www.rfc-editor.org/rfc/rfc8628)), introspection
//! ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662),
//! [RFC 9701](https://www.rfc-editor.org/rfc/rfc9701)), revocation
//! ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)), step-up
//! ([RFC 9470](https://www.rfc-editor.org/rfc/rfc9470)).
//!
//! Two kinds of tokens are our own: the [binding](agent_binding) of an agent to whom it acts for,
//! and the [word of an operator](operator_assertion).
//!
//! In scope: what requests, answers, documents and tokens look like, and the checks that their
//! texts demand of whoever reads them. Not here: who gets what (`stack/authorization`), who is
//! calling (`stack/authentication`), what OpenID Connect adds (`openid`), status codes and HTTP
//! (`edge/api`, `edge/proxy`), proofs of workloads (`wimse`), signatures (`jose`).

pub mod access_token;
pub mod act;
pub mod agent_binding;
pub mod attestation_client;
pub mod authorization_details;
pub mod authorization_request;
pub mod authorization_response;
pub mod bearer;
pub mod challenge;
pub mod client_assertion;
pub mod client_attestation_pop;
pub mod client_metadata;
pub mod confirmation;
pub mod device;
pub mod discovery;
pub mod dpop;
pub mod error;
pub mod form;
pub mod id_token;
mod identifier;
pub mod introspection;
mod issuer;
pub mod jwt_grant;
pub mod may_act;
pub mod metadata;
pub mod metadata_document;
pub mod operator_assertion;
pub mod parameter;
pub mod pkce;
pub mod protected_resource;
pub mod pushed;
pub mod received_challenge;
pub mod redirect_uri;
pub mod registration;
pub mod request_object;
mod resource;
pub mod revocation;
mod scope;
pub mod status;
pub mod step_up;
pub mod token_request;
pub mod token_response;
mod token_text;
mod token_type;
pub mod txn_challenge;
pub mod txn_token;

pub use identifier::{ClientId, LineageId, NotAnIdentifier, SubjectText, TokenId, TransactionId};
pub use issuer::{Issuer, NotAnIssuer};
pub use resource::{AudienceName, NotAResource, NotAnAudience, Resource};
pub use scope::{NotAScope, Scope, ScopeSet};
pub use token_text::{NotATokenText, TokenText};
pub use token_type::TokenType;
