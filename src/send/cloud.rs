//! Jira Cloud over HTTP: the token endpoint, the site's id, and the development information API.
//!
//! A gateway asks and hands back what was answered; what an answer means is decided in `verdict`. It never follows a
//! redirect, never repeats a request on its own (but for a token that ran out), takes no proxy from the environment, and
//! reads no more of an answer than a cap allows.

use std::error::Error as StdError;
use std::fs;
use std::io;
use std::iter;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, Url, redirect, retry};
use rustls::CertificateError;
use serde::Deserialize;
use serde_json::json;

use super::credentials::{Bearer, Secret};
use super::retry::Wish;
use super::settings::is_cloud_id;
use super::verdict::{Answer, Trouble};
use super::{Error, RestKind, Settings};
use crate::queue::EntityKind;

/// The way to one site.
pub struct Gateway {
    http: Client,
    site: Url,
    api: Url,
    auth: Url,
    client_id: String,
    secret: Secret,
    configured_id: Option<String>,
    by_proxy: bool,
    found: Mutex<Found>,
}

/// What can be asked of the API.
pub enum Call<'a> {
    Bulk(Vec<u8>),
    Delete { repository: &'a str, kind: EntityKind, id: &'a str, upto: i64 },
    Exists { property: (&'a str, &'a str) },
}

impl Gateway {
    pub fn new(settings: &Settings, secret: Secret) -> Result<Gateway, Error> {
        let site = settings.address("url", &settings.url)?;
        let api = settings.address("api_url", &settings.api_url)?;
        let auth = settings.address("auth_url", &settings.auth_url)?;
        let with_tls = [&site, &api, &auth].iter().any(|url| url.scheme() == "https");
        Ok(Gateway {
            http: client(settings, with_tls)?,
            site,
            api,
            auth,
            client_id: settings.client_id.clone(),
            secret,
            configured_id: settings.cloud_id.clone(),
            by_proxy: settings.proxy.is_some(),
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
        let answer = self.send(self.request(&spent, &cloud_id, call), &self.api).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        self.forget(&spent);
        let token = self.token(now).await?;
        self.send(self.request(&token, &cloud_id, call), &self.api).await
    }

    /// Gives the id Atlassian has for the site: the configured one, or the one the site tells.
    pub async fn cloud_id(&self, now: i64) -> Result<String, Trouble> {
        let known = self.configured_id.clone().or_else(|| self.found().cloud_id.clone());
        if let Some(id) = known {
            return Ok(id);
        }
        let mut url = self.site.clone();
        url.path_segments_mut()
            .expect("settings take http and https only")
            .pop_if_empty()
            .extend(["_edge", "tenant_info"]);
        let answer = self.send(self.http.get(url).timeout(SMALL), &self.site).await?;
        if let Some(trouble) = answer.trouble(now) {
            return Err(trouble.of_the_site());
        }
        let Tenant { cloud_id } = answer.json()?;
        if !is_cloud_id(&cloud_id) {
            let because = format!("{} told an id that is none; set cloud_id", answer.host);
            return Err(Trouble::Outage { wish: Wish::default(), answered: false, because });
        }
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
        let answer = self.send(self.http.post(self.auth.clone()).json(&wanted).timeout(SMALL), &self.auth).await?;
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
                .request(&self.http, Method::POST, &[&base[..], &["bulk"]].concat(), &[])
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
                token.request(&self.http, Method::DELETE, &path, &query).timeout(SMALL)
            }
            Call::Exists { property } => {
                let path = [&base[..], &["existsByProperties"]].concat();
                token.request(&self.http, Method::GET, &path, &[*property]).timeout(SMALL)
            }
        }
    }

