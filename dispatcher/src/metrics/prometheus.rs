//! The older text format of Prometheus, made from OpenMetrics text.

/// OpenMetrics text in the older format, which all of Prometheus reads, and the only one that node_exporter and promtool
/// do. In it the name of a counter ends in `_total` in its description too, units are not described, and information is a
/// gauge.
pub(crate) fn prometheus(open_metrics: &str) -> String {
    let lines: Vec<&str> = open_metrics.lines().collect();
    let type_of = |name: &str| {
        lines.iter().find_map(|line| {
            let (of, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            (of == name).then_some(kind)
        })
    };
    let mut text = String::with_capacity(open_metrics.len());
    for line in &lines {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", what @ ("HELP" | "TYPE"), name, rest] => {
                let (suffix, kind) = match type_of(name) {
                    Some("counter") => ("_total", "counter"),
                    Some("info") => ("_info", "gauge"),
                    Some(kind) => ("", kind),
                    None => ("", "untyped"),
                };
                let rest = if what == "TYPE" { kind } else { rest };
                text += &format!("# {what} {name}{suffix} {rest}\n");
            }
            ["#", ..] => {}
            _ => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}
