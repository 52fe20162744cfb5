//! Calls whose errors come back from them, and reach no handler of the host.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::Gpu;
use crate::{Error, Result};

/// What an error scope caught, once the device says so.
type PoppedScope = Pin<Box<dyn Future<Output = Option<wgpu::Error>>>>;

/// Runs `make` where nothing can be awaited, so that what it does wrong comes back from it and reaches no handler of
/// the host. Native devices answer at once; a browser answers later, and what went wrong then shows at the submit.
pub(crate) fn scoped_now<T>(
    device: &wgpu::Device,
    make: impl FnOnce(&wgpu::Device) -> T,
) -> Result<T, wgpu::Error> {
    let (made, pending) = in_scopes(device, make);
    let mut context = Context::from_waker(Waker::noop());
    for mut error in pending {
        if let Poll::Ready(Some(error)) = error.as_mut().poll(&mut context) {
            return Err(error);
        }
    }
    Ok(made)
}

fn in_scopes<T>(device: &wgpu::Device, make: impl FnOnce(&wgpu::Device) -> T) -> (T, Vec<PoppedScope>) {
    let scopes = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal]
        .map(|filter| device.push_error_scope(filter));
    let made = make(device);
    // Scopes nest, so the last one pushed is the first one popped.
    let mut pending: Vec<PoppedScope> = Vec::new();
    for scope in scopes.into_iter().rev() {
        pending.push(Box::pin(scope.pop()));
    }
    (made, pending)
}

impl Gpu {
    /// [`scoped_now`] for whoever can await.
    pub(crate) async fn scoped<T>(&self, make: impl FnOnce(&wgpu::Device) -> T) -> Result<T, wgpu::Error> {
        let (made, pending) = in_scopes(self.device(), make);
        for error in pending {
            if let Some(error) = error.await {
                return Err(error);
            }
        }
        Ok(made)
    }

    /// Submits what `record` records, and returns what it did wrong instead of panicking.
    ///
    /// # Errors
    /// The error of `record`, [`Error::Gpu`], or [`Error::DeviceLost`].
    pub async fn submit(
        &self,
        label: &str,
        record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<()> {
        let recorded = self.scoped(|device| {
            let mut encoder =
                device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) });
            record(&mut encoder)?;
            self.queue().submit([encoder.finish()]);
            Ok(())
        });
        recorded.await.map_err(|error| gpu_error(label, error))??;
        self.check()
    }
}

/// An error of the API as ours.
pub(crate) fn gpu_error(operation: impl Display, error: wgpu::Error) -> Error {
    Error::Gpu { operation: operation.to_string(), message: error.to_string() }
}
