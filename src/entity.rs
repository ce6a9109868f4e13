//! What an event means for Jira: the commits and branches that name issues, as Jira keeps them.
//!
//! An entity is stored in the outbox in a neutral form ([`Told`]); the shape that travels is made
//! by `send` on the way out. Entities without an issue key are never made: only what names an issue
//! leaves this machine.

use minicbor::{Decode, Encode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::event::Seen;
use crate::git::{Commit, Oid, RefName};
use crate::parse::IssueKey;
use crate::queue::{EntityKind, Leave, NewEntity};
use crate::text::{cut, hex};

/// Where people look at a repository in a browser. Section `account.web`.
///
/// Templates with `{repository}` (the path below the account's root, without `.git`), `{commit}`,
/// `{branch}` and `{path}`. Without a template the link leads to the issue itself, because Jira
/// demands one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// The program that shows them: its way of making addresses below `url` stands for each template that is not given.
    /// Default: none.
    pub host: Option<WebHost>,
    /// Where that program is, such as `https://git.example.org`. Default: none.
    pub url: Option<String>,
    /// A repository's page, such as `https://git.example.org/{repository}`. Default: none.
    pub repository: Option<String>,
    /// A commit's page, such as `https://git.example.org/{repository}/commit/?id={commit}`. Default: none.
    pub commit: Option<String>,
    /// A branch's page. Default: none.
    pub branch: Option<String>,
    /// A file's page at a commit. Default: the commit's.
    pub file: Option<String>,
    /// The page that opens a pull request for a branch. Default: none.
    pub create_pull_request: Option<String>,
}

/// A program that shows repositories in a browser. `cgit` and `gitweb` call a repository by its folder, `.git` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WebHost {
    Cgit,
    Gitweb,
    Gitea,
    Forgejo,
    Gitlab,
    /// With its plugin `gitiles`.
    Gerrit,
}

/// A repository as Jira shows it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Face {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub url: String,
}

/// All that is needed to make links for one repository.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Home {
    /// The path below the account's root, without `.git`.
    pub name: String,
    pub web: Web,
    /// The site's own address, for links where nothing better is known.
    pub site_url: String,
}

/// What the outbox keeps of an entity.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Told {
    #[n(0)]
    pub face: Face,
    #[n(1)]
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Body {
    #[n(0)]
    Commit {
        #[n(0)]
        seen: Seen,
        #[n(1)]
        url: String,
        /// One for each listed file.
        #[n(2)]
        file_urls: Vec<String>,
    },
    #[n(1)]
    Branch {
        #[cbor(n(0), with = "minicbor::bytes")]
        name: Vec<u8>,
        #[n(1)]
        last: Commit,
        #[n(2)]
        last_url: String,
        #[n(3)]
        url: String,
        #[n(4)]
        create_pull_request: Option<String>,
    },
    /// It is gone in Git and Jira is to forget it.
    #[n(2)]
    Gone,
}

impl Told {
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("writing to a vector cannot fail")
    }

    pub fn decode(bytes: &[u8]) -> Result<Told, minicbor::decode::Error> {
        minicbor::decode(bytes)
    }
}

