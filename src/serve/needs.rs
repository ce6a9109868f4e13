//! What needs a person: the one list behind the advice and the exit status of `agent status`, and behind mails to operators.

use crate::clock;
use crate::text::Untrusted;

use super::{Resting, Status};

/// Something that does not get well by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Stays the same while it lasts, whatever changes in its words.
    pub about: String,
    pub says: String,
    pub cure: &'static str,
    /// How long it has to last before somebody is told who does not look.
    pub lasts_ms: i64,
}

/// What comes and goes in so short a time is nobody's business.
pub const LASTS_MS: i64 = 120_000;
/// How long that is for what is tried again by itself.
const TRIED_MS: i64 = 1_800_000;

/// Lists what needs a person, among it that something is owed longer than so many milliseconds.
pub fn needs(status: &Status, patience: u64) -> Vec<Need> {
    let running = &status.running;
    let mut needs = Vec::new();
    let mut lasting = |about: &str, says: String, cure, lasts_ms| {
        needs.push(Need { about: about.to_owned(), says, cure, lasts_ms });
    };
    for (name, site) in &running.sites {
        let rests = |rest: &Resting, cure| match rest.until {
            Some(_) => ("it is tried again by itself", TRIED_MS),
            None => (cure, LASTS_MS),
        };
        if let Some(rest) = &site.resting {
            let (cure, lasts) = rests(rest, "`agent link` puts a new credential in place; nothing is lost meanwhile");
            let says = format!("site {name} is told nothing: {}", Untrusted::text(&rest.because));
            lasting(&format!("site {name}"), says, cure, lasts);
        }
        if let Some(rest) = &site.account_resting {
            let (cure, lasts) = rests(rest, "`agent link` puts a new token in place; commands wait");
            let says = format!("site {name} carries out no commands: {}", Untrusted::text(&rest.because));
            lasting(&format!("account of {name}"), says, cure, lasts);
        }
    }
    let mut need = |about: &str, says: String, cure| lasting(about, says, cure, LASTS_MS);
    if let Some(because) = &running.not_ready {
        need("store", format!("no events are taken: {}", Untrusted::text(because)), "`agent doctor` says more");
    }
    if let Some(because) = &running.config_error {
        let says = format!("the daemon runs with the configuration from before: {}", Untrusted::text(because));
        need("configuration", says, "mend the file; the daemon reads it by itself");
    }
    let parked: u64 = status.queue.sites.iter().map(|site| site.parked).sum();
    if parked > 0 {
        let cure = "`agent queue list --state parked` shows why, `agent queue retry` tries again";
        need("parked", format!("{parked} parked, because Jira refused them"), cure);
    }
    let parked: u64 = status.effects.iter().map(|effects| effects.parked).sum();
    if parked > 0 {
        let cure = "`agent effects list --state parked` shows why, `agent effects retry` tries again";
        need("parked commands", format!("{parked} commands parked"), cure);
    }
    if status.queue.events_dead > 0 {
        let cure = "`agent queue events --state dead` shows why, `agent queue retry` tries again";
        need("dead events", format!("{} events could not be read", status.queue.events_dead), cure);
    }
    if running.spool.corrupt > 0 {
        let cure = "look at the files in the spool's `corrupt` folder, then delete them";
        need("spool", format!("{} files of the spool could not be read", running.spool.corrupt), cure);
    }
    if let Some(oldest) = status.queue.oldest_ms.filter(|oldest| *oldest > patience) {
        let says = format!("something has been owed for {}", clock::span(oldest.cast_signed()));
        need("age", says, "`agent status` shows what is in the way");
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::SiteState;

    fn about(status: &Status, patience: u64) -> Vec<String> {
        needs(status, patience).into_iter().map(|need| need.about).collect()
    }

    #[test]
    fn n5_a_refused_credential_needs_a_person_soon_and_what_is_tried_again_later() {
        let resting = |until| SiteState {
            resting: Some(Resting { because: "401\u{1b}".to_owned(), until }),
            ..SiteState::default()
        };
        let mut status = Status::default();
        status.running.sites = [("a".to_owned(), resting(None)), ("b".to_owned(), resting(Some(1)))].into();
        let needs: Vec<Need> = needs(&status, 0);
        assert_eq!(needs.iter().map(|need| need.lasts_ms).collect::<Vec<_>>(), [LASTS_MS, TRIED_MS]);
        assert!(!needs[0].says.contains('\u{1b}'));
    }

    #[test]
    fn n5_what_is_owed_for_long_needs_a_person_who_said_how_long_that_is() {
        let mut status = Status::default();
        status.queue.oldest_ms = Some(60_001);
        assert_eq!(about(&status, 60_000), ["age"]);
        assert!(about(&status, 60_001).is_empty());
    }
}
