//! The comment at the head of a shader names what it needs from outside: this holds the names against the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wattle::kernels::all_variants;

/// A file of `shaders/`: its words outside of comments, those inside, the functions it calls and those it defines.
struct File {
    code: BTreeSet<String>,
    comments: String,
    calls: BTreeSet<String>,
    defines: BTreeSet<String>,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(String::from).collect()
}

/// Words with a parenthesis behind them.
fn calls(code: &str) -> BTreeSet<String> {
    let before = code.match_indices('(').map(|(at, _)| &code[..at]);
    before.filter_map(|before| before.rsplit(|c| !is_word(c)).next()).map(String::from).collect()
}

impl File {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders").join(name).with_extension("wgsl");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let split = |line: &str| match line.split_once("//") {
            Some((code, comment)) => (code.to_owned(), comment.to_owned()),
            None => (line.to_owned(), String::new()),
        };
        let (code, comments): (Vec<_>, Vec<_>) = text.lines().map(split).unzip();
        let functions = code.iter().filter_map(|line| line.strip_prefix("fn "));
        let defines = functions.filter_map(|rest| rest.split('(').next()).map(String::from).collect();
        let code = code.join("\n");
        Self { code: words(&code), comments: comments.join(" "), calls: calls(&code), defines }
    }
}

#[test]
fn headers_name_what_a_shader_needs() {
    // What each file gets from outside, over all variants: constants from Rust, functions from other files.
    let mut files = BTreeMap::new();
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut constants: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for launch in all_variants() {
        let source = launch.source().to_string();
        let (given, parts): (Vec<_>, Vec<_>) = source.split_whitespace().partition(|part| part.contains('='));
        for part in &parts {
            files.entry((*part).to_owned()).or_insert_with(|| File::read(part));
        }
        for part in &parts {
            let given = given.iter().filter_map(|constant| constant.split('=').next());
            let given = given.filter(|constant| files[*part].code.contains(*constant)).map(String::from);
            constants.entry((*part).to_owned()).or_default().extend(given);
            let others = parts.iter().filter(|other| *other != part).flat_map(|other| &files[*other].defines);
            let called = others.filter(|name| files[*part].calls.contains(*name)).cloned();
            needs.entry((*part).to_owned()).or_default().extend(called);
        }
    }
    let mut wrong = Vec::new();
    for (name, file) in &files {
        let said = words(&file.comments);
        let unsaid: Vec<_> =
            needs[name].union(&constants[name]).filter(|need| !said.contains(*need)).collect();
        if !unsaid.is_empty() {
            wrong.push(format!("{name}.wgsl does not say that it needs {unsaid:?}"));
        }
        let listed = file.comments.split_once("Constants:").and_then(|(_, list)| list.split('.').next());
        let idle: Vec<_> = words(listed.unwrap_or_default())
            .into_iter()
            .filter(|word| word.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            .filter(|word| !constants[name].contains(word))
            .collect();
        if !idle.is_empty() {
            wrong.push(format!("{name}.wgsl lists {idle:?}, which it does not use or Rust does not give"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
