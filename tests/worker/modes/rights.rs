//! The rules of docs/omhiredis.md are enough.

use crate::core::{Core, command};
use omvalkeyaudit::error::Verdict::Suspended;
use omvalkeyaudit::stats::Counter;
use std::fs;
use std::path::Path;
use testkit::{Fault, Flavour, Proxy, Scratch, Server, entries};

/// The rules of a row of the table, without what is said in words.
fn documented(mode: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/omhiredis.md");
    let text = fs::read_to_string(path).expect("docs/omhiredis.md");
    let (_, table) = text.split_once("<!-- rights -->").expect("the rules");
    let row = table.lines().find(|line| line.starts_with(&format!("| `{mode}`"))).expect(mode);
    row.split('`').nth(3).expect("a rule").to_owned()
}

// Oracle: what is committed and dead-lettered, also of a commit in doubt, by a user who may do no more;
// and no suspension.
on_each_server!(the_documented_rules_are_enough_in_each_mode);
fn the_documented_rules_are_enough_in_each_mode(flavour: Flavour) {
    let modes = [
        ("queue", &[("key", "audit")][..], "record"),
        ("publish", &[("key", "audit")][..], "record"),
        ("set", &[("key", "audit")][..], "record"),
        ("template", &[("template", "t")][..], "RPUSH mine record"),
    ];
    for (mode, parameters, record) in modes {
        let scratch = Scratch::new();
        let rule = documented(mode);
        let rules = format!("w on >pw {rule}");
        let server = Server::builder(flavour).acl_user(&rules).start(&scratch);
        command(&server, &["ACL", "SETUSER", "w", "~mine", "+rpush"]);
        let proxy = Proxy::unix(&scratch, server.address());
        let own =
            [("mode", mode), ("user", "w"), ("serverpassword", "pw"), ("record.maxbytes", "50")];
        let mut core = Core::new(&proxy.address(), &[&own[..], parameters].concat());
        core.load([record.to_owned()]);
        core.settle();
        proxy.once(Fault::CutAfterExec);
        core.load([record.to_owned(), "x".repeat(51)]);
        core.settle();
        assert_eq!(proxy.fired(Fault::CutAfterExec), 1);
        assert!(!core.verdicts.contains(&Suspended), "{mode}: {}", core.log.text());
        let counts = [Counter::Committed, Counter::DeadLettered];
        assert_eq!(counts.map(|counter| core.action.stats.get(counter)), [2, 1], "{mode}");
        let prefix = if mode == "template" { "omvalkeyaudit" } else { "audit" };
        let letters = entries(&mut server.connection(), &format!("{prefix}:deadletter"));
        assert_eq!(letters.len(), 1, "{mode}");
    }
}
