//! auto-ext-policies(5): the shipped policy as a manual page. The text of the page is that of the comments in the file.

use clap_mangen::roff::{Roff, bold, roman};

/// The policy as it is installed.
const POLICY: &str = include_str!("../../../policies.yaml");

/// The page in roff.
pub(crate) fn page() -> String {
    let mut page = Roff::new();
    let version = concat!("auto-ext ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["auto-ext-policies", "5", "\"\"", version]);
    page.control("SH", ["NAME"]);
    page.text([roman(
        "auto-ext-policies - which CPU scheduler runs under which load",
    )]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold(auto_ext_dispatcher::cli::POLICY)]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "This is the policy as it is shipped, section by section: what it says about each, and how \
         it is written.",
    )]);
    page.control("PP", []);
    for part in parts(POLICY) {
        part.render(&mut page);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("auto-ext"), roman("(1)")]);
    page.render()
}

/// Comments, and the YAML that they are about.
#[derive(Debug, Default, PartialEq, Eq)]
struct Part<'t> {
    /// The lines of the comment, without `# `.
    comment: Vec<&'t str>,
    /// The lines up to the next comment. One that is indented belongs to them.
    yaml: Vec<&'t str>,
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = vec![Part::default()];
    for line in text.lines() {
        let comment = line.strip_prefix('#');
        let begins = comment.is_some() && parts.last().is_some_and(|part| !part.yaml.is_empty());
        if begins {
            parts.push(Part::default());
        }
        if let Some(part) = parts.last_mut() {
            match comment {
                Some(comment) => part
                    .comment
                    .push(comment.strip_prefix(' ').unwrap_or(comment)),
                None => part.yaml.push(line),
            }
        }
    }
    parts
}

impl Part<'_> {
    fn render(&self, page: &mut Roff) {
        if let Some(key) = self.key() {
            page.control("SH", [key.to_uppercase().as_str()]);
        }
        let mut literal = false;
        for line in &self.comment {
            // What a comment indents is laid out by hand: examples, keys and their meaning.
            let is_literal = line.starts_with(' ');
            if is_literal != literal {
                page.control(if is_literal { "EX" } else { "EE" }, []);
                literal = is_literal;
            }
            if line.is_empty() {
                page.control("PP", []);
            } else {
                page.text([roman(*line)]);
            }
        }
        if literal {
            page.control("EE", []);
        }
        let end = self.yaml.iter().rposition(|line| !line.is_empty());
        let yaml = &self.yaml[..end.map_or(0, |end| end + 1)];
        if yaml.is_empty() {
            return;
        }
        page.control("PP", []);
        page.control("EX", []);
        for line in yaml {
            page.text([roman(*line)]);
        }
        page.control("EE", []);
    }

    /// The key that the part is about, if it is about one.
    fn key(&self) -> Option<&str> {
        let line = self.yaml.iter().find(|line| !line.is_empty())?;
        let (key, _) = line.split_once(':')?;
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auto_ext_policy::Policy;

    #[test]
    fn a_part_is_a_comment_and_the_yaml_after_it() {
        let parts = parts("# About a.\n#\n#   b  c\na: 1\n  # inside\n\n# About d.\nd: 2\n");
        let expected = [
            Part {
                comment: vec!["About a.", "", "  b  c"],
                yaml: vec!["a: 1", "  # inside", ""],
            },
            Part {
                comment: vec!["About d."],
                yaml: vec!["d: 2"],
            },
        ];
        assert_eq!(parts, expected);
        assert_eq!(parts[1].key(), Some("d"));
    }

    /// The keys are those that the parser itself names when it meets one that it does not know.
    #[test]
    fn the_page_names_every_key_that_the_parser_knows() {
        let unknown = "a-key-that-nobody-knows: 1";
        let policy = format!(
            "version: 1\n{unknown}\nsignals: {{cpu: {{{unknown}}}, {unknown}}}\n\
             schedulers: {{fast: {{{unknown}}}}}\n\
             rules: [{{when: {{{unknown}}}, {unknown}}}]\nstability: {{{unknown}}}\n\
             metrics: {{{unknown}}}\ntrials: {{{unknown}}}\n"
        );
        let error = Policy::parse("policies.yaml", &policy).unwrap_err();
        let mappings = error.problems();
        let mappings = mappings.filter_map(|problem| problem.message.split_once("; valid here: "));
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words: Vec<&str> = POLICY.split(|c| !is_word(c)).collect();
        let mut known = 0;
        for (_, keys) in mappings {
            for key in keys.split('`').skip(1).step_by(2) {
                assert!(
                    words.contains(&key),
                    "policies.yaml says nothing of `{key}`"
                );
                known += 1;
            }
        }
        assert!(known > 20, "the parser named only {known} keys: {error}");
    }
}
