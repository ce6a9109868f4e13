//! How a mark is found again at a site: by the way that was tried there on a real issue, else by the usual one.
//!
//! Properties are given with everything that can have them. Where a site was found to keep none, the mark is a word in
//! the text as well; what was sent before that was known bears no such word, so not to find it proves nothing.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::outcome::{Obstacle, of_reading};
use super::platform::{Platform, Remark, Remarks, read};
use super::{Kind, Marker, marker};
use crate::queue::{Marked, ReadBack, Way};

/// The most comments that Jira gives by their ids.
const TOGETHER: usize = 1_000;
/// How long a turn may last that began before a new way was known.
const TURN: Duration = Duration::from_secs(300);

impl Platform {
    /// Takes what was found out about this site.
    pub fn reads_back(&self, found: Vec<ReadBack>) {
        self.known().read_backs = found;
    }

    /// The way of finding marks that works here, where that was found out.
    fn way(&self, which: Remarks) -> Option<(Way, i64)> {
        if which.what() == Marked::Worklog && self.kind == Kind::DataCenter {
            // There work has never had properties.
            return Some((Way::Text, i64::MIN));
        }
        let known = self.known();
        known.read_backs.iter().find(|found| found.what == which.what()).map(|found| (found.way, found.since))
    }

    /// The word that has to stand in the text, where nothing else is kept.
    pub(super) fn token(&self, which: Remarks, marker: &Marker) -> Option<String> {
        matches!(self.way(which), Some((Way::Text, _))).then(|| marker.token())
    }

    /// Tells whether what was sent then may bear a mark that this site has lost.
    pub(super) fn lost_marks(&self, which: Remarks, sent: i64) -> bool {
        let turn = i64::try_from(TURN.as_millis()).expect("minutes");
        matches!(self.way(which), Some((Way::Text, since)) if sent < since.saturating_add(turn))
    }

    /// Gives what the account wrote the properties that a list did not give it, where they are had many at a time.
    pub(super) async fn with_properties(&self, own: &mut [Remark], which: Remarks, now: i64) -> Result<(), Obstacle> {
        if self.kind != Kind::Cloud || !matches!(self.way(which), Some((Way::Ids, _))) {
            return Ok(());
        }
        for some in own.chunks_mut(TOGETHER) {
            let found = self.by_ids(&some.iter().map(|remark| remark.id.as_str()).collect::<Vec<_>>(), now).await?;
            for remark in some {
                let same = found.iter().find(|found| found.id == remark.id);
                remark.properties = same.and_then(|found| found.properties.clone());
            }
        }
        Ok(())
    }

    /// Gives comments by their ids, with their properties.
    pub(super) async fn by_ids(&self, ids: &[&str], now: i64) -> Result<Vec<Remark>, Obstacle> {
        let ids: Vec<u64> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let request = self.request(Method::POST, &["comment", "list"], &[("expand", "properties")], now).await?;
        let answer = self.ask(request.json(&json!({ "ids": ids }))).await?;
        match of_reading(&answer, now) {
            Some(obstacle) => Err(obstacle),
            None => Ok(read::<Given>(&answer)?.values),
        }
    }

    /// Tells whether something that the account wrote bears a mark.
    pub(super) async fn bears(
        &self,
        issue: &str,
        which: Remarks,
        remark: &Remark,
        marker: &Marker,
        now: i64,
    ) -> Result<bool, Obstacle> {
        let way = self.way(which).map(|(way, _)| way);
        let listed = remark.properties.as_ref().map(|all| all.iter().find(|own| own.key == marker::NAME));
        // What bears a mark of its own is not taken for another because its text names that one.
        if let Some(Some(own)) = listed {
            return Ok(marker.is(&own.value));
        }
        if way == Some(Way::Property) || (listed.is_none() && way != Some(Way::Text)) {
            let value = self.property(issue, which, &remark.id, now).await?;
            if !value.is_null() {
                return Ok(marker.is(&value));
            }
        }
        Ok(marker.is_in(&remark.comment.to_string()))
    }
}

impl Remarks {
    pub(super) fn what(self) -> Marked {
        match self {
            Remarks::Comments => Marked::Comment,
            Remarks::Worklogs { .. } => Marked::Worklog,
        }
    }
}

#[derive(Deserialize)]
struct Given {
    values: Vec<Remark>,
}
