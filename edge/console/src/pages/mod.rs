//! The pages, one file each.

pub(crate) mod acting;
pub(crate) mod approvals;
pub(crate) mod authorize;
pub(crate) mod home;
pub(crate) mod leave;
pub(crate) mod methods;
pub(crate) mod operate;
pub(crate) mod sign_in;
