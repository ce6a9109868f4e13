//! `agent link`: which Jira, which credential, which account; all are tried before they are saved.
//!
//! On a terminal it asks for what was not given. Secrets come from a prompt, a file or standard
//! input, never from the command line. The configuration is edited, not rewritten: comments and
//! order stay. A site that is there already keeps what is not given anew, so an account can be
//! added to it later, or a secret replaced.

pub mod ask;
pub mod edit;
mod remove;
mod secret;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Context, show};
use crate::clock;
use crate::config::{Config, SYSTEM};
use crate::send::{self, Executor, Introduced, Jira, Kind, Obstacle, Platform, Reach};
use crate::text::Untrusted;
pub use ask::Ask;
pub use edit::Edit;
use edit::{account_section, set};
use secret::{Given, Secret, Service};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  agent link https://YOURS.atlassian.net --client-id ID --secret-file FILE --root /srv/git\n  \
    agent link https://YOURS.atlassian.net --account-only --account-email MAIL --account-token-file FILE\n  \
    agent link --remove yours --dry-run        what would go\n  \
    agent link --remove yours --accounts       the site, its accounts, and all that Jira was told"
)]
pub struct Arguments {
    /// The site, such as https://example.atlassian.net
    url: Option<String>,
    /// What to call the site; default: the first part of its host name
    #[arg(long)]
    name: Option<String>,
    /// Which Jira it is; default: what it was, else cloud
    #[arg(long, value_parser = ["cloud", "data-center"])]
    kind: Option<String>,
    /// The client id of the OAuth credential made in Jira
    #[arg(long)]
    client_id: Option<String>,
    /// A file with the client secret; it is copied into the folder of credentials
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Read the client secret from standard input
    #[arg(long, conflicts_with = "secret_file")]
    secret_stdin: bool,
    /// Link a Jira Cloud by an account alone, where no OAuth credential can be had: commands are carried out, questions
    /// answered, and Jira is shown no commits
    #[arg(long, conflicts_with_all = ["client_id", "secret_file", "secret_stdin"])]
    account_only: bool,
    /// The mail address of the account that carries out commands (Jira Cloud)
    #[arg(long, value_name = "MAIL")]
    account_email: Option<String>,
    /// A file with that account's API token, or on Data Center its personal access token; it is copied
    #[arg(long, value_name = "FILE")]
    account_token_file: Option<PathBuf>,
    /// Read the account's token from standard input
    #[arg(long, conflicts_with_all = ["account_token_file", "secret_stdin"])]
    account_token_stdin: bool,
    /// The account's API token is limited by scopes; default: found out
    #[arg(long)]
    account_scoped: bool,
    /// Who carries out the commands of commit messages; default: what it was
    #[arg(long, value_parser = ["jira", "agent", "off"])]
    executor: Option<String>,
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
    /// Unlink a site (its name or address; default: the only one): Jira forgets all that it was told; needs the daemon
    #[arg(long, value_name = "SITE", num_args = 0..=1, default_missing_value = "")]
    remove: Option<String>,
    /// With --remove: take out the accounts of the site first, as `agent account remove` does
    #[arg(long, requires = "remove")]
    accounts: bool,
    /// With --remove: leave in Jira what it was told
    #[arg(long, requires = "remove")]
    keep_in_jira: bool,
    /// With --remove: only show what would happen
    #[arg(long, requires = "remove")]
    dry_run: bool,
    /// With --remove: do not ask
    #[arg(long, requires = "remove")]
    yes: bool,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    if let Some(site) = &arguments.remove {
        return remove::run(&arguments, site, context);
    }
    let path = context.config_path();
    let service = Service::find(&path)?;
    let text = if path.exists() { fs::read_to_string(&path)? } else { String::new() };
    // Let the file be in order first: what is wrong with it is told with its line.
    let before = Config::parse(&text, &path)?;
    let ask = Ask::new();
    let site = Site::wished(&arguments, &before, &ask)?;
    let root = match arguments.root.clone() {
        None if ask.terminal && site.is_new => {
            ask.optional("folder with your repositories (empty: later)")?.map(PathBuf::from)
        }
        root => root,
    };
    let keep = |name: &str, secret: &Option<String>| {
        secret.as_ref().map(|secret| secret::save(&path, name, secret, service.as_ref())).transpose()
    };
    let secret = keep(&site.name, &site.secret)?;
    let token = keep(&format!("{}.account", site.name), &site.account.as_ref().and_then(|one| one.token.clone()))?;
    let [at, token_at] = [&secret, &token].map(|one| one.as_ref().map(|secret| secret.path.as_path()));
    let written = |scoped| site.written(&text, &path, at, token_at, scoped, root.as_deref());
    let text = tried(&site, &written, &path, context)?;
    edit::save(&path, &text)?;
    [secret, token].into_iter().flatten().for_each(Secret::keep);
    said(&site, &Config::parse(&text, &path)?, &path, root.as_deref());
    Ok(ExitCode::SUCCESS)
}

