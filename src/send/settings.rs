//! What a person configures about a site.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::{NoProxy, Proxy, Url};
use serde::Deserialize;

use super::credentials::Place;
use super::{Error, account};

/// Section `[[site]]` of the configuration: one Jira, and how it is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The name by which accounts and commands refer to the site.
    pub name: String,
    /// The address people open, such as `https://example.atlassian.net`, without a slash at its end.
    pub url: String,
    /// `cloud` or `data-center`, which takes no development information. Default `cloud`.
    #[serde(default)]
    pub kind: Kind,
    /// The id of the OAuth credential that a site administrator made in Jira's settings. Not needed for `data-center`, and
    /// where only an account links the site: then commands are carried out, and Jira is shown no commits.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The file with the credential's secret, readable by its owner alone. Either this or `credential`.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// The name of the systemd credential with the secret. Either this or `secret_file`.
    #[serde(default)]
    pub credential: Option<String>,
    /// The id Atlassian gave the site. Default: the site is asked for it.
    #[serde(default)]
    pub cloud_id: Option<String>,
    /// Where Jira Cloud takes development information. Default `https://api.atlassian.com`.
    #[serde(default = "api_url")]
    pub api_url: String,
    /// Where tokens are had. Default `https://api.atlassian.com/oauth/token`.
    #[serde(default = "auth_url")]
    pub auth_url: String,
    /// The HTTP proxy on the way, such as `http://proxy.example.org:3128`. Default: none, whatever the environment says.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Hosts that are reached without the proxy, separated by commas. Default: none.
    #[serde(default)]
    pub no_proxy: Option<String>,
    /// A file of certificates (PEM) to trust besides those the system trusts. Default: none.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Whether plain http may lead beyond this machine. Default false.
    #[serde(default)]
    pub allow_http: bool,
    /// Who carries out the orders in commit messages: `jira`, `agent` or `off`. Default `jira`.
    #[serde(default)]
    pub executor: Executor,
    /// The account that comments, logs work and moves issues, section `[site.account]`. Default: none; `data-center`
    /// needs one.
    #[serde(default)]
    pub account: Option<account::Settings>,
    /// The resolution of issues that a transition asks one for, such as `Done`. Default: none, and such a transition is
    /// refused.
    #[serde(default)]
    pub resolution: Option<String>,
    /// The keys of the site's projects. Default empty: not known, so every well-formed key counts.
    #[serde(default)]
    pub projects: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    #[default]
    Cloud,
    DataCenter,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// The agent, in its own time and with its own account.
    Agent,
    /// Jira itself, as soon as it is told of the commit.
    #[default]
    Jira,
    Off,
}

impl Settings {
    /// Checks everything that can be checked without a network or a file.
    pub fn check(&self) -> Result<(), Error> {
        if self.name.trim().is_empty() {
            return Err(wrong("name", "is empty"));
        }
        self.check_credential()?;
        if let Some(account) = &self.account {
            account.check(self.kind)?;
        }
        if self.cloud_id.as_deref().is_some_and(|id| !is_cloud_id(id)) {
            return Err(wrong("cloud_id", "is not an id such as 11223344-a1b2-3b33-c444-def123456789"));
        }
        for (setting, text) in [("url", &self.url), ("api_url", &self.api_url), ("auth_url", &self.auth_url)] {
            self.address(setting, text)?;
        }
        if self.url.ends_with('/') {
            return Err(wrong("url", "ends with a slash, which has to go"));
        }
        self.proxy().map(drop)
    }

    /// Makes paths absolute that are relative to the folder of the configuration.
    pub fn resolve(&mut self, folder: &Path) {
        let account = self.account.as_mut().map(|account| &mut account.secret_file);
        for path in [&mut self.secret_file, &mut self.ca_file].into_iter().chain(account) {
            *path = path.take().map(|path| folder.join(path));
        }
    }

