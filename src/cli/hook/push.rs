//! What a push brings, laid beside the policy: on the server before any ref moves, in a clone before it is sent.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use crate::cli::judge::{Batch, Bench, Desk, exactly_new};
use crate::git::{Budget, Known, Oid, RefName, Repository, Update, concerns_us};
use crate::host;
use crate::intake::{self, HandedOver, Outcome};
use crate::policy::{Finding, Level, Lines, Policies, Somebody};
use crate::text::Untrusted;

use super::clone::going_out;
use super::{Hook, Kind, Late};

/// The most commits of a push that are judged; what brings more is history, and unknown.
const MOST: usize = 100_000;
/// The push option that lets a push in although it is refused.
const OVERRIDE: &[u8] = b"agent.override=";
/// The longest reason that is written down.
const REASON: usize = 500;

/// What was found about a push.
#[derive(Default)]
struct Judged {
    findings: Vec<Finding>,
    /// Whether something was not looked at: time or memory did not do.
    cut: bool,
    /// The oldest commit that something is wrong with.
    oldest: Option<Oldest>,
}

/// Where a rebase has to begin.
struct Oldest {
    id: Oid,
    /// Whether it is the newest as well.
    alone: bool,
    root: bool,
}

impl Hook {
    /// Tells whether a push may come in, and says why not. Costs nothing where no policy holds.
    pub(super) fn lets_in(&self, updates: &[Update]) -> bool {
        let policies = self.config.policies(&self.git_dir);
        if policies.is_empty() || updates.is_empty() || self.environment.namespace.is_some() {
            return true;
        }
        let refuses = policies.refuse_unknown();
        self.watch_policy(Late { refused: refuses, line: too_late(refuses) });
        let judged = self.judge_incoming(policies, updates);
        let lets = match judged {
            Ok(judged) => self.decide_incoming(judged, updates, refuses),
            Err(error) => {
                let fate = if refuses { "this push is refused" } else { "this push goes on" };
                self.tell(vec![format!("jira: the policy could not be applied, so {fate}: {error:#}")]);
                !refuses
            }
        };
        self.refused.set(!lets);
        self.watch_usually();
        lets
    }

    /// Tells whether a push may leave a clone; lines are `local-ref local-id remote-ref remote-id`.
    pub(super) fn lets_out(&self, stdin: &[u8]) -> anyhow::Result<bool> {
        let policies = self.config.policies(&self.git_dir);
        if policies.is_empty() {
            return Ok(true);
        }
        let desk = Desk::of(&self.repository, &self.config, false);
        let policies = policies.at_most(desk.at_most);
        let updates: Vec<Update> = stdin.split(|byte| *byte == b'\n').filter_map(outgoing).collect();
        if policies.is_empty() || updates.is_empty() {
            return Ok(true);
        }
        let refuses = policies.refuse_unknown();
        self.watch_policy(Late { refused: refuses, line: too_late(refuses) });
        // What any remote has is no news of ours; the server knows better what is news to it.
        let refs = self.repository.refs()?;
        let there = refs.iter().filter(|(name, _)| name.as_bytes().starts_with(b"refs/remotes/")).map(|(_, id)| *id);
        let there: Vec<Oid> = there.chain(updates.iter().filter_map(|update| update.old)).collect();
        let bench = Bench::new(&self.repository, &self.config, policies)?;
        let me = bench.somebody(&desk.ident(&self.environment.committer));
        let judged = self.judge(&bench, &updates, &there, Some(&me))?;
        let blocks = judged.blocks() || judged.cut && refuses;
        if blocks || !judged.findings.is_empty() || judged.cut {
            let headline = match blocks {
                true => "jira: this push is not sent: the policy of this repository refuses it",
                false => "jira: the policy of this repository has something to say of this push",
            };
            let mut cures = judged.cures();
            if blocks {
                cures.push("git push --no-verify goes past this check, and not past the server's".to_owned());
            }
            self.tell(Lines { headline: headline.to_owned(), findings: &judged.findings, cures }.lines());
        }
        self.refused.set(blocks);
        self.watch_usually();
        Ok(!blocks)
    }

