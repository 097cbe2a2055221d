// SPDX-License-Identifier: MIT OR Apache-2.0
//! A [`TlsStream`] over real sockets, against a peer whose ciphertext the test cuts, withholds and spoils.

use super::super::testing::{Peer, agree, await_input, fill, pattern, reset, tcp_pair, unix_pair};
use super::super::{SCRATCH, Scratch, Stream};
use super::*;
use crate::stream::endpoint::Endpoint;
use openssl::ssl::SslVersion;
use std::panic::{self, AssertUnwindSafe};

fn over_unix() -> (TlsStream, Peer, Scratch) {
    over_unix_with(SslVersion::TLS1_3)
}

fn over_unix_with(version: SslVersion) -> (TlsStream, Peer, Scratch) {
    let (ours, theirs) = unix_pair();
    agree(ours, theirs, version)
}

fn over_tcp(version: SslVersion) -> (TlsStream, Peer, Scratch) {
    let (ours, theirs) = tcp_pair();
    agree(ours, theirs, version)
}

/// One read of all there is.
fn read(stream: &mut TlsStream, scratch: &mut Scratch) -> (Vec<u8>, Source) {
    let mut into = vec![0; SCRATCH];
    let got = stream.read(&mut into, scratch);
    into.truncate(got.bytes);
    (into, got.then)
}

fn nothing_kept(stream: &TlsStream) -> bool {
    let wire = stream.inner.get_ref();
    wire.held.capacity() == 0 && wire.unsent.capacity() == 0 && wire.lent.is_none()
}

#[test]
fn records_cut_anywhere_are_put_together() {
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let (mut stream, mut peer, mut scratch) = over_unix_with(version);
        let two = [peer.sealed(b"first"), peer.sealed(b"second!")].concat();
        peer.send(&two);
        assert_eq!(read(&mut stream, &mut scratch).0, b"firstsecond!");
        for cut in 1..two.len() {
            let bytes = [peer.sealed(b"first"), peer.sealed(b"second!")].concat();
            peer.send(&bytes[..cut]);
            let (mut all, then) = read(&mut stream, &mut scratch);
            assert!(matches!(then, Source::Empty), "cut at {cut}: {then:?}");
            assert!(!stream.holds_input(), "cut at {cut}: part of a record is no input");
            peer.send(&bytes[cut..]);
            let (rest, then) = read(&mut stream, &mut scratch);
            assert!(matches!(then, Source::Empty), "cut at {cut}: {then:?}");
            all.extend(rest);
            assert_eq!(all, b"firstsecond!", "cut at {cut}");
            assert!(nothing_kept(&stream), "cut at {cut}: memory stays behind");
        }
    }
}

#[test]
fn the_incomplete_record_is_kept_and_given_back() {
    let (mut stream, mut peer, mut scratch) = over_unix();
    let bytes = peer.sealed(&pattern(1000));
    peer.send(&bytes[..100]);
    assert_eq!(read(&mut stream, &mut scratch).0, b"");
    assert_eq!(stream.inner.get_ref().held, &bytes[..100]);
    assert_eq!(stream.inner.ssl().pending(), 0, "the library is shown whole records only");
    peer.send(&bytes[100..]);
    assert_eq!(read(&mut stream, &mut scratch).0, pattern(1000));
    assert!(nothing_kept(&stream));
}

#[test]
fn a_full_socket_leaves_a_residue_and_the_order_stays() {
    let (mut stream, mut peer, mut scratch) = over_unix();
    let bytes = pattern(8 * SCRATCH);
    let mut taken = 0;
    while stream.residue() == 0 {
        let put = stream.write(&bytes[taken..taken + SCRATCH], &mut scratch);
        assert_eq!(put.bytes, SCRATCH, "a write is taken as a whole");
        taken += put.bytes;
    }
    let before = stream.residue();
    let refused = stream.write(b"no room", &mut scratch);
    assert!(refused.bytes == 0 && matches!(refused.then, Sink::Full));
    assert_eq!(stream.residue(), before);
    let mut arrived = Vec::new();
    while stream.residue() > 0 {
        assert!(peer.absorb().0 > 0, "nothing arrives and nothing leaves");
        arrived.extend(peer.opened().0);
        assert!(!matches!(stream.flush().then, Sink::Broken(_)));
    }
    assert!(nothing_kept(&stream), "the residue's memory is given back");
    let put = stream.write(&bytes[taken..taken + 5], &mut scratch);
    assert!(put.bytes == 5 && matches!(put.then, Sink::Room));
    peer.absorb();
    arrived.extend(peer.opened().0);
    assert_eq!(arrived.len(), taken + 5);
    assert!(arrived == bytes[..taken + 5], "the order is lost");
}

