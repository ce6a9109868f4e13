//! What a team asks of a message: the same rules in a clone and on the server.
//!
//! [`Settings`] is one section of the configuration: what is asked, where, and how strictly. [`Policies`] are those that
//! hold in one repository. [`Policies::judge`] lays them beside one commit and gives [`Finding`]s, whose sentences are
//! the same wherever they are read. Nothing here looks anything up: what is known of issues comes in as [`Answers`],
//! and what is not known there is told apart from what is wrong, so that each section says itself what that means.

pub mod draft;
mod issue;
mod judge;
mod say;

use std::time::Duration;

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

pub use issue::{Answers, Questions};
pub use judge::{Case, Finding, Somebody};
pub use say::{Lines, of};

use crate::issue::Category;
use crate::text;

/// Section `[[policy]]` of the configuration: what is asked of commits, where, and how strictly.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `off`, `warn` or `block`. Default `warn`.
    pub level: Level,
    /// Accounts it holds in. Default: all.
    pub accounts: Vec<String>,
    /// Names of repositories it holds in, where `*` stands for anything. Default: all.
    pub repositories: Vec<String>,
    /// Branches it holds on, where `*` stands for anything. Default: all.
    pub branches: Vec<String>,
    /// It holds for commits that change one of these files, where `*` stands for anything. Default: for all.
    pub paths: Vec<String>,
    /// Rule `key`: the message names an issue. Default false.
    pub key: bool,
    /// Rule `exists`: every issue it names is there. Default false.
    pub exists: bool,
    /// Rule `issue`: an issue it names lies in one of these projects. Default: any.
    pub projects: Vec<String>,
    /// ... is in one of these statuses. Default: any.
    pub statuses: Vec<String>,
    /// ... in a status of one of these categories: `to-do`, `in-progress`, `done`. Default: any.
    pub categories: Vec<Category>,
    /// ... is of one of these types. Default: any.
    pub types: Vec<String>,
    /// ... is found by this query. Default: none.
    pub jql: Option<String>,
    /// ... is assigned to the author of the commit. Default false.
    pub assignee: bool,
    /// Whether all issues it names have to fit, instead of one. Default false.
    pub every: bool,
    /// Rule `subject`: the most characters of the first line. Default: any number.
    pub subject_max: Option<usize>,
    /// ... which fits this expression. Default: none.
    pub subject: Option<Pattern>,
    /// Rule `body`: the most characters of a line after the first; a line without a blank may be longer. Default: any.
    pub line_max: Option<usize>,
    /// ... the second line is blank. Default false.
    pub blank_line: bool,
    /// ... no line ends with a blank. Default false.
    pub no_trailing_space: bool,
    /// Rule `message`: the whole message fits this expression. Default: none.
    pub message: Option<Pattern>,
    /// Rule `branch`: a branch that is made has a name that fits this expression. Default: none.
    pub branch_name: Option<Pattern>,
    /// Rule `committer`: `pusher`, the committer is whoever pushes. Default: anybody.
    pub committer: Option<Committer>,
    /// ... has an address at one of these domains. Default: any.
    pub email_domains: Vec<String>,
    /// Commits that nothing is asked of: `merges`, `reverts`, `fixups` (fixup!, squash!, amend!). Default: all three.
    pub exempt: Vec<Exempt>,
    /// Nothing is asked of messages that fit one of these expressions. Default: none.
    pub exempt_messages: Vec<Pattern>,
    /// Nothing is asked of what these people push, or, where nobody vouches for who pushes, of what they committed: names
    /// of the table, logins, addresses, and `bots` for all services of the table. Default: nobody.
    pub exempt_people: Vec<String>,
    /// What becomes of a commit about which something cannot be known: `allow` or `refuse`. Default `allow`.
    pub on_unknown: OnUnknown,
    /// How long a push waits for what is not known yet. Default `300 ms`, at most `5 s`.
    pub wait: Wait,
    /// Whether `git push -o agent.override="reason"` goes on in spite of it, which is written down. Default true.
    pub may_override: bool,
}

/// How strictly a section is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Off,
    /// It is said, and the commit or push goes on.
    #[default]
    Warn,
    /// The commit or push is refused.
    Block,
}

/// What is made of something that cannot be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknown {
    #[default]
    Allow,
    Refuse,
}

/// Who has to be the committer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Committer {
    Pusher,
}

/// Commits that nothing is asked of, by what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exempt {
    Merges,
    Reverts,
    Fixups,
}

/// An expression that compiles.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Regex);

/// How long is waited for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Wait(pub Duration);

/// Section `[message]` of the configuration: what is put into messages in a clone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Message {
    /// Where the key of the branch goes: `prefix`, `scope`, `trailer` or `off`. Default `prefix`.
    pub key: Place,
    /// What `prefix` puts before the subject. Default `"{key} "`.
    pub template: String,
    /// What the trailer is called. Default `Issue`.
    pub trailer: String,
    /// Whether a key that a policy demands is asked for on the terminal. Default true.
    pub ask: bool,
}

/// Where a key goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    #[default]
    Prefix,
    /// The scope of a conventional commit.
    Scope,
    Trailer,
    Off,
}

/// The sections that hold in one repository.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    sections: Vec<Settings>,
}

const MOST_WAIT: Duration = Duration::from_secs(5);

