//! A server that says no: what is one record's fault goes to the dead letter, everything else holds
//! the records back and says what to do.

use crate::core::{Core, assert_exact, command};
use omvalkeyaudit::error::Verdict::{Committed, Suspended};
use testkit::{Flavour, Scratch, Server, entries, number_in, record};

fn server(flavour: Flavour, scratch: &Scratch) -> Server {
    Server::builder(flavour).start(scratch)
}

/// Breaks the server, sends, mends it, and expects every record once and a line with `words`.
fn holds_until_mended(flavour: Flavour, breaks: &[&[&str]], mends: &[&[&str]], words: &[&str]) {
    let scratch = Scratch::new();
    let server = server(flavour, &scratch);
    let mut core = Core::new(&server.address(), &[]);
    core.send(0..10, 5);
    for words in breaks {
        command(&server, words);
    }
    core.load((10..15).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    for _ in 0..3 {
        assert_eq!(core.try_resume(), Suspended);
    }
    for word in words {
        assert!(core.log.text().contains(word), "no {word:?} in {}", core.log.text());
    }
    assert_eq!(core.log.count("cannot commit"), 1, "{}", core.log.text());
    for words in mends {
        command(&server, words);
    }
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 0..15);
    assert_eq!(entries(&mut server.connection(), "audit:deadletter").len(), 0);
}

// Oracle for this and the following: verdicts, one log line that names the cause, exact count.
on_each_server!(a_server_without_memory_holds_records_back);
fn a_server_without_memory_holds_records_back(flavour: Flavour) {
    holds_until_mended(
        flavour,
        &[&["CONFIG", "SET", "maxmemory", "1"]],
        &[&["CONFIG", "SET", "maxmemory", "0"]],
        &["OOM", "maxmemory"],
    );
}

on_each_server!(a_read_only_replica_holds_records_back);
fn a_read_only_replica_holds_records_back(flavour: Flavour) {
    holds_until_mended(
        flavour,
        &[&["REPLICAOF", "127.0.0.1", "1"]],
        &[&["REPLICAOF", "NO", "ONE"]],
        &["READONLY", "primary"],
    );
}

on_each_server!(a_server_that_demands_more_replicas_holds_records_back);
fn a_server_that_demands_more_replicas_holds_records_back(flavour: Flavour) {
    holds_until_mended(
        flavour,
        &[&["CONFIG", "SET", "min-replicas-to-write", "1"]],
        &[&["CONFIG", "SET", "min-replicas-to-write", "0"]],
        &["NOREPLICAS"],
    );
}

// Oracle: the log has each of the two reasons once, though both are the login's and tried again and again.
on_each_server!(who_mends_one_refusal_reads_the_next_one_of_its_kind);
fn who_mends_one_refusal_reads_the_next_one_of_its_kind(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = server(flavour, &scratch);
    command(&server, &["ACL", "SETUSER", "audit", "reset", "on", ">other", "~*", "+@all", "-xadd"]);
    let mut core = Core::new(&server.address(), &[("user", "audit"), ("serverpassword", "right")]);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    for _ in 0..3 {
        assert_eq!(core.try_resume(), Suspended);
    }
    command(&server, &["ACL", "SETUSER", "audit", ">right"]);
    for _ in 0..3 {
        assert_eq!(core.try_resume(), Suspended);
    }
    let log = core.log;
    assert_eq!(log.count("cannot commit"), 2, "{}", log.text());
    assert_eq!((log.count("WRONGPASS"), log.count("+xadd")), (1, 1), "{}", log.text());
    command(&server, &["ACL", "SETUSER", "audit", "+xadd"]);
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 0..5);
}

// Oracle: the log names key and fix; the records wait and are then stored once.
on_each_server!(a_wrong_type_at_the_configured_key_holds_records_back);
fn a_wrong_type_at_the_configured_key_holds_records_back(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = server(flavour, &scratch);
    command(&server, &["SET", "audit", "x"]);
    let mut core = Core::new(&server.address(), &[]);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    assert_eq!(core.try_resume(), Suspended);
    let log = core.log.text();
    assert!(log.contains("WRONGTYPE") && log.contains("key: \"audit\""), "{log}");
    assert_eq!(core.log.count("cannot commit"), 1, "{log}");
    command(&server, &["DEL", "audit"]);
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 0..5);
}

