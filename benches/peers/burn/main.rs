//! burn's side: products, attention or layers of experts asked for on standard input, a line each, and answered with a line each.
//! `src/peer.rs` has the other end. One source for two programs: burn decides by its features whether kernels are WGSL or
//! SPIR-V.

mod attention;
mod experts;
mod products;
mod work;

use std::any::Any;
use std::io::BufRead;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use burn_tensor::wgpu::WgpuOptions;
use burn_tensor::{DType, Device, DeviceKind};
use work::Work;

type Error = Box<dyn std::error::Error>;
type Result<T, E = Error> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("burn: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<()> {
    let kind = std::env::args().nth(1).ok_or("the kind of the adapter is missing")?;
    let kind = match kind.as_str() {
        "DiscreteGpu" => DeviceKind::DiscreteGpu(0),
        "IntegratedGpu" => DeviceKind::IntegratedGpu(0),
        "VirtualGpu" => DeviceKind::VirtualGpu(0),
        "Cpu" => DeviceKind::Cpu,
        _ => DeviceKind::DefaultDevice,
    };
    let (device, setup) = WgpuOptions::default().device_kind(kind).init_with_setup()?;
    let info = setup.adapter.get_info();
    // burn falls back to WGSL without a word, and does not name the compiler; only with SPIR-V are there 16-bit integers.
    let compiler = if device.supports_dtype(DType::U16) { "SPIR-V" } else { "WGSL" };
    println!("{}\t{} {}, {compiler}", info.name, info.driver, info.driver_info);

    let mut prepared = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        // burn panics where it cannot do something; that ends one row, not the table.
        let answer = catch_unwind(AssertUnwindSafe(|| answer(&device, &mut prepared, &words)));
        match answer.unwrap_or_else(|panic| Err(message(&*panic).into())) {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("cannot {}", error.to_string().replace('\n', " ")),
        }
    }
    Ok(())
}

fn answer(device: &Device, prepared: &mut Option<Box<dyn Work>>, words: &[&str]) -> Result<String> {
    match *words {
        ["prepare", what, format, copies, ref numbers @ ..] => {
            // First of all, the memory of the row before.
            *prepared = None;
            device.memory_cleanup();
            let numbers = numbers.iter().map(|word| word.parse()).collect::<Result<Vec<usize>, _>>()?;
            let work = prepare(device, what, format, copies.parse()?, &numbers)?;
            Ok(prepared.insert(work).note())
        }
        ["run", times] => {
            let work = prepared.as_ref().ok_or("nothing is prepared")?;
            Ok(work.run(times.parse()?)?.as_nanos().to_string())
        }
        _ => Err(format!("unknown request: {}", words.join(" ")).into()),
    }
}

fn prepare(
    device: &Device,
    what: &str,
    format: &str,
    copies: usize,
    numbers: &[usize],
) -> Result<Box<dyn Work>> {
    match (what, numbers) {
        ("product", &[rows, outputs, inputs]) => {
            products::prepare(device, format, copies, [rows, outputs, inputs])
        }
        ("attention", &[sequences, rows, tokens, heads, kv_heads, width, window]) => {
            let shape = attention::Shape { sequences, rows, tokens, heads, kv_heads, width, window };
            attention::prepare(device, format, copies, shape)
        }
        ("experts", &[tokens, width, hidden, experts, choices]) => {
            let shape = experts::Shape { tokens, width, hidden, experts, choices };
            experts::prepare(device, format, copies, shape)
        }
        _ => Err(format!("nothing is called {what} and has {} numbers", numbers.len()).into()),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_else(|| "panic".into())
}
