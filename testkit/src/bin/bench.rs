//! `make bench`: how fast a filled queue drains into a stream, against rsyslog's own output omhiredis.
//!
//! rsyslogd 8.2504 with one worker, Valkey 9.1 on a TCP port of the loopback (omhiredis 8.2504 has nothing else), the
//! same records of 120 bytes for all. The queue is filled while the server holds writes back (CLIENT PAUSE WRITE);
//! what is measured is the time from CLIENT UNPAUSE until the stream has every record, and the processor time of
//! both processes meanwhile. omhiredis stores the record in one field; a second omhiredis stores the same eight
//! fields as our layout "fields", so that there is a comparison of equal work too; and ours stores them over TLS,
//! compared with itself. Contenders take turns, and ratios are taken within a round: a slower minute of the
//! machine hits all of them. A run whose stream does not hold each record once, in order, fails the bench.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fmt};

use serde_json::Value;
use testkit::{
    Authority, Count, Flavour, Rsyslogd, Scratch, Server, Version, for_each_entry, poll_every,
    record_of,
};

const RECORD_BYTES: usize = 120;
const BATCHES: [u32; 2] = [128, 1024];
/// Longer than any fill takes; ours must not give the first batch up meanwhile.
const PAUSE: Duration = Duration::from_secs(300);
const DRAIN_DEADLINE: Duration = Duration::from_secs(300);
const PEER: &str = "omhiredis";
/// omhiredis writing the same eight fields as ours does, by a command in each message.
const PEER_FIELDS: &str = "omhiredis-8f";
const USAGE: &str =
    "usage: bench [--records N] [--rounds R] [--quick] [--only CONTENDER[,CONTENDER]]";

struct Contender {
    name: &'static str,
    module: Option<&'static str>,
    parameters: &'static str,
    text: fn(u64) -> String,
    /// Whom it is compared with.
    peers: &'static [&'static str],
}

const CONTENDERS: [Contender; 6] = [
    Contender {
        name: PEER,
        module: Some("omhiredis"),
        parameters: r#"type="omhiredis" server="127.0.0.1" serverport="{port}" mode="stream""#,
        text: json,
        peers: &[],
    },
    Contender {
        name: PEER_FIELDS,
        module: Some("omhiredis"),
        parameters: r#"type="omhiredis" server="127.0.0.1" serverport="{port}" mode="template""#,
        text: command,
        peers: &[],
    },
    Contender {
        name: "record-raw",
        module: None,
        parameters: r#"type="omvalkeyaudit" server="127.0.0.1:{port}" layout="record" record.format="raw" timeout.commit="{pause}""#,
        text: json,
        peers: &[PEER],
    },
    Contender {
        name: "record-json",
        module: None,
        parameters: r#"type="omvalkeyaudit" server="127.0.0.1:{port}" layout="record" record.format="json" timeout.commit="{pause}""#,
        text: json,
        peers: &[PEER],
    },
    Contender {
        name: "fields",
        module: None,
        parameters: r#"type="omvalkeyaudit" server="127.0.0.1:{port}" layout="fields" timeout.commit="{pause}""#,
        text: json,
        peers: &[PEER, PEER_FIELDS],
    },
    Contender {
        name: "fields-tls",
        module: None,
        parameters: r#"type="omvalkeyaudit" server="127.0.0.1:{port}" tls="on" tls.cacert="{authority}" layout="fields" timeout.commit="{pause}""#,
        text: json,
        peers: &["fields"],
    },
];

/// The record as all but one contender get it.
fn json(number: u64) -> String {
    record_of(number, RECORD_BYTES)
}

/// The same record as the command that stores its members as fields, written out by the sender: what
/// omhiredis can do about fields, with all the work of mapping them taken off it.
fn command(number: u64) -> String {
    let members: serde_json::Map<String, Value> =
        serde_json::from_str(&json(number)).expect("a record is JSON");
    let mut text = "XADD audit *".to_owned();
    for (name, value) in members {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!(" {name} {value}"));
    }
    text
}

struct Options {
    records: u64,
    rounds: usize,
    only: Option<String>,
}

/// One drained queue.
#[derive(Clone, Copy)]
struct Run {
    records_per_second: f64,
    rsyslogd_seconds_per_million: f64,
    server_seconds_per_million: f64,
}

/// The runs of one contender at one batch size, one a round.
struct Row {
    name: &'static str,
    batch: u32,
    runs: Vec<Run>,
}

fn main() -> ExitCode {
    let Some(options) = options(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    println!(
        "draining {} records of {RECORD_BYTES} bytes, {} rounds; {}, {}, TCP loopback",
        options.records,
        options.rounds,
        Version::V8_2504,
        Flavour::Valkey91
    );
    let mut rows: Vec<Row> = Vec::new();
    for batch in BATCHES {
        let contenders: Vec<&Contender> =
            CONTENDERS.iter().filter(|contender| options.includes(contender.name)).collect();
        let first = rows.len();
        rows.extend(contenders.iter().map(|contender| Row {
            name: contender.name,
            batch,
            runs: Vec::new(),
        }));
        for round in 0..options.rounds {
            for turn in 0..contenders.len() {
                // Each round begins with another one: nobody is always the first after the others.
                let index = (turn + round) % contenders.len();
                match drain(contenders[index], batch, options.records) {
                    Ok(run) => {
                        println!(
                            "  round {}, batch {batch}, {}: {run}",
                            round + 1,
                            contenders[index].name
                        );
                        rows[first + index].runs.push(run);
                    }
                    Err(e) => {
                        println!("bench: {}-{batch} FAILED: {e}", contenders[index].name);
                        return ExitCode::FAILURE;
                    }
                }
            }
        }
    }
    report(&rows);
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { records: 1_000_000, rounds: 5, only: None };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--records" => {
                options.records = words.next()?.parse().ok().filter(|records| *records > 0)?
            }
            "--rounds" => {
                options.rounds = words.next()?.parse().ok().filter(|rounds| *rounds > 0)?
            }
            "--quick" => (options.records, options.rounds) = (200_000, 3),
            "--only" => options.only = Some(words.next()?),
            _ => return None,
        }
    }
    Some(options)
}

