//! `make bench-source`: what auditing costs the audited server.
//!
//! valkey-benchmark sends SET over a unix socket to a Valkey 9.1, with and without the audit source, at 16
//! commands a round trip and at one. The records go to a reader that throws them away, and to rsyslogd 8.2504
//! (imptcp, then omfile to /dev/null). Each round runs the server without the module and with it, one
//! after the other, the first of the two in turns; ratios are taken within the round, the median of all
//! rounds is printed. There are two: that of the rates, which is true of this machine with all that runs on
//! it, and that of the processor time of the server's main thread, which limits the rate where there are
//! cores enough. The processor time of everybody who takes part says what lies between the two.

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fmt, fs, thread};

use testkit::{Flavour, Rsyslogd, Scratch, Server, Version, wait_until};

const USAGE: &str = "usage: bench-source [--rounds R] [--requests N] [--only NAME]";
/// The name of the thread that reads and throws away.
const READER: &str = "reader";
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
    /// Per million requests.
    seconds: Seconds,
    lost: u64,
}

/// Processor time of those who take part.
#[derive(Clone, Copy)]
struct Seconds {
    main_thread: f64,
    writer_thread: f64,
    receiver: f64,
    load: f64,
}

impl Seconds {
    fn total(self) -> f64 {
        self.main_thread + self.writer_thread + self.receiver + self.load
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seconds { main_thread, writer_thread, receiver, load } = self;
        write!(
            f,
            "main thread {main_thread:.2}, writer thread {writer_thread:.2}, receiver {receiver:.2}, \
             valkey-benchmark {load:.2}, together {:.2}",
            self.total()
        )
    }
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
    let cores = thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{cores} cores. The main thread, the writer thread, the receiver and valkey-benchmark are busy at the same time. With fewer than \
         four cores they take turns, and the ratio of the rates comes near that of all their processor time together; with \
         a core for each it comes near that of the main thread's."
    );
    for contender in &CONTENDERS {
        if options.only.as_deref().is_some_and(|only| only != contender.name) {
            continue;
        }
        let requests = options.requests / if contender.pipeline == 1 { 10 } else { 1 };
        let mut rounds = Vec::new();
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
                plain.seconds.main_thread,
                audited.seconds.main_thread,
                audited.lost
            );
            rounds.push((plain, audited));
        }
        report(contender.name, &rounds);
    }
    ExitCode::SUCCESS
}

/// The medians of all rounds, each round a run without the module and one with it.
fn report(name: &str, rounds: &[(Run, Run)]) {
    let of = |figure: &dyn Fn(&Run, &Run) -> f64| {
        median(rounds.iter().map(|(plain, audited)| figure(plain, audited)).collect())
    };
    let seconds = |run: &dyn Fn(&(Run, Run)) -> Seconds| {
        let of = |part: &dyn Fn(Seconds) -> f64| {
            median(rounds.iter().map(|round| part(run(round))).collect())
        };
        Seconds {
            main_thread: of(&|seconds| seconds.main_thread),
            writer_thread: of(&|seconds| seconds.writer_thread),
            receiver: of(&|seconds| seconds.receiver),
            load: of(&|seconds| seconds.load),
        }
    };
    let rate = of(&|plain, audited| audited.requests_per_second / plain.requests_per_second);
    let main = of(&|plain, audited| plain.seconds.main_thread / audited.seconds.main_thread);
    let all = of(&|plain, audited| plain.seconds.total() / audited.seconds.total());
    let lost: u64 = rounds.iter().map(|(_, audited)| audited.lost).sum();
    println!("bench: {name} ratio={rate:.3}");
    println!(
        "  by the main thread's processor time {main:.3}, by everybody's {all:.3}; lost {lost}"
    );
    println!("  processor seconds per million, without: {}", seconds(&|round| round.0.seconds));
    println!("  processor seconds per million, with: {}", seconds(&|round| round.1.seconds));
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
    let used = |load| Seconds {
        main_thread: thread_seconds(server.pid(), |_, thread| thread == server.pid()),
        writer_thread: thread_seconds(server.pid(), |name, _| name == "auditsource"),
        receiver: rsyslogd.as_ref().map_or_else(
            || thread_seconds(std::process::id(), |name, _| name == READER),
            Rsyslogd::cpu_seconds,
        ),
        load,
    };
    let before = used(ended_children_seconds());
    let requests_per_second = load(&server, contender.pipeline, requests);
    let after = used(ended_children_seconds());
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
    // The records are taken a little later than the replies, and asking for that is no part of the load.
    let settled = used(0.0);
    let per_million = |begin: f64, end: f64| (end - begin) * 1e6 / requests as f64;
    let seconds = Seconds {
        main_thread: per_million(before.main_thread, after.main_thread),
        writer_thread: per_million(before.writer_thread, settled.writer_thread),
        receiver: per_million(before.receiver, settled.receiver),
        load: per_million(before.load, after.load),
    };
    Run { requests_per_second, seconds, lost }
}

/// Reads and throws away what comes to a unix socket, until the process ends.
fn discard(path: &Path) -> String {
    let listener = UnixListener::bind(path).expect("bind the target");
    let reader = thread::Builder::new().name(READER.into());
    let read = move || {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok((mut stream, _)) = listener.accept() {
            while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
        }
    };
    reader.spawn(read).expect("start a thread");
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

/// Processor time of a process's threads that have this name or number; the kernel counts in hundredths.
fn thread_seconds(pid: u32, is_meant: impl Fn(&str, u32) -> bool) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("read the list of threads");
    let seconds = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        let (begin, fields) = stat.rsplit_once(')')?;
        let (number, name) = begin.split_once(" (")?;
        is_meant(name, number.parse().ok()?).then(|| seconds(fields, 11))
    });
    seconds.sum()
}

/// Processor time of the processes that this one has started and seen end.
fn ended_children_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("read stat");
    seconds(stat.rsplit_once(')').expect("a name in stat").1, 13)
}

/// User and system time, from this field behind the name on.
fn seconds(fields: &str, first: usize) -> f64 {
    let ticks = fields.split_whitespace().skip(first).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().expect("a number in stat")).sum();
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
