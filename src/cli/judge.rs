//! What it takes to judge commits in one repository, for hooks and for whoever tries the rules.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::config::{Config, Environment, Places};
use crate::git::{Commit, Ident, Oid, RefName, Repository};
use crate::parse::{IssueKey, Mentions, Rules};
use crate::people::{self, Evidence, People};
use crate::policy::draft::{Cleanup, Draft};
use crate::policy::{Answers, Case, Finding, Level, Message, Place, Policies, Questions, Somebody};
use crate::receive;
use crate::team::{self, KEY};
use crate::text::Untrusted;

/// The rules of a repository, and what they need to know.
pub struct Bench<'a> {
    pub repository: &'a Repository,
    pub config: &'a Config,
    pub policies: Policies,
    pub rules: Rules,
    people: Option<People>,
}

/// Commits that come to one branch, or to several for which the same is asked.
pub struct Batch {
    pub branch: Option<RefName>,
    pub commits: Vec<Commit>,
}

/// What a person may say with `git config agent.policy` in one clone.
const POLICY: &str = "agent.policy";

impl<'a> Bench<'a> {
    /// The bench of a repository, whose policies may ask nothing.
    pub fn new(repository: &'a Repository, config: &'a Config, policies: Policies) -> anyhow::Result<Bench<'a>> {
        let rules = config.rules(config.link_of(repository.common_dir()))?;
        let people = policies.look_at_people().then(|| config.people()).transpose().map_err(anyhow::Error::msg)?;
        Ok(Bench { repository, config, policies, rules, people })
    }

    /// Judges commits, with one look-up for all of them that waits as long as the policies say and not past `until`.
    pub fn judge(&self, batches: &[Batch], pusher: Option<&Somebody>, places: &Places, until: Instant) -> Vec<Finding> {
        let read = |commit: &Commit| self.rules.message(&commit.message);
        let mentions: Vec<Vec<Mentions>> =
            batches.iter().map(|batch| batch.commits.iter().map(read).collect()).collect();
        let answers = self.answers(&self.policies.questions(mentions.iter().flatten()), places, until);
        let mut findings: Vec<Finding> = Vec::new();
        let mut seen = HashSet::new();
        for (batch, mentions) in batches.iter().zip(&mentions) {
            let key = batch.branch.as_ref().and_then(|branch| self.key_of(branch));
            for (commit, mentions) in batch.commits.iter().zip(mentions) {
                let paths = if self.policies.look_at_paths() { self.repository.paths(commit).ok() } else { None };
                let (author, committer) = (self.somebody(&commit.author), self.somebody(&commit.committer));
                let case = Case {
                    paths: paths.as_deref(),
                    branch: batch.branch.as_ref().map(RefName::short),
                    key_of_branch: key.as_ref(),
                    branch_links: self.rules.branch_links_commits(),
                    pusher,
                    ..Case::of(commit, mentions, (&author, &committer))
                };
                for finding in self.policies.judge(&case, &answers) {
                    // A commit may come to several branches.
                    let said = (finding.commit, finding.rule, finding.level as u8, finding.because.clone());
                    if batches.len() == 1 || seen.insert(said) {
                        findings.push(finding);
                    }
                }
            }
        }
        findings
    }

    /// What is known of issues, within the time there is.
    pub fn answers(&self, questions: &Questions, places: &Places, until: Instant) -> Answers {
        if questions.keys.is_empty() {
            return Answers::none("nothing was asked");
        }
        let until = until.min(Instant::now() + questions.wait);
        super::ask::issues(self.repository, questions, places, until)
    }

    /// The first key in the name of a branch.
    pub fn key_of(&self, branch: &RefName) -> Option<IssueKey> {
        receive::message::key_of(branch, &self.rules)
    }

    /// Somebody whom a commit names.
    pub fn somebody(&self, ident: &Ident) -> Somebody {
        let person = self.people.as_ref().and_then(|people| people.by_ident(ident));
        Somebody {
            email: Some(String::from_utf8_lossy(&ident.email).into_owned()),
            ..person.map(known).unwrap_or_default()
        }
    }

    /// Who pushes to this server, if anybody vouches for it.
    pub fn pusher(&self, environment: &Environment) -> Option<Somebody> {
        let people = self.people.as_ref()?;
        let account = self.config.account_of(self.repository.common_dir())?;
        let uid = rustix::process::geteuid().as_raw();
        let claims = crate::receive::claims(environment);
        let pusher = people.pusher(&claims, uid, account.smart.is_host(uid))?;
        let person = people.who(&pusher);
        let claimed = claims.iter().find(|claim| matches!(claim.name.as_str(), "GITEA_PUSHER_EMAIL" | "BB_USER_EMAIL"));
        let of_host = claimed.filter(|_| pusher.by == Evidence::Host).map(|claim| &claim.value);
        let email = match (&person, of_host) {
            (Some(person), _) => person.emails.first().cloned(),
            (None, _) if pusher.by == Evidence::Certificate => Some(pusher.login.clone()),
            (None, email) => email.map(|email| String::from_utf8_lossy(email).into_owned()),
        };
        Some(Somebody { login: Some(pusher.login.clone()), email, ..person.map(known).unwrap_or_default() })
    }
}

