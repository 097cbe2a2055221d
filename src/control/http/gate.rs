// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may ask for what: by which names we are known, what a token gives, and whether a change comes from our own page.
//!
//! A browser is a deputy that anybody on the web can send: to a name that was made to lead here (DNS rebinding), or here
//! with a form. So the names are few, and a change must come from the page itself, or from somebody who knows a secret,
//! which no browser adds by itself.

use super::parse::Head;
use super::response::{Refusal, Response};
use crate::control::answer::Visitor;
use crate::policy::access::{ControlSettings, Level, Token};
use std::net::{IpAddr, Ipv6Addr};
use subtle::ConstantTimeEq;

/// By which names a visitor may call us, beside addresses, "localhost" and those of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    #[default]
    Configured,
    /// This one too: TLS was agreed on for it, so a browser has seen a certificate of that name.
    Also(Box<str>),
    /// Every name: who comes over a unix socket was led here by no name.
    Every,
}

/// What is asked of a request, by the settings in effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate<'a> {
    pub(super) settings: &'a ControlSettings,
    pub(super) hosts: &'a Hosts,
    /// TLS was agreed on with us, so our own page has the scheme https. Without, somebody ahead of us may have done that.
    pub(super) tls: bool,
}

impl Gate<'_> {
    /// Who asks, with the level that a token gives.
    ///
    /// # Errors
    /// The answer for who may not ask at all.
    pub(super) fn enter(&self, head: &Head, visitor: &Visitor) -> Result<Visitor, Response> {
        if head.host.as_deref().is_some_and(|host| !self.knows(host)) {
            let why = "this host is not known here: use an address, or name it in `hosts` of [control]";
            return Err(Refusal::new(421, why).into());
        }
        let Some(authorization) = head.authorization.as_deref() else { return Ok(visitor.clone()) };
        let token = self.token(authorization).ok_or_else(|| {
            let answer = Response::from(Refusal::new(401, "the token is not known here"));
            answer.with("WWW-Authenticate", "Bearer realm=\"tunnel\", error=\"invalid_token\"")
        })?;
        let name = format!("token {} at {}", token.name, visitor.name);
        Ok(Visitor { level: visitor.level.max(token.level), name, who: visitor.who.clone() })
    }

    /// Whether a change that needs `needed` may be made.
    ///
    /// # Errors
    /// The answer that says why not.
    pub(super) fn change(&self, head: &Head, visitor: &Visitor, needed: Level) -> Result<(), Response> {
        // Over a connection whose certificate or address gives the level, a browser would come with it wherever it was
        // sent from. A token it would not add.
        if head.authorization.is_none() {
            from_our_page(head, self.tls)?;
        }
        if visitor.level >= needed {
            return Ok(());
        }
        let why = match needed {
            Level::Admin => "this needs the level \"admin\"",
            _ => "this needs the level \"operate\"",
        };
        if head.authorization.is_some() {
            return Err(Refusal::new(403, why).into());
        }
        let answer = Response::line(401, &format!("{why}: send \"Authorization: Bearer TOKEN\""));
        Err(answer.with("WWW-Authenticate", "Bearer realm=\"tunnel\""))
    }

    /// The token in `Authorization`, the one that gives most; nothing, if it is none of ours. Every token is compared, in
    /// constant time.
    fn token(&self, authorization: &str) -> Option<&Token> {
        let (scheme, secret) = authorization.split_once(' ')?;
        let secret = secret.trim_start_matches(' ');
        let mut found: Option<&Token> = None;
        for token in &self.settings.tokens {
            let is = bool::from(token.secret.as_bytes().ct_eq(secret.as_bytes()));
            if is && !token.secret.is_empty() && found.is_none_or(|found| found.level < token.level) {
                found = Some(token);
            }
        }
        found.filter(|_| scheme.eq_ignore_ascii_case("bearer"))
    }

    /// Whether that is one of our names; the port does not matter, since a forwarded one may be any.
    fn knows(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else { return false };
        let name = name.strip_suffix('.').unwrap_or(name);
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        name.parse::<IpAddr>().is_ok()
            || bracketed(name).is_some()
            || is("localhost")
            || self.settings.hosts.iter().any(|known| is(known))
            || match self.hosts {
                Hosts::Configured => false,
                Hosts::Also(known) => is(known),
                Hosts::Every => true,
            }
    }
}

