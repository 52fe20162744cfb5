//! The ledger as JSON Lines: a header, then a line per pass and a line per dispatch.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{Amount, ByteClass, Ledger, Level, OpClass, PassRecord, Phase, Timing, Work};
use crate::gpu::Gpu;
use crate::schedule::Step;

impl Ledger {
    /// Writes everything on record as JSON Lines. Counts and nanoseconds are integers; what is not known is `null`
    /// with a reason beside it, never zero.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_jsonl(&self, gpu: &Gpu, out: &mut impl Write) -> io::Result<()> {
        self.write_jsonl_with(gpu, out, |_, _| Vec::new())
    }

    /// The same with more lines after those of each pass, given its number.
    pub(crate) fn write_jsonl_with(
        &self,
        gpu: &Gpu,
        out: &mut impl Write,
        more: impl Fn(usize, &PassRecord) -> Vec<Value>,
    ) -> io::Result<()> {
        let info = gpu.info();
        writeln!(
            out,
            "{}",
            json!({
                "t": "header", "schema": 1, "crate": env!("CARGO_PKG_VERSION"),
                "adapter": info.name, "driver": info.driver, "driver_info": info.driver_info,
                "backend": info.backend.to_string(), "level": level(self.level()),
                "dropped_passes": self.dropped(), "dropped_notes": self.dropped_notes(),
            })
        )?;
        let mut id = 0;
        for (n, pass) in self.passes().enumerate() {
            writeln!(out, "{}", pass_line(n, pass))?;
            for (d, step) in pass.schedule.steps.iter().enumerate() {
                writeln!(out, "{}", dispatch_line(id, n, pass, step, pass.dispatches.get(d)))?;
                id += 1;
            }
            for line in more(n, pass) {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Off => "L0",
        Level::Counts => "L1",
        Level::Window => "L2",
        Level::Dispatch => "L4",
    }
}

fn pass_line(n: usize, pass: &PassRecord) -> Value {
    let work = pass.schedule.work(&pass.spans);
    json!({
        "t": "step", "step": n, "phase": phase(pass), "position": pass.spans.first().map(|span| span.position),
        "tokens": pass.rows(), "sequences": pass.spans.len(),
        "dispatches": pass.schedule.steps.len(),
        "t_ns": times(Some(&pass.window)), "ts_quality": pass.window.quality.name(),
        "perturbed": !pass.dispatches.is_empty(),
        "counts": counts(&work), "bytes": bytes(&work), "ops": ops(&work), "e": energy(),
    })
}

fn dispatch_line(id: usize, n: usize, pass: &PassRecord, step: &Step, timing: Option<&Timing>) -> Value {
    let work = step.launch.work(&pass.spans);
    let quality = timing.map_or("absent", |timing| timing.quality.name());
    json!({
        "t": "dispatch", "id": id, "step": n, "block": step.site.sublayer.map(|site| site.0),
        "sublayer": step.site.sublayer.map(|site| site.1), "op": step.site.what, "kernel": step.launch.name(),
        "variant": step.launch.source().to_string(), "phase": phase(pass),
        "t_ns": times(timing), "ts_quality": quality, "perturbed": timing.is_some(),
        "workgroups": step.launch.workgroups(&pass.spans),
        "counts": counts(&work), "bytes": bytes(&work), "ops": ops(&work), "e": energy(),
    })
}

fn phase(pass: &PassRecord) -> &'static str {
    match pass.phase() {
        Phase::Prefill => "prefill",
        Phase::Decode => "decode",
    }
}

fn times(timing: Option<&Timing>) -> Value {
    timing
        .filter(|timing| timing.duration_ns().is_some())
        .map_or(Value::Null, |timing| json!([timing.begin_ns, timing.end_ns]))
}

fn counts(work: &Work) -> &'static str {
    if work.is_bound { "at_most" } else { "exact" }
}

fn bytes(work: &Work) -> Value {
    let classes = ByteClass::ALL.map(|class| (class.name(), work.bytes_of(class)));
    amounts(&classes, "compulsory", "requested")
}

fn ops(work: &Work) -> Value {
    let classes = OpClass::ALL.map(|class| (class.name(), work.ops_of(class)));
    amounts(&classes, "useful", "executed")
}

fn amounts(classes: &[(&'static str, Amount)], least: &str, most: &str) -> Value {
    let mut map = Map::new();
    for (name, amount) in classes.iter().filter(|(_, amount)| *amount != Amount::default()) {
        map.insert((*name).into(), json!({ least: amount.least, most: amount.most }));
    }
    map.into()
}

fn energy() -> Value {
    json!({ "nj": null, "lo": null, "hi": null, "provenance": "none", "scope": null,
            "reason": "no sensor and no calibrated profile" })
}
