//! Where in a checkpoint a slot's values are.

/// A tensor of a checkpoint, and which of its elements are a slot's: element `(i, j)` is at
/// `first + (i / block_rows) block_step + (i % block_rows) row_step + j col_step`, times `factor`. A tensor may have more
/// elements than a `usize` of 32 bits counts; what lies between a slot's own fits one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// The tensor.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Rows and columns of the slot; a vector is a column.
    pub size: [usize; 2],
    /// The first element.
    pub first: u64,
    /// From a row to the next of its block.
    pub row_step: usize,
    /// Rows of a block, at least 1. All of them, where rows are evenly apart.
    pub block_rows: usize,
    /// From the first row of a block to that of the next.
    pub block_step: usize,
    /// From an element of a row to the next.
    pub col_step: usize,
    /// Multiplies every element.
    pub factor: f32,
}

impl Stored {
    /// All of a tensor of the slot's own shape.
    pub fn whole(name: String, shape: &[usize]) -> Self {
        let cols = shape.get(1..).unwrap_or(&[]).iter().product();
        Self {
            name,
            shape: shape.to_vec(),
            size: [shape.first().copied().unwrap_or(1), cols],
            first: 0,
            row_step: cols,
            block_rows: usize::MAX,
            block_step: 0,
            col_step: 1,
            factor: 1.0,
        }
    }

    /// The same below a module.
    pub fn below(self, module: &str) -> Self {
        Self { name: format!("{module}{}", self.name), ..self }
    }

    /// Elements of the slot.
    pub fn len(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Where an element of the slot, counted row by row, is in the tensor.
    pub fn index(&self, element: usize) -> u64 {
        self.first + self.offset(element) as u64
    }

    /// How far an element of the slot, counted row by row, is from the first.
    pub fn offset(&self, element: usize) -> usize {
        let cols = self.size[1].max(1);
        let (row, col) = (element / cols, element % cols);
        let (block, row) = (row / self.block_rows, row % self.block_rows);
        block * self.block_step + row * self.row_step + col * self.col_step
    }

    /// Whether its elements are neighbours, in order.
    pub fn is_contiguous(&self) -> bool {
        self.col_step == 1 && self.row_step == self.size[1] && self.block_rows >= self.size[0]
    }
}
