// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said until TLS begins, protocol by protocol; and what holds for all of them: more in clear behind the last word
//! is found out, pieces do not matter, nonsense ends.

use super::*;
use std::net::Ipv4Addr;

fn names() -> Names {
    Names { own: Some(Ipv4Addr::new(192, 0, 2, 1).into()), server: Some("example.org".into()) }
}

/// A name, a protocol's part, what the other side says, what we say to all of it, and how it ends.
struct Dialogue {
    protocol: &'static Protocol,
    serves: bool,
    hears: &'static [u8],
    says: &'static [u8],
    ends: Result<(), &'static str>,
}

impl Dialogue {
    fn exchange(&self) -> Exchange {
        match self.serves {
            true => Exchange::serve(self.protocol, names()),
            false => Exchange::ask(self.protocol, names()),
        }
    }
}

const fn serves(
    protocol: &'static Protocol,
    hears: &'static [u8],
    says: &'static [u8],
    ends: Result<(), &'static str>,
) -> Dialogue {
    Dialogue { protocol, serves: true, hears, says, ends }
}

const fn asks(
    protocol: &'static Protocol,
    hears: &'static [u8],
    says: &'static [u8],
    ends: Result<(), &'static str>,
) -> Dialogue {
    Dialogue { protocol, serves: false, hears, says, ends }
}

const LEFT: Result<(), &str> = Err("it quit without TLS");

