//! How people tune all of the above: `config.toml` and the environment, read here and nowhere else.
//!
//! The file is the one truth: it is read whole, checked whole, and only then used. An unknown key is
//! an error with its line, its column and the nearest key that exists. Paths in it are relative to
//! the folder it lies in. Nothing in it is secret, so hooks of every user may read it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use git_jira_agent_hook::call::{CLAIMS, MOST_PUSH_OPTIONS};
use serde::Deserialize;

use crate::host::{self, Account, Below, NOWHERE};
use crate::people::{self, Group, People, Person};
use crate::policy::{self, Policies};
use crate::smart::Policy;
use crate::{branch, mail, parse, queue, send};

/// Everything `config.toml` says, checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub daemon: Daemon,
    pub hook: Hook,
    pub queue: queue::Settings,
    pub parse: parse::Settings,
    pub message: policy::Message,
    pub policy: Vec<policy::Settings>,
    pub site: Vec<send::Settings>,
    pub account: Vec<Account>,
    pub person: Vec<Person>,
    pub group: Vec<Group>,
    pub people: people::Settings,
    pub mail: mail::Settings,
    pub branch: branch::Settings,
}

/// Section `daemon`: where the process keeps things. The defaults are those of a system service when
/// the file is `/etc/git-jira-agent/config.toml`, else those of the person.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Daemon {
    /// The queue's folder. Default `/var/lib/git-jira-agent` or `$XDG_STATE_HOME/git-jira-agent`.
    pub state: Option<PathBuf>,
    /// The drop-box of hooks. Default `/var/spool/git-jira-agent` or `spool` in the state folder.
    pub spool: Option<PathBuf>,
    /// The hooks' socket. Default `/run/git-jira-agent/agent.sock` or `$XDG_RUNTIME_DIR/git-jira-agent/agent.sock`.
    pub socket: Option<PathBuf>,
    /// The administrators' socket. Default: `admin.sock` beside the hooks' socket.
    pub admin_socket: Option<PathBuf>,
    /// `text` or `json`. Default `text`, with priorities when systemd's journal listens.
    pub log_format: LogFormat,
    /// What is logged, such as `info` or `info,git_jira_agent::send=debug`. Default `info`.
    pub log: Option<String>,
    /// Minutes between two comparisons of all refs with what is known. Default 10.
    pub scan_minutes: Option<u32>,
    /// Whether a hook that finds no daemon starts a person's own; the system's is never started so. Default true.
    pub on_demand: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Section `hook`: what the hooks do in a push.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hook {
    /// Whether a push is answered with what was linked. Default true.
    pub answer: bool,
    /// Commits read in the push itself; the daemon reads the others. Default 250.
    pub commits: usize,
    /// Milliseconds for reading them. Default 100.
    pub read_ms: u64,
    /// Milliseconds after which the hook ends, whatever it is doing. Default 250.
    pub deadline_ms: u64,
    /// Milliseconds in which a policy has to be decided; what was not looked at by then is unknown. Default 10000.
    pub policy_ms: u64,
}

/// Where things are, after all defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    pub config: PathBuf,
    pub state: PathBuf,
    pub spool: PathBuf,
    pub socket: PathBuf,
    pub admin_socket: PathBuf,
    /// Whether hooks of several users hand over here.
    pub shared: bool,
}

