// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `top` shows, onto ratatui's buffer: a title, the names of the screens, the screen, a line for keys and questions.

use super::state::State;
use crate::line::{Line, Tone};
use crate::units::{byte_rate, count, rate, span};
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::terminal::Frame;
use ratatui_core::text;

/// Lines that are not the screen's: title, names, footer.
const AROUND: u16 = 3;

/// Rows that the middle of a terminal of `height` rows has.
pub(crate) fn rows(height: u16) -> usize {
    usize::from(height.saturating_sub(AROUND))
}

/// Draws all of it.
pub(crate) fn draw(state: &mut State, frame: &mut Frame<'_>) {
    let area = frame.area();
    let body = state.body(usize::from(area.width), rows(area.height));
    let mut row = 0;
    let mut put = |line: &Line, chosen: bool| {
        if row < area.height.saturating_sub(1) {
            let place = Rect { y: area.y + row, height: 1, ..area };
            frame.render_widget(drawn(line), place);
            if chosen {
                frame.buffer_mut().set_style(place, Style::new().add_modifier(Modifier::REVERSED));
            }
        }
        row = row.saturating_add(1);
    };
    put(&title(state), false);
    put(&state.tabs(), false);
    body.head.iter().for_each(|line| put(line, false));
    for (at, line) in body.lines.iter().enumerate() {
        put(line, body.chosen == Some(at));
    }
    if area.height > 0 {
        let last = Rect { y: area.y + area.height - 1, height: 1, ..area };
        frame.render_widget(drawn(&state.footer()), last);
    }
}

fn title(state: &State) -> Line {
    let mut line = Line::of("tunnel", Tone::Strong);
    if let Some(seen) = &state.seen {
        let process = &seen.snapshot.process;
        let traffic = &process.traffic;
        let ready = if process.ready { ("ready", Tone::Good) } else { ("not ready", Tone::Bad) };
        line = line
            .and(format!(" {} on {}  ", process.version, process.node))
            .then(&process.state, Tone::of_state(&process.state))
            .and(", ")
            .then(ready.0, ready.1)
            .and(format!("  up {}  ", span(process.uptime)))
            .and(format!("{} connections, {}/s  ", count(traffic.active), rate(traffic.rate)))
            .and(format!("in {}  out {}", byte_rate(traffic.rate_in), byte_rate(traffic.rate_out)));
    }
    match &state.trouble {
        // In front, where a narrow terminal shows it too.
        Some(trouble) => Line::of(trouble, Tone::Bad),
        None if state.seen.is_none() => line.and(": connecting"),
        None => line,
    }
}

fn drawn(line: &Line) -> text::Line<'_> {
    let spans = line.pieces().iter().map(|piece| text::Span::styled(piece.text(), style(piece.tone())));
    text::Line::from(spans.collect::<Vec<_>>())
}

fn style(tone: Tone) -> Style {
    let style = Style::new();
    match tone {
        Tone::Plain => style,
        Tone::Strong => style.add_modifier(Modifier::BOLD),
        Tone::Marked => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        Tone::Faint => style.add_modifier(Modifier::DIM),
        Tone::Good => style.fg(Color::Green),
        Tone::Warn => style.fg(Color::Yellow),
        Tone::Bad => style.fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Trouble;
    use crate::show::tests::sample;
    use crate::top::keys::Key;
    use crate::top::state::Seen;
    use ratatui_core::backend::TestBackend;
    use ratatui_core::terminal::Terminal;

    fn screen(state: &mut State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(state, frame)).unwrap();
        terminal.backend().to_string()
    }

    fn seeing() -> State {
        let mut state = State::new(false);
        state.looked(Ok(Box::new(Seen { snapshot: sample(), ..Seen::default() })));
        state
    }

    #[test]
    fn the_title_stands_above_and_the_keys_below() {
        let shown = screen(&mut seeing(), 100, 24);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].contains("tunnel 0.1.0") && lines[0].contains("3 connections, 1.5/s"), "{shown}");
        assert!(lines[1].contains("1 status  2 traffic  3 TLS  4 servers  5 connections"), "{shown}");
        assert!(lines[23].contains("q quit"), "{shown}");
        assert!(shown.contains("server web/one is down"), "{shown}");
    }

    #[test]
    fn a_lost_daemon_is_told_in_the_first_line() {
        let mut state = seeing();
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        state.looked(Err(Trouble::Broken("x".into(), broken)));
        assert!(screen(&mut state, 60, 10).contains("reconnecting: "));
        assert!(screen(&mut State::new(false), 60, 10).contains("tunnel: connecting"));
    }

    #[test]
    fn no_size_is_too_small_and_none_too_large() {
        for (width, height) in [(1, 1), (2, 3), (10, 4), (400, 120)] {
            for view in '1'..='8' {
                let mut state = seeing();
                state.press(Key::Char(view), rows(height));
                screen(&mut state, width, height);
            }
        }
    }
}
