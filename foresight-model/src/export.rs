//! A model's integers, as the kernel gets them, for who wants to look at them or build them in.

use std::fmt::Write as _;
use std::str::FromStr;

use serde_json::json;

use crate::file::Model;
use crate::line::quantised;
use crate::moves::NAMES;
use crate::quantise::{Quantised, TooLarge};

/// How they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Arrays in C.
    C,
    /// One object.
    Json,
    /// A number a row.
    Csv,
}

/// A format that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of c, json and csv")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "c" => Ok(Self::C),
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            _ => Err(UnknownFormat(text.to_owned())),
        }
    }
}

/// The integers of a model, in Q16.16.
///
/// # Errors
/// When a number is too large for the kernel.
pub fn export(model: &Model, format: Format) -> Result<String, TooLarge> {
    let moves = model.moves.as_ref();
    let network = moves.map(super::file::Moves::quantised).transpose()?;
    let agreement = moves.map(|moves| moves.holdout.agreement);
    let network = network.as_ref().zip(agreement);
    Ok(match format {
        Format::C => c(model, network),
        Format::Json => to_json(model, network),
        Format::Csv => csv(model, network),
    })
}

fn c(model: &Model, network: Option<(&Quantised, f64)>) -> String {
    let mut text = String::from("/* Q16.16, as scx_foresight gives it to the kernel. */\n");
    if let Some((network, agreement)) = network {
        let share = agreement * 100.0;
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "/* Integers agree with floating point in {share:.2} %. */"
        );
        let rows: Vec<String> = network.w1.iter().map(|row| braces(row)).collect();
        let _ = writeln!(
            text,
            "static const int w1[10][16] = {{\n\t{}\n}};",
            rows.join(",\n\t")
        );
        let _ = writeln!(text, "static const int b1[10] = {};", braces(&network.b1));
        let _ = writeln!(text, "static const int w2[10] = {};", braces(&network.w2));
        let _ = writeln!(text, "static const int b2 = {};", network.b2);
        let _ = writeln!(text, "static const int threshold = {};", network.threshold);
    }
    if !model.programs.is_empty() {
        text.push_str("static const struct {\n\tconst char *comm;\n\tint w[8];\n} lines[] = {\n");
        for (name, group) in &model.programs {
            let weights = braces(&quantised(&group.line));
            let _ = writeln!(text, "\t{{ \"{}\", {weights} }},", c_text(name));
        }
        text.push_str("};\n");
    }
    text
}

fn braces(numbers: &[i32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("{{ {} }}", numbers.join(", "))
}

/// A name between quotes: three octal digits for what is not plain, after which digits may stand.
fn c_text(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" _-.:/+".contains(&byte);
    let mut text = String::new();
    for byte in name.bytes() {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\{byte:03o}");
        }
    }
    text
}

fn to_json(model: &Model, network: Option<(&Quantised, f64)>) -> String {
    let lines = model.programs.iter();
    let lines: serde_json::Map<_, _> = lines
        .map(|(name, group)| (name.clone(), json!(quantised(&group.line))))
        .collect();
    let network = network.map(|(network, agreement)| {
        json!({
            "w1": network.w1, "b1": network.b1, "w2": network.w2, "b2": network.b2, "threshold": network.threshold,
            "features": NAMES, "agreement": agreement,
        })
    });
    format!("{}\n", json!({ "lines": lines, "network": network }))
}

fn csv(model: &Model, network: Option<(&Quantised, f64)>) -> String {
    let mut text = String::from("part,name,row,column,value\n");
    if let Some((network, agreement)) = network {
        for (row, weights) in network.w1.iter().enumerate() {
            for (column, (weight, name)) in weights.iter().zip(NAMES).enumerate() {
                let _ = writeln!(text, "w1,{name},{row},{column},{weight}");
            }
        }
        for (part, numbers) in [("b1", &network.b1), ("w2", &network.w2)] {
            for (row, number) in numbers.iter().enumerate() {
                let _ = writeln!(text, "{part},,{row},0,{number}");
            }
        }
        let _ = writeln!(text, "b2,,0,0,{}", network.b2);
        let _ = writeln!(text, "threshold,,0,0,{}", network.threshold);
        let _ = writeln!(text, "agreement,,0,0,{agreement}");
    }
    for (name, group) in &model.programs {
        // As RFC 4180 has it.
        let name = name.replace('"', "\"\"");
        for (column, weight) in quantised(&group.line).iter().enumerate() {
            let _ = writeln!(text, "line,\"{name}\",0,{column},{weight}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Holdout, Moves};
    use crate::line::Group;
    use crate::mlp::{Network, Standard};

    fn model() -> Model {
        let group = Group {
            line: [0.5; 8],
            ..Group::default()
        };
        Model {
            programs: [("a\"b\\1".to_owned(), group)].into(),
            moves: Some(Moves {
                network: Network {
                    b2: -1.0,
                    ..Network::default()
                },
                standard: Standard::of(&[]),
                threshold: 0.0,
                holdout: Holdout {
                    agreement: 0.999,
                    ..Holdout::default()
                },
            }),
            ..Model::default()
        }
    }

    #[test]
    fn each_format_has_all_numbers() {
        let text = export(&model(), Format::Json).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["network"]["b2"], -65536);
        assert_eq!(value["lines"]["a\"b\\1"][7], 32768);
        let text = export(&model(), Format::Csv).unwrap();
        assert_eq!(text.lines().count(), 1 + 160 + 20 + 3 + 8);
        assert!(text.contains("\nline,\"a\"\"b\\1\",0,7,32768\n"));
        let text = export(&model(), Format::C).unwrap();
        assert!(text.contains("b2 = -65536;") && text.contains("99.90 %"));
        assert!(text.contains("{ \"a\\042b\\1341\", { 32768,"), "{text}");
    }

    #[test]
    fn a_model_without_a_network_has_none() {
        let text = export(&Model::default(), Format::Json).unwrap();
        assert_eq!(text, "{\"lines\":{},\"network\":null}\n");
        assert!(!export(&Model::default(), Format::C).unwrap().contains("w1"));
        assert_eq!("c".parse(), Ok(Format::C));
        assert!("xml".parse::<Format>().is_err());
    }
}
