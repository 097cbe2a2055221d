// SPDX-License-Identifier: MIT OR Apache-2.0
//! `top`: everything on a full screen, live.
//!
//! Three threads wait for what may happen (a key, a signal, an answer of the daemon) and tell it through one channel; the
//! main one changes the state and draws. So a daemon that is slow or gone never makes a key wait.

mod draw;
mod keys;
mod screen;
mod state;

use self::keys::Keys;
use self::screen::{Canvas, Screen};
use self::state::{Action, Seen, State, Wants};
use crate::args::Top;
use crate::change;
use crate::client::{Client, Trouble};
use crate::output;
use ratatui_core::backend::Backend;
use ratatui_core::terminal::Terminal;
use std::io::{self, IsTerminal, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use tunnel::sys::terminal::{Notice, Notices};

/// Connections that are fetched for the screen: more than anybody scrolls through, and little work for the daemon.
const CONNECTIONS: usize = 2000;

/// What may happen.
enum Event {
    /// Bytes from the terminal.
    Input(Vec<u8>),
    Notice(Notice),
    Looked(Result<Box<Seen>, Trouble>),
    Killed(u64, Result<(), Trouble>),
    /// A thread is gone: there is nothing left to wait for there.
    Ended,
}

/// What the thread that talks to the daemon is told.
enum Ask {
    /// Look now, and at these from now on.
    Look(Wants),
    Kill(u64),
}

/// Shows it until somebody has seen enough.
///
/// # Errors
/// When there is no terminal; when nobody listens at the very beginning.
pub(crate) fn run(client: &Client, asked: &Top) -> Result<(), Trouble> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let text = "top needs a terminal; `tunnelctl status` and the others do without";
        return Err(Trouble::Usage(text.to_owned()));
    }
    // Whoever asks the wrong socket is to see why, not an empty screen.
    let first = look(client, Wants::default())?;
    let (tell, events) = channel();
    watch_signals(&tell).map_err(Trouble::Output)?;
    watch_keys(&tell);
    let ask = talk(client.clone(), asked.interval, tell);
    let mut state = State::new(asked.read_only);
    state.looked(Ok(first));
    let screen = Screen::enter().map_err(Trouble::Output)?;
    show(&mut state, &screen, &events, &ask).map_err(Trouble::Output)
}

/// Draws and waits, draws and waits.
fn show(state: &mut State, screen: &Screen, events: &Receiver<Event>, ask: &Sender<Ask>) -> io::Result<()> {
    let mut terminal = Terminal::new(Canvas::new(output::wants_colours()))?;
    let mut keys = Keys::default();
    loop {
        terminal.draw(|frame| draw::draw(state, frame))?;
        let Ok(event) = events.recv() else { return Ok(()) };
        match event {
            Event::Notice(Notice::Stop) | Event::Ended => return Ok(()),
            // The next drawing asks for the size.
            Event::Notice(Notice::Resized) => {}
            Event::Looked(outcome) => state.looked(outcome),
            Event::Killed(id, outcome) => {
                state.killed(id, outcome);
                let _ended_is_told = ask.send(Ask::Look(state.wants()));
            }
            Event::Input(bytes) => {
                let rows = draw::rows(terminal.backend().size()?.height);
                for key in keys.take(&bytes) {
                    match state.press(key, rows) {
                        Action::None => {}
                        Action::Quit => return Ok(()),
                        Action::Redraw => terminal.clear()?,
                        Action::Suspend => {
                            screen.suspend()?;
                            terminal.clear()?;
                        }
                        Action::Look => {
                            let _ended_is_told = ask.send(Ask::Look(state.wants()));
                        }
                        Action::Kill(id) => {
                            let _ended_is_told = ask.send(Ask::Kill(id));
                        }
                    }
                }
            }
        }
    }
}

/// Says that a thread is gone, however it went.
struct Farewell(Sender<Event>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _nobody_waits = self.0.send(Event::Ended);
    }
}

/// Blocks the signals for all threads there are going to be.
fn watch_signals(tell: &Sender<Event>) -> io::Result<()> {
    let notices = Notices::block()?;
    let tell = Farewell(tell.clone());
    thread::spawn(move || {
        while let Ok(notice) = notices.wait() {
            if tell.0.send(Event::Notice(notice)).is_err() {
                break;
            }
        }
    });
    Ok(())
}

fn watch_keys(tell: &Sender<Event>) {
    let tell = Farewell(tell.clone());
    thread::spawn(move || {
        let mut buffer = [0; 256];
        loop {
            match io::stdin().read(&mut buffer) {
                Ok(0) => break,
                Ok(length) if tell.0.send(Event::Input(buffer[..length].to_vec())).is_err() => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
}

/// Looks at the daemon each `interval`, and whenever it is asked to.
fn talk(client: Client, interval: Duration, tell: Sender<Event>) -> Sender<Ask> {
    let (ask, asked) = channel();
    let tell = Farewell(tell);
    thread::spawn(move || {
        let mut wants = Wants::default();
        loop {
            let event = match asked.recv_timeout(interval) {
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => Event::Looked(look(&client, wants)),
                Ok(Ask::Look(now)) => {
                    wants = now;
                    Event::Looked(look(&client, wants))
                }
                Ok(Ask::Kill(id)) => Event::Killed(id, change::end(&client, id)),
            };
            if tell.0.send(event).is_err() {
                break;
            }
        }
    });
    ask
}

/// One look.
fn look(client: &Client, wants: Wants) -> Result<Box<Seen>, Trouble> {
    let mut seen = Seen { snapshot: client.json("show snapshot json")?, ..Seen::default() };
    if wants.connections {
        seen.page = Some(client.json(&format!("show connections json limit {CONNECTIONS}"))?);
    }
    if wants.errors {
        seen.errors = Some(client.json("show errors json")?);
    }
    Ok(Box::new(seen))
}
