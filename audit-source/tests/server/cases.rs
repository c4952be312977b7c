//! Every kind of event: the conversation of the dump is played again, and each record compared with the event.

use std::collections::HashMap;

use serde_json::Value;

use crate::client::Client;
use crate::dump::{self, Expected};
use crate::scene::{Scene, assert_gapless, caller_path};

/// Arguments that the redaction hides, by section and event of the dump: `Some` shows what stays.
fn redacted(expected: &Expected, index: usize) -> Option<&'static str> {
    const HIDDEN: Option<&str> = Some("(redacted)");
    let name = expected.name.as_deref();
    let arg = &expected.argv[index].0;
    match (name, index) {
        (None, 1..) => HIDDEN,
        (Some("acl|setuser"), 3..) if arg[0] == b'>' => Some(">(redacted)"),
        (Some("auth"), 1) if expected.argc == 2 => HIDDEN,
        (Some("auth"), 2) => HIDDEN,
        (Some("hello"), 4) | (Some("migrate"), 7) => HIDDEN,
        (Some("config|set"), 3) if expected.argv[2].0 == b"requirepass" => HIDDEN,
        _ => None,
    }
}

#[track_caller]
fn compare(section: &str, expected: &Expected, record: &Value, ids: &mut HashMap<String, u64>) {
    let at = || format!("section {section}, event {}: {record}", expected.number);
    assert_eq!(record["event"], expected.event, "{}", at());
    assert_eq!(record["command_name"], Value::from(expected.name.clone()), "{}", at());
    assert_eq!(record["argc"], expected.argc, "{}", at());
    assert_eq!(record["dirty"], expected.dirty, "{}", at());
    assert_eq!(record["is_module_client"], expected.is_module_client, "{}", at());
    assert_eq!(record["via"], expected.via, "{}", at());
    assert!(record["duration_us"].is_u64(), "{}", at());
    match &expected.connection {
        Some(connection) => {
            assert_eq!(record["db"], connection.db, "{}", at());
            assert_eq!(record["user"], Value::from(connection.user.clone()), "{}", at());
            assert!(record["addr"].as_str().unwrap().starts_with("127.0.0.1:"), "{}", at());
            let id = record["client_id"].as_u64().unwrap();
            assert_eq!(*ids.entry(expected.client_id.clone()).or_insert(id), id, "{}", at());
        }
        None => {
            assert!(["db", "user", "addr"].iter().all(|name| record[name].is_null()), "{}", at())
        }
    }
    let argv = record["argv"].as_array().unwrap();
    assert_eq!(argv.len(), expected.argv.len(), "{}", at());
    let mut is_cut = false;
    for (index, (bytes, length)) in expected.argv.iter().enumerate() {
        let shown = argv[index].as_str().unwrap_or_else(|| panic!("{}", at()));
        if let Some(stays) = redacted(expected, index) {
            assert_eq!(shown, stays, "{}", at());
        } else if let Some(length) = length {
            assert!(shown.as_bytes().starts_with(bytes), "{}", at());
            assert_eq!(shown.len(), (*length).min(1024), "{}", at());
            is_cut |= *length > 1024;
        } else if expected.name.as_deref().is_none_or(|name| !name.starts_with("caller"))
            || index > 0
        {
            // The id of a client is another one in each run.
            let is_id = expected.argv[0].0 == b"CLIENT" && bytes.iter().all(u8::is_ascii_digit);
            assert!(is_id || shown.as_bytes() == bytes, "{}", at());
        }
    }
    assert_eq!(record["argv_cut"], if is_cut { Value::from(1) } else { Value::Null }, "{}", at());
    let context = expected.context.as_deref().map(String::from_utf8_lossy);
    match (expected.event, expected.reason) {
        ("acl_denied", Some(reason)) => {
            assert_eq!(record["acl_deny_reason"], reason, "{}", at());
            assert_eq!(record["acl_object"].as_str(), context.as_deref(), "{}", at());
        }
        ("rejected", _) if expected.name.is_none() => {
            let text = record["rejection_context"].as_str().unwrap();
            assert!(["unknown command", "unknown subcommand"].contains(&text), "{}", at());
        }
        ("rejected", _) => {
            assert_eq!(record["rejection_context"].as_str(), context.as_deref().map(str::trim));
        }
        _ => assert!(record.get("rejection_context").is_none(), "{}", at()),
    }
}

