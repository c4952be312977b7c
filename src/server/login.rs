//! Who we are: the password, from wherever it was configured.
#![forbid(unsafe_code)]

use crate::params::{Login, Secret};
use omvalkeyaudit_tls::file;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The longest password file, in bytes: more is a wrong path.
const MAX_PASSWORD_FILE_BYTES: u64 = 64 * 1024;

/// One of an action's logins. Shared by its workers.
#[derive(Debug)]
pub(super) struct Credentials {
    login: Login,
    /// The parameter that names the password file.
    parameter: &'static str,
    /// The last password that was read: after privileges are dropped the file may be out of reach.
    last_read: Mutex<Option<Secret>>,
}

impl Credentials {
    /// Reads the password file, if there is one; `parameter` names it.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub(super) fn load(login: Login, parameter: &'static str) -> Result<Self, String> {
        let password = match &login.password_file {
            Some(path) => {
                Some(read_password(path).map_err(|why| unreadable(parameter, path, &why))?)
            }
            None => login.password.clone(),
        };
        Ok(Self { login, parameter, last_read: Mutex::new(password) })
    }

    /// The login without the password.
    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    /// Reads the password file again, if there is one.
    ///
    /// # Errors
    /// A sentence that names the file; the password stays what it was.
    pub(super) fn reload(&self) -> Result<(), String> {
        let Some(path) = &self.login.password_file else { return Ok(()) };
        let password = read_password(path).map_err(|why| unreadable(self.parameter, path, &why))?;
        *self.last_read.lock().unwrap_or_else(PoisonError::into_inner) = Some(password);
        Ok(())
    }

    /// The password of today: a rotated file is noticed at the next login.
    pub(super) fn password(&self) -> Option<Secret> {
        let mut last = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.login.password_file
            && let Ok(password) = read_password(path)
        {
            *last = Some(password);
        }
        last.clone()
    }
}

fn unreadable(parameter: &str, path: &Path, why: &str) -> String {
    format!(
        "parameter \"{parameter}\" has the value \"{}\", but it must be a readable file with a \
         password in its first line: {why}",
        path.display()
    )
}

fn read_password(path: &Path) -> Result<Secret, String> {
    let bytes = file::read(path, MAX_PASSWORD_FILE_BYTES)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| error.to_string())?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        Err("its first line is empty".to_owned())
    } else {
        Ok(Secret::new(line.to_owned()))
    }
}
