// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines of commands, as HAProxy's socket takes them: commands apart by `;`, words apart by blanks, and a backslash before
//! what shall lose its meaning (management.txt, section 9.3). Quotes mean nothing there, and nothing here.
//!
//! Bytes in, words out; whatever comes in, what comes out is bounded by the length of a line. Not here: what words mean.

/// Bytes of a line, at most: what HAProxy takes.
pub(super) const LINE: usize = 16 << 10;

/// Words of a command, at most.
const WORDS: usize = 64;

/// What stands at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// No whole line yet.
    More,
    /// Longer than any line may be.
    TooLong,
    /// A line, without its end; it is off the input.
    Line(Vec<u8>),
}

/// Takes a line off the front of `input`.
pub(super) fn take(input: &mut Vec<u8>) -> Front {
    let end = input.iter().take(LINE + 1).position(|byte| *byte == b'\n');
    match end {
        None if input.len() > LINE => Front::TooLong,
        None => Front::More,
        Some(end) => {
            let rest = input.split_off(end + 1);
            let mut line = std::mem::replace(input, rest);
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            Front::Line(line)
        }
    }
}

/// The commands of a line, each a list of at least one word.
///
/// # Errors
/// Why the line is none, as a sentence.
pub(super) fn commands(line: &[u8]) -> Result<Vec<Vec<String>>, String> {
    let Ok(line) = std::str::from_utf8(line) else {
        return Err("The line is not UTF-8.".to_owned());
    };
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err("The line has control characters.".to_owned());
    }
    let mut commands = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            ' ' | '\t' => words.extend(word.take()),
            ';' => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    commands.push(words);
    commands.retain(|words| !words.is_empty());
    if commands.iter().any(|words| words.len() > WORDS) {
        return Err(format!("A command has more than {WORDS} words."));
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<String>> {
        commands(line.as_bytes()).unwrap()
    }

    #[test]
    fn words_and_commands_come_apart_where_nothing_is_escaped() {
        for (line, expected) in [
            ("show info", &[&["show", "info"][..]][..]),
            ("  show\t info  ", &[&["show", "info"]]),
            ("show info;show stat", &[&["show", "info"], &["show", "stat"]]),
            (" ; ;; help ;", &[&["help"]]),
            ("", &[]),
            (r"a\ b c\;d \\ e\", &[&["a b", "c;d", r"\", "e"]]),
            (r#"show "info ' x"#, &[&["show", "\"info", "'", "x"]]),
            (r"\", &[&[""]]),
            ("set server web/bücher state ready", &[&["set", "server", "web/bücher", "state", "ready"]]),
        ] {
            let expected: Vec<Vec<String>> =
                expected.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect();
            assert_eq!(words(line), expected, "{line:?}");
        }
    }

    #[test]
    fn lines_come_off_one_by_one_and_only_when_they_are_whole() {
        let mut input = b"show info\r\nquit\nhe".to_vec();
        assert_eq!(take(&mut input), Front::Line(b"show info".to_vec()));
        assert_eq!(take(&mut input), Front::Line(b"quit".to_vec()));
        assert_eq!(take(&mut input), Front::More);
        assert_eq!(input, b"he");
        let mut longest = [vec![b'x'; LINE], b"\n".to_vec()].concat();
        assert_eq!(take(&mut longest), Front::Line(vec![b'x'; LINE]));
        assert_eq!(take(&mut [vec![b'x'; LINE + 1], b"\n".to_vec()].concat()), Front::TooLong);
        assert_eq!(take(&mut vec![b'x'; LINE + 1]), Front::TooLong);
        assert_eq!(take(&mut vec![b'x'; LINE]), Front::More);
    }

    #[test]
    fn what_is_no_line_is_told_as_such() {
        assert_eq!(commands(b"show\0info").unwrap_err(), "The line has control characters.");
        assert_eq!(commands("show \u{85}".as_bytes()).unwrap_err(), "The line has control characters.");
        assert_eq!(commands(b"show \xff").unwrap_err(), "The line is not UTF-8.");
        assert_eq!(commands(&b"x ".repeat(WORDS + 1)).unwrap_err(), "A command has more than 64 words.");
        assert_eq!(commands(&b"x;".repeat(8000)).unwrap().len(), 8000);
    }

    /// A generator of the classic kind (Numerical Recipes): tests need no better one.
    fn next(seed: &mut u32) -> u8 {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()[0]
    }

    #[test]
    fn whatever_bytes_come_none_is_made_up_and_what_was_escaped_comes_back() {
        const LETTERS: &[u8] = b"ab \t;\\\"'\xc3\xbc\0\r-";
        let mut seed = 7;
        for _ in 0..20_000 {
            let length = usize::from(next(&mut seed)) % 40;
            let line: Vec<u8> =
                (0..length).map(|_| LETTERS[usize::from(next(&mut seed)) % LETTERS.len()]).collect();
            let Ok(parsed) = commands(&line) else { continue };
            let told: usize = parsed.iter().flatten().map(String::len).sum();
            assert!(told <= line.len(), "{line:?}");
            // Written down with everything escaped, it reads back as itself.
            let escape = |word: &String| word.chars().flat_map(|c| ['\\', c]).collect::<String>();
            let written: Vec<String> =
                parsed.iter().map(|words| words.iter().map(escape).collect::<Vec<_>>().join(" ")).collect();
            let nothing_empty = parsed.iter().flatten().all(|word| !word.is_empty());
            if nothing_empty {
                assert_eq!(commands(written.join(";").as_bytes()).unwrap(), parsed, "{line:?}");
            }
        }
    }
}
