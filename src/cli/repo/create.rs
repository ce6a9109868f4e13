//! `agent repo create` and `agent repo import`: a repository that can be pushed to at once.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::{Context, account, address, as_owner, folder, group, make_folder, myself, root};
use crate::cli::show;
use crate::git::{Author, Repository};
use crate::host;
use crate::host::Account;
use crate::host::create::{self, Created, UrlName, Wanted};

#[derive(clap::Args)]
pub struct Create {
    /// What it is to be called; its address has the same name in lower case
    name: String,
    #[command(flatten)]
    how: How,
    /// The branch that clones begin on
    #[arg(long, default_value = "main")]
    branch: String,
    /// Begin with a README; a history that exists cannot be pushed to that branch then
    #[arg(long)]
    readme: bool,
}

#[derive(clap::Args)]
pub struct Import {
    /// The other repository: https://…, ssh://…, git://…, host:path or a folder
    source: OsString,
    /// What it is to be called; default: as there
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

/// What [`Create`] and [`Import`] have in common.
#[derive(clap::Args)]
pub struct How {
    /// The account it is to belong to; default: the only one there is
    #[arg(long)]
    account: Option<String>,
    /// A folder in the account, made if it is not there
    #[arg(long, value_name = "FOLDER")]
    project: Option<String>,
    /// What it is about, for programs that show repositories; default: its name
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Let the members of this group push
    #[arg(long, value_name = "UNIXGROUP")]
    group: Option<String>,
    /// Let everybody on this machine read it, and git-daemon hand it out
    #[arg(long)]
    public: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A repository as a program gets it.
#[derive(Serialize)]
struct Made<'a> {
    account: &'a str,
    name: String,
    id: &'a str,
    path: &'a Path,
    clone: String,
    branch: &'a str,
}

impl<'a> Made<'a> {
    fn new(account: &'a Account, created: &'a Created, branch: &'a str) -> Self {
        Made {
            account: &account.name,
            name: account.repository_name(&created.path),
            id: &created.id,
            path: &created.path,
            clone: address(account, &created.path),
            branch,
        }
    }
}

pub fn run(word: &Create, context: &Context) -> anyhow::Result<ExitCode> {
    let name: UrlName = word.name.parse()?;
    let (shown, login) = myself();
    let email = format!("{login}@{}", rustix::system::uname().nodename().to_string_lossy());
    let author = Author { name: &shown, email: &email };
    let wanted = Wanted {
        name: &name,
        branch: &word.branch,
        description: word.how.description.as_deref().unwrap_or(&word.name),
        readme: word.readme.then_some((&word.name, author)),
        group: word.how.group.as_deref().map(group).transpose()?,
        public: word.how.public,
        source: None,
        agent: &std::env::current_exe()?,
        config: None,
        hidden: None,
    };
    make(&word.how, wanted, context, |account, created| {
        if word.how.json {
            return show::json(&Made::new(account, created, &word.branch));
        }
        said(account, created, &word.how);
        ways(&address(account, &created.path), &name, &word.branch, word.readme);
        Ok(())
    })
}

pub fn import(word: &Import, context: &Context) -> anyhow::Result<ExitCode> {
    let said_source = word.source.to_string_lossy();
    anyhow::ensure!(
        !has_password(&said_source),
        "a password in an address is shown in the list of processes; leave it out, and Git asks for it or its credential helper"
    );
    anyhow::ensure!(!said_source.starts_with('-'), "{said_source} is no address of a repository");
    let folder = std::fs::canonicalize(&word.source).ok().map(std::path::PathBuf::into_os_string);
    let source: &OsStr = folder.as_deref().unwrap_or(&word.source);
    let given = word.name.clone().unwrap_or_else(|| last_part(&source.to_string_lossy()).to_owned());
    let name: UrlName = given.parse()?;
    let wanted = Wanted {
        name: &name,
        branch: "main",
        description: word.how.description.as_deref().unwrap_or(&given),
        readme: None,
        group: word.how.group.as_deref().map(group).transpose()?,
        public: word.how.public,
        source: Some(source),
        agent: &std::env::current_exe()?,
        config: None,
        hidden: None,
    };
    make(&word.how, wanted, context, |account, created| {
        let repository = Repository::open(&created.path)?;
        let head = repository.head();
        let branch = head.as_ref().map(|head| String::from_utf8_lossy(head.short()).into_owned()).unwrap_or_default();
        if word.how.json {
            return show::json(&Made::new(account, created, &branch));
        }
        said(account, created, &word.how);
        let refs = repository.refs()?;
        let branches = refs.iter().filter(|(name, _)| name.is_branch()).count();
        show::line(format_args!(
            "it has {branches} branches and {} tags; clones begin on {branch}",
            refs.len() - branches
        ));
        show::line("no command in its history is carried out; what is pushed to it from now on is linked");
        show::line(format_args!("\n  git clone {}", address(account, &created.path)));
        Ok(())
    })
}

/// Whether an address has a password in it.
fn has_password(source: &str) -> bool {
    let authority = source.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    authority.and_then(|authority| authority.rsplit_once('@')).is_some_and(|(who, _)| who.contains(':'))
}

/// What a repository is called, by its address; a clone is called after its work tree.
fn last_part(source: &str) -> &str {
    let whole = source.trim_end_matches('/');
    let whole = whole.strip_suffix("/.git").unwrap_or(whole);
    whole.rsplit(['/', ':']).next().unwrap_or(whole)
}

/// Makes it, as the owner of the folder, and says what there is to say.
fn make(
    how: &How,
    wanted: Wanted,
    context: &Context,
    say: impl FnOnce(&Account, &Created) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let account = account(&config, how.account.as_deref())?;
    if let Some(status) = as_owner(root(account)?, wanted.group)? {
        return Ok(status);
    }
    let folder = folder(account, how.project.as_deref())?;
    make_folder(&folder)?;
    let chosen = context.chosen.is_some().then_some(&*places.config);
    let created = create::create(&folder, &Wanted { config: chosen, hidden: account.hidden(), ..wanted })?;
    host::mark_policy(&created.path, !config.policies(&created.path).is_empty())?;
    say(account, &created)?;
    Ok(ExitCode::SUCCESS)
}

fn said(account: &Account, created: &Created, how: &How) {
    let name = account.repository_name(&created.path);
    show::line(format_args!("made {name} of account {}, in {}", account.name, created.path.display()));
    let readers = match (&how.group, how.public) {
        (None, false) => "only its owner reads and writes it".to_owned(),
        (None, true) => "everybody on this machine reads it, its owner writes it".to_owned(),
        (Some(group), false) => format!("the members of {group} read and write it"),
        (Some(group), true) => format!("everybody on this machine reads it, the members of {group} write it"),
    };
    show::line(format_args!("{readers}; the hooks are in it, its id is {}", created.id));
}

/// The three ways to go on.
fn ways(url: &str, name: &UrlName, branch: &str, readme: bool) {
    let name = name.as_str();
    show::line("\nto begin in an empty folder:\n");
    show::line(format_args!("  git clone {url}\n  cd {name}"));
    show::line(format_args!("  git add --all && git commit -m \"ABC-1 begin\"\n  git push origin HEAD:{branch}"));
    if readme {
        show::line(
            "\nit has a commit already, so a history that exists cannot be pushed to it; create it without --readme for that",
        );
        return;
    }
    show::line("\nto put in files that Git does not know yet, in their folder:\n");
    show::line(format_args!("  git init --initial-branch={branch}\n  git add --all && git commit -m \"ABC-1 begin\""));
    show::line(format_args!("  git remote add origin {url}\n  git push --set-upstream origin {branch}"));
    show::line(
        "\nto push a history that exists, in its clone (not with --mirror, which takes along what it knows of others):\n",
    );
    show::line(format_args!("  git remote add origin {url}      # or: git remote set-url origin {url}"));
    show::line("  git push --set-upstream origin --all\n  git push origin --tags");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t22_a_repository_is_called_as_its_address_ends_and_no_password_is_taken() {
        for (source, name, password) in [
            ("https://git.example.org/team/Tool.git", "Tool.git", false),
            ("https://ann:secret@git.example.org/tool/", "tool", true),
            ("ssh://git@git.example.org:22/tool", "tool", false),
            ("git@git.example.org:tool.git", "tool.git", false),
            ("/srv/git/tool/.git", "tool", false),
            ("https://git.example.org/a:b@c/tool", "tool", false),
        ] {
            assert_eq!((last_part(source), has_password(source)), (name, password), "{source}");
        }
    }
}
