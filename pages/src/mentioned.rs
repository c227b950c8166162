//! Which subcommands a text writes about, so that each can be held to be there.

/// Those of `program` in a text in Markdown or YAML: between backquotes, or in a block, each line of which is indented. As far as a text can tell.
pub fn mentioned<'t>(text: &'t str, program: &str) -> impl Iterator<Item = &'t str> {
    let in_words = text.split('`').skip(1).step_by(2);
    let in_blocks = text.lines().filter_map(|line| line.strip_prefix("    "));
    in_words.chain(in_blocks).filter_map(move |line| {
        let words = line.strip_prefix(program)?.strip_prefix(' ')?;
        Some(words.split_whitespace().next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_mentions_subcommands_in_words_and_in_blocks() {
        let text = "`tool status` and `tool why VM`, not tool left nor `toolbox right`:\n\n    tool run 2\n  tool no\n";
        let found: Vec<&str> = mentioned(text, "tool").collect();
        assert_eq!(found, ["status", "why", "run"]);
    }
}
