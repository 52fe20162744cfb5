//! Sound checkpoints: one file or many, in memory, in a directory or behind a reader.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use serde_json::json;
use wattle::Error;
use wattle::model::checkpoint::{Checkpoint, FileReader, StoredType};
use wattle::model::naming::Naming;
use wattle::model::slot::{Place, Role, Slot, slots};
use wattle::model::{self, Source, family};

use crate::support::{TempDir, assert_says, f32_bytes, file, safetensors, u16_bytes};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn two_tensors() -> Vec<u8> {
    safetensors(&[
        ("a", "F32", &[2, 3], f32_bytes(&[1.0, -2.0, 3.5, 0.0, 5.0, 6.0])),
        ("b", "BF16", &[2], u16_bytes(&[0x3f80, 0xc000])),
    ])
}

/// Tensor `a` in one file, `b` in another.
fn two_shards() -> Vec<(String, Vec<u8>)> {
    let index =
        r#"{"metadata":{"total_size":12},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#;
    vec![
        (INDEX.to_owned(), index.as_bytes().to_vec()),
        ("one.safetensors".to_owned(), safetensors(&[("a", "F32", &[2], f32_bytes(&[1.0, 2.0]))])),
        ("two.safetensors".to_owned(), safetensors(&[("b", "F32", &[1], f32_bytes(&[3.0]))])),
    ]
}

fn single(bytes: Vec<u8>) -> Checkpoint {
    Checkpoint::from_bytes(vec![(SINGLE.to_owned(), bytes)]).unwrap()
}

#[test]
fn one_file() {
    let checkpoint = single(two_tensors());
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
    let a = checkpoint.tensor("a", &[2, 3]).unwrap();
    assert_eq!((a.name(), a.dtype, a.shape()), ("a", StoredType::F32, [2, 3].as_slice()));
    assert_eq!(a.to_f32(), [1.0, -2.0, 3.5, 0.0, 5.0, 6.0]);
    assert!(matches!(a.bytes, Cow::Borrowed(_)), "bytes in memory need no copy");
    assert_eq!(checkpoint.tensor("b", &[2]).unwrap().to_f32(), [1.0, -2.0]);
    assert_eq!((checkpoint.tensor_bytes("a").unwrap(), checkpoint.tensor_bytes("b").unwrap()), (24, 4));
}

#[test]
fn many_files() {
    let checkpoint = Checkpoint::from_bytes(two_shards()).unwrap();
    assert_eq!(checkpoint.tensor("a", &[2]).unwrap().to_f32(), [1.0, 2.0]);
    assert_eq!(checkpoint.tensor("b", &[1]).unwrap().to_f32(), [3.0]);
}

#[test]
fn a_directory() {
    let shards = two_shards();
    let files: Vec<_> = shards.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let dir = TempDir::new("a_directory", &files);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let a = checkpoint.tensor("a", &[2]).unwrap();
    assert!(matches!(a.bytes, Cow::Borrowed(_)), "mapped bytes need no copy");
    assert_eq!(a.to_f32(), [1.0, 2.0]);
}

/// Serves two tensors, keeps a list of the ranges asked for, and leaves `lost` bytes out of every tensor.
struct Recorder {
    file: Vec<u8>,
    ranges: Arc<Mutex<Vec<Range<u64>>>>,
    lost: usize,
}

