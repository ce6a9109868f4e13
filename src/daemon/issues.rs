//! Questions about issues: answered from what is remembered, and by Jira as long as the asker waits.
//!
//! What was seen a moment ago is told at once. For the rest Jira is asked, and the asker hears what came of it or, when
//! its patience ends before, what was seen earlier; the look goes on and is remembered for whoever asks next. An account
//! that Jira refuses, or that asks too much, is left alone for a while.
//!
//! Who may write to a repository may ask about issues through the site's account, because the rules of a push have to be
//! checked; they do not hear what an issue is called, and only queries of the configuration are asked for them.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock;
use crate::config::Config;
use crate::intake::socket::Peer;
use crate::issue::{About, Answer, Ask, Category, Issue, List, MOST_KEYS, Told};
use crate::people::{self, Evidence, Pusher};
use crate::queue::{Seen, Sight};
use crate::send::{Obstacle, Platform, Settings};

use super::actors::SITE;
use super::{Applied, Shared, intake};

/// How long what was seen is told without another look.
const FRESH_MS: i64 = 30_000;
/// How long an account is left alone that could not look, where Jira does not say.
const REST_MS: i64 = 60_000;
/// The longest that anybody waits.
const LONGEST: Duration = Duration::from_secs(30);
/// Looks at the same time.
const LOOKS: usize = 8;
/// Answers to queries that are remembered.
const MOST_MATCHES: usize = 20_000;
/// Issues that are listed at most.
const MOST_LISTED: usize = 500;

/// Where questions are answered.
pub struct Desk {
    looks: Arc<Semaphore>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// The configuration that the clients were made for.
    applied: Option<Arc<Applied>>,
    clients: HashMap<Who, Client>,
    resting: HashMap<Who, (i64, String)>,
    /// By account, query and issue: whether it is found, and when that was seen.
    matches: HashMap<(Who, String, String), (bool, i64)>,
}

struct Client {
    platform: Arc<Platform>,
    /// When what opens a person's account was handed over.
    since: Option<i64>,
}

/// An account at a site, as the ledger names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Who {
    site: String,
    actor: String,
}

/// A question with all that it means.
struct Question {
    who: Who,
    settings: Settings,
    keys: Vec<String>,
    queries: Vec<String>,
    list: List,
    /// Whether whoever asks is the one whose account looks.
    own: bool,
}

/// What a look brought.
#[derive(Default)]
struct Looked {
    issues: HashMap<String, Option<Issue>>,
    listed: Option<Vec<Issue>>,
    lacks: Option<String>,
}

