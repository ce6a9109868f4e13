//! Ours beside a tool that leads Git to a folder of hooks in the work tree, as husky does.
//!
//! That folder is the tool's, and its next start writes it anew; so nothing is put there. Beside it a folder of ours in the
//! git directory has a *passage* for each hook of the tool: a few lines that become that hook. Ours stands before a passage as it
//! does before any other hook. A file of ours that the repository's configuration includes at its end says that Git is to look
//! there; the tool's own `core.hooksPath` stands above it and stays as it is, also when the tool sets it again. The inclusion
//! holds only where the repository is now: were it moved, the tool's hooks would run as if we had never been.

use std::path::{Path, PathBuf};

use super::block::{Block, include_if, quoted};
use super::dir::{Dir, Entry};
use super::manifest::FOLDER;
use super::place::{Git, HooksDir};
use super::tool::KNOWN;
use super::{Error, Place, parent};

/// Our folder of hooks, below the git directory.
pub(super) const DIR: &str = "agent/hooks";
const NAME: &str = "hooks";
/// What the configuration includes.
const CONFIG: &str = "gitconfig";
const MARK: &str = "# git-jira-agent passage\n";
const BLOCK: Block = Block {
    begin: "# git-jira-agent: hooks of ours before those of core.hooksPath; `agent uninstall` takes this out\n",
};

/// The folder of another tool in the work tree, as its `core.hooksPath` names it; nothing where there is none.
pub(super) fn wanted(git: &Git, git_dir: &Path, place: Place) -> Result<Option<PathBuf>, Error> {
    if place != Place::Clone || git_dir.file_name().is_none_or(|name| name != ".git") {
        return Ok(None);
    }
    let Some(said) = git.value_in(&git_dir.join("config"), "core.hooksPath")?.map(PathBuf::from) else {
        return Ok(None);
    };
    let path = parent(git_dir).join(&said);
    let path = path.canonicalize().unwrap_or(path);
    let inside = path.starts_with(parent(git_dir)) && !path.starts_with(git_dir) && path != parent(git_dir);
    Ok(Some(said).filter(|_| inside))
}

/// Whether Git looks in a folder of the work tree, or already where passages to it are.
pub(super) fn serves(git_dir: &Path, hooks: &HooksDir) -> bool {
    hooks.scope.as_deref() == Some("local") && (!hooks.path.starts_with(git_dir) || hooks.path == git_dir.join(DIR))
}

/// Makes the passages that are missing, which nothing leads to yet.
pub(super) fn prepare(common: &Dir, said: &Path) -> Result<(), Error> {
    let hooks = common.make(FOLDER)?.make(NAME)?;
    let kept = common.below(&Path::new(FOLDER).join("before"))?;
    for name in KNOWN {
        let there = parent(common.path()).join(said).join(name).exists();
        let kept = kept.as_ref().map(|kept| kept.entry(name)).transpose()?.flatten();
        if there && kept.is_none() && hooks.entry(name)?.is_none() {
            hooks.put(name, &rendered(said, name), 0o755)?;
        }
    }
    Ok(())
}

/// Leads Git to our folder.
pub(super) fn lead(common: &Dir) -> Result<(), Error> {
    let git_dir = common.path();
    let folder = common.make(FOLDER)?;
    let text = format!("[core]\n\thooksPath = {}\n", quoted(&git_dir.join(DIR).display().to_string()));
    folder.put(CONFIG, text.as_bytes(), 0o644)?;
    let Some(Entry::File { bytes, mode }) = common.entry("config")? else {
        return Err(Error::Obstacle(git_dir.join("config")));
    };
    let config = BLOCK.put(&bytes, &lines(git_dir));
    if config == bytes { Ok(()) } else { common.put("config", &config, mode) }
}

/// Takes the way to our folder out of the configuration, and then the folder.
pub(super) fn take_out(common: &Dir) -> Result<(), Error> {
    if let Some(Entry::File { bytes, mode }) = common.entry("config")? {
        let before = BLOCK.without(&bytes);
        if before != bytes {
            let owner = common.owner_of("config")?;
            common.put("config", &before, mode)?;
            common.give("config", owner)?;
        }
    }
    let Some(folder) = common.below(Path::new(FOLDER))? else { return Ok(()) };
    folder.remove(CONFIG)?;
    if let Some(hooks) = common.below(Path::new(DIR))? {
        for name in KNOWN {
            if matches!(hooks.entry(name)?, Some(Entry::File { bytes, .. }) if is_passage(&bytes)) {
                hooks.remove(name)?;
            }
        }
        folder.remove_empty(Path::new(NAME))?;
    }
    Ok(())
}

fn is_passage(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"#!/bin/sh\n").is_some_and(|rest| rest.starts_with(MARK.as_bytes()))
}

fn rendered(said: &Path, name: &str) -> Vec<u8> {
    // Git starts hooks where the work tree begins, and finds a relative folder from there.
    let path = if said.is_absolute() { said.join(name) } else { Path::new(".").join(said).join(name) };
    let path = super::shim::quote(path.as_os_str());
    [format!("#!/bin/sh\n{MARK}hook=").as_bytes(), &path, b"\n[ -x \"$hook\" ] || exit 0\nexec \"$hook\" \"$@\"\n"]
        .concat()
}

/// The lines at the end of the configuration.
fn lines(git_dir: &Path) -> String {
    let pattern: String = git_dir.display().to_string().chars().fold(String::new(), |mut text, c| {
        if "*?[]\\".contains(c) {
            text.push('\\');
        }
        text.push(c);
        text
    });
    let include = |pattern: &str| include_if(&format!("gitdir:{pattern}"), &format!("{FOLDER}/{CONFIG}"));
    include(&pattern) + &include(&format!("{pattern}/worktrees/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c17_what_is_put_into_a_configuration_comes_out_again_byte_for_byte() {
        for before in ["", "[core]\n\tbare = false\n", "[alias]\n\tx = log ; so it is"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().canonicalize().unwrap();
            std::fs::write(path.join("config"), before).unwrap();
            let common = Dir::open(&path).unwrap();
            prepare(&common, Path::new(".husky/_")).unwrap();
            lead(&common).unwrap();
            let once = std::fs::read(path.join("config")).unwrap();
            assert_eq!(BLOCK.without(&once), before.as_bytes());
            assert!(once.len() > before.len());
            lead(&common).unwrap();
            assert_eq!(std::fs::read(path.join("config")).unwrap(), once, "{before:?}");
            std::fs::write(path.join("config"), [&once[..], b"[agent]\n\trepoid = 1\n"].concat()).unwrap();
            take_out(&common).unwrap();
            let after = std::fs::read_to_string(path.join("config")).unwrap();
            let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
            assert_eq!(after, format!("{before}{end}[agent]\n\trepoid = 1\n"));
            assert!(!path.join(DIR).exists());
        }
    }
}
