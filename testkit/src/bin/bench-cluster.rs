//! `make bench-cluster`: how fast a filled queue drains into one server and into a cluster of three, with more and more
//! workers and shards.
//!
//! As in `bench`, the queue is filled while the servers hold writes back, and what is measured is the time from
//! CLIENT UNPAUSE until all records are there; a run that does not hold each record once fails. All servers
//! share the machine with rsyslogd: on two processors a cluster shows what it costs, not what it is good for.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use testkit::{
    Cluster, Count, Flavour, Rsyslogd, Scratch, Server, Version, for_each_entry, poll_every,
    record_of,
};

const RECORD_BYTES: usize = 120;
const BATCH: u32 = 1024;
const PAUSE_MS: u64 = 300_000;
const DEADLINE: Duration = Duration::from_secs(300);
const WORKERS: [usize; 3] = [1, 2, 4];

/// What is written to.
enum Store {
    One(Server),
    Cluster(Cluster),
}

impl Store {
    fn servers(&self) -> Vec<&Server> {
        match self {
            Store::One(server) => vec![server],
            Store::Cluster(cluster) => cluster.servers().iter().collect(),
        }
    }

    fn owner(&self, key: &str) -> &Server {
        match self {
            Store::One(server) => server,
            Store::Cluster(cluster) => cluster.owner(key),
        }
    }

    fn topology(&self) -> &'static str {
        match self {
            Store::One(_) => "standalone",
            Store::Cluster(_) => "cluster",
        }
    }
}

fn main() -> ExitCode {
    let records = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(300_000);
    println!("{records} records, batches of {BATCH}\n");
    println!(
        "| store | workers | shards | 1000 records/s | rsyslogd, CPU s per million | servers |"
    );
    println!("| --- | --: | --: | --: | --: | --: |");
    for is_cluster in [false, true] {
        for workers in WORKERS {
            for shards in if workers == 1 { vec![1] } else { vec![1, workers] } {
                match drain(is_cluster, workers, shards, records) {
                    Ok(line) => println!("{line}"),
                    Err(why) => {
                        eprintln!("bench-cluster: {why}");
                        return ExitCode::FAILURE;
                    }
                }
            }
        }
    }
    ExitCode::SUCCESS
}

fn drain(is_cluster: bool, workers: usize, shards: usize, records: u64) -> Result<String, String> {
    let scratch = Scratch::new();
    let store = if is_cluster {
        Store::Cluster(Cluster::builder(Flavour::Valkey91).without_replicas().start(&scratch))
    } else {
        Store::One(Server::builder(Flavour::Valkey91).tcp().start(&scratch))
    };
    let tell = |words: &[&str]| {
        for server in store.servers() {
            let mut command = redis::cmd("CLIENT");
            command.arg(words).exec(&mut server.connection()).expect("CLIENT");
        }
    };
    tell(&["PAUSE", &PAUSE_MS.to_string(), "WRITE"]);
    let action = format!(
        "action(type=\"omvalkeyaudit\" name=\"bench\" template=\"raw\" key=\"audit\"\n  \
         server=\"{}\" topology=\"{}\" shards=\"{shards}\" timeout.commit=\"{PAUSE_MS}\"\n  \
         action.resumeRetryCount=\"-1\" queue.type=\"LinkedList\" queue.size=\"{}\"\n  \
         queue.dequeueBatchSize=\"{BATCH}\" queue.workerThreads=\"{workers}\"\n  \
         queue.workerThreadMinimumMessages=\"1000\")",
        store.servers()[0].tcp_address(),
        store.topology(),
        records * 2
    );
    let rsyslogd =
        Rsyslogd::builder(Version::V8_2504).statistics(1).action(&action).start(&scratch);
    rsyslogd.send((1..=records).map(|number| record_of(number, RECORD_BYTES)));
    rsyslogd.wait_counter("bench queue", "enqueued", records, DEADLINE);

    let keys: Vec<String> = match shards {
        1 => vec!["audit".to_owned()],
        _ => (0..shards).map(|shard| format!("audit:{{{shard}}}")).collect(),
    };
    let mut connections: Vec<_> =
        keys.iter().map(|key| (key, store.owner(key).connection())).collect();
    let mut length = || {
        let lengths = connections.iter_mut().map(|(key, connection)| {
            redis::cmd("XLEN").arg(*key).query::<u64>(connection).expect("XLEN")
        });
        lengths.sum::<u64>()
    };
    if length() > 0 {
        return Err("records arrived while the servers held writes back".to_owned());
    }
    let used = || -> f64 { store.servers().iter().map(|server| server.cpu_seconds()).sum() };
    let (rsyslogd_before, servers_before) = (rsyslogd.cpu_seconds(), used());
    let begin = Instant::now();
    tell(&["UNPAUSE"]);
    let drained = poll_every(Duration::from_millis(5), DEADLINE, || {
        (length() >= records).then(|| begin.elapsed())
    });
    let took = drained.ok_or_else(|| format!("{} of {records} records", length()))?;
    let per_million = |seconds: f64| seconds * 1e6 / records as f64;
    let (rsyslogd_used, servers_used) =
        (rsyslogd.cpu_seconds() - rsyslogd_before, used() - servers_before);
    rsyslogd.stop();
    let mut arrived = Vec::with_capacity(records as usize);
    for (key, connection) in &mut connections {
        for_each_entry(connection, key, |entry| arrived.push(entry.number().unwrap_or(0)));
    }
    let count = Count::of(arrived, 1..records + 1);
    if !count.is_exact() {
        return Err(count.to_string());
    }
    Ok(format!(
        "| {} | {workers} | {shards} | {:.0} | {:.2} | {:.2} |",
        if is_cluster { "cluster of 3" } else { "one server" },
        records as f64 / took.as_secs_f64() / 1e3,
        per_million(rsyslogd_used),
        per_million(servers_used)
    ))
}
