//! An account: a folder of repositories linked to a site.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::entity::{Home, Web};
use crate::smart;

/// Section `[[account]]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What it is called in words and messages.
    pub name: String,
    /// The folder below which its repositories lie, or a repository that is an account of its own.
    pub root: PathBuf,
    /// The site it is linked to. Default: the only one there is.
    #[serde(default)]
    pub site: Option<String>,
    /// Where people look at its repositories in a browser. Default: nowhere.
    #[serde(default)]
    pub web: Web,
    /// Users, by name or number, who may hand over events although the daemon cannot see that they
    /// may write to the repository. Default: none.
    #[serde(default)]
    pub users: Vec<String>,
    /// Smart Commits in its repositories. Default: commands only link.
    #[serde(default)]
    pub smart: smart::Settings,
}

impl Account {
    /// Whether a repository lies in the account. Both paths are taken as they are: resolve links first.
    pub fn covers(&self, git_dir: &Path) -> bool {
        git_dir.starts_with(&self.root)
    }

    /// What a repository is called: its path below the root, without `.git`.
    pub fn repository_name(&self, git_dir: &Path) -> String {
        let below = git_dir.strip_prefix(&self.root).unwrap_or(git_dir);
        let own = if below.as_os_str().is_empty() { Path::new(git_dir.file_name().unwrap_or_default()) } else { below };
        let text = own.to_string_lossy();
        let text = text.strip_suffix("/.git").unwrap_or(&text);
        let text = if text == ".git" { self.root_name() } else { text.to_owned() };
        text.strip_suffix(".git").unwrap_or(&text).to_owned()
    }

    /// What links of one of its repositories are made of.
    pub fn home(&self, git_dir: &Path, site_url: &str) -> Home {
        Home { name: self.repository_name(git_dir), web: self.web.clone(), site_url: site_url.to_owned() }
    }

    pub fn check(&self) -> Result<(), String> {
        self.smart.check().map_err(|because| format!("account {}: smart: {because}", self.name))?;
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
    fn a_neighbour_with_the_same_beginning_is_not_covered() {
        let account = Account { root: "/srv/git".into(), ..Account::default() };
        assert!(!account.covers(Path::new("/srv/git-other/x.git")));
    }
}
