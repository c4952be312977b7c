//! What an action makes of its settings before any worker is there.

use crate::core::Lines;
use omvalkeyaudit::params::{Retries, Settings, Values};
use omvalkeyaudit::worker::Action;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use testkit::Scratch;

fn action(name: &str, parameters: &[(&str, &str)], retries: Retries) -> Action {
    let mut values = Values::default();
    for (name, value) in parameters {
        values.add(name, value.as_bytes());
    }
    Action::new(name.to_owned(), Settings::from_values(&values).unwrap(), retries).unwrap()
}

// Oracle: the sentence has the number, the loss and the way out; -1 is no reason to say anything.
#[test]
fn an_action_that_gives_records_up_is_warned_about_and_one_that_does_not_is_not() {
    for (count, warned) in [(-1, false), (0, true), (5, true), (-2, true)] {
        let action = action("a", &[], Retries::from_core(count));
        let log = Lines::default();
        action.warn(&log);
        let expected = format!("omvalkeyaudit[a]: action.resumeRetryCount is {}, so", count.max(0));
        assert_eq!(log.text().contains(&expected), warned, "{count}: {}", log.text());
        assert_eq!(log.text().contains("set action.resumeRetryCount=\"-1\""), warned);
    }
}

// Oracle: the sentence has the parameter and the file, as long as others may read it; and not the password.
#[test]
fn a_password_file_that_everybody_may_read_is_warned_about() {
    let scratch = Scratch::new();
    let file = scratch.write("password", "hunter2");
    let path = file.display().to_string();
    let sentinel = [("topology", "sentinel"), ("sentinel.master", "m")];
    for (name, more) in [("passwordfile", &[][..]), ("sentinel.passwordfile", &sentinel)] {
        for (mode, warned) in [(0o644, true), (0o640, false), (0o600, false)] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let action = action("a", &[more, &[(name, &path)]].concat(), Retries::Forever);
            let log = Lines::default();
            action.warn(&log);
            let expected = format!("parameter \"{name}\" names \"{path}\", which everybody");
            assert_eq!(log.text().contains(&expected), warned, "{mode:o}: {}", log.text());
            assert!(!log.text().contains("hunter2"));
        }
    }
}

// Oracle: the sentence has the key and the way to what was meant; one percent sign is a name like others.
#[test]
fn a_key_that_looks_like_a_template_is_warned_about_where_it_is_taken_as_it_is() {
    for (key, dynakey, warned) in
        [("audit:%$!app%", "off", true), ("50%", "off", false), ("%a%", "on", false)]
    {
        let action = action("a", &[("key", key), ("dynakey", dynakey)], Retries::Forever);
        let log = Lines::default();
        action.warn(&log);
        let expected =
            format!("parameter \"key\" has the value \"{key}\", which is taken as it is");
        assert_eq!(log.text().contains(&expected), warned, "{key}: {}", log.text());
        assert_eq!(log.text().contains("dynakey=\"on\""), warned);
    }
}

#[test]
fn counters_are_named_by_statsname_else_by_the_action_else_by_its_key() {
    let name = |action_name: &str, parameters: &[(&str, &str)]| {
        let action = action(action_name, parameters, Retries::Forever);
        action.stats_name().to_str().unwrap().to_owned()
    };
    assert_eq!(name("a", &[("statsname", "s"), ("key", "k")]), "s");
    assert_eq!(name("a", &[("key", "k")]), "omvalkeyaudit(a)");
    assert_eq!(name("", &[("key", "k")]), "omvalkeyaudit(k)");
    assert_eq!(name("", &[("key", "tpl"), ("dynakey", "on")]), "omvalkeyaudit(tpl)");
    assert_eq!(name("", &[("key", "a\nb")]), "omvalkeyaudit(a?b)");
}