impl FileReader for Recorder {
    fn file_len(&self, file: &str) -> io::Result<u64> {
        if file == SINGLE { Ok(self.file.len() as u64) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn read(&self, _file: &str, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.ranges.lock().unwrap().push(range.clone());
        let end = if range.end == self.file.len() as u64 {
            range.end as usize - self.lost
        } else {
            range.end as usize
        };
        Ok(Cow::Owned(self.file[range.start as usize..end].to_vec()))
    }
}

#[test]
fn a_reader_is_asked_for_one_tensor_only() {
    let ranges = Arc::default();
    let file = two_tensors();
    let len = file.len() as u64;
    let checkpoint =
        Checkpoint::from_reader(Recorder { file, ranges: Arc::clone(&ranges), lost: 0 }).unwrap();
    let header_end = len - 28;
    assert_eq!(*ranges.lock().unwrap(), [0..8, 8..header_end]);
    assert_eq!(checkpoint.tensor("b", &[2]).unwrap().to_f32(), [1.0, -2.0]);
    assert_eq!(ranges.lock().unwrap()[2], len - 4..len);
}

#[test]
fn a_reader_that_gives_too_little_is_found_out() {
    let recorder = Recorder { file: two_tensors(), ranges: Arc::default(), lost: 1 };
    let checkpoint = Checkpoint::from_reader(recorder).unwrap();
    assert_says(&checkpoint.tensor("b", &[2]).unwrap_err(), &[SINGLE, "3 bytes", "4 were asked for"]);
}

#[test]
fn every_type_is_widened_exactly() {
    let checkpoint = single(safetensors(&[
        // One, the smallest subnormal, the largest finite, minus zero.
        ("f16", "F16", &[4], u16_bytes(&[0x3c00, 0x0001, 0x7bff, 0x8000])),
        ("bf16", "BF16", &[4], u16_bytes(&[0x3f80, 0x0001, 0x7f7f, 0x8000])),
    ]));
    let f16 = checkpoint.tensor("f16", &[4]).unwrap();
    assert_eq!(f16.to_f32().map_bits(), [1.0, 2f32.powi(-24), 65504.0, -0.0].to_vec().map_bits());
    let bf16 = checkpoint.tensor("bf16", &[4]).unwrap();
    assert_eq!(bf16.to_f32().map_bits(), [0x3f80_0000, 0x0001_0000, 0x7f7f_0000, 0x8000_0000]);
    assert!(f16.check_finite().is_ok() && bf16.check_finite().is_ok());
}

trait MapBits {
    fn map_bits(&self) -> Vec<u32>;
}

impl MapBits for Vec<f32> {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|x| x.to_bits()).collect()
    }
}

#[test]
fn bytes_may_lie_at_any_address() {
    for padding in 0..4 {
        // Spaces before the brace move the data by one byte each.
        let info = r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let header = format!("{}{info}", " ".repeat(padding));
        let checkpoint = single(file(&header, &f32_bytes(&[1.5, -2.5])));
        assert_eq!(checkpoint.tensor("x", &[2]).unwrap().to_f32(), [1.5, -2.5], "{padding}");
    }
}

#[test]
fn parts_of_a_tensor() {
    let checkpoint = single(two_tensors());
    let a = checkpoint.tensor("a", &[2, 3]).unwrap();
    let mut out = [0.0; 2];
    a.read_f32(2..4, &mut out).unwrap();
    assert_eq!(out, [3.5, 0.0]);
    a.read_f32(6..6, &mut []).unwrap();
    for (range, len) in [(5..7, 2), (0..3, 2), (usize::MAX - 1..usize::MAX, 1)] {
        let error = a.read_f32(range, &mut vec![0.0; len]).unwrap_err();
        assert_says(&error, &["'a'", "6 elements"]);
    }
}

#[test]
fn nan_and_infinities_are_found_by_index() {
    let bits = [
        ("F32", 4, vec![0x7fc0_0000u32, 0x7f80_0000, 0xff80_0000, 0x7f80_0001]),
        ("F16", 2, vec![0x7e00, 0x7c00, 0xfc00, 0x7c01]),
        ("BF16", 2, vec![0x7fc0, 0x7f80, 0xff80, 0x7f81]),
    ];
    for (dtype, size, patterns) in bits {
        for pattern in patterns {
            let mut data = vec![0; 5 * size];
            data[3 * size..4 * size].copy_from_slice(&pattern.to_le_bytes()[..size]);
            let checkpoint = single(safetensors(&[("w", dtype, &[5], data)]));
            let error = checkpoint.tensor("w", &[5]).unwrap().check_finite().unwrap_err();
            assert!(
                matches!(&error, Error::NotFinite { name, index: 3, value } if name == "w" && !value.is_finite()),
                "{dtype} {pattern:#x}: {error:?}"
            );
        }
    }
}

