//! The bytes of a file that an operator named. What is in them is the caller's business.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Reads all of it.
///
/// # Errors
/// Why that cannot be done, without the path.
pub fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    let metadata = path.metadata().map_err(|error| error.to_string())?;
    // Opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= max_bytes) {
        Ok(bytes)
    } else {
        Err(format!("it has more than {max_bytes} bytes"))
    }
}