    /// Reads an address we send to: https, or plain http where nobody can listen.
    pub(super) fn address(&self, setting: &'static str, text: &str) -> Result<Url, Error> {
        let url = plain_url(setting, text)?;
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.allow_http || is_loopback(&url) => Ok(url),
            "http" => Err(wrong(setting, "is plain http; use https, or allow_http = true if nobody can listen")),
            _ => Err(wrong(setting, "does not begin with https://")),
        }
    }

    pub(super) fn proxy(&self) -> Result<Option<Proxy>, Error> {
        let Some(text) = &self.proxy else {
            return Ok(None);
        };
        let url = plain_url("proxy", text)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("proxy", "does not begin with http:// or https://"));
        }
        let proxy = Proxy::all(url).map_err(|error| wrong("proxy", error))?;
        Ok(Some(proxy.no_proxy(self.no_proxy.as_deref().and_then(NoProxy::from_string))))
    }

    /// Whether the site is told of commits and branches, for its Development panel.
    pub fn shows_commits(&self) -> bool {
        self.kind == Kind::Cloud && self.client_id.is_some()
    }

    /// Whether a Jira Cloud is linked by an account alone, as whoever cannot make a credential in it does.
    pub fn is_account_only(&self) -> bool {
        self.kind == Kind::Cloud && self.client_id.is_none()
    }

    /// Whether the agent can carry something out here: the orders of commits where it is their executor, and what people
    /// type wherever there is an account to do it with.
    pub fn carries_out(&self) -> bool {
        match self.executor {
            Executor::Agent => true,
            Executor::Jira => self.account.is_some(),
            Executor::Off => false,
        }
    }

    /// Who carries out orders there: a Jira that is told of no commit carries out none.
    pub fn executor(&self) -> Executor {
        match self.executor {
            Executor::Jira if !self.shows_commits() => Executor::Off,
            executor => executor,
        }
    }

    /// Tells whether it is on us to carry out commands, and nobody is there to do it.
    pub fn lacks_account(&self) -> bool {
        self.executor == Executor::Agent && self.account.is_none()
    }

    /// Where the secret of the credential for development information is.
    pub(super) fn secret(&self) -> Place<'_> {
        Place {
            file: self.secret_file.as_deref(),
            credential: self.credential.as_deref(),
            names: ["secret_file", "credential"],
        }
    }

    /// Checks that there is what opens the site: Cloud takes development information, Data Center only what an account
    /// does.
    fn check_credential(&self) -> Result<(), Error> {
        match (self.kind, &self.client_id) {
            (Kind::DataCenter, _) if self.account.is_none() => Err(wrong("account", NO_ACCOUNT)),
            (Kind::DataCenter, _) => Ok(()),
            (Kind::Cloud, None) if self.secret_file.is_some() || self.credential.is_some() => {
                Err(wrong("client_id", "is missing: a secret alone opens nothing"))
            }
            (Kind::Cloud, None) if self.account.is_none() => Err(wrong("client_id", NO_CREDENTIAL)),
            (Kind::Cloud, None) => Ok(()),
            (Kind::Cloud, Some(id)) if id.trim().is_empty() => Err(wrong("client_id", "is empty")),
            (Kind::Cloud, Some(_)) => self.secret().check(),
        }
    }
}

/// What is said of a site that [`Settings::is_account_only`].
pub const ACCOUNT_ONLY: &str = "it is linked by an account alone, so it is shown no commits; commands are carried out";
const NO_CREDENTIAL: &str = "is missing; without one a site can be linked by an account alone, section [site.account], and then \
    shows no commits";
const NO_ACCOUNT: &str = "is missing: a data-center is told of a push only through an account; make a personal access token \
    for it in Jira and name the file with it as secret_file in a section [site.account]";

/// Tells whether a text can stand for a site in an address.
pub(super) fn is_cloud_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn api_url() -> String {
    "https://api.atlassian.com".to_owned()
}

fn auth_url() -> String {
    "https://api.atlassian.com/oauth/token".to_owned()
}

fn wrong(setting: &'static str, because: impl ToString) -> Error {
    Error::Setting { setting, because: because.to_string() }
}

