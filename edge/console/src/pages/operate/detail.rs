//! One agent, client or person: what its record says, and the orders that an operator can give
//! about it, each with a reason, each recorded as the command of that name is.

use std::sync::Arc;

use access::ends::{self, Ending};
use askama::Template;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use basis::facts::one;
use basis::turns::Operator;
use env::{Unavailable, World};
use http::{Request, StatusCode};
use people::orders;
use people::standing::UserAct;
use provisioning::{Act, State as Stands};
use registry::{AgentRecord, ClientRecord, ClientState, UserRecord};

use super::facts::{self, Fact};
use super::{ID_CHARS_MAX, OPERATE, for_others, lists, ordered};
use crate::Shared;
use crate::form::Form;
use crate::page::{self, Frame};
use crate::pages::authorize::what_it_is;
use crate::visit::Visit;

/// The longest reason, in bytes; as at the operators' socket.
const REASON_BYTES_MAX: usize = 1_024;

/// A record of one of the lists that have details.
enum Found {
    Agent(AgentRecord),
    Client(ClientRecord),
    User(UserRecord),
}

/// What an operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Suspend,
    Resume,
    Disable,
    Enable,
    EndGrants,
}

impl Order {
    const ALL: [Self; 5] =
        [Self::Suspend, Self::Resume, Self::Disable, Self::Enable, Self::EndGrants];

    /// The name in forms and addresses.
    const fn name(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::EndGrants => "end-grants",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.name() == text)
    }

    /// On its button.
    const fn words(self) -> &'static str {
        match self {
            Self::Suspend => "Suspend",
            Self::Resume => "Resume",
            Self::Disable => "Disable",
            Self::Enable => "Enable",
            Self::EndGrants => "End all grants",
        }
    }

    /// Whether it takes something away.
    const fn is_danger(self) -> bool {
        matches!(self, Self::Suspend | Self::Disable | Self::EndGrants)
    }

    /// After it.
    const fn done(self) -> &'static str {
        match self {
            Self::Suspend => "Suspended.",
            Self::Resume => "Resumed.",
            Self::Disable => "Disabled.",
            Self::Enable => "Enabled.",
            Self::EndGrants => "All grants are ended.",
        }
    }

    /// What it means.
    const fn means(self) -> &'static str {
        match self {
            Self::Suspend => "what it holds is dead at once; a resume gives it new credentials",
            Self::Resume => "it gets new credentials, and the old ones stay dead",
            Self::Disable => "nothing more is given, and all that was given ends at once",
            Self::Enable => "it begins anew, and what ended stays ended",
            Self::EndGrants => "what people allowed ends at once, with all that came of it",
        }
    }
}

impl Found {
    async fn of<W: World>(world: &W, here: &str, id: &str) -> Result<Option<Self>, Unavailable> {
        Ok(match here {
            "agents" => {
                one::<W, AgentRecord>(world, id).await?.map(|it| Self::Agent((*it.value).clone()))
            }
            "clients" => {
                one::<W, ClientRecord>(world, id).await?.map(|it| Self::Client((*it.value).clone()))
            }
            "users" => {
                one::<W, UserRecord>(world, id).await?.map(|it| Self::User((*it.value).clone()))
            }
            _ => None,
        })
    }

    fn id(&self) -> String {
        match self {
            Self::Agent(agent) => agent.id.to_string(),
            Self::Client(client) => client.client_id.clone(),
            Self::User(user) => user.id(),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Agent(agent) => agent.entry.name.to_string(),
            Self::Client(client) => {
                let name = client.metadata.client_name.clone();
                name.filter(|name| !name.is_empty()).unwrap_or_else(|| client.client_id.clone())
            }
            Self::User(user) => user.display_name.clone(),
        }
    }

    /// The orders that fit how it stands.
    fn orders(&self) -> Vec<Order> {
        let first = match self {
            Self::Agent(agent) => match agent.lifecycle.state {
                Stands::Active => Order::Suspend,
                Stands::Suspended => Order::Resume,
                Stands::Revoked | Stands::Retired => return Vec::new(),
            },
            Self::Client(client) => match client.state {
                ClientState::Enabled => Order::Disable,
                ClientState::Disabled => Order::Enable,
            },
            Self::User(user) => match user.lifecycle.state {
                Stands::Active => Order::Disable,
                Stands::Suspended => Order::Enable,
                Stands::Revoked | Stands::Retired => return Vec::new(),
            },
        };
        vec![first, Order::EndGrants]
    }

