// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers that do not play by the rules: servers that cannot be reached, clients that stop in the middle of a word.

use super::{PATIENCE, TlsClient};
use openssl::ssl::HandshakeError;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// An address where nobody listens: a connection is refused.
pub(crate) fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An address that never answers a SYN, as long as this lives: its backlog is full.
pub(crate) struct BlackHole {
    listener: TcpListener,
    _filling: Vec<TcpStream>,
}

impl BlackHole {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backlog = nix::sys::socket::Backlog::new(0).unwrap();
        nix::sys::socket::listen(&listener, backlog).unwrap();
        let address = listener.local_addr().unwrap();
        let mut filling = Vec::new();
        // The kernel takes one more than the backlog; the first connection that hangs says that it is full.
        while let Ok(socket) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            filling.push(socket);
            assert!(filling.len() < 64, "the backlog never fills");
        }
        Self { listener, _filling: filling }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }
}

/// The first flight of `client`: its ClientHello in one record.
pub(crate) fn hello(client: &TlsClient) -> Vec<u8> {
    match client.ssl().connect(Recorder::default()) {
        Err(HandshakeError::WouldBlock(stopped)) => stopped.get_ref().written.clone(),
        other => panic!("a handshake with nobody should wait: {other:?}"),
    }
}

/// Takes what is written and never has anything to read.
#[derive(Debug, Default)]
struct Recorder {
    written: Vec<u8>,
}

impl Read for Recorder {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that carries only so many bytes from us and then pretends to block.
#[derive(Debug)]
pub(crate) struct Limited {
    pub(crate) socket: TcpStream,
    pub(crate) left: usize,
}

impl Limited {
    pub(crate) fn connect(address: SocketAddr, left: usize) -> Self {
        let socket = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        super::peer::set_up(&socket);
        Self { socket, left }
    }
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.left);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let sent = self.socket.write(&bytes[..count])?;
        self.left -= sent;
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
