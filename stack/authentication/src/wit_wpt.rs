//! A request that carries a WIT and a WPT beside a token (wimse-wpt §2; S1 §9.2.1; AUTHN-02,
//! AUTHN-05): the token counts only for the identity that it was issued to. An endpoint of ours may
//! ask for the two alone.

use time::{Span, UnixTime};
use wimse::{
    Expected, TrustAnchors, VerifiedWit, WIT_SVID_ALGORITHMS, WitPolicy, exactly_one, verify_wit,
    verify_wpt,
};

use crate::caller::{Caller, Method, Who};
use crate::once::Once;
use crate::proof::{ProofRefusal, Proved};

/// The fields of the request and what the verifier knows.
#[derive(Debug)]
pub struct Request<'a> {
    /// Every `Workload-Identity-Token` field.
    pub wit: Vec<&'a [u8]>,
    /// Every `Workload-Proof-Token` field.
    pub wpt: Vec<&'a [u8]>,
    /// The access token that came with them, and to whom it was issued; `None` where the two
    /// fields alone say who calls.
    pub token: Option<(&'a str, &'a str)>,
    /// The target URI of the request, without query and fragment, made from configuration.
    pub audiences: &'a [&'a str],
    /// The keys that sign WITs.
    pub anchors: &'a TrustAnchors,
    /// Now.
    pub now: UnixTime,
    /// How far clocks may differ.
    pub skew: Span,
    /// How far ahead a proof may end.
    pub lifetime_max: Span,
}

/// The WIT alone: what a cache may keep by the hash of its text, until it ends.
pub fn wit(text: &str, request: &Request<'_>) -> Result<VerifiedWit, ProofRefusal> {
    let policy = WitPolicy {
        algorithms: WIT_SVID_ALGORITHMS,
        confirmation_algorithms: WIT_SVID_ALGORITHMS,
        issuers: None,
        skew: request.skew,
    };
    verify_wit(text, request.anchors, policy, request.now).map_err(ProofRefusal::Wit)
}

/// The text of the one `Workload-Identity-Token` field.
pub fn wit_text<'a>(request: &Request<'a>) -> Result<&'a str, ProofRefusal> {
    let fields = texts(&request.wit, "Workload-Identity-Token")?;
    exactly_one(fields).map_err(ProofRefusal::WitHeader)
}

/// Verifies the proof, and that its maker is the one that the access token was issued to.
pub fn authenticate(request: &Request<'_>, wit: &VerifiedWit) -> Result<Proved, ProofRefusal> {
    let fields = texts(&request.wpt, "Workload-Proof-Token")?;
    let text = exactly_one(fields).map_err(ProofRefusal::WptHeader)?;
    let expected = Expected {
        audiences: request.audiences,
        access_token: request.token.map(|(text, _)| text),
        txn_token: None,
        other: &[],
        now: request.now,
        skew: request.skew,
        lifetime_max: request.lifetime_max,
    };
    let proof = verify_wpt(text, wit, expected).map_err(ProofRefusal::Wpt)?;
    // docs/design.md §5: proof = "wit" binds a token to the identity: accepted only with a WIT
    // whose identifier is the token's client_id.
    let holder = request.token.map(|(_, holder)| holder);
    if let Some(holder) = holder.filter(|holder| wit.workload_id().as_str() != *holder) {
        let (holder, presenter) = (holder.to_owned(), wit.workload_id().clone());
        return Err(ProofRefusal::OtherHolder { holder, presenter });
    }
    let once = Once {
        space: "wpt".to_owned(),
        value: proof.replay_key().to_base64url(),
        until: proof.remember_until(),
    };
    let caller =
        Caller::new(Who::Workload(wit.workload_id().clone()), Method::WitWpt, wit.expires())
            .with_key(wit.confirmation_key().thumbprint())
            .with_epoch(wit.epoch());
    Ok(Proved { caller, once: Some(once) })
}

fn texts<'a>(fields: &[&'a [u8]], field: &'static str) -> Result<Vec<&'a str>, ProofRefusal> {
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
    fields.iter().map(|bytes| text(bytes).ok_or(ProofRefusal::NotText { field })).collect()
}
