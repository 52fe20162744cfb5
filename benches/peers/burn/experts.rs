//! Layers of experts in a row: the same input with weights in other memory each time.

use burn_tensor::activation::{silu, softmax};
use burn_tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::Result;
use super::work::{Layout, Store, Way, Work, floats, quickest, read, stored, write};

/// Tokens, width, width of an expert, experts, experts of a token.
#[derive(Clone, Copy)]
pub struct Shape {
    pub tokens: usize,
    pub width: usize,
    pub hidden: usize,
    pub experts: usize,
    pub choices: usize,
}

/// How tokens meet their experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meeting {
    /// Every token has all experts, most of them with weight 0.
    Dense,
    /// Each choice has its expert's matrices copied beside the others'.
    Gathered,
    /// The host reads which tokens each expert has, and goes from one expert to the next.
    Looped,
}

/// Matrices of experts, gate and up in one; those of a layer are stacked, or apart where one expert comes after another.
enum Weights {
    Stacked { gate_up: Tensor<3>, down: Tensor<3> },
    Apart(Vec<[Tensor<2>; 2]>),
}

struct Layers {
    store: Store,
    shape: Shape,
    meeting: Meeting,
    x: Tensor<2>,
    /// `[width, experts]`.
    router: Tensor<2>,
    weights: Vec<Weights>,
}

/// Reads `x.f32`, `[tokens, width]`, `router.f32`, `[experts, width]`, and `w.f32`: all gates, all ups, all downs, each
/// expert's `[outputs, inputs]`.
pub fn prepare(device: &Device, format: &str, copies: usize, shape: Shape) -> Result<Box<dyn Work>> {
    let with = |meeting, layout| -> Result<Box<dyn Work>> {
        let store = Store::new(device, format, layout)?;
        let weights = Weights::upload(&store, shape, meeting, copies)?;
        let x = store.floats(read("x.f32")?, [shape.tokens, shape.width]);
        let router = store.floats(read("router.f32")?, [shape.experts, shape.width]).transpose();
        Ok(Box::new(Layers { store, shape, meeting, x, router, weights }))
    };
    // More choices than experts would have more copied than there is. Of codes, burn would copy floats.
    let is_coded = Store::new(device, format, Layout::Inputs)?.is_quantized();
    let is_gathered = shape.tokens * shape.choices <= shape.experts && !is_coded;
    let meetings = [Meeting::Dense, Meeting::Gathered, Meeting::Looped].into_iter();
    let meetings = meetings.filter(|meeting| is_gathered || *meeting != Meeting::Gathered);
    let ways = meetings.flat_map(|meeting| Layout::BOTH.map(|layout| (meeting, layout)));
    let with = &with;
    quickest(
        &ways.map(|(meeting, layout)| Box::new(move || with(meeting, layout)) as Way).collect::<Vec<_>>(),
    )
}

impl Weights {
    fn upload(store: &Store, shape: Shape, meeting: Meeting, copies: usize) -> Result<Vec<Self>> {
        let Shape { width, hidden, experts, .. } = shape;
        let values = read("w.f32")?;
        let stack = |n: usize| values.chunks(experts * width * hidden).nth(n).unwrap_or_default();
        let of_expert = |n: usize| stack(n).chunks(width * hidden);
        let pairs = of_expert(0).zip(of_expert(1));
        let gate_up: Vec<f32> = pairs.flat_map(|(gate, up)| [gate, up].concat()).collect();
        let one = || match meeting {
            Meeting::Dense | Meeting::Gathered => Self::Stacked {
                gate_up: store.weights(&gate_up, [experts, 2 * hidden, width]),
                down: store.weights(stack(2), [experts, width, hidden]),
            },
            Meeting::Looped => {
                let both = gate_up.chunks(2 * width * hidden).zip(of_expert(2));
                let upload = |(gate_up, down): (&[f32], &[f32])| {
                    [store.weights(gate_up, [2 * hidden, width]), store.weights(down, [width, hidden])]
                };
                Self::Apart(both.map(upload).collect())
            }
        };
        Ok((0..copies).map(|_| one()).collect())
    }

    /// All gates, all ups, all downs.
    fn stored(&self, shape: Shape) -> Result<Vec<f32>> {
        let (gate_up, down) = match self {
            Self::Stacked { gate_up, down } => (stored(gate_up)?, stored(down)?),
            Self::Apart(experts) => {
                let all =
                    |n: usize| experts.iter().map(|expert| stored(&expert[n])).collect::<Result<Vec<_>>>();
                (all(0)?.concat(), all(1)?.concat())
            }
        };
        let halves = |n: usize| gate_up.chunks(shape.width * shape.hidden).skip(n).step_by(2);
        Ok(halves(0).chain(halves(1)).flatten().copied().chain(down).collect())
    }
}

