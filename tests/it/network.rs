//! The way to Jira: names, ports, certificates and proxies that fail, and what is said of each.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::clock::Clock;
use crate::direct::{Direct, Promise, wait_for_commits};
use crate::harness::{World, wait_until_or};
use crate::jira::{SITE, TOP, commits, owed, rests, world};

/// A request as it came by.
pub struct Asked {
    /// Such as `POST http://host/path HTTP/1.1`.
    pub line: String,
    pub head: String,
    pub body: Vec<u8>,
}

/// A proxy that hands requests on and remembers them.
pub struct Proxy {
    pub address: String,
    pub seen: Arc<Mutex<Vec<Asked>>>,
}

impl Proxy {
    pub fn start() -> Proxy {
        Proxy::answering(|asked, line| match asked.line.starts_with("CONNECT ") {
            true => tunnel(target(asked), line),
            false => drop(line.write_all(&forward(target(asked), asked))),
        })
    }

    /// A proxy that refuses everybody.
    fn refusing() -> Proxy {
        Proxy::answering(|_, line| {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\
                           Content-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = line.write_all(refusal.as_bytes());
        })
    }

    fn answering(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Proxy {
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let address = listen(move |mut line| {
            if let Some(asked) = read_request(&mut line) {
                answer(&asked, &mut line);
                kept.lock().unwrap().push(asked);
            }
        });
        Proxy { address, seen }
    }

    /// The setting that leads through it.
    pub fn setting(&self) -> String {
        format!("proxy = \"http://{}\"\n", self.address)
    }

    /// How many requests begin like this.
    fn count(&self, beginning: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|asked| asked.line.starts_with(beginning)).count()
    }
}

/// An authority of our own.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    /// Writes the authority's certificate and gives the setting that makes it trusted.
    fn setting(&self, world: &World) -> String {
        std::fs::write(world.folder.join("ca.pem"), self.certificate.pem()).unwrap();
        "ca_file = \"ca.pem\"\n".to_owned()
    }

    /// A TLS server for `name` that hands everything on to the sandbox; gives its address.
    fn serve(&self, world: &World, name: &str, last_year: i32) -> String {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(last_year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()));
        let (config, sandbox) = (Arc::new(config.unwrap()), world.sandbox.address.clone());
        listen(move |line| {
            let mut line = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), line);
            if let Some(asked) = read_request(&mut line) {
                let _ = line.write_all(&forward(&sandbox, &asked));
                line.conn.send_close_notify();
                let _ = line.flush();
            }
        })
    }
}

/// Listens on loopback as long as the test runs, a thread for each connection.
pub fn listen(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for line in listener.incoming().flatten() {
            let handle = Arc::clone(&handle);
            std::thread::spawn(move || handle(line));
        }
    });
    address
}

fn read_request(line: &mut impl Read) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        line.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|field| field.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    line.read_exact(&mut body).ok()?;
    Some(Asked { line: head.lines().next()?.to_owned(), head, body })
}

/// The host and port that a proxy is asked for.
fn target(asked: &Asked) -> &str {
    let target = asked.line.split(' ').nth(1).unwrap();
    let target = target.trim_start_matches("http://");
    target.split('/').next().unwrap()
}

/// Asks a server on and gives all it answers.
fn forward(to: &str, asked: &Asked) -> Vec<u8> {
    let Ok(mut line) = TcpStream::connect(to) else {
        return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
    };
    let origin = asked.head.replacen(&format!("http://{to}"), "", 1);
    let head = origin.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let mut answer = Vec::new();
    let _ = line.write_all(&[head.as_bytes(), &asked.body].concat()).and_then(|()| line.read_to_end(&mut answer));
    answer
}

fn tunnel(to: &str, near: &mut TcpStream) {
    let Ok(far) = TcpStream::connect(to) else { return };
    let _ = near.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    let (mut from_near, mut to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let up = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_near, &mut to_far);
        let _ = to_far.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut &far, near);
    let _ = near.shutdown(Shutdown::Write);
    let _ = up.join();
}

