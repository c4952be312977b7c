//! `make bench-source`: what auditing costs the audited server.
//!
//! valkey-benchmark sends SET over a unix socket to a Valkey 9.1, with and without the audit source, at 16
//! commands a round trip and at one. The records go to a reader that throws them away, and to rsyslogd 8.2504
//! (imptcp, then omfile to /dev/null). Each round runs the server without the module and with it, one
//! after the other, the first of the two in turns; the ratio is taken within the round, the median of all
//! rounds is printed. Beside it stands the processor time of the server's main thread, which a busy
//! machine disturbs less than it does the rate.

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs, thread};

use testkit::{Flavour, Rsyslogd, Scratch, Server, Version, wait_until};

const USAGE: &str = "usage: bench-source [--rounds R] [--requests N] [--only NAME]";
const MODULE: &str = "target/release/libauditsource.so";

#[derive(Clone, Copy)]
enum Receiver {
    Reader,
    Rsyslogd,
}

struct Contender {
    name: &'static str,
    receiver: Receiver,
    /// Added to the server's configuration.
    lines: &'static str,
    pipeline: u32,
}

const CONTENDERS: [Contender; 6] = [
    Contender { name: "source-p16-reader", receiver: Receiver::Reader, lines: "", pipeline: 16 },
    Contender { name: "source-p1-reader", receiver: Receiver::Reader, lines: "", pipeline: 1 },
    Contender {
        name: "source-p16-rsyslogd",
        receiver: Receiver::Rsyslogd,
        lines: "",
        pipeline: 16,
    },
    Contender { name: "source-p1-rsyslogd", receiver: Receiver::Rsyslogd, lines: "", pipeline: 1 },
    Contender {
        name: "source-p16-no-success",
        receiver: Receiver::Reader,
        lines: "auditsource.events \"failure rejected acl_denied\"",
        pipeline: 16,
    },
    Contender {
        name: "source-p16-keys",
        receiver: Receiver::Reader,
        lines: "auditsource.payload keys",
        pipeline: 16,
    },
];

struct Options {
    rounds: usize,
    requests: u64,
    only: Option<String>,
}

/// One run of valkey-benchmark.
#[derive(Clone, Copy)]
struct Run {
    requests_per_second: f64,
    /// Processor time of the main thread, in seconds per million requests.
    main_thread: f64,
    lost: u64,
}

fn main() -> ExitCode {
    let Some(options) = options(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let module = env::var_os("AUDITSOURCE_SO").map_or_else(|| PathBuf::from(MODULE), PathBuf::from);
    let Ok(module) = fs::canonicalize(&module) else {
        eprintln!("{} is not there: run `cargo build --release -p audit-source`", module.display());
        return ExitCode::FAILURE;
    };
    for contender in &CONTENDERS {
        if options.only.as_deref().is_some_and(|only| only != contender.name) {
            continue;
        }
        let requests = options.requests / if contender.pipeline == 1 { 10 } else { 1 };
        let mut rates = Vec::new();
        let mut times = Vec::new();
        let mut lost = 0;
        for round in 0..options.rounds {
            let run = |is_audited: bool| run(contender, is_audited.then_some(&module), requests);
            let (plain, audited) = if round % 2 == 0 {
                (run(false), run(true))
            } else {
                let audited = run(true);
                (run(false), audited)
            };
            println!(
                "  {} round {}: {:.0} k/s without, {:.0} k/s with; main thread {:.2} and {:.2} s per million; lost {}",
                contender.name,
                round + 1,
                plain.requests_per_second / 1e3,
                audited.requests_per_second / 1e3,
                plain.main_thread,
                audited.main_thread,
                audited.lost
            );
            rates.push(audited.requests_per_second / plain.requests_per_second);
            times.push(plain.main_thread / audited.main_thread);
            lost += audited.lost;
        }
        println!("bench: {} ratio={:.3}", contender.name, median(rates));
        println!("  by the main thread's processor time {:.3}; lost {lost}", median(times));
    }
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { rounds: 7, requests: 2_000_000, only: None };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => {
                options.rounds = words.next()?.parse().ok().filter(|rounds| *rounds > 0)?
            }
            "--requests" => options.requests = words.next()?.parse().ok().filter(|n| *n >= 10)?,
            "--only" => options.only = Some(words.next()?),
            _ => return None,
        }
    }
    Some(options)
}

