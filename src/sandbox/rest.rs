//! The platform's REST API: one Jira in two flavours, and who is asking.
//!
//! Cloud answers under `/rest/api/3`, and through its gateway under `/ex/jira/<cloud id>/rest/api/3`; Data Center answers
//! under `/rest/api/2`. Both see the same issues, each in its own shapes. Whoever comes without credentials is
//! anonymous and sees no issue; whoever comes with wrong ones is refused at the door.

use axum::Router;
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, World, changelog, comments, edits, issues, links, people, permissions, site, transitions, worklogs};
use crate::request::{Json, whole};

/// Which product is being played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    Cloud,
    DataCenter,
}

/// Who is asking, and where.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) flavour: Flavour,
    /// The name of a person; nobody where no credentials were given.
    pub(super) person: Option<String>,
    /// The site's own address.
    pub(super) site: String,
    /// What every `self` begins with.
    pub(super) root: String,
}

/// A request refused in the words of this API.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    messages: Vec<String>,
    errors: Vec<(String, String)>,
}

pub(super) type Answer = Result<Response, Refusal>;

/// The name a request was answered for, as an extension of its answer.
#[derive(Clone)]
pub(super) struct Named(pub(super) String);

/// A body that has to be JSON.
pub(super) struct Sent(pub(super) Value);

/// The part of a list that is asked for.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Page {
    start_at: usize,
    max_results: Option<usize>,
}

/// The issue an address names.
#[derive(Deserialize)]
pub(super) struct OfIssue {
    pub(super) issue: String,
}

/// Something of an issue by its id.
#[derive(Deserialize)]
pub(super) struct OnIssue {
    pub(super) issue: String,
    pub(super) id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Expand {
    expand: String,
}

#[derive(Clone, Copy)]
struct Gate {
    flavour: Flavour,
    gateway: bool,
}

/// Gives the routes of both flavours.
pub(super) fn routes(app: &App) -> Router<App> {
    let gates = [
        ("/rest/api/3", Gate { flavour: Flavour::Cloud, gateway: false }),
        ("/ex/jira/{cloud}/rest/api/3", Gate { flavour: Flavour::Cloud, gateway: true }),
        ("/rest/api/2", Gate { flavour: Flavour::DataCenter, gateway: false }),
    ];
    gates.into_iter().fold(Router::new(), |router, (base, gate)| {
        let flavour = gate.flavour;
        let inner = Router::new()
            .merge(site::routes(flavour))
            .merge(people::routes(flavour))
            .merge(permissions::routes())
            .merge(issues::routes(flavour))
            .merge(edits::routes())
            .merge(comments::routes(flavour))
            .merge(worklogs::routes(flavour))
            .merge(transitions::routes())
            .merge(changelog::routes(flavour))
            .merge(links::routes())
            .route_layer(middleware::from_fn_with_state((app.clone(), gate), admit));
        router.nest(base, inner)
    })
}

/// Writes a moment as Jira does: milliseconds, and a zone without a colon.
pub(super) fn stamp(moment: Timestamp) -> String {
    format!("{}.{:03}+0000", moment.strftime("%Y-%m-%dT%H:%M:%S"), moment.as_millisecond().rem_euclid(1_000))
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, messages: vec![message.into()], errors: Vec::new() }
    }

    /// A 400 that blames a field.
    pub(super) fn field(field: &str, message: impl Into<String>) -> Refusal {
        let errors = vec![(field.to_owned(), message.into())];
        Refusal { status: StatusCode::BAD_REQUEST, messages: Vec::new(), errors }
    }

    pub(super) fn bad(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, message)
    }

    /// The reason in words.
    pub(super) fn because(self) -> String {
        self.messages.into_iter().chain(self.errors.into_iter().map(|(_, message)| message)).collect()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let errors: Value = self.errors.into_iter().map(|(field, message)| (field, json!(message))).collect();
        (self.status, Json(json!({ "errorMessages": self.messages, "errors": errors }))).into_response()
    }
}

impl Caller {
    /// The person who asks, where this cannot be done by nobody.
    pub(super) fn person(&self) -> Result<&str, Refusal> {
        let anonymous = || Refusal::new(StatusCode::UNAUTHORIZED, "You are not authenticated.");
        self.person.as_deref().ok_or_else(anonymous)
    }

    pub(super) fn is_cloud(&self) -> bool {
        self.flavour == Flavour::Cloud
    }
}

impl Page {
    /// Cuts a page out of a list: its beginning, the most it may hold, and what it holds.
    pub(super) fn of<T>(self, list: Vec<T>, usual: usize, most: usize) -> (usize, usize, Vec<T>) {
        let size = self.max_results.unwrap_or(usual).min(most);
        (self.start_at, size, list.into_iter().skip(self.start_at).take(size).collect())
    }

