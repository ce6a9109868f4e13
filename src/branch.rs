//! What a branch for an issue is called. Settings `[branch]`.

use serde::{Deserialize, Serialize};

use crate::issue::Issue;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `{key}`, `{summary}`, `{type}` and `{user}` are filled in.
    pub template: String,
    /// The most characters of a name.
    pub longest: usize,
    /// The transition that `agent branch` asks for at the beginning of work, if any.
    pub start: Option<String>,
    /// Whether whoever begins is made the assignee.
    pub assign: bool,
    /// Whether branches may be made at all.
    pub enabled: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the template has no {{key}}, so the branch would show in no issue")]
    NoKey,
    #[error("the template names {{{0}}}; {{key}}, {{summary}}, {{type}} and {{user}} are known")]
    Unknown(String),
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { template: "{key}-{summary}".to_owned(), longest: 60, start: None, assign: false, enabled: true }
    }
}

impl Settings {
    pub fn check(&self) -> Result<(), Error> {
        let mut rest = self.template.as_str();
        while let Some((_, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            if !["key", "summary", "type", "user"].contains(&name) {
                return Err(Error::Unknown(name.to_owned()));
            }
            rest = after;
        }
        if self.template.contains("{key}") { Ok(()) } else { Err(Error::NoKey) }
    }

    /// The name for an issue's branch. What is unknown of the issue leaves nothing behind, and what is too long is cut
    /// between words; the key is always whole.
    pub fn name(&self, issue: &Issue, user: &str) -> String {
        let fill = |summary: &str| {
            let name = self
                .template
                .replace("{summary}", summary)
                .replace("{type}", &slug(&issue.kind))
                .replace("{user}", &slug(user))
                .replace("{key}", &issue.key);
            tidy(&name)
        };
        let mut summary = slug(&issue.summary);
        loop {
            let name = fill(&summary);
            if name.chars().count() <= self.longest || summary.is_empty() {
                return name;
            }
            summary = summary.rsplit_once('-').map(|(begin, _)| begin.to_owned()).unwrap_or_default();
        }
    }
}

/// Words in lower case with hyphens between them; letters of any script stay.
fn slug(text: &str) -> String {
    let words: Vec<String> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    words.join("-")
}

/// Takes away what an empty part left behind, so that Git takes the name.
fn tidy(name: &str) -> String {
    let parts = name.split('/').map(|part| part.trim_matches(['-', '_', '.', ' ']));
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, longest: usize, summary: &str, expected: &str) {
        let settings = Settings { template: template.to_owned(), longest, ..Settings::default() };
        let issue = Issue {
            key: "ABC-12".to_owned(),
            summary: summary.to_owned(),
            kind: "Sub task".to_owned(),
            ..Issue::default()
        };
        assert_eq!(settings.name(&issue, "Ann.Example"), expected);
    }

    #[test]
    fn l5_a_branch_is_named_by_the_template() {
        check("{key}-{summary}", 60, "Fix: the \"till\" rings twice!", "ABC-12-fix-the-till-rings-twice");
        check("{type}/{key}-{summary}", 60, "Größe der Kasse", "sub-task/ABC-12-größe-der-kasse");
        check("{user}/{key}_{summary}", 60, "", "ann-example/ABC-12");
        check("{key}-{summary}", 20, "a very long summary of little use", "ABC-12-a-very-long");
        check("{key}-{summary}", 3, "what", "ABC-12");
        check("{key}-{summary}", 60, "../../ .lock -- ~^:?*[\\", "ABC-12-lock");
    }

    #[test]
    fn a_template_without_a_key_is_an_error() {
        let check = |template: &str| Settings { template: template.to_owned(), ..Settings::default() }.check();
        assert_eq!(check("{summary}"), Err(Error::NoKey));
        assert_eq!(check("{key}-{colour}"), Err(Error::Unknown("colour".to_owned())));
        assert_eq!(check("feature/{key}"), Ok(()));
    }
}