#[test]
fn tensors_without_elements_or_dimensions() {
    let checkpoint = single(safetensors(&[
        ("empty", "F32", &[0, 4], Vec::new()),
        ("scalar", "F32", &[], f32_bytes(&[7.0])),
    ]));
    assert!(checkpoint.tensor("empty", &[0, 4]).unwrap().to_f32().is_empty());
    assert_eq!(checkpoint.tensor("scalar", &[]).unwrap().to_f32(), [7.0]);
}

/// A model of two sub-layers with everything that is optional: biases of norms and projections, a post norm,
/// no gate, a head of its own.
const NATIVE: &str = r#"{
  "name": "tiny", "vocab_size": 5, "hidden_size": 2, "context_length": 4,
  "blocks": [{"sublayers": [
    {
      "norm": {"kind": "layer_norm_bias", "eps": 1e-5},
      "op": {"attention": {"heads": 1, "kv_heads": 1, "head_dim": 4, "scale": 0.5, "qkv_bias": true}}
    },
    {
      "norm": {"kind": "layer_norm", "eps": 1e-5},
      "op": {"feed_forward": {"hidden": 3, "activation": "relu", "gated": false, "bias": true}},
      "post_norm": {"kind": "rms", "eps": 1e-5}
    }
  ]}],
  "final_norm": {"kind": "rms", "eps": 1e-5},
  "head": {"tied": false}
}"#;

const NATIVE_TENSORS: [(&str, &[usize]); 18] = [
    ("embedding.weight", &[5, 2]),
    ("blocks.0.sublayers.0.norm.weight", &[2]),
    ("blocks.0.sublayers.0.norm.bias", &[2]),
    ("blocks.0.sublayers.0.q.weight", &[4, 2]),
    ("blocks.0.sublayers.0.q.bias", &[4]),
    ("blocks.0.sublayers.0.k.weight", &[4, 2]),
    ("blocks.0.sublayers.0.k.bias", &[4]),
    ("blocks.0.sublayers.0.v.weight", &[4, 2]),
    ("blocks.0.sublayers.0.v.bias", &[4]),
    ("blocks.0.sublayers.0.out.weight", &[2, 4]),
    ("blocks.0.sublayers.1.norm.weight", &[2]),
    ("blocks.0.sublayers.1.up.weight", &[3, 2]),
    ("blocks.0.sublayers.1.up.bias", &[3]),
    ("blocks.0.sublayers.1.down.weight", &[2, 3]),
    ("blocks.0.sublayers.1.down.bias", &[2]),
    ("blocks.0.sublayers.1.post_norm.weight", &[2]),
    ("final_norm.weight", &[2]),
    ("head.weight", &[5, 2]),
];

/// The files of that model without one tensor, and with one that it does not need.
fn native_files(skip: Option<&str>) -> Vec<(String, Vec<u8>)> {
    let tensors: Vec<_> = NATIVE_TENSORS
        .iter()
        .filter(|(name, _)| Some(*name) != skip)
        .map(|(name, shape)| (*name, "F32", *shape, f32_bytes(&vec![1.0; shape.iter().product()])))
        .chain([("something.else", "I64", [1].as_slice(), vec![0; 8])])
        .collect();
    vec![("config.json".to_owned(), NATIVE.into()), (SINGLE.to_owned(), safetensors(&tensors))]
}

fn open_native(name: &str, skip: Option<&str>) -> Result<Source, Error> {
    let files = native_files(skip);
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let dir = TempDir::new(name, &files);
    model::open(dir.path())
}

#[test]
fn a_native_model_and_a_tensor_it_does_not_need() {
    let source = open_native("native", None).unwrap();
    assert_eq!(source.naming, Naming::Native);
    let slot = Slot::bias(Place::sublayer(0, 0), Role::Norm);
    assert_eq!(source.fetch(slot, &[2]).unwrap(), [1.0, 1.0]);
    assert!(source.checkpoint.contains("something.else"));
    let elements: usize = NATIVE_TENSORS.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let bytes = source.checkpoint.check(&source.config, source.naming).unwrap();
    assert_eq!(bytes, 4 * elements as u64);
}

#[test]
fn slots_come_in_the_order_of_the_forward_pass() {
    let (config, naming) = family::parse(NATIVE).unwrap();
    let slots: Vec<_> = slots(&config).map(|(slot, shape)| (naming.tensor_name(slot), shape)).collect();
    let expected = NATIVE_TENSORS.map(|(name, shape)| (name.to_owned(), shape.to_vec()));
    assert_eq!(slots, expected);
}

