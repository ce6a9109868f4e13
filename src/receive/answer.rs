//! The answer in the push: one calm block, at most ten lines.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Event;
use crate::git::{Commit, Update};
use crate::intake::{self, HandedOver, Outcome, Reply, socket};
use crate::parse::{IssueKey, Mentions, Order, Refusal, Rules};
use crate::queue::Ruling;
use crate::sync::Orders;
use crate::text::Untrusted;
use crate::{effect, send};

/// What a push is answered with.
pub struct Answer<'a> {
    pub event: &'a Event,
    pub rules: &'a Rules,
    /// Whether commits that join lines of history are left out.
    pub ignores_merges: bool,
    pub site: Option<&'a send::Settings>,
    /// By whose leave orders are carried out, where they are; and what the repository is called.
    pub orders: Option<(&'a Orders, &'a str)>,
    pub handed: Handed<'a>,
}

/// Where an event is now.
#[derive(Clone, Copy)]
pub enum Handed<'a> {
    /// The daemon was asked, and answered.
    Daemon(&'a Reply),
    /// On disk, for a daemon that could not be asked, or that is being started.
    Spool { because: &'a socket::Error, starting: bool },
    /// Nowhere.
    Lost,
}

impl<'a> Handed<'a> {
    pub fn of(handed: &'a Result<HandedOver, intake::Error>, starting: bool) -> Handed<'a> {
        match handed {
            Ok(HandedOver::ToDaemon(reply, _)) => Handed::Daemon(reply),
            Ok(HandedOver::ToSpool { because }) => Handed::Spool { because, starting },
            Err(_) => Handed::Lost,
        }
    }

    /// Whether an event is on disk, here or at the daemon.
    pub fn is_taken(self) -> bool {
        match self {
            Handed::Daemon(reply) => reply.outcome == Outcome::Stored,
            Handed::Spool { .. } => true,
            Handed::Lost => false,
        }
    }
}

/// The most lines a push is answered with.
pub const LINES: usize = 10;
/// How many of them may be news: five outcomes, and how many there are more.
const NEWS: usize = 6;

impl Answer<'_> {
    /// The lines, without the `remote:` that Git puts before them. None when there is nothing to say.
    pub fn lines(&self) -> Vec<String> {
        let news = self.news();
        let mut lines = self.of_push(LINES - news.len());
        match lines.is_empty() {
            true if news.is_empty() => return lines,
            true => lines.push("jira: of earlier commands:".to_owned()),
            false => {}
        }
        lines.extend(news);
        lines
    }

    /// What the daemon says of earlier orders of whoever pushed.
    fn news(&self) -> Vec<String> {
        let Handed::Daemon(Reply { notes, .. }) = self.handed else { return Vec::new() };
        notes.iter().take(NEWS).map(|note| format!("  earlier: {}", Untrusted::text(note))).collect()
    }

    /// What is to be said of the push itself, in at most so many lines.
    fn of_push(&self, most: usize) -> Vec<String> {
        let mut found = Found::default();
        for update in &self.event.updates {
            found.branch(update, self.rules);
        }
        for seen in self.event.commits.iter().filter(|seen| !(self.ignores_merges && seen.commit.is_merge())) {
            let mentions = self.rules.message(&seen.commit.message);
            found.commit(&mentions, self.rules);
            found.ruled.extend(self.ruled(&mentions, &seen.commit));
        }
        if found.keys.is_empty() && found.rejected.is_empty() && !self.event.rest {
            return Vec::new();
        }
        let details = self.details(&found);
        let mut lines = vec![self.headline(&found)];
        let room = most - 1;
        let more = details.len().saturating_sub(room);
        let shown = if more > 0 { room - 1 } else { room };
        lines.extend(details.into_iter().take(shown));
        if more > 0 {
            lines.push(format!("  and {} lines more: `agent why <commit>` tells all", more + 1));
        }
        lines
    }

    fn headline(&self, found: &Found) -> String {
        let rest =
            if self.event.rest { "more commits than could be read here; the daemon reads the rest; " } else { "" };
        let what = match (found.commits, found.branches) {
            (0, 0) if found.keys.is_empty() => "no issue key found".to_owned(),
            (commits, 0) => count(commits, "commit", "commits"),
            (0, branches) => count(branches, "branch", "branches"),
            (commits, branches) => {
                format!("{}, {}", count(commits, "commit", "commits"), count(branches, "branch", "branches"))
            }
        };
        let fate = match self.handed {
            _ if found.keys.is_empty() && !self.event.rest => String::new(),
            Handed::Daemon(reply) => match &reply.outcome {
                Outcome::Stored if self.site.is_some_and(send::Settings::is_account_only) => {
                    " read; Jira is not shown them, because an account alone links it".to_owned()
                }
                Outcome::Stored => " queued for Jira".to_owned(),
                Outcome::Refused { because } | Outcome::Later { because } => {
                    format!(" not linked: {}", Untrusted::text(because))
                }
            },
            Handed::Spool { starting: true, .. } => {
                " kept for Jira; the daemon was off and is being started".to_owned()
            }
            Handed::Spool { because, .. } => format!(" kept for Jira until the daemon is back ({because})"),
            Handed::Lost => {
                " found; nothing could store them now, they are linked at the next comparison of refs".to_owned()
            }
        };
        format!("jira: {rest}{what}{fate}")
    }

    fn details(&self, found: &Found) -> Vec<String> {
        let mut lines = Vec::new();
        // First, because so many keys would push it out of sight.
        if found.beyond > 0 {
            lines.push(format!("  {} keys past the first 100 of an entity are left out", found.beyond));
        }
        lines.extend(found.keys.iter().map(|key| self.key_line(key)));
        lines.extend(found.ruled.iter().cloned());
        if found.orders > found.ruled.len() {
            lines.push(format!("  {}: switched off here", count(found.orders, "command", "commands")));
        }
        lines.extend(found.refused.iter().cloned());
        lines.extend(
            found.rejected.iter().map(|(text, because)| format!("  not linked: {} ({because})", Untrusted::text(text))),
        );
        lines
    }

    fn key_line(&self, key: &IssueKey) -> String {
        match self.site {
            Some(site) => format!("  {key}  {}/browse/{key}", site.url),
            None => format!("  {key}"),
        }
    }

    /// What becomes of each order of a commit, where orders are carried out.
    fn ruled(&self, mentions: &Mentions, commit: &Commit) -> Vec<String> {
        let Some((orders, repository)) = self.orders else { return Vec::new() };
        let taken = self.handed.is_taken();
        let line = |(order, ruling): (&Order, Ruling)| {
            let fate = match ruling {
                Ruling::Refused { because, .. } => format!("is not carried out: {}", Untrusted::text(&because)),
                Ruling::Ready | Ruling::Open if !taken => "is not queued".to_owned(),
                Ruling::Open => "is queued, and counts if its signature does".to_owned(),
                Ruling::Ready if orders.by_jira => "is left to Jira".to_owned(),
                Ruling::Ready => "is queued".to_owned(),
            };
            let command = effect::command(order);
            format!("  {} {} {fate}", order.key, Untrusted::text(&command))
        };
        let rulings = orders.rule(mentions, commit, self.event, repository, false);
        mentions.orders.iter().zip(rulings).map(line).collect()
    }
}

/// What messages and branches hold.
#[derive(Default)]
pub struct Found {
    commits: usize,
    branches: usize,
    orders: usize,
    ruled: Vec<String>,
    beyond: usize,
    keys: BTreeSet<IssueKey>,
    /// Look-alikes, and why they link nothing.
    pub rejected: BTreeMap<String, String>,
    /// A line for each command that is not carried out.
    pub refused: Vec<String>,
}

impl Found {
    pub fn commit(&mut self, mentions: &Mentions, rules: &Rules) {
        self.commits += usize::from(!mentions.keys.is_empty());
        self.orders += mentions.orders.len();
        for refused in &mentions.refused {
            let instead = refused.instead.as_deref().map(|text| format!("; write {}", Untrusted::text(text)));
            let command = Untrusted::text(&refused.command);
            let line = match (&refused.key, refused.because) {
                (Some(key), Refusal::OtherProject) => {
                    format!("  {key} #{command} is not carried out: {}", refused.because)
                }
                (_, because) => format!("  #{command} is not understood: {because}{}", instead.unwrap_or_default()),
            };
            self.refused.push(line);
        }
        self.mentions(mentions, rules);
    }

    fn branch(&mut self, update: &Update, rules: &Rules) {
        if update.name.is_branch() {
            let mentions = rules.branch(update.name.short());
            self.branches += usize::from(!mentions.keys.is_empty());
            self.mentions(&mentions, rules);
        }
    }

    fn mentions(&mut self, mentions: &Mentions, rules: &Rules) {
        self.beyond += mentions.beyond;
        self.keys.extend(mentions.keys.iter().map(|found| found.key.clone()));
        self.rejected
            .extend(mentions.rejected.iter().map(|look| (look.text.clone(), rules.says(look.because).into_owned())));
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
