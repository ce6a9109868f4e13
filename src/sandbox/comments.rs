//! Comments: written, listed, changed, and marked with properties.
//!
//! In a project of the service desk a comment is for the customer to see, unless its property `sd.public.comment` says
//! that it is internal. Properties show only to those who ask for them.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Path, State as From};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::issues::project_of;
use super::permissions::Permission;
use super::rest::{Answer, Caller, Expand, Flavour, OfIssue, OnIssue, Page, Refusal, Sent, stamp};
use super::site::ProjectType;
use super::state::State;
use super::{App, adf};
use crate::request::{Json, Query, delete, get, post, put};

/// Characters of a text, as an administrator leaves them.
pub(super) const LONGEST: usize = 32_767;
/// Comments asked for by id at once.
const LISTED: usize = 1_000;
/// Characters of a property's key, and of its value.
const KEY: usize = 255;
const VALUE: usize = 32_768;

/// A comment on an issue.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Comment {
    pub(super) id: u64,
    /// The names of persons.
    pub(super) author: String,
    pub(super) update_author: String,
    /// A document, or a string of wiki markup.
    pub(super) body: Value,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    #[serde(default)]
    pub(super) properties: Properties,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) visibility: Option<Value>,
    /// The commit that made Jira do this by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<String>,
}

pub(super) type Properties = BTreeMap<String, Value>;

/// What somebody wants to write.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) body: Value,
    pub(super) properties: Properties,
    pub(super) visibility: Option<Value>,
    pub(super) commit: Option<String>,
}

impl Comment {
    /// Whether the customer of a service desk sees it.
    pub(super) fn is_public(&self) -> bool {
        self.properties.get("sd.public.comment").is_none_or(|value| value["internal"] != true)
    }
}

impl State {
    /// Puts a comment on an issue, within the limits, whoever may write there.
    pub(super) fn add_comment(
        &mut self,
        key: &str,
        author: &str,
        draft: Draft,
        now: Timestamp,
    ) -> Result<u64, Refusal> {
        if adf::as_text(&draft.body).chars().count() > LONGEST {
            let message =
                format!("The entered text is too long. It exceeds the allowed limit of {LONGEST} characters.");
            return Err(Refusal::field("comment", message));
        }
        let id = self.take_id();
        let most = self.limits.comments;
        let issue = self.issues.get_mut(key).expect("the key was looked up");
        if issue.comments.len() >= most {
            return Err(full("comments", most));
        }
        issue.updated = now;
        issue.comments.push(Comment {
            id,
            author: author.to_owned(),
            update_author: author.to_owned(),
            body: draft.body,
            created: now,
            updated: now,
            properties: draft.properties,
            visibility: draft.visibility,
            commit: draft.commit,
        });
        Ok(id)
    }

    fn show_comment(&self, key: &str, comment: &Comment, caller: &Caller, properties: bool) -> Value {
        let issue = &self.issues[key];
        let mut shown = json!({
            "self": format!("{}/issue/{}/comment/{}", caller.root, issue.id, comment.id),
            "id": comment.id.to_string(),
            "author": self.show_person(&comment.author, caller),
            "updateAuthor": self.show_person(&comment.update_author, caller),
            "created": stamp(comment.created),
            "updated": stamp(comment.updated),
        });
        if caller.is_cloud() {
            let desk = self.projects[project_of(key)].kind == ProjectType::ServiceDesk;
            shown["body"] = adf::as_document(&comment.body);
            shown["jsdPublic"] = json!(!desk || comment.is_public());
        } else {
            shown["body"] = json!(adf::as_text(&comment.body));
        }
        if let Some(visibility) = &comment.visibility {
            shown["visibility"] = visibility.clone();
        }
        if properties {
            shown["properties"] = show_properties(&comment.properties);
        }
        shown
    }

