//! The SQLite file: opening, migrating, checking, and the one thread that writes.
//!
//! Jobs that wait are run together and committed once (group commit), each in a savepoint of its
//! own, so one that fails takes nothing with it; one that is alone needs none. A caller hears "done"
//! only after the commit.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::oneshot;

use super::ledger;
use crate::failpoint::{failpoint, weakened};

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{path}: {because}")]
    File { path: PathBuf, because: String },
    #[error("another daemon{} holds the queue in {}", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), path.display())]
    Locked { path: PathBuf, pid: Option<u32> },
    #[error(
        "the queue was written by a newer agent: schema {found}, this one knows up to {known}; install the newer version again, or restore a snapshot from before the upgrade"
    )]
    Newer { found: i64, known: i64 },
    #[error(
        "the queue {path} is damaged ({because}) and there is no snapshot to restore; move it aside to start with an empty one"
    )]
    Damaged { path: PathBuf, because: String },
    #[error(
        "{path} lies on a network file system ({kind}), where SQLite cannot keep its promises; choose a local state directory"
    )]
    Network { path: PathBuf, kind: &'static str },
    #[error("the disk of the queue is full")]
    Full,
    #[error("the queue cannot be written: {0}")]
    Broken(String),
    #[error("the queue takes no more work at the moment")]
    Overloaded,
    #[error("the queue is closed")]
    Closed,
    #[error("the queue: {0}")]
    Sql(String),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Error::Full,
            Some(
                ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::ReadOnly | ErrorCode::NotADatabase,
            ) => Error::Broken(error.to_string()),
            _ => Error::Sql(error.to_string()),
        }
    }
}

pub(super) struct Store {
    path: PathBuf,
    jobs: Mutex<Option<SyncSender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    reader: Arc<Mutex<Connection>>,
    broken: Arc<Mutex<Option<String>>>,
    /// Held for as long as the store is open: the lock is on this file, not on its existence.
    _lock: File,
}

/// Runs inside the group's transaction, which it may have for itself, and gives back what tells its caller, once the
/// outcome is known.
type Job = Box<dyn FnOnce(&Connection, Room) -> Told + Send>;

/// Tells a caller.
struct Told {
    /// Whether the job did what it was to do.
    is_done: bool,
    tell: Tell,
}

type Tell = Box<dyn FnOnce(&Result<(), Error>) + Send>;

/// Whether a job has its transaction for itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Then it is undone with it.
    Alone,
    Shared,
}

const GROUP: usize = 256;
/// How many pages gather in the log.
const LOG: i64 = 1000;
/// How many statements are kept prepared: all there are, because to prepare one costs more than to run it.
const STATEMENTS: usize = 256;
const WAITING: usize = 4096;
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
    include_str!("migrations/0010.sql"),
    include_str!("migrations/0011.sql"),
    include_str!("migrations/0012.sql"),
];

impl Store {
    pub fn open(directory: &Path, now: i64) -> Result<Store, Error> {
        private_directory(directory)?;
        refuse_network(directory)?;
        let lock = lock(directory)?;
        let path = directory.join("queue.db");
        let mut connection = open_checked(&path, now)?;
        migrate(&mut connection, MIGRATIONS)?;
        remember(&mut connection, now)?;
        set_clean(&connection, false)?;
        let (sender, receiver) = sync_channel(WAITING);
        let broken = Arc::new(Mutex::new(None));
        let reader = read_only(&path)?;
        let writer = std::thread::Builder::new()
            .name("queue".to_owned())
            .spawn({
                let broken = Arc::clone(&broken);
                move || write_until_closed(connection, &receiver, &broken)
            })
            .map_err(|error| failed(&path, &error))?;
        Ok(Store {
            path,
            jobs: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
            reader: Arc::new(Mutex::new(reader)),
            broken,
            _lock: lock,
        })
    }

