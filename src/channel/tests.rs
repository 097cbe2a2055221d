// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading into a carrier and writing out of it: every outcome in one table, walked for every carrier; order and
//! backpressure against a model; how a direction ends.

use super::*;
use crate::stream::Stream;
use crate::stream::script::Script;
use crate::stream::testing::{agree, await_input, drain, fill, pattern, reset, tcp_pair, unix_pair};
use crate::sys::eventfd::EventFd;
use crate::sys::socket::Socket;
use openssl::ssl::SslVersion;
use std::os::fd::AsFd;

const BOTH: Ends = Ends { source: true, sink: true };

/// What a source has to say in one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Bytes,
    Nothing,
    End,
    Error,
    /// Bytes with what follows them at once: only a TLS stream tells both in one call.
    BytesAndEnd,
    BytesAndError,
}

/// How a sink stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Room,
    Full,
    Broken,
}

/// What one turn with such ends tells, and where it leaves the direction.
struct Row(From, To, u8, &'static str);

const ERR_IN: u8 = Moved::ERR_IN;
const ERR_OUT: u8 = Moved::ERR_OUT;
const SHUT_IN: u8 = Moved::SHUT_IN;
const SHUT_OUT: u8 = Moved::SHUT_OUT;
const EMPTY_IN: u8 = Moved::EMPTY_IN;
const FULL_OUT: u8 = Moved::FULL_OUT;

/// The table of docs/closing.md.
const TABLE: [Row; 18] = [
    Row(From::Bytes, To::Room, EMPTY_IN, "open"),
    Row(From::Bytes, To::Full, EMPTY_IN | FULL_OUT, "open"),
    Row(From::Bytes, To::Broken, EMPTY_IN | ERR_OUT, "dead"),
    Row(From::Nothing, To::Room, EMPTY_IN, "open"),
    Row(From::Nothing, To::Full, EMPTY_IN, "open"),
    Row(From::Nothing, To::Broken, EMPTY_IN, "open"),
    Row(From::End, To::Room, SHUT_IN | SHUT_OUT, "shut"),
    Row(From::End, To::Full, SHUT_IN | SHUT_OUT, "shut"),
    Row(From::End, To::Broken, SHUT_IN | SHUT_OUT, "shut"),
    Row(From::Error, To::Room, ERR_IN, "breaking"),
    Row(From::Error, To::Full, ERR_IN, "breaking"),
    Row(From::Error, To::Broken, ERR_IN, "breaking"),
    Row(From::BytesAndEnd, To::Room, SHUT_IN | SHUT_OUT, "shut"),
    Row(From::BytesAndEnd, To::Full, SHUT_IN | FULL_OUT, "draining"),
    Row(From::BytesAndEnd, To::Broken, SHUT_IN | ERR_OUT, "dead"),
    Row(From::BytesAndError, To::Room, ERR_IN, "breaking"),
    Row(From::BytesAndError, To::Full, ERR_IN | FULL_OUT, "breaking"),
    Row(From::BytesAndError, To::Broken, ERR_IN | ERR_OUT, "dead"),
];

fn word(flow: &Flow) -> &'static str {
    match flow {
        Flow::Open => "open",
        Flow::Draining => "draining",
        Flow::Shut => "shut",
        Flow::Breaking(_) => "breaking",
        Flow::Dead(_) => "dead",
    }
}

fn endpoint(stream: Stream) -> Endpoint {
    Endpoint::new(stream, 0)
}

fn bare(socket: Socket) -> Endpoint {
    endpoint(Stream::raw(socket))
}

fn broken() -> Break {
    Break::Reset(io::ErrorKind::ConnectionReset.into())
}

fn script(reads: impl IntoIterator<Item = (Vec<u8>, Source)>) -> Endpoint {
    endpoint(Stream::Script(Script { reads: reads.into_iter().collect(), ..Script::default() }))
}

fn sink(writes: impl IntoIterator<Item = (usize, Sink)>) -> Endpoint {
    endpoint(Stream::Script(Script { writes: writes.into_iter().collect(), ..Script::default() }))
}

fn written(end: &Endpoint) -> &[u8] {
    match &end.stream {
        Stream::Script(script) => &script.written,
        _ => panic!("not a script"),
    }
}

