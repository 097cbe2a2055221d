// SPDX-License-Identifier: MIT OR Apache-2.0
//! A prologue: always the first bytes, in one segment with what follows at once, lost by no short write; over bare
//! sockets and into TLS.

use super::*;
use crate::stream::Stream;
use crate::stream::testing::{await_input, drain, fill, pattern, tcp_pair, unix_pair};
use crate::stream::tls::Handshake;
use crate::sys::socket::Socket;
use openssl::ssl::{Ssl, SslContext, SslMethod};

const BOTH: Ends = Ends { source: true, sink: true };
const NOTHING: Ends = Ends { source: false, sink: false };

/// A bare end that begins with `prologue`.
fn beginning_with(socket: Socket, prologue: &[u8]) -> Endpoint {
    let mut stream = Stream::raw(socket);
    stream.as_raw().unwrap().begin_with(prologue.to_vec());
    Endpoint::new(stream, 0)
}

/// What one recv(2) brings: over TCP, where nothing else was sent yet, one segment.
fn one_segment(socket: &Socket) -> Vec<u8> {
    await_input(socket);
    let mut bytes = vec![0; 65_536];
    let count = socket.recv(&mut bytes).unwrap();
    bytes.truncate(count);
    bytes
}

fn channel() -> (Channel, Buffers) {
    (Channel::new(Side::Client, 256 * 1024), Buffers::default())
}

#[test]
fn it_shares_a_segment_with_bytes_that_are_there() {
    let ((source, writer), (target, reader)) = (tcp_pair(), tcp_pair());
    let (mut source, mut target) =
        (Endpoint::new(Stream::raw(source), 0), beginning_with(target, b"header "));
    let (mut channel, mut lent) = channel();
    writer.send(b"payload").unwrap();
    await_input(source.stream.socket().unwrap());
    let moved = channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert_eq!((moved.read, moved.written), (7, 7), "only payload counts");
    assert_eq!(one_segment(&reader), b"header payload");
    assert_eq!((target.stream.residue(), channel.held()), (0, 0));
}

#[test]
fn it_does_not_wait_for_bytes_that_are_not_there() {
    for ready in [BOTH, NOTHING] {
        let ((source, _writer), (target, reader)) = (tcp_pair(), tcp_pair());
        let (mut source, mut target) =
            (Endpoint::new(Stream::raw(source), 0), beginning_with(target, b"header "));
        let (mut channel, mut lent) = channel();
        assert_eq!(target.stream.residue(), 7);
        let moved = channel.pump(&mut source, &mut target, ready, &mut lent);
        assert_eq!((moved.flushed, moved.written), (7, 0));
        assert_eq!(one_segment(&reader), b"header ");
        assert_eq!(target.stream.residue(), 0);
    }
}

#[test]
fn an_end_follows_it() {
    let ((source, writer), (target, reader)) = (tcp_pair(), tcp_pair());
    let (mut source, mut target) =
        (Endpoint::new(Stream::raw(source), 0), beginning_with(target, b"header "));
    let (mut channel, mut lent) = channel();
    writer.shutdown_write().unwrap();
    await_input(source.stream.socket().unwrap());
    channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert!(matches!(channel.flow(), Flow::Shut), "{:?}", channel.flow());
    assert_eq!(one_segment(&reader), b"header ");
    // The end may be a moment behind.
    target.send_owed_fin();
    await_input(&reader);
    assert_eq!(drain(&reader), (Vec::new(), true));
}

