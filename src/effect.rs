//! What an order is, once it is to be carried out: an effect, and the name it bears for ever.
//!
//! The ledger of `queue` carries an effect out once, because the same order always has the same key.
//! The key is a digest of the site's name, the issue's key as it was written, the identity of the
//! commit, what is ordered, and how many times the message has ordered exactly that before:
//!
//! - *The issue's key as it was written*, not its id in Jira. The message is part of the commit's
//!   identity, so the same order always names the same key, and no network is needed to tell. The
//!   id is found at the first attempt, kept in the ledger, and used from then on: an issue that
//!   moves is followed.
//! - *The identity of the commit* is by default what its author made: name, e-mail, time and
//!   message. A rebase, a cherry-pick, a fork, a mirror or a second remote changes none of them, so
//!   nothing is ordered again.
//! - *How many times before*, and not the place in the message: which lines are orders depends on
//!   the settings and on the projects that are known, and must not change a key.
//!
//! Effects are stored as CBOR with numbered fields, like events: unknown numbers are skipped, and a
//! number is never used twice.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display, Formatter};

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::event::Kind;
use crate::git::{Commit, Ident, Oid};
use crate::parse::{Duration, IssueKey, Mentions, Order, Verb};
use crate::queue::{Denied, EffectRow, NewEffect, Ruling};
use crate::text::{cut, hex};

/// Which commits count as the same. Setting `smart.identity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// Those with the same author, author's time and message, as after a rebase or a cherry-pick.
    #[default]
    Authored,
    /// Those with the same id.
    Sha,
}

/// Names an effect for ever, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectKey(String);

/// One order of one commit to one issue.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Effect {
    /// As it was written.
    #[n(0)]
    pub issue: IssueKey,
    #[n(1)]
    pub action: Action,
    /// The order's place in the message.
    #[n(2)]
    pub ordinal: u32,
    /// The commit's id; empty where somebody typed the order.
    #[n(3)]
    pub commit: String,
    #[n(4)]
    pub repository: String,
    #[n(5)]
    pub author: Ident,
    /// Who pushed, as far as that is known; may be empty.
    #[n(6)]
    pub pusher: String,
    /// Whether it is the author who gives the order (`policy = "email"`), so that it takes one who is known in Jira.
    #[n(7)]
    #[cbor(default)]
    pub by_author: bool,
}

/// What is to be done with the issue.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Action {
    #[n(0)]
    Comment {
        #[n(0)]
        text: String,
    },
    #[n(1)]
    Time {
        #[cbor(n(0), encode_with = "encode_span", decode_with = "decode_span")]
        spent: Duration,
        /// May be empty.
        #[n(1)]
        comment: String,
        /// When the work was done, in milliseconds since the epoch: never after the push.
        #[n(2)]
        started: i64,
        /// Minutes east of Greenwich, where it was done.
        #[n(3)]
        offset: i16,
    },
    #[n(2)]
    Transition {
        /// As it was written, without the `#`.
        #[n(0)]
        name: String,
        /// May be empty. It is an effect of its own: see [`Effect::comment_of_its_own`].
        #[n(1)]
        comment: String,
    },
    #[n(3)]
    Assign {
        #[n(0)]
        to: String,
    },
    #[n(4)]
    Label {
        #[n(0)]
        labels: Vec<String>,
    },
    #[n(5)]
    FixVersion {
        #[n(0)]
        name: String,
    },
}

/// Where and how a commit came to us.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The site's name.
    pub site: String,
    pub repository: String,
    pub identity: Identity,
    /// Who pushed; may be empty.
    pub pusher: String,
    pub by_author: bool,
    /// When, in milliseconds since the epoch.
    pub pushed_at: i64,
    /// The commit's place in its event: grows along the history.
    pub place: i64,
}

/// What is known of an order before anybody asks whether its pusher may give it.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    pub kind: Kind,
    /// Whether the commit comes with the history of a repository that is new to us.
    pub import: bool,
    /// Whether we know who pushed.
    pub verified: bool,
    /// Milliseconds since the epoch.
    pub authored_at: i64,
}

const DAY_MS: i64 = 86_400_000;
/// How much longer than its order could come again an effect is remembered.
const REMEMBERED_DAYS: u32 = 60;
/// How much of a command and of a reason stands in one line, in UTF-16 units.
const COMMAND: usize = 60;
const NOTE: usize = 300;

