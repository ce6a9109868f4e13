//! The account that acts on a site: what a person configures of it, and the pass that comes of that.

use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::Deserialize;

use super::credentials::{Pass, Place, Secret};
use super::http::Http;
use super::{Error, Kind};

/// Section `[site.account]` of the configuration: who comments, logs work and moves issues.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The mail address of the account whose API token it is. For kind `cloud` only, which needs it.
    #[serde(default)]
    pub email: Option<String>,
    /// The file with the API token (`cloud`) or the personal access token (`data-center`), readable by its owner alone.
    /// Either this or `credential`.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// The name of the systemd credential with the token. Either this or `secret_file`.
    #[serde(default)]
    pub credential: Option<String>,
    /// Whether the API token is limited by scopes, as those of service accounts are. For kind `cloud` only. Default
    /// false.
    #[serde(default)]
    pub scoped: bool,
}

impl Settings {
    /// Checks everything that can be checked without a network or a file.
    pub(super) fn check(&self, kind: Kind) -> Result<(), Error> {
        match (kind, self.email.as_deref()) {
            (Kind::Cloud, None) => Err(wrong("account.email", "is missing: an API token goes with a mail address"))?,
            (Kind::Cloud, Some(email))
                if !email.contains('@') || email.contains(|c: char| c == ':' || c.is_control()) =>
            {
                Err(wrong("account.email", "is not a mail address"))?;
            }
            (Kind::DataCenter, Some(_)) => {
                Err(wrong("account.email", "is for kind cloud: a personal access token alone says who it is"))?;
            }
            (Kind::DataCenter, None) if self.scoped => {
                Err(wrong("account.scoped", "is for kind cloud: a personal access token has no scopes"))?;
            }
            _ => {}
        }
        self.place().check()
    }

    /// Reads the token and binds it to its origin.
    pub(super) fn pass(&self, base: Url, directory: Option<&Path>, http: &Http) -> Result<Pass, Error> {
        let secret = Secret::read(self.place(), directory)?;
        Ok(Pass::new(base, self.email.clone(), secret, http.client()))
    }

    fn place(&self) -> Place<'_> {
        Place {
            file: self.secret_file.as_deref(),
            credential: self.credential.as_deref(),
            names: ["account.secret_file", "account.credential"],
        }
    }
}

fn wrong(setting: &'static str, because: &str) -> Error {
    Error::Setting { setting, because: because.to_owned() }
}
