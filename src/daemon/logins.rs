//! People's own accounts: who may link one, and in whose name an order is taken.
//!
//! A user of this server speaks for themselves through the hooks' socket, where the kernel says who they are; whoever
//! runs the hooks of a host does not, because everybody pushes under that user. An administrator speaks for any person of
//! the table.

use std::path::Path;
use std::sync::Arc;

use secrecy::zeroize::Zeroizing;
use tokio::sync::Semaphore;

use crate::clock;
use crate::config::Link;
use crate::event::{Event, Kind};
use crate::intake::{Outcome, Reply};
use crate::login::{Request, Wish};
use crate::people::{self, Evidence, People, Person, Pusher};
use crate::send::{Executor, Opener, Settings};
use crate::smart::{self, Policy};

use super::{Applied, Shared};

/// How many ask at the same time: each has Jira asked.
static ROOM: Semaphore = Semaphore::const_new(4);

/// Whom the kernel names where it cannot name anybody.
const NOBODY: u32 = 65_534;

/// In whose name orders of a pusher are carried out: an account in Jira, or the site's where that is empty; or why not.
///
/// It is asked when an event is read: an account that was linked between the push and that counts already.
pub fn actor(
    shared: &Shared,
    people: &People,
    smart: &smart::Settings,
    site: &str,
    pusher: Option<&Pusher>,
) -> Result<String, String> {
    let (Policy::Linked, Some(pusher)) = (smart.policy, pusher) else { return Ok(String::new()) };
    let linked = shared.logins.linked(site, &people.holder(pusher));
    let expected = people.who(pusher).and_then(|person| person.jira.as_deref());
    if let (Some(row), Some(expected)) = (&linked, expected)
        && row.account != expected
        && row.sign_in.as_deref() != Some(expected)
    {
        let (holder, account) = (&row.holder, &row.account);
        return Err(format!("{holder} has linked {account}, and `jira` of [[person]] {holder} says {expected}"));
    }
    linked.map(|row| row.account).ok_or_else(|| match (people.who(pusher), pusher.by) {
        (_, Evidence::Peer) => {
            "commands go through your own Jira account: link it with `agent login`, then give the command again"
                .to_owned()
        }
        (Some(person), _) => format!(
            "commands go through your own Jira account: an administrator links it with `agent login --person '{}'`, \
             then give the command again",
            person.name
        ),
        (None, _) => {
            format!("commands go through one's own Jira account, and no [[person]] has the login {}", pusher.login)
        }
    })
}

/// Why the orders in an event of a user cannot be carried out, where that is for want of an account.
pub fn lacks(shared: &Shared, applied: &Applied, event: &Event, real: &Path, uid: u32) -> Option<String> {
    let Link { account, site, .. } =
        applied.config.link_of(real).filter(|link| link.account.smart.policy == Policy::Linked)?;
    let site = site.filter(|site| site.executor == Executor::Agent)?;
    let pushed = event.kind == Kind::Push;
    let pusher = if pushed { applied.people.pusher(&event.claims, uid, account.smart.is_host(uid)) } else { None };
    actor(shared, &applied.people, &account.smart, &site.name, pusher.as_ref()).err()
}

/// Does what a user of this server wants of their own login.
pub async fn by_user(shared: &Shared, body: Vec<u8>, uid: u32) -> Reply {
    let body = Zeroizing::new(body);
    let said = match Request::decode(&body) {
        Ok(request) => user(shared, request, uid).await,
        Err(_) => Err("an agent of another version asks: what it wants cannot be read".to_owned()),
    };
    match said {
        Ok(notes) => Reply { notes, ..Reply::new(Outcome::Stored) },
        Err(because) => {
            // Not why: Jira's words may quote what people wrote.
            tracing::info!(peer.uid = uid, "user {uid} has linked nothing");
            Reply::new(Outcome::Refused { because })
        }
    }
}

/// Does what an administrator wants of somebody's login.
pub async fn by_administrator(shared: Arc<Shared>, request: Request) -> Result<Vec<String>, String> {
    let applied = shared.applied();
    let name = request.person.clone().ok_or("whose login is it? --person names somebody")?;
    let person = applied.people.named(&name);
    match (person, &request.wish) {
        (None, Wish::In { .. }) => {
            Err(format!("no [[person]] is called {name}: the table in {} names people", shared.places.config.display()))
        }
        _ => act(&shared, &applied, request, &name, person).await,
    }
}

async fn user(shared: &Shared, request: Request, uid: u32) -> Result<Vec<String>, String> {
    let applied = shared.applied();
    if request.person.is_some() {
        return Err("only an administrator links an account for somebody else".to_owned());
    }
    let user = people::user(uid);
    let host = applied.config.account.iter().any(|account| account.smart.is_host(uid));
    if host || uid == NOBODY {
        return Err(format!(
            "everybody pushes as {user} here, so {user} is nobody: an administrator links an account for you with \
             `agent login --person NAME`"
        ));
    }
    let pusher = Pusher { login: user, by: Evidence::Peer };
    let holder = applied.people.holder(&pusher);
    act(shared, &applied, request, &holder, applied.people.who(&pusher)).await
}

async fn act(
    shared: &Shared,
    applied: &Applied,
    request: Request,
    holder: &str,
    person: Option<&Person>,
) -> Result<Vec<String>, String> {
    let Ok(_room) = ROOM.try_acquire() else { return Err("too many ask at once, try again".to_owned()) };
    let site = applied.config.site.iter().find(|site| site.name == request.site);
    let said = match request.wish {
        Wish::In { token, email, scoped } => {
            let site = site.ok_or_else(|| format!("there is no site called {}", request.site))?;
            may_link(site, person)?;
            let expected = person.and_then(|person| person.jira.as_deref());
            let opener = Opener { email, token, scoped };
            shared.logins.log_in(site, holder, expected, opener, clock::now()).await?
        }
        Wish::Out => match shared.logins.log_out(&request.site, holder).await? {
            true => vec![format!(
                "{holder} has no account linked at site {} any more; the token itself lives until it is revoked in Jira",
                request.site
            )],
            false => return Err(format!("{holder} has linked no account at site {}", request.site)),
        },
    };
    shared.due.notify_waiters();
    Ok(said)
}

fn may_link(site: &Settings, person: Option<&Person>) -> Result<(), String> {
    match person {
        _ if site.executor != Executor::Agent => {
            Err(format!("at site {} the agent carries out no commands, so it needs nobody's account", site.name))
        }
        Some(person) if person.bot => Err(format!("{} is a service, and services give no orders", person.name)),
        _ => Ok(()),
    }
}