/// The address inside of brackets.
fn bracketed(name: &str) -> Option<Ipv6Addr> {
    name.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// A host without its port; nothing, if what follows the colon is none.
fn without_port(host: &str) -> Option<&str> {
    let port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => port(&host[colon + 1..]).then(|| &host[..colon]),
        _ => Some(host),
    }
}

/// Whether a browser says that the request comes from a page of ours. Every browser says it of a POST.
fn from_our_page(head: &Head, tls: bool) -> Result<(), Response> {
    let refused = |why| Err(Response::from(Refusal::new(403, why)));
    match (head.origin.as_deref(), head.fetch_site.as_deref()) {
        (_, Some(site)) if site != "same-origin" => refused("a change must come from our own page"),
        (Some(origin), _) => {
            let named = origin
                .split_once("://")
                .filter(|(scheme, _)| *scheme == "https" || *scheme == "http" && !tls);
            let same = named.zip(head.host.as_deref());
            match same {
                Some(((_, origin), host)) if origin.eq_ignore_ascii_case(host) => Ok(()),
                _ => refused("a change must come from our own page: Origin and Host differ"),
            }
        }
        (None, Some(_)) => Ok(()),
        (None, None) => refused("a change needs an Origin header, or a token"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::{Parsed, parse};
    use super::*;
    use crate::control::answer::Who;

    fn token(secret: &str, level: Level) -> Token {
        Token { name: "ops".into(), secret: secret.into(), level }
    }

    /// A gate of one host and two tokens.
    fn gate(hosts: Hosts) -> Gate<'static> {
        let settings = ControlSettings {
            hosts: vec!["tunnel.example".into()],
            tokens: vec![token("secret", Level::Operate), token("secret-admin", Level::Admin)],
            ..ControlSettings::default()
        };
        Gate { settings: Box::leak(Box::new(settings)), hosts: Box::leak(Box::new(hosts)), tls: false }
    }

    fn head(lines: &str) -> Head {
        match parse(format!("POST /x HTTP/1.1\r\n{lines}\r\n\r\n").as_bytes()) {
            Parsed::Done(head, _) => *head,
            other => panic!("{other:?}"),
        }
    }

    fn reader() -> Visitor {
        Visitor { who: Who::Anybody, level: Level::Read, name: "127.0.0.1:1".to_owned() }
    }

    #[test]
    fn only_names_of_ours_get_in() {
        for (host, known) in [
            ("127.0.0.1", true),
            ("127.0.0.1:9180", true),
            ("[::1]:9180", true),
            ("[::1]", true),
            ("::1", false),
            ("localhost:80", true),
            ("LOCALHOST", true),
            ("localhost.", true),
            ("tunnel.example", true),
            ("Tunnel.Example.:9180", true),
            ("tunnel.example:80x", false),
            ("evil.tunnel.example", false),
            ("tunnel.example.evil", false),
            ("evil", false),
            ("", false),
            (":80", false),
            ("127.0.0.1.evil", false),
            ("[evil]", false),
            ("[::1]evil", false),
            ("localhost@evil", false),
        ] {
            assert_eq!(gate(Hosts::Configured).knows(host), known, "{host:?}");
        }
        assert!(gate(Hosts::Also("a.example".into())).knows("A.example:8443"));
        assert!(!gate(Hosts::Also("a.example".into())).knows("b.example"));
        assert!(gate(Hosts::Every).knows("anything"));
        let refused = gate(Hosts::Configured).enter(&head("Host: evil"), &reader()).unwrap_err();
        assert_eq!(refused.status, 421);
    }

    #[test]
    fn a_token_raises_the_level_and_a_wrong_one_is_refused() {
        let enter = |authorization: &str, level| {
            let visitor = Visitor { level, ..reader() };
            let head = head(&format!("Host: localhost\r\nAuthorization: {authorization}"));
            gate(Hosts::Configured).enter(&head, &visitor).map(|visitor| visitor.level)
        };
        assert_eq!(enter("Bearer secret", Level::Read), Ok(Level::Operate));
        assert_eq!(enter("bearer  secret-admin", Level::Read), Ok(Level::Admin));
        assert_eq!(enter("Bearer secret", Level::Admin), Ok(Level::Admin));
        for wrong in
            ["Bearer secre", "Bearer secret ", "Bearer secret!", "Bearer", "Basic secret", "secret", ""]
        {
            let answer = enter(wrong, Level::Admin);
            // Blanks around a header's value are not part of it.
            let expected = if wrong == "Bearer secret " { Ok(Level::Admin) } else { Err(401) };
            assert_eq!(answer.map_err(|answer| answer.status), expected, "{wrong:?}");
        }
        let nothing = ControlSettings { tokens: vec![token("", Level::Admin)], ..ControlSettings::default() };
        let open = Gate { settings: &nothing, hosts: &Hosts::Every, tls: false };
        assert_eq!(open.token("Bearer "), None, "an empty token is none");
        let named = head("Host: localhost\r\nAuthorization: Bearer secret");
        let visitor = gate(Hosts::Configured).enter(&named, &reader()).unwrap();
        assert_eq!(visitor.name, "token ops at 127.0.0.1:1", "what the log says of a change");
    }

    #[test]
    fn a_page_without_tls_is_not_ours_where_tls_was_agreed_on() {
        let change = |origin: &str| {
            let head = head(&format!("Host: localhost\r\nOrigin: {origin}"));
            let admin = Visitor { level: Level::Admin, ..reader() };
            Gate { tls: true, ..gate(Hosts::Configured) }
                .change(&head, &admin, Level::Admin)
                .map_err(|no| no.status)
        };
        assert_eq!(change("https://localhost"), Ok(()));
        assert_eq!(change("http://localhost"), Err(403), "who answers for port 80 need not be us");
    }

    #[test]
    fn changes_come_from_our_own_page_or_with_a_token() {
        let change = |lines: &str, level, needed| {
            let head = head(&format!("Host: localhost:9180\r\n{lines}"));
            let gate = gate(Hosts::Configured);
            let visitor = gate.enter(&head, &Visitor { level, ..reader() }).unwrap();
            gate.change(&head, &visitor, needed).map_err(|answer| answer.status)
        };
        use Level::{Admin, Operate, Read};
        for (lines, level, needed, expected) in [
            ("Origin: http://localhost:9180", Admin, Admin, Ok(())),
            ("Origin: https://LOCALHOST:9180", Operate, Operate, Ok(())),
            ("Sec-Fetch-Site: same-origin", Admin, Operate, Ok(())),
            ("Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost:9180", Admin, Operate, Ok(())),
            ("Accept: x", Admin, Operate, Err(403)),
            ("Sec-Fetch-Site: cross-site", Admin, Operate, Err(403)),
            ("Sec-Fetch-Site: same-site", Admin, Operate, Err(403)),
            ("Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost:9180", Admin, Operate, Err(403)),
            ("Sec-Fetch-Site: same-origin\r\nOrigin: http://evil", Admin, Operate, Err(403)),
            ("Origin: null", Admin, Operate, Err(403)),
            ("Origin: http://localhost", Admin, Operate, Err(403)),
            ("Origin: http://localhost:9181", Admin, Operate, Err(403)),
            ("Origin: http://evil", Admin, Operate, Err(403)),
            ("Origin: http://localhost:9180", Read, Operate, Err(401)),
            ("Origin: http://localhost:9180", Operate, Admin, Err(401)),
            ("Authorization: Bearer secret", Read, Operate, Ok(())),
            ("Authorization: Bearer secret", Read, Admin, Err(403)),
            ("Authorization: Bearer secret-admin", Read, Admin, Ok(())),
        ] {
            assert_eq!(change(lines, level, needed), expected, "{lines} {level:?} {needed:?}");
        }
    }
}
