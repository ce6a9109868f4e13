//! Who may give orders: the rules between a command in a message and its execution.
//!
//! An order is carried out for whoever *pushed* it, never for the author a commit names: an author line proves nothing.
//! Nothing is carried out where nobody vouches for the pusher, with one exception that has to be asked for twice
//! (`policy = "email"`), for those who come from tools that work that way. Where others push than those who give the
//! orders, it is the *signature* that counts (`policy = "signed"`), however the commit came.
//!
//! What is refused for want of a vouched-for pusher may still come from one who is; every other refusal is for good. The
//! reasons are sentences for the person who pushed.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::effect::{self, Circumstances, Identity};
use crate::entity;
use crate::event::Kind;
use crate::git::{Ident, RefName};
use crate::parse::{self, Mentions, Mode, Order, Rules, Verb};
use crate::people::{self, Evidence, People, Person, Pusher, Signature};
use crate::queue::{Denied, Ruling};

pub use crate::text::fits;

/// Section `[account.smart]` of the configuration: Smart Commits in the repositories of an account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Who may give orders. Default `off`: commands only link.
    pub policy: Policy,
    /// Which commits count as the same, so that their orders are carried out once. Default `authored`.
    pub identity: Identity,
    /// Orders of commits that were authored longer ago than these many days are not carried out. Default 30.
    pub max_age_days: u32,
    /// Users of this server, by name or number, that run the hooks of a host: what their environment says about the
    /// pusher is believed. Default: none.
    pub host_users: Vec<String>,
    /// Whether people may give orders in commits of others that they push. Work is only ever logged in the pusher's own.
    /// Default true.
    pub orders_of_others: bool,
    /// Branches whose commits may move issues, where `*` stands for anything. Default: all.
    pub transition_refs: Vec<String>,
    /// What has to vouch at least for whoever moves issues: `certificate`, `signature`, `peer`, `host`, `key` or
    /// `command`, the surest first. Default `key`: all but the bare name that a forced command sets.
    pub transition_evidence: Evidence,
    /// If there are any, an order has to fit one of these. Default: none.
    pub allow: Vec<Allow>,
    /// Without this, `policy = "email"` is refused.
    pub i_accept_forgery: bool,
    /// The account's administrators, which the account itself names.
    #[serde(skip)]
    pub administrators: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Nobody.
    #[default]
    Off,
    /// Whoever pushed and is vouched for; Jira sees the agent's account, and the text says for whom.
    Bot,
    /// Whoever pushed and is vouched for, in an account of their own that they have linked; Jira itself looks at what they
    /// may.
    Linked,
    /// Whoever signed the commit, or signed its push; the rest is as with `bot`.
    Signed,
    /// Whoever a commit names as its author, which everybody can forge.
    Email,
}

/// One rule of `allow`: what it leaves out, it allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allow {
    /// Names of people (`[[person]]`) or logins.
    pub people: Vec<String>,
    /// Names of groups (`[[group]]`), whose members are meant besides `people`; `administrators` are those of the account.
    pub groups: Vec<String>,
    /// `comment`, `time`, `transition`, `assign`, `label`, `fixversion`.
    pub verbs: Vec<String>,
    /// Names of transitions as they are written in messages, without the `#`.
    pub transitions: Vec<String>,
    /// Branches, where `*` stands for anything.
    pub refs: Vec<String>,
    /// Names of repositories, where `*` stands for anything.
    pub repositories: Vec<String>,
}

/// An order and where it comes from.
pub struct Asked<'a> {
    pub verb: &'a Verb,
    pub author: &'a Ident,
    pub pusher: Option<&'a Pusher>,
    /// Who signed the commit, where the policy asks for that.
    pub signature: &'a Signature,
    /// The branches it was pushed to.
    pub refs: &'a [RefName],
    /// The repository's name in its account.
    pub repository: &'a str,
}

/// Why an order is not carried out.
struct Denial {
    why: Denied,
    because: String,
}

/// The names of verbs, as configuration and people write them.
const VERBS: [&str; 6] = ["comment", "time", "transition", "assign", "label", "fixversion"];