#[test]
fn any_tensor_missing_is_named_before_anything_is_read() {
    for (name, _) in NATIVE_TENSORS {
        let error = open_native("incomplete", Some(name)).unwrap_err();
        assert!(
            matches!(&error, Error::MissingTensor { name: missing } if missing == name),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn a_whole_model_from_a_reader() {
    let source = Source::from_reader(Files(native_files(None))).unwrap();
    let slot = Slot::weight(Place::Model, Role::Head);
    assert_eq!(source.fetch(slot, &[5, 2]).unwrap(), [1.0; 10]);
    let error = source.fetch(slot, &[2, 5]).unwrap_err();
    assert!(matches!(&error, Error::TensorMismatch { name, .. } if name == "head.weight"), "{error:?}");
}

/// A Gemma 2 without layers to speak of, whose description ties the head, with these tables.
fn open_tied(tables: &[(&str, f32)]) -> Result<Source, Error> {
    let config = json!({
        "model_type": "gemma2", "vocab_size": 5, "hidden_size": 2, "num_hidden_layers": 1, "head_dim": 2,
        "num_attention_heads": 1, "num_key_value_heads": 1, "intermediate_size": 1, "tie_word_embeddings": true,
    });
    let (parsed, naming) = family::parse(&config.to_string()).unwrap();
    let needed: Vec<_> = slots(&parsed)
        .filter(|(slot, _)| slot.role != Role::Embedding)
        .map(|(slot, shape)| (naming.tensor_name(slot), shape))
        .collect();
    let ones = |shape: &[usize], value: f32| f32_bytes(&vec![value; shape.iter().product()]);
    let tensors: Vec<_> = needed
        .iter()
        .map(|(name, shape)| (name.as_str(), "F32", shape.as_slice(), ones(shape, 1.0)))
        .chain(tables.iter().map(|(name, value)| (*name, "F32", [5, 2].as_slice(), ones(&[5, 2], *value))))
        .collect();
    let files = [("config.json", config.to_string().into_bytes()), (SINGLE, safetensors(&tensors))];
    Source::from_reader(Files(files.map(|(name, bytes)| (name.to_owned(), bytes)).to_vec()))
}

/// What is tied on paper is tied where the files do not say otherwise.
#[test]
fn a_tied_head_that_is_there() {
    let (table, head) = ("model.embed_tokens.weight", "lm_head.weight");
    for (tables, tied) in [
        (vec![(table, 1.0)], true),
        (vec![(table, 1.0), (head, 1.0)], true),
        (vec![(table, 1.0), (head, 2.0)], false),
    ] {
        let source = open_tied(&tables).unwrap();
        assert_eq!(source.config.head.tied, tied, "{tables:?}");
        if !tied {
            assert_eq!(source.fetch(Slot::weight(Place::Model, Role::Head), &[5, 2]).unwrap(), [2.0; 10]);
        }
        assert_eq!(source.fetch(Slot::weight(Place::Model, Role::Embedding), &[5, 2]).unwrap(), [1.0; 10]);
    }
    let source = open_tied(&[(head, 3.0)]).unwrap();
    assert!(source.config.head.tied);
    assert_eq!(source.fetch(Slot::weight(Place::Model, Role::Embedding), &[5, 2]).unwrap(), [3.0; 10]);
    let error = open_tied(&[]).unwrap_err();
    assert!(matches!(&error, Error::MissingTensor { name } if name == table), "{error:?}");
}

/// A reader as a host would write it.
struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    fn find(&self, file: &str) -> io::Result<&[u8]> {
        let found = self.0.iter().find(|(name, _)| name == file);
        found.map(|(_, bytes)| bytes.as_slice()).ok_or(io::ErrorKind::NotFound.into())
    }
}

impl FileReader for Files {
    fn file_len(&self, file: &str) -> io::Result<u64> {
        Ok(self.find(file)?.len() as u64)
    }

    fn read(&self, file: &str, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        Ok(Cow::Owned(self.find(file)?[range.start as usize..range.end as usize].to_vec()))
    }
}
