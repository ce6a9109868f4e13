//! What the daemon knows of issues, asked on the hooks' socket.

use std::time::{Duration, Instant};

use crate::config::Places;
use crate::git::Repository;
use crate::intake;
use crate::issue::{Ask, MOST_KEYS};
use crate::policy::{Answers, Questions};

/// Asks about all keys, within the time that there is for them together.
pub fn issues(repository: &Repository, questions: &Questions, places: &Places, until: Instant) -> Answers {
    let keys: Vec<String> = questions.keys.iter().cloned().collect();
    let mut about = Vec::new();
    for some in keys.chunks(MOST_KEYS) {
        let left = until.saturating_duration_since(Instant::now());
        let ask = Ask {
            git_dir: repository.common_dir().to_str().map(str::to_owned),
            keys: some.to_vec(),
            queries: questions.jql.clone(),
            wait_ms: u32::try_from(left.as_millis()).unwrap_or(0),
            ..Ask::default()
        };
        match intake::ask(&ask, &places.socket) {
            Ok(told) => about.extend(told.about),
            Err(error) if about.is_empty() => return Answers::none(error.to_string()),
            Err(_) => break,
        }
        if left == Duration::ZERO {
            break;
        }
    }
    Answers::new(questions, about)
}
