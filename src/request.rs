//! What a request holds and what answers it: JSON, the query of an address, and handlers.
//!
//! axum makes its own of these anew for each handler; of these here, a handler has only what depends on its type.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// A body in JSON.
pub struct Json<T>(pub T);

/// The query of an address.
pub struct Query<T>(pub T);

/// A handler that is of one type with all others.
struct Any<S>(Arc<dyn Fn(Request, S) -> BoxFuture<'static, Response> + Send + Sync>);

/// Why a request cannot be taken.
pub type Refused = (StatusCode, String);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, Refused> {
        if !is_json(request.headers()) {
            let because = "the body is to be JSON, and its type application/json";
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, because.to_owned()));
        }
        let body = whole(request).await?;
        serde_json::from_slice(&body).map(Json).map_err(|error| unfit(&error))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        written(serde_json::to_vec(&self.0))
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Refused> {
        serde_urlencoded::from_str(parts.uri.query().unwrap_or_default())
            .map(Query)
            .map_err(|error| (StatusCode::BAD_REQUEST, format!("the query is not as it has to be: {error}")))
    }
}

impl<S: 'static> Any<S> {
    fn of<H: Handler<T, S>, T>(handler: H) -> Any<S> {
        Any(Arc::new(move |request, state| Box::pin(handler.clone().call(request, state))))
    }
}

impl<S> Clone for Any<S> {
    fn clone(&self) -> Any<S> {
        Any(Arc::clone(&self.0))
    }
}

impl<S: Send + Sync + 'static> Handler<(), S> for Any<S> {
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, state: S) -> Self::Future {
        (self.0)(request, state)
    }
}

/// Answers GET.
pub fn get<T, S: Clone + Send + Sync + 'static>(handler: impl Handler<T, S>) -> MethodRouter<S> {
    routing::get::<_, (), _>(Any::of(handler))
}

/// Answers POST.
pub fn post<T, S: Clone + Send + Sync + 'static>(handler: impl Handler<T, S>) -> MethodRouter<S> {
    routing::post::<_, (), _>(Any::of(handler))
}

/// Answers PUT.
pub fn put<T, S: Clone + Send + Sync + 'static>(handler: impl Handler<T, S>) -> MethodRouter<S> {
    routing::put::<_, (), _>(Any::of(handler))
}

/// Answers DELETE.
pub fn delete<T, S: Clone + Send + Sync + 'static>(handler: impl Handler<T, S>) -> MethodRouter<S> {
    routing::delete::<_, (), _>(Any::of(handler))
}

/// Reads a body to its end, if it is not longer than is allowed.
pub fn whole(request: Request) -> BoxFuture<'static, Result<Bytes, Refused>> {
    Box::pin(async move {
        Bytes::from_request(request, &()).await.map_err(|rejection| (rejection.status(), rejection.body_text()))
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.strip_prefix("application/").is_some_and(|kind| kind == "json" || kind.ends_with("+json"))
}

fn unfit(error: &serde_json::Error) -> Refused {
    match error.classify() {
        Category::Data => (StatusCode::UNPROCESSABLE_ENTITY, format!("the body is not as it has to be: {error}")),
        Category::Syntax | Category::Eof | Category::Io => {
            (StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}"))
        }
    }
}

fn written(answer: serde_json::Result<Vec<u8>>) -> Response {
    match answer {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use serde::Deserialize;
    use tower::ServiceExt;

    use super::*;

    #[derive(Deserialize, Serialize)]
    struct Name {
        name: String,
    }

    #[track_caller]
    fn check(request: Request, status: u16, answer: &str) {
        let router = Router::new().route(
            "/",
            get(async |Query(Name { name }): Query<Name>| name).merge(post(async |Json(name): Json<Name>| Json(name))),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answered = runtime.block_on(router.oneshot(request)).unwrap();
        assert_eq!(answered.status().as_u16(), status);
        let body = runtime.block_on(axum::body::to_bytes(answered.into_body(), usize::MAX)).unwrap();
        assert!(String::from_utf8_lossy(&body).contains(answer), "{body:?}");
    }

    fn sent(kind: &str, body: &'static str) -> Request {
        Request::post("/").header(header::CONTENT_TYPE, kind).body(Body::from(body)).unwrap()
    }

    #[test]
    fn json_is_taken_and_what_is_wrong_with_it_told() {
        check(sent("application/json", r#"{"name":"ada"}"#), 200, r#"{"name":"ada"}"#);
        check(sent("application/problem+json; charset=utf-8", r#"{"name":"ada"}"#), 200, "ada");
        check(sent("text/plain", r#"{"name":"ada"}"#), 415, "application/json");
        check(sent("application/json", r#"{"name":7}"#), 422, "invalid type: integer `7`, expected a string at line 1");
        check(sent("application/json", "{"), 400, "EOF while parsing");
        check(sent("application/json", r#"{"name":"ada"} {}"#), 400, "trailing characters");
    }

    #[test]
    fn a_query_is_taken_and_what_is_wrong_with_it_told() {
        check(Request::get("/?name=a%20b").body(Body::empty()).unwrap(), 200, "a b");
        check(Request::get("/").body(Body::empty()).unwrap(), 400, "missing field `name`");
        check(Request::put("/").body(Body::empty()).unwrap(), 405, "");
    }
}