/// The environment as the program found it.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub path: Option<OsString>,
    pub config: Option<PathBuf>,
    pub home: Option<PathBuf>,
    pub config_home: Option<PathBuf>,
    /// Folders with configurations for all people of the machine, the most important first.
    pub config_dirs: Vec<PathBuf>,
    /// What a person's and the machine's configuration of Git are, where they are not the usual ones.
    pub git_config_global: Option<PathBuf>,
    pub git_config_system: Option<PathBuf>,
    pub state_home: Option<PathBuf>,
    pub runtime_dir: Option<PathBuf>,
    pub credentials_directory: Option<PathBuf>,
    pub git_dir: Option<PathBuf>,
    /// Where in the work tree Git was called, when it runs a hook: a folder with a slash at its end.
    pub prefix: Option<PathBuf>,
    pub quarantine: Option<PathBuf>,
    pub namespace: Option<OsString>,
    pub object_directory: Option<PathBuf>,
    pub alternates: Vec<PathBuf>,
    pub journal: bool,
    /// What opens pages for this person.
    pub browser: Option<OsString>,
    pub no_color: bool,
    /// Whether a person writes the message in an editor: Git names `:` where none is used.
    pub editor: bool,
    /// Whether somebody may be asked on the terminal.
    pub terminal: bool,
    /// The author and the committer that Git or a person names: name and address.
    pub author: (Option<OsString>, Option<OsString>),
    pub committer: (Option<OsString>, Option<OsString>),
    /// What hosts say about the pusher, from a fixed list of names.
    pub claims: Vec<(String, OsString)>,
    pub push_options: Vec<OsString>,
    /// Whether a host only tries what a hook would say (`BB_IS_DRY_RUN`).
    pub dry_run: bool,
}

/// How a repository is linked. Whoever has to know asks [`Config::link_of`], so that hooks, daemon and words agree.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    pub account: &'a Account,
    /// The projects whose keys link; all where there are none.
    pub keys: &'a [String],
    /// The site that the account's routes lead to; `None` while there is none.
    pub site: Option<&'a send::Settings>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no configuration: {} does not exist; `agent link` makes one", .0.display())]
    Missing(PathBuf),
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{}:{line}:{column}: {because}", path.display())]
    Syntax { path: PathBuf, line: usize, column: usize, because: String },
    #[error("{}: {because}", path.display())]
    Meaning { path: PathBuf, because: String },
}

impl Default for Daemon {
    fn default() -> Self {
        let (state, spool, socket, admin_socket) = (None, None, None, None);
        let (log_format, log, scan_minutes) = (LogFormat::default(), None, None);
        Daemon { state, spool, socket, admin_socket, log_format, log, scan_minutes, on_demand: true }
    }
}

