//! As much of KDL as configurations of system76-scheduler are written in: nodes with properties and children. Values that are no
//! text are kept as they are written, arguments are read over.
//!
//! There is a crate, `kdl`, but it and what it needs are under Apache-2.0 alone, which cannot be combined with our licence.

/// Deeper nodes than a configuration has are refused.
const MAX_DEPTH: usize = 16;
/// So are more of them.
const MAX_NODES: usize = 100_000;

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) properties: Vec<(String, String)>,
    pub(super) children: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Equals,
    Open,
    Close,
    /// The end of a line, or `;`.
    End,
    /// `/-`: what follows is as if it were not there.
    Omit,
}

/// The nodes in `text`, or the line that cannot be read.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, usize> {
    let mut tokens = Tokens {
        text,
        rest: text,
        nodes: 0,
        next: None,
    };
    let nodes = tokens
        .nodes(0)
        .ok_or(0)
        .and_then(|nodes| match tokens.peek() {
            Some(None) => Ok(nodes),
            _ => Err(0),
        });
    nodes.map_err(|_: usize| tokens.line())
}

struct Tokens<'t> {
    text: &'t str,
    rest: &'t str,
    nodes: usize,
    /// The token that was looked at already; `Some(None)`: the end.
    next: Option<Option<Token>>,
}

