//! People's own accounts in Jira: proven, sealed, opened.
//!
//! The life of a login: somebody hands over a token ([`Request`]); the daemon asks Jira whose it is and keeps it sealed
//! (`seal`) under the name of its *holder* ([`Logins::log_in`]). Orders of a holder are taken in the name of that
//! account ([`Logins::account`]), which stays, and are carried out with whatever opens it then ([`Logins::open`]). A token
//! that Jira refuses, or that the key does not open any more, is noted and kept until its holder brings another one:
//! what was ordered waits.
//!
//! Invariants: nothing is kept that Jira did not take. A seal is bound to site, holder and account, so a row that was
//! moved opens nothing. No token leaves this module but as something that lets an account in.

mod seal;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::queue::{LoginRow, Queue};
use crate::send::{Obstacle, Opener, Platform, Settings};
use crate::text::Untrusted;
use seal::Keyring;

/// What somebody wants of a login, as it travels: to the daemon as CBOR, to the administrators' socket as JSON.
#[derive(Encode, Decode, Serialize, Deserialize)]
pub struct Request {
    /// The site's name.
    #[n(0)]
    pub site: String,
    #[n(1)]
    pub wish: Wish,
    /// Whose login, by name: for administrators, and for nobody else.
    #[n(2)]
    pub person: Option<String>,
}

#[derive(Encode, Decode, Serialize, Deserialize)]
pub enum Wish {
    #[n(0)]
    In {
        #[cbor(n(0), encode_with = "encode_token", decode_with = "decode_token")]
        #[serde(serialize_with = "write_token", deserialize_with = "read_token")]
        token: SecretString,
        #[n(1)]
        email: Option<String>,
        #[n(2)]
        scoped: bool,
    },
    #[n(1)]
    Out,
}

/// The logins of all sites.
pub struct Logins {
    queue: Queue,
    keyring: Keyring,
    /// As the store has them, by site and holder.
    rows: Mutex<BTreeMap<(String, String), LoginRow>>,
}

/// Somebody's account, open.
pub struct Opened {
    pub holder: String,
    pub opener: Opener,
    /// When it was handed over.
    pub since: i64,
}

/// Why an account is not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shut {
    /// Whose it was, if anybody's.
    pub holder: Option<String>,
    pub because: String,
}

/// How often it is noted that a login was used.
const USED_MS: i64 = 60_000;

impl Request {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(minicbor::to_vec(self).expect("writing to a vector cannot fail"))
    }

    pub fn decode(bytes: &[u8]) -> Result<Request, decode::Error> {
        minicbor::decode(bytes)
    }
}

impl Logins {
    /// Reads what the store has, and looks whether the key opens it.
    pub async fn load(queue: Queue, state: &Path, credentials: Option<&Path>) -> Result<Logins, crate::queue::Error> {
        let rows = queue.logins().await?;
        let logins = Logins { queue, keyring: Keyring::new(state, credentials), rows: Mutex::default() };
        for row in rows {
            if let Err(because) = logins.unsealed(&row) {
                tracing::warn!(site = %row.site, "the login of {} at {}: {because}", row.holder, row.site);
            }
            logins.rows().insert((row.site.clone(), row.holder.clone()), row);
        }
        Ok(logins)
    }

    /// What a holder has linked.
    pub fn linked(&self, site: &str, holder: &str) -> Option<LoginRow> {
        self.rows().get(&(site.to_owned(), holder.to_owned())).cloned()
    }

    /// When what opens an account was handed over last; it changes with each new login.
    pub fn since(&self, site: &str, account: &str) -> Option<i64> {
        self.of(site, account).map(|row| row.since)
    }

    /// Opens an account with what somebody has handed over for it.
    pub fn open(&self, site: &str, account: &str) -> Result<Opened, Shut> {
        let Some(row) = self.of(site, account) else {
            let because = format!("nobody has linked the account {account}: `agent login` does that");
            return Err(Shut { holder: None, because });
        };
        match self.unsealed(&row) {
            Ok(opener) => Ok(Opened { holder: row.holder, opener, since: row.since }),
            Err(because) => Err(Shut { holder: Some(row.holder), because }),
        }
    }

