//! Metrics, judged by Prometheus' own tools.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::drop_in::DropIn;
use crate::load::Load;
use crate::policy::{self, QUIET};
use crate::service::{self, Bus};
use crate::{load, wait};

const TEXTFILE: &str = "/var/lib/prometheus/node-exporter/auto-ext.prom";
const SOCKET: &str = "/run/auto-ext/metrics.sock";
const ADDRESS: &str = "127.0.0.1:9797";
const PROMETHEUS: &str = "127.0.0.1:9090";

fn policy_with(metrics: &str) -> anyhow::Result<()> {
    policy::write(&format!("{QUIET}metrics: {{{metrics}}}\n"))
}

/// What promtool says about metrics; nothing when they are good.
fn promtool(text: &str) -> anyhow::Result<()> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("failed to run promtool")?;
    let stdin = promtool.stdin.take();
    stdin.context("a pipe")?.write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    ensure!(output.status.success(), "{output:?} of:\n{text}");
    Ok(())
}

/// The value of a metric in a text, by all that is before it in its line.
fn value(text: &str, metric: &str) -> anyhow::Result<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    let line = line.with_context(|| format!("no {metric} in:\n{text}"))?;
    Ok(line.parse()?)
}

pub(super) fn metrics_are_good_and_outlive_the_daemon() -> anyhow::Result<()> {
    fs::create_dir_all("/var/lib/prometheus/node-exporter")?;
    policy_with(&format!(
        "textfile: {TEXTFILE}, every: 1s, listen: {SOCKET}"
    ))?;
    service::restart()?;
    let _load = Load::of_class("cpu").start()?;
    let bus = Bus::connect()?;
    bus.pin("bpfland")?;
    wait::until("owner", &"auto-ext".to_owned(), || {
        bus.string("CurrentOwner")
    })?;

    let text = service::say("auto-ext metrics --format prometheus")?;
    promtool(&format!("{text}\n"))?;
    let switches = r#"auto_ext_switches_total{from="kernel",to="scx_bpfland"}"#;
    let before = value(&text, switches)?;
    ensure!(before >= 1.0, "{text}");
    value(&text, r#"auto_ext_signal_ratio{signal="cpu"}"#)?;
    let open = service::say("auto-ext metrics")?;
    ensure!(open.ends_with("# EOF"), "{open}");

    wait::until("the textfile", &true, || Path::new(TEXTFILE).exists())?;
    let mut text = fs::read_to_string(TEXTFILE)?;
    promtool(&text)?;
    text = by_socket("/metrics")?.1;
    promtool(&text)?;

    service::restart()?;
    let text = service::say("auto-ext metrics")?;
    ensure!(value(&text, switches)? >= before, "{text}");
    ensure!(value(&text, "auto_ext_starts_total")? >= 2.0, "{text}");
    service::stop()?;
    ensure!(!Path::new(TEXTFILE).exists() && !Path::new(SOCKET).exists());
    Ok(())
}

/// What the socket says, and what is before it.
fn by_socket(path: &str) -> anyhow::Result<(String, String)> {
    let mut stream = UnixStream::connect(SOCKET).context(SOCKET)?;
    let question = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok((head.to_owned(), body.to_owned()))
}

pub(super) fn the_page_says_what_runs_and_what_failed() -> anyhow::Result<()> {
    policy_with(&format!("listen: {SOCKET}"))?;
    service::restart()?;
    let bus = Bus::connect()?;
    bus.pin("bpfland")?;
    wait::until("owner", &"auto-ext".to_owned(), || {
        bus.string("CurrentOwner")
    })?;
    let pid = bus.number("SchedulerPid")?;
    let (head, page) = by_socket("/")?;
    ensure!(
        head.contains("content-security-policy: default-src 'none';"),
        "{head}"
    );
    for what in [
        "<h1 class=\"ours\">scx_bpfland</h1>",
        &format!("started by auto-ext, process {pid}"),
        "<strong>pinned</strong>",
        "interactive",
        "scx_bpfland (hot, ",
    ] {
        ensure!(page.contains(what), "no {what} in:\n{page}");
    }
    service::say(&format!("kill -KILL {pid}"))?;
    wait::until("the failure on the page", &true, || {
        by_socket("/").is_ok_and(|(_, page)| {
            page.contains("scx_bpfland ended by itself") && page.contains("<dt>Quarantined</dt>")
        })
    })?;
    service::stop()
}

pub(super) fn prometheus_scrapes_it() -> anyhow::Result<()> {
    policy_with(&format!("listen: {ADDRESS}"))?;
    let _loopback = DropIn::install("RestrictAddressFamilies=AF_INET AF_INET6")?;
    service::restart()?;
    let config = "/tmp/prometheus.yml";
    fs::write(
        config,
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: auto-ext, static_configs: [{{targets: ['{ADDRESS}']}}]}}]\n"
        ),
    )?;
    let _prometheus = load::start(&format!(
        "prometheus --config.file={config} --storage.tsdb.path=/tmp/prometheus \
         --web.listen-address={PROMETHEUS}"
    ))?;
    let query = |query: &str| {
        let url = format!("http://{PROMETHEUS}");
        let output = service::output(&format!("promtool query instant {url} {query}"))?;
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    wait::until("scraped", &true, || {
        query("auto_ext_build_info").is_ok_and(|answer| answer.contains("version="))
    })?;
    let signals = query("count(auto_ext_signal_ratio)")?;
    // Of all but `parallel`.
    ensure!(signals.contains("=> 6 "), "{signals}");
    service::stop()
}
