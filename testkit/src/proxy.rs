//! A proxy in front of a real server that loses, cuts, delays and garbles what the tests tell it to.
//!
//! It reads the client's commands one by one, so a fault strikes at an exact place of the protocol however the bytes
//! were split on their way. A connection that a fault has harmed stays harmed after [`Proxy::pass`]: bytes that were
//! swallowed do not come back, so only a new connection is whole again, as in a real network.
//!
//! A sentinel that watches its server through the proxy is spared: faults wait for the other clients.

mod plan;
mod requests;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use plan::Fault;
use plan::Plan;
use requests::{Request, Requests};

use crate::certificates::Identity;
use crate::net::{Address, Stream, free_port, tls};
use crate::scratch::Scratch;

/// How long a server may take to run what was sent before its connection was closed.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 64 * 1024;
const GARBAGE: &[u8] = b"!garbage\r\n\0\xff";

/// A listening proxy. It ends, with all its connections, on drop.
#[derive(Debug)]
pub struct Proxy {
    address: Address,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: Address,
    /// The command that commits; EXEC unless it is set.
    commit: OnceLock<&'static str>,
    plan: Plan,
    links: Mutex<Vec<Weak<Link>>>,
    connections: AtomicU64,
    execs: AtomicU64,
    is_over: AtomicBool,
}