    /// Runs a job on the writing thread; `Ok` comes after the commit that holds it.
    pub async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.write_then(job, |_| ()).await
    }

    /// Runs a job as [`Store::write`] does, and `then` on the same thread once its outcome is known: for what may not wait
    /// until its caller is awake. The job is handed over at once, not when the caller begins to wait.
    pub fn write_then<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        then: impl FnOnce(&Result<T, Error>) + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> {
        let (tell, told) = oneshot::channel::<Result<T, Error>>();
        let job: Job = Box::new(move |connection, room| {
            let result = if room == Room::Alone { job(connection) } else { in_savepoint(connection, job) };
            let is_done = result.is_ok();
            let tell = move |committed: &Result<(), Error>| {
                let outcome = match (result, committed) {
                    (Ok(value), Ok(())) => Ok(value),
                    (Err(error), _) => Err(error.into()),
                    (Ok(_), Err(error)) => Err(error.clone()),
                };
                then(&outcome);
                let _ = tell.send(outcome);
            };
            Told { is_done, tell: Box::new(tell) }
        });
        let handed = self.hand_over(job);
        async move {
            handed?;
            told.await.unwrap_or_else(|_| Err(self.broken().map_or(Error::Closed, Error::Broken)))
        }
    }

    fn hand_over(&self, job: Job) -> Result<(), Error> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().ok_or(Error::Closed)?.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Error::Overloaded,
            TrySendError::Disconnected(_) => Error::Closed,
        })
    }

    /// Runs a query beside the writer; it sees the last commit.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let reader = Arc::clone(&self.reader);
        tokio::task::spawn_blocking(move || {
            let connection = reader.lock().unwrap_or_else(PoisonError::into_inner);
            query(&connection).map_err(Error::from)
        })
        .await
        .map_err(|error| Error::Sql(error.to_string()))?
    }

    pub fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the writing thread of {} ended in a panic", self.path.display());
        }
    }

    pub fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Copies a store page by page through SQLite's backup interface, then renames the copy into place.
pub(super) fn snapshot(connection: &Connection, to: &Path) -> rusqlite::Result<()> {
    let temporary = to.with_extension("part");
    let _ = fs::remove_file(&temporary);
    {
        let mut copy = Connection::open(&temporary)?;
        rusqlite::backup::Backup::new(connection, &mut copy)?.run_to_completion(1024, Duration::ZERO, None)?;
        copy.execute_batch("PRAGMA journal_mode = DELETE")?;
        ledger::mark_copy(&copy)?;
    }
    let renamed = File::open(&temporary).and_then(|file| file.sync_all()).and_then(|()| fs::rename(&temporary, to));
    renamed.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Says that the store is broken if the thread that writes it ends in a panic: then nobody writes any more.
struct Writing<'a>(&'a Mutex<Option<String>>);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let because = "the writing thread ended in a panic".to_owned();
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(because);
        }
    }
}

fn write_until_closed(connection: Connection, jobs: &Receiver<Job>, broken: &Mutex<Option<String>>) {
    let _writing = Writing(broken);
    let mut group: Vec<Job> = Vec::with_capacity(GROUP);
    while let Ok(first) = jobs.recv() {
        group.push(first);
        group.extend(jobs.try_iter().take(GROUP - 1));
        let (told, committed) = commit(&connection, group.drain(..));
        failpoint("queue.before_ack");
        told.into_iter().for_each(|told| (told.tell)(&committed));
        if let Err(Error::Broken(because)) = committed {
            *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(because);
            return;
        }
        // What fails is tried again after the next group.
        let _ = bring_home(&connection, LOG);
    }
    let _ = set_clean(&connection, true);
}

/// Brings what is written into the file itself once so many pages of it have gathered in the log. SQLite would do it within
/// a commit, which then takes many times as long; here those who wait for one have been told.
fn bring_home(connection: &Connection, most: i64) -> rusqlite::Result<()> {
    let pages = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let (written, home) = connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], pages)?;
    if written >= most && home < written {
        connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |_| Ok(()))?;
    }
    Ok(())
}

