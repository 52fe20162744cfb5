//! What products, attention and layers of experts share: how weights are stored, numbers in files, and the choice of the quickest.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use burn_tensor::quantization::{QuantScheme, QuantValue, ScaleDtype};
use burn_tensor::{DType, Device, Tensor, TensorData};

use super::{Error, Result};

/// What one run does.
pub trait Work {
    fn device(&self) -> &Device;

    /// Everything once, without waiting for its end.
    fn submit(&self) -> Result<()>;

    /// How it computes.
    fn note(&self) -> String;

    /// Writes what it computes, and the weights as they are after rounding.
    fn write(&self) -> Result<()>;

    /// Everything `times` times, then waits once.
    fn run(&self, times: u32) -> Result<Duration> {
        let begin = Instant::now();
        for _ in 0..times {
            self.submit()?;
        }
        self.device().sync()?;
        Ok(begin.elapsed())
    }
}

/// A way to do the work.
pub type Way<'a> = Box<dyn Fn() -> Result<Box<dyn Work>> + 'a>;

/// Tunes all ways, keeps the quickest, and writes what it computes.
pub fn quickest(ways: &[Way]) -> Result<Box<dyn Work>> {
    let mut best: Option<(Duration, Box<dyn Work>)> = None;
    let mut problem: Error = "there is no way".into();
    for way in ways {
        let timed = || {
            let work = way()?;
            // Tunes.
            work.run(1)?;
            let runs = (0..3).map(|_| work.run(1)).collect::<Result<Vec<_>>>()?;
            Ok((runs.into_iter().min().unwrap_or_default(), work))
        };
        // burn panics where it has no kernel; another way may have one.
        match catch_unwind(AssertUnwindSafe(timed))
            .unwrap_or_else(|panic| Err(super::message(&*panic).into()))
        {
            Ok((time, work)) => {
                eprintln!("{}: {time:?}", work.note());
                if best.as_ref().is_none_or(|(least, _)| time < *least) {
                    best = Some((time, work));
                }
            }
            Err(error) => {
                eprintln!("no way: {error}");
                problem = error;
            }
        }
    }
    let (_, work) = best.ok_or(problem)?;
    work.write()?;
    Ok(work)
}

/// How weights lie in memory. burn has kernels for both and is better now with one, now with the other.
#[derive(Clone, Copy)]
pub enum Layout {
    /// `[outputs, inputs]`, transposed by its strides; blocks along the inputs.
    Outputs,
    /// `[inputs, outputs]`, as burn's own linear layer has them; blocks along the outputs.
    Inputs,
}

impl Layout {
    pub const BOTH: [Self; 2] = [Self::Outputs, Self::Inputs];
}

/// How weights are stored.
#[derive(Clone)]
pub struct Store {
    pub device: Device,
    /// Of inputs and outputs too.
    pub float: DType,
    scheme: Option<QuantScheme>,
    layout: Layout,
}

impl Store {
    pub fn new(device: &Device, format: &str, layout: Layout) -> Result<Self> {
        let float = if format == "f16" { DType::F16 } else { DType::F32 };
        match device.supports_dtype(float) {
            true => Ok(Self { device: device.clone(), float, scheme: scheme(format)?, layout }),
            false => Err("the device has no f16".into()),
        }
    }

    pub fn is_quantized(&self) -> bool {
        self.scheme.is_some()
    }

    /// Matrices `[..., outputs, inputs]` as `[..., inputs, outputs]`.
    pub fn weights<const D: usize>(&self, values: &[f32], mut shape: [usize; D]) -> Tensor<D> {
        let [outputs, inputs] = [shape[D - 2], shape[D - 1]];
        let values = match self.layout {
            Layout::Outputs => values.to_vec(),
            Layout::Inputs => {
                shape.swap(D - 2, D - 1);
                let transposed = |matrix| transposed(matrix, inputs);
                values.chunks(outputs * inputs).flat_map(transposed).collect()
            }
        };
        let weights = self.floats(values, shape);
        let weights = match &self.scheme {
            Some(scheme) => weights.quantize_dynamic(scheme),
            None => weights,
        };
        match self.layout {
            Layout::Outputs => weights.transpose(),
            Layout::Inputs => weights,
        }
    }

    pub fn floats<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::<D>::from_data(TensorData::new(values, shape), &self.device).cast(self.float)
    }

    pub fn note(&self) -> String {
        let layout = match self.layout {
            Layout::Outputs => "col",
            Layout::Inputs => "row",
        };
        match &self.scheme {
            Some(scheme) => format!("{:?} {layout}", scheme.value),
            None => format!("{} {layout}", if self.float == DType::F16 { "f16" } else { "f32" }),
        }
    }
}

/// 32 weights share an f32 scale: the finest that all of burn's kernels read.
fn scheme(format: &str) -> Result<Option<QuantScheme>> {
    let value = match format {
        "f32" | "f16" => return Ok(None),
        "int8" => QuantValue::Q8S,
        "int4" => QuantValue::Q4S,
        "int2" => QuantValue::Q2S,
        _ => return Err(format!("burn has nothing like {format}").into()),
    };
    Ok(Some(QuantScheme::default().with_value(value).per_block([32], ScaleDtype::F32)))
}

fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values[column..].iter().step_by(columns).copied()).collect()
}

pub fn read(file: &str) -> Result<Vec<f32>> {
    Ok(bytemuck::pod_collect_to_vec(&fs::read(file)?))
}

pub fn write<T: bytemuck::NoUninit>(file: &str, values: &[T]) -> Result<()> {
    Ok(fs::write(file, bytemuck::cast_slice(values))?)
}

/// Weights as they are after rounding, `[..., outputs, inputs]`.
pub fn stored<const D: usize>(weights: &Tensor<D>) -> Result<Vec<f32>> {
    floats(weights.clone().dequantize().transpose())
}

/// What a tensor holds.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let values = tensor.into_data_dtype(DType::F32).try_to_vec::<f32>();
    Ok(values.map_err(|error| format!("{error:?}"))?)
}
