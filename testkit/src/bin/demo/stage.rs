//! The programs of the demo: an audited server, rsyslogd with the shipped configuration, a store.

use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{
    Entry, Flavour, Rsyslogd, Scratch, Server, Version, entries, poll, shipped_config, source_path,
    verify_path,
};

use crate::broken;

const DEADLINE: Duration = Duration::from_secs(30);

/// Ends with its last member: the programs first, then their folder.
pub(crate) struct Stage {
    pub(crate) audited: Server,
    pub(crate) rsyslogd: Rsyslogd,
    pub(crate) store: Server,
    pub(crate) scratch: Scratch,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let scratch = Scratch::new();
        let store = Server::builder(Flavour::Valkey91).start(&scratch);
        let socket = scratch.join("audit.sock").display().to_string();
        let server = store.address().to_string();
        let hold = scratch.join("hold").display().to_string();
        // As shipped, in a folder of the demo's own.
        let config = shipped_config(
            "audit-source.conf",
            &[
                ("127.0.0.1:6379", &server),
                ("/run/rsyslog-audit.sock\" unlink", &format!("{socket}\" unlink")),
                ("/var/spool/rsyslog/audit-source.hold", &hold),
            ],
        );
        let version = Version::of_this_machine();
        let rsyslogd = Rsyslogd::builder(version)
            .max_message_bytes(64 * 1024)
            .config(&config)
            .action(&broken::action(&server))
            .start(&scratch);
        let module = source_path();
        let audited = Server::builder(Flavour::Valkey91)
            .config(&format!("loadmodule {}\nauditsource.target unix:{socket}", module.display()))
            .start(&scratch);
        println!("1. Three programs on unix sockets in a scratch folder:\n");
        let line = |who: String, what: &str| println!("   {who:<30} {what}");
        line(format!("Valkey {}, audited", version_of(&audited)), "loadmodule auditsource.so");
        line(String::new(), "auditsource.target unix:audit.sock");
        line(version.to_string(), "with rsyslog.d/audit-source.conf as it is shipped");
        line(format!("Valkey {}, the store", version_of(&store)), "with the stream \"audit\"");
        Stage { audited, rsyslogd, store, scratch }
    }

    /// Runs valkey-cli on the audited server with these lines as its input.
    pub(crate) fn type_in(&self, lines: &str) {
        let input = self.scratch.write("typed", lines);
        let output = Command::new(cli())
            .args(["-s", socket(&self.audited).as_str()])
            .stdin(std::fs::File::open(&input).expect("open the lines"))
            .output()
            .expect("run valkey-cli");
        std::fs::remove_file(input).expect("remove the lines");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Stops the audited server, waits for its last record in the store, and stops rsyslogd: what it would still
    /// write a second time, it writes before it stops.
    pub(crate) fn end(&self) {
        let begin = Instant::now();
        self.audited.stop();
        let last = || {
            let is_there = self.entries("audit").last()?.text("event") == "stop";
            (is_there && broken::has_arrived(self)).then_some(())
        };
        match poll(DEADLINE, last) {
            Some(()) => println!(
                "   Then the audited server stops, and {} ms later its last record is in the store.",
                begin.elapsed().as_millis()
            ),
            None => println!(
                "   Not all records are in the store after {DEADLINE:?}. rsyslogd says:\n{}",
                self.rsyslogd.log()
            ),
        }
        self.rsyslogd.stop();
    }

    pub(crate) fn entries(&self, key: &str) -> Vec<Entry> {
        entries(&mut self.store.connection(), key)
    }

    /// Runs omvalkeyaudit-verify; whether it finds nothing.
    pub(crate) fn verify(&self) -> bool {
        println!(
            "\n   $ omvalkeyaudit-verify --server unix:store.sock --deadletter audit:deadletter --from-start --strict"
        );
        let output = Command::new(verify_path())
            .args(["--server", &self.store.address().to_string()])
            .args(["--deadletter", "audit:deadletter", "--from-start", "--strict"])
            .output()
            .expect("run omvalkeyaudit-verify");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text.replace(&self.store.address().to_string(), "unix:store.sock");
        text.lines().filter(|line| !line.is_empty()).for_each(|line| println!("   {line}"));
        output.status.success()
    }

    /// Runs a shell script for which `valkey-cli` and STORE, the store's socket, are there.
    pub(crate) fn shell(&self, script: &str) -> String {
        let cli = cli();
        let folder = cli.parent().expect("a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-c", script])
            .env("PATH", format!("{folder}:{path}"))
            .env("STORE", socket(&self.store))
            .output()
            .expect("run bash");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

fn cli() -> std::path::PathBuf {
    Flavour::Valkey91.program().with_file_name("valkey-cli")
}

fn socket(server: &Server) -> String {
    server.address().to_string().trim_start_matches("unix:").to_owned()
}

fn version_of(server: &Server) -> String {
    let output =
        Command::new(server.flavour().program()).arg("--version").output().expect("run the server");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    version.unwrap_or("of an unknown version").to_string()
}
