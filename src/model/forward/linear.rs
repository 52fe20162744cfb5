//! Products and norms: which kernel, how it is fused, and a dispatch per shard of a large matrix.

use super::ForwardPass;
use crate::Result;
use crate::energy::Phase;
use crate::fragments::{Codec, Epilogue, InputNorm, MatrixSize, Reduce};
use crate::kernel::Launch;
use crate::kernels::linear::LinearParams;
use crate::kernels::matmul::Matmul;
use crate::kernels::matmul_coop::MatmulCoop;
use crate::kernels::matvec::{Matvec, VecRows};
use crate::kernels::norm::{Norm, NormParams};
use crate::model::layout::{Matrix, SubLayerLayout, Vectors, VectorsKind};
use crate::schedule::TensorId;
use crate::tuning::{ProductKernel, ProductShape};

/// What goes into a product: a tensor, normed or transformed on the way in where vectors are given.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) tensor: TensorId,
    pub(super) norm: Option<&'a Vectors>,
    pub(super) rows_per_token: u32,
}

impl<'a> Input<'a> {
    pub(super) fn plain(tensor: TensorId) -> Self {
        Self { tensor, norm: None, rows_per_token: 1 }
    }

    pub(super) fn normed(tensor: TensorId, norm: &'a Vectors) -> Self {
        Self { tensor, norm: Some(norm), rows_per_token: 1 }
    }
}