impl Default for Settings {
    fn default() -> Self {
        Settings {
            policy: Policy::Off,
            identity: Identity::Authored,
            max_age_days: 30,
            host_users: Vec::new(),
            orders_of_others: true,
            transition_refs: vec!["refs/heads/*".to_owned()],
            transition_evidence: Evidence::Key,
            allow: Vec::new(),
            i_accept_forgery: false,
            administrators: Vec::new(),
        }
    }
}

impl Settings {
    /// Checks what can be checked without a repository.
    pub fn check(&self) -> Result<(), String> {
        if self.policy == Policy::Email && !self.i_accept_forgery {
            return Err(
                "policy = \"email\" lets everybody give orders in the name of everybody; if that is really wanted, \
                        i_accept_forgery = true says so"
                    .to_owned(),
            );
        }
        let verbs = self.allow.iter().flat_map(|allow| &allow.verbs);
        match verbs.into_iter().find(|verb| !VERBS.contains(&verb.as_str())) {
            Some(verb) => Err(format!("allow: there is no verb {verb}; there are {}", VERBS.join(", "))),
            None => Ok(()),
        }
    }

    /// Rules on one order: first on what no pusher could mend, then on who gives it.
    pub fn rule(&self, asked: &Asked<'_>, people: &People, came: Circumstances, now: i64) -> Ruling {
        let came = match self.policy {
            // A signature vouches however the commit came.
            Policy::Signed => Circumstances { verified: true, kind: Kind::Push, ..came },
            policy => Circumstances { verified: asked.pusher.is_some() || policy == Policy::Email, ..came },
        };
        let unchecked = self.policy == Policy::Signed && matches!(asked.signature, Signature::Unchecked { .. });
        match effect::ruling(came, self.max_age_days, now) {
            Ruling::Ready if unchecked => Ruling::Open,
            Ruling::Ready => match self.decide(asked, people) {
                Ok(()) => Ruling::Ready,
                Err(Denial { why, because }) => Ruling::Refused { why, because },
            },
            other => other,
        }
    }

    /// Who gives the orders of a commit, if anybody may.
    pub fn giver<'a>(&self, pusher: Option<&'a Pusher>, signature: &'a Signature) -> Option<&'a Pusher> {
        match (self.policy, signature) {
            (Policy::Signed, Signature::Good(signer)) => Some(signer),
            (Policy::Signed, _) => pusher.filter(|pusher| pusher.by == Evidence::Certificate),
            _ => pusher,
        }
    }

    /// Rules on one order where Jira is the one to carry it out: in the name of the commit's author, so that nobody else
    /// may give one.
    pub fn rule_as_author(&self, asked: &Asked<'_>, people: &People, came: Circumstances, now: i64) -> Ruling {
        let ruling = self.rule(asked, people, came, now);
        if ruling != Ruling::Ready || self.policy == Policy::Email {
            return ruling;
        }
        let because = match self.giver(asked.pusher, asked.signature).map(|giver| people.who(giver).ok_or(giver)) {
            Some(Ok(person)) if is_author(person, asked.author, people) => return ruling,
            Some(Ok(person)) => format!("Jira acts as the commit's author, and that is not {}", person.name),
            Some(Err(Pusher { login, .. })) => {
                format!("Jira acts as the commit's author, and no [[person]] joins {login} with an address")
            }
            None => "Jira acts as the commit's author, and nobody vouches for who pushed it".to_owned(),
        };
        refused(because)
    }

    /// Whether what a hook of this user claims is what a host says.
    pub fn is_host(&self, uid: u32) -> bool {
        people::is_named(&self.host_users, uid)
    }

    /// Decides about one order, apart from how old it is and how it came.
    fn decide(&self, asked: &Asked<'_>, people: &People) -> Result<(), Denial> {
        match self.policy {
            Policy::Off => Err(policy("commands are switched off here".to_owned())),
            Policy::Email => Ok(()),
            Policy::Bot | Policy::Linked | Policy::Signed => {
                match (self.giver(asked.pusher, asked.signature), asked.signature) {
                    (Some(giver), _) => self.decide_for(asked, giver, people),
                    (None, Signature::Bad { because }) if self.policy == Policy::Signed => {
                        Err(unverified(because.clone()))
                    }
                    (None, _) => Err(unverified("nobody vouches for who pushed it".to_owned())),
                }
            }
        }
    }