/// Adds an account to a configuration file and gives what it then says.
pub fn add_account(path: &Path, name: &str, root: &Path, site: Option<&str>) -> anyhow::Result<Config> {
    let mut edit = Edit::of(&fs::read_to_string(path)?)?;
    edit.account(name, root, site)?;
    let config = Config::parse(&edit.text(), path)?;
    edit::save(path, &edit.text())?;
    Ok(config)
}

/// A site as a person wants it; what is `None` stays as it is.
struct Site<'a> {
    arguments: &'a Arguments,
    name: String,
    url: String,
    kind: Kind,
    is_new: bool,
    /// Whether it is reached in another way than before.
    moved: bool,
    client_id: Option<String>,
    secret: Option<String>,
    /// Whether an account alone links it.
    account_only: bool,
    account: Option<Actor>,
    executor: Option<String>,
}

/// Who is to carry out commands.
struct Actor {
    email: Option<String>,
    token: Option<String>,
    scoped: bool,
}

impl<'a> Site<'a> {
    fn wished(arguments: &'a Arguments, before: &Config, ask: &Ask) -> anyhow::Result<Site<'a>> {
        let called = |name: &str| before.site.iter().find(|site| site.name == name);
        let meant = match (&arguments.name, &before.site[..]) {
            (Some(name), _) => called(name),
            (None, [only]) if arguments.url.is_none() && arguments.is_about_account() => Some(only),
            _ => None,
        };
        let url = arguments.url.clone().or_else(|| meant.map(|site| site.url.clone()));
        let url = ask.or_given(url, "address of the site (https://….atlassian.net)")?;
        let url = url.trim_end_matches('/').to_owned();
        let same = meant.or_else(|| before.site.iter().find(|site| site.url == url)).map(|site| site.name.clone());
        let taken = |label: &str| called(label).map(|site| site.url.clone());
        let name = match (arguments.name.clone().or(same), first_label(&url)) {
            (Some(name), _) => name,
            (None, label) => match taken(&label) {
                Some(other) => anyhow::bail!("site {label} is at {other}: --name says what to call this one"),
                None => label,
            },
        };
        anyhow::ensure!(!name.contains('/') && !name.starts_with('.'), "a site cannot be called {name}: give --name");
        let known = called(&name);
        let kind = arguments.kind(known, &url, ask)?;
        let mut site = Site {
            arguments,
            is_new: known.is_none(),
            moved: known.is_some_and(|site| site.url != url || site.kind != kind) || arguments.is_about_the_way(),
            client_id: None,
            secret: None,
            account_only: false,
            account: None,
            executor: arguments.executor.clone(),
            name,
            url,
            kind,
        };
        let stays_alone = known.is_some_and(send::Settings::is_account_only);
        let brings_credential = arguments.client_id.is_some() || arguments.oauth_secret().is_given();
        site.account_only = kind == Kind::Cloud && (arguments.account_only || stays_alone && !brings_credential);
        if site.account_only {
            show::note("Jira is shown no commits: an account alone links it.");
        } else if kind == Kind::Cloud {
            site.ask_credential(known, ask)?;
        } else {
            let off = arguments.client_id.is_some() || arguments.oauth_secret().is_given();
            anyhow::ensure!(
                !off,
                "--client-id and its secret are for Jira Cloud: a data-center takes an account's token"
            );
            show::note(
                "Jira Data Center shows no commits in its Development panel yet; commands are carried out there.",
            );
        }
        site.ask_account(known, ask)?;
        Ok(site)
    }

    fn ask_credential(&mut self, known: Option<&send::Settings>, ask: &Ask) -> anyhow::Result<()> {
        let (arguments, known) = (self.arguments, known.filter(|site| site.client_id.is_some()));
        if known.is_none() && arguments.client_id.is_none() && ask.terminal {
            show::note("In Jira: Settings -> Apps -> OAuth credentials -> Create; tick Development information.");
        }
        self.client_id = match (&arguments.client_id, known) {
            (None, Some(_)) => None,
            (given, _) => Some(ask.or_given(given.clone(), "client id")?),
        };
        let given = arguments.oauth_secret();
        // A new id has a new secret; and whoever brings an account was not asked for one.
        let stays = known.is_some() && arguments.client_id.is_none();
        if !(stays && arguments.is_about_account() && !given.is_given()) {
            self.secret = given.read(stays, ask)?;
        }
        Ok(())
    }

    fn ask_account(&mut self, known: Option<&send::Settings>, ask: &Ask) -> anyhow::Result<()> {
        let (arguments, acts) = (self.arguments, known.and_then(|site| site.account.as_ref()));
        let mut email = arguments.account_email.clone();
        match self.kind {
            Kind::Cloud if !(arguments.is_about_account() || self.account_only && acts.is_none()) => {
                if acts.is_some() || !ask.terminal {
                    return Ok(());
                }
                show::note("An account of its own lets the agent carry out Smart Commits for whoever pushed.");
                email = ask.optional("mail address of that account (empty: none)")?;
                if email.is_none() {
                    return Ok(());
                }
            }
            Kind::Cloud if acts.is_none() => email = Some(ask.or_given(email, "mail address of the account")?),
            _ => {}
        }
        let given = arguments.token();
        if ask.terminal && !given.is_given() {
            show::note(match self.kind {
                Kind::Cloud => "As that account: id.atlassian.com -> Security -> API tokens -> Create API token.",
                Kind::DataCenter => "As that account: Profile -> Personal Access Tokens -> Create token.",
            });
        }
        let token = given.read(acts.is_some(), ask)?;
        let scoped = arguments.account_scoped || (token.is_none() && acts.is_some_and(|account| account.scoped));
        if token.is_some() || email.is_some() || arguments.account_scoped {
            self.account = Some(Actor { email, token, scoped });
        }
        let acting = known.is_some_and(|site| site.executor == Executor::Agent);
        if self.executor.is_none() && self.account.is_some() && !acting {
            let agrees = match self.kind {
                // Nobody else could.
                Kind::DataCenter => self.is_new,
                Kind::Cloud if self.account_only => true,
                Kind::Cloud => {
                    ask.terminal && ask.agrees("is the agent to carry out commands with it, and not Jira?")?
                }
            };
            self.executor = agrees.then(|| "agent".to_owned());
        }
        Ok(())
    }

    /// The text of the configuration with this site in it.
    fn written(
        &self,
        before: &str,
        path: &Path,
        secret: Option<&Path>,
        token: Option<&Path>,
        scoped: bool,
        root: Option<&Path>,
    ) -> anyhow::Result<String> {
        let mut edit = Edit::of(before)?;
        let table = edit.site(&self.name)?;
        set(table, "url", &self.url);
        match self.kind {
            Kind::DataCenter => set(table, "kind", "data-center"),
            Kind::Cloud if table.get("kind").is_some_and(|kind| kind.as_str() == Some("data-center")) => {
                drop(table.remove("kind"));
            }
            Kind::Cloud => {}
        }
        let arguments = self.arguments;
        let given = [
            ("client_id", self.client_id.clone()),
            ("executor", self.executor.clone()),
            ("api_url", arguments.api_url.clone()),
            ("auth_url", arguments.auth_url.clone()),
            ("proxy", arguments.proxy.clone()),
            ("ca_file", arguments.ca_file.as_ref().map(|file| file.display().to_string())),
        ];
        given.into_iter().filter_map(|(key, text)| Some((key, text?))).for_each(|(key, text)| set(table, key, text));
        put_secret(table, secret);
        if self.account_only {
            ["client_id", "secret_file", "credential"].iter().for_each(|key| drop(table.remove(key)));
        }
        if !arguments.projects.is_empty() {
            let keys = arguments.projects.iter().map(|key| key.trim().to_uppercase());
            set(table, "projects", keys.collect::<toml_edit::Array>());
        }
        if let Some(Actor { email, .. }) = &self.account {
            let section = account_section(table)?;
            if let Some(email) = email {
                set(section, "email", email);
            }
            put_secret(section, token);
            match scoped {
                true => set(section, "scoped", true),
                false => drop(section.remove("scoped")),
            }
        }
        if let Some(root) = root {
            let root = fs::canonicalize(root).map_err(|error| anyhow::anyhow!("{}: {error}", root.display()))?;
            let named =
                || root.file_name().map_or_else(|| "main".to_owned(), |name| name.to_string_lossy().into_owned());
            edit.account(&arguments.account.clone().unwrap_or_else(named), &root, Some(&self.name))?;
        }
        Config::parse(&edit.text(), path)?;
        Ok(edit.text())
    }
}

impl Arguments {
    fn is_about_account(&self) -> bool {
        self.account_email.is_some() || self.token().is_given() || self.account_scoped
    }

