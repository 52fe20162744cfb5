//! Slices made on the device from the parent's codes.

use crate::Result;
use crate::energy::{Ledger, Level};
use crate::gpu::Gpu;
use crate::kernel::{Launch, Span};
use crate::kernels::slice::Slice;
use crate::model::layout::Matrix;
use crate::quant::{Codes, IntFormat, Storage, WeightFormat, Width};
use crate::schedule::execute::Prepared;
use crate::schedule::memory::MemoryPool;
use crate::schedule::{Schedule, Site};
use crate::tensor::Tensor;

/// The slice that a format stores; `None` for one that stores something else.
pub(in crate::model) fn slice_of(format: WeightFormat) -> Option<Slice> {
    match format {
        WeightFormat::Int(IntFormat {
            codes: Codes { storage: Storage::Sliced, width, extra_precision },
            ..
        }) if width != Width::Int8 => Some(Slice { width, extra_precision }),
        _ => None,
    }
}

/// The format of the codes that a format's slices are made from.
pub(in crate::model) fn parent_of(format: WeightFormat) -> WeightFormat {
    match format {
        WeightFormat::Int(int) if slice_of(format).is_some() => {
            WeightFormat::Int(IntFormat { codes: Codes::sliced(Width::Int8), ..int })
        }
        _ => format,
    }
}

/// Slices `rows` rows of the parent into those of `sliced` from `first_row` on.
///
/// # Errors
/// [`crate::Error::Shape`] where the tensors are too small; those of running a kernel.
pub(in crate::model) async fn slice(
    gpu: &Gpu,
    (slice, matrix): (Slice, &Matrix),
    rows: u32,
    parent: &Tensor,
    (sliced, first_row): (&Tensor, u32),
) -> Result<()> {
    let mut schedule = Schedule::new(rows);
    let launch = Launch { variant: slice, params: slice.params(matrix.cols, first_row) }.shared();
    let tensors = [("words", parent), ("sliced", sliced)]
        .map(|(name, tensor)| (name, schedule.named(name, tensor.bytes())));
    schedule.dispatch(Site { sublayer: None, what: "slice" }, launch, &tensors)?;
    let plan = MemoryPool::default().plan(&schedule);
    let span = Span { position: 0, rows };
    let uniform = Tensor::span(gpu, &[span.into()]).await?;
    let find = |name: &str| Some(if name == "words" { parent.clone() } else { sliced.clone() });
    let prepared = Prepared::new(gpu, schedule, &plan, &[], &uniform, find).await?;
    let mut ledger = Ledger::new(gpu, Level::Off).await?;
    gpu.submit("slicing of weights", |encoder| prepared.encode(encoder, span, &mut ledger)).await
}
