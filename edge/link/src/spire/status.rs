//! Refusals as SPIRE agents read them: the details beside `PERMISSION_DENIED` say whether to attest
//! anew or to end; without them an agent waits and asks again.

use flow::join::Refusal as JoinRefusal;
use flow::nested::Refusal as Nested;
use flow::renew::Refusal as RenewRefusal;
use flow::spire::{NotAdmitted, Refusal};
use prost::Message;
use spiffe::SvidError;
use tonic::{Code, Status};
use wimse::WicError;
use x509::ChainError;

use super::wire::rpc;
use super::wire::types::{self, PermissionDeniedDetails, permission_denied_details::Reason};
use crate::caller::Unproved;

/// How the details are called.
const DETAILS: &str = "type.googleapis.com/spire.api.types.PermissionDeniedDetails";

/// The agent is denied, and told what to do.
fn denied(reason: Reason, message: String) -> Status {
    let details = PermissionDeniedDetails { reason: reason.into() };
    let details = rpc::Any { type_url: DETAILS.to_owned(), value: details.encode_to_vec() };
    let code = Code::PermissionDenied;
    let status =
        rpc::Status { code: code.into(), message: message.clone(), details: vec![details] };
    Status::with_details(code, message, status.encode_to_vec().into())
}

/// Who asks was not proved.
pub(super) fn unproved(why: &Unproved) -> Status {
    match why {
        Unproved::Svid(WicError::Svid(SvidError::Chain(ChainError::Expired { .. }))) => {
            denied(Reason::AgentExpired, why.to_string())
        }
        why => crate::service::denied(why),
    }
}

/// The agent does not stand.
pub(super) fn not_admitted(why: &NotAdmitted) -> Status {
    let reason = match why {
        NotAdmitted::NotAttested(_) => Reason::AgentNotAttested,
        NotAdmitted::Outdated(_) => Reason::AgentNotActive,
        NotAdmitted::Ended { .. } => Reason::AgentBanned,
        // It may come back: SPIRE has no word for that.
        NotAdmitted::Suspended { .. } => return Status::permission_denied(why.to_string()),
    };
    denied(reason, why.to_string())
}

/// An attempt to join was decided against. The agent that is told so ends, and is started again by
/// whoever runs it.
pub(super) fn not_joined(why: &JoinRefusal) -> Status {
    match why {
        JoinRefusal::Request(_) => Status::invalid_argument(why.to_string()),
        why => Status::permission_denied(why.to_string()),
    }
}

/// A credential of an agent was not renewed, although the agent stands.
pub(super) fn not_renewed(why: &RenewRefusal) -> Status {
    match why {
        RenewRefusal::MustAttest(_) => denied(Reason::AgentMustReattest, why.to_string()),
        RenewRefusal::Unknown(_) => denied(Reason::AgentNotAttested, why.to_string()),
        RenewRefusal::NotInForce(_) => Status::permission_denied(why.to_string()),
        RenewRefusal::Request(_) | RenewRefusal::SameKey => {
            Status::invalid_argument(why.to_string())
        }
    }
}

/// A server below ours gets nothing. SPIRE's says so by `INTERNAL` and `PERMISSION_DENIED`; neither
/// makes its client end.
pub(super) fn not_nested(why: &Nested) -> Status {
    match why {
        Nested::NotDownstream(_) | Nested::NotInForce { .. } => {
            Status::permission_denied(why.to_string())
        }
        Nested::NoLevels | Nested::Build(_) => Status::failed_precondition(why.to_string()),
        Nested::TooMany { .. } => Status::resource_exhausted(why.to_string()),
        Nested::Request(_)
        | Nested::OtherName { .. }
        | Nested::Key(_)
        | Nested::OurKey
        | Nested::KeyId(_)
        | Nested::Taken(_)
        | Nested::Ends => Status::invalid_argument(why.to_string()),
    }
}

/// Nothing was issued for an entry.
pub(super) fn not_issued(why: &Refusal) -> types::Status {
    use flow::issue::Refusal as Issue;
    let code = match why {
        Refusal::NoEntry | Refusal::Issue(Issue::Unknown(_)) => Code::NotFound,
        Refusal::Issue(
            Issue::Request(_) | Issue::Key(_) | Issue::Order(_) | Issue::OtherName { .. },
        ) => Code::InvalidArgument,
        Refusal::Issue(_) => Code::PermissionDenied,
    };
    types::Status { code: code.into(), message: why.to_string() }
}
