//! omvalkeyaudit-verify: what goes to stdout and stderr, and the exit code.
#![forbid(unsafe_code)]

use omvalkeyaudit_verify::error::CannotCheck;
use omvalkeyaudit_verify::help::HELP;
use omvalkeyaudit_verify::options::{Command, Options};
use omvalkeyaudit_verify::{as_json, run, text};
use std::env;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

/// The check could not be made.
const NOT_CHECKED: u8 = 2;

fn main() -> ExitCode {
    let done = match Command::read(env::args_os().skip(1)) {
        Ok(Command::Check(options)) => return check(&options),
        Ok(Command::Help) => print(|out| out.write_all(HELP.as_bytes())),
        Ok(Command::Version) => {
            print(|out| writeln!(out, "omvalkeyaudit-verify {}", env!("CARGO_PKG_VERSION")))
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn check(options: &Options) -> ExitCode {
    let outcome = match run::run(options) {
        Ok(outcome) => outcome,
        Err(error) => {
            if options.is_json && !options.is_quiet {
                // The exit code is the same, whether this can be written or not.
                drop(print(|out| writeln!(out, "{:#}", as_json::of_error(&error))));
            }
            return fail(&error);
        }
    };
    let printed = if options.is_quiet {
        Ok(())
    } else if options.is_json {
        print(|out| writeln!(out, "{:#}", as_json::of_outcome(&outcome)))
    } else {
        print(|out| text::write(&outcome, out))
    };
    match printed {
        Ok(()) => ExitCode::from(outcome.exit_code()),
        Err(error) => fail(&error),
    }
}

/// Writes to stdout. Whoever stops reading, such as `head`, has seen enough: the exit code stays.
fn print(
    write: impl FnOnce(&mut BufWriter<io::StdoutLock<'_>>) -> io::Result<()>,
) -> Result<(), CannotCheck> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CannotCheck(format!("cannot write the report to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn fail(error: &CannotCheck) -> ExitCode {
    drop(writeln!(io::stderr(), "omvalkeyaudit-verify: {error}"));
    ExitCode::from(NOT_CHECKED)
}
