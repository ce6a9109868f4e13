//! `agent link`: which Jira, which credential; both are tried before they are saved.
//!
//! On a terminal it asks for what was not given. Secrets come from a prompt, a file or standard
//! input, never from the command line. The configuration is edited, not rewritten: comments and
//! order stay.

use std::fs::{self, OpenOptions};
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::{Context, show};
use crate::config::{Config, SYSTEM};
use crate::send::{self, Jira};

#[derive(clap::Args)]
pub struct Arguments {
    /// The site, such as https://example.atlassian.net
    url: Option<String>,
    /// What to call the site; default: the first part of its host name
    #[arg(long)]
    name: Option<String>,
    /// The client id of the OAuth credential made in Jira
    #[arg(long)]
    client_id: Option<String>,
    /// A file with the client secret; it is copied into the folder of credentials
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Read the client secret from standard input
    #[arg(long, conflicts_with = "secret_file")]
    secret_stdin: bool,
    /// The folder of repositories to link to the site
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// What to call the account of that folder; default: the folder's name
    #[arg(long, requires = "root")]
    account: Option<String>,
    /// Project keys of the site: only these link, and their case does not matter; separated by commas
    #[arg(long, value_delimiter = ',')]
    projects: Vec<String>,
    /// The address of Jira's API, where a gateway or the sandbox stands in for it
    #[arg(long, value_name = "URL")]
    api_url: Option<String>,
    /// The address that gives tokens
    #[arg(long, value_name = "URL")]
    auth_url: Option<String>,
    /// A proxy, such as http://proxy.example.org:3128
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// A file with the certificates of an own authority
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Save without trying, for a machine that has no way to Jira yet
    #[arg(long)]
    untried: bool,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let path = context.config_path();
    let service = Service::find(&path)?;
    let mut ask = Ask { terminal: std::io::stdin().is_terminal() && std::io::stderr().is_terminal() };
    let url = ask.or_given(arguments.url.clone(), "address of the site (https://….atlassian.net)")?;
    let url = url.trim_end_matches('/').to_owned();
    let name = arguments.name.clone().unwrap_or_else(|| first_label(&url));
    if arguments.client_id.is_none() && ask.terminal {
        show::note("In Jira: Settings -> Apps -> OAuth credentials -> Create; tick Development information.");
    }
    let client_id = ask.or_given(arguments.client_id.clone(), "client id")?;
    let secret = secret(&arguments, &mut ask)?;
    let root = match arguments.root.clone() {
        None if ask.terminal => ask.optional("folder with your repositories (empty: later)")?.map(PathBuf::from),
        root => root,
    };
    let site = Site { name, url, client_id, arguments: &arguments };
    let secret_path = save_secret(&path, &site.name, &secret, service.as_ref())?;
    let text = site.written(&path, &secret_path, root.as_deref())?;
    let config = Config::parse(&text, &path)?;
    let settings = config.site.iter().find(|found| found.name == site.name).expect("it was just written");
    if !arguments.untried {
        try_out(settings, context)?;
    }
    save(&path, &text)?;
    secret_path.keep()?;
    said(&site, &path, root.as_deref());
    Ok(ExitCode::SUCCESS)
}

/// Adds an account to a configuration file and gives what it then says.
pub fn add_account(path: &Path, name: &str, root: &Path, site: Option<&str>) -> anyhow::Result<Config> {
    let mut document: DocumentMut = fs::read_to_string(path)?.parse()?;
    account(&mut document, name, root, site)?;
    let text = document.to_string();
    let config = Config::parse(&text, path)?;
    save(path, &text)?;
    Ok(config)
}

struct Site<'a> {
    name: String,
    url: String,
    client_id: String,
    arguments: &'a Arguments,
}

impl Site<'_> {
    /// The text of the configuration with this site in it.
    fn written(&self, path: &Path, secret: &Secret, root: Option<&Path>) -> anyhow::Result<String> {
        let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
        // Let the file be in order first: what is wrong with it is told with its line.
        Config::parse(&text, path)?;
        let mut document: DocumentMut = text.parse()?;
        let sites = tables(&mut document, "site")?;
        let known = sites.iter().position(|table| table.get("name").and_then(Item::as_str) == Some(&self.name));
        let at = known.unwrap_or_else(|| {
            sites.push(Table::new());
            sites.len() - 1
        });
        self.fill(sites.get_mut(at).expect("found or pushed"), secret);
        if let Some(root) = root {
            let root = fs::canonicalize(root).map_err(|error| anyhow::anyhow!("{}: {error}", root.display()))?;
            let named =
                || root.file_name().map_or_else(|| "main".to_owned(), |name| name.to_string_lossy().into_owned());
            account(&mut document, &self.arguments.account.clone().unwrap_or_else(named), &root, Some(&self.name))?;
        }
        Ok(document.to_string())
    }

    fn fill(&self, table: &mut Table, secret: &Secret) {
        let mut set = |key: &str, text: &str| table[key] = value(text);
        set("name", &self.name);
        set("url", &self.url);
        set("client_id", &self.client_id);
        set("secret_file", &secret.path.display().to_string());
        let given = [
            ("api_url", self.arguments.api_url.clone()),
            ("auth_url", self.arguments.auth_url.clone()),
            ("proxy", self.arguments.proxy.clone()),
            ("ca_file", self.arguments.ca_file.as_ref().map(|file| file.display().to_string())),
        ];
        given.iter().for_each(|(key, text)| {
            if let Some(text) = text {
                set(key, text);
            }
        });
        if !self.arguments.projects.is_empty() {
            table["projects"] = value(
                self.arguments.projects.iter().map(|key| key.trim().to_uppercase()).collect::<toml_edit::Array>(),
            );
        }
    }
}

