//! What plans say is what the driver hands out.

use wattle::Gpu;
use wattle::energy::Level;
use wattle::model::forward::expert_places;
use wattle::model::plan::WeightPlan;
use wattle::model::session::SessionPlan;
use wattle::model::{Session, SessionOptions};
use wattle::wgpu::{Backend, PollType};

use super::harness::{F32, feed, greedy, load, tokens};
use crate::harness::{block_on, own_gpu};

/// Bytes that the allocator has given out, with what waits to be freed gone; `None` where the back end does not tell.
fn allocated(gpu: &Gpu) -> Option<u64> {
    // Uploads are freed once they have run, which the next submit makes them do.
    for _ in 0..2 {
        block_on(gpu.submit("nothing", |_| Ok(()))).unwrap();
        gpu.device().poll(PollType::wait_indefinitely()).unwrap();
    }
    gpu.device().generate_allocator_report().map(|report| report.total_allocated_bytes)
}

/// Drivers pad buffers, and a few bytes come and go; nothing else may come on top.
const PADDING: u64 = 512;

#[test]
fn a_model_and_a_session_take_what_was_planned() {
    let gpu = own_gpu();
    let Some(before) = allocated(&gpu) else {
        assert_ne!(gpu.info().backend, Backend::Vulkan, "no report");
        return;
    };
    let widths = r#"{"schema": 1, "linear": "int8", "expert_widths": {"0": {"1": 2}, "2": {"7": 4}}}"#;
    let mixed = WeightPlan::from_json("plan.json", widths).unwrap();
    for (name, plan) in [("gemma3_text", &F32), ("mixtral", &F32), ("mixtral", &mixed)] {
        let model = load(&gpu, name, plan).unwrap();
        let loaded = allocated(&gpu).unwrap();
        let matrices = model.layout().matrices().count() as u64;
        let norms = model.layout().vectors().count() as u64;
        let (planned, taken) = (model.layout().bytes(), loaded - before);
        assert!(taken >= planned, "{name}: {taken} bytes of weights, {planned} planned");
        assert!(
            taken <= planned + PADDING * 3 * (matrices + norms),
            "{name}: {taken} bytes of weights, {planned} planned"
        );

        let options = SessionOptions { ledger: Level::Window, router_telemetry: true, ..greedy(64) };
        let plan = SessionPlan::new(model.config(), model.layout(), gpu.capabilities(), &options).unwrap();
        let mut session = block_on(Session::new(&model, options)).unwrap();
        let tables = expert_places(model.layout()).len();
        let buffers = plan.named_bytes().len() + plan.pool.buffers.len() + tables + 8;
        let least = plan.bytes();
        for when in ["made", "used"] {
            let taken = allocated(&gpu).unwrap() - loaded;
            let most = least + PADDING * buffers as u64;
            assert!((least..=most).contains(&taken), "{name}, {when}: {taken} bytes, {least} planned");
            feed(&mut session, &tokens(&model, 9));
        }
        drop((session, model));
        let left = allocated(&gpu).unwrap().abs_diff(before);
        assert!(left <= PADDING, "{name}: {left} bytes were left behind");
    }
}