/// Runs a group of jobs in one transaction.
fn commit(connection: &Connection, jobs: impl ExactSizeIterator<Item = Job>) -> (Vec<Told>, Result<(), Error>) {
    if let Err(error) = say(connection, "BEGIN IMMEDIATE") {
        return (refuse(jobs, &error.to_string()), Err(error.into()));
    }
    let room = if jobs.len() == 1 { Room::Alone } else { Room::Shared };
    let told: Vec<Told> = jobs.map(|job| job(connection, room)).collect();
    failpoint("queue.before_commit");
    let is_undone = room == Room::Alone && told.iter().any(|told| !told.is_done);
    let ended = say(connection, if is_undone { "ROLLBACK" } else { "COMMIT" });
    if ended.is_err() && !connection.is_autocommit() {
        let _ = say(connection, "ROLLBACK");
    }
    (told, ended.map_err(Error::from))
}

/// Runs a statement that is the same each time.
fn say(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Drops jobs that could not even begin; their callers learn it from the closed channel.
fn refuse(jobs: impl Iterator<Item = Job>, because: &str) -> Vec<Told> {
    let dropped = jobs.count();
    tracing::error!("{dropped} writes could not begin: {because}");
    Vec::new()
}

fn in_savepoint<T>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    say(connection, "SAVEPOINT job")?;
    let result = job(connection);
    if result.is_err() {
        say(connection, "ROLLBACK TO job")?;
    }
    say(connection, "RELEASE job")?;
    result
}

/// Opens the file; one that was not closed properly is checked, and a damaged one replaced by its snapshot.
fn open_checked(path: &Path, now: i64) -> Result<Connection, Error> {
    let damage = match open_and_check(path) {
        Ok(connection) => return Ok(connection),
        Err(Error::Broken(because)) => because,
        Err(error) => return Err(error),
    };
    let snapshot = path.with_extension("snapshot");
    if !snapshot.exists() {
        return Err(Error::Damaged { path: path.to_owned(), because: damage });
    }
    for suffix in ["", "-wal", "-shm"] {
        let part = PathBuf::from(format!("{}{suffix}", path.display()));
        if part.exists() {
            let aside = format!("{}{suffix}.corrupt-{now}", path.display());
            fs::rename(&part, aside).map_err(|error| failed(&part, &error))?;
        }
    }
    fs::copy(&snapshot, path).map_err(|error| failed(path, &error))?;
    tracing::error!("the queue was damaged ({damage}): it was moved aside and the last snapshot restored");
    open_and_check(path)
}

fn open_and_check(path: &Path) -> Result<Connection, Error> {
    let created = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    created.map_err(|error| failed(path, &error))?;
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 0;",
    )?;
    if weakened("synchronous") {
        connection.execute_batch("PRAGMA synchronous = NORMAL;")?;
    }
    if !was_closed_properly(&connection) {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(Error::Broken(verdict));
        }
    }
    Ok(connection)
}

fn read_only(path: &Path) -> Result<Connection, Error> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -4096;")?;
    Ok(connection)
}

/// The daemon writes this mark when it stops in good order and takes it away when it starts.
fn was_closed_properly(connection: &Connection) -> bool {
    connection
        .query_row("SELECT value FROM meta WHERE name = 'clean'", [], |row| row.get(0))
        .is_ok_and(|clean: i64| clean == 1)
}

fn set_clean(connection: &Connection, clean: bool) -> Result<(), Error> {
    let set = "INSERT INTO meta (name, value) VALUES ('clean', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1";
    connection.execute(set, [i64::from(clean)])?;
    Ok(())
}

/// Brings the schema to the newest version, each step in a transaction of its own.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), Error> {
    let known = i64::try_from(migrations.len()).expect("a handful");
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(Error::Newer { found, known });
    }
    for (version, sql) in (1..).zip(migrations).skip(usize::try_from(found).unwrap_or(0)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        failpoint("queue.in_migration");
        transaction.commit()?;
    }
    Ok(())
}

