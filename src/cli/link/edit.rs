//! Editing the configuration: what is not touched keeps its place, its comments and its form.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, TableLike, Value, value};

use crate::config::Config;

/// The text of a configuration, to be changed.
pub struct Edit(DocumentMut);

impl Edit {
    pub fn of(text: &str) -> anyhow::Result<Edit> {
        Ok(Edit(text.parse()?))
    }

    /// The table of the site with this name, which is made where there is none.
    pub fn site(&mut self, name: &str) -> anyhow::Result<&mut dyn TableLike> {
        let sites = tables(&mut self.0, "site")?;
        let known = sites.iter().position(|table| table.get("name").and_then(Item::as_str) == Some(name));
        let at = known.unwrap_or_else(|| {
            sites.push(Table::new());
            sites.len() - 1
        });
        let site = sites.get_mut(at).expect("found or pushed");
        set(site, "name", name);
        Ok(site)
    }

    /// Takes a site out, with its sections and the comments above it.
    pub fn remove_site(&mut self, name: &str) -> anyhow::Result<()> {
        let sites = tables(&mut self.0, "site")?;
        sites.retain(|table| table.get("name").and_then(Item::as_str) != Some(name));
        Ok(())
    }

    /// Links a folder of repositories to a site, unless that folder is there already.
    pub fn account(&mut self, name: &str, root: &Path, site: Option<&str>) -> anyhow::Result<()> {
        let accounts = tables(&mut self.0, "account")?;
        let text = root.display().to_string();
        if accounts.iter().any(|table| table.get("root").and_then(Item::as_str) == Some(&text)) {
            return Ok(());
        }
        let mut table = Table::new();
        table["name"] = value(name);
        table["root"] = value(text);
        if let Some(site) = site {
            table["site"] = value(site);
        }
        accounts.push(table);
        Ok(())
    }

    /// Adds an account at the end, of a folder or without one.
    pub fn new_account(&mut self, name: &str, root: Option<&Path>) -> anyhow::Result<()> {
        let mut table = Table::new();
        table["name"] = value(name);
        if let Some(root) = root {
            table["root"] = value(root.display().to_string());
        }
        tables(&mut self.0, "account")?.push(table);
        Ok(())
    }

    /// The table of the account with this name.
    pub fn account_called(&mut self, name: &str) -> anyhow::Result<&mut Table> {
        let accounts = tables(&mut self.0, "account")?;
        let found = accounts.iter_mut().find(|table| table.get("name").and_then(Item::as_str) == Some(name));
        found.ok_or_else(|| anyhow::anyhow!("there is no [[account]] called {name}"))
    }

    /// Takes an account out, with its sections and the comments above it.
    pub fn remove_account(&mut self, name: &str) -> anyhow::Result<()> {
        let accounts = tables(&mut self.0, "account")?;
        accounts.retain(|table| table.get("name").and_then(Item::as_str) != Some(name));
        Ok(())
    }

    /// Leaves nothing but the accounts whose names are wanted.
    pub fn keep_accounts(&mut self, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        self.0.retain(|key, _| key == "account");
        let accounts = tables(&mut self.0, "account")?;
        accounts.retain(|table| table.get("name").and_then(Item::as_str).is_some_and(&is_wanted));
        self.0.set_trailing("");
        Ok(())
    }

    /// The accounts of a file that has nothing else.
    pub fn only_accounts(mut self) -> anyhow::Result<Vec<Table>> {
        if let Some((other, _)) = self.0.iter().find(|(key, _)| *key != "account") {
            anyhow::bail!("`{other}` is not for here, where only [[account]] is");
        }
        Ok(tables(&mut self.0, "account")?.iter().cloned().collect())
    }

    /// Adds members to a group, which is made where there is none.
    pub fn join_group(&mut self, name: &str, members: &[String]) -> anyhow::Result<()> {
        let groups = tables(&mut self.0, "group")?;
        if !groups.iter().any(|table| is_called(table, name)) {
            let mut table = Table::new();
            table["name"] = value(name);
            table["members"] = value(toml_edit::Array::new());
            groups.push(table);
        }
        let list = members_of(groups, name)?;
        for member in members {
            if !list.iter().any(|one| one.as_str().is_some_and(|one| one.eq_ignore_ascii_case(member))) {
                list.push(member);
            }
        }
        Ok(())
    }

    /// Takes members out of a group; somebody who is not in it is told.
    pub fn leave_group(&mut self, name: &str, members: &[String]) -> anyhow::Result<()> {
        let list = members_of(tables(&mut self.0, "group")?, name)?;
        for member in members {
            let before = list.len();
            list.retain(|one| one.as_str().is_none_or(|one| !one.eq_ignore_ascii_case(member)));
            anyhow::ensure!(list.len() < before, "{member} is not among the members of group {name}");
        }
        Ok(())
    }

