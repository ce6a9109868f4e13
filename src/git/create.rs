//! A repository that nobody knows yet, and a HEAD that leads nowhere.
//!
//! Whatever the machine's configuration prefers, a new repository is plain: no template, SHA-1, refs in files, a branch
//! that HEAD names. What is fetched into it is what the other one's branches and tags reach, and nothing of it is run.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Error, Oid, RefName, Repository, command};

/// A bare repository that is being made.
pub struct New<'a> {
    git_dir: &'a Path,
}

/// Whose commit it is.
pub struct Author<'a> {
    pub name: &'a str,
    pub email: &'a str,
}

impl<'a> New<'a> {
    /// Makes one in an empty directory; `shared` is for `core.sharedRepository`.
    pub fn init(git_dir: &'a Path, branch: &str, shared: Option<&str>) -> Result<New<'a>, Error> {
        let shared = shared.map(|mode| format!("--shared={mode}"));
        let branch = format!("--initial-branch={branch}");
        let mut arguments = vec!["--quiet", "--bare", "--template=", &branch];
        arguments.extend(shared.as_deref());
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        // Said in the environment, because an older git knows no other formats, nor the options for them.
        let formats = [("GIT_DEFAULT_HASH", "sha1"), ("GIT_DEFAULT_REF_FORMAT", "files")];
        command::run_with(git_dir, "init", &arguments, &formats, b"")?;
        Ok(New { git_dir })
    }

    pub fn configure(&self, key: &str, value: &str) -> Result<(), Error> {
        command::configure(self.git_dir, &self.git_dir.join("config"), key, value)
    }

    /// Makes the first commit of a branch, of one file; a branch that is there already stays as it is.
    pub fn begin(&self, branch: &str, file: &str, text: &str, message: &str, author: &Author) -> Result<(), Error> {
        let who = [
            ("GIT_AUTHOR_NAME", author.name),
            ("GIT_AUTHOR_EMAIL", author.email),
            ("GIT_COMMITTER_NAME", author.name),
            ("GIT_COMMITTER_EMAIL", author.email),
        ];
        let run = |command, arguments: &[&str], input: &str| {
            let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
            let output = command::run_with(self.git_dir, command, &arguments, &who, input.as_bytes())?;
            Ok(String::from_utf8_lossy(output.trim_ascii_end()).into_owned())
        };
        let blob: String = run("hash-object", &["-w", "--stdin"], text)?;
        let tree: String = run("mktree", &[], &format!("100644 blob {blob}\t{file}\n"))?;
        let commit: String = run("commit-tree", &[&tree], message)?;
        run("update-ref", &[&format!("refs/heads/{branch}"), &commit, ""], "").map(drop)
    }

    /// Fetches all branches and tags of another repository, shows how far it is, and lets HEAD name what it names there.
    pub fn fetch(&self, source: &OsStr) -> Result<(), Error> {
        let heads = command::reach(self.git_dir, "ls-remote", &["--symref".as_ref(), "--".as_ref(), source], false)?;
        let words = ["--no-write-fetch-head", "--no-recurse-submodules", "--no-tags", "--no-auto-maintenance", "--"];
        let refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        let words = words.iter().map(OsStr::new).chain([source]).chain(refs.iter().map(OsStr::new));
        command::reach(self.git_dir, "fetch", &words.collect::<Vec<_>>(), true)?;
        if let Some(head) = head(&heads) {
            command::set_head(self.git_dir, &head)?;
        }
        Ok(())
    }
}

impl Repository {
    /// Lets a HEAD that leads nowhere name `main` or `master`, if that is there.
    ///
    /// A clone would come out empty otherwise, whatever was pushed.
    pub fn mend_head(&self) -> Result<Option<RefName>, Error> {
        let Some(unborn) = self.unborn() else { return Ok(None) };
        let branches: Vec<(RefName, Oid)> = self.refs()?.into_iter().filter(|(name, _)| name.is_branch()).collect();
        let named = |name: &str| branches.iter().find(|(branch, _)| branch.as_bytes() == name.as_bytes());
        // Another one may be deleted again soon, and Git refuses to delete the branch that HEAD names.
        let chosen = named("refs/heads/main").or_else(|| named("refs/heads/master"));
        let Some((branch, _)) = chosen.filter(|(branch, _)| *branch != unborn) else { return Ok(None) };
        command::set_head(self.git_dir(), branch)?;
        Ok(Some(branch.clone()))
    }

    /// Tells whether the HEAD of a bare repository names a branch that is not there.
    pub fn leads_nowhere(&self) -> bool {
        self.unborn().is_some()
    }

    fn unborn(&self) -> Option<RefName> {
        self.head().filter(|head| !self.is_clone() && self.resolve(head).is_none())
    }
}

/// Reads which branch HEAD names off what `ls-remote --symref` says.
fn head(told: &[u8]) -> Option<RefName> {
    let line = told.split(|&byte| byte == b'\n').find(|line| line.ends_with(b"\tHEAD"))?;
    let name = line.strip_prefix(b"ref: ")?.strip_suffix(b"\tHEAD")?;
    OsStr::from_bytes(name).to_str().filter(|name| name.starts_with("refs/heads/")).map(RefName::new)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;

    #[test]
    fn t21_a_head_that_leads_nowhere_follows_main_or_master_and_no_branch_that_may_go_again() {
        for (branches, expected) in [
            (&["master"][..], Some("refs/heads/master")),
            (&["trunk"], None),
            (&["master", "x"], Some("refs/heads/master")),
            (&["x", "y"], None),
            (&["main", "x"], None),
            (&[], None),
        ] {
            for options in [&[][..], &["--ref-format=reftable"]] {
                let scratch = Scratch::with(options);
                command::set_head(&scratch.git_dir, &RefName::new("refs/heads/main")).unwrap();
                let commit = scratch.commit(&[], 1_700_000_000, "one");
                branches.iter().for_each(|branch| scratch.set(&format!("refs/heads/{branch}"), commit));
                let mended = scratch.open().mend_head().unwrap();
                assert_eq!(mended, expected.map(RefName::new), "{branches:?}");
                assert_eq!(scratch.open().head(), Some(RefName::new(expected.unwrap_or("refs/heads/main"))));
            }
        }
    }

    #[test]
    fn t22_only_a_branch_is_taken_for_head() {
        assert_eq!(head(b"ref: refs/heads/a\tHEAD\n00\tHEAD\n00\trefs/heads/a\n"), Some(RefName::new("refs/heads/a")));
        assert_eq!(head(b"00\tHEAD\n00\trefs/heads/a\n"), None);
        assert_eq!(head(b"ref: ../../x\tHEAD\n"), None);
    }
}
