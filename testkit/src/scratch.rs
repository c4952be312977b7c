//! A folder per test.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, process, thread};

/// A unix socket's path has at most 107 bytes; the kit's own names need up to 40 of them.
const LONGEST_ROOT: usize = 60;

/// A folder with a short path, removed on drop; kept, and its path printed, when the test panics.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    is_kept: Cell<bool>,
}

impl Scratch {
    /// Makes a new, empty folder under the system's temporary folder.
    #[expect(clippy::new_without_default, reason = "making a folder is no default value")]
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut root = env::temp_dir();
        if root.as_os_str().len() > LONGEST_ROOT {
            root = PathBuf::from("/tmp");
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("ova-{}-{number}", process::id()));
        // A left-over of an ended process with the same id.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
        Scratch { path, is_kept: Cell::new(false) }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside the folder; nothing is made.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file and gives its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        path
    }

    /// Leaves the folder in place on drop.
    pub fn keep(&self) {
        self.is_kept.set(true);
    }

    /// A new folder inside: `stem`, or `stem2`, `stem3` and so on.
    pub(crate) fn new_folder(&self, stem: &str) -> PathBuf {
        for number in 1.. {
            let suffix = if number == 1 { String::new() } else { number.to_string() };
            let path = self.join(&format!("{stem}{suffix}"));
            match fs::create_dir(&path) {
                Ok(()) => return path,
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => panic!("make {}: {e}", path.display()),
            }
        }
        unreachable!("the numbers do not end")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("scratch folder kept: {}", self.path.display());
        } else if !self.is_kept.get() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
