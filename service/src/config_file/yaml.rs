//! YAML text to a tree in which every node knows its place and every value is still the text that
//! was written. Owns the limits on size and depth; what keys and values mean is left to `schema`.
//!
//! The parser under serde-saphyr is used directly. A `Deserialize` would stop at the first
//! problem, in the words of Rust types, and would have turned `1_000` or `0x10` into numbers
//! although they may be meant as text.
//!
//! Anchors, aliases and tags are refused: no configuration needs them, and without aliases a small file
//! cannot grow when it is read.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{self, Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::error::{Location, Problem, quote};
use super::format::Format;
use super::syntax;

/// How deep lists and mappings may nest, each kind of notation counted apart; policies.yaml needs six.
const MAX_DEPTH: usize = 16;

/// How many keys and values a file may hold; every limit of `schema` used up needs fewer.
const MAX_NODES: usize = 32_768;

/// A value and its place.
#[derive(Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Location,
    /// What it holds.
    pub value: Value,
}

/// What a node holds.
#[derive(Debug)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Empty,
    /// Text as it was written; `plain` if without quotes.
    Text {
        /// The text.
        text: String,
        /// Without quotes.
        plain: bool,
    },
    /// `[a, b]`, or lines that begin with `-`.
    List(Vec<Node>),
    /// `{key: value}`, or lines of `key: value`, in the order of the file.
    Mapping(Vec<(Node, Node)>),
}

impl Value {
    /// What this is, for a message that expected something else.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Empty => "empty".to_owned(),
            Self::Text { text, plain: true } => quote(text),
            Self::Text { text, plain: false } => quote(&format!("\"{text}\"")),
            Self::List(_) => "a list".to_owned(),
            Self::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

impl Node {
    /// Where the values below `section` stand, by their keys joined with dots. Depth is bounded where
    /// this was read.
    pub fn add_places(&self, section: &str, before: &str, places: &mut BTreeMap<String, Location>) {
        let Value::Mapping(entries) = &self.value else {
            return;
        };
        for (key, value) in entries {
            if let Value::Text { text, .. } = &key.value
                && (text == section || section.is_empty())
            {
                let path = format!("{before}{text}");
                places.insert(path.clone(), value.at);
                value.add_places("", &format!("{path}."), places);
            }
        }
    }
}

/// Reads the one document in `text`.
///
/// # Errors
/// When it is none.
pub fn parse(text: &str, format: Format) -> Result<Node, Problem> {
    let mut options = granit_parser::options! {
        emit_anchor_events: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder {
        parser,
        text,
        format,
        nodes: 0,
    };
    let node = builder.document()?;
    Ok(node)
}

/// Refuses tabs that indent something. YAML forbids them too, but the parser lets some of them
/// pass and describes others by what they break further down.
///
/// # Errors
/// When there is one.
pub fn refuse_tabs(text: &str) -> Result<(), Problem> {
    // As the parser counts lines: a carriage return alone ends one too.
    let text = text.replace("\r\n", "\n");
    for (index, line) in text.split(['\n', '\r']).enumerate() {
        let content = line.trim_start_matches([' ', '\t']);
        let indent = &line[..line.len() - content.len()];
        if let Some(tab) = indent.find('\t')
            && !content.is_empty()
            && !content.starts_with('#')
        {
            let at = Location {
                line: index + 1,
                column: tab + 1,
            };
            return Err(Problem::new(
                at,
                "a tab indents this line; YAML wants spaces",
            ));
        }
    }
    Ok(())
}

struct Builder<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    text: &'t str,
    format: Format,
    nodes: usize,
}

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(Problem::new(
                        location(span.start),
                        format!(
                            "a second document begins here; {} is one document, so remove \
                             this line and what follows, or put it in a file of its own",
                            self.format.name
                        ),
                    ));
                }
                Event::DocumentStart(..) => {}
                _ => root = Some(self.node(event, span)?),
            }
        }
        root.ok_or_else(|| {
            let Format { name, least } = self.format;
            Problem::with_file(if self.text.trim().is_empty() {
                format!("the file is empty; {name} needs at least {least}")
            } else {
                format!("the file holds only comments; {name} needs at least {least}")
            })
        })
    }

    /// The node that begins with `event`. Recursion ends at [`MAX_DEPTH`] of each notation.
    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Problem> {
        let at = location(span.start);
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("there are more than {MAX_NODES} keys and values up to here");
            return Err(Problem::new(at, message));
        }
        self.refuse_properties(&event, span)?;
        let value = match event {
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                // The parser reports a value that is not there as `~`.
                if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Value::Empty
                } else {
                    Value::Text {
                        text: text.into_owned(),
                        plain,
                    }
                }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Value::List(items),
                        (event, span) => items.push(self.node(event, span)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    let key = match self.next()? {
                        (Event::MappingEnd, _) => break Value::Mapping(entries),
                        (event, span) => self.node(event, span)?,
                    };
                    let (event, span) = self.next()?;
                    let mut value = self.node(event, span)?;
                    if matches!(value.value, Value::Empty) {
                        // What is missing has no place of its own.
                        value.at = key.at;
                    }
                    entries.push((key, value));
                }
            }
            _ => return Err(Problem::new(at, "this is not valid YAML")),
        };
        Ok(Node { at, value })
    }

    /// Refuses anchors, aliases and tags.
    fn refuse_properties(&mut self, event: &Event<'t>, span: Span) -> Result<(), Problem> {
        let name = self.format.name;
        let slice = |span: Span| quote(span.slice(self.text).unwrap_or_default());
        if event.is_alias() {
            let message = format!(
                "{} is a YAML alias, which {name} cannot use; write the value out, or put a \
                 pattern that begins with `*` between quotes",
                slice(span)
            );
            return Err(Problem::new(location(span.start), message));
        }
        if let Some(tag) = span.tag_span() {
            let message = format!(
                "{} is a YAML tag, which {name} cannot use; remove it, or put text that begins \
                 with `!` between quotes",
                slice(tag)
            );
            return Err(Problem::new(location(tag.start), message));
        }
        if event.anchor_id().is_some() {
            // `emit_anchor_events`: the next event tells where the anchor is.
            let (_, span) = self.next()?;
            let message = format!(
                "{} is a YAML anchor, which {name} cannot use; remove it, or put text that \
                 begins with `&` between quotes",
                quote(span.slice(self.text).unwrap_or_default())
            );
            return Err(Problem::new(location(span.start), message));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(invalid(&error, self.format)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }
}

fn invalid(error: &ScanError, format: Format) -> Problem {
    Problem::new(
        location(*error.marker()),
        syntax::explain(error.kind(), format),
    )
}

/// The parser counts columns from 0.
fn location(marker: Marker) -> Location {
    Location {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}
