//! Which kernel computes a product, and how its work is divided: a table kept as data.
//!
//! A table belongs to a kind of adapter and is a list of rules, of which the first that fits a product decides. The
//! crate ships one file, `src/tuning/shipped.json`; `cargo run --release --example tune` measures on the adapter at hand
//! and writes the same format. What is chosen changes how fast a product is computed, and how it is rounded.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::fragments::InputRows;
use crate::gpu::Capabilities;
use crate::kernels::matvec::VecTile;
use crate::{Error, Result};

/// A file of tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuningFile {
    /// Version of the format: 1.
    pub schema: u32,
    /// One for each kind of adapter; the first that fits is taken.
    pub tables: Vec<Tuning>,
}

/// The rules of one kind of adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// The adapters it is for.
    pub adapter: AdapterKind,
    /// What to do; the first that fits a product decides.
    pub rules: Vec<Rule>,
}

/// Adapters that want to be treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    /// A CPU that plays a GPU: lanes are vector elements, barriers cost, and neighbours gain nothing by reading
    /// neighbouring words.
    Cpu,
    /// Any other.
    Gpu,
}

/// What to do with products that are no larger than its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Most rows of a pass; of a product with experts' matrices, most rows of one expert where all have as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u32>,
    /// Most inputs of a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_inputs: Option<u32>,
    /// Most bits of a weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bits: Option<u32>,
    /// The kernel, with its tile.
    #[serde(flatten)]
    pub kernel: ProductKernel,
}

/// A kernel for products with a weight matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductKernel {
    /// [`crate::kernels::matvec`]: rows in blocks, weights straight from memory.
    Matvec(VecTile),
    /// [`crate::kernels::matmul`]: rows in tiles, weights through workgroup memory.
    Matmul {},
    /// [`crate::kernels::matmul_coop`]: the same on cooperative matrices, where the device has them and a weight has 16
    /// bits at most; a rule for it fits nothing else.
    MatmulCoop {},
    /// [`crate::kernels::matvec`] with inputs that are codes, on [`ProductPath::Integer`] alone.
    MatvecI8(VecTile),
    /// [`crate::kernels::matmul`] with inputs that are codes, on [`ProductPath::Integer`] alone.
    MatmulI8 {},
}

/// What products may round what they multiply to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProductPath {
    /// Nothing: inputs in f32, weights as they are stored.
    Float,
    /// f16, on cooperative matrices, where the device was opened with them; else as [`ProductPath::Float`]. Attention to a prompt
    /// follows the product that makes its queries.
    #[default]
    Matrix,
    /// Inputs to 8-bit codes in blocks of 32 ([`crate::kernels::quantize`]), where weights are codes too and the table
    /// has a rule for it; else as [`ProductPath::Float`].
    Integer,
}

impl ProductPath {
    /// Every path.
    pub const ALL: [Self; 3] = [Self::Float, Self::Integer, Self::Matrix];
}

impl fmt::Display for ProductPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Float => "float",
            Self::Integer => "integer",
            Self::Matrix => "matrix",
        })
    }
}

impl FromStr for ProductPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|path| path.to_string() == text);
        found.ok_or_else(|| Error::Unsupported {
            what: format!("path '{text}'"),
            why: "paths are float, integer and matrix".into(),
        })
    }
}

/// What a rule is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductShape {
    /// Most rows of a pass; of a product with experts' matrices, most rows of one expert where all have as many.
    pub rows: u32,
    /// Inputs of a row.
    pub inputs: u32,
    /// Bits of a weight that are read.
    pub bits: u32,
    /// Whether the device has cooperative matrices.
    pub matrices: bool,
    /// What it may round to.
    pub path: ProductPath,
}

impl ProductKernel {
    /// How it reads inputs of a width.
    pub fn inputs(self, in_features: u32) -> InputRows {
        match self {
            Self::Matvec(_) | Self::Matmul {} | Self::MatmulCoop {} => InputRows::of(in_features),
            Self::MatvecI8(_) | Self::MatmulI8 {} => InputRows::I8,
        }
    }

    /// Whether it computes such a product.
    fn takes(self, shape: ProductShape) -> bool {
        match self {
            Self::Matvec(_) | Self::Matmul {} => true,
            Self::MatmulCoop {} => shape.path == ProductPath::Matrix && shape.matrices && shape.bits <= 16,
            Self::MatvecI8(_) | Self::MatmulI8 {} => shape.path == ProductPath::Integer && shape.bits <= 8,
        }
    }
}

impl TuningFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Format`] for what is no file of tables, or has tiles that no kernel can have.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let file: Self = serde_json::from_str(text).map_err(|error| Error::format(name, error))?;
        if file.schema != 1 {
            return Err(Error::format(name, format!("schema {} is not 1", file.schema)));
        }
        for table in &file.tables {
            for (n, rule) in table.rules.iter().enumerate() {
                if let ProductKernel::Matvec(tile) | ProductKernel::MatvecI8(tile) = rule.kernel {
                    let at = |error| format!("rule {n} of the table for {:?}: {error}", table.adapter);
                    tile.check(false).map_err(|error| Error::format(name, at(error)))?;
                }
            }
        }
        Ok(file)
    }

    /// The file that comes with the crate.
    pub fn shipped() -> &'static Self {
        static FILE: OnceLock<TuningFile> = OnceLock::new();
        // A file that does not parse would leave no table, and every product to the fall-back below; a test reads it.
        FILE.get_or_init(|| {
            Self::parse("tuning/shipped.json", include_str!("tuning/shipped.json"))
                .unwrap_or(Self { schema: 1, tables: Vec::new() })
        })
    }

    /// The table for a device.
    pub fn for_device(&self, capabilities: &Capabilities) -> Option<&Tuning> {
        let kind = if capabilities.is_cpu { AdapterKind::Cpu } else { AdapterKind::Gpu };
        self.tables.iter().find(|table| table.adapter == kind)
    }
}

impl Tuning {
    /// The table that the crate ships for a device.
    pub fn shipped(capabilities: &Capabilities) -> Self {
        let nothing = || Self { adapter: AdapterKind::Gpu, rules: Vec::new() };
        TuningFile::shipped().for_device(capabilities).cloned().unwrap_or_else(nothing)
    }

    /// The kernel for a product.
    pub fn kernel(&self, shape: ProductShape) -> ProductKernel {
        let fits = |limit: Option<u32>, value: u32| limit.is_none_or(|limit| value <= limit);
        let rule = self.rules.iter().find(|rule| {
            rule.kernel.takes(shape)
                && fits(rule.max_rows, shape.rows)
                && fits(rule.max_inputs, shape.inputs)
                && fits(rule.max_bits, shape.bits)
        });
        rule.map_or(ProductKernel::Matmul {}, |rule| rule.kernel)
    }

    /// The tile of a matvec whose rows are not in blocks, and how it reads inputs: the last row alone, or rows that choose
    /// their experts.
    pub fn one_row(&self, shape: ProductShape) -> (VecTile, InputRows) {
        let kernel = self.kernel(ProductShape { rows: 1, ..shape });
        let tile = match kernel {
            ProductKernel::Matvec(tile) | ProductKernel::MatvecI8(tile) => VecTile { rows: 1, ..tile },
            ProductKernel::Matmul {} | ProductKernel::MatmulCoop {} | ProductKernel::MatmulI8 {} => {
                VecTile::shared(shape.inputs, 1)
            }
        };
        (tile, kernel.inputs(shape.inputs))
    }
}
