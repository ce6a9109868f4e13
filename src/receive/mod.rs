//! What a push brings, read and answered: by the hook itself, or by the daemon in its stead.
//!
//! A hook is a process, and what it costs a push is mostly its start: a program that can read Git and parse messages takes
//! longer to load than to do it. So `agent-hook` (`hooks/agent-hook`), which can do next to nothing, passes on to the daemon what Git
//! told it ([`git_jira_agent_hook::call`]), and the daemon, which is loaded already, reads, stores and answers. Whatever is out of the ordinary, and
//! all of it where no daemon answers, goes the long way: `agent-hook` becomes `agent hook`, which does everything itself
//! and needs nobody.

pub mod answer;
pub mod message;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use git_jira_agent_hook::call::SSH_USER_AUTH;

use crate::config::{Config, Environment, Link};
use crate::event::{Claim, Event, PushOption, Seen};
use crate::git::{self, Budget, Commit, Known, Repository, Update};
use crate::intake::frame;
use crate::parse::Rules;
use crate::people::{self, People};
use crate::send::Executor;
use crate::smart::Policy;
use crate::sync::Orders;

/// The longest message that travels; the daemon reads longer ones itself.
const MESSAGE: usize = 64 << 10;
/// The most files of a commit that Jira takes.
const FILES: usize = 10;
/// The most branches whose last commit is looked up although it is not new.
const TIPS: usize = 50;

/// What Git says of refs that are our business.
pub fn concerning(repository: &Repository, stdin: &[u8]) -> Result<Vec<Update>, git::Error> {
    let mut updates = git::updates(stdin)?;
    updates.retain(|update| git::concerns_us(&update.name) && !repository.hides(&update.name));
    Ok(updates)
}

/// What the environment claims about who pushes.
pub fn claims(environment: &Environment) -> Vec<Claim> {
    let claim = |(name, value): &(String, OsString)| {
        // What it names is the file of this very session, and gone afterwards.
        let keys = name == SSH_USER_AUTH;
        let value = if keys { people::login_keys(Path::new(value)) } else { value.as_bytes().to_vec() };
        Claim { name: name.clone(), value }
    };
    environment.claims.iter().map(claim).collect()
}

/// What was said with `git push -o`.
pub fn push_options(environment: &Environment) -> Vec<PushOption> {
    environment.push_options.iter().map(|option| PushOption(option.clone().into_vec())).collect()
}

/// Reads into an event what its updates bring, within a budget.
pub fn read(repository: &Repository, event: &mut Event, known: &Known, budget: Budget, rules: &Rules) {
    let news: Vec<_> = event.updates.iter().filter_map(|update| update.new).collect();
    // What cannot be read here is left to the daemon, which says so if it cannot either.
    let walk = repository.walk(&news, known, budget).unwrap_or_default();
    event.rest = !walk.complete;
    event.commits = walk.commits.into_iter().map(|commit| seen(repository, commit, budget.until, rules)).collect();
    let branches = event.updates.iter().filter(|update| update.name.is_branch()).filter_map(|update| update.new);
    let unseen = branches.filter(|id| !event.commits.iter().any(|seen| seen.commit.id == *id));
    event.tips = unseen.take(TIPS).filter_map(|id| repository.commit(id).ok()).collect();
    event.tips.iter_mut().for_each(|commit| commit.message.truncate(MESSAGE));
    fit(event);
}

/// By whose leave the orders of an event are carried out, by the agent or by Jira.
pub fn orders(
    event: &Event,
    link: Option<Link<'_>>,
    uid: u32,
    people: impl FnOnce() -> anyhow::Result<Arc<People>>,
) -> anyhow::Result<Option<Orders>> {
    let linked = link.and_then(|link| Some((link.account, link.site?)));
    let Some((account, site)) = linked.filter(|(_, site)| site.executor() != Executor::Off) else {
        return Ok(None);
    };
    // Who is who is read from files and asked of the system: not where nothing can be ordered.
    let orders = event.commits.iter().any(|seen| seen.commit.message.contains(&b'#'));
    if !orders || account.smart.policy == Policy::Off || !account.smart_commits(event.repository.git_dir()) {
        return Ok(None);
    }
    let orders = Orders::new(event, uid, &site.name, &account.smart, people()?, event.at);
    Ok(orders.map(|orders| Orders { by_jira: site.executor() == Executor::Jira, ..orders }))
}

/// The lines that a push is answered with.
pub fn answer(
    config: &Config,
    event: &Event,
    rules: &Rules,
    mut orders: Option<Orders>,
    handed: answer::Handed<'_>,
) -> Vec<String> {
    let git_dir = event.repository.git_dir();
    let link = config.link_of(git_dir);
    if let (Some(orders), answer::Handed::Daemon(reply)) = (&mut orders, handed) {
        // Only the daemon knows who has linked an account.
        orders.lacks.clone_from(&reply.lacks);
    }
    let name = link.map(|link| link.account.repository_name(git_dir)).unwrap_or_default();
    let orders = orders.as_ref().map(|orders| (orders, name.as_str()));
    let site = link.and_then(|link| link.site);
    let ignores_merges = link.is_some_and(|link| link.account.ignore_merges);
    answer::Answer { event, rules, ignores_merges, site, orders, handed }.lines()
}

/// A commit with its files where it names an issue and there is time.
fn seen(repository: &Repository, mut commit: Commit, until: Option<Instant>, rules: &Rules) -> Seen {
    let named = until.is_none_or(|until| Instant::now() < until) && !rules.message(&commit.message).keys.is_empty();
    let files = if named { repository.files(&commit, FILES).ok() } else { None };
    let cut = commit.message.len() > MESSAGE;
    commit.message.truncate(MESSAGE);
    Seen { commit, files, cut }
}

/// Leaves commits out, oldest first, until the event fits into a frame; the daemon walks the rest.
fn fit(event: &mut Event) {
    let mut bytes = event.encode().len();
    while bytes > frame::LIMIT && !(event.commits.is_empty() && event.tips.is_empty()) {
        event.tips.clear();
        event.commits.truncate(event.commits.len() / 2);
        event.rest = true;
        bytes = event.encode().len();
    }
}
