//! The search for secrets in everything that the demo left behind.

use std::fs;
use std::path::Path;

use crate::actors::SECRETS;
use crate::stage::Stage;

/// Searches stream, dead letter and all files; whether there is no secret, and the search can find.
pub(crate) fn search(stage: &Stage) -> bool {
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for key in ["audit", "audit:deadletter"] {
        let entries = stage.entries(key);
        let fields = entries.iter().flat_map(|entry| &entry.fields);
        let bytes = fields.flat_map(|(name, value)| [&name[..], &value[..]].concat()).collect();
        places.push((format!("stream {key}"), bytes));
    }
    add_files(stage.scratch.path(), &mut places);
    let mut found = 0;
    for (place, bytes) in &places {
        for secret in SECRETS.iter().filter(|secret| has(bytes, secret)) {
            println!("\n   FOUND in {place}: {secret}");
            found += 1;
        }
    }
    let bytes: usize = places.iter().map(|(_, bytes)| bytes.len()).sum();
    println!(
        "\n   The {} passwords that were typed: found {found} times in {} places with {bytes} bytes",
        SECRETS.len(),
        places.len()
    );
    println!("   (stream, dead letter, all logs and other files).");
    // What was typed and is no secret is there.
    let can_find = places.first().is_some_and(|(_, bytes)| has(bytes, "payroll:2026"));
    found == 0 && can_find
}

fn add_files(folder: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("read the scratch folder") {
        let path = entry.expect("an entry of the scratch folder").path();
        if path.is_dir() {
            add_files(&path, places);
        } else if path.is_file() {
            let bytes = fs::read(&path).expect("read a file of the scratch folder");
            places.push((path.display().to_string(), bytes));
        }
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
