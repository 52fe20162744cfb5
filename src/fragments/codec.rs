//! `shaders/codec`: how stored words become numbers.

use super::InputRows;
use crate::Result;
use crate::energy::{OpClass, Work};
use crate::gpu::Capabilities;
use crate::kernel::Binding;
use crate::kernel::check::{bytes, require};
use crate::quant::{Codes, ScaleFormat, Storage, WeightFormat, Width, plane_words, row_words};
use crate::shader::{Source, fragment};

/// How a kernel decodes weight words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// 32-bit floats.
    F32,
    /// 16-bit floats unpacked by baseline WGSL.
    F16,
    /// 16-bit floats read natively.
    F16Native,
    /// Integer codes, with their scales.
    Int(Codes, ScaleFormat),
}

impl Codec {
    /// Every codec.
    pub fn all() -> impl Iterator<Item = Self> {
        let storages = [Storage::Sliced, Storage::Parent, Storage::Planes];
        let widths = storages.into_iter().flat_map(|storage| Width::ALL.map(|width| (storage, width)));
        let codes = widths.flat_map(|(storage, width)| {
            [false, true].map(|extra_precision| Codes { width, storage, extra_precision })
        });
        let codes = codes.filter(|codes| canonical(*codes) == *codes);
        let ints = codes.flat_map(|codes| [ScaleFormat::F32, ScaleFormat::F16].map(|s| Self::Int(codes, s)));
        [Self::F32, Self::F16, Self::F16Native].into_iter().chain(ints)
    }

    /// The codec that reads a format on a device.
    pub fn of(format: WeightFormat, capabilities: &Capabilities) -> Self {
        match format {
            WeightFormat::F32 => Self::F32,
            WeightFormat::F16 if capabilities.f16 => Self::F16Native,
            WeightFormat::F16 => Self::F16,
            WeightFormat::Int(int) => Self::Int(canonical(int.codes), int.scales),
        }
    }

    /// Adds its fragments.
    pub(crate) fn add_to(self, source: Source) -> Source {
        let (codes, scales) = match self {
            Self::F32 => {
                return source.with(fragment!("codec/floats.wgsl")).with(fragment!("codec/f32.wgsl"));
            }
            Self::F16 => {
                return source.with(fragment!("codec/floats.wgsl")).with(fragment!("codec/f16.wgsl"));
            }
            Self::F16Native => {
                let source = source.with(fragment!("codec/floats.wgsl"));
                return source.with(fragment!("codec/f16_native.wgsl", f16));
            }
            Self::Int(codes, scales) => (codes, scales),
        };
        let source = source.with(fragment!("codec/integers.wgsl")).constant("WIDTH", codes.width.bits());
        let source = source.with(match scales {
            ScaleFormat::F32 => fragment!("scales/f32.wgsl"),
            ScaleFormat::F16 => fragment!("scales/f16.wgsl"),
        });
        let slice =
            |source: Source| source.with(fragment!("codec/slice.wgsl")).flag("EXTRA", codes.extra_precision);
        match (codes.storage, codes.width) {
            (Storage::Sliced, Width::Int8) => source.with(fragment!("codec/sliced_8.wgsl")),
            (Storage::Sliced, Width::Int4) if !codes.extra_precision => {
                source.with(fragment!("codec/sliced_4.wgsl"))
            }
            (Storage::Sliced, _) => source
                .with(fragment!("codec/sliced.wgsl"))
                .with(fragment!("codec/plane.wgsl"))
                .with(fragment!("codec/plane_words.wgsl"))
                .flag("EXTRA", codes.extra_precision),
            (Storage::Parent, _) => slice(source.with(fragment!("codec/parent.wgsl"))),
            (Storage::Planes, _) => {
                let source = source.with(fragment!("codec/planes.wgsl")).with(fragment!("codec/plane.wgsl"));
                slice(source.with(fragment!("codec/plane_words.wgsl")))
            }
        }
    }

    /// Whether words are codes that need a scale and a zero point.
    pub fn is_int(self) -> bool {
        matches!(self, Self::Int(..))
    }

