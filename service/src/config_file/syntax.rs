//! The YAML parser's errors, put so that somebody who edits a configuration understands them.

use serde_saphyr::granit_parser::ErrorKind;

use super::error::quote;
use super::format::Format;

/// What is wrong with the YAML and how to correct it.
pub(super) fn explain(kind: &ErrorKind, format: Format) -> String {
    use ErrorKind as E;
    let text = match kind {
        E::RecursionLimitExceeded => {
            let name = format.name;
            return format!("lists and mappings nest too deep here; {name} needs six levels");
        }
        E::UnclosedFlowCollection { open } => {
            let close = if *open == '[' { ']' } else { '}' };
            return format!("this `{open}` is never closed; add the missing `{close}`");
        }
        E::MismatchedFlowCollectionEnd { open, close } => {
            return format!("a `{open}` is closed by a `{close}`");
        }
        E::MisplacedFlowCollectionEnd => "this bracket closes nothing; remove it",
        E::UnexpectedCharacter { character } if character.is_control() => {
            "a control character stands here; remove it"
        }
        E::UnexpectedCharacter { character } => {
            let character = quote(&character.to_string());
            return format!(
                "a value cannot begin with or contain {character} here; put it between quotes"
            );
        }
        E::UnclosedQuotedScalar => "a quote is never closed; add the missing quote",
        E::InvalidQuotedScalarIndent | E::DocumentIndicatorInQuotedScalar => {
            "a quote that was opened above is not closed; add the missing quote"
        }
        E::InvalidTrailingSingleQuotedScalar | E::InvalidTrailingDoubleQuotedScalar => {
            "something follows the closing quote; put all of the value between the quotes"
        }
        E::UnknownQuotedScalarEscape
        | E::InvalidQuotedScalarHexEscape
        | E::InvalidLowSurrogateHexEscape
        | E::InvalidLowSurrogate
        | E::MissingLowSurrogate
        | E::UnpairedLowSurrogate
        | E::InvalidUnicodeEscape => {
            "a backslash between double quotes begins an escape, and this is none; use single \
             quotes"
        }
        E::MappingValueNotAllowed | E::InvalidColonPlacement => {
            "this `:` is not expected here; is a `:` or its space missing on the line above, is \
             the indentation off, or should the value be between quotes?"
        }
        E::SimpleKeyExpected | E::InvalidSimpleKey => "this line has no `:`; write `key: value`",
        E::ExpectedBlockMappingKey | E::ExpectedBlockSequenceEntry | E::InvalidIndentation => {
            "the indentation does not match the lines above"
        }
        E::ExpectedDocumentStart => {
            "this does not belong to what stands above; is the indentation off, or a bracket \
             closed too early?"
        }
        E::BlockSequenceEntryNotAllowed | E::BlockEntryInFlowCollection => {
            "this `-` is not expected here; begin the list on a line of its own"
        }
        E::ExpectedFlowSequenceSeparator
        | E::ExpectedFlowMappingSeparator
        | E::UnexpectedEofFlowSequence
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofImplicitFlowMapping => {
            "this is not expected between brackets; is a `,` missing, doubled or misplaced?"
        }
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabInIndentation
        | E::TabInPlainScalar
        | E::TabAtBlockScalarStart => "a tab stands where YAML wants spaces",
        E::CommentNotSeparated => "a comment needs a space before its `#`",
        E::CommentInterceptedScalar => "a comment interrupts a value of several lines",
        E::MissingAnchorOrAliasName => "a value that begins with `*` or `&` must be between quotes",
        E::PlainScalarStartsWithDashFlowIndicator => "a `-` that is a value must be between quotes",
        // What is left is rare and needs knowledge of YAML anyway.
        _ => return format!("this is not valid YAML: {kind}"),
    };
    text.to_owned()
}