    /// Takes a group out, with the comments above it.
    pub fn remove_group(&mut self, name: &str) -> anyhow::Result<()> {
        let groups = tables(&mut self.0, "group")?;
        let before = groups.len();
        groups.retain(|table| !is_called(table, name));
        anyhow::ensure!(groups.len() < before, "there is no [[group]] called {name}");
        Ok(())
    }

    /// The section that is about one repository of an account alone, which goes before others.
    pub fn different(&mut self, account: &str, repository: &str) -> anyhow::Result<&mut Table> {
        self.first_of(
            account,
            "repository",
            |table| table.get("match").and_then(Item::as_str) == Some(repository),
            || {
                let mut own = Table::new();
                own["match"] = value(repository);
                own
            },
        )
    }

    /// The route of one repository of an account alone, which goes before others.
    pub fn route(&mut self, account: &str, repository: &str) -> anyhow::Result<&mut Table> {
        let only = |table: &Table| is_route_of(table, repository);
        self.first_of(account, "route", only, || {
            let mut own = Table::new();
            own["repositories"] = value(toml_edit::Array::from_iter([repository]));
            own
        })
    }

    /// Takes away what [`Edit::route`] put there.
    pub fn remove_route(&mut self, account: &str, repository: &str) -> anyhow::Result<()> {
        let table = self.account_called(account)?;
        if let Some(routes) = table.get_mut("route").and_then(Item::as_array_of_tables_mut) {
            routes.retain(|route| !is_route_of(route, repository));
            if routes.is_empty() {
                table.remove("route");
            }
        }
        Ok(())
    }

    fn first_of(
        &mut self,
        account: &str,
        kind: &str,
        is: impl Fn(&Table) -> bool,
        new: impl FnOnce() -> Table,
    ) -> anyhow::Result<&mut Table> {
        let table = self.account_called(account)?;
        let sections = table.entry(kind).or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
        let sections = sections.as_array_of_tables_mut().ok_or_else(|| {
            anyhow::anyhow!("`{kind}` of account {account} in the configuration is no [[account.{kind}]]")
        })?;
        let known = sections.iter().position(is);
        let at = match known {
            Some(at) => at,
            None => {
                put_first(sections, new());
                0
            }
        };
        Ok(sections.get_mut(at).expect("found or put"))
    }

    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

/// Sets a value; one that was there before leaves its place and its comment to it.
pub fn set(table: &mut dyn TableLike, key: &str, new: impl Into<Value>) {
    let mut new = new.into();
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        _ => drop(table.insert(key, Item::Value(new))),
    }
}

/// The section of a site about its account, which is made where there is none.
pub fn account_section(site: &mut dyn TableLike) -> anyhow::Result<&mut dyn TableLike> {
    let section = site.entry("account").or_insert_with(|| Item::Table(Table::new()));
    section.as_table_like_mut().ok_or_else(|| anyhow::anyhow!("`account` of a site in the configuration is no section"))
}

/// Changes a configuration file; one that would not be in order afterwards stays as it is.
pub fn change(path: &Path, change: impl FnOnce(&mut Edit) -> anyhow::Result<()>) -> anyhow::Result<Config> {
    let mut edit = Edit::of(&fs::read_to_string(path)?)?;
    change(&mut edit)?;
    let config = Config::parse(&edit.text(), path)?;
    save(path, &edit.text())?;
    Ok(config)
}

/// Adds or takes away one string of an array, which is made where there is none and goes when it is empty.
pub fn set_among(table: &mut dyn TableLike, key: &str, text: &str, wanted: bool) -> anyhow::Result<()> {
    let item = table.entry(key).or_insert_with(|| value(toml_edit::Array::new()));
    let array = item.as_array_mut().ok_or_else(|| anyhow::anyhow!("`{key}` in the configuration is no list"))?;
    array.retain(|one| one.as_str() != Some(text));
    if wanted {
        array.push(text);
    }
    if array.is_empty() {
        table.remove(key);
    }
    Ok(())
}

/// Puts a section before the others of its kind: the first that fits counts.
fn put_first(sections: &mut ArrayOfTables, first: Table) {
    let others: Vec<Table> = sections.iter().cloned().collect();
    sections.clear();
    // Where a section stands in the text is taken from the place of the one that stood there before.
    let places: Vec<_> = others.iter().map(Table::position).collect();
    sections.push(first);
    for (number, mut other) in others.into_iter().enumerate() {
        other.set_position(places[number]);
        sections.push(other);
    }
    if let Some(place) = places.first() {
        sections.get_mut(0).expect("it was pushed").set_position(*place);
    }
}

