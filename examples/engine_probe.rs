//! Executes a network on command, so that another program can time it beside its own engine.
//!
//! `engine_probe MODEL [RUNTIME] [THREADS]`, then one command per line on standard input:
//! `input FILE` (raw 32-bit floats, NCHW), `run N` (answers with N times in microseconds),
//! `output FILE` (all outputs, raw). `tests/peers/ort_engine.py` is such a program.

use std::io::{BufRead, Write};
use std::time::Instant;

use endort::model::Package;
use endort::runtime::{Engine, Options, open};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let model = args.first().ok_or("usage: engine_probe MODEL [RUNTIME] [THREADS]")?;
    let runtime = args.get(1).cloned().unwrap_or_else(|| "candle-cpu".to_owned());
    let threads = args.get(2).map_or(Ok(0), |t| t.parse())?;
    let mut engine = open(&Package::open(model)?, &Options { runtime, threads, ..Default::default() })?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready {}", engine.runtime())?;
    for line in std::io::stdin().lock().lines() {
        let answer = execute(engine.as_mut(), &line?)?;
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn execute(engine: &mut dyn Engine, line: &str) -> Result<String> {
    match line.split_once(' ') {
        Some(("input", file)) => {
            let bytes = std::fs::read(file)?;
            let input = engine.input();
            if bytes.len() != input.len() * 4 {
                return Err(format!("{file} has {} bytes, not {}", bytes.len(), input.len() * 4).into());
            }
            let values = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
            input.iter_mut().zip(values).for_each(|(i, v)| *i = v);
            Ok("ok".to_owned())
        }
        Some(("run", n)) => {
            let mut times = vec![];
            for _ in 0..n.parse::<usize>()? {
                let start = Instant::now();
                engine.run()?;
                times.push(start.elapsed().as_micros().to_string());
            }
            Ok(times.join(" "))
        }
        Some(("output", file)) => {
            let bytes: Vec<u8> =
                engine.run()?.iter().flat_map(|o| &o.data).flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(file, bytes)?;
            Ok("ok".to_owned())
        }
        _ => Err(format!("unknown command {line:?}").into()),
    }
}
