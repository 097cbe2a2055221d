// SPDX-License-Identifier: MIT OR Apache-2.0
//! `connections`: those there are, or, followed, those that begin and end.

use crate::args::Connections;
use crate::client::{Client, Trouble, word};
use crate::line::{Line, Tone};
use crate::output::Output;
use crate::show;
use crate::units::{bytes, span};
use serde::Deserialize;
use std::collections::HashMap;
use std::thread;
use std::time::Duration;
use tunnel::connection::view::ConnectionView;

/// A listing as the daemon answers it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Page {
    pub(crate) connections: Vec<ConnectionView>,
    /// Where the rest begins, if there is one.
    pub(crate) next: Option<String>,
    /// Workers that did not answer in time.
    pub(crate) silent: Vec<u64>,
}

/// The daemon's command for what is asked.
pub(crate) fn command(asked: &Connections) -> String {
    let mut command = "show connections json".to_owned();
    for (name, value) in &asked.filters {
        command.push_str(&format!(" {name} {}", word(value)));
    }
    if let Some(limit) = asked.limit {
        command.push_str(&format!(" limit {limit}"));
    }
    command
}

/// Prints what is asked for.
///
/// # Errors
/// When there is no answer, or nobody to print to.
pub(crate) fn run(client: &Client, asked: &Connections, output: &mut Output) -> Result<(), Trouble> {
    if asked.json {
        return client.copy(&command(asked), output.raw());
    }
    if asked.follow {
        return follow(client, asked, output);
    }
    let page: Page = client.json(&command(asked))?;
    let mut table = show::connections(&page.connections);
    asked.order.apply(&mut table)?;
    output.table(&table)?;
    output.lines(&remarks(&page))
}

/// What is not in the table.
pub(crate) fn remarks(page: &Page) -> Vec<Line> {
    let mut lines = Vec::new();
    if page.next.is_some() {
        lines.push(Line::of("there may be more; raise --limit to see them", Tone::Faint));
    }
    if !page.silent.is_empty() {
        let workers: Vec<String> = page.silent.iter().map(u64::to_string).collect();
        let text = format!("those of worker {} are missing: it did not answer in time", workers.join(", "));
        lines.push(Line::of(text, Tone::Warn));
    }
    lines
}

fn follow(client: &Client, asked: &Connections, output: &mut Output) -> Result<(), Trouble> {
    let mut known = Known::default();
    loop {
        let page: Page = client.json(&command(asked))?;
        let lines = known.take(page);
        output.lines(&lines)?;
        output.flush()?;
        pause(asked.interval);
    }
}

/// A program that only looks may sleep between two looks.
fn pause(interval: Duration) {
    thread::sleep(interval);
}

/// The connections seen last, and so what is new and what has gone.
#[derive(Debug, Default)]
struct Known {
    seen: HashMap<u64, ConnectionView>,
}

impl Known {
    /// One line for each that ended, as it was seen last, then one for each that began.
    fn take(&mut self, page: Page) -> Vec<Line> {
        // What a silent worker has is not gone.
        let silent = |worker: u64| page.silent.contains(&worker);
        let now: HashMap<u64, ConnectionView> =
            page.connections.into_iter().map(|connection| (connection.id, connection)).collect();
        let mut lines = Vec::new();
        let mut gone: Vec<&ConnectionView> =
            self.seen.values().filter(|old| !now.contains_key(&old.id) && !silent(old.worker)).collect();
        gone.sort_by_key(|connection| connection.id);
        lines.extend(gone.into_iter().map(ended));
        let mut new: Vec<&ConnectionView> =
            now.values().filter(|connection| !self.seen.contains_key(&connection.id)).collect();
        new.sort_by_key(|connection| connection.id);
        lines.extend(new.into_iter().map(begun));
        self.seen.retain(|_, old| silent(old.worker));
        self.seen.extend(now);
        lines
    }
}

fn begun(connection: &ConnectionView) -> Line {
    Line::of("+ ", Tone::Good).and(who(connection)).and(format!(" {}", connection.state))
}

fn ended(connection: &ConnectionView) -> Line {
    let (age, sent, got) = (span(connection.age), bytes(connection.bytes_in), bytes(connection.bytes_out));
    Line::of("- ", Tone::Faint).and(who(connection)).and(format!(" age={age} in={sent} out={got}"))
}

fn who(connection: &ConnectionView) -> String {
    let mut text = format!("{} {} {}", connection.id, connection.service, connection.client);
    for (key, value) in [("name", &connection.name), ("server", &connection.server)] {
        if !value.is_empty() {
            text.push_str(&format!(" {key}={value}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::serve;
    use std::io::Write;

    fn view(id: u64, worker: u64) -> ConnectionView {
        ConnectionView {
            id,
            worker,
            service: "web".into(),
            client: "192.0.2.7:1".into(),
            ..ConnectionView::default()
        }
    }

    fn page(connections: &[(u64, u64)], silent: &[u64]) -> Page {
        let connections = connections.iter().map(|(id, worker)| view(*id, *worker)).collect();
        Page { connections, next: None, silent: silent.to_vec() }
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(Line::text).collect()
    }

    #[test]
    fn filters_and_limit_are_words_of_the_command() {
        let filters = vec![("service", "web".to_owned()), ("state", "connected".to_owned())];
        let asked = Connections { filters, limit: Some(7), ..Connections::default() };
        assert_eq!(command(&asked), "show connections json service web state connected limit 7");
    }

    #[test]
    fn what_begins_and_what_ends_is_told_once() {
        let mut known = Known::default();
        assert_eq!(
            texts(&known.take(page(&[(2, 0), (1, 0)], &[]))),
            ["+ 1 web 192.0.2.7:1 ", "+ 2 web 192.0.2.7:1 "]
        );
        assert!(known.take(page(&[(2, 0), (1, 0)], &[])).is_empty());
        let change = texts(&known.take(page(&[(2, 0), (3, 1)], &[])));
        assert_eq!(change, ["- 1 web 192.0.2.7:1 age=0 in=0B out=0B", "+ 3 web 192.0.2.7:1 "]);
        // The worker of 3 is silent: nobody knows about 3.
        assert!(known.take(page(&[(2, 0)], &[1])).is_empty());
        assert_eq!(texts(&known.take(page(&[(2, 0)], &[]))), ["- 3 web 192.0.2.7:1 age=0 in=0B out=0B"]);
    }

    #[test]
    fn a_table_says_what_is_missing_in_it() {
        let (client, _directory) = serve(|question, stream| {
            assert_eq!(question, "show connections json");
            let connection = serde_json::to_string(&view(42, 0)).unwrap();
            write!(stream, "{{\"connections\":[{connection}],\"next\":\"1-0-42-50\",\"silent\":[3]}}\n\n")
                .unwrap();
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        run(&client, &Connections::default(), &mut Output::plain(file.reopen().unwrap())).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.contains("42") && text.contains("192.0.2.7:1"), "{text}");
        assert!(text.contains("there may be more") && text.contains("worker 3 are missing"), "{text}");
    }

    #[test]
    fn a_column_that_is_not_there_is_a_mistake_that_names_those_that_are() {
        let (client, _directory) = serve(|_, stream| stream.write_all(b"{\"connections\":[]}\n\n").unwrap());
        let mut asked = Connections::default();
        asked.order.column = Some("colour".into());
        let trouble = run(&client, &asked, &mut Output::plain(Vec::new())).unwrap_err();
        assert_eq!(trouble.status(), 64);
        assert!(
            trouble.to_string().contains("there is no column \"colour\"; there are id, state,"),
            "{trouble}"
        );
    }
}