#[test]
fn close_notify_follows_the_residue_and_fin_follows_close_notify() {
    let (stream, mut peer, mut scratch) = over_unix();
    let mut end = Endpoint::new(Stream::Tls(Box::new(stream)), 0);
    let bytes = pattern(SCRATCH);
    let mut taken = 0;
    while end.stream.residue() == 0 {
        taken += end.write(&bytes, &mut scratch).bytes;
    }
    end.shutdown_write();
    end.advance_close(&mut scratch);
    assert!(!end.write_ended(), "the end cannot leave before the bytes");
    let mut arrived = 0;
    let mut stopped = ErrorCode::WANT_READ;
    let mut ended = false;
    for _ in 0..10_000 {
        let (_, fin) = peer.absorb();
        ended |= fin;
        if stopped != ErrorCode::ZERO_RETURN {
            let (opened, why) = peer.opened();
            arrived += opened.len();
            stopped = why;
        }
        if ended {
            break;
        }
        end.advance_close(&mut scratch);
    }
    assert_eq!(arrived, taken);
    assert_eq!((stopped, ended), (ErrorCode::ZERO_RETURN, true));
    assert!(end.write_ended());
}

#[test]
fn an_orderly_end_comes_with_the_last_bytes() {
    let (mut stream, mut peer, mut scratch) = over_unix();
    let bytes = [peer.sealed(b"last"), peer.farewell()].concat();
    peer.send(&bytes);
    let (got, then) = read(&mut stream, &mut scratch);
    assert_eq!(got, b"last");
    assert!(matches!(then, Source::Shut));
    peer.socket.shutdown_write().unwrap();
    assert!(matches!(read(&mut stream, &mut scratch).1, Source::Shut), "and stays an end");
    assert!(!stream.holds_input());
    // Half-closed: our direction is still of use.
    assert_eq!(stream.write(b"answer", &mut scratch).bytes, 6);
    peer.absorb();
    assert_eq!(peer.opened().0, b"answer");
}

#[test]
fn an_end_without_close_notify_is_a_truncation_after_all_bytes() {
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        for cut in [0, 3, 20] {
            let (mut stream, mut peer, mut scratch) = over_tcp(version);
            let mut bytes = peer.sealed(b"all there is");
            bytes.extend_from_slice(&peer.sealed(b"never complete")[..cut]);
            peer.send(&bytes);
            peer.socket.shutdown_write().unwrap();
            let mut all = Vec::new();
            let how = loop {
                await_input(stream.socket());
                let (got, then) = read(&mut stream, &mut scratch);
                all.extend(got);
                match then {
                    Source::Broken(how) => break how,
                    Source::Shut => panic!("a truncated stream passes for a complete one"),
                    Source::More | Source::Empty => {}
                }
            };
            assert_eq!(all, b"all there is");
            assert!(matches!(how, Break::Truncated), "{version:?}, cut at {cut}: {how:?}");
            assert!(!stream.holds_input());
        }
    }
}

#[test]
fn a_forgiving_stream_takes_fin_between_records_for_the_end() {
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let (mut stream, mut peer, mut scratch) = over_unix_with(version);
        stream.forgive_truncation();
        let bytes = peer.sealed(b"all there is");
        peer.send(&bytes);
        peer.socket.shutdown_write().unwrap();
        let (got, then) = read(&mut stream, &mut scratch);
        assert!(got == b"all there is" && matches!(then, Source::Empty), "{then:?}");
        assert!(matches!(read(&mut stream, &mut scratch).1, Source::Shut));
        assert_eq!(stream.write(b"answer", &mut scratch).bytes, 6);
        stream.end(&mut scratch);
        peer.absorb();
        assert_eq!(peer.opened(), (b"answer".to_vec(), ErrorCode::ZERO_RETURN), "our direction goes on");
    }
}

#[test]
fn a_forgiving_stream_forgives_neither_a_torn_record_nor_a_reset() {
    let (mut stream, mut peer, mut scratch) = over_unix();
    stream.forgive_truncation();
    let bytes = peer.sealed(b"never complete");
    peer.send(&bytes[..9]);
    peer.socket.shutdown_write().unwrap();
    read(&mut stream, &mut scratch);
    let (_, then) = read(&mut stream, &mut scratch);
    assert!(matches!(then, Source::Broken(Break::Truncated)), "{then:?}");
    let (mut stream, peer, mut scratch) = over_tcp(SslVersion::TLS1_3);
    stream.forgive_truncation();
    reset(peer.socket);
    await_input(stream.socket());
    let (_, then) = read(&mut stream, &mut scratch);
    assert!(matches!(then, Source::Broken(Break::Reset(_))), "{then:?}");
}

#[test]
fn a_reset_is_told_as_one() {
    let (mut stream, peer, mut scratch) = over_tcp(SslVersion::TLS1_3);
    reset(peer.socket);
    await_input(stream.socket());
    let (_, then) = read(&mut stream, &mut scratch);
    assert!(matches!(then, Source::Broken(Break::Reset(_))), "{then:?}");
}

