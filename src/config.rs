//! How people tune all of the above: `config.toml` and the environment, read here and nowhere else.
//!
//! The file is the one truth: it is read whole, checked whole, and only then used. An unknown key is
//! an error with its line, its column and the nearest key that exists. Paths in it are relative to
//! the folder it lies in. Nothing in it is secret, so hooks of every user may read it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::host::{self, Account, Below};
use crate::people::{self, Group, People, Person};
use crate::policy::{self, Policies};
use crate::smart::Policy;
use crate::{mail, parse, queue, send};

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
}

/// Section `daemon`: where the process keeps things. The defaults are those of a system service when
/// the file is `/etc/git-jira-agent/config.toml`, else those of the person.
#[derive(Clone, Debug, Default, Deserialize)]
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
    pub state_home: Option<PathBuf>,
    pub runtime_dir: Option<PathBuf>,
    pub credentials_directory: Option<PathBuf>,
    pub git_dir: Option<PathBuf>,
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
        config.check().map_err(|because| Error::Meaning { path: path.to_owned(), because })?;
        Ok(config)
    }

    /// The account that a repository belongs to: of those whose patterns let it in, the one whose root is nearest above it.
    pub fn account_of(&self, git_dir: &Path) -> Option<&Account> {
        let covering = self.account.iter().filter(|account| account.covers(git_dir));
        covering.max_by_key(|account| account.root.components().count())
    }

    /// Whether a repository lies below an account's root and that account's patterns keep it out, and no other lets it in.
    pub fn keeps_out(&self, git_dir: &Path) -> bool {
        self.account_of(git_dir).is_none() && self.account.iter().any(|account| account.contains(git_dir))
    }

    /// The repositories that an account links, as they lie there now; a wiki belongs to the repository beside it.
    pub(crate) fn repositories_of(&self, account: &Account) -> Below {
        let mut below = host::below(&account.root);
        let is_its = |git_dir: &PathBuf| self.account_of(git_dir).is_some_and(|found| found.name == account.name);
        below.repositories.retain(|git_dir| is_its(git_dir) && !host::is_companion(git_dir));
        below
    }

    /// The site that an account is linked to: the one it names, or the only one there is.
    pub fn site_of(&self, account: &Account) -> Option<&send::Settings> {
        match (&account.site, &self.site[..]) {
            (Some(name), sites) => sites.iter().find(|site| site.name == *name),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// The rules by which messages are read for a site.
    pub fn rules(&self, site: Option<&send::Settings>) -> Result<parse::Rules, parse::Error> {
        let projects: BTreeSet<String> = site.into_iter().flat_map(|site| site.projects.iter().cloned()).collect();
        parse::Rules::new(&self.parse, if projects.is_empty() { None } else { Some(projects) })
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
            let root = folder.join(&account.root);
            account.root = fs::canonicalize(&root).unwrap_or(root);
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
        let mut names = BTreeSet::new();
        for site in &self.site {
            site.check().map_err(|error| format!("site {}: {error}", site.name))?;
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
            let site = self.site_of(account);
            let executor = site.map(send::Settings::executor);
            if !account.repository.is_empty() && executor == Some(send::Executor::Off) {
                return Err(format!(
                    "account {}: repository: smart_commits is for commands that are carried out, and the site's executor is \"off\"",
                    account.name
                ));
            }
            if account.smart.policy == Policy::Linked && executor.is_some_and(|who| who != send::Executor::Agent) {
                return Err(format!(
                    "account {}: smart: policy = \"linked\" is for commands that the agent carries out (executor = \"agent\")",
                    account.name
                ));
            }
            let by_site = !matches!(account.smart.policy, Policy::Off | Policy::Linked);
            if by_site && site.is_some_and(send::Settings::lacks_account) {
                return Err(format!(
                    "account {}: smart: the agent carries out commands through an account at the site, and site {} has no [site.account]",
                    account.name,
                    site.map(|site| site.name.as_str()).unwrap_or_default()
                ));
            }
            if !names.insert(&account.name) {
                return Err(format!("two accounts are called {}", account.name));
            }
            if self.site_of(account).is_none() && !self.site.is_empty() {
                return Err(match &account.site {
                    Some(name) => format!("account {}: there is no site called {name}", account.name),
                    None => {
                        format!("account {}: which site? there are several, so `site` has to name one", account.name)
                    }
                });
            }
        }
        Ok(())
    }
}

impl Places {
    /// Finds the configuration file and where everything else is, as far as that needs no file.
    pub fn config_path(chosen: Option<&Path>, environment: &Environment) -> PathBuf {
        if let Some(path) = chosen.or(environment.config.as_deref()) {
            return std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        }
        let system = PathBuf::from(SYSTEM);
        let own = environment.config_home.as_ref().map(|home| home.join("git-jira-agent/config.toml"));
        match own {
            Some(own) if !system.exists() && !rustix::process::geteuid().is_root() => own,
            _ => system,
        }
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
            state_home: path("XDG_STATE_HOME").or_else(|| below_home(".local/state")),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            credentials_directory: path("CREDENTIALS_DIRECTORY"),
            git_dir: path("GIT_DIR"),
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
            home,
        }
    }
}

/// The configuration of the system's service.
pub const SYSTEM: &str = "/etc/git-jira-agent/config.toml";

const MOST_PUSH_OPTIONS: usize = 100;

/// Variables by which Git and its hosts say who pushed (`hooks.md` 1.1 to 1.8). Whether they are
/// believed is decided by who runs the hook.
const CLAIMS: &[&str] = &[
    "GIT_PUSH_CERT",
    "GIT_PUSH_CERT_STATUS",
    "GIT_PUSH_CERT_SIGNER",
    "GIT_PUSH_CERT_KEY",
    "GIT_PUSH_CERT_NONCE_STATUS",
    "AGENT_USER",
    "SSH_USER_AUTH",
    "REMOTE_USER",
    "REMOTE_ADDR",
    "GL_USER",
    "GL_REPO",
    "GL_ID",
    "GL_USERNAME",
    "GL_REPOSITORY",
    "GL_PROJECT_PATH",
    "GL_PROTOCOL",
    "GITEA_PUSHER_NAME",
    "GITEA_PUSHER_ID",
    "GITEA_PUSHER_EMAIL",
    "GITEA_REPO_NAME",
    "GITEA_REPO_USER_NAME",
    "GITEA_REPO_ID",
    "GITEA_REPO_IS_WIKI",
    "BB_USER_NAME",
    "BB_USER_EMAIL",
    "PHABRICATOR_USER",
];

/// Turns an error of the TOML reader into one sentence with a place and, for a key, the nearest right one.
fn syntax(text: &str, path: &Path, error: &toml::de::Error) -> Error {
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

    #[test]
    fn names_that_lead_nowhere_are_told() {
        check(
            "[[account]]\nname = \"a\"\nroot = \"/srv\"\nsite = \"x\"\n[[site]]\nname = \"y\"\nurl = \"https://y.example\"\nclient_id = \"i\"\nsecret_file = \"/s\"\n",
            "no site called x",
        );
    }
}