    /// What ends it for good, which no page does.
    fn for_good(&self) -> Vec<String> {
        match self {
            Self::Agent(agent) if !facts::is_final(agent.lifecycle.state) => ["revoke", "retire"]
                .map(|act| format!("aims agent {act} {} --reason …", agent.entry.name))
                .into(),
            Self::User(user) if !facts::is_final(user.lifecycle.state) => {
                vec![format!("aims user remove {} --reason …", user.name)]
            }
            _ => Vec::new(),
        }
    }

    /// Does what is ordered; why not, in words.
    async fn obey<W: World>(
        &self,
        world: &W,
        by: &Operator,
        order: Order,
        why: &str,
    ) -> Result<Result<(), String>, Unavailable> {
        let ending = Ending::by_operator(&by.0, why);
        let ended = |many: usize| match many {
            0 => Err("there is no grant that goes on".to_owned()),
            _ => Ok(()),
        };
        match (self, order) {
            (Self::Agent(agent), Order::Suspend | Order::Resume) => {
                let act = if order == Order::Suspend { Act::Suspend } else { Act::Resume };
                let name = &agent.entry.name;
                let done = flow::agents::act(world, by, name, act, why.to_owned()).await?;
                Ok(done.into_value().map(drop).map_err(|refusal| refusal.to_string()))
            }
            (Self::Client(client), Order::Disable | Order::Enable) => {
                let disables = order == Order::Disable;
                let to = if disables { ClientState::Disabled } else { ClientState::Enabled };
                let id = &client.client_id;
                let done = flow::clients::set_state_for(world, by, id, to, Some(why)).await?;
                Ok(done.into_value().map(drop).map_err(|refusal| refusal.to_string()))
            }
            (Self::User(user), Order::Disable | Order::Enable) => {
                if order == Order::Disable && user.id() == by.0 {
                    return Ok(Err("that is you, and another operator can do it".to_owned()));
                }
                let disables = order == Order::Disable;
                let act = if disables { UserAct::Disable } else { UserAct::Enable };
                let done = orders::act(world, by, &user.name, act, why).await?;
                Ok(done.into_value().map(drop).map_err(|refusal| refusal.to_string()))
            }
            (Self::User(user), Order::EndGrants) => {
                Ok(ended(ends::end_of_user(world, &user.id(), None, ending).await?))
            }
            (Self::Agent(_) | Self::Client(_), Order::EndGrants) => {
                Ok(ended(ends::end_client(world, &self.id(), ending).await?))
            }
            _ => Ok(Err(format!("`{}` does not fit here", order.name()))),
        }
    }
}

#[derive(Template)]
#[template(path = "detail.html")]
struct Page<'a> {
    frame: Frame,
    here: &'a str,
    told: &'a str,
    failed: String,
    reason: &'a str,
    id: String,
    facts: Vec<Fact>,
    orders: Vec<Order>,
    /// Other lists that have rows of it, and what finds them there.
    related: Vec<(&'static str, String)>,
    for_good: Vec<String>,
    action: String,
    form: String,
}

impl Page<'_> {
    fn lists(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        lists(self.here)
    }
}

/// The address of a detail.
pub(super) fn place(here: &str, id: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("id", id).finish();
    format!("{OPERATE}/{here}/one?{query}")
}

/// `GET /console/operate/{what}/one?id=…`.
pub(crate) async fn show<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(what): Path<String>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let Ok(visit) = Visit::of(&shared, &parts).await else { return page::unavailable() };
    if let Some(answer) = for_others(&shared, &visit) {
        return answer;
    }
    let query = Form::of_query(parts.uri.query().unwrap_or_default());
    let id: String = query.one("id").unwrap_or_default().chars().take(ID_CHARS_MAX).collect();
    let told = query.one("done").and_then(Order::parse).map_or("", Order::done);
    match Found::of(shared.world.as_ref(), &what, &id).await {
        Ok(Some(found)) => show_to(&shared, &visit, &what, &found, (told, String::new(), "")).await,
        Ok(None) => no_such(&visit),
        Err(_) => page::unavailable(),
    }
}

