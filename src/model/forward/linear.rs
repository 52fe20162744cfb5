//! Products and norms: which kernel, how it is fused, and a dispatch per shard of a large matrix.

use super::ForwardPass;
use crate::Result;
use crate::energy::Phase;
use crate::fragments::{Codec, Epilogue, InputNorm, InputRows, MatrixSize, Reduce};
use crate::kernel::Launch;
use crate::kernels::linear::LinearParams;
use crate::kernels::matmul::{Matmul, TileRows};
use crate::kernels::matmul_coop::MatmulCoop;
use crate::kernels::matvec::{Matvec, VecRows, VecTile};
use crate::kernels::norm::{Norm, NormParams};
use crate::kernels::quantize::{Quantize, QuantizeParams};
use crate::model::layout::{Matrix, SubLayerLayout, Vectors};
use crate::schedule::TensorId;
use crate::tuning::{ProductKernel, ProductShape};

/// What goes into a product: a tensor, normed on the way in where a norm is given.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) tensor: TensorId,
    pub(super) norm: Option<&'a Vectors>,
}

impl<'a> Input<'a> {
    pub(super) fn plain(tensor: TensorId) -> Self {
        Self { tensor, norm: None }
    }

    pub(super) fn normed(tensor: TensorId, norm: &'a Vectors) -> Self {
        Self { tensor, norm: Some(norm) }
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
        self.norm("post_norm", product, norm, Some(x), out)?;
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
        let one_row = self.options.phase == Phase::Decode || rows == VecRows::Last;
        let shape = self.shape(matrix);
        let kernel = match (one_row, self.tuning.one_row(shape)) {
            (true, (tile, InputRows::I8)) => ProductKernel::MatvecI8(tile),
            (true, (tile, InputRows::Any | InputRows::Quads)) => ProductKernel::Matvec(tile),
            (false, _) => self.tuning.kernel(shape),
        };
        let input = match kernel.inputs(matrix.cols) {
            InputRows::I8 => self.quantize(input, matrix, rows == VecRows::Last, 1)?,
            // One row at a time reads every weight once; it can afford to norm its input again in each workgroup.
            InputRows::Any | InputRows::Quads if one_row => input,
            InputRows::Any | InputRows::Quads => self.norm_first(input)?,
        };
        let epilogue = Epilogue { bias: matrix.bias, ..epilogue };
        for (n, shard) in matrix.shards.iter().enumerate() {
            let mut params = LinearParams::dense(matrix.format, shard.end - shard.start, matrix.cols);
            params.out_stride = outputs(matrix.rows, epilogue);
            params.out_offset = outputs(shard.start, epilogue);
            params.softcap = self.config.head.softcap.unwrap_or(1.0);
            let mut tensors = vec![("x", input.tensor)];
            tensors.extend_from_slice(ends);
            tensors.extend(self.weight_tensors(matrix, n));
            match kernel {
                ProductKernel::Matvec(tile) | ProductKernel::MatvecI8(tile) => {
                    let way = (tile, kernel.inputs(matrix.cols));
                    self.in_rows(what, (matrix, way), (epilogue, rows), params, input, &tensors)?;
                }
                ProductKernel::Matmul {} | ProductKernel::MatmulI8 {} | ProductKernel::MatmulCoop {} => {
                    self.in_tiles(what, (matrix, kernel), (epilogue, TileRows::Dense), params, &tensors)?;
                }
            }
        }
        Ok(())
    }