    /// Adds what its codes need to meet inputs that are codes.
    pub(crate) fn add_signed_to(self, source: Source) -> Source {
        // What is taken from codes so that they fit a signed byte.
        let centre = match self {
            Self::Int(Codes { width: Width::Int8, .. }, _)
            | Self::Int(Codes { width: Width::Int7, extra_precision: true, .. }, _) => 128,
            _ => 0,
        };
        source.with(fragment!("codec/signed.wgsl")).constant("CENTRE", centre)
    }

    /// Checks that weights are codes where inputs are.
    pub(crate) fn check_inputs(self, kernel: &'static str, inputs: InputRows) -> Result<()> {
        let coded = inputs != InputRows::I8 || self.is_int();
        require(kernel, "codec", coded, "integers", format_args!("{self:?}"))
    }

    /// The bindings of its words and scales.
    pub fn bindings(self) -> impl Iterator<Item = Binding> {
        let scales = self.is_int().then_some(Binding::read(3, "scales"));
        [Binding::read(2, "words")].into_iter().chain(scales)
    }

    /// Checks that a stored row holds its inputs, and has a scale for each.
    pub(crate) fn check_row(
        self,
        kernel: &'static str,
        inputs: u32,
        stored_words: u32,
        (blocks, block_shift): (u32, u32),
    ) -> Result<()> {
        let least = row_words(self.planes(), inputs as usize) as u32;
        let whole = stored_words >= least && stored_words.is_multiple_of(4);
        let expected = format_args!("a multiple of 4 from {least} on");
        require(kernel, "row_words", whole, expected, stored_words)?;
        if !self.is_int() {
            return Ok(());
        }
        require(kernel, "block_shift", (4..=31).contains(&block_shift), "4 to 31", block_shift)?;
        let least = (inputs.saturating_sub(1) >> block_shift) + 1;
        require(kernel, "blocks", blocks >= least, format_args!("at least {least}"), blocks)
    }

    fn planes(self) -> &'static [u32] {
        match self {
            Self::F32 => &[32],
            Self::F16 | Self::F16Native => &[16],
            Self::Int(codes, _) => codes.planes(),
        }
    }

    /// Bytes of the planes that are read of a row of so many inputs, padding included.
    pub fn read_bytes(self, inputs: u32) -> u64 {
        let read = match self {
            Self::F32 | Self::F16 | Self::F16Native => self.planes(),
            Self::Int(codes, _) => &codes.planes()[codes.read_planes()],
        };
        read.iter().map(|bits| 4 * plane_words(*bits, inputs as usize) as u64).sum()
    }

    /// Bits of a weight that are read.
    pub fn read_bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::F16 | Self::F16Native => 16,
            Self::Int(codes, _) => codes.read_bits(),
        }
    }

    /// Bytes of so many scales with their zero points.
    pub fn scale_bytes(self, blocks: u32) -> u64 {
        match self {
            Self::F32 | Self::F16 | Self::F16Native => 0,
            Self::Int(_, scales) => 4 * u64::from(blocks) * scales.words() as u64,
        }
    }

    /// Bytes of the words and scales of so many matrices of so many rows.
    pub(crate) fn sizes(
        self,
        [matrices, rows]: [u32; 2],
        row_words: u32,
        blocks: u32,
    ) -> impl Iterator<Item = (&'static str, u64)> {
        let of_scales = u64::from(matrices) * u64::from(rows) * self.scale_bytes(blocks);
        let scales = self.is_int().then_some(("scales", of_scales));
        [("words", bytes([matrices, rows, row_words]))].into_iter().chain(scales)
    }

    /// What decoding so many weights computes.
    pub(crate) fn work(self, useful: u64, executed: u64, work: Work) -> Work {
        match self {
            Self::F32 => work,
            _ => work.with_ops(OpClass::Unpack, useful, executed),
        }
    }
}

/// Of codes that are stored and read alike, one: at 8 bits the slice is the parent, and nothing lies above it.
fn canonical(codes: Codes) -> Codes {
    match codes {
        Codes { width: Width::Int8, storage: Storage::Planes, .. } => {
            Codes { extra_precision: false, ..codes }
        }
        Codes { width: Width::Int8, .. } => Codes::sliced(Width::Int8),
        _ => codes,
    }
}
