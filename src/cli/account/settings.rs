//! What `agent account add` and `agent account set` can say of an account, and how it gets into the configuration.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use toml_edit::{Array, ArrayOfTables, Item, Table, TableLike, value};

use super::super::link::edit::set;
use crate::host::{self, Account};

#[derive(clap::Args)]
pub struct Settings {
    /// The site to link its repositories to; default: the only one there is
    #[arg(long)]
    pub site: Option<String>,
    /// Link only repositories whose name fits, where * stands for anything
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    pub include: Vec<String>,
    /// Do not link repositories whose name fits
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    pub exclude: Vec<String>,
    /// Never send branches whose name fits, nor their commits unless another branch or a tag reaches them
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    exclude_branches: Vec<String>,
    /// Link only keys of these projects, such as ABC,DEF; `all` links all of the site again
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    keys: Vec<String>,
    /// Lead repositories whose name fits to another site, or to `none`: nothing of them is sent. The first that fits counts;
    /// what is given takes the place of all routes there were
    #[arg(long, value_name = "GLOB=SITE", value_parser = route)]
    route: Vec<(String, String)>,
    /// Take all routes away
    #[arg(long, conflicts_with = "route")]
    no_routes: bool,
    /// Who looks after it: names of people, addresses, logins
    #[arg(long, value_name = "MEMBER", num_args = 1..)]
    administrators: Vec<String>,
    /// Whether repositories that appear later get hooks by themselves; default of a new account: on
    #[arg(long, value_parser = ["on", "off"])]
    pub auto_link: Option<String>,
    /// Whether the server that its clones push to tells Jira itself, so that the clones forward nothing; default: off
    #[arg(long, value_parser = ["on", "off"])]
    served: Option<String>,
    /// Whether commands in commit messages are carried out for whoever pushed; default: off
    #[arg(long, value_parser = ["on", "off"])]
    smart_commits: Option<String>,
}

impl Settings {
    /// Whether nothing is to be set.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.include, &self.exclude, &self.exclude_branches, &self.keys, &self.administrators];
        let words = [&self.site, &self.auto_link, &self.served, &self.smart_commits];
        lists.iter().all(|list| list.is_empty())
            && words.iter().all(|word| word.is_none())
            && self.route.is_empty()
            && !self.no_routes
    }

    /// Writes what was given into the table of an account; `now` is what the configuration says of it, if anything.
    pub fn write(&self, table: &mut Table, root: &Path, now: Option<&Account>) -> anyhow::Result<()> {
        if let Some(site) = &self.site {
            set(table, "site", site);
        }
        let lists = [
            ("include", &self.include),
            ("exclude", &self.exclude),
            ("exclude_branches", &self.exclude_branches),
            ("administrators", &self.administrators),
        ];
        for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            set(table, key, list.iter().map(String::as_str).collect::<Array>());
        }
        match &self.keys[..] {
            [] => {}
            [all] if all == "all" => drop(table.remove("keys")),
            keys => set(table, "keys", keys.iter().map(|key| key.to_uppercase()).collect::<Array>()),
        }
        if self.no_routes {
            table.remove("route");
        }
        if !self.route.is_empty() && now.is_none_or(|account| !self.are_routes_of(account)) {
            table.insert("route", Item::ArrayOfTables(self.routes()));
        }
        if let Some(given) = &self.auto_link {
            set(table, "auto_link", given == "on");
        }
        if let Some(given) = &self.served {
            set(table, "served", given == "on");
        }
        match self.smart_commits.as_deref() {
            Some(given) => smart_commits(table, given == "on", root),
            None => Ok(()),
        }
    }

    /// The routes that were given, those to one site that follow each other in one section.
    fn grouped(&self) -> Vec<(Vec<&str>, &str)> {
        let same = self.route.chunk_by(|one, other| one.1 == other.1);
        same.map(|routes| (routes.iter().map(|route| route.0.as_str()).collect(), routes[0].1.as_str())).collect()
    }

    fn routes(&self) -> ArrayOfTables {
        let section = |(globs, site): (Vec<&str>, &str)| {
            let mut section = Table::new();
            section["repositories"] = value(globs.into_iter().collect::<Array>());
            section["site"] = value(site);
            section
        };
        self.grouped().into_iter().map(section).collect()
    }

    fn are_routes_of(&self, account: &Account) -> bool {
        let there =
            account.route.iter().map(|route| (route.repositories.iter().map(String::as_str).collect(), &*route.site));
        there.eq(self.grouped())
    }
}

fn smart_commits(table: &mut Table, on: bool, root: &Path) -> anyhow::Result<()> {
    let section = table.entry("smart").or_insert_with(|| Item::Table(Table::new()));
    let section: &mut dyn TableLike =
        section.as_table_like_mut().ok_or_else(|| anyhow::anyhow!("`smart` is no section"))?;
    // Somebody who chose who is believed meant it.
    let chosen = section.get("policy").and_then(Item::as_str).is_some_and(|policy| policy != "off");
    match on {
        true if chosen => {}
        true => set(section, "policy", "bot"),
        false => set(section, "policy", "off"),
    }
    if on && !section.contains_key("host_users") {
        let users: Array = host_user(root).into_iter().collect();
        if !users.is_empty() {
            set(section, "host_users", users);
        }
    }
    Ok(())
}

/// The user as whom a host runs all hooks of a folder, where one does: what it says about the pusher is believed.
fn host_user(root: &Path) -> Option<String> {
    let repositories = host::below(root).repositories;
    let hosted =
        repositories.iter().filter_map(|git_dir| host::Look::at(git_dir).kind().ok()).any(host::Kind::has_one_user);
    let owner = std::fs::metadata(root).ok().filter(|_| hosted)?.uid();
    Some(nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(owner)).ok()??.name)
}

fn route(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((glob, site)) if !glob.is_empty() && !site.is_empty() => Ok((glob.to_owned(), site.to_owned())),
        _ => Err("names of repositories, `=` and a site, such as 'pay/*=other' or 'secret/*=none'".to_owned()),
    }
}
