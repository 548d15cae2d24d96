//! Bills of materials and advisories: published ones, and what is wrong with others.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers of tests among it"
)]

mod advisories;
mod bills;

use serde_json::{Value, json};

/// An agent of a model, a library and a tool.
fn agent() -> Value {
    let hashes = |hex: &str| json!([{ "alg": "SHA-256", "content": hex.repeat(32) }]);
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6",
        "metadata": { "component": {
            "bom-ref": "agent", "type": "application", "name": "planner", "version": "1.0.0",
            "hashes": hashes("aa"), "supplier": { "name": "Acme" }
        } },
        "components": [
            {
                "bom-ref": "model", "type": "machine-learning-model", "group": "acme",
                "name": "llm", "version": "7", "hashes": hashes("bb"), "publisher": "Acme Labs",
                "modelCard": { "modelParameters": { "task": "chat", "datasets": [{ "ref": "set" }] } }
            },
            { "bom-ref": "set", "type": "data", "name": "corpus", "hashes": hashes("cc") },
            {
                "bom-ref": "lib", "type": "library", "name": "requests", "version": "2.30.0",
                "purl": "pkg:pypi/Requests@2.30.0", "hashes": hashes("dd"),
                "components": [{
                    "bom-ref": "inner", "type": "library", "name": "left-pad", "version": "1.3.0",
                    "purl": "pkg:npm/left-pad@1.3.0", "hashes": hashes("ee")
                }]
            }
        ],
        "services": [{ "bom-ref": "api", "name": "api" }],
        "dependencies": [
            { "ref": "agent", "dependsOn": ["model", "lib", "api"] },
            { "ref": "model", "dependsOn": ["set"] },
            { "ref": "lib", "dependsOn": [] }, { "ref": "set" }, { "ref": "api" }
        ]
    })
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