impl WebHost {
    /// The addresses below the program's own: of a repository, a commit, a branch, a file, and to open a pull request.
    fn pages(self) -> [Option<&'static str>; 5] {
        let [repository, commit, branch, file] = match self {
            WebHost::Cgit => [
                "/{repository}.git/",
                "/{repository}.git/commit/?id={commit}",
                "/{repository}.git/log/?h={branch}",
                "/{repository}.git/tree/{path}?id={commit}",
            ],
            WebHost::Gitweb => [
                "/?p={repository}.git",
                "/?p={repository}.git;a=commit;h={commit}",
                "/?p={repository}.git;a=shortlog;h=refs/heads/{branch}",
                "/?p={repository}.git;a=blob;f={path};hb={commit}",
            ],
            WebHost::Gitea | WebHost::Forgejo => [
                "/{repository}",
                "/{repository}/commit/{commit}",
                "/{repository}/src/branch/{branch}",
                "/{repository}/src/commit/{commit}/{path}",
            ],
            WebHost::Gitlab => [
                "/{repository}",
                "/{repository}/-/commit/{commit}",
                "/{repository}/-/tree/{branch}",
                "/{repository}/-/blob/{commit}/{path}",
            ],
            WebHost::Gerrit => [
                "/plugins/gitiles/{repository}",
                "/plugins/gitiles/{repository}/+/{commit}",
                "/plugins/gitiles/{repository}/+/refs/heads/{branch}",
                "/plugins/gitiles/{repository}/+/{commit}/{path}",
            ],
        };
        let create_pull_request = match self {
            WebHost::Gitea | WebHost::Forgejo => Some("/{repository}/compare/{branch}"),
            WebHost::Gitlab => Some("/{repository}/-/merge_requests/new?merge_request%5Bsource_branch%5D={branch}"),
            WebHost::Cgit | WebHost::Gitweb | WebHost::Gerrit => None,
        };
        [Some(repository), Some(commit), Some(branch), Some(file), create_pull_request]
    }
}

impl Web {
    /// What is given, and the host's own way for what is not.
    pub fn whole(&self) -> Web {
        let (Some(host), Some(url)) = (self.host, &self.url) else { return self.clone() };
        let url = url.trim_end_matches('/');
        let given = [&self.repository, &self.commit, &self.branch, &self.file, &self.create_pull_request];
        let mut pages = given.into_iter().zip(host.pages());
        let mut next = || {
            let (given, page) = pages.next()?;
            given.clone().or_else(|| Some(format!("{url}{}", page?)))
        };
        Web {
            repository: next(),
            commit: next(),
            branch: next(),
            file: next(),
            create_pull_request: next(),
            ..self.clone()
        }
    }

    /// Whether only one of `host` and `url` is given.
    pub fn is_half(&self) -> bool {
        self.host.is_some() != self.url.is_some()
    }

    /// The first template with a placeholder that does not exist, and that placeholder.
    pub fn misspelt(&self) -> Option<(&'static str, String)> {
        let templates = [
            ("repository", &self.repository),
            ("commit", &self.commit),
            ("branch", &self.branch),
            ("file", &self.file),
            ("create_pull_request", &self.create_pull_request),
        ];
        templates.into_iter().find_map(|(name, template)| Some((name, unknown_placeholder(template.as_deref()?)?)))
    }
}

impl Home {
    pub fn face(&self) -> Face {
        let url = self.web.repository.as_deref().map(|template| self.fill(template, "", "", ""));
        Face { name: self.name.clone(), url: url.unwrap_or_else(|| self.site_url.clone()) }
    }

    fn commit_url(&self, id: &str, key: &IssueKey) -> String {
        let url = self.web.commit.as_deref().map(|template| self.fill(template, id, "", ""));
        url.unwrap_or_else(|| self.issue_url(key))
    }

    fn issue_url(&self, key: &IssueKey) -> String {
        format!("{}/browse/{key}", self.site_url)
    }

    fn fill(&self, template: &str, commit: &str, branch: &str, path: &str) -> String {
        template
            .replace("{repository}", &encoded(&self.name))
            .replace("{commit}", commit)
            .replace("{branch}", &encoded(branch))
            .replace("{path}", &encoded(path))
    }
}

/// A commit as an entity; `None` when it names no issue.
pub fn commit(seen: &Seen, keys: &[IssueKey], home: &Home) -> Option<NewEntity> {
    let first = keys.first()?;
    let id = seen.commit.id.to_string();
    let url = home.commit_url(&id, first);
    let file_url = |path: &[u8]| match home.web.file.as_deref() {
        Some(template) => home.fill(template, &id, "", &String::from_utf8_lossy(path)),
        None => url.clone(),
    };
    let listed = seen.files.as_ref().map_or(&[][..], |files| &files.listed);
    let file_urls = listed.iter().map(|file| file_url(&file.path)).collect();
    let mut seen = seen.clone();
    seen.commit.message = beginning(&seen.commit.message);
    // How it was read is no part of what Jira is told.
    seen.cut = false;
    let body = Body::Commit { seen, url, file_urls };
    Some(entity(EntityKind::Commit, id, keys, Told { face: home.face(), body }))
}