/// Lets the site's addresses lead to `url` in place of the sandbox, with these lines for the site.
fn lead(world: &World, url: &str, lines: &str) {
    world.configure(&format!("{lines}{SITE}"), TOP);
    let text = std::fs::read_to_string(world.config()).unwrap().replace(&world.sandbox.url(), url);
    std::fs::write(world.config(), text).unwrap();
}

/// Asserts that the site rests for this reason with everything still owed, and that mending the way is all it takes.
#[track_caller]
fn rests_until_mended(world: &World, direct: &Direct<'_>, number: usize, because: &str, mend: impl FnOnce()) {
    assert_eq!(direct.push(number), Promise::Queued);
    rests(world, because);
    assert_eq!(owed(world, "parked"), 0);
    assert!(owed(world, "ready") > 0);
    mend();
    wait_for_commits(world, &direct.commits[..=number]);
}

#[test]
fn f39_a_name_that_cannot_be_resolved_is_named_and_nothing_is_lost() {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    // Where no resolver answers, it may be the connect timeout that speaks first.
    let began = Instant::now();
    let _ = ("jira.invalid", 443).to_socket_addrs();
    let because = match began.elapsed() < Duration::from_secs(3) {
        true => "the name jira.invalid cannot be resolved",
        false => "jira.invalid",
    };
    lead(&world, "https://jira.invalid", "");
    let _daemon = world.daemon();
    rests_until_mended(&world, &direct, 0, because, || lead(&world, &world.sandbox.url(), ""));
}

#[test]
fn f40_a_port_that_refuses_is_named_and_nothing_is_lost() {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    lead(&world, &format!("http://{closed}"), "");
    let _daemon = world.daemon();
    let because = format!("cannot reach {closed}: Connection refused");
    rests_until_mended(&world, &direct, 0, &because, || lead(&world, &world.sandbox.url(), ""));
}

/// A listener whose backlog is full, so that whoever knocks hears nothing.
fn black_hole() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
    let held = std::iter::from_fn(knock).take(64).collect();
    (listener, held, address)
}

#[test]
fn f40_a_black_hole_is_given_up_after_the_connect_timeout_and_holds_no_push_up() {
    let world = world();
    let direct = Direct::new(&world, "tool", 2);
    let (_listener, _held, address) = black_hole();
    lead(&world, &format!("http://{address}"), "");
    let _daemon = world.daemon();
    assert_eq!(direct.push(0), Promise::Queued);
    rests_until_mended(&world, &direct, 1, &format!("cannot reach {address}: no connection in time"), || {
        lead(&world, &world.sandbox.url(), "");
    });
}

#[test]
fn f40_a_host_that_takes_calls_and_never_answers_is_given_up() {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    let silent = listen(|line| drop((&line).read_to_end(&mut Vec::new())));
    lead(&world, &format!("http://{silent}"), "");
    let Some((clock, _daemon)) = Clock::of_everything(&world) else { return };
    assert_eq!(direct.push(0), Promise::Queued);
    let mut later = 0;
    wait_until_or(
        "it is given up",
        || {
            later += 5;
            clock.set(&format!("+{later}"));
            world.status()["running"]["sites"]["jira"]["resting"]["because"]
                .as_str()
                .is_some_and(|because| because.contains("did not answer in time"))
        },
        || world.log(),
    );
    lead(&world, &world.sandbox.url(), "");
    wait_for_commits(&world, &direct.commits);
}

#[test]
fn f41_an_unknown_authority_is_never_believed_until_ca_file_names_it() {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    let authority = Authority::new();
    let address = authority.serve(&world, "localhost", 2090);
    let url = format!("https://{}", address.replace("127.0.0.1", "localhost"));
    lead(&world, &url, "");
    let _daemon = world.daemon();
    let because = "is not accepted: its authority is not known here; set ca_file";
    rests_until_mended(&world, &direct, 0, because, || lead(&world, &url, &authority.setting(&world)));
    assert_eq!(commits(&world).len(), 1);
}