/// Everything that a commit orders, with the ruling on each. The message must be whole: a cut one would make other keys.
pub fn of_commit(
    mentions: &Mentions,
    commit: &Commit,
    arrival: &Arrival,
    rulings: impl IntoIterator<Item = Ruling>,
) -> Vec<NewEffect> {
    let identity = arrival.identity.of(commit);
    let mut before = HashMap::new();
    let effect = |(order, ruling): (&Order, Ruling)| {
        let effect = Effect::new(order, commit, arrival);
        let digest = effect.order_digest();
        let times: &mut u32 = before.entry(digest).or_insert(0);
        let key = EffectKey::new(&arrival.site, &identity, &digest, *times);
        *times += 1;
        effect.into_new(key, arrival.place, ruling)
    };
    mentions.orders.iter().zip(rulings).map(effect).collect()
}

/// Everything that somebody orders by typing it: as a commit would that consists of nothing but its message.
pub fn typed(mentions: &Mentions, message: &[u8], author: Ident, arrival: &Arrival) -> Vec<NewEffect> {
    let id = Oid::from_bytes(&[0; 20]).expect("twenty bytes are an id");
    let commit = Commit { id, parents: Vec::new(), committer: author.clone(), author, message: message.to_vec() };
    of_commit(mentions, &commit, arrival, std::iter::repeat(Ruling::Ready))
}

/// Orders of commits whose place newer ones take: each stands for one order that says the same.
///
/// A message that was put right, a squash, or a pick that says where it comes from makes a new commit, and its author does
/// not order anything again. How many said the same counts, so a rewritten branch can still order more than before.
#[derive(Default)]
pub struct Replaced {
    orders: Vec<([u8; 32], String)>,
}

impl Replaced {
    pub fn add(&mut self, mentions: &Mentions, commit: &Commit, arrival: &Arrival) {
        let orders = of_commit(mentions, commit, arrival, std::iter::repeat(Ruling::Open));
        self.orders.extend(orders.into_iter().filter_map(|order| Some((likeness(&order)?, order.key))));
    }

    /// Orders that came along as they were stand for nobody else.
    pub fn without<'e>(&mut self, effects: impl Iterator<Item = &'e NewEffect>) {
        let keys: HashSet<&str> = effects.map(|effect| effect.key.as_str()).collect();
        self.orders.retain(|(_, key)| !keys.contains(key.as_str()));
    }

    /// Gives the order an effect repeats, and each only once.
    pub fn take(&mut self, effect: &NewEffect) -> Option<String> {
        let like = likeness(effect)?;
        let at = self.orders.iter().position(|(other, _)| *other == like)?;
        Some(self.orders.remove(at).1)
    }
}

/// What is ordered of which issue, whoever orders it.
fn likeness(effect: &NewEffect) -> Option<[u8; 32]> {
    Some(Effect::decode(&effect.body).ok()?.order_digest())
}

/// An order for people, without texts: `#time 1h 30m`.
pub fn command(order: &Order) -> String {
    Action::new(&order.verb, 0, 0).command()
}

/// What became of an order, for whoever gave it: `ABC-3 #close: done`. Holds words from outside.
pub fn fate(row: &EffectRow) -> String {
    let fate = match row.state.as_str() {
        "settled" => "done",
        "refused" => "refused by Jira",
        "parked" => "waits for a person",
        open => open,
    };
    let note = row.note.as_deref().map(|note| format!(": {}", cut(note, NOTE))).unwrap_or_default();
    format!("{} {}: {fate}{note}", row.issue, cut(&row.command, COMMAND))
}

/// What forbids an order whoever gives it: history, age, or that nobody gives it; in this order,
/// because only the last can be mended by another push.
pub fn ruling(circumstances: Circumstances, max_age_days: u32, now: i64) -> Ruling {
    let refused = |why, because: String| Ruling::Refused { why, because };
    let age_days = (now - circumstances.authored_at) / DAY_MS;
    match circumstances {
        Circumstances { import: true, .. } => {
            refused(Denied::Import, "it came with the history of a repository that was new".to_owned())
        }
        _ if now - circumstances.authored_at > i64::from(max_age_days) * DAY_MS => {
            refused(Denied::Age, format!("the commit is {age_days} days old, the limit is {max_age_days}"))
        }
        Circumstances { kind: Kind::Found, .. } => {
            refused(Denied::Unverified, "nobody knows who pushed it: it was found by looking".to_owned())
        }
        Circumstances { verified: false, .. } => {
            refused(Denied::Unverified, "nobody vouches for who pushed it".to_owned())
        }
        _ => Ruling::Ready,
    }
}

