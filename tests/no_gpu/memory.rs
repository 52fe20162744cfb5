//! The memory plan: who shares a buffer with whom.

use wattle::energy::Level;
use wattle::kernel::BindingKind;
use wattle::model::SessionOptions;
use wattle::model::forward::Sampling;
use wattle::model::layout::Layout;
use wattle::model::session::SessionPlan;
use wattle::schedule::memory::{MemoryPlan, MemoryPool};
use wattle::schedule::{Home, Schedule};

use crate::shapes::{devices, large_on, plan, small, weights};

/// Steps from the first to the last that touch each tensor.
fn lifetimes(schedule: &Schedule) -> Vec<Option<(usize, usize)>> {
    let mut lifetimes = vec![None; schedule.tensors.len()];
    for (n, step) in schedule.steps.iter().enumerate() {
        for (_, id) in &step.tensors {
            let (first, _) = *lifetimes[id.index()].get_or_insert((n, n));
            lifetimes[id.index()] = Some((first, n));
        }
    }
    lifetimes
}

/// Checks a plan by brute force; returns the bytes of all activations, and of the most that live at a time.
fn assert_sound(name: &str, schedule: &Schedule, memory: &MemoryPlan, pool: &MemoryPool) -> [u64; 2] {
    let lifetimes = lifetimes(schedule);
    let mut live = vec![0; schedule.steps.len()];
    let mut placed = Vec::new();
    for (id, tensor) in schedule.tensors.iter().enumerate() {
        let Some(buffer) = memory.buffer_of[id] else {
            assert_eq!(tensor.home, Home::Named, "{name}: '{}' has no memory", tensor.name);
            continue;
        };
        assert_eq!(tensor.home, Home::Activation, "{name}: '{}' is the host's", tensor.name);
        assert!(pool.buffers[buffer] >= tensor.bytes, "{name}: '{}' does not fit", tensor.name);
        let (first, last) = lifetimes[id].unwrap();
        live[first..=last].iter_mut().for_each(|bytes| *bytes += tensor.bytes);
        for &(other, its_buffer, (begin, end)) in &placed {
            let other: &str = other;
            assert!(
                its_buffer != buffer || last < begin || end < first,
                "{name}: '{}' and '{other}' live at once in one buffer",
                tensor.name
            );
        }
        placed.push((&tensor.name, buffer, (first, last)));
    }
    assert_nothing_is_read_while_written(name, schedule, memory);
    let all = schedule.tensors.iter().filter(|tensor| tensor.home == Home::Activation);
    [all.map(|tensor| tensor.bytes).sum(), live.into_iter().max().unwrap_or(0)]
}

fn assert_nothing_is_read_while_written(name: &str, schedule: &Schedule, memory: &MemoryPlan) {
    for step in &schedule.steps {
        let kinds: Vec<_> = step.launch.bindings();
        let storage = |index: u32| kinds.iter().find(|binding| binding.index == index).unwrap();
        let place = |id: wattle::schedule::TensorId| {
            (memory.buffer_of[id.index()], { memory.buffer_of[id.index()].is_none().then_some(id) })
        };
        for (n, (index, id)) in step.tensors.iter().enumerate() {
            let writes = storage(*index).kind == BindingKind::Write;
            for (_, other) in step.tensors.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, t)| t) {
                assert!(
                    !writes || place(*id) != place(*other),
                    "{name}, {}: '{}' is written and also bound as something else",
                    step.site,
                    storage(*index).name
                );
            }
        }
    }
}

fn assert_plans_are_sound(name: &str, plan: &SessionPlan) {
    let (mut sum, mut least) = (0, 0);
    for (pass, (schedule, memory)) in [&plan.part, &plan.prefill, &plan.decode].into_iter().enumerate() {
        let pass = format!("{name}, {}", ["part", "prefill", "decode"][pass]);
        let [bytes, live] = assert_sound(&pass, schedule, memory, &plan.pool);
        (sum, least) = (sum.max(bytes), least.max(live));
    }
    let peak = plan.pool.bytes();
    assert!(least <= peak && peak <= sum, "{name}: {least} bytes live at once, {peak} planned, {sum} in all");
    // Sharing is the point: a plan that gives every activation its own memory is no plan.
    assert!(peak < sum / 2, "{name}: {peak} of {sum} bytes");
}

#[test]
fn live_activations_have_memory_of_their_own() {
    for device in devices() {
        for (name, config) in small() {
            assert_plans_are_sound(&name, &plan(&config, &device, "int4", config.context_length));
        }
        for (name, config) in large_on(&device) {
            assert_plans_are_sound(&name, &plan(&config, &device, "int8", 2048));
        }
    }
}

#[test]
fn all_passes_of_a_session_share_a_pool() {
    let [device, _] = devices();
    for (name, config) in small() {
        let plan = plan(&config, &device, "f32", config.context_length);
        let alone = |schedule: &Schedule| {
            let mut pool = MemoryPool::default();
            pool.plan(schedule);
            pool.bytes()
        };
        let apart: u64 =
            [&plan.part, &plan.prefill, &plan.decode].map(|(schedule, _)| alone(schedule)).iter().sum();
        assert!(plan.pool.bytes() < apart, "{name}: {} bytes shared, {apart} apart", plan.pool.bytes());
    }
}

#[test]
fn what_a_session_takes_is_all_it_allocates() {
    let [plain, most] = devices();
    let (_, config) = &small()[0];
    let plan = plan(config, &plain, "f32", 100);
    let named: u64 = plan.named_bytes().values().sum();
    // No uniform is larger than the alignment that WebGPU promises at least.
    let steps: usize =
        [&plan.part, &plan.prefill, &plan.decode].map(|(schedule, _)| schedule.steps.len()).iter().sum();
    let uniforms = steps as u64 * plain.uniform_alignment;
    assert_eq!(plan.bytes(), named + plan.pool.bytes() + uniforms);
    assert!(plan.check_ceiling(1000, Some(plan.bytes() + 1000)).is_ok());
    let error = plan.check_ceiling(1000, Some(plan.bytes() + 999)).unwrap_err();
    let says = format!("needs {} bytes, {} are available", plan.bytes() + 1000, plan.bytes() + 999);
    assert!(error.to_string().contains(&says), "{error}");
    // Times need room where a device has them.
    assert_eq!(Level::Window.device_bytes(&plain), 0);
    assert_eq!(Level::Counts.device_bytes(&most), 0);
    assert!(Level::Window.device_bytes(&most) > 0);
    let timed = SessionOptions { ledger: Level::Window, ..SessionOptions::new(100, Sampling::GREEDY) };
    let layout = Layout::new(config, &weights("f32"), &most).unwrap();
    let overhead = |options| SessionPlan::new(config, &layout, &most, options).unwrap().ledger_bytes;
    let counted = SessionOptions { ledger: Level::Counts, ..timed.clone() };
    assert_eq!(overhead(&timed), overhead(&counted) + Level::Window.device_bytes(&most));
}