/// Replaces the configuration in one step; hooks of every user read it.
pub fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mode = fs::metadata(path).map_or(0o644, |meta| std::os::unix::fs::MetadataExt::mode(&meta) & 0o777);
    let temporary = folder.join(format!(".config.toml.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    Ok(())
}

fn is_route_of(table: &Table, repository: &str) -> bool {
    let named = table.get("repositories").and_then(Item::as_array);
    named.is_some_and(|named| named.len() == 1 && named.iter().all(|one| one.as_str() == Some(repository)))
}

fn is_called(table: &Table, name: &str) -> bool {
    table.get("name").and_then(Item::as_str) == Some(name)
}

fn members_of<'a>(groups: &'a mut ArrayOfTables, name: &str) -> anyhow::Result<&'a mut toml_edit::Array> {
    let group = groups.iter_mut().find(|table| is_called(table, name));
    let group = group.ok_or_else(|| anyhow::anyhow!("there is no [[group]] called {name}"))?;
    let members = group.get_mut("members").and_then(Item::as_array_mut);
    members.ok_or_else(|| anyhow::anyhow!("`members` of group {name} in the configuration is no list"))
}

fn tables<'a>(document: &'a mut DocumentMut, name: &str) -> anyhow::Result<&'a mut ArrayOfTables> {
    let item = document.entry(name).or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    item.as_array_of_tables_mut().ok_or_else(|| anyhow::anyhow!("`{name}` in the configuration is no [[{name}]]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# ours\n[daemon]\nlog = \"info\" # plain\n\n# the first site\n[[site]]\nname = \"a\" # its name\n\
        url = \"https://a.example\"\nclient_id = \"old\" # made in May\n\n# people look here\n[[account]]\nname = \"main\"\nroot = \"/srv\"\n";

    fn linked(text: &str) -> String {
        let mut edit = Edit::of(text).unwrap();
        let site = edit.site("a").unwrap();
        set(site, "client_id", "new");
        let account = account_section(site).unwrap();
        set(account, "email", "git@example.org");
        set(account, "secret_file", "/s");
        edit.text()
    }

    #[test]
    fn a8_an_account_is_put_below_its_site_and_everything_else_stays() {
        let after = linked(BEFORE);
        let expected = BEFORE.replace("\"old\"", "\"new\"").replace(
            "\n# people look here",
            "\n[site.account]\nemail = \"git@example.org\"\nsecret_file = \"/s\"\n\n# people look here",
        );
        assert_eq!(after, expected);
        assert_eq!(linked(&after), after, "the same again changes nothing");
    }

    #[test]
    fn a8_a_section_that_was_written_in_one_line_stays_in_it() {
        let text = "[[site]]\nname = \"a\"\nclient_id = \"x\"\naccount = { email = \"old@example.org\" } # who\n";
        let account = "account = { email = \"git@example.org\" , secret_file = \"/s\" } # who";
        let after = linked(text);
        assert_eq!(
            after.replace(' ', ""),
            text.replace("\"x\"", "\"new\"")
                .replace("account = { email = \"old@example.org\" } # who", account)
                .replace(' ', "")
        );
    }

    #[test]
    fn t16_one_repository_is_set_before_those_that_a_pattern_names_and_comments_stay() {
        let set = |text: &str, name: &str, on: bool| {
            let mut edit = Edit::of(text).unwrap();
            set(edit.different("main", name).unwrap(), "smart_commits", on);
            edit.text()
        };
        let own = "\n[[account.repository]]\nmatch = \"team/tool\"\nsmart_commits = true\n";
        assert_eq!(set(BEFORE, "team/tool", true), format!("{BEFORE}{own}"));
        let others = "\n# the team\n[[account.repository]]\nmatch = \"team/*\" # all\nsmart_commits = false\n";
        let rest = "\n[[person]]\nname = \"Ann\"\n";
        let after = set(&format!("{BEFORE}{others}{rest}"), "team/tool", true);
        assert_eq!(after, format!("{BEFORE}{own}{others}{rest}"));
        assert_eq!(set(&after, "team/tool", false), after.replace("= true", "= false"));
        assert_eq!(set(&after, "team/*", true), after.replace("= false", "= true"));
    }

    #[test]
    fn a_folder_is_linked_once() {
        let mut edit = Edit::of(BEFORE).unwrap();
        edit.account("other", Path::new("/srv"), Some("a")).unwrap();
        assert_eq!(edit.text(), BEFORE);
        edit.account("other", Path::new("/other"), Some("a")).unwrap();
        assert_eq!(edit.text(), format!("{BEFORE}\n[[account]]\nname = \"other\"\nroot = \"/other\"\nsite = \"a\"\n"));
    }
}
