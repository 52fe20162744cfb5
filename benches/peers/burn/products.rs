//! Products in a row: the same input with weights in other memory each time.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use burn_tensor::quantization::{QuantScheme, QuantValue, ScaleDtype};
use burn_tensor::{DType, Device, Tensor, TensorData};

use super::Result;

/// What one run does, and what to print about it.
pub struct Products {
    device: Device,
    x: Tensor<2>,
    weights: Vec<Tensor<2>>,
    pub note: String,
}

/// How weights lie in memory. burn has kernels for both and is better now with one, now with the other.
#[derive(Clone, Copy)]
enum Layout {
    /// `[outputs, inputs]`, transposed by its strides; blocks along the inputs.
    Outputs,
    /// `[inputs, outputs]`, as burn's own linear layer has them; blocks along the outputs.
    Inputs,
}

impl Products {
    /// Reads `x.f32`, `[rows, inputs]`, and `w.f32`, `[outputs, inputs]`; tunes both layouts and keeps the faster;
    /// writes `y.f32`, and `stored.f32`, the weights as they are after rounding.
    pub fn new(device: &Device, format: &str, shape: [usize; 3], copies: usize) -> Result<Self> {
        // burn panics where it has no kernel; the other layout may have one.
        let with = |layout| {
            let made = || Self::with_layout(device, format, shape, copies, layout);
            catch_unwind(AssertUnwindSafe(made)).unwrap_or_else(|panic| Err(super::message(&*panic).into()))
        };
        let (outputs, inputs) = (with(Layout::Outputs), with(Layout::Inputs));
        let products = match (outputs, inputs) {
            (Ok(outputs), Ok(inputs)) if outputs.quickest()? <= inputs.quickest()? => outputs,
            (Ok(outputs), Err(_)) => outputs,
            (_, inputs) => inputs?,
        };
        products.write()?;
        Ok(products)
    }

    fn with_layout(
        device: &Device,
        format: &str,
        [rows, outputs, inputs]: [usize; 3],
        copies: usize,
        layout: Layout,
    ) -> Result<Self> {
        let float = if format == "f16" { DType::F16 } else { DType::F32 };
        if !device.supports_dtype(float) {
            return Err("the device has no f16".into());
        }
        let scheme = scheme(format)?;
        let (values, shape) = match layout {
            Layout::Outputs => (read("w.f32")?, [outputs, inputs]),
            Layout::Inputs => (transposed(&read("w.f32")?, inputs), [inputs, outputs]),
        };
        let upload = || {
            let weights = Tensor::<2>::from_data(TensorData::new(values.clone(), shape), device).cast(float);
            let weights = match &scheme {
                Some(scheme) => weights.quantize_dynamic(scheme),
                None => weights,
            };
            match layout {
                Layout::Outputs => weights.transpose(),
                Layout::Inputs => weights,
            }
        };
        let weights = (0..copies).map(|_| upload()).collect();
        let x = Tensor::<2>::from_data(TensorData::new(read("x.f32")?, [rows, inputs]), device).cast(float);
        let stored = scheme.map_or_else(|| format.to_owned(), |scheme| format!("{:?}", scheme.value));
        let layout = match layout {
            Layout::Outputs => "col",
            Layout::Inputs => "row",
        };
        let products = Self { device: device.clone(), x, weights, note: format!("{stored} {layout}") };
        // Tunes.
        products.run(1)?;
        Ok(products)
    }

    /// Everything `times` times, then waits once.
    pub fn run(&self, times: u32) -> Result<Duration> {
        let begin = Instant::now();
        for _ in 0..times {
            for weights in &self.weights {
                drop(self.x.clone().matmul(weights.clone()));
            }
        }
        self.device.sync()?;
        Ok(begin.elapsed())
    }

    fn quickest(&self) -> Result<Duration> {
        let runs = (0..3).map(|_| self.run(1)).collect::<Result<Vec<_>>>()?;
        runs.into_iter().min().ok_or_else(|| "no runs".into())
    }

    fn write(&self) -> Result<()> {
        let weights = self.weights.first().ok_or("no weights")?;
        write("y.f32", self.x.clone().matmul(weights.clone()))?;
        write("stored.f32", weights.clone().dequantize().transpose())
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

fn read(file: &str) -> Result<Vec<f32>> {
    Ok(bytemuck::pod_collect_to_vec(&fs::read(file)?))
}

fn write(file: &str, tensor: Tensor<2>) -> Result<()> {
    let values =
        tensor.into_data_dtype(DType::F32).try_to_vec::<f32>().map_err(|error| format!("{error:?}"))?;
    Ok(fs::write(file, bytemuck::cast_slice(&values))?)
}