fn account(document: &mut DocumentMut, name: &str, root: &Path, site: Option<&str>) -> anyhow::Result<()> {
    let accounts = tables(document, "account")?;
    let text = root.display().to_string();
    if accounts.iter().any(|table| table.get("root").and_then(Item::as_str) == Some(&text)) {
        return Ok(());
    }
    let mut table = Table::new();
    table["name"] = value(name);
    table["root"] = value(text);
    if let Some(site) = site {
        table["site"] = value(site);
    }
    accounts.push(table);
    Ok(())
}

fn tables<'a>(document: &'a mut DocumentMut, name: &str) -> anyhow::Result<&'a mut ArrayOfTables> {
    let item = document.entry(name).or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    item.as_array_of_tables_mut().ok_or_else(|| anyhow::anyhow!("`{name}` in the configuration is no [[{name}]]"))
}

/// Tries the credential against Jira and says what it found.
fn try_out(settings: &send::Settings, context: &Context) -> anyhow::Result<()> {
    let jira = Jira::new(settings, context.environment.credentials_directory.as_deref(), "trial")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tried = runtime.block_on(jira.try_out()).map_err(|error| {
        anyhow::Error::new(error).context("nothing was saved: the site could not be reached with this credential")
    })?;
    show::line(format_args!("{} answers, its cloud id is {}", settings.url, tried.cloud_id));
    show::line("the credential may write development information");
    Ok(())
}

fn secret(arguments: &Arguments, ask: &mut Ask) -> anyhow::Result<String> {
    let secret = match &arguments.secret_file {
        Some(file) => fs::read_to_string(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?,
        None if arguments.secret_stdin => {
            let mut text = String::new();
            std::io::stdin().lock().take(1 << 16).read_to_string(&mut text)?;
            text
        }
        None => ask.secret("client secret (not shown)")?,
    };
    let secret = secret.trim().to_owned();
    anyhow::ensure!(!secret.is_empty(), "the client secret is empty");
    Ok(secret)
}

/// The user that the system's daemon runs as.
struct Service(nix::unistd::User);

impl Service {
    /// The service's user, where the configuration is the system's and we may give files away.
    fn find(config: &Path) -> anyhow::Result<Option<Service>> {
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

/// A secret on disk, readable by its owner alone; it goes away again unless it is kept.
struct Secret {
    path: PathBuf,
    before: Option<Vec<u8>>,
    keep: bool,
}

fn save_secret(config: &Path, name: &str, secret: &str, service: Option<&Service>) -> anyhow::Result<Secret> {
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
    fn keep(mut self) -> std::io::Result<()> {
        self.keep = true;
        Ok(())
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

/// Replaces the configuration in one step; hooks of every user read it.
fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mode = fs::metadata(path).map_or(0o644, |meta| std::os::unix::fs::MetadataExt::mode(&meta) & 0o777);
    let temporary = folder.join(format!(".config.toml.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    Ok(())
}

fn said(site: &Site<'_>, path: &Path, root: Option<&Path>) {
    show::line(format_args!("site {} is saved in {}", site.name, path.display()));
    match root {
        Some(root) => show::line(format_args!(
            "repositories below {} belong to it; `agent install REPOSITORY` puts the hooks in",
            root.display()
        )),
        None => show::line("next: `agent install REPOSITORY` puts the hooks into a repository"),
    }
    let start = if path == Path::new(SYSTEM) {
        "systemctl enable --now git-jira-agent.socket git-jira-agent.service"
    } else {
        "agent daemon start"
    };
    show::line(format_args!(
        "then: `{start}`, unless the daemon runs already; it takes the new configuration by itself"
    ));
}

/// The first part of a URL's host name.
fn first_label(url: &str) -> String {
    let host = url.split("://").nth(1).unwrap_or(url);
    let label: String = host.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    if label.is_empty() { "jira".to_owned() } else { label }
}

/// Asks on a terminal; without one, what is missing is an error that names the flag.
struct Ask {
    terminal: bool,
}

impl Ask {
    fn or_given(&mut self, given: Option<String>, what: &str) -> anyhow::Result<String> {
        match given {
            Some(text) => Ok(text),
            None => self
                .optional(what)?
                .ok_or_else(|| anyhow::anyhow!("what is missing: {what}; `agent link --help` shows the flags")),
        }
    }

    fn optional(&mut self, what: &str) -> anyhow::Result<Option<String>> {
        if !self.terminal {
            return Ok(None);
        }
        let _ = write!(std::io::stderr().lock(), "{what}: ");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        let text = line.trim().to_owned();
        Ok(if text.is_empty() { None } else { Some(text) })
    }

    fn secret(&mut self, what: &str) -> anyhow::Result<String> {
        anyhow::ensure!(self.terminal, "what is missing: the client secret; give --secret-file or --secret-stdin");
        Ok(rpassword::prompt_password(format!("{what}: "))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_called_after_its_host() {
        assert_eq!(first_label("https://example.atlassian.net"), "example");
        assert_eq!(first_label("http://127.0.0.1:80"), "127");
        assert_eq!(first_label("nonsense://"), "jira");
    }
}
