//! What the last step would have changed most: root mean squares of the gradient, by place.

use crate::model::ModelConfig;
use crate::model::adapter::TARGETS;

/// A factor's name, rows, columns and the gradient of its numbers.
type FactorGradient = (String, usize, usize, Vec<f32>);

/// Root mean squares of the gradient that a step left, over the numbers of the adapter that belong
/// to a place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GradientNorms {
    /// The step that left it, from 1.
    pub step: u64,
    /// Of each head, layer by layer: its rows of query's B and its columns of the output's A.
    pub heads: Vec<f32>,
    /// Of each layer's feed-forward: both factors of gate, up and down.
    pub fields: Vec<f32>,
    /// Of each layer: all of its numbers.
    pub layers: Vec<f32>,
    /// Norms of the gradient of the residual stream behind each layer; zero below the layers that
    /// are trained.
    pub stream: Vec<f32>,
}

/// Squares that are added up, and how many.
#[derive(Debug, Clone, Copy, Default)]
struct Squares(f64, u64);

impl Squares {
    fn add(&mut self, number: f32) {
        self.0 += f64::from(number) * f64::from(number);
        self.1 += 1;
    }

    fn root_mean(self) -> f32 {
        if self.1 == 0 { 0.0 } else { (self.0 / self.1 as f64).sqrt() as f32 }
    }
}

impl GradientNorms {
    /// Of the factors of a step's gradient, and of the residual stream: at each layer's entrance
    /// and behind the last.
    pub fn of(
        step: u64,
        (factors, stream): (&[FactorGradient], &[f32]),
        config: &ModelConfig,
    ) -> Self {
        let (layer_count, head_count) = (config.layer_count as usize, config.head_count as usize);
        let size = config.head_size as usize;
        let mut heads = vec![Squares::default(); layer_count * head_count];
        let mut fields = vec![Squares::default(); layer_count];
        let mut layers = fields.clone();
        for (name, _, columns, numbers) in factors {
            let Some((layer, target, half)) = place(name).filter(|it| it.0 < layer_count) else {
                continue;
            };
            numbers.iter().for_each(|&number| layers[layer].add(number));
            match (target, half) {
                ("attn_q", "lora_b") => {
                    for (row, numbers) in numbers.chunks_exact(*columns).enumerate() {
                        let head = &mut heads[layer * head_count + row / size];
                        numbers.iter().for_each(|&number| head.add(number));
                    }
                }
                ("attn_output", "lora_a") => {
                    for (at, &number) in numbers.iter().enumerate() {
                        heads[layer * head_count + at % columns / size].add(number);
                    }
                }
                ("ffn_gate" | "ffn_up" | "ffn_down", _) => {
                    numbers.iter().for_each(|&number| fields[layer].add(number));
                }
                _ => {}
            }
        }
        let [heads, fields, layers] =
            [heads, fields, layers].map(|all| all.into_iter().map(Squares::root_mean).collect());
        Self { step, heads, fields, layers, stream: stream.iter().skip(1).copied().collect() }
    }
}

/// The layer, the matrix and the half of a factor, by its name.
fn place(name: &str) -> Option<(usize, &'static str, &str)> {
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (target, half) = rest.split_once(".weight.")?;
    let target = TARGETS.into_iter().find(|known| *known == target)?;
    Some((layer.parse().ok()?, target, half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_its_rows_and_its_columns_and_a_layer_everything() {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let config = model.config();
        let (heads, size) = (config.head_count as usize, config.head_size as usize);
        let query = heads * size;
        // Row 1 of head 1 of the query, and all columns of head 2 of the output.
        let mut b = vec![0.0; query * 4];
        b[(size + 1) * 4] = 8.0;
        let mut a = vec![0.0; 4 * query];
        a[2 * size..3 * size].fill(3.0);
        let factors = [
            ("blk.1.attn_q.weight.lora_b".to_owned(), query, 4, b),
            ("blk.1.attn_output.weight.lora_a".to_owned(), 4, query, a),
            ("blk.1.ffn_up.weight.lora_a".to_owned(), 1, 2, vec![3.0, 4.0]),
            ("blk.999.attn_q.weight.lora_b".to_owned(), query, 4, vec![9.0; query * 4]),
        ];
        let norms = GradientNorms::of(7, (&factors, &[0.0, 2.0, 3.0]), config);
        let near = |found: f32, expected: f32| (found - expected).abs() < 1e-5;
        assert!(near(norms.heads[heads + 1], (64.0f32 / (8 * size) as f32).sqrt()), "{norms:?}");
        assert!(near(norms.heads[heads + 2], (9.0 * size as f32 / (8 * size) as f32).sqrt()));
        assert!(near(norms.fields[1], 12.5f32.sqrt()) && norms.fields[0] == 0.0);
        assert!(norms.heads[..heads].iter().all(|norm| *norm == 0.0));
        assert_eq!(norms.stream, [2.0, 3.0], "what lies behind a layer enters the next");
        let all = 64.0 + 9.0 * size as f32 + 25.0;
        assert!(near(norms.layers[1], (all / (8 * query + 2) as f32).sqrt()));
    }
}
