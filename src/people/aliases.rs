//! More addresses of the people in the table: a `.mailmap` as Git knows it, and a list in CSV.
//!
//! Both are the administrator's files, named in the configuration; none is read from a repository, where whoever pushes
//! could write one. A line of a mailmap that leads to nobody in the table is passed over, because such files name
//! everybody who ever took part. The list is made for this table, so there it is a mistake.

use std::fs;
use std::path::Path;

use super::{People, Sort, nearest};

/// An address, and whose it is said to be.
#[derive(Debug, PartialEq, Eq)]
struct Alias {
    line: usize,
    owner: Owner,
    email: String,
    /// The name that has to stand beside the address, where that is asked for.
    beside: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Owner {
    Email(String),
    Name(String),
    /// One of both, and somebody there has to be.
    Either(String),
}

/// A line, and what is wrong with it.
type Mistake = (usize, String);

impl People {
    pub(super) fn take_mailmap(&mut self, path: &Path) -> Result<(), String> {
        self.take(path, mailmap)
    }

    pub(super) fn take_list(&mut self, path: &Path) -> Result<(), String> {
        self.take(path, list)
    }

    fn take(&mut self, path: &Path, read: fn(&str) -> Result<Vec<Alias>, Mistake>) -> Result<(), String> {
        let at = |line: usize, because: &str| format!("{}:{line}: {because}", path.display());
        let bytes = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let aliases = read(text.strip_prefix('\u{feff}').unwrap_or(&text));
        for alias in aliases.map_err(|(line, because)| at(line, &because))? {
            match (self.owner(&alias.owner), &alias.owner) {
                (Some(place), _) => self.join(place, &alias).map_err(|because| at(alias.line, &because))?,
                (None, Owner::Either(wrong)) => return Err(at(alias.line, &self.unknown(wrong))),
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// Says that the table has nobody of this name, and who may be meant.
    pub(super) fn unknown(&self, wrong: &str) -> String {
        match nearest(wrong, self.persons.iter().map(|person| person.name.as_str())) {
            Some(right) => format!("there is no person called {wrong}; did you mean {right}?"),
            None => format!("there is no person called {wrong}"),
        }
    }

    fn owner(&self, owner: &Owner) -> Option<usize> {
        match owner {
            Owner::Email(email) => self.place(Sort::Email, email),
            Owner::Name(name) => self.place(Sort::Name, name),
            Owner::Either(one) => self.place(Sort::Name, one).or_else(|| self.place(Sort::Email, one)),
        }
    }

    fn join(&mut self, place: usize, alias: &Alias) -> Result<(), String> {
        let email = alias.email.to_lowercase();
        let other = match &alias.beside {
            None => self.names.insert((Sort::Email, email), place),
            Some(name) => self.beside.insert((name.to_lowercase(), email), place),
        };
        match other.filter(|other| *other != place) {
            Some(other) => Err(super::of_two(&alias.email, &self.persons[other], &self.persons[place])),
            None => Ok(()),
        }
    }
}

/// Reads a mailmap: `Name <commit>`, `<proper> <commit>`, `Name <proper> <commit>`, `Name <proper> Name <commit>`.
///
/// A proper address says more than a name, which several people may have.
fn mailmap(text: &str) -> Result<Vec<Alias>, Mistake> {
    let mut aliases = Vec::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.starts_with('#') && !text.trim().is_empty()) {
        let no = |because: &str| (line, because.to_owned());
        let (name, first, rest) = ident(text).ok_or(no("a line has an address between < and >"))?;
        let second = if rest.is_empty() || rest.starts_with('#') { None } else { ident(rest) };
        let alias = match second {
            None if !rest.is_empty() && !rest.starts_with('#') => {
                return Err(no("behind the first address stands another one between < and >"));
            }
            None if name.is_empty() => return Err(no("an address alone says nothing: whose is it?")),
            None => Alias { line, owner: Owner::Name(name.to_owned()), email: first.to_owned(), beside: None },
            Some((beside, email, _)) => Alias {
                line,
                owner: Owner::Email(first.to_owned()),
                email: email.to_owned(),
                beside: Some(beside.to_owned()).filter(|beside| !beside.is_empty()),
            },
        };
        aliases.push(alias);
    }
    Ok(aliases)
}

/// Splits `Name <address> rest`.
fn ident(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once('<')?;
    let (email, rest) = rest.split_once('>')?;
    Some((name.trim(), email.trim(), rest.trim())).filter(|(_, email, _)| !email.is_empty())
}

/// Reads a list with the columns `email` and `name`; the name is a person's, or another address of theirs.
fn list(text: &str) -> Result<Vec<Alias>, Mistake> {
    let mut aliases = Vec::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let fields = fields(text).ok_or((line, "a quotation mark is not closed".to_owned()))?;
        match &fields[..] {
            [email, name] if line == 1 && email == "email" && name == "name" => {}
            [email, name] if email.contains('@') && !name.is_empty() => {
                aliases.push(Alias { line, owner: Owner::Either(name.clone()), email: email.clone(), beside: None });
            }
            [email, _] if !email.contains('@') => return Err((line, format!("{email} is no address"))),
            _ => return Err((line, "a line has an address, a comma and a person's name".to_owned())),
        }
    }
    Ok(aliases)
}

/// Splits a line of CSV; nothing when it ends inside quotation marks.
fn fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut signs = line.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '"' if quoted && signs.peek() == Some(&'"') => field.extend(signs.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            sign => field.push(sign),
        }
    }
    fields.push(field);
    (!quoted).then(|| fields.iter().map(|field| field.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{Person, Settings};
    use super::*;
    use crate::git::Ident;

    /// The table with these files, or what is said against them, without the folder's name.
    fn with(mailmap: &str, list: &str) -> Result<People, String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            Some(path)
        };
        let person = |name: &str, email: &str| Person {
            name: name.to_owned(),
            emails: vec![email.to_owned()],
            ..Person::default()
        };
        let people = vec![person("Ann Example", "ann@example.org"), person("Bob", "bob@example.org")];
        let files = Settings { mailmap: write("map", mailmap), aliases: write("a.csv", list), openpgp_keyring: None };
        let inside = format!("{}/", folder.path().display());
        People::new(people).unwrap().with_files(&files).map_err(|because| because.replace(&inside, ""))
    }