impl Desk {
    pub fn new() -> Desk {
        Desk { looks: Arc::new(Semaphore::new(LOOKS)), inside: Mutex::default() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a question, within the time that the asker is ready to wait.
pub async fn answer(shared: &Arc<Shared>, body: &[u8], peer: Peer) -> Told {
    let ask: Ask = match minicbor::decode(body) {
        Ok(ask) => ask,
        Err(_) => return nothing("an agent of another version asks: its question cannot be read"),
    };
    let patience = Duration::from_millis(u64::from(ask.wait_ms)).min(LONGEST);
    let asked = ask.keys.clone();
    let queries = ask.queries.len();
    let question = match question(shared, ask, peer.uid) {
        Ok(question) => question,
        Err(because) => return unknown(&asked, queries, &because),
    };
    match told(shared, question, patience).await {
        Ok(told) => told,
        Err(error) => unknown(&asked, queries, &error.to_string()),
    }
}

/// Finds out whom to ask, or why nobody can be.
fn question(shared: &Shared, ask: Ask, uid: u32) -> Result<Question, String> {
    if ask.keys.len() > MOST_KEYS {
        return Err(format!("{} keys in one question, {MOST_KEYS} are the most", ask.keys.len()));
    }
    let applied = shared.applied();
    let settings = site(&applied.config, ask.git_dir.as_deref(), &ask.site, uid)?;
    let personal = ask.git_dir.is_none() || ask.list != List::None;
    let (actor, own) = account(shared, &applied, settings, personal, uid)?;
    let of_policy = |query: &String| applied.config.policy.iter().any(|section| section.jql.as_ref() == Some(query));
    if !runs_us(uid) && actor == SITE && !ask.queries.iter().all(of_policy) {
        return Err("only queries of the configuration are asked for others".to_owned());
    }
    Ok(Question {
        who: Who { site: settings.name.clone(), actor },
        settings: settings.clone(),
        keys: ask.keys.iter().map(|key| key.to_uppercase()).collect(),
        queries: ask.queries,
        list: ask.list,
        own,
    })
}

/// The site that somebody means: that of a repository, the one they name, or the only one.
pub fn site<'a>(config: &'a Config, git_dir: Option<&str>, name: &str, uid: u32) -> Result<&'a Settings, String> {
    if let Some(git_dir) = git_dir {
        let git_dir = Path::new(git_dir);
        intake::may_speak(config, git_dir, uid)?;
        let real = std::fs::canonicalize(git_dir).unwrap_or_else(|_| git_dir.to_owned());
        let link = config.link_of(&real).ok_or("the repository lies in no account")?;
        return link.site.ok_or_else(|| format!("account {} has no site", link.account.name));
    }
    match (name, &config.site[..]) {
        ("", [only]) => Ok(only),
        ("", []) => Err("no site is linked; `agent link` does that".to_owned()),
        ("", _) => Err("there are several sites, and none was named".to_owned()),
        (name, sites) => {
            sites.iter().find(|site| site.name == name).ok_or_else(|| format!("there is no site called {name}"))
        }
    }
}

/// Whether a user is the one as whom the daemon runs, or may do all that one may.
pub fn runs_us(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Under which name the logins and the news of a user are kept.
pub fn holder(applied: &Applied, uid: u32) -> String {
    applied.people.holder(&Pusher { login: people::user(uid), by: Evidence::Peer })
}

/// The account at a site through which something is done for a user, as the ledger names it, and whether it is their own:
/// for what is personal the one that they have linked, else the site's.
pub fn account(
    shared: &Shared,
    applied: &Applied,
    site: &Settings,
    personal: bool,
    uid: u32,
) -> Result<(String, bool), String> {
    let is_host = applied.config.account.iter().any(|account| account.smart.is_host(uid));
    let login = if is_host { None } else { shared.logins.linked(&site.name, &holder(applied, uid)) };
    let sites = site.account.is_some() && (runs_us(uid) || !personal);
    match login {
        Some(login) if personal || !sites => Ok((login.account, true)),
        _ if sites => Ok((SITE.to_owned(), runs_us(uid))),
        _ => Err(format!("there is no account at site {} to do that with; `agent login` links yours", site.name)),
    }
}

async fn told(shared: &Arc<Shared>, question: Question, patience: Duration) -> anyhow::Result<Told> {
    let question = Arc::new(question);
    let Who { site, actor } = question.who.clone();
    let remembered = shared.queue.seen_issues(site.clone(), actor.clone(), question.keys.clone()).await?;
    let now = clock::now();
    let fresh = |seen: &Option<Seen>| seen.as_ref().is_some_and(|seen| (seen.at..seen.at + FRESH_MS).contains(&now));
    let stale: Vec<String> = question
        .keys
        .iter()
        .zip(&remembered)
        .filter(|(_, seen)| !fresh(seen))
        .map(|(key, _)| key.clone())
        .collect::<HashSet<_>>()
        .into_iter()
        .collect();
    let known: Vec<Issue> =
        remembered.iter().filter(|seen| fresh(seen)).flatten().filter_map(|seen| seen.issue.clone()).collect();
    let unmatched = known.iter().any(|issue| !shared.desk.knows(&question, issue, now));
    let looked = if stale.is_empty() && !unmatched && question.list != List::Mine {
        Looked::default()
    } else {
        look_within(shared, &question, stale, known, patience).await
    };
    let listed = match (question.list, looked.listed) {
        (List::None, _) => Vec::new(),
        (List::Mine, Some(listed)) => listed,
        (list, _) => {
            let latest = shared.queue.latest_issues(site, actor.clone(), MOST_LISTED).await?;
            let mine = |issue: &Issue| {
                let is_ours = actor == SITE || issue.assignee.as_ref().is_some_and(|one| one.account == actor);
                list == List::Remembered || (is_ours && issue.category != Category::Done)
            };
            latest.into_iter().filter_map(|(_, seen)| seen.issue).filter(mine).collect()
        }
    };
    let now = clock::now();
    let about = |key: String, seen: Option<Seen>, because: &Option<String>| {
        let answer = match seen {
            Some(Seen { issue: Some(issue), .. }) => Answer::Found(Box::new(issue)),
            Some(Seen { issue: None, at }) => Answer::Missing { seen: at },
            None => Answer::Unknown { because: because.clone().unwrap_or_else(|| "nobody has looked yet".to_owned()) },
        };
        let matches = match &answer {
            Answer::Found(issue) => shared.desk.matches(&question, issue, now),
            _ => vec![None; question.queries.len()],
        };
        About { key, answer: hide(answer, question.own), matches }
    };
    let asked = question.keys.iter().zip(remembered).map(|(key, seen)| {
        let seen = match looked.issues.get(key) {
            Some(issue) => Some(Seen { issue: issue.clone(), at: now }),
            None => seen,
        };
        about(key.clone(), seen, &looked.lacks)
    });
    let mut all: Vec<About> = asked.collect();
    let mut names: HashSet<String> = HashSet::new();
    let listed = listed.into_iter().filter(|issue| names.insert(issue.key.clone()));
    all.extend(listed.map(|issue| {
        let seen = Seen { at: issue.seen, issue: Some(issue.clone()) };
        about(issue.key.clone(), Some(seen), &None)
    }));
    Ok(Told { about: all, lacks: looked.lacks })
}

/// Has Jira asked; what comes too late for this asker is remembered for the next.
async fn look_within(
    shared: &Arc<Shared>,
    question: &Arc<Question>,
    keys: Vec<String>,
    known: Vec<Issue>,
    patience: Duration,
) -> Looked {
    let lacking = |because: String| Looked { lacks: Some(because), ..Looked::default() };
    let platform = match shared.desk.client(shared, question) {
        Ok(platform) => platform,
        Err(because) => return lacking(because),
    };
    let Ok(room) = Arc::clone(&shared.desk.looks).try_acquire_owned() else {
        return lacking("too many ask at once".to_owned());
    };
    let look = {
        let (shared, question) = (Arc::clone(shared), Arc::clone(question));
        tokio::spawn(async move {
            let looked = look(&shared, &question, &platform, keys, known).await;
            drop(room);
            looked
        })
    };
    match tokio::time::timeout(patience, look).await {
        Ok(Ok(looked)) => looked,
        Ok(Err(_)) => lacking("looking for it failed".to_owned()),
        Err(_) => lacking(format!("Jira has not answered within {} ms", patience.as_millis())),
    }
}

async fn look(
    shared: &Shared,
    question: &Question,
    platform: &Platform,
    keys: Vec<String>,
    mut known: Vec<Issue>,
) -> Looked {
    let now = clock::now();
    let mut looked = Looked::default();
    let obstacle = 'asked: {
        if !keys.is_empty() {
            match platform.look_up(&keys, now).await {
                Ok(issues) => looked.issues = issues,
                Err(obstacle) => break 'asked Some(obstacle),
            }
        }
        if question.list == List::Mine {
            match platform.assigned(now).await {
                Ok(listed) => looked.listed = Some(listed),
                Err(obstacle) => break 'asked Some(obstacle),
            }
        }
        known.extend(looked.issues.values().flatten().cloned());
        for query in &question.queries {
            let open: Vec<Issue> =
                known.iter().filter(|issue| !shared.desk.knows_of(question, query, issue, now)).cloned().collect();
            if open.is_empty() {
                continue;
            }
            match platform.found_by(query, &open, now).await {
                Ok(found) => shared.desk.matched(question, query, &open, &found, now),
                Err(Obstacle::Refused { because }) => {
                    looked.lacks = Some(format!("Jira refuses the query {query}: {because}"));
                }
                Err(obstacle) => break 'asked Some(obstacle),
            }
        }
        None
    };
    if let Some(obstacle) = obstacle {
        let because = shared.desk.rest(&question.who, obstacle, now);
        tracing::info!(site = %question.who.site, "issues at {} are not looked up for a while", question.who.site);
        looked.lacks = Some(because);
    }
    let sight = |key: &str, issue: Option<&Issue>| Sight {
        site: question.who.site.clone(),
        actor: question.who.actor.clone(),
        key: key.to_owned(),
        seen: Seen { issue: issue.cloned(), at: now },
    };
    let asked = looked.issues.iter().map(|(key, issue)| sight(key, issue.as_ref()));
    let listed = looked.listed.iter().flatten().map(|issue| sight(&issue.key, Some(issue)));
    let sights: Vec<Sight> = asked.chain(listed).collect();
    if !sights.is_empty()
        && let Err(error) = shared.queue.remember_issues(sights).await
    {
        tracing::warn!("what Jira showed of issues is not remembered: {error}");
    }
    looked
}

impl Desk {
    /// A client for the account, unless it rests.
    fn client(&self, shared: &Shared, question: &Question) -> Result<Arc<Platform>, String> {
        let Question { who, settings, .. } = question;
        let applied = shared.applied();
        let mut inside = self.inside();
        if !inside.applied.as_ref().is_some_and(|known| Arc::ptr_eq(known, &applied)) {
            *inside = Inside { applied: Some(applied), ..Inside::default() };
        }
        let since = if who.actor == SITE { None } else { shared.logins.since(&who.site, &who.actor) };
        let current =
            inside.clients.get(who).filter(|client| client.since == since && !client.platform.secret_changed());
        if let Some(client) = current.map(|client| Arc::clone(&client.platform)) {
            return match inside.resting.get(who) {
                Some((until, because)) if clock::now() < *until => Err(because.clone()),
                _ => Ok(client),
            };
        }
        let made = if who.actor == SITE {
            let credentials = shared.environment.credentials_directory.as_deref();
            Platform::new(settings, credentials).map_err(|error| error.to_string())?
        } else {
            let opened = shared.logins.open(&who.site, &who.actor).map_err(|shut| shut.because)?;
            Platform::of(settings, &opened.opener).map_err(|error| error.to_string())?
        };
        let platform = Arc::new(made);
        inside.resting.remove(who);
        inside.clients.insert(who.clone(), Client { platform: Arc::clone(&platform), since });
        Ok(platform)
    }