    fn decide_for(&self, asked: &Asked<'_>, pusher: &Pusher, people: &People) -> Result<(), Denial> {
        let person = people.who(pusher);
        let name = person.map_or(pusher.login.as_str(), |person| person.name.as_str());
        if person.is_some_and(|person| person.bot) {
            return Err(policy(format!("{name} is a service, and services give no orders")));
        }
        let own = person.is_some_and(|person| is_author(person, asked.author, people));
        if !own && matches!(asked.verb, Verb::Time { .. }) {
            return Err(policy(match person {
                Some(_) => format!("work is logged by whoever did it: the commit's author is not {name}"),
                None => format!("work is logged by whoever did it, and no [[person]] joins {name} with an address"),
            }));
        }
        if !own && !self.orders_of_others {
            return Err(policy(format!("{name} is not the commit's author")));
        }
        let moves = matches!(asked.verb, Verb::Transition { .. });
        if moves && !any_fits(&self.transition_refs, asked.refs) {
            return Err(policy("commits of this branch move no issues".to_owned()));
        }
        if moves && pusher.by > self.transition_evidence {
            let (has, least) = (pusher.by.name(), self.transition_evidence.name());
            return Err(unverified(format!(
                "{name} is known by {has} alone, and to move issues takes at least {least} (transition_evidence)"
            )));
        }
        let member = |group: &String| match group.as_str() {
            people::ADMINISTRATORS => people.is_among(pusher, &self.administrators),
            group => people.is_member(pusher, group),
        };
        match self.allow.is_empty() || self.allow.iter().any(|allow| allow.fits(asked, name, pusher, member)) {
            true => Ok(()),
            false if self.administrators.is_empty() => Err(policy(format!("{name} may not do that here"))),
            false => Err(policy(format!("{name} may not do that here; ask {}", self.administrators.join(", ")))),
        }
    }
}

impl Allow {
    fn fits(&self, asked: &Asked<'_>, name: &str, pusher: &Pusher, member: impl Fn(&String) -> bool) -> bool {
        let anybody = self.people.is_empty() && self.groups.is_empty();
        let named = || self.people.iter().any(|one| one == name || *one == pusher.login);
        let people = anybody || named() || self.groups.iter().any(member);
        let verbs = self.verbs.is_empty() || self.verbs.iter().any(|one| one == verb_name(asked.verb));
        let transitions = match asked.verb {
            Verb::Transition { name, .. } if !self.transitions.is_empty() => {
                self.transitions.iter().any(|one| one.eq_ignore_ascii_case(name))
            }
            _ => true,
        };
        let refs = self.refs.is_empty() || any_fits(&self.refs, asked.refs);
        let repositories = self.repositories.is_empty()
            || self.repositories.iter().any(|pattern| fits(pattern.as_bytes(), asked.repository.as_bytes()));
        people && verbs && transitions && refs && repositories
    }
}

/// Rules on all orders of a commit where Jira is the one to carry them out, given a rule on each by itself.
///
/// Jira is given the beginning of the message, reads it by a grammar of its own, and carries out whatever it finds. So
/// it is left nothing unless each order that it finds is one that we find too, whole, and that may be carried out.
pub fn leave(mentions: &Mentions, message: &[u8], rule: impl Fn(&Order) -> Ruling) -> Vec<Ruling> {
    let [whole, given] = [message, &entity::beginning(message)].map(|text| JIRA.message(text).orders);
    let ruled: Vec<(&Order, Ruling)> = mentions.orders.iter().map(|order| (order, rule(order))).collect();
    let obstacle = given.iter().find_map(|order| {
        let named = || format!("{} {}", order.key, effect::command(order));
        if !whole.iter().any(|other| other.key == order.key && other.verb == order.verb) {
            return Some(format!("Jira is given the beginning of a long message, which ends within {}", named()));
        }
        match ruled.iter().find(|(ours, _)| is_same(ours, order)) {
            None => Some(format!("Jira reads {} in the message, which is no command here", named())),
            Some((_, Ruling::Ready)) => None,
            Some(_) => Some(format!("Jira carries out all commands of a commit or none, and {} is refused", named())),
        }
    });
    let unread = "Jira reads no such command in the part of the message that it is given";
    let rule = |(order, ruling): (&Order, Ruling)| match (ruling, &obstacle) {
        (Ruling::Ready, Some(obstacle)) => refused(obstacle.clone()),
        (Ruling::Ready, None) if !given.iter().any(|other| is_same(order, other)) => refused(unread.to_owned()),
        (ruling, _) => ruling,
    };
    ruled.into_iter().map(rule).collect()
}

