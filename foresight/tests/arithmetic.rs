//! Holds the arithmetic of the BPF programs (`bpf/model.h`, `bpf/network.h`) to the table that `foresight-model` keeps of its own: both sides must
//! compute the same, to the bit. The C is compiled for this machine, by the compiler that makes BPF of it.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What the C answers to these questions, a line each.
fn answers(questions: &str) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("arithmetic");
    let mut compiler = Command::new(env!("FORESIGHT_CLANG"));
    compiler
        .args(["-O2", "-Wall", "-Werror", "-o"])
        .arg(&program);
    let compiled = compiler.arg(here.join("tests/arithmetic.c")).status();
    assert!(compiled.unwrap().success());
    let mut child = Command::new(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let questions = questions.to_owned();
    let asking = std::thread::spawn(move || stdin.write_all(questions.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    asking.join().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// A number, a truth or a list of them, with spaces between.
fn words(value: &Value) -> String {
    match value {
        Value::Array(values) => values.iter().map(words).collect::<Vec<_>>().join(" "),
        Value::Bool(truth) => u8::from(*truth).to_string(),
        value => value.to_string(),
    }
}

/// Questions and the answers that the table has.
#[derive(Default)]
struct Table {
    questions: String,
    answers: Vec<String>,
}

impl Table {
    /// Each of `rows` begins with what is asked, and ends with this many answers.
    fn add(&mut self, question: &str, rows: &Value, answers: usize) {
        let rows = rows.as_array().unwrap();
        assert!(!rows.is_empty(), "{question}");
        for row in rows {
            let row = row.as_array().unwrap();
            let (asked, answered) = row.split_at(row.len() - answers);
            self.ask(question, asked.to_vec(), answered.to_vec());
        }
    }

    fn ask(&mut self, question: &str, asked: Vec<Value>, answered: Vec<Value>) {
        let asked = words(&Value::Array(asked));
        self.questions += &format!("{question} {asked}\n");
        self.answers.push(words(&Value::Array(answered)));
    }

    /// One task, burst after burst.
    fn add_task(&mut self, bursts: &Value) {
        for burst in bursts.as_array().unwrap() {
            let of = |name: &str| burst[name].clone();
            let wakeup = ["slept_ns", "own_process", "from_idle"].map(of);
            self.ask("wake", wakeup.into(), vec![of("features")]);
            let said = of("line").as_i64().unwrap_or(0).into();
            let has_line = (!of("line").is_null()).into();
            let state = [
                "length",
                "average",
                "average_error",
                "line_error",
                "uses_line",
            ];
            self.ask(
                "end",
                vec![of("ran_ns"), has_line, said],
                state.map(of).into(),
            );
        }
    }

    /// The network, asked of each case.
    fn add_network(&mut self, network: &Value) {
        let parts = ["w1", "b1", "w2", "b2", "threshold"].map(|part| network[part].clone());
        for case in network["cases"].as_array().unwrap() {
            let case = case.as_array().unwrap();
            let (asked, answered) = case.split_at(case.len() - 2);
            let asked = [&parts[..], asked].concat();
            self.ask("network", asked, answered.to_vec());
        }
    }
}

#[test]
fn the_bpf_programs_compute_what_the_model_computes() {
    let table = include_str!("../../foresight-model/tests/golden/arithmetic.json");
    let of: Value = serde_json::from_str(table).unwrap();
    let (numbers, rules) = (&of["numbers"], &of["rules"]);
    let mut table = Table::default();
    table.add("log2", &numbers["log2"], 1);
    table.add("exp2", &numbers["exp2"], 1);
    table.add("deviation", &rules["deviation"], 1);
    table.add("predict", &rules["predict"], 1);
    table.add("request", &rules["request"], 2);
    table.add("charge", &rules["charge"], 1);
    table.add("bound", &rules["bound"], 1);
    table.add("preempts", &rules["preempts"], 1);
    table.add_task(&of["task"]);
    table.add_network(&of["network"]);
    let answers = answers(&table.questions);
    assert_eq!(answers.lines().count(), table.answers.len());
    let questions = table.questions.lines();
    for ((question, right), answer) in questions.zip(&table.answers).zip(answers.lines()) {
        assert_eq!(answer, right, "{question}");
    }
}
