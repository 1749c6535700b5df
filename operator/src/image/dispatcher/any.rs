//! The syntax of dispatcher farms: `/name "value"`, `/name { … }`, bare values, `$include "file"`, comments with `#`.

/// Deepest nesting of sections.
const DEPTH: usize = 64;

/// One item of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// `/name { … }`.
    Section(String, Vec<Item>, usize),
    /// `/name value`.
    Value(String, Text, usize),
    /// A value without a name, as in lists.
    Bare(Text, usize),
    /// `$include "file"`.
    Include(String, usize),
}

/// A value. How it is quoted decides what it means in filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// `"…"` or without quotes: a pattern with `*`, `?` and `[…]`.
    Glob(String),
    /// `'…'`: a regular expression.
    Regex(String),
}

impl Text {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Glob(text) | Self::Regex(text) => text,
        }
    }
}

enum Token {
    Open,
    Close,
    Word(String),
    Quoted(Text),
}

struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl Tokens<'_> {
    fn skip(&mut self, length: usize) {
        self.line += self.rest[..length].bytes().filter(|byte| *byte == b'\n').count();
        self.rest = &self.rest[length..];
    }

    fn next(&mut self) -> Result<Option<(Token, usize)>, (usize, String)> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.skip(blank);
            if !self.rest.starts_with('#') {
                break;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.skip(end);
        }
        let line = self.line;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let token = match first {
            '{' | '}' => {
                self.skip(1);
                if first == '{' { Token::Open } else { Token::Close }
            }
            '"' | '\'' => {
                let Some(end) = self.rest[1..].find(first) else {
                    return Err((line, format!("the {first} is not closed")));
                };
                let text = self.rest[1..=end].to_owned();
                self.skip(end + 2);
                Token::Quoted(if first == '"' { Text::Glob(text) } else { Text::Regex(text) })
            }
            _ => {
                let end = self
                    .rest
                    .find(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | '"' | '\''))
                    .unwrap_or(self.rest.len());
                let text = self.rest[..end].to_owned();
                self.skip(end);
                Token::Word(text)
            }
        };
        Ok(Some((token, line)))
    }
}

/// Parses a file.
///
/// # Errors
/// The line and what is wrong there.
pub fn parse(text: &str) -> Result<Vec<Item>, (usize, String)> {
    let mut tokens = Tokens { rest: text.trim_start_matches('\u{feff}'), line: 1 };
    let mut open: Vec<(String, usize)> = Vec::new();
    let mut items: Vec<Vec<Item>> = vec![Vec::new()];
    let push = |items: &mut Vec<Vec<Item>>, item| {
        if let Some(last) = items.last_mut() {
            last.push(item);
        }
    };
    while let Some((token, line)) = tokens.next()? {
        match token {
            Token::Word(word) if word == "$include" => match tokens.next()? {
                Some((Token::Quoted(file), _)) => push(&mut items, Item::Include(file.as_str().to_owned(), line)),
                _ => return Err((line, "$include names no file".to_owned())),
            },
            Token::Word(word) if word.len() > 1 && word.starts_with('/') => match tokens.next()? {
                Some((Token::Open, _)) => {
                    if open.len() >= DEPTH {
                        return Err((line, format!("sections are nested more than {DEPTH} deep")));
                    }
                    open.push((word[1..].to_owned(), line));
                    items.push(Vec::new());
                }
                Some((Token::Word(value), _)) => {
                    push(&mut items, Item::Value(word[1..].to_owned(), Text::Glob(value), line));
                }
                Some((Token::Quoted(value), _)) => push(&mut items, Item::Value(word[1..].to_owned(), value, line)),
                _ => return Err((line, format!("{word} has no value"))),
            },
            Token::Word(word) => push(&mut items, Item::Bare(Text::Glob(word), line)),
            Token::Quoted(value) => push(&mut items, Item::Bare(value, line)),
            Token::Open => return Err((line, "a section has no name".to_owned())),
            Token::Close => {
                let (Some((name, start)), Some(inside)) = (open.pop(), items.pop()) else {
                    return Err((line, "a } closes nothing".to_owned()));
                };
                push(&mut items, Item::Section(name, inside, start));
            }
        }
    }
    match open.pop() {
        Some((name, line)) => Err((line, format!("the section /{name} is not closed"))),
        None => Ok(items.pop().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Text {
        Text::Glob(text.to_owned())
    }

    #[test]
    fn sections_values_lists_and_includes() {
        let parsed = parse("/farm { # c\n /docroot \"${DOCROOT}\"\n/delay 300 /x 'a|b'\n/headers { \"A\" \"B\" } $include \"../a.any\" } #").unwrap();
        assert_eq!(
            parsed,
            [Item::Section(
                "farm".into(),
                vec![
                    Item::Value("docroot".into(), glob("${DOCROOT}"), 2),
                    Item::Value("delay".into(), glob("300"), 3),
                    Item::Value("x".into(), Text::Regex("a|b".into()), 3),
                    Item::Section("headers".into(), vec![Item::Bare(glob("A"), 4), Item::Bare(glob("B"), 4)], 4),
                    Item::Include("../a.any".into(), 4),
                ],
                1
            )]
        );
        assert_eq!(parse("# nothing\n").unwrap(), []);
    }

    #[test]
    fn errors_name_the_line() {
        let deep = "/a {".repeat(65);
        for (text, line) in
            [("/a {\n", 1), ("\n}", 2), ("/a\n\"b", 2), ("{", 1), ("/a }", 1), ("$include {", 1), (deep.as_str(), 1)]
        {
            assert_eq!(parse(text).unwrap_err().0, line, "{text}");
        }
    }
}