#[test]
fn after_garbage_the_library_is_not_called_again() {
    let (mut stream, mut peer, mut scratch) = over_unix();
    let good = peer.sealed(b"good");
    let mut bad = peer.sealed(b"spoiled");
    let last = bad.len() - 1;
    bad[last] ^= 1;
    peer.send(&[good, bad].concat());
    let (got, then) = read(&mut stream, &mut scratch);
    assert_eq!(got, b"good", "what was authentic is not lost");
    assert!(matches!(&then, Source::Broken(Break::Tls(_, words)) if !words.is_empty()), "{then:?}");
    assert!(peer.absorb().0 > 0, "the peer is told by an alert");
    let more = peer.sealed(b"more");
    peer.send(&more);
    let (got, then) = read(&mut stream, &mut scratch);
    assert!(got.is_empty() && matches!(then, Source::Broken(Break::Tls(..))), "every reader is told");
    assert!(!stream.holds_input());
    let put = stream.write(b"x", &mut scratch);
    assert!(matches!(put, Put { bytes: 0, then: Sink::Broken(Break::Tls(..)) }), "and every writer");
    stream.end(&mut scratch);
    assert!(matches!(stream.handshake(&mut scratch), Handshake::Failed(Break::Tls(..))));
    assert!(stream.take_ticket().is_none());
    assert_eq!(peer.absorb().0, 0, "not even a close_notify leaves");
    let mut untouched = vec![0; more.len() + 1];
    assert_eq!(stream.socket().recv(&mut untouched).unwrap(), more.len(), "nothing more was fetched");
}

#[test]
fn holds_input_says_what_the_kernel_cannot_know() {
    let (mut stream, mut peer, mut scratch) = over_unix();
    let (one, two, three) = (peer.sealed(b"0123456789"), peer.sealed(b"abcdefghij"), peer.sealed(b"ABC"));
    let mut check = |stream: &mut TlsStream, sent: &[u8], into: usize, holds: bool, what: &str| {
        if !sent.is_empty() {
            peer.send(sent);
        }
        stream.read(&mut vec![0; into], &mut scratch);
        assert_eq!(stream.holds_input(), holds, "{what}");
    };
    check(&mut stream, b"", 10, false, "nothing came");
    check(&mut stream, &one[..7], 10, false, "part of a record");
    check(&mut stream, &one[7..], 4, true, "the library holds the rest of a record");
    check(&mut stream, b"", 6, false, "all was read");
    check(&mut stream, &[two, three].concat(), 10, true, "a whole record is kept with the connection");
    check(&mut stream, b"", 10, false, "all was read again");
}

#[test]
fn memory_lost_in_a_panic_is_made_anew() {
    let (mut stream, mut peer, mut scratch) = over_unix();
    let (mut doomed, _its_peer, _) = over_unix();
    let caught = panic::catch_unwind(AssertUnwindSafe(|| {
        doomed.lend(&mut scratch, 0, |_| panic!("in a callback of the library"));
    }));
    assert!(caught.is_err());
    assert!(scratch.tls.is_none(), "it went with the connection that panicked");
    let bytes = peer.sealed(b"others live on");
    peer.send(&bytes);
    assert_eq!(read(&mut stream, &mut scratch).0, b"others live on");
    assert!(scratch.tls.is_some());
}

#[test]
fn a_peer_that_closed_is_gone_for_writing_and_complete_for_reading() {
    let (mut stream, mut peer, mut scratch) = over_unix();
    let bytes = [peer.sealed(b"bye"), peer.farewell()].concat();
    peer.send(&bytes);
    drop(peer);
    let put = stream.write(b"nobody is there", &mut scratch);
    assert!(matches!(put.then, Sink::Broken(Break::Gone)), "{put:?}");
    assert_eq!(stream.residue(), 0, "what cannot leave is dropped");
    let (got, then) = read(&mut stream, &mut scratch);
    assert_eq!(got, b"bye");
    assert!(matches!(then, Source::Shut), "{then:?}");
}

#[test]
fn a_write_never_overtakes_what_did_not_leave() {
    let (mut stream, peer, mut scratch) = over_unix();
    fill(stream.socket());
    let put = stream.write(b"first", &mut scratch);
    assert!(put.bytes == 5 && matches!(put.then, Sink::Full), "{put:?}");
    stream.end(&mut scratch);
    assert!(stream.residue() > 5, "the close_notify queues behind");
    let mut junk = vec![0; 1 << 22];
    let mut arrived = Vec::new();
    while stream.residue() > 0 {
        let count = peer.socket.recv(&mut junk).unwrap();
        arrived.extend(junk[..count].iter().copied().skip_while(|byte| *byte == b'#'));
        stream.flush();
    }
    arrived.extend(super::super::testing::drain(&peer.socket).0.into_iter().skip_while(|byte| *byte == b'#'));
    let (complete, _) = wire::complete_records(&arrived, u32::MAX);
    assert_eq!(complete, arrived.len(), "whole records, none torn");
}
