//! Queries, as far as the sandbox understands them: `key`, `project`, `status`, `statusCategory`, `type` and `assignee`,
//! compared with `=`, `!=`, `in`, `not in`, `is` and `is not`, joined by `AND`, `OR`, `NOT` and brackets. Whatever `ORDER BY`
//! says, what changed last comes first then.

use super::issues::{Issue, project_of};
use super::rest::{Caller, Refusal};
use super::state::State;

/// A query that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Jql {
    All(Vec<Jql>),
    Any(Vec<Jql>),
    Not(Box<Jql>),
    Is { field: Field, values: Vec<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Key,
    Project,
    Status,
    Category,
    Type,
    Assignee,
}

impl Jql {
    pub(super) fn read(jql: &str) -> Result<Jql, Refusal> {
        let wrong = || Refusal::bad(format!("Error in the JQL Jql: '{jql}'"));
        let mut words = words(jql).ok_or_else(wrong)?;
        if let Some(at) = words.windows(2).position(|pair| pair[0].is("order") && pair[1].is("by")) {
            words.truncate(at);
        }
        let mut reader = Reader { words: &words };
        let query = if words.is_empty() { Jql::All(Vec::new()) } else { reader.any().ok_or_else(wrong)? };
        if reader.words.is_empty() { Ok(query) } else { Err(wrong()) }
    }

    /// The keys that it names.
    pub(super) fn keys(&self) -> Vec<&str> {
        match self {
            Jql::All(parts) | Jql::Any(parts) => parts.iter().flat_map(Jql::keys).collect(),
            Jql::Not(part) => part.keys(),
            Jql::Is { field: Field::Key, values } => values.iter().map(String::as_str).collect(),
            Jql::Is { .. } => Vec::new(),
        }
    }

