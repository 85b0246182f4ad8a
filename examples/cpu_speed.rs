//! Times the forward pass on the CPU: `cpu_speed MODEL [prompt tokens] [decoded tokens]`.

use std::path::Path;
use std::time::Instant;

use pixel_llm::model::Cache;
use pixel_llm::passes::reference::{Column, Controls, CpuModel, CpuOptions, KvCache};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected the path of a model")?;
    let mut number = |default: u32| arguments.next().map_or(Ok(default), |text| text.parse());
    let (prompt, decoded) = (number(255)?, number(64)?);
    let model = Cache::default().open(Path::new(&path), |_| Box::new(|_| ()))?;
    let model = CpuModel::new(model, CpuOptions::default())?;
    let mut cache = KvCache::new(model.config(), 1, (prompt + decoded) as usize);
    let controls = Controls::default();
    let vocab = model.config().vocab_size;
    let column = |position: u32, wants_logits| Column {
        token: position * 7919 % vocab,
        slot: 0,
        position,
        wants_logits,
    };
    for run in 0..5 {
        cache.truncate(0, 0);
        let start = Instant::now();
        let columns: Vec<Column> =
            (0..prompt).map(|position| column(position, position + 1 == prompt)).collect();
        model.forward(&mut cache, &columns, &controls, None)?;
        let prefill = start.elapsed();
        let mut best = f64::INFINITY;
        let start = Instant::now();
        for position in prompt..prompt + decoded {
            let start = Instant::now();
            model.forward(&mut cache, &[column(position, true)], &controls, None)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        let all = start.elapsed();
        println!(
            "run {run}: prefill {:.1} tok/s, decode {:.1} tok/s (best token {:.2} ms)",
            f64::from(prompt) / prefill.as_secs_f64(),
            f64::from(decoded) / all.as_secs_f64(),
            best * 1e3
        );
    }
    Ok(())
}