    /// Shows a page of an issue's comments.
    pub(super) fn show_comments(
        &self,
        key: &str,
        caller: &Caller,
        page: Page,
        newest: bool,
        properties: bool,
    ) -> Value {
        let mut comments: Vec<&Comment> = self.issues[key].comments.iter().collect();
        if newest {
            comments.reverse();
        }
        let total = comments.len();
        let usual = if caller.is_cloud() { 100 } else { 1 << 20 };
        let (start, size, comments) = page.of(comments, usual, usual);
        let comments: Vec<_> =
            comments.into_iter().map(|comment| self.show_comment(key, comment, caller, properties)).collect();
        json!({ "startAt": start, "maxResults": size, "total": total, "comments": comments })
    }

    /// Finds a comment of any issue that the caller may see.
    fn comment(&self, caller: &Caller, id: &str) -> Result<(String, usize), Refusal> {
        let place = |(key, issue): (&String, &super::issues::Issue)| {
            let at = issue.comments.iter().position(|comment| comment.id.to_string() == id)?;
            Some((key.clone(), at))
        };
        let found = self.issues.iter().find_map(place);
        let missing = || Refusal::not_found(format!("Can not find a comment for the id: {id}."));
        let (key, at) = found.ok_or_else(missing)?;
        self.visible(caller, &key).map(|key| (key, at)).map_err(|_| missing())
    }

    /// Finds a comment of this issue, to change it: only one's own, if one may do that, unless one may moderate.
    fn own_comment(
        &self,
        caller: &Caller,
        issue: &str,
        id: &str,
        what: Permission,
    ) -> Result<(String, usize), Refusal> {
        let key = self.visible(caller, issue)?;
        let (of, at) = self.comment(caller, id)?;
        if of != key {
            return Err(Refusal::not_found(format!("Can not find a comment for the id: {id}.")));
        }
        self.own(caller, &key, &self.issues[&key].comments[at].author, what)?;
        Ok((key, at))
    }

    /// Refuses to change what somebody else wrote, and what one wrote oneself where one may not do this.
    pub(super) fn own(&self, caller: &Caller, key: &str, author: &str, what: Permission) -> Result<(), Refusal> {
        let person = caller.person()?;
        self.allow(person, key, if person == author { what } else { Permission::Moderate })
    }
}

