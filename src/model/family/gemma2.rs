//! Gemma 2 (arXiv 2408.00118): local and global layers in turn, soft caps.

use super::keys::Keys;
use super::{gemma, rope};
use crate::Result;
use crate::model::config::ModelConfig;
use crate::model::naming::Naming;

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let mut decoder = gemma::decoder(keys, &gemma::DEFAULTS)?;
    decoder.attention.rope = Some(rope::uniform(keys, &decoder, 10_000.0)?);
    decoder.attention.softcap = keys.nullable("attn_logit_softcapping", Some(50.0))?;
    decoder.head.softcap = keys.nullable("final_logit_softcapping", Some(30.0))?;
    let local_and_global = [decoder.attention.clone(), decoder.attention.clone()];
    gemma::model("gemma2", keys, decoder, local_and_global, 2)
}
