//! The devices of the tests.

use std::sync::{Mutex, PoisonError};

use wattle::{Gpu, GpuOptions};

/// A device, and whether a test has it now.
struct Shared {
    gpu: &'static Gpu,
    is_taken: bool,
}

static DEVICES: Mutex<Vec<Shared>> = Mutex::new(Vec::new());

thread_local! {
    static MINE: Lease = Lease::take();
}

/// The device of this thread's test. A software driver compiles and computes on one thread for each device, so tests that run at
/// the same time have one each; a later test has it again.
pub fn gpu() -> &'static Gpu {
    MINE.with(|mine| mine.gpu)
}

/// A device of one test's own.
pub fn own_gpu() -> Gpu {
    let adapter = std::env::var("WATTLE_ADAPTER").unwrap_or_default();
    let options = GpuOptions { adapter, cooperative_matrices: true, ..GpuOptions::default() };
    Gpu::open_blocking(options).unwrap_or_else(|error| panic!("these tests run on a GPU: {error}"))
}

/// A device until the thread ends.
struct Lease {
    gpu: &'static Gpu,
}

impl Lease {
    fn take() -> Self {
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = devices.iter_mut().find(|device| !device.is_taken) {
            free.is_taken = true;
            return Self { gpu: free.gpu };
        }
        let gpu: &'static Gpu = Box::leak(Box::new(own_gpu()));
        if devices.is_empty() {
            eprintln!("{}: {:?}", gpu.info().name, gpu.capabilities());
        }
        devices.push(Shared { gpu, is_taken: true });
        Self { gpu }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = devices.iter_mut().find(|device| std::ptr::eq(device.gpu, self.gpu));
        mine.into_iter().for_each(|device| device.is_taken = false);
    }
}