    /// Notes in the repository whether a policy holds there: the shim waits for a decision only then.
    pub(super) fn mark_policy(&self) {
        let _ = host::mark_policy(&self.git_dir, !self.config.policies(&self.git_dir).is_empty());
    }

    fn judge_incoming(&self, policies: Policies, updates: &[Update]) -> anyhow::Result<Judged> {
        let environment = &self.environment;
        let quarantined = match &environment.object_directory {
            Some(objects) => {
                let objects = std::path::absolute(objects)?;
                Some(Repository::open_quarantined(&self.git_dir, &objects, &environment.alternates)?)
            }
            None => None,
        };
        let repository = quarantined.as_ref().unwrap_or(&self.repository);
        let bench = Bench::new(repository, &self.config, policies)?;
        let pusher = bench.pusher(environment);
        let there: Vec<Oid> = self.repository.refs()?.into_iter().map(|(_, id)| id).collect();
        self.judge(&bench, updates, &there, pusher.as_ref())
    }

    /// Judges what updates bring beyond what is `there`.
    fn judge(
        &self,
        bench: &Bench<'_>,
        updates: &[Update],
        there: &[Oid],
        pusher: Option<&Somebody>,
    ) -> anyhow::Result<Judged> {
        let until = self.policy_until();
        let known = Known::new(there.iter().copied());
        let mut judged = Judged::default();
        let mut batches = Vec::new();
        let mut left = MOST;
        for group in alike(&bench.policies, updates) {
            let tips: Vec<Oid> = group.iter().filter_map(|update| update.new).collect();
            let walk = bench.repository.walk(&tips, &known, Budget { commits: left, until: Some(until) })?;
            judged.cut |= !walk.complete;
            left = left.saturating_sub(walk.commits.len());
            let branch = group[0].name.is_branch().then(|| group[0].name.clone());
            batches.push(Batch { branch, commits: walk.commits });
        }
        let mut findings = bench.judge(&batches, pusher, &self.places, until);
        judged.cut |= Instant::now() >= until;
        if findings.iter().any(|finding| finding.commit.is_some()) {
            // The walk may report a commit that is there already, which matters only now.
            let tips: Vec<Oid> = updates.iter().filter_map(|update| update.new).collect();
            if let Some(new) = exactly_new(bench.repository, &tips, there, until) {
                let new: HashSet<Oid> = new.into_iter().collect();
                findings.retain(|finding| finding.commit.is_none_or(|id| new.contains(&id)));
            }
        }
        let wrong: HashSet<Oid> = findings.iter().filter_map(|finding| finding.commit).collect();
        let all = || batches.iter().flat_map(|batch| &batch.commits);
        let newest = all().next().map(|commit| commit.id);
        let oldest = all().rfind(|commit| wrong.contains(&commit.id));
        judged.oldest = oldest.map(|commit| Oldest {
            id: commit.id,
            alone: newest == Some(commit.id),
            root: commit.parents.is_empty(),
        });
        let made = updates.iter().filter(|update| update.name.is_branch() && update.old.is_none());
        judged.findings = made.flat_map(|update| bench.policies.judge_branch(update.name.short())).collect();
        judged.findings.extend(findings);
        Ok(judged)
    }

