//! An account: a folder of repositories, or the clones of a server, linked to a site.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::remote;
use crate::entity::{Home, Web};
use crate::git::{Hidden, RefName};
use crate::parse::IssueKey;
use crate::smart;
use crate::sync::history::Extent;

/// Section `[[account]]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What it is called in words and messages.
    pub name: String,
    /// The folder below which its repositories lie, or a repository that is an account of its own. Default: none, where
    /// there are `remotes`.
    #[serde(default)]
    pub root: PathBuf,
    /// Servers whose clones belong to it, wherever they lie, such as `git.example.org` or `ssh://git.example.org/team/**`: a
    /// clone of one's own, one of whose remotes fits, and that lies below no account's root. Not in the configuration of the
    /// system's service. Default: none.
    #[serde(default)]
    pub remotes: Vec<String>,
    /// The site it is linked to. Default: the only one there is.
    #[serde(default)]
    pub site: Option<String>,
    /// The project keys that its repositories link; keys of other projects link nothing and give no orders. Default: all.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Where some of its repositories go instead of `site`; the first that fits counts. Default: nowhere else.
    #[serde(default)]
    pub route: Vec<Route>,
    /// Who looks after it, named as members of a group are: whoever may not give an order is told to ask them, and rules may
    /// name them as the group `administrators`. Default: nobody.
    #[serde(default)]
    pub administrators: Vec<String>,
    /// Names of repositories that are linked, where `*` stands for anything. Default: all below the root.
    #[serde(default)]
    pub include: Vec<String>,
    /// Names of repositories that are not linked, although they are included. Default: none.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Branches that are never sent, where `*` stands for anything; nor are their commits unless another branch or a tag
    /// reaches them. Default: none.
    #[serde(default)]
    pub exclude_branches: Vec<String>,
    /// Whether the daemon puts hooks into each repository of the account that has none, today's and tomorrow's.
    /// Default false; `agent account add` writes true.
    #[serde(default)]
    pub auto_link: bool,
    /// Whether the server that its clones push to tells Jira of each push itself: then the clones keep to messages and
    /// policies, and forward nothing. `git config agent.served` says it for one clone. Default false.
    #[serde(default)]
    pub served: bool,
    /// Where people look at its repositories in a browser. Default: nowhere.
    #[serde(default)]
    pub web: Web,
    /// The address that one of its repositories is cloned from, such as `ssh://git@git.example.org/{repository}.git`.
    /// Default: `user@host:/path`.
    #[serde(default)]
    pub clone: Option<String>,
    /// Users, by name or number, who may hand over events although the daemon cannot see that they
    /// may write to the repository. Default: none.
    #[serde(default)]
    pub users: Vec<String>,
    /// Smart Commits in its repositories. Default: commands only link.
    #[serde(default)]
    pub smart: smart::Settings,
    /// How long after a forced update, or the end of a branch, Jira is told to forget the commits that no branch and no
    /// tag reaches any more, such as `1 hour`; `never`: they stay. Default: 10 minutes.
    #[serde(default)]
    pub forget_rewritten: ForgetRewritten,
    /// Whether Jira is told to forget a repository that is gone from the disk. Default: only when a person says
    /// `agent forget`.
    #[serde(default)]
    pub forget_deleted: bool,
    /// What is different in some of its repositories; the first that fits counts. Default: nothing.
    #[serde(default)]
    pub repository: Vec<Different>,
    /// Whether commits that join lines of history are left out, with the commands in their messages. Default false.
    #[serde(default)]
    pub ignore_merges: bool,
    /// How much of the history of a repository is told when it is met for the first time: `all`, `none`,
    /// `90 days` or `1000 commits`. Default all.
    #[serde(default)]
    pub history: Extent,
}

/// Section `[[account.route]]` of the configuration: where some repositories of an account go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Names of repositories, where `*` stands for anything.
    pub repositories: Vec<String>,
    /// The site they are linked to, or `none`: nothing of them is ever sent.
    pub site: String,
}

/// Where a route says that nothing of a repository is sent.
pub const NOWHERE: &str = "none";

/// Section `[[account.repository]]` of the configuration: what is different in some repositories of an account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Different {
    /// Names of repositories, where `*` stands for anything.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Whether the agent carries out commands, as far as the account allows it at all. Default: it does.
    pub smart_commits: Option<bool>,
    /// The projects that they link, in place of the account's.
    pub keys: Option<Vec<String>>,
}

/// After how many milliseconds commits that nothing reaches any more are forgotten; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ForgetRewritten(pub Option<i64>);

impl Default for ForgetRewritten {
    fn default() -> Self {
        ForgetRewritten(Some(600_000))
    }
}

impl TryFrom<String> for ForgetRewritten {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("never") {
            return Ok(ForgetRewritten(None));
        }
        let span: Option<jiff::SignedDuration> =
            text.parse().ok().filter(|span: &jiff::SignedDuration| !span.is_negative());
        let ms = span.and_then(|span| i64::try_from(span.as_millis()).ok()).filter(|ms| *ms <= LONGEST_MS);
        ms.map(|ms| ForgetRewritten(Some(ms)))
            .ok_or_else(|| format!("{text:?} is no time such as \"10 minutes\", of 90 days at most, and not \"never\""))
    }
}

