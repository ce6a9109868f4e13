//! What Jira lets in: the fields of each kind of entity and the limits of a whole request, as tables.
//!
//! Two kinds of complaint exist, and they travel differently. What Jira cannot parse, or what breaks a limit of the
//! request as a whole, refuses everything with a 400. What is wrong with one entity alone is told for that entity
//! inside a 202, and the others go through.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::state::Kind;

/// The longest commit message kept; the rest is cut off without a word.
pub(super) const MESSAGE: usize = 1024;
const REPOSITORIES: usize = 100;
const ENTITIES: usize = 1000;
const ENTITIES_OF_A_KIND: usize = 400;
const REFERENCES: usize = 500;
const PROPERTIES: usize = 5;
const BOTH_FORMS: &str = "issueKeysOrAssociationsOrNone.invalid: issueKeys and associations are mutually exclusive";

/// A reason to refuse the whole request.
pub(super) type Refusal = String;

/// Checks the limits that concern a request as a whole, and gives the repositories it is about.
pub(super) fn repositories(body: &Value) -> Result<&[Value], Refusal> {
    let body = body.as_object().ok_or("the body is not a JSON object")?;
    properties(body.get("properties").unwrap_or(&Value::Null))?;
    match body.get("preventTransitions") {
        None | Some(Value::Null | Value::Bool(_)) => {}
        Some(_) => return Err("preventTransitions is not a boolean".into()),
    }
    match body.get("operationType").map(Value::as_str) {
        None | Some(Some("NORMAL" | "BACKFILL")) => {}
        Some(_) => return Err("operationType must be one of NORMAL, BACKFILL".into()),
    }
    let repositories = list(body, "repositories")?;
    if repositories.is_empty() {
        return Err("no repositories were provided".into());
    }
    if repositories.len() > REPOSITORIES {
        return Err(format!("too many repositories: {}, the maximum is {REPOSITORIES}", repositories.len()));
    }
    each_once(repositories, "repository")?;
    entities(repositories)?;
    Ok(repositories)
}

/// Lists what is wrong with a repository itself, its entities left aside.
pub(super) fn repository(repository: &Value) -> Result<Vec<String>, Refusal> {
    complaints(REPOSITORY, repository, "repository")
}

/// Lists what is wrong with one commit, branch or pull request.
pub(super) fn entity(kind: Kind, entity: &Value) -> Result<Vec<String>, Refusal> {
    let (fields, name) = match kind {
        Kind::Commit => (COMMIT, "commit"),
        Kind::Branch => (BRANCH, "branch"),
        Kind::PullRequest => (PULL_REQUEST, "pullRequest"),
    };
    let mut complaints = complaints(fields, entity, name)?;
    let given = |field: &str| entity.get(field).is_some_and(|value| !value.is_null());
    if given("issueKeys") && given("associations") {
        return Err(format!("devInformation.repository.{name}.{BOTH_FORMS}"));
    }
    if references(entity).len() > REFERENCES {
        complaints.push(format!("{name} has more than {REFERENCES} issue references"));
    }
    Ok(complaints)
}

/// Gives the issue keys and ids an entity names, in either of the two forms.
pub(super) fn references(entity: &Value) -> Vec<&str> {
    let associated = elements(&entity["associations"]).flat_map(|association| elements(&association["values"]));
    elements(&entity["issueKeys"]).chain(associated).filter_map(Value::as_str).collect()
}

/// Gives the elements of a list, and of anything else none.
pub(super) fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Whether a text has the shape of an issue key, as the development API sees it: at least two characters before the
/// hyphen, lower case allowed.
pub(super) fn is_key(text: &str) -> bool {
    let Some((project, number)) = text.split_once('-') else {
        return false;
    };
    let mut letters = project.chars();
    letters.next().is_some_and(char::is_alphabetic)
        && letters.clone().all(|c| c.is_alphanumeric() || c == '_')
        && (1..=255).contains(&letters.count())
        && (1..=255).contains(&number.chars().count())
        && number.chars().all(char::is_numeric)
}

/// The length of a text as Jira counts it: in UTF-16 units.
pub(super) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

// --- the tables ---

struct Field {
    name: &'static str,
    rule: Rule,
    required: bool,
}

enum Rule {
    Id,
    Text(usize),
    /// Longer text is cut by Jira rather than refused.
    Message,
    Url,
    Time,
    Sequence,
    Count,
    Key,
    Reference,
    OneOf(&'static [&'static str]),
    Object(&'static [Field]),
    List {
        least: usize,
        most: usize,
        of: &'static Rule,
    },
}

const fn must(name: &'static str, rule: Rule) -> Field {
    Field { name, rule, required: true }
}

const fn may(name: &'static str, rule: Rule) -> Field {
    Field { name, rule, required: false }
}

const KEYS: Rule = Rule::List { least: 1, most: REFERENCES, of: &Rule::Key };
const ASSOCIATIONS: Rule = Rule::List { least: 0, most: usize::MAX, of: &Rule::Object(ASSOCIATION) };