    /// Answers a page in the shape whose list is called `values`.
    pub(super) fn bean(self, list: Vec<Value>, usual: usize, most: usize) -> Value {
        let total = list.len();
        let (start, size, values) = self.of(list, usual, most);
        let last = start.saturating_add(values.len()) >= total;
        json!({ "startAt": start, "maxResults": size, "total": total, "isLast": last, "values": values })
    }
}

impl Expand {
    /// Whether this word is among those asked for.
    pub(super) fn has(&self, word: &str) -> bool {
        self.expand.split(',').any(|asked| asked.trim() == word)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, StatusCode> {
        parts.extensions.get::<Caller>().cloned().ok_or(StatusCode::UNAUTHORIZED)
    }
}

impl<S: Sync> FromRequest<S> for Sent {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Sent, Refusal> {
        let kind = text(request.headers(), header::CONTENT_TYPE).unwrap_or_default().to_owned();
        if !kind.starts_with("application/json") {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type is not application/json"));
        }
        let body = whole(request).await.map_err(|_| Refusal::bad("the body cannot be read"))?;
        serde_json::from_slice(&body).map(Sent).map_err(|_| Refusal::bad("There was an error parsing JSON."))
    }
}

async fn admit(
    State((app, gate)): State<(App, Gate)>,
    Path(path): Path<std::collections::HashMap<String, String>>,
    mut request: Request,
    next: Next,
) -> Response {
    let site = format!("http://{}", text(request.headers(), header::HOST).unwrap_or("localhost"));
    let gateway = path.get("cloud").map(|cloud| format!("/ex/jira/{cloud}")).unwrap_or_default();
    let version = if gate.flavour == Flavour::Cloud { 3 } else { 2 };
    let root = format!("{site}{gateway}/rest/api/{version}");
    let identified = {
        let (world, _) = app.enter();
        if gate.gateway && path.get("cloud") != Some(&world.cloud_id) {
            return Refusal::not_found("no site has this cloud id").into_response();
        }
        identify(&world, gate, request.headers())
    };
    let person = match &identified {
        Ok(person) => person.clone(),
        Err(_) => None,
    };
    let name = person.clone().unwrap_or_else(|| "anonymous".to_owned());
    let mut answer = match identified {
        Ok(_) => {
            request.extensions_mut().insert(Caller { flavour: gate.flavour, person, site, root });
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    if gate.flavour == Flavour::DataCenter {
        introduce(answer.headers_mut(), &name);
    }
    answer.extensions_mut().insert(Named(name));
    answer
}

/// Adds what Data Center says with every answer: who one is, and how full the bucket of requests is.
fn introduce(headers: &mut HeaderMap, name: &str) {
    if let Ok(name) = HeaderValue::try_from(name) {
        headers.insert("x-ausername", name);
    }
    let bucket = [
        ("x-ratelimit-limit", "60"),
        ("x-ratelimit-remaining", "59"),
        ("x-ratelimit-interval-seconds", "60"),
        ("x-ratelimit-fillrate", "60"),
        ("retry-after", "0"),
    ];
    for (name, value) in bucket {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Says whose credentials these are: nobody's where there are none, a refusal where they are wrong.
fn identify(world: &World, gate: Gate, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(credentials) = text(headers, header::AUTHORIZATION) else { return Ok(None) };
    let wrong = || Refusal::new(StatusCode::UNAUTHORIZED, "Client must be authenticated to access this resource.");
    let (scheme, rest) = credentials.split_once(' ').ok_or_else(wrong)?;
    let basic = || people::read_basic(rest).ok_or_else(wrong);
    let person = match (gate.flavour, scheme.to_ascii_lowercase().as_str()) {
        (Flavour::Cloud, "basic") => {
            let (email, token) = basic()?;
            // A scoped token opens the gateway only, a classic one the site only.
            world
                .state
                .person_by_token(&token)
                .filter(|(_, person)| person.email.eq_ignore_ascii_case(&email) && person.scoped == gate.gateway)
        }
        (Flavour::DataCenter, "bearer") => world.state.person_by_token(rest).filter(|(_, person)| !person.scoped),
        (Flavour::DataCenter, "basic") if !world.tuning.basic => {
            let refusal = "Basic Authentication has been disabled on this instance.";
            return Err(Refusal::new(StatusCode::FORBIDDEN, refusal));
        }
        (Flavour::DataCenter, "basic") => {
            let (name, password) = basic()?;
            let found = world.state.people.get_key_value(&name);
            found.filter(|(_, person)| !password.is_empty() && person.password == password)
        }
        _ => None,
    };
    person.filter(|(_, person)| person.active).map(|(name, _)| Some(name.clone())).ok_or_else(wrong)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
