//! Every row of the table, and that no secret is in what is shown.
#![forbid(unsafe_code)]

use super::*;

/// What is shown of a command line, words parted by blanks; `_` stands for a blank inside of a word.
fn shown(line: &str, is_settled: bool) -> String {
    let words: Vec<String> = line.split(' ').map(|word| word.replace('_', " ")).collect();
    let args: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let sub = format!("{}|{}", lower[0], lower.get(1).map_or("", String::as_str));
    let has_row = TABLE.iter().any(|(name, _)| *name == sub);
    let rule = match lower[0].strip_suffix('?') {
        Some(_) => Rule::Unknown,
        None if has_row => rule_of(&sub),
        None => rule_of(&lower[0]),
    };
    let mut marks = vec![Shown::Whole; args.len()];
    mark(rule, args.as_slice(), is_settled, &mut marks);
    let word = |(word, mark): (&String, &Shown)| match mark {
        Shown::Whole => word.replace(' ', "_"),
        Shown::Head => word.chars().take(1).chain(['*']).collect(),
        Shown::Redacted => "*".to_owned(),
        Shown::Omitted => "-".to_owned(),
    };
    words.iter().zip(&marks).map(word).collect::<Vec<_>>().join(" ")
}

// Oracle: the right column, written by hand from the commands' documentation.
#[test]
fn every_secret_is_hidden_and_what_is_none_is_shown() {
    let rows = [
        ("auth PW", "auth *"),
        ("AUTH bob PW", "AUTH bob *"),
        ("auth", "auth"),
        ("auth a PW PW", "auth * * *"),
        ("hello", "hello"),
        ("hello 3", "hello 3"),
        ("HELLO 3 AUTH bob PW SETNAME me", "HELLO 3 AUTH bob * SETNAME me"),
        ("hello 3 setname me auth bob PW", "hello 3 setname me auth bob *"),
        ("hello auth bob PW", "hello auth bob *"),
        ("hello 3 auht bob PW", "hello 3 * * *"),
        ("hello 3 auth PW", "hello 3 * *"),
        ("hello PW", "hello *"),
        (
            "ACL SETUSER bob on >PW ~k:* &c +@all -flushall",
            "ACL SETUSER bob on >* ~k:* &c +@all -flushall",
        ),
        ("acl setuser bob <PW #PW !PW", "acl setuser bob <* #* !*"),
        ("acl setuser bob PW nopass", "acl setuser bob * nopass"),
        ("acl setuser bob (+get_~a*) (+set ~b*) (>PW)", "acl setuser bob (+get_~a*) (+set ~b*) *"),
        (
            "acl setuser bob %R~k resetdbs db=0 clearselectors",
            "acl setuser bob %R~k resetdbs db=0 clearselectors",
        ),
        ("acl dryrun bob auth x PW", "acl dryrun bob auth x *"),
        ("acl getuser bob", "acl getuser bob"),
        ("acl deluser bob", "acl deluser bob"),
        ("config set requirepass PW", "config set requirepass *"),
        ("config set maxmemory 1 MasterAuth PW", "config set maxmemory 1 MasterAuth *"),
        ("config set primaryauth PW", "config set primaryauth *"),
        ("config set tls-key-file-pass PW", "config set tls-key-file-pass *"),
        ("config set tls-client-key-file-pass PW", "config set tls-client-key-file-pass *"),
        ("config set mymodule.api-token PW", "config set mymodule.api-token *"),
        ("config set tls-auth-clients no", "config set tls-auth-clients no"),
        ("config set requirepass my PW", "config set requirepass * *"),
        ("config get requirepass", "config get requirepass"),
        ("migrate h 1 k 0 10 COPY AUTH PW", "migrate h 1 k 0 10 COPY AUTH *"),
        ("migrate h 1 k 0 10 auth2 bob PW replace", "migrate h 1 k 0 10 auth2 bob * replace"),
        ("migrate h 1 _ 0 10 auth PW keys auth b", "migrate h 1 _ 0 10 auth * keys auth b"),
        ("migrate h 1 k 0 10 auht PW", "migrate h 1 k 0 10 * *"),
        (
            "sentinel set m auth-pass PW down-after-milliseconds 1",
            "sentinel set m auth-pass * down-after-milliseconds 1",
        ),
        ("sentinel config set sentinel-pass PW", "sentinel config set sentinel-pass *"),
        ("module load /x.so PW", "module load /x.so *"),
        (
            "module loadex /x.so CONFIG a.password PW CONFIG a.b 1 ARGS PW",
            "module loadex /x.so CONFIG a.password * CONFIG a.b 1 * *",
        ),
        ("eval return_1 0", "eval return_1 0"),
        ("eval local_p='PW'_redis.call('migrate','h',1,'','0','1','AUTH',p) 0", "eval * 0"),
        (
            "eval return_redis.call(unpack(ARGV)) 0 MIGRATE h 1 k 0 10 AUTH PW",
            "eval return_redis.call(unpack(ARGV)) 0 MIGRATE h 1 k 0 10 AUTH *",
        ),
        ("evalsha abc 0 migrate h 1 k 0 10 auth PW", "evalsha abc 0 migrate h 1 k 0 10 auth *"),
        ("fcall f 0 hello 3 auth bob PW", "fcall f 0 hello 3 auth bob *"),
        ("fcall_ro f 1 k v", "fcall_ro f 1 k v"),
        ("script load return_'Password=PW'", "script load *"),
        ("function load #!lua_name=x_local_secret='PW'", "function load *"),
        ("function load replace #!lua_name=x_local_token='PW'", "function load replace *"),
        ("function restore PW", "function restore *"),
        ("command getkeys auth bob PW", "command getkeys auth bob *"),
        ("evd.call E ACL SETUSER bob >PW", "evd.call E ACL SETUSER bob >*"),
        ("evd.call - CONFIG SET requirepass PW", "evd.call - CONFIG SET requirepass *"),
        ("evd.call - EVAL local_pass='PW' 0", "evd.call - EVAL * 0"),
        ("evd.call - incr rk", "evd.call - incr rk"),
        ("set auth hello", "set auth hello"),
        ("auht? PW", "* *"),
        ("get k", "get k"),
    ];
    for (line, expected) in rows {
        assert_eq!(shown(line, true), expected, "{line}");
    }
}