impl ForwardPass<'_> {
    /// `epilogue(w norm(x) + b)` into a new tensor; `b` where the matrix has one, whatever the epilogue says.
    pub(super) fn project(
        &mut self,
        what: &'static str,
        input: Input<'_>,
        matrix: &Matrix,
        epilogue: Epilogue,
    ) -> Result<TensorId> {
        let y = self.schedule.activation(what, self.row_bytes(outputs(matrix.rows, epilogue)));
        self.project_into(what, input, matrix, epilogue, y, false)?;
        Ok(y)
    }

    /// The same into a given tensor, of every row or of the last.
    pub(super) fn project_into(
        &mut self,
        what: &'static str,
        input: Input<'_>,
        matrix: &Matrix,
        epilogue: Epilogue,
        y: TensorId,
        last_row: bool,
    ) -> Result<()> {
        let rows = if last_row { VecRows::Last } else { VecRows::Dense };
        self.product(what, input, matrix, epilogue, rows, &[("y", y)])
    }

    /// `x + post_norm(w input)`: the end of every dense sub-layer.
    pub(super) fn add(
        &mut self,
        what: &'static str,
        x: TensorId,
        input: Input<'_>,
        matrix: &Matrix,
        layer: &SubLayerLayout,
    ) -> Result<TensorId> {
        let Some(norm) = &layer.post_norm else {
            let out = self.residual_stream();
            let epilogue = Epilogue { residual: true, ..Epilogue::NONE };
            let ends = [("y", out), ("residual", x)];
            self.product(what, input, matrix, epilogue, VecRows::Dense, &ends)?;
            return Ok(out);
        };
        let product = self.project(what, input, matrix, Epilogue::NONE)?;
        let out = self.residual_stream();
        self.norm("post_norm", Input::plain(product), norm, Some(x), out)?;
        Ok(out)
    }

    fn product(
        &mut self,
        what: &'static str,
        input: Input<'_>,
        matrix: &Matrix,
        epilogue: Epilogue,
        rows: VecRows,
        ends: &[(&'static str, TensorId)],
    ) -> Result<()> {
        // One row at a time reads every weight once; it can afford to norm its input again in each workgroup.
        let one_row = self.options.phase == Phase::Decode || rows == VecRows::Last;
        let input = self.transformed(input, matrix, one_row)?;
        let epilogue = Epilogue { bias: matrix.has_bias(), ..epilogue };
        let codec = Codec::of(matrix.format, self.capabilities);
        for (n, shard) in matrix.shards.iter().enumerate() {
            let mut params = LinearParams::dense(matrix.format, shard.end - shard.start, matrix.cols);
            params.out_stride = outputs(matrix.rows, epilogue);
            params.out_offset = outputs(shard.start, epilogue);
            params.softcap = self.config.head.softcap.unwrap_or(1.0);
            let mut tensors = vec![("x", input.tensor)];
            tensors.extend_from_slice(ends);
            tensors.extend(self.weight_tensors(matrix, n));
            if one_row {
                let variant = self.matvec(matrix, codec, epilogue, rows, input.norm);
                params.eps = input.norm.map_or(0.0, Vectors::eps);
                tensors.extend(input.norm.map(|norm| ("norm_weight", self.vectors(norm))));
                self.dispatch(what, Launch { variant, params }, &tensors)?;
                continue;
            }
            match self.tuning.kernel(self.shape(matrix, codec)) {
                ProductKernel::Matvec(tile) => {
                    let variant = Matvec { tile, ..self.matvec(matrix, codec, epilogue, rows, None) };
                    self.dispatch(what, Launch { variant, params }, &tensors)?;
                }
                kernel => {
                    let product = Matmul { epilogue, ..Matmul::new(codec, matrix.cols) };
                    self.in_tiles(what, kernel, product, params, &tensors)?;
                }
            }
        }
        Ok(())
    }

    /// A product with rows in tiles, on cooperative matrices where `kernel` says so.
    pub(super) fn in_tiles(
        &mut self,
        what: &'static str,
        kernel: ProductKernel,
        product: Matmul,
        params: LinearParams,
        tensors: &[(&'static str, TensorId)],
    ) -> Result<()> {
        let size = MatrixSize::of(self.capabilities).filter(|_| kernel == ProductKernel::MatmulCoop {});
        match size {
            Some(size) => {
                self.dispatch(what, Launch { variant: MatmulCoop { product, size }, params }, tensors)
            }
            None => self.dispatch(what, Launch { variant: product, params }, tensors),
        }
    }

    pub(super) fn matvec(
        &self,
        matrix: &Matrix,
        codec: Codec,
        epilogue: Epilogue,
        rows: VecRows,
        norm: Option<&Vectors>,
    ) -> Matvec {
        let reduce = Reduce::of(self.capabilities);
        let norm = norm.map_or(InputNorm::None, Vectors::applied);
        let tile = self.tuning.one_row(self.shape(matrix, codec));
        Matvec { norm, epilogue, rows, reduce, tile, ..Matvec::new(codec, matrix.cols) }
    }

    pub(super) fn shape(&self, matrix: &Matrix, codec: Codec) -> ProductShape {
        let matrices = self.capabilities.has_matrices();
        ProductShape { rows: self.schedule.max_rows, inputs: matrix.cols, bits: codec.read_bits(), matrices }
    }

    /// The input as a matrix wants it. A product that can norm on the way in does the last of what is to be done; all
    /// that comes before is a dispatch of its own.
    pub(super) fn transformed<'a>(
        &mut self,
        input: Input<'a>,
        matrix: &'a Matrix,
        on_the_way_in: bool,
    ) -> Result<Input<'a>> {
        let input = match &matrix.transform {
            Some(transform) => Input { norm: Some(transform), ..self.norm_first(input)? },
            None => input,
        };
        if on_the_way_in { Ok(input) } else { self.norm_first(input) }
    }

    /// Runs an input's norm as a dispatch of its own.
    pub(super) fn norm_first<'a>(&mut self, input: Input<'_>) -> Result<Input<'a>> {
        let Input { tensor, norm, rows_per_token } = input;
        let Some(norm) = norm else { return Ok(Input { tensor, norm: None, rows_per_token }) };
        let (what, name) = match norm.kind {
            VectorsKind::Norm(_) => ("norm", "normed"),
            VectorsKind::Transform => ("transform", "transformed"),
        };
        let normed = self.schedule.activation(name, self.row_bytes(rows_per_token * norm.width));
        self.norm(what, input, norm, None, normed)?;
        Ok(Input { tensor: normed, norm: None, rows_per_token })
    }

    /// `y = residual + norm(x)`, whatever norm `x` itself would still want.
    pub(super) fn norm(
        &mut self,
        what: &'static str,
        x: Input<'_>,
        norm: &Vectors,
        residual: Option<TensorId>,
        y: TensorId,
    ) -> Result<()> {
        let reduce = Reduce::of(self.capabilities);
        let variant = Norm { norm: norm.applied(), residual: residual.is_some(), reduce };
        let params =
            NormParams { in_features: norm.width, eps: norm.eps(), rows_per_token: x.rows_per_token };
        let mut tensors = vec![("x", x.tensor), ("norm_weight", self.vectors(norm)), ("y", y)];
        tensors.extend(residual.map(|residual| ("residual", residual)));
        self.dispatch(what, Launch { variant, params }, &tensors)
    }

    /// The tensor of a norm's vectors.
    pub(super) fn vectors(&mut self, norm: &Vectors) -> TensorId {
        self.schedule.named(&norm.name, norm.bytes())
    }

    /// The tensors of one shard of a matrix.
    pub(super) fn weight_tensors(&mut self, matrix: &Matrix, shard: usize) -> Vec<(&'static str, TensorId)> {
        let sizes = matrix.shard_bytes(&matrix.shards[shard]);
        ["words", "scales", "bias"]
            .into_iter()
            .zip(matrix.shard_names(shard))
            .zip(sizes)
            .filter(|(_, bytes)| *bytes > 0)
            .map(|((part, name), bytes)| (part, self.schedule.named(name, bytes)))
            .collect()
    }
}

/// Outputs of so many rows of weights.
pub(super) fn outputs(rows: u32, epilogue: Epilogue) -> u32 {
    if epilogue.gated { rows / 2 } else { rows }
}
