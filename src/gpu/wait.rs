//! Waiting for the device without blocking, and with.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Gpu;
use crate::{Error, Result};

/// Completes once the device has called [`Signal::set`] on a clone.
pub(crate) struct Signal<T> {
    gpu: Gpu,
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T> Signal<T> {
    pub(crate) fn new(gpu: &Gpu) -> Self {
        Self { gpu: gpu.clone(), state: Arc::new(Mutex::new(State { value: None, waker: None })) }
    }

    /// What the device is to call.
    pub(crate) fn setter(&self) -> impl FnOnce(T) + Send + 'static
    where
        T: Send + 'static,
    {
        let state = self.state.clone();
        move |value| {
            let mut state = lock(&state);
            state.value = Some(value);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }
}

impl<T> Future for Signal<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        // Native devices call back only while something polls them. In a browser this does nothing.
        if let Err(error) = advance(&self.gpu, wgpu::PollType::Poll) {
            return Poll::Ready(Err(error));
        }
        let mut state = lock(&self.state);
        if let Some(value) = state.value.take() {
            return Poll::Ready(Ok(value));
        }
        state.waker = Some(context.waker().clone());
        if cfg!(not(target_family = "wasm")) {
            // Nobody may be polling the device, so this future does, at every turn its executor gives it. A browser
            // calls back by itself, but not before we return to it.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Lets a native device call back for what it has finished; an error where it is lost.
fn advance(gpu: &Gpu, how: wgpu::PollType) -> Result<()> {
    // wgpu panics where the driver reports a loss in the middle of waiting.
    match catch_unwind(AssertUnwindSafe(|| gpu.device().poll(how))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::Gpu { operation: "waiting".into(), message: error.to_string() }),
        Err(_) => Err(Error::DeviceLost { message: "while it was waited for".into() }),
    }
}

/// A lock whose holder panicked still guards usable data: every write under it is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(feature = "blocking")]
impl Gpu {
    /// Runs a future of this crate to its end. Where it waits for the device, this thread sleeps in the driver; other
    /// executors ask again and again meanwhile.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            // What goes wrong here the future hears of when it is polled again.
            let _ = advance(self, wgpu::PollType::wait_indefinitely());
        }
    }
}
