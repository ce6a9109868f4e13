//! Which program serves a repository, by what it has put there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::place::HooksDir;

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
            (is_hashed(git_dir), Kind::Gitlab),
            (git_dir.ancestors().skip(1).take(4).any(|above| above.join("etc/gerrit.config").exists()), Kind::Gerrit),
            (git_dir.join("repository-config").is_file(), Kind::BitbucketDataCenter),
            (dispatches(&git_dir.join("hooks")) && hooks_dir.scope.is_none(), Kind::Gitea),
            (dispatches(&hooks_dir.path) && !hooks_dir.path.starts_with(git_dir), Kind::Forgejo),
            (is_gitolite(&git_dir.join("hooks/update")), Kind::Gitolite),
        ];
        found.into_iter().find_map(|(fits, kind)| fits.then_some(kind)).unwrap_or(Kind::Plain)
    }

    /// What a person has to do where a file in a repository is not enough.
    pub(super) fn needs(self) -> Option<&'static str> {
        match self {
            Kind::Gitlab => Some(
                "GitLab runs no hooks out of its repositories; put executable files that `exec agent hook pre-receive` and \
                 `exec agent hook post-receive` into pre-receive.d and post-receive.d of gitaly's custom_hooks_dir, on every node",
            ),
            Kind::Gerrit => {
                Some("Gerrit runs no hooks of Git, and those of its own that it has instead are not taken yet")
            }
            Kind::BitbucketDataCenter => Some(
                "Bitbucket Data Center runs only hook scripts that an administrator registers there (feature.hook.scripts=true)",
            ),
            Kind::Plain | Kind::Gitolite | Kind::Gitea | Kind::Forgejo => None,
        }
    }

    /// Whether all pushes are run by one user of the server, so that only the host knows who pushed.
    pub(crate) fn has_one_user(self) -> bool {
        !matches!(self, Kind::Plain)
    }
}

/// Whether a repository is the wiki or the designs of the one beside it, as hosts with a web interface keep them.
pub(crate) fn is_companion(git_dir: &Path) -> bool {
    let Some(name) = git_dir.file_name().and_then(OsStr::to_str) else { return false };
    let of = [".wiki.git", ".design.git"].iter().find_map(|end| name.strip_suffix(end));
    let beside = |stem: &str| git_dir.with_file_name(format!("{stem}.git")).exists();
    of.is_some_and(beside) && (is_hashed(git_dir) || dispatches(&git_dir.join("hooks")) || names_hooks_path(git_dir))
}

/// Whether a folder of hooks runs everything beside the file that its host keeps there.
fn dispatches(hooks: &Path) -> bool {
    ["gitea", "forgejo"].iter().any(|own| hooks.join("post-receive.d").join(own).is_file())
}

fn is_hashed(git_dir: &Path) -> bool {
    git_dir.components().any(|part| part.as_os_str() == "@hashed")
}

fn names_hooks_path(git_dir: &Path) -> bool {
    std::fs::read_to_string(git_dir.join("config")).is_ok_and(|text| text.to_lowercase().contains("hookspath"))
}

fn is_gitolite(update: &Path) -> bool {
    let target: Option<PathBuf> = std::fs::read_link(update).ok();
    target.is_some_and(|target| target.ends_with(".gitolite/hooks/common/update"))
}