// Oracle: the table itself: no row without a line in the test above.
#[test]
fn every_row_of_the_table_is_tested() {
    let source = include_str!("tests.rs").to_ascii_lowercase();
    for (name, _) in TABLE {
        let line = format!("\"{} ", name.replace('|', " "));
        let stem = line.trim_end_matches("_ro ").trim_end_matches("andflags ").to_owned();
        assert!(source.contains(&stem), "no test has a line for {name}");
    }
}

// Oracle: a failed CONFIG SET may have any secret anywhere behind its first name.
#[test]
fn a_failed_config_set_shows_no_value() {
    assert_eq!(shown("config set requirepas PW", false), "config set requirepas *");
    assert_eq!(shown("config set requirepass a PW b", false), "config set requirepass * * *");
}

// Oracle: what the server says about commands that do not exist, and how the record shows it.
#[test]
fn an_unknown_command_shows_a_name_and_nothing_else() {
    let name = |name: &str| {
        let args: [&[u8]; 2] = [name.as_bytes(), b"PW"];
        let mut marks = [Shown::Whole; 2];
        mark(Rule::Unknown, args.as_slice(), false, &mut marks);
        assert_eq!(marks[1], Shown::Redacted);
        marks[0] == Shown::Whole
    };
    assert!(["AUHT", "auth", "JSON.GET", "NOSUCH"].into_iter().all(name));
    assert!(!["hunter2", "AUTHsecret", "p@ss", "AUTH:pw", "a b", "\n"].into_iter().any(name));
    let args: [&[u8]; 2] = [b"AUHT", b"PW"];
    let marks = [Shown::Whole, Shown::Redacted];
    let context = b"unknown command 'AUHT', with args beginning with: 'PW' ";
    assert_eq!(clean_context(context, true, args.as_slice(), &marks), b"unknown command");
    let context = b"-OOM command not allowed\r\n";
    assert_eq!(clean_context(context, false, args.as_slice(), &marks), b"-OOM command not allowed");
    let context = b"bad value 'PW'";
    assert_eq!(clean_context(context, false, args.as_slice(), &marks), REDACTED.as_bytes());
}

// Oracle: each word of the list, at every place of a script and in both cases.
#[test]
fn a_script_that_mentions_a_secret_anywhere_is_hidden() {
    for word in table::SECRET_WORDS {
        for at in [0, 1, 5000] {
            for word in [word.to_string(), word.to_uppercase()] {
                let body = format!("{}{word}{}", "-".repeat(at), "-".repeat(5000 - at));
                assert!(mentions_secret(body.as_bytes()), "{word} {at}");
            }
        }
    }
    assert!(!mentions_secret(b"return redis.call('SET', KEYS[1], ARGV[1])"));
    assert!(!mentions_secret(b"pas"));
}
