//! Compiles the interface, without protoc.

/// Messages with a join token, a proof or a token in them: `src/wire.rs` writes their `Debug`.
const SECRET: [&str; 4] = [
    ".aims.node.v1.Attempt",
    ".aims.node.v1.Pair",
    ".aims.node.v1.SignedToken",
    ".aims.node.v1.TokenResponse",
];

/// The same of SPIRE's: `src/spire/wire.rs` writes theirs.
const SECRET_OF_SPIRE: [&str; 2] = [".spire.api.types.AttestationData", ".spire.api.types.JWTSVID"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["node.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .skip_debug(SECRET)
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    let spire = ["agent", "bundle", "entry", "status", "svid"];
    let spire = spire.map(|name| format!("spire/{name}.proto"));
    let files = protox::compile(spire, ["proto"])?;
    tonic_prost_build::configure()
        .skip_debug(SECRET_OF_SPIRE)
        .include_file("spire.rs")
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
