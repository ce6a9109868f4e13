//! What needs a person, mailed to the operators: once when it has lasted, and once when it is over.
//!
//! What comes and goes within two minutes is nobody's business. What lasts through a restart of the
//! daemon is told again after it, because nothing of this is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::config::Config;
use crate::queue;
use crate::serve::needs::{LASTS_MS, Need, needs};

use super::Shared;
use super::mail::hand_over;

/// How often a look is taken whether there is time for a look.
const TICK: Duration = Duration::from_secs(2);
/// How much time lies between looks.
const EVERY_MS: i64 = 30_000;
/// Something that was seen.
struct Seen {
    need: Need,
    first: i64,
    last: i64,
    told: bool,
}

/// What was seen so far, by what it is about.
#[derive(Default)]
struct Memory {
    seen: BTreeMap<String, Seen>,
}

/// What is to be told now.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    begun: Vec<Need>,
    over: Vec<Need>,
}

pub async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut stopped = std::pin::pin!(shared.stopped());
    let mut memory = Memory::default();
    let mut last: Option<i64> = None;
    loop {
        let (applied, now) = (shared.applied(), clock::now());
        let config = &applied.config;
        // A clock that was set back delays no look.
        let due = last.is_none_or(|last| !(0..EVERY_MS).contains(&(now - last)));
        if due && !config.mail.operators.is_empty() {
            last = Some(now);
            tell(config, memory.look(look(&shared, config).await?, now), now).await;
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = &mut stopped => return Ok(()),
        }
    }
}

async fn look(shared: &Shared, config: &Config) -> Result<Vec<Need>, queue::Error> {
    let status = crate::serve::look(&shared.queue, &shared.running).await?;
    Ok(needs(&status, config.mail.patience_ms()))
}

async fn tell(config: &Config, news: News, now: i64) {
    let lines = |needs: &[Need]| needs.iter().map(|need| format!("{}\n    {}", need.says, need.cure)).collect();
    let (begun, over): (Vec<String>, Vec<String>) =
        (lines(&news.begun), news.over.iter().map(|need| need.about.clone()).collect());
    if begun.is_empty() && over.is_empty() {
        return;
    }
    if let Ok(Some(post)) = config.mail.post() {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let letters: Vec<_> =
            config.mail.operators.iter().map(|to| post.notice(to, &host, &begun, &over, now)).collect();
        for letter in letters {
            hand_over(&post, letter, "an alert").await;
        }
    }
}

impl Memory {
    /// Takes what is there now, and gives what has lasted long enough to be told, and what is over for as long.
    fn look(&mut self, there: Vec<Need>, now: i64) -> News {
        for need in there {
            let fresh = || Seen { need: need.clone(), first: now, last: now, told: false };
            let seen = self.seen.entry(need.about.clone()).or_insert_with(fresh);
            (seen.need, seen.last) = (need, now);
        }
        let mut news = News::default();
        self.seen.retain(|_, seen| {
            let over = now - seen.last >= LASTS_MS;
            if !over && !seen.told && seen.last - seen.first >= seen.need.lasts_ms {
                seen.told = true;
                news.begun.push(seen.need.clone());
            }
            if over && seen.told {
                news.over.push(seen.need.clone());
            }
            !over
        });
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(about: &str) -> Need {
        Need { about: about.to_owned(), says: format!("{about}!"), cure: "cure", lasts_ms: LASTS_MS }
    }

    fn abouts(needs: &[Need]) -> Vec<&str> {
        needs.iter().map(|need| need.about.as_str()).collect()
    }

    /// Looks each minute; `there` says minute by minute what is there, `told` what begins (`+`) and is over (`-`).
    #[track_caller]
    fn check(there: &[&[&str]], told: &[&str]) {
        let mut memory = Memory::default();
        let mut said = Vec::new();
        for (minute, there) in there.iter().enumerate() {
            let news = memory.look(there.iter().map(|about| need(about)).collect(), minute as i64 * 60_000);
            said.extend(abouts(&news.begun).iter().map(|about| format!("{minute}+{about}")));
            said.extend(abouts(&news.over).iter().map(|about| format!("{minute}-{about}")));
        }
        assert_eq!(said, told);
    }

    #[test]
    fn n5_what_lasts_is_told_once_and_its_end_once() {
        check(&[&["a"], &["a"], &["a"], &["a"], &[], &[], &[], &[]], &["2+a", "5-a"]);
    }

    #[test]
    fn n5_what_comes_and_goes_is_not_told() {
        check(&[&["a"], &["a"], &[], &[], &["a"], &["b"], &[], &[]], &[]);
    }

    #[test]
    fn n5_what_is_away_for_a_moment_lasts() {
        check(&[&["a"], &[], &["a"], &["a", "b"], &["b"], &["a", "b"], &["a"], &["a"]], &["2+a", "5+b", "7-b"]);
    }
}