/// How Jira reads messages, as far as that is known.
static JIRA: LazyLock<Rules> = LazyLock::new(|| {
    let settings = parse::Settings { mode: Mode::Strict, ..parse::Settings::default() };
    Rules::new(&settings, None).expect("the settings are the usual ones")
});

/// Whether two readings of a message have found the same order: their texts may differ in where they end.
fn is_same(one: &Order, other: &Order) -> bool {
    one.key == other.key && effect::command(one).eq_ignore_ascii_case(&effect::command(other))
}

fn refused(because: String) -> Ruling {
    Ruling::Refused { why: Denied::Policy, because }
}

fn policy(because: String) -> Denial {
    Denial { why: Denied::Policy, because }
}

fn unverified(because: String) -> Denial {
    Denial { why: Denied::Unverified, because }
}

fn is_author(person: &Person, author: &Ident, people: &People) -> bool {
    people.by_ident(author).is_some_and(|found| found == person)
}

fn verb_name(verb: &Verb) -> &'static str {
    match verb {
        Verb::Comment { .. } => "comment",
        Verb::Time { .. } => "time",
        Verb::Transition { .. } => "transition",
        Verb::Assign { .. } => "assign",
        Verb::Label { .. } => "label",
        Verb::FixVersion { .. } => "fixversion",
    }
}

