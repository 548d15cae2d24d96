//! Keys in a token that speaks [PKCS #11](https://docs.oasis-open.org/pkcs11/pkcs11-base/v3.0/):
//! made there, never leaving it, signing there. The token's module is loaded when the program
//! starts; where no settings name one, none is needed.

mod module;
mod object;
mod token;

pub(crate) use module::Module;
pub(crate) use token::{Session, TokenAt};
pub use token::{Token, TokenError};