    async fn send(&self, request: RequestBuilder, to: &Url) -> Result<Answer, Trouble> {
        let host = host(to);
        let way = if self.by_proxy { format!("{host} (a proxy is configured)") } else { host.clone() };
        let response = request.header(ACCEPT, "application/json").send().await;
        let response = response.map_err(|error| outage(&way, &error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = read(response, &way).await?;
        Ok(Answer { host, status, headers, body })
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
#[serde(rename_all = "camelCase")]
struct Tenant {
    cloud_id: String,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default = "quarter")]
    expires_in: u64,
}

const CONNECT: Duration = Duration::from_secs(10);
/// For a whole exchange, answer included.
const LARGE: Duration = Duration::from_secs(60);
const SMALL: Duration = Duration::from_secs(30);
/// The most that is read of an answer.
const CAP: usize = 4 << 20;

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

fn client(settings: &Settings, with_tls: bool) -> Result<Client, Error> {
    // Whoever was first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("git-jira-agent/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy();
    if let Some(proxy) = settings.proxy()? {
        builder = builder.proxy(proxy);
    }
    builder = match &settings.ca_file {
        Some(path) => {
            let unusable = |because: String| Error::Setting { setting: "ca_file", because };
            let pem =
                fs::read(path).map_err(|error| unusable(format!("{} cannot be read: {error}", path.display())))?;
            let certificates = Certificate::from_pem_bundle(&pem);
            let certificates = certificates.map_err(|error| unusable(format!("{}: {error}", path.display())))?;
            if certificates.is_empty() {
                return Err(unusable(format!("{} holds no certificate in PEM form", path.display())));
            }
            builder.tls_certs_merge(certificates)
        }
        None if with_tls => builder,
        // A machine without any certificate may still try a sandbox.
        None => builder.tls_certs_only([]),
    };
    builder.build().map_err(|error| Error::Http { because: chain(&error) })
}

async fn read(mut response: Response, host: &str) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| outage(host, &error))? {
        if body.len() + chunk.len() > CAP {
            let because = format!("{host} answered with more than {} MiB", CAP >> 20);
            return Err(Trouble::Outage { wish: Wish::default(), answered: false, because });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn outage(host: &str, error: &reqwest::Error) -> Trouble {
    let root = causes(error).last().map_or_else(String::new, ToString::to_string);
    let because = match certificate(error) {
        Some(error) => format!("the certificate of {host} is not accepted: {}", explained(error)),
        None if error.is_timeout() && error.is_connect() => format!("cannot reach {host}: no connection in time"),
        None if error.is_timeout() => format!("{host} did not answer in time"),
        None if error.is_dns() => format!("the name {host} cannot be resolved"),
        None if error.is_connect() => format!("cannot reach {host}: {root}"),
        None => format!("the exchange with {host} broke off: {root}"),
    };
    Trouble::Outage { wish: Wish::default(), answered: false, because }
}

/// Finds what TLS disliked among the causes of an error.
fn certificate(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(|error| {
        // Every layer on the way has wrapped it into an I/O error of its own, whose `source` skips what it wraps.
        let mut error = error;
        while let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            error = inner;
        }
        error.downcast_ref::<rustls::Error>()
    })
}

fn explained(error: &rustls::Error) -> String {
    use CertificateError as Dislike;
    match error {
        rustls::Error::InvalidCertificate(Dislike::UnknownIssuer) => {
            "its authority is not known here; set ca_file to the authority's certificate".to_owned()
        }
        rustls::Error::InvalidCertificate(Dislike::Expired | Dislike::ExpiredContext { .. }) => {
            format!("it has expired, or this machine's clock is wrong ({error})")
        }
        rustls::Error::InvalidCertificate(Dislike::NotValidYet | Dislike::NotValidYetContext { .. }) => {
            format!("it is not valid yet, or this machine's clock is wrong ({error})")
        }
        rustls::Error::InvalidCertificate(Dislike::NotValidForName | Dislike::NotValidForNameContext { .. }) => {
            format!("it is for another name ({error})")
        }
        error => error.to_string(),
    }
}

/// An error with its causes, each said once.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    for error in causes(error) {
        let text = error.to_string();
        if !said.iter().any(|said| said.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: CertificateError, hint: &str) {
        let said = explained(&rustls::Error::InvalidCertificate(error));
        assert!(said.contains(hint), "{said}");
    }

    #[test]
    fn f41_what_tls_dislikes_is_said_with_what_helps() {
        check(CertificateError::UnknownIssuer, "set ca_file");
        check(CertificateError::Expired, "this machine's clock");
        check(CertificateError::NotValidYet, "this machine's clock");
        check(CertificateError::NotValidForName, "another name");
        check(CertificateError::Revoked, "Revoked");
    }

    #[test]
    fn f42_a_file_without_certificates_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let text = "name = 'a'\nurl = 'https://a.example'\nclient_id = 'i'\nsecret_file = '/s'";
        let mut settings: Settings = toml::from_str(text).unwrap();
        settings.ca_file = Some(path.clone());
        let said = || client(&settings, true).map(drop).unwrap_err().to_string();
        assert!(said().starts_with("ca_file ") && said().contains("cannot be read"), "{}", said());
        fs::write(&path, "no certificate").unwrap();
        assert!(said().contains("ca.pem holds no certificate"), "{}", said());
    }

    #[test]
    fn causes_are_said_once() {
        let inner = io::Error::other("refused");
        assert_eq!(chain(&Error::Http { because: inner.to_string() }), "cannot make an HTTP client: refused");
    }
}
