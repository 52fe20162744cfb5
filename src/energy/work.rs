//! Exact counts of what a dispatch moves and computes.

use std::ops::AddAssign;

/// What bytes are moved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum ByteClass {
    /// Weight codes or floats.
    Weight,
    /// Scales and zero points.
    ScaleZp,
    /// Activations read.
    ActIn,
    /// Activations written.
    ActOut,
    /// Cached keys and values read.
    KvRead,
    /// Cached keys and values written.
    KvWrite,
    /// Token ids, routes, offsets, tile maps.
    Index,
    /// Partial results between the halves of one operation.
    Scratch,
}

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum OpClass {
    /// 32-bit multiply-adds.
    F32Fma,
    /// Multiply-adds of cooperative matrices: operands in f16, sums in f32.
    CoopFma,
    /// Dot products of four signed 8-bit integers with four others, added to a 32-bit one.
    I8Dot4,
    /// Other 32-bit float operations.
    F32Other,
    /// Codes unpacked to numbers.
    Unpack,
    /// `exp`, `log`, `rsqrt`, divisions.
    Sfu,
    /// Integer comparisons and additions of the expert plan.
    I32Alu,
}

impl ByteClass {
    /// Every class, in the order of [`Work::bytes`].
    pub const ALL: [Self; 8] = [
        Self::Weight,
        Self::ScaleZp,
        Self::ActIn,
        Self::ActOut,
        Self::KvRead,
        Self::KvWrite,
        Self::Index,
        Self::Scratch,
    ];

    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::ScaleZp => "scale_zp",
            Self::ActIn => "act_in",
            Self::ActOut => "act_out",
            Self::KvRead => "kv_read",
            Self::KvWrite => "kv_write",
            Self::Index => "index",
            Self::Scratch => "scratch",
        }
    }
}

impl OpClass {
    /// Every class, in the order of [`Work::ops`].
    pub const ALL: [Self; 7] =
        [Self::F32Fma, Self::CoopFma, Self::I8Dot4, Self::F32Other, Self::Unpack, Self::Sfu, Self::I32Alu];

    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32Fma => "f32_fma",
            Self::CoopFma => "coop_fma",
            Self::I8Dot4 => "i8_dot4",
            Self::F32Other => "f32_other",
            Self::Unpack => "unpack",
            Self::Sfu => "sfu",
            Self::I32Alu => "i32_alu",
        }
    }
}

/// Two measures of one count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes: each distinct byte once (`compulsory`). Operations: those the mathematics asks for (`useful`).
    pub least: u64,
    /// Bytes: every load and store the shader issues (`requested`). Operations: tile padding included (`executed`).
    pub most: u64,
}

/// What one dispatch moves and computes: a function of its launch and its span. Exact, unless [`Work::is_bound`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Bytes by [`ByteClass`]; `least` is compulsory, `most` requested.
    pub bytes: [Amount; ByteClass::ALL.len()],
    /// Operations by [`OpClass`]; `least` is useful, `most` executed.
    pub ops: [Amount; OpClass::ALL.len()],
    /// Whether the counts are the most there can be: only the device knows which experts a prompt's tokens chose, and
    /// weights and tiles are counted as if as many were hit as can be.
    pub is_bound: bool,
}

impl Work {
    /// Adds bytes of a class: each distinct byte once, and every access.
    #[must_use]
    pub fn with_bytes(mut self, class: ByteClass, compulsory: u64, requested: u64) -> Self {
        self.bytes[class as usize] += Amount { least: compulsory, most: requested };
        self
    }

    /// Adds operations of a class: the useful ones, and all that run.
    #[must_use]
    pub fn with_ops(mut self, class: OpClass, useful: u64, executed: u64) -> Self {
        self.ops[class as usize] += Amount { least: useful, most: executed };
        self
    }

    /// Marks the counts as a bound where `bound`.
    #[must_use]
    pub fn or_less(mut self, bound: bool) -> Self {
        self.is_bound |= bound;
        self
    }

    /// Bytes of one class.
    pub fn bytes_of(&self, class: ByteClass) -> Amount {
        self.bytes[class as usize]
    }

    /// Operations of one class.
    pub fn ops_of(&self, class: OpClass) -> Amount {
        self.ops[class as usize]
    }

    /// Bytes of all classes.
    pub fn total_bytes(&self) -> Amount {
        total(&self.bytes)
    }

    /// Arithmetic of all classes as the field counts it: a multiply-add is two operations, a dot of four is eight.
    pub fn total_ops(&self) -> Amount {
        let mut sum = total(&self.ops);
        sum += self.ops_of(OpClass::F32Fma);
        sum += self.ops_of(OpClass::CoopFma);
        let dots = self.ops_of(OpClass::I8Dot4);
        sum += Amount { least: 7 * dots.least, most: 7 * dots.most };
        sum
    }
}

fn total(amounts: &[Amount]) -> Amount {
    let mut sum = Amount::default();
    for amount in amounts {
        sum += *amount;
    }
    sum
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.least += other.least;
        self.most += other.most;
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        for (a, b) in self.bytes.iter_mut().zip(other.bytes) {
            *a += b;
        }
        for (a, b) in self.ops.iter_mut().zip(other.ops) {
            *a += b;
        }
        self.is_bound |= other.is_bound;
    }
}