#[test]
fn f41_a_certificate_that_expired_or_is_for_another_name_is_never_believed() {
    let world = world();
    let direct = Direct::new(&world, "tool", 2);
    let authority = Authority::new();
    let ca_file = authority.setting(&world);
    let url = |name, year| format!("https://{}", authority.serve(&world, name, year).replace("127.0.0.1", "localhost"));
    let good = url("localhost", 2090);
    lead(&world, &url("localhost", 2021), &ca_file);
    let _daemon = world.daemon();
    rests_until_mended(&world, &direct, 0, "it has expired, or this machine's clock is wrong", || {
        lead(&world, &good, &ca_file);
    });
    lead(&world, &url("jira.example.org", 2090), &ca_file);
    world.agent_says(&["daemon", "reload"]);
    rests_until_mended(&world, &direct, 1, "it is for another name", || lead(&world, &good, &ca_file));
}

#[test]
fn f42_a12_everything_goes_through_the_proxy_of_the_configuration_and_of_no_other() {
    let world = world();
    let direct = Direct::new(&world, "tool", 3);
    let (proxy, wrong) = (Proxy::start(), Proxy::refusing());
    let of_environment = format!("http://{}", wrong.address);
    let _daemon = world.daemon_with(&[("HTTP_PROXY", &of_environment), ("http_proxy", &of_environment)]);
    let told = |at: usize| {
        assert_eq!(direct.push(at), Promise::Queued);
        wait_for_commits(&world, &direct.commits[..=at]);
        (proxy.seen.lock().unwrap().len(), world.sandbox.requests("").len())
    };
    let (by_proxy, straight) = told(0);
    assert_eq!(by_proxy, 0);
    world.configure(&format!("{}{SITE}", proxy.setting()), TOP);
    world.agent_says(&["daemon", "reload"]);
    let (by_proxy, all) = told(1);
    assert_eq!(by_proxy, all - straight);
    world.configure(&format!("{}no_proxy = \"127.0.0.1\"\n{SITE}", proxy.setting()), TOP);
    world.agent_says(&["daemon", "reload"]);
    assert_eq!(told(2).0, by_proxy);
    assert_eq!(wrong.seen.lock().unwrap().len(), 0);
}

#[test]
fn f42_a12_tls_goes_through_a_proxy_unread() {
    let world = world();
    let direct = Direct::new(&world, "tool", 1);
    let (proxy, authority) = (Proxy::start(), Authority::new());
    let address = authority.serve(&world, "localhost", 2090);
    let url = format!("https://{}", address.replace("127.0.0.1", "localhost"));
    lead(&world, &url, &format!("{}{}", proxy.setting(), authority.setting(&world)));
    let _daemon = world.daemon();
    assert_eq!(direct.push(0), Promise::Queued);
    wait_for_commits(&world, &direct.commits);
    let seen = proxy.seen.lock().unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|asked| asked.line.starts_with("CONNECT localhost:")));
    assert!(seen.iter().all(|asked| !asked.head.to_ascii_lowercase().contains("\nauthorization:")));
}

#[test]
fn f42_a_proxy_that_wants_a_password_is_named_and_nothing_is_lost() {
    let world = world();
    let direct = Direct::new(&world, "tool", 2);
    let (proxy, authority) = (Proxy::refusing(), Authority::new());
    let mend = || lead(&world, &world.sandbox.url(), "");
    lead(&world, &world.sandbox.url(), &proxy.setting());
    let _daemon = world.daemon();
    rests_until_mended(&world, &direct, 0, "the proxy wants a password", mend);
    let address = authority.serve(&world, "localhost", 2090);
    let url = format!("https://{}", address.replace("127.0.0.1", "localhost"));
    lead(&world, &url, &format!("{}{}", proxy.setting(), authority.setting(&world)));
    world.agent_says(&["daemon", "reload"]);
    rests_until_mended(&world, &direct, 1, "a proxy is configured", mend);
    assert!(proxy.count("CONNECT ") > 0);
    assert!(world.log().contains("proxy authorization required"), "{}", world.log());
}