fn known(person: &people::Person) -> Somebody {
    Somebody { name: Some(person.name.clone()), jira: person.jira.clone(), bot: person.bot, ..Somebody::default() }
}

/// What whoever works in a clone has set about messages.
pub struct Desk {
    comment: Option<String>,
    cleanup: Cleanup,
    /// Where the key of the branch goes.
    pub how: Message,
    /// How strict the policy may be in this clone.
    pub at_most: Level,
    name: Option<String>,
    email: Option<String>,
    /// What is not in order among it.
    pub wrong: Option<String>,
}

impl Desk {
    pub fn of(repository: &Repository, config: &Config, editor: bool) -> Desk {
        let [chars, string, cleanup, key, policy, name, email] = repository.settings([
            "core.commentchar",
            "core.commentstring",
            "commit.cleanup",
            KEY,
            POLICY,
            "user.name",
            "user.email",
        ]);
        let how = team::message_of(config, key.as_deref());
        let strange = key.filter(|key| Place::named(key).is_none());
        let mut wrong =
            strange.map(|key| format!("{KEY} is {}; it is prefix, scope, trailer or off", Untrusted::text(&key)));
        let at_most = match policy.as_deref() {
            Some("off") => Level::Off,
            Some("warn") => Level::Warn,
            None | Some("block") => Level::Block,
            Some(other) => {
                wrong = Some(format!("{POLICY} is {}; it is off, warn or block", Untrusted::text(other)));
                Level::Block
            }
        };
        let cleanup = Cleanup::of(cleanup.as_deref(), editor);
        Desk { comment: string.or(chars), cleanup, how, at_most, name, email, wrong }
    }

    pub fn draft<'t>(&'t self, text: &'t [u8]) -> Draft<'t> {
        Draft::new(text, self.comment.as_deref(), self.cleanup)
    }

    /// Author or committer as Git will write them: the environment goes before what is set.
    pub fn ident(&self, (name, email): &(Option<OsString>, Option<OsString>)) -> Ident {
        let own = |said: &Option<OsString>, set: &Option<String>| {
            said.as_ref()
                .map_or_else(
                    || Cow::from(OsStr::new(set.as_deref().unwrap_or_default())),
                    |said| Cow::from(said.as_os_str()),
                )
                .as_bytes()
                .to_vec()
        };
        Ident { name: own(name, &self.name), email: own(email, &self.email), at: 0, offset: 0 }
    }
}

/// Whether a message looks like one that Git made for a merge; what joins lines of history is not known of a draft.
pub fn looks_like_a_merge(message: &[u8]) -> bool {
    [
        "Merge branch '",
        "Merge branches '",
        "Merge remote-tracking branch",
        "Merge tag '",
        "Merge commit '",
        "Merge pull request ",
    ]
    .iter()
    .any(|beginning| message.starts_with(beginning.as_bytes()))
}

/// The commits that new tips bring beyond `others`, each with what it is judged by; `complete` is false where the time
/// was too short.
pub fn exactly_new(repository: &Repository, tips: &[Oid], others: &[Oid], until: Instant) -> Option<Vec<Oid>> {
    let budget = crate::git::Budget { commits: usize::MAX, until: Some(until) };
    let walk = repository.walk_beyond(tips, others, budget);
    walk.complete.then(|| walk.commits.into_iter().map(|commit| commit.id).collect())
}

/// The most time that anything here takes that is asked for by a person.
pub const PATIENCE: Duration = Duration::from_secs(60);
