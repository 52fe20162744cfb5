//! Who computes what: slots sorted by expert, within what each takes, in tiles of one expert each.

use super::super::ForwardPass;
use super::Routed;
use super::route::Routes;
use crate::Result;
use crate::fragments::{Queue, Reduce};
use crate::kernel::Launch;
use crate::kernels::expert_plan::{ChosenSlots, ExpertShare, MoeSlotParams, RUN, max_tiles};
use crate::kernels::moe_combine::CombineSlots;
use crate::kernels::moe_count::MoeCount;
use crate::kernels::moe_expert_choice::{MoeExpertChoice, MoeExpertChoiceParams};
use crate::kernels::moe_list::{MoeList, MoeListParams};
use crate::kernels::moe_place::MoePlace;
use crate::kernels::moe_priority::{MoePriority, MoePriorityParams};
use crate::kernels::moe_scan::{MoeScan, MoeScanParams};
use crate::kernels::moe_scores::{MoeScores, MoeScoresParams};
use crate::model::config::{Capacity, Experts, Topk};
use crate::schedule::TensorId;

/// How the rows of an expert product are found.
pub(super) enum Assignment {
    /// Few rows: each looks its expert up.
    Selected { expert_of_slot: TensorId },
    /// Many rows: sorted by expert, in tiles of one expert each.
    Grouped { experts: u32, tile_map: TensorId, max_tiles: u32, slot_of_place: TensorId },
    /// As many rows of every expert, which chose them.
    Chosen { slots: ChosenSlots, tile_map: TensorId, max_tiles: u32, token_of_slot: TensorId },
}

/// Tokens up to which a plan would cost more than it saves.
pub const FEW_TOKENS: u32 = 8;