// Oracle: the good records once and in order, the bad one as a dead letter with its bytes and reason.
on_each_server!(a_wrong_type_at_a_dynamic_key_makes_one_dead_letter_and_harms_no_other);
fn a_wrong_type_at_a_dynamic_key_makes_one_dead_letter_and_harms_no_other(flavour: Flavour) {
    for bad in 0..5_usize {
        let scratch = Scratch::new();
        let server = server(flavour, &scratch);
        command(&server, &["SET", "taken", "x"]);
        let mut core = Core::new(&server.address(), &[("dynakey", "on"), ("key", "tpl")]);
        core.load_keyed((0..5_u64).map(|number| {
            let key = if number == bad as u64 { "taken" } else { "free" };
            (key.to_owned(), record(number))
        }));
        assert_eq!(core.transaction(0..5), Committed, "{}", core.log.text());
        let mut connection = server.connection();
        let stored = testkit::numbers(&entries(&mut connection, "free"));
        let expected: Vec<u64> = (0..5).filter(|number| *number != bad as u64).collect();
        assert_eq!(stored, expected);
        let letters = entries(&mut connection, "omvalkeyaudit:deadletter");
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].text("record"), record(bad as u64));
        assert!(letters[0].text("reason").contains("WRONGTYPE"), "{:?}", letters[0]);
        assert_eq!(letters[0].text("action"), "test");
        assert!(letters[0].text("received").ends_with('Z'));
    }
}

// Oracle: as above, for a key that the ACL forbids, which fails before EXEC and aborts it.
on_each_server!(a_forbidden_dynamic_key_makes_one_dead_letter_and_harms_no_other);
fn a_forbidden_dynamic_key_makes_one_dead_letter_and_harms_no_other(flavour: Flavour) {
    let scratch = Scratch::new();
    let server =
        Server::builder(flavour).acl_user("w on >pw ~free ~omvalkeyaudit:* +@all").start(&scratch);
    let mut core = Core::new(
        &server.address(),
        &[("dynakey", "on"), ("key", "tpl"), ("user", "w"), ("serverpassword", "pw")],
    );
    core.load_keyed((0..5_u64).map(|number| {
        let key = if number == 2 { "forbidden" } else { "free" };
        (key.to_owned(), record(number))
    }));
    assert_eq!(core.transaction(0..5), Committed, "{}", core.log.text());
    let mut connection = server.connection();
    assert_eq!(testkit::numbers(&entries(&mut connection, "free")), [0, 1, 3, 4]);
    let letters = entries(&mut connection, "omvalkeyaudit:deadletter");
    assert_eq!(letters.len(), 1);
    assert!(letters[0].text("reason").contains("NOPERM"));
    assert_eq!(number_in(letters[0].get("record").unwrap()), Some(2));
}

// Oracle: both streams together hold each record once; flaws are named; the log repeats no content.
on_each_server!(records_that_are_not_what_they_should_be_become_dead_letters_in_their_place);
fn records_that_are_not_what_they_should_be_become_dead_letters_in_their_place(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = server(flavour, &scratch);
    let mut core = Core::new(&server.address(), &[("record.maxbytes", "500")]);
    core.load([
        record(0),
        "{\"secret\":hunter2}".to_owned(),
        record(1),
        String::new(),
        "[1]".to_owned(),
        testkit::record_of(9, 501),
        record(2),
    ]);
    assert_eq!(core.transaction(0..7), Committed);
    assert_exact(&server, "audit", 0..3);
    let letters = entries(&mut server.connection(), "audit:deadletter");
    let reasons: Vec<String> = letters.iter().map(|letter| letter.text("reason")).collect();
    assert_eq!(
        reasons,
        [
            "record is not JSON: syntax error at byte 11",
            "record is empty",
            "record is JSON but not an object",
            "record has 501 bytes, record.maxbytes allows 500",
        ]
    );
    assert_eq!(letters[0].text("record"), "{\"secret\":hunter2}");
    assert_eq!(core.log.count("goes to the dead letter"), 1, "the others are only counted");
    assert!(!core.log.text().contains("hunter2"));
}