impl Options {
    fn includes(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|one| one == name))
    }
}

/// Fills the queue, drains it, and checks what arrived.
fn drain(contender: &Contender, batch: u32, records: u64) -> Result<Run, String> {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let server = Server::builder(Flavour::Valkey91);
    let server = match contender.parameters.contains("{authority}") {
        true => server.tls(&authority.for_loopback()),
        false => server.tcp(),
    };
    let server = server.start(&scratch);
    let mut connection = server.connection();
    let pause_ms = PAUSE.as_millis();
    redis::cmd("CLIENT")
        .arg("PAUSE")
        .arg(pause_ms as u64)
        .arg("WRITE")
        .exec(&mut connection)
        .map_err(|e| e.to_string())?;

    let parameters = contender.parameters.replace("{port}", &server.port().to_string());
    let parameters = parameters.replace("{pause}", &pause_ms.to_string());
    let parameters = parameters.replace("{authority}", &authority.path().display().to_string());
    // In mode template the key is in the message.
    let key = if contender.name == PEER_FIELDS { "" } else { "key=\"audit\"" };
    // Twice the records: from 70 % on, a queue slows its input down.
    let action = format!(
        "action(name=\"bench\" {parameters} {key} template=\"raw\" action.resumeRetryCount=\"-1\"\n  \
         queue.type=\"LinkedList\" queue.size=\"{}\" queue.dequeueBatchSize=\"{batch}\" queue.workerThreads=\"1\")",
        records * 2
    );
    let mut builder = Rsyslogd::builder(Version::V8_2504).statistics(1).action(&action);
    if let Some(module) = contender.module {
        builder = builder.without_plugin().module(module);
    }
    let rsyslogd = builder.start(&scratch);
    rsyslogd.send((1..=records).map(contender.text));
    rsyslogd.wait_counter("bench queue", "enqueued", records, DRAIN_DEADLINE);
    let mut length =
        || redis::cmd("XLEN").arg("audit").query::<u64>(&mut connection).expect("XLEN");
    if length() > 0 {
        return Err(format!("{} records arrived while the server held writes back", length()));
    }

    let (rsyslogd_before, server_before) = (rsyslogd.cpu_seconds(), server.cpu_seconds());
    let mut unpause = server.connection();
    let begin = Instant::now();
    redis::cmd("CLIENT").arg("UNPAUSE").exec(&mut unpause).map_err(|e| e.to_string())?;
    let drained = poll_every(Duration::from_millis(2), DRAIN_DEADLINE, || {
        (length() >= records).then(|| begin.elapsed())
    });
    let (rsyslogd_after, server_after) = (rsyslogd.cpu_seconds(), server.cpu_seconds());
    let Some(took) = drained else {
        return Err(format!(
            "{} of {records} records after {DRAIN_DEADLINE:?}:\n{}",
            length(),
            rsyslogd.log()
        ));
    };
    // What it would still write a second time, it writes before it stops.
    rsyslogd.stop();
    let mut arrived = Vec::with_capacity(records as usize);
    for_each_entry(&mut connection, "audit", |entry| arrived.push(entry.number().unwrap_or(0)));
    let count = Count::of(arrived, 1..records + 1);
    if !count.is_exact() || !count.is_in_order() {
        return Err(count.to_string());
    }
    let millions = records as f64 / 1e6;
    Ok(Run {
        records_per_second: records as f64 / took.as_secs_f64(),
        rsyslogd_seconds_per_million: (rsyslogd_after - rsyslogd_before) / millions,
        server_seconds_per_million: (server_after - server_before) / millions,
    })
}

fn report(rows: &[Row]) {
    println!("\n                          1000 records/s          CPU s per 1 M records");
    println!("batch  contender      min   median      max        rsyslogd    server");
    for Row { name, batch, runs } in rows {
        let rates = sorted(runs.iter().map(|run| run.records_per_second / 1e3));
        let rsyslogd = sorted(runs.iter().map(|run| run.rsyslogd_seconds_per_million));
        let server = sorted(runs.iter().map(|run| run.server_seconds_per_million));
        println!(
            "{batch:>5}  {name:<12} {:>5.0}  {:>7.0}  {:>7.0}  {:>14.2}  {:>8.2}",
            rates[0],
            median(&rates),
            rates[rates.len() - 1],
            median(&rsyslogd),
            median(&server)
        );
    }
    println!();
    for Row { name, batch, runs } in rows {
        let contender = CONTENDERS.iter().find(|contender| contender.name == *name);
        for peer_name in contender.map_or(&[][..], |contender| contender.peers) {
            let Some(peer) = rows.iter().find(|row| row.name == *peer_name && row.batch == *batch)
            else {
                continue;
            };
            let ratios = runs
                .iter()
                .zip(&peer.runs)
                .map(|(own, peer)| own.records_per_second / peer.records_per_second);
            println!("bench: {name}-{batch}/{peer_name} ratio={:.3}", median(&sorted(ratios)));
        }
    }
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rate, rsyslogd, server] = [
            self.records_per_second / 1e3,
            self.rsyslogd_seconds_per_million,
            self.server_seconds_per_million,
        ];
        write!(f, "{rate:.0} k/s, CPU s per 1 M: rsyslogd {rsyslogd:.2}, server {server:.2}")
    }
}