/// Git itself keeps what nothing reaches for no longer.
const LONGEST_MS: i64 = 90 * 86_400_000;

impl Account {
    /// Whether a repository is linked by the account. Both paths are taken as they are: resolve links first.
    pub fn covers(&self, git_dir: &Path) -> bool {
        (self.contains(git_dir) || self.meets(git_dir)) && self.selects(&self.repository_name(git_dir))
    }

    /// Whether a repository lies below the account's root, linked or not.
    pub fn contains(&self, git_dir: &Path) -> bool {
        self.has_root() && git_dir.starts_with(&self.root)
    }

    /// Whether a clone belongs to the account by where it was fetched from, linked or not.
    pub fn meets(&self, git_dir: &Path) -> bool {
        remote::of(&self.remotes, git_dir).is_some()
    }

    /// Whether there is a folder below which its repositories lie.
    pub fn has_root(&self) -> bool {
        !self.root.as_os_str().is_empty()
    }

    /// Where its repositories are, in words for people.
    pub fn place(&self) -> String {
        let root = self.has_root().then(|| self.root.display().to_string());
        let clones = (!self.remotes.is_empty()).then(|| format!("clones of {}", self.remotes.join(", ")));
        root.into_iter().chain(clones).collect::<Vec<_>>().join("; ")
    }

    /// What is hidden of its repositories, if anything is.
    pub fn hidden(&self) -> Option<Hidden> {
        let patterns = self.exclude_branches.clone();
        let fits = move |name: &RefName| patterns.iter().any(|one| smart::fits(one.as_bytes(), name.short()));
        (!self.exclude_branches.is_empty()).then(|| -> Hidden { Arc::new(move |name| name.is_branch() && fits(name)) })
    }

    /// Whether `include` and `exclude` let a repository of this name in.
    pub fn selects(&self, name: &str) -> bool {
        let fits = |patterns: &[String]| patterns.iter().any(|one| smart::fits(one.as_bytes(), name.as_bytes()));
        (self.include.is_empty() || fits(&self.include)) && !fits(&self.exclude)
    }

    /// The name of the site that a repository of this name goes to, where a route or the account names one; or
    /// [`NOWHERE`].
    pub fn site_for(&self, name: &str) -> Option<&str> {
        let fits = |route: &&Route| route.repositories.iter().any(|one| smart::fits(one.as_bytes(), name.as_bytes()));
        let route = self.route.iter().find(fits);
        route.map(|route| &route.site).or(self.site.as_ref()).map(String::as_str)
    }

    /// Whether a route says that nothing of a repository is sent.
    pub fn is_nowhere(&self, git_dir: &Path) -> bool {
        self.site_for(&self.repository_name(git_dir)) == Some(NOWHERE)
    }

    /// What a repository is called: its path below the root, without `.git`; where it lies elsewhere, that on its server.
    ///
    /// Where its host gave it a place that does not say what it is called, it is what the host last called it.
    pub fn repository_name(&self, git_dir: &Path) -> String {
        if let Some(name) = super::name_at_host(git_dir) {
            return name;
        }
        if let Some(url) = remote::of(&self.remotes, git_dir).filter(|_| !self.contains(git_dir))
            && super::is_name(remote::name(&url))
        {
            return remote::name(&url).to_owned();
        }
        let below = git_dir.strip_prefix(&self.root).unwrap_or(git_dir);
        let own = if below.as_os_str().is_empty() { Path::new(git_dir.file_name().unwrap_or_default()) } else { below };
        let text = own.to_string_lossy();
        let text = text.strip_suffix("/.git").unwrap_or(&text);
        let text = if text == ".git" { self.root_name() } else { text.to_owned() };
        text.strip_suffix(".git").unwrap_or(&text).to_owned()
    }

    /// What links of one of its repositories are made of.
    pub fn home(&self, git_dir: &Path, site_url: &str) -> Home {
        Home { name: self.repository_name(git_dir), web: self.web.whole(), site_url: site_url.to_owned() }
    }

    /// Whether the agent may carry out commands in a repository, as far as the account allows it.
    pub fn smart_commits(&self, git_dir: &Path) -> bool {
        self.different(git_dir, |one| one.smart_commits).unwrap_or(true)
    }

    /// The projects that a repository links; all where there are none.
    pub fn keys_of(&self, git_dir: &Path) -> &[String] {
        self.different(git_dir, |one| one.keys.as_deref()).unwrap_or(&self.keys)
    }

    /// What the first section says that fits a repository and says something of it.
    fn different<'a, T>(&'a self, git_dir: &Path, said: impl Fn(&'a Different) -> Option<T>) -> Option<T> {
        let name = self.repository_name(git_dir);
        let fitting = self.repository.iter().filter(|one| smart::fits(one.pattern.as_bytes(), name.as_bytes()));
        fitting.filter_map(said).next()
    }