const ASSOCIATION: &[Field] = &[
    must("associationType", Rule::OneOf(&["issueIdOrKeys", "issueKeys"])),
    must("values", Rule::List { least: 1, most: REFERENCES, of: &Rule::Reference }),
];

const REPOSITORY: &[Field] = &[
    must("id", Rule::Id),
    must("name", Rule::Text(255)),
    must("url", Rule::Url),
    must("updateSequenceId", Rule::Sequence),
    may("description", Rule::Text(1024)),
    may("forkOf", Rule::Text(1024)),
    may("avatar", Rule::Url),
    may("avatarDescription", Rule::Text(1024)),
];

const AUTHOR: &[Field] = &[
    may("name", Rule::Text(255)),
    may("email", Rule::Text(255)),
    may("username", Rule::Text(255)),
    may("url", Rule::Url),
    may("avatar", Rule::Url),
];

const FILE: &[Field] = &[
    must("path", Rule::Text(1024)),
    must("url", Rule::Url),
    must("changeType", Rule::OneOf(&["ADDED", "COPIED", "DELETED", "MODIFIED", "MOVED", "UNKNOWN"])),
    must("linesAdded", Rule::Count),
    must("linesRemoved", Rule::Count),
];

const COMMIT: &[Field] = &[
    must("id", Rule::Id),
    must("updateSequenceId", Rule::Sequence),
    must("message", Rule::Message),
    must("author", Rule::Object(AUTHOR)),
    must("authorTimestamp", Rule::Time),
    must("displayId", Rule::Text(255)),
    must("fileCount", Rule::Count),
    must("url", Rule::Url),
    may("files", Rule::List { least: 0, most: 10, of: &Rule::Object(FILE) }),
    may("flags", Rule::List { least: 0, most: 1, of: &Rule::OneOf(&["MERGE_COMMIT"]) }),
    may("hash", Rule::Text(255)),
    may("issueKeys", KEYS),
    may("associations", ASSOCIATIONS),
];

// The commit inside a branch knows no associations, and is the one place where keys are required.
const LAST_COMMIT: &[Field] = &[
    must("id", Rule::Id),
    must("updateSequenceId", Rule::Sequence),
    must("message", Rule::Message),
    must("author", Rule::Object(AUTHOR)),
    must("authorTimestamp", Rule::Time),
    must("displayId", Rule::Text(255)),
    must("fileCount", Rule::Count),
    must("url", Rule::Url),
    must("issueKeys", KEYS),
    may("files", Rule::List { least: 0, most: 10, of: &Rule::Object(FILE) }),
    may("flags", Rule::List { least: 0, most: 1, of: &Rule::OneOf(&["MERGE_COMMIT"]) }),
    may("hash", Rule::Text(255)),
];

const BRANCH: &[Field] = &[
    must("id", Rule::Id),
    must("updateSequenceId", Rule::Sequence),
    must("name", Rule::Text(512)),
    must("lastCommit", Rule::Object(LAST_COMMIT)),
    must("url", Rule::Url),
    may("createPullRequestUrl", Rule::Url),
    may("issueKeys", KEYS),
    may("associations", ASSOCIATIONS),
];

const REVIEWER: &[Field] = &[
    may("name", Rule::Text(255)),
    may("email", Rule::Text(254)),
    may("accountId", Rule::Text(128)),
    may("approvalStatus", Rule::OneOf(&["APPROVED", "UNAPPROVED"])),
    may("url", Rule::Url),
    may("avatar", Rule::Url),
];

const PULL_REQUEST: &[Field] = &[
    must("id", Rule::Id),
    must("updateSequenceId", Rule::Sequence),
    must("status", Rule::OneOf(&["OPEN", "MERGED", "DECLINED", "UNKNOWN"])),
    must("title", Rule::Text(1024)),
    must("author", Rule::Object(AUTHOR)),
    must("commentCount", Rule::Count),
    must("displayId", Rule::Text(255)),
    must("lastUpdate", Rule::Time),
    must("sourceBranch", Rule::Text(255)),
    must("url", Rule::Url),
    may("sourceBranchUrl", Rule::Url),
    may("destinationBranch", Rule::Text(255)),
    may("destinationBranchUrl", Rule::Url),
    may("reviewers", Rule::List { least: 0, most: usize::MAX, of: &Rule::Object(REVIEWER) }),
    may("issueKeys", KEYS),
    may("associations", ASSOCIATIONS),
];

// --- how a value is held against them ---

fn complaints(fields: &[Field], value: &Value, at: &str) -> Result<Vec<String>, Refusal> {
    let mut complaints = Vec::new();
    object(fields, value, at, &mut complaints)?;
    Ok(complaints)
}

fn object(fields: &[Field], value: &Value, at: &str, complaints: &mut Vec<String>) -> Result<(), Refusal> {
    let value = value.as_object().ok_or_else(|| format!("{at} is not an object"))?;
    for field in fields {
        let at = format!("{at}.{}", field.name);
        match value.get(field.name) {
            None | Some(Value::Null) if field.required => complaints.push(format!("{at} must not be null")),
            None | Some(Value::Null) => {}
            Some(value) => field.rule.check(value, &at, complaints)?,
        }
    }
    Ok(())
}

