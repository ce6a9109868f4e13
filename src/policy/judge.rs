//! The rules laid beside one commit.

use super::{Answers, Committer, Exempt, Level, OnUnknown, Policies, Settings};
use crate::git::{Commit, Oid};
use crate::issue::{Category, Issue};
use crate::parse::{IssueKey, Mentions, Unordered};
use crate::text::{self, Untrusted};

/// One commit, made or about to be made, with what was found out about it.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// Nothing for one that is about to be made.
    pub id: Option<Oid>,
    pub message: &'a [u8],
    pub mentions: &'a Mentions,
    pub author: &'a Somebody,
    pub committer: &'a Somebody,
    pub merge: bool,
    /// The files it changes, where somebody asks for them.
    pub paths: Option<&'a [Vec<u8>]>,
    /// The short name of the branch it comes to; nothing when HEAD is detached.
    pub branch: Option<&'a [u8]>,
    /// The first key of the branch's name.
    pub key_of_branch: Option<&'a IssueKey>,
    /// Whether that key links the commit as well.
    pub branch_links: bool,
    /// Who pushes it, if anybody vouches for that; in a clone that is whoever commits.
    pub pusher: Option<&'a Somebody>,
}

/// Somebody, as a commit or a host names them and as the table of people does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Somebody {
    /// Their name in the table of people.
    pub name: Option<String>,
    pub email: Option<String>,
    pub login: Option<String>,
    /// Their account in Jira, by the table of people.
    pub jira: Option<String>,
    pub bot: bool,
}

/// Something that a rule has to say of a commit or of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name, as the documentation has it.
    pub rule: &'static str,
    pub level: Level,
    /// The commit; nothing for one that is about to be made, and for a branch.
    pub commit: Option<Oid>,
    pub subject: Vec<u8>,
    pub key: Option<String>,
    /// What is wrong, after "it".
    pub because: String,
    /// What would be right.
    pub cure: String,
    /// Whether it is not wrong for all we know: nobody could tell.
    pub unknown: bool,
    pub may_override: bool,
}

/// What a rule says of one issue.
enum Fit {
    Yes,
    No(String, String),
    Unknown(String),
}

impl Case<'_> {
    /// The case of a commit that is there.
    pub fn of<'a>(
        commit: &'a Commit,
        mentions: &'a Mentions,
        (author, committer): (&'a Somebody, &'a Somebody),
    ) -> Case<'a> {
        Case {
            id: Some(commit.id),
            message: &commit.message,
            mentions,
            author,
            committer,
            merge: commit.is_merge(),
            paths: None,
            branch: None,
            key_of_branch: None,
            branch_links: false,
            pusher: None,
        }
    }

    fn subject(&self) -> &[u8] {
        self.message.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default()
    }
}

impl Policies {
    /// Everything that the sections have to say of a commit.
    pub fn judge(&self, case: &Case<'_>, answers: &Answers) -> Vec<Finding> {
        let holding = self.sections.iter().filter(|one| {
            let on = match case.branch {
                Some(branch) => one.holds_on(branch),
                // A commit that no branch has is looked at by what holds on all.
                None => one.branches.is_empty(),
            };
            on && one.touches(case) && !one.exempts(case)
        });
        let mut findings = Vec::new();
        for section in holding {
            let mut judge = Judge { section, case, findings: Vec::new() };
            judge.key();
            judge.exists(answers);
            judge.issue(answers);
            judge.form();
            judge.committer();
            findings.extend(judge.findings);
        }
        findings
    }

    /// What the sections have to say of the name of a branch that is made.
    pub fn judge_branch(&self, branch: &[u8]) -> Vec<Finding> {
        let wrong = |one: &Settings| {
            let pattern = one.branch_name.as_ref().filter(|pattern| !pattern.is_match(branch))?;
            Some(Finding {
                rule: "branch",
                level: one.level,
                commit: None,
                subject: branch.to_vec(),
                key: None,
                because: format!("the branch {} has no name that is wanted here", Untrusted(branch)),
                cure: format!(
                    "give it one that fits {}: git branch -m {} NEW-NAME",
                    Untrusted::text(pattern.as_str()),
                    Untrusted(branch)
                ),
                unknown: false,
                may_override: one.may_override,
            })
        };
        self.sections.iter().filter(|one| one.holds_on(branch)).filter_map(wrong).collect()
    }
}

