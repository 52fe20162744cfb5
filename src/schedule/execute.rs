//! A schedule on a device: buffers bound once, then encoded as often as wanted.

use std::sync::Arc;

use super::memory::MemoryPlan;
use super::{Home, Schedule, Step, TensorId};
use crate::energy::{Ledger, NoteSource, PassTimer};
use crate::gpu::{Gpu, Pipeline, gpu_error};
use crate::kernel::{Binding, BindingKind, MAX_SEQUENCES, SPAN_BYTES, Span, fold_grid};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// A schedule with its pipelines and bind groups. Encoding it allocates nothing.
pub struct Prepared {
    schedule: Arc<Schedule>,
    steps: Vec<(Arc<Pipeline>, wgpu::BindGroup)>,
    notes: Arc<[NoteSource]>,
}

impl Prepared {
    /// Builds what a schedule needs. `named` gives the tensor of a name, `pool` the buffers of the plan; `span` is a
    /// [`Tensor::span`].
    ///
    /// # Errors
    /// [`Error::Shader`]; [`Error::MissingTensor`] for a name that `named` does not know or a buffer that the pool
    /// lacks; [`Error::TensorMismatch`] for a
    /// tensor smaller than the schedule needs; [`Error::Memory`].
    pub async fn new(
        gpu: &Gpu,
        schedule: Schedule,
        plan: &MemoryPlan,
        pool: &[Tensor],
        span: &Tensor,
        mut named: impl FnMut(&str) -> Option<Tensor>,
    ) -> Result<Self> {
        if span.bytes() < SPAN_BYTES {
            let (expected, found) = (format!("{SPAN_BYTES} bytes"), format!("{} bytes", span.bytes()));
            return Err(Error::TensorMismatch { name: "span".into(), expected, found });
        }
        let tensors = schedule
            .tensors
            .iter()
            .zip(&plan.buffer_of)
            .map(|(info, buffer)| match buffer {
                Some(buffer) => pool.get(*buffer).cloned().ok_or_else(|| Error::MissingTensor {
                    name: format!("{} (activations {buffer})", info.name),
                }),
                None => match named(&info.name) {
                    Some(tensor) if tensor.bytes() < info.bytes => Err(Error::TensorMismatch {
                        name: info.name.clone(),
                        expected: format!("{} bytes", info.bytes),
                        found: format!("{} bytes", tensor.bytes()),
                    }),
                    Some(tensor) => Ok(tensor),
                    None => Err(Error::MissingTensor { name: info.name.clone() }),
                },
            })
            .collect::<Result<Vec<_>>>()?;
        let params = upload_params(gpu, &schedule).await?;
        let mut steps = Vec::with_capacity(schedule.steps.len());
        for (step, params) in schedule.steps.iter().zip(&params) {
            let pipeline = gpu.pipeline(step.launch.as_ref()).await?;
            let group = bind(gpu, step, &pipeline, params, span, &tensors).await?;
            steps.push((pipeline, group));
        }
        let notes = noted(&schedule, &tensors)?;
        Ok(Self { schedule: Arc::new(schedule), steps, notes })
    }

    /// The schedule.
    pub fn schedule(&self) -> &Arc<Schedule> {
        &self.schedule
    }

    /// Records one pass over a span of each of some sequences, at most [`MAX_SEQUENCES`], into the caller's encoder, and its
    /// counts into the ledger. The uniform must say the same.
    ///
    /// # Errors
    /// [`Error::Request`] for more rows or sequences than the schedule allows, or none; [`Error::Shape`] for a grid that is too
    /// large.
    pub fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        spans: impl AsRef<[Span]>,
        ledger: &mut Ledger,
    ) -> Result<()> {
        let spans = spans.as_ref();
        let rows: u64 = spans.iter().map(|span| u64::from(span.rows)).sum();
        let most = self.schedule.max_rows;
        if rows > u64::from(most) || spans.is_empty() || spans.iter().any(|span| span.rows == 0) {
            return Err(Error::Request(format!("a pass takes 1 to {most} rows, found {rows}")));
        }
        if spans.len() > MAX_SEQUENCES as usize {
            let found = spans.len();
            return Err(Error::Request(format!(
                "a pass takes up to {MAX_SEQUENCES} sequences, found {found}"
            )));
        }
        let recorded = ledger.recorded();
        let encoded = self.encode_pass(encoder, spans, ledger);
        if encoded.is_err() {
            ledger.take_back(recorded);
        }
        encoded
    }

    fn encode_pass(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        spans: &[Span],
        ledger: &mut Ledger,
    ) -> Result<()> {
        let mut timer = ledger.begin_pass(&self.schedule, spans);
        if let Some(PassTimer::PerDispatch(stamps)) = &mut timer {
            for step in 0..self.steps.len() {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some(self.schedule.steps[step].launch.name()),
                    timestamp_writes: stamps.writes(step),
                });
                self.encode_step(&mut pass, step, spans)?;
            }
        } else {
            let timestamp_writes = match &timer {
                Some(PassTimer::Whole(stamps)) => stamps.writes(0),
                _ => None,
            };
            let mut pass = encoder
                .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("wattle"), timestamp_writes });
            for step in 0..self.steps.len() {
                self.encode_step(&mut pass, step, spans)?;
            }
        }
        ledger.end_pass(encoder, timer);
        ledger.keep(encoder, &self.notes, Span::total_rows(spans));
        Ok(())
    }

    fn encode_step(&self, pass: &mut wgpu::ComputePass<'_>, step: usize, spans: &[Span]) -> Result<()> {
        let launch = &self.schedule.steps[step].launch;
        let workgroups = launch.workgroups(spans);
        let [x, y, z] = fold_grid(workgroups)
            .ok_or_else(|| Error::shape(launch.name(), "grid", "at most 65535^2 workgroups", workgroups))?;
        let (pipeline, group) = &self.steps[step];
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(x, y, z);
        Ok(())
    }
}

