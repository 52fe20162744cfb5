//! Products and norms: which kernel, how it is fused, and a dispatch per shard of a large matrix.

use super::{End, ForwardPass};
use crate::Result;
use crate::fragments::{Codec, Epilogue, InputNorm, InputRows, MatrixSize, Reduce};
use crate::kernel::Launch;
use crate::kernels::expert_plan::ChosenSlots;
use crate::kernels::linear::LinearParams;
use crate::kernels::matmul::Matmul;
use crate::kernels::matmul_coop::MatmulCoop;
use crate::kernels::matvec::{Matvec, VecRows, VecTile};
use crate::kernels::norm::{Norm, NormParams};
use crate::kernels::quantize::{Quantize, QuantizeParams};
use crate::kernels::tile_rows::TileRows;
use crate::model::layout::{Matrix, Vectors, VectorsKind};
use crate::schedule::TensorId;
use crate::tuning::{ProductKernel, ProductShape};

/// What an epilogue needs to know.
#[derive(Clone, Copy)]
pub(super) struct EpilogueNumbers {
    /// Steepness of a clamped gate.
    pub(super) glu_alpha: f32,
    /// Its limit.
    pub(super) glu_limit: f32,
    /// Elements of a row of factors.
    pub(super) factor_stride: u32,
    /// Where those of the output's first element are.
    pub(super) factor_offset: u32,
    /// Where the output begins in a row, and the elements of the row, where it is a part of one.
    pub(super) part_of_row: Option<(u32, u32)>,
}

impl EpilogueNumbers {
    /// For epilogues without a clamped gate or a factor.
    pub(super) const NONE: Self =
        Self { glu_alpha: 1.0, glu_limit: 1.0, factor_stride: 0, factor_offset: 0, part_of_row: None };
}

/// What becomes of the sum of a norm's result and a residual.
#[derive(Clone, Copy)]
pub(super) struct NormEnd<'a> {
    /// What is added, too.
    pub(super) kept: Option<TensorId>,
    /// What it is multiplied by: a stored number.
    pub(super) scale: Option<&'a Vectors>,
    /// And a number of the description.
    pub(super) factor: f32,
}

impl NormEnd<'_> {
    /// Nothing more.
    pub(super) const NONE: Self = Self { kept: None, scale: None, factor: 1.0 };
}

/// What goes into a product: a tensor, normed or transformed on the way in where vectors are given.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) tensor: TensorId,
    pub(super) norm: Option<&'a Vectors>,
    pub(super) rows_per_token: u32,
    /// Where its rows are the slots of experts that chose their tokens.
    pub(super) chosen: Option<ChosenSlots>,
}

impl<'a> Input<'a> {
    pub(super) fn plain(tensor: TensorId) -> Self {
        Self::of(tensor, None)
    }

    /// A tensor that is normed if there is a norm.
    pub(super) fn of(tensor: TensorId, norm: Option<&'a Vectors>) -> Self {
        Self { tensor, norm, rows_per_token: 1, chosen: None }
    }

