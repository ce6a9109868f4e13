//! Hooks for all repositories of gitolite: what lies in `hooks/common` of `LOCAL_CODE`.
//!
//! gitolite puts a link to each of them into every repository, over whatever has that name there, when it makes a
//! repository and whenever its hooks are set up anew. So a hook of ours belongs there where one is already, because a file in a
//! repository would be lost; and where none is, only as long as no repository has one of its own that would be.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Place, below, parent};

/// The folder, where it is there and takes our hooks for this repository.
pub(super) fn common(git_dir: &Path) -> Option<PathBuf> {
    let base = base(git_dir)?;
    let common = local_code(&base)?.join("hooks/common");
    let names = Place::Server.hooks();
    if !common.is_dir() || !names.iter().all(|name| has_none_of_its_own(git_dir, &common, name)) {
        return None;
    }
    let missing: Vec<&str> =
        names.iter().copied().filter(|name| common.join(name).symlink_metadata().is_err()).collect();
    if !missing.is_empty() {
        let all = below::below(&fs::canonicalize(parent(&base).join("repositories")).ok()?).repositories;
        let own = |path: &PathBuf| missing.iter().any(|name| !has_none_of_its_own(path, &common, name));
        if all.iter().any(own) {
            return None;
        }
    }
    Some(common)
}

/// Whether gitolite's link to a common hook would take nothing away from a repository.
fn has_none_of_its_own(git_dir: &Path, common: &Path, name: &str) -> bool {
    let hook = git_dir.join("hooks").join(name);
    hook.symlink_metadata().is_err() || fs::read_link(hook).is_ok_and(|target| target == common.join(name))
}

/// Where gitolite keeps its own: its hook of a repository leads there.
fn base(git_dir: &Path) -> Option<PathBuf> {
    let update = fs::read_link(git_dir.join("hooks/update")).ok()?;
    update.ancestors().nth(3).filter(|base| base.ends_with(".gitolite")).map(Path::to_owned)
}

/// What the configuration of gitolite, which is a program in Perl, says in the one line that people uncomment.
fn local_code(base: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(parent(base).join(".gitolite.rc")).ok()?;
    let value = text.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix("LOCAL_CODE")?.trim_start().strip_prefix("=>")?.trim_start();
        let quote = rest.chars().next().filter(|quote| "\"'".contains(*quote))?;
        rest[1..].split_once(quote).map(|(value, _)| value)
    })?;
    let value = value.replace("$ENV{HOME}", parent(base).to_str()?).replace("$rc{GL_ADMIN_BASE}", base.to_str()?);
    Some(PathBuf::from(value)).filter(|path| path.is_absolute() && !value_is_open(path))
}

/// Whether something is left in it that only Perl knows.
fn value_is_open(path: &Path) -> bool {
    path.to_string_lossy().contains('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b4_the_line_of_the_configuration_is_read_as_far_as_it_is_plain() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join(".gitolite");
        let home = folder.path().to_str().unwrap();
        let check = |line: &str, expected: Option<String>| {
            fs::write(folder.path().join(".gitolite.rc"), format!("%RC = (\n    UMASK => 0077,\n{line}\n);\n"))
                .unwrap();
            assert_eq!(local_code(&base), expected.map(PathBuf::from), "{line}");
        };
        check("    # LOCAL_CODE                =>  \"$ENV{HOME}/local\",", None);
        check("    LOCAL_CODE                =>  \"$ENV{HOME}/local\",", Some(format!("{home}/local")));
        check("LOCAL_CODE => \"$rc{GL_ADMIN_BASE}/local\",", Some(format!("{home}/.gitolite/local")));
        check("LOCAL_CODE=>'/srv/local', # ours", Some("/srv/local".to_owned()));
        check("LOCAL_CODE => \"$other/local\",", None);
        check("LOCAL_CODE => local(),", None);
    }
}