const DIALOGUES: &[Dialogue] = &[
    serves(
        &smtp::PROTOCOL,
        b"EHLO c\r\nMAIL FROM:<a@b>\r\nSTARTTLS x\r\nstarttls\r\n",
        b"220 [192.0.2.1] ESMTP\r\n250-[192.0.2.1]\r\n250 STARTTLS\r\n530 5.7.0 Must issue a STARTTLS command first\r\n\
          501 5.5.4 STARTTLS takes no parameters\r\n220 2.0.0 Ready to start TLS\r\n",
        Ok(()),
    ),
    serves(
        &smtp::PROTOCOL,
        b"HELO c\nQUIT\n",
        b"220 [192.0.2.1] ESMTP\r\n250 [192.0.2.1]\r\n221 2.0.0 [192.0.2.1] closing\r\n",
        LEFT,
    ),
    asks(
        &smtp::PROTOCOL,
        b"220-hello\r\n220 you\r\n250-x\r\n250-starttls\r\n250 HELP\r\n220 go\r\n",
        b"EHLO [192.0.2.1]\r\nSTARTTLS\r\n",
        Ok(()),
    ),
    asks(
        &smtp::PROTOCOL,
        b"220 you\r\n250-x\r\n250 HELP\r\n",
        b"EHLO [192.0.2.1]\r\n",
        Err("it does not offer STARTTLS"),
    ),
    asks(
        &smtp::PROTOCOL,
        b"220 you\r\n250 STARTTLS\r\n454 not \xff\x1b now\r\n",
        b"EHLO [192.0.2.1]\r\nSTARTTLS\r\n",
        Err("it says 454 not \\xff\\x1b now"),
    ),
    asks(&smtp::PROTOCOL, b"554 go away\r\n", b"", Err("it says 554 go away")),
    serves(
        &imap::PROTOCOL,
        b"a CAPABILITY\r\n\r\nb LOGIN u p\r\nc STARTTLS\r\n",
        b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready for STARTTLS\r\n\
          * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na OK done\r\n* BAD a command begins with a tag\r\n\
          b NO [PRIVACYREQUIRED] STARTTLS comes first\r\nc OK begin TLS now\r\n",
        Ok(()),
    ),
    serves(
        &imap::PROTOCOL,
        b"a LOGOUT\r\n",
        b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready for STARTTLS\r\n* BYE\r\na OK done\r\n",
        LEFT,
    ),
    asks(
        &imap::PROTOCOL,
        b"* ok ready\r\n* CAPABILITY IMAP4rev1\r\ntls1 OK go\r\n",
        b"tls1 STARTTLS\r\n",
        Ok(()),
    ),
    asks(
        &imap::PROTOCOL,
        b"* PREAUTH welcome\r\ntls1 OK\r\n",
        b"",
        Err("it says * PREAUTH welcome"),
    ),
    asks(
        &imap::PROTOCOL,
        b"* OK\r\ntls1 NO never\r\n",
        b"tls1 STARTTLS\r\n",
        Err("it says tls1 NO never"),
    ),
    serves(
        &pop3::PROTOCOL,
        b"CAPA\r\nUSER u\r\nSTLS\r\n",
        b"+OK POP3 ready\r\n+OK\r\nSTLS\r\n.\r\n-ERR STLS comes first\r\n+OK begin TLS now\r\n",
        Ok(()),
    ),
    asks(&pop3::PROTOCOL, b"+OK <1@x>\r\n+OK\r\n", b"STLS\r\n", Ok(())),
    asks(&pop3::PROTOCOL, b"+OK\r\n-ERR no\r\n", b"STLS\r\n", Err("it says -ERR no")),
    serves(
        &pgsql::PROTOCOL,
        b"\0\0\0\x08\x04\xd2\x16\x30\0\0\0\x08\x04\xd2\x16\x2f",
        b"NS",
        Ok(()),
    ),
    serves(
        &pgsql::PROTOCOL,
        b"\0\0\0\x08\0\x03\0\0",
        b"E\0\0\0\x62SFATAL\0VFATAL\0C28000\0Mno encryption\0Hthis server is reached by TLS only: set \
          sslmode=require\0\0",
        Err("it began without asking for TLS"),
    ),
    serves(&pgsql::PROTOCOL, b"GET / HTTP/1.1\r\n", b"", Err("this is not the PostgreSQL protocol")),
    asks(&pgsql::PROTOCOL, b"S", b"\0\0\0\x08\x04\xd2\x16\x2f", Ok(())),
    asks(
        &pgsql::PROTOCOL,
        b"N",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        Err("it answers that it has no TLS"),
    ),
    serves(
        &ldap::PROTOCOL,
        b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0\
          \x30\x1d\x02\x01\x02\x77\x18\x80\x161.3.6.1.4.1.1466.20037",
        b"\x30\x20\x02\x01\x01\x61\x1b\x0a\x01\x0d\x04\0\x04\x14StartTLS comes first\
          \x30\x24\x02\x01\x02\x78\x1f\x0a\x01\0\x04\0\x04\0\x8a\x161.3.6.1.4.1.1466.20037",
        Ok(()),
    ),
    serves(&ldap::PROTOCOL, b"\x30\x05\x02\x01\x01\x42\0", b"", LEFT),
    asks(
        &ldap::PROTOCOL,
        b"\x30\x84\0\0\0\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0",
        b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037",
        Ok(()),
    ),
    asks(
        &ldap::PROTOCOL,
        b"\x30\x0e\x02\x01\x01\x78\x09\x0a\x01\x34\x04\0\x04\x02no",
        b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037",
        Err("its answer is result 52: no"),
    ),
    serves(
        &ftp::PROTOCOL,
        b"USER u\r\nFEAT\r\nAUTH SSL\r\nauth tls\r\n",
        b"220 FTP ready\r\n530 AUTH TLS comes first\r\n211-Features:\r\n AUTH TLS\r\n211 End\r\n504 only AUTH TLS\r\n\
          234 begin TLS now\r\n",
        Ok(()),
    ),
    asks(
        &ftp::PROTOCOL,
        b"120 wait\r\n220-one\r\n two\r\n220 three\r\n234 go\r\n",
        b"AUTH TLS\r\n",
        Ok(()),
    ),
    asks(&ftp::PROTOCOL, b"220 x\r\n530 no\r\n", b"AUTH TLS\r\n", Err("it says 530 no")),
    serves(
        &nntp::PROTOCOL,
        b"CAPABILITIES\r\nMODE READER\r\nSTARTTLS\r\n",
        b"200 NNTP ready\r\n101 in clear:\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n483 STARTTLS comes first\r\n\
          382 begin TLS now\r\n",
        Ok(()),
    ),
    asks(&nntp::PROTOCOL, b"201 x\r\n382 go\r\n", b"STARTTLS\r\n", Ok(())),
    asks(&nntp::PROTOCOL, b"201 x\r\n580 no\r\n", b"STARTTLS\r\n", Err("it says 580 no")),
    serves(
        &sieve::PROTOCOL,
        b"AUTHENTICATE \"PLAIN\"\r\nSTARTTLS\r\n",
        b"\"IMPLEMENTATION\" \"tunnel\"\r\n\"SIEVE\" \"\"\r\n\"SASL\" \"\"\r\n\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK\r\n\
          NO (ENCRYPT-NEEDED) \"STARTTLS comes first\"\r\nOK \"begin TLS now\"\r\n",
        Ok(()),
    ),
    asks(
        &sieve::PROTOCOL,
        b"\"SIEVE\" \"OK\"\r\nOK(X) \"hi\"\r\nok\r\n",
        b"STARTTLS\r\n",
        Ok(()),
    ),
    asks(
        &sieve::PROTOCOL,
        b"OK\r\nNO \"no\"\r\n",
        b"STARTTLS\r\nCAPABILITY\r\n",
        Err("it says NO \"no\""),
    ),
    serves(
        &irc::PROTOCOL,
        b"CAP LS 302\r\nCAP REQ :tls\r\nNICK n\r\nSTARTTLS\r\n",
        b":tunnel CAP * LS :tls\r\n:tunnel CAP * ACK :tls\r\n:tunnel 451 * :STARTTLS comes first\r\n\
          :tunnel 670 * :begin TLS now\r\n",
        Ok(()),
    ),
    asks(
        &irc::PROTOCOL,
        b":s NOTICE * :hello\r\nPING :7\r\n:s 670 * :go\r\n",
        b"STARTTLS\r\nPONG :7\r\n",
        Ok(()),
    ),
    asks(&irc::PROTOCOL, b":s 421 * STARTTLS :what\r\n", b"STARTTLS\r\n", Err("it says :s 421 * STARTTLS :what")),
    serves(
        &mysql::PROTOCOL,
        b"\x20\0\0\x01\x05\xaa\x08\0xxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        b"\x50\0\0\0\x0a5.7.0-tunnel\0\x01\0\0\0no matte\0\xdf\xbf\x21\x02\0\x3f\0\x15\0\0\0\0\0\0\0\0\0\0r: no answer\0\
          mysql_native_password\0",
        Ok(()),
    ),
    asks(&mysql::PROTOCOL, b"\x15\0\0\0\x0ax\0\x01\0\0\0challeng\0\xff\xff\x21\x02\0", b"", Ok(())),
    asks(&mysql::PROTOCOL, b"\x05\0\0\0\xff\x15\x04no", b"", Err("it says no")),
    serves(
        &xmpp::PROTOCOL,
        b"<?xml version='1.0'?><stream:stream to=\"a>b\" xmlns='jabber:client' to='example.org'> \
          <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'></starttls>",
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
          id='clear' version='1.0'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/>\
          </starttls></stream:features><proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        Ok(()),
    ),
    asks(
        &xmpp::PROTOCOL,
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client'><stream:features><starttls \
          xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls><a>B</a></stream:features>\
          <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
          to='example.org' version='1.0'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        Ok(()),
    ),
];

