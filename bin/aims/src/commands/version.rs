//! `aims version`.

use crate::commands::Context;
use crate::exit::Failure;

/// Shows the version.
pub(crate) fn run(context: &Context) -> Result<(), Failure> {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let shown = serde_json::json!({ "name": name, "version": version });
    context.output.show(&shown, || format!("{name} {version}\n"))
}
