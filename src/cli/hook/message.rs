//! A commit being made in a clone: the key goes into its message, and what is wrong with it is said before it exists.

use std::ffi::OsStr;
use std::fs;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::{Hook, Late, Tell};
use crate::cli::judge::{Bench, Desk, looks_like_a_merge};
use crate::git::RefName;
use crate::host;
use crate::parse::{IssueKey, Mentions};
use crate::policy::{Answers, Case, Finding, Level, Lines, Place};
use crate::receive::message::{of_message, with_key};
use crate::team;
use crate::text::Untrusted;

/// A draft as it was read, and what is to be said of it.
struct Read {
    message: Vec<u8>,
    mentions: Mentions,
    findings: Vec<Finding>,
    answers: Answers,
}

impl Hook {
    /// Puts the key of the branch into a message that somebody begins, and into no other.
    pub(super) fn prepare(&self, path: &Path, source: Option<&OsStr>) -> anyhow::Result<Vec<String>> {
        // What was to be said short was not, so Git is to find the hook that says it.
        let _ = host::begin_check(&self.git_dir);
        // Templates, merges, squashes and messages of other commits have their own say.
        if source.is_some_and(|source| source != "message") || self.repository.is_busy() {
            return Ok(Vec::new());
        }
        let Some(branch) = self.repository.head() else { return Ok(Vec::new()) };
        let desk = Desk::of(&self.repository, &self.config, self.environment.editor);
        if desk.how.key == Place::Off {
            let _ = host::set_commit_hooks(&self.git_dir, team::has_accepted(&self.git_dir), false);
            return Ok(Vec::new());
        }
        let bench = Bench::new(&self.repository, &self.config, crate::policy::Policies::default())?;
        let Some(key) = bench.key_of(&branch) else { return Ok(Vec::new()) };
        let text = fs::read(path)?;
        let draft = desk.draft(&text);
        let mentions = bench.rules.message(&draft.message());
        if let Some(with_key) = with_key(&draft, &mentions, &key, &desk.how) {
            replace(path, &with_key)?;
        }
        Ok(Vec::new())
    }

    /// Says what a commit message asks for, and what the policy has to say of it, before the commit exists.
    pub(super) fn message(&self, path: &Path) -> anyhow::Result<Vec<String>> {
        let desk = Desk::of(&self.repository, &self.config, self.environment.editor);
        let policies = self.config.policies(&self.git_dir).at_most(desk.at_most);
        let plain =
            self.config.policies(&self.git_dir).is_empty() && self.config.parse.key.is_none() && desk.wrong.is_none();
        let _ = match plain {
            true => team::note_sure(&self.config, &self.places.config, &self.git_dir, self.environment.home.as_deref()),
            false => host::mark_plain(&self.git_dir, &self.places.config, None),
        };
        host::show_door(&self.git_dir, &self.places.socket);
        let has_accepted = team::has_accepted(&self.git_dir);
        let keys = desk.how.key != Place::Off || has_accepted;
        let plain = plain && !has_accepted && host::is_marked_plain(&self.git_dir);
        let _ = host::set_commit_hooks(&self.git_dir, keys, plain);
        let _ = host::end_check(&self.git_dir);
        let bench = Bench::new(&self.repository, &self.config, policies)?;
        let branch = self.repository.head();
        let key = branch.as_ref().and_then(|branch| bench.key_of(branch));
        let text = fs::read(path)?;
        let draft = desk.draft(&text);
        // Nobody wrote anything beside the key that was put in: to Git that is a commit which was given up.
        if self.environment.editor && key.as_ref().is_some_and(|key| draft.is_only(key, &desk.how)) {
            replace(path, b"")?;
            return Ok(Vec::new());
        }
        let mut read = self.read_draft(&draft.message(), &bench, &desk, branch.as_ref(), key.as_ref());
        if read.message.is_empty() {
            return Ok(Vec::new());
        }
        let lacks_key = |read: &Read| read.findings.iter().any(|one| one.rule == "key" && one.level == Level::Block);
        if lacks_key(&read)
            && desk.how.ask
            && let Some(key) = self.ask(&bench, &read, key.as_ref())
            && let Some(with_key) = draft_with(&desk, &text, &key)
        {
            replace(path, &with_key)?;
            read = self.read_draft(&desk.draft(&with_key).message(), &bench, &desk, branch.as_ref(), Some(&key));
        }
        let blocks = read.findings.iter().any(|finding| finding.level == Level::Block);
        if !read.findings.is_empty() {
            // Hooks run at the top of the work tree; whoever typed may stand further down.
            let down = self.environment.prefix.as_ref().filter(|_| path.is_relative());
            let up: PathBuf = down.into_iter().flat_map(|down| down.components()).map(|_| "..").collect();
            self.said.borrow_mut().extend(said_of_draft(&read.findings, blocks, &up.join(path)));
            self.refused.set(blocks);
        }
        let wrong = desk.wrong.map(|wrong| format!("jira: {wrong}"));
        let told = of_message(&read.mentions, &bench.rules, &read.answers);
        Ok(wrong.into_iter().chain(told).collect())
    }