    pub(super) fn normed(tensor: TensorId, norm: &'a Vectors) -> Self {
        Self::of(tensor, Some(norm))
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

    /// The same into a given tensor, of every row or of the last of each sequence.
    pub(super) fn project_into(
        &mut self,
        what: &'static str,
        input: Input<'_>,
        matrix: &Matrix,
        epilogue: Epilogue,
        y: TensorId,
        last_row: bool,
    ) -> Result<()> {
        let rows = if last_row { VecRows::Last } else { VecRows::DENSE };
        self.product(what, input, matrix, (epilogue, EpilogueNumbers::NONE), rows, &[("y", y)])
    }

    /// `w input` as a part of the rows of a given tensor: where it begins in a row, and the elements of a row.
    pub(super) fn project_beside(
        &mut self,
        what: &'static str,
        input: Input<'_>,
        matrix: &Matrix,
        y: TensorId,
        part_of_row: (u32, u32),
    ) -> Result<()> {
        let numbers = EpilogueNumbers { part_of_row: Some(part_of_row), ..EpilogueNumbers::NONE };
        self.product(what, input, matrix, (Epilogue::NONE, numbers), VecRows::DENSE, &[("y", y)])
    }

    /// `end(w input)`: the last product of every dense sub-layer.
    pub(super) fn add(
        &mut self,
        what: &'static str,
        input: Input<'_>,
        matrix: &Matrix,
        end: End<'_>,
    ) -> Result<TensorId> {
        let Some(norm) = end.post_norm else {
            let out = self.target(end.to);
            let epilogue = Epilogue { residual: end.residual.is_some(), ..Epilogue::NONE };
            let residual = end.residual.map(|residual| ("residual", residual));
            let ends: Vec<_> = [("y", out)].into_iter().chain(residual).collect();
            self.product(what, input, matrix, (epilogue, EpilogueNumbers::NONE), VecRows::DENSE, &ends)?;
            return Ok(out);
        };
        let product = self.project(what, input, matrix, Epilogue::NONE)?;
        self.end_with_norm(product, norm, end)
    }

    /// `after(residual + norm(result))`.
    pub(super) fn end_with_norm(
        &mut self,
        result: TensorId,
        norm: &Vectors,
        end: End<'_>,
    ) -> Result<TensorId> {
        let out = self.target(end.to);
        self.norm("post_norm", Input::plain(result), norm, (end.residual, end.after), out)?;
        Ok(out)
    }

    /// A product into given tensors.
    pub(super) fn product(
        &mut self,
        what: &'static str,
        input: Input<'_>,
        matrix: &Matrix,
        (epilogue, numbers): (Epilogue, EpilogueNumbers),
        rows: VecRows,
        ends: &[(&'static str, TensorId)],
    ) -> Result<()> {
        let one_row = self.is_one_row() || rows == VecRows::Last;
        let shape = self.shape(matrix);
        let kernel = match (one_row, self.tuning.one_row(shape)) {
            (true, (tile, InputRows::I8)) => ProductKernel::MatvecI8(tile),
            (true, (tile, InputRows::Any | InputRows::Quads)) => ProductKernel::Matvec(tile),
            (false, _) => self.tuning.kernel(shape),
        };
        // One row at a time reads every weight once; it can afford to norm its input again in each workgroup.
        let way = (kernel.inputs(matrix.cols), one_row);
        let input = self.prepared(input, matrix, way, rows == VecRows::Last)?;
        let epilogue = Epilogue { bias: matrix.has_bias(), ..epilogue };
        for (n, shard) in matrix.shards.iter().enumerate() {
            let mut params = LinearParams::dense(matrix.format, shard.end - shard.start, matrix.cols);
            let (first, stride) = numbers.part_of_row.unwrap_or((0, outputs(matrix.rows, epilogue)));
            params.out_stride = stride;
            params.out_offset = first + outputs(shard.start, epilogue);
            params.softcap = self.config.head.softcap.unwrap_or(1.0);
            params.logit_scale = self.config.head.scale;
            (params.glu_alpha, params.glu_limit) = (numbers.glu_alpha, numbers.glu_limit);
            (params.factor_stride, params.factor_offset) = (numbers.factor_stride, numbers.factor_offset);
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
        let norm = input.norm.map_or(InputNorm::None, Vectors::applied);
        let reduce = Reduce::of(self.capabilities);
        let variant = Matvec { codec, inputs, norm, epilogue, rows, reduce, tile };
        params.eps = input.norm.map_or(0.0, Vectors::eps);
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

    /// The input as a kernel reads it that computes products with a matrix. One that reads codes, or norms on the way in,
    /// does the last of what is to be done; all that comes before is a dispatch of its own.
    pub(super) fn prepared<'a>(
        &mut self,
        input: Input<'a>,
        matrix: &'a Matrix,
        (inputs, on_the_way_in): (InputRows, bool),
        last_row: bool,
    ) -> Result<Input<'a>> {
        let input = match &matrix.transform {
            Some(transform) => Input { norm: Some(transform), ..self.norm_first(input)? },
            None => input,
        };
        match inputs {
            InputRows::I8 => self.quantize(input, matrix.cols, last_row),
            InputRows::Any | InputRows::Quads if on_the_way_in => Ok(input),
            InputRows::Any | InputRows::Quads => self.norm_first(input),
        }
    }

    /// An input as codes, of every row or of the last, normed on the way.
    fn quantize<'a>(&mut self, input: Input<'_>, in_features: u32, last: bool) -> Result<Input<'a>> {
        let Input { tensor, norm, rows_per_token, chosen } = input;
        let variant = Quantize {
            inputs: InputRows::of(in_features),
            norm: norm.map_or(InputNorm::None, Vectors::applied),
            last,
            chosen: chosen.is_some(),
            reduce: Reduce::of(self.capabilities),
        };
        let eps = norm.map_or(0.0, Vectors::eps);
        let (params, rows) = match chosen {
            Some(slots) => {
                (QuantizeParams::chosen(in_features, slots), [slots.of(self.schedule.max_rows), 1])
            }
            None => {
                let rows = [self.schedule.max_rows, rows_per_token];
                (QuantizeParams::new(in_features, rows_per_token, eps), rows)
            }
        };
        let bytes = InputRows::I8.tensor_bytes(rows, in_features);
        let codes = self.schedule.activation("codes", bytes);
        let mut tensors = vec![("x", tensor), ("y", codes)];
        tensors.extend(norm.map(|norm| ("norm_weight", self.vectors(norm))));
        self.dispatch("quantize", Launch { variant, params }, &tensors)?;
        Ok(Input { tensor: codes, norm: None, rows_per_token, chosen })
    }

    /// Runs an input's norm as a dispatch of its own.
    pub(super) fn norm_first<'a>(&mut self, input: Input<'_>) -> Result<Input<'a>> {
        let Input { tensor, norm, rows_per_token, chosen } = input;
        let Some(norm) = norm else { return Ok(Input { tensor, norm: None, rows_per_token, chosen }) };
        let (what, name) = match norm.kind {
            VectorsKind::Norm(_)
            | VectorsKind::Stored
            | VectorsKind::Experts { .. }
            | VectorsKind::RelativeBias { .. } => ("norm", "normed"),
            VectorsKind::Transform => ("transform", "transformed"),
        };
        let normed = self.schedule.activation(name, self.row_bytes(rows_per_token * norm.width()));
        self.norm(what, input, norm, (None, NormEnd::NONE), normed)?;
        Ok(Input { tensor: normed, norm: None, rows_per_token, chosen })
    }

    /// `y = after(residual + norm(x))`, whatever norm `x` itself would still want.
    pub(super) fn norm(
        &mut self,
        what: &'static str,
        x: Input<'_>,
        norm: &Vectors,
        (residual, after): (Option<TensorId>, NormEnd<'_>),
        y: TensorId,
    ) -> Result<()> {
        let reduce = Reduce::of(self.capabilities);
        let NormEnd { kept, scale, factor } = after;
        // One of two is added as any one is.
        let (residual, kept) = (residual.or(kept), kept.filter(|_| residual.is_some()));
        let (norm_kind, scaled, kept_too) = (norm.applied(), scale.is_some(), kept.is_some());
        let variant = Norm { norm: norm_kind, residual: residual.is_some(), kept: kept_too, scaled, reduce };
        let (in_features, eps, rows_per_token) = (norm.width(), norm.eps(), x.rows_per_token);
        let params = NormParams { in_features, eps, rows_per_token, factor };
        let mut tensors = vec![("x", x.tensor), ("norm_weight", self.vectors(norm)), ("y", y)];
        tensors.extend(residual.map(|residual| ("residual", residual)));
        tensors.extend(kept.map(|kept| ("kept", kept)));
        tensors.extend(scale.map(|scale| ("stored_scale", self.vectors(scale))));
        self.dispatch(what, Launch { variant, params }, &tensors)
    }

    /// The tensor of a norm's vectors.
    pub(super) fn vectors(&mut self, norm: &Vectors) -> TensorId {
        self.schedule.named(&norm.name, norm.bytes())
    }

    /// The words of a matrix that is small enough for one binding, whatever the device.
    pub(super) fn words(&mut self, matrix: &Matrix) -> TensorId {
        let [words, ..] = matrix.shard_names(0);
        let [bytes, ..] = matrix.shard_bytes(&matrix.shards[0]);
        self.schedule.named(words, bytes)
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
