//! A token that policy permits once a human approved it (AUTHZ-31): what is asked for, so that
//! somebody can be asked. Not here: the asking (`approve`).

use authentication::Method;
use authorization::granted::{Binding, Granted};
use authorization::grants::Grant;
use authorization::{Lineage, Proposal};
use oauth::authorization_details::Detail;
use pdp::{Denial, Obligation};
use provisioning::Epoch;

use super::{Asked, client};

/// What a human would have to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanting {
    /// What policy said.
    pub denial: Denial,
    /// Who asks.
    pub client_id: String,
    /// In whose name.
    pub subject: String,
    /// Everybody who acts, the last one first.
    pub actors: Vec<String>,
    /// What for: the audience, and the name of its resource.
    pub audience: String,
    /// The name of its resource.
    pub name: String,
    /// The rights.
    pub granted: Granted,
    /// The root of the lineage that it belongs to, where it begins none.
    pub root: Option<String>,
    /// The token that it comes from.
    pub parent: Option<String>,
    /// The tokens between both.
    pub above: Vec<String>,
    /// The transaction.
    pub txn: Option<String>,
    /// The lowest epoch above.
    pub epoch: Option<Epoch>,
    /// What alone may fetch the answer.
    pub binding: Option<Binding>,
}

impl Wanting {
    /// What is wanting where `denial` is for want of an approval alone.
    pub(super) fn of(
        denial: &Denial,
        proposal: &Proposal,
        grant: Grant,
        asked: &Asked<'_>,
    ) -> Option<Self> {
        let served = matches!(
            grant,
            Grant::ClientCredentials | Grant::Exchange | Grant::JwtBearer | Grant::RefreshToken
        );
        if !served || denial.unmet != [Obligation::Approval] || !denial.errors.is_empty() {
            return None;
        }
        let certificate = client::certificate(&asked.call.certificates);
        let binding = match (asked.key, certificate) {
            (Some(key), _) => Some(Binding::Dpop(key.to_base64url())),
            (None, Some(certificate)) => Some(Binding::Certificate(certificate.to_string())),
            // Deferred Token Response, a draft: "a public client MUST present DPoP on the initial
            // request" (AuthZEN access request for OAuth, security considerations).
            (None, None) if asked.caller.method() == Method::None => return None,
            (None, None) => None,
        };
        let (root, parent, above, txn, epoch) = match proposal.lineage().clone() {
            Lineage::Root => (None, None, Vec::new(), None, None),
            Lineage::Grant { root, epoch } => (Some(root), None, Vec::new(), None, Some(epoch)),
            Lineage::Child { root, parent, above, txn, epoch } => {
                (Some(root), Some(parent), above, txn, Some(epoch))
            }
        };
        let details = proposal.authorization_details();
        let details = details.map(|all| all.iter().map(Detail::to_value).collect());
        let details = details.unwrap_or_default();
        Some(Self {
            denial: denial.clone(),
            client_id: proposal.client_id().to_owned(),
            subject: proposal.subject().to_owned(),
            actors: proposal.act().iter().flat_map(|act| act.iter()).map(str::to_owned).collect(),
            audience: proposal.audience().to_owned(),
            name: proposal.audience_name().to_owned(),
            granted: Granted { scope: proposal.scope().clone(), details },
            root,
            parent,
            above,
            txn,
            epoch: epoch.map(Epoch),
            binding,
        })
    }
}