/// The moment before which a closed effect is forgotten: its order would be too old by now, and then some.
pub fn forgotten_before(keep_days: u32, max_age_days: u32, now: i64) -> i64 {
    now - i64::from(keep_days.max(max_age_days.saturating_add(REMEMBERED_DAYS))) * DAY_MS
}

/// When a commit was authored, in milliseconds since the epoch.
pub fn authored_at(commit: &Commit) -> i64 {
    commit.author.at.saturating_mul(1000)
}

impl Identity {
    /// The identity of a commit, whose message is whole.
    pub fn of(self, commit: &Commit) -> [u8; 32] {
        let mut digest = Sha256::new();
        match self {
            Identity::Authored => {
                let Ident { name, email, at, offset } = &commit.author;
                for part in [name, email, &at.to_be_bytes()[..], &offset.to_be_bytes()[..], &commit.message] {
                    update(&mut digest, part);
                }
            }
            Identity::Sha => update(&mut digest, commit.id.as_bytes()),
        }
        digest.finalize().into()
    }
}

impl EffectKey {
    fn new(site: &str, identity: &[u8; 32], order: &[u8; 32], times: u32) -> EffectKey {
        let mut digest = Sha256::new();
        for part in [site.as_bytes(), identity, order, &times.to_be_bytes()] {
            update(&mut digest, part);
        }
        EffectKey(hex(&digest.finalize()))
    }

