//! What an auditor asks, with valkey-cli and what every machine has.

use crate::stage::Stage;
use crate::table::cut;

/// One line for each entry: number, time, user, event, command, arguments.
const FUNCTION: &str = r#"audit() {
  valkey-cli -s "$STORE" --raw XRANGE audit "$@" | sed 's/^[0-9]*-[0-9]*$/\n&/' | awk -v RS= -F'\n' '
    { for (i = 2; i < NF; i += 2) f[$i] = $(i + 1)
      print f["seq"], substr(f["ts"], 12, 8), f["user"], f["event"], f["command_name"], f["argv"]; delete f }'
}"#;

/// The question, the command, what a line of the answer has, and how many lines there are.
const QUESTIONS: [(&str, &str, &str, usize); 3] = [
    ("What did the user shop do?", "audit - + | grep ' shop '", "success set [", 17),
    (
        "What was denied in the last minute?",
        "audit $(date -d '1 minute ago' +%s000) + | grep acl_denied",
        "acl_denied get [\"GET\",\"payroll:2026\"]",
        6,
    ),
    (
        "Who changed users or configuration?",
        "audit - + | grep -E 'acl.setuser|config.set'",
        "config|set [\"CONFIG\",\"SET\",\"primaryauth\",\"(redacted)\"]",
        7,
    ),
];

/// Prints questions and answers; whether the answers are what the actors did.
pub(crate) fn ask(stage: &Stage) -> bool {
    println!("\n4. Three questions, with a function for the shell:\n");
    FUNCTION.lines().for_each(|line| println!("   {line}"));
    let mut is_right = true;
    for (question, command, has, count) in QUESTIONS {
        let answer = stage.shell(&format!("{FUNCTION}\n{command}"));
        println!("\n   {question}\n   $ {command}");
        answer.lines().for_each(|line| println!("   {}", cut(line, 110)));
        is_right &= answer.contains(has) && answer.lines().count() == count;
    }
    is_right
}
