//! A person's browser at a running installation: pages, forms and cookies, without a script.

use std::collections::BTreeMap;

use http::Method;

use crate::running::{Answer, Https, Site};

/// A browser: it keeps cookies, and sends the forms that it was shown.
pub(crate) struct Tab {
    https: Https,
    origin: String,
    cookies: BTreeMap<String, String>,
}

impl Tab {
    pub(crate) fn new(site: &Site) -> Self {
        Self { https: site.https(), origin: site.url(0), cookies: BTreeMap::new() }
    }

    pub(crate) async fn send(&mut self, method: Method, path: &str, body: &str) -> Answer {
        let url = match path.starts_with('/') {
            true => format!("{}{path}", self.origin),
            false => path.to_owned(),
        };
        let cookies: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (cookies, origin) = (cookies.join("; "), self.origin.clone());
        let mut fields = vec![("cookie", cookies.as_str())];
        if method == Method::POST {
            fields.push(("origin", origin.as_str()));
            fields.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let answer = self.https.send(method, &url, &fields, body).await.unwrap();
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = cookie.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    /// Goes there, and on as it is sent, up to a page or another origin.
    pub(crate) async fn open(&mut self, path: &str) -> (Answer, Option<String>) {
        let mut answer = self.send(Method::GET, path, "").await;
        while let Some(to) = location(&answer) {
            if !to.starts_with('/') {
                return (answer, Some(to));
            }
            answer = self.send(Method::GET, &to, "").await;
        }
        (answer, None)
    }

    /// Sends the form of that id as it stands, with these fields.
    pub(crate) async fn submit(
        &mut self,
        page: &Answer,
        id: &str,
        more: &[(&str, &str)],
    ) -> Answer {
        let text = String::from_utf8(page.body.clone()).unwrap();
        let form = text.split("<form ").find(|form| form.contains(&format!("id=\"{id}\"")));
        let form = form.unwrap_or_else(|| panic!("no form `{id}`: {text}"));
        let form = form.split("</form>").next().unwrap();
        let of = |tag: &str, name: &str| {
            let value = tag.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest);
            value.map(|rest| rest.split('"').next().unwrap().replace("&amp;", "&"))
        };
        let tag = format!(" {}", form.split('>').next().unwrap());
        let action = of(&tag, "action").unwrap();
        let mut fields = url::form_urlencoded::Serializer::new(String::new());
        for input in form.split("<input").skip(1) {
            let input = input.split('>').next().unwrap();
            let is_box = of(input, "type").as_deref() == Some("checkbox");
            let sent = of(input, "name").filter(|_| !is_box || input.contains(" checked"));
            let sent = sent.filter(|name| more.iter().all(|(other, _)| other != name));
            if let Some(name) = sent {
                fields.append_pair(&name, &of(input, "value").unwrap_or_default());
            }
        }
        fields.extend_pairs(more);
        self.send(Method::POST, &action, &fields.finish()).await
    }

    /// Signs in where it is asked to, and is shown what it came for.
    pub(crate) async fn signed_in(&mut self, path: &str, user: &str, code: &str) -> Answer {
        let (page, _) = self.open(path).await;
        let sent = self.submit(&page, "by-code", &[("user", user), ("code", code)]).await;
        let to = location(&sent).unwrap_or_else(|| panic!("{:?}", sent.body));
        self.open(&to).await.0
    }
}

/// Where an answer sends to.
pub(crate) fn location(answer: &Answer) -> Option<String> {
    answer.headers.get("location").map(|to| to.to_str().unwrap().to_owned())
}
