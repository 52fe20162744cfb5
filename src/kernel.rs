//! What every kernel says about itself: its WGSL, its bindings, its grid and its work.

pub(crate) mod check;
mod span;

pub use span::{MAX_SEQUENCES, SPAN_BYTES, SequenceSpan, Span, SpanHeader, span_bytes};

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use crate::Result;
use crate::energy::Work;
use crate::shader::Source;

/// One entry of a kernel's bind group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// `@binding` number.
    pub index: u32,
    /// Name of the WGSL variable.
    pub name: &'static str,
    /// How it is bound.
    pub kind: BindingKind,
}

/// How a buffer is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindingKind {
    /// The kernel's own `Params`, a uniform.
    Params,
    /// The rows of the call and whose they are, a uniform.
    Span,
    /// A storage buffer that is read.
    Read,
    /// A storage buffer that is written, and perhaps read.
    Write,
}

impl Binding {
    /// Binding 0: the kernel's `Params`.
    pub const PARAMS: Self = Self { index: 0, name: "params", kind: BindingKind::Params };
    /// Binding 1: the call's rows.
    pub const SPAN: Self = Self { index: 1, name: "span", kind: BindingKind::Span };

    /// A storage buffer that is read.
    pub const fn read(index: u32, name: &'static str) -> Self {
        Self { index, name, kind: BindingKind::Read }
    }

    /// A storage buffer that is written.
    pub const fn write(index: u32, name: &'static str) -> Self {
        Self { index, name, kind: BindingKind::Write }
    }
}

/// A uniform struct of 4-byte fields, named as in WGSL.
pub trait Params: bytemuck::Pod + Debug + PartialEq + Send + Sync {
    /// The WGSL struct's members in order: name and type.
    const FIELDS: &'static [(&'static str, &'static str)];
}

/// Defines a [`Params`] struct; every field is `u32` or `f32`.
macro_rules! params {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }
        impl $crate::kernel::Params for $name {
            const FIELDS: &'static [(&'static str, &'static str)] = &[$((stringify!($field), stringify!($type))),*];
        }
    };
}
pub(crate) use params;

/// A kernel with every choice made that is made when a pipeline is built. The value is the cache key.
pub trait Kernel: Copy + Eq + Hash + Debug + Send + Sync + 'static {
    /// The uniform at binding 0.
    type Params: Params;
    /// Name of the kernel and of its file in `shaders/`.
    const NAME: &'static str;

    /// Its WGSL.
    fn source(self) -> Source;
    /// Its bind group.
    fn bindings(self) -> Vec<Binding>;
    /// Variants for tests: every choice, and every combination of choices that have to do with each other.
    fn variants() -> Vec<Self>;
    /// Checks that the numbers fit together and that the variant is one the kernel can be. `workgroups` and `work` are
    /// for launches that pass.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] that names the first number that does not fit.
    fn check(self, params: &Self::Params) -> Result<()>;
    /// The least bytes of every storage binding, by name, for a pass of up to `max_rows` rows. Where a size hangs on
    /// what the numbers do not say (positions of a table, experts of a selected product), as many as they imply.
    fn sizes(self, params: &Self::Params, max_rows: u32) -> Vec<(&'static str, u64)>;
    /// Workgroups of a call. Counts above 65 535 are folded when encoded.
    fn workgroups(self, params: &Self::Params, span: Span) -> u64;
    /// What a call moves and computes.
    fn work(self, params: &Self::Params, span: Span) -> Work;
    /// Workgroups of a call over several sequences. Most kernels see rows alone.
    fn workgroups_of(self, params: &Self::Params, spans: &[Span]) -> u64 {
        self.workgroups(params, Span::of_rows(Span::total_rows(spans)))
    }
    /// What a call over several sequences moves and computes.
    fn work_of(self, params: &Self::Params, spans: &[Span]) -> Work {
        self.work(params, Span::of_rows(Span::total_rows(spans)))
    }
    /// The product of all experts that this one computes for some of them; `None` where it is no such part.
    fn whole(self) -> Option<Self> {
        None
    }
}