    fn is_about_the_way(&self) -> bool {
        self.ca_file.is_some() || [&self.api_url, &self.auth_url, &self.proxy].iter().any(|given| given.is_some())
    }

    fn oauth_secret(&self) -> Given<'_> {
        let flags = "--secret-file or --secret-stdin";
        Given { what: "client secret", file: self.secret_file.as_deref(), stdin: self.secret_stdin, flags }
    }

    fn token(&self) -> Given<'_> {
        let (file, stdin) = (self.account_token_file.as_deref(), self.account_token_stdin);
        Given { what: "account's token", file, stdin, flags: "--account-token-file or --account-token-stdin" }
    }

    /// Which Jira it is: what was said, else what it was, else what its address tells or a person knows.
    fn kind(&self, known: Option<&send::Settings>, url: &str, ask: &Ask) -> anyhow::Result<Kind> {
        let kind = match (&self.kind, known) {
            (Some(kind), _) => kind.clone(),
            (None, Some(site)) => return Ok(site.kind),
            (None, None) if url.ends_with(".atlassian.net") || !ask.terminal || self.client_id.is_some() => {
                return Ok(Kind::Cloud);
            }
            (None, None) => ask.optional("cloud or data-center? [cloud]")?.unwrap_or_else(|| "cloud".to_owned()),
        };
        match kind.to_lowercase().as_str() {
            "cloud" => Ok(Kind::Cloud),
            "data-center" => Ok(Kind::DataCenter),
            other => anyhow::bail!("there is no kind of Jira called {other}: cloud or data-center"),
        }
    }
}

