//! A strict reader of the pages: what it does not understand is a fault of the page.

use std::collections::{BTreeMap, BTreeSet};

/// Elements without an end.
const VOID: &[&str] = &["meta", "link", "input", "br"];
/// Elements that a page may have.
const KNOWN: &[&str] = &[
    "html", "head", "title", "body", "a", "header", "div", "nav", "ul", "li", "form", "span",
    "bdi", "button", "main", "h1", "h2", "h3", "footer", "p", "section", "dl", "dt", "dd", "code",
    "strong", "fieldset", "legend", "label", "select", "option", "table", "thead", "tbody", "tr",
    "th", "td", "script", "noscript", "details", "summary",
];

/// An element of a page.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// All text in it.
    pub(crate) text: String,
    /// Where it began, and where it ended, in the order of tags.
    pub(crate) span: (usize, usize),
}

/// A page, read.
pub(crate) struct Page {
    pub(crate) elements: Vec<Element>,
}

fn unescape(text: &str) -> String {
    let plain = [
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ];
    plain.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

impl Page {
    /// Reads a page; panics where it is not well formed.
    pub(crate) fn read(text: &str) -> Self {
        let mut rest =
            text.strip_prefix("<!doctype html>").unwrap_or_else(|| panic!("no page: `{text}`"));
        let (mut elements, mut open): (Vec<Element>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut tags = 0;
        while let Some(at) = rest.find('<') {
            let (before, tag) = rest.split_at(at);
            for which in &open {
                elements[*which].text.push_str(&unescape(before));
            }
            let end = tag.find('>').expect("a tag that ends");
            let inside = &tag[1..end];
            rest = &tag[end + 1..];
            tags += 1;
            if let Some(name) = inside.strip_prefix('/') {
                let which = open.pop().unwrap_or_else(|| panic!("`{name}` ends and is not open"));
                assert_eq!(elements[which].name, name, "ends in another order than it began");
                elements[which].span.1 = tags;
                continue;
            }
            let (name, attributes) = inside.split_once([' ', '\n']).unwrap_or((inside, ""));
            assert!(KNOWN.contains(&name) || VOID.contains(&name), "<{name}>");
            let element = Element {
                name: name.to_owned(),
                attributes: attributes_of(attributes),
                text: String::new(),
                span: (tags, tags),
            };
            elements.push(element);
            if !VOID.contains(&name) {
                open.push(elements.len() - 1);
            }
        }
        assert!(open.is_empty(), "an element without an end");
        Self { elements }
    }

    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements.iter().filter(move |one| one.name == name)
    }

    pub(crate) fn id(&self, id: &str) -> Option<&Element> {
        self.elements.iter().find(|one| one.attributes.get("id").is_some_and(|own| own == id))
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.elements.iter().filter_map(|one| one.attributes.get("id").cloned()).collect()
    }

    /// The text of an element, its white space as one.
    pub(crate) fn text(&self, id: &str) -> String {
        let found = self.id(id).unwrap_or_else(|| panic!("no `{id}` among {:?}", self.ids()));
        found.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What a form sends as it stands: names and values.
    pub(crate) fn fields(&self, form: &str) -> Vec<(String, String)> {
        let span = self.id(form).unwrap_or_else(|| panic!("no form `{form}`")).span;
        let within = |one: &&Element| one.span.0 > span.0 && one.span.0 < span.1;
        let mut fields = Vec::new();
        for one in self.elements.iter().filter(within) {
            let get = |name: &str| one.attributes.get(name).cloned();
            let Some(name) = get("name") else { continue };
            let box_ = get("type").as_deref() == Some("checkbox");
            if one.name == "input" && (!box_ || get("checked").is_some()) {
                fields.push((name, get("value").unwrap_or_default()));
            }
        }
        fields
    }

    /// What every page must be.
    pub(crate) fn check(&self) {
        let ids = self.ids();
        let distinct: BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "an id twice: {ids:?}");
        assert_eq!(self.named("h1").count(), 1, "one heading");
        assert_eq!(self.named("main").count(), 1);
        assert!(self.named("title").all(|one| !one.text.trim().is_empty()));
        assert!(self.named("html").all(|one| one.attributes["lang"] == "en"));
        let labels: BTreeSet<_> =
            self.named("label").map(|one| one.attributes["for"].clone()).collect();
        for one in self.named("input").chain(self.named("select")) {
            let kind = one.attributes.get("type").map_or("text", String::as_str);
            if kind != "hidden" {
                let id = one.attributes.get("id").unwrap_or_else(|| panic!("{one:?} has no id"));
                assert!(labels.contains(id), "no label for `{id}`");
            }
        }
        for label in &labels {
            assert!(distinct.contains(label), "a label for nothing: `{label}`");
        }
        for form in self.named("form").filter(|form| form.attributes["method"] == "post") {
            let within = |one: &&Element| one.span.0 > form.span.0 && one.span.0 < form.span.1;
            let proof = self.named("input").filter(within);
            let has =
                proof.filter(|one| one.attributes.get("name").is_some_and(|name| name == "form"));
            assert_eq!(has.count(), 1, "a form that anybody could send: {form:?}");
            assert!(form.attributes["action"].starts_with('/'), "{form:?}");
        }
        for button in self.named("button") {
            assert!(!button.text.trim().is_empty(), "a button without a name");
        }
        for one in &self.elements {
            for (name, value) in &one.attributes {
                assert!(!name.starts_with("on") && name != "style", "{one:?}: blocked by policy");
                assert!(!value.starts_with("javascript:"), "{one:?}");
                let refers = ["aria-labelledby", "aria-describedby"].contains(&name.as_str());
                assert!(!refers || distinct.contains(value), "{one:?} refers to nothing");
            }
        }
        for script in self.named("script") {
            assert!(script.text.is_empty() && script.attributes.contains_key("src"), "{script:?}");
        }
    }
}

fn attributes_of(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let (value, after) = match after.strip_prefix("=\"") {
            Some(quoted) => quoted.split_once('"').expect("a quoted value"),
            None => {
                assert!(!after.starts_with('='), "a value without quotes: {text}");
                ("", after)
            }
        };
        assert!(found.insert(name.to_owned(), unescape(value)).is_none(), "`{name}` twice: {text}");
        rest = after.trim_start();
    }
    found
}
