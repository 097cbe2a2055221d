// SPDX-License-Identifier: MIT OR Apache-2.0
//! For tests of streams and of what is built on them: connected sockets, and a TLS peer whose ciphertext the test holds
//! in its hands.

use super::Scratch;
use super::tls::{Handshake, TlsStream};
use crate::sys::epoll::{Epoll, Mask};
use crate::sys::socket::Socket;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{ErrorCode, Ssl, SslContext, SslMethod, SslStream, SslVersion};
use openssl::x509::X509;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Two unix sockets: bytes are there at once, and one that is not read fills up for good.
pub(crate) fn unix_pair() -> (Socket, Socket) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (Socket::from_fd(a.into()), Socket::from_fd(b.into()))
}

/// The same, where every read gets what one write sent and no more.
pub(crate) fn packet_pair() -> (Socket, Socket) {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
    (Socket::from_fd(a), Socket::from_fd(b))
}

/// Two TCP sockets over the loopback, which can reset each other.
pub(crate) fn tcp_pair() -> (Socket, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, _) = listener.accept().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (Socket::from_fd(a.into()), Socket::from_fd(b.into()))
}

/// Waits until reading the socket would bring something: bytes, an end, an error.
pub(crate) fn await_input(socket: &Socket) {
    let mut epoll = Epoll::new(16).unwrap();
    epoll.add(socket, 0, Mask::READ).unwrap();
    epoll.wait(Some(Duration::from_secs(10))).unwrap();
    assert!(!epoll.is_empty(), "nothing came in ten seconds");
}

/// Closes with a reset.
pub(crate) fn reset(socket: Socket) {
    socket.reset_on_close();
    drop(socket);
}

/// Sends until the kernel takes no more; says how much it took.
pub(crate) fn fill(socket: &Socket) -> usize {
    let mut sent = 0;
    while let Ok(count) = socket.send(&[b'#'; 4096]) {
        sent += count;
    }
    sent
}

/// All that is there now, and whether the end came after it.
pub(crate) fn drain(socket: &Socket) -> (Vec<u8>, bool) {
    let (mut all, mut piece) = (Vec::new(), [0; 65536]);
    loop {
        match socket.recv(&mut piece) {
            Ok(0) => return (all, true),
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(_) => return (all, false),
        }
    }
}

/// Bytes in which every mistake of place or order shows.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16)) & 0xff).unwrap()).collect()
}

/// What a peer's TLS library reads and writes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    input: VecDeque<u8>,
    output: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.input.read(into) }
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The other end of a [`TlsStream`].
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) tls: SslStream<Memory>,
    pub(crate) socket: Socket,
}

impl Peer {
    /// The ciphertext of `bytes`, not sent.
    pub(crate) fn sealed(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        while !bytes.is_empty() {
            let count = self.tls.ssl_write(bytes).unwrap();
            bytes = &bytes[count..];
        }
        std::mem::take(&mut self.tls.get_mut().output)
    }

    /// The ciphertext of a close_notify, not sent.
    pub(crate) fn farewell(&mut self) -> Vec<u8> {
        self.tls.shutdown().unwrap();
        std::mem::take(&mut self.tls.get_mut().output)
    }

    /// Sends these bytes as they are.
    pub(crate) fn send(&self, bytes: &[u8]) {
        assert_eq!(self.socket.send(bytes).unwrap(), bytes.len());
    }

    /// Takes from the socket what is there; says how much, and whether TCP has ended.
    pub(crate) fn absorb(&mut self) -> (usize, bool) {
        let (bytes, ended) = drain(&self.socket);
        self.tls.get_mut().input.extend(&bytes);
        (bytes.len(), ended)
    }

    /// Decrypts what was absorbed; what stopped it: `WANT_READ`, or `ZERO_RETURN` after a close_notify.
    pub(crate) fn opened(&mut self) -> (Vec<u8>, ErrorCode) {
        let (mut all, mut piece) = (Vec::new(), [0; 16384]);
        loop {
            match self.tls.ssl_read(&mut piece) {
                Ok(count) => all.extend_from_slice(&piece[..count]),
                Err(error) => return (all, error.code()),
            }
        }
    }
}

fn contexts(version: SslVersion) -> (SslContext, SslContext) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let mut server = SslContext::builder(SslMethod::tls_server()).unwrap();
    server.set_certificate(&certificate.build()).unwrap();
    server.set_private_key(&key).unwrap();
    let mut client = SslContext::builder(SslMethod::tls_client()).unwrap();
    client.set_max_proto_version(Some(version)).unwrap();
    (server.build(), client.build())
}

/// A TLS server that is ours and a client that is the test's, after their handshake.
pub(crate) fn agree(ours: Socket, theirs: Socket, version: SslVersion) -> (TlsStream, Peer, Scratch) {
    let (server, client) = contexts(version);
    let mut scratch = Scratch::default();
    let mut session = Ssl::new(&server).unwrap();
    session.set_accept_state();
    let mut stream = TlsStream::new(session, ours, Vec::new()).unwrap();
    let tls = SslStream::new(Ssl::new(&client).unwrap(), Memory::default()).unwrap();
    let mut peer = Peer { tls, socket: theirs };
    for _ in 0..10 {
        let theirs = peer.tls.connect().is_ok();
        let said = std::mem::take(&mut peer.tls.get_mut().output);
        if !said.is_empty() {
            peer.send(&said);
            await_input(stream.socket());
        }
        let ours = matches!(stream.handshake(&mut scratch), Handshake::Done);
        if !theirs {
            await_input(&peer.socket);
            peer.absorb();
        } else if ours {
            peer.absorb();
            return (stream, peer, scratch);
        }
    }
    panic!("the handshake does not end");
}