    /// The address that a repository is cloned from, where the account says so.
    pub fn clone_url(&self, git_dir: &Path) -> Option<String> {
        Some(self.clone.as_deref()?.replace("{repository}", &self.repository_name(git_dir)))
    }

    pub fn check(&self) -> Result<(), String> {
        if !self.has_root() && self.remotes.is_empty() {
            return Err(format!(
                "account {}: it needs a root, the folder of its repositories, or the remotes of its clones",
                self.name
            ));
        }
        let mut wrong = self.remotes.iter().filter_map(|pattern| remote::check(pattern).err());
        if let Some(because) = wrong.next() {
            return Err(format!("account {}: {because}", self.name));
        }
        if self.clone.as_deref().is_some_and(|template| !template.contains("{repository}")) {
            return Err(format!(
                "account {}: clone needs {{repository}} where the repository's name is to stand",
                self.name
            ));
        }
        let all = self.keys.iter().chain(self.repository.iter().flat_map(|one| one.keys.iter().flatten()));
        if let Some(wrong) = all.into_iter().find(|key| format!("{key}-1").parse::<IssueKey>().is_err()) {
            return Err(format!("account {}: keys: {wrong:?} is no project key such as \"ABC\"", self.name));
        }
        if self.route.iter().any(|route| route.repositories.is_empty()) {
            return Err(format!("account {}: route: `repositories` is empty, so it would fit nothing", self.name));
        }
        self.smart.check().map_err(|because| format!("account {}: smart: {because}", self.name))?;
        if self.web.is_half() {
            return Err(format!("account {}: web.host and web.url need each other", self.name));
        }
        match self.web.misspelt() {
            Some((name, placeholder)) => Err(format!(
                "account {}: web.{name} has {{{placeholder}}}, which does not exist; there are {{repository}}, {{commit}}, {{branch}} and {{path}}",
                self.name
            )),
            None => Ok(()),
        }
    }

    fn root_name(&self) -> String {
        let root = if self.root.ends_with(".git") { self.root.parent().unwrap_or(&self.root) } else { &self.root };
        root.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(root: &str, git_dir: &str, name: &str) {
        let account = Account { name: "a".to_owned(), root: root.into(), ..Account::default() };
        assert!(account.covers(Path::new(git_dir)));
        assert_eq!(account.repository_name(Path::new(git_dir)), name);
    }

    #[test]
    fn a_repository_is_called_by_its_path_below_the_root() {
        check("/srv/git", "/srv/git/team/tool.git", "team/tool");
        check("/srv/git", "/srv/git/clone/.git", "clone");
        check("/srv/git/tool.git", "/srv/git/tool.git", "tool");
        check("/home/a/tool", "/home/a/tool/.git", "tool");
        check("/home/a/tool/.git", "/home/a/tool/.git", "tool");
    }

    #[test]
    fn c10_how_long_rewritten_commits_stay_is_a_time_or_never() {
        let of = |text: &str| ForgetRewritten::try_from(text.to_owned()).map(|found| found.0);
        assert_eq!(of("10 minutes"), Ok(ForgetRewritten::default().0));
        assert_eq!((of("2h"), of("0 seconds"), of("never")), (Ok(Some(7_200_000)), Ok(Some(0)), Ok(None)));
        for wrong in ["", "10", "soon", "-1 minute", "100 days", "9999999999999999 hours"] {
            assert!(of(wrong).unwrap_err().contains("10 minutes"), "{wrong}");
        }
    }

    #[test]
    fn t16_the_first_that_fits_says_whether_a_repository_gives_orders() {
        let text = "name = 'a'\nroot = '/srv'\n[[repository]]\nmatch = 'team/tool'\nsmart_commits = true\n\
                    [[repository]]\nmatch = 'team/*'\nsmart_commits = false";
        let account: Account = toml::from_str(text).unwrap();
        for (git_dir, expected) in [("/srv/team/tool.git", true), ("/srv/team/x.git", false), ("/srv/x.git", true)] {
            assert_eq!(account.smart_commits(Path::new(git_dir)), expected, "{git_dir}");
        }
    }

    #[test]
    fn b14_what_is_excluded_is_not_covered_although_it_is_included() {
        let text = "name = 'a'\nroot = '/srv'\ninclude = ['team/*']\nexclude = ['team/old-*', '*/secret']";
        let account: Account = toml::from_str(text).unwrap();
        for (git_dir, expected) in [
            ("/srv/team/tool.git", true),
            ("/srv/team/sub/tool/.git", true),
            ("/srv/tool.git", false),
            ("/srv/team/old-tool.git", false),
            ("/srv/team/secret.git", false),
        ] {
            assert_eq!(account.covers(Path::new(git_dir)), expected, "{git_dir}");
        }
    }

    #[test]
    fn a_neighbour_with_the_same_beginning_is_not_covered() {
        let account = Account { root: "/srv/git".into(), ..Account::default() };
        assert!(!account.covers(Path::new("/srv/git-other/x.git")));
    }
}
