//! House rules over naga's IR: what validation allows and no kernel may do.
//!
//! Which lane's atomic comes first changes from run to run. The same bits every time come out of a kernel only if its
//! atomics count, and if nothing hangs on a count before all have counted. The rules are stricter than that needs, so that
//! no dataflow has to be followed: what an atomic gives is written to a buffer, added to another counter, or unused.

use std::collections::HashMap;

use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{
    AddressSpace, AtomicFunction, Block, Expression, Function, Handle, Literal, Module, Scalar, ScalarKind,
    Span, Statement, TypeInner,
};

/// Rule, reason, remedy.
const COUNTERS: &str = "an atomic other than atomicAdd on an integer: what it leaves may hang on the order of lanes, \
    which changes from run to run; count in integers, or reduce in a fixed order as shaders/reduce does";
const RESULTS: &str = "the result of an atomic is used: it says which lane came first, and so would every address, branch \
    or value made of it; rank in a fixed order, as moe_count, moe_scan and moe_place do";
const READS: &str = "a counter is read for more than to be stored or added to another: whether all lanes have counted \
    cannot be seen here, and an address or a branch made of it may differ from run to run; store it, and read it in a \
    later dispatch";
const STORES: &str = "a counter is set to something that is not 0: the last lane wins, and which one that is changes from \
    run to run; clear it and let every lane add its part";

/// A rule that is not kept.
#[derive(Debug)]
pub struct Breach {
    /// Where, in the text that was parsed.
    pub span: Span,
    /// Rule, reason and remedy.
    pub message: &'static str,
}

/// Every place where a valid module breaks a rule.
pub fn breaches(module: &Module, info: &ModuleInfo) -> Vec<Breach> {
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let entries = module.entry_points.iter().enumerate();
    let entries = entries.map(|(n, entry)| (&entry.function, info.get_entry_point(n)));
    functions.chain(entries).flat_map(|(function, info)| Atomics::of(module, function, info)).collect()
}

/// The atomics of one function.
struct Atomics<'a> {
    module: &'a Module,
    function: &'a Function,
    info: &'a FunctionInfo,
    /// How often each expression is stored to a buffer, or added to a counter.
    kept: HashMap<Handle<Expression>, usize>,
    breaches: Vec<Breach>,
}

impl<'a> Atomics<'a> {
    fn of(module: &'a Module, function: &'a Function, info: &'a FunctionInfo) -> Vec<Breach> {
        let mut atomics = Self { module, function, info, kept: HashMap::new(), breaches: Vec::new() };
        atomics.block(&function.body);
        atomics.reads();
        atomics.breaches
    }

    fn block(&mut self, block: &Block) {
        for (statement, span) in block.span_iter() {
            match statement {
                Statement::Block(block) => self.block(block),
                Statement::If { accept: first, reject: second, .. }
                | Statement::Loop { body: first, continuing: second, .. } => {
                    self.block(first);
                    self.block(second);
                }
                Statement::Switch { cases, .. } => cases.iter().for_each(|case| self.block(&case.body)),
                statement => {
                    let broken = self.broken_by(statement).into_iter();
                    self.breaches.extend(broken.map(|message| Breach { span: *span, message }));
                    if let Some(value) = self.kept_by(statement) {
                        *self.kept.entry(value).or_default() += 1;
                    }
                }
            }
        }
    }

    fn broken_by(&self, statement: &Statement) -> Vec<&'static str> {
        match *statement {
            Statement::Atomic { pointer, fun, result, .. } => {
                let is_integer = |scalar: Scalar| matches!(scalar.kind, ScalarKind::Uint | ScalarKind::Sint);
                let counts = fun == AtomicFunction::Add && self.counter(pointer).is_some_and(is_integer);
                let used = result.is_some_and(|result| self.info[result].ref_count > 0);
                [(!counts).then_some(COUNTERS), used.then_some(RESULTS)].into_iter().flatten().collect()
            }
            Statement::ImageAtomic { .. } => vec![COUNTERS],
            Statement::Store { pointer, value }
                if self.counter(pointer).is_some() && !self.is_zero(value) =>
            {
                vec![STORES]
            }
            Statement::WorkGroupUniformLoad { pointer, .. } if self.counter(pointer).is_some() => vec![READS],
            _ => vec![],
        }
    }

    /// What a statement stores to a buffer or gives to an atomic.
    fn kept_by(&self, statement: &Statement) -> Option<Handle<Expression>> {
        match *statement {
            Statement::Atomic { value, .. } => Some(value),
            Statement::Store { pointer, value } => self.is_in_a_buffer(pointer).then_some(value),
            _ => None,
        }
    }

    fn reads(&mut self) {
        for (handle, expression) in self.function.expressions.iter() {
            let Expression::Load { pointer } = *expression else { continue };
            let kept = self.kept.get(&handle).copied().unwrap_or(0);
            if self.counter(pointer).is_some() && self.info[handle].ref_count > kept {
                let span = self.function.expressions.get_span(handle);
                self.breaches.push(Breach { span, message: READS });
            }
        }
    }

    /// What is behind a pointer to an atomic.
    fn counter(&self, pointer: Handle<Expression>) -> Option<Scalar> {
        match *self.info[pointer].ty.inner_with(&self.module.types) {
            TypeInner::Pointer { base, .. } => match self.module.types[base].inner {
                TypeInner::Atomic(scalar) => Some(scalar),
                _ => None,
            },
            _ => None,
        }
    }

    fn is_zero(&self, value: Handle<Expression>) -> bool {
        matches!(
            self.function.expressions[value],
            Expression::ZeroValue(_) | Expression::Literal(Literal::U32(0) | Literal::I32(0))
        )
    }

    fn is_in_a_buffer(&self, pointer: Handle<Expression>) -> bool {
        match self.function.expressions[pointer] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => {
                self.is_in_a_buffer(base)
            }
            Expression::GlobalVariable(variable) => {
                matches!(self.module.global_variables[variable].space, AddressSpace::Storage { .. })
            }
            _ => false,
        }
    }
}

