//! What a person sees: the list of issues, and one issue with its Development panel.
//!
//! Everything on a page came from outside, so the templates escape it, a link is made only of an `http` address, and
//! the content policy forbids scripts, frames and foreign assets. A page asks for itself again every few seconds.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use super::issues::Issue;
use super::smart::Trigger;
use super::state::{Activity, Entity, Kind, Repository};
use super::{App, World};

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// Commits a page shows; an issue with more is rare and its page would be slow.
const SHOWN: usize = 100;
/// Files shown of one commit, as many as Jira's own panel does.
const FILES: usize = 5;

/// Gives the routes of the pages.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/", get(issues)).route("/browse/{key}", get(issue)).route("/sandbox/style.css", get(style))
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css"))
}

async fn issues(State(app): State<App>) -> Response {
    let (world, now) = app.enter();
    let mut issues: Vec<_> = world.state.issues.iter().collect();
    issues.sort_by_key(|(key, _)| in_order(key));
    let activity = world.state.activity();
    let of = |key: &str| activity.get(key).copied().unwrap_or_default();
    let body = html! {
        h1 { "Issues" }
        div.columns {
            section.card.flush {
                @if issues.is_empty() {
                    (nothing("No issues yet", html! { "Create one with " code { "POST /sandbox/issues" } "." }))
                } @else {
                    table.issues {
                        thead {
                            tr { @for name in ["Key", "Summary", "Status", "Development", "Activity"] { th { (name) } } }
                        }
                        tbody { @for (key, issue) in issues { (row(key, issue, of(key), now)) } }
                    }
                }
            }
            aside { (requests(&world, now)) }
        }
    };
    page(StatusCode::OK, "Issues", &body)
}

async fn issue(State(app): State<App>, Path(key): Path<String>) -> Response {
    let (world, now) = app.enter();
    let Some(issue) = world.state.issues.get(&key) else {
        let body = html! {
            section.card {
                (nothing("No such issue", html! {
                    "There is no issue " strong { (key) } " here. " a href="/" { "All issues" }
                }))
            }
        };
        return page(StatusCode::NOT_FOUND, "No such issue", &body);
    };
    let [commits, branches, pulls] = Kind::ALL.map(|kind| world.state.held_for(&key, kind));
    let triggers: Vec<_> = world.state.triggers.iter().filter(|trigger| trigger.key == key).collect();
    let latest = [&commits, &branches, &pulls].into_iter().filter_map(|held| held.first()).map(|held| held.1.moment());
    let body = html! {
        nav.crumbs { a href="/" { "Issues" } span { "/" } span { (key) } (lozenge(&issue.status)) }
        h1 { (issue.summary) }
        div.columns {
            div.stack {
                @if commits.is_empty() && branches.is_empty() && pulls.is_empty() {
                    section.card {
                        (nothing("Nothing yet", html! {
                            "Commits and branches that mention " strong { (key) } " will show here."
                        }))
                    }
                }
                (group("Pull requests", &pulls, |repository, entity| pull_request(repository, entity, now)))
                (group("Branches", &branches, |repository, entity| branch(repository, entity, now)))
                (group("Commits", &commits, |repository, entity| commit(repository, entity, now)))
                @if !triggers.is_empty() { (smart_commits(&triggers, now)) }
            }
            aside { (details(&key, issue, [branches.len(), commits.len(), pulls.len()], latest.max(), now)) }
        }
    };
    page(StatusCode::OK, &format!("{key} {}", issue.summary), &body)
}

fn page(status: StatusCode, title: &str, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="refresh" content="5";
                title { (title) " · Sandbox Jira" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/sandbox/style.css";
            }
            body {
                header.top {
                    a.brand href="/" { (mark()) span { "Sandbox Jira" } }
                    span.note { "A stand-in to try with. Nothing here reaches a real Jira." }
                }
                main { (body) }
            }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, page.into_string()).into_response()
}

// --- the list ---

/// Puts the tenth issue of a project behind its second.
fn in_order(key: &str) -> (&str, u64) {
    let (project, number) = key.split_once('-').unwrap_or((key, ""));
    (project, number.parse().unwrap_or(u64::MAX))
}

fn row(key: &str, issue: &Issue, activity: Activity, now: Timestamp) -> Markup {
    let [commits, branches, pulls] = activity.counts;
    html! {
        tr {
            td.key { a href={ "/browse/" (key) } { (key) } }
            td.summary { a href={ "/browse/" (key) } { (issue.summary) } }
            td { (lozenge(&issue.status)) }
            td.counts {
                @if branches + commits + pulls == 0 { span.quiet { "–" } }
                @if branches > 0 { (count(branches, "branch", "branches")) }
                @if commits > 0 { (count(commits, "commit", "commits")) }
                @if pulls > 0 { (count(pulls, "pull request", "pull requests")) }
            }
            td.when { @if let Some(latest) = activity.latest { (when(latest, now)) } }
        }
    }
}