/// What it takes to hear `pieces`, one after the other: all that is said, and the end.
fn run(mut exchange: Exchange, pieces: &[&[u8]]) -> (Vec<u8>, Outcome) {
    let (mut said, mut input) = (Vec::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        let (taken, outcome) = exchange.hear(&input);
        input.drain(..taken);
        said.append(exchange.say());
        if outcome != Outcome::More {
            return (said, outcome);
        }
    }
    (said, Outcome::More)
}

#[test]
fn each_protocol_is_spoken_as_its_document_says() {
    for dialogue in DIALOGUES {
        let (said, outcome) = run(dialogue.exchange(), &[dialogue.hears]);
        let words = quoted_all(dialogue.hears);
        assert_eq!(quoted_all(&said), quoted_all(dialogue.says), "to {words}");
        match (dialogue.ends, outcome) {
            (Ok(()), Outcome::Agreed) => {}
            (Err(why), Outcome::Declined(text) | Outcome::Failed(Fault::Broken(text))) => {
                assert_eq!(&*text, why, "after {words}");
            }
            (wanted, outcome) => panic!("{outcome:?} instead of {wanted:?} after {words}"),
        }
    }
    for protocol in PROTOCOLS {
        let agrees = |serves| {
            DIALOGUES.iter().any(|one| one.protocol == protocol && one.serves == serves && one.ends.is_ok())
        };
        assert!(agrees(true) && agrees(false), "no dialogue of {}", protocol.name);
    }
}

