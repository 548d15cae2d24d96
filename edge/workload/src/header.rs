//! The header that keeps a confused web client from asking (Workload Endpoint §3).

use tonic::{Request, Status};

const NAME: &str = "workload.spiffe.io";
const VALUE: &str = "true";

/// Lets a request pass that has the header, once, with its one value.
pub(crate) fn demand(request: Request<()>) -> Result<Request<()>, Status> {
    // Workload Endpoint §3: "every client request to the SPIFFE Workload Endpoint MUST include the
    // static gRPC metadata key `workload.spiffe.io` with a value of `true` (case sensitive).
    // Requests not including this metadata key/value MUST be rejected"
    let mut values = request.metadata().get_all(NAME).iter();
    let (first, second) = (values.next(), values.next());
    match (first, second) {
        (Some(value), None) if value.as_encoded_bytes() == VALUE.as_bytes() => Ok(request),
        // Workload Endpoint §6: "MUST respond with gRPC status code "InvalidArgument"."
        _ => Err(Status::invalid_argument(format!(
            "the request must have the header `{NAME}: {VALUE}`, once"
        ))),
    }
}

/// Adds it.
pub(crate) fn add(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.metadata_mut().insert(NAME, tonic::metadata::MetadataValue::from_static(VALUE));
    Ok(request)
}
