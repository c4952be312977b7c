//! The bytes of a file that an operator named, and who may read them. What is in them is the caller's
//! business.
#![forbid(unsafe_code)]

use crate::params::{Settings, Topology};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The files with a secret in them that everybody on this machine may read, and the parameters that name
/// them.
pub fn exposed(settings: &Settings) -> Vec<(&'static str, &Path)> {
    let sentinels = match &settings.topology {
        Topology::Sentinel { login, .. } => login.password_file.as_deref(),
        Topology::Standalone | Topology::Cluster => None,
    };
    let identity = settings.tls.as_ref().and_then(|tls| tls.identity.as_ref());
    let named = [
        ("passwordfile", settings.login.password_file.as_deref()),
        ("sentinel.passwordfile", sentinels),
        ("tls.myprivkey", identity.map(|identity| identity.key.as_path())),
    ];
    let is_exposed =
        |path: &Path| path.metadata().is_ok_and(|found| found.permissions().mode() & 0o004 != 0);
    let files = named.into_iter().filter_map(|(name, path)| Some((name, path?)));
    files.filter(|(_, path)| is_exposed(path)).collect()
}

/// Reads all of it.
///
/// # Errors
/// Why that cannot be done, without the path.
pub(super) fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
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