    /// Whether it finds an issue.
    pub(super) fn finds(&self, state: &State, caller: &Caller, key: &str, issue: &Issue) -> bool {
        let finds = |part: &Jql| part.finds(state, caller, key, issue);
        match self {
            Jql::All(parts) => parts.iter().all(finds),
            Jql::Any(parts) => parts.iter().any(finds),
            Jql::Not(part) => !finds(part),
            Jql::Is { field: Field::Key, values } => {
                values.iter().any(|value| state.find(value).as_deref() == Some(key))
            }
            Jql::Is { field: Field::Assignee, values } => {
                let assignee = issue.fields.get("assignee").and_then(|person| person.as_str());
                let is = |value: &String| match value.to_lowercase().as_str() {
                    "empty" => assignee.is_none(),
                    "currentuser()" => assignee.is_some() && assignee == caller.person.as_deref(),
                    _ => assignee.is_some_and(|name| state.is_called(name, value)),
                };
                values.iter().any(is)
            }
            Jql::Is { field, values } => {
                let category = || state.projects[project_of(key)].workflow.category(&issue.status).words();
                let held = match field {
                    Field::Project => vec![project_of(key)],
                    Field::Status => vec![issue.status.as_str()],
                    Field::Category => vec![category().0, category().1],
                    _ => vec![issue.kind.as_str()],
                };
                values.iter().any(|value| held.iter().any(|held| held.eq_ignore_ascii_case(value)))
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Bare(String),
    Quoted(String),
    Sign(&'static str),
}

impl Word {
    fn is(&self, word: &str) -> bool {
        matches!(self, Word::Bare(bare) if bare.eq_ignore_ascii_case(word))
    }
}

fn words(jql: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = jql.trim_start();
    while let Some(first) = rest.chars().next() {
        let signs = ["!=", "=", "(", ")", ","];
        let length = match (first, signs.iter().find(|sign| rest.starts_with(**sign))) {
            ('"' | '\'', _) => {
                let end = rest[1..].find(first)? + 1;
                words.push(Word::Quoted(rest[1..end].to_owned()));
                end + 1
            }
            (_, Some(sign)) => {
                words.push(Word::Sign(sign));
                sign.len()
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || "!=(),\"'".contains(c)).unwrap_or(rest.len());
                let call = rest[end..].starts_with("()");
                let end = if call { end + 2 } else { end };
                words.push(Word::Bare(rest[..end].to_owned()));
                end
            }
        };
        if length == 0 {
            return None;
        }
        rest = rest[length..].trim_start();
    }
    Some(words)
}

struct Reader<'a> {
    words: &'a [Word],
}

impl Reader<'_> {
    fn any(&mut self) -> Option<Jql> {
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Jql::Any(parts) })
    }

    fn all(&mut self) -> Option<Jql> {
        let mut parts = vec![self.part()?];
        while self.word("and") {
            parts.push(self.part()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Jql::All(parts) })
    }

    fn part(&mut self) -> Option<Jql> {
        if self.word("not") {
            return Some(Jql::Not(Box::new(self.part()?)));
        }
        if self.sign("(") {
            let query = self.any()?;
            return self.sign(")").then_some(query);
        }
        let field = match self.value()?.to_lowercase().as_str() {
            "key" | "issuekey" | "issue" | "id" => Field::Key,
            "project" => Field::Project,
            "status" => Field::Status,
            "statuscategory" => Field::Category,
            "type" | "issuetype" => Field::Type,
            "assignee" => Field::Assignee,
            _ => return None,
        };
        let (not, many) = match () {
            () if self.sign("=") => (false, false),
            () if self.sign("!=") => (true, false),
            () if self.word("in") => (false, true),
            () if self.word("is") => (self.word("not"), false),
            () if self.word("not") && self.word("in") => (true, true),
            () => return None,
        };
        let mut values = Vec::new();
        if many {
            self.sign("(").then_some(())?;
            values.push(self.value()?);
            while self.sign(",") {
                values.push(self.value()?);
            }
            self.sign(")").then_some(())?;
        } else {
            values.push(self.value()?);
        }
        let query = Jql::Is { field, values };
        Some(if not { Jql::Not(Box::new(query)) } else { query })
    }

    fn word(&mut self, word: &str) -> bool {
        self.take(|next| next.is(word))
    }

    fn sign(&mut self, sign: &str) -> bool {
        self.take(|next| matches!(next, Word::Sign(found) if *found == sign))
    }

    fn take(&mut self, is_it: impl Fn(&Word) -> bool) -> bool {
        let found = self.words.first().is_some_and(is_it);
        self.words = &self.words[usize::from(found)..];
        found
    }

    fn value(&mut self) -> Option<String> {
        let (first, rest) = self.words.split_first()?;
        let value = match first {
            Word::Bare(text) | Word::Quoted(text) => text.clone(),
            Word::Sign(_) => return None,
        };
        self.words = rest;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(field: Field, values: &[&str]) -> Jql {
        Jql::Is { field, values: values.iter().map(|value| (*value).to_owned()).collect() }
    }

    #[track_caller]
    fn check(jql: &str, expected: Option<Jql>) {
        assert_eq!(Jql::read(jql).ok(), expected, "{jql}");
    }

    #[test]
    fn a_query_is_read_as_far_as_it_is_understood() {
        check("key in (A-1, \"B-2\")", Some(is(Field::Key, &["A-1", "B-2"])));
        check("issuekey = A-1", Some(is(Field::Key, &["A-1"])));
        check(
            "assignee = currentUser() AND statusCategory != Done ORDER BY updated DESC",
            Some(Jql::All(vec![
                is(Field::Assignee, &["currentUser()"]),
                Jql::Not(Box::new(is(Field::Category, &["Done"]))),
            ])),
        );
        check(
            "key = A-1 and (status = 'In Progress' or type not in (Bug))",
            Some(Jql::All(vec![
                is(Field::Key, &["A-1"]),
                Jql::Any(vec![is(Field::Status, &["In Progress"]), Jql::Not(Box::new(is(Field::Type, &["Bug"])))]),
            ])),
        );
        for wrong in ["key in A-1", "colour = red", "status =", "(key = A-1", "key = A-1 key = A-2", "key = 'A-1"] {
            check(wrong, None);
        }
    }
}