#[test]
fn every_row_of_the_table_with_scripted_streams() {
    for Row(from, to, flags, flow) in TABLE {
        let read = match from {
            From::Bytes => (b"abc".to_vec(), Source::Empty),
            From::Nothing => (Vec::new(), Source::Empty),
            From::End => (Vec::new(), Source::Shut),
            From::Error => (Vec::new(), Source::Broken(broken())),
            From::BytesAndEnd => (b"abc".to_vec(), Source::Shut),
            From::BytesAndError => (b"abc".to_vec(), Source::Broken(broken())),
        };
        let write = match to {
            To::Room => (usize::MAX, Sink::Room),
            To::Full => (1, Sink::Full),
            To::Broken => (0, Sink::Broken(Break::Gone)),
        };
        let (mut source, mut target) = (script([read]), sink([write]));
        let (mut channel, mut lent) = (Channel::new(Side::Client, 100), Buffers::default());
        let moved = channel.pump(&mut source, &mut target, BOTH, &mut lent);
        assert_eq!((moved.flags, word(channel.flow())), (flags, flow), "{from:?} to {to:?}");
        let (had_bytes, full) =
            (!matches!(from, From::Nothing | From::End | From::Error), matches!(to, To::Full));
        assert_eq!(channel.held(), if had_bytes && full { 2 } else { 0 }, "{from:?} to {to:?}");
        assert_eq!(channel.read(), if had_bytes { 3 } else { 0 });
    }
}

/// What carries a direction between real sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    RawFifo,
    RawPipe,
    TlsFifo,
}

#[test]
fn every_row_of_the_table_with_real_sockets() {
    for carrier in [Carrier::RawFifo, Carrier::RawPipe, Carrier::TlsFifo] {
        for Row(from, to, flags, flow) in TABLE {
            if matches!(from, From::BytesAndEnd | From::BytesAndError) {
                continue;
            }
            let (flags, flow) = match (carrier, from, to) {
                // A close_notify needs room as bytes do; FIN does not.
                (Carrier::TlsFifo, From::End, To::Full) => (SHUT_IN, "draining"),
                _ => (flags, flow),
            };
            // The sink is a unix socket, which stays full; the source TCP, which can be reset.
            let ((ours, reader), (source, writer)) = (unix_pair(), tcp_pair());
            let (mut target, reader) = match carrier {
                Carrier::TlsFifo => {
                    let (stream, peer, _) = agree(ours, reader, SslVersion::TLS1_3);
                    (endpoint(Stream::Tls(Box::new(stream))), peer.socket)
                }
                Carrier::RawFifo | Carrier::RawPipe => (bare(ours), reader),
            };
            let mut source = bare(source);
            let _kept = (prepare(to, &target, reader), speak(from, &source, writer));
            let (mut channel, mut lent) = (Channel::new(Side::Client, 256 * 1024), Buffers::default());
            if carrier == Carrier::RawPipe {
                channel.read = STREAM_AFTER;
            }
            let moved = channel.pump(&mut source, &mut target, BOTH, &mut lent);
            let case = format!("{carrier:?}: {from:?} to {to:?}");
            let bytes = from == From::Bytes;
            assert_eq!((moved.flags, word(channel.flow())), (flags, flow), "{case}");
            assert_eq!(moved.read, if bytes { 3 } else { 0 }, "{case}");
            let piped = carrier == Carrier::RawPipe;
            assert_eq!(channel.pipe.is_some(), piped && bytes && to == To::Full, "{case}");
            // A pipe with bytes inside is somebody's: held, or dropped with them; never in the pool.
            let pooled = piped && !(bytes && to != To::Room);
            assert_eq!(lent.pipes.pooled(), usize::from(pooled), "{case}");
        }
    }
}

/// Brings a sink into that state; the reader must live on, if it does.
fn prepare(to: To, target: &Endpoint, reader: Socket) -> Option<Socket> {
    match to {
        To::Room => Some(reader),
        To::Broken => None,
        To::Full => {
            fill(target.stream.socket().unwrap());
            Some(reader)
        }
    }
}