fn quoted_all(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn pieces_make_no_difference() {
    for dialogue in DIALOGUES {
        let whole = run(dialogue.exchange(), &[dialogue.hears]);
        let bytes: Vec<&[u8]> = dialogue.hears.chunks(1).collect();
        assert_eq!(run(dialogue.exchange(), &bytes), whole, "{}", quoted_all(dialogue.hears));
    }
}

/// Row 112: whatever follows the last word in clear is found out, on either side, and the answer that would have begun
/// TLS is not given.
#[test]
fn nothing_in_clear_gets_past_the_word_that_tls_begins() {
    for dialogue in DIALOGUES.iter().filter(|dialogue| dialogue.ends.is_ok()) {
        for more in [&b"x"[..], b"\x16\x03\x01", b"RSET\r\n", dialogue.hears] {
            let injected = [dialogue.hears, more].concat();
            let (said, outcome) = run(dialogue.exchange(), &[&injected]);
            if *dialogue.protocol == mysql::PROTOCOL && dialogue.serves && more[0] == TLS_RECORD {
                assert_eq!(outcome, Outcome::Agreed, "such a client does not wait for an answer");
                continue;
            }
            assert_eq!(outcome, Outcome::Failed(Fault::Injected(more.len())), "{}", quoted_all(&injected));
            assert!(said.len() < dialogue.says.len() || !dialogue.serves, "{}", quoted_all(&said));
        }
    }
}

#[test]
fn a_client_that_begins_with_tls_needs_no_words() {
    let (said, outcome) = run(Exchange::serve(&pgsql::PROTOCOL, names()), &[b"\x16\x03\x01"]);
    assert_eq!((said, outcome), (Vec::new(), Outcome::Agreed));
}

/// As psql does without `sslmode`.
#[test]
fn a_plain_client_is_told_that_there_is_no_encryption() {
    let startup = b"\0\0\0\x09\0\x03\0\0\0";
    let input = [&b"\0\0\0\x08\x04\xd2\x16\x30\0\0\0\x08\x04\xd2\x16\x2f"[..], startup].concat();
    let mut exchange = Exchange::plain(&pgsql::PROTOCOL).unwrap();
    assert_eq!(exchange.hear(&input), (16, Outcome::Agreed), "the login is left for the server");
    assert_eq!(exchange.say(), b"NN");
    assert!(Exchange::plain(&smtp::PROTOCOL).is_none());
}

#[test]
fn greetings_are_taken_in_and_nothing_behind_them() {
    for (protocol, greeting) in [
        (&smtp::PROTOCOL, &b"220-a\r\n220 b\r\n"[..]),
        (&imap::PROTOCOL, b"* OK [X] b\r\n"),
        (&pop3::PROTOCOL, b"+OK\r\n"),
        (&ftp::PROTOCOL, b"220-a\r\nb\r\n220 c\r\n"),
        (&nntp::PROTOCOL, b"200 a\r\n"),
    ] {
        let mut exchange = Exchange::greeting(protocol).unwrap();
        let input = [greeting, b"* more"].concat();
        assert_eq!(exchange.hear(&input), (greeting.len(), Outcome::Agreed), "{}", protocol.name);
        let ours = super::greeting(protocol, names());
        let mut exchange = Exchange::greeting(protocol).unwrap();
        assert_eq!(exchange.hear(&ours), (ours.len(), Outcome::Agreed), "ours of {}", protocol.name);
        let (_, outcome) = Exchange::greeting(protocol).unwrap().hear(b"421 -ERR * BYE\r\n");
        assert!(matches!(outcome, Outcome::Failed(Fault::Broken(_))), "{}: {outcome:?}", protocol.name);
    }
    for protocol in [&pgsql::PROTOCOL, &ldap::PROTOCOL, &sieve::PROTOCOL, &irc::PROTOCOL, &xmpp::PROTOCOL] {
        assert!(Exchange::greeting(protocol).is_none() && greeting(protocol, names()).is_empty());
    }
}

#[test]
fn neither_long_lines_nor_many_are_put_up_with() {
    let ends = |exchange: Exchange, input: &[u8]| {
        let pieces: Vec<&[u8]> = input.chunks(1000).collect();
        matches!(run(exchange, &pieces).1, Outcome::Failed(_) | Outcome::Declined(_))
    };
    for protocol in PROTOCOLS {
        for filler in
            [&b"x"[..], b"a b\r\n", b"<a ", b"<a>", b"\x30\x84\0\0\x0f\xff", b"\0\0\x0f\xff\0", b"\r\n"]
        {
            let flood = filler.repeat(300_000 / filler.len());
            assert!(ends(Exchange::serve(protocol, names()), &flood), "{} serves {filler:?}", protocol.name);
            assert!(ends(Exchange::ask(protocol, names()), &flood), "{} asks {filler:?}", protocol.name);
        }
    }
}

/// Not random, but of every kind: each dialogue with each byte changed, dropped or doubled.
#[test]
fn damaged_dialogues_end_or_wait() {
    for dialogue in DIALOGUES {
        for at in 0..dialogue.hears.len() {
            let (before, rest) = dialogue.hears.split_at(at);
            for byte in [0, b'<', b'>', b'\'', b'\n', b' ', b'/', b'=', b':', 0x80, 0x84, 0xff] {
                for damaged in [
                    [before, &[byte], &rest[1..]].concat(),
                    [before, &[byte], rest].concat(),
                    [before, &rest[1..]].concat(),
                ] {
                    let (said, _) = run(dialogue.exchange(), &[&damaged]);
                    assert!(said.len() <= 64 * UNIT);
                }
            }
        }
    }
}
