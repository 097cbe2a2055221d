// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hears from the client where it wants to be taken: by SOCKS5, SOCKS4 and 4A, or CONNECT of HTTP, told apart by the first
//! byte. What it asks for becomes the connection's name and port, which the next steps resolve, judge and connect to.
//!
//! Invariants: it is answered only when the way to the server is there, or is known not to be (`answer.rs`); exactly its
//! request is consumed, and what it has said behind it is the server's; where users are configured nobody gets further than
//! a login that is none of theirs.
//!
//! Not here: the messages (`wire/`), what may be asked for and connected to (`resolve.rs`).

use super::early::{self, MORE, Stop};
use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::{Awaits, Pair};
use crate::error::{Flaw, Reason, Side};
use crate::policy::service::Service;
use crate::policy::socks::Users;
use crate::wire::destination::Destination;
use crate::wire::socks5::{self, Login, Method, Methods};
use crate::wire::{Parsed, http_connect, socks4};

pub const STEP: Step = Step { name: "hearing where the client wants to go", run, expired: client_too_slow };

/// What it has said; the next is to be heard.
const LOGIN: u8 = 1;
const REQUEST: u8 = 2;

/// A message of the client.
enum Said {
    Methods(Methods),
    Login(Login),
    Five(socks5::Request),
    Four(socks4::Request),
    Http(http_connect::Request),
}

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let users = service.users.as_ref();
    loop {
        let stage = pair.client.stage;
        let (said, length) = match early::read_until(pair, ctx, |bytes| parse(stage, bytes)) {
            Ok(Some(said)) => said,
            Ok(None) => return Ok(MORE),
            Err(stop) => return Err(stopped(stop, pair, ctx)),
        };
        pair.client.stream.consume(length);
        let asked = match said {
            Said::Methods(methods) => {
                let method = choose(methods, users);
                tell(pair, &socks5::choice(method), ctx);
                pair.client.stage = match method {
                    Method::None => REQUEST,
                    Method::Password => LOGIN,
                    Method::Refused => return Err(bad("it offers no way to log in that is taken here")),
                };
                continue;
            }
            Said::Login((user, password)) => {
                let known = users.is_some_and(|users| users.knows(&user, &password));
                tell(pair, &socks5::login_answer(known), ctx);
                if !known {
                    return Err(wrong_login(&user));
                }
                pair.client.stage = REQUEST;
                continue;
            }
            Said::Five(socks5::Request::Connect(to)) => (to, Awaits::Socks5),
            Said::Five(socks5::Request::Unknown(code)) => {
                tell(pair, &socks5::reply(code, None), ctx);
                return Err(bad("it asks for what there is not, instead of CONNECT"));
            }
            Said::Four(_) if users.is_some() => {
                tell(pair, &socks4::reply(false), ctx);
                return Err(bad("it speaks SOCKS4, which has no passwords"));
            }
            Said::Four(socks4::Request::Connect(to)) => (to, Awaits::Socks4),
            Said::Four(socks4::Request::Other) => {
                tell(pair, &socks4::reply(false), ctx);
                return Err(bad("it asks for what there is not, instead of CONNECT"));
            }
            Said::Http(http_connect::Request::Connect { to, login }) => {
                check_http_login(pair, users, login, ctx)?;
                (to, Awaits::Connect)
            }
            Said::Http(http_connect::Request::Other) => {
                tell(pair, &http_connect::answer(405), ctx);
                return Err(bad("it asks for what there is not, instead of CONNECT"));
            }
        };
        take(asked, pair);
        return Ok(Progress::Done);
    }
}

/// What comes next, by what came before.
fn parse(stage: u8, bytes: &[u8]) -> Parsed<Said> {
    match (stage, bytes.first()) {
        (LOGIN, _) => map(socks5::parse_login(bytes), Said::Login),
        (REQUEST, _) => map(socks5::parse_request(bytes), Said::Five),
        (_, Some(&socks5::VERSION)) => map(socks5::parse_greeting(bytes), Said::Methods),
        (_, Some(&socks4::VERSION)) => map(socks4::parse_request(bytes), Said::Four),
        _ => map(http_connect::parse_request(bytes), Said::Http),
    }
}

fn map<T>(parsed: Parsed<T>, what: impl FnOnce(T) -> Said) -> Parsed<Said> {
    match parsed {
        Parsed::Done(found, length) => Parsed::Done(what(found), length),
        Parsed::More => Parsed::More,
        Parsed::Bad(why) => Parsed::Bad(why),
    }
}

fn choose(offered: Methods, users: Option<&Users>) -> Method {
    match users {
        Some(_) if offered.password => Method::Password,
        None if offered.none => Method::None,
        _ => Method::Refused,
    }
}

/// # Errors
/// It is none of the users, where there are any.
fn check_http_login(
    pair: &mut Pair,
    users: Option<&Users>,
    login: Option<Login>,
    ctx: &mut Ctx,
) -> Result<(), Reason> {
    let Some(users) = users else { return Ok(()) };
    match login {
        Some((user, password)) if users.knows(&user, &password) => Ok(()),
        given => {
            tell(pair, &http_connect::answer(407), ctx);
            Err(given.map_or_else(|| bad("it gives no name and password"), |(user, _)| wrong_login(&user)))
        }
    }
}

/// Makes facts of what it asks for. From here on it waits for an answer.
fn take((to, awaits): (Destination, Awaits), pair: &mut Pair) {
    pair.client.stage = 0;
    pair.facts.awaits = awaits;
    pair.facts.server_name = Some(to.host.to_string().into());
    pair.facts.asked_port = Some(to.port);
}

/// Answers what the kernel's buffer of a new socket has room for.
fn tell(pair: &mut Pair, words: &[u8], ctx: &mut Ctx) {
    pair.client.write(words, &mut ctx.buffers.scratch);
}

fn stopped(stop: Stop, pair: &mut Pair, ctx: &mut Ctx) -> Reason {
    match stop {
        Stop::Bad(why) => {
            match pair.client.stream.early().first() {
                Some(b'A'..=b'Z') => tell(pair, &http_connect::answer(400), ctx),
                Some(&socks5::VERSION) if pair.client.stage == REQUEST => {
                    tell(pair, &socks5::reply(socks5::Code::Failed, None), ctx);
                }
                Some(&socks4::VERSION) => tell(pair, &socks4::reply(false), ctx),
                _ => {}
            }
            bad(why)
        }
        Stop::Ended { begun: true } => bad("it closed in the middle of its request"),
        Stop::Ended { begun: false } => {
            Reason::Handshake(Side::Client, Flaw::Closed, "the client closed without a word".into())
        }
        Stop::Broken(reason) => reason,
    }
}

fn bad(why: &str) -> Reason {
    Reason::BadAsking(why.into())
}

fn wrong_login(user: &[u8]) -> Reason {
    Reason::BadAsking(format!("wrong name or password: \"{}\"", user.escape_ascii()).into())
}
