//! The hold file on the disk: opened without following a link, locked against others for as long as
//! it is open, appended to with fsync. What it holds is `format`'s business.
#![forbid(unsafe_code)]

use super::format::{Content, Foreign, HEADER, decode, encode};
use super::frame::Frame;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Only the user that rsyslogd runs as may read what is held: the records.
const MODE: u32 = 0o600;

/// Whoever may do everything may own the file, too.
const ROOT: u32 = 0;

/// A child that the process has just forked, for omprog for instance, has all its locks until its exec.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_millis(100);

/// The file, open and locked. The lock goes with it.
#[derive(Debug)]
pub(super) struct HoldFile {
    file: File,
    /// Up to here it is sound; nothing is behind.
    end: u64,
}

/// What was found on opening.
pub(super) struct Found {
    pub(super) frames: Vec<Frame>,
    /// Where a damaged end was put aside.
    pub(super) set_aside: Option<PathBuf>,
}

impl HoldFile {
    /// Opens the file, which is made where it is missing, and reads it. A damaged end is put aside, so
    /// that what is appended can be read. `user` is the one that rsyslogd runs as by now.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub(super) fn open(
        path: &Path,
        patience: Duration,
        user: u32,
    ) -> Result<(Self, Found), String> {
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = guarded(&mut options).open(path).map_err(|error| say(&error))?;
        let metadata = file.metadata().map_err(|error| say(&error))?;
        if !metadata.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        let owner = metadata.uid();
        if owner != ROOT && owner != user {
            return Err(format!(
                "it belongs to the user with the number {owner}, who may have put records into it, and rsyslogd runs as \
                 {user}; when you have looked at it, give it to that user (chown {user}) or remove it"
            ));
        }
        // Truncated when it is done with, never removed: a lock belongs to the file that it was
        // taken on, not to the name.
        lock(&file, patience)?;
        // What is not ours is not even read to its end: it may be anything, of any size.
        let mut bytes = Vec::new();
        let begin = u64::try_from(HEADER.len()).unwrap_or(u64::MAX);
        (&file).take(begin).read_to_end(&mut bytes).map_err(|error| say(&error))?;
        decode(&bytes).map_err(foreign)?;
        if metadata.permissions().mode() & !MODE & 0o777 != 0 {
            file.set_permissions(Permissions::from_mode(MODE)).map_err(|error| say(&error))?;
        }
        if is_new {
            sync_folder(path).map_err(|error| say(&error))?;
        }
        file.read_to_end(&mut bytes).map_err(|error| say(&error))?;
        let Content { frames, sound } = decode(&bytes).map_err(foreign)?;
        let damaged = bytes.get(sound..).unwrap_or_default();
        let mut set_aside = None;
        let end = u64::try_from(sound).unwrap_or(u64::MAX);
        if !damaged.is_empty() {
            set_aside = Some(put_aside(path, damaged).map_err(|error| say(&error))?);
            file.set_len(end).and_then(|()| file.sync_all()).map_err(|error| say(&error))?;
        }
        Ok((Self { file, end }, Found { frames, set_aside }))
    }

    /// Writes frames behind what is there: all of them, durably, or none.
    pub(super) fn append(&mut self, frames: &[Frame]) -> io::Result<()> {
        let mut bytes = if self.end == 0 { HEADER.to_vec() } else { Vec::new() };
        for frame in frames {
            encode(frame, &mut bytes);
        }
        let written = self
            .file
            .seek(SeekFrom::Start(self.end))
            .and_then(|_| self.file.write_all(&bytes))
            .and_then(|()| self.file.sync_all());
        if written.is_err() {
            // A full disk: half a frame would hide what is appended later.
            self.file.set_len(self.end)?;
        } else {
            self.end += u64::try_from(bytes.len()).unwrap_or_default();
        }
        written
    }

    /// Nothing in it is of use any more.
    pub(super) fn empty(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.end = 0;
        self.file.sync_all()
    }
}

fn foreign(foreign: Foreign) -> String {
    match foreign {
        Foreign::Newer { version } => {
            format!("it has version {version}, which only a later omvalkeyaudit can read")
        }
        Foreign::NotAHoldFile => "it holds something else".to_owned(),
    }
}

fn lock(file: &File, patience: Duration) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if begin.elapsed() < patience => thread::yield_now(),
            Err(TryLockError::WouldBlock) => {
                return Err("another action or process uses it".to_owned());
            }
            Err(TryLockError::Error(error)) => return Err(say(&error)),
        }
    }
}

/// Keeps `damaged` for a person to look at.
fn put_aside(path: &Path, damaged: &[u8]) -> io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".damaged-{}", now.as_micros()));
    let aside = PathBuf::from(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = guarded(&mut options).open(&aside)?;
    let kept = file.write_all(damaged).and_then(|()| file.sync_all());
    if let Err(error) = kept.and_then(|()| sync_folder(path)) {
        // The next attempt makes another one, and there is one for every flush.
        drop(fs::remove_file(&aside));
        return Err(error);
    }
    Ok(aside)
}

/// A link could lead to any file that rsyslogd may write; a pipe would wait for its other end.
fn guarded(options: &mut OpenOptions) -> &OpenOptions {
    options.mode(MODE).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

fn say(error: &io::Error) -> String {
    if error.raw_os_error() == Some(libc::ELOOP) {
        "it is a symbolic link, which is not followed".to_owned()
    } else {
        error.to_string()
    }
}