impl Proxy {
    /// Listens on a unix socket in `scratch` and passes everything on to `upstream`.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn unix(scratch: &Scratch, upstream: Address) -> Proxy {
        let path = scratch.new_folder("proxy").join("sock");
        let listener = UnixListener::bind(&path)
            .unwrap_or_else(|e| panic!("listen on {}: {e}", path.display()));
        Proxy::run(Address::Unix(path), upstream, move || {
            listener.accept().map(|(stream, _)| Stream::Unix(stream))
        })
    }

    /// Listens on a free TCP port of 127.0.0.1 and passes everything on to `upstream`.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn tcp(upstream: Address) -> Proxy {
        Proxy::run_tcp(upstream, Stream::Tcp)
    }

    /// As [`tcp`](Self::tcp), and speaks TLS with its clients, and not with the server: a fault strikes at as exact
    /// a place of the protocol as without.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn tls(upstream: Address, identity: &Identity) -> Proxy {
        let config = tls::config(identity);
        Proxy::run_tcp(upstream, move |stream| {
            Stream::Tls(Box::new(tls::TlsStream::new(stream, Arc::clone(&config))))
        })
    }

    fn run_tcp(upstream: Address, speak: impl Fn(TcpStream) -> Stream + Send + 'static) -> Proxy {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).expect("listen on a free port");
        let address = listener.local_addr().expect("an address");
        Proxy::run(Address::Tcp(address), upstream, move || {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            Ok(speak(stream))
        })
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        self.address.clone()
    }

    /// Its TCP port.
    ///
    /// # Panics
    /// When it listens on a unix socket.
    pub fn port(&self) -> u16 {
        match self.address {
            Address::Tcp(address) => address.port(),
            Address::Unix(_) => panic!("this proxy has no TCP port"),
        }
    }

    /// For a client that has no transactions: what is said of EXEC holds for each of these commands then.
    ///
    /// # Panics
    /// When it was said before.
    pub fn commits_by(&self, command: &'static str) {
        self.shared.commit.set(command).expect("said once");
    }

    /// Forgets every fault that is set or waiting; new connections are whole.
    pub fn pass(&self) {
        self.shared.plan.clear();
    }

    /// Does this wherever it applies, until [`pass`](Self::pass) or another fault is set.
    pub fn set(&self, fault: Fault) {
        self.shared.plan.set(fault);
    }

    /// Does this once, at the next place where it applies, and passes again. Several wait for each other in order.
    pub fn once(&self, fault: Fault) {
        self.shared.plan.once(fault);
    }

    /// How often a fault has struck; its duration, where it has one, does not matter.
    pub fn fired(&self, fault: Fault) -> u64 {
        self.shared.plan.fired(fault)
    }

    /// Faults set by [`once`](Self::once) that have not struck yet.
    pub fn waiting(&self) -> usize {
        self.shared.plan.waiting()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// EXEC commands (see [`commits_by`](Self::commits_by)) passed on to the server so far.
    pub fn execs(&self) -> u64 {
        self.shared.execs.load(Ordering::SeqCst)
    }

    /// Cuts every connection that is open now.
    pub fn cut_all(&self) {
        for link in self.shared.links.lock().expect("no panic under the lock").drain(..) {
            if let Some(link) = link.upgrade() {
                link.cut();
            }
        }
    }

    fn run(
        address: Address,
        upstream: Address,
        mut accept: impl FnMut() -> io::Result<Stream> + Send + 'static,
    ) -> Proxy {
        let shared = Arc::new(Shared {
            upstream,
            commit: OnceLock::new(),
            plan: Plan::default(),
            links: Mutex::default(),
            connections: AtomicU64::new(0),
            execs: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            while let Ok(client) = accept() {
                if own.is_over.load(Ordering::SeqCst) {
                    return;
                }
                own.connections.fetch_add(1, Ordering::SeqCst);
                own.open(client);
            }
        });
        Proxy { address, shared, acceptor: Some(acceptor) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // The acceptor looks at the flag when it has accepted. Where its socket's folder is gone already it can no
        // longer be reached, by nobody, and is left to the end of the process.
        if self.address.connect().is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
        self.cut_all();
    }
}

impl Shared {
    fn open(self: &Arc<Self>, client: Stream) {
        // Locked from the question to the answer: a connection is refused, or `cut_all` finds it.
        let mut links = self.links.lock().expect("no panic under the lock");
        if self.plan.take(Fault::Refuse) {
            return;
        }
        // With the server down the client's connection closes here, as if it had not been accepted.
        let Ok(server) = self.upstream.connect() else {
            return;
        };
        let link = Arc::new(Link {
            client,
            server,
            is_spared: AtomicBool::new(false),
            is_swallowing: AtomicBool::new(false),
            is_mute: AtomicBool::new(false),
        });
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(&link));
        drop(links);
        let (shared, requests, replies) = (Arc::clone(self), Arc::clone(&link), link);
        thread::spawn(move || {
            let end = shared.pass_requests(&requests);
            requests.close(end);
        });
        let shared = Arc::clone(self);
        thread::spawn(move || {
            shared.pass_replies(&replies);
            replies.cut();
        });
    }

    /// Client to server, one command at a time.
    fn pass_requests(&self, link: &Link) -> End {
        let mut requests = Requests::default();
        let mut is_in_multi = false;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = (&link.client).read(&mut buffer).unwrap_or(0);
            if count == 0 {
                return link.end_of_client();
            }
            requests.push(&buffer[..count]);
            while let Some(request) = requests.next() {
                if let Some(end) = self.pass_request(link, &request, &mut is_in_multi) {
                    return end;
                }
            }
        }
    }

    /// `Some` when a fault or the server ends the connection.
    fn pass_request(&self, link: &Link, request: &Request, is_in_multi: &mut bool) -> Option<End> {
        if request.is_of_sentinel() {
            link.is_spared.store(true, Ordering::SeqCst);
        }
        if link.is_spared.load(Ordering::SeqCst) {
            return (&link.server).write_all(&request.bytes).err().map(|_| End::Cut);
        }
        if link.is_swallowing.load(Ordering::SeqCst) {
            return None;
        }
        if self.plan.take(Fault::BlackHole) {
            link.is_swallowing.store(true, Ordering::SeqCst);
            return None;
        }
        if self.plan.take(Fault::HalfClose) {
            link.is_mute.store(true, Ordering::SeqCst);
            let _ = link.client.shutdown(Shutdown::Write);
        }
        let is_commit = self.is_commit(request);
        // Without transactions, each command that commits is in the middle of one.
        let is_inside = *is_in_multi || (is_commit && self.commit.get().is_some());
        if is_inside && self.plan.take(Fault::CutInRequest) {
            let half = request.bytes.len() / 2;
            let _ = (&link.server).write_all(&request.bytes[..half]);
            return Some(End::Drain);
        }
        if request.is("MULTI") {
            *is_in_multi = true;
        } else if is_commit {
            *is_in_multi = false;
            if self.plan.take(Fault::CutBeforeExec) {
                return Some(End::Drain);
            }
            if self.plan.take(Fault::CutAfterExec) {
                link.is_mute.store(true, Ordering::SeqCst);
                let _ = self.forward(link, request);
                return Some(End::Drain);
            }
            if let Some(delay) = self.plan.take_delay(Fault::LateExec(Duration::ZERO)) {
                link.is_mute.store(true, Ordering::SeqCst);
                let _ = link.client.shutdown(Shutdown::Both);
                pause(delay);
                let _ = self.forward(link, request);
                return Some(End::Drain);
            }
        }
        self.forward(link, request).err().map(|_| End::Cut)
    }

    fn is_commit(&self, request: &Request) -> bool {
        request.is(self.commit.get().unwrap_or(&"EXEC"))
    }

    fn forward(&self, link: &Link, request: &Request) -> io::Result<()> {
        (&link.server).write_all(&request.bytes)?;
        if self.is_commit(request) {
            self.execs.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Server to client, as the bytes come.
    fn pass_replies(&self, link: &Link) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = match (&link.server).read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            if link.is_spared.load(Ordering::SeqCst) {
                if (&link.client).write_all(&buffer[..count]).is_err() {
                    return;
                }
                continue;
            }
            if link.is_mute.load(Ordering::SeqCst) || link.is_swallowing.load(Ordering::SeqCst) {
                continue;
            }
            if self.plan.take(Fault::DropReplies) {
                link.is_mute.store(true, Ordering::SeqCst);
                continue;
            }
            if let Some(delay) = self.plan.take_delay(Fault::DelayReplies(Duration::ZERO)) {
                pause(delay);
            }
            let bytes = if self.plan.take(Fault::Garbage) { GARBAGE } else { &buffer[..count] };
            if (&link.client).write_all(bytes).is_err() {
                return;
            }
        }
    }
}

