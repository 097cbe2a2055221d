// SPDX-License-Identifier: MIT OR Apache-2.0
//! The built-in demo backend: answers an HTTP request with a page of text, and echoes everything else, so that a tunnel
//! can be tried with nothing behind it. Not for production.

use super::Mode;
use crate::channel::Flow;
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::connection::plan::Plan;
use crate::connection::relay::{BothReady, Relay, Turn};

pub const MODE: Mode = Mode {
    name: "demo",
    doc: "answers by itself: HTTP requests with a page of text, anything else with an echo",
    connects: false,
    plan: |service| Plan::answer(service, &Demo),
};

/// The most that is read, and so the most that is echoed, per turn.
const CHUNK: usize = 4096;

const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 112\r\n\
Connection: close\r\n\r\n\
It works: this answer came through the tunnel.\n\
It is the built-in demo backend; put your own server behind it.\n\n";

#[derive(Debug)]
struct Demo;

impl Relay for Demo {
    fn pump(&self, pair: &mut Pair, _: BothReady, ctx: &mut Ctx) -> Turn {
        let Pair { client, up, down, .. } = pair;
        let lent = &mut ctx.buffers;
        let mut turn = Turn { down: down.pump_out(client, lent), ..Turn::default() };
        if down.held() > 0 || client.stream.residue() > 0 {
            return turn;
        }
        let mut chunk = [0; CHUNK];
        // What a service with a tiny buffer could not hold back is not read.
        let limit = CHUNK.min(down.room());
        turn.up = up.pump_in(client, &mut chunk[..limit], lent);
        let said = &chunk[..turn.up.read];
        if matches!(down.flow(), Flow::Open) {
            if is_http(said) && down.offer(PAGE.as_bytes(), lent) == PAGE.len() {
                down.end();
            } else {
                down.offer(said, lent);
            }
            if matches!(up.flow(), Flow::Shut) {
                down.end();
            }
        }
        let moved = down.pump_out(client, lent);
        turn.down.written += moved.written;
        turn
    }
}

/// Whether this begins an HTTP/1 request that wants an answer (RFC 9112 section 3).
fn is_http(said: &[u8]) -> bool {
    let line = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.windows(7).any(|word| word == b" HTTP/1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_in_the_head_is_the_bodys() {
        let (head, body) = PAGE.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }

    #[test]
    fn tells_requests_from_other_bytes() {
        assert!(is_http(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(!is_http(b"hello\n"));
        assert!(!is_http(b"hello\nGET / HTTP/1.1\n"));
    }
}
