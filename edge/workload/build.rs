//! Compiles the interfaces, without protoc.

/// Messages with a private key or a token in them: `src/wire.rs` writes their `Debug`.
const SECRET: [&str; 4] = [".X509SVID", ".JWTSVID", ".ValidateJWTSVIDRequest", ".WITSVID"];
/// The same of Envoy's: `src/sds/wire.rs` writes theirs.
const SECRET_OF_ENVOY: [&str; 2] =
    [".envoy.config.core.v3.DataSource", ".envoy.service.discovery.v3.DiscoveryResponse"];

/// The same of the Broker API: `src/broker/wire.rs` writes theirs.
const SECRET_OF_BROKERS: [&str; 2] = [".spiffe.broker.X509SVID", ".spiffe.broker.JWTSVID"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["workload.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug(SECRET)
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    let files = protox::compile(["envoy/sds.proto", "envoy/tls.proto"], ["proto"])?;
    let envoy = tonic_prost_build::configure().btree_map(".").build_client(false);
    let envoy = envoy.skip_debug(SECRET_OF_ENVOY);
    envoy.include_file("envoy.rs").emit_rerun_if_changed(false).compile_fds(files)?;
    let files = protox::compile(["broker.proto", "error_info.proto"], ["proto"])?;
    let broker = tonic_prost_build::configure().btree_map(".").skip_debug(SECRET_OF_BROKERS);
    broker.include_file("broker.rs").emit_rerun_if_changed(false).compile_fds(files)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
