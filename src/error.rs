//! One error type for everything that can go wrong, rich enough to act on.

use std::fmt::Display;

#[cfg(feature = "model")]
use crate::model::slot::Place;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the kernel or tensor it happened to, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter that can run compute shaders was found.
    #[error("no GPU adapter found: {hint}")]
    NoAdapter {
        /// What to install or set.
        hint: String,
    },
    /// The adapter refused to hand out a device.
    #[error("adapter '{adapter}' gave no device: {message}")]
    NoDevice {
        /// Name of the adapter.
        adapter: String,
        /// What the driver said.
        message: String,
    },
    /// The device went away: driver reset, watchdog, unplugged, or destroyed by its owner.
    #[error("device lost: {message}")]
    DeviceLost {
        /// What the driver said.
        message: String,
    },
    /// The GPU API refused something that is neither a shader nor an allocation.
    #[error("{operation}: {message}")]
    Gpu {
        /// What was being done.
        operation: String,
        /// What the API said.
        message: String,
    },
    /// A shader did not compile, or its pipeline could not be built.
    #[error("kernel '{kernel}': {message}")]
    Shader {
        /// The kernel, and the part of its source the message points at where that is known.
        kernel: String,
        /// The compiler's message.
        message: String,
    },
    /// A kernel was given a tensor, a size or an option it cannot take.
    #[error("kernel '{kernel}', {tensor}: expected {expected}, found {found}")]
    Shape {
        /// The kernel.
        kernel: &'static str,
        /// The tensor or option.
        tensor: String,
        /// What the kernel takes.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// A buffer could not be allocated, or would pass the ceiling that the host set.
    #[error("{what}: needs {needed_bytes} bytes, {}", available(*available_bytes))]
    Memory {
        /// What the memory was for.
        what: String,
        /// Bytes it needs.
        needed_bytes: u64,
        /// Bytes there are: the ceiling, the binding limit, or 0 when the driver gave no figure.
        available_bytes: u64,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file was read but does not say what it should.
    #[error("{file}: {message}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// A model description is inconsistent, or asks for something no kernel here does.
    #[error("model configuration, '{key}': expected {expected}, found {found}")]
    Config {
        /// The key.
        key: String,
        /// What would do.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A `model_type` that no family here reads.
    #[error("unknown model_type '{found}'; known are {known}")]
    UnknownModel {
        /// The type found.
        found: String,
        /// The types that are read.
        known: String,
    },
    /// A checkpoint lacks a tensor that the model needs.
    #[error("tensor '{name}' is missing")]
    MissingTensor {
        /// Its name in the checkpoint.
        name: String,
    },
    /// A tensor has another shape or element type than the model needs.
    #[error("tensor '{name}': expected {expected}, found {found}")]
    TensorMismatch {
        /// Its name in the checkpoint.
        name: String,
        /// The shape or type needed.
        expected: String,
        /// The shape or type found.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error("tensor '{name}' holds {value} at element {index}")]
    NotFinite {
        /// Its name in the checkpoint.
        name: String,
        /// Row-major index of the first such element.
        index: u64,
        /// The value.
        value: f32,
    },
    /// A prompt or a request that cannot be served: empty, too long, a token outside the vocabulary.
    #[error("{0}")]
    Request(String),
    /// The host asked to stop.
    #[error("cancelled while {0}")]
    Cancelled(String),
    /// Something that is understood but not offered.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// Why not.
        why: String,
    },
}

/// What there is of the memory that was asked for.
fn available(bytes: u64) -> String {
    match bytes {
        0 => "which the device does not have".into(),
        _ => format!("{bytes} are available"),
    }
}

impl Error {
    /// A tensor or option that a kernel cannot take.
    pub(crate) fn shape(
        kernel: &'static str,
        tensor: impl Into<String>,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        Self::Shape {
            kernel,
            tensor: tensor.into(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

#[cfg(feature = "model")]
impl Error {
    /// A configuration value that will not do.
    pub(crate) fn config(key: impl Into<String>, expected: impl Display, found: impl Display) -> Self {
        Self::Config { key: key.into(), expected: expected.to_string(), found: found.to_string() }
    }

    /// Cross-attention at a place that must be run.
    pub(crate) fn no_encoder(place: Place) -> Self {
        let what = format!("'{}'", place.name("cross_attention"));
        Self::Unsupported { what, why: "there is no encoder to attend to yet".into() }
    }

    /// A malformed file.
    pub(crate) fn format(file: impl Into<String>, message: impl Display) -> Self {
        Self::Format { file: file.into(), message: message.to_string() }
    }
}
