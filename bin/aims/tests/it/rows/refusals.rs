//! AUTHZ: what a refusal says.
