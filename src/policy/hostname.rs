// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host names as people type them, and patterns for those that clients ask for: exact, `*.suffix`, regular expression.
//!
//! Invariants: a pattern holds what it compares in the form in which clients' names are kept (lower case, A-labels, no
//! trailing dot), so that comparing is comparing bytes; an expression matches a whole name or not at all, whatever its
//! text; matching takes linear time and allocates nothing.
//!
//! Not here: how clients' names are read (wire/client_hello.rs, wire/http_host.rs) and which pattern goes first
//! (route_table.rs).

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use regex::bytes::{Regex, RegexBuilder};
use std::fmt;
use std::net::IpAddr;

/// The most bytes a compiled expression may take; one for names takes a few thousand.
const MAX_PROGRAM: usize = 1 << 20;

/// RFC 1035 section 2.3.4, without the length byte of the root.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A pattern for normalised names (lower case, A-labels, no trailing dot).
#[derive(Clone, Debug)]
pub enum Pattern {
    Exact(Box<str>),
    /// What follows the `*.`; matches any number of labels in front of it, at least one.
    Suffix(Box<str>),
    /// Anchored at both ends.
    Regex(NameRegex),
}

/// A regular expression for whole names.
#[derive(Clone, Debug)]
pub struct NameRegex {
    written: Box<str>,
    compiled: Regex,
}

impl Pattern {
    /// Reads a name or `*.suffix` as the configuration has it; see [`normalise`]. An IP address is an exact name.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn name(text: &str) -> Result<Self, String> {
        let Some(suffix) = text.strip_prefix("*.") else {
            if text == "*" {
                let why =
                    "for every name that no route takes write fallback = [\"no-name\", \"unknown-name\"]";
                return Err(format!("{text:?} is no name: {why}"));
            }
            if text.contains('*') {
                return Err(format!(
                    "{text:?}: a \"*\" stands only in front of a whole name, as in \"*.example.org\""
                ));
            }
            return Ok(Self::Exact(normalise(text)?.into()));
        };
        let suffix = normalise(suffix).map_err(|why| format!("{text:?}, behind the \"*.\": {why}"))?;
        if suffix.parse::<IpAddr>().is_ok() {
            return Err(format!("{text:?}: an IP address has nothing in front"));
        }
        Ok(Self::Suffix(suffix.into()))
    }

    /// Reads a regular expression; it is anchored whether it says so or not, and letters match in either case.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn regex(text: &str) -> Result<Self, String> {
        // By itself first: "a)|(b" would be whole only inside of our parentheses, and get out of the anchors.
        compile(text)?;
        let compiled = compile(&format!("^(?:{text})$"))?;
        Ok(Self::Regex(NameRegex { written: text.into(), compiled }))
    }

    /// Whether `name`, normalised, matches.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *name,
            Self::Suffix(suffix) => {
                name.strip_suffix(&**suffix).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
            }
            Self::Regex(regex) => regex.compiled.is_match(name.as_bytes()),
        }
    }
}

impl fmt::Display for Pattern {
    /// As it may be written in the configuration; a name in its normalised form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
            Self::Regex(regex) => f.write_str(&regex.written),
        }
    }
}

/// What a `*.suffix` may have as its suffix to match `name`, from the longest to the shortest.
pub fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').filter(|(at, _)| *at > 0).filter_map(|(at, _)| name.get(at + 1..))
}

/// A name typed by a person, in the form in which clients' names are kept: lower case, other letters than ASCII as
/// A-labels (UTS 46, not transitional), without a trailing dot; an IP address in its canonical text. `_` is allowed.
///
/// # Errors
/// Why it is no name: control characters and NUL among others, and labels and names longer than the DNS has them.
pub fn normalise(text: &str) -> Result<String, String> {
    let refuse = |why: &str| Err(format!("{text:?} is not a host name: {why}"));
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        // Lengths and the characters of ASCII are judged below, with words for each.
        let labels =
            Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore);
        match labels {
            Ok(labels) => labels.into_owned(),
            Err(_) => return refuse("it has letters that no internationalised name has"),
        }
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    if name.is_empty() {
        return refuse("it is empty");
    }
    let belongs = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if let Some(c) = name.chars().find(|c| !belongs(*c)) {
        return refuse(&if c.is_control() {
            "it has a control character".to_owned()
        } else {
            format!("it has a {c:?}")
        });
    }
    if name.len() > MAX_NAME {
        return refuse("it is longer than 253 bytes");
    }
    for label in name.split('.') {
        match label.len() {
            0 => return refuse("a label is empty"),
            1..=MAX_LABEL => {}
            _ => return refuse("a label is longer than 63 bytes"),
        }
    }
    // Wide digits and dots have become plain ones.
    Ok(name.parse::<IpAddr>().map_or_else(|_| name.to_owned(), |address| address.to_string()))
}

