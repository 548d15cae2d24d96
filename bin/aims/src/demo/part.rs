//! What a process of the demo is: a loop over orders, each a line of JSON.

use std::future::Future;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::exit::Failure;

/// Reads orders from stdin until it ends, and writes an answer to each.
pub(super) async fn serve<S: Send, F>(
    mut state: S,
    mut act: impl FnMut(S, Value) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = (S, Result<Value, Failure>)>,
{
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let mut out = tokio::io::stdout();
    while let Some(order) = orders.next_line().await.map_err(Failure::unavailable)? {
        let order: Value = serde_json::from_str(&order).map_err(Failure::misused)?;
        let (next, done) = act(state, order).await;
        state = next;
        let answer = done.unwrap_or_else(|failure| json!({ "failed": failure.to_string() }));
        let line = format!("{answer}\n");
        out.write_all(line.as_bytes()).await.map_err(Failure::unavailable)?;
        out.flush().await.map_err(Failure::unavailable)?;
    }
    Ok(())
}

/// A text of an order.
pub(super) fn text<'a>(order: &'a Value, name: &str) -> &'a str {
    order.get(name).and_then(Value::as_str).unwrap_or_default()
}