/// How a connection ends.
enum End {
    /// At once, on both sides.
    Cut,
    /// Towards the server only after it has worked on everything it was sent: what the client finds out on its next
    /// connection does not depend on chance then.
    Drain,
}

/// A client's connection and the proxy's own to the server.
#[derive(Debug)]
struct Link {
    client: Stream,
    server: Stream,
    /// The client is a sentinel: everything passes.
    is_spared: AtomicBool,
    /// Requests are read and thrown away.
    is_swallowing: AtomicBool,
    /// Replies are read and thrown away.
    is_mute: AtomicBool,
}

impl Link {
    /// A client that was left without replies goes away at once, and what it wrote before still reaches the server: a
    /// server that finds its connection closed when it answers MULTI never reads the EXEC behind it.
    fn end_of_client(&self) -> End {
        if self.is_mute.load(Ordering::SeqCst) { End::Drain } else { End::Cut }
    }

    fn cut(&self) {
        // Errors: the other side closed it first.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    fn close(&self, end: End) {
        if let End::Drain = end {
            self.is_mute.store(true, Ordering::SeqCst);
            let _ = self.server.shutdown(Shutdown::Write);
            let _ = self.server.set_read_timeout(Some(DRAIN_DEADLINE));
            // The other thread reads too; the end of the stream comes to both.
            let mut buffer = vec![0; READ_BYTES];
            while (&self.server).read(&mut buffer).is_ok_and(|count| count > 0) {}
        }
        self.cut();
    }
}

fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a delay is what was ordered")]
    thread::sleep(duration);
}