impl Tokens<'_> {
    /// Up to where it has been read.
    fn line(&self) -> usize {
        let read = &self.text[..self.text.len() - self.rest.len()];
        read.trim_end().matches('\n').count() + 1
    }

    /// The nodes up to a `}` or the end. `None` for what cannot be read, here and below.
    fn nodes(&mut self, depth: usize) -> Option<Vec<Node>> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut nodes = Vec::new();
        loop {
            match self.peek()? {
                None | Some(Token::Close) => return Some(nodes),
                Some(Token::End) => drop(self.take()),
                Some(Token::Omit) => {
                    self.take()?;
                    self.node(depth)?;
                }
                Some(_) => nodes.push(self.node(depth)?),
            }
        }
    }

    fn node(&mut self, depth: usize) -> Option<Node> {
        self.nodes += 1;
        let Some(Token::Word(name)) = self.take()?.filter(|_| self.nodes <= MAX_NODES) else {
            return None;
        };
        let mut node = Node {
            name,
            ..Node::default()
        };
        let mut omit = false;
        loop {
            match self.peek()? {
                None | Some(Token::Close) => return Some(node),
                Some(Token::End) => {
                    self.take()?;
                    return Some(node);
                }
                Some(Token::Omit) => {
                    self.take()?;
                    omit = true;
                    continue;
                }
                Some(Token::Equals) => return None,
                Some(Token::Open) => {
                    self.take()?;
                    let children = self.nodes(depth + 1)?;
                    if self.take()? != Some(Token::Close) {
                        return None;
                    }
                    if !omit {
                        node.children = children;
                    }
                }
                Some(Token::Word(_)) => {
                    let Some(Token::Word(key)) = self.take()? else {
                        return None;
                    };
                    if self.peek()? == Some(Token::Equals) {
                        self.take()?;
                        let Some(Token::Word(value)) = self.take()? else {
                            return None;
                        };
                        if !omit {
                            node.properties.push((key, value));
                        }
                    }
                }
            }
            omit = false;
        }
    }

    fn peek(&mut self) -> Option<Option<Token>> {
        if self.next.is_none() {
            self.next = Some(self.read()?);
        }
        self.next.clone()
    }

    fn take(&mut self) -> Option<Option<Token>> {
        match self.next.take() {
            Some(token) => Some(token),
            None => self.read(),
        }
    }

    /// The next token; `Some(None)` at the end.
    fn read(&mut self) -> Option<Option<Token>> {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\u{feff}']);
            let Some(first) = self.rest.chars().next() else {
                return Some(None);
            };
            if let Some(rest) = self.rest.strip_prefix("//") {
                self.rest = rest.find('\n').map_or("", |end| &rest[end..]);
            } else if self.rest.starts_with("/*") {
                self.comment()?;
            } else if let Some(rest) = self.rest.strip_prefix("/-") {
                self.rest = rest;
                return Some(Some(Token::Omit));
            } else if first == '\\' {
                // The line goes on in the next one.
                let end = self.rest.find('\n')?;
                self.rest = &self.rest[end + 1..];
            } else if first == '(' {
                // The type of what follows.
                let end = self.rest.find([')', '\n'])?;
                self.rest = self.rest[end..].strip_prefix(')')?;
            } else {
                break;
            }
        }
        let (first, rest) = self.rest.split_at(self.rest.chars().next()?.len_utf8());
        let token = match first {
            "\n" | ";" => Token::End,
            "{" => Token::Open,
            "}" => Token::Close,
            "=" => Token::Equals,
            "\"" => {
                self.rest = rest;
                return Some(Some(Token::Word(self.quoted()?)));
            }
            _ => return Some(Some(Token::Word(self.bare()))),
        };
        self.rest = rest;
        Some(Some(token))
    }

    /// One that may have others in it.
    fn comment(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            let at = self
                .rest
                .find("/*")
                .into_iter()
                .chain(self.rest.find("*/"))
                .min()?;
            depth = if self.rest[at..].starts_with("/*") {
                depth + 1
            } else {
                depth - 1
            };
            self.rest = &self.rest[at + 2..];
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// The rest of a text between quotes, with those escapes that names may have.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut escaped = false;
        for (at, char) in self.rest.char_indices() {
            match (escaped, char) {
                (false, '"') => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                (false, '\\') => escaped = true,
                (true, '"' | '\\' | '/') | (false, _) => {
                    text.push(char);
                    escaped = false;
                }
                (true, _) => return None,
            }
        }
        None
    }

    /// A word without quotes, or a raw text, `r"…"` or `r#"…"#`.
    fn bare(&mut self) -> String {
        let marks = self
            .rest
            .strip_prefix('r')
            .map(|rest| rest.len() - rest.trim_start_matches('#').len());
        if let Some(marks) = marks
            && let Some(raw) = self.rest[1 + marks..].strip_prefix('"')
            && let Some(end) = raw.find(&format!("\"{}", "#".repeat(marks)))
        {
            self.rest = &raw[end + 1 + marks..];
            return raw[..end].to_owned();
        }
        let is_end = |char: char| char.is_whitespace() || "{}=;\"()".contains(char);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        // A parenthesis that nothing opens is a word, so that reading comes to an end.
        let end = end.max(self.rest.chars().next().map_or(0, char::len_utf8));
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(name: &str, properties: &[(&str, &str)], children: Vec<Node>) -> Node {
        let properties = properties
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Node {
            name: name.to_owned(),
            properties: properties.collect(),
            children,
        }
    }

    #[test]
    fn nodes_have_properties_and_children() {
        let text = "// about\nversion \"2.0\"; on true\na nice=-5 io=(best-effort)0 {\n\tc++\n  \"b \\\"c\\\"\" x=\"1\" // more\n \
                    /* a /* b */ c */ d; /-e { f }\n  * \\\n y=r#\"\"z\"\"#\n}\n/- g 1 { h }\ni /-j=1 /-{ k } { l }";
        let expected = [
            node("version", &[], vec![]),
            node("on", &[], vec![]),
            node(
                "a",
                &[("nice", "-5"), ("io", "0")],
                vec![
                    node("c++", &[], vec![]),
                    node("b \"c\"", &[("x", "1")], vec![]),
                    node("d", &[], vec![]),
                    node("*", &[("y", "\"z\"")], vec![]),
                ],
            ),
            node("i", &[], vec![node("l", &[], vec![])]),
        ];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn what_is_no_kdl_is_refused_with_its_line() {
        for (text, line) in [
            ("a {\n b\n", 3),
            ("a\n}", 2),
            ("a =1", 1),
            ("\n\"a", 2),
            ("a x=", 1),
        ] {
            assert!(
                parse(text).is_err_and(|at| at <= line),
                "{text}: {:?}",
                parse(text)
            );
        }
        assert!(parse(&"a {\n".repeat(100)).is_err());
        assert!(parse(&"a\n".repeat(MAX_NODES + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_hang(text in "[a\"{}=;()/*\\\\\n#r -]{0,40}|\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