fn run(contender: &Contender, module: Option<&PathBuf>, requests: u64) -> Run {
    let scratch = Scratch::new();
    // Started in both runs, so that both have the same company.
    let mut rsyslogd = None;
    let target = match contender.receiver {
        Receiver::Reader => discard(&scratch.join("target")),
        Receiver::Rsyslogd => {
            let action = r#"action(type="omfile" file="/dev/null")"#;
            let builder = Rsyslogd::builder(Version::V8_2504).without_plugin();
            let started = builder.action(action).start(&scratch);
            rsyslogd.insert(started).input().to_string()
        }
    };
    let mut builder = Server::builder(Flavour::Valkey91);
    if let Some(module) = module {
        let lines = contender.lines;
        let module = module.display();
        builder =
            builder.config(&format!("loadmodule {module}\nauditsource.target {target}\n{lines}"));
    }
    let server = builder.start(&scratch);
    let before = main_thread_seconds(server.pid());
    let requests_per_second = load(&server, contender.pipeline, requests);
    let main_thread = (main_thread_seconds(server.pid()) - before) * 1e6 / requests as f64;
    let mut lost = 0;
    if module.is_some() {
        let counter = |name: &str| {
            let mut connection = server.connection();
            let info: String =
                redis::cmd("INFO").arg("auditsource").query(&mut connection).expect("INFO");
            let line =
                info.lines().find_map(|line| line.strip_prefix(&format!("auditsource_{name}:")));
            line.and_then(|value| value.trim().parse::<u64>().ok()).expect("a counter")
        };
        lost = counter("lost");
        // What was recorded must also have arrived, or the figure says nothing.
        wait_until("the records to be taken", Duration::from_secs(60), || {
            counter("confirmed") + counter("lost") + 100 > counter("seq")
        });
        let is_recorded = !contender.lines.contains("failure");
        assert!(!is_recorded || counter("seq") >= requests, "not every command was recorded");
    }
    Run { requests_per_second, main_thread, lost }
}

/// Reads and throws away what comes to a unix socket, until the process ends.
fn discard(path: &Path) -> String {
    let listener = UnixListener::bind(path).expect("bind the target");
    thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok((mut stream, _)) = listener.accept() {
            while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
        }
    });
    format!("unix:{}", path.display())
}

fn load(server: &Server, pipeline: u32, requests: u64) -> f64 {
    let program = Flavour::Valkey91.program().with_file_name("valkey-benchmark");
    let socket = server.address().to_string();
    let output = Command::new(program)
        .args([
            "-s",
            socket.trim_start_matches("unix:"),
            "-t",
            "set",
            "-c",
            "50",
            "-d",
            "16",
            "--csv",
        ])
        .args(["-P", &pipeline.to_string(), "-n", &requests.to_string(), "-r", "100000"])
        .output()
        .expect("run valkey-benchmark");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("\"SET\""));
    let rate = line.and_then(|line| line.split('"').nth(3)?.parse().ok());
    rate.unwrap_or_else(|| panic!("valkey-benchmark said: {text}"))
}

/// Processor time of the main thread; the kernel counts in hundredths.
fn main_thread_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).expect("read stat");
    let (_, fields) = stat.rsplit_once(')').expect("a name in stat");
    let ticks =
        |index| fields.split_whitespace().nth(index).and_then(|ticks| ticks.parse::<u64>().ok());
    let ticks =
        ticks(11).zip(ticks(12)).map(|(user, system)| user + system).expect("numbers in stat");
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len() % 2 == 1 {
        numbers[middle]
    } else {
        (numbers[middle - 1] + numbers[middle]) / 2.0
    }
}
