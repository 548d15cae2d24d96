//! The messages as `build.rs` makes them from `proto/workload.proto`.

grpc::messages! { "_":
    X509svid { wipes x509_svid_key, shows spiffe_id }
    Jwtsvid { wipes svid, shows spiffe_id }
    Witsvid { wipes wit_svid_key, shows spiffe_id }
    ValidateJwtsvidRequest { shows audience }
}
