// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks the proxy that has been connected to for the server: by SOCKS5 or by CONNECT of HTTP. The name goes to the proxy as
//! it was configured and is not resolved here.
//!
//! Invariants: nothing of the client's is said before the proxy has agreed; not a byte that follows its answer is lost or
//! taken for its own; a refusal is the failure of this server, told in the proxy's words.
//!
//! Not here: the messages (`wire/socks5.rs`, `wire/http_connect.rs`) and the connection to the proxy (`connect.rs`).

use super::server_words::{Why, read_until, say};
use super::{For, Progress, Step};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::{Reason, Side};
use crate::policy::service::Service;
use crate::policy::via::{Kind, Via};
use crate::wire::destination::Destination;
use crate::wire::http_connect;
use crate::wire::socks5::{self, Method};

pub const STEP: Step = Step { name: "asking the proxy for the server", run, expired };

/// What has been said; the next is to be heard.
const GREETED: u8 = 1;
const LOGGED_IN: u8 = 2;
const ASKED: u8 = 3;

/// How many bytes of an answer are read at a time where nothing tells how long it is.
const PIECE: usize = 4096;

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let Some((via, to)) = way(pair, service) else { return Ok(Progress::Done) };
    let stage = pair.server.as_ref().map_or(0, |end| end.stage);
    let patience = (stage == 0).then_some(service.timeouts.connect);
    let agreed = match via.kind {
        Kind::Socks5 => socks5(pair, via, to, stage, ctx),
        Kind::Http => http(pair, via, to, stage, ctx),
    };
    match agreed {
        Ok(true) => {
            set_stage(pair, 0);
            Ok(Progress::Done)
        }
        Ok(false) => Ok(Progress::Wait(For { side: Side::Server, read: true, patience })),
        Err(why) => Err(refused(via, to, &why)),
    }
}

/// The proxy of this connection's route and what it is asked for.
fn way<'s>(pair: &Pair, service: &'s Service) -> Option<(&'s Via, &'s Destination)> {
    let route = service.routes.get(pair.facts.route)?;
    let server = route.upstream.servers.get(pair.facts.server as usize)?;
    Some((route.via.as_deref()?, server.destination.as_ref()?))
}

fn refused(via: &Via, to: &Destination, why: &str) -> Reason {
    Reason::Via(format!("the proxy {} asked for {to}: {why}", via.name).into())
}

fn set_stage(pair: &mut Pair, stage: u8) {
    if let Some(end) = pair.server.as_mut() {
        end.stage = stage;
    }
}

/// Takes the conversation as far as it goes; whether it has come to its end.
fn socks5(pair: &mut Pair, via: &Via, to: &Destination, mut stage: u8, ctx: &mut Ctx) -> Result<bool, Why> {
    loop {
        let words = match stage {
            0 => {
                stage = GREETED;
                socks5::greeting(via.login.is_some())
            }
            GREETED => {
                let two = |bytes: &[u8]| 2 - bytes.len().min(1);
                let Some(method) = read_until(pair, ctx, two, socks5::parse_choice)? else {
                    return Ok(false);
                };
                match (method, &via.login) {
                    (Method::None, _) => {
                        stage = ASKED;
                        socks5::request(to)
                    }
                    (Method::Password, Some(login)) => {
                        stage = LOGGED_IN;
                        socks5::login(login.user.as_bytes(), login.password.as_bytes())
                    }
                    (Method::Password, None) => return Err("it wants a name and a password".into()),
                    (Method::Refused, Some(_)) => return Err("it takes no name and password".into()),
                    (Method::Refused, None) => return Err("it lets nobody in without a login".into()),
                }
            }
            LOGGED_IN => {
                let two = |bytes: &[u8]| 2 - bytes.len().min(1);
                match read_until(pair, ctx, two, socks5::parse_login_answer)? {
                    None => return Ok(false),
                    Some(false) => return Err("it refuses the name or the password".into()),
                    Some(true) => {
                        stage = ASKED;
                        socks5::request(to)
                    }
                }
            }
            _ => {
                let missing = |bytes: &[u8]| socks5::missing(bytes, true);
                return match read_until(pair, ctx, missing, socks5::parse_reply)? {
                    None => Ok(false),
                    Some(0) => Ok(true),
                    Some(code) => Err(format!("{} (code {code})", socks5::words(code)).into()),
                };
            }
        };
        set_stage(pair, stage);
        say(pair, words)?;
    }
}

/// As [`socks5`].
fn http(pair: &mut Pair, via: &Via, to: &Destination, stage: u8, ctx: &mut Ctx) -> Result<bool, Why> {
    if stage == 0 {
        let login = via.login.as_ref().map(|login| (&*login.user, &*login.password));
        set_stage(pair, ASKED);
        say(pair, http_connect::request(to, login))?;
    }
    let piece = |bytes: &[u8]| PIECE.min(http_connect::MAX_HEAD.saturating_sub(bytes.len())).max(1);
    match read_until(pair, ctx, piece, http_connect::parse_answer)? {
        None => Ok(false),
        Some(answer) if (200..300).contains(&answer.status) => Ok(true),
        Some(answer) => Err(format!("{} {}", answer.status, answer.words).trim_end().into()),
    }
}

fn expired(pair: &mut Pair, service: &Service, _: &mut Ctx) -> Option<Reason> {
    let late = "no answer in time";
    Some(match way(pair, service) {
        Some((via, to)) => refused(via, to, late),
        None => Reason::Via(late.into()),
    })
}