impl Default for Settings {
    fn default() -> Self {
        Settings {
            level: Level::Warn,
            accounts: Vec::new(),
            repositories: Vec::new(),
            branches: Vec::new(),
            paths: Vec::new(),
            key: false,
            exists: false,
            projects: Vec::new(),
            statuses: Vec::new(),
            categories: Vec::new(),
            types: Vec::new(),
            jql: None,
            assignee: false,
            every: false,
            subject_max: None,
            subject: None,
            line_max: None,
            blank_line: false,
            no_trailing_space: false,
            message: None,
            branch_name: None,
            committer: None,
            email_domains: Vec::new(),
            exempt: vec![Exempt::Merges, Exempt::Reverts, Exempt::Fixups],
            exempt_messages: Vec::new(),
            exempt_people: Vec::new(),
            on_unknown: OnUnknown::Allow,
            wait: Wait(Duration::from_millis(300)),
            may_override: true,
        }
    }
}

impl Default for Message {
    fn default() -> Self {
        Message { key: Place::Prefix, template: "{key} ".to_owned(), trailer: "Issue".to_owned(), ask: true }
    }
}

impl Settings {
    /// Checks what no single field can.
    pub fn check(&self) -> Result<(), String> {
        let asks = self.key
            || self.exists
            || self.asks_of_an_issue()
            || self.subject_max.is_some()
            || self.subject.is_some()
            || self.line_max.is_some()
            || self.blank_line
            || self.no_trailing_space
            || self.message.is_some()
            || self.branch_name.is_some()
            || self.committer.is_some()
            || !self.email_domains.is_empty();
        if !asks {
            return Err("it asks nothing; `key = true` asks for the key of an issue".to_owned());
        }
        if self.every && !self.asks_of_an_issue() {
            return Err(
                "every = true is for `projects`, `statuses`, `categories`, `types`, `jql` and `assignee`".to_owned()
            );
        }
        if self.branch_name.is_some() && !self.paths.is_empty() {
            return Err(
                "branch_name is asked of a branch, and `paths` of commits: put them into two sections".to_owned()
            );
        }
        Ok(())
    }

    /// Whether something is asked that an issue has to fit.
    fn asks_of_an_issue(&self) -> bool {
        !self.projects.is_empty() || self.needs_the_issue()
    }

    /// Whether only Jira knows whether an issue fits.
    fn needs_the_issue(&self) -> bool {
        !self.statuses.is_empty()
            || !self.categories.is_empty()
            || !self.types.is_empty()
            || self.jql.is_some()
            || self.assignee
    }

    fn holds_in(&self, account: &str, repository: &str) -> bool {
        let named = self.accounts.is_empty() || self.accounts.iter().any(|name| name == account);
        self.level != Level::Off && named && fits(&self.repositories, repository.as_bytes())
    }

    /// Whether it holds on a branch, by its short name.
    fn holds_on(&self, branch: &[u8]) -> bool {
        fits(&self.branches, branch)
    }
}

impl Message {
    pub fn check(&self) -> Result<(), String> {
        if !self.template.contains("{key}") {
            return Err("template needs {key} where the key is to stand".to_owned());
        }
        if self.template.contains('\n') {
            return Err("template is of one line".to_owned());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.trailer.is_empty() || !self.trailer.chars().all(plain) {
            return Err("trailer is a name of letters, digits and hyphens, such as Issue".to_owned());
        }
        Ok(())
    }
}

impl Place {
    /// The place of this name.
    pub fn named(name: &str) -> Option<Place> {
        match name.to_ascii_lowercase().as_str() {
            "prefix" => Some(Place::Prefix),
            "scope" => Some(Place::Scope),
            "trailer" => Some(Place::Trailer),
            "off" => Some(Place::Off),
            _ => None,
        }
    }
}

impl Policies {
    /// Those sections that hold in a repository of an account.
    pub fn of(all: &[Settings], account: &str, repository: &str) -> Policies {
        Policies { sections: all.iter().filter(|one| one.holds_in(account, repository)).cloned().collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// The same, no stricter than this.
    pub fn at_most(mut self, level: Level) -> Policies {
        self.sections.iter_mut().for_each(|one| one.level = one.level.min(level));
        self.sections.retain(|one| one.level != Level::Off);
        self
    }

    /// Whether something is asked of the files that commits change.
    pub fn look_at_paths(&self) -> bool {
        self.sections.iter().any(|one| !one.paths.is_empty())
    }

    /// Whether something is asked for which one has to know who is who.
    pub fn look_at_people(&self) -> bool {
        self.sections.iter().any(|one| one.assignee || one.committer.is_some() || !one.exempt_people.is_empty())
    }

    /// Whether what cannot be looked at is to be refused.
    pub fn refuse_unknown(&self) -> bool {
        self.sections.iter().any(|one| one.level == Level::Block && one.on_unknown == OnUnknown::Refuse)
    }

    /// Which of the sections hold on a branch: branches for which this is the same are judged alike.
    pub fn on(&self, branch: &[u8]) -> Vec<bool> {
        self.sections.iter().map(|one| one.holds_on(branch)).collect()
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let compiled = regex::bytes::RegexBuilder::new(&text).multi_line(false).build();
        compiled.map(Pattern).map_err(|_| format!("{text:?} is no expression that can be used"))
    }
}

impl Pattern {
    fn is_match(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for Wait {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let span: Option<jiff::SignedDuration> = text.parse().ok();
        let wait = span.and_then(|span| Duration::try_from(span).ok()).filter(|wait| *wait <= MOST_WAIT);
        wait.map(Wait).ok_or_else(|| format!("{text:?} is no time such as \"300 ms\", of 5 seconds at most"))
    }
}

fn fits(patterns: &[String], name: &[u8]) -> bool {
    patterns.is_empty() || patterns.iter().any(|one| text::fits(one.as_bytes(), name))
}
