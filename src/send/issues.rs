//! Issues, many at a time: what they are, and which of them a query finds.
//!
//! Jira answers for keys that it knows and is silent about the others, and it tells an issue that moved under its present
//! key alone. So what stays without an answer is asked for by itself where it may have moved.

use std::collections::{BTreeMap, HashMap, HashSet};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::outcome::{Obstacle, of_reading};
use super::platform::read;
use super::{Kind, Person, Platform};
use crate::issue::{Assignee, Category, Issue};

/// The most keys of a request.
const MOST: usize = 100;
/// The most keys that are asked for one by one.
const SINGLY: usize = 20;
/// The most pages of one answer: Jira may give less than it was asked for.
const PAGES: usize = 10;
/// The most issues of a list.
const LISTED: usize = 50;
const FIELDS: [&str; 5] = ["summary", "status", "issuetype", "project", "assignee"];

impl Platform {
    /// Looks issues up by their keys, in any case, or by keys they once had; `None` is said of one that is not there. A key
    /// of which nothing is said could not be looked up this time.
    pub async fn look_up(&self, keys: &[String], now: i64) -> Result<HashMap<String, Option<Issue>>, Obstacle> {
        let mut answers = HashMap::new();
        for keys in keys.chunks(MOST) {
            let found = self.known_by(keys, now).await?;
            if found.is_empty() {
                // To an account that is not let in, Jira seems to be empty.
                self.introduce(now).await?;
            }
            let mut by_key: BTreeMap<String, Issue> =
                found.into_iter().map(|issue| (issue.key.to_uppercase(), issue)).collect();
            let mut unanswered = Vec::new();
            for key in keys {
                match by_key.get(&key.to_uppercase()) {
                    Some(issue) => drop(answers.insert(key.clone(), Some(issue.clone()))),
                    None => unanswered.push(key),
                }
            }
            for key in keys {
                by_key.remove(&key.to_uppercase());
            }
            // What is left has a new key, and is one of those that were asked for. Nobody says that Data Center's search
            // follows old keys.
            let some_moved = self.kind == Kind::DataCenter || !by_key.is_empty();
            for (at, key) in unanswered.into_iter().enumerate() {
                match some_moved {
                    false => drop(answers.insert(key.clone(), None)),
                    true if at < SINGLY => drop(answers.insert(key.clone(), self.one(key, now).await?)),
                    true => {}
                }
            }
        }
        Ok(answers)
    }

    /// Gives the ids of those issues that a query finds. They have to exist: a query that names others is refused.
    pub async fn found_by(&self, query: &str, issues: &[Issue], now: i64) -> Result<HashSet<String>, Obstacle> {
        let mut found = HashSet::new();
        for issues in issues.chunks(MOST) {
            let keys: Vec<&str> = issues.iter().map(|issue| issue.key.as_str()).collect();
            let query = format!("key in ({}) AND ({query})", keys.join(", "));
            found.extend(self.search(&query, &["status"], MOST, now).await?.into_iter().map(|found| found.id));
        }
        Ok(found)
    }

    /// Lists the account's own issues that are not done, those that changed last before the others.
    pub async fn assigned(&self, now: i64) -> Result<Vec<Issue>, Obstacle> {
        let query = "assignee = currentUser() AND statusCategory != Done ORDER BY updated DESC";
        let found = self.search(query, &FIELDS, LISTED, now).await?;
        Ok(found.into_iter().filter_map(|found| found.shown(now)).collect())
    }

    async fn known_by(&self, keys: &[String], now: i64) -> Result<Vec<Issue>, Obstacle> {
        let found: Vec<Found> = match self.kind {
            Kind::Cloud => {
                let body = json!({ "issueIdsOrKeys": keys, "fields": FIELDS });
                read::<Issues>(&self.post(&["issue", "bulkfetch"], &body, now).await?)?.issues
            }
            Kind::DataCenter => {
                let body = json!({
                    "jql": format!("key in ({})", keys.join(", ")), "fields": FIELDS, "maxResults": MOST, "validateQuery": false,
                });
                read::<Issues>(&self.post(&["search"], &body, now).await?)?.issues
            }
        };
        Ok(found.into_iter().filter_map(|found| found.shown(now)).collect())
    }

    async fn one(&self, key: &str, now: i64) -> Result<Option<Issue>, Obstacle> {
        match self.get(&["issue", key], &[("fields", &FIELDS.join(","))], now).await {
            Ok(answer) => Ok(read::<Found>(&answer)?.shown(now)),
            Err(obstacle) => match self.doubted(obstacle, now).await {
                Obstacle::Refused { .. } => Ok(None),
                obstacle => Err(obstacle),
            },
        }
    }

    async fn search(&self, query: &str, fields: &[&str], most: usize, now: i64) -> Result<Vec<Found>, Obstacle> {
        let path: &[&str] = if self.kind == Kind::Cloud { &["search", "jql"] } else { &["search"] };
        let mut body = json!({ "jql": query, "fields": fields, "maxResults": most });
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let page: Issues = read(&self.post(path, &body, now).await?)?;
            found.extend(page.issues);
            match page.next_page_token.filter(|_| found.len() < most) {
                Some(token) => body["nextPageToken"] = json!(token),
                None => break,
            }
        }
        Ok(found)
    }

    /// Asks a question that is too long for an address.
    async fn post(&self, path: &[&str], body: &Value, now: i64) -> Result<super::Answer, Obstacle> {
        let answer = self.ask(self.request(Method::POST, path, &[], now).await?.json(body)).await?;
        of_reading(&answer, now).map_or(Ok(answer), Err)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issues {
    issues: Vec<Found>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    fields: Fields,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    summary: Option<String>,
    status: Option<Status>,
    issuetype: Option<Named>,
    project: Option<Project>,
    assignee: Option<Person>,
}

#[derive(Deserialize)]
struct Status {
    name: String,
    #[serde(rename = "statusCategory")]
    category: Option<Keyed>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Keyed {
    key: String,
}

#[derive(Deserialize)]
struct Project {
    key: String,
}

impl Found {
    /// The issue, if it was told whole.
    fn shown(self, now: i64) -> Option<Issue> {
        let Fields { summary, status, issuetype, project, assignee } = self.fields;
        let status = status?;
        let assignee = assignee.map(|person| Assignee {
            account: person.id().unwrap_or_default().to_owned(),
            name: person.called().to_owned(),
            email: person.email_address,
        });
        Some(Issue {
            key: self.key,
            id: self.id,
            summary: summary.unwrap_or_default(),
            category: Category::of(status.category.as_ref().map_or("", |category| &category.key)),
            status: status.name,
            kind: issuetype?.name,
            project: project?.key,
            assignee,
            seen: now,
        })
    }
}
