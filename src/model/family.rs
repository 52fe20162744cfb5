//! Families of models: from the text of a `config.json` to a description.
//!
//! A file here is one family of Hugging Face's `transformers`, written as what sets it apart from the others, or what
//! some of them share.
//! Absent keys have the values that `transformers` 5.23.0 gives them.

mod cohere;
mod decoder;
mod deepseek;
mod dots1;
mod experts;
mod falcon;
mod gemma;
mod gemma1;
mod gemma2;
mod gemma3;
mod gemma3n;
mod gemma4;
mod glm4_moe;
mod gpt_bigcode;
mod gpt_neox;
mod gpt_oss;
mod gptj;
mod keys;
mod layers;
mod llama;
mod llama4;
mod mistral;
mod mixtral;
mod olmoe;
mod phi;
mod phimoe;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod rope;
mod small_gemma;
mod switch_transformers;
mod t5;

use serde_json::Value;

use self::keys::Keys;
use crate::model::config::ModelConfig;
use crate::model::naming::Naming;
use crate::{Error, Result};

/// The file that describes a model.
pub(crate) const FILE: &str = "config.json";

type Family = fn(&Keys<'_>) -> Result<(ModelConfig, Naming)>;

/// Reader of every `model_type`.
const FAMILIES: [(&str, Family); 31] = [
    ("cohere", cohere::read),
    ("deepseek_v2", deepseek::read_v2),
    ("deepseek_v3", deepseek::read_v3),
    ("dots1", dots1::read),
    ("falcon", falcon::read),
    ("gemma", gemma1::read),
    ("gemma2", gemma2::read),
    ("gemma3", |keys| gemma3::read(&text_part(keys)?)),
    ("gemma3_text", gemma3::read),
    ("gemma3n", |keys| gemma3n::read(&text_part(keys)?)),
    ("gemma3n_text", gemma3n::read),
    ("gemma4", |keys| gemma4::read(&text_part(keys)?)),
    ("gemma4_text", gemma4::read),
    ("glm4_moe", glm4_moe::read),
    ("gpt_bigcode", gpt_bigcode::read),
    ("gpt_neox", gpt_neox::read),
    ("gpt_oss", gpt_oss::read),
    ("gptj", gptj::read),
    ("llama", llama::read),
    ("llama4", |keys| llama4::read(&text_part(keys)?)),
    ("llama4_text", llama4::read),
    ("mistral", mistral::read),
    ("mixtral", mixtral::read),
    ("olmoe", olmoe::read),
    ("phi", phi::read),
    ("phimoe", phimoe::read),
    ("qwen2_moe", qwen2_moe::read),
    ("qwen3", qwen3::read),
    ("qwen3_moe", qwen3_moe::read),
    ("switch_transformers", switch_transformers::read),
    ("t5", t5::read),
];

/// Reads a description: Hugging Face's if it has a `model_type`, else a [`ModelConfig`] as JSON.
///
/// # Errors
/// [`Error::Format`] if the text is not JSON or lacks a part of a native description; [`Error::UnknownModel`];
/// [`Error::Config`] with the key whose value will not do; [`Error::Unsupported`] with the key that asks for
/// something that is not offered.
pub fn parse(json: &str) -> Result<(ModelConfig, Naming)> {
    let value: Value = serde_json::from_str(json).map_err(|e| Error::format(FILE, e))?;
    let (config, naming) = match value.as_object() {
        Some(object) if object.contains_key("model_type") => hugging_face(&Keys::new(object))?,
        _ => (native(json)?, Naming::Native),
    };
    config.validate()?;
    Ok((config, naming))
}

/// The text part of a model that also sees or hears.
fn text_part<'a>(keys: &'a Keys<'_>) -> Result<Keys<'a>> {
    keys.child("text_config")?.ok_or_else(|| keys.error("text_config", "an object", "nothing"))
}

fn native(json: &str) -> Result<ModelConfig> {
    // From the text and not from the value, so that the message has a line and a column.
    let without = "without a 'model_type' it must be a native description";
    serde_json::from_str(json).map_err(|e| Error::format(FILE, format!("{without}: {e}")))
}

fn hugging_face(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    keys.refuse("quantization_config", "weights are read as f32, f16 or bf16 and quantised here")?;
    let model_type = keys.required::<String>("model_type")?;
    match FAMILIES.iter().find(|(name, _)| *name == model_type) {
        Some((_, read)) => read(keys),
        None => {
            let known = FAMILIES.map(|(name, _)| name).join(", ");
            Err(Error::UnknownModel { found: model_type, known })
        }
    }
}