fn no_such(visit: &Visit) -> Response {
    let what = "Nothing was done. Find it in its list.";
    visit.refusal(StatusCode::NOT_FOUND, "There is no such record", what)
}

/// The page: what was done, what was not and why, and the reason that was given for it.
async fn show_to<W: World>(
    shared: &Shared<W>,
    visit: &Visit,
    here: &str,
    found: &Found,
    (told, failed, reason): (&str, String, &str),
) -> Response {
    let (id, action) = (found.id(), format!("{OPERATE}/{here}/act"));
    let facts = match found {
        Found::Agent(agent) => facts::of_agent(agent),
        Found::User(user) => facts::of_user(user),
        Found::Client(client) => {
            let Ok(kind) = consent::kind_of(shared.world.as_ref(), &id).await else {
                return page::unavailable();
            };
            facts::of_client(client, kind.as_ref().map_or_else(String::new, what_it_is))
        }
    };
    let lists: &[&str] = match found {
        Found::User(_) => &["grants", "approvals", "sessions"],
        Found::Agent(_) | Found::Client(_) => &["grants", "approvals"],
    };
    let find = |list: &str| {
        let query =
            form_urlencoded::Serializer::new(String::new()).append_pair("find", &id).finish();
        format!("{OPERATE}/{list}?{query}")
    };
    let status = if failed.is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
    let shown = Page {
        frame: visit.frame(&found.name(), "operate"),
        here,
        told,
        failed,
        reason,
        facts: facts.into_iter().filter(|(_, values)| !values.is_empty()).collect(),
        orders: found.orders(),
        related: lists.iter().map(|list| (*list, find(list))).collect(),
        for_good: found.for_good(),
        form: visit.browser.form_value(&action),
        action,
        id,
    };
    visit.answer(page::show(status, &shown))
}

/// `POST /console/operate/{what}/act`: an order, its reason and whom it is about.
pub(crate) async fn act<W: World>(
    State(shared): State<Arc<Shared<W>>>,
    Path(what): Path<String>,
    request: Request<Body>,
) -> Response {
    let (visit, form, by) = match ordered(&shared, request).await {
        Ok(all) => all,
        Err(answer) => return answer,
    };
    let id = form.one("id").unwrap_or_default();
    let world = shared.world.as_ref();
    let found = match Found::of(world, &what, id).await {
        Ok(Some(found)) => found,
        Ok(None) => return no_such(&visit),
        Err(_) => return page::unavailable(),
    };
    let reason = form.one("reason").unwrap_or_default().trim();
    let failed = |why: String| (why, reason);
    let Some(order) = form.one("act").and_then(Order::parse) else {
        let what = "Nothing was done: the form does not say what to do.";
        return visit.refusal(StatusCode::BAD_REQUEST, "No order", what);
    };
    let done = match readable(reason) {
        Ok(()) => found.obey(world, &by, order, reason).await,
        Err(why) => Ok(Err(why)),
    };
    match done {
        Ok(Ok(())) => {
            let to = format!("{}&done={}", place(&what, id), order.name());
            visit.answer(page::see_other(&to))
        }
        Ok(Err(why)) => {
            let (why, reason) = failed(format!("Nothing was done: {why}."));
            // As it stands now, which may be why.
            match Found::of(world, &what, id).await {
                Ok(Some(found)) => show_to(&shared, &visit, &what, &found, ("", why, reason)).await,
                _ => page::unavailable(),
            }
        }
        Err(_) => page::unavailable(),
    }
}

/// A reason is recorded, and people read it.
fn readable(reason: &str) -> Result<(), String> {
    if reason.is_empty() {
        return Err("say why, for it is recorded".to_owned());
    }
    if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
        return Err(format!(
            "the reason must be at most {REASON_BYTES_MAX} bytes, without control characters"
        ));
    }
    Ok(())
}