/// Compiles `text` for names, which are ASCII.
fn compile(text: &str) -> Result<Regex, String> {
    let compiled =
        RegexBuilder::new(text).unicode(false).case_insensitive(true).size_limit(MAX_PROGRAM).build();
    compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
        // Drawn over several lines, with the reason in the last: "error: unclosed group".
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("not a regular expression: {}", last.strip_prefix("error: ").unwrap_or(last))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Pattern {
        Pattern::name(text).unwrap()
    }

    #[test]
    fn typed_names_are_normalised() {
        for (typed, kept) in [
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("localhost", "localhost"),
            ("_sip._tcp.example.org", "_sip._tcp.example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example.", "xn--bcher-kva.example"),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"),
            ("straße.example", "xn--strae-oqa.example"),
            ("例え。テスト。", "xn--r8jz45g.xn--zckzah"),
            ("XN--bcher-kva.example", "xn--bcher-kva.example"),
            ("192.0.2.7", "192.0.2.7"),
            ("１９２.０.２.７", "192.0.2.7"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("1.2.3", "1.2.3"),
        ] {
            assert_eq!(normalise(typed).as_deref(), Ok(kept), "{typed}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_in_one_line() {
        let label = "a".repeat(63);
        let longest = [&label, &label, &label, &label[..61]].map(|part| part as &str).join(".");
        assert_eq!(longest.len(), 253);
        normalise(&longest).unwrap();
        for typed in [
            "",
            ".",
            "..",
            ".a",
            "a..b",
            "a.b..",
            "a b",
            " a",
            "a\0b",
            "a\r\nb",
            "a\u{85}b",
            "a\u{7f}",
            "a/b",
            "a:443",
            "a@b",
            "a*b",
            "a\u{2028}b",
            "ａ＊.test",
            "[a]",
            &format!("{longest}a"),
            &format!("{label}a.test"),
            &format!("{}.test", "ü".repeat(60)),
        ] {
            let why = normalise(typed).unwrap_err();
            assert!(!why.is_empty() && !why.contains(['\n', '\r', '\0']), "{why}");
            Pattern::name(typed).unwrap_err();
        }
    }

    #[test]
    fn an_exact_name_matches_itself_alone() {
        let pattern = name("Mail.Example.org.");
        assert!(pattern.matches("mail.example.org"));
        for other in ["example.org", "a.mail.example.org", "mail.example.orga", "mail-example.org", ""] {
            assert!(!pattern.matches(other), "{other}");
        }
        assert!(name("192.0.2.7").matches("192.0.2.7"));
    }

    #[test]
    fn a_suffix_matches_any_number_of_labels_but_not_none() {
        let pattern = name("*.Bücher.example");
        for right in ["a.xn--bcher-kva.example", "a.b.c.xn--bcher-kva.example", "*.xn--bcher-kva.example"] {
            assert!(pattern.matches(right), "{right}");
        }
        for wrong in
            ["xn--bcher-kva.example", ".xn--bcher-kva.example", "axn--bcher-kva.example", "a.example", ""]
        {
            assert!(!pattern.matches(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_suffixes_of_a_name_are_those_that_match() {
        for name in ["a.b.c", "a", "", ".a.b", "a..b", "a.b.", "..", "a.bb.ccc.dddd"] {
            let found: Vec<&str> = suffixes(name).collect();
            for suffix in (0..=name.len()).map(|at| &name[at..]).filter(|suffix| !suffix.is_empty()) {
                let pattern = Pattern::Suffix(suffix.into());
                assert_eq!(pattern.matches(name), found.contains(&suffix), "{suffix:?} of {name:?}");
            }
            assert!(found.windows(2).all(|pair| pair[0].len() > pair[1].len()), "{name:?}");
        }
    }

    #[test]
    fn stars_elsewhere_and_addresses_behind_them_are_refused() {
        for text in ["*", "*.", "a.*.test", "a*.test", "**.test", "*.*.test", "*.192.0.2.7", "*.2001:db8::1"]
        {
            Pattern::name(text).unwrap_err();
        }
        name("*.test");
    }

    #[test]
    fn an_expression_matches_the_whole_name_or_not_at_all() {
        let matches = |text: &str, name: &str| Pattern::regex(text).unwrap().matches(name);
        for text in ["[a-z]+\\.apps\\.test", "^[a-z]+\\.apps\\.test$", "[A-Z]+\\.Apps\\.test"] {
            assert!(matches(text, "web.apps.test"), "{text}");
            assert!(!matches(text, "web.apps.test.evil"), "{text}");
            assert!(!matches(text, "1web.apps.test"), "{text}");
        }
        assert!(matches("a|b", "a") && !matches("a|b", "ab"));
        assert!(matches("\\w+\\d", "a1") && !matches("(?m)a", "b\na"));
        assert!(matches(".*", "a.test") && matches("", "") && !matches("", "a"));
    }

    #[test]
    fn a_bad_expression_is_told_in_one_line() {
        for text in ["(", "a)|(?:b", "a)(b", "[", "*", "a{9999}{9999}", "\\p{Greek}", "(?x)a # b"] {
            let why = Pattern::regex(text).unwrap_err();
            assert!(!why.is_empty() && !why.contains('\n'), "{text}: {why:?}");
        }
        assert_eq!(Pattern::regex("(").unwrap_err(), "not a regular expression: unclosed group");
        assert_eq!(
            Pattern::regex("(a{1000}){1000}").unwrap_err(),
            "the regular expression is too large",
            "bounded"
        );
    }

    #[test]
    fn patterns_are_shown_as_they_may_be_written() {
        for (pattern, shown) in [
            (name("Bücher.example."), "xn--bcher-kva.example"),
            (name("*.Example.ORG"), "*.example.org"),
            (Pattern::regex("^A+$").unwrap(), "^A+$"),
        ] {
            assert_eq!(pattern.to_string(), shown);
        }
    }
}
