//! The web, as far as somebody publishes there: pages at URLs, and how often they were asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use env::{NotRead, Published, PublishedPage, Reading, Wanted};
use serde_json::Value;
use time::Span;

/// Nothing is there at first.
#[derive(Default)]
pub struct Web {
    pages: Mutex<BTreeMap<String, (String, Option<Span>)>>,
    asked: AtomicUsize,
}

impl Web {
    /// From now on this is there, to be kept for so many seconds.
    pub fn put(&self, url: &str, page: &Value, keep: Option<u64>) {
        let page = (page.to_string(), keep.map(Span::from_seconds));
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.insert(url.to_owned(), page);
    }

    /// How often anything was asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Published for Web {
    fn read<'a>(&'a self, wanted: &'a Wanted) -> Reading<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let page = pages.get(&wanted.url).cloned();
        Box::pin(async move {
            let gone = || NotRead { check: "fetch::Status", why: "nothing is there".to_owned() };
            let (text, keep) = page.ok_or_else(gone)?;
            Ok(PublishedPage { text, keep })
        })
    }
}
