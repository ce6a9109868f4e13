//! What is known of issues, and what is asked of whoever knows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use super::{Policies, Settings};
use crate::parse::Mentions;

/// What is to be found out about issues before commits are judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    pub keys: BTreeSet<String>,
    pub jql: Vec<String>,
    /// The longest that any section waits.
    pub wait: Duration,
}

/// What was found out.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    about: BTreeMap<String, About>,
    jql: Vec<String>,
    /// Why nothing is known of what is not among them.
    otherwise: String,
}

/// What is known of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub answer: Answer,
    /// Whether each query finds it, in the order of the questions.
    pub matches: Vec<Option<bool>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Found(Issue),
    /// There is no such issue, or nobody we can ask may see it.
    Missing,
    Unknown {
        because: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issue {
    /// As it is called now.
    pub key: String,
    pub summary: String,
    pub status: String,
    pub category: Option<Category>,
    /// The name of its type.
    pub kind: String,
    pub assignee: Option<Assignee>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignee {
    /// The account's id in Cloud, the user's name in Data Center.
    pub account: String,
    pub name: String,
    pub email: Option<String>,
}

/// What a status means to Jira.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    New,
    Indeterminate,
    Done,
}

impl Category {
    pub(super) fn name(self) -> &'static str {
        match self {
            Category::New => "new",
            Category::Indeterminate => "indeterminate",
            Category::Done => "done",
        }
    }
}

impl Answers {
    /// Takes what was found out about keys, each under the name it was asked by.
    pub fn new(questions: &Questions, about: impl IntoIterator<Item = (String, About)>) -> Answers {
        Answers {
            about: about.into_iter().collect(),
            jql: questions.jql.clone(),
            otherwise: "nothing is known of it yet".to_owned(),
        }
    }

    /// Nothing was found out.
    pub fn none(because: impl Into<String>) -> Answers {
        Answers { otherwise: because.into(), ..Answers::default() }
    }

    pub(super) fn of(&self, key: &str) -> Result<Option<&Issue>, &str> {
        match self.about.get(key).map(|about| &about.answer) {
            Some(Answer::Found(issue)) => Ok(Some(issue)),
            Some(Answer::Missing) => Ok(None),
            Some(Answer::Unknown { because }) => Err(because),
            None => Err(&self.otherwise),
        }
    }

    /// Whether a query finds an issue, if that is known.
    pub(super) fn is_found_by(&self, key: &str, jql: &str) -> Option<bool> {
        let place = self.jql.iter().position(|one| one == jql)?;
        *self.about.get(key)?.matches.get(place)?
    }

    /// The issue of a key, where it is known.
    pub fn issue(&self, key: &str) -> Option<&Issue> {
        self.of(key).ok().flatten()
    }
}

impl Policies {
    /// What has to be known about issues before these messages are judged; empty when nothing is asked of issues.
    pub fn questions<'a>(&self, all: impl IntoIterator<Item = &'a Mentions>) -> Questions {
        let mut questions = Questions::default();
        let asking: Vec<&Settings> = self.sections.iter().filter(|one| one.exists || one.needs_the_issue()).collect();
        if asking.is_empty() {
            return questions;
        }
        let found = all.into_iter().flat_map(|mentions| &mentions.keys);
        questions.keys = found.map(|found| found.key.as_str().to_owned()).collect();
        for section in asking {
            questions.wait = questions.wait.max(section.wait.0);
            if let Some(jql) = section.jql.as_ref().filter(|jql| !questions.jql.contains(jql)) {
                questions.jql.push(jql.clone());
            }
        }
        questions
    }
}