    #[track_caller]
    fn check(people: &People, name: &str, email: &str, expected: Option<&str>) {
        let ident = Ident { name: name.into(), email: email.into(), ..Ident::default() };
        assert_eq!(people.by_ident(&ident).map(|person| person.name.as_str()), expected, "{name} <{email}>");
    }

    #[test]
    fn g2_a_mailmap_gives_people_more_addresses() {
        let map = "# old ones\n\nAnn Example <ann@old.example>\n<bob@example.org> <BOB@old.example> # moved\n\
                   Ann E. <ann@example.org> <a@x.example>\nBob <bob@example.org> root <root@server>\n\
                   Stranger <stranger@example.org> <s@x.example>\nNobody <n@x.example>\n";
        let people = with(map, "").unwrap();
        check(&people, "x", "Ann@old.example", Some("Ann Example"));
        check(&people, "x", "bob@old.example", Some("Bob"));
        check(&people, "x", "a@x.example", Some("Ann Example"));
        check(&people, "Root", "root@server", Some("Bob"));
        check(&people, "Ann", "root@server", None);
        check(&people, "x", "s@x.example", None);
        check(&people, "Nobody", "n@x.example", None);
    }

    #[test]
    fn g2_a_list_gives_people_more_addresses() {
        let people =
            with("", "\u{feff}email,name\r\na@x.example, Ann Example\r\n\"b,b@x.example\",bob@example.org\n").unwrap();
        check(&people, "", "a@x.example", Some("Ann Example"));
        check(&people, "", "b,b@x.example", Some("Bob"));
        check(&people, "", "ann@example.org", Some("Ann Example"));
    }

    #[test]
    fn g2_a_mistake_is_told_with_its_file_and_line() {
        for (map, list, because) in [
            ("Ann Example <a@x>\nBob", "", "map:2: a line has an address between < and >"),
            ("<a@x>", "", "map:1: an address alone says nothing: whose is it?"),
            ("<ann@example.org> a@x", "", "map:1: behind the first address stands another one between < and >"),
            ("Bob <ann@example.org>", "", "map:1: ann@example.org belongs to Ann Example and to Bob"),
            (
                "",
                "email,name\na@x,Ann Exampel",
                "a.csv:2: there is no person called Ann Exampel; did you mean Ann Example?",
            ),
            ("", "a@x,zzz", "a.csv:1: there is no person called zzz"),
            ("", "ax,Bob", "a.csv:1: ax is no address"),
            ("", "a@x,Bob,c", "a.csv:1: a line has an address, a comma and a person's name"),
            ("", "a@x,\"Bob", "a.csv:1: a quotation mark is not closed"),
            ("", "ann@example.org,Bob", "a.csv:1: ann@example.org belongs to Ann Example and to Bob"),
        ] {
            assert_eq!(with(map, list).unwrap_err(), because);
        }
        let missing = Settings { mailmap: Some("/no/such".into()), ..Settings::default() };
        let said = People::default().with_files(&missing).unwrap_err();
        assert!(said.starts_with("cannot read /no/such: "), "{said}");
    }
}