impl Settings {
    fn touches(&self, case: &Case<'_>) -> bool {
        let one_of = |paths: &[Vec<u8>]| paths.iter().any(|path| super::fits(&self.paths, path));
        self.paths.is_empty() || case.paths.is_none_or(one_of)
    }

    fn exempts(&self, case: &Case<'_>) -> bool {
        let kind = match case.mentions.unordered {
            Some(Unordered::Revert) => Some(Exempt::Reverts),
            Some(Unordered::Fixup | Unordered::Squash | Unordered::Amend) => Some(Exempt::Fixups),
            None => None,
        };
        let by_kind =
            kind.is_some_and(|kind| self.exempt.contains(&kind)) || case.merge && self.exempt.contains(&Exempt::Merges);
        let who = case.pusher.unwrap_or(case.committer);
        by_kind
            || self.exempt_messages.iter().any(|one| one.is_match(case.message))
            || self.exempt_people.iter().any(|name| who.is(name))
    }
}

impl Somebody {
    /// Whether an entry of `exempt_people` means them.
    fn is(&self, name: &str) -> bool {
        let names = [&self.name, &self.email, &self.login];
        names.into_iter().flatten().any(|own| own.eq_ignore_ascii_case(name)) || self.bot && name == "bots"
    }

    /// Whether both are one; nothing where that cannot be told.
    fn is_same(&self, other: &Somebody) -> Option<bool> {
        match (&self.name, &other.name) {
            (Some(one), Some(two)) => return Some(one == two),
            (None, None) => {}
            // One of the table and one who is not in it are two, unless nobody knows their address.
            (_, None) | (None, _) => {}
        }
        let (one, two) = (self.email.as_ref()?, other.email.as_ref()?);
        Some(one.eq_ignore_ascii_case(two))
    }
}