impl Default for Hook {
    fn default() -> Self {
        Hook { answer: true, commits: 250, read_ms: 100, deadline_ms: 250, policy_ms: 10_000 }
    }
}

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::Missing(path.to_owned()),
            _ => Error::Unreadable { path: path.to_owned(), error },
        })?;
        Config::parse(&text, path)
    }

    /// Checks the text of a configuration file that lies, or will lie, at `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Config, Error> {
        let mut config: Config = toml::from_str(text).map_err(|error| syntax(text, path, &error))?;
        config.resolve(path.parent().unwrap_or(Path::new("/")));
        let checked = config.check().and_then(|()| config.check_remotes(path));
        checked.map_err(|because| Error::Meaning { path: path.to_owned(), because })?;
        Ok(config)
    }

    /// The account that a repository belongs to: of those whose patterns let it in, the one whose root is nearest above it. A
    /// clone that lies below no root belongs to the first that it was fetched from a server of.
    /// None where that account has a route by which nothing of the repository is sent.
    pub fn account_of(&self, git_dir: &Path) -> Option<&Account> {
        self.nearest(git_dir).filter(|account| !account.is_nowhere(git_dir))
    }

    /// How a repository is linked, if it is.
    pub fn link_of(&self, git_dir: &Path) -> Option<Link<'_>> {
        let account = self.account_of(git_dir)?;
        let site = self.named_or_only(account.site_for(&account.repository_name(git_dir)));
        Some(Link { account, keys: account.keys_of(git_dir), site })
    }

    /// Whether a route says that nothing of a repository is sent.
    pub fn sends_nothing_of(&self, git_dir: &Path) -> bool {
        self.nearest(git_dir).is_some_and(|account| account.is_nowhere(git_dir))
    }

    /// Why a repository is not linked although it lies below the root of an account: which account says so, and by what.
    pub fn keeps_out(&self, git_dir: &Path) -> Option<String> {
        let name = |account: &Account| account.repository_name(git_dir);
        match self.nearest(git_dir) {
            Some(it) if it.is_nowhere(git_dir) => {
                Some(format!("account {} sends nothing of {}: a route of it says \"{NOWHERE}\"", it.name, name(it)))
            }
            Some(_) => None,
            None => {
                let it = self.around(git_dir)?;
                let patterns = "a pattern under `include` or `exclude`";
                Some(format!("account {} leaves out {} by {patterns}", it.name, name(it)))
            }
        }
    }

    /// The repositories that an account links, as they lie there now; a wiki belongs to the repository beside it.
    pub(crate) fn repositories_of(&self, account: &Account) -> Below {
        let mut below = host::below(&account.root);
        let is_its = |git_dir: &PathBuf| self.account_of(git_dir).is_some_and(|found| found.name == account.name);
        below.repositories.retain(|git_dir| is_its(git_dir) && !host::is_companion(git_dir));
        below
    }

    /// The site of those repositories of an account that no route leads elsewhere: the one it names, or the only one there is.
    pub fn site_of(&self, account: &Account) -> Option<&send::Settings> {
        self.named_or_only(account.site.as_deref())
    }

    /// All sites that repositories of an account may go to.
    fn sites_of<'a>(&'a self, account: &'a Account) -> impl Iterator<Item = &'a send::Settings> {
        let routes = account.route.iter().filter_map(|route| self.named_or_only(Some(&route.site)));
        self.site_of(account).into_iter().chain(routes)
    }

    fn named_or_only(&self, name: Option<&str>) -> Option<&send::Settings> {
        match (name, &self.site[..]) {
            (Some(name), sites) => sites.iter().find(|site| site.name == name),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    fn nearest(&self, git_dir: &Path) -> Option<&Account> {
        let selects = |account: &&Account| account.selects(&account.repository_name(git_dir));
        let mut around = self.account.iter().filter(|account| account.contains(git_dir)).peekable();
        match around.peek() {
            Some(_) => around.filter(selects).max_by_key(|account| account.root.components().count()),
            None => self.account.iter().filter(|account| account.meets(git_dir)).find(selects),
        }
    }

    /// The account that a repository lies in or belongs to by its remotes, whether or not its patterns let it in.
    pub fn around(&self, git_dir: &Path) -> Option<&Account> {
        let around = self.account.iter().filter(|account| account.contains(git_dir));
        let nearest = around.max_by_key(|account| account.root.components().count());
        nearest.or_else(|| self.account.iter().find(|account| account.meets(git_dir)))
    }

    /// The rules by which the messages of a repository are read.
    pub fn rules(&self, link: Option<Link<'_>>) -> Result<parse::Rules, parse::Error> {
        let rules = self.rules_at(link.and_then(|link| link.site))?;
        Ok(match link {
            Some(Link { account, keys, .. }) => rules.only(&format!("account {}", account.name), keys),
            None => rules,
        })
    }

    /// The rules of a site by themselves, whatever an account leaves of them.
    pub fn rules_at(&self, site: Option<&send::Settings>) -> Result<parse::Rules, parse::Error> {
        let projects: BTreeSet<String> = site.into_iter().flat_map(|site| site.projects.iter().cloned()).collect();
        parse::Rules::new(&self.parse, if projects.is_empty() { None } else { Some(projects) })
    }

    /// The rules by which orders are read that somebody types for a site: all commands are known, wherever they stand.
    pub fn typing(&self, site: &send::Settings) -> Result<parse::Rules, parse::Error> {
        let from = vec![parse::Source::Message];
        let parse = parse::Settings { mode: parse::Mode::Standard, more: true, from, ..self.parse.clone() };
        Config { parse, ..Config::default() }.rules_at(Some(site))
    }

    /// What is asked of commits in a repository.
    pub fn policies(&self, git_dir: &Path) -> Policies {
        match self.account_of(git_dir) {
            Some(account) if !self.policy.is_empty() => {
                Policies::of(&self.policy, &account.name, &account.repository_name(git_dir))
            }
            _ => Policies::default(),
        }
    }

    /// The people of the table, joined, with the files that belong to it.
    pub fn people(&self) -> Result<People, String> {
        self.table()?.with_files(&self.people).map_err(|because| format!("people: {because}"))
    }

    fn table(&self) -> Result<People, String> {
        let people = People::new(self.person.clone()).map_err(|because| format!("person: {because}"))?;
        people.with_groups(&self.group).map_err(|because| format!("group: {because}"))
    }

    fn resolve(&mut self, folder: &Path) {
        let daemon = &mut self.daemon;
        for path in [&mut daemon.state, &mut daemon.spool, &mut daemon.socket, &mut daemon.admin_socket] {
            *path = path.take().map(|path| folder.join(path));
        }
        self.people.resolve(folder);
        for account in &mut self.account {
            if account.has_root() {
                let root = folder.join(&account.root);
                account.root = fs::canonicalize(&root).unwrap_or(root);
            }
            account.smart.administrators.clone_from(&account.administrators);
        }
        for site in &mut self.site {
            site.resolve(folder);
        }
    }

    fn check(&self) -> Result<(), String> {
        self.rules(None).map_err(|error| error.to_string())?;
        let people = self.table()?;
        self.message.check().map_err(|because| format!("message: {because}"))?;
        for (number, section) in (1..).zip(&self.policy) {
            section.check().map_err(|because| format!("policy {number}: {because}"))?;
            let known = |name: &&String| self.account.iter().any(|account| account.name == **name);
            if let Some(name) = section.accounts.iter().find(|name| !known(name)) {
                return Err(format!("policy {number}: there is no account called {name}"));
            }
        }
        self.mail.post().map_err(|because| format!("mail: {because}"))?;
        self.branch.check().map_err(|error| format!("branch: template: {error}"))?;
        let mut names = BTreeSet::new();
        for site in &self.site {
            site.check().map_err(|error| format!("site {}: {error}", site.name))?;
            if site.name == NOWHERE {
                return Err(format!("no site can be called {NOWHERE}: in a route that says that nothing is sent"));
            }
            if !names.insert(&site.name) {
                return Err(format!("two sites are called {}", site.name));
            }
        }
        let mut names = BTreeSet::new();
        for account in &self.account {
            account.check()?;
            let mut groups = account.smart.allow.iter().flat_map(|allow| &allow.groups);
            if let Some(because) = groups.find_map(|group| people.lacks_group(group)) {
                return Err(format!("account {}: smart: allow: {because}", account.name));
            }
            people
                .check_members(&account.administrators)
                .map_err(|because| format!("account {}: administrators: {because}", account.name))?;
            self.check_sites(account)?;
            if !names.insert(&account.name) {
                return Err(format!("two accounts are called {}", account.name));
            }
        }
        Ok(())
    }

    /// Refuses to know clones by what they say of themselves where several users speak to one daemon.
    fn check_remotes(&self, path: &Path) -> Result<(), String> {
        match self.account.iter().find(|account| !account.remotes.is_empty()) {
            Some(account) if path == Path::new(SYSTEM) => Err(format!(
                "account {}: remotes are for a person's own daemon: to that of the system each user could bring a clone that \
                 says what they like; name a configuration of your own with --config",
                account.name
            )),
            _ => Ok(()),
        }
    }

    /// Checks an account together with the sites that its repositories may go to.
    fn check_sites(&self, account: &Account) -> Result<(), String> {
        if self.site_of(account).is_none() && !self.site.is_empty() {
            return Err(match &account.site {
                Some(name) => format!("account {}: there is no site called {name}", account.name),
                None => {
                    format!("account {}: which site? there are several, so `site` has to name one", account.name)
                }
            });
        }
        let is_there = |name: &str| name == NOWHERE || self.site.iter().any(|site| site.name == name);
        if let Some(route) = account.route.iter().find(|route| !is_there(&route.site)) {
            return Err(format!("account {}: route: there is no site called {}", account.name, route.site));
        }
        for site in self.sites_of(account) {
            let executor = site.executor();
            let smart_commits = account.repository.iter().any(|one| one.smart_commits.is_some());
            if smart_commits && executor == send::Executor::Off {
                return Err(format!(
                    "account {}: repository: smart_commits is for commands that are carried out, and the site's executor is \"off\"",
                    account.name
                ));
            }
            if account.smart.policy == Policy::Linked && executor != send::Executor::Agent {
                return Err(format!(
                    "account {}: smart: policy = \"linked\" is for commands that the agent carries out (executor = \"agent\")",
                    account.name
                ));
            }
            let by_site = !matches!(account.smart.policy, Policy::Off | Policy::Linked);
            if by_site && site.lacks_account() {
                return Err(format!(
                    "account {}: smart: the agent carries out commands through an account at the site, and site {} has no [site.account]",
                    account.name, site.name
                ));
            }
        }
        let listed = self.sites_of(account).all(|site| !site.projects.is_empty());
        let is_of_a_site = |key: &&String| {
            self.sites_of(account).any(|site| site.projects.iter().any(|project| project.eq_ignore_ascii_case(key)))
        };
        let stranger = account.keys.iter().find(|key| !is_of_a_site(key)).filter(|_| listed && !self.site.is_empty());
        match stranger {
            Some(key) => Err(format!("account {}: keys: no `projects` of its sites names {key}", account.name)),
            None => Ok(()),
        }
    }
}

impl Places {
    /// Finds the configuration file and where everything else is, as far as that needs no file.
    pub fn config_path(chosen: Option<&Path>, environment: &Environment) -> PathBuf {
        if let Some(path) = chosen.or(environment.config.as_deref()) {
            return std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        }
        let is_service = Path::new(SYSTEM).exists() || rustix::process::geteuid().is_root();
        Places::unnamed(is_service, environment)
    }

    /// The configuration where nobody named one: the service's, a person's own, or who has none, what somebody wrote for all.
    fn unnamed(is_service: bool, environment: &Environment) -> PathBuf {
        match environment.config_home.as_ref().map(|home| home.join(FILE)).filter(|_| !is_service) {
            None => PathBuf::from(SYSTEM),
            Some(own) if own.exists() => own,
            Some(own) => Places::config_of_all(environment).filter(|path| path.exists()).unwrap_or(own),
        }
    }

    /// The configuration for all people of the machine who have none of their own; each has a daemon of their own all the same.
    pub fn config_of_all(environment: &Environment) -> Option<PathBuf> {
        let mut all =
            environment.config_dirs.iter().filter(|folder| folder.is_absolute()).map(|folder| folder.join(FILE));
        let first = all.next()?;
        Some(if first.exists() { first } else { all.find(|path| path.exists()).unwrap_or(first) })
    }

    pub fn new(config_path: &Path, config: &Config, environment: &Environment) -> Places {
        let system = config_path == Path::new(SYSTEM);
        let under = |base: &Option<PathBuf>, fallback: &str| {
            base.clone().unwrap_or_else(|| PathBuf::from(fallback)).join("git-jira-agent")
        };
        let daemon = &config.daemon;
        let state = daemon.state.clone().unwrap_or_else(|| match system {
            true => PathBuf::from("/var/lib/git-jira-agent"),
            false => under(&environment.state_home, "/var/lib"),
        });
        let spool = daemon.spool.clone().unwrap_or_else(|| match system {
            true => PathBuf::from("/var/spool/git-jira-agent"),
            false => state.join("spool"),
        });
        let socket = daemon.socket.clone().unwrap_or_else(|| match system {
            true => PathBuf::from("/run/git-jira-agent/agent.sock"),
            false => match &environment.runtime_dir {
                Some(_) => under(&environment.runtime_dir, "/run").join("agent.sock"),
                None => state.join("agent.sock"),
            },
        });
        let admin_socket = daemon.admin_socket.clone().unwrap_or_else(|| socket.with_file_name("admin.sock"));
        Places { config: config_path.to_owned(), state, spool, socket, admin_socket, shared: system }
    }
}

impl Environment {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that does")]
    pub fn read() -> Environment {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HOME");
        let below_home = |folder: &str| home.as_ref().map(|home| home.join(folder));
        let options: usize = std::env::var("GIT_PUSH_OPTION_COUNT").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
        let claims = CLAIMS.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?)));
        Environment {
            path: std::env::var_os("PATH"),
            config: path("GIT_JIRA_AGENT_CONFIG"),
            config_home: path("XDG_CONFIG_HOME").or_else(|| below_home(".config")),
            config_dirs: path("XDG_CONFIG_DIRS")
                .map_or_else(|| vec!["/etc/xdg".into()], |paths| std::env::split_paths(&paths).collect()),
            git_config_global: path("GIT_CONFIG_GLOBAL"),
            git_config_system: path("GIT_CONFIG_SYSTEM"),
            state_home: path("XDG_STATE_HOME").or_else(|| below_home(".local/state")),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            credentials_directory: path("CREDENTIALS_DIRECTORY"),
            git_dir: path("GIT_DIR"),
            prefix: path("GIT_PREFIX"),
            quarantine: path("GIT_QUARANTINE_PATH"),
            namespace: path("GIT_NAMESPACE").map(OsString::from),
            object_directory: path("GIT_OBJECT_DIRECTORY"),
            alternates: path("GIT_ALTERNATE_OBJECT_DIRECTORIES")
                .map(|paths| std::env::split_paths(&paths).collect())
                .unwrap_or_default(),
            journal: std::env::var_os("JOURNAL_STREAM").is_some(),
            browser: std::env::var_os("BROWSER"),
            no_color: path("NO_COLOR").is_some(),
            editor: std::env::var_os("GIT_EDITOR").is_none_or(|editor| editor != ":"),
            terminal: std::env::var_os("GIT_TERMINAL_PROMPT").is_none_or(|prompt| prompt != "0"),
            author: (std::env::var_os("GIT_AUTHOR_NAME"), std::env::var_os("GIT_AUTHOR_EMAIL")),
            committer: (std::env::var_os("GIT_COMMITTER_NAME"), std::env::var_os("GIT_COMMITTER_EMAIL")),
            claims: claims.collect(),
            push_options: (0..options.min(MOST_PUSH_OPTIONS))
                .filter_map(|n| std::env::var_os(format!("GIT_PUSH_OPTION_{n}")))
                .collect(),
            dry_run: std::env::var_os("BB_IS_DRY_RUN").is_some_and(|value| value == "true"),
            home,
        }
    }
}

