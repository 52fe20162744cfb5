//! Text read, continued and timed.

use std::ops::ControlFlow;
use std::time::Instant;

use wattle::Result;
use wattle::energy::Level;
use wattle::model::forward::{LogitRows, Sampling};
use wattle::model::session::GenerateOptions;
use wattle::model::{Model, Session, SessionOptions};

/// Stories begin after a newline and end with one.
const PROMPT: &str = "\n";
const SAMPLE: u32 = 160;
/// Tokens that speed is measured over.
pub const TOKENS: u32 = 128;

/// How a model predicts the held-out text.
pub struct Quality {
    /// Mean negative log-likelihood of a byte given those before it in its story.
    pub nats: f64,
    /// Mean of KL(softmax(exact) || softmax(found)), in nats.
    pub divergence: f64,
    /// Share of bytes of which both find the same one likeliest.
    pub agreement: f64,
}

/// The logits of every byte of the stories, each told after a newline and nothing else.
pub async fn read(model: &Model, stories: &[&str]) -> Result<Vec<Vec<f32>>> {
    let longest = stories.iter().map(|story| story.len()).max().unwrap_or(1) as u32;
    let options = SessionOptions {
        logits: LogitRows::All,
        sampling: None,
        max_chunk: longest,
        ledger: Level::Off,
        ..SessionOptions::new(longest, Sampling::GREEDY)
    };
    let mut session = Session::new(model, options).await?;
    let mut rows = Vec::new();
    for story in stories {
        session.reset();
        let ids: Vec<u32> = PROMPT.bytes().chain(story.bytes()).map(u32::from).collect();
        for chunk in ids[..story.len()].chunks(session.chunk_rows() as usize) {
            session.feed(chunk).await?;
            let logits = session.logits(chunk.len()).await?;
            rows.extend(logits.chunks_exact(logits.len() / chunk.len()).map(<[f32]>::to_vec));
        }
    }
    Ok(rows)
}

/// Compares the logits of the same text by two models.
pub fn quality(exact: &[Vec<f32>], found: &[Vec<f32>], stories: &[&str]) -> Quality {
    let mut quality = Quality { nats: 0.0, divergence: 0.0, agreement: 0.0 };
    let bytes = stories.iter().flat_map(|story| story.bytes());
    for ((exact, found), byte) in exact.iter().zip(found).zip(bytes) {
        let (p, q) = (log_softmax(exact), log_softmax(found));
        quality.nats -= q[usize::from(byte)];
        quality.divergence += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
        quality.agreement += f64::from(u8::from(likeliest(&p) == likeliest(&q)));
    }
    let count = exact.len() as f64;
    Quality {
        nats: quality.nats / count,
        divergence: quality.divergence / count,
        agreement: quality.agreement / count,
    }
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    logits.iter().map(|logit| f64::from(logit - largest) - sum.ln()).collect()
}

fn likeliest(log_probabilities: &[f64]) -> Option<usize> {
    (0..log_probabilities.len()).max_by(|a, b| log_probabilities[*a].total_cmp(&log_probabilities[*b]))
}

/// Tokens of an answer per second, from the prompt's end to the last token on the host; the second of two runs.
pub async fn tokens_per_second(model: &Model) -> Result<f64> {
    let mut session = Session::new(model, SessionOptions::new(TOKENS + 1, Sampling::GREEDY)).await?;
    let mut begin = Instant::now();
    for _ in 0..2 {
        session.reset();
        begin = Instant::now();
        generate(&mut session, TOKENS).await?;
    }
    Ok(f64::from(TOKENS) / begin.elapsed().as_secs_f64())
}

/// A story, the same seed for every model.
pub async fn sample(model: &Model) -> Result<String> {
    let sampling = Sampling { temperature: 0.7, top_k: 40, top_p: 0.95, seed: 5 };
    let mut session = Session::new(model, SessionOptions::new(512, sampling)).await?;
    let tokens = generate(&mut session, SAMPLE).await?;
    let shown = |token| match token as u8 {
        b'\n' => ' ',
        byte if byte == b' ' || byte.is_ascii_graphic() => char::from(byte),
        _ => '·',
    };
    Ok(tokens.into_iter().map(shown).collect())
}

async fn generate(session: &mut Session, max_tokens: u32) -> Result<Vec<u32>> {
    let prompt: Vec<u32> = PROMPT.bytes().map(u32::from).collect();
    let request = GenerateOptions { max_tokens, stop_ids: vec![] };
    Ok(session.generate(&prompt, &request, |_| ControlFlow::Continue(())).await?.tokens)
}
