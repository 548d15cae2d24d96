//! The OAuth facet of an agent's record.

use oauth::ScopeSet;
use serde::{Deserialize, Serialize};

/// What an agent may do as an OAuth client. Its client id is its identifier (AUTHZ-23).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facet {
    /// The widest scope it may ever ask for; none given: policy alone decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope_max: Option<ScopeSet>,
    /// Whether others may get tokens whose audience it is.
    pub callable: bool,
}
