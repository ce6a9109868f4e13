//! What happened on an issue: comments, work and changes, each by whom, and whether Jira did it by itself.
//!
//! What people wrote shows as what it says. Documents keep their paragraphs, lists and code and nothing else: a text
//! never becomes a link, a picture or a mention here, whatever it asks for.

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use super::pieces::{avatar, count, lozenge, short, text, when};
use crate::sandbox::changelog::{Change, Item};
use crate::sandbox::comments::{Comment, Properties};
use crate::sandbox::edits;
use crate::sandbox::issues::{Issue, project_of};
use crate::sandbox::site::ProjectType;
use crate::sandbox::smart::Trigger;
use crate::sandbox::state::State;
use crate::sandbox::worklogs::Worklog;

/// Entries of each kind that a page shows.
const SHOWN: usize = 100;
/// How deep a document is followed.
const DEEPEST: usize = 16;

/// One issue as its page needs it.
pub(super) struct Case<'a> {
    pub(super) state: &'a State,
    pub(super) key: &'a str,
    pub(super) issue: &'a Issue,
    pub(super) now: Timestamp,
}

impl Case<'_> {
    /// Shows all of it, newest at the end of each list as Jira has it.
    pub(super) fn activity(&self) -> Markup {
        let Issue { comments, worklogs, changelog, .. } = self.issue;
        html! {
            (list("Comments", comments, |comment| self.comment(comment)))
            (list("Work log", worklogs, |worklog| self.worklog(worklog)))
            (list("History", changelog, |change| self.change(change)))
        }
    }

    fn comment(&self, comment: &Comment) -> Markup {
        let desk = self.state.projects.get(project_of(self.key)).is_some_and(|it| it.kind == ProjectType::ServiceDesk);
        self.entry(
            &comment.author,
            comment.created,
            comment.commit.as_deref(),
            html! {
                @if desk && !comment.is_public() { span.tag { "Internal" } }
                @if comment.updated != comment.created { span.quiet { "edited" } }
            },
            html! {
                div.said { (said(&comment.body)) }
                (marks(&comment.properties))
            },
        )
    }

    fn worklog(&self, worklog: &Worklog) -> Markup {
        let spent = self.state.time.pretty(worklog.seconds);
        self.entry(
            &worklog.author,
            worklog.created,
            worklog.commit.as_deref(),
            html! {
                span.spent { (spent) }
                span.quiet { "of work begun " (when(worklog.started, self.now)) }
            },
            html! {
                @if !worklog.comment.is_null() { div.said { (said(&worklog.comment)) } }
                (marks(&worklog.properties))
            },
        )
    }

    fn change(&self, change: &Change) -> Markup {
        self.entry(
            &change.author,
            change.created,
            change.commit.as_deref(),
            html! {},
            html! {
                @for item in &change.items { div.changed { (self.item(item)) } }
                @if let Some(metadata) = &change.history_metadata {
                    div.marks { span.mark { (text(metadata, "type")) }
                        @for (name, value) in metadata["extraData"].as_object().into_iter().flatten() {
                            span.mark title=(value) { (name) }
                        }
                    }
                }
            },
        )
    }

    fn item(&self, item: &Item) -> Markup {
        let status = item.field == "status";
        let side = |side: &Option<(String, String)>| {
            let words = side.as_ref().map(|(_, words)| words.as_str());
            html! {
                @match words {
                    Some(words) if status => (lozenge(words, self.state.mood(self.key, words))),
                    Some(words) => strong { (words) },
                    None => span.quiet { "none" },
                }
            }
        };
        let mut name = item.field.clone();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        html! { span.field { (name) } (side(&item.from)) span.quiet { "→" } (side(&item.to)) }
    }

    /// Lays one entry out: who, when, by whose doing, and what.
    fn entry(&self, author: &str, at: Timestamp, commit: Option<&str>, facts: Markup, content: Markup) -> Markup {
        let name = self.state.people.get(author).map_or(author, |person| &person.display_name);
        html! {
            div.entity {
                (avatar(name))
                div.facts {
                    div.headline {
                        span.title { (name) }
                        span.quiet { (when(at, self.now)) }
                        (facts)
                        @if let Some(commit) = commit {
                            span.own title={ "Jira carried out a Smart Commit in " (commit) } {
                                "Jira itself · " code { (short(commit)) }
                            }
                        }
                    }
                    (content)
                }
            }
        }
    }

    /// Shows the orders that Jira read in commits, and what became of each.
    pub(super) fn smart_commits(&self) -> Markup {
        let triggers: Vec<&Trigger> = self.state.triggers.iter().filter(|one| one.key == self.key).collect();
        html! {
            @if !triggers.is_empty() {
                section.card {
                    h2 { "Smart Commits" span.badge { (triggers.len()) } }
                    p.quiet { "What Jira itself read in commits, and did as their authors." }
                    ul.triggers {
                        @for trigger in triggers.iter().rev().take(SHOWN) {
                            @let (word, rest) = trigger.command.split_once(' ').unwrap_or((&trigger.command, ""));
                            li {
                                code.command.refused[trigger.refused.is_some()] { (word) }
                                span.words {
                                    (rest)
                                    @if let Some(because) = &trigger.refused { div.quiet { "Not done: " (because) } }
                                }
                                span.quiet { code { (short(&trigger.commit)) } " · " (when(trigger.at, self.now)) }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Shows what stands beside an issue: what it is, and the time it took.
    pub(super) fn details(&self) -> Markup {
        let Issue { id, status, resolution, .. } = self.issue;
        let project = self.state.projects.get(project_of(self.key));
        html! {
            section.card {
                h2 { "Details" }
                dl {
                    dt { "Key" } dd { (self.key) }
                    dt { "Status" } dd { (lozenge(status, self.state.mood(self.key, status))) }
                    @if let Some(resolution) = resolution { dt { "Resolution" } dd { (resolution) } }
                    @for (field, value) in &self.issue.fields { dt { (field) } dd { (edits::shown(value)) } }
                    @if let Some(project) = project { dt { "Project" } dd { (project.name) } }
                    dt { "Id" } dd { (id) }
                }
            }
            (self.time())
        }
    }

    fn time(&self) -> Markup {
        let logged: u64 = self.issue.worklogs.iter().map(|worklog| worklog.seconds).sum();
        let left = self.issue.remaining_seconds;
        html! {
            @if logged > 0 || left.is_some() {
                section.card {
                    h2 { "Time" }
                    progress value=(logged) max=(logged.saturating_add(left.unwrap_or_default())) {}
                    div.spread {
                        span { (self.state.time.pretty(logged)) " logged" }
                        @if let Some(left) = left { span.quiet { (self.state.time.pretty(left)) " left" } }
                    }
                }
            }
        }
    }
}

fn list<T>(title: &str, entries: &[T], show: impl Fn(&T) -> Markup) -> Markup {
    let hidden = entries.len().saturating_sub(SHOWN);
    html! {
        @if !entries.is_empty() {
            section.card {
                h2 { (title) span.badge { (entries.len()) } }
                @if hidden > 0 { p.quiet { "after " (count(hidden, "older one", "older ones")) } }
                ul.entities { @for entry in &entries[hidden..] { li { (show(entry)) } } }
            }
        }
    }
}

/// The properties something bears, by which machines find it again.
fn marks(properties: &Properties) -> Markup {
    html! {
        @if !properties.is_empty() {
            div.marks { @for (key, value) in properties { span.mark title=(value) { (key) } } }
        }
    }
}

/// What somebody wrote: the paragraphs of a text, or of a document.
fn said(body: &Value) -> Markup {
    match body {
        Value::String(words) => html! { p { (words) } },
        body => nodes(body, DEEPEST),
    }
}

fn nodes(parent: &Value, depth: usize) -> Markup {
    let children = parent["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    html! { @if depth > 0 { @for child in children { (node(child, depth - 1)) } } }
}

fn node(node: &Value, depth: usize) -> Markup {
    let inside = || nodes(node, depth);
    let attribute = |name: &str| text(&node["attrs"], name).to_owned();
    match text(node, "type") {
        "text" => marked(text(node, "text"), node["marks"].as_array().map(Vec::as_slice).unwrap_or_default()),
        "paragraph" => html! { p { (inside()) } },
        "heading" => html! { p { strong { (inside()) } } },
        "codeBlock" => html! { pre { (inside()) } },
        "bulletList" => html! { ul { (inside()) } },
        "orderedList" => html! { ol { (inside()) } },
        "listItem" => html! { li { (inside()) } },
        "blockquote" | "panel" | "expand" => html! { blockquote { (inside()) } },
        "rule" => html! { hr; },
        "hardBreak" => html! { br; },
        "mention" | "emoji" | "status" => html! { (attribute("text")) },
        "inlineCard" => html! { (attribute("url")) },
        _ => inside(),
    }
}

/// Shows text with those of its marks that cannot lead anywhere.
fn marked(words: &str, marks: &[Value]) -> Markup {
    let plain = html! { (words) };
    marks.iter().fold(plain, |inner, mark| match text(mark, "type") {
        "code" => html! { code { (inner) } },
        "strong" => html! { strong { (inner) } },
        "em" => html! { em { (inner) } },
        "strike" => html! { s { (inner) } },
        _ => inner,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(content: Value, expected: &str) {
        let document = json!({ "type": "doc", "version": 1, "content": content });
        assert_eq!(said(&document).into_string(), expected);
    }

    #[test]
    fn what_was_written_shows_as_text_and_leads_nowhere() {
        let link = json!([{ "type": "link", "attrs": { "href": "https://evil.example" } }, { "type": "code" }]);
        check(
            json!([{ "type": "paragraph", "content": [{ "type": "text", "text": "<b>", "marks": link }] }]),
            "<p><code>&lt;b&gt;</code></p>",
        );
        check(
            json!([{ "type": "paragraph", "content": [
                { "type": "mention", "attrs": { "id": "1", "text": "@ada" } },
                { "type": "hardBreak" },
                { "type": "inlineCard", "attrs": { "url": "https://evil.example" } },
            ] }]),
            "<p>@ada<br>https://evil.example</p>",
        );
        check(
            json!([{ "type": "codeBlock", "content": [{ "type": "text", "text": "a < b" }] }]),
            "<pre>a &lt; b</pre>",
        );
        assert_eq!(said(&json!("[x|javascript:y] <i>")).into_string(), "<p>[x|javascript:y] &lt;i&gt;</p>");
    }
}
