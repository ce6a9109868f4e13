//! What has to be known of issues before commits are judged, and what is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Policies, Settings};
use crate::issue::{About, Answer, Issue};
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

impl Answers {
    /// Takes what was found out.
    pub fn new(questions: &Questions, about: impl IntoIterator<Item = About>) -> Answers {
        Answers {
            about: about.into_iter().map(|about| (about.key.clone(), about)).collect(),
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
            Some(Answer::Missing { .. }) => Ok(None),
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