    /// Leaves an account alone for as long as Jira wishes, and says why.
    fn rest(&self, who: &Who, obstacle: Obstacle, now: i64) -> String {
        let (after, because) = match obstacle {
            Obstacle::Later { after, because, .. } => (after, because),
            Obstacle::Halt { because, .. } | Obstacle::Refused { because } => (None, because),
        };
        let until = now + after.unwrap_or(REST_MS);
        self.inside().resting.insert(who.clone(), (until, because.clone()));
        because
    }

    fn matched(&self, question: &Question, query: &str, asked: &[Issue], found: &HashSet<String>, now: i64) {
        let mut inside = self.inside();
        if inside.matches.len() > MOST_MATCHES {
            inside.matches.clear();
        }
        for issue in asked {
            let key = (question.who.clone(), query.to_owned(), issue.id.clone());
            inside.matches.insert(key, (found.contains(&issue.id), now));
        }
    }

    fn matches(&self, question: &Question, issue: &Issue, now: i64) -> Vec<Option<bool>> {
        let inside = self.inside();
        let of = |query: &String| {
            let key = (question.who.clone(), query.clone(), issue.id.clone());
            let (found, at) = inside.matches.get(&key)?;
            Some(*found).filter(|_| (*at..*at + FRESH_MS).contains(&now))
        };
        question.queries.iter().map(of).collect()
    }

    fn knows(&self, question: &Question, issue: &Issue, now: i64) -> bool {
        question.queries.iter().all(|query| self.knows_of(question, query, issue, now))
    }

    fn knows_of(&self, question: &Question, query: &str, issue: &Issue, now: i64) -> bool {
        let key = (question.who.clone(), query.to_owned(), issue.id.clone());
        self.inside().matches.get(&key).is_some_and(|(_, at)| (*at..*at + FRESH_MS).contains(&now))
    }
}

/// Takes away what only those hear who look with their own account.
fn hide(answer: Answer, own: bool) -> Answer {
    match answer {
        Answer::Found(mut issue) if !own => {
            issue.summary.clear();
            Answer::Found(issue)
        }
        answer => answer,
    }
}

fn nothing(because: &str) -> Told {
    Told { about: Vec::new(), lacks: Some(because.to_owned()) }
}

fn unknown(keys: &[String], queries: usize, because: &str) -> Told {
    let about = |key: &String| About {
        key: key.clone(),
        answer: Answer::Unknown { because: because.to_owned() },
        matches: vec![None; queries],
    };
    Told { about: keys.iter().map(about).collect(), lacks: Some(because.to_owned()) }
}