/// A sink that is full from the start, whatever the size of the prologue: all of it arrives first and in order.
#[test]
fn short_writes_lose_nothing_of_it() {
    for size in [1, 7, 5_000, 16_384, 400_000] {
        let ((source, writer), (target, reader)) = (unix_pair(), unix_pair());
        let filled = fill(&target);
        let prologue = pattern(size);
        let (mut source, mut target) =
            (Endpoint::new(Stream::raw(source), 0), beginning_with(target, &prologue));
        let (mut channel, mut lent) = channel();
        writer.send(b"payload").unwrap();
        channel.pump(&mut source, &mut target, BOTH, &mut lent);
        assert!(target.blocked() && target.stream.residue() == size);
        assert!(!channel.wants_input(&source, &target), "a blocked prologue is residue");
        let mut all = Vec::new();
        for _ in 0..1000 {
            all.extend(drain(&reader).0);
            if all.len() >= filled + size + 7 {
                break;
            }
            channel.pump(&mut source, &mut target, BOTH, &mut lent);
        }
        assert!(all[filled..] == [&prologue[..], b"payload"].concat(), "{size}: {} came", all.len());
        assert_eq!((target.stream.residue(), channel.written()), (0, 7));
    }
}

#[test]
fn nothing_is_spliced_past_it() {
    let ((source, writer), (target, reader)) = (unix_pair(), unix_pair());
    let (mut source, mut target) =
        (Endpoint::new(Stream::raw(source), 0), beginning_with(target, b"header "));
    let (mut channel, mut lent) = channel();
    channel.read = STREAM_AFTER;
    writer.send(b"payload").unwrap();
    channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert_eq!(drain(&reader).0, b"header payload");
    writer.send(b"more").unwrap();
    channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert_eq!((drain(&reader).0, lent.pipes.pooled()), (b"more".to_vec(), 1), "after it, it is");
}

#[test]
fn a_sink_that_is_gone_is_told_as_such() {
    let ((source, _writer), (target, reader)) = (unix_pair(), unix_pair());
    let (mut source, mut target) =
        (Endpoint::new(Stream::raw(source), 0), beginning_with(target, b"header "));
    let (mut channel, mut lent) = channel();
    drop(reader);
    let moved = channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert!(moved.has(Moved::ERR_OUT) && matches!(channel.flow(), Flow::Dead(_)), "{:?}", channel.flow());
}

/// A TLS client whose stream begins with `prologue`.
fn tls_beginning_with(socket: Socket, prologue: &[u8]) -> Endpoint {
    let mut end = beginning_with(socket, prologue);
    let context = SslContext::builder(SslMethod::tls_client()).unwrap().build();
    let mut session = Ssl::new(&context).unwrap();
    session.set_connect_state();
    end.stream.start_tls(session).unwrap();
    end
}

#[test]
fn it_goes_ahead_of_the_client_hello_in_one_segment() {
    let (target, reader) = tcp_pair();
    let mut target = tls_beginning_with(target, b"header ");
    assert_eq!(target.stream.residue(), 7);
    let mut scratch = Scratch::default();
    let shaken = target.stream.as_tls().unwrap().handshake(&mut scratch);
    assert!(matches!(shaken, Handshake::Wait));
    let sent = one_segment(&reader);
    let hello = sent.strip_prefix(b"header ").unwrap();
    assert!(hello.starts_with(&[22, 3]) && hello.len() > 100, "{hello:?}");
    assert_eq!(target.stream.residue(), 0);
}

#[test]
fn ahead_of_the_client_hello_short_writes_lose_nothing_of_it() {
    let (target, reader) = unix_pair();
    let filled = fill(&target);
    let prologue = pattern(400_000);
    let mut target = tls_beginning_with(target, &prologue);
    let mut scratch = Scratch::default();
    let shaken = target.stream.as_tls().unwrap().handshake(&mut scratch);
    assert!(matches!(shaken, Handshake::Wait));
    let (waiting, mut all) = (target.stream.residue(), Vec::new());
    assert!(waiting > prologue.len());
    while target.stream.residue() > 0 {
        all.extend(drain(&reader).0);
        let put = target.flush();
        assert!(put.bytes > 0 || matches!(put.then, Sink::Full), "{put:?}");
    }
    all.extend(drain(&reader).0);
    assert_eq!(all.len(), filled + waiting);
    assert!(all[filled..].starts_with(&prologue));
    assert!(all[filled + prologue.len()..].starts_with(&[22, 3]));
}