/// The configuration of the system's service.
pub const SYSTEM: &str = "/etc/git-jira-agent/config.toml";

/// Where a configuration lies below a folder of configurations.
const FILE: &str = "git-jira-agent/config.toml";

/// Turns an error of the TOML reader into one sentence with a place and, for a key, the nearest right one.
pub(crate) fn syntax(text: &str, path: &Path, error: &toml::de::Error) -> Error {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let mut because = error.message().replace('\n', " ");
    if let Some(nearest) = nearest(&because) {
        because = format!("{} — did you mean `{nearest}`?", because.split(", expected").next().unwrap_or(&because));
    }
    Error::Syntax { path: path.to_owned(), line, column, because }
}

/// The expected key that is most like the unknown one, out of serde's own words.
fn nearest(message: &str) -> Option<String> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    let likeness = |right: &&str| (strsim::jaro_winkler(wrong, right) * 1000.0) as u32;
    let best = quoted.max_by_key(likeness)?;
    (likeness(&best) > 700).then(|| best.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, error: &str) {
        let found = Config::parse(text, Path::new("/etc/c.toml")).unwrap_err().to_string();
        assert!(found.contains(error), "{found}");
    }

    #[test]
    fn an_empty_file_is_a_configuration() {
        Config::parse("", Path::new("/etc/c.toml")).unwrap();
    }

    #[test]
    fn f75_a_typo_is_told_with_line_column_and_the_nearest_key() {
        check("[hook]\nanswr = true\n", "/etc/c.toml:2:1: unknown field `answr` — did you mean `answer`?");
        check("[hook]\nanswer = maybe\n", "/etc/c.toml:2:10");
        check("[[account]]\nname = \"a\"\nroot = \"/srv\"\n[account.web]\ncomit = \"x\"\n", "did you mean `commit`?");
    }

    #[test]
    fn commands_without_an_account_that_could_obey_them_are_told() {
        let site = "[[site]]\nname = \"y\"\nurl = \"https://y.example\"\nclient_id = \"i\"\nsecret_file = \"/s\"\n";
        let account = "[[account]]\nname = \"a\"\nroot = \"/srv\"\n[account.smart]\npolicy = \"bot\"\n";
        check(&format!("{site}executor = \"agent\"\n{account}"), "site y has no [site.account]");
        Config::parse(&format!("{site}{account}"), Path::new("/etc/c.toml")).unwrap();
        check(&account.replace("bot", "email"), "i_accept_forgery");
        let linked = account.replace("bot", "linked");
        Config::parse(&format!("{site}executor = \"agent\"\n{linked}"), Path::new("/etc/c.toml")).unwrap();
        check(&format!("{linked}{}", "[[person]]\nname = \"x\"\n".repeat(2)), "two [[person]] are called x");
        check(
            "[[person]]\nname = \"a\"\nunix = [\"x\"]\n[[person]]\nname = \"b\"\nunix = [\"X\"]\n",
            "X belongs to a and to b",
        );
    }

    #[test]
    fn g5_who_belongs_to_no_group_and_no_table_is_told() {
        let person = "[[person]]\nname = \"Ann\"\n";
        check(&format!("{person}[[group]]\nname = \"devs\"\nmembers = [\"Anne\"]\n"), "called Anne; did you mean Ann?");
        let rule = "[[account]]\nname = \"a\"\nroot = \"/srv\"\n[[account.smart.allow]]\ngroups = [\"dev\"]\n";
        let group = "[[group]]\nname = \"devs\"\nmembers = []\n";
        check(&format!("{group}{rule}"), "account a: smart: allow: there is no group called dev; did you mean devs?");
        check("[[person]]\nname = \"Ann\"\nkeys = [\"x\"]\n", "person: key 1 of Ann is neither");
    }

    #[test]
    fn t16_a_switch_that_would_do_nothing_is_told() {
        let site = "[[site]]\nname = \"y\"\nurl = \"https://y.example\"\nclient_id = \"i\"\nsecret_file = \"/s\"\n";
        let account = "[[account]]\nname = \"a\"\nroot = \"/srv\"\n[[account.repository]]\nmatch = \"*\"\nsmart_commits = false\n";
        check(&format!("{site}executor = \"off\"\n{account}"), "account a: repository: smart_commits is for");
    }

    const TWO_SITES: &str = "[[site]]\nname = \"a\"\nurl = \"https://a.example\"\nclient_id = \"i\"\nsecret_file = \"/s\"\nprojects = [\"CORE\"]\n\
        [[site]]\nname = \"b\"\nurl = \"https://b.example\"\nclient_id = \"i\"\nsecret_file = \"/s\"\nprojects = [\"PAY\"]\n";

    #[test]
    fn a13_a14_the_first_route_that_fits_says_where_a_repository_goes() {
        let text = format!(
            "{TWO_SITES}[[account]]\nname = \"outer\"\nroot = \"/srv\"\nsite = \"a\"\n\
             [[account]]\nname = \"git\"\nroot = \"/srv/git\"\nsite = \"a\"\nkeys = [\"core\", \"PAY\"]\n\
             [[account.route]]\nrepositories = [\"pay/secret*\"]\nsite = \"none\"\n\
             [[account.route]]\nrepositories = [\"pay/*\", \"money\"]\nsite = \"b\"\n"
        );
        let config = Config::parse(&text, Path::new("/etc/c.toml")).unwrap();
        for (git_dir, expected) in [
            ("/srv/git/tool.git", Some(("git", "a"))),
            ("/srv/git/pay/deep/tool.git", Some(("git", "b"))),
            ("/srv/git/money.git", Some(("git", "b"))),
            ("/srv/other.git", Some(("outer", "a"))),
            // Nor does the account around it get what this one keeps to itself.
            ("/srv/git/pay/secret-tool.git", None),
            ("/home/tool.git", None),
        ] {
            let link = config.link_of(Path::new(git_dir));
            let found = link.map(|link| (link.account.name.as_str(), link.site.unwrap().name.as_str()));
            assert_eq!(found, expected, "{git_dir}");
        }
        let because = config.keeps_out(Path::new("/srv/git/pay/secret-tool.git")).unwrap();
        assert_eq!(because, "account git sends nothing of pay/secret-tool: a route of it says \"none\"");
        assert_eq!(config.keeps_out(Path::new("/home/tool.git")), None);
        // What an account links is at each site as much as that site has.
        let keys = |git_dir: &str| {
            let rules = config.rules(config.link_of(Path::new(git_dir))).unwrap();
            let mentions = rules.message(b"core-1 PAY-2 CORE-3 #close OTHER-4 #close");
            mentions.keys.iter().map(|found| found.key.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((keys("/srv/git/tool.git"), keys("/srv/git/money.git")), ("CORE-1 CORE-3".into(), "PAY-2".into()));
    }

    #[test]
    fn a13_a14_a_route_or_a_key_that_could_not_be_meant_is_told() {
        let account = format!("{TWO_SITES}[[account]]\nname = \"a\"\nroot = \"/srv\"\nsite = \"a\"\n");
        let route = |lines: &str| format!("{account}[[account.route]]\n{lines}");
        check(&route("repositories = [\"x\"]\nsite = \"c\"\n"), "account a: route: there is no site called c");
        check(&route("repositories = []\nsite = \"b\"\n"), "account a: route: `repositories` is empty");
        check(&TWO_SITES.replace("\"b\"", "\"none\""), "no site can be called none");
        check(&format!("{account}keys = [\"CORE-1\"]\n"), "account a: keys: \"CORE-1\" is no project key");
        check(
            &format!("{account}keys = [\"CORE\", \"PAY\"]\n"),
            "account a: keys: no `projects` of its sites names PAY",
        );
    }

    #[test]
    fn k15_clones_are_known_by_their_remotes_in_a_persons_own_configuration_only() {
        let text = "[[account]]\nname = \"a\"\nremotes = [\"git.example.org\"]\n";
        let config = Config::parse(text, Path::new("/etc/c.toml")).unwrap();
        assert!(!config.account[0].has_root() && config.account_of(Path::new("/")).is_none());
        let found = Config::parse(text, Path::new(SYSTEM)).unwrap_err().to_string();
        assert!(found.contains("account a: remotes are for a person's own daemon"), "{found}");
        check("[[account]]\nname = \"a\"\n", "account a: it needs a root");
        check(
            &text.replace("git.example.org", "**"),
            "account a: remotes: \"**\" would fit the clones of every server",
        );
    }

    #[test]
    fn k15_who_has_no_configuration_of_their_own_has_the_one_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let [home, first, second] = ["home", "first", "second"].map(|name| folder.path().join(name));
        let environment = Environment {
            config_home: Some(home.clone()),
            config_dirs: vec![first.clone(), second.clone()],
            ..Environment::default()
        };
        let write = |folder: &Path| {
            fs::create_dir_all(folder.join("git-jira-agent")).unwrap();
            fs::write(folder.join(FILE), "").unwrap();
        };
        assert_eq!(Places::unnamed(false, &environment), home.join(FILE), "to be made");
        assert_eq!(Places::config_of_all(&environment), Some(first.join(FILE)), "to be made");
        write(&second);
        assert_eq!(Places::unnamed(false, &environment), second.join(FILE));
        write(&first);
        assert_eq!(Places::unnamed(false, &environment), first.join(FILE), "the first counts most");
        assert!(!Places::new(&first.join(FILE), &Config::default(), &environment).shared, "a daemon for each person");
        assert_eq!(Places::unnamed(true, &environment), Path::new(SYSTEM));
        write(&home);
        assert_eq!(Places::unnamed(false, &environment), home.join(FILE));
    }

    #[test]
    fn names_that_lead_nowhere_are_told() {
        check(
            "[[account]]\nname = \"a\"\nroot = \"/srv\"\nsite = \"x\"\n[[site]]\nname = \"y\"\nurl = \"https://y.example\"\nclient_id = \"i\"\nsecret_file = \"/s\"\n",
            "no site called x",
        );
    }
}