    fn decide_incoming(&self, judged: Judged, updates: &[Update], refuses: bool) -> bool {
        let blocks = judged.blocks() || judged.cut && refuses;
        if !blocks && judged.findings.is_empty() {
            if judged.cut {
                self.tell(vec![too_late(false)]);
            }
            return true;
        }
        if !blocks {
            let headline = "jira: the policy of this repository has something to say of this push".to_owned();
            self.tell(Lines { headline, findings: &judged.findings, cures: Vec::new() }.lines());
            return true;
        }
        let refusing = judged.findings.iter().filter(|finding| finding.level == Level::Block);
        let may_override = !(judged.cut && refuses) && refusing.clone().all(|finding| finding.may_override);
        let mut cures = judged.cures();
        let options = &self.environment.push_options;
        match options.iter().find_map(|option| option.as_bytes().strip_prefix(OVERRIDE)).map(<[u8]>::trim_ascii) {
            Some(reason) if !reason.is_empty() && may_override => {
                let overridden: Vec<String> = refusing.take(20).map(crate::policy::of).collect();
                match self.write_down(updates, overridden) {
                    Ok(()) => {
                        let reason = Untrusted(&reason[..reason.len().min(REASON)]);
                        let headline = format!("jira: let in against the policy, which is written down: {reason}");
                        self.tell(Lines { headline, findings: &judged.findings, cures: Vec::new() }.lines());
                        return true;
                    }
                    Err(because) => cures.push(format!("agent.override is not taken now: {because}")),
                }
            }
            Some(_) if !may_override => cures.push("agent.override does not count for what is refused here".to_owned()),
            Some(_) => cures.push("agent.override needs a reason: -o agent.override=\"why\"".to_owned()),
            None if may_override && self.takes_options() => {
                cures
                    .push("to push all the same, which is written down: git push -o agent.override=\"why\"".to_owned());
            }
            None => {}
        }
        let headline = match judged.findings.is_empty() {
            true => too_late(true),
            false => "jira: this push is refused by the policy of this repository".to_owned(),
        };
        self.tell(Lines { headline, findings: &judged.findings, cures }.lines());
        false
    }

    /// Has the daemon write down that a push went against the policy; it counts only when that is on disk.
    fn write_down(&self, updates: &[Update], overridden: Vec<String>) -> Result<(), String> {
        let mut event = self.event(Kind::Intent, updates.to_vec()).map_err(|error| format!("{error:#}"))?;
        event.overridden = overridden;
        let deadline = Instant::now() + std::time::Duration::from_secs(1);
        match intake::hand_over(&event, &self.places.socket, &self.places.spool, deadline) {
            Ok(HandedOver::ToSpool { .. }) => Ok(()),
            Ok(HandedOver::ToDaemon(reply, _)) => match reply.outcome {
                Outcome::Stored => Ok(()),
                Outcome::Refused { because } | Outcome::Later { because } => Err(Untrusted::text(&because).to_string()),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    fn takes_options(&self) -> bool {
        let [takes] = self.repository.settings(["receive.advertisepushoptions"]);
        takes.is_some_and(|takes| matches!(takes.to_lowercase().as_str(), "true" | "yes" | "on" | "1"))
    }

    fn tell(&self, lines: Vec<String>) {
        self.said.borrow_mut().extend(lines);
    }
}

impl Judged {
    fn blocks(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Block)
    }

    /// What to do about the commits.
    fn cures(&self) -> Vec<String> {
        let Some(Oldest { id, alone, root }) = &self.oldest else { return Vec::new() };
        let mend = match (alone, root) {
            (true, _) => "to mend it: git commit --amend, and push again".to_owned(),
            (false, true) => "to mend them: git rebase -i --root with `reword` before each, and push again".to_owned(),
            (false, false) => {
                let id = &id.to_string()[..10];
                format!("to mend them: git rebase -i {id}^ with `reword` before each, and push again")
            }
        };
        vec![mend]
    }
}

/// Groups updates by which sections hold for them: those of a group are walked and judged together.
fn alike<'u>(policies: &Policies, updates: &'u [Update]) -> Vec<Vec<&'u Update>> {
    let mut groups: Vec<(Option<Vec<bool>>, Vec<&Update>)> = Vec::new();
    for update in updates.iter().filter(|update| update.new.is_some()) {
        let on = update.name.is_branch().then(|| policies.on(update.name.short()));
        match groups.iter_mut().find(|(other, _)| *other == on) {
            Some((_, group)) => group.push(update),
            None => groups.push((on, vec![update])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// One line of what `pre-push` is told, as the update it will be on the server.
fn outgoing(line: &[u8]) -> Option<Update> {
    let [new, name, old] = going_out(line)?;
    let id = |hex| Oid::from_hex(hex).map(|id| Some(id).filter(|id| !id.is_zero()));
    Some(Update { name: RefName::new(name), old: id(old)?, new: id(new)? }).filter(|update| concerns_us(&update.name))
}

fn too_late(refused: bool) -> String {
    let fate = if refused { "and is refused" } else { "and goes on" };
    format!("jira: this push could not be laid beside the policy of this repository in time, {fate}")
}