fn requests(world: &World, now: Timestamp) -> Markup {
    html! {
        section.card {
            h2 { "Latest requests" }
            @if world.log.is_empty() { p.quiet { "No one has called yet." } }
            ol.requests {
                @for entry in world.log.iter().rev().take(8) {
                    li {
                        div.line {
                            span.verb { (entry.method) }
                            span.path title=(entry.path) { (entry.path.rsplit('/').next().unwrap_or_default()) }
                            @match entry.status {
                                Some(status) => span.status.bad[status >= 400] { (status) },
                                None => span.status.bad { "closed" },
                            }
                        }
                        div.quiet {
                            (when(entry.at, now))
                            @if entry.counts.commits > 0 { " · " (count(entry.counts.commits, "commit", "commits")) }
                            @let branches = entry.counts.branches;
                            @if branches > 0 { " · " (count(branches, "branch", "branches")) }
                        }
                    }
                }
            }
        }
    }
}

// --- one issue ---

type Held<'a> = (&'a Repository, &'a Entity);

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
            (lozenge(text(pull, "status")))
        }
    }
}

fn smart_commits(triggers: &[&Trigger], now: Timestamp) -> Markup {
    html! {
        section.card {
            h2 { "Smart Commits" span.badge { (triggers.len()) } }
            p.quiet { "What Jira itself would have run on reading these commits." }
            ul.triggers {
                @for trigger in triggers.iter().rev().take(SHOWN) {
                    @let (word, rest) = trigger.command.split_once(' ').unwrap_or((&trigger.command, ""));
                    li {
                        code.command { (word) } span.words { (rest) }
                        @let short: String = trigger.commit.chars().take(7).collect();
                        span.quiet { code { (short) } " · " (when(trigger.at, now)) }
                    }
                }
            }
        }
    }
}

fn details(key: &str, issue: &Issue, counts: [usize; 3], latest: Option<Timestamp>, now: Timestamp) -> Markup {
    let [branches, commits, pulls] = counts;
    html! {
        section.card {
            h2 { "Details" }
            dl {
                dt { "Key" } dd { (key) }
                dt { "Status" } dd { (issue.status) }
                dt { "Id" } dd { (issue.id) }
            }
        }
        section.card {
            h2 { "Development" }
            dl {
                dt { "Branches" } dd { (branches) }
                dt { "Commits" } dd { (commits) }
                dt { "Pull requests" } dd { (pulls) }
                @if let Some(latest) = latest { dt { "Latest" } dd { (when(latest, now)) } }
            }
        }
    }
}

// --- the small pieces ---

fn mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            rect width="24" height="24" rx="6" fill="currentColor" {}
            path d="M7 6v8a4 4 0 0 0 4 4h1M7 10h6a4 4 0 0 1 4 4v0" fill="none" stroke="white" stroke-width="2" {}
            circle cx="17" cy="15" r="1.6" fill="white" {}
        }
    }
}

fn nothing(title: &str, words: Markup) -> Markup {
    html! { div.nothing { p.title { (title) } p.quiet { (words) } } }
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

/// Links only what a browser opens harmlessly: a sender may call anything a URL.
fn link(url: &str, words: &str) -> Markup {
    html! { @if is_web(url) { a href=(url) rel="noreferrer" { (words) } } @else { (words) } }
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn lozenge(status: &str) -> Markup {
    let mood = match status.to_lowercase().as_str() {
        "done" | "closed" | "resolved" | "merged" => "done",
        "to do" | "open" | "backlog" | "unknown" | "declined" => "waiting",
        _ => "moving",
    };
    html! { span.lozenge.(mood) { (status) } }
}

fn avatar(name: &str) -> Markup {
    let initials = name.split_whitespace().filter_map(|word| word.chars().next()).take(2).collect::<String>();
    let hue = name.bytes().fold(0_u8, u8::wrapping_add) % 6;
    html! { span class={ "avatar hue-" (hue) } aria-hidden="true" { (initials.to_uppercase()) } }
}

fn count(number: usize, one: &str, many: &str) -> Markup {
    html! { span.count { (number) " " (if number == 1 { one } else { many }) } }
}

fn when(moment: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(moment) title=(moment) { (ago(moment, now)) } }
}

fn ago(moment: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - moment.as_second();
    match seconds {
        ..45 => "just now".into(),
        45..5_400 => format!("{} min ago", (seconds + 30) / 60),
        5_400..129_600 => format!("{} h ago", (seconds + 1_800) / 3_600),
        129_600..2_592_000 => format!("{} days ago", (seconds + 43_200) / 86_400),
        _ => moment.strftime("%e %b %Y").to_string().trim().to_owned(),
    }
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

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(earlier: i64, expected: &str) {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let moment = Timestamp::from_second(1_800_000_000 - earlier).unwrap();
        assert_eq!(ago(moment, now), expected);
    }

    #[test]
    fn a_moment_is_told_in_the_unit_a_person_would_use() {
        check(-5, "just now");
        check(44, "just now");
        check(60, "1 min ago");
        check(3 * 3_600, "3 h ago");
        check(3 * 86_400, "3 days ago");
        check(60 * 86_400, "16 Nov 2026");
    }

    #[test]
    fn only_web_addresses_become_links() {
        assert_eq!(link("javascript:alert(1)", "<b>").into_string(), "&lt;b&gt;");
        assert!(link("https://git.example/\"x", "a").into_string().contains("href=\"https://git.example/&quot;x\""));
    }
}
