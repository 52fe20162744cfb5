//! Transformer inference on any GPU: hand-written WGSL kernels on [`wgpu`], chained into forward passes, with a
//! ledger of what each of them cost.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use wattle::model::forward::Sampling;
//! use wattle::model::plan::WeightPlan;
//! use wattle::model::session::GenerateOptions;
//! use wattle::model::{LoadOptions, Model, Session, SessionOptions, open};
//! use wattle::{Gpu, GpuOptions};
//!
//! # async fn story() -> wattle::Result<()> {
//! let gpu = Gpu::open(GpuOptions::default()).await?;
//! let source = open("models/stories-nested")?;
//! let int4 = WeightPlan::uniform("int4".parse()?);
//! let model = Model::load(&gpu, &source, LoadOptions::new(int4)).await?;
//!
//! let mut session = Session::new(&model, SessionOptions::new(512, Sampling::GREEDY)).await?;
//! let prompt: Vec<u32> = "Once a girl named Lera".bytes().map(u32::from).collect();
//! let request = GenerateOptions { max_tokens: 200, stop_ids: vec![] };
//! let print = |token: u32| {
//!     print!("{}", char::from(token as u8)); // this model's tokens are bytes
//!     ControlFlow::Continue(())
//! };
//! session.generate(&prompt, &request, print).await?;
//! println!("{}", session.ledger().table());
//! # Ok(())
//! # }
//! ```
//!
//! # Five types
//!
//! * [`Gpu`]: a device and its queue, opened here or adopted from a host ([`Gpu::from_device`]), with what it can do and
//!   the pipelines built on it.
//! * [`Model`](model::Model): a [description](model::config::ModelConfig) and its weights on a device, in the formats of a
//!   [plan](model::plan::WeightPlan). Sequences share it.
//! * [`Session`](model::Session): one sequence, with its caches. It records passes into an encoder of the caller's, or
//!   submits them itself.
//! * [`Schedule`](schedule::Schedule): a pass as plain data, which can be printed, compared and counted without a GPU.
//! * [`Ledger`](energy::Ledger): what was run, what it moved and computed, and how long it took.
//!
//! # A pass is data first
//!
//! Nothing below touches a GPU: it says what a token costs before anything is loaded.
//!
//! ```
//! use wattle::energy::{ByteClass, Phase};
//! use wattle::gpu::Capabilities;
//! use wattle::kernel::Span;
//! use wattle::model::forward::{PassOptions, record};
//! use wattle::model::{family, layout::Layout, plan::WeightPlan};
//!
//! # fn main() -> wattle::Result<()> {
//! # let json = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/stories/config.json"));
//! let (config, _) = family::parse(json)?; // a config.json
//! let device = Capabilities::webgpu();
//! let layout = Layout::new(&config, &WeightPlan::uniform("int4".parse()?), &device)?;
//! let options = PassOptions::new(Phase::Decode, 1, 512);
//! let step = record(&config, &layout, &device, &options)?;
//! println!("{step}"); // a line per dispatch
//!
//! let keys_read = |position| step.work(Span { position, rows: 1 }).bytes_of(ByteClass::KvRead).least;
//! assert!(keys_read(500) > keys_read(5));
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! | module | holds |
//! |---|---|
//! | [`model`] | descriptions, checkpoints, weights, the forward pass, sessions |
//! | [`schedule`] | passes as data; [memory](schedule::memory) from lifetimes; [encoding](schedule::execute) |
//! | [`kernels`] | a module per kernel: its choices, numbers, grid and work |
//! | [`fragments`] | the choices kernels share: codecs, norms, epilogues |
//! | [`kernel`], [`shader`] | what every kernel says about itself; linking WGSL |
//! | [`quant`] | storage formats, packing and slicing on the CPU |
//! | [`mod@reference`] | every kernel as plain loops on the CPU: the specification |
//! | [`energy`] | work, the ledger, its tables and records |
//! | [`gpu`], [`tensor`] | the device and its buffers |
//! | [`tuning`] | which kernel computes a product, as data |
//! | [`verify`] | a model held against what another implementation computed |
//!
//! # Conventions
//!
//! Tensors are row-major, innermost dimension last, and their shapes are written `[rows, width]`. Letters: `V` vocabulary,
//! `d` residual stream, `H` query heads, `G` key/value heads, `h` head, `f` feed-forward, `E` experts, `k` choices. Sizes
//! are in bytes; times are a [`Duration`](std::time::Duration), or nanoseconds where a name ends in `_ns`. What fails
//! returns an [`Error`] that names the kernel or tensor; the [`mod@reference`] alone trusts its callers. Futures need no
//! particular executor; the `blocking` feature adds `Gpu::open_blocking` and `Gpu::block_on`, which sleeps in the driver
//! where other executors ask again and again.

pub mod energy;
mod error;
pub mod fragments;
pub mod gpu;
pub mod kernel;
pub mod kernels;
#[cfg(feature = "model")]
pub mod model;
pub mod quant;
#[cfg(feature = "model")]
pub mod reference;
pub mod schedule;
pub mod shader;
pub mod tensor;
#[cfg(feature = "model")]
pub mod tuning;
#[cfg(feature = "files")]
pub mod verify;

pub use error::{Error, Result};
pub use gpu::{Gpu, GpuOptions};
pub use tensor::Tensor;
pub use wgpu;

/// The example of the README, compiled.
#[cfg(all(doctest, feature = "files"))]
#[doc = include_str!("../README.md")]
struct Readme;