impl Layers {
    /// Weights and experts of each token, `[tokens, choices]`, and weights of all experts.
    fn route(&self) -> (Tensor<2>, Tensor<2, Int>, Tensor<2>) {
        let all = softmax(self.x.clone().matmul(self.router.clone()), 1);
        let (best, experts) = all.clone().topk_with_indices(self.shape.choices, 1);
        (best.clone() / best.sum_dim(1), experts, all)
    }

    fn layer(&self, weights: &Weights) -> Result<Tensor<2>> {
        match weights {
            Weights::Stacked { gate_up, down } if self.meeting == Meeting::Dense => {
                Ok(self.dense(gate_up, down))
            }
            Weights::Stacked { gate_up, down } => Ok(self.gathered(gate_up, down)),
            Weights::Apart(experts) => self.looped(experts),
        }
    }

    fn dense(&self, gate_up: &Tensor<3>, down: &Tensor<3>) -> Tensor<2> {
        let (shares, experts, all) = self.route();
        let shares = all.zeros_like().scatter(1, experts, shares, IndexingUpdateOp::Add);
        let inner = gated(self.x.clone().unsqueeze_dim::<3>(0).matmul(gate_up.clone()));
        let outer = inner.matmul(down.clone()) * shares.transpose().unsqueeze_dim::<3>(2);
        outer.sum_dim(0).reshape([self.shape.tokens, self.shape.width])
    }

    fn gathered(&self, gate_up: &Tensor<3>, down: &Tensor<3>) -> Tensor<2> {
        let Shape { tokens, width, choices, .. } = self.shape;
        let slots = tokens * choices;
        let (shares, experts, _) = self.route();
        let experts = experts.reshape([slots]);
        let of_slot = |stack: &Tensor<3>| stack.clone().select(0, experts.clone());
        let rows = self.x.clone().unsqueeze_dim::<3>(1).repeat_dim(1, choices).reshape([slots, 1, width]);
        let outer = gated(rows.matmul(of_slot(gate_up))).matmul(of_slot(down));
        let weighted = outer.reshape([tokens, choices, width]) * shares.unsqueeze_dim::<3>(2);
        weighted.sum_dim(1).reshape([tokens, width])
    }

    fn looped(&self, weights: &[[Tensor<2>; 2]]) -> Result<Tensor<2>> {
        let slots = self.shape.tokens * self.shape.choices;
        let (shares, experts, _) = self.route();
        let shares = shares.reshape([slots, 1]);
        let expert_of_slot = integers(experts)?;
        let indices = |values: Vec<i32>| {
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &self.store.device)
        };
        let mut y = self.x.zeros_like();
        for (expert, [gate_up, down]) in weights.iter().enumerate() {
            let is_here = |slot: &i32| expert_of_slot[*slot as usize] == expert as i32;
            let slots: Vec<i32> = (0..slots as i32).filter(is_here).collect();
            if slots.is_empty() {
                continue;
            }
            let tokens = indices(slots.iter().map(|slot| slot / self.shape.choices as i32).collect());
            let rows = self.x.clone().select(0, tokens.clone());
            let outer = gated(rows.matmul(gate_up.clone())).matmul(down.clone());
            let weighted = outer * shares.clone().select(0, indices(slots));
            y = y.select_assign(0, tokens, weighted, IndexingUpdateOp::Add);
        }
        Ok(y)
    }
}

impl Work for Layers {
    fn device(&self) -> &Device {
        &self.store.device
    }

    fn submit(&self) -> Result<()> {
        self.weights.iter().try_for_each(|weights| self.layer(weights).map(drop))
    }

    fn note(&self) -> String {
        format!("{} {}", self.store.note(), format!("{:?}", self.meeting).to_lowercase())
    }

    fn write(&self) -> Result<()> {
        let weights = self.weights.first().ok_or("no weights")?;
        write("y.f32", &floats(self.layer(weights)?)?)?;
        write("routes.u32", &integers(self.route().1)?)?;
        write("stored.f32", &weights.stored(self.shape)?)
    }
}

/// The second half of each row, by the activation of the first.
fn gated<const D: usize>(both: Tensor<D>) -> Tensor<D> {
    let half = both.dims()[D - 1] / 2;
    silu(both.clone().narrow(D - 1, 0, half)) * both.narrow(D - 1, half, half)
}

fn integers(tensor: Tensor<2, Int>) -> Result<Vec<i32>> {
    let values = tensor.into_data_dtype(DType::I32).try_to_vec::<i32>();
    Ok(values.map_err(|error| format!("{error:?}"))?)
}