struct Judge<'a> {
    section: &'a Settings,
    case: &'a Case<'a>,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    fn key(&mut self) {
        let linked_by_branch = self.case.branch_links && self.case.key_of_branch.is_some();
        if !self.section.key || !self.case.mentions.keys.is_empty() || linked_by_branch {
            return;
        }
        let look_alike = self.case.mentions.rejected.first();
        let because = match look_alike {
            Some(look) => format!("names no issue: {} is none ({})", Untrusted::text(&look.text), look.because),
            None => "names no issue".to_owned(),
        };
        let key = self.case.key_of_branch.map(ToString::to_string);
        let cure = match &key {
            Some(key) => format!("put the key of its branch in: {key} {}", Untrusted(self.case.subject())),
            None => "put the key of an issue in, such as PROJ-123 at its beginning".to_owned(),
        };
        self.find("key", key, because, cure);
    }

    fn exists(&mut self, answers: &Answers) {
        if !self.section.exists {
            return;
        }
        for found in &self.case.mentions.keys {
            let key = found.key.to_string();
            match answers.of(&key) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let cure = "name one that is there and that may be seen".to_owned();
                    self.find("exists", Some(key.clone()), format!("names {key}, and there is no such issue"), cure);
                }
                Err(because) => self.cannot_tell("exists", &key, because),
            }
        }
    }

    fn issue(&mut self, answers: &Answers) {
        let keys = &self.case.mentions.keys;
        if !self.section.asks_of_an_issue() || keys.is_empty() {
            return;
        }
        let fits: Vec<(String, Fit)> =
            keys.iter().map(|found| (found.key.to_string(), self.fit(found.key.as_str(), answers))).collect();
        let one_fits = fits.iter().any(|(_, fit)| matches!(fit, Fit::Yes));
        if one_fits && !self.section.every {
            return;
        }
        if !self.section.every
            && let Some((key, Fit::Unknown(because))) = fits.iter().find(|(_, fit)| matches!(fit, Fit::Unknown(_)))
        {
            return self.cannot_tell("issue", key, because);
        }
        let reported = if self.section.every { fits.len() } else { 1 };
        for (key, fit) in fits.into_iter().filter(|(_, fit)| !matches!(fit, Fit::Yes)).take(reported) {
            match fit {
                Fit::No(because, cure) => self.find("issue", Some(key), because, cure),
                Fit::Unknown(because) => self.cannot_tell("issue", &key, &because),
                Fit::Yes => {}
            }
        }
    }

    /// Whether an issue is one that is wanted.
    fn fit(&self, key: &str, answers: &Answers) -> Fit {
        let section = self.section;
        let no = |what: String, wanted: &[String]| Fit::No(what, format!("name one that is {}", any_of(wanted)));
        let project = key.rsplit_once('-').map_or(key, |(project, _)| project);
        if !section.projects.is_empty() && !has(&section.projects, project) {
            let wanted = format!("name one of {}", any_of(&section.projects));
            return Fit::No(format!("names {key}, whose project is not wanted here"), wanted);
        }
        if !section.needs_the_issue() {
            return Fit::Yes;
        }
        let issue = match answers.of(key) {
            Ok(Some(issue)) => issue,
            Ok(None) => {
                return Fit::No(
                    format!("names {key}, and there is no such issue"),
                    "name one that is there and that may be seen".to_owned(),
                );
            }
            Err(because) => return Fit::Unknown(because.to_owned()),
        };
        if !section.statuses.is_empty() && !has(&section.statuses, &issue.status) {
            return no(format!("names {key}, which is {}", Untrusted::text(&issue.status)), &section.statuses);
        }
        if !section.categories.is_empty() && !section.categories.contains(&issue.category) {
            let wanted: Vec<String> = section.categories.iter().map(|one| category(*one).to_owned()).collect();
            let status = Untrusted::text(&issue.status);
            return no(format!("names {key}, which is {status} ({})", category(issue.category)), &wanted);
        }
        if !section.types.is_empty() && !has(&section.types, &issue.kind) {
            return no(format!("names {key}, which is a {}", Untrusted::text(&issue.kind)), &section.types);
        }
        if section.assignee {
            match self.is_assignee(issue) {
                Some(true) => {}
                Some(false) => {
                    let to = issue.assignee.as_ref().map_or("nobody", |assignee| assignee.name.as_str());
                    return Fit::No(
                        format!("names {key}, which is assigned to {} and not to its author", Untrusted::text(to)),
                        "have it assigned to you, or name one that is".to_owned(),
                    );
                }
                None => return Fit::Unknown("nobody knows which account in Jira is its author's".to_owned()),
            }
        }
        match section.jql.as_ref().map(|jql| (jql, answers.is_found_by(key, jql))) {
            None | Some((_, Some(true))) => {}
            Some((jql, Some(false))) => {
                return Fit::No(
                    format!("names {key}, which is not wanted here"),
                    format!("name one that is found by {}", Untrusted::text(jql)),
                );
            }
            Some((_, None)) => return Fit::Unknown("whether the query finds it is not known".to_owned()),
        }
        Fit::Yes
    }

    fn is_assignee(&self, issue: &Issue) -> Option<bool> {
        let Some(assignee) = &issue.assignee else { return Some(false) };
        let author = self.case.author;
        if let Some(account) = &author.jira {
            return Some(*account == assignee.account);
        }
        let (own, its) = (author.email.as_ref()?, assignee.email.as_ref()?);
        Some(own.eq_ignore_ascii_case(its))
    }

    fn form(&mut self) {
        let section = self.section;
        let mut lines = self.case.message.split(|byte| *byte == b'\n');
        let subject = lines.next().unwrap_or_default();
        if let Some(most) = section.subject_max {
            let length = characters(subject);
            if length > most {
                let because = format!("has a subject of {length} characters");
                self.find("subject", None, because, format!("cut it to {most} and say the rest after a blank line"));
            }
        }
        if let Some(pattern) = section.subject.as_ref().filter(|pattern| !pattern.is_match(subject)) {
            let because = "has a subject of a form that is not wanted here".to_owned();
            self.find("subject", None, because, format!("write one that fits {}", Untrusted::text(pattern.as_str())));
        }
        let second = lines.next();
        if section.blank_line && second.is_some_and(|line| !line.trim_ascii().is_empty()) {
            self.find(
                "body",
                None,
                "has no blank line after its subject".to_owned(),
                "put one in; Git takes all lines before it for the subject".to_owned(),
            );
        }
        let rest = || second.into_iter().chain(self.case.message.split(|byte| *byte == b'\n').skip(2));
        if let Some(most) = section.line_max {
            let too_long = |line: &&[u8]| characters(line) > most && line.trim_ascii().contains(&b' ');
            if let Some(number) = rest().position(|line| too_long(&line)) {
                let number = number + 2;
                self.find(
                    "body",
                    None,
                    format!("has a long line {number}"),
                    format!("break it after {most} characters"),
                );
            }
        }
        if section.no_trailing_space {
            let ends = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).ends_with(b" ") || line.ends_with(b"\t");
            if let Some(number) = self.case.message.split(|byte| *byte == b'\n').position(ends) {
                let number = number + 1;
                self.find("body", None, format!("has a blank at the end of line {number}"), "take it away".to_owned());
            }
        }
        if let Some(pattern) = section.message.as_ref().filter(|pattern| !pattern.is_match(self.case.message)) {
            let because = "has a form that is not wanted here".to_owned();
            self.find("message", None, because, format!("write one that fits {}", Untrusted::text(pattern.as_str())));
        }
    }

    fn committer(&mut self) {
        let committer = self.case.committer;
        let email = committer.email.as_deref().unwrap_or_default();
        let cure = || "set user.name and user.email, then: git commit --amend --reset-author".to_owned();
        if !self.section.email_domains.is_empty() {
            let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
            if !has(&self.section.email_domains, domain) {
                let because = format!(
                    "was committed as {}, which is not at {}",
                    Untrusted::text(email),
                    any_of(&self.section.email_domains)
                );
                self.find("committer", None, because, cure());
            }
        }
        if self.section.committer != Some(Committer::Pusher) {
            return;
        }
        match self.case.pusher.map(|pusher| (pusher, pusher.is_same(committer))) {
            Some((_, Some(true))) => {}
            Some((pusher, Some(false))) => {
                let names = [&pusher.name, &pusher.login, &pusher.email];
                let who = names.into_iter().flatten().next().map_or("somebody else", String::as_str);
                let because =
                    format!("was committed as {}, and {} pushes it", Untrusted::text(email), Untrusted::text(who));
                self.find("committer", None, because, cure());
            }
            Some((pusher, None)) => {
                let login = pusher.login.as_deref().unwrap_or_default();
                let because = format!("no [[person]] joins {} with an address", Untrusted::text(login));
                self.cannot_tell("committer", email, &because);
            }
            None => self.cannot_tell("committer", email, "nobody vouches for who pushes it"),
        }
    }

    fn find(&mut self, rule: &'static str, key: Option<String>, because: String, cure: String) {
        self.findings.push(Finding {
            rule,
            level: self.section.level,
            commit: self.case.id,
            subject: self.case.subject().to_vec(),
            key,
            because,
            cure,
            unknown: false,
            may_override: self.section.may_override,
        });
    }

    /// What nobody can tell is said, and refused only where the section wants that.
    fn cannot_tell(&mut self, rule: &'static str, what: &str, because: &str) {
        let refused = self.section.on_unknown == OnUnknown::Refuse;
        let cure = if refused { "try again in a moment" } else { "it goes on for now" };
        self.findings.push(Finding {
            rule,
            level: if refused { self.section.level } else { Level::Warn },
            commit: self.case.id,
            subject: self.case.subject().to_vec(),
            key: Some(what.to_owned()),
            because: format!("could not be looked at for {}: {}", Untrusted::text(what), Untrusted::text(because)),
            cure: cure.to_owned(),
            unknown: true,
            may_override: self.section.may_override,
        });
    }
}

fn category(category: Category) -> &'static str {
    match category {
        Category::ToDo => "to do",
        Category::InProgress => "in progress",
        Category::Done => "done",
    }
}

fn has(wanted: &[String], name: &str) -> bool {
    wanted.iter().any(|one| one.to_lowercase() == name.to_lowercase())
}

fn any_of(wanted: &[String]) -> String {
    text::listed(wanted, "or")
}

/// As people count: characters of a line, without the carriage return before its end.
fn characters(line: &[u8]) -> usize {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).chars().count()
}