    /// Asks Jira whose token it is and keeps it for its holder; gives what there is to say about it.
    ///
    /// `expected` is what an administrator says they are in Jira.
    pub async fn log_in(
        &self,
        site: &Settings,
        holder: &str,
        expected: Option<&str>,
        opener: Opener,
        now: i64,
    ) -> Result<Vec<String>, String> {
        let platform = Platform::of(site, &opener).map_err(|error| error.to_string())?;
        let me = platform.myself(now).await.map_err(|obstacle| match obstacle {
            Obstacle::Later { because, .. } => format!("Jira could not be asked, nothing was kept: {because}"),
            obstacle => format!("Jira does not take this token, nothing was kept: {}", obstacle.because()),
        })?;
        let account = me.id().ok_or("Jira does not say whose token it is, nothing was kept")?;
        let name = Untrusted::text(me.display_name.as_deref().unwrap_or(account)).to_string();
        if !me.active {
            return Err(format!("the account of {name} is not active in Jira, nothing was kept"));
        }
        if let Some(expected) = expected.filter(|expected| !me.is_called(expected)) {
            return Err(format!(
                "the token is that of {name} ({account}), and `jira` of [[person]] {holder} says {expected}; nothing was kept"
            ));
        }
        let before = self.linked(&site.name, holder).map(|row| row.account).filter(|before| before != account);
        let seal = self.keyring.make().map_err(|error| format!("the key of the logins: {error}"))?;
        let sealed = seal.close(&record(&opener), &[&site.name, holder, account]).map_err(|error| error.to_string())?;
        // Later than the one before, whatever the clock does.
        let since = self.since(&site.name, account).map_or(now, |since| now.max(since + 1));
        let row = LoginRow {
            site: site.name.clone(),
            holder: holder.to_owned(),
            account: account.to_owned(),
            sign_in: me.name.clone(),
            name: name.clone(),
            sealed,
            since,
            used_at: None,
            refused_at: None,
            refusal: None,
        };
        self.queue.put_login(row.clone()).await.map_err(|error| error.to_string())?;
        self.rows().insert((row.site.clone(), row.holder.clone()), row);
        tracing::info!(site = %site.name, "{holder} has linked an account at {}", site.name);
        let mut said = vec![format!("{holder} is {name} ({account}) at site {}", site.name)];
        if let Some(before) = before {
            said.push(format!("what was ordered in the name of {before} waits until that account is linked again"));
        }
        Ok(said)
    }

    /// Forgets what opened the account of a holder; false when nothing did.
    pub async fn log_out(&self, site: &str, holder: &str) -> Result<bool, String> {
        let key = (site.to_owned(), holder.to_owned());
        if !self.rows().contains_key(&key) {
            return Ok(false);
        }
        self.queue.remove_login(key.0.clone(), key.1.clone()).await.map_err(|error| error.to_string())?;
        self.rows().remove(&key);
        tracing::info!(site = %site, "{holder} has unlinked an account at {site}");
        Ok(true)
    }

    /// Notes that an account did what it was asked.
    pub async fn used(&self, site: &str, account: &str, now: i64) -> Result<(), crate::queue::Error> {
        let fresh =
            |row: &LoginRow| row.refusal.is_none() && row.used_at.is_some_and(|at| (at..at + USED_MS).contains(&now));
        let change = |row: &mut LoginRow| (row.used_at, row.refused_at, row.refusal) = (Some(now), None, None);
        self.note(site, account, |row| !fresh(row), change).await
    }

    /// Notes why an account opens nothing at the moment.
    pub async fn refused(&self, site: &str, account: &str, because: &str, now: i64) -> Result<(), crate::queue::Error> {
        let news = |row: &LoginRow| row.refusal.as_deref() != Some(because);
        let change = |row: &mut LoginRow| (row.refused_at, row.refusal) = (Some(now), Some(because.to_owned()));
        self.note(site, account, news, change).await
    }

    async fn note(
        &self,
        site: &str,
        account: &str,
        news: impl Fn(&LoginRow) -> bool,
        change: impl Fn(&mut LoginRow),
    ) -> Result<(), crate::queue::Error> {
        let Some(mut row) = self.of(site, account).filter(|row| news(row)) else { return Ok(()) };
        change(&mut row);
        if let Some(held) = self.rows().get_mut(&(row.site.clone(), row.holder.clone()))
            && held.since == row.since
        {
            held.clone_from(&row);
        }
        self.queue.note_login(row).await
    }

    /// The newest login for an account: two people may have brought a token of the same one.
    fn of(&self, site: &str, account: &str) -> Option<LoginRow> {
        let rows = self.rows();
        let fits = |row: &&LoginRow| row.site == site && row.account == account;
        rows.values().filter(fits).max_by_key(|row| row.since).cloned()
    }

    fn unsealed(&self, row: &LoginRow) -> Result<Opener, String> {
        let lost = |what: &str| format!("{what}; {} has to `agent login` again", row.holder);
        let seal = self.keyring.find().map_err(|error| format!("the key of the logins cannot be read: {error}"))?;
        let seal = seal.ok_or_else(|| lost("the key of the logins is gone"))?;
        let opened = seal.open(&row.sealed, &[&row.site, &row.holder, &row.account]);
        let opened = opened.ok_or_else(|| lost("the key of the logins does not open it"))?;
        let Ok(Record { token, email, scoped }) = minicbor::decode(&opened) else {
            return Err(lost("a newer agent has kept it"));
        };
        Ok(Opener { email, token, scoped })
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<(String, String), LoginRow>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is sealed.
#[derive(Encode, Decode)]
struct Record {
    #[cbor(n(0), encode_with = "encode_token", decode_with = "decode_token")]
    token: SecretString,
    #[n(1)]
    email: Option<String>,
    #[n(2)]
    scoped: bool,
}

fn record(opener: &Opener) -> Zeroizing<Vec<u8>> {
    let Opener { email, token, scoped } = opener.clone();
    Zeroizing::new(minicbor::to_vec(Record { token, email, scoped }).expect("writing to a vector cannot fail"))
}

fn encode_token<C, W: Write>(
    token: &SecretString,
    e: &mut Encoder<W>,
    _: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    e.str(token.expose_secret())?.ok()
}

fn decode_token<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<SecretString, decode::Error> {
    d.str().map(SecretString::from)
}

fn write_token<S: Serializer>(token: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose_secret())
}

fn read_token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(holder: &str, account: &str, since: i64) -> LoginRow {
        LoginRow {
            site: "jira".to_owned(),
            holder: holder.to_owned(),
            account: account.to_owned(),
            sign_in: None,
            name: holder.to_owned(),
            sealed: Vec::new(),
            since,
            used_at: None,
            refused_at: None,
            refusal: None,
        }
    }

