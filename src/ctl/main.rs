// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tunnelctl`: asks a running tunnel how it is, and tells it what to do (tunnelctl(1)).
//!
//! It is a client like any other: all it knows comes over the control socket, as values of `tunnel::control::model` and
//! `tunnel::connection::view`. Nothing here is part of the daemon.

mod args;
mod change;
mod client;
mod connections;
mod line;
mod locate;
mod output;
mod show;
mod status;
mod table;
mod text;
mod top;
mod units;

use crate::args::{Command, Order, Request, Show, Subject};
use crate::change::Yes;
use crate::client::{Client, Trouble, word};
use crate::output::Output;
use crate::table::Table;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use tunnel::args::{Command as TunnelCommand, Explain, UsageError};
use tunnel::control::model::{Failure, Snapshot};
use tunnel::daemon::{Options, check};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into()).collect();
    let status = match Request::parse(&words) {
        Err(error) => {
            tell(&mut io::stderr(), &format!("tunnelctl: {error}"));
            UsageError::EXIT
        }
        Ok(Request { command: Command::Help(text), .. }) => tell(&mut io::stdout(), text.trim_end()),
        Ok(Request { command: Command::Version, .. }) => {
            tell(&mut io::stdout(), &tunnel::version::text(false))
        }
        Ok(Request { command: Command::Explain(command), .. }) => explain(&command),
        Ok(request) => match carry_out(request) {
            Ok(()) => 0,
            // Whoever reads has seen enough, as `head` does.
            Err(Trouble::Output(error)) if error.kind() == ErrorKind::BrokenPipe => 0,
            Err(trouble) => {
                tell(&mut io::stderr(), &format!("tunnelctl: {trouble}"));
                trouble.status()
            }
        },
    };
    ExitCode::from(status)
}

/// Everything that takes a daemon.
fn carry_out(request: Request) -> Result<(), Trouble> {
    let client = Client::new(locate::socket(request.socket, request.config.as_deref())?);
    let output = &mut Output::stdout();
    match request.command {
        Command::Status { json: true } => client.copy("show process json", output.raw()),
        Command::Status { json: false } => {
            let seen: Snapshot = client.json("show snapshot json")?;
            output.lines(&status::lines(&seen))
        }
        Command::Show(show) => print(&client, &show, output),
        Command::Connections(asked) => connections::run(&client, &asked, output),
        Command::Top(asked) => top::run(&client, &asked),
        Command::Kill(ids) => change::kill(&client, &ids, output),
        Command::Drain => change::run(&client, "drain", Yes::Spoken, "draining", output),
        Command::Reload => {
            change::run(&client, "reload", Yes::Spoken, "the configuration is in effect", output)
        }
        Command::LogLevel(level) => {
            let done = format!("the log's level is {level}");
            change::run(&client, &format!("log-level {level}"), Yes::Spoken, &done, output)
        }
        Command::Server { name, state } => {
            let command = format!("set server {} state {state}", word(&name));
            change::run(&client, &command, Yes::Silent, &format!("{name} is marked {state}"), output)
        }
        // Done with before.
        Command::Help(_) | Command::Version | Command::Explain(_) => Ok(()),
    }?;
    output.flush()
}

/// A table, or the JSON it is made of.
fn print(client: &Client, show: &Show, output: &mut Output) -> Result<(), Trouble> {
    if show.json {
        let subject = match show.subject {
            Subject::Services | Subject::Routes => "services",
            Subject::Listeners => "listeners",
            Subject::Servers => "servers",
            Subject::Workers => "workers",
            Subject::Certificates => "certificates",
            Subject::Errors => "errors",
        };
        return client.copy(&format!("show {subject} json"), output.raw());
    }
    let mut table = match show.subject {
        Subject::Errors => show::errors(&client.json::<Vec<Failure>>("show errors json")?),
        subject => show::table(subject, &client.json::<Snapshot>("show snapshot json")?),
    };
    show.order.apply(&mut table)?;
    output.table(&table)
}

impl Order {
    /// Sorts the rows, if that is asked for.
    ///
    /// # Errors
    /// When there is no such column.
    fn apply(&self, table: &mut Table) -> Result<(), Trouble> {
        let Some(name) = &self.column else {
            if self.reverse {
                table.rows.reverse();
            }
            return Ok(());
        };
        let Some(column) = table.column(name) else {
            let titles: Vec<_> = table.columns.iter().map(|column| column.title.to_lowercase()).collect();
            return Err(Trouble::Usage(format!(
                "there is no column {name:?}; there are {}",
                titles.join(", ")
            )));
        };
        table.sort(column, self.reverse);
        Ok(())
    }
}

/// Says what would become of a client: as `tunnel explain` does, from the configuration alone.
fn explain(command: &TunnelCommand) -> u8 {
    let asked: &Explain = match command {
        TunnelCommand::Explain(asked) => asked,
        _ => return tell(&mut io::stdout(), tunnel::args::explain_usage().trim_end()),
    };
    let config = match check(&Options::new(&asked.config)) {
        Ok(config) => config,
        Err(error) => {
            tell(&mut io::stderr(), error.to_string().trim_end());
            return error.status();
        }
    };
    match tunnel::explain::explain(&config, asked) {
        Ok(told) if asked.json => tell(&mut io::stdout(), &told.json()),
        Ok(told) => tell(&mut io::stdout(), &told.to_string()),
        Err(error) => {
            tell(&mut io::stderr(), &format!("tunnelctl: {error}"));
            UsageError::EXIT
        }
    }
}

/// Writes a line; a reader that has gone is no reason to fail.
fn tell(to: &mut dyn Write, text: &str) -> u8 {
    let _nobody_reads = writeln!(to, "{text}");
    0
}
