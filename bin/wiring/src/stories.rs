//! The stories of tasks that the console shows, out of the logs of this process.

use std::sync::Arc;

use api::{Audit, story};
use console::{Stories, Story};
use monitoring::trace::Trace;

/// Reads them there.
pub fn of(logs: impl Audit + Clone) -> Stories {
    Arc::new(move |asked| {
        let logs = logs.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || told(&logs, &asked)).await;
            read.unwrap_or_else(|error| Err(error.to_string()))
        })
    })
}

fn told(logs: &dyn Audit, asked: &str) -> Story {
    let Some(told) = story::of(logs, asked).map_err(|fault| fault.to_string())? else {
        return Ok(None);
    };
    let records: Vec<_> = told.records.into_iter().map(|(.., record)| record).collect();
    Ok(Some(Trace::of(&told.root, &records)))
}
