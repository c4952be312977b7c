//! The proxy in front of a real server: every fault strikes where and how it says.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult, Value};
use testkit::{Fault, Flavour, Proxy, Scratch, Server, entries, record, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn add(connection: &mut Connection, number: u64) -> RedisResult<String> {
    redis::cmd("XADD").arg("audit").arg("*").arg("msg").arg(record(number)).query(connection)
}

/// A server, a proxy in front of it, and a way to a connection through the proxy with short deadlines.
struct Path {
    server: Server,
    proxy: Proxy,
    // Last: the servers end before their folder goes.
    _scratch: Scratch,
}

impl Path {
    fn new() -> Path {
        let scratch = Scratch::new();
        let server = Server::builder(Flavour::Valkey91).start(&scratch);
        let proxy = Proxy::unix(&scratch, server.address());
        Path { server, proxy, _scratch: scratch }
    }

    fn connection(&self) -> Connection {
        let client = redis::Client::open(format!(
            "unix://{}",
            self.proxy.address().to_string().trim_start_matches("unix:")
        ));
        let connection = client.unwrap().get_connection().unwrap();
        connection.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        connection
    }

    fn transaction(connection: &mut Connection, number: u64) -> RedisResult<Value> {
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("XADD").arg("audit").arg("*").arg("msg").arg(record(number));
        pipeline.query(connection)
    }

    fn count(&self) -> usize {
        entries(&mut self.server.connection(), "audit").len()
    }
}

/// A connection without a client library's greeting.
fn bare(proxy: &Proxy) -> UnixStream {
    UnixStream::connect(proxy.address().to_string().trim_start_matches("unix:")).unwrap()
}

#[test]
fn a_passing_proxy_changes_nothing() {
    let path = Path::new();
    let mut connection = path.connection();
    for number in 0..100 {
        Path::transaction(&mut connection, number).unwrap();
    }
    assert_eq!((path.count(), path.proxy.execs(), path.proxy.connections()), (100, 100, 1));
}

#[test]
fn each_fault_strikes_once_and_does_what_it_says() {
    // The fault, whether the server has the entry, whether the client finds out at once (a cut) or by its deadline.
    let cases = [
        (Fault::CutBeforeExec, 0, true),
        (Fault::CutAfterExec, 1, true),
        (Fault::CutInRequest, 0, true),
        (Fault::HalfClose, 1, true),
        (Fault::DropReplies, 1, false),
        (Fault::BlackHole, 0, false),
        (Fault::LateExec(Duration::from_millis(50)), 1, true),
        (Fault::DelayReplies(Duration::from_millis(900)), 1, false),
    ];
    for (fault, expected, is_cut) in cases {
        let path = Path::new();
        let mut connection = path.connection();
        path.proxy.once(fault);
        let begin = Instant::now();
        let Err(error) = Path::transaction(&mut connection, 1) else {
            panic!("{fault:?} did not disturb the transaction");
        };
        assert_eq!(begin.elapsed() < Duration::from_millis(290), is_cut, "{fault:?}: {error}");
        wait_until(&format!("the entries after {fault:?}"), SOON, || path.count() == expected);
        assert_eq!((path.proxy.fired(fault), path.proxy.waiting()), (1, 0), "{fault:?}");
        Path::transaction(&mut path.connection(), 2).unwrap();
        assert_eq!(path.count(), expected + 1, "{fault:?}");
    }
}

// Byte by byte, because a client library may make sense of a reply that follows the garbage.
#[test]
fn garbage_stands_in_place_of_a_reply() {
    let path = Path::new();
    let mut client = bare(&path.proxy);
    let mut replies = [[0; 64]; 2];
    let mut lengths = [0; 2];
    path.proxy.once(Fault::Garbage);
    for (reply, length) in replies.iter_mut().zip(&mut lengths) {
        client.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
        *length = client.read(reply).unwrap();
    }
    assert_ne!(&replies[0][..lengths[0]], b"+PONG\r\n");
    assert_eq!(&replies[1][..lengths[1]], b"+PONG\r\n");
    assert_eq!((path.proxy.fired(Fault::Garbage), path.proxy.waiting()), (1, 0));
}

#[test]
fn what_a_cut_left_behind_is_settled_when_the_client_learns_of_it() {
    for _ in 0..20 {
        let path = Path::new();
        path.proxy.once(Fault::CutAfterExec);
        Path::transaction(&mut path.connection(), 1).unwrap_err();
        assert_eq!(path.count(), 1);
    }
}

#[test]
fn a_refused_connection_and_a_lasting_fault_end_with_pass() {
    let path = Path::new();
    path.proxy.set(Fault::Refuse);
    let client = redis::Client::open(format!(
        "unix://{}",
        path.proxy.address().to_string().trim_start_matches("unix:")
    ));
    let client = client.unwrap();
    for _ in 0..2 {
        assert!(
            client.get_connection().and_then(|mut connection| add(&mut connection, 1)).is_err()
        );
    }
    path.proxy.pass();
    add(&mut path.connection(), 1).unwrap();
    assert_eq!((path.proxy.fired(Fault::Refuse), path.count()), (2, 1));
    let mut connection = path.connection();
    path.proxy.cut_all();
    assert!(add(&mut connection, 2).is_err());
}

/// Oracle: the end of each connection that was being opened at that moment.
#[test]
fn a_connection_that_is_being_opened_is_refused_or_cut() {
    let path = Path::new();
    let proxy = &path.proxy;
    for round in 0..1000 {
        let together = Barrier::new(2);
        let mut client = thread::scope(|scope| {
            let client = scope.spawn(|| {
                together.wait();
                bare(proxy)
            });
            together.wait();
            proxy.set(Fault::Refuse);
            proxy.cut_all();
            client.join().unwrap()
        });
        client.set_read_timeout(Some(SOON)).unwrap();
        let end = client.read(&mut [0]);
        assert!(matches!(end, Ok(0)), "round {round}: {end:?}");
        proxy.pass();
    }
}
