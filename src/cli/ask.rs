//! What the daemon knows of issues, asked on the hooks' socket.

use std::time::Instant;

use crate::config::Places;
use crate::git::Repository;
use crate::policy::{Answers, Questions};

/// Asks about all keys at once.
pub fn issues(_repository: &Repository, _questions: &Questions, _places: &Places, _until: Instant) -> Answers {
    Answers::none("the daemon does not answer")
}