    /// Keeps a row as a login would, without a Jira.
    async fn keep(logins: &Logins, row: LoginRow, token: &str) {
        let opener = Opener { email: None, token: token.to_owned().into(), scoped: false };
        let seal = logins.keyring.make().unwrap();
        let sealed = seal.close(&record(&opener), &[&row.site, &row.holder, &row.account]).unwrap();
        let row = LoginRow { sealed, ..row };
        logins.queue.put_login(row.clone()).await.unwrap();
        logins.rows().insert((row.site.clone(), row.holder.clone()), row);
    }

    async fn logins(folder: &Path) -> Logins {
        Logins::load(Queue::open(folder, 1).unwrap(), folder, None).await.unwrap()
    }

    #[tokio::test]
    async fn f13_an_account_opens_with_what_was_handed_over_last_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let first = logins(folder.path()).await;
        keep(&first, row("Ann", "1", 5), "old").await;
        keep(&first, row("unix:ann", "1", 7), "new").await;
        let token = |logins: &Logins| logins.open("jira", "1").ok().unwrap().opener.token.expose_secret().to_owned();
        assert_eq!((token(&first), first.linked("jira", "Ann").unwrap().since), ("new".to_owned(), 5));
        assert!(first.log_out("jira", "unix:ann").await.unwrap());
        assert!(!first.log_out("jira", "unix:ann").await.unwrap());
        assert_eq!(token(&first), "old");
        first.queue.close();
        drop(first);
        let second = logins(folder.path()).await;
        assert_eq!(token(&second), "old");
        assert!(second.open("other", "1").err().unwrap().because.contains("nobody has linked"));
    }

    #[tokio::test]
    async fn f13_a_row_that_was_moved_or_a_key_that_was_lost_opens_nothing_and_says_what_helps() {
        let folder = tempfile::tempdir().unwrap();
        let logins = logins(folder.path()).await;
        keep(&logins, row("Ann", "1", 5), "ann-token").await;
        keep(&logins, row("Bob", "2", 5), "bob-token").await;
        let sealed = logins.of("jira", "1").unwrap().sealed;
        let swapped = LoginRow { sealed, ..logins.of("jira", "2").unwrap() };
        logins.rows().insert(("jira".to_owned(), "Bob".to_owned()), swapped);
        let shut = logins.open("jira", "2").err().unwrap();
        assert!(shut.because.contains("does not open it; Bob has to `agent login` again"), "{shut:?}");
        assert!(logins.open("jira", "1").is_ok());
        std::fs::remove_file(folder.path().join(seal::NAME)).unwrap();
        assert!(logins.open("jira", "1").err().unwrap().because.contains("the key of the logins is gone"));
    }

    #[tokio::test]
    async fn f43_a_refusal_is_kept_until_the_account_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let logins = logins(folder.path()).await;
        keep(&logins, row("Ann", "1", 5), "t").await;
        logins.refused("jira", "1", "401", 10).await.unwrap();
        let kept = async || logins.queue.logins().await.unwrap().remove(0);
        assert_eq!((kept().await.refused_at, kept().await.refusal.as_deref()), (Some(10), Some("401")));
        logins.used("jira", "1", 20).await.unwrap();
        assert_eq!((kept().await.used_at, kept().await.refusal), (Some(20), None));
        logins.used("jira", "1", 30).await.unwrap();
        assert_eq!(kept().await.used_at, Some(20), "not each use is written down");
    }

    #[test]
    fn f79_what_a_newer_agent_adds_to_a_request_is_passed_over() {
        let wish = Wish::In { token: "t".to_owned().into(), email: Some("a@b.example".to_owned()), scoped: true };
        let person = Some("Ann".to_owned());
        let mut bytes = Request { site: "jira".to_owned(), wish, person }.encode().to_vec();
        assert_eq!(bytes[0], 0x83, "an array of three");
        bytes[0] = 0x84;
        bytes.push(0x07);
        let read = Request::decode(&bytes).unwrap();
        assert!(matches!(read.wish, Wish::In { token, scoped: true, .. } if token.expose_secret() == "t"));
    }
}
