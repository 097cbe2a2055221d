// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two files of the system: resolv.conf(5) and hosts(5).
//!
//! They are read at every question, which follows a wait for the network in all that matters: so changes apply at once,
//! and there is nothing to forget. What cannot be understood is passed over, as the system's own resolver does.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Bytes of a file that are read: a hosts file of 100,000 names fits.
const FILE_MOST: u64 = 8 << 20;

/// Servers that are asked (resolv.conf(5) has three).
const SERVERS: usize = 3;

/// Endings that are tried (resolv.conf(5)).
const SEARCH: usize = 6;

/// What `ndots`, `timeout` and `attempts` may be (resolv.conf(5)).
const NDOTS_MOST: usize = 15;
const TIMEOUT_MOST: u64 = 30;
const ATTEMPTS_MOST: usize = 5;

/// Where servers listen.
pub(super) const PORT: u16 = 53;

/// resolv.conf(5).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    /// From so many dots on, a name is first tried as it is.
    pub(super) ndots: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) attempts: Option<usize>,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self { servers: Vec::new(), search: Vec::new(), ndots: 1, timeout: None, attempts: None }
    }
}

impl ResolvConf {
    /// What the file says; a file that cannot be read says nothing.
    pub(super) fn read(path: &Path) -> Self {
        read_text(path).map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        // A comment is a whole line only.
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if conf.servers.len() < SERVERS => {
                    conf.servers.extend(words.next().and_then(server));
                }
                // The last of the two counts.
                Some("search" | "domain") => {
                    conf.search = words.map(|word| word.trim_matches('.').to_owned()).collect();
                    conf.search.retain(|ending| !ending.is_empty());
                    conf.search.truncate(SEARCH);
                }
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let Some((name, value)) = word.split_once(':') else { return };
        let Ok(number) = value.parse::<u64>() else { return };
        let small = usize::try_from(number).unwrap_or(usize::MAX);
        match name {
            "ndots" => self.ndots = small.min(NDOTS_MOST),
            "timeout" => self.timeout = Some(Duration::from_secs(number.clamp(1, TIMEOUT_MOST))),
            "attempts" => self.attempts = Some(small.clamp(1, ATTEMPTS_MOST)),
            _ => {}
        }
    }
}

/// A server's address; a link-local one may name its interface by number.
fn server(word: &str) -> Option<SocketAddr> {
    let ip = word.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
    ip.or_else(|_| format!("[{word}]:{PORT}").parse()).ok()
}

/// The addresses of `name` in hosts(5), in the order of the lines.
pub(super) fn hosts(path: &Path, name: &str) -> Vec<IpAddr> {
    read_text(path).map_or_else(|_| Vec::new(), |text| find_host(&text, name))
}

fn find_host(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(address) = words.next() else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) {
            found.extend(address.parse::<IpAddr>().ok());
        }
    }
    found
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_its_manual_says() {
        let conf = ResolvConf::parse(
            "# nameserver 192.0.2.9\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # more\nnameserver bad\n\
             nameserver fe80::1%3\nnameserver 192.0.2.4\ndomain old.example\nsearch a.example. . b.example\n\
             options ndots:2 timeout:99 rotate attempts:0\noptions ndots:x\nsortlist 1\n",
        );
        let servers: Vec<_> = conf.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%3]:53"]);
        assert_eq!(conf.search, ["a.example", "b.example"]);
        assert_eq!((conf.ndots, conf.timeout, conf.attempts), (2, Some(Duration::from_secs(30)), Some(1)));
        assert_eq!(ResolvConf::parse(""), ResolvConf::default());
        assert_eq!(ResolvConf::read(Path::new("/nonexistent/file")), ResolvConf::default());
        let many = ResolvConf::parse(&format!("search {}", "x.example ".repeat(20)));
        assert_eq!(many.search.len(), SEARCH);
    }

    #[test]
    fn hosts_are_found_by_every_name_of_their_line() {
        let text = "127.0.0.1 localhost\n::1\tLocalhost ip6\n# 192.0.2.9 db\n192.0.2.1 db.example db # old\n\
                    192.0.2.2 DB\nbad db\n192.0.2.3\n";
        let find =
            |name: &str| -> Vec<String> { find_host(text, name).iter().map(IpAddr::to_string).collect() };
        assert_eq!(find("localhost."), ["127.0.0.1", "::1"]);
        assert_eq!(find("db"), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(find("old"), [""; 0]);
        assert!(hosts(Path::new("/nonexistent/file"), "db").is_empty());
    }
}
