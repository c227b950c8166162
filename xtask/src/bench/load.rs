//! Small loads that make every BPF program run: page faults, loopback traffic, disk requests.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, Result, anyhow};

use crate::workspace;

const MEGABYTE: usize = 1 << 20;

/// Touches fresh memory, sends 256 MB over loopback and writes 16 MB to the disk of the target
/// directory.
pub(crate) fn every_resource() -> Result<()> {
    for _ in 0..8 {
        black_box(vec![1u8; 64 * MEGABYTE]);
    }
    loopback()?;
    write_to_disk()
}

fn loopback() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no loopback port to listen on")?;
    let address = listener.local_addr()?;
    let receiver = thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut buffer = vec![0; MEGABYTE];
        while stream.read(&mut buffer)? > 0 {}
        Ok(())
    });
    let mut stream = TcpStream::connect(address)?;
    let data = vec![1; MEGABYTE];
    for _ in 0..256 {
        stream.write_all(&data)?;
    }
    drop(stream);
    receiver
        .join()
        .map_err(|_| anyhow!("the receiver of the loopback traffic panicked"))?
}

fn write_to_disk() -> Result<()> {
    let path = workspace::target().join("bench-load");
    let mut file =
        File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    let data = vec![1; MEGABYTE];
    for _ in 0..16 {
        file.write_all(&data)?;
        file.sync_data()?;
    }
    drop(file);
    Ok(std::fs::remove_file(&path)?)
}
