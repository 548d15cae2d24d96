//! What clients ask users for in browsers, and what these answer
//! ([RFC 6749](https://www.rfc-editor.org/rfc/rfc6749) §4.1,
//! [RFC 9126](https://www.rfc-editor.org/rfc/rfc9126),
//! [RFC 9101](https://www.rfc-editor.org/rfc/rfc9101),
//! [RFC 9396](https://www.rfc-editor.org/rfc/rfc9396); AUTHZ-01, AUTHZ-06, AUTHZ-10, AUTHZ-18).
//!
//! In scope: pushed requests, the authorization endpoint, interactions and their answers, and what
//! acts in somebody's name. Not here: signing in (`flow/people`), what a code is redeemed for
//! (`flow/access`), approvals of single actions (`flow/approve`), pages (`edge/console`).

use basis::{facts, for_clients, issuing, record, sign, turns};

pub mod acting;
mod answer;
mod ask;
mod begin;
mod client;
mod interaction;
mod pose;
pub mod push;
mod refusal;
mod reply;

pub use answer::{Answer, CODE_LIFE, Settled, answer};
pub use ask::{Asking, Choice, Taken, Withheld, detail_box, openid_box, scope_box};
pub use begin::{Begun, begin};
pub use client::{Asker, AskerKind, Brought, Unfit, kind_of};
pub use interaction::{Ending, Shown, age_asked, leads_to, show};
pub use refusal::{ObjectFault, PageFault, Refusal};
pub use reply::Reply;
