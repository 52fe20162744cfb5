//! Linking WGSL: a kernel, its fragments and its constants, joined into one text.
//!
//! Module-scope declarations in WGSL may come in any order, so linking is concatenation. A kernel calls
//! `decode4(...)`, a fragment defines it, Rust writes the constants. Every part is plain WGSL.

use std::fmt::{self, Write};

/// A piece of WGSL from `shaders/`, with the optional language features it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// Path below `shaders/`.
    pub name: &'static str,
    /// The text.
    pub text: &'static str,
    /// What it needs of the device.
    pub needs: Needs,
}

/// Optional device features that a piece of WGSL uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Needs {
    /// `SHADER_F16`.
    pub f16: bool,
    /// `SUBGROUP`.
    pub subgroups: bool,
    /// Cooperative matrices of 8 by 8.
    pub matrices_8: bool,
    /// Cooperative matrices of 16 by 16.
    pub matrices_16: bool,
}

impl Needs {
    /// What every device has.
    pub const NONE: Self = Self { f16: false, subgroups: false, matrices_8: false, matrices_16: false };

    fn and(self, other: Self) -> Self {
        Self {
            f16: self.f16 || other.f16,
            subgroups: self.subgroups || other.subgroups,
            matrices_8: self.matrices_8 || other.matrices_8,
            matrices_16: self.matrices_16 || other.matrices_16,
        }
    }
}

/// A [`Fragment`] of `shaders/`: path, then the [`Needs`] fields it sets.
macro_rules! fragment {
    ($name:literal $(, $need:ident)*) => {
        $crate::shader::Fragment {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $name)),
            needs: $crate::shader::Needs { $($need: true,)* ..$crate::shader::Needs::NONE },
        }
    };
}
pub(crate) use fragment;

/// A value that Rust writes into the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Constant {
    U32(u32),
    F32Bits(u32),
    Bool(bool),
}

/// The parts of one shader module. Equal sources give equal text and share a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    kernel: &'static str,
    parts: Vec<Fragment>,
    constants: Vec<(&'static str, Constant)>,
}

impl Source {
    /// Starts with the file that holds the kernel's `run` function. `kernel` is the name in messages.
    pub fn kernel(kernel: &'static str, body: Fragment) -> Self {
        Self { kernel, parts: vec![body], constants: Vec::new() }
    }

    /// Adds a fragment; adding the same one twice is adding it once.
    #[must_use]
    pub fn with(mut self, fragment: Fragment) -> Self {
        if !self.parts.contains(&fragment) {
            self.parts.push(fragment);
        }
        self
    }

    /// Adds the uniform that says which tokens a call computes.
    #[must_use]
    pub(crate) fn with_span(self) -> Self {
        self.with(fragment!("common/span.wgsl")).with(fragment!("common/span_struct.wgsl"))
    }

    /// Defines a `u32` constant.
    #[must_use]
    pub fn constant(mut self, name: &'static str, value: u32) -> Self {
        self.constants.push((name, Constant::U32(value)));
        self
    }

    /// Defines an `f32` constant.
    #[must_use]
    pub fn float(mut self, name: &'static str, value: f32) -> Self {
        self.constants.push((name, Constant::F32Bits(value.to_bits())));
        self
    }

    /// Defines a `bool` constant.
    #[must_use]
    pub fn flag(mut self, name: &'static str, value: bool) -> Self {
        self.constants.push((name, Constant::Bool(value)));
        self
    }

    /// Name of the kernel.
    pub fn name(&self) -> &'static str {
        self.kernel
    }

    /// Optional features the text uses.
    pub fn needs(&self) -> Needs {
        self.parts.iter().fold(Needs::default(), |needs, part| needs.and(part.needs))
    }

    /// The linked WGSL.
    pub fn text(&self) -> String {
        let mut text = self.header();
        for part in &self.parts {
            text.push_str(part.text);
            text.push('\n');
        }
        text
    }

    /// File and line, both as in `shaders/`, of a 1-based line of [`Source::text`].
    pub fn locate(&self, line: u32) -> (&'static str, u32) {
        let mut first = self.header().lines().count() as u32 + 1;
        for part in &self.parts {
            let lines = part.text.matches('\n').count() as u32 + 1;
            if (first..first + lines).contains(&line) {
                return (part.name, line - first + 1);
            }
            first += lines;
        }
        ("constants", line)
    }

    fn header(&self) -> String {
        let mut header = String::new();
        let needs = self.needs();
        if needs.f16 {
            header.push_str("enable f16;\n");
        }
        // naga takes subgroup functions without it and rejects the directive; browsers demand it.
        if needs.subgroups && cfg!(target_arch = "wasm32") {
            header.push_str("enable subgroups;\n");
        }
        if needs.matrices_8 || needs.matrices_16 {
            header.push_str("enable wgpu_cooperative_matrix;\n");
        }
        for (name, value) in &self.constants {
            // Writing to a String cannot fail.
            let _ = match value {
                Constant::U32(value) => writeln!(header, "const {name}: u32 = {value}u;"),
                Constant::F32Bits(bits) => {
                    writeln!(header, "const {name}: f32 = {:e}f;", f32::from_bits(*bits))
                }
                Constant::Bool(value) => writeln!(header, "const {name}: bool = {value};"),
            };
        }
        header
    }
}

/// The parts and constants that set this source apart, for people: `matvec codec/f32 norm/rms WORKGROUP_SIZE=64`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kernel)?;
        for part in self.parts.iter().skip(1) {
            write!(f, " {}", part.name.trim_end_matches(".wgsl"))?;
        }
        for (name, value) in &self.constants {
            match value {
                Constant::U32(value) => write!(f, " {name}={value}")?,
                Constant::F32Bits(bits) => write!(f, " {name}={:e}", f32::from_bits(*bits))?,
                Constant::Bool(value) => write!(f, " {name}={value}")?,
            }
        }
        Ok(())
    }
}
