//! Which program serves a repository, by what it has put there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::drop_in::DropIn;
use super::place::{Git, HooksDir};
use super::{Error, Way, gitolite};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Plain,
    Gitolite,
    Gitea,
    Forgejo,
    Gitlab,
    Gerrit,
    BitbucketDataCenter,
}

impl Kind {
    pub(super) fn of(git_dir: &Path, hooks_dir: &HooksDir) -> Kind {
        let found = [
            (lies_in(git_dir, &["@hashed", CLUSTER]), Kind::Gitlab),
            (gerrit_site(git_dir).is_some(), Kind::Gerrit),
            (git_dir.join("repository-config").is_file(), Kind::BitbucketDataCenter),
            (dispatches(&git_dir.join("hooks")) && hooks_dir.scope.is_none(), Kind::Gitea),
            (dispatches(&hooks_dir.path) && !hooks_dir.path.starts_with(git_dir), Kind::Forgejo),
            (is_gitolite(&git_dir.join("hooks/update")), Kind::Gitolite),
        ];
        found.into_iter().find_map(|(fits, kind)| fits.then_some(kind)).unwrap_or(Kind::Plain)
    }

    /// Where such a host takes hooks of ours from, or what a person has to do because a file of ours is not enough.
    pub(super) fn way(self, git: &Git, git_dir: &Path, hooks_dir: &HooksDir) -> Result<Way, Error> {
        let own = |name: &str| DropIn { dir: git_dir.join(name), shared: false, makes: false };
        match self {
            Kind::Plain => Ok(Way::Files),
            Kind::Gitolite => Ok(gitolite::common(git_dir).map_or(Way::Files, Way::Common)),
            Kind::Gitea => Ok(Way::DropIn(own("hooks"))),
            Kind::Forgejo => Ok(match hooks_dir.path.canonicalize() {
                Ok(dir) => Way::DropIn(DropIn { dir, shared: true, makes: false }),
                Err(_) => Way::Files,
            }),
            Kind::Gitlab if lies_in(git_dir, &[CLUSTER]) => Err(Error::NotByFile(
                "a Gitaly Cluster copies no hooks from one node to the next; put executable files that `exec agent hook pre-receive` \
                 and `exec agent hook post-receive` into pre-receive.d and post-receive.d of gitaly's custom_hooks_dir, on every node",
            )),
            Kind::Gitlab => Ok(Way::DropIn(match custom_hooks_dir(git_dir)? {
                Some(dir) => DropIn { dir, shared: true, makes: true },
                None => DropIn { makes: true, ..own("custom_hooks") },
            })),
            Kind::Gerrit => {
                let site = gerrit_site(git_dir).expect("it was known by it");
                if !site.join("plugins/hooks.jar").exists() {
                    return Err(Error::NotByFile(
                        "Gerrit runs hooks only where its plugin `hooks` is installed, as plugins/hooks.jar in its site; install that first",
                    ));
                }
                let said = git.value_in(&site.join("etc/gerrit.config"), "hooks.path")?;
                Ok(Way::Site(site.join(said.as_deref().unwrap_or(OsStr::new("hooks")))))
            }
            Kind::BitbucketDataCenter => Err(Error::NotByFile(
                "Bitbucket Data Center runs only hook scripts that an administrator registers there (feature.hook.scripts=true); \
                 register as POST script: `#!/bin/sh`, then `exec agent hook post-receive`",
            )),
        }
    }

    /// Whether all pushes are run by one user of the server, so that only the host knows who pushed.
    pub(crate) fn has_one_user(self) -> bool {
        !matches!(self, Kind::Plain)
    }
}

/// Where GitLab keeps what no project is: what forks have in common, snippets, and wikis of groups.
const NO_PROJECTS: [&str; 3] = ["@pools", "@snippets", "@groups"];
/// Where a Gitaly Cluster keeps repositories.
const CLUSTER: &str = "@cluster";
/// How far above a repository the folder of its host is looked for.
const ABOVE: usize = 8;

/// Whether a repository is the wiki or the designs of the one beside it, as hosts with a web interface keep them, or
/// something else that its host made for itself.
pub(crate) fn is_companion(git_dir: &Path) -> bool {
    if lies_in(git_dir, &NO_PROJECTS) {
        return true;
    }
    let Some(name) = git_dir.file_name().and_then(OsStr::to_str) else { return false };
    let of = [".wiki.git", ".design.git"].iter().find_map(|end| name.strip_suffix(end));
    let beside = |stem: &str| git_dir.with_file_name(format!("{stem}.git")).exists();
    of.is_some_and(beside) && (is_hashed(git_dir) || dispatches(&git_dir.join("hooks")) || names_hooks_path(git_dir))
}

/// Whether a folder of hooks runs everything beside the file that its host keeps there.
fn dispatches(hooks: &Path) -> bool {
    ["gitea", "forgejo"].iter().any(|own| hooks.join("post-receive.d").join(own).is_file())
}

/// Whether a host gave a repository a place that does not say what it is called.
pub(super) fn is_hashed(git_dir: &Path) -> bool {
    lies_in(git_dir, &["@hashed"])
}

fn lies_in(git_dir: &Path, folders: &[&str]) -> bool {
    git_dir.components().any(|part| folders.iter().any(|folder| part.as_os_str() == *folder))
}

/// The folder of hooks that gitaly runs for all its repositories, where it is configured.
fn custom_hooks_dir(git_dir: &Path) -> Result<Option<PathBuf>, Error> {
    let files = git_dir.ancestors().skip(1).take(ABOVE).map(|above| above.join("gitaly/config.toml"));
    let Some(path) = files.into_iter().find(|path| path.is_file()) else { return Ok(None) };
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
    let table: toml::Table =
        text.parse().map_err(|source: toml::de::Error| Error::Host { path, because: source.message().to_owned() })?;
    let dir = table.get("hooks").and_then(|hooks| hooks.get("custom_hooks_dir")?.as_str()).map(PathBuf::from);
    Ok(dir.filter(|dir| dir.is_absolute()))
}

fn gerrit_site(git_dir: &Path) -> Option<&Path> {
    git_dir.ancestors().skip(1).take(ABOVE).find(|above| above.join("etc/gerrit.config").exists())
}

fn names_hooks_path(git_dir: &Path) -> bool {
    std::fs::read_to_string(git_dir.join("config")).is_ok_and(|text| text.to_lowercase().contains("hookspath"))
}

fn is_gitolite(update: &Path) -> bool {
    let target: Option<PathBuf> = std::fs::read_link(update).ok();
    target.is_some_and(|target| target.ends_with(".gitolite/hooks/common/update"))
}
