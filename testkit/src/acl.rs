//! The ACL rules of docs/acl.md, which tests compare with the code and try on real servers.

use std::fs;

use crate::programs::repository;

/// A rule, and what stands in the line before it.
#[derive(Debug, Clone)]
pub struct AclRule {
    /// What the rule is for: the text of its comment.
    pub purpose: String,
    /// The words of the command: `ACL`, `SETUSER`, the user, and what it may do.
    pub words: Vec<String>,
}

impl AclRule {
    /// Every rule of docs/acl.md for this user, in their order: a comment that begins with `#`, and a line that begins with
    /// `ACL SETUSER`.
    ///
    /// # Panics
    /// When there is none, or one without a comment.
    pub fn of(user: &str) -> Vec<AclRule> {
        let text = fs::read_to_string(repository().join("docs/acl.md")).expect("docs/acl.md");
        let start = format!("ACL SETUSER {user} ");
        let mut rules = Vec::new();
        let mut comment = "";
        for line in text.lines() {
            if line.starts_with(&start) {
                let purpose =
                    comment.strip_prefix("# ").expect("a comment before each rule").into();
                let words = line.split_whitespace().map(Into::into).collect();
                rules.push(AclRule { purpose, words });
            }
            comment = line;
        }
        assert!(!rules.is_empty(), "docs/acl.md has no rule for {user}");
        rules
    }

    /// The parameters that its purpose consists of: `name="value"`, with a blank between them.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let pairs = self.purpose.split("\" ").map(|pair| pair.trim_end_matches('"'));
        let pairs = pairs.map(|pair| pair.split_once("=\"").expect("a parameter and its value"));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The rights that it grants: commands and patterns, each as it stands there.
    pub fn rights(&self) -> Vec<String> {
        let is_right = |word: &&String| word.starts_with(['+', '~', '%', '&']);
        self.words.iter().filter(is_right).cloned().collect()
    }

    /// The words without one of its rights.
    pub fn without(&self, right: &str) -> Vec<&str> {
        self.words.iter().map(String::as_str).filter(|word| *word != right).collect()
    }
}
