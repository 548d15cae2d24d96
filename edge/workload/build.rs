//! Compiles the interface, without protoc.

/// Messages with a private key or a token in them: `src/wire.rs` writes their `Debug`.
const SECRET: [&str; 4] = [".X509SVID", ".JWTSVID", ".ValidateJWTSVIDRequest", ".WITSVID"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["workload.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug(SECRET)
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    println!("cargo:rerun-if-changed=proto/workload.proto");
    Ok(())
}