// Oracle: the log, and the count after the password file was corrected.
on_each_server!(a_wrong_password_is_named_and_a_corrected_file_is_read_again);
fn a_wrong_password_is_named_and_a_corrected_file_is_read_again(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).password("right-one").start(&scratch);
    let file = scratch.write("password", "wrong-one");
    let mut core = Core::new(&server.address(), &[("passwordfile", &file.display().to_string())]);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    assert_eq!(core.try_resume(), Suspended);
    let log = core.log.text();
    assert!(log.contains("WRONGPASS") && log.contains("passwordfile"), "{log}");
    assert!(!log.contains("wrong-one"), "{log}");
    scratch.write("password", "right-one\n");
    core.resume();
    core.replay(5);
    assert_exact(&server, "audit", 0..5);
}

// Oracle: the user of the connection and the stream; the running worker must connect anew by itself.
on_each_server!(a_hup_reads_the_password_file_and_connects_anew);
fn a_hup_reads_the_password_file_and_connects_anew(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).acl_user("w on >one ~audit* +@all").start(&scratch);
    let file = scratch.write("password", "one");
    let file = file.display().to_string();
    let mut core = Core::new(&server.address(), &[("user", "w"), ("passwordfile", &file)]);
    core.send(0..5, 5);
    command(&server, &["ACL", "SETUSER", "w", "resetpass", ">two"]);
    scratch.write("password", "two");
    let before = client_id(&server);
    core.action.hup(core.log);
    core.send(5..10, 5);
    assert_ne!(client_id(&server), before);
    assert_exact(&server, "audit", 0..10);
    std::fs::remove_file(&file).unwrap();
    core.action.hup(core.log);
    assert!(core.log.text().contains("the old password stays in use"), "{}", core.log.text());
    core.send(10..15, 5);
    assert_exact(&server, "audit", 0..15);
}

/// The server's number for the worker's connection.
fn client_id(server: &Server) -> String {
    let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut server.connection()).unwrap();
    let line = list.lines().find(|line| line.contains("name=omvalkeyaudit")).expect("a worker");
    line.split(' ').next().unwrap().to_owned()
}

// Oracle: the log, which must say that a password is needed.
on_each_server!(a_missing_password_is_named);
fn a_missing_password_is_named(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).password("right-one").start(&scratch);
    let mut core = Core::new(&server.address(), &[]);
    core.load((0..5).map(record));
    assert_eq!(core.transaction(0..5), Suspended);
    assert!(core.log.text().contains("NOAUTH"), "{}", core.log.text());
}

// Oracle: exact count after the ACL took the right away and gave it back, whichever command it hit.
on_each_server!(a_right_that_is_taken_away_at_run_time_holds_records_back_and_doubles_none);
fn a_right_that_is_taken_away_at_run_time_holds_records_back_and_doubles_none(flavour: Flavour) {
    for lost in ["-multi", "-exec", "-xadd", "-set", "-watch", "resetkeys"] {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).acl_user("w on >pw ~audit* +@all").start(&scratch);
        let mut core = Core::new(&server.address(), &[("user", "w"), ("serverpassword", "pw")]);
        core.send(0..10, 5);
        command(&server, &["ACL", "SETUSER", "w", lost]);
        core.load((10..15).map(record));
        let verdict = core.transaction(0..5);
        if verdict == Suspended {
            assert!(core.log.text().contains("NOPERM"), "{lost}: {}", core.log.text());
        }
        command(&server, &["ACL", "SETUSER", "w", "~audit*", "+@all"]);
        if verdict == Suspended {
            core.resume();
            core.replay(5);
        }
        core.send(15..20, 5);
        assert_exact(&server, "audit", 0..20);
    }
}

// Oracle: exact count; the server forgets the guard together with all its data.
on_each_server!(a_flush_of_the_whole_database_is_survived);
fn a_flush_of_the_whole_database_is_survived(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = server(flavour, &scratch);
    let mut core = Core::new(&server.address(), &[]);
    core.send(0..10, 5);
    command(&server, &["FLUSHALL"]);
    core.load((10..15).map(record));
    assert_eq!(core.transaction(0..5), Committed);
    assert_exact(&server, "audit", 10..15);
}