/// A text of this length.
fn padded(text: &str, length: usize) -> String {
    format!("{text:<length$}")
}

/// The conversation of the dump. `mark` stands before each section.
struct Conversation<'a> {
    scene: &'a Scene,
    main: Client,
    other: Option<Client>,
}

impl Conversation<'_> {
    fn mark(&mut self, section: &str) {
        self.main.call(&["ECHO", section]);
    }

    fn main(&mut self, lines: &[&str]) {
        for line in lines {
            self.main.line(line);
        }
    }

    fn other(&mut self) -> &mut Client {
        let port = self.scene.server.port();
        self.other.get_or_insert_with(|| Client::connect(port))
    }

    /// Sends a command that blocks, and waits for the record that says so.
    fn block(&mut self, line: &str) {
        let before = self.scene.collector.records().len();
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        self.other().send(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let first = line.split(' ').next().unwrap();
        testkit::wait_until("the blocking command's record", crate::collector::DEADLINE, || {
            let records = self.scene.collector.records();
            records[before..].iter().any(|record| record["argv"][0] == first)
        });
    }

    /// The id that CLIENT LIST has for the connection that blocks.
    fn blocked_id(&mut self) -> String {
        let list = self.main.line("CLIENT LIST");
        let line = list.lines().find(|line| line.contains(" flags=b ")).expect("a blocked client");
        line.split(' ').next().unwrap().trim_start_matches("id=").to_owned()
    }

    fn basics(&mut self) {
        self.mark("basic");
        self.main(&[
            "SeT k 12345",
            "set k2 v",
            "GET k",
            "GET nokey",
            "LPUSH k x",
            "EXPIRE k 100",
            "CONFIG GET maxmemory",
            "cLiEnT LiSt",
            "DEL nokey",
            "MSET a 1 b 2",
        ]);
        self.mark("MULTI ok");
        self.main(&["MULTI", "SET m1 1", "LPUSH k2 x", "INCR m1", "EXEC"]);
        self.mark("MULTI queue error");
        self.main(&["MULTI", "SET m1", "NOSUCH x", "EXEC"]);
        self.mark("DISCARD/WATCH");
        self.main(&["WATCH w", "MULTI", "SET w 1", "DISCARD"]);
        self.mark("EXEC aborted by watch");
        self.main(&["WATCH w", "MULTI"]);
        self.other().line("SET w 1");
        self.main(&["EXEC"]);
    }

    fn scripts(&mut self) {
        self.mark("EVAL");
        let body = "redis.call('SET',KEYS[1],'7'); return redis.pcall('LPUSH',KEYS[1],'x')";
        self.main.call(&["EVAL", &padded(body, 70), "1", "ek"]);
        self.mark("EVAL error");
        self.main.call(&["EVAL", "return redis.call('LPUSH',KEYS[1],'x')", "1", "ek"]);
        self.mark("EVAL err_reply");
        self.main.call(&["EVAL", "return redis.error_reply('MY error')", "0"]);
        self.mark("FUNCTION");
        let library = "#!lua name=lib\nserver.register_function('f', \
                       function(k) return server.call('INCR',k[1]) end)";
        self.main.call(&["FUNCTION", "LOAD", &padded(library, 94)]);
        self.main(&["FCALL f 1 cnt"]);
        self.mark("FCALL with RO");
        self.main(&["FCALL_RO f 1 cnt"]);
    }

    fn modules(&mut self) {
        let calls: [(&str, &[&str]); 8] = [
            ("RM_Call plain v", &["-", "INCR", "rk"]),
            ("RM_Call !", &["!", "INCR", "rk"]),
            ("RM_Call C! (user)", &["C!", "INCR", "rk"]),
            ("RM_Call error E", &["E", "LPUSH", "rk", "x"]),
            ("RM_Call error no E", &["-", "LPUSH", "rk", "x"]),
            ("RM_Call unknown", &["E", "NOSUCH", "rk", "x"]),
            ("RM_Call arity", &["E", "GET"]),
            ("RM_Call EVAL", &["E", "EVAL", "return redis.call('INCR','rk')", "0"]),
        ];
        for (section, words) in calls {
            self.mark(section);
            self.main.call(&[&["CALLER.CALL"], words].concat());
        }
        self.mark("timer");
        self.main(&["CALLER.TIMER"]);
        self.scene.collector.wait_argv("INCR", "from-timer");
    }

    fn blocking(&mut self) {
        self.mark("BLPOP served");
        self.block("BLPOP bl 0");
        self.mark("push now");
        self.main(&["RPUSH bl el"]);
        self.other().reply();
        self.mark("BLPOP timeout");
        self.other().line("BLPOP bl 0.05");
        self.mark("BLPOP client unblocked w error");
        self.block("BLPOP bl 0");
        let id = self.blocked_id();
        self.main(&[&format!("CLIENT UNBLOCK {id} ERROR")]);
        self.other().reply();
        self.mark("BLPOP immediate");
        self.main(&["RPUSH bl z"]);
        self.other().line("BLPOP bl 0");
        self.mark("WAIT 1 50");
        self.other().line("WAIT 1 50");
        self.mark("XREAD BLOCK served");
        self.block("XREAD BLOCK 0 STREAMS st $");
        self.main(&["XADD st * f v"]);
        self.other().reply();
    }

    fn oddities(&mut self) {
        self.mark("unknown");
        self.main.call(&["NOSUCH", "a", "b\r\nc\""]);
        self.main(&["CONFIG NOSUB", "GET"]);
        let port = self.scene.server.port();
        self.mark("inline");
        let mut client = Client::connect(port);
        client.raw(b"SET inl \"a b\"\r\n");
        client.reply();
        self.mark("HTTP host:");
        let mut client = Client::connect(port);
        client.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client.reply();
        self.mark("QUIT");
        Client::connect(port).line("QUIT");
        self.mark("RESET/SELECT/db");
        let mut client = Client::connect(port);
        for line in ["SELECT 3", "SET x 1", "RESET"] {
            client.line(line);
        }
    }

    fn logins(&mut self) {
        let port = self.scene.server.port();
        self.mark("AUTH");
        self.main(&["ACL SETUSER bob on >secret1 ~b:* &bc* +@all -flushall"]);
        let mut bob = Client::connect(port);
        for line in [
            "AUTH bob bad",
            "AUTH bob secret1",
            "GET zz",
            "SET b:1 x",
            "FLUSHALL",
            "PUBLISH nope m",
        ] {
            bob.line(line);
        }
        bob.call_bytes(&[b"MGET", b"b:1", b"q\0r"]);
        bob.call(&["EVAL", "return redis.call('GET','zz')", "0"]);
        bob.call(&["EVAL", "return redis.pcall('FLUSHALL')", "0"]);
        self.mark("ACL in MULTI");
        for line in ["MULTI", "GET zz", "EXEC"] {
            bob.line(line);
        }
        self.mark("EXEC with revoked");
        bob.line("MULTI");
        bob.line("GET b:1");
        self.main(&["ACL SETUSER bob -get"]);
        bob.line("EXEC");
        self.main(&["ACL SETUSER bob +get"]);
        self.mark("HELLO AUTH bad/good");
        bob.line("HELLO 3 AUTH bob bad");
        bob.line("HELLO 3 AUTH bob secret1");
        self.mark("NOAUTH");
        self.main(&["CONFIG SET requirepass topsecret"]);
        let mut client = Client::connect(port);
        for line in ["GET x", "NOSUCH", "AUTH wrong", "AUTH topsecret"] {
            client.line(line);
        }
        self.main.call(&["CONFIG", "SET", "requirepass", ""]);
        self.mark("ACL db");
        self.main(&["ACL SETUSER dbu on nopass ~* +@all resetdbs db=0"]);
        let mut client = Client::connect(port);
        client.line("AUTH dbu x");
        client.line("SELECT 3");
    }

    fn others(&mut self) {
        let port = self.scene.server.port();
        self.mark("CLIENT REPLY OFF error");
        let mut client = Client::connect(port);
        client.send(&[b"CLIENT", b"REPLY", b"OFF"]);
        client.send(&[b"LPUSH", b"k", b"x"]);
        client.send(&[b"GET", b"k"]);
        self.scene.collector.wait("a silent client's GET", |record| {
            record["argv"] == serde_json::json!(["GET", "k"]) && record["seq"].as_u64() > Some(100)
        });
        self.mark("OOM");
        self.main(&["CONFIG SET maxmemory 1", "SET x y", "CONFIG SET maxmemory 0"]);
        self.mark("OOM in script");
        self.main(&["CONFIG SET maxmemory 1"]);
        self.main.call(&["EVAL", "return redis.call('SET','x','y')", "0"]);
        let body = "#!lua flags=allow-oom\nreturn redis.pcall('SET','x','y')";
        self.main.call(&["EVAL", &padded(body, 55), "0"]);
        self.main(&["CONFIG SET maxmemory 0"]);
        self.mark("subscribe");
        let mut client = Client::connect(port);
        client.line("SUBSCRIBE ch1 ch2");
        client.reply();
        client.line("SET a b");
        self.mark("NOSCRIPT");
        self.main(&[&format!("EVALSHA {} 0", "f".repeat(40))]);
        self.mark("DEBUG/SLEEP dur");
        self.main(&["DEBUG SLEEP 0.05"]);
        self.mark("SORT/dirty multi");
        self.main(&["DEL a b k k2", "RPUSH l 0 1 2 3 4 5 6 7 8 9", "LTRIM l 0 1", "FLUSHALL"]);
        self.mark("expired key get");
        self.main(&["SET ex 1 PX 1", "GET ex"]);
        self.mark("big");
        self.main.call(&["SET", "big", &"x".repeat(1_000_000)]);
        self.mark("MIGRATE");
        self.main(&["MIGRATE 127.0.0.1 1 big 0 10 AUTH migpass"]);
        self.mark("CLIENT KILL self");
        let mut client = Client::connect(port);
        let id = client.line("CLIENT ID");
        client.line(&format!("CLIENT KILL SKIPME no ID {}", id.trim_start_matches(':')));
        self.mark("end");
    }
}