fn remember(connection: &mut Connection, now: i64) -> Result<(), Error> {
    let transaction = connection.transaction()?;
    ledger::remember(&transaction, now)?;
    transaction.commit()?;
    Ok(())
}

fn private_directory(directory: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| failed(directory, &error))
}

/// Locks the directory for as long as the file lives; the number inside says who holds it.
fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = file.map_err(|error| failed(&path, &error))?;
    if file.try_lock().is_err() {
        let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        return Err(Error::Locked { path: directory.to_owned(), pid });
    }
    let written = file
        .set_len(0)
        .and_then(|()| std::io::Write::write_all(&mut file, format!("{}\n", std::process::id()).as_bytes()));
    written.map_err(|error| failed(&path, &error))?;
    Ok(file)
}

/// Who holds the queue in a directory, if anybody does.
pub fn holder(directory: &Path) -> Option<u32> {
    let file = File::open(directory.join("lock")).ok()?;
    match file.try_lock_shared() {
        Ok(()) => None,
        Err(_) => fs::read_to_string(directory.join("lock")).ok()?.trim().parse().ok(),
    }
}

fn refuse_network(directory: &Path) -> Result<(), Error> {
    let Ok(found) = rustix::fs::statfs(directory) else {
        return Ok(());
    };
    // Magic numbers from the kernel's linux/magic.h.
    let kind = match found.f_type {
        0x6969 => "NFS",
        0x517b | 0xfe53_4d42 | 0xff53_4d42 => "SMB",
        0x0bd0_0bd0 => "Lustre",
        0x0102_1997 => "9P",
        _ => return Ok(()),
    };
    Err(Error::Network { path: directory.to_owned(), kind })
}