// Oracle: the count; the server's list of clients and of what it has denied.
on_each_server!(the_courtesies_of_a_connection_are_asked_for_and_not_insisted_on);
fn the_courtesies_of_a_connection_are_asked_for_and_not_insisted_on(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour)
        .acl_user("all on >pw ~* +@all")
        .acl_user("few on >pw ~* +@all -client -time")
        .start(&scratch);
    let list =
        || -> String { redis::cmd("CLIENT").arg("LIST").query(&mut server.connection()).unwrap() };
    let parameters = [("user", "all"), ("serverpassword", "pw"), ("clientname", "mine")];
    let mut core = Core::new(&server.address(), &parameters);
    core.send(0..5, 5);
    let line = list().lines().find(|line| line.contains("name=mine")).unwrap().to_owned();
    // `e` stands for a client that is not to be evicted.
    let flags = line.split("flags=").nth(1).unwrap().split(' ').next().unwrap();
    assert!(flags.contains('e'), "{line}");

    let parameters = [("user", "few"), ("serverpassword", "pw"), ("key", "few")];
    let mut core = Core::new(&server.address(), &parameters);
    core.send(0..5, 5);
    assert_exact(&server, "few", 0..5);
    assert!(!core.log.text().contains("cannot commit"), "{}", core.log.text());
}

// Oracle: neither the log nor the dead letter's reason repeats what the server repeats.
on_each_server!(arguments_that_a_server_repeats_stay_out_of_the_log);
fn arguments_that_a_server_repeats_stay_out_of_the_log(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).config("rename-command AUTH \"\"").start(&scratch);
    let login = [("user", "audit"), ("serverpassword", "hunter2")];
    let mut core = Core::new(&server.address(), &login);
    core.load([record(0)]);
    assert_eq!(core.transaction(0..1), Suspended);
    let log = core.log.text();
    assert!(log.contains("unknown command") && !log.contains("hunter2"), "{log}");

    let server = Server::builder(flavour).config("rename-command XADD \"\"").start(&scratch);
    let mut core = Core::new(&server.address(), &[]);
    core.load(["{\"card\":\"4111\"}".to_owned()]);
    assert_eq!(core.transaction(0..1), Suspended);
    let log = core.log.text();
    assert!(log.contains("unknown command") && !log.contains("4111"), "{log}");
}

// Oracle: the line says what the server said before it closed the connection.
on_each_server!(a_server_with_too_many_clients_is_named_as_such);
fn a_server_with_too_many_clients_is_named_as_such(flavour: Flavour) {
    for login in [&[][..], &[("serverpassword", "hunter2")]] {
        let scratch = Scratch::new();
        let server = Server::builder(flavour).start(&scratch);
        // From the first client on: a server that is born with the limit may still count the client that greeted it.
        let mut first = server.connection();
        redis::cmd("CONFIG").arg(&["SET", "maxclients", "1"]).exec(&mut first).unwrap();
        let mut core = Core::new(&server.address(), login);
        core.load([record(0)]);
        assert_eq!(core.transaction(0..1), Suspended);
        let log = core.log.text();
        assert!(log.contains("max number of clients"), "{log}");
        assert!(!log.contains("passwordfile"), "{log}");
        drop(first);
    }
}

// Oracle: the stream; MULTI is taken away while a batch is sent ahead, and the connection breaks.
on_each_server!(what_is_sent_ahead_is_not_executed_without_multi);
fn what_is_sent_ahead_is_not_executed_without_multi(flavour: Flavour) {
    let scratch = Scratch::new();
    let server = Server::builder(flavour).acl_user("w on >pw ~audit* +@all").start(&scratch);
    let proxy = testkit::Proxy::unix(&scratch, server.address());
    let login = [("user", "w"), ("serverpassword", "pw")];
    let mut core = Core::new(&proxy.address(), &login);
    core.send(0..5, 5);
    command(&server, &["ACL", "SETUSER", "w", "-multi"]);
    core.load((5..8).map(|number| testkit::record_of(number, 100_000)));
    core.worker.begin_transaction();
    for index in 0..3 {
        core.hand_over(index);
    }
    proxy.cut_all();
    assert_eq!(core.worker.end_transaction(), Suspended);
    assert_exact(&server, "audit", 0..5);
    command(&server, &["ACL", "SETUSER", "w", "+@all"]);
    core.resume();
    core.replay(3);
    assert_exact(&server, "audit", 0..8);
}
