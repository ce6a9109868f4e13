//! The Development panel of an issue: pull requests, branches and commits, as senders told them.

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use super::pieces::{avatar, count, is_web, link, lozenge, text, when};
use crate::sandbox::state::{Entity, Kind, Repository, State};

/// Commits a page shows; an issue with more is rare and its page would be slow.
const SHOWN: usize = 100;
/// Files shown of one commit, as many as Jira's own panel does.
const FILES: usize = 5;

/// All that is held for one issue, newest first.
pub(super) struct Panel<'a> {
    commits: Vec<Held<'a>>,
    branches: Vec<Held<'a>>,
    pulls: Vec<Held<'a>>,
    now: Timestamp,
}

type Held<'a> = (&'a Repository, &'a Entity);

impl<'a> Panel<'a> {
    pub(super) fn of(state: &'a State, key: &str, now: Timestamp) -> Panel<'a> {
        let [commits, branches, pulls] = Kind::ALL.map(|kind| state.held_for(key, kind));
        Panel { commits, branches, pulls, now }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.branches.is_empty() && self.pulls.is_empty()
    }

    /// Shows each kind in a card of its own.
    pub(super) fn show(&self) -> Markup {
        html! {
            (group("Pull requests", &self.pulls, |repository, entity| pull_request(repository, entity, self.now)))
            (group("Branches", &self.branches, |repository, entity| branch(repository, entity, self.now)))
            (group("Commits", &self.commits, |repository, entity| commit(repository, entity, self.now)))
        }
    }

    /// Sums it up.
    pub(super) fn summary(&self) -> Markup {
        let first = [&self.commits, &self.branches, &self.pulls].into_iter().filter_map(|held| held.first());
        html! {
            section.card {
                h2 { "Development" }
                dl {
                    dt { "Branches" } dd { (self.branches.len()) }
                    dt { "Commits" } dd { (self.commits.len()) }
                    dt { "Pull requests" } dd { (self.pulls.len()) }
                    @if let Some(latest) = first.map(|held| held.1.moment()).max() {
                        dt { "Latest" } dd { (when(latest, self.now)) }
                    }
                }
            }
        }
    }
}

fn group(title: &str, held: &[Held], show: impl Fn(&Repository, &Entity) -> Markup) -> Markup {
    html! {
        @if !held.is_empty() {
            section.card {
                h2 { (title) span.badge { (held.len()) } }
                ul.entities {
                    @for (repository, entity) in held.iter().take(SHOWN) { li { (show(repository, entity)) } }
                }
                @if held.len() > SHOWN { p.quiet { "and " (held.len() - SHOWN) " older" } }
            }
        }
    }
}

fn commit(repository: &Repository, entity: &Entity, now: Timestamp) -> Markup {
    let commit = &entity.data;
    let (subject, rest) = text(commit, "message").split_once('\n').unwrap_or((text(commit, "message"), ""));
    let files = commit["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    let total = commit["fileCount"].as_u64().unwrap_or_default() as usize;
    let hidden = total.saturating_sub(files.len().min(FILES));
    html! {
        div.entity {
            (avatar(author(commit)))
            div.facts {
                div.headline {
                    span.title { (subject.trim()) }
                    @if is_merge(commit) { span.tag { "Merge" } }
                }
                @if !rest.trim().is_empty() { pre.message { (rest.trim()) } }
                (byline(repository, commit, entity.moment(), now))
                @if !files.is_empty() {
                    ul.files {
                        @for file in files.iter().take(FILES) { (changed(file)) }
                        @if hidden > 0 { li.quiet { span { "and " (count(hidden, "more file", "more files")) } } }
                    }
                }
            }
            code.sha { (link(text(commit, "url"), text(commit, "displayId"))) }
        }
    }
}

fn branch(repository: &Repository, entity: &Entity, now: Timestamp) -> Markup {
    let last = &entity.data["lastCommit"];
    html! {
        div.entity {
            div.facts {
                div.headline { code.ref { (link(text(&entity.data, "url"), text(&entity.data, "name"))) } }
                div.quiet {
                    (repository_name(repository))
                    " · last commit " code { (link(text(last, "url"), text(last, "displayId"))) }
                    " " (when(entity.moment(), now)) " by " (author(last))
                }
                div.excerpt { (text(last, "message").lines().next().unwrap_or_default()) }
            }
            @let create = text(&entity.data, "createPullRequestUrl");
            @if is_web(create) { a.action href=(create) rel="noreferrer" { "Create pull request" } }
        }
    }
}

fn pull_request(repository: &Repository, entity: &Entity, now: Timestamp) -> Markup {
    let pull = &entity.data;
    html! {
        div.entity {
            (avatar(author(pull)))
            div.facts {
                div.headline { span.title { (link(text(pull, "url"), text(pull, "title"))) } }
                div.quiet {
                    (repository_name(repository)) " · " (text(pull, "displayId"))
                    " · " code { (text(pull, "sourceBranch")) }
                    @let target = text(pull, "destinationBranch");
                    @if !target.is_empty() { " → " code { (target) } }
                    " · " (when(entity.moment(), now))
                }
            }
            @let status = text(pull, "status");
            (lozenge(status, if status == "MERGED" { "done" } else if status == "OPEN" { "moving" } else { "waiting" }))
        }
    }
}

fn byline(repository: &Repository, commit: &Value, moment: Timestamp, now: Timestamp) -> Markup {
    html! {
        div.quiet {
            (author(commit)) " · " (when(moment, now)) " · " (repository_name(repository))
            " · " (count(commit["fileCount"].as_u64().unwrap_or_default() as usize, "file", "files"))
        }
    }
}

fn changed(file: &Value) -> Markup {
    html! {
        li {
            span.path { (link(text(file, "url"), text(file, "path"))) }
            span.lines {
                span.added { "+" (file["linesAdded"].as_u64().unwrap_or_default()) }
                " "
                span.removed { "−" (file["linesRemoved"].as_u64().unwrap_or_default()) }
            }
        }
    }
}

fn repository_name(repository: &Repository) -> Markup {
    let field = |name: &str| repository.facts.get(name).and_then(Value::as_str).unwrap_or_default();
    link(field("url"), field("name"))
}

fn author(entity: &Value) -> &str {
    let author = &entity["author"];
    [text(author, "name"), text(author, "username"), text(author, "email")]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or("someone")
}

fn is_merge(commit: &Value) -> bool {
    commit["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "MERGE_COMMIT"))
}