/// A branch with its last commit; `None` when its name names no issue.
pub fn branch(name: &RefName, last: &Commit, keys: &[IssueKey], home: &Home) -> Option<NewEntity> {
    let first = keys.first()?;
    let short = String::from_utf8_lossy(name.short());
    let page = |template: &Option<String>| template.as_deref().map(|template| home.fill(template, "", &short, ""));
    let mut last = last.clone();
    last.message = beginning(&last.message);
    let body = Body::Branch {
        name: name.short().to_vec(),
        last_url: home.commit_url(&last.id.to_string(), first),
        last,
        url: page(&home.web.branch).unwrap_or_else(|| home.issue_url(first)),
        create_pull_request: page(&home.web.create_pull_request),
    };
    Some(entity(EntityKind::Branch, branch_id(name.short()), keys, Told { face: home.face(), body }))
}

/// A commit or a branch as it is to be told once its repository has another name; nothing for what is gone.
pub fn renamed(told: Told, keys: &[IssueKey], home: &Home) -> Option<NewEntity> {
    match told.body {
        Body::Commit { seen, .. } => commit(&seen, keys, home),
        Body::Branch { name, last, .. } => {
            branch(&RefName::new([b"refs/heads/", &name[..]].concat()), &last, keys, home)
        }
        Body::Gone => None,
    }
}

/// The end of a branch, owed where Jira has been told of it or where its name names an issue.
pub fn branch_gone(name: &RefName, keys: &[IssueKey], home: &Home) -> NewEntity {
    let told = Told { face: home.face(), body: Body::Gone };
    NewEntity { only_if_told: keys.is_empty(), ..entity(EntityKind::Branch, branch_id(name.short()), keys, told) }
}

/// The end of a commit that nothing reaches any more.
pub fn commit_gone(id: Oid, home: &Home) -> NewEntity {
    NewEntity { only_if_told: true, ..gone(EntityKind::Commit, id.to_string(), home) }
}

/// The end of a commit or a branch, whether Jira was told of it or not.
pub fn gone(kind: EntityKind, id: String, home: &Home) -> NewEntity {
    entity(kind, id, &[], Told { face: home.face(), body: Body::Gone })
}

/// The end of a repository and of all that Jira was told about it.
pub fn repository_gone(id: &str) -> NewEntity {
    let face = Face { name: id.to_owned(), url: String::new() };
    entity(EntityKind::Repository, id.to_owned(), &[], Told { face, body: Body::Gone })
}

/// The id of a branch in Jira, which allows letters, digits and `~ . - _` and keeps it for ever.
///
/// A name that fits is its own id. Others are `~` and the name's bytes in hexadecimal, or, where
/// that passes Jira's 1024 characters, `~sha256-` and a digest. No two names share an id, because
/// Git allows no `~` in a name.
pub fn branch_id(name: &[u8]) -> String {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    match name {
        name if name.len() <= 1024 && name.iter().all(fits) => String::from_utf8_lossy(name).into_owned(),
        name if name.len() <= 511 => format!("~{}", hex(name)),
        name => format!("~sha256-{}", hex(&Sha256::digest(name))),
    }
}