/// A kernel variant with its numbers: everything about a dispatch but the tensors and the span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Launch<K: Kernel> {
    /// The variant.
    pub variant: K,
    /// The numbers.
    pub params: K::Params,
}

/// A [`Launch`] of some kernel.
pub trait AnyLaunch: Debug + Send + Sync {
    /// Name of the kernel.
    fn name(&self) -> &'static str;
    /// Its WGSL.
    fn source(&self) -> Source;
    /// Its bind group.
    fn bindings(&self) -> Vec<Binding>;
    /// Bytes of its uniform.
    fn params(&self) -> &[u8];
    /// Names of its uniform's members.
    fn param_fields(&self) -> &'static [(&'static str, &'static str)];
    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] that names the first number that does not fit.
    fn check(&self) -> Result<()>;
    /// The least bytes of every storage binding, by name, for a pass of up to `max_rows` rows.
    fn sizes(&self, max_rows: u32) -> Vec<(&'static str, u64)>;
    /// Workgroups of a call.
    fn workgroups(&self, spans: &[Span]) -> u64;
    /// What a call moves and computes.
    fn work(&self, spans: &[Span]) -> Work;
    /// What this call and those of the other experts compute together; `None` where it is all there is.
    fn whole_work(&self, spans: &[Span]) -> Option<Work>;
}

impl<K: Kernel> AnyLaunch for Launch<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn source(&self) -> Source {
        self.variant.source()
    }

    fn bindings(&self) -> Vec<Binding> {
        self.variant.bindings()
    }

    fn params(&self) -> &[u8] {
        bytemuck::bytes_of(&self.params)
    }

    fn param_fields(&self) -> &'static [(&'static str, &'static str)] {
        K::Params::FIELDS
    }

    fn check(&self) -> Result<()> {
        self.variant.check(&self.params)
    }

    fn sizes(&self, max_rows: u32) -> Vec<(&'static str, u64)> {
        self.variant.sizes(&self.params, max_rows)
    }

    fn workgroups(&self, spans: &[Span]) -> u64 {
        match spans {
            [span] => self.variant.workgroups(&self.params, *span),
            spans => self.variant.workgroups_of(&self.params, spans),
        }
    }

    fn work(&self, spans: &[Span]) -> Work {
        work_of(self.variant, &self.params, spans)
    }

    fn whole_work(&self, spans: &[Span]) -> Option<Work> {
        self.variant.whole().map(|whole| work_of(whole, &self.params, spans))
    }
}

/// What a call costs whose sequences have nothing in common.
pub(crate) fn sum_of_each<K: Kernel>(variant: K, params: &K::Params, spans: &[Span]) -> Work {
    let mut sum = Work::default();
    spans.iter().for_each(|span| sum += variant.work(params, *span));
    sum
}

fn work_of<K: Kernel>(variant: K, params: &K::Params, spans: &[Span]) -> Work {
    match spans {
        [span] => variant.work(params, *span),
        spans => variant.work_of(params, spans),
    }
}

impl<K: Kernel> Launch<K> {
    /// The launch behind a shared pointer, as a schedule keeps it.
    pub fn shared(self) -> Arc<dyn AnyLaunch> {
        Arc::new(self)
    }
}

/// Each of a list of variants once, in the order of their first places.
pub(crate) fn distinct<K: Kernel>(mut variants: Vec<K>) -> Vec<K> {
    let mut seen = HashSet::new();
    variants.retain(|variant| seen.insert(*variant));
    variants
}

/// Folds a count of workgroups into two dimensions of at most 65 535 each; the kernel drops the surplus.
///
/// `None` when even 65 535 squared are too few.
pub fn fold_grid(workgroups: u64) -> Option<[u32; 3]> {
    const MOST: u64 = 65_535;
    let y = workgroups.div_ceil(MOST).max(1);
    let x = workgroups.div_ceil(y);
    (y <= MOST).then_some([x as u32, y as u32, 1])
}
