//! Who talks to the audited server, and what about.

use serde_json::Value;
use testkit::Entry;

use crate::stage::Stage;

/// What must not be found anywhere afterwards.
pub(crate) const SECRETS: [&str; 5] = [
    "hunter2-of-the-administrator",
    "sesame-of-the-shop",
    "a-guess-of-the-intruder",
    "rosebud-of-the-primary",
    "swordfish-of-the-new-user",
];

const ADMINISTRATOR: &str = "\
ACL SETUSER admin on >hunter2-of-the-administrator ~* &* +@all
AUTH admin hunter2-of-the-administrator
ACL SETUSER shop on >sesame-of-the-shop ~shop:* &shop:* +@all -@admin -@dangerous
ACL SETUSER default -@all +auth +ping
CONFIG SET primaryauth rosebud-of-the-primary
CONFIG SET maxmemory-policy noeviction
";

const APPLICATION: &str = "\
AUTH shop sesame-of-the-shop
SET shop:article:7 \"2 left in stock\"
MULTI
DECR shop:count:7
RPUSH shop:orders 4711
EXEC
EVAL \"return redis.call('HSET',KEYS[1],'name',ARGV[1])\" 1 shop:user:42 Ada
PUBLISH shop:news \"article 7 is going\"
LPUSH shop:article:7 oops
GET shop:article:7
";

const INTRUDER: &str = "\
AUTH shop a-guess-of-the-intruder
GET shop:user:42
AUTH shop sesame-of-the-shop
GETALL shop:*
FLUSHALL
GET payroll:2026
SUBSCRIBE payroll
CONFIG GET primaryauth
ACL LIST
";

const ADMINISTRATOR_AGAIN: &str = "\
AUTH admin hunter2-of-the-administrator
ACL SETUSER shop resetpass >swordfish-of-the-new-user
DEL shop:orders
CONFIG SET port not-a-number
";

const SCRIPTS: [&str; 4] = [ADMINISTRATOR, APPLICATION, INTRUDER, ADMINISTRATOR_AGAIN];

pub(crate) fn play(stage: &Stage) {
    println!("\n2. Three people type into valkey-cli:\n");
    println!("   an administrator makes users and sets a password of the configuration;");
    println!("   an application writes, with a transaction, a script and a message;");
    println!(
        "   an intruder guesses a password, gets in with a stolen one, and tries what it may not;"
    );
    println!("   the administrator changes the stolen password, and mistypes.\n");
    for lines in SCRIPTS {
        stage.type_in(lines);
    }
}

/// Whether the stream has a record for each line that was typed, in order, and none besides of a client, but for what
/// the start of the demo asked.
pub(crate) fn are_all_in(stream: &[Entry]) -> bool {
    let is_typed = |entry: &&Entry| {
        ["client", "multi"].contains(&entry.text("via").as_str())
            && !["client|setinfo", "ping"].contains(&entry.text("command_name").as_str())
    };
    let first_word = |entry: &Entry| {
        let argv: Vec<Value> = serde_json::from_str(&entry.text("argv")).ok()?;
        Some(argv.first()?.as_str()?.to_owned())
    };
    let recorded = stream.iter().filter(is_typed).map(first_word);
    let typed = SCRIPTS.iter().flat_map(|script| script.lines());
    recorded.eq(typed.map(|line| line.split(' ').next().map(str::to_owned)))
}