/// The name of the branch with this id, where the id tells it.
pub fn branch_name(id: &str) -> Option<Vec<u8>> {
    let digits = match id.strip_prefix('~') {
        Some(digits) if !digits.starts_with("sha256-") => digits,
        Some(_) => return None,
        None => return Some(id.as_bytes().to_vec()),
    };
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// As much of a message as Jira keeps, so that the outbox stays small.
pub fn beginning(message: &[u8]) -> Vec<u8> {
    let some = &message[..message.len().min(4 * MESSAGE)];
    cut(&String::from_utf8_lossy(some), MESSAGE).as_bytes().to_vec()
}

fn entity(kind: EntityKind, id: String, keys: &[IssueKey], told: Told) -> NewEntity {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let gone = told.body == Body::Gone;
    let body = told.encode();
    let mut digest = Sha256::new();
    digest.update(keys.join(" "));
    digest.update([0]);
    digest.update(&body);
    NewEntity { kind, id, keys, hash: hex(&digest.finalize()), body, only_if_told: false, gone, leave: Leave::None }
}

/// The longest message that Jira keeps, in UTF-16 units.
const MESSAGE: usize = 1024;

/// What a path, a query or a fragment may not hold as it is; `/` stays, so that paths stay paths.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'=')
    .add(b'\\')
    .add(b'^')
    .add(b'[')
    .add(b']')
    .add(b'|')
    .add(b';')
    .add(b'\'');

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn unknown_placeholder(template: &str) -> Option<String> {
    const KNOWN: [&str; 4] = ["repository", "commit", "branch", "path"];
    let names = template.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or(rest));
    names.filter(|name| !KNOWN.contains(name)).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b19_a_hosts_own_addresses_stand_for_what_is_not_given() {
        for (host, commit, branch) in [
            ("cgit", "/team/tool.git/commit/?id=c0", "/team/tool.git/log/?h=ABC-1/x"),
            ("gitweb", "/?p=team/tool.git;a=commit;h=c0", "/?p=team/tool.git;a=shortlog;h=refs/heads/ABC-1/x"),
            ("gitea", "/team/tool/commit/c0", "/team/tool/src/branch/ABC-1/x"),
            ("forgejo", "/team/tool/commit/c0", "/team/tool/src/branch/ABC-1/x"),
            ("gitlab", "/team/tool/-/commit/c0", "/team/tool/-/tree/ABC-1/x"),
            ("gerrit", "/plugins/gitiles/team/tool/+/c0", "/plugins/gitiles/team/tool/+/refs/heads/ABC-1/x"),
        ] {
            let web: Web =
                toml::from_str(&format!("host = \"{host}\"\nurl = \"https://x.example/\"\nfile = \"own {{path}}\""))
                    .unwrap();
            let home = Home { name: "team/tool".to_owned(), web: web.whole(), site_url: String::new() };
            let filled = |template: &Option<String>| home.fill(template.as_deref().unwrap(), "c0", "ABC-1/x", "p");
            assert_eq!(filled(&home.web.commit), format!("https://x.example{commit}"));
            assert_eq!(filled(&home.web.branch), format!("https://x.example{branch}"));
            assert_eq!(filled(&home.web.file), "own p", "what is given stays");
            assert!(home.web.misspelt().is_none());
        }
    }

    #[test]
    fn a_branch_id_fits_jira_and_is_never_shared() {
        for (name, id) in [
            (&b"main"[..], "main".to_owned()),
            (b"feature/ABC-1", format!("~{}", hex(b"feature/ABC-1"))),
            (b"x$(id)", format!("~{}", hex(b"x$(id)"))),
            (b"\xff", "~ff".to_owned()),
        ] {
            assert_eq!(branch_id(name), id);
            assert_eq!(branch_name(&id).as_deref(), Some(name));
        }
        let long = branch_id(&[b'/'; 600]);
        assert!(long.starts_with("~sha256-") && long.len() <= 1024, "{long}");
        assert_ne!(long, branch_id(&[b'/'; 601]));
    }

    #[test]
    fn a_template_is_filled_with_what_a_url_can_carry() {
        let home = Home { name: "team a/tool".to_owned(), web: Web::default(), site_url: "https://j".to_owned() };
        let filled = home.fill("https://g/{repository}/b?h={branch}&p={path}", "", "x y&z", "a/b#c");
        assert_eq!(filled, "https://g/team%20a/tool/b?h=x%20y%26z&p=a/b%23c");
    }

    #[test]
    fn a_misspelt_placeholder_is_named() {
        let web = Web { commit: Some("https://g/{comit}".to_owned()), ..Web::default() };
        assert_eq!(web.misspelt(), Some(("commit", "comit".to_owned())));
        assert_eq!(Web::default().misspelt(), None);
    }
}