/// The tensors whose rows are kept.
fn noted(schedule: &Schedule, tensors: &[Tensor]) -> Result<Arc<[NoteSource]>> {
    let note = |(id, row_words): &(TensorId, u64)| {
        let (tensor, info) = (&tensors[id.index()], &schedule.tensors[id.index()]);
        let refuse = |expected: String, found: String| {
            Err(Error::TensorMismatch { name: info.name.clone(), expected, found })
        };
        if info.home != Home::Named {
            return refuse("a named tensor, to be kept by the ledger".into(), "an activation".into());
        }
        let needed = 4 * row_words * u64::from(schedule.max_rows);
        if info.bytes < needed {
            return refuse(format!("{needed} bytes for the ledger"), format!("{} bytes", info.bytes));
        }
        if !tensor.buffer().usage().contains(wgpu::BufferUsages::COPY_SRC) {
            return refuse("a buffer that can be copied from".into(), "one that cannot".into());
        }
        Ok(NoteSource { name: info.name.as_str().into(), tensor: tensor.clone(), row_words: *row_words })
    };
    schedule.notes.iter().map(note).collect()
}

/// Puts every step's uniform into one buffer.
async fn upload_params(gpu: &Gpu, schedule: &Schedule) -> Result<Vec<Tensor>> {
    let (data, places) = schedule.params(gpu.capabilities().uniform_alignment);
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let buffer = gpu.buffer("params", data.len() as u64, usage).await?;
    gpu.scoped(|_| gpu.queue().write_buffer(&buffer, 0, &data))
        .await
        .map_err(|error| gpu_error("upload of params", error))?;
    Ok(places.into_iter().map(|(offset, bytes)| Tensor::part(&buffer, offset, bytes)).collect())
}

/// WebGPU lets no dispatch read and write parts of one buffer; the host would hear of it at its own submit.
fn check_sharing(step: &Step, bound: &[(Binding, &Tensor)]) -> Result<()> {
    let (written, read): (Vec<_>, Vec<_>) =
        bound.iter().partition(|(binding, _)| binding.kind == BindingKind::Write);
    for (binding, tensor) in written {
        if let Some((other, _)) = read.iter().find(|(_, other)| other.buffer() == tensor.buffer()) {
            let found = format!("a part of the buffer that holds '{}'", other.name);
            return Err(Error::shape(step.launch.name(), binding.name, "a buffer that is not read", found));
        }
    }
    Ok(())
}

async fn bind(
    gpu: &Gpu,
    step: &Step,
    pipeline: &Pipeline,
    params: &Tensor,
    span: &Tensor,
    tensors: &[Tensor],
) -> Result<wgpu::BindGroup> {
    let mut bound = Vec::new();
    for binding in step.launch.bindings() {
        let tensor = match binding.kind {
            BindingKind::Params => params,
            BindingKind::Span => span,
            BindingKind::Read | BindingKind::Write => {
                let id = step.tensors.iter().find(|(index, _)| *index == binding.index).map(|(_, id)| *id);
                match id {
                    Some(id) => &tensors[id.index()],
                    None => return Err(Error::shape(step.launch.name(), binding.name, "a tensor", "none")),
                }
            }
        };
        bound.push((binding, tensor));
    }
    check_sharing(step, &bound)?;
    let entries: Vec<_> = bound
        .iter()
        .map(|(binding, tensor)| wgpu::BindGroupEntry { binding: binding.index, resource: tensor.binding() })
        .collect();
    let descriptor = wgpu::BindGroupDescriptor {
        label: Some(step.launch.name()),
        layout: &pipeline.layout,
        entries: &entries,
    };
    gpu.scoped(|device| device.create_bind_group(&descriptor))
        .await
        .map_err(|error| gpu_error(format!("binding '{}' at {}", step.launch.name(), step.site), error))
}
