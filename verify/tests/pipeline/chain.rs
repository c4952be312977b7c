//! An audited server, rsyslogd and a store, commands for the one, and the command's report about the other.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::Connection;
use serde_json::Value;
use testkit::{Flavour, Rsyslogd, Scratch, Server, Version, shipped_config, source_path, wait_for};

/// For whatever takes its time on a machine with other work.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Ends with its last member: rsyslogd and the servers first, then their folder.
pub(crate) struct Chain {
    pub(crate) audited: Server,
    pub(crate) rsyslogd: Rsyslogd,
    pub(crate) store: Server,
    _scratch: Scratch,
}

/// What the command says.
pub(crate) struct Report {
    pub(crate) code: i32,
    pub(crate) json: Value,
}

impl Chain {
    /// `source` is added to the audited server's configuration, `action` to the action's.
    pub(crate) fn new(version: Version, source: &str, action: &str) -> Chain {
        let scratch = Scratch::new();
        let store = Server::builder(Flavour::Valkey91).append_only().start(&scratch);
        let socket = scratch.join("audit.sock").display().to_string();
        let config = shipped_config(
            "audit-source.conf",
            &[
                ("127.0.0.1:6379", &store.address().to_string()),
                ("/run/rsyslog-audit.sock\" unlink", &format!("{socket}\" unlink")),
                (
                    "/var/spool/rsyslog/audit-source.hold",
                    &scratch.join("hold").display().to_string(),
                ),
                ("resumeInterval=\"5\"", &format!("resumeInterval=\"1\" {action}")),
            ],
        );
        let rsyslogd = Rsyslogd::builder(version).config(&config).start(&scratch);
        // What the tests ask must not add to what they count.
        let audited = Server::builder(Flavour::Valkey91)
            .config(&format!(
                "loadmodule {}\nauditsource.target unix:{socket}\nauditsource.heartbeat 0\n\
                 auditsource.commands !info\n{source}",
                source_path().display()
            ))
            .start(&scratch);
        Chain { audited, rsyslogd, store, _scratch: scratch }
    }

    /// Waits until nothing is on its way out of the audited server, stops it, and waits for its last record: in the
    /// number of entries, because a queue that went to disk gives its records back in another order.
    pub(crate) fn end(&self) -> Told {
        let mut connection = self.audited.connection();
        let mut settle = || {
            let is_settled = || Some(Told::of(&mut connection)).filter(Told::is_settled);
            wait_for("the records to be taken", DEADLINE, is_settled)
        };
        settle();
        // A loss is told before the next command at the latest.
        redis::cmd("ECHO").arg("end").exec(&mut self.audited.connection()).expect("ECHO");
        let told = settle();
        assert!(self.audited.stop().success(), "{}", self.audited.log());
        let expected = told.seq - told.lost + 1;
        self.store.wait_entries("audit", expected, DEADLINE);
        assert!(self.rsyslogd.stop().status.success(), "{}", self.rsyslogd.log());
        told
    }

    /// Runs the command.
    pub(crate) fn verify(&self) -> Report {
        let server = self.store.address().to_string();
        let output = Command::new(env!("CARGO_BIN_EXE_omvalkeyaudit-verify"))
            .args(["--server", &server, "--deadletter", "audit:deadletter"])
            .args(["--from-start", "--json"])
            .output()
            .expect("run the command");
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!("{e}: {}", String::from_utf8_lossy(&output.stderr));
        });
        Report { code: output.status.code().expect("no end by a signal"), json }
    }

    /// Entries of the stream.
    pub(crate) fn stored(&self) -> u64 {
        redis::cmd("XLEN").arg("audit").query(&mut self.store.connection()).expect("XLEN")
    }

    /// valkey-benchmark, which sends so many commands as fast as the server takes them.
    pub(crate) fn load(&self, commands: u64) -> Load {
        let program = Flavour::Valkey91.program().with_file_name("valkey-benchmark");
        let socket = self.audited.address().to_string();
        let child = Command::new(program)
            .args(["-s", socket.trim_start_matches("unix:"), "-q", "-c", "50", "-P", "16"])
            .args(["-r", "100000", "-d", "16", "-t", "set", "-n", &commands.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("run valkey-benchmark");
        Load(child)
    }
}

/// Commands on their way.
pub(crate) struct Load(Child);

impl Load {
    pub(crate) fn is_over(&mut self) -> bool {
        self.0.try_wait().expect("ask for a child's status").is_some()
    }

    pub(crate) fn wait(mut self) {
        assert!(self.0.wait().expect("wait for valkey-benchmark").success());
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Both fail where it has ended, which is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What the audit source says of itself.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) seq: u64,
    pub(crate) lost: u64,
    pub(crate) confirmed: u64,
    pub(crate) resent: u64,
    /// Commands by how they ended.
    pub(crate) events: [(&'static str, u64); 4],
}

impl Told {
    pub(crate) fn of(connection: &mut Connection) -> Told {
        let info: String = redis::cmd("INFO").arg("auditsource").query(connection).expect("INFO");
        let number = |name: &str| {
            let line =
                info.lines().find_map(|line| line.strip_prefix(&format!("auditsource_{name}:")));
            line.unwrap_or_else(|| panic!("no {name} in {info}")).trim().parse().expect("a number")
        };
        let kinds = ["success", "failure", "rejected", "acl_denied"];
        Told {
            seq: number("seq"),
            lost: number("lost"),
            confirmed: number("confirmed"),
            resent: number("resent"),
            events: kinds.map(|kind| (kind, number(&format!("events_{kind}")))),
        }
    }

    fn is_settled(&self) -> bool {
        self.confirmed + self.lost == self.seq
    }
}