/// Refuses what would be one too many on an issue.
pub(super) fn full(what: &str, most: usize) -> Refusal {
    let message = format!("The issue has reached the limit of {most} {what}.");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// Reads a text as this flavour writes it, or nothing where there is none.
pub(super) fn read_text(caller: &Caller, given: &Value) -> Result<Value, Refusal> {
    let invalid = || Refusal::field("comment", "Comment body is not valid!");
    match given {
        Value::String(_) if !caller.is_cloud() => Ok(given.clone()),
        Value::Object(_) if caller.is_cloud() => adf::check(given).map(|()| given.clone()).map_err(|_| invalid()),
        Value::Null => Ok(Value::Null),
        _ => Err(invalid()),
    }
}

/// Reads `properties` of a request.
pub(super) fn read_properties(given: &Value) -> Result<Properties, Refusal> {
    let mut properties = Properties::new();
    for property in given.as_array().into_iter().flatten() {
        let key = property["key"].as_str().filter(|key| !key.is_empty() && key.chars().count() <= KEY);
        let key = key.ok_or_else(|| Refusal::bad(format!("a property has a key of at most {KEY} characters")))?;
        if property["value"].to_string().chars().count() > VALUE {
            return Err(Refusal::bad(format!("the value of a property has at most {VALUE} characters")));
        }
        properties.insert(key.to_owned(), property["value"].clone());
    }
    Ok(properties)
}

pub(super) fn show_properties(properties: &Properties) -> Value {
    properties.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

/// Gives the routes to comments.
pub(super) fn routes(flavour: Flavour) -> Router<App> {
    let router = Router::new()
        .route("/issue/{issue}/comment", get(list).merge(post(create)))
        .route("/issue/{issue}/comment/{id}", get(one).merge(put(change)).merge(delete(remove)))
        .route("/comment/{id}/properties", get(keys))
        .route("/comment/{id}/properties/{property}", get(property).merge(put(set)));
    match flavour {
        Flavour::Cloud => router.route("/comment/list", post(by_ids)),
        Flavour::DataCenter => router,
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Order {
    order_by: Option<String>,
}

async fn list(
    From(app): From<App>,
    caller: Caller,
    Path(OfIssue { issue }): Path<OfIssue>,
    Query(page): Query<Page>,
    Query(order): Query<Order>,
    Query(expand): Query<Expand>,
) -> Answer {
    let (world, _) = app.enter();
    let key = world.state.visible(&caller, &issue)?;
    let newest = match order.order_by.as_deref() {
        None | Some("created" | "+created" | " created") => false,
        Some("-created") => true,
        Some(other) => return Err(Refusal::bad(format!("'{other}' is not a valid value for orderBy."))),
    };
    // No description of the API lists this, so a version may well not know it.
    let properties = expand.has("properties") && world.tuning.comment_properties;
    let mut shown = world.state.show_comments(&key, &caller, page, newest, properties);
    if expand.has("properties") && !properties && world.tuning.lists_say_none {
        let comments = shown["comments"].as_array_mut().into_iter().flatten();
        comments.for_each(|comment| comment["properties"] = json!([]));
    }
    Ok(Json(shown).into_response())
}

async fn create(
    From(app): From<App>,
    caller: Caller,
    Path(OfIssue { issue }): Path<OfIssue>,
    Query(expand): Query<Expand>,
    Sent(sent): Sent,
) -> Answer {
    let (mut world, now) = app.change();
    let kept = world.tuning.keeps_properties;
    let state = &mut world.state;
    let key = state.open_to(&caller, &issue, Permission::Comment)?;
    let properties = read_properties(&sent["properties"])?;
    let draft = Draft {
        body: written(&caller, &sent["body"])?,
        properties: if kept { properties } else { Properties::new() },
        visibility: read_visibility(&sent["visibility"])?,
        commit: None,
    };
    state.add_comment(&key, caller.person()?, draft, now)?;
    let comment = state.issues[&key].comments.last().expect("it was just added");
    let shown = state.show_comment(&key, comment, &caller, expand.has("properties"));
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

async fn one(
    From(app): From<App>,
    caller: Caller,
    Path(OnIssue { issue, id }): Path<OnIssue>,
    Query(expand): Query<Expand>,
) -> Answer {
    let (world, _) = app.enter();
    let key = world.state.visible(&caller, &issue)?;
    let (of, at) = world.state.comment(&caller, &id)?;
    if of != key {
        return Err(Refusal::not_found(format!("Can not find a comment for the id: {id}.")));
    }
    let comment = &world.state.issues[&key].comments[at];
    Ok(Json(world.state.show_comment(&key, comment, &caller, expand.has("properties"))).into_response())
}

async fn change(
    From(app): From<App>,
    caller: Caller,
    Path(OnIssue { issue, id }): Path<OnIssue>,
    Query(expand): Query<Expand>,
    Sent(sent): Sent,
) -> Answer {
    let (mut world, now) = app.change();
    let state = &mut world.state;
    let (key, at) = state.own_comment(&caller, &issue, &id, Permission::Browse)?;
    let body = written(&caller, &sent["body"])?;
    let properties = read_properties(&sent["properties"])?;
    let comment = &mut state.issues.get_mut(&key).expect("it was just found").comments[at];
    comment.body = body;
    comment.properties.extend(properties);
    comment.update_author = caller.person()?.to_owned();
    comment.updated = now;
    let comment = &state.issues[&key].comments[at];
    Ok(Json(state.show_comment(&key, comment, &caller, expand.has("properties"))).into_response())
}

async fn remove(From(app): From<App>, caller: Caller, Path(OnIssue { issue, id }): Path<OnIssue>) -> Answer {
    let (mut world, now) = app.change();
    let (key, at) = world.state.own_comment(&caller, &issue, &id, Permission::DeleteOwnComments)?;
    let issue = world.state.issues.get_mut(&key).expect("it was just found");
    issue.comments.remove(at);
    issue.updated = now;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn by_ids(From(app): From<App>, caller: Caller, Query(expand): Query<Expand>, Sent(sent): Sent) -> Answer {
    let ids: Vec<String> = sent["ids"].as_array().into_iter().flatten().map(Value::to_string).collect();
    if ids.is_empty() || ids.len() > LISTED {
        return Err(Refusal::bad(format!("ids has to hold 1 to {LISTED} ids.")));
    }
    let (world, _) = app.enter();
    let found = ids.iter().filter_map(|id| world.state.comment(&caller, id.trim_matches('"')).ok());
    let properties = expand.has("properties") && world.tuning.properties_by_ids;
    let show = |(key, at): (String, usize)| {
        world.state.show_comment(&key, &world.state.issues[&key].comments[at], &caller, properties)
    };
    Ok(Json(Page::default().bean(found.map(show).collect(), LISTED, LISTED)).into_response())
}

#[derive(Deserialize)]
struct OfComment {
    id: String,
    #[serde(default)]
    property: String,
}

async fn keys(From(app): From<App>, caller: Caller, Path(OfComment { id, .. }): Path<OfComment>) -> Answer {
    let (world, _) = app.enter();
    let (key, at) = world.state.comment(&caller, &id)?;
    let place = format!("{}/comment/{id}/properties", caller.root);
    let keys = world.state.issues[&key].comments[at].properties.keys();
    let keys: Vec<_> = keys.map(|key| json!({ "key": key, "self": format!("{place}/{key}") })).collect();
    Ok(Json(json!({ "keys": keys })).into_response())
}

async fn property(From(app): From<App>, caller: Caller, Path(OfComment { id, property }): Path<OfComment>) -> Answer {
    let (world, _) = app.enter();
    let (key, at) = world.state.comment(&caller, &id)?;
    match world.state.issues[&key].comments[at].properties.get(&property) {
        Some(value) => Ok(Json(json!({ "key": property, "value": value })).into_response()),
        None => Err(Refusal::not_found(format!("The property {property} does not exist."))),
    }
}

async fn set(
    From(app): From<App>,
    caller: Caller,
    Path(OfComment { id, property }): Path<OfComment>,
    Sent(value): Sent,
) -> Answer {
    let (mut world, _) = app.change();
    let (key, _) = world.state.comment(&caller, &id)?;
    let (_, at) = world.state.own_comment(&caller, &key, &id, Permission::Browse)?;
    let mut read = read_properties(&json!([{ "key": property, "value": value }]))?;
    let properties = &mut world.state.issues.get_mut(&key).expect("it was just found").comments[at].properties;
    let before = properties.contains_key(&property);
    properties.append(&mut read);
    let status = if before { StatusCode::OK } else { StatusCode::CREATED };
    Ok(if caller.is_cloud() { (status, Json(json!({}))).into_response() } else { status.into_response() })
}

/// Reads the text of a comment, which cannot be empty.
pub(super) fn written(caller: &Caller, given: &Value) -> Result<Value, Refusal> {
    let body = read_text(caller, given)?;
    match adf::as_text(&body).trim().is_empty() {
        true => Err(Refusal::field("comment", "Comment body can not be empty!")),
        false => Ok(body),
    }
}

fn read_visibility(given: &Value) -> Result<Option<Value>, Refusal> {
    if given.is_null() {
        return Ok(None);
    }
    let kind = given["type"].as_str().is_some_and(|kind| matches!(kind, "group" | "role"));
    let named = given["value"].is_string() || given["identifier"].is_string();
    if kind && named {
        Ok(Some(given.clone()))
    } else {
        Err(Refusal::field("visibility", "The visibility is not valid."))
    }
}
