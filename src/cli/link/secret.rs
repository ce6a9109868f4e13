//! Secrets on their way from a person to the disk: never through the command line, and readable by their owner alone.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::ask::Ask;
use crate::config::SYSTEM;

/// Where a person may give a secret.
pub struct Given<'a> {
    pub what: &'static str,
    pub file: Option<&'a Path>,
    pub stdin: bool,
    /// The two flags that give it.
    pub flags: &'static str,
}

impl Given<'_> {
    /// Tells whether the command line says where it is.
    pub fn is_given(&self) -> bool {
        self.file.is_some() || self.stdin
    }

    /// Reads the secret; `None` where there is one already, and a person at a terminal leaves it.
    pub fn read(&self, is_there: bool, ask: &Ask) -> anyhow::Result<Option<String>> {
        let text = match self.file {
            Some(file) => fs::read_to_string(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?,
            None if self.stdin => {
                let mut text = String::new();
                std::io::stdin().lock().take(1 << 16).read_to_string(&mut text)?;
                text
            }
            None if is_there && !ask.terminal => return Ok(None),
            None => {
                let how = if is_there { "not shown; empty: as it is" } else { "not shown" };
                ask.secret(&format!("{} ({how})", self.what), self.flags)?
            }
        };
        let secret = text.trim().to_owned();
        crate::secret::hide(&secret);
        match secret.is_empty() {
            true if is_there && !self.is_given() => Ok(None),
            true => anyhow::bail!("the {} is empty", self.what),
            false => Ok(Some(secret)),
        }
    }
}

/// The user that the system's daemon runs as.
pub struct Service(nix::unistd::User);

impl Service {
    /// The service's user, where the configuration is the system's and we may give files away.
    pub fn find(config: &Path) -> anyhow::Result<Option<Service>> {
        if config != Path::new(SYSTEM) || !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        match nix::unistd::User::from_name("git-jira-agent")? {
            Some(user) => Ok(Some(Service(user))),
            None => anyhow::bail!(
                "there is no user git-jira-agent yet: put packaging/sysusers.d into /etc/sysusers.d and run systemd-sysusers"
            ),
        }
    }

    /// Gives the service the secret, and the way to it, and nobody else.
    fn may_read(&self, folder: &Path, secret: &Path) -> std::io::Result<()> {
        let (uid, gid) = (self.0.uid.as_raw(), self.0.gid.as_raw());
        std::os::unix::fs::chown(secret, Some(uid), Some(gid))?;
        std::os::unix::fs::chown(folder, None, Some(gid))?;
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o750))
    }
}

/// A secret on disk; what was there before comes back unless it is kept.
pub struct Secret {
    pub path: PathBuf,
    before: Option<Vec<u8>>,
    keep: bool,
}

/// Writes a secret into the folder of credentials beside the configuration.
pub fn save(config: &Path, name: &str, secret: &str, service: Option<&Service>) -> anyhow::Result<Secret> {
    let folder = config.parent().unwrap_or(Path::new("/")).join("credentials");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join(name);
    let before = fs::read(&path).ok();
    let mut file = tempfile::Builder::new().prefix(".secret").tempfile_in(&folder)?;
    writeln!(file, "{secret}")?;
    if let Some(service) = service {
        service.may_read(&folder, file.path())?;
    }
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(Secret { path, before, keep: false })
}

impl Secret {
    pub fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        if !self.keep {
            let _ = match &self.before {
                Some(bytes) => fs::write(&self.path, bytes),
                None => fs::remove_file(&self.path),
            };
        }
    }
}