impl ForwardPass<'_> {
    /// What becomes of each token's choices. Of few tokens each row looks its expert up, unless experts take no more than a
    /// share. A step of many sequences is planned as a prompt is: its tokens read each expert once, and not once for each of them.
    pub(super) fn assign(&mut self, experts: &Experts, routes: Routes) -> Result<Routed> {
        let Routes { expert_of_slot, weight_of_slot, choices } = routes;
        let leaves_out = experts.routing.topk().is_some_and(Topk::may_leave_out);
        let few = self.schedule.max_rows <= FEW_TOKENS && self.capacity(experts).is_none();
        let mut routed = Routed {
            assignment: Assignment::Selected { expert_of_slot },
            weight_of_slot,
            on_input: experts.routing.weighs_inputs(),
            choices,
            slots: CombineSlots::All,
            marks: Vec::new(),
        };
        let mut marks = leaves_out.then_some(expert_of_slot);
        if !few {
            (routed.assignment, marks) = self.plan(experts, routes, leaves_out)?;
        }
        if let Some(place_of_slot) = marks {
            routed.slots = CombineSlots::Placed;
            routed.marks = vec![("place_of_slot", place_of_slot)];
        }
        Ok(routed)
    }

    /// Sorts slots by expert and cuts them into tiles, on the device; with the place of each slot where some have none.
    fn plan(
        &mut self,
        experts: &Experts,
        Routes { expert_of_slot, weight_of_slot, choices }: Routes,
        leaves_out: bool,
    ) -> Result<(Assignment, Option<TensorId>)> {
        let capacity = self.capacity(experts);
        let share = if self.tokens_compete() { experts.share()? } else { None };
        let (limited, marked) = (share.is_some(), share.is_some() || leaves_out);
        let params = MoeSlotParams::within(experts.count, choices, share.unwrap_or(ExpertShare::ALL));
        let slots = u64::from(self.schedule.max_rows) * u64::from(choices);
        let table_bytes = slots.div_ceil(RUN) * u64::from(experts.count) * 4;
        let counts = self.schedule.activation("counts", table_bytes);
        let offsets = self.schedule.activation("offsets", table_bytes);
        let tiles = max_tiles(slots, experts.count);
        let tile_map = self.schedule.activation("tile_map", tiles * 16);
        let max_tiles = tiles as u32;
        let [rank_of_slot, slot_of_place] =
            ["rank_of_slot", "slot_of_place"].map(|name| self.schedule.activation(name, slots * 4));

        let queue = capacity.map_or(Queue::TokenMajor, |capacity| capacity.order.into());
        let order = self.priority(queue, weight_of_slot, choices)?;
        let variant = MoeCount { experts: experts.count, queue };
        let mut tensors =
            vec![("expert_of_slot", expert_of_slot), ("counts", counts), ("rank_of_slot", rank_of_slot)];
        tensors.extend(order);
        self.dispatch("count", Launch { variant, params }, &tensors)?;
        let scan = MoeScanParams::within(choices, max_tiles, share.unwrap_or(ExpertShare::ALL));
        let tensors = [("counts", counts), ("offsets", offsets), ("tile_map", tile_map)];
        let variant = MoeScan { experts: experts.count, limited };
        self.dispatch("scan", Launch { variant, params: scan }, &tensors)?;
        let mut tensors = vec![
            ("expert_of_slot", expert_of_slot),
            ("rank_of_slot", rank_of_slot),
            ("offsets", offsets),
            ("slot_of_place", slot_of_place),
        ];
        tensors.extend(order);
        let mark = marked.then(|| self.route_tensor("place_of_slot", choices));
        tensors.extend(mark.map(|mark| ("place_of_slot", mark)));
        let variant = MoePlace { queue, limited, marked };
        self.dispatch("place", Launch { variant, params }, &tensors)?;
        Ok((Assignment::Grouped { experts: experts.count, tile_map, max_tiles, slot_of_place }, mark))
    }

    /// What experts take no more than, of tokens that compete.
    pub(super) fn capacity(&self, experts: &Experts) -> Option<Capacity> {
        experts.capacity.filter(|_| self.tokens_compete())
    }

    /// The order of tokens, where the queue has one of its own.
    fn priority(
        &mut self,
        queue: Queue,
        weight_of_slot: TensorId,
        choices: u32,
    ) -> Result<Option<(&'static str, TensorId)>> {
        if queue != Queue::Priority {
            return Ok(None);
        }
        let token_of_rank = self.schedule.activation("token_of_rank", self.row_bytes(1));
        let tensors = [("weight_of_slot", weight_of_slot), ("token_of_rank", token_of_rank)];
        let params = MoePriorityParams { choices };
        self.dispatch("priority", Launch { variant: MoePriority, params }, &tensors)?;
        Ok(Some(("token_of_rank", token_of_rank)))
    }

    /// The tokens that experts choose.
    pub(super) fn chosen_by_experts(
        &mut self,
        experts: &Experts,
        logits: Option<TensorId>,
        logit_stride: u32,
    ) -> Result<Routed> {
        let count = experts.count;
        let slots = ChosenSlots { experts: count, share: experts.share()?.unwrap_or(ExpertShare::ALL) };
        let [scores, slot_of_choice] =
            ["scores", "slot_of_choice"].map(|part| self.route_tensor(part, count));
        let reduce = Reduce::of(self.capabilities);
        let variant = MoeScores { experts: count, reduce };
        let mut tensors = vec![("scores", scores)];
        tensors.extend(logits.map(|logits| ("logits", logits)));
        self.dispatch("scores", Launch { variant, params: MoeScoresParams { logit_stride } }, &tensors)?;

        let slot_bytes = u64::from(slots.of(self.schedule.max_rows)) * 4;
        let tiles = slots.tiles(self.schedule.max_rows);
        let tile_map = self.schedule.activation("tile_map", tiles * 16);
        let slots_of_token = self.schedule.activation("slots_of_token", self.row_bytes(count));
        let [token_of_slot, weight_of_slot] =
            ["token_of_slot", "chosen_weight"].map(|name| self.schedule.activation(name, slot_bytes));
        let tensors = [
            ("scores", scores),
            ("slot_of_choice", slot_of_choice),
            ("token_of_slot", token_of_slot),
            ("weight_of_slot", weight_of_slot),
            ("tile_map", tile_map),
        ];
        let params = MoeExpertChoiceParams::new(slots, tiles as u32);
        self.dispatch("choose", Launch { variant: MoeExpertChoice { reduce }, params }, &tensors)?;

        let experts_of_token = self.schedule.activation("experts_of_token", self.row_bytes(1));
        let lists = [("slots_of_token", slots_of_token), ("experts_of_token", experts_of_token)];
        let tensors = [("slot_of_choice", slot_of_choice), lists[0], lists[1]];
        let params = MoeListParams { experts: count };
        self.dispatch("list", Launch { variant: MoeList, params }, &tensors)?;
        Ok(Routed {
            assignment: Assignment::Chosen { slots, tile_map, max_tiles: tiles as u32, token_of_slot },
            weight_of_slot,
            on_input: false,
            choices: 1,
            slots: CombineSlots::Listed(slots),
            marks: lists.to_vec(),
        })
    }
}
