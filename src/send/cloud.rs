//! Jira Cloud over HTTP: the token endpoint, the site's id, and the development information API.
//!
//! A gateway asks and hands back what was answered; what an answer means is decided in `verdict`. It repeats a request
//! only where a token ran out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::json;

use super::credentials::{Bearer, Secret};
use super::http::{Http, SMALL};
use super::verdict::{Answer, Trouble};
use super::{Error, RestKind, Settings};
use crate::queue::EntityKind;

/// The way to one site.
pub struct Gateway {
    http: Http,
    site: Url,
    api: Url,
    auth: Url,
    client_id: String,
    secret: Secret,
    configured_id: Option<String>,
    found: Mutex<Found>,
}

/// What can be asked of the API.
pub enum Call<'a> {
    Bulk(Vec<u8>),
    Delete {
        repository: &'a str,
        kind: EntityKind,
        id: &'a str,
        upto: i64,
    },
    Exists {
        properties: &'a [(&'a str, &'a str)],
    },
    /// What is held of a repository.
    Read {
        repository: &'a str,
    },
    /// Everything that was told with these properties goes.
    Forget {
        properties: &'a [(&'a str, &'a str)],
    },
}

impl Gateway {
    pub fn new(settings: &Settings, secret: Secret) -> Result<Gateway, Error> {
        let site = settings.address("url", &settings.url)?;
        let api = settings.address("api_url", &settings.api_url)?;
        let auth = settings.address("auth_url", &settings.auth_url)?;
        let with_tls = [&site, &api, &auth].iter().any(|url| url.scheme() == "https");
        Ok(Gateway {
            http: Http::new(settings, with_tls, None)?,
            site,
            api,
            auth,
            client_id: settings.client_id.clone().unwrap_or_default(),
            secret,
            configured_id: settings.cloud_id.clone(),
            found: Mutex::default(),
        })
    }

    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Asks the API; a token that is refused is replaced once.
    pub async fn ask(&self, call: &Call<'_>, now: i64) -> Result<Answer, Trouble> {
        let cloud_id = self.cloud_id(now).await?;
        let spent = self.token(now).await?;
        let answer = self.http.send(self.request(&spent, &cloud_id, call), &self.api).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        self.forget(&spent);
        let token = self.token(now).await?;
        self.http.send(self.request(&token, &cloud_id, call), &self.api).await
    }

    /// Gets all that a request needs, so that what fails from then on is the request itself.
    pub async fn prepare(&self, now: i64) -> Result<(), Trouble> {
        self.cloud_id(now).await?;
        self.token(now).await.map(drop)
    }

    /// Gives the id Atlassian has for the site: the configured one, or the one the site tells.
    pub async fn cloud_id(&self, now: i64) -> Result<String, Trouble> {
        let known = self.configured_id.clone().or_else(|| self.found().cloud_id.clone());
        if let Some(id) = known {
            return Ok(id);
        }
        let cloud_id = self.http.cloud_id(&self.site, now).await?;
        self.found().cloud_id = Some(cloud_id.clone());
        Ok(cloud_id)
    }

    /// Gives a token that is good for a while: the one in hand, or a new one.
    pub async fn token(&self, now: i64) -> Result<Bearer, Trouble> {
        let kept = self.found().token.clone();
        if let Some(token) = kept.filter(|token| token.is_good(Instant::now())) {
            return Ok(token);
        }
        let wanted = json!({
            "audience": "api.atlassian.com",
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.secret.expose(),
        });
        let asked = Instant::now();
        let answer =
            self.http.send(self.http.client().post(self.auth.clone()).json(&wanted).timeout(SMALL), &self.auth).await?;
        check_token(&answer, now)?;
        let Granted { access_token, expires_in } = answer.json()?;
        let token = Bearer::new(self.api.clone(), access_token, expires_in, asked);
        self.found().token = Some(token.clone());
        Ok(token)
    }

    fn request(&self, token: &Bearer, cloud_id: &str, call: &Call<'_>) -> RequestBuilder {
        let base = ["jira", "devinfo", "0.1", "cloud", cloud_id];
        match call {
            Call::Bulk(body) => token
                .request(self.http.client(), Method::POST, &[&base[..], &["bulk"]].concat(), &[])
                .header(CONTENT_TYPE, "application/json")
                .timeout(LARGE)
                .body(body.clone()),
            Call::Delete { repository, kind, id, upto } => {
                let within: &[&str] = match kind {
                    EntityKind::Repository => &[],
                    kind => &[kind.as_str(), id],
                };
                let path = [&base[..], &["repository", repository], within].concat();
                let query = [("_updateSequenceId", &*upto.to_string())];
                token.request(self.http.client(), Method::DELETE, &path, &query).timeout(SMALL)
            }
            Call::Read { repository } => {
                let path = [&base[..], &["repository", repository]].concat();
                token.request(self.http.client(), Method::GET, &path, &[]).timeout(LARGE)
            }
            Call::Forget { properties } => {
                let path = [&base[..], &["bulkByProperties"]].concat();
                token.request(self.http.client(), Method::DELETE, &path, properties).timeout(LARGE)
            }
            Call::Exists { properties } => {
                let path = [&base[..], &["existsByProperties"]].concat();
                token.request(self.http.client(), Method::GET, &path, properties).timeout(SMALL)
            }
        }
    }

    fn forget(&self, token: &Bearer) {
        let mut found = self.found();
        found.token = found.token.take().filter(|kept| !kept.is(token));
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was learnt on the way.
#[derive(Default)]
struct Found {
    cloud_id: Option<String>,
    token: Option<Bearer>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default = "quarter")]
    expires_in: u64,
}

/// For a whole exchange, answer included.
const LARGE: Duration = Duration::from_secs(60);

/// How long a token lives, in seconds, where Atlassian does not say.
fn quarter() -> u64 {
    900
}

fn check_token(answer: &Answer, now: i64) -> Result<(), Trouble> {
    match (answer.status, answer.trouble(now)) {
        (400 | 401 | 403, _) => {
            let words = answer.words();
            let said = if words.is_empty() { String::new() } else { format!(" ({words})") };
            let because = format!(
                "{} refused the client id and the secret with {}{said}; make a new credential in Jira and put its secret in place",
                answer.host, answer.status
            );
            Err(Trouble::Refused { kind: RestKind::Auth, again: None, because })
        }
        (_, Some(trouble)) => Err(trouble.of_the_site()),
        (_, None) => Ok(()),
    }
}