/// Says where a secret is, in place of whatever said so before.
fn put_secret(table: &mut dyn toml_edit::TableLike, secret: Option<&Path>) {
    if let Some(path) = secret {
        table.remove("credential");
        set(table, "secret_file", path.display().to_string());
    }
}

/// Tries what is new against Jira, says what it found, and gives the text that does.
fn tried(
    site: &Site<'_>,
    written: &dyn Fn(bool) -> anyhow::Result<String>,
    path: &Path,
    context: &Context,
) -> anyhow::Result<String> {
    let settings = |text: &str| -> anyhow::Result<send::Settings> {
        let found = Config::parse(text, path)?.site.into_iter().find(|found| found.name == site.name);
        Ok(found.expect("it was just written"))
    };
    let text = written(site.account.as_ref().is_some_and(|account| account.scoped))?;
    let settled = settings(&text)?;
    if site.arguments.untried {
        return Ok(text);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let credentials = context.environment.credentials_directory.as_deref();
    if settled.shows_commits() && (site.client_id.is_some() || site.secret.is_some() || site.moved) {
        let jira = Jira::new(&settled, credentials, "trial")?;
        let tried = runtime.block_on(jira.try_out()).map_err(|error| {
            anyhow::Error::new(error).context("nothing was saved: the site could not be reached with this credential")
        })?;
        show::line(format_args!("{} answers, its cloud id is {}", site.url, tried.cloud_id));
        show::line("the credential may write development information");
    }
    let Some(account) = settled.account.filter(|_| site.account.is_some() || site.moved) else { return Ok(text) };
    let introduced = |text: &str| -> anyhow::Result<Result<Introduced, Obstacle>> {
        let platform = Platform::new(&settings(text)?, credentials)?;
        Ok(runtime.block_on(platform.introduce(clock::now())))
    };
    let (found, text) = match introduced(&text)? {
        // Nothing about a token shows whether it has scopes; only where it is taken does.
        Err(Obstacle::Halt { reach: Reach::Account, because })
            if site.account.is_some() && site.kind == Kind::Cloud && !account.scoped =>
        {
            let text = written(true)?;
            (introduced(&text)?.map_err(|_| because), text)
        }
        found => (found.map_err(|obstacle| obstacle.because().to_owned()), text),
    };
    let introduced = found.map_err(|because| {
        anyhow::anyhow!(because).context("nothing was saved: Jira does not let the account in with this token")
    })?;
    show::line(format_args!("the account is {} in Jira", Untrusted::text(&introduced.person.shown())));
    Ok(text)
}

fn said(site: &Site<'_>, config: &Config, path: &Path, root: Option<&Path>) {
    show::line(format_args!("site {} is saved in {}", site.name, path.display()));
    let settings = config.site.iter().find(|found| found.name == site.name);
    if settings.is_some_and(|settings| settings.account.is_some()) {
        let acting = settings.is_some_and(|settings| settings.executor == Executor::Agent);
        if !acting {
            show::line("the account does nothing yet: `--executor agent` has the agent carry out commands with it");
        } else {
            show::line("next: policy = \"bot\" in a section [account.smart] says that pushes may give commands");
        }
        show::line(
            "`agent doctor --write-probe ISSUE` finds out how the site keeps the marks by which nothing is done twice",
        );
    }
    match root {
        Some(root) => show::line(format_args!(
            "repositories below {0} belong to it; `agent account add --root {0}` puts the hooks in",
            root.display()
        )),
        None if site.is_new => show::line(
            "next: `agent account add --root FOLDER` puts hooks into all repositories of a folder, `agent install` into one",
        ),
        None => {}
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