fn any_fits(patterns: &[String], refs: &[RefName]) -> bool {
    patterns.iter().any(|pattern| refs.iter().any(|name| fits(pattern.as_bytes(), name.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::Group;

    fn people() -> People {
        let person = |name: &str, bot| Person {
            name: name.to_owned(),
            emails: vec![format!("{name}@example.org")],
            logins: vec![name.to_owned()],
            bot,
            ..Person::default()
        };
        let devs = Group { name: "devs".to_owned(), members: vec!["ann".to_owned()] };
        People::new(vec![person("ann", false), person("ci", true)]).unwrap().with_groups(&[devs]).unwrap()
    }

    fn comment() -> Verb {
        Verb::Comment { text: "x".to_owned() }
    }

    fn time() -> Verb {
        Verb::Time { spent: "1h".to_owned().try_into().unwrap(), comment: String::new() }
    }

    fn close() -> Verb {
        Verb::Transition { name: "close".to_owned(), comment: String::new() }
    }

    /// Asks as `login` about a commit of `author` on `branch`, and gives the reason for a refusal.
    fn asked(settings: &Settings, verb: &Verb, author: &str, login: Option<&str>, branch: &str) -> Option<String> {
        let author = Ident { email: format!("{author}@example.org").into_bytes(), ..Ident::default() };
        let pusher = login.map(|login| Pusher { login: login.to_owned(), by: Evidence::Host });
        let refs = [RefName::new(format!("refs/heads/{branch}"))];
        let signature = &Signature::Unchecked { because: String::new() };
        let (author, pusher) = (&author, pusher.as_ref());
        let asked = Asked { verb, author, pusher, signature, refs: &refs, repository: "team/tool" };
        settings.decide(&asked, &people()).err().map(|denial| denial.because)
    }

    #[track_caller]
    fn check(text: &str, verb: &Verb, author: &str, login: Option<&str>, branch: &str, because: Option<&str>) {
        let settings: Settings = toml::from_str(text).unwrap();
        let found = asked(&settings, verb, author, login, branch);
        match (&found, because) {
            (None, None) => {}
            (Some(found), Some(because)) if found.contains(because) => {}
            _ => panic!("{found:?} instead of {because:?}"),
        }
    }

    const BOT: &str = "policy = 'bot'";

    #[test]
    fn f13_own_accounts_obey_the_same_rules() {
        let linked = "policy = 'linked'\ntransition_refs = ['refs/heads/main']";
        check(linked, &comment(), "ann", Some("ann"), "main", None);
        check(linked, &comment(), "ann", None, "main", Some("nobody vouches"));
        check(linked, &time(), "bob", Some("ann"), "main", Some("author is not ann"));
        check(linked, &close(), "ann", Some("ann"), "topic", Some("move no issues"));
        check(linked, &comment(), "ci", Some("ci"), "main", Some("ci is a service"));
    }

    #[test]
    fn g5_a_forged_author_gives_no_orders_under_any_policy_but_email() {
        check("", &comment(), "ann", Some("ann"), "main", Some("switched off"));
        check(BOT, &comment(), "ann", None, "main", Some("nobody vouches"));
        check(BOT, &time(), "ann", Some("eve"), "main", Some("no [[person]] joins eve"));
        check("policy = 'email'\ni_accept_forgery = true", &comment(), "ann", None, "main", None);
        assert!(toml::from_str::<Settings>("policy = 'email'").unwrap().check().is_err());
        let strict = "policy = 'bot'\norders_of_others = false";
        check(strict, &comment(), "ann", Some("eve"), "main", Some("eve is not the commit's author"));
        check(strict, &comment(), "ann", Some("ann"), "main", None);
    }

    /// Asks as `login` about all orders of a message of `author` that Jira would carry out; what is refused, and why.
    #[track_caller]
    fn check_left(text: &str, message: &str, author: &str, login: Option<&str>, expected: &[Option<&str>]) {
        let settings: Settings = toml::from_str(text).unwrap();
        let author = Ident { email: format!("{author}@example.org").into_bytes(), ..Ident::default() };
        let pusher = login.map(|login| Pusher { login: login.to_owned(), by: Evidence::Host });
        let refs = [RefName::new("refs/heads/main")];
        let came = Circumstances { kind: Kind::Push, import: false, verified: false, authored_at: 0 };
        let rule = |order: &Order| {
            let (verb, pusher) = (&order.verb, pusher.as_ref());
            let signature = &Signature::Unchecked { because: String::new() };
            let asked = Asked { verb, author: &author, pusher, signature, refs: &refs, repository: "team/tool" };
            settings.rule_as_author(&asked, &people(), came, 1)
        };
        let projects = Some(["ABC".to_owned()].into());
        let rules = Rules::new(&parse::Settings { more: true, ..parse::Settings::default() }, projects).unwrap();
        let ruled = leave(&rules.message(message.as_bytes()), message.as_bytes(), rule);
        assert_eq!(ruled.len(), expected.len(), "{ruled:?}");
        for (ruling, expected) in ruled.iter().zip(expected) {
            match (ruling, expected) {
                (Ruling::Ready, None) => {}
                (Ruling::Refused { because, .. }, Some(part)) if because.contains(part) => {}
                _ => panic!("{ruling:?} instead of {expected:?} of {message:?}"),
            }
        }
    }

    #[test]
    fn g5_jira_is_left_the_orders_of_whoever_pushed_their_own_commits() {
        let message = "ABC-1 #comment x #time 1h #close";
        check_left(BOT, message, "ann", Some("ann"), &[None; 3]);
        check_left(BOT, "ABC-1 #comment x", "bob", Some("ann"), &[Some("as the commit's author, and that is not ann")]);
        check_left(BOT, "ABC-1 #comment x", "ann", Some("eve"), &[Some("no [[person]] joins eve with an address")]);
        check_left(BOT, "ABC-1 #comment x", "ann", None, &[Some("nobody vouches")]);
        check_left("", "ABC-1 #comment x", "ann", Some("ann"), &[Some("switched off")]);
        check_left("policy = 'email'\ni_accept_forgery = true", message, "bob", None, &[None; 3]);
        check_left(BOT, "ABC-1 #comment x", "ci", Some("ci"), &[Some("ci is a service")]);
    }

    #[test]
    fn g5_jira_is_left_all_that_it_would_carry_out_or_nothing() {
        let refs = "policy = 'bot'\ntransition_refs = ['refs/heads/release']";
        let or_none = Some("all commands of a commit or none, and ABC-1 #close is refused");
        check_left(refs, "ABC-1 #comment x #close", "ann", Some("ann"), &[or_none, Some("move no issues")]);
        // What is no issue of ours, or no command, is both for Jira.
        check_left(BOT, "ABC-1 #close\nXYZ-1 #close", "ann", Some("ann"), &[Some("Jira reads XYZ-1 #close")]);
        check_left(BOT, "ABC-1 #close #label x", "ann", Some("ann"), &[Some("Jira reads ABC-1 #label"); 2]);
        check_left(BOT, "abc-1 #close", "ann", Some("ann"), &[Some("Jira reads no such command")]);
        let filler = "x".repeat(1015);
        let cut = format!("{filler}\nABC-1 #close-issue");
        check_left(BOT, &cut, "ann", Some("ann"), &[Some("ends within ABC-1 #c")]);
        let beyond = format!("ABC-1 #close\n{filler}\nABC-1 #comment x");
        check_left(BOT, &beyond, "ann", Some("ann"), &[None, Some("in the part of the message that it is given")]);
        check_left(BOT, "Revert \"x\"\n\nABC-1 #close", "ann", Some("ann"), &[]);
    }

    #[test]
    fn f13_work_is_logged_in_ones_own_commits_only() {
        check(BOT, &time(), "ann", Some("ann"), "main", None);
        check(BOT, &time(), "bob", Some("ann"), "main", Some("author is not ann"));
        check(BOT, &comment(), "bob", Some("ann"), "main", None);
    }

    #[test]
    fn g7_services_give_no_orders() {
        check(BOT, &comment(), "ci", Some("ci"), "main", Some("ci is a service"));
    }

    #[test]
    fn f9_only_chosen_branches_move_issues() {
        let text = "policy = 'bot'\ntransition_refs = ['refs/heads/main', 'refs/heads/release/*']";
        check(text, &close(), "ann", Some("ann"), "main", None);
        check(text, &close(), "ann", Some("ann"), "release/1/2", None);
        check(text, &close(), "ann", Some("ann"), "topic", Some("move no issues"));
        check(text, &comment(), "ann", Some("ann"), "topic", None);
    }

    #[test]
    fn g5_where_there_are_rules_an_order_has_to_fit_one() {
        let text = "policy = 'bot'\n[[allow]]\npeople = ['ann']\nverbs = ['transition']\ntransitions = ['Close']\n\
                    [[allow]]\nverbs = ['comment']\nrepositories = ['team/*']\nrefs = ['refs/heads/main']";
        check(text, &close(), "ann", Some("ann"), "x", None);
        check(text, &close(), "ann", Some("eve"), "x", Some("may not"));
        check(text, &comment(), "ann", Some("eve"), "main", None);
        check(text, &comment(), "ann", Some("eve"), "x", Some("may not"));
        check(text, &time(), "ann", Some("ann"), "main", Some("may not"));
        let wrong: Settings = toml::from_str("[[allow]]\nverbs = ['close']").unwrap();
        assert!(wrong.check().unwrap_err().contains("no verb close"));
    }

    #[test]
    fn g5_a_rule_may_name_groups_besides_people() {
        let text = "policy = 'bot'\n[[allow]]\ngroups = ['devs']\n[[allow]]\npeople = ['bob']\ngroups = ['nobody']";
        check(text, &comment(), "ann", Some("ann"), "x", None);
        check(text, &comment(), "ann", Some("bob"), "x", None);
        check(text, &comment(), "ann", Some("eve"), "x", Some("may not"));
    }

    #[test]
    fn g4_moving_issues_takes_a_sure_pusher() {
        let by = |text: &str, verb: &Verb, by| {
            let settings: Settings = toml::from_str(text).unwrap();
            let pusher = Pusher { login: "ann".to_owned(), by };
            let asked = Asked {
                verb,
                author: &Ident::default(),
                pusher: Some(&pusher),
                signature: &Signature::Unchecked { because: String::new() },
                refs: &[RefName::new("refs/heads/main")],
                repository: "tool",
            };
            settings.decide(&asked, &people()).err().map(|denial| (denial.why, denial.because))
        };
        let because = "ann is known by a forced command alone, and to move issues takes at least an SSH key (transition_evidence)";
        assert_eq!(by(BOT, &close(), Evidence::Command), Some((Denied::Unverified, because.to_owned())));
        assert_eq!(by(BOT, &comment(), Evidence::Command), None);
        assert_eq!(by(BOT, &close(), Evidence::Key), None);
        assert_eq!(by("policy = 'bot'\ntransition_evidence = 'command'", &close(), Evidence::Command), None);
        let strict = "policy = 'bot'\ntransition_evidence = 'peer'";
        assert_eq!(by(strict, &close(), Evidence::Peer), None);
        assert_eq!(by(strict, &close(), Evidence::Certificate), None);
        assert!(by(strict, &close(), Evidence::Host).unwrap().1.contains("the word of the host alone"));
    }

    /// Rules as for a commit of `author` that came now, `kind` saying how.
    fn signed(signature: &Signature, verb: &Verb, author: &str, by: Option<Evidence>, kind: Kind) -> Ruling {
        let settings: Settings = toml::from_str("policy = 'signed'").unwrap();
        let author = Ident { email: format!("{author}@example.org").into_bytes(), ..Ident::default() };
        let pusher = by.map(|by| Pusher { login: "bob@example.org".to_owned(), by });
        let (pusher, refs) = (pusher.as_ref(), &[RefName::new("refs/heads/main")]);
        let asked = Asked { verb, author: &author, pusher, signature, refs, repository: "tool" };
        let came = Circumstances { kind, import: false, verified: false, authored_at: 0 };
        settings.rule(&asked, &people(), came, 1)
    }

    #[test]
    fn g5_f13_orders_count_for_whoever_signed_them_whoever_pushed() {
        let good = |who: &str| Signature::Good(Pusher { login: who.to_owned(), by: Evidence::Signature });
        for by in [None, Some(Evidence::Peer), Some(Evidence::Host), Some(Evidence::Certificate)] {
            for verb in [&comment(), &time(), &close()] {
                assert_eq!(signed(&good("ann"), verb, "ann", by, Kind::Push), Ruling::Ready);
            }
        }
        assert_eq!(signed(&good("ann"), &comment(), "ann", None, Kind::Found), Ruling::Ready);
        let because = |ruling| match ruling {
            Ruling::Refused { because, .. } => because,
            other => panic!("{other:?}"),
        };
        let others = because(signed(&good("ann"), &time(), "bob", None, Kind::Push));
        assert!(others.contains("author is not ann"), "{others}");
        let service = because(signed(&good("ci"), &comment(), "ci", None, Kind::Push));
        assert!(service.contains("ci is a service"), "{service}");
    }

    #[test]
    fn g5_where_signatures_count_a_pusher_counts_who_signed_the_push() {
        let bad = Signature::Bad { because: "the commit is not signed".to_owned() };
        let refused = Ruling::Refused { why: Denied::Unverified, because: "the commit is not signed".to_owned() };
        for by in [None, Some(Evidence::Peer), Some(Evidence::Host), Some(Evidence::Key), Some(Evidence::Command)] {
            assert_eq!(signed(&bad, &comment(), "bob", by, Kind::Push), refused);
        }
        assert_eq!(signed(&bad, &comment(), "bob", Some(Evidence::Certificate), Kind::Push), Ruling::Ready);
    }

    #[test]
    fn g5_what_cannot_be_checked_now_is_open_and_neither_refused_nor_carried_out() {
        let later = Signature::Unchecked { because: "gpgv is not installed".to_owned() };
        for by in [None, Some(Evidence::Peer), Some(Evidence::Certificate)] {
            assert_eq!(signed(&later, &comment(), "ann", by, Kind::Push), Ruling::Open);
        }
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("refs/heads/*", "refs/heads/a/b", true),
            ("refs/heads/*", "refs/tags/a", false),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("main", "main2", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
