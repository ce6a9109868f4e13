//! HTTP as everything here speaks it: what is never done, how long is waited, and what a failure means.
//!
//! A redirect is never followed, a request is never repeated by the client itself, no proxy is taken from the
//! environment, and no more of an answer is read than a cap allows.

use std::error::Error as StdError;
use std::fs;
use std::io;
use std::iter;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Certificate, Client, RequestBuilder, Response, Url, redirect, retry};
use rustls::CertificateError;
use serde::Deserialize;

use super::retry::Wish;
use super::settings::is_cloud_id;
use super::verdict::{Answer, Trouble};
use super::{Error, Settings};

/// A client with these rules, on its way to the hosts of one site.
pub struct Http {
    client: Client,
    by_proxy: bool,
}

/// What came of a request that must not be sent twice without looking.
pub enum Exchange {
    /// Nothing of it left.
    Unsent { because: String },
    /// It may have arrived; no answer did.
    Unanswered { because: String },
    /// `whole` when nothing of the answer is missing.
    Answered { answer: Answer, whole: bool },
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until it begins.
    pub begin: Duration,
    /// Until it has ended.
    pub end: Duration,
}

/// For a whole exchange of a few bytes, answer included.
pub const SMALL: Duration = Duration::from_secs(30);

impl Http {
    /// Makes a client that uses no connection again which was idle for longer than this.
    pub fn new(settings: &Settings, with_tls: bool, idle: Option<Duration>) -> Result<Http, Error> {
        Ok(Http { client: client(settings, with_tls, idle)?, by_proxy: settings.proxy.is_some() })
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub async fn send(&self, request: RequestBuilder, to: &Url) -> Result<Answer, Trouble> {
        let way = self.way(to);
        let response = request.header(ACCEPT, "application/json").send().await;
        let response = response.map_err(|error| outage(&way, &error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = read(response, &way).await.map_err(|(_, trouble)| trouble)?;
        Ok(Answer { host: host(to), status, headers, body })
    }

    /// Sends what must not be sent twice, with the patience that an answer is worth.
    pub async fn send_once(&self, request: RequestBuilder, to: &Url, patience: Patience) -> Exchange {
        let way = self.way(to);
        let sending = request.header(ACCEPT, "application/json").timeout(patience.end).send();
        let response = match tokio::time::timeout(patience.begin, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let because = outage(&way, &error).because();
                return if is_unsent(&error) { Exchange::Unsent { because } } else { Exchange::Unanswered { because } };
            }
            Err(_) => return Exchange::Unanswered { because: format!("{way} did not answer in time") },
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let (body, whole) = match read(response, &way).await {
            Ok(body) => (body, true),
            Err((some, _)) => (some, false),
        };
        Exchange::Answered { answer: Answer { host: host(to), status, headers, body }, whole }
    }

    /// Asks the site for the id that Atlassian gave it.
    pub async fn cloud_id(&self, site: &Url, now: i64) -> Result<String, Trouble> {
        let mut url = site.clone();
        url.path_segments_mut()
            .expect("settings take http and https only")
            .pop_if_empty()
            .extend(["_edge", "tenant_info"]);
        let answer = self.send(self.client.get(url).timeout(SMALL), site).await?;
        if let Some(trouble) = answer.trouble(now) {
            return Err(trouble.of_the_site());
        }
        let Tenant { cloud_id } = answer.json()?;
        if !is_cloud_id(&cloud_id) {
            let because = format!("{} told an id that is none; set cloud_id", answer.host);
            return Err(Trouble::Outage {
                wish: Wish::default(),
                answered: false,
                unsent: false,
                offline: false,
                because,
            });
        }
        Ok(cloud_id)
    }

    fn way(&self, to: &Url) -> String {
        let host = host(to);
        if self.by_proxy { format!("{host} (a proxy is configured)") } else { host }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tenant {
    cloud_id: String,
}

const CONNECT: Duration = Duration::from_secs(10);
/// The most that is read of an answer.
const CAP: usize = 4 << 20;

fn client(settings: &Settings, with_tls: bool, idle: Option<Duration>) -> Result<Client, Error> {
    // Whoever was first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("git-jira-agent/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy();
    if let Some(idle) = idle {
        builder = builder.pool_idle_timeout(idle);
    }
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

/// Reads a body; where that fails, gives what there is of it, and why.
async fn read(mut response: Response, host: &str) -> Result<Vec<u8>, (Vec<u8>, Trouble)> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > CAP => {
                let because = format!("{host} answered with more than {} MiB", CAP >> 20);
                return Err((
                    body,
                    Trouble::Outage { wish: Wish::default(), answered: false, unsent: false, offline: false, because },
                ));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) => return Err((body, outage(host, &error))),
        }
    }
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
    let offline = certificate(error).is_none() && error.is_connect();
    Trouble::Outage { wish: Wish::default(), answered: false, unsent: is_unsent(error), offline, because }
}

/// What fails before a connection stands has left nothing; of everything else one cannot be sure.
fn is_unsent(error: &reqwest::Error) -> bool {
    error.is_connect() || error.is_builder()
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
        let said = || client(&settings, true, None).map(drop).unwrap_err().to_string();
        assert!(said().starts_with("ca_file ") && said().contains("cannot be read"), "{}", said());
        fs::write(&path, "no certificate").unwrap();
        assert!(said().contains("ca.pem holds no certificate"), "{}", said());
    }

    /// A host that promises to keep each connection open and closes it after one answer; gives what was posted.
    async fn fickle(listener: tokio::net::TcpListener, posted: Arc<AtomicUsize>) {
        loop {
            let (mut line, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match line.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            posted.fetch_add(usize::from(head.starts_with(b"POST")), Ordering::Relaxed);
            let answer = b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n";
            drop(line.write_all(answer).await);
        }
    }

    #[tokio::test]
    async fn f49_a_connection_that_was_closed_meanwhile_makes_nothing_double() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let posted = Arc::new(AtomicUsize::new(0));
        let host = tokio::spawn(fickle(listener, posted.clone()));
        let settings: Settings = toml::from_str(&format!("name = 'a'\nurl = '{url}'")).unwrap();
        let http = Http::new(&settings, false, Some(Duration::from_secs(5))).unwrap();
        let patience = Patience { begin: SMALL, end: SMALL };
        for round in 0..50 {
            http.send(http.client().get(url.clone()), &url).await.unwrap_or_else(|trouble| panic!("{trouble:?}"));
            if round % 2 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let before = posted.load(Ordering::Relaxed);
            let sent = http.send_once(http.client().post(url.clone()), &url, patience).await;
            let arrived = posted.load(Ordering::Relaxed) - before;
            match sent {
                Exchange::Answered { .. } => assert_eq!(arrived, 1),
                Exchange::Unanswered { .. } => assert!(arrived <= 1),
                Exchange::Unsent { because } => panic!("{because}"),
            }
        }
        host.abort();
    }

    #[test]
    fn causes_are_said_once() {
        let inner = io::Error::other("refused");
        assert_eq!(chain(&Error::Http { because: inner.to_string() }), "cannot make an HTTP client: refused");
    }
}
