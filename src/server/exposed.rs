//! Who may read the files with secrets that the settings name. Reading them is others' business.
#![forbid(unsafe_code)]

use crate::params::{Settings, Topology};
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