    /// A product with rows one by one or in blocks, normed on the way in where the input asks for it.
    pub(super) fn in_rows(
        &mut self,
        what: &'static str,
        (matrix, (tile, inputs)): (&Matrix, (VecTile, InputRows)),
        (epilogue, rows): (Epilogue, VecRows),
        mut params: LinearParams,
        input: Input<'_>,
        tensors: &[(&'static str, TensorId)],
    ) -> Result<()> {
        let codec = Codec::of(matrix.format, self.capabilities);
        let norm = input.norm.map_or(InputNorm::None, |norm| norm.norm.kind.into());
        let reduce = Reduce::of(self.capabilities);
        let variant = Matvec { codec, inputs, norm, epilogue, rows, reduce, tile };
        params.eps = input.norm.map_or(0.0, |norm| norm.norm.eps);
        let norm_weight = input.norm.map(|norm| ("norm_weight", self.vectors(norm)));
        let tensors: Vec<_> = tensors.iter().copied().chain(norm_weight).collect();
        self.dispatch(what, Launch { variant, params }, &tensors)
    }

    /// A product with rows in tiles, on cooperative matrices where `kernel` says so.
    pub(super) fn in_tiles(
        &mut self,
        what: &'static str,
        (matrix, kernel): (&Matrix, ProductKernel),
        (epilogue, rows): (Epilogue, TileRows),
        params: LinearParams,
        tensors: &[(&'static str, TensorId)],
    ) -> Result<()> {
        let codec = Codec::of(matrix.format, self.capabilities);
        let product = Matmul { codec, inputs: kernel.inputs(matrix.cols), epilogue, rows };
        let size = MatrixSize::of(self.capabilities).filter(|_| kernel == ProductKernel::MatmulCoop {});
        match size {
            Some(size) => {
                self.dispatch(what, Launch { variant: MatmulCoop { product, size }, params }, tensors)
            }
            None => self.dispatch(what, Launch { variant: product, params }, tensors),
        }
    }

    /// What the table of kernels is asked about a matrix.
    pub(super) fn shape(&self, matrix: &Matrix) -> ProductShape {
        ProductShape {
            rows: self.schedule.max_rows,
            inputs: matrix.cols,
            bits: Codec::of(matrix.format, self.capabilities).read_bits(),
            matrices: self.capabilities.has_matrices(),
            path: self.options.path,
        }
    }

    /// The input of a matrix as codes, normed on the way; `rows_per_token` rows for each token, or the last row alone.
    pub(super) fn quantize<'a>(
        &mut self,
        input: Input<'_>,
        matrix: &Matrix,
        last: bool,
        rows_per_token: u32,
    ) -> Result<Input<'a>> {
        let variant = Quantize {
            inputs: InputRows::of(matrix.cols),
            norm: input.norm.map_or(InputNorm::None, |norm| norm.norm.kind.into()),
            last,
            reduce: Reduce::of(self.capabilities),
        };
        let eps = input.norm.map_or(0.0, |norm| norm.norm.eps);
        let params = QuantizeParams { in_features: matrix.cols, rows_per_token, eps };
        let bytes = InputRows::I8.tensor_bytes([self.schedule.max_rows, rows_per_token], matrix.cols);
        let codes = self.schedule.activation("codes", bytes);
        let mut tensors = vec![("x", input.tensor), ("y", codes)];
        tensors.extend(input.norm.map(|norm| ("norm_weight", self.vectors(norm))));
        self.dispatch("quantize", Launch { variant, params }, &tensors)?;
        Ok(Input::plain(codes))
    }

    /// Runs an input's norm as a dispatch of its own.
    pub(super) fn norm_first<'a>(&mut self, input: Input<'_>) -> Result<Input<'a>> {
        let Some(norm) = input.norm else { return Ok(Input::plain(input.tensor)) };
        let normed = self.schedule.activation("normed", self.row_bytes(norm.width));
        self.norm("norm", input.tensor, norm, None, normed)?;
        Ok(Input::plain(normed))
    }

    /// `y = residual + norm(x)`.
    pub(super) fn norm(
        &mut self,
        what: &'static str,
        x: TensorId,
        norm: &Vectors,
        residual: Option<TensorId>,
        y: TensorId,
    ) -> Result<()> {
        let reduce = Reduce::of(self.capabilities);
        let variant = Norm { norm: norm.norm.kind.into(), residual: residual.is_some(), reduce };
        let params = NormParams { in_features: norm.width, eps: norm.norm.eps };
        let mut tensors = vec![("x", x), ("norm_weight", self.vectors(norm)), ("y", y)];
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