mod tests {
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    use super::*;

    const DECLARATIONS: &str = "
        @group(0) @binding(0) var<storage, read_write> counts: array<atomic<u32>>;
        @group(0) @binding(1) var<storage, read_write> out: array<u32>;
        @group(0) @binding(2) var<storage, read_write> sum: atomic<f32>;
        var<workgroup> local: array<atomic<u32>, 64>;
        fn ticket(e: u32) -> u32 { RESULT }
        @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) { BODY }";

    /// The rules that a kernel with this body breaks, its helper having the other.
    fn broken(body: &str, result: &str) -> Vec<&'static str> {
        let text = DECLARATIONS.replace("BODY", body).replace("RESULT", result);
        let module = naga::front::wgsl::parse_str(&text)
            .unwrap_or_else(|error| panic!("{body}: {}", error.emit_to_string(&text)));
        let info = Validator::new(ValidationFlags::all(), Capabilities::all())
            .validate(&module)
            .unwrap_or_else(|error| panic!("{body}: {}", error.emit_to_string(&text)));
        breaches(&module, &info)
            .into_iter()
            .map(|breach| {
                let at = breach.span.location(&text);
                assert!(at.line_number > 1, "{body}: {at:?}");
                breach.message
            })
            .collect()
    }

    #[test]
    fn counters_may_be_cleared_counted_stored_and_added_up() {
        let body = "
            atomicStore(&local[lane], 0u);
            workgroupBarrier();
            if out[lane] > 3u { atomicAdd(&local[out[lane]], 2u); }
            for (var i = 0u; i < 3u; i++) { _ = atomicAdd(&counts[i], 1u); }
            workgroupBarrier();
            out[lane] = atomicLoad(&local[lane]);
            let count = atomicLoad(&local[lane + 1u]);
            atomicAdd(&counts[lane], count);";
        assert_eq!(broken(body, "return e;"), [""; 0]);
    }

    #[test]
    fn what_is_no_counter_is_found() {
        for body in [
            "atomicMax(&counts[0], lane);",
            "atomicSub(&counts[0], lane);",
            "if lane == 0u { atomicXor(&local[1], 2u); }",
            "switch lane { case 1u: { atomicAdd(&sum, 1.0); } default: {} }",
            "_ = atomicExchange(&counts[0], lane);",
        ] {
            assert_eq!(broken(body, "return e;"), [COUNTERS], "{body}");
        }
    }

    #[test]
    fn used_results_are_found() {
        for body in [
            "out[atomicAdd(&counts[0], 1u)] = lane;",
            "if atomicAdd(&local[0], 1u) == 63u { out[0] = 1u; }",
            "let slot = atomicAdd(&counts[0], 1u); for (var i = 0u; i < slot; i++) { out[i] = 1u; }",
            "var slot = 0u; loop { slot = atomicAdd(&counts[0], 1u); break; } out[slot] = lane;",
            "out[lane] = atomicAdd(&counts[0], 1u);",
        ] {
            assert_eq!(broken(body, "return e;"), [RESULTS], "{body}");
        }
        assert_eq!(broken("out[ticket(lane)] = lane;", "return atomicAdd(&counts[e], 1u);"), [RESULTS]);
        let exchange = "if atomicCompareExchangeWeak(&counts[0], 0u, 1u).exchanged { out[0] = lane; }";
        assert_eq!(broken(exchange, "return e;"), [COUNTERS, RESULTS]);
    }

    #[test]
    fn counters_that_lead_somewhere_are_found() {
        for body in [
            "out[atomicLoad(&local[0])] = lane;",
            "if atomicLoad(&counts[lane]) > 4u { out[0] = 1u; }",
            "let count = atomicLoad(&local[lane]); out[lane] = count; out[count] = lane;",
            "var count = atomicLoad(&local[lane]); out[count] = lane;",
            "out[lane] = ticket(atomicLoad(&local[lane]));",
        ] {
            assert_eq!(broken(body, "return e;"), [READS], "{body}");
        }
        assert_eq!(broken("out[ticket(lane)] = lane;", "return atomicLoad(&counts[e]);"), [READS]);
    }

    #[test]
    fn counters_that_are_set_are_found() {
        assert_eq!(broken("atomicStore(&counts[0], lane);", "return e;"), [STORES]);
        assert_eq!(broken("atomicStore(&local[0], 1u);", "return e;"), [STORES]);
    }
}