fn failed(path: &Path, because: &dyn std::fmt::Display) -> Error {
    Error::File { path: path.to_owned(), because: because.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f77_every_migration_meets_a_store_with_data() {
        let samples = [
            include_str!("migrations/0001.sample.sql"),
            include_str!("migrations/0002.sample.sql"),
            include_str!("migrations/0003.sample.sql"),
            include_str!("migrations/0004.sample.sql"),
            include_str!("migrations/0005.sample.sql"),
            include_str!("migrations/0006.sample.sql"),
            include_str!("migrations/0007.sample.sql"),
            include_str!("migrations/0008.sample.sql"),
            include_str!("migrations/0009.sample.sql"),
            include_str!("migrations/0010.sample.sql"),
            include_str!("migrations/0011.sample.sql"),
            include_str!("migrations/0012.sample.sql"),
        ];
        assert_eq!(samples.len(), MIGRATIONS.len());
        let mut connection = Connection::open_in_memory().unwrap();
        for (done, sample) in samples.iter().enumerate() {
            migrate(&mut connection, &MIGRATIONS[..=done]).unwrap();
            connection.execute_batch(sample).unwrap();
        }
        migrate(&mut connection, MIGRATIONS).unwrap();
        let broken: i64 =
            connection.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
        assert_eq!(broken, 0);
    }

    #[test]
    fn f77_orders_of_an_older_store_keep_when_they_ended_and_are_no_news() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &MIGRATIONS[..2]).unwrap();
        connection.execute_batch(include_str!("migrations/0001.sample.sql")).unwrap();
        connection.execute_batch(include_str!("migrations/0002.sample.sql")).unwrap();
        let old = "UPDATE effect SET state = 'settled', settled_at = 5 WHERE effect_key = 'k1';
                   UPDATE effect SET state = 'parked', refusal = NULL, settled_at = NULL WHERE effect_key = 'k2';
                   UPDATE audit SET effect_key = 'k2', what = 'parked', at = 8;";
        connection.execute_batch(old).unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        let sql =
            "SELECT group_concat(outcome || person, ' '), (SELECT value FROM meta WHERE name = 'outcome') FROM effect";
        let found: (String, i64) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(found, ("5 8".to_owned(), 8));
    }

    /// What becomes of a job that adds a row to `meta`, and whether `then` had run before its caller heard of it.
    async fn add(store: &Store, name: &'static str, fails: bool) -> (Result<(), Error>, bool) {
        let told = Arc::new(Mutex::new(false));
        let then = Arc::clone(&told);
        let job = move |c: &Connection| {
            c.execute("INSERT INTO meta (name, value) VALUES (?1, 1)", [name])?;
            if fails { Err(rusqlite::Error::InvalidQuery) } else { Ok(()) }
        };
        let outcome = store.write_then(job, move |_| *then.lock().unwrap() = true).await;
        (outcome, *told.lock().unwrap())
    }

    #[tokio::test]
    async fn a_job_that_fails_takes_back_its_own_and_nothing_else_alone_or_among_others() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1).unwrap();
        assert!(matches!(add(&store, "alone", true).await, (Err(Error::Sql(_)), true)));
        assert!(matches!(add(&store, "good", false).await, (Ok(()), true)));
        // The thread is held up, so that what comes meanwhile is a group.
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let first = store.write_then(move |_| Ok(held.recv().is_err()), |_| ());
        let group = futures_util::future::join(add(&store, "bad", true), add(&store, "better", false));
        let release = async { drop(hold) };
        let (_, (bad, better), ()) = tokio::join!(first, group, release);
        assert!(matches!((bad, better), ((Err(Error::Sql(_)), true), (Ok(()), true))));
        let found = |c: &Connection| {
            let sql = "SELECT group_concat(name) FROM meta WHERE name IN ('alone', 'bad', 'better', 'good')";
            c.query_row(sql, [], |row| row.get::<_, String>(0))
        };
        assert_eq!(store.read(found).await.unwrap(), "better,good");
    }

    #[tokio::test]
    async fn the_log_does_not_grow_beyond_what_is_to_gather() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1).unwrap();
        let log = || fs::metadata(folder.path().join("queue.db-wal")).unwrap().len();
        for _ in 0..LOG * 3 / 2 {
            store.write(|c| c.execute("UPDATE meta SET value = value + 1 WHERE name = 'event'", [])).await.unwrap();
        }
        assert!((LOG as u64 * 4096..LOG as u64 * 4096 * 3 / 2).contains(&log()), "{}", log());
    }

    #[test]
    fn f78_a_newer_schema_is_refused_with_an_instruction() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 999).unwrap();
        let error = migrate(&mut connection, MIGRATIONS).unwrap_err().to_string();
        assert!(error.contains("schema 999") && error.contains("install the newer version"), "{error}");
    }

    #[test]
    fn f25_the_linked_sqlite_has_the_wal_reset_repair() {
        assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    }

    #[test]
    fn f29_a_second_opening_names_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let first = Store::open(directory.path(), 0).unwrap();
        let error = Store::open(directory.path(), 0).err().unwrap();
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        assert_eq!(holder(directory.path()), Some(std::process::id()));
        drop(first);
        assert_eq!(holder(directory.path()), None);
        Store::open(directory.path(), 0).unwrap();
    }

    #[test]
    fn f22_a_damaged_store_gives_way_to_its_snapshot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.db");
        drop(Store::open(directory.path(), 0).unwrap());
        let snapshot_path = path.with_extension("snapshot");
        snapshot(&read_only(&path).unwrap(), &snapshot_path).unwrap();
        let noise = vec![0xa5; fs::metadata(&path).unwrap().len() as usize];
        fs::write(&path, &noise).unwrap();
        drop(Store::open(directory.path(), 7).unwrap());
        assert_eq!(fs::read(directory.path().join("queue.db.corrupt-7")).unwrap(), noise);

        fs::write(&path, &noise).unwrap();
        fs::remove_file(&snapshot_path).unwrap();
        assert!(matches!(Store::open(directory.path(), 8), Err(Error::Damaged { .. })));
    }
}