    /// The key of what follows from the effect of a key.
    fn following(key: &str) -> EffectKey {
        let mut digest = Sha256::new();
        update(&mut digest, key.as_bytes());
        update(&mut digest, b"follows");
        EffectKey(hex(&digest.finalize()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for EffectKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Effect {
    fn new(order: &Order, commit: &Commit, arrival: &Arrival) -> Effect {
        let started = authored_at(commit).min(arrival.pushed_at);
        Effect {
            issue: order.key.clone(),
            action: Action::new(&order.verb, started, commit.author.offset),
            ordinal: order.ordinal,
            commit: if commit.id.is_zero() { String::new() } else { commit.id.to_string() },
            repository: arrival.repository.clone(),
            author: commit.author.clone(),
            pusher: arrival.pusher.clone(),
            by_author: arrival.by_author,
        }
    }

    /// The bytes that the ledger keeps.
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("writing to a vector cannot fail")
    }

    pub fn decode(bytes: &[u8]) -> Result<Effect, minicbor::decode::Error> {
        minicbor::decode(bytes)
    }

    /// What is said with a transition, as an effect that follows from it.
    pub fn comment_of_its_own(&self, key: &str) -> Option<NewEffect> {
        match &self.action {
            Action::Transition { comment, .. } if !comment.is_empty() => {
                let action = Action::Comment { text: comment.clone() };
                Some(Effect { action, ..self.clone() }.into_new(EffectKey::following(key), 0, Ruling::Ready))
            }
            _ => None,
        }
    }

    fn into_new(self, key: EffectKey, place: i64, ruling: Ruling) -> NewEffect {
        let body = self.encode();
        let Ident { name, email, at, .. } = &self.author;
        NewEffect {
            key: key.0,
            issue: self.issue.to_string(),
            place,
            ordinal: self.ordinal,
            commit: self.commit,
            command: self.action.command(),
            author: format!("{} <{}>", String::from_utf8_lossy(name), String::from_utf8_lossy(email)),
            authored_at: at.saturating_mul(1000),
            body_hash: hex(&Sha256::digest(&body)),
            body,
            ruling,
            repeats: None,
        }
    }

    /// What is ordered of which issue, and nothing about the commit.
    fn order_digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        update(&mut digest, self.issue.as_str().as_bytes());
        self.action.arguments(|part| update(&mut digest, part.as_bytes()));
        digest.finalize().into()
    }
}

impl Action {
    fn new(verb: &Verb, started: i64, offset: i16) -> Action {
        match verb.clone() {
            Verb::Comment { text } => Action::Comment { text },
            Verb::Time { spent, comment } => Action::Time { spent, comment, started, offset },
            Verb::Transition { name, comment } => Action::Transition { name, comment },
            Verb::Assign { to } => Action::Assign { to },
            Verb::Label { labels } => Action::Label { labels },
            Verb::FixVersion { name } => Action::FixVersion { name },
        }
    }

    /// The command for people, without texts: `#time 1h 30m`.
    pub fn command(&self) -> String {
        match self {
            Action::Comment { .. } => "#comment".to_owned(),
            Action::Time { spent, .. } => format!("#time {spent}"),
            Action::Transition { name, .. } => format!("#{name}"),
            Action::Assign { .. } => "#assign".to_owned(),
            Action::Label { labels } => format!("#label {}", labels.join(" ")),
            Action::FixVersion { name } => format!("#fixversion {name}"),
        }
    }

    /// The verb and what it was given, however it was spelt.
    fn arguments(&self, mut part: impl FnMut(&str)) {
        match self {
            Action::Comment { text } => ["comment", text.trim()].map(part),
            Action::Time { spent, comment, .. } => {
                part("time");
                [&spent.to_string(), comment.trim()].map(part)
            }
            Action::Transition { name, comment } => {
                part("transition");
                [&name.to_lowercase(), comment.trim()].map(part)
            }
            Action::Assign { to } => ["assign", to.trim()].map(part),
            Action::Label { labels } => ["label", &labels.join(" ")].map(part),
            Action::FixVersion { name } => ["fixversion", name.trim()].map(part),
        };
    }
}

fn update(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_be_bytes());
    digest.update(part);
}

fn encode_span<C, W: Write>(span: &Duration, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
    e.str(&span.to_string())?.ok()
}

fn decode_span<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Duration, decode::Error> {
    let at = d.position();
    d.str()?.parse().map_err(|error| decode::Error::message(format!("a span: {error}")).at(at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parse::{Rules, Settings};

    const AT: i64 = 1_772_357_400;

    fn commit(id: char, message: &str) -> Commit {
        let author = Ident { name: b"Ann".to_vec(), email: b"ann@example.org".to_vec(), at: AT, offset: 60 };
        Commit {
            id: id.to_string().repeat(40).parse().unwrap(),
            parents: Vec::new(),
            committer: author.clone(),
            author,
            message: message.as_bytes().to_vec(),
        }
    }

    fn arrival() -> Arrival {
        Arrival {
            site: "jira".to_owned(),
            repository: "r1".to_owned(),
            identity: Identity::Authored,
            pusher: "ann".to_owned(),
            by_author: false,
            pushed_at: (AT + 60) * 1000,
            place: 0,
        }
    }

    fn effects_of(commit: &Commit, arrival: &Arrival) -> Vec<NewEffect> {
        let rules = Rules::new(&Settings::default(), None).unwrap();
        of_commit(&rules.message(&commit.message), commit, arrival, std::iter::repeat(Ruling::Ready))
    }

    fn keys_of(commit: &Commit, arrival: &Arrival) -> Vec<String> {
        effects_of(commit, arrival).into_iter().map(|effect| effect.key).collect()
    }

    #[track_caller]
    fn check_same(commit: &Commit, arrival: &Arrival, same: bool) {
        let first = keys_of(&self::commit('a', "ABC-1 #time 1h #close"), &self::arrival());
        assert_eq!(keys_of(commit, arrival) == first, same, "{arrival:?}");
    }

    #[test]
    fn f64_what_the_author_made_orders_once_however_it_travels() {
        let rebased = Commit { committer: Ident::default(), ..commit('b', "ABC-1 #time 1h #close") };
        check_same(&rebased, &arrival(), true);
        let fork = Arrival { repository: "r2".to_owned(), pusher: "bob".to_owned(), place: 7, ..arrival() };
        check_same(&rebased, &Arrival { pushed_at: 0, ..fork }, true);
        check_same(&commit('a', "ABC-1 #time 1h #close!"), &arrival(), false);
        check_same(&commit('a', "ABC-1 #time 1h #close"), &Arrival { site: "other".to_owned(), ..arrival() }, false);
        let mut later = commit('a', "ABC-1 #time 1h #close");
        later.author.at += 1;
        check_same(&later, &arrival(), false);
        let sha = Arrival { identity: Identity::Sha, ..arrival() };
        assert_ne!(keys_of(&rebased, &sha), keys_of(&commit('a', "ABC-1 #time 1h #close"), &sha));
    }

    #[test]
    fn every_order_of_a_message_has_a_key_of_its_own_also_when_it_is_repeated() {
        let keys = keys_of(&commit('a', "ABC-1 DEF-2 #comment x\nABC-1 #comment x\nABC-1 #comment y"), &arrival());
        assert_eq!(keys.len(), 4);
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    }

    #[test]
    fn a_key_does_not_depend_on_which_other_lines_are_orders() {
        let message = "abc-7 #comment lower\nDEF-2 #comment x";
        let arrival = arrival();
        let commit = commit('a', message);
        let known = ["ABC", "DEF"].map(str::to_owned).into();
        let all = Rules::new(&Settings::default(), Some(known)).unwrap().message(message.as_bytes());
        let all = of_commit(&all, &commit, &arrival, std::iter::repeat(Ruling::Ready));
        let some = effects_of(&commit, &arrival);
        assert_eq!((all.len(), some.len()), (2, 1));
        assert_eq!(all[1].key, some[0].key);
        assert_ne!(all[1].ordinal, some[0].ordinal);
    }

    #[test]
    fn work_is_never_logged_in_the_future() {
        let started = |pushed_at| {
            let arrival = Arrival { pushed_at, ..arrival() };
            let effect = effects_of(&commit('a', "ABC-1 #time 1h 30m review"), &arrival).remove(0);
            assert_eq!(effect.command, "#time 1h 30m");
            match Effect::decode(&effect.body).unwrap().action {
                Action::Time { started, offset: 60, .. } => started,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(started((AT + 60) * 1000), AT * 1000);
        assert_eq!(started((AT - 60) * 1000), (AT - 60) * 1000);
    }

    #[test]
    fn a_transition_hands_its_comment_on_under_a_key_of_its_own() {
        let planned = effects_of(&commit('a', "ABC-1 #close it works"), &arrival()).remove(0);
        let follow = Effect::decode(&planned.body).unwrap().comment_of_its_own(&planned.key).unwrap();
        assert_eq!((follow.command.as_str(), follow.issue.as_str()), ("#comment", "ABC-1"));
        assert_ne!(follow.key, planned.key);
        let again = Effect::decode(&planned.body).unwrap().comment_of_its_own(&planned.key).unwrap();
        assert_eq!(follow.key, again.key);
        let silent = effects_of(&commit('a', "ABC-1 #close"), &arrival()).remove(0);
        assert_eq!(Effect::decode(&silent.body).unwrap().comment_of_its_own(&silent.key), None);
    }

    #[test]
    fn history_age_and_strangers_order_nothing_and_only_a_stranger_is_mended() {
        let now = (AT + 10) * 1000;
        let fresh = Circumstances { kind: Kind::Push, import: false, verified: true, authored_at: AT * 1000 };
        let why = |circumstances| match ruling(circumstances, 30, now) {
            Ruling::Refused { why, .. } => Some(why),
            _ => None,
        };
        let old = Circumstances { authored_at: now - 30 * DAY_MS - 1, ..fresh };
        assert_eq!(why(fresh), None);
        assert_eq!(why(Circumstances { authored_at: now - 30 * DAY_MS, ..fresh }), None);
        assert_eq!(why(old), Some(Denied::Age));
        assert_eq!(why(Circumstances { kind: Kind::Found, ..fresh }), Some(Denied::Unverified));
        assert_eq!(why(Circumstances { verified: false, ..fresh }), Some(Denied::Unverified));
        assert_eq!(why(Circumstances { verified: false, ..old }), Some(Denied::Age));
        assert_eq!(why(Circumstances { import: true, ..old }), Some(Denied::Import));
    }

    #[test]
    fn an_effect_is_remembered_for_longer_than_its_order_could_come_again() {
        let now = 1000 * DAY_MS;
        assert_eq!(forgotten_before(30, 30, now), 910 * DAY_MS);
        assert_eq!(forgotten_before(365, 30, now), 635 * DAY_MS);
    }

    #[test]
    fn f79_what_a_newer_agent_adds_to_an_effect_is_passed_over() {
        let effect = Effect::decode(&effects_of(&commit('a', "ABC-1 #close"), &arrival())[0].body).unwrap();
        let mut bytes = effect.encode();
        assert_eq!(bytes[0], 0x88, "an array of eight");
        bytes[0] = 0x89;
        bytes.push(0x07);
        assert_eq!(Effect::decode(&bytes).unwrap(), effect);
    }

    proptest! {
        #[test]
        fn any_message_gives_effects_that_read_back(message in "(ABC-1|DEF-2|#time 1[hdwm] |#[a-z]{1,9} |[ -~\n]{0,9}){0,20}") {
            for effect in effects_of(&commit('a', &message), &arrival()) {
                let read = Effect::decode(&effect.body).unwrap();
                prop_assert_eq!(read.encode(), effect.body);
                prop_assert_eq!(read.action.command(), effect.command);
            }
        }

        #[test]
        fn any_bytes_give_an_effect_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Effect::decode(&bytes);
        }
    }
}