/// Plays the dump's conversation and compares, event by event. FLUSHALL's dirty figure is left alone: it depends on how many
/// keys the sections before have left.
pub(crate) fn play(scene: &Scene) {
    let mut conversation = Conversation { scene, main: scene.client(), other: None };
    conversation.basics();
    conversation.scripts();
    conversation.modules();
    conversation.blocking();
    conversation.oddities();
    conversation.logins();
    conversation.others();
    let records = scene.collector.wait_argv("ECHO", "end");
    let mut played: HashMap<String, Vec<&Value>> = HashMap::new();
    let mut section = String::new();
    for record in &records {
        if record["argv"][0] == "ECHO" {
            section = record["argv"][1].as_str().unwrap().to_owned();
        } else {
            played.entry(section.clone()).or_default().push(record);
        }
    }
    let sections = dump::sections();
    let mut ids = HashMap::new();
    let mut compared = 0;
    for (section, events) in &sections {
        // These have no records, or their conversation cannot be told from the dump.
        if ["start", "SHUTDOWN", "protocol error", "BLPOP killed while blocked"]
            .contains(&&**section)
        {
            continue;
        }
        let own = played.remove(section).unwrap_or_default();
        let names: Vec<_> = own.iter().map(|record| &record["command_name"]).collect();
        assert_eq!(own.len(), events.len(), "section {section}: {names:?}\n{events:?}");
        for (expected, record) in events.iter().zip(own) {
            let mut record = record.clone();
            if expected.name.as_deref() == Some("flushall") && expected.event == "success" {
                record["dirty"] = expected.dirty.into();
            }
            compare(section, expected, &record, &mut ids);
            compared += 1;
        }
    }
    assert!(compared > 120, "only {compared} events were compared");
    assert_gapless(&records);
    assert!(!scene.server.log().contains("internal error"), "{}", scene.server.log());
}

// Oracle: the dump of what the server's module interface delivered in the same conversation.
#[test]
fn every_event_of_the_dump_becomes_the_record_that_it_should() {
    play(&Scene::new(&format!("loadmodule {}", caller_path().display())));
}

// Oracle: the records' own numbers; the server's main thread is not the one that calls here.
#[test]
fn commands_of_another_thread_are_recorded_too() {
    let scene = Scene::new(&format!("loadmodule {}", caller_path().display()));
    let mut client = scene.client();
    client.line("CALLER.THREAD");
    for _ in 0..1000 {
        client.line("INCR from-client");
    }
    testkit::wait_until("both threads' records", crate::collector::DEADLINE, || {
        let records = scene.collector.records();
        let count = |key: &str| records.iter().filter(|record| record["argv"][1] == key).count();
        count("from-thread") == 1000 && count("from-client") == 1000
    });
    let records = scene.collector.records();
    assert_gapless(&records);
    let of_thread = records.iter().filter(|record| record["argv"][1] == "from-thread");
    assert!(of_thread.clone().all(|record| record["via"] == "module" && record["user"].is_null()));
}
