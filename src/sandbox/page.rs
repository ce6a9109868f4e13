//! What a person sees: the list of issues, and one issue with its Development panel and all that happened on it.
//!
//! Everything on a page came from outside, so the templates escape it, a link is made only of an `http` address, and
//! the content policy forbids scripts, frames and foreign assets. A page asks for itself again every few seconds.

mod activity; // comments, work, history
mod development; // commits, branches, pull requests
mod pieces; // what pages are made of

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use self::activity::Case;
use self::development::Panel;
use self::pieces::{count, lozenge, mark, nothing, when};
use super::issues::{Issue, project_of};
use super::state::{Activity, State as Memory};
use super::workflow::Category;
use super::{App, World};
use crate::request::get;

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
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
                        tbody { @for (key, issue) in issues { (row(&world.state, key, issue, of(key), now)) } }
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
    let Some(key) = world.state.find(&key) else {
        let body = html! {
            section.card {
                (nothing("No such issue", html! {
                    "There is no issue " strong { (key) } " here. " a href="/" { "All issues" }
                }))
            }
        };
        return page(StatusCode::NOT_FOUND, "No such issue", &body);
    };
    let issue = &world.state.issues[&key];
    let case = Case { state: &world.state, key: &key, issue, now };
    let panel = Panel::of(&world.state, &key, now);
    let quiet =
        panel.is_empty() && issue.comments.is_empty() && issue.worklogs.is_empty() && issue.changelog.is_empty();
    let body = html! {
        nav.crumbs {
            a href="/" { "Issues" } span { "/" } span { (key) }
            (lozenge(&issue.status, world.state.mood(&key, &issue.status)))
            @if issue.archived { span.tag { "Archived" } }
        }
        h1 { (issue.summary) }
        div.columns {
            div.stack {
                @if quiet {
                    section.card {
                        (nothing("Nothing yet", html! {
                            "Commits and branches that mention " strong { (key) } " will show here."
                        }))
                    }
                }
                (panel.show())
                (case.activity())
                (case.smart_commits())
            }
            aside { (case.details()) (panel.summary()) }
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

/// Puts the tenth issue of a project behind its second.
fn in_order(key: &str) -> (&str, u64) {
    let (project, number) = key.split_once('-').unwrap_or((key, ""));
    (project, number.parse().unwrap_or(u64::MAX))
}

impl Memory {
    /// What a status means in the project of an issue, as a style calls it.
    fn mood(&self, key: &str, status: &str) -> &'static str {
        match self.projects.get(project_of(key)).map(|project| project.workflow.category(status)) {
            Some(Category::New) => "waiting",
            Some(Category::Done) => "done",
            _ => "moving",
        }
    }
}

fn row(state: &Memory, key: &str, issue: &Issue, activity: Activity, now: Timestamp) -> Markup {
    let [commits, branches, pulls] = activity.counts;
    html! {
        tr {
            td.key { a href={ "/browse/" (key) } { (key) } }
            td.summary { a href={ "/browse/" (key) } { (issue.summary) } }
            td { (lozenge(&issue.status, state.mood(key, &issue.status))) }
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
                @for entry in world.log.newest_first().take(8) {
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