impl Rule {
    fn check(&self, value: &Value, at: &str, complaints: &mut Vec<String>) -> Result<(), Refusal> {
        match self {
            Rule::Sequence => {
                value.as_i64().ok_or_else(|| format!("{at} is not a 64-bit integer"))?;
            }
            Rule::Count => match value.as_i64().ok_or_else(|| format!("{at} is not an integer"))? {
                0..=0x7fff_ffff => {}
                _ => complaints.push(format!("{at} must be between 0 and {}", i32::MAX)),
            },
            Rule::Object(fields) => object(fields, value, at, complaints)?,
            Rule::List { least, most, of } => {
                let values = value.as_array().ok_or_else(|| format!("{at} is not a list"))?;
                if !(*least..=*most).contains(&values.len()) {
                    complaints.push(format!("{at} has {} elements, allowed are {least} to {most}", values.len()));
                }
                for value in values {
                    of.check(value, at, complaints)?;
                }
            }
            text => {
                let value = value.as_str().ok_or_else(|| format!("{at} is not a text"))?;
                complaints.extend(text.complaint(value).map(|complaint| format!("{at} {complaint}")));
            }
        }
        Ok(())
    }

    /// Says what is wrong with a text.
    fn complaint(&self, text: &str) -> Option<String> {
        let too_long = |most: usize| (length(text) > most).then(|| format!("is longer than {most} characters"));
        let unless = |fine: bool, complaint: &str| (!fine).then(|| complaint.to_owned());
        match self {
            Rule::Id => too_long(1024).or(unless(is_id(text), "may hold only alphanumerics and ~ . - _")),
            Rule::Text(most) => too_long(*most),
            Rule::Url => too_long(2000).or(unless(is_url(text), "is not a valid URL")),
            Rule::Time => unless(text.parse::<jiff::Timestamp>().is_ok(), "is not an ISO 8601 time"),
            Rule::Key => unless(is_key(text), "is not a valid issue key"),
            Rule::Reference => {
                let is_number = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
                unless(is_key(text) || is_number, "is neither an issue key nor an issue id")
            }
            Rule::OneOf(words) => unless(words.contains(&text), &format!("must be one of {}", words.join(", "))),
            Rule::Message | Rule::Sequence | Rule::Count | Rule::Object(_) | Rule::List { .. } => None,
        }
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "~.-_".contains(c))
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control()))
}

fn entities(repositories: &[Value]) -> Result<(), Refusal> {
    let mut total = 0;
    for repository in repositories {
        let fields = repository.as_object().ok_or("a repository is not an object")?;
        for kind in Kind::ALL {
            let entities = list(fields, kind.plural())?;
            if entities.len() > ENTITIES_OF_A_KIND {
                return Err(format!(
                    "too many {} in one repository: {}, the maximum is {ENTITIES_OF_A_KIND}",
                    kind.plural(),
                    entities.len()
                ));
            }
            each_once(entities, kind.plural())?;
            total += entities.len();
        }
    }
    match total {
        0 => Err("no development information entities were provided".into()),
        1..=ENTITIES => Ok(()),
        _ => Err(format!("too many entities: {total}, the maximum is {ENTITIES}")),
    }
}

fn each_once(values: &[Value], what: &str) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for value in values {
        let id = value.get("id").and_then(Value::as_str).ok_or_else(|| format!("{what}: an id is missing"))?;
        if !seen.insert(id) {
            return Err(format!("{what}: duplicate id {id}"));
        }
    }
    Ok(())
}

fn properties(properties: &Value) -> Result<(), Refusal> {
    let properties = match properties {
        Value::Null => return Ok(()),
        Value::Object(properties) => properties,
        _ => return Err("properties is not an object".into()),
    };
    if properties.len() > PROPERTIES {
        return Err(format!("too many properties: {}, the maximum is {PROPERTIES}", properties.len()));
    }
    for (key, value) in properties {
        let value = value.as_str().ok_or_else(|| format!("property {key} is not a text"))?;
        if key.starts_with('_') || key.contains(':') {
            return Err(format!("property key {key} must not start with '_' nor contain ':'"));
        }
        if length(key) > 255 || length(value) > 255 {
            return Err(format!("property {key} is longer than 255 characters"));
        }
    }
    Ok(())
}

fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], Refusal> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(format!("{name} is not a list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(is_key(text), expected, "{text}");
    }

    #[test]
    fn a_key_needs_two_characters_before_the_hyphen_and_digits_after_it() {
        check("DEMO-1", true);
        check("demo-1", true);
        check("MY_PROJ2-17", true);
        check("F-67", false);
        check("1A-1", false);
        check("DEMO-", false);
        check("DEMO-1-2", false);
        check("DEMO", false);
    }

    #[test]
    fn lengths_are_counted_in_utf_16_units() {
        assert_eq!(length("añ😀"), 4);
    }
}
