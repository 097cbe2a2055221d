// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program: arguments, then a tunnel, then an exit status (tunnel(8)).

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tunnel::args::{self, Command, Explain, Run, UsageError};
use tunnel::daemon::{self, Options, StartError, Tunnel};
use tunnel::sys::process::{self, Readiness, Side};

/// `EX_OSERR` of sysexits.h.
const OS_ERROR: u8 = 71;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into()).collect();
    let status = match Command::parse(&words) {
        Err(error) => {
            tell(&mut io::stderr(), &format!("tunnel: {error}"));
            UsageError::EXIT
        }
        Ok(Command::Help) => tell(&mut io::stdout(), args::usage().trim_end()),
        Ok(Command::Version { verbose }) => tell(&mut io::stdout(), &tunnel::version::text(verbose)),
        Ok(Command::Check { config, quiet }) => check(config, quiet, false),
        Ok(Command::Dump { config, quiet }) => check(config, quiet, true),
        Ok(Command::ExplainHelp) => tell(&mut io::stdout(), args::explain_usage().trim_end()),
        Ok(Command::Explain(asked)) => explain(&asked),
        Ok(Command::Run(run)) => serve(run),
    };
    ExitCode::from(status)
}

/// Loads everything, tells what is wrong, and prints the effective configuration if asked to.
fn check(config: PathBuf, quiet: bool, dump: bool) -> u8 {
    let config = match daemon::check(&Options::new(config)) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    if !quiet {
        config.warnings.iter().for_each(|warning| {
            tell(&mut io::stderr(), warning);
        });
    }
    if dump {
        return tell(&mut io::stdout(), config.effective().trim_end());
    }
    if quiet { 0 } else { tell(&mut io::stderr(), "the configuration is good") }
}

/// Says what would become of a client.
fn explain(asked: &Explain) -> u8 {
    let config = match daemon::check(&Options::new(&asked.config)) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    match tunnel::explain::explain(&config, asked) {
        Ok(told) if asked.json => tell(&mut io::stdout(), &told.json()),
        Ok(told) => tell(&mut io::stdout(), &told.to_string()),
        Err(error) => {
            tell(&mut io::stderr(), &format!("tunnel: {error}"));
            UsageError::EXIT
        }
    }
}

fn serve(run: Run) -> u8 {
    let options = Options::new(&run.config).pidfile(run.pidfile);
    if !run.daemon {
        return match Tunnel::new(options) {
            Ok(tunnel) => run_to_end(tunnel),
            Err(error) => fail(&error),
        };
    }
    // Before any thread is there.
    match process::daemonize() {
        Ok(Side::Parent(status)) => status,
        Ok(Side::Child(readiness)) => serve_in_background(options, readiness, run.quiet),
        Err(error) => fail(&StartError::System("cannot go to the background", error.to_string())),
    }
}

fn serve_in_background(options: Options, readiness: Readiness, quiet: bool) -> u8 {
    match Tunnel::new(options) {
        Ok(tunnel) => {
            if tunnel.logs_to_stderr() && !quiet {
                let text = "warning: the log goes to stderr, which a daemon in the background does not have";
                tell(&mut io::stderr(), text);
            }
            match readiness.tell(0) {
                Ok(()) => run_to_end(tunnel),
                Err(error) => fail(&StartError::System("cannot let go of the terminal", error.to_string())),
            }
        }
        Err(error) => {
            let status = fail(&error);
            // The parent exits with it, or, told nothing, as for a child that died.
            let _parent_is_gone = readiness.tell(status);
            status
        }
    }
}

fn run_to_end(tunnel: Tunnel) -> u8 {
    match tunnel.serve_forever() {
        Ok(()) => 0,
        Err(error) => {
            tell(&mut io::stderr(), &format!("tunnel: {error}"));
            OS_ERROR
        }
    }
}

fn fail(error: &StartError) -> u8 {
    tell(&mut io::stderr(), error.to_string().trim_end());
    error.status()
}

/// Writes a line; a reader that has gone is no reason to fail.
fn tell(to: &mut dyn Write, text: &str) -> u8 {
    let _nobody_reads = writeln!(to, "{text}");
    0
}