    fn read_draft(
        &self,
        message: &[u8],
        bench: &Bench<'_>,
        desk: &Desk,
        branch: Option<&RefName>,
        key: Option<&IssueKey>,
    ) -> Read {
        let mentions = bench.rules.message(message);
        let questions = bench.policies.questions([&mentions]);
        let answers = if questions.keys.is_empty() {
            Answers::none("nothing was asked")
        } else {
            self.watch_policy(Late {
                refused: bench.policies.refuse_unknown(),
                line: "jira: the policy of this repository could not be looked at in time".to_owned(),
            });
            bench.answers(&questions, &self.places, self.policy_until())
        };
        let author = bench.somebody(&desk.ident(&self.environment.author));
        let committer = bench.somebody(&desk.ident(&self.environment.committer));
        let case = Case {
            id: None,
            message,
            mentions: &mentions,
            author: &author,
            committer: &committer,
            merge: self.repository.is_merging() || looks_like_a_merge(message),
            paths: None,
            branch: branch.map(RefName::short),
            key_of_branch: key,
            branch_links: bench.rules.branch_links_commits(),
            pusher: Some(&committer),
        };
        let findings = bench.policies.judge(&case, &answers);
        Read { message: message.to_vec(), mentions, findings, answers }
    }

    /// Asks on the terminal for the key that is missing, where somebody sits there.
    fn ask(&self, bench: &Bench<'_>, read: &Read, key: Option<&IssueKey>) -> Option<IssueKey> {
        // A window that was started from a terminal has one too, which nobody looks at.
        if !self.environment.terminal || !std::io::stderr().is_terminal() {
            return None;
        }
        let mut terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let _ = self.watchman.send(Tell::Never);
        let subject = read.message.split(|byte| *byte == b'\n').next().unwrap_or_default();
        writeln!(terminal, "jira: “{}” names no issue, and one is demanded here.", Untrusted(subject)).ok()?;
        let asked = match key {
            Some(key) => format!("Which one? [{key}; n: none] "),
            None => "Which one? [n: none] ".to_owned(),
        };
        let mut answers = BufReader::new(terminal.try_clone().ok()?);
        for _ in 0..3 {
            write!(terminal, "{asked}").ok()?;
            let mut answer = String::new();
            if answers.read_line(&mut answer).ok()? == 0 {
                return None;
            }
            let answer = answer.trim();
            match (answer.to_lowercase().as_str(), key) {
                ("n" | "no", _) | ("", None) => return None,
                ("" | "y" | "yes", Some(key)) => return Some(key.clone()),
                _ => {}
            }
            let found = bench.rules.message(answer.to_uppercase().as_bytes()).keys.into_iter().next();
            match found {
                Some(found) => return Some(found.key),
                None => writeln!(terminal, "{} is no key of an issue.", Untrusted::text(answer)).ok()?,
            }
        }
        None
    }
}

/// The file with a key in it; where none is put in by itself, it is put before the subject.
pub(in crate::cli) fn draft_with(desk: &Desk, text: &[u8], key: &IssueKey) -> Option<Vec<u8>> {
    let how = match desk.how.key {
        Place::Off => crate::policy::Message { key: Place::Prefix, ..desk.how.clone() },
        _ => desk.how.clone(),
    };
    desk.draft(text).with_key(key, &how)
}

/// What is said of a message that is not as the policy wants it, and how to go on.
pub(in crate::cli) fn said_of_draft(findings: &[Finding], blocks: bool, path: &Path) -> Vec<String> {
    let headline = match blocks {
        true => "jira: this commit is not made: the policy of this repository refuses it",
        false => "jira: the policy of this repository has something to say of this message",
    };
    let path = path.display().to_string();
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte));
    // As a shell takes it.
    let path = if is_plain { path } else { format!("'{}'", path.replace('\'', r"'\''")) };
    let mut cures = Vec::new();
    if blocks {
        cures.push(format!("the message is kept in {path}; to mend it and go on: git commit -e -F {path}"));
        if findings.iter().any(|finding| finding.rule == "key") {
            cures.push(format!("or have the key put in, and go on: agent check --fix && git commit -F {path}"));
        }
    }
    Lines { headline: headline.to_owned(), findings, cures }.lines()
}

/// Puts another message in place of the one that is there, which is never half of either.
pub(in crate::cli) fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".agent");
    let replaced = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        // A part of it may be there, on a disk that is full.
        let _ = fs::remove_file(&beside);
    }
    replaced
}
