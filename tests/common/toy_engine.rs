//! A small language model that shows every mix-up: its next token depends, through a hash, on every
//! token before it, and it knows those only from its key-value cache, which is never cleared.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test helper")]

use pixel_llm::batch::*;
use pixel_llm::engine::answer;
use pixel_llm::engine::*;
use pixel_llm::forward::sampling::Sampler;

/// Tokens are bytes, and one that ends an answer.
pub const END: u32 = 256;
pub const VOCAB: usize = 260;

/// The text side: a byte is a token.
pub struct Bytes;

impl TextModel for Bytes {
    fn name(&self) -> &str {
        "toy"
    }

    fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, TextError> {
        Ok(match prompt {
            Prompt::Text(text) => text.bytes().map(u32::from).collect(),
            Prompt::Tokens(tokens) => tokens.clone(),
            Prompt::Chat(chat) => {
                let content = |m: &Message| m.content.clone().unwrap_or_default();
                let line = |m: &Message| format!("<{}>{}\n", m.role, content(m));
                let text: String = chat.messages.iter().map(line).collect();
                text.bytes().map(u32::from).collect()
            }
        })
    }

    fn is_end(&self, token: u32) -> bool {
        token >= END
    }

    fn token_bytes(&self, token: u32) -> Vec<u8> {
        u8::try_from(token).map(|byte| vec![byte]).unwrap_or_default()
    }

    fn decoder(&self) -> Box<dyn Decode + '_> {
        Box::new(ByteDecoder)
    }
}

struct ByteDecoder;

impl Decode for ByteDecoder {
    fn push(&mut self, token: u32, bytes: &mut Vec<u8>) {
        bytes.extend(u8::try_from(token));
    }
}

pub struct Toy {
    capacity: Capacity,
    /// What each position of each slot holds. It starts as rubbish.
    cache: Vec<Vec<u64>>,
    sampler: Sampler,
    /// Columns computed so far.
    pub columns: usize,
    /// Positions copied so far.
    pub copied: usize,
    pub steps: usize,
}

pub fn mix(a: u64, b: u64) -> u64 {
    let mut hash = (a ^ b.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^ (hash >> 32)
}

impl Toy {
    pub fn new(slots: usize, columns: usize, steps: usize) -> Self {
        let capacity = Capacity { slots, context: 160, vocab: VOCAB, columns, steps };
        let cache =
            (0..slots as u64).map(|slot| (0..160).map(|at| mix(slot + 77, at)).collect()).collect();
        Self { capacity, cache, sampler: Sampler::default(), columns: 0, copied: 0, steps: 0 }
    }

    /// Writes a column into the cache and reads its logits out of all that is before it.
    fn forward(&mut self, column: Column) -> Vec<f32> {
        let Column { token, slot, position } = column;
        assert!(
            (position as usize) < self.capacity.context && (token as usize) < VOCAB,
            "{column:?}"
        );
        let row = &mut self.cache[slot as usize];
        row[position as usize] = mix(u64::from(token) + 1, u64::from(position));
        let state = row[..=position as usize].iter().fold(1, |state, &entry| mix(state, entry));
        logits(state)
    }
}

/// Letters and spaces are likely, other bytes are not, and the answer ends now and then.
pub fn logits(state: u64) -> Vec<f32> {
    let logit = |token: u64| {
        let noise = (mix(state, token) >> 40) as f32 / (1 << 24) as f32;
        let base = match token {
            0x61..=0x6c | 0x20 => 4.0,
            0xc3 | 0xa9 => 2.5,
            256 => 2.2,
            _ => -3.0,
        };
        base + 3.0 * noise
    };
    (0..VOCAB as u64).map(logit).collect()
}

impl Engine for Toy {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
        assert!(!batch.columns.is_empty() && batch.columns.len() <= self.capacity.columns);
        assert!((1..=self.capacity.steps.max(1)).contains(&(batch.steps as usize)));
        assert!(batch.asks.is_sorted_by_key(|ask| ask.column));
        self.steps += 1;
        for copy in &batch.copies {
            assert_ne!(copy.from, copy.to);
            let prefix = self.cache[copy.from as usize][..copy.positions as usize].to_vec();
            self.cache[copy.to as usize][..prefix.len()].copy_from_slice(&prefix);
            self.copied += prefix.len();
        }
        let mut columns = batch.columns.clone();
        let mut asks = batch.asks.clone();
        let mut answers = vec![Vec::new(); asks.len()];
        for pass in 0..batch.steps {
            if pass > 0 {
                assert_eq!(columns.len(), asks.len());
                for (ask, answers) in asks.iter_mut().zip(&answers) {
                    let column = &mut columns[ask.column as usize];
                    let QueryKind::Draw { words, window, window_limit, .. } = &mut ask.kind else {
                        panic!()
                    };
                    column.token = answers.last().map(|sampled: &Sampled| sampled.token).unwrap();
                    column.position += 1;
                    words.index += 1;
                    window.push(column.token);
                    if window.len() > *window_limit as usize {
                        window.remove(0);
                    }
                }
            }
            let logits: Vec<Vec<f32>> =
                columns.iter().map(|&column| self.forward(column)).collect();
            self.columns += columns.len();
            for (ask, answers) in asks.iter().zip(&mut answers) {
                answers.push(answer(&mut self.sampler, &logits[ask.column as usize], ask)?);
            }
        }
        Ok(answers)
    }
}