/// Lets a source say that; the writer must live on, if it does.
fn speak(from: From, source: &Endpoint, writer: Socket) -> Option<Socket> {
    match from {
        From::Nothing => return Some(writer),
        From::Bytes => assert_eq!(writer.send(b"abc").unwrap(), 3),
        From::End => writer.shutdown_write().unwrap(),
        From::Error => {
            reset(writer);
            await_input(source.stream.socket().unwrap());
            return None;
        }
        From::BytesAndEnd | From::BytesAndError => panic!("no socket says both at once"),
    }
    await_input(source.stream.socket().unwrap());
    Some(writer)
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[test]
fn order_and_bounds_hold_for_random_ends() {
    for capacity in [1, 2, 3, 7, 64, 1000, 4096, 65536] {
        for seed in 0..20 {
            let mut random = Random(seed * 1000 + capacity as u64);
            let bytes = pattern(20 * capacity.min(1000) + 1);
            let (mut reads, mut at) = (Vec::new(), 0);
            while at < bytes.len() {
                let count = (random.below(3 * capacity) + 1).min(bytes.len() - at);
                let then = if random.below(2) == 0 { Source::More } else { Source::Empty };
                reads.push((bytes[at..at + count].to_vec(), then));
                at += count;
            }
            if let Some(last) = reads.last_mut() {
                last.1 = Source::Shut;
            }
            let (mut source, mut target) = (script(reads), sink([]));
            let (mut channel, mut lent) = (Channel::new(Side::Server, capacity), Buffers::default());
            let mut turns = 0;
            while !matches!(channel.flow(), Flow::Shut) {
                turns += 1;
                assert!(turns < 200_000, "it does not end");
                let limit = random.below(2 * capacity + 1);
                if let Stream::Script(script) = &mut target.stream {
                    script.writes = [(limit, Sink::Full), (0, Sink::Full)].into();
                }
                let ready = Ends { source: random.below(2) == 0, sink: random.below(2) == 0 };
                channel.pump(&mut source, &mut target, ready, &mut lent);
                assert!(channel.held() <= capacity, "holds more than it may");
                assert_eq!(channel.read() - channel.written(), channel.held() as u64, "bytes are lost");
                let ended = target.write_ended();
                assert!(!ended || written(&target).len() == bytes.len(), "the end overtook the last byte");
            }
            assert!(written(&target) == bytes, "capacity {capacity}, seed {seed}: the order is lost");
        }
    }
}

#[test]
fn nothing_is_read_that_could_not_be_kept() {
    let (mut source, mut target) = (script([(pattern(100), Source::Empty)]), sink([(0, Sink::Full)]));
    let (mut channel, mut lent) = (Channel::new(Side::Client, 10), Buffers::default());
    let moved = channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert_eq!((moved.read, channel.held(), channel.room()), (10, 10, 0));
    assert!(!channel.wants_input(&source, &target));
    for _ in 0..3 {
        let ready = Ends { source: true, sink: false };
        assert_eq!(channel.pump(&mut source, &mut target, ready, &mut lent), Moved::default());
    }
}

#[test]
fn what_came_before_a_break_is_delivered() {
    let mut source = script([(b"half".to_vec(), Source::Broken(Break::Truncated))]);
    let mut target = sink([(1, Sink::Full)]);
    let (mut channel, mut lent) = (Channel::new(Side::Client, 100), Buffers::default());
    channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert!(!channel.is_empty(&target));
    channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert_eq!((written(&target), word(channel.flow())), (&b"half"[..], "breaking"));
    assert!(channel.is_empty(&target));
    assert!(!target.write_ended(), "a broken stream is never presented as a complete one");
    assert!(matches!(channel.take_reason(), Some(Reason::Truncated(Side::Client))));
    assert_eq!(word(channel.flow()), "shut");
}

#[test]
fn a_sink_that_breaks_later_does_not_hide_why_the_source_broke() {
    let mut source = script([(b"half".to_vec(), Source::Broken(Break::Truncated))]);
    let mut target = sink([(1, Sink::Full), (0, Sink::Broken(Break::Gone))]);
    let (mut channel, mut lent) = (Channel::new(Side::Client, 100), Buffers::default());
    channel.pump(&mut source, &mut target, BOTH, &mut lent);
    channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert_eq!(word(channel.flow()), "dead");
    assert!(matches!(channel.take_reason(), Some(Reason::Truncated(Side::Client))));
}

#[test]
fn a_dead_direction_is_left_alone() {
    let mut source = script([(b"one".to_vec(), Source::Empty), (b"two".to_vec(), Source::Empty)]);
    let mut target = sink([(0, Sink::Broken(Break::Gone))]);
    let (mut channel, mut lent) = (Channel::new(Side::Client, 100), Buffers::default());
    channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert!(matches!(channel.flow(), Flow::Dead(Reason::Gone(Side::Server))));
    assert!(!channel.wants_input(&source, &target));
    assert_eq!(channel.pump(&mut source, &mut target, BOTH, &mut lent), Moved::default());
    assert_eq!(channel.read(), 3);
}

/// The server fails as a sink in that way, then ends as a source: how the other direction stands.
fn after_a_failed_write(how: Break) -> (&'static str, Vec<u8>) {
    let mut server = endpoint(Stream::Script(Script {
        reads: [(b"answer".to_vec(), Source::Shut)].into(),
        writes: [(0, Sink::Broken(how))].into(),
        ..Script::default()
    }));
    let mut client = script([(b"more".to_vec(), Source::Empty)]);
    let mut lent = Buffers::default();
    let (mut up, mut down) = (Channel::new(Side::Client, 100), Channel::new(Side::Server, 100));
    up.pump(&mut client, &mut server, BOTH, &mut lent);
    assert_eq!(word(up.flow()), "dead");
    down.pump(&mut server, &mut client, BOTH, &mut lent);
    (word(down.flow()), written(&client).to_vec())
}

#[test]
fn an_end_after_a_reset_of_the_same_socket_is_none() {
    assert_eq!(after_a_failed_write(Break::Gone), ("shut", b"answer".to_vec()));
    assert_eq!(after_a_failed_write(broken()), ("breaking", b"answer".to_vec()));
}

#[test]
fn a_sink_that_breaks_before_the_end_has_left_is_dead_at_once() {
    let (ours, reader) = unix_pair();
    let (stream, peer, mut scratch) = agree(ours, reader, SslVersion::TLS1_3);
    let mut target = endpoint(Stream::Tls(Box::new(stream)));
    let (mut channel, mut lent) = (Channel::new(Side::Server, 100), Buffers::default());
    fill(target.stream.socket().unwrap());
    channel.pump(&mut script([(b"last".to_vec(), Source::Shut)]), &mut target, BOTH, &mut lent);
    assert!(matches!(channel.flow(), Flow::Draining) && target.stream.residue() > 0);
    drop(peer);
    // Something else than the sink woke us: it is not flushed for the bytes, only for the end.
    let ready = Ends { source: true, sink: false };
    let moved = channel.pump(&mut script([]), &mut target, ready, &mut lent);
    assert!(matches!(channel.flow(), Flow::Dead(Reason::Gone(Side::Client))), "{:?}", channel.flow());
    assert!(moved.has(Moved::ERR_OUT));
    assert!(target.advance_close(&mut scratch).is_none() && !target.write_ended());
}

#[test]
fn a_stream_goes_through_pipes_and_keeps_its_order() {
    let ((ours_in, writer), (ours_out, reader)) = (tcp_pair(), tcp_pair());
    let (mut source, mut target) = (bare(ours_in), bare(ours_out));
    let (mut channel, mut lent) = (Channel::new(Side::Client, 64 * 1024), Buffers::default());
    let bytes = pattern(5 << 20);
    let (mut sent, mut got, mut ended, mut spliced) = (0, Vec::new(), false, false);
    for turn in 0.. {
        assert!(turn < 1_000_000, "it does not end");
        if sent < bytes.len() {
            sent += writer.send(&bytes[sent..]).unwrap_or(0);
            if sent == bytes.len() {
                writer.shutdown_write().unwrap();
            }
        }
        channel.pump(&mut source, &mut target, BOTH, &mut lent);
        spliced |= channel.pipe.is_some() || lent.pipes.pooled() > 0;
        // A reader that pauses: the pipe has to wait with bytes inside.
        if turn % 5 == 0 && !ended {
            let (piece, end) = drain(&reader);
            got.extend(piece);
            ended = end;
        }
        if ended {
            break;
        }
    }
    assert!(spliced);
    assert!(got == bytes, "the order is lost, or bytes");
    assert_eq!((channel.read(), channel.written()), (bytes.len() as u64, bytes.len() as u64));
    assert_eq!(word(channel.flow()), "shut");
}

#[test]
fn a_direction_with_little_room_is_never_spliced() {
    let ((ours_in, writer), (ours_out, _reader)) = (tcp_pair(), tcp_pair());
    let (mut source, mut target) = (bare(ours_in), bare(ours_out));
    let (mut channel, mut lent) = (Channel::new(Side::Client, LEAST_SPLICED - 1), Buffers::default());
    channel.read = STREAM_AFTER;
    writer.send(b"abc").unwrap();
    await_input(source.stream.socket().unwrap());
    channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert_eq!((channel.written(), lent.pipes.pooled()), (3, 0));
}

#[test]
fn where_splice_is_not_to_be_had_bytes_are_copied() {
    // splice(2) refuses an eventfd with EINVAL; so does recv(2), with ENOTSOCK, which shows that it was asked next.
    let eventfd = EventFd::new().unwrap().as_fd().try_clone_to_owned().unwrap();
    let ((ours, _reader), mut lent) = (unix_pair(), Buffers::default());
    let (mut source, mut target) = (bare(Socket::from_fd(eventfd)), bare(ours));
    let mut channel = Channel::new(Side::Client, 64 * 1024);
    channel.read = STREAM_AFTER;
    let moved = channel.pump(&mut source, &mut target, BOTH, &mut lent);
    assert!(!channel.may_splice, "it is not tried again");
    assert_eq!(lent.pipes.pooled(), 1, "the empty pipe is given back");
    assert!(moved.has(Moved::ERR_IN));
    assert!(matches!(channel.flow(), Flow::Breaking(Reason::Reset(Side::Client))));
}
