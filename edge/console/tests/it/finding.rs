//! Operators find rows by what they show.

use approval::Approval;
use approve::ciba;
use authentication::session::Session;
use authorization::granted::GrantRecord;
use env::World;
use oauth::token_request::GrantType;
use people::throttle::Throttle;
use registry::UserRecord;
use testkit::fixture::story;

use crate::asking::call;
use crate::html::Page;
use crate::tab::{CLIENT, House, Tab, ask};

/// The rows that a list shows for a text, in order.
async fn found(tab: &mut Tab, list: &str, text: &str) -> Vec<String> {
    rows(&shown(tab, list, text).await)
}

async fn shown(tab: &mut Tab, list: &str, text: &str) -> Page {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("find", text).finish();
    tab.get(&format!("/console/operate/{list}?{query}")).await.page()
}

fn rows(page: &Page) -> Vec<String> {
    let ids = page.named("tr").filter_map(|row| row.attributes.get("id"));
    ids.filter_map(|id| id.strip_prefix("row-")).map(str::to_owned).collect()
}

/// req: AUTHZ-18 (part)
#[test]
fn s10_6_rows_are_found_by_what_they_show() {
    story(|sim| async move {
        let house = House::open(&sim).await;
        let mut ada = house.signed("ada").await;
        let mut root = house.signed("root").await;
        let question = ada.open(&ask("invoices.read", "")).await;
        ada.send(&question, "consent", &[("answer", "allow")]).await.location();
        let client = house.domain.client(&[GrantType::Ciba], false);
        let asked = call(&house, &client, "&login_hint=ada");
        let asked = ciba::authorize(&*house.world(), &Throttle::default(), &asked).await.unwrap();
        asked.into_result().unwrap();
        let world = house.world();
        let grant = world.store().every::<GrantRecord>()[0].id.clone();
        let approval = world.store().every::<Approval>()[0].clone();
        let session = world.store().every::<Session>();
        let session = session.iter().find(|one| one.user == "user:ada").unwrap().id.clone();
        let users = ["user:ada", "user:root"].map(str::to_owned);
        for (list, text, expected) in [
            // The row that is named is among what is found.
            ("users", "user:ada", vec![users[0].clone()]),
            ("users", "ADA", vec![users[0].clone()]),
            ("users", "user:", users.to_vec()),
            ("users", " oper ", vec![users[1].clone()]),
            ("users", "nobody", vec![]),
            ("clients", CLIENT, vec![CLIENT.to_owned()]),
            ("clients", "& co <b>", vec![CLIENT.to_owned()]),
            ("grants", &grant, vec![grant.clone()]),
            ("grants", &grant[2..9], vec![grant.clone()]),
            ("grants", "user:ada", vec![grant.clone()]),
            ("grants", "user:root", vec![]),
            ("grants", CLIENT, vec![grant.clone()]),
            ("grants", "books &", vec![grant.clone()]),
            ("grants", "read invoices", vec![grant.clone()]),
            ("approvals", &approval.id, vec![approval.id.clone()]),
            ("approvals", "user:ada", vec![approval.id.clone()]),
            ("approvals", &approval.asks.client_id, vec![approval.id.clone()]),
            ("approvals", "pending", vec![approval.id.clone()]),
            ("sessions", "user:ada", vec![session.clone()]),
            ("sessions", &session, vec![session.clone()]),
        ] {
            assert_eq!(found(&mut root, list, text).await, expected, "{list}: {text}");
        }
        // What is found by its identifier shows it.
        for (list, id) in [("grants", &grant), ("approvals", &approval.id), ("sessions", &session)]
        {
            let page = root.get(&format!("/console/operate/{list}")).await.page();
            assert!(page.text(&format!("row-{id}")).contains(id.as_str()), "{list}");
        }
        let page = shown(&mut root, "users", "<b>\"x\"").await;
        assert_eq!(page.id("find").unwrap().attributes["value"], "<b>\"x\"");
        assert_eq!(page.text("none"), "Nothing here shows it.");
        assert_eq!(page.id("all").unwrap().attributes["href"], "/console/operate/users");
    });
}

/// However many rows there are, a page looks at so many; what it is given whole it finds at once.
#[test]
fn finding_is_bounded_and_goes_on() {
    story(|sim| async move {
        const MANY: usize = 4_200;
        let house = House::open(&sim).await;
        let mut root = house.signed("root").await;
        let world = house.world();
        let one = (*world.store().single::<UserRecord>("user:ada").unwrap()).clone();
        for at in 0..MANY {
            let name = registry::UserName::parse(&format!("m{at:05}")).unwrap();
            world.store().put(&UserRecord { name, ..one.clone() });
        }
        let last = format!("m{:05}", MANY - 1);
        let first = shown(&mut root, "users", &last).await;
        assert!(rows(&first).is_empty());
        assert!(first.text("none").contains("4096 rows"), "{}", first.text("none"));
        let further = first.id("next").unwrap().attributes["href"].clone();
        assert!(further.contains("find=") && further.contains("after="), "{further}");
        let second = root.get(&further).await.page();
        assert_eq!(rows(&second), [format!("user:{last}")]);
        assert!(second.id("next").is_none());
        // By its identifier it comes first, and more may come after it.
        let whole = found(&mut root, "users", &format!("user:{last}")).await;
        assert_eq!(whole, [format!("user:{last}")]);
        // A page ends, and the next one begins after it: nobody is left out.
        let (mut seen, mut to) = (Vec::new(), "/console/operate/users?find=m000".to_owned());
        loop {
            let page = root.get(&to).await.page();
            seen.extend(rows(&page));
            match page.id("next") {
                Some(next) => to.clone_from(&next.attributes["href"]),
                None => break,
            }
        }
        let expected: Vec<_> = (0..100).map(|at| format!("user:m{at:05}")).collect();
        assert_eq!(seen, expected);
    });
}
