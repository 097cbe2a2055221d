// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ClientHello that a peer routes by name, and how the backend gets past it.
//!
//! Nobody decrypts anything in such a scenario, so there is no TLS behind the hello: the client writes this record in
//! front of its request, both in one write, and the backend skips one record and takes the request as it always does.
//! Invariant: a hello is one record, and the same bytes for all connections of a run.

use std::io::{self, Read, Write};

use openssl::ssl::{ErrorCode, Ssl, SslContextBuilder, SslMethod, SslStream};

use super::Fallible;
use super::tls::SERVER_NAME;

/// Bytes of a record header (RFC 8446 section 5.1).
const HEADER: usize = 5;
/// The content type of a record that carries handshake messages; no request begins with it.
const HANDSHAKE: u8 = 0x16;

/// What the TLS library would send to `SERVER_NAME`: its default suites, the group of all rows, and ALPN for HTTP.
pub(super) fn client_hello() -> Fallible<Vec<u8>> {
    let mut context = SslContextBuilder::new(SslMethod::tls_client())?;
    // Without this the size depends on the library's age: newer ones add a key of more than 1 KB.
    context.set_groups_list("X25519")?;
    context.set_alpn_protos(b"\x02h2\x08http/1.1")?;
    let mut ssl = Ssl::new(&context.build())?;
    ssl.set_hostname(SERVER_NAME)?;
    ssl.set_connect_state();
    let mut stream = SslStream::new(ssl, Paper(Vec::new()))?;
    match stream.do_handshake() {
        Err(error) if error.code() == ErrorCode::WANT_READ => Ok(std::mem::take(&mut stream.get_mut().0)),
        Err(error) => Err(error.into()),
        Ok(()) => Err("a handshake succeeded with nobody".into()),
    }
}

/// What follows the hello at the front of `bytes`; all of them if there is none, `None` until it is whole.
pub(super) fn behind(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.first() != Some(&HANDSHAKE) {
        return Some(bytes);
    }
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    rest.get(usize::from(u16::from_be_bytes([header[3], header[4]]))..)
}

/// A connection that keeps what is written and never has an answer.
struct Paper(Vec<u8>);

impl Read for Paper {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use tls_parser::{
        SNIType, TlsExtension, TlsMessage, TlsMessageHandshake, parse_tls_extensions, parse_tls_plaintext,
    };

    use super::*;

    #[test]
    fn the_hello_is_one_record_and_names_the_server() {
        let hello = client_hello().unwrap();
        assert!((200..600).contains(&hello.len()), "{} bytes", hello.len());
        let (rest, record) = parse_tls_plaintext(&hello).unwrap();
        assert!(rest.is_empty());
        let [TlsMessage::Handshake(TlsMessageHandshake::ClientHello(parsed))] = &record.msg[..] else {
            panic!("{record:?}")
        };
        let (_, extensions) = parse_tls_extensions(parsed.ext.unwrap()).unwrap();
        let name = extensions.iter().find_map(|extension| match extension {
            TlsExtension::SNI(names) => Some(names.clone()),
            _ => None,
        });
        assert_eq!(name, Some(vec![(SNIType::HostName, SERVER_NAME.as_bytes())]));
    }

    #[test]
    fn the_request_begins_behind_the_whole_hello() {
        let mut bytes = client_hello().unwrap();
        let hello = bytes.len();
        for cut in 1..hello {
            assert_eq!(behind(&bytes[..cut]), None, "after {cut} bytes");
        }
        bytes.extend_from_slice(b"E");
        assert_eq!(behind(&bytes), Some(&b"E"[..]));
        assert_eq!(behind(&bytes[..hello]), Some(&b""[..]));
    }

    #[test]
    fn a_request_without_a_hello_is_taken_as_it_is() {
        assert_eq!(behind(b"E"), Some(&b"E"[..]));
        assert_eq!(behind(b""), Some(&b""[..]));
    }
}
