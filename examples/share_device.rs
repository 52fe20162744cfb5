//! A host with a device of its own: the model runs on it, its passes go into the host's encoder between the host's
//! commands, and the logits stay in a GPU buffer that the host copies from.
//!
//! `cargo run --release --example share_device`

use wattle::model::forward::Sampling;
use wattle::model::plan::WeightPlan;
use wattle::model::{LoadOptions, Model, Session, SessionOptions, open};
use wattle::wgpu;
use wattle::{Error, Gpu, Result};

fn main() -> Result<()> {
    let (device, queue) = pollster::block_on(host())?;
    let gpu = Gpu::from_device(&device, &queue);
    gpu.block_on(run(&device, &queue, &gpu))
}

/// The host's part: an instance, an adapter, a device with whatever it needs and what Wattle asks for.
async fn host() -> Result<(wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = instance
        .request_adapter(&wgpu::RequestAdapterOptions::default())
        .await
        .map_err(|error| Error::NoAdapter { hint: error.to_string() })?;
    let (required_features, required_limits) = Gpu::wanted(&adapter);
    let descriptor = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
    adapter
        .request_device(&descriptor)
        .await
        .map_err(|error| Error::NoDevice { adapter: adapter.get_info().name, message: error.to_string() })
}

async fn run(device: &wgpu::Device, queue: &wgpu::Queue, gpu: &Gpu) -> Result<()> {
    // Wattle's part: load, make a session.
    let source = open(concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories-nested"))?;
    let model = Model::load(gpu, &source, LoadOptions::new(WeightPlan::uniform("int4".parse()?))).await?;
    let mut session = Session::new(&model, SessionOptions::new(256, Sampling::GREEDY)).await?;

    // One encoder of the host's: a prompt, three decode steps that hand their tokens on by themselves, and a copy
    // of the logits into the host's own buffer.
    let prompt: Vec<u32> = "There was once".bytes().map(u32::from).collect();
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    session.prefill(&mut encoder, &prompt, true)?;
    for _ in 0..3 {
        session.decode(&mut encoder)?;
    }
    let logits = session.tensor("logits").ok_or_else(|| Error::MissingTensor { name: "logits".into() })?;
    let mine = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("the host's copy"),
        size: logits.bytes(),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    encoder.copy_buffer_to_buffer(logits.buffer(), logits.offset(), &mine, 0, logits.bytes());
    queue.submit([encoder.finish()]);

    let samples = session.tensor("samples").ok_or_else(|| Error::MissingTensor { name: "samples".into() })?;
    let tokens: Vec<u32> = samples.read(gpu, 0, session.sampled() as usize).await?;
    let text: String = tokens.into_iter().map(|token| char::from(token as u8)).collect();
    println!(
        "'There was once' goes on with {text:?}; one submit, {} bytes of logits on the device",
        mine.size()
    );
    Ok(())
}
