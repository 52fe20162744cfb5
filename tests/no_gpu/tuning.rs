//! The table of kernels for products: the shipped file reads, covers every product, and bad ones are refused.

use wattle::Error;
use wattle::fragments::InputRows;
use wattle::gpu::Capabilities;
use wattle::kernels::matvec::VecTile;
use wattle::tuning::{ProductKernel, ProductPath, ProductShape, Rule, Tuning, TuningFile};

const SHIPPED: &str = include_str!("../../src/tuning/shipped.json");

fn shape(rows: u32, inputs: u32) -> ProductShape {
    ProductShape { rows, inputs, bits: 4, matrices: false, path: ProductPath::Matrix }
}

#[test]
fn the_shipped_file_is_read_and_has_a_rule_for_everything() {
    let file = TuningFile::parse("shipped.json", SHIPPED).unwrap();
    assert_eq!(&file, TuningFile::shipped());
    for is_cpu in [false, true] {
        let device = Capabilities { is_cpu, ..Capabilities::webgpu() };
        let table = file.for_device(&device).unwrap_or_else(|| panic!("no table where is_cpu is {is_cpu}"));
        let last = table.rules.last().unwrap();
        assert_eq!(
            (last.max_rows, last.max_inputs, last.max_bits),
            (None, None, None),
            "{:?}",
            table.adapter
        );
        // A step reads its weights once, and a norm may be fused into it.
        assert!(matches!(table.kernel(shape(1, 4096)), ProductKernel::Matvec(VecTile { rows: 1, .. })));
    }
    let again = serde_json::to_string(&file).unwrap();
    assert_eq!(TuningFile::parse("again", &again).unwrap(), file);
}

#[test]
fn the_first_rule_that_fits_decides() {
    let tile = |lanes| VecTile { lanes, team: lanes, outputs: 4, rows: 1 };
    let rule = |max_rows, max_inputs, lanes| {
        let kernel = ProductKernel::Matvec(tile(lanes));
        Rule { max_rows, max_inputs, max_bits: None, kernel }
    };
    let shipped = Tuning::shipped(&Capabilities::webgpu());
    let rules = vec![rule(Some(1), Some(64), 32), rule(Some(4), None, 64)];
    let table = Tuning { rules, ..shipped };
    assert_eq!(table.kernel(shape(1, 64)), ProductKernel::Matvec(tile(32)));
    assert_eq!(table.kernel(shape(1, 65)), ProductKernel::Matvec(tile(64)));
    assert_eq!(table.kernel(shape(4, 1)), ProductKernel::Matvec(tile(64)));
    assert_eq!(table.kernel(shape(5, 1)), ProductKernel::Matmul {}, "what no rule fits");
}

#[test]
fn cooperative_matrices_are_for_devices_that_have_them_and_weights_that_fit() {
    let gpu = Tuning::shipped(&Capabilities::webgpu());
    let prompt =
        ProductShape { rows: 256, inputs: 4096, bits: 16, matrices: true, path: ProductPath::Matrix };
    assert_eq!(gpu.kernel(prompt), ProductKernel::MatmulCoop {});
    assert_eq!(gpu.kernel(ProductShape { bits: 32, ..prompt }), ProductKernel::Matmul {});
    assert_eq!(gpu.kernel(ProductShape { matrices: false, ..prompt }), ProductKernel::Matmul {});
    assert_eq!(gpu.kernel(ProductShape { path: ProductPath::Float, ..prompt }), ProductKernel::Matmul {});
    // Software gains nothing by them: on Mesa 26.1 `matmul` is four times as fast.
    let cpu = Tuning::shipped(&Capabilities { is_cpu: true, ..Capabilities::webgpu() });
    assert_ne!(cpu.kernel(prompt), ProductKernel::MatmulCoop {});
}

/// Nobody gets rounded inputs unasked, and floats never become codes.
#[test]
fn the_integer_path_is_for_weights_that_are_codes() {
    for is_cpu in [false, true] {
        let table = Tuning::shipped(&Capabilities { is_cpu, ..Capabilities::webgpu() });
        for rows in [1, 8, 256] {
            let asked = ProductShape { path: ProductPath::Integer, ..shape(rows, 4096) };
            assert_eq!(table.kernel(asked).inputs(4096), InputRows::I8, "{rows} rows, is_cpu {is_cpu}");
            assert_eq!(table.one_row(asked).1, InputRows::I8);
            for other in [
                ProductShape { bits: 16, ..asked },
                ProductShape { path: ProductPath::Float, ..asked },
                ProductShape { path: ProductPath::Matrix, matrices: true, ..asked },
            ] {
                assert_eq!(table.kernel(other).inputs(4096), InputRows::Quads, "{other:?}");
                assert_eq!(table.one_row(other).1, InputRows::Quads, "{other:?}");
            }
        }
    }
}

#[test]
fn bad_files_are_refused_with_their_name() {
    let matvec = |tile: &str| {
        let rules = format!(r#"[{{ "matvec": {{ {tile}, "outputs": 4, "rows": 1 }} }}]"#);
        format!(r#"{{ "schema": 1, "tables": [{{ "adapter": "gpu", "rules": {rules} }}] }}"#)
    };
    assert!(TuningFile::parse("good", &matvec(r#""lanes": 32, "team": 1"#)).is_ok());
    for (text, says) in [
        (SHIPPED.replace(r#""schema": 1"#, r#""schema": 2"#), "schema 2"),
        (SHIPPED.replace(r#""cpu""#, r#""toaster""#), "toaster"),
        (SHIPPED.replace("max_rows", "most_rows"), "most_rows"),
        (matvec(r#""lanes": 48, "team": 1"#), "lanes"),
        (matvec(r#""lanes": 32, "team": 2"#), "team"),
        ("{".to_owned(), "EOF"),
    ] {
        let error = TuningFile::parse("some.json", &text).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        assert!(error.to_string().contains(says) && error.to_string().contains("some.json"), "{error}");
    }
}