/// Reads a URL that names a host and a path and holds nothing secret: the configuration may be read by everybody.
fn plain_url(setting: &'static str, text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|error| wrong(setting, format!("is not a URL: {error}")))?;
    match () {
        () if !url.has_host() => Err(wrong(setting, "names no host")),
        () if !url.username().is_empty() || url.password().is_some() => {
            Err(wrong(setting, "holds a user or a password, which do not belong here"))
        }
        () if url.query().is_some() || url.fragment().is_some() => Err(wrong(setting, "holds a ? or a #")),
        () => Ok(url),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = 'a'\nurl = 'https://a.example'\nclient_id = 'i'\n";

    /// What is said of a good section with more lines; later lines take the place of earlier ones.
    #[track_caller]
    fn check(lines: &str, complaint: &str) {
        let mut table: toml::Table = GOOD.parse().unwrap();
        table.extend(lines.parse::<toml::Table>().unwrap());
        let said = match table.try_into::<Settings>() {
            Ok(settings) => settings.check().map_or_else(|error| error.to_string(), |()| String::new()),
            Err(error) => error.message().to_owned(),
        };
        match complaint {
            "" => assert_eq!(said, ""),
            _ => assert!(said.contains(complaint), "{said:?} instead of {complaint:?}"),
        }
    }

    #[test]
    fn four_lines_are_enough() {
        check("secret_file = '/s'", "");
        check("credential = 'jira'", "");
    }

    #[test]
    fn each_mistake_is_named_with_its_setting() {
        check("", "secret_file is missing");
        check("secret_file = '/s'\ncredential = 'jira'", "credential is given besides secret_file");
        check("credential = '../jira'", "credential is not the name");
        check("secret_file = '/s'\nkind = 'data-center'", "account is missing: a data-center is told");
        check("secret_file = '/s'\nurl = 'https://a.example/'", "url ends with a slash");
        check("secret_file = '/s'\nurl = 'a.example'", "url is not a URL");
        check("secret_file = '/s'\nurl = 'ftp://a.example'", "url does not begin with https://");
        check("secret_file = '/s'\nurl = 'https://u:p@a.example'", "url holds a user or a password");
        check("secret_file = '/s'\nproxy = 'http://u:p@proxy:3128'", "proxy holds a user or a password");
        check("secret_file = '/s'\nproxy = 'socks5://proxy:1080'", "proxy does not begin with");
        check("secret_file = '/s'\ncloud_id = '../x'", "cloud_id is not an id");
        check("secret_file = '/s'\nclient_id = ' '", "client_id is empty");
        let without = "name = 'a'\nurl = 'https://a.example'\nsecret_file = '/s'";
        let settings: Settings = toml::from_str(without).unwrap();
        assert_eq!(settings.check().unwrap_err().to_string(), "client_id is missing: a secret alone opens nothing");
        let nothing: Settings = toml::from_str("name = 'a'\nurl = 'https://a.example'").unwrap();
        assert!(nothing.check().unwrap_err().to_string().starts_with("client_id is missing; without one"));
        check("secret_file = '/s'\nexecutor = 'me'", "unknown variant");
        check("secret_file = '/s'\nsecret = 'x'", "unknown field");
    }

    #[test]
    fn a_data_center_is_told_of_no_commit_and_carries_out_none() {
        let executor = |lines: &str| {
            let settings: Settings = toml::from_str(&format!("{GOOD}secret_file = '/s'\n{lines}")).unwrap();
            settings.executor()
        };
        assert_eq!(executor(""), Executor::Jira);
        assert_eq!(executor("kind = 'data-center'"), Executor::Off);
        assert_eq!(executor("kind = 'data-center'\nexecutor = 'agent'"), Executor::Agent);
    }

    #[test]
    fn b13_a_site_linked_by_an_account_alone_is_told_of_no_commit() {
        let text = "name = 'a'\nurl = 'https://a.example'\n[account]\nemail = 'a@b.example'\nsecret_file = '/t'";
        let settings: Settings = toml::from_str(text).unwrap();
        settings.check().unwrap();
        assert!(settings.is_account_only() && !settings.shows_commits());
        assert_eq!(settings.executor(), Executor::Off);
        let whole: Settings = toml::from_str(&format!("{GOOD}secret_file = '/s'")).unwrap();
        assert!(whole.shows_commits() && !whole.is_account_only());
    }

    #[test]
    fn an_account_is_what_its_kind_of_site_takes() {
        let cloud = |lines: &str, complaint: &str| check(&format!("secret_file = '/s'\n[account]\n{lines}"), complaint);
        cloud("email = 'a@b.example'\nsecret_file = '/t'", "");
        cloud("email = 'a@b.example'\ncredential = 'token'\nscoped = true", "");
        cloud("secret_file = '/t'", "account.email is missing");
        cloud("email = 'ann'\nsecret_file = '/t'", "account.email is not a mail address");
        cloud("email = 'a@b.example'", "account.secret_file is missing, and account.credential too");
        cloud("email = 'a@b.example'\nsecret_file = '/t'\ncredential = 't'", "account.credential is given besides");
        cloud("email = 'a@b.example'\ntoken = 't'", "unknown field");
        let server =
            |lines: &str, complaint: &str| check(&format!("kind = 'data-center'\n[account]\n{lines}"), complaint);
        server("secret_file = '/t'", "");
        server("secret_file = '/t'\nemail = 'a@b.example'", "account.email is for kind cloud");
        server("secret_file = '/t'\nscoped = true", "account.scoped is for kind cloud");
        server("", "account.secret_file is missing");
    }

    #[test]
    fn s21_plain_http_stays_on_this_machine_unless_allowed() {
        for host in ["127.0.0.1:8080", "[::1]:8080", "localhost"] {
            check(&format!("secret_file = '/s'\napi_url = 'http://{host}'"), "");
        }
        check("secret_file = '/s'\napi_url = 'http://jira.example'", "api_url is plain http");
        check("secret_file = '/s'\napi_url = 'http://127.0.0.1.example'", "api_url is plain http");
        check("secret_file = '/s'\nauth_url = 'http://jira.example'\nallow_http = true", "");
    }
}
