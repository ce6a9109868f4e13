//! What opens a site: the secret that a person put somewhere, the tokens that are had for it, and an account's pass.
//!
//! A secret is read once and kept out of every log. A token is good for one origin: nothing but [`Bearer::request`] and
//! [`Pass::request`] can use one, and they make requests to the origin it is for.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Method, RequestBuilder, Url};
use rustix::fs::OFlags;
use secrecy::{ExposeSecret, SecretString};

use super::Error;

/// Where a secret is, as a section of the configuration says.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub file: Option<&'a Path>,
    /// The name of a systemd credential.
    pub credential: Option<&'a str>,
    /// What the two settings are called.
    pub names: [&'static str; 2],
}

/// A secret and where it came from.
pub struct Secret {
    /// None where it was handed to us.
    place: Option<(PathBuf, Guard)>,
    value: SecretString,
}

/// A token for one origin, until it runs out.
#[derive(Clone)]
pub struct Bearer {
    base: Url,
    value: SecretString,
    until: Instant,
}

/// What lets an account in at one origin, for as long as its secret is good.
pub struct Pass {
    base: Url,
    /// The mail address that goes with the token; none where the token alone says who it is.
    email: Option<String>,
    secret: Secret,
}

impl Place<'_> {
    /// Checks that it is one place, and one that can be.
    pub fn check(&self) -> Result<(), Error> {
        let [file, credential] = self.names;
        let wrong = |setting, because: String| Err(Error::Setting { setting, because });
        match (self.file, self.credential) {
            (Some(_), Some(_)) => wrong(credential, format!("is given besides {file}; one of them has to go")),
            (None, None) => {
                wrong(file, format!("is missing, and {credential} too; one of them says where the secret is"))
            }
            (None, Some(name)) if name.is_empty() || name.starts_with('.') || name.contains('/') => {
                wrong(credential, "is not the name of a systemd credential".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl Secret {
    /// Reads the secret from the file or the systemd credential that the settings name.
    pub fn read(place: Place<'_>, credentials_directory: Option<&Path>) -> Result<Secret, Error> {
        let [file, credential] = place.names;
        let (path, guard) = match (place.file, place.credential, credentials_directory) {
            (Some(path), _, _) => (path.to_owned(), Guard::Mode),
            (None, Some(name), Some(directory)) => (directory.join(name), Guard::Systemd),
            (None, Some(name), None) => {
                let because = format!("{name} cannot be had: systemd did not start this process with credentials");
                return Err(Error::Setting { setting: credential, because });
            }
            (None, None, _) => {
                let because = format!("is missing, and {credential} too");
                return Err(Error::Setting { setting: file, because });
            }
        };
        let value = read(&path, guard)?;
        crate::secret::hide(value.expose_secret());
        Ok(Secret { place: Some((path, guard)), value })
    }

    /// Takes a secret that lies nowhere.
    pub fn given(value: SecretString) -> Secret {
        crate::secret::hide(value.expose_secret());
        Secret { place: None, value }
    }

    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    /// Tells whether there is another secret now; one that cannot be read is none.
    pub fn changed(&self) -> bool {
        let differs = |value: SecretString| value.expose_secret() != self.expose();
        self.place.as_ref().is_some_and(|(path, guard)| read(path, *guard).is_ok_and(differs))
    }
}

impl Bearer {
    /// Takes a token that lives for `seconds`; a minute before its end it is not used any more.
    pub fn new(base: Url, value: String, seconds: u64, now: Instant) -> Bearer {
        crate::secret::hide_token(&value);
        let life = Duration::from_secs(seconds.min(DAY)).saturating_sub(MARGIN);
        Bearer { base, value: value.into(), until: now + life }
    }

    pub fn is_good(&self, now: Instant) -> bool {
        now < self.until
    }

    pub fn is(&self, other: &Bearer) -> bool {
        self.value.expose_secret() == other.value.expose_secret()
    }

    /// Makes a request below the base the token is good for; segments and values are encoded.
    pub fn request(&self, http: &Client, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        http.request(method, below(&self.base, path, query)).bearer_auth(self.value.expose_secret())
    }
}

impl Pass {
    /// Takes a mail address with an API token, or a personal access token alone, for one origin.
    pub fn new(base: Url, email: Option<String>, secret: Secret, http: &Client) -> Pass {
        let pass = Pass { base, email, secret };
        // What goes over the line is another text than the token, and opens as much.
        let request = pass.request(http, Method::GET, &[], &[]).build();
        let header = request.ok().and_then(|request| request.headers().get(AUTHORIZATION).cloned());
        if let Some(header) = header.as_ref().and_then(|header| header.to_str().ok()) {
            crate::secret::hide(header.rsplit(' ').next().unwrap_or(header));
        }
        pass
    }

    pub fn base(&self) -> &Url {
        &self.base
    }

    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Makes a request below the base the pass is good for; segments and values are encoded.
    pub fn request(&self, http: &Client, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let request = http.request(method, below(&self.base, path, query));
        match &self.email {
            Some(email) => request.basic_auth(email, Some(self.secret.expose())),
            None => request.bearer_auth(self.secret.expose()),
        }
    }
}

fn below(base: &Url, path: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut().expect("settings take http and https only").pop_if_empty().extend(path);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// Who keeps others from reading the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// The file's owner and mode, which we look at.
    Mode,
    /// The directory, which systemd mounts for this service alone.
    Systemd,
}

/// How long before its end a token is taken for spent.
const MARGIN: Duration = Duration::from_secs(60);
/// The longest a token is believed to live, in seconds.
const DAY: u64 = 86_400;
/// More than this is no secret.
const MOST_BYTES: u64 = 64 << 10;

fn read(path: &Path, guard: Guard) -> Result<SecretString, Error> {
    let refused = |because: String| Error::Secret { path: path.to_owned(), because };
    let file = open(path).map_err(refused)?;
    if guard == Guard::Mode {
        check_owner(&file, path).map_err(refused)?;
    }
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| refused(error.to_string()))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    match () {
        () if text.len() as u64 > MOST_BYTES => Err(refused("it is too large for a secret".to_owned())),
        () if secret.is_empty() => Err(refused("it is empty".to_owned())),
        () if secret.chars().any(char::is_control) => Err(refused("it holds more than one line".to_owned())),
        () => Ok(secret.into()),
    }
}

fn open(path: &Path) -> Result<File, String> {
    // Without waiting: somebody may have put a pipe there.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("flags of open fit the kernel's int");
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => "it is a symbolic link; name the file itself".to_owned(),
        _ => error.to_string(),
    })?;
    match file.metadata() {
        Ok(found) if found.is_file() => Ok(file),
        Ok(_) => Err("it is not a file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn check_owner(file: &File, path: &Path) -> Result<(), String> {
    let found = file.metadata().map_err(|error| error.to_string())?;
    let us = rustix::process::geteuid().as_raw();
    // The superuser tries a site for the service, whose file it is.
    if us != 0 && found.uid() != us && found.uid() != 0 {
        let uid = found.uid();
        return Err(format!("it belongs to user {uid}, who could change it; `chown {us} {}` helps", path.display()));
    }
    match found.mode() & 0o077 {
        0 => Ok(()),
        _ => Err(format!("others than its owner may use it; `chmod 600 {}` helps", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// What comes of a file with this content and mode.
    #[track_caller]
    fn check(content: &str, mode: u32, expected: Result<&str, &str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match (read(&path, Guard::Mode), expected) {
            (Ok(secret), Ok(expected)) => assert_eq!(secret.expose_secret(), expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (found, _) => panic!("{:?}", found.map(|secret| secret.expose_secret().to_owned())),
        }
    }

    #[test]
    fn a_secret_is_one_line_without_its_end() {
        check("s3cret\n", 0o600, Ok("s3cret"));
        check("s3cret\r\n", 0o400, Ok("s3cret"));
        check("\n", 0o600, Err("it is empty"));
        check("one\ntwo\n", 0o600, Err("more than one line"));
        check(&"x".repeat(70_000), 0o600, Err("too large"));
    }

    #[test]
    fn s13_a_file_that_others_may_read_is_refused_with_what_helps() {
        for mode in [0o640, 0o604, 0o620, 0o610] {
            check("s3cret", mode, Err("`chmod 600 "));
        }
    }

    #[test]
    fn s13_a_link_or_a_folder_is_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        fs::write(folder.path().join("secret"), "s").unwrap();
        symlink(folder.path().join("secret"), &link).unwrap();
        let said = |path: &Path| read(path, Guard::Systemd).unwrap_err().to_string();
        assert!(said(&link).contains("symbolic link"), "{}", said(&link));
        assert!(said(folder.path()).contains("not a file"), "{}", said(folder.path()));
        assert!(said(&folder.path().join("none")).contains("No such file"));
    }

    #[test]
    fn f43_a_new_secret_is_noticed_and_a_missing_one_is_not_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "one\n").unwrap();
        let value = read(&path, Guard::Systemd).unwrap();
        let secret = Secret { place: Some((path.clone(), Guard::Systemd)), value };
        assert!(!secret.changed());
        fs::write(&path, "one").unwrap();
        assert!(!secret.changed());
        fs::write(&path, "two").unwrap();
        assert!(secret.changed());
        fs::remove_file(&path).unwrap();
        assert!(!secret.changed());
    }

    #[test]
    fn a_token_is_spent_a_minute_before_its_end() {
        let now = Instant::now();
        let bearer = Bearer::new(Url::parse("https://a.example").unwrap(), "t".to_owned(), 900, now);
        assert!(bearer.is_good(now + Duration::from_secs(839)));
        assert!(!bearer.is_good(now + Duration::from_secs(840)));
        let short = Bearer::new(Url::parse("https://a.example").unwrap(), "t".to_owned(), 30, now);
        assert!(!short.is_good(now));
    }

    #[test]
    fn s15_a_token_goes_to_its_own_origin_only() {
        let base = Url::parse("http://127.0.0.1:9/base/").unwrap();
        let bearer = Bearer::new(base, "t".to_owned(), 900, Instant::now());
        let path = ["..", "//evil.example", "@evil.example", "a/b?c#d"];
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().tls_certs_only([]).build().unwrap();
        let request = bearer.request(&http, Method::GET, &path, &[("k", "v&w")]).build().unwrap();
        let url = request.url().as_str();
        assert_eq!(url, "http://127.0.0.1:9/base/%2F%2Fevil.example/@evil.example/a%2Fb%3Fc%23d?k=v%26w");
        assert!(request.headers()["authorization"].is_sensitive());
    }

    #[test]
    fn s14_s15_a_pass_goes_to_its_own_origin_only_and_never_into_a_text() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("jira"), "canary-pass-1\n").unwrap();
        let place = Place { file: None, credential: Some("jira"), names: ["secret_file", "credential"] };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().tls_certs_only([]).build().unwrap();
        for (email, shown) in [(Some("a@b.example"), "Basic "), (None, "Bearer ")] {
            let secret = Secret::read(place, Some(folder.path())).unwrap();
            let base = Url::parse("http://127.0.0.1:9/jira").unwrap();
            let pass = Pass::new(base, email.map(str::to_owned), secret, &http);
            let request = pass.request(&http, Method::GET, &["@evil.example", "..", "a/b"], &[]).build().unwrap();
            assert_eq!(request.url().as_str(), "http://127.0.0.1:9/jira/@evil.example/a%2Fb");
            let header = &request.headers()["authorization"];
            assert!(header.is_sensitive() && header.to_str().unwrap().starts_with(shown));
            let line = crate::secret::without(format!("sent {}", header.to_str().unwrap()).into_bytes());
            assert_eq!(line, format!("sent {shown}[secret]").into_bytes());
        }
    }
}
