//! Compiles the interface, without protoc.

/// Messages with a join token, a proof or a token in them: `src/wire.rs` writes their `Debug`.
const SECRET: [&str; 4] = [
    ".aims.node.v1.Attempt",
    ".aims.node.v1.Pair",
    ".aims.node.v1.SignedToken",
    ".aims.node.v1.TokenResponse",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["node.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .skip_debug(SECRET)
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    println!("cargo:rerun-if-changed=proto/node.proto");
    Ok(())
}
