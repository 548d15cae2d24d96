//! Envelopes, statements and bundles: published ones, each with twins that are refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod dsse;
mod instance;
mod predicates;
mod sigstore;

use std::fs;

use serde_json::Value;

/// A file of the published vectors.
fn vector(path: &str) -> Value {
    let path = format!("{}/../../vectors/{path}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// `value` with the member at `pointer` set, or taken out for null.
fn with(value: &Value, pointer: &str, new: Value) -> Value {
    let mut value = value.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap() {
        Value::Object(members) if new.is_null() => {
            members.remove(name).unwrap();
        }
        Value::Object(members) => {
            members.insert(name.to_owned(), new);
        }
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = new,
        other => panic!("{pointer} is below {other}"),
    }
    value
}
